/* fairness_work.c: what modest threads get while greedy ones do their worst. For any allocator, by LD_PRELOAD; bench/fairness
 * runs it. usage: fairness_work GREEDY [MODEST [REQUESTS]]      GREEDY: none, or one of
 *
 *   large   blocks of 64 KiB to 4 MiB, written and freed at once
 *   passed  small blocks by the thousand, each thread frees those of the one before
 *   threads threads that live for 500 blocks, of which they leave some to the next
 *   kept    50 MiB of small blocks of which three in four are freed, at random; then the thread goes on with a few
 *
 * MODEST threads (2) each serve REQUESTS (20000): 20 blocks of 16 to 512 bytes and one of up to 32 KiB, written and freed
 * in another order; a few stay until the next request. Every single malloc and free of theirs is timed. GREEDY threads
 * are twice as many as the processors. Printed: quantiles of the modest threads' mallocs and frees in nanoseconds, the
 * longest in microseconds, the same of whole requests; what became resident while the modest threads also took 16 MiB each
 * that they keep; and how many rounds the greedy threads did. */
#include "histogram.h"
#include "work.h"
#include "resident.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 64, BLOCKS = 21, STAY = 4, PASSED = 4000, LIFE = 500, KEPT = 200000, FEW = 64, KEEP_BYTES = 16 << 20 };

static int modest = 2, greedy;
static long requests = 20000;
static uint32_t stop, ready;       /* atomic */
static uint64_t rounds;            /* atomic */
static void *passed[MOST][PASSED]; /* atomic */
static void *left_over[MOST];      /* atomic */

struct told {
    struct histogram allocating, freeing, request;
};
static struct told told[MOST];

static bool stopped(void)
{
    return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static size_t small(uint64_t *seed)
{
    return 16 + next_random(seed) % 497;
}

/* -- the greedy ---------------------------------------------------------------------------------------------------------- */

static void *written(size_t size)
{
    char *p = touch(size);

    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
    return p;
}

static void *be_large(void *number)
{
    uint64_t seed = (uintptr_t)number + 1;

    for (; !stopped(); __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED)) {
        void *p[4];

        for (int i = 0; i < 4; i++)
            p[i] = written((64 << 10) + next_random(&seed) % (4 << 20));
        for (int i = 0; i < 4; i++)
            free(p[i]);
    }
    return NULL;
}

static void *be_passed(void *number)
{
    uint64_t seed = (uintptr_t)number + 1;
    size_t mine = (uintptr_t)number, next = (mine + 1) % (size_t)greedy;

    for (; !stopped(); __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED))
        for (int i = 0; i < PASSED; i++) {
            free(__atomic_exchange_n(&passed[mine][i], NULL, __ATOMIC_ACQUIRE));
            free(__atomic_exchange_n(&passed[next][i], touch(small(&seed)), __ATOMIC_ACQ_REL));
        }
    return NULL;
}

static void *live_shortly(void *number)
{
    uint64_t seed = (uintptr_t)number * 77 + 1;
    void *p[LIFE];

    for (int i = 0; i < LIFE; i++)
        p[i] = touch(small(&seed));
    for (int i = 1; i < LIFE; i++)
        free(p[i]);
    free(__atomic_exchange_n(&left_over[next_random(&seed) % MOST], p[0], __ATOMIC_ACQ_REL));
    return NULL;
}

static void *be_threads(void *number)
{
    for (uintptr_t life = 0; !stopped(); life++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, live_shortly, (void *)((uintptr_t)number + MOST * life)) != 0)
            abort();
        pthread_join(thread, NULL);
        __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *be_kept(void *number)
{
    uint64_t seed = (uintptr_t)number + 1;
    int share = KEPT / greedy;
    void **kept = malloc((size_t)share * sizeof *kept), *few[FEW];

    if (!kept)
        abort();
    for (int i = 0; i < share; i++)
        kept[i] = touch(small(&seed));
    for (int i = 0; i < share; i++)
        if (next_random(&seed) % 4) {
            free(kept[i]);
            kept[i] = NULL;
        }
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
    for (; !stopped(); __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED)) {
        struct timespec pause = {0, 100000};
        size_t from = next_random(&seed) % ((size_t)share - FEW);

        for (int i = 0; i < FEW; i++)
            few[i] = touch(small(&seed));
        for (int i = 0; i < FEW; i++) { /* what it holds turns over */
            free(kept[from + (size_t)i]);
            kept[from + (size_t)i] = i % 4 ? NULL : few[i];
            if (i % 4)
                free(few[i]);
        }
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < share; i++)
        free(kept[i]);
    free(kept);
    return NULL;
}

static const struct greed {
    const char *name;
    void *(*be)(void *number);
    bool waits; /* the modest begin when it has what it wants */
} greeds[] = {
    {"none", NULL, false},
    {"large", be_large, false},
    {"passed", be_passed, false},
    {"threads", be_threads, false},
    {"kept", be_kept, true},
};

/* -- the modest ----------------------------------------------------------------------------------------------------------- */

static void serve(struct told *t, uint64_t *seed, void **stay)
{
    void *block[BLOCKS];
    uint64_t start = ticks(), from, to = start;

    for (int i = 0; i < BLOCKS; i++) {
        size_t size = i < BLOCKS - 1 ? small(seed) : 1 + next_random(seed) % (32 << 10);

        from = ticks();
        block[i] = malloc(size);
        to = ticks();
        if (!block[i])
            abort();
        memset(block[i], 1, size < 64 ? size : 64);
        note(&t->allocating, to - from);
    }
    for (int i = 0; i < BLOCKS; i++) {
        int n = (i * 8 + 3) % BLOCKS; /* 8 and BLOCKS have no common divisor */
        void *p = block[n];

        if (n < STAY) {
            p = stay[n];
            stay[n] = block[n];
        }
        from = ticks();
        free(p);
        to = ticks();
        note(&t->freeing, to - from);
    }
    note(&t->request, to - start);
}

static void *be_modest(void *number)
{
    struct told *t = &told[(uintptr_t)number];
    uint64_t seed = (uintptr_t)number * 2 + 3;
    void *stay[STAY] = {NULL};
    static __thread size_t held;

    for (long i = 0; i < requests; i++) {
        serve(t, &seed, stay);
        for (; held < (size_t)i * KEEP_BYTES / (size_t)requests; held += 256)
            touch(small(&seed)); /* stays */
    }
    return NULL;
}

/* -- the whole ------------------------------------------------------------------------------------------------------------ */

static void add(struct histogram *sum, const struct histogram *h)
{
    for (unsigned b = 0; b < BUCKETS; b++)
        sum->count[b] += h->count[b];
    if (h->longest > sum->longest)
        sum->longest = h->longest;
}

static void tell(const char *name, const struct histogram *h, double ns_a_tick)
{
    printf("figure %s-p50-ns %.6g\n", name, quantile(h, 0.5) * ns_a_tick);
    printf("figure %s-p99-ns %.6g\n", name, quantile(h, 0.99) * ns_a_tick);
    printf("figure %s-p99.9-ns %.6g\n", name, quantile(h, 0.999) * ns_a_tick);
    printf("figure %s-longest-us %.6g\n", name, (double)h->longest * ns_a_tick / 1000);
}

/* Twice as many as there are processors. */
static int greedy_threads(void)
{
    long count = 2 * sysconf(_SC_NPROCESSORS_ONLN);

    return count < MOST ? (int)count : MOST;
}

static void run(const struct greed *greed)
{
    pthread_t greedy_thread[MOST], modest_thread[MOST];
    double start_ns = now_ns();
    uint64_t start_ticks = ticks();
    struct timespec tenth = {0, 100000000};
    double ns_a_tick;
    long before;

    greedy = greed->be ? greedy_threads() : 0;
    for (uintptr_t i = 0; i < (uintptr_t)greedy; i++)
        if (pthread_create(&greedy_thread[i], NULL, greed->be, (void *)i) != 0)
            abort();
    do
        nanosleep(&tenth, NULL);
    while (greed->waits && __atomic_load_n(&ready, __ATOMIC_ACQUIRE) < (uint32_t)greedy);
    before = resident_kib();
    for (uintptr_t i = 0; i < (uintptr_t)modest; i++)
        if (pthread_create(&modest_thread[i], NULL, be_modest, (void *)i) != 0)
            abort();
    for (int i = 0; i < modest; i++)
        pthread_join(modest_thread[i], NULL);
    printf("figure resident-growth-mib %.6g\n", (double)(resident_kib() - before) / 1024);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    ns_a_tick = (now_ns() - start_ns) / (double)(ticks() - start_ticks);
    for (int i = 0; i < greedy; i++)
        pthread_join(greedy_thread[i], NULL);
    for (int i = 1; i < modest; i++) {
        add(&told[0].allocating, &told[i].allocating);
        add(&told[0].freeing, &told[i].freeing);
        add(&told[0].request, &told[i].request);
    }
    tell("malloc", &told[0].allocating, ns_a_tick);
    tell("free", &told[0].freeing, ns_a_tick);
    tell("request", &told[0].request, ns_a_tick);
    printf("figure greedy-rounds %llu\n", (unsigned long long)rounds);
}

int main(int argc, char **argv)
{
    if (argc > 2)
        modest = atoi(argv[2]);
    if (argc > 3)
        requests = atol(argv[3]);
    if (modest < 1 || modest > MOST || requests < 1)
        return 2;
    for (size_t i = 0; i < sizeof greeds / sizeof greeds[0]; i++)
        if (argc == 1) {
            puts(greeds[i].name);
        } else if (strcmp(argv[1], greeds[i].name) == 0) {
            run(&greeds[i]);
            return 0;
        }
    return argc == 1 ? 0 : 2;
}
