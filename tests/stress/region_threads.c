/* Threads in one region: each fit, blocks freed by whoever comes next. */
// test: timeout=600
#include "common_stress.h"

#include <loam/region.h>
#include <pthread.h>
#include <string.h>

enum { THREADS = 4, SHELVES = 64, BYTES = 8 << 20 };

static char room[BYTES];
static struct loam_region *region;
static void *shelf[SHELVES]; /* atomic: blocks on their way from one thread to another */
static int steps;

static void *work(void *arg)
{
    uint64_t seed = (uint64_t)(size_t)arg * 2 + 1;

    for (int i = 0; i < steps; i++) {
        size_t size = sizeof(size_t) + next_random(&seed) % (next_random(&seed) % 8 ? 300 : 20000);
        size_t *p = loam_region_alloc(region, size), *other;

        if (p) {
            memset(p, (int)size, size);
            *p = size;
            if (next_random(&seed) % 4 == 0)
                NEED((p = loam_region_realloc(region, p, size)) && *p == size);
        }
        /* pairs with itself in another thread: the block's bytes come with it */
        other = __atomic_exchange_n(&shelf[next_random(&seed) % SHELVES], p, __ATOMIC_ACQ_REL);
        if (!other)
            continue;
        NEED(*other >= sizeof(size_t) && *other < 20400);
        for (size_t at = sizeof(size_t); at < *other; at += 97)
            NEED(((unsigned char *)other)[at] == (unsigned char)*other);
        NEED(loam_region_free(region, other) == 0);
        if (i % 2000 == 0)
            NEED(loam_region_check(region, NULL) == LOAM_REGION_SOUND);
    }
    return NULL;
}

int main(void)
{
    steps = in_full() ? 300000 : 20000;
    for (int kind = 0; kind < 8; kind++) {
        struct loam_region_options options = {.struct_bytes = sizeof options,
            .fit = (enum loam_fit)(kind % 4),
            .lock = kind < 4 ? LOAM_REGION_THREADS : LOAM_REGION_PROCESSES};
        struct loam_region_figures figures = {.struct_bytes = sizeof figures};
        pthread_t threads[THREADS];

        region = loam_region_create(room, BYTES, &options);
        NEED(region);
        for (size_t i = 0; i < THREADS; i++)
            NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < SHELVES; i++) {
            loam_region_free(region, shelf[i]);
            shelf[i] = NULL;
        }
        NEED(loam_region_check(region, NULL) == LOAM_REGION_SOUND);
        NEED(loam_region_figures(region, &figures) == 0 && figures.live_blocks == 0 && figures.free_blocks == 1);
    }
    return 0;
}
