/* sweep.c: free pages inside a heap's partial slabs, returned on the slow road (config holes).
 *
 * A slab that keeps one live object keeps all its pages, and serves no other size. So where a heap changes slabs, some of its partial
 * ones are looked at (lm_slab_look), in turn:
 *
 *   by need   a new slab raises the process's peak, which is worth some calls: slabs that are nearly empty give up their pages
 *   by age    purge_ms after the last round: slabs that no object was freed in for a whole round
 *
 * The turn is a cursor, the last slab that was looked at. It may have left its list since; then it is no longer PARTIAL,
 * the heap's, and of the class, and the turn goes to the next class. For the heap's owner only; no locks. */
#include "heap/room.h"

enum {
    LOOKS = 4,    /* at a time, or for each slab that is needed */
    BETWEEN = 16, /* occasions on which nothing grows, between two at which the clock is read */
};

/* The slab whose turn it is, or NULL at the end of a round. */
static struct lm_span *sweep_next(struct lm_heap *heap)
{
    lm_span_id id = 0;

    if (heap->sweep_at) {
        const struct lm_span *last = lm_span_at(heap->sweep_at);

        if (lm_span_kind(last) == LM_SLAB_PARTIAL && lm_slab_owner(last) == heap &&
            last->size_class == heap->sweep_class)
            id = last->next;
        if (!id)
            heap->sweep_class++;
    }
    while (!id && heap->sweep_class < LM_CLASSES) {
        id = heap->lists.partial[heap->sweep_class];
        heap->sweep_class += !id;
    }
    heap->sweep_at = id;
    if (id)
        return lm_span_at(id);
    heap->sweep_class = 0;
    return NULL;
}

void lm_heap_sweep_some(struct lm_heap *heap, unsigned needed)
{
    struct lm_holes holes;
    uint64_t now;

    if (!lm_config.holes || (!needed && heap->sweep_pause++ % BETWEEN != 0))
        return;
    now = lm_os_clock_ms();
    lm_heap_age();
    if (!needed && !heap->sweep_at && now - heap->sweep_ms < lm_config.purge_ms)
        return;
    lm_holes_start(&holes);
    for (unsigned i = 0; i < LOOKS * lm_max(needed, 1); i++) {
        struct lm_span *slab = sweep_next(heap);

        if (!slab) {
            heap->sweep_ms = now;
            break;
        }
        lm_slab_look(slab, needed ? LM_LOOK_NEED : LM_LOOK_IDLE, &holes);
    }
    lm_holes_return(&holes);
}

size_t lm_lists_sweep(const struct lm_lists *lists)
{
    struct lm_holes holes;

    lm_holes_start(&holes);
    for (unsigned c = 0; c < LM_CLASSES && lm_config.holes; c++)
        for (lm_span_id id = lists->partial[c]; id; id = lm_span_at(id)->next)
            lm_slab_look(lm_span_at(id), LM_LOOK_ALL, &holes);
    lm_holes_return(&holes);
    return holes.returned;
}
