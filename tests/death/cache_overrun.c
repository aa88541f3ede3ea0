/* One byte written behind an object of a cache with a redzone. */
#include "common_cache.h"

static void misuse(size_t size)
{
    struct loam_cache *cache = cache_with(size, (struct loam_cache_options){.flags = LOAM_CACHE_REDZONE});
    char *p = hide(loam_cache_alloc(cache));

    p[size] ^= 1;
    loam_cache_free(cache, p);
}

int main(void)
{
    return death("object cache mine: overrun", 300000, misuse);
}
