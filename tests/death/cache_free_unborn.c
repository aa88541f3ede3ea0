/* An address where an object of the cache could be, but was never allocated. */
#include "common_cache.h"

static void misuse(size_t size)
{
    struct loam_cache *cache = cache_with(size, (struct loam_cache_options){.slab_bytes = 16 * size});
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};

    loam_cache_stats(cache, &figures);
    /* the last of the slab: objects are carved by the page, from the first on */
    loam_cache_free(
        cache, (char *)hide(loam_cache_alloc(cache)) + (figures.objects_per_slab - 1) * figures.stride_bytes);
}

int main(void)
{
    return death("object cache mine: free of an object that was never allocated", 300000, misuse);
}
