/* Threads that come and go trade objects of one cache by a common array: each object carries a constructed part that
 * must hold whoever freed it last, and a stamp of its holder. One thread reaps meanwhile; late TLS destructors still free
 * and allocate. The seed is printed; --seed N repeats it as far as threads can be repeated. */
// test: timeout=900
#include "../need.h"

#include <loam/cache.h>
#include <loam/loam.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* There are four rounds of destructors, of which the thread sanitizer does not survive the last in instrumented code. */
#if defined __has_feature
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1 /* as gcc calls it */
#endif
#endif
#ifdef __SANITIZE_THREAD__
enum { LATE_ROUNDS = 1 };
#else
enum { LATE_ROUNDS = 3 };
#endif
enum { THREADS = 4, GENERATIONS = 8, STEPS = 20000, SLOTS = 500, MINE = 60 };
struct object {
    uint64_t constructed, stamp;
    char rest[100];
};

static struct loam_cache *cache;
static struct object *slot[SLOTS];
static uint64_t first_seed;
static int existing; /* atomic */
static int stop;     /* atomic */
static pthread_key_t late;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

static int construct(void *p, void *arg)
{
    struct object *object = p;

    NEED(arg == &cache);
    object->constructed = (uintptr_t)p ^ first_seed;
    object->stamp = 0;
    __atomic_add_fetch(&existing, 1, __ATOMIC_RELAXED);
    return 0;
}

static void destruct(void *p, void *arg)
{
    struct object *object = p;

    NEED(arg == &cache && object->constructed == ((uintptr_t)p ^ first_seed) && object->stamp == 0);
    object->constructed = 0;
    __atomic_sub_fetch(&existing, 1, __ATOMIC_RELAXED);
}

static struct object *take(void)
{
    struct object *object = loam_cache_alloc(cache);

    NEED(object && object->constructed == ((uintptr_t)object ^ first_seed) && object->stamp == 0);
    object->stamp = (uintptr_t)object * 3;
    return object;
}

static void give(struct object *object)
{
    NEED(object->constructed == ((uintptr_t)object ^ first_seed) && object->stamp == (uintptr_t)object * 3);
    object->stamp = 0;
    loam_cache_free(cache, object);
}

/* A destructor of the program's own that is called again and again, and uses the cache every time. */
static void goes_late(void *p)
{
    struct object *object = p;
    uint64_t times = object->stamp >> 60;

    object->stamp = (uintptr_t)object * 3;
    give(object);
    if (times < LATE_ROUNDS) {
        object = take();
        object->stamp = (times + 1) << 60;
        pthread_setspecific(late, object);
    }
}

static void *trade(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 2654435761u ^ first_seed;
    struct object *mine[MINE] = {NULL}, *theirs;

    for (int i = 0; i < STEPS; i++) {
        uint64_t r = next_random(&seed);
        struct object **private = &mine[r % MINE];

        if (r >> 40 & 1) {
            theirs = __atomic_exchange_n(&slot[(r >> 8) % SLOTS], r >> 41 & 1 ? take() : NULL, __ATOMIC_ACQ_REL);
            if (theirs)
                give(theirs);
        } else if (*private) {
            give(*private);
            *private = NULL;
        } else {
            *private = take();
        }
    }
    for (int i = 0; i < MINE; i++)
        if (mine[i])
            give(mine[i]);
    theirs = take();
    theirs->stamp = 0;
    pthread_setspecific(late, theirs);
    loam_trim(0); /* so that little is left to do for the heap's own destructor, which comes last */
    return NULL;
}

static void sum(const struct loam_cache_figures *figures, void *arg)
{
    *(size_t *)arg += figures->live_objects;
}

static void *reap(void *arg)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        size_t live = 0;
        struct timespec moment = {0, 2000000};

        loam_cache_reap_all();
        loam_cache_each(sum, &live);
        nanosleep(&moment, NULL);
    }
    return arg;
}

static void run(const struct loam_cache_options *options)
{
    pthread_t threads[THREADS], reaper;
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};

    cache = loam_cache_create_with(options);
    NEED(cache);
    stop = 0;
    NEED(pthread_create(&reaper, NULL, reap, NULL) == 0);
    for (uintptr_t generation = 0; generation < GENERATIONS; generation++) {
        for (uintptr_t i = 0; i < THREADS; i++)
            NEED(pthread_create(&threads[i], NULL, trade, (void *)(generation * THREADS + i + 1)) == 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(reaper, NULL);
    NEED(loam_cache_check(cache) == 0);
    for (int i = 0; i < SLOTS; i++) {
        if (slot[i])
            give(slot[i]);
        slot[i] = NULL;
    }
    NEED(loam_cache_stats(cache, &figures) == 0 && figures.live_objects == 0);
    loam_cache_reap(cache); /* all threads are gone: their magazines must be, too */
    NEED(loam_cache_stats(cache, &figures) == 0 && figures.held_bytes == 0 && figures.cached_objects == 0);
    NEED(loam_cache_check(cache) == 0 && existing == 0);
    loam_cache_destroy(cache);
}

int main(int argc, char **argv)
{
    first_seed = argc == 3 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    printf("cache_threads: --seed %llu\n", (unsigned long long)first_seed);
    fflush(stdout);
    first_seed |= 1;
    NEED(pthread_key_create(&late, goes_late) == 0);
    for (int layer = LOAM_CACHE_BY_THREAD; layer <= LOAM_CACHE_BY_NOBODY; layer++)
        for (int source = 0; source < 2; source++) {
            struct loam_cache_options options = {.struct_bytes = sizeof options,
                .name = "traded",
                .size_bytes = sizeof(struct object),
                .construct = construct,
                .destruct = destruct,
                .arg = &cache,
                .layer = (enum loam_cache_layer)layer,
                .source = source ? loam_source_os() : NULL,
                .magazine_rounds = layer == LOAM_CACHE_BY_THREAD ? 3 : 0,
                .idle_ms = 5};

            run(&options);
        }
    puts("nothing wrong");
    return 0;
}
