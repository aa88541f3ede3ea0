/* share.c: what threads owe each other: no thread keeps partial slabs that another has to do without, and who holds what.
 *
 *   a heap that must grow ──> wanted[class] = heap          a heap with two partial slabs of the class, at its next
 *                                                            slow free ──> gives one to the orphans, wanted[class] = NULL
 *
 * The rule. A thread's claim on cached bytes is what is free in its own slabs: a current slab for each class that it uses,
 * and partial slabs. While nobody else needs these it keeps them all, because blocks freed into one's own slab are the
 * cheapest to use again. A heap that grows says so; of that class another then keeps one partial slab for itself, and of
 * the others gives one away for each slab that a heap had to make: the emptiest of a few, because the fewest of its blocks
 * must then travel home. Whoever needs a slab of the class next finds it among the orphans before it makes one. So a greedy
 * thread's leavings become others' supply at the rate at which these grow, and a balanced program pays at most one
 * travelling slab for a new one. A thread that makes no call gives nothing away: its heap is its own, and nobody can look
 * into it; policy:lean, whose heaps are shared, and caches of CPUs have no such threads. Dirty memory is nobody's: any
 * thread takes from it first, it is bounded as a whole, and returned by age (page/dirty.c). Blocks gathered for other
 * threads are bounded by count and bytes (remote.c).
 *
 * Invariant: a heap has given at most one slab of a class for each time that another heap wanted one. A word for each
 * class, read often and written seldom: what is lost when two heaps want at once is one want. No lock but that of the
 * orphans. Fork: a want of a vanished thread's heap is void. */
#include "heap/room.h"

static struct lm_heap *share_wanted[LM_CLASSES]; /* atomic: who wants; NULL: nobody */

void (*lm_claim_hook)(const struct lm_claim *claim);

/* Figures with one writer, read by others. */
static void share_count(uint64_t *figure, uint64_t bytes)
{
    __atomic_store_n(figure, *figure + bytes, __ATOMIC_RELAXED);
}

static uint64_t share_slab_bytes(const struct lm_span *slab)
{
    return (uint64_t)lm_class[slab->size_class].granules * LM_GRANULE;
}

/* True of threads' own heaps. */
static bool share_takes_part(const struct lm_heap *heap)
{
    return !(heap->tag & ~(unsigned)LM_TAG_COUNTS);
}

void lm_share_want(struct lm_heap *heap, unsigned size_class)
{
    /* relaxed, all of them: a word that says whom to oblige, and nothing that must be seen with it */
    if (!lm_is_single() && share_takes_part(heap) &&
        __atomic_load_n(&share_wanted[size_class], __ATOMIC_RELAXED) != heap)
        __atomic_store_n(&share_wanted[size_class], heap, __ATOMIC_RELAXED);
}

/* The emptiest of a few partial slabs, when there are two or more. */
static struct lm_span *share_spare(const struct lm_heap *heap, unsigned size_class)
{
    enum { LOOKS = 8 };
    struct lm_span *best = NULL;
    int looks = 0;

    for (lm_span_id id = heap->lists.partial[size_class]; id && looks < LOOKS; looks++) {
        struct lm_span *slab = lm_span_at(id);

        if (!best || lm_slab_annex(slab)->countdown < lm_slab_annex(best)->countdown)
            best = slab;
        id = slab->next;
    }
    return looks > 1 ? best : NULL;
}

void lm_share_offer(struct lm_heap *heap, unsigned size_class)
{
    struct lm_heap *who = __atomic_load_n(&share_wanted[size_class], __ATOMIC_RELAXED);
    struct lm_span *slab;

    if (LM_LIKELY(!who) || who == heap || !share_takes_part(heap))
        return;
    slab = share_spare(heap, size_class);
    if (!slab)
        return;
    __atomic_store_n(&share_wanted[size_class], NULL, __ATOMIC_RELAXED);
    share_count(&heap->given_bytes, share_slab_bytes(slab));
    lm_orphans_give(&heap->lists, slab);
}

void lm_share_took(struct lm_heap *heap, const struct lm_span *slab)
{
    share_count(&heap->stolen_bytes, share_slab_bytes(slab));
}

void lm_share_after_fork(void)
{
    for (unsigned c = 0; c < LM_CLASSES; c++)
        share_wanted[c] = NULL;
}

/* -- who holds what -------------------------------------------------------------------------------------------------- */

struct share_search {
    const struct lm_heap *heap[LM_CLAIMS];
    struct lm_claim *out;
    size_t count;
};

/* Read while the slab's thread may be at it: figures of a moment. */
LM_RACY static void share_add(struct lm_span *span, void *arg)
{
    const struct share_search *search = arg;
    const struct lm_heap *owner;
    size_t i = 0, free_objects;

    if (span->kind < LM_SLAB_CURRENT)
        return;
    for (owner = lm_slab_owner(span); i < search->count && search->heap[i] != owner;)
        i++;
    if (i == search->count)
        return;
    free_objects = span->kind == LM_SLAB_CURRENT ? lm_slab_count_free(span)
                                                 : span->carved - lm_min(lm_slab_live(span), span->carved);
    search->out[i].held_bytes += share_slab_bytes(span);
    search->out[i].cached_bytes += free_objects * lm_slab_object_size(span);
}

static void share_claim(struct share_search *search, const struct lm_heap *heap, bool ended)
{
    search->out[search->count] = (struct lm_claim){
        .thread = __atomic_load_n(&heap->thread, __ATOMIC_RELAXED),
        .ended = ended,
        .stolen_bytes = __atomic_load_n(&heap->stolen_bytes, __ATOMIC_RELAXED),
        .given_bytes = __atomic_load_n(&heap->given_bytes, __ATOMIC_RELAXED),
    };
    search->heap[search->count++] = heap;
}

size_t lm_heap_claims(struct lm_claim *out, size_t most)
{
    struct share_search search = {.out = out};
    const struct lm_heap *heap = __atomic_load_n(&lm_heaps, __ATOMIC_ACQUIRE); /* pairs with heap_obtain */

    for (; heap && search.count < lm_min(most, LM_CLAIMS); heap = heap->next)
        if (__atomic_load_n(&heap->thread, __ATOMIC_RELAXED))
            share_claim(&search, heap, false);
    lm_page_each(share_add, &search);
    return search.count;
}

void lm_share_end(struct lm_heap *heap)
{
    struct lm_claim claim;
    struct share_search search = {.out = &claim};

    if (lm_claim_hook) {
        share_claim(&search, heap, true);
        lm_page_each(share_add, &search);
        lm_claim_hook(&claim);
    }
    __atomic_store_n(&heap->thread, 0, __ATOMIC_RELAXED);
    heap->stolen_bytes = heap->given_bytes = 0;
}
