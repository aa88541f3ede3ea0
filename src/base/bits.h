/* bits.h: powers of two, rounding, and what the compiler must be told. */
#ifndef LM_BASE_BITS_H
#define LM_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LM_CACHE_LINE 64

#define LM_LIKELY(x) __builtin_expect(!!(x), 1)
#define LM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LM_INLINE static inline __attribute__((always_inline))
#define LM_NOINLINE __attribute__((noinline))
#define LM_COLD __attribute__((cold, noinline))
/* Seen by users of the shared objects; everything else is hidden. */
/* Reads what another thread may be writing, and expects to: for statistics, and for what is proved afterwards. */
#define LM_RACY __attribute__((no_sanitize("thread")))
#define LM_HIDDEN __attribute__((visibility("hidden"))) /* on declarations that the common path reads */
#define LM_PUBLIC __attribute__((visibility("default")))

/* Of statics: large, and of no use to most processes, or only its head. The linker lays these apart (CMakeLists.txt), for what all
 * processes write should lie on few pages. */
#define LM_APART __attribute__((section(".bss.apart")))
#define LM_APART_DATA __attribute__((section(".data.apart"))) /* initialized */
#define LM_APART_HEAD __attribute__((section(".bss.head")))   /* only the head is much used */

/* Asks for a line that is about to be written; p need not be anything. */
LM_INLINE void lm_prefetch_write(const void *p)
{
    __builtin_prefetch(p, 1);
}

LM_INLINE bool lm_is_power2(size_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

/* Rounds x up to a multiple of the power of two `align`; wraps to a smaller value on overflow. */
LM_INLINE size_t lm_align_up(size_t x, size_t align)
{
    return (x + align - 1) & ~(align - 1);
}

LM_INLINE size_t lm_align_down(size_t x, size_t align)
{
    return x & ~(align - 1);
}

/* Index of the highest set bit; x must not be 0. */
LM_INLINE unsigned lm_log2_floor(size_t x)
{
    return (unsigned)(8 * sizeof x) - 1 - (unsigned)__builtin_clzl(x);
}

/* The smallest e with 2^e >= x; x must not be 0. */
LM_INLINE unsigned lm_log2_ceil(size_t x)
{
    return x == 1 ? 0 : lm_log2_floor(x - 1) + 1;
}

/* Index of the lowest set bit; x must not be 0. */
LM_INLINE unsigned lm_lowest_bit(size_t x)
{
    return (unsigned)__builtin_ctzl(x);
}

LM_INLINE size_t lm_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

LM_INLINE size_t lm_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
