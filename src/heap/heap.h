/* heap: the general heap, one thread heap a thread.
 *
 *   heap.h     the common path, inline, and the structures
 *   heap.c     the slow road of malloc: which slab next; states of slabs
 *   free.c     the slow road of free: whose block is it, and is it one
 *   remote.c   frees of other threads' blocks: gathering, pushing, mailboxes
 *   thread.c   heaps come with threads and go with them; the registry
 *   percpu.h   caches and slabs of CPUs, instead of threads (percpu.c, cpus.c)
 *   idle.c     heaps whose thread is gone
 *   adopt.c    slabs whose thread is gone
 *   shelf.c    the same without a lock (option lists)
 *   share.c    what threads owe each other: partial slabs for whoever wants them; who holds what
 *   sweep.c    free pages inside slabs
 *   ahead.c    memory for the next slabs
 *   large.c    blocks with a span of their own
 *   private.h  heaps of their own: many threads', with a quota, returned at once (private.c, private_block.c, quota.c)
 *   bias.h     their lock, which leans to one thread
 *   huge.c     blocks with a mapping of their own, and their registry
 *   resize.c   realloc
 *
 * The common path of malloc finds a size's current slab in one load and pops from its list; free finds the
 * descriptor by arithmetic, sees that the slab is its own, and pushes. Everything else makes that path miss:
 * a thread without a heap has lm_heap_none, whose slabs are all lm_slab_none, which is always empty; a heap that
 * counts (stats) shows the common path only lm_slab_none, and tags the owner of its slabs, so that no
 * comparison succeeds. A private heap is no thread's, and its tag says so.
 *
 * Locks: the common path and what a thread does to its own slabs take none. */
#ifndef LM_HEAP_H
#define LM_HEAP_H

#include "slab/slab.h"

enum {
    LM_DIRECT_MAX = 1024,           /* sizes up to it find their slab by size, larger ones by class */
    LM_DIRECT_CLASSES = 48,         /* classes of these sizes */
    LM_BUCKETS = 128,               /* slabs of other threads whose frees are gathered at a time */
    LM_MAILBOX_CLOSED = 0x00ffffff, /* no span has this id: arena 0 is smaller */
};

/* In the low bits of a slab's owner, which are free because heaps are aligned. */
enum {
    LM_TAG_COUNTS = 1,  /* every call is counted (config stats) */
    LM_TAG_PRIVATE = 2, /* a private heap; only it uses the slab, under its lock */
    LM_TAG_CPU = 4,     /* a CPU's heap; used under its lock */
    LM_TAG_CLAIMED = 8, /* of an orphan, with no heap beside it: a thread is at it (shelf.c) */
    LM_TAG_MAIL = 16,   /* and has been left frees to deliver */
    LM_TAG_OFF = 32,    /* and has been left the slab, off the shelf */
    LM_TAG_NOTES = LM_TAG_MAIL | LM_TAG_OFF,
    LM_TAG_MASK = 63
};

/* Frees of one foreign slab's blocks, on their way. */
struct lm_bucket {
    struct lm_span *slab; /* NULL: empty */
    uint16_t head, tail;  /* objects: the last that came in, and the first */
    uint16_t room, most;  /* for so many more, and in all */
};

/* What the common path of malloc reads: the links of the slabs to allocate from. */
struct lm_fast {
    uint16_t *direct[LM_DIRECT_MAX / 16 + 1];           /* by (size + 15) / 16 */
    uint16_t *by_class[LM_CLASSES - LM_DIRECT_CLASSES]; /* by class, above LM_DIRECT_MAX */
};

/* Slabs that are not current. */
struct lm_lists {
    lm_span_id partial[LM_CLASSES]; /* first of each list of PARTIAL slabs */
    lm_span_id full;                /* first of the list of FULL slabs */
};

struct lm_heap {
    struct lm_fast fast;                 /* as `current`; first, so that lm_heap_self points to both */
    struct lm_span *current[LM_CLASSES]; /* or lm_slab_none */
    struct lm_lists lists;
    const struct lm_bias *inside; /* atomic: that its thread is in without the lock (bias.h) */
    uint32_t pending;             /* buckets that are not empty */
    uint16_t colour;              /* of the next slab */
    uint8_t grown[LM_CLASSES];    /* slabs made for its thread, by class, up to GROWN of heap.c */
    lm_span_id ahead;             /* ahead.c: memory for the next slabs, 0: none; */
    bool ahead_zeroed;            /* it reads as zero */
    uint32_t made;                /* granules of the slabs made for its thread */
    uint8_t sweep_class;          /* sweep.c: whose turn it is, */
    uint8_t sweep_pause;          /* occasions that were let pass, */
    lm_span_id sweep_at;          /* the slab last looked at, 0: none of this round, */
    uint64_t sweep_ms;            /* and when the last round ended */
    uint8_t tag;                  /* LM_TAG_*: in the owner field of its slabs; the common path is off */
    struct lm_heap *next;         /* in the registry, for ever */
    struct lm_heap *next_idle;    /* in the stack of heaps without a thread; LM_RANK_HEAPS */
    bool busy;                    /* it has a thread; exactly the others are in the stack */
    uint32_t kept;                /* granules of slabs that it keeps while it is in the stack (idle.c) */
    uint32_t thread;              /* the kernel's id of it, or 1 while nobody asks; 0: none */
    uint64_t stolen_bytes;        /* of slabs taken over from other threads (share.c); atomic, written by its thread */
    uint64_t given_bytes;         /* of slabs that other threads wanted and got; the same */

    /* written by other threads, on a line of its own */
    uint32_t mailbox __attribute__((aligned(LM_CACHE_LINE))); /* atomic: first mailed slab's id, or closed */

    struct lm_bucket bucket[LM_BUCKETS] __attribute__((aligned(LM_CACHE_LINE)));
};

/* The calling thread's heap, or lm_heap_none. Initial-exec: one load from a fixed offset; a pointer only, for
 * static TLS space is scarce. */
extern __thread struct lm_fast *lm_heap_self __attribute__((tls_model("initial-exec")));

extern const struct lm_fast lm_heap_none LM_HIDDEN; /* of a thread that has no heap (yet, or any more) */
extern const struct lm_span lm_slab_none LM_HIDDEN; /* always empty */
#define LM_SLAB_NONE ((struct lm_span *)&lm_slab_none)
extern const struct lm_annex lm_annex_none LM_HIDDEN; /* its annex */
#define LM_LINKS_NONE ((uint16_t *)lm_annex_none.link)

/* -- the common path ------------------------------------------------------------------------------------ */

/* A block of 0..LM_DIRECT_MAX bytes from the list, or NULL for the slow road. */
LM_INLINE void *lm_heap_pop_direct(size_t size)
{
    return lm_links_pop(lm_heap_self->direct[(size + 15) / 16]);
}

/* A block of a class above LM_DIRECT_MAX from the list, or NULL for the slow road. */
LM_INLINE void *lm_heap_pop_class(unsigned size_class)
{
    return lm_links_pop(lm_heap_self->by_class[size_class - LM_DIRECT_CLASSES]);
}

/* The same for sizes above LM_DIRECT_MAX; NULL also for those that no slab has. */
LM_INLINE void *lm_heap_pop_larger(size_t size)
{
    return size > LM_DIRECT_MAX && size <= LM_SLAB_MAX ? lm_heap_pop_class(lm_class_of(size)) : NULL;
}

/* The same for any size. */
LM_INLINE void *lm_heap_pop(size_t size)
{
    return size <= LM_DIRECT_MAX ? lm_heap_pop_direct(size) : lm_heap_pop_larger(size);
}

void lm_heap_push_zero(struct lm_span *slab);

/* Frees p, which may be anything, and whose descriptor is not one of a slab of the caller's. Keeps errno. */
void lm_heap_free_foreign(struct lm_span *slab, void *p);

/* Frees into the caller's own slab, or passes on what is not. False, and nothing done: it is not the start of a block,
 * or is free already, or is not for the common path to judge. */
LM_INLINE bool lm_heap_push(void *p)
{
    struct lm_span *slab;
    uint16_t *links;
    uint64_t n;

    if (LM_UNLIKELY(!lm_span_find_fast(p, &slab)))
        return false;
    if (LM_UNLIKELY(__atomic_load_n(&slab->owner, __ATOMIC_RELAXED) != (void *)lm_heap_self)) {
        lm_heap_free_foreign(slab, p);
        return true;
    }
    if (LM_UNLIKELY(!lm_slab_number(slab, p, &n)) && LOAM_HARDENING)
        return false;
    links = slab->link;
    if (LM_UNLIKELY(lm_links_get(links, n) != LM_LIVE) && LOAM_HARDENING)
        return false; /* free already, or freed by another thread */
    if (LM_UNLIKELY(lm_links_free(links, n, p)))
        lm_heap_push_zero(slab);
    return true;
}

/* -- the slow road -------------------------------------------------------------------------------------- */

/* A block of at least size bytes, aligned to 16, or NULL with ENOMEM. *zeroed, when asked for, tells that the
 * block reads as zero. */
void *lm_heap_malloc(size_t size, bool *zeroed);

/* Aligned to any power of two. */
void *lm_heap_malloc_aligned(size_t size, size_t align);

/* Frees a block of any kind and any thread; aborts with a report when it is none. Keeps errno. NULL is
 * allowed. */
void lm_heap_free(void *p) LM_NOINLINE;

/* As realloc with p and size not 0: contents kept up to the smaller size; NULL with ENOMEM leaves the block. */
void *lm_heap_realloc(void *p, size_t size);

/* Bytes that may be used at p; aborts when p is not a block. 0 for NULL. */
size_t lm_heap_usable(const void *p);

/* What a request of this size will be given, SIZE_MAX when it cannot be met. */
size_t lm_heap_good_size(size_t size);

/* Returns what is cached, by this thread and in common, to the OS; the bytes returned. */
size_t lm_heap_trim(size_t keep_bytes);

/* Gives back what heaps without a thread keep, once they have kept it for purge_ms; true: they keep it still. */
bool lm_heap_age(void);

/* Returns the free pages inside the slabs of shared heaps (config heaps). */
void lm_heap_sweep(void);

/* True once any thread has allocated: what only counts before must not change any more. */
bool lm_heap_is_used(void);

/* Frees travelling to other threads' slabs set out now. */
void lm_heap_flush(void);

/* -- threads, start, fork --------------------------------------------------------------------------------- */

/* Once, before anything else. The caller has read the options. */
void lm_heap_start(void);

/* After it, and again while nothing is allocated and the options have changed. */
void lm_heap_configure(void);

/* In the child after fork: the other threads' heaps are adopted. */
void lm_heap_after_fork(void);

/* True while the calling thread, interrupted by a signal handler that forks, has slabs in its hands: the child must then
 * leave the heap as it is. */
bool lm_remote_is_mine(void);

extern struct lm_lock lm_heaps_lock, lm_orphans_lock, lm_huge_lock;

/* -- seen from above ---------------------------------------------------------------------------------------- */

struct lm_heap_stats {
    size_t small_live_bytes, small_free_bytes; /* in slabs: handed out, and not */
    size_t large_bytes, huge_bytes;            /* live blocks */
    size_t slabs, large_blocks, huge_blocks, heaps, idle_heaps;
    size_t free_objects;
};
void lm_heap_stats(struct lm_heap_stats *out);

/* What heaps count when config.stats is set; all atomic. */
struct lm_counts {
    uint64_t allocations, frees, requested_bytes, rounded_bytes;
    uint64_t live_bytes, peak_bytes;
};
extern struct lm_counts *lm_counts; /* may be pointed elsewhere before the first allocation and in a fork's child */

/* What a thread has a claim on. */
enum { LM_CLAIMS = 64 }; /* that one call looks at, at the most */
struct lm_claim {
    uint32_t thread; /* the kernel's id, when lm_claim_hook was set before the thread's first request; else 1 */
    uint32_t ended;  /* 1: as it was when the thread ended */
    uint64_t held_bytes, cached_bytes;  /* its slabs; the free objects in them */
    uint64_t stolen_bytes, given_bytes; /* slabs taken over from other threads so far, and given to others */
};

/* The claims of the threads that live and have heaps, at most `most` and LM_CLAIMS of them; how many. Others may be changing
 * theirs: the figures are then of moments, not of one moment. */
size_t lm_heap_claims(struct lm_claim *out, size_t most);

/* Called, when not NULL, by a thread that ends, with what it had; it may not allocate. */
extern void (*lm_claim_hook)(const struct lm_claim *claim);

/* Called, when not NULL, with the text of a misuse report before the process aborts. */
extern void (*lm_misuse_hook)(const char *text);

/* Called, when not NULL, when memory is short, with none of the heap's locks held: true when asking again may help. What
 * it calls may allocate and free. */
extern bool (*lm_memory_short_hook)(void);

/* 0, or the line of the invariant that the calling thread's heap or the shared structures break. */
int lm_heap_check(void);

#include "heap/bias.h"
#include "heap/percpu.h"
#include "heap/private.h"

#endif
