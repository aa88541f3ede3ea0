/* sizeclass.c: the classes' numbers, all known when compiled. */
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
