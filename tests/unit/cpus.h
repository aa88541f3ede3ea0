/* cpus.h: a heap whose threads CPUs may serve. */
#ifndef LOAM_TEST_CPUS_H
#define LOAM_TEST_CPUS_H

#include "heap/heap.h"
#include "unit.h"

/* Starts the heap with this kind of cache, in an arena that is large enough from now on. */
static inline void cpus_start(size_t cache)
{
    bool zeroed;

    lm_config.cache = cache;
    lm_config.arena_bytes = (size_t)256 << 20;
    lm_heap_start();
    lm_span_free(lm_span_alloc(1024, 1, LM_LARGE, &zeroed));
}

#endif
