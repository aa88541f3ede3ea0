/* classes_inner.h: what the files of class tables share.
 *
 *   classes.c        blocks: classes, cookies, large ones
 *   classes_move.c   where a class gets its next slab from
 *   classes_life.c   creating and dropping tables, their figures and their check
 *
 * A slab is a tray (room_tray.h), a class a shelf of them, all in one index by address:
 *
 *   slab   | 8 idle | cookie | block | cookie | block | ...            stride = 8 + usable, a multiple of 16
 *                            ^ 16-aligned
 *   large  | struct classes_large: usable, cookie | block |            a block of the general heap
 *
 *   home   | struct loam_classes | class of each size | headers ... |
 *
 * Invariant (loam_classes_check): those of shelves and index; every tray stands in `age`, oldest first, but for those
 * that are leaving; every live block has its cookie; held_bytes is home, chunks, slabs, index and large blocks.
 * Locks: LM_RANK_BLOCK when `locked`, none else; it is not held while a hook runs. */
#ifndef LM_BLOCK_CLASSES_INNER_H
#define LM_BLOCK_CLASSES_INNER_H

#include "block/room_index.h"
#include "block/room_tray.h"

#include <loam/classes.h>

enum {
    CLASSES_MOST = 255,
    CLASSES_LARGE = 255, /* the class in the cookie of a large block */
    CLASSES_GRAIN = 16,
    CLASSES_COOKIE_BYTES = 8,
    CLASSES_INDEX_PLACES = 64,
    CLASSES_NAME_BYTES = 32,
};
#define CLASSES_NO_LIMIT SIZE_MAX

struct classes_class {
    struct lm_shelf shelf;
    size_t live; /* blocks */
    uint64_t allocations, moved_in, moved_out, evicted, refused;
};

struct classes_large {
    size_t usable;
    uint64_t cookie;
};

/* A hook at work; on the stack of the thread that called it. */
struct classes_move {
    struct classes_move *next;
    uint64_t thread;
};

struct loam_classes {
    struct lm_store store; /* first: it begins the home */
    struct lm_block_lock lock;
    unsigned count;   /* of classes */
    size_t max_bytes; /* of a block in a slab */
    size_t slab_bytes;
    uint64_t key[2];       /* of cookies */
    uint8_t *class_of;     /* by (size + cookie + 15) / 16 */
    struct lm_index index; /* of slabs */
    struct lm_index large; /* of large blocks, by their own address */
    size_t large_bytes;
    struct lm_list age; /* slabs, the one that was current last at the end */
    struct classes_move *moves;
    void (*evict)(struct loam_classes *classes, struct loam_classes_slab *slab, void *arg);
    void *arg;
    uint64_t moved, evictions, refused;
    char name[CLASSES_NAME_BYTES];
    struct lm_index_entry first_index[CLASSES_INDEX_PLACES];
    struct lm_index_entry first_large[CLASSES_INDEX_PLACES];
    struct classes_class class[CLASSES_MOST];
};

LM_INLINE struct classes_class *lm_classes_class_of(const struct lm_tray *tray)
{
    return LM_CONTAINER(tray->shelf, struct classes_class, shelf);
}

/* What must stand before a block: a keyed mix of its address, with the class in the low byte for who reads a dump. */
LM_INLINE uint64_t lm_classes_cookie(const struct loam_classes *table, const void *block, unsigned class)
{
    uint64_t x = ((uint64_t)(uintptr_t)block ^ table->key[0]) * table->key[1];

    x = (x ^ x >> 32) * (table->key[0] | 1);
    return ((x ^ x >> 29) & ~(uint64_t)0xff) | class;
}

LM_INLINE uint64_t *lm_classes_cookie_at(const void *block)
{
    return (uint64_t *)block - 1;
}

/* The key of a large block: its low bits must differ, and those of big blocks' addresses do not. */
LM_INLINE uintptr_t lm_classes_large_key(const void *block)
{
    uintptr_t x = (uintptr_t)block >> 4;

    return x ^ x >> 12 ^ x >> 24;
}

LM_INLINE unsigned lm_classes_number(const struct loam_classes *table, const struct classes_class *class)
{
    return (unsigned)(class - table->class);
}

LM_INLINE size_t lm_classes_usable(const struct classes_class *class)
{
    return class->shelf.stride - CLASSES_COOKIE_BYTES;
}

/* The key of the slab that p lies in, if it does. */
LM_INLINE uintptr_t lm_classes_key(const struct loam_classes *table, uintptr_t p)
{
    return lm_align_down(p, table->slab_bytes);
}

/* Where a slab's memory begins. */
LM_INLINE char *lm_classes_slab_start(const struct lm_tray *tray)
{
    return tray->first - CLASSES_COOKIE_BYTES;
}

/* -- classes_move.c; the lock is held, and may have been given up meanwhile when they return -- */

/* Makes a cell available to lm_shelf_take; the slab `keep` (or NULL) is not emptied. False with ENOMEM. */
bool lm_classes_refill(struct loam_classes *table, struct classes_class *class, const struct lm_tray *keep);

/* Makes room for so many bytes under the budget by giving slabs back; false with ENOMEM. */
bool lm_classes_make_room(struct loam_classes *table, size_t bytes, const struct lm_tray *keep);

/* Gives an EMPTY or LEAVING slab back to the source. */
void lm_classes_return(struct loam_classes *table, struct lm_tray *tray);

/* An empty slab of the class that has the most; NULL: there is none. */
struct lm_tray *lm_classes_find_empty(struct loam_classes *table);

#endif
