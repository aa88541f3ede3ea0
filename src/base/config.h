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

/* By what means threads share lists: pile.h, heap/adopt.c. */
enum lm_lists_kind { LM_LISTS_MUTEX, LM_LISTS_LOCKFREE, LM_LISTS_STM };

/* In the order of front/policies.def. */
enum lm_policy { LM_BALANCED, LM_SPEED, LM_LEAN, LM_SINGLE, LM_STEADY };

struct lm_config {
    size_t policy;         /* enum lm_policy */
    size_t arena_bytes;    /* address space of the first arena; smaller under limits */
    size_t slab_max_bytes; /* blocks above it have spans */
    size_t large_bytes;    /* blocks above it are huge: mappings of their own */
    size_t remap_bytes;    /* a block that realloc grows beyond it becomes a mapping, which moves by page tables */
    size_t classes;        /* size classes a doubling: 8, 4, 2 or 1 */
    size_t carve_bytes;    /* of a fresh slab, linked at a time */
    size_t purge_ms;       /* freed spans are returned to the OS after this delay */
    size_t dirty_bytes;    /* freed bytes kept at the most; 0: derived from the memory limit */
    size_t guard_bytes;    /* in use up to it, dirty memory is returned before the peak rises */
    size_t spare_percent;  /* of the most in use, by which dirty memory may raise the peak; 0: without limit */
    size_t scavenge_ms;    /* a thread returns memory after this delay; 0: none */
    size_t huge_bytes;     /* an arena that has grown asks for huge pages for what is beyond it; 0: never */
    size_t prefault_bytes; /* of a fresh slab, populated at once; or of a block; 0: none */
    size_t reserve_bytes;  /* populated and locked at the start, never returned */
    size_t remote_batch;   /* frees of other threads' blocks gathered by slab before they travel */
    size_t cache;          /* enum lm_cache: blocks are cached by thread, by CPU, or as the number of threads has it */
    size_t cache_threads;  /* for each CPU; with cache:auto, more of them are served by CPUs */
    size_t lists;          /* enum lm_lists_kind: how threads share lists */
    size_t heaps;          /* shared by all threads; 0: one a thread */
    bool holes;            /* free pages in slabs are returned */
    bool single;           /* a second thread is refused */
    bool stats;            /* every call is counted (loam run --report); the common path is off */
};

extern struct lm_config lm_config;

#endif
