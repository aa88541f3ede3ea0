/* block: building blocks with a public API, each declared in <loam/NAME.h> and standing in src/block/NAME.c.
 *
 *   source.c   where a block's pages come from
 *   region*.c  the textbook heap inside the caller's memory
 *   buddy.c    the public face of page/buddy
 *   pool.c     objects of one size that can be walked and dropped at once
 *   classes.c  a table of pools by size under a byte budget
 *   cache.c    Bonwick's object cache
 *   private.c  private heaps
 *
 * A block never includes another; this header has what they share: pages from a source, locks that are an option, and the
 * report of a misuse.
 * Locks: a block's own lock has rank LM_RANK_BLOCK, below all of the heap's, and no block calls another with it held. */
#ifndef LM_BLOCK_H
#define LM_BLOCK_H

#include "heap/heap.h"

#include <loam/source.h>

/* Memory from a source, NULL being loam's own arena, of which it takes whole granules. `bytes` is a multiple of
 * LOAM_SOURCE_GRAIN, `align` a power of two of at least it. NULL with ENOMEM (or what the source said). */
void *lm_source_map(const struct loam_source *source, size_t bytes, size_t align);

/* Gives back what one lm_source_map returned. */
void lm_source_unmap(const struct loam_source *source, void *p, size_t bytes);

/* The contents of a part of a mapping are no longer needed; both ends are multiples of LOAM_SOURCE_GRAIN. */
void lm_source_purge(const struct loam_source *source, void *p, size_t bytes);

/* The lock of a block that has one when it is asked for. */
struct lm_block_lock {
    struct lm_lock lock;
    bool is_used;
};

#define LM_BLOCK_LOCK_INIT(is_used) \
    { \
        LM_LOCK_INIT(LM_RANK_BLOCK), (is_used) \
    }

LM_INLINE void lm_block_enter(struct lm_block_lock *lock)
{
    if (lock->is_used)
        lm_lock_take(&lock->lock);
}

LM_INLINE void lm_block_leave(struct lm_block_lock *lock)
{
    if (lock->is_used)
        lm_lock_release(&lock->lock);
}

/* -- object caches: fork ------------------------------------------------------------------------------------ */
bool lm_caches_fork_mine(void); /* true when the caller is inside one */
void lm_caches_fork_take(void); /* all their locks, in and out */
void lm_caches_fork_release(void);
void lm_caches_fork_reset(void);
void lm_caches_after_fork(void); /* in the child, with the heap in order: vanished threads' objects are free again */

/* Writes "loam: BLOCK: FAULT: ADDRESS" and where to look further to stderr, and aborts. */
_Noreturn void lm_block_misuse(const char *block, const char *fault, const void *p) LM_COLD;

#endif
