/* work_sharing.c: false sharing, as Berger and others describe it (2000). An allocator shares actively when it gives two
 * threads parts of one cache line, passively when a thread that frees a part of somebody's line may have it again.
 * What matters is the writing; a line that two processors fight for makes it many times slower. */
#include "work.h"

enum { THREADS = 2, SIZE = 8, WRITES = 20000 };

static long rounds;
static char *first[THREADS];

static void write_much(volatile char *p)
{
    for (int i = 0; i < WRITES; i++)
        p[i % SIZE]++;
}

static void *write_and_free(void *number)
{
    if (first[(uintptr_t)number])
        write_much(first[(uintptr_t)number]);
    free(first[(uintptr_t)number]);
    for (long i = 0; i < rounds; i++) {
        char *p = touch(SIZE);

        write_much(p);
        free(p);
    }
    return NULL;
}

static void cache_thrash(long percent)
{
    rounds = work_of(10000, percent);
    run_threads(THREADS, write_and_free);
}

static void cache_scratch(long percent)
{
    for (int i = 0; i < THREADS; i++)
        first[i] = touch(SIZE);
    cache_thrash(percent);
}

const struct workload sharing_workloads[] = {
    {"cache-thrash", "two threads write blocks of 8 bytes: actively shared lines", cache_thrash},
    {"cache-scratch", "the same after blocks that the main thread gave them: passively shared", cache_scratch},
    {NULL, NULL, NULL}};
