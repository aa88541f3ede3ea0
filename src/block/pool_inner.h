/* pool_inner.h: what the files of pools share.
 *
 *   pool.c       objects, one and many, and walks; the drawing
 *   pool_life.c  creating and dropping pools, their figures and their check */
#ifndef LM_BLOCK_POOL_INNER_H
#define LM_BLOCK_POOL_INNER_H

#include "block/room_index.h"
#include "block/room_tray.h"

#include <loam/pool.h>

enum { POOL_INDEX_PLACES = 64, POOL_NAME_BYTES = 32, POOL_RECENT = 128 };

/* An object that was freed lately. Its bit says that it is free; its tray still counts it as live. */
struct pool_recent {
    void *object;
    uint64_t *word;
    uint64_t bit;
    struct lm_tray *tray;
};

struct loam_pool {
    /* the common path's */
    struct pool_recent *top;            /* the place behind the last of `recent` */
    struct pool_recent *bottom, *limit; /* they go back to their trays when top comes to limit */
    uint64_t *word;                     /* the shelf's, and so on; see lm_pool_refresh */
    char *base;
    size_t stride;
    const struct lm_index_entry *entry;
    size_t mask;        /* of bytes into the index */
    size_t cells_bytes; /* of a tray, of which all cells are made; 0 when the common path is not for the pool */
    uint64_t magic;
    unsigned shift; /* of an address, to bytes into the index */
    /* all else */
    bool locked, slow;
    uint32_t walks; /* no tray may go meanwhile */
    size_t tray_bytes, tray_align, keep_bytes;
    struct lm_lock lock;
    struct lm_shelf shelf;
    struct lm_index index;
    struct lm_list batches; /* in the order in which they were made */
    int (*construct)(void *object, void *arg);
    void (*destruct)(void *object, void *arg);
    void *arg;
    uint64_t grown, returned, refused;
    char name[POOL_NAME_BYTES];
    struct pool_recent recent[POOL_RECENT];
    struct lm_store store;
    struct lm_index_entry first_index[POOL_INDEX_PLACES];
};

/* The key of the tray that p lies in, if it does. */
LM_INLINE uintptr_t lm_pool_key(const struct loam_pool *pool, const void *p)
{
    return lm_align_down((uintptr_t)p, pool->tray_align);
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
    pool->mask = pool->index.mask * sizeof *pool->entry;
}

/* Puts the objects that were freed lately back into their trays. */
void lm_pool_flush(struct loam_pool *pool);

/* Gives empty batches back, down to keep_bytes of them; the bytes returned. Errno is kept. */
size_t lm_pool_shed(struct loam_pool *pool, size_t keep_bytes);

/* Live objects, counted. */
size_t lm_pool_count_live(const struct loam_pool *pool);

/* Calls the destructor for all live objects. */
void lm_pool_destruct_all(struct loam_pool *pool);

#endif
