/* latency.c: how long a single malloc and a single free take: p50, p99, p99.99 and the longest, of a mixed load with a
 * working set that turns over. For any allocator, by LD_PRELOAD; see docs/policies.md. usage: latency [MILLIONS]
 *
 * Times are of the processor's cycle counter, calibrated against the clock, and include about 20 ns of reading it. The
 * histogram has 16 buckets a doubling, so a figure is right to 6 %. On a machine that does other things the longest is an
 * interrupt's, whoever allocates: compare p99.99, and run several times. */
#include "histogram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

enum { SLOTS = 20000 };

static void show(const char *name, const struct histogram *h, double ns_a_tick)
{
    printf("%-7s p50 %6.0f ns   p99 %6.0f ns   p99.99 %7.0f ns   longest %9.1f us\n", name,
        quantile(h, 0.5) * ns_a_tick, quantile(h, 0.99) * ns_a_tick, quantile(h, 0.9999) * ns_a_tick,
        (double)h->longest * ns_a_tick / 1000);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

/* Mostly small, some of a few KiB, a few of up to 256 KiB: about 20 MiB alive. */
static size_t size_of(uint64_t *seed)
{
    uint64_t r = next_random(seed);

    return r % 1024 == 0 ? 1 + (r >> 20) % (256 << 10) : r % 16 == 0 ? 1 + (r >> 20) % 8192 : 1 + (r >> 20) % 512;
}

int main(int argc, char **argv)
{
    static struct histogram for_malloc, for_free; /* touched first below */
    static void *slot[SLOTS];
    uint64_t seed = 88172645463325252u, start_ticks, pairs = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000000;
    struct rusage before, after;
    double start_ns, ns_a_tick;

    mlockall(MCL_CURRENT); /* the bench's own memory; may be refused */
    for (int i = 0; i < SLOTS; i++)
        memset(slot[i] = malloc(16), 0, 16);
    getrusage(RUSAGE_SELF, &before);
    start_ns = now_ns();
    start_ticks = ticks();
    for (uint64_t i = 0; i < pairs; i++) {
        size_t n = next_random(&seed) % SLOTS, size = size_of(&seed);
        uint64_t t0, t1, t2;

        t0 = ticks();
        free(slot[n]);
        t1 = ticks();
        slot[n] = malloc(size);
        t2 = ticks();
        if (!slot[n])
            return 1;
        ((char *)slot[n])[0] = 1;
        ((char *)slot[n])[size - 1] = 1;
        note(&for_free, t1 - t0);
        note(&for_malloc, t2 - t1);
    }
    ns_a_tick = (now_ns() - start_ns) / (double)(ticks() - start_ticks);
    getrusage(RUSAGE_SELF, &after);
    show("malloc", &for_malloc, ns_a_tick);
    show("free", &for_free, ns_a_tick);
    printf("%llu million pairs, %ld page faults, peak %ld KiB\n", (unsigned long long)(pairs / 1000000),
        after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt, after.ru_maxrss);
    return 0;
}
