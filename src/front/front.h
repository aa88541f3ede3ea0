/* front: what programs call.
 *
 *   malloc.c   the malloc family by its usual names (libloam-malloc only)
 *   cxx.c      C++ operators new and delete (libloam-malloc only)
 *   loam.c     the loam_* names
 *   calls.h    the family's semantics, once, inline, for both
 *   info.c     mallinfo2, malloc_info, malloc_stats, mallopt (libloam-malloc only)
 *   dlopen.c   libraries loaded with RTLD_DEEPBIND (libloam-malloc.so only)
 *   init.c     start-up, fork and exit
 *   options.c  LOAM_CONF and the table of options
 *   scavenger.c  a thread that returns memory while the program is idle (option scavenge_ms)
 *   report.c   figures for `loam run` */
#ifndef LM_FRONT_H
#define LM_FRONT_H

#include "heap/heap.h"

/* Reads the options and starts the heap, once; called by every slow road, cheap after the first time. */
void lm_start_slow(void);
extern bool lm_started; /* atomic */

/* Puts into effect what options say that only count before the first allocation. */
void lm_start_apply(void);

LM_INLINE void lm_start(void)
{
    if (LM_UNLIKELY(!__atomic_load_n(&lm_started, __ATOMIC_ACQUIRE))) /* pairs with lm_start_slow */
        lm_start_slow();
}

/* scavenger.c: at the start, once the options are read; and in a fork's child. */
void lm_scavenger_start(void);
void lm_scavenger_ready(void); /* the C library is up: a thread can be made */
void lm_scavenger_after_fork(void);

/* The slow roads of the family, with start-up. */
void *lm_call_malloc_slow(size_t size);
void *lm_call_calloc(size_t count, size_t size);
void *lm_call_realloc(void *p, size_t size);
void *lm_call_aligned(size_t align, size_t size);
void lm_call_free_slow(void *p);

#endif
