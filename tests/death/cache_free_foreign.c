/* What is no object of the cache: an object of another cache, a block of malloc, the stack. */
#include "common_cache.h"

#include <loam/loam.h>

static void misuse_of_other(size_t size)
{
    struct loam_cache *cache = cache_of(size);
    struct loam_cache *other = loam_cache_create("other", size, 0, NULL, NULL, NULL, NULL);
    void *p = loam_cache_alloc(other);

    loam_cache_free(other, loam_cache_alloc(other));
    loam_cache_free(cache, loam_cache_alloc(cache));
    loam_cache_free(cache, hide(p));
}

static void misuse_of_block(size_t size)
{
    struct loam_cache *cache = cache_of(size);

    loam_cache_free(cache, loam_cache_alloc(cache));
    loam_cache_free(cache, hide(loam_malloc(size)));
}

static void misuse_of_stack(size_t size)
{
    struct loam_cache *cache = cache_with(size, (struct loam_cache_options){.source = loam_source_os()});
    char here[64];

    loam_cache_free(cache, loam_cache_alloc(cache));
    loam_cache_free(cache, hide(here));
}

int main(void)
{
    return death("object cache mine: not an object of this cache", 300000, misuse_of_other) +
        death("object cache mine: not an object of this cache", 300000, misuse_of_block) +
        death("object cache mine: not an object of this cache", 300000, misuse_of_stack);
}
