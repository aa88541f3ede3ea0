/* With audit, the report of a double free names the calls that the object has seen, newest first. */
// test: threads
#include "common_cache.h"

static struct loam_cache *cache;

static void free_it(void *p)
{
    loam_cache_free(cache, p);
}

static void misuse(size_t size)
{
    void *p;

    cache = cache_with(size, (struct loam_cache_options){.flags = LOAM_CACHE_AUDIT});
    p = loam_cache_alloc(cache);
    in_thread(free_it, p);
    loam_cache_free(cache, hide(p));
}

int main(void)
{
    return death("double free; freed by the caller at 0x", 300000, misuse) +
        death("ms ago, allocated by the caller at 0x", 300000, misuse);
}
