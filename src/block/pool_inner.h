/* pool_inner.h: what the files of pools share.
 *
 *   pool.c       objects, one and many, and walks; the drawing
 *   pool_life.c  creating and dropping pools, their figures and their check */
#ifndef LM_BLOCK_POOL_INNER_H
#define LM_BLOCK_POOL_INNER_H

#include "block/room_index.h"
#include "block/room_tray.h"

#include <loam/pool.h>

enum { POOL_INDEX_PLACES = 64, POOL_NAME_BYTES = 32 };

struct loam_pool {
    /* the common path's */
    uint64_t *word;
    char *base;
    size_t stride;
    const struct lm_index_entry *entry;
    size_t mask;
    uint64_t magic;
    unsigned shift; /* of an address, to its key in the index */
    /* all else */
    bool locked, slow;
    uint32_t walks; /* no tray may go meanwhile */
    size_t tray_bytes, keep_bytes;
    struct lm_lock lock;
    struct lm_shelf shelf;
    struct lm_index index;
    struct lm_list batches; /* in the order in which they were made */
    int (*construct)(void *object, void *arg);
    void (*destruct)(void *object, void *arg);
    void *arg;
    uint64_t grown, returned, refused;
    char name[POOL_NAME_BYTES];
    struct lm_store store;
    struct lm_index_entry first_index[POOL_INDEX_PLACES];
};

/* What the common path sees of a pool that is not for it. */
extern const struct lm_index_entry lm_pool_no_entry LM_HIDDEN;

LM_INLINE uintptr_t lm_pool_key(const struct loam_pool *pool, const void *p)
{
    return (uintptr_t)p >> pool->shift;
}

LM_INLINE void lm_pool_enter(struct loam_pool *pool)
{
    if (pool->locked)
        lm_lock_take(&pool->lock);
}

LM_INLINE void lm_pool_leave(struct loam_pool *pool)
{
    if (pool->locked)
        lm_lock_release(&pool->lock);
}

/* Brings the common path's copies up to date. */
LM_INLINE void lm_pool_refresh(struct loam_pool *pool)
{
    if (pool->slow)
        return;
    pool->word = pool->shelf.word;
    pool->base = pool->shelf.base;
    pool->entry = pool->index.entry;
    pool->mask = pool->index.mask;
}

/* Gives empty batches back, down to keep_bytes of them; the bytes returned. Errno is kept. */
size_t lm_pool_shed(struct loam_pool *pool, size_t keep_bytes);

/* Live objects, counted. */
size_t lm_pool_count_live(const struct loam_pool *pool);

/* Calls the destructor for all live objects. */
void lm_pool_destruct_all(struct loam_pool *pool);

#endif
