/* With audit, the report of a double free names the calls that the object has seen, newest first. */
#include "common_death.h"

#include <loam/cache.h>

static struct loam_cache *make(size_t size)
{
    struct loam_cache_options options = {
        .struct_bytes = sizeof options, .name = "mine", .size_bytes = size, .flags = LOAM_CACHE_AUDIT};

    return loam_cache_create_with(&options);
}

static struct loam_cache *cache;

static void free_it(void *p)
{
    loam_cache_free(cache, p);
}

static void misuse(size_t size)
{
    void *p;

    cache = make(size);
    p = loam_cache_alloc(cache);
    in_thread(free_it, p);
    loam_cache_free(cache, hide(p));
}

int main(void)
{
    return death("double free; freed by the caller at 0x", 300000, misuse) +
        death("ms ago, allocated by the caller at 0x", 300000, misuse);
}
