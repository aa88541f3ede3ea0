/* Threads on one pool with a lock: objects freed by whoever comes next, walks and batches in between, and a hook. */
// test: timeout=600
#include "common_stress.h"

#include <loam/pool.h>
#include <pthread.h>
#include <time.h>

enum { THREADS = 4, SHELVES = 2048, BATCH = 40, WORDS = 12 };

static struct loam_pool *pool;
static uint64_t *shelf[SHELVES]; /* atomic: objects on their way from one thread to another */
static uint64_t seed_of_all;
static size_t built, dropped; /* atomic: calls of the hooks; each is added to and read after the threads are gone */
static int steps;

static int construct(void *object, void *arg)
{
    (void)arg;
    *(uint64_t *)object = 0;
    __atomic_fetch_add(&built, 1, __ATOMIC_RELAXED);
    return 0;
}

static void destruct(void *object, void *arg)
{
    (void)arg;
    (void)object;
    __atomic_fetch_add(&dropped, 1, __ATOMIC_RELAXED);
}

/* Every word of an object says what its first one does, so that two owners at once are seen. */
static void sign(uint64_t *object, uint64_t value)
{
    for (int i = 0; i < WORDS; i++)
        object[i] = value + (uint64_t)i;
}

static void verify(const uint64_t *object)
{
    for (int i = 1; i < WORDS; i++)
        NEED(object[i] == object[0] + (uint64_t)i);
}

/* Puts an object, or none, on a shelf and frees what was there. */
static void pass_on(uint64_t *object, uint64_t *seed)
{
    /* pairs with itself in another thread: the object's bytes come with it */
    uint64_t *other = __atomic_exchange_n(&shelf[next_random(seed) % SHELVES], object, __ATOMIC_ACQ_REL);

    if (!other)
        return;
    verify(other);
    NEED(loam_pool_owns(pool, other) == 1);
    loam_pool_free(pool, other);
}

static void many_at_once(uint64_t *seed)
{
    void *objects[BATCH];
    size_t count = loam_pool_alloc_batch(pool, 1 + next_random(seed) % BATCH, objects);

    for (size_t i = 0; i < count; i++)
        sign(objects[i], next_random(seed));
    for (size_t i = 0; i < count; i++)
        verify(objects[i]);
    if (count && next_random(seed) % 2)
        pass_on(objects[--count], seed);
    loam_pool_free_batch(pool, count, objects);
}

static void count_one(void *object, void *arg)
{
    (void)object;
    ++*(size_t *)arg;
}

static void *work(void *arg)
{
    uint64_t seed = (seed_of_all + (uint64_t)(size_t)arg) * 2 + 1;

    for (int i = 0; i < steps; i++) {
        uint64_t *object =
            next_random(&seed) % 16 < (i / 16384 % 2 ? 1 : 12) ? loam_pool_alloc(pool) : NULL; /* ebb, flow */

        if (object)
            sign(object, next_random(&seed));
        pass_on(object, &seed);
        if (next_random(&seed) % 16 == 0)
            many_at_once(&seed);
        if (i % 1000 == 0)
            NEED(loam_pool_check(pool) == 0);
        if (i % 3000 == 1)
            loam_pool_trim(pool);
        if (i % 5000 == 2) {
            size_t live = 0;

            loam_pool_each(pool, count_one, &live);
            NEED(live <= SHELVES + THREADS * (BATCH + 2));
        }
    }
    return NULL;
}

/* With a limit some allocations are refused; with hooks every object handed out is counted in and out. */
static void run(bool hooks, size_t limit_bytes)
{
    struct loam_pool_options options = {.struct_bytes = sizeof options,
        .object_bytes = WORDS * sizeof(uint64_t),
        .construct = hooks ? construct : NULL,
        .destruct = hooks ? destruct : NULL,
        .keep_bytes = 1, /* batches come and go */
        .limit_bytes = limit_bytes,
        .locked = 1};
    struct loam_pool_figures figures = {.struct_bytes = sizeof figures};
    pthread_t threads[THREADS];

    built = dropped = 0;
    pool = loam_pool_create_with(&options);
    NEED(pool);
    for (size_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    NEED(loam_pool_check(pool) == 0);
    for (int i = 0; i < SHELVES; i++) {
        if (shelf[i])
            verify(shelf[i]);
        if (i % 2)
            loam_pool_free(pool, shelf[i]);
        shelf[i] = NULL;
    }
    NEED(loam_pool_check(pool) == 0);
    loam_pool_reset(pool); /* the other half */
    NEED(loam_pool_check(pool) == 0);
    NEED(loam_pool_stats(pool, &figures) == 0);
    NEED(figures.live == 0 && built == dropped && (built != 0) == hooks);
    NEED(limit_bytes ? figures.refused > 0 && figures.peak_bytes <= limit_bytes : figures.refused == 0);
    loam_pool_destroy(pool);
}

int main(void)
{
    const char *given = getenv("LOAM_SEED");

    seed_of_all = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("seed: LOAM_SEED=%llu\n", (unsigned long long)seed_of_all);
    fflush(stdout);
    steps = in_full() ? 1000000 : 100000;
    run(false, 0);
    run(true, 0);
    run(true, 200000);
    return 0;
}
