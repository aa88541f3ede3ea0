/* A pointer into an object, which is none that starts there: near its start, and far, in a later granule. */
#include "common_cache.h"

static void misuse(size_t size)
{
    struct loam_cache *cache = cache_of(size + 16);

    loam_cache_free(cache, loam_cache_alloc(cache));
    loam_cache_free(cache, (char *)hide(loam_cache_alloc(cache)) + 8);
}

static void misuse_far(size_t size)
{
    struct loam_cache *cache =
        cache_with(size + 16, (struct loam_cache_options){.source = size % 2 ? loam_source_os() : NULL});

    loam_cache_free(cache, (char *)hide(loam_cache_alloc(cache)) + size / 2 + 1);
}

int main(void)
{
    return death("object cache mine: inside an object", 300000, misuse) +
        death("object cache mine: inside an object", 300000, misuse_far);
}
