/* count.c: what heaps that count (config stats) know. Shared counters with relaxed atomics: such a run is for
 * its figures, not for its time. And the statistics that need no counting, read from the descriptors. */
#include "heap/room.h"

static struct lm_counts count_here;
struct lm_counts *lm_counts = &count_here;

void lm_count_malloc(size_t requested, size_t given)
{
    lm_count_raise(&lm_counts->peak_bytes, lm_count_add(&lm_counts->live_bytes, given));
    lm_count_add(&lm_counts->allocations, 1);
    lm_count_add(&lm_counts->requested_bytes, requested);
    lm_count_add(&lm_counts->rounded_bytes, given);
}

void lm_count_free(size_t given)
{
    lm_count_add(&lm_counts->live_bytes, 0 - (uint64_t)given);
    lm_count_add(&lm_counts->frees, 1);
}

LM_RACY static void count_span(struct lm_span *span, void *arg)
{
    struct lm_heap_stats *out = arg;
    size_t size, free_objects;

    if (span->kind == LM_LARGE) {
        out->large_blocks++;
        out->large_bytes += span->large.bytes;
    }
    if (!lm_slab_is_made(span))
        return;
    size = lm_slab_object_size(span);
    free_objects = span->kind == LM_SLAB_CURRENT ? lm_slab_count_free(span)
                                                 : span->carved - lm_min(lm_slab_live(span), span->carved);
    out->slabs++;
    out->free_objects += free_objects;
    out->small_free_bytes += free_objects * size;
    out->small_live_bytes += (span->carved - free_objects) * size;
}

LM_RACY void lm_heap_stats(struct lm_heap_stats *out)
{
    size_t cached, cached_bytes;

    *out = (struct lm_heap_stats){0};
    lm_page_each(count_span, out);
    lm_huge_stats(out);
    lm_percpu_cached(&cached, &cached_bytes);
    cached_bytes = lm_min(cached_bytes, out->small_live_bytes);
    out->free_objects += cached;
    out->small_free_bytes += cached_bytes;
    out->small_live_bytes -= cached_bytes;
    for (struct lm_heap *heap = __atomic_load_n(&lm_heaps, __ATOMIC_ACQUIRE); heap; heap = heap->next) {
        out->heaps++;
        out->idle_heaps += !heap->busy;
    }
}

int lm_heap_check(void)
{
    int fault = lm_page_check();

    if (!fault)
        fault = lm_orphans_check();
    if (!fault)
        fault = lm_idle_check();
    if (!fault && lm_heap_mine())
        fault = lm_heap_check_slabs(lm_heap_mine());
    return fault ? fault : lm_percpu_check();
}

int lm_heap_check_slabs(const struct lm_heap *heap)
{
    int fault = lm_ahead_check(heap);

    for (unsigned c = 0; c < LM_CLASSES && !fault; c++) {
        if (heap->current[c] != LM_SLAB_NONE)
            fault = heap->current[c]->kind == LM_SLAB_CURRENT ? lm_slab_check(heap->current[c]) : __LINE__;
        for (lm_span_id id = heap->lists.partial[c]; id && !fault; id = lm_span_at(id)->next) {
            const struct lm_span *slab = lm_span_at(id);

            fault = slab->kind == LM_SLAB_PARTIAL && slab->size_class == c && lm_slab_owner(slab) == heap
                ? lm_slab_check(slab)
                : __LINE__;
        }
    }
    for (lm_span_id id = heap->lists.full; id && !fault; id = lm_span_at(id)->next)
        fault = lm_span_at(id)->kind == LM_SLAB_FULL ? lm_slab_check(lm_span_at(id)) : __LINE__;
    return fault;
}
