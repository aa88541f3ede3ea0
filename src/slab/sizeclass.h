/* sizeclass.h: which sizes there are.
 *
 * Multiples of 16 up to 256, then sixteen a doubling up to 64 KiB: 144 classes, of which every other one above 256 serves
 * unless an option says otherwise, so that none is more than 12.5 % above the next smaller. There is no class of 8 bytes,
 * because compilers assume that every block is aligned to 16.
 *
 * A slab of a class up to 8 KiB is one granule; above, it is as many as eight objects need. An object is
 * aligned to the largest power of two that divides its class's size. */
#ifndef LM_SLAB_SIZECLASS_H
#define LM_SLAB_SIZECLASS_H

#include "page/page.h"

enum {
    LM_CLASSES = 144,
    LM_TINY_MAX = 256,      /* sizes up to it are 16 apart */
    LM_SLAB_MAX = 64 << 10, /* larger blocks have a span of their own */
};

struct lm_class {
    uint64_t magic;       /* ceil(2^64 / size) */
    uint32_t size;        /* bytes */
    uint16_t capacity;    /* objects a slab */
    uint8_t granules;     /* a slab */
    uint8_t colours;      /* different offsets of the first object, at least 1 */
    uint32_t colour_step; /* bytes between them; a multiple of the objects' alignment */
};

extern const struct lm_class lm_class[LM_CLASSES];

/* The class of a size from 0 to LM_SLAB_MAX. */
LM_INLINE unsigned lm_class_of(size_t size)
{
    unsigned e;

    if (size <= LM_TINY_MAX)
        return (unsigned)((size + 15) / 16) - (size != 0);
    e = lm_log2_floor(size - 1);
    return (e - 8) * 16 + (unsigned)((size - 1) >> (e - 4));
}

/* The class that serves the sizes of a class: itself, or a larger one when there are to be fewer in each doubling. */
extern uint8_t lm_class_serving[LM_CLASSES] LM_HIDDEN;

LM_INLINE unsigned lm_class_for(size_t size)
{
    return lm_class_serving[lm_class_of(size)];
}

/* Before anything is allocated: 16, 8, 4, 2 or 1 classes in each doubling above LM_TINY_MAX. */
void lm_class_space(unsigned in_a_doubling);

#endif
