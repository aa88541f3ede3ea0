/* pool_inner.h: what the files of pools share.
 *
 *   pool.c       objects, one and many, and walks; the drawing
 *   pool_life.c  creating and dropping pools, their figures and their check */
#ifndef LM_BLOCK_POOL_INNER_H
#define LM_BLOCK_POOL_INNER_H

#include "block/room_index.h"
#include "block/room_tray.h"

#include <loam/pool.h>

enum { POOL_INDEX_PLACES = 64, POOL_NAME_BYTES = 32, POOL_RECENT = 1024, POOL_RECENT_LEAST = 16 };

struct loam_pool {
    struct loam_pool_head head; /* the common path's, which is in <loam/pool.h> */
    /* all else */
    bool slow;
    uint32_t walks; /* no tray may go meanwhile */
    size_t tray_bytes, tray_align, keep_bytes;
    struct lm_block_lock lock;
    struct lm_shelf shelf;
    struct lm_index index;
    struct lm_list batches; /* in the order in which they were made */
    int (*construct)(void *object, void *arg);
    void (*destruct)(void *object, void *arg);
    void *arg;
    uint64_t grown, returned, refused;
    char name[POOL_NAME_BYTES];
    /* objects that were freed lately: their bits say that they are free, their trays still count them as live */
    struct loam_pool_recent recent[POOL_RECENT];
    struct lm_store store;
    struct lm_index_entry first_index[POOL_INDEX_PLACES];
};

/* The key of the tray that p lies in, if it does. */
LM_INLINE uintptr_t lm_pool_key(const struct loam_pool *pool, const void *p)
{
    return lm_align_down((uintptr_t)p, pool->tray_align);
}

_Static_assert(sizeof(struct loam_pool_entry) == sizeof(struct lm_index_entry) &&
        offsetof(struct loam_pool_entry, first) == offsetof(struct lm_index_entry, key) &&
        offsetof(struct loam_pool_entry, tray) == offsetof(struct lm_index_entry, value) &&
        offsetof(struct lm_tray, bits) == 64,
    "what the public header believes");

/* The word that holds the bit of a recent object. */
LM_INLINE uint64_t *lm_pool_word(const struct loam_pool_recent *one)
{
    return (uint64_t *)(one->place >> 6 << 3);
}

/* Brings the common path's copies up to date. */
LM_INLINE void lm_pool_refresh(struct loam_pool *pool)
{
    if (pool->slow)
        return;
    pool->head.word = pool->shelf.word;
    pool->head.base = pool->shelf.base;
    pool->head.entry = (const struct loam_pool_entry *)(const void *)pool->index.entry;
    pool->head.mask = pool->index.mask * sizeof *pool->head.entry;
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
