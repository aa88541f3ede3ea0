/* lists.c: contention on shared lists, by kind: what the option `lists` chooses between.
 *
 *   bench-lists [--threads N] [--ms N] [--rounds N]
 *
 *   pile     each thread takes a node off a pile and puts it on another
 *   pile+    the same with work of a microsecond or two between
 *   depot    each thread allocates BURST objects of a cache and frees them, with magazines of a quarter of that at first
 *   orphans  each thread lives shortly: it adopts slabs of threads before it, allocates, frees others' blocks, ends
 *
 * Nothing else is done to the nodes, so the first is the worst that can happen. The kinds take turns; a row is the median of
 * the rounds, in nanoseconds a pair (pile, depot) and microseconds a life (orphans); in parentheses the least and the most. */
#include "heap/room.h"

#include <loam/cache.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NODES = 256, ROUNDS_MOST = 99, LIVES_BLOCKS = 300, SLOTS = 4096, BURST = 64 };

static uint64_t node[NODES + 1];
static bool stop;
static unsigned threads, between; /* spins of work */

static uint64_t *link_of(uint32_t n)
{
    return &node[n];
}

static struct lm_pile pile[2] = {LM_PILE_INIT(LM_RANK_BLOCK, link_of), LM_PILE_INIT(LM_RANK_BLOCK, link_of)};
static void *slot[SLOTS];

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *exchange(void *arg)
{
    uintptr_t pairs = 0;
    unsigned from = (unsigned)(uintptr_t)arg % 2;

    for (; !__atomic_load_n(&stop, __ATOMIC_RELAXED); pairs++, from = !from) {
        uint32_t n = lm_pile_pop(&pile[from]);

        if (n)
            lm_pile_push(&pile[!from], n);
        for (volatile unsigned i = 0; i < between; i++)
            ;
    }
    return (void *)pairs;
}

static struct loam_cache *cache;

static void *depot(void *arg)
{
    void *object[BURST];
    uintptr_t pairs = 0;

    (void)arg;
    for (; !__atomic_load_n(&stop, __ATOMIC_RELAXED); pairs += BURST) {
        for (int i = 0; i < BURST; i++)
            if (!(object[i] = loam_cache_alloc(cache)))
                abort();
        for (int i = 0; i < BURST; i++)
            loam_cache_free(cache, object[i]);
    }
    return (void *)pairs;
}

static void *life(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 2654435761u + 1;

    for (int i = 0; i < LIVES_BLOCKS; i++) {
        void *p = lm_heap_malloc(16 + (seed >> 33) % 2000, NULL);

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        if (!p)
            abort();
        lm_heap_free(__atomic_exchange_n(&slot[(seed >> 40) % SLOTS], p, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static void *orphans(void *arg)
{
    uintptr_t lives = 0;

    for (; !__atomic_load_n(&stop, __ATOMIC_RELAXED); lives++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, life, (void *)((uintptr_t)arg * 1000003 + lives)) != 0)
            abort();
        pthread_join(thread, NULL);
    }
    return (void *)lives;
}

/* Nanoseconds of the whole for one of what each thread did. */
static double measure(void *(*work)(void *), long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    pthread_t thread[64];
    double start = now_ns(), done = 0;
    void *did;

    stop = false;
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)i) != 0)
            abort();
    nanosleep(&wait, NULL);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], &did);
        done += (double)(uintptr_t)did;
    }
    return (now_ns() - start) / (done > 0 ? done : 1);
}

/* Empties what one kind has filled, before the next. */
static void switch_to(size_t kind)
{
    struct loam_cache_options options = {
        .struct_bytes = sizeof options, .name = "bench", .size_bytes = 64, .magazine_rounds = BURST / 4};

    loam_cache_destroy(cache);
    for (int i = 0; i < 2; i++)
        lm_pile_take(&pile[i]);
    for (int i = 0; i < SLOTS; i++) {
        lm_heap_free(slot[i]);
        slot[i] = NULL;
    }
    lm_heap_trim(0);
    if (lm_heap_check()) /* every orphan has gone with its last block */
        abort();
    lm_config.lists = kind;
    for (uint32_t n = 1; n <= NODES; n++)
        lm_pile_push(&pile[n % 2], n);
    cache = loam_cache_create_with(&options);
    if (!cache)
        abort();
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void race(const char *name, void *(*work)(void *), long ms, long rounds)
{
    static double ns[3][ROUNDS_MOST];
    double unit = work == orphans ? 1000 : 1;

    for (long r = 0; r < rounds; r++)
        for (size_t kind = 0; kind < 3; kind++) {
            switch_to(kind);
            ns[kind][r] = measure(work, ms) / unit;
        }
    printf("%-8s %7u", name, threads);
    for (size_t kind = 0; kind < 3; kind++) {
        qsort(ns[kind], (size_t)rounds, sizeof ns[kind][0], compare);
        printf("   %8.1f (%.1f-%.1f)", ns[kind][rounds / 2], ns[kind][0], ns[kind][rounds - 1]);
    }
    putchar('\n');
    fflush(stdout);
}

int main(int argc, char **argv)
{
    long ms = 100, rounds = 5, only = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        long value = strtol(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--threads") == 0)
            only = value;
        else if (strcmp(argv[i], "--ms") == 0)
            ms = value;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = value;
        else
            argc = 0;
    }
    if (argc % 2 == 0 || only < 0 || only > 64 || ms < 1 || rounds < 1 || rounds > ROUNDS_MOST) {
        fputs("usage: bench-lists [--threads N] [--ms N] [--rounds N]\n", stderr);
        return 2;
    }
    lm_heap_start();
    lm_heap_free(lm_heap_malloc(1, NULL));
    printf("%-8s %7s   %-22s   %-22s   %-22s\n", "what", "threads", "mutex", "lockfree", "stm");
    for (unsigned n = only ? (unsigned)only : 1; n <= (only ? (unsigned)only : 8); n *= 2) {
        threads = n;
        between = 0;
        race("pile", exchange, ms, rounds);
        between = 700;
        race("pile+", exchange, ms, rounds);
        between = 0;
        race("depot", depot, ms, rounds);
        race("orphans", orphans, ms, rounds);
    }
    return 0;
}
