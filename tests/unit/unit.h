/* unit.h: what unit tests share: cmocka, and a random sequence whose seed is printed and can be given again. */
#ifndef LOAM_TEST_UNIT_H
#define LOAM_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Starts a sequence from LOAM_SEED or the clock, and prints how to get it again. */
static inline uint64_t unit_seed(void)
{
    const char *given = getenv("LOAM_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    printf("seed: LOAM_SEED=%llu\n", (unsigned long long)seed);
    return seed * 2 + 1;
}

/* xorshift64* (Vigna 2016) */
static inline uint64_t unit_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

static inline uint64_t unit_below(uint64_t *state, uint64_t n)
{
    return unit_random(state) % n;
}

/* Whether a user-mode emulator stands in for the kernel: unlike every kernel, qemu has no robust list. Said where it is asked. */
static inline bool unit_is_emulated(void)
{
    void *head;
    size_t bytes;
    bool emulated = syscall(SYS_get_robust_list, 0, &head, &bytes) != 0;

    if (emulated)
        printf("emulated: no robust list, and no thread in the child of a process with threads\n");
    return emulated;
}

/* routine(arg) in a thread of its own, waited for: its result. */
static inline void *unit_in_thread(void *(*routine)(void *), void *arg)
{
    pthread_t thread;
    void *result;

    assert_int_equal(pthread_create(&thread, NULL, routine, arg), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

#endif
