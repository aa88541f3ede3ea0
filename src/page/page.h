/* page: address space in granules of 64 KiB, each with a 64-byte descriptor found by arithmetic.
 *
 *   arena.c   the reserves: layout, growth of the writable frontier, further arenas
 *   dense.c   how much of it is touched: where huge pages pay
 *   span.c    runs of granules: placing, freeing, growing and shrinking them
 *   dirty.c   freed spans on their way back to the OS
 *   keep.c    how many of them may wait
 *   buddy.c   places spans in clean memory
 *   meta.c    memory for loam's own bookkeeping
 *
 * An arena is one reserve:
 *
 *   base                                                              base + granules * 64 KiB
 *   | descriptors, 64 B a granule | buddy's metadata | granules for spans ...      | PROT_NONE |
 *   |<------------- head granules (kind HEAD) ------>|                             ^ frontier
 *
 * so that the descriptor of address p is  base + ((p - base) >> 16) * 64 : one load, one shift, one add.
 *
 * Invariant (lm_page_check): every granule below the frontier belongs to exactly one of: the head, a live
 * span, a dirty extent, the buddy. Only the first descriptor of a live span has an owner or a kind other than
 * FREE (a slab's later granules are CONT); so a pointer to anywhere else is recognised by its descriptor alone.
 *
 * Locks: LM_RANK_PAGES guards arenas, buddy and dirty extents; a live span's descriptor belongs to whoever
 * allocated it. Fork takes the lock; signals: not reentrant. */
#ifndef LM_PAGE_H
#define LM_PAGE_H

#include "os/os.h"
#include "page/buddy.h"

#define LM_GRANULE_SHIFT 16
#define LM_GRANULE ((size_t)1 << LM_GRANULE_SHIFT)

enum lm_kind {
    LM_FREE,         /* no live block here; also all but the first granule of a large span */
    LM_HEAD,         /* the arena's own descriptors and metadata */
    LM_META,         /* loam's bookkeeping */
    LM_BLOCK,        /* memory of a building block */
    LM_DIRTY,        /* first granule of a dirty extent */
    LM_DIRTY_TAIL,   /* last granule of a dirty extent of two or more */
    LM_LARGE,        /* a block of its own */
    LM_CONT,         /* a later granule of a slab; `granules` is the distance to the first */
    LM_SLAB_CURRENT, /* the slab its owner allocates this class from */
    LM_SLAB_PARTIAL, /* in its owner's partial list */
    LM_SLAB_FULL,    /* in its owner's full list */
};

enum { LM_SPAN_WAS_BLOCK = 1 }; /* flag: a block of was_bytes started here and was freed; only for reports */

typedef uint32_t lm_span_id; /* arena << 24 | granule; 0 is no span */

/* The descriptor. A slab's fields are explained in slab/slab.h. */
struct lm_span {
    void *owner; /* atomic; NULL when not a slab */
    union {
        struct {
            uint16_t *link;
            uint64_t magic;
            char *origin;
        };
        struct {
            lm_span_id bin_next, bin_prev;
            lm_span_id age_next, age_prev;
            uint64_t freed_ms;
        } dirty;
        struct {
            uint8_t *state;
            uint64_t magic;
            char *first;
        } objects; /* of an object cache's slab, in each of its granules; see block/cache.h */
        struct {
            size_t bytes; /* usable */
        } large;
    };
    union {
        uint64_t shelf_link; /* of a slab on a shelf (heap/shelf.c) */
        size_t was_bytes;    /* of a freed span with LM_SPAN_WAS_BLOCK */
    };
    uint32_t object_bytes;
    lm_span_id next, prev; /* in a list of slabs or spans */
    uint16_t carved;
    uint8_t kind;
    uint8_t size_class;
    uint32_t granules : 24;
    uint32_t flags : 8;
} __attribute__((aligned(LM_CACHE_LINE)));

_Static_assert(sizeof(struct lm_span) == 64, "a descriptor is one cache line");

/* A slab's kind, which other threads read while its owner moves it between its states: relaxed, because all that
 * they conclude is that it is a slab, which the block in their hands has made sure of. */
LM_INLINE enum lm_kind lm_span_kind(const struct lm_span *span)
{
    return (enum lm_kind)__atomic_load_n(&span->kind, __ATOMIC_RELAXED);
}

LM_INLINE void lm_span_set_kind(struct lm_span *span, enum lm_kind kind)
{
    __atomic_store_n(&span->kind, (uint8_t)kind, __ATOMIC_RELAXED);
}

#define LM_MAX_GRANULES ((uint32_t)1 << 24)
#define LM_MAX_ARENAS 255

/* The described part of the first arena, for the common path; empty until there is one, so that no pointer falls
 * in it. */
struct lm_first_arena {
    char *base;
    size_t bytes;
};
extern struct lm_first_arena lm_first_arena LM_HIDDEN;

/* Finds the descriptor of a pointer, which may be anything, into the first arena; false when it is not. */
LM_INLINE bool lm_span_find_fast(const void *p, struct lm_span **out)
{
    enum { SHIFT = LM_GRANULE_SHIFT - 6 }; /* a descriptor of 2^6 bytes for 2^16 */
    char *base = lm_first_arena.base;
    size_t offset = (size_t)((uintptr_t)p - (uintptr_t)base);

    if (LM_UNLIKELY(offset >= lm_first_arena.bytes))
        return false;
    *out = (struct lm_span *)(void *)(base + (offset >> SHIFT & ~(sizeof(struct lm_span) - 1)));
    return true;
}

/* The descriptor of a pointer into any arena, or NULL. The pointer may be anything; a granule beyond the
 * frontier gives NULL. */
struct lm_span *lm_span_of(const void *p);

/* Conversions. The span must be a descriptor, the id of one (not 0). */
struct lm_span *lm_span_at(lm_span_id id);
lm_span_id lm_span_id_of(const struct lm_span *span);
void *lm_span_start(const struct lm_span *span);

/* A run of granules, aligned to align_granules (a power of two), or NULL with ENOMEM. *zeroed tells whether
 * its memory reads as zero. Its first descriptor is kind `kind`, owner NULL, all else zero; the others FREE. */
struct lm_span *lm_span_alloc(uint32_t granules, uint32_t align_granules, enum lm_kind kind, bool *zeroed);

/* The same for a span most of which may never be touched: of clean memory, if there is any, whose pages come as they are. In
 * dirty memory all of them would be there, and stay. */
struct lm_span *lm_span_alloc_sparse(uint32_t granules, enum lm_kind kind, bool *zeroed);

/* Arenas of somebody's own memory are a group, and its spans are placed in them only; they are never dirty and never
 * returned to the OS. Group 0 is everybody's. */
bool lm_arena_add(void *memory, size_t bytes, uint32_t group); /* granule-aligned; false: too small, or too many */
void *lm_arena_drop(uint32_t group, size_t *bytes);            /* one that was added, now forgotten; NULL: no more */
struct lm_span *lm_span_alloc_in(uint32_t group, uint32_t granules, uint32_t align_granules, enum lm_kind kind);

/* Gives a span back; its memory becomes dirty and is returned to the OS later. */
void lm_span_free(struct lm_span *span);

/* The same for a chain through `next`, which ends with 0. */
void lm_span_free_all(lm_span_id first);

/* Cuts a span of kind BLOCK, or of a slab's that is none yet, in two: what begins `granules` behind its start is a span of that
 * kind by itself; its descriptor. Takes no lock: lm_page_each, called meanwhile, may miss the second one. */
struct lm_span *lm_span_cut(struct lm_span *span, uint32_t granules);

/* Takes the granules right behind a span when they are free: true when it now has `granules`. The new
 * part's contents are unspecified. */
bool lm_span_grow(struct lm_span *span, uint32_t granules);

/* Gives back all but the first `granules` of a span. */
void lm_span_shrink(struct lm_span *span, uint32_t granules);

/* Moves the memory of a LARGE span of everybody's arenas to a mapping of its own, of new_bytes (more than the span has), and gives
 * the span back, clean; its address. NULL, and the span is as it was: it cannot be moved. */
void *lm_span_move(struct lm_span *span, size_t new_bytes);

/* Returns dirty memory to the OS now, down to keep_bytes; the bytes returned. */
size_t lm_page_purge(size_t keep_bytes);

/* Before anything is allocated: makes so many bytes of the first arena resident and locks them, with what it takes to place
 * spans there; they are never returned. False: not all of it is locked (a limit: RLIMIT_MEMLOCK), or not there. */
bool lm_page_reserve(size_t bytes);

/* Gives a clean span's first `bytes` memory at once, when they are no more than config prefault. */
void lm_span_prefault(const struct lm_span *span, size_t bytes);

/* Zeroed memory for bookkeeping, aligned to a cache line, never freed; NULL when there is none. At most
 * one granule at a time. */
void *lm_meta_alloc(size_t bytes);

/* The same that comes and goes, of at most LM_META_MOST bytes: what is given back serves requests of the same size, in
 * cache lines, again. It must have been zeroed but for these words at its head, which make a chain of several. */
enum { LM_META_MOST = 9 << 10 };
struct lm_meta_piece {
    struct lm_meta_piece *next;
    size_t bytes; /* as asked for */
};
void *lm_meta_take(size_t bytes);
void lm_meta_give(struct lm_meta_piece *pieces);
/* Returns what has been dirty for longer than purge_ms; true when more is left, which is younger. */
bool lm_page_age(void);

/* What returns memory while the program makes no calls, when there is such a thing; see front/scavenger.c. To be told, by
 * whoever holds no lock, after memory was freed that could be returned, and before an allocation on the slow road. */
enum lm_scavenge { LM_SCAVENGE_FREED, LM_SCAVENGE_ALLOCATES };
extern void (*lm_scavenge_hook)(enum lm_scavenge when);

LM_INLINE void lm_scavenge_tell(enum lm_scavenge when)
{
    if (LM_UNLIKELY(lm_scavenge_hook != NULL))
        lm_scavenge_hook(when);
}

/* Hints, without the lock: granules in use; true when one more would raise the most that were ever in use or dirty. */
size_t lm_page_used(void);
bool lm_page_would_rise(void);

struct lm_page_stats {
    size_t reserved_bytes; /* address space of all arenas */
    size_t writable_bytes; /* below the frontiers */
    size_t used_bytes;     /* in live spans */
    size_t dirty_bytes;    /* freed, not yet returned */
    size_t meta_bytes;     /* bookkeeping spans and the heads of arenas in use */
    size_t peak_bytes;     /* most of used + dirty so far */
};
void lm_page_stats(struct lm_page_stats *out);

/* Calls visit on the first descriptor of every span that is live now, with the page lock held. */
void lm_page_each(void (*visit)(struct lm_span *span, void *arg), void *arg);

/* 0, or the number of the line whose invariant is broken. */
int lm_page_check(void);

/* Fork: see front/fork.c. */
extern struct lm_lock lm_page_lock, lm_meta_lock;

#endif
