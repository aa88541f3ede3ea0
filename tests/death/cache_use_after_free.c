/* An object of a poisoning cache that is written to after it was freed: the next to be given it is told. */
#include "common_cache.h"

static void misuse(size_t size)
{
    struct loam_cache *cache = cache_with(size, (struct loam_cache_options){.flags = LOAM_CACHE_POISON});
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};
    char *p = hide(loam_cache_alloc(cache));

    loam_cache_stats(cache, &figures);
    loam_cache_free(cache, p);
    p[size / 2] ^= 1;
    for (size_t i = 0; i <= figures.objects_per_slab; i++)
        hide(loam_cache_alloc(cache));
}

int main(void)
{
    return death("object cache mine: written to after it was freed", 300000, misuse);
}
