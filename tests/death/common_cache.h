/* common_cache.h: the object cache that a misuse is done to. */
#ifndef LOAM_TEST_DEATH_CACHE_H
#define LOAM_TEST_DEATH_CACHE_H

#include "common_death.h"

#include <loam/cache.h>

/* One named "mine", of objects of that size, and else as the options say, whose other fields may be 0. */
static inline struct loam_cache *cache_with(size_t size, struct loam_cache_options options)
{
    options.struct_bytes = sizeof options;
    options.name = "mine";
    options.size_bytes = size;
    return loam_cache_create_with(&options);
}

static inline struct loam_cache *cache_of(size_t size)
{
    return cache_with(size, (struct loam_cache_options){.flags = 0});
}

#endif
