/* Fork while threads are deep in object caches: in the child every cache is whole, its live objects are those that
 * somebody holds, what the vanished threads' magazines held is free again, and new threads work. */
// test: timeout=600
#include "common_stress.h"

#include <loam/cache.h>
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 3, HELD = 200, FORKS = 60, BY_MAIN = 1000 };

struct object {
    uint64_t constructed;
    char rest[72];
};

static struct loam_cache *caches[3];
static int stop;

static int construct(void *p, void *arg)
{
    ((struct object *)p)->constructed = (uintptr_t)p;
    return arg != NULL;
}

static void destruct(void *p, void *arg)
{
    NEED(!arg && ((struct object *)p)->constructed == (uintptr_t)p);
    ((struct object *)p)->constructed = 0;
}

static void *work(void *arg)
{
    uint64_t seed = (uintptr_t)arg | 1;
    struct object *held[HELD] = {NULL};

    for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        struct object **p = &held[next_random(&seed) % HELD];
        struct loam_cache *cache = caches[(size_t)(p - held) % 3];

        if (*p) {
            loam_cache_free(cache, *p);
            *p = NULL;
        } else {
            *p = loam_cache_alloc(cache);
            NEED(*p && (*p)->constructed == (uintptr_t)*p);
        }
        if (i % 4096 == 0)
            loam_cache_reap(cache);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i])
            loam_cache_free(caches[i % 3], held[i]);
    return NULL;
}

static void in_child(void *arg)
{
    struct object **mine = arg;
    pthread_t thread;

    alarm(60);
    for (int i = 0; i < 3; i++) {
        struct loam_cache_figures figures = {.struct_bytes = sizeof figures};
        struct object *all[3000];

        NEED(loam_cache_check(caches[i]) == 0);
        NEED(loam_cache_stats(caches[i], &figures) == 0);
        /* the main thread's, and at most those that the others held, one of each being on its way */
        NEED(figures.live_objects >= BY_MAIN / 3 && figures.live_objects <= BY_MAIN / 3 + 1 + THREADS * (HELD / 3 + 2));
        for (int j = 0; j < 3000; j++) {
            all[j] = loam_cache_alloc(caches[i]);
            NEED(all[j] && all[j]->constructed == (uintptr_t)all[j]);
        }
        for (int j = 0; j < 3000; j++)
            loam_cache_free(caches[i], all[j]);
        NEED(loam_cache_check(caches[i]) == 0);
    }
    for (int i = 0; i < BY_MAIN; i++)
        loam_cache_free(caches[i % 3], mine[i]);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    NEED(pthread_create(&thread, NULL, work, (void *)99) == 0);
    pthread_join(thread, NULL);
    loam_cache_reap_all();
    for (int i = 0; i < 3; i++)
        NEED(loam_cache_check(caches[i]) == 0);
    _exit(0);
}

int main(void)
{
    static struct object *mine[BY_MAIN];
    pthread_t threads[THREADS];

    for (int layer = LOAM_CACHE_BY_THREAD; layer <= LOAM_CACHE_BY_NOBODY; layer++) {
        struct loam_cache_options options = {.struct_bytes = sizeof options,
            .name = "forked",
            .size_bytes = sizeof(struct object),
            .construct = construct,
            .destruct = destruct,
            .layer = (enum loam_cache_layer)layer,
            .magazine_rounds = 5};

        caches[layer] = loam_cache_create_with(&options);
        NEED(caches[layer]);
    }
    for (int i = 0; i < BY_MAIN; i++)
        mine[i] = loam_cache_alloc(caches[i % 3]);
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    forks(in_full() ? FORKS * 10 : FORKS, in_child, mine);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < BY_MAIN; i++)
        loam_cache_free(caches[i % 3], mine[i]);
    for (int i = 0; i < 3; i++) {
        NEED(loam_cache_check(caches[i]) == 0);
        loam_cache_destroy(caches[i]);
    }
    return 0;
}
