/* private.h: heaps that belong to a purpose instead of a thread: many threads may use one, it has a quota, and it
 * goes as a whole.
 *
 *   private.c        coming and going, spans, the walk
 *   private_block.c  blocks: slabs and spans of the heap's own, under its lock
 *   quota.c          the tree of heaps: hard limits, shares, and what is lent between siblings
 *   shared.c         the few heaps that all threads share when they are to have none of their own (config heaps)
 *
 * A private heap is a struct lm_heap that no thread is attached to, so the common path of malloc and free never takes
 * one of its slabs for its own: frees come by the slow road, see LM_TAG_PRIVATE in the owner field. Its large blocks carry
 * the same owner and stand in a list. Nothing of it is ever an orphan. Its lock leans to one thread (bias.h), which takes
 * blocks from current slabs and gives blocks back without it (lm_private_pop, lm_private_push).
 *
 * With a source of its own the heap's slabs and spans lie in arenas made of what the source maps (page.h: a group).
 *
 * Charges are counted in block bytes, rounded as the heap rounds them, for the heap and every ancestor (`used_bytes`), by
 * atomics and before a block is taken. Most of them are made ahead, some tens of KiB at a time, and what is
 * not used yet is the heap's `credit`:
 *
 *   live blocks of the heap + used_bytes of its children + credit == used_bytes       (lm_private_check)
 *
 * Nothing is charged ahead near a quota, and before a request is refused every credit below the quota that
 * refuses it is called in: so a quota is exact. A peak is noted when used_bytes changes (lm_private_note_peak).
 *
 * Locks: LM_RANK_PRIVATES guards the tree; LM_RANK_PRIVATE, one a heap, its blocks and credit. Fork takes them all. */
#ifndef LM_HEAP_PRIVATE_H
#define LM_HEAP_PRIVATE_H

#include "heap/heap.h"

#include <loam/heap.h>

struct lm_private {
    struct lm_heap heap; /* first: the slabs' owner */

    /* what the common path reads and writes */
    struct lm_bias bias __attribute__((aligned(LM_CACHE_LINE)));
    size_t credit; /* bytes that are charged and not used; read by others, atomic */
    size_t low;    /* the least credit since a peak was noted; likewise */
    size_t most;   /* credit that frees may leave; 0: everything goes back at once */

    const struct loam_source *source; /* NULL: everybody's arenas */
    uint32_t group;                   /* of its arenas; 0: everybody's */
    lm_span_id spare;                 /* what is left of a run of granules for slabs; 0: nothing */
    uint32_t spare_next, spare_total; /* granules of the next run, and of all so far */
    bool spare_zeroed;                /* they read as zero */
    size_t chunk_bytes;               /* asked of the source last */
    bool uncounted;                   /* no quota here or above: nothing is charged */
    bool exact;                       /* nothing is charged ahead */
    bool sweeps;                      /* free pages inside slabs are returned */
    bool steady;                      /* it has what it was made with, and asks for no more */
    bool swept;                       /* atomic: a hint that its lock is taken for a sweep */
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

/* Gives back every block, of its descendants too; reset keeps the heaps, and some empty slabs of each. Nobody may use them
 * meanwhile. */
void lm_private_destroy(struct lm_private *heap);
void lm_private_reset(struct lm_private *heap);

/* Gives back what a heap, or every heap that has a lock, has in reserve. */
void lm_private_release(struct lm_private *heap);
void lm_privates_release(void);

/* The heap of a private slab or span. */
LM_INLINE struct lm_private *lm_private_owner(const struct lm_span *span)
{
    return (struct lm_private *)((uintptr_t)__atomic_load_n(&span->owner, __ATOMIC_RELAXED) & ~(uintptr_t)LM_TAG_MASK);
}

/* A block from the current slab in this place, without the lock; NULL: the slow road is to see to it. */
LM_INLINE void *lm_private_pop(struct lm_private *heap, uint16_t *const *place)
{
    uint16_t *links;
    const struct lm_annex *annex;
    void *p = NULL;
    size_t credit;

    if (LM_UNLIKELY(!lm_bias_try(&heap->bias)))
        return NULL;
    links = *place;
    annex = lm_links_annex(links);
    credit = heap->credit - annex->object_bytes;
    if (LM_LIKELY(annex->head != 0) && LM_LIKELY(credit <= heap->credit)) {
        __atomic_store_n(&heap->credit, credit, __ATOMIC_RELAXED);
        if (credit < heap->low)
            __atomic_store_n(&heap->low, credit, __ATOMIC_RELAXED);
        p = lm_links_pop(links);
    }
    lm_bias_out();
    return p;
}

/* Of up to LM_DIRECT_MAX bytes, and of a class above. */
LM_INLINE void *lm_private_pop_direct(struct lm_private *heap, size_t size)
{
    return lm_private_pop(heap, &heap->heap.fast.direct[(size + 15) / 16]);
}

LM_INLINE void *lm_private_pop_class(struct lm_private *heap, unsigned size_class)
{
    return lm_private_pop(heap, &heap->heap.fast.by_class[size_class - LM_DIRECT_CLASSES]);
}

/* Frees a block of a private heap's slab, as lm_heap_push; false: the slow road is to see to it. */
LM_INLINE bool lm_private_push(struct lm_span *slab, void *p)
{
    struct lm_private *heap = lm_private_owner(slab);
    size_t credit;
    bool done;
    uint64_t n;

    if (!lm_slab_number(slab, p, &n) || !lm_bias_try(&heap->bias))
        return false;
    credit = heap->credit + slab->object_bytes;
    done = lm_slab_link(slab, n) == LM_LIVE && lm_slab_annex(slab)->countdown != 1 && credit <= heap->most;
    if (LM_LIKELY(done)) {
        __atomic_store_n(&heap->credit, credit, __ATOMIC_RELAXED);
        lm_links_free(slab->link, n, p);
    }
    lm_bias_out();
    return done;
}

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

/* -- among the files of private heaps -- */

/* Raises the peaks of the heap and its ancestors to what was used when its credit was lowest; before used_bytes changes,
 * with the lock held, or to look. */
void lm_private_note_peak(struct lm_private *heap);

/* With the lock held: the whole credit is given up, and nothing is charged ahead until there is room again. */
void lm_private_settle(struct lm_private *heap);

/* With the lock held: a span, or NULL. */
void *lm_private_large(struct lm_private *heap, size_t bytes, size_t align, bool *zeroed);

/* -- quota.c -- */
bool lm_quota_join(struct lm_private *heap, struct lm_private *parent); /* false: EINVAL */
void lm_quota_leave(struct lm_private *heap);
/* Before and after: false with ENOMEM when a quota is reached, and nothing is charged. */
bool lm_quota_charge(struct lm_private *heap, size_t bytes);
/* The same ahead of need: false, with nothing said and nobody asked, where that brings a quota near. With the heap's lock
 * held. */
bool lm_quota_charge_ahead(struct lm_private *heap, size_t bytes);
void lm_quota_uncharge(struct lm_private *heap, size_t bytes);
bool lm_quota_set(struct lm_private *heap, size_t quota_bytes, size_t share_bytes);

/* Bytes of live blocks of the heap and its descendants, whose peaks are then as of now; about right while others are at
 * work. */
size_t lm_quota_used(struct lm_private *heap);

/* Fork: all locks of private heaps, in and out; `mine` is true when the caller is inside one. */
bool lm_privates_fork_mine(void);
void lm_privates_fork_take(void);
void lm_privates_fork_release(void);
void lm_privates_fork_reset(void);

extern struct lm_lock lm_privates_lock;

#endif
