/* An object freed twice: at once, by another thread, after a trip through the depot, and in a cache by CPU. */
#include "common_cache.h"

static struct loam_cache *cache;

static void free_it(void *p)
{
    loam_cache_free(cache, p);
}

static void misuse(size_t size)
{
    void *p;

    cache = cache_of(size);
    p = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    loam_cache_free(cache, hide(p));
}

static void misuse_elsewhere(size_t size)
{
    void *p;

    cache = cache_with(size, (struct loam_cache_options){.source = loam_source_os()});
    p = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    in_thread(free_it, hide(p));
}

static void misuse_later(size_t size)
{
    void *p, *others[300];

    cache = cache_of(size);
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

    cache = cache_with(size, (struct loam_cache_options){.layer = LOAM_CACHE_BY_CPU});
    p = loam_cache_alloc(cache);
    loam_cache_free(cache, p);
    loam_cache_free(cache, hide(p));
}

int main(void)
{
    return death("object cache mine: double free", 300000, misuse) +
        death("object cache mine: double free", 300000, misuse_elsewhere) +
        death("object cache mine: double free", 8192, misuse_later) +
        death("object cache mine: double free", 8192, misuse_by_cpu);
}
