/* workloads.c: what `bench/run` times: allocation-bound work by the names of the literature. Each prints nothing; the
 * runner takes time, peak memory and page faults from outside. usage: workloads NAME [SCALE] */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

static void *touch(size_t size)
{
    char *p = malloc(size);

    if (!p)
        abort();
    p[0] = 1;
    p[size - 1] = 1;
    return p;
}

/* sizes of an ordinary program: mostly small */
static size_t mixed(uint64_t *seed)
{
    uint64_t r = next_random(seed);

    return r % 16 < 14 ? 8 + (r >> 8) % 248 : 8 + (r >> 8) % 4000;
}

/* One size, last in first out, in stacks of 100. */
static void fixed_lifo(long scale)
{
    void *p[100];

    for (long round = 0; round < scale * 1600000; round++) {
        for (int i = 0; i < 100; i++)
            p[i] = touch(48);
        for (int i = 100; i-- > 0;)
            free(p[i]);
    }
}

/* One size, first in first out, 10,000 alive. */
static void fixed_fifo(long scale)
{
    enum { N = 10000 };
    static void *ring[N];

    for (long i = 0; i < scale * 120000000; i++) {
        free(ring[i % N]);
        ring[i % N] = touch(64);
    }
}

/* Mixed sizes, random lifetimes, 50,000 alive. */
static void mixed_random(long scale)
{
    enum { N = 50000 };
    static void *held[N];
    uint64_t seed = 1;

    for (long i = 0; i < scale * 30000000; i++) {
        size_t slot = next_random(&seed) % N;

        free(held[slot]);
        held[slot] = touch(mixed(&seed));
    }
}

/* Buffers that grow by a half and shrink to nothing, as strings and tables do. */
static void growing(long scale)
{
    uint64_t seed = 2;

    for (long i = 0; i < scale * 16000; i++) {
        size_t most = (size_t)1 << (8 + next_random(&seed) % 16);
        char *p = NULL;

        for (size_t n = 16; n < most; n += n / 2) {
            p = realloc(p, n);
            if (!p)
                abort();
            p[n - 1] = 1;
        }
        free(p);
    }
}

/* Blocks of 64 KiB to 4 MiB, twenty alive. */
static void large_blocks(long scale)
{
    char *held[20] = {NULL};
    uint64_t seed = 3;

    for (long i = 0; i < scale * 40000; i++) {
        size_t slot = next_random(&seed) % 20, size = (64 << 10) + next_random(&seed) % (4 << 20);

        free(held[slot]);
        held[slot] = malloc(size);
        if (!held[slot])
            abort();
        for (size_t b = 0; b < size; b += 4096)
            held[slot][b] = 1;
    }
}

/* Peak, trough, peak: most of a heap is freed at random and filled again with other sizes. */
static void peak_trough(long scale)
{
    enum { N = 400000 };
    static void *held[N];
    uint64_t seed = 4;

    for (long round = 0; round < scale * 32; round++) {
        for (int i = 0; i < N; i++)
            if (!held[i])
                held[i] = touch(16 + (size_t)(round * 37 % 200) + next_random(&seed) % 64);
        for (int i = 0; i < N; i++)
            if (next_random(&seed) % 10 != 0) {
                free(held[i]);
                held[i] = NULL;
            }
    }
}

/* -- threads ----------------------------------------------------------------------------------------------- */

/* Short threads, each with a little private work. */
static void *short_thread(void *arg)
{
    uint64_t seed = (uintptr_t)arg + 1;
    void *p[200];

    for (int i = 0; i < 200; i++)
        p[i] = touch(mixed(&seed));
    for (int i = 0; i < 200; i++)
        free(p[i]);
    return NULL;
}

static void thread_churn(long scale)
{
    for (long i = 0; i < scale * 20000; i++) {
        pthread_t threads[2];

        for (int t = 0; t < 2; t++)
            if (pthread_create(&threads[t], NULL, short_thread, (void *)(i * 2 + t)) != 0)
                abort();
        for (int t = 0; t < 2; t++)
            pthread_join(threads[t], NULL);
    }
}

enum { RING = 1 << 12 };
static void *ring[RING];
static size_t head, tail;

static void *consume(void *arg)
{
    size_t total = (size_t)*(long *)arg * 20000000;

    for (size_t i = 0; i < total; i++) {
        while (__atomic_load_n(&head, __ATOMIC_ACQUIRE) == i)
            sched_yield();
        free(ring[i % RING]);
        __atomic_store_n(&tail, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* One thread allocates, another frees. */
static void producer_consumer(long scale)
{
    size_t total = (size_t)scale * 20000000;
    uint64_t seed = 5;
    pthread_t consumer;

    if (pthread_create(&consumer, NULL, consume, &scale) != 0)
        abort();
    for (size_t i = 0; i < total; i++) {
        while (i - __atomic_load_n(&tail, __ATOMIC_ACQUIRE) == RING)
            sched_yield();
        ring[i % RING] = touch(16 + next_random(&seed) % 240);
        __atomic_store_n(&head, i + 1, __ATOMIC_RELEASE);
    }
    pthread_join(consumer, NULL);
}

static void *exchanged[4096];

static void *exchange_thread(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 77 + 1;

    for (long i = 0; i < 6000000; i++)
        free(__atomic_exchange_n(&exchanged[next_random(&seed) % 4096], touch(mixed(&seed)), __ATOMIC_ACQ_REL));
    return NULL;
}

/* Two threads hand blocks to each other through a table. */
static void exchange(long scale)
{
    for (long round = 0; round < scale; round++) {
        pthread_t threads[2];

        for (uintptr_t t = 0; t < 2; t++)
            if (pthread_create(&threads[t], NULL, exchange_thread, (void *)(t + 1)) != 0)
                abort();
        for (int t = 0; t < 2; t++)
            pthread_join(threads[t], NULL);
    }
}

static void two_threads(long scale)
{
    pthread_t other;

    if (pthread_create(&other, NULL, exchange_thread, (void *)9) != 0)
        abort();
    fixed_lifo(scale);
    pthread_join(other, NULL);
}

static const struct {
    const char *name;
    void (*run)(long scale);
} workloads[] = {{"fixed-lifo", fixed_lifo}, {"fixed-fifo", fixed_fifo}, {"mixed-random", mixed_random},
    {"growing", growing}, {"large", large_blocks}, {"peak-trough", peak_trough}, {"thread-churn", thread_churn},
    {"producer-consumer", producer_consumer}, {"exchange", exchange}, {"two-threads", two_threads}};

int main(int argc, char **argv)
{
    size_t count = sizeof workloads / sizeof workloads[0];

    for (size_t i = 0; argc > 1 && i < count; i++)
        if (strcmp(argv[1], workloads[i].name) == 0) {
            workloads[i].run(argc > 2 ? atol(argv[2]) : 1);
            return 0;
        }
    for (size_t i = 0; i < count; i++)
        puts(workloads[i].name);
    return argc > 1 ? 2 : 0;
}
