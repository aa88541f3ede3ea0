/* sizeclass.c: the classes' numbers, all known when compiled; and which of them serve. */
#include "slab/sizeclass.h"

#define GRANULES(s) ((s) <= 8192 ? 1 : ((s)*8 + LM_GRANULE - 1) / LM_GRANULE)
#define CAPACITY(s) (GRANULES(s) * LM_GRANULE / (s))
#define SLACK(s) (GRANULES(s) * LM_GRANULE % (s))
#define ALIGN(s) ((s) & -(s))
#define STEP(s) (ALIGN(s) < LM_CACHE_LINE ? LM_CACHE_LINE : ALIGN(s))
/* A page of colours is enough: beyond it cache sets repeat. */
#define COLOURS(s) (1 + (SLACK(s) < 4096 ? SLACK(s) : 4095) / STEP(s))

#define CLASS(s) \
    { \
        .magic = UINT64_MAX / (s) + 1, .size = (s), .capacity = CAPACITY((size_t)(s)), \
        .granules = GRANULES((size_t)(s)), .colours = COLOURS((size_t)(s)), .colour_step = STEP((size_t)(s)) \
    }

/* eight classes up to b, in steps of s; the sixteen classes above b, a power of two */
#define EIGHT(b, s) \
    CLASS((b)-7 * (s)), CLASS((b)-6 * (s)), CLASS((b)-5 * (s)), CLASS((b)-4 * (s)), CLASS((b)-3 * (s)), \
        CLASS((b)-2 * (s)), CLASS((b) - (s)), CLASS(b)
#define DOUBLING(b) EIGHT((b) / 2 * 3, (b) / 16), EIGHT((b)*2, (b) / 16)

const struct lm_class lm_class[LM_CLASSES] = {EIGHT(128, 16), EIGHT(256, 16), DOUBLING(256), DOUBLING(512),
    DOUBLING(1024), DOUBLING(2048), DOUBLING(4096), DOUBLING(8192), DOUBLING(16384), DOUBLING(32768)};

enum { TINY_CLASSES = LM_TINY_MAX / 16, PER_DOUBLING = 16 };

/* the first sixteen themselves; of each two above them the larger */
#define ITSELF(c) (c), (c) + 1, (c) + 2, (c) + 3, (c) + 4, (c) + 5, (c) + 6, (c) + 7
#define PAIRS(c) (c) + 1, (c) + 1, (c) + 3, (c) + 3, (c) + 5, (c) + 5, (c) + 7, (c) + 7
#define DOUBLED(c) PAIRS(c), PAIRS((c) + 8)
uint8_t lm_class_serving[LM_CLASSES] = {ITSELF(0), ITSELF(8), DOUBLED(16), DOUBLED(32), DOUBLED(48), DOUBLED(64),
    DOUBLED(80), DOUBLED(96), DOUBLED(112), DOUBLED(128)};

void lm_class_space(unsigned in_a_doubling)
{
    unsigned step = PER_DOUBLING / in_a_doubling;

    for (unsigned c = TINY_CLASSES; c < LM_CLASSES; c++)
        lm_class_serving[c] = (uint8_t)(((c - TINY_CLASSES) / step + 1) * step - 1 + TINY_CLASSES);
}
