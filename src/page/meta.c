/* meta.c: memory for loam's own bookkeeping: cut from META spans in order, never freed, because what it
 * holds (thread heaps) is recycled by its users and read by other threads at any time. What comes and goes waits in
 * stacks, one for each length in cache lines, for the next of its length. */
#include "page/page.h"

struct lm_lock lm_meta_lock = LM_LOCK_INIT(LM_RANK_META);
static char *meta_next, *meta_end;

void *lm_meta_alloc(size_t bytes)
{
    void *p = NULL;
    bool zeroed;

    bytes = lm_align_up(bytes, LM_CACHE_LINE);
    if (bytes > LM_GRANULE)
        return NULL;
    lm_lock_take(&lm_meta_lock);
    if (bytes <= (size_t)(meta_end - meta_next)) {
        p = meta_next;
        meta_next += bytes;
    }
    lm_lock_release(&lm_meta_lock);
    if (p)
        return p;

    /* a new span, taken without the lock; what was left of the old one is given up */
    struct lm_span *span = lm_span_alloc(1, 1, LM_META, &zeroed);

    if (!span)
        return NULL;
    p = lm_span_start(span);
    if (!zeroed)
        __builtin_memset(p, 0, LM_GRANULE);
    lm_lock_take(&lm_meta_lock);
    meta_next = (char *)p + bytes;
    meta_end = (char *)p + LM_GRANULE;
    lm_lock_release(&lm_meta_lock);
    return p;
}

static struct lm_meta_piece *meta_stack[LM_META_MOST / LM_CACHE_LINE + 1];

static struct lm_meta_piece **meta_stack_of(size_t bytes)
{
    LM_ASSERT(bytes && bytes <= LM_META_MOST);
    return &meta_stack[lm_align_up(bytes, LM_CACHE_LINE) / LM_CACHE_LINE];
}

void *lm_meta_take(size_t bytes)
{
    struct lm_meta_piece **stack = meta_stack_of(bytes), *p;

    lm_lock_take(&lm_meta_lock);
    p = *stack;
    if (p)
        *stack = p->next;
    lm_lock_release(&lm_meta_lock);
    if (!p)
        return lm_meta_alloc(bytes);
    *p = (struct lm_meta_piece){NULL, 0};
    return p;
}

void lm_meta_give(struct lm_meta_piece *pieces)
{
    lm_lock_take(&lm_meta_lock);
    while (pieces) {
        struct lm_meta_piece **stack = meta_stack_of(pieces->bytes), *next = pieces->next;

        pieces->next = *stack;
        *stack = pieces;
        pieces = next;
    }
    lm_lock_release(&lm_meta_lock);
}
