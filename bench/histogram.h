/* histogram.h: how long single calls take: a clock that costs about 20 ns to read, and a histogram of 16 buckets a doubling,
 * so that a figure is right to 6 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <time.h>

enum { PER_DOUBLING = 16, BUCKETS = 64 * PER_DOUBLING };

struct histogram {
    uint64_t count[BUCKETS], longest;
};

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    unsigned low, high;

    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
    uint64_t t;

    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(t)::"memory");
    return t;
#else
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
#endif
}

static inline double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline unsigned bucket_of(uint64_t t)
{
    unsigned e;

    if (t < PER_DOUBLING)
        return (unsigned)t;
    e = 63 - (unsigned)__builtin_clzll(t);
    return (e - 3) * PER_DOUBLING + (unsigned)(t >> (e - 4) & (PER_DOUBLING - 1));
}

/* The upper end of a bucket. */
static inline double bucket_end(unsigned b)
{
    unsigned e = b / PER_DOUBLING + 3;

    return b < PER_DOUBLING ? b + 1 : (double)((uint64_t)(PER_DOUBLING + b % PER_DOUBLING + 1) << (e - 4));
}

static inline void note(struct histogram *h, uint64_t t)
{
    h->count[bucket_of(t)]++;
    if (t > h->longest)
        h->longest = t;
}

static inline double quantile(const struct histogram *h, double q)
{
    uint64_t sum = 0, seen = 0;

    for (unsigned b = 0; b < BUCKETS; b++)
        sum += h->count[b];
    for (unsigned b = 0; b < BUCKETS; b++)
        if ((double)(seen += h->count[b]) >= q * (double)sum)
            return bucket_end(b);
    return 0;
}

#endif
