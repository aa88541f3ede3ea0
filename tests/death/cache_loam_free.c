/* An object of a cache given to loam_free. */
#include "common_death.h"

#include <loam/cache.h>
#include <loam/loam.h>

static void misuse(size_t size)
{
    struct loam_cache *cache = loam_cache_create("mine", size, 0, NULL, NULL, NULL, NULL);

    loam_free(hide(loam_cache_alloc(cache)));
}

int main(void)
{
    return death("invalid free: not a block of this heap", 300000, misuse);
}
