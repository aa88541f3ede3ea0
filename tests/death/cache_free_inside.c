/* A pointer into an object, which is none that starts there: near its start, and far, in a later granule. */
#include "common_death.h"

#include <loam/cache.h>

static void misuse(size_t size)
{
    struct loam_cache *cache = loam_cache_create("mine", size + 16, 0, NULL, NULL, NULL, NULL);

    loam_cache_free(cache, loam_cache_alloc(cache));
    loam_cache_free(cache, (char *)hide(loam_cache_alloc(cache)) + 8);
}

static void misuse_far(size_t size)
{
    struct loam_cache_options options = {.struct_bytes = sizeof options, .name = "mine", .size_bytes = size + 16};
    struct loam_cache *cache;

    options.source = size % 2 ? loam_source_os() : NULL;
    cache = loam_cache_create_with(&options);
    loam_cache_free(cache, (char *)hide(loam_cache_alloc(cache)) + size / 2 + 1);
}

int main(void)
{
    return death("object cache mine: inside an object", 300000, misuse) +
        death("object cache mine: inside an object", 300000, misuse_far);
}
