/* private.h: heaps that belong to a purpose instead of a thread: many threads may use one, it has a quota, and it
 * goes as a whole.
 *
 *   private.c   blocks: slabs and spans of the heap's own, under its lock
 *   quota.c     the tree of heaps: hard limits, shares, and what is lent between siblings
 *   shared.c    the few heaps that all threads share when they are to have none of their own (config heaps)
 *
 * A private heap is a struct lm_heap that no thread is attached to, so the common path of malloc and free never takes
 * one of its slabs for its own: frees come by the slow road, see LM_TAG_PRIVATE in the owner field, and take the
 * heap's lock. Its large blocks carry the same owner and stand in a list. Nothing of it is ever an orphan.
 *
 * With a source of its own the heap's slabs and spans lie in arenas made of what the source maps (page.h: a group).
 *
 * Charges are counted in block bytes, rounded as the heap rounds them, for the heap and every ancestor, by atomics
 * and before the lock is taken: charge, then take; a charge that comes to nothing is taken back.
 *
 * Locks: LM_RANK_PRIVATES guards the tree; LM_RANK_PRIVATE, one a heap, its blocks. Fork takes them all. */
#ifndef LM_HEAP_PRIVATE_H
#define LM_HEAP_PRIVATE_H

#include "heap/heap.h"

#include <loam/heap.h>

struct lm_private {
    struct lm_heap heap; /* first: the slabs' owner */
    struct lm_lock lock;
    const struct loam_source *source; /* NULL: everybody's arenas */
    uint32_t group;                   /* of its arenas; 0: everybody's */
    size_t chunk_bytes;               /* asked of the source last */
    bool uncounted;                   /* no quota here or above: nothing is charged */
    bool sweeps;                      /* free pages inside slabs are returned */
    bool unlocked;                    /* the caller sees to it that one thread at a time is in it */
    bool steady;                      /* it has what it was made with, and asks for no more */
    size_t freed_bytes;               /* since the last sweep */
    lm_span_id large;                 /* first large block */

    struct lm_private *parent, *children, *sibling; /* LM_RANK_PRIVATES; siblings also link what waits for reuse */
    uint32_t asked;                                 /* the last round of reclaim that asked it */
    size_t quota_bytes, share_bytes;
    void (*reclaim)(
        struct loam_heap *heap, size_t bytes, void *arg); /* <loam/heap.h>; the heap under its public name */
    void *arg;
    char name[32];

    /* atomic, written by every thread that uses it or a descendant */
    uint64_t used_bytes __attribute__((aligned(LM_CACHE_LINE))); /* charged */
    uint64_t peak_bytes;
    uint64_t wanting; /* children below their share that were refused */
    uint32_t wants;   /* this one is among its parent's */
    uint64_t refused; /* requests, by the quota of this heap or of an ancestor */
};

struct lm_private_options {
    const char *name;
    size_t quota_bytes; /* 0: none */
    size_t share_bytes; /* of the parent's quota; 0: none */
    struct lm_private *parent;
    const struct loam_source *source;
    void (*reclaim)(
        struct loam_heap *heap, size_t bytes, void *arg); /* <loam/heap.h>; the heap under its public name */
    void *arg;
    bool uncounted; /* never charged; it must have no quota and no parent */
    bool sweeps, unlocked;
    size_t reserve_bytes; /* all that it will ever have, resident from the start; 0: no such limit */
};

/* NULL with ENOMEM, or with EINVAL when the parent's quota cannot cover its children's shares. */
struct lm_private *lm_private_create(const struct lm_private_options *options);

/* Gives back every block, of its descendants too; reset keeps the heaps. Nobody may use them meanwhile. */
void lm_private_destroy(struct lm_private *heap);
void lm_private_reset(struct lm_private *heap);

/* As lm_heap_malloc_aligned, in the heap. */
void *lm_private_malloc(struct lm_private *heap, size_t size, size_t align, bool *zeroed);

/* The same with the heap's lock held and nothing charged; size is not 0. NULL: no memory. */
void *lm_private_take(struct lm_private *heap, size_t size, size_t align, bool *zeroed);

/* Returns the pages of the heap's that no live object lies on; the bytes. */
size_t lm_private_sweep(struct lm_private *heap);

/* The private heap of a block, or NULL. Aborts when p is no block. */
struct lm_private *lm_private_of(const void *p);

struct lm_private_stats {
    size_t held_bytes; /* in its slabs and spans */
    size_t slabs, large_blocks;
};
void lm_private_stats(struct lm_private *heap, struct lm_private_stats *out);

/* 0, or the line of the invariant that the heap breaks. */
int lm_private_check(struct lm_private *heap);

/* -- quota.c -- */
bool lm_quota_join(struct lm_private *heap, struct lm_private *parent); /* false: EINVAL */
void lm_quota_leave(struct lm_private *heap);
/* Before and after: false with ENOMEM when a quota is reached, and nothing is charged. */
bool lm_quota_charge(struct lm_private *heap, size_t bytes);
void lm_quota_uncharge(struct lm_private *heap, size_t bytes);
bool lm_quota_set(struct lm_private *heap, size_t quota_bytes, size_t share_bytes);

/* Fork: all locks of private heaps, in and out; `mine` is true when the caller is inside one. */
bool lm_privates_fork_mine(void);
void lm_privates_fork_take(void);
void lm_privates_fork_release(void);
void lm_privates_fork_reset(void);

extern struct lm_lock lm_privates_lock;

#endif
