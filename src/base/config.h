/* config.h: the values that options set, one global structure written at start-up.
 *
 * The table of options (names, defaults, help) is front/options.c; floors below only read the values.
 * Written before the first allocation or by loam_configure(); read without synchronisation on slow paths
 * only, never on the common path. */
#ifndef LM_BASE_CONFIG_H
#define LM_BASE_CONFIG_H

#include "base/bits.h"

/* Built for the thread sanitizer. */
#if defined(__SANITIZE_THREAD__)
#define LM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LM_TSAN 1
#endif
#endif
#ifndef LM_TSAN
#define LM_TSAN 0
#endif

struct lm_config {
    size_t arena_bytes;   /* address space of the first arena; smaller under limits */
    size_t large_bytes;   /* blocks above it are huge: mappings of their own */
    size_t purge_ms;      /* freed spans are returned to the OS after this delay */
    size_t dirty_bytes;   /* freed bytes kept at the most; 0: derived from the memory limit */
    size_t remote_batch;  /* frees of other threads' blocks gathered by slab before they travel */
    size_t cache;         /* enum lm_cache: blocks are cached by thread, by CPU, or as the number of threads has it */
    size_t cache_threads; /* for each CPU; with cache:auto, more of them are served by CPUs */
    bool stats;           /* every call is counted (loam run --report); the common path is off */
};

extern struct lm_config lm_config;

#endif
