/* One byte written behind an object of a cache with a redzone. */
#include "common_death.h"

#include <loam/cache.h>

static void misuse(size_t size)
{
    struct loam_cache_options options = {
        .struct_bytes = sizeof options, .name = "mine", .size_bytes = size, .flags = LOAM_CACHE_REDZONE};
    struct loam_cache *cache = loam_cache_create_with(&options);
    char *p = hide(loam_cache_alloc(cache));

    p[size] ^= 1;
    loam_cache_free(cache, p);
}

int main(void)
{
    return death("object cache mine: overrun", 300000, misuse);
}
