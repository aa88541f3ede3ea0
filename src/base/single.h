/* single.h: plain steps instead of atomic ones while the process has one thread.
 *
 * The C library knows (__libc_single_threaded, glibc 2.32); where it does not tell, every process counts as many-
 * threaded. The answer can turn false only by the calling thread's own pthread_create, so it holds for as long as the
 * caller makes none: a lock that was taken the plain way is released before there is anybody to see it.
 *
 * Memory that processes share (front/report.c) is no matter of threads, and stays atomic. */
#ifndef LM_BASE_SINGLE_H
#define LM_BASE_SINGLE_H

#include "base/config.h"

#ifdef __GLIBC__
extern char __libc_single_threaded __attribute__((weak));
#endif

LM_INLINE bool lm_is_single(void)
{
#ifdef __GLIBC__
    if (&__libc_single_threaded && __libc_single_threaded)
        return true;
#endif
    return lm_config.single; /* promised: another thread that allocates or frees is refused */
}

/* A counter that others may read and add to at any moment; relaxed, for it pairs with nothing. The sum. */
LM_INLINE uint64_t lm_count_add(uint64_t *counter, uint64_t n)
{
    uint64_t sum;

    if (!lm_is_single())
        return __atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
    sum = __atomic_load_n(counter, __ATOMIC_RELAXED) + n;
    __atomic_store_n(counter, sum, __ATOMIC_RELAXED);
    return sum;
}

/* Raises a counter to `value` when it is less. */
LM_INLINE void lm_count_raise(uint64_t *counter, uint64_t value)
{
    uint64_t seen = __atomic_load_n(counter, __ATOMIC_RELAXED);

    if (lm_is_single()) {
        if (value > seen)
            __atomic_store_n(counter, value, __ATOMIC_RELAXED);
        return;
    }
    while (
        value > seen && !__atomic_compare_exchange_n(counter, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* Sets a flag; what it was. Acquire and release: pairs with itself. */
LM_INLINE uint32_t lm_flag_swap(uint32_t *flag, uint32_t value)
{
    uint32_t seen;

    if (!lm_is_single())
        return __atomic_exchange_n(flag, value, __ATOMIC_ACQ_REL);
    seen = __atomic_load_n(flag, __ATOMIC_RELAXED);
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
    return seen;
}

#endif
