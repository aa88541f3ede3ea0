/* A cache destroyed while one of its objects is live. */
#include "common_cache.h"

static void misuse(size_t size)
{
    struct loam_cache *cache = cache_of(size);
    void *p = loam_cache_alloc(cache);

    loam_cache_free(cache, loam_cache_alloc(cache));
    hide(p);
    loam_cache_destroy(cache);
}

int main(void)
{
    return death("object cache mine: destroyed while objects are live", 300000, misuse);
}
