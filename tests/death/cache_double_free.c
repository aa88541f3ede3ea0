/* An object freed twice: at once, by another thread, after a trip through the depot, and in a cache by CPU. */
#include "common_death.h"

#include <loam/cache.h>

static struct loam_cache *make(size_t size, enum loam_cache_layer layer, const struct loam_source *source)
{
    struct loam_cache_options options = {
        .struct_bytes = sizeof options, .name = "victim", .size_bytes = size, .layer = layer, .source = source};

    return loam_cache_create_with(&options);
}

static struct loam_cache *cache;

static void free_it(void *p)
{
    loam_cache_free(cache, p);
}

static void misuse(size_t size)
{
    void *p;

    cache = make(size, LOAM_CACHE_BY_THREAD, NULL);
    p = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    loam_cache_free(cache, hide(p));
}

static void misuse_elsewhere(size_t size)
{
    void *p;

    cache = make(size, LOAM_CACHE_BY_THREAD, loam_source_os());
    p = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    in_thread(free_it, hide(p));
}

static void misuse_later(size_t size)
{
    void *p, *others[300];

    cache = make(size, LOAM_CACHE_BY_THREAD, NULL);
    p = loam_cache_alloc(cache);
    for (int i = 0; i < 300; i++)
        others[i] = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    for (int i = 0; i < 300; i++)
        loam_cache_free(cache, others[i]);
    loam_cache_free(cache, hide(p));
}

static void misuse_by_cpu(size_t size)
{
    void *p;

    cache = make(size, LOAM_CACHE_BY_CPU, NULL);
    p = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    loam_cache_free(cache, hide(p));
}

int main(void)
{
    return death("object cache victim: double free", 300000, misuse) +
        death("object cache victim: double free", 300000, misuse_elsewhere) +
        death("object cache victim: double free", 8192, misuse_later) +
        death("object cache victim: double free", 8192, misuse_by_cpu);
}
