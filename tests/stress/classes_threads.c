/* Threads on one table of classes with a lock: blocks freed by whoever comes next, without and under a budget, and with a
 * hook that evicts while the others go on. */
// test: timeout=600
#include "common_stress.h"

#include <loam/classes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, SHELVES = 1024, MOST = 40000, BUDGET = 4 << 20 };

struct item {
    size_t bytes; /* of the whole block, as asked for */
    uint32_t shelf;
    uint8_t byte; /* the rest is filled with this */
};

static struct loam_classes *table;
static struct item *shelf[SHELVES]; /* atomic: owned by whoever exchanges it out */
static uint64_t seed_of_all;
static size_t evicted; /* atomic counter, read after the threads are gone */
static int steps;

static void fill(struct item *item, size_t bytes, uint32_t at, uint8_t byte)
{
    *item = (struct item){bytes, at, byte};
    memset(item + 1, byte, bytes - sizeof *item);
}

static void verify(const struct item *item, size_t at)
{
    const uint8_t *rest = (const uint8_t *)(item + 1);

    NEED(item->shelf == at && item->bytes >= sizeof *item && item->bytes <= MOST);
    for (size_t i = 0; i < item->bytes - sizeof *item; i += i < 64 ? 1 : 61)
        NEED(rest[i] == item->byte);
}

/* The block is in nobody's hands when it is still on a shelf; then it is ours, and can go. */
static void drop(void *block, size_t bytes, void *arg)
{
    (void)bytes;
    (void)arg;
    for (size_t at = 0; at < SHELVES; at++) { /* its own word may be being written by another thread */
        struct item *expected = block;

        /* pairs with the exchanges in work: what the last owner wrote comes with the block */
        if (__atomic_compare_exchange_n(&shelf[at], &expected, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            verify(block, at);
            loam_classes_free(table, block);
            __atomic_fetch_add(&evicted, 1, __ATOMIC_RELAXED);
            return;
        }
    }
}

static void evict(struct loam_classes *classes, struct loam_classes_slab *slab, void *arg)
{
    loam_classes_slab_each(classes, slab, drop, arg);
}

/* Mostly small; each thread leans to other sizes from time to time, so that slabs have to move. */
static size_t any_bytes(uint64_t *seed, int step)
{
    size_t r = next_random(seed) % 100, phase = (size_t)step / 4000 % 3;

    if (r < 80)
        return sizeof(struct item) + next_random(seed) % (phase == 0 ? 100 : phase == 1 ? 900 : 3000);
    return sizeof(struct item) + next_random(seed) % (r < 99 ? 6000 : MOST - sizeof(struct item));
}

static void resize(struct item **item, size_t at, uint64_t *seed, int step)
{
    size_t bytes = any_bytes(seed, step);
    struct item *p = loam_classes_realloc(table, *item, bytes);

    if (!p)
        return; /* as it was */
    if (p->bytes > bytes)
        p->bytes = bytes;
    verify(p, at);
    fill(p, bytes, (uint32_t)at, (uint8_t)next_random(seed));
    *item = p;
}

static void *work(void *arg)
{
    uint64_t seed = (seed_of_all + (uint64_t)(size_t)arg) * 2 + 1;

    for (int i = 0; i < steps; i++) {
        size_t at = next_random(&seed) % SHELVES, bytes = any_bytes(&seed, i);
        struct item *item = next_random(&seed) % 4 ? loam_classes_alloc(table, bytes) : NULL, *other;

        if (item) {
            NEED(loam_classes_usable_size(table, item) >= bytes);
            fill(item, bytes, (uint32_t)at, (uint8_t)next_random(&seed));
            if (next_random(&seed) % 4 == 0)
                resize(&item, at, &seed, i);
        }
        /* pairs with itself in another thread, and with drop */
        other = __atomic_exchange_n(&shelf[at], item, __ATOMIC_ACQ_REL);
        if (other) {
            verify(other, at);
            loam_classes_free(table, other);
        }
        if (i % 2000 == 0)
            NEED(loam_classes_check(table) == 0);
        if (i % 5000 == 1)
            loam_classes_trim(table);
    }
    return NULL;
}

static struct loam_classes_figures run(size_t limit_bytes, bool hook)
{
    struct loam_classes_options options = {.struct_bytes = sizeof options,
        .max_bytes = 8192,
        .limit_bytes = limit_bytes,
        .evict = hook ? evict : NULL,
        .locked = 1};
    struct loam_classes_figures figures = {.struct_bytes = sizeof figures};
    pthread_t threads[THREADS];

    evicted = 0;
    table = loam_classes_create(&options);
    NEED(table);
    for (size_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    NEED(loam_classes_check(table) == 0);
    for (size_t at = 0; at < SHELVES; at++) {
        if (shelf[at])
            verify(shelf[at], at);
        loam_classes_free(table, shelf[at]);
        shelf[at] = NULL;
    }
    NEED(loam_classes_check(table) == 0);
    NEED(loam_classes_stats(table, &figures) == 0);
    NEED(figures.live == 0 && figures.live_bytes == 0 && figures.large_blocks == 0);
    NEED(!limit_bytes || figures.peak_bytes <= limit_bytes);
    loam_classes_destroy(table);
    return figures;
}

int main(void)
{
    const char *given = getenv("LOAM_SEED");
    struct loam_classes_figures figures;

    seed_of_all = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("seed: LOAM_SEED=%llu\n", (unsigned long long)seed_of_all);
    fflush(stdout);
    steps = in_full() ? 600000 : 60000;
    figures = run(0, false);
    NEED(figures.refused == 0);
    figures = run(BUDGET / 2, false);
    NEED(figures.moved > 0 && figures.refused > 0);
    figures = run(BUDGET / 4, true);
    NEED(evicted > 0 && figures.evictions > 0 && figures.moved > 0);
    return 0;
}
