/* dense.c: how much of the memory in use is touched, seen from the descriptors alone.
 *
 *   | slab | slab | slab | slab | free | large        | dirty | slab | ...  ^ frontier
 *     10 %   3 %    100 %  5 %    -      100 %          100 %   20 %
 *
 * A huge page is there as a whole once any byte of it is touched, so it pays where its 32 granules would be filled anyhow, and
 * multiplies a process's memory where each holds a page or two: many threads with a slab of each size have nothing else.
 *
 * Who calls: arena.c, under LM_RANK_PAGES, when the frontier moves. Slabs' owners may be carving meanwhile. */
#include "page/arena.h"

/* Bytes of granule g, of a slab or not, that have been handed out at least once, or may have been. */
LM_RACY static size_t dense_touched(const struct lm_arena *arena, uint32_t g)
{
    const struct lm_span *span = lm_arena_span(arena, g);
    size_t before = 0, carved;

    if (lm_span_kind(span) == LM_CONT) {
        before = span->granules * LM_GRANULE;
        span -= span->granules;
    }
    if (lm_span_kind(span) < LM_SLAB_CURRENT)
        return LM_GRANULE;
    carved = (size_t)__atomic_load_n(&span->carved, __ATOMIC_RELAXED) * span->object_bytes;
    return lm_min(carved - lm_min(carved, before), LM_GRANULE);
}

bool lm_arena_is_dense(const struct lm_arena *arena, uint32_t upto)
{
    enum { LOOKS = 1024, SHARE = 4 }; /* granules looked at: the last quarter of all, at most so many */
    uint32_t looks = (uint32_t)lm_min((upto - arena->head) / SHARE, LOOKS);
    size_t used = 0, touched = 0;

    for (uint32_t g = upto - looks; g < upto; g++) {
        if (lm_arena_span(arena, g)->kind == LM_FREE && lm_buddy_is_free(&arena->buddy, g))
            continue; /* says nothing about who will take it */
        used += LM_GRANULE;
        touched += dense_touched(arena, g);
    }
    return touched >= used / 4 * 3;
}
