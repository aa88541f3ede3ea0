/* ahead.c: memory for the next slabs of a heap that grows, in one piece.
 *
 *   run   | next slab | the one after it | ...      fresh granules, populated by one call
 *         ^ heap->ahead
 *
 * A heap that has made many slabs of a class, and whose next one would raise the process's peak, gets memory for several at once:
 * a sixty-fourth of what it has grown by so far, up to half a mebibyte. That is one call, instead of one for each slab, and one
 * turn at the page lock. Only slabs of such classes come from it, so that a class of which few objects are used takes no pages that
 * are there already.
 *
 * Invariant (lm_ahead_check): heap->ahead is 0 or a span of kind SLAB_CURRENT that is no slab yet (no annex, no owner), of at
 * least one granule.
 *
 * For the heap's owner only, and only for heaps of threads. It goes back, as dirty memory, when the heap is trimmed, when its
 * thread ends, and when what is left of it is too short. Fork: to the child a vanished thread's run is a slab that was being made,
 * and goes back as such; so does the run of the forking thread. No locks but that of the pages. */
#include "heap/room.h"

enum {
    SHARE = 64,   /* of what the heap has grown by, in granules: below 4 MiB it has not */
    RUN_MOST = 8, /* granules: 512 KiB */
};

/* Slabs come and go in a heap that does not grow: what it has made is more than what is there. */
uint32_t lm_ahead_granules(const struct lm_heap *heap)
{
    uint32_t share = (uint32_t)lm_min(lm_min(heap->made, lm_page_used()) / SHARE, RUN_MOST);

    return share ? (uint32_t)1 << lm_log2_floor(share) : 0; /* so that runs lie side by side */
}

void lm_ahead_release(struct lm_heap *heap)
{
    bool noted = lm_remote_enter();
    lm_span_id run = heap->ahead;

    heap->ahead = 0;
    if (run)
        lm_span_free(lm_span_at(run));
    lm_remote_leave(noted);
}

/* A run of at least twice `granules`, or NULL. */
static struct lm_span *ahead_make(struct lm_heap *heap, uint32_t granules)
{
    uint32_t want = lm_ahead_granules(heap);
    struct lm_span *run;
    bool zeroed;

    if (want < 2 * granules || !lm_page_would_rise())
        return NULL;
    run = lm_span_alloc(want, 1, LM_SLAB_CURRENT, &zeroed);
    if (!run)
        return NULL;
    if (zeroed)
        lm_os_populate(lm_span_start(run), want * LM_GRANULE);
    heap->ahead_zeroed = zeroed;
    return run;
}

struct lm_span *lm_ahead_slab(struct lm_heap *heap, unsigned size_class)
{
    uint32_t granules = lm_class[size_class].granules;
    struct lm_span *span;

    if (heap->ahead && lm_span_at(heap->ahead)->granules < granules)
        lm_ahead_release(heap);
    span = heap->ahead ? lm_span_at(heap->ahead) : ahead_make(heap, granules);
    if (!span)
        return NULL;
    heap->ahead = span->granules > granules ? lm_span_id_of(lm_span_cut(span, granules)) : 0;
    return lm_slab_create_at(span, size_class, heap->colour++, heap->ahead_zeroed, lm_heap_tag(heap));
}

int lm_ahead_check(const struct lm_heap *heap)
{
    const struct lm_span *run = heap->ahead ? lm_span_at(heap->ahead) : NULL;

    if (run && (run->kind != LM_SLAB_CURRENT || run->link || run->owner || run->granules == 0))
        return __LINE__;
    return 0;
}
