/* room.h: what the files of the heap floor share. */
#ifndef LM_HEAP_ROOM_H
#define LM_HEAP_ROOM_H

#include "heap/heap.h"

/* The heap that owns a slab, without the tag of heaps that count; NULL: an orphan's, or not a slab. */
LM_INLINE struct lm_heap *lm_slab_owner(const struct lm_span *slab)
{
    return (struct lm_heap *)((uintptr_t)__atomic_load_n(&slab->owner, __ATOMIC_ACQUIRE) & ~(uintptr_t)LM_TAG_MASK);
}

/* What a heap writes into its slabs' owner field. */
LM_INLINE void *lm_heap_tag(const struct lm_heap *heap)
{
    return (void *)((uintptr_t)heap | heap->tag);
}

/* True of a slab or large span of a private heap. */
LM_INLINE bool lm_span_is_private(const struct lm_span *span)
{
    return (uintptr_t)__atomic_load_n(&span->owner, __ATOMIC_RELAXED) & LM_TAG_PRIVATE;
}

/* Dies when the calling thread is not the one that the process was promised to keep to (config single). */
void lm_single_enter(void) LM_COLD;

LM_INLINE void lm_single_guard(void)
{
    if (LM_UNLIKELY(lm_config.single))
        lm_single_enter();
}

/* The calling thread's heap, made when there is none yet; NULL when the thread is past having one or memory is
 * out. */
struct lm_heap *lm_heap_attach(void);

LM_INLINE struct lm_heap *lm_heap_mine(void)
{
    struct lm_fast *self = lm_heap_self;

    return LM_LIKELY(self != &lm_heap_none) ? (struct lm_heap *)(void *)self : NULL;
}

/* Makes a heap that owns nothing, in zeroed memory. */
void lm_heap_init(struct lm_heap *heap, unsigned tag);
bool lm_memory_is_short(void); /* asks everybody to give memory back; true when asking again may help */
/* A block of the class, from the heap's own slabs; NULL: no memory. */
void *lm_heap_take(struct lm_heap *heap, unsigned size_class, bool *zeroed);
unsigned lm_heap_aligned_class(size_t size, size_t align); /* the least class that gives both; each <= slab_max */

/* -- shared.c: heaps that all threads use (config heaps) -- */
void *lm_shared_malloc(size_t size, size_t align, bool *zeroed);
bool lm_shared_is_used(void);

/* -- thread.c -- */
/* True when the calling thread is one that allocates and CPUs serve it. */
extern __thread bool lm_thread_counted __attribute__((tls_model("initial-exec")));
LM_INLINE bool lm_thread_on_cpus(void)
{
    return lm_thread_counted && __atomic_load_n(&lm_percpu_on, __ATOMIC_ACQUIRE);
}
void lm_heap_detach(struct lm_heap *heap); /* the caller's own: its slabs become orphans */

/* -- private.c -- */
void lm_private_free(struct lm_span *span, void *p);
void *lm_private_resize(struct lm_span *span, void *p, size_t size);
struct lm_span *lm_private_new_slab(struct lm_heap *heap, unsigned size_class);

/* -- heap.c: states of slabs, for heaps and for the orphans' lists -- */
void lm_lists_link(lm_span_id *head, struct lm_span *span);
void lm_lists_unlink(lm_span_id *head, struct lm_span *span);
/* Puts a slab that stands in no list where its live objects say; an empty one is released. */
void lm_lists_give(struct lm_lists *lists, struct lm_span *slab, unsigned live);
/* `freed` objects have come into the list of a slab: moves it to where it now belongs. */
void lm_lists_credit(struct lm_lists *lists, struct lm_span *slab, unsigned freed);
/* The same for a slab whose mailed bit has just been cleared, and that brought `freed` objects or none. */
void lm_lists_settle(struct lm_lists *lists, struct lm_span *slab, unsigned freed);
/* Takes a slab of the class out of the partial list, the fullest of a few, or NULL. */
struct lm_span *lm_lists_take(struct lm_lists *lists, unsigned size_class);
unsigned lm_slab_live(const struct lm_span *slab); /* of a FULL or PARTIAL slab */
/* sweep.c: returns free pages of some partial slabs: for so many slabs that would raise the peak, or (0) by age; of all */
void lm_heap_sweep_some(struct lm_heap *heap, unsigned needed);
size_t lm_lists_sweep(const struct lm_lists *lists); /* the bytes */
void lm_heap_set_current(struct lm_heap *heap, unsigned size_class, struct lm_span *slab);
void lm_heap_release_current(struct lm_heap *heap); /* empty current slabs */

/* -- ahead.c -- */
uint32_t lm_ahead_granules(const struct lm_heap *heap); /* of its next run; 1: none; 0: it has not grown */
struct lm_span *lm_ahead_slab(struct lm_heap *heap, unsigned size_class); /* a slab of it; or NULL */
void lm_ahead_release(struct lm_heap *heap);
int lm_ahead_check(const struct lm_heap *heap);

/* -- remote.c -- */
/* Between the two the calling thread has a slab in its hands that nobody else finds, for it is on its way or in the making: a signal
 * handler that forks meanwhile must leave it there (lm_remote_is_mine). */
bool lm_remote_enter(void);
void lm_remote_leave(bool noted);
void lm_remote_open(struct lm_heap *heap, struct lm_span *slab, uint64_t n); /* the same, where another's bucket is */
void lm_remote_send(struct lm_heap *heap, struct lm_bucket *bucket);
LM_INLINE struct lm_bucket *lm_remote_bucket(struct lm_heap *heap, const struct lm_span *slab)
{
    return &heap->bucket[((uintptr_t)slab / sizeof *slab) % LM_BUCKETS];
}
/* Puts object n of a foreign slab, which is proved to be live and the caller's to free, or away already and the caller's to
 * bring home, into a bucket of this heap. Keeps errno. */
LM_INLINE void lm_remote_gather(struct lm_heap *heap, struct lm_span *slab, uint64_t n)
{
    struct lm_bucket *bucket = lm_remote_bucket(heap, slab);

    if (LM_UNLIKELY(bucket->slab != slab)) {
        lm_remote_open(heap, slab, n);
        return;
    }
    lm_slab_send(slab, n, bucket->head);
    bucket->head = (uint16_t)n;
    if (LM_UNLIKELY(--bucket->room == 0))
        lm_remote_send(heap, bucket);
}
void lm_remote_free(struct lm_span *slab, uint64_t n); /* the same for the calling thread, which may have no heap */
void lm_remote_flush(struct lm_heap *heap);
void lm_remote_deliver(struct lm_span *slab); /* the caller holds its mailed bit */
bool lm_remote_receive(struct lm_heap *heap); /* empties the mailbox; true when it held any */
void lm_remote_close(struct lm_heap *heap);   /* nothing can be mailed to the heap any more */
extern uint32_t lm_remote_homeless;           /* atomic: threads without a heap between push and delivery */

/* -- adopt.c -- */
/* All slabs of a thread that ends, but for the current ones of the classes that `keep` (or NULL) names. */
void lm_orphans_add_all(struct lm_heap *heap, const bool *keep);
struct lm_span *lm_orphans_take(struct lm_heap *heap, unsigned size_class); /* or NULL */
bool lm_orphans_receive(struct lm_span *slab);                     /* delivers; false when it is no orphan (any more) */
void *lm_orphans_malloc(unsigned size_class);                      /* for threads past having a heap */
struct lm_span *lm_orphans_make(unsigned size_class, void *owner); /* a slab for that; or NULL */
void *lm_orphans_pop(struct lm_span *slab);                        /* an object of one with room */
void lm_orphans_trim(void);                                        /* releases what is empty */
size_t lm_orphans_sweep(void);                                     /* returns free pages; the bytes */
void lm_orphans_after_fork(struct lm_heap *mine);
int lm_orphans_check(void); /* 0, or the line of the invariant that their lists break */

void lm_orphans_give(struct lm_lists *lists, struct lm_span *slab); /* a partial slab of the caller's lists */

/* -- idle.c: heaps without a thread -- */
void lm_idle_choose(struct lm_heap *heap, bool *keep); /* by class: whether the current slab may stay with the heap */
void lm_idle_push(struct lm_heap *heap);               /* it owns nothing else any more, and its mailbox is closed */
struct lm_heap *lm_idle_pop(void);                     /* now busy; or NULL */
bool lm_idle_release(bool all); /* gives back what all keep, or one of them; true: something was */
void lm_idle_after_fork(const struct lm_heap *mine);
int lm_idle_check(void);

/* -- share.c -- */
void lm_share_want(struct lm_heap *heap, unsigned size_class);  /* the heap is about to grow by a slab */
void lm_share_offer(struct lm_heap *heap, unsigned size_class); /* gives one away, when another heap wants it */
void lm_share_took(struct lm_heap *heap, const struct lm_span *slab);
void lm_share_end(struct lm_heap *heap); /* its thread ends; its slabs are still its own */
void lm_share_after_fork(void);

/* -- shelf.c: orphans without a lock, as lm_config.lists has it; by adopt.c only -- */
void lm_shelves_add(struct lm_span *slab, unsigned live); /* a slab of the caller's, or in a fork's child anybody's */
struct lm_span *lm_shelves_take(struct lm_heap *heap, unsigned size_class);
bool lm_shelves_receive(struct lm_span *slab);
void *lm_shelves_malloc(unsigned size_class);
void lm_shelves_trim(void);
void lm_shelves_after_fork(void); /* they are empty then */
int lm_shelves_check(void);

/* -- large.c, huge.c -- */
void *lm_large_malloc(size_t size, size_t align, bool *zeroed);
void *lm_huge_malloc(size_t bytes, size_t from, size_t align); /* from: what it has grown from; 0: it did not grow */
/* The block of a large span, its memory moved into a mapping of its own of `bytes`; NULL: it cannot be, and is as it was. */
void *lm_huge_take(struct lm_span *span, size_t bytes);
bool lm_huge_free(void *p);                 /* false: no huge block starts there */
void lm_huge_bury(void);                    /* tries again to unmap what the kernel refused to */
size_t lm_huge_usable(const void *p);       /* 0: no huge block starts there */
void *lm_huge_resize(void *p, size_t size); /* NULL: could not; the block is as it was */
enum lm_huge_place { LM_HUGE_OUTSIDE, LM_HUGE_INSIDE, LM_HUGE_FREED };
/* Of a pointer that starts no huge block; and how large the block is or was, 0 when that is forgotten. */
enum lm_huge_place lm_huge_place(const void *p, size_t *bytes);
void lm_huge_stats(struct lm_heap_stats *out);

/* -- free.c -- */
/* The descriptor of the slab or large span of the live block p; NULL: it is huge. Aborts when p is no block. */
struct lm_span *lm_block_span(const void *p, const char *verb);

/* -- count.c -- */
void lm_count_malloc(size_t requested, size_t given);
void lm_count_free(size_t given);
/* A block that was resized without either, when anybody counts. */
LM_INLINE void lm_count_resize(size_t old_given, size_t requested, size_t given)
{
    if (lm_config.stats) {
        lm_count_free(old_given);
        lm_count_malloc(requested, given);
    }
}
int lm_heap_check_slabs(const struct lm_heap *heap); /* 0, or the line of the invariant that its slabs break */

extern struct lm_heap *lm_heaps; /* the registry: atomic first, then ->next */

#endif
