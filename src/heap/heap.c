/* heap.c: the slow road of malloc: which slab next; and the states of slabs.
 *
 * A class's next slab is, in this order: what its current slab still has (frees from other threads, fresh
 * pages); a slab that the mailbox brought back; the fullest of a few partial slabs, so that the emptier ones
 * have time to become empty; an orphan; a new one. */
#include "heap/room.h"

#include <errno.h>
#include <limits.h>

enum { GROWN = 8 }; /* slabs of a class, after which a heap that has grown is believed to go on growing by it */

__thread struct lm_fast *lm_heap_self = (struct lm_fast *)&lm_heap_none;

const struct lm_annex lm_annex_none;
const struct lm_span lm_slab_none = {.link = LM_LINKS_NONE};
const struct lm_fast lm_heap_none = {
    .direct = {[0 ... LM_DIRECT_MAX / 16] = LM_LINKS_NONE},
    .by_class = {[0 ... LM_CLASSES - LM_DIRECT_CLASSES - 1] = LM_LINKS_NONE},
};

bool (*lm_memory_short_hook)(void);

bool lm_memory_is_short(void)
{
    bool (*hook)(void) = __atomic_load_n(&lm_memory_short_hook, __ATOMIC_RELAXED);

    return hook && hook() && (lm_heap_trim(0), true);
}

/* -- lists of slabs -------------------------------------------------------------------------------------- */

void lm_lists_link(lm_span_id *head, struct lm_span *span)
{
    lm_span_id id = lm_span_id_of(span);

    span->prev = 0;
    span->next = *head;
    if (*head)
        lm_span_at(*head)->prev = id;
    __atomic_store_n(head, id, __ATOMIC_RELAXED); /* for the hint in lm_orphans_take */
}

void lm_lists_unlink(lm_span_id *head, struct lm_span *span)
{
    if (span->next)
        lm_span_at(span->next)->prev = span->prev;
    if (span->prev)
        lm_span_at(span->prev)->next = span->next;
    else
        __atomic_store_n(head, span->next, __ATOMIC_RELAXED);
    span->next = span->prev = 0;
}

LM_RACY unsigned lm_slab_live(const struct lm_span *slab)
{
    unsigned countdown = lm_slab_annex(slab)->countdown;

    return slab->kind == LM_SLAB_FULL ? lm_slab_capacity(slab) - (lm_slab_reserve(slab) - countdown) : countdown;
}

void lm_lists_give(struct lm_lists *lists, struct lm_span *slab, unsigned live)
{
    if (live == 0 && !lm_slab_is_mailed(slab)) {
        /* nobody has a block of it, so nobody can push or mail it any more */
        __atomic_store_n(&slab->owner, NULL, __ATOMIC_RELEASE);
        lm_slab_free(slab);
    } else if (live < lm_slab_capacity(slab)) {
        lm_span_set_kind(slab, LM_SLAB_PARTIAL);
        lm_slab_annex(slab)->countdown = live;
        lm_lists_link(&lists->partial[slab->size_class], slab);
    } else {
        lm_span_set_kind(slab, LM_SLAB_FULL);
        lm_slab_annex(slab)->countdown = lm_slab_reserve(slab);
        lm_lists_link(&lists->full, slab);
    }
}

void lm_lists_credit(struct lm_lists *lists, struct lm_span *slab, unsigned freed)
{
    struct lm_annex *annex = lm_slab_annex(slab);
    unsigned live;

    if (slab->kind == LM_SLAB_CURRENT) {
        annex->countdown = LM_COUNT_IDLE;
        return;
    }
    if (freed < annex->countdown) {
        annex->countdown -= freed;
        return;
    }
    live = lm_slab_live(slab) - freed;
    lm_lists_unlink(slab->kind == LM_SLAB_FULL ? &lists->full : &lists->partial[slab->size_class], slab);
    lm_lists_give(lists, slab, live);
}

void lm_lists_settle(struct lm_lists *lists, struct lm_span *slab, unsigned freed)
{
    if (freed) {
        lm_lists_credit(lists, slab, freed);
    } else if (slab->kind == LM_SLAB_PARTIAL && lm_slab_annex(slab)->countdown == 0) {
        /* empty since it was collected on the way; it waited only for its mailed bit to clear */
        lm_lists_unlink(&lists->partial[slab->size_class], slab);
        lm_lists_give(lists, slab, 0);
    }
}

struct lm_span *lm_lists_take(struct lm_lists *lists, unsigned size_class)
{
    enum { LOOKS = 8 };
    struct lm_span *best = NULL;
    lm_span_id id = lists->partial[size_class];
    unsigned most = 0;

    for (int i = 0; id && i < LOOKS; i++) {
        struct lm_span *slab = lm_span_at(id);
        unsigned live = lm_slab_annex(slab)->countdown;

        if (!best || live > most || (live == most && slab < best)) {
            best = slab;
            most = live;
        }
        id = slab->next;
    }
    if (best)
        lm_lists_unlink(&lists->partial[size_class], best);
    return best;
}

/* A local free brought the countdown to 0: see slab.h for what that means. */
void lm_heap_push_zero(struct lm_span *slab)
{
    struct lm_heap *heap = lm_slab_owner(slab);
    unsigned size_class = slab->size_class; /* the slab may be released below */

    lm_slab_annex(slab)->countdown = 1; /* the free that got us here is credited below */
    lm_lists_credit(&heap->lists, slab, 1);
    lm_share_offer(heap, size_class);
    if (!heap->tag) /* others have come by lm_heap_free, some with a lock that they still hold */
        lm_scavenge_tell(LM_SCAVENGE_FREED);
}

/* -- malloc ---------------------------------------------------------------------------------------------- */

void lm_heap_set_current(struct lm_heap *heap, unsigned size_class, struct lm_span *slab)
{
    size_t size = lm_class[size_class].size, from;
    unsigned before = size_class;

    heap->current[size_class] = slab;
    if (slab != LM_SLAB_NONE) {
        lm_span_set_kind(slab, LM_SLAB_CURRENT);
        lm_slab_unlook(slab);
        lm_slab_annex(slab)->countdown = LM_COUNT_IDLE;
    }
    if (heap->tag & ~LM_TAG_PRIVATE)
        return;
    while (before && lm_class_serving[before - 1] == size_class)
        before--; /* classes that are left out */
    if (size > LM_DIRECT_MAX) {
        for (unsigned c = before; c <= size_class; c++)
            heap->fast.by_class[c - LM_DIRECT_CLASSES] = slab->link;
        return;
    }
    from = before ? lm_class[before - 1].size / 16 + 1 : 0;
    for (size_t i = from; i <= size / 16; i++)
        heap->fast.direct[i] = slab->link;
}

void lm_heap_release_current(struct lm_heap *heap)
{
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = heap->current[c];

        if (slab == LM_SLAB_NONE || lm_slab_is_mailed(slab))
            continue;
        if (lm_slab_count_free(slab) == slab->carved) {
            lm_heap_set_current(heap, c, LM_SLAB_NONE);
            lm_lists_give(&heap->lists, slab, 0);
        }
    }
}

/* True when the heap is going to use all of its next slab of the class, so that memory for it may be there ahead. */
static bool heap_is_far(const struct lm_heap *heap, unsigned size_class)
{
    return heap->grown[size_class] >= GROWN && lm_ahead_granules(heap) > 0;
}

/* The same of several slabs. */
static bool heap_takes_runs(const struct lm_heap *heap, unsigned size_class)
{
    return heap_is_far(heap, size_class) && lm_config.prefault_bytes >= LM_GRANULE &&
        !(heap->tag & ~(unsigned)LM_TAG_COUNTS);
}

/* A new slab, or NULL with ENOMEM. */
static struct lm_span *heap_new_slab(struct lm_heap *heap, unsigned size_class)
{
    bool noted = lm_remote_enter();
    struct lm_span *slab = heap_takes_runs(heap, size_class) ? lm_ahead_slab(heap, size_class) : NULL;
    bool from_run = slab != NULL;

    if (!slab)
        slab = lm_slab_create(size_class, heap->colour++, lm_heap_tag(heap));
    lm_remote_leave(noted);
    if (!slab || !lm_config.prefault_bytes)
        return slab;
    heap->made += slab->granules;
    if (heap->grown[size_class] < GROWN)
        heap->grown[size_class]++;
    else if (!from_run && slab->flags & LM_SLAB_ZEROED && heap_is_far(heap, size_class))
        slab->flags |= LM_SLAB_AHEAD;
    return slab;
}

/* Before the peak rises by a slab, or by a run of them: free pages of others go. */
static void heap_make_amends(struct lm_heap *heap, unsigned size_class)
{
    unsigned needed = 1;

    if (heap_takes_runs(heap, size_class)) {
        if (heap->ahead)
            return; /* it has risen already */
        needed = lm_ahead_granules(heap);
    }
    if (lm_page_would_rise() && !lm_idle_release(false))
        lm_heap_sweep_some(heap, needed);
}

/* A slab of the class with something to give, or NULL with ENOMEM. */
static struct lm_span *heap_next_slab(struct lm_heap *heap, unsigned size_class)
{
    struct lm_span *slab = lm_lists_take(&heap->lists, size_class);

    if (!slab && heap->tag & LM_TAG_PRIVATE)
        return lm_private_new_slab(heap, size_class);
    lm_heap_sweep_some(heap, 0);
    if (slab)
        return slab;
    slab = lm_orphans_take(heap, size_class);
    if (slab) {
        lm_share_took(heap, slab);
        return slab;
    }
    lm_share_want(heap, size_class);
    heap_make_amends(heap, size_class);
    lm_remote_flush(heap); /* a heap that grows is a good moment to let go of what is others' */
    slab = heap_new_slab(heap, size_class);
    if (!slab && !(heap->tag & LM_TAG_CPU) && lm_heap_trim(0) > 0) /* a trim would take the CPU's lock */
        slab = heap_new_slab(heap, size_class);
    if (!slab && lm_memory_is_short())
        slab = heap_new_slab(heap, size_class);
    return slab;
}

/* How many objects are linked at a time. Of private heaps many live for a request: they begin with a few, and double. */
static unsigned heap_carve_most(const struct lm_heap *heap, const struct lm_span *slab)
{
    enum { LEAST = 8, LEAST_BYTES = 1 << 10 };

    if (!(heap->tag & LM_TAG_PRIVATE))
        return UINT_MAX;
    return (unsigned)lm_max(lm_max(slab->carved, LEAST), LEAST_BYTES / lm_slab_object_size(slab));
}

void *lm_heap_take(struct lm_heap *heap, unsigned size_class, bool *zeroed)
{
    struct lm_span *slab = heap->current[size_class], *next;

    for (;; slab = next) {
        if (slab != LM_SLAB_NONE) {
            void *p = lm_slab_pop(slab);

            if (!p && lm_slab_collect(slab, false))
                p = lm_slab_pop(slab);
            if (!p && lm_slab_object_size(slab) >= lm_os_page_size())
                p = lm_slab_carve_one(slab, zeroed);
            else if (!p && lm_slab_carve(slab, heap_carve_most(heap, slab)))
                p = lm_slab_pop(slab);
            if (p)
                return p;
        }
        if (lm_remote_receive(heap)) {
            void *p = lm_slab_pop(slab);

            if (p)
                return p;
        }
        next = heap_next_slab(heap, size_class);
        if (!next)
            return NULL;
        /* looked up again: a trim on the way may have brought frees home to it, or even released it */
        slab = heap->current[size_class];
        lm_heap_set_current(heap, size_class, next);
        if (slab != LM_SLAB_NONE)
            lm_lists_give(&heap->lists, slab, slab->carved - lm_slab_list_length(slab));
    }
}

void *lm_heap_malloc(size_t size, bool *zeroed)
{
    bool ignored;
    struct lm_heap *heap;
    unsigned size_class;
    void *p;

    if (!zeroed)
        zeroed = &ignored;
    *zeroed = false;
    lm_single_guard();
    lm_scavenge_tell(LM_SCAVENGE_ALLOCATES);
    if (lm_config.heaps)
        return lm_shared_malloc(size, 1, zeroed);
    if (size > lm_config.slab_max_bytes)
        return lm_large_malloc(size, 1, zeroed);
    size_class = lm_class_for(size);
    heap = lm_heap_mine();
    if (lm_thread_on_cpus()) {
        if (heap) /* from before */
            lm_heap_detach(heap);
        p = lm_percpu_malloc(size_class, zeroed);
    } else {
        if (!heap)
            heap = lm_heap_attach();
        p = heap                  ? lm_heap_take(heap, size_class, zeroed)
            : lm_thread_on_cpus() ? lm_percpu_malloc(size_class, zeroed)
                                  : lm_orphans_malloc(size_class);
    }
    if (!p)
        errno = ENOMEM;
    else if (lm_config.stats)
        lm_count_malloc(size, lm_class[size_class].size);
    return p;
}

unsigned lm_heap_aligned_class(size_t size, size_t align)
{
    unsigned size_class = lm_class_for(lm_align_up(size, align));

    /* an object is aligned to the largest power of two that divides its class's size */
    while (lm_class[size_class].size & (align - 1))
        size_class = lm_class_serving[size_class + 1];
    return size_class;
}

void *lm_heap_malloc_aligned(size_t size, size_t align)
{
    bool zeroed;

    if (size > PTRDIFF_MAX - align) {
        errno = ENOMEM;
        return NULL;
    }
    if (align <= 16)
        return lm_heap_malloc(size, NULL);
    size = lm_max(size, 1);
    lm_single_guard();
    if (lm_config.heaps)
        return lm_shared_malloc(size, align, &zeroed);
    if (size <= lm_config.slab_max_bytes && align <= lm_config.slab_max_bytes)
        return lm_heap_malloc(lm_class[lm_heap_aligned_class(size, align)].size, NULL);
    return lm_large_malloc(size, align, &zeroed);
}

size_t lm_heap_good_size(size_t size)
{
    if (size <= lm_config.slab_max_bytes)
        return lm_class[lm_class_for(size)].size;
    return size > PTRDIFF_MAX ? SIZE_MAX : lm_align_up(size, lm_os_page_size());
}

size_t lm_heap_trim(size_t keep_bytes)
{
    struct lm_heap *heap = lm_heap_mine();
    size_t bytes = lm_orphans_sweep();

    lm_single_guard();
    if (heap) {
        lm_remote_flush(heap);
        lm_remote_receive(heap);
        lm_heap_release_current(heap);
        lm_ahead_release(heap);
        bytes += lm_lists_sweep(&heap->lists);
    }
    if (lm_config.heaps)
        lm_heap_sweep();
    lm_percpu_drain();
    lm_huge_bury();
    lm_idle_release(true);
    lm_orphans_trim();
    return bytes + lm_page_purge(keep_bytes);
}

void lm_heap_flush(void)
{
    if (lm_heap_mine())
        lm_remote_flush(lm_heap_mine());
}
