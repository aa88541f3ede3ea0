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

/* the eight classes above b, a power of two */
#define DOUBLING(b) \
    CLASS((b) / 8 * 9), CLASS((b) / 8 * 10), CLASS((b) / 8 * 11), CLASS((b) / 8 * 12), CLASS((b) / 8 * 13), \
        CLASS((b) / 8 * 14), CLASS((b) / 8 * 15), CLASS((b) / 8 * 16)

const struct lm_class lm_class[LM_CLASSES] = {CLASS(16), CLASS(32), CLASS(48), CLASS(64), CLASS(80), CLASS(96),
    CLASS(112), CLASS(128), DOUBLING(128), DOUBLING(256), DOUBLING(512), DOUBLING(1024), DOUBLING(2048), DOUBLING(4096),
    DOUBLING(8192), DOUBLING(16384), DOUBLING(32768)};

enum { TINY_CLASSES = LM_TINY_MAX / 16, PER_DOUBLING = 8 };

#define ITSELF(c) (c), (c) + 1, (c) + 2, (c) + 3, (c) + 4, (c) + 5, (c) + 6, (c) + 7
uint8_t lm_class_serving[LM_CLASSES] = {ITSELF(0), ITSELF(8), ITSELF(16), ITSELF(24), ITSELF(32), ITSELF(40),
    ITSELF(48), ITSELF(56), ITSELF(64), ITSELF(72)};

void lm_class_space(unsigned in_a_doubling)
{
    unsigned step = PER_DOUBLING / in_a_doubling;

    for (unsigned c = TINY_CLASSES; c < LM_CLASSES; c++)
        lm_class_serving[c] = (uint8_t)(((c - TINY_CLASSES) / step + 1) * step - 1 + TINY_CLASSES);
}
