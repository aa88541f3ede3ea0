/* An object of a cache given to loam_free. */
#include "common_cache.h"

#include <loam/loam.h>

static void misuse(size_t size)
{
    struct loam_cache *cache = cache_of(size);

    loam_free(hide(loam_cache_alloc(cache)));
}

int main(void)
{
    return death("invalid free: not a block of this heap", 300000, misuse);
}
