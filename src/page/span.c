/* span.c: runs of granules: placing, freeing, growing and shrinking them.
 *
 * A request is met from dirty extents first (their pages are there already), then from the buddy (clean
 * memory below the frontier), then by moving the frontier, then by returning dirty memory and asking again,
 * and at last from a further arena. */
#include "page/arena.h"

#include <errno.h>

size_t lm_used_granules;
void (*lm_scavenge_hook)(enum lm_scavenge when);
static size_t span_peak_granules;

/* Makes the descriptor of a fresh span. */
static struct lm_span *span_start(struct lm_span *span, uint32_t granules, enum lm_kind kind)
{
    *span = (struct lm_span){.kind = (uint8_t)kind, .granules = granules};
    lm_used_granules += granules;
    span_peak_granules = lm_max(span_peak_granules, lm_used_granules + lm_dirty_granules);
    return span;
}

/* Clean granules below the frontier or beyond it, in one arena; 0 when there are none. */
static uint32_t span_place(struct lm_arena *arena, uint32_t granules, uint32_t align)
{
    uint32_t first, slack = align - 1, skip;

    if (align == 1) {
        first = lm_buddy_alloc(&arena->buddy, granules);
        return first != LM_BUDDY_NONE ? first : lm_arena_extend(arena, granules);
    }
    /* addresses are aligned, not granule numbers: the base is aligned to a granule only */
    if (granules > arena->granules - slack)
        return 0;
    first = lm_buddy_alloc(&arena->buddy, granules + slack);
    if (first == LM_BUDDY_NONE)
        first = lm_arena_extend(arena, granules + slack);
    if (first == 0)
        return 0;
    skip = (uint32_t)(-((uintptr_t)arena->base / LM_GRANULE + first) & slack);
    if (skip)
        lm_buddy_free(&arena->buddy, first, skip);
    if (slack - skip)
        lm_buddy_free(&arena->buddy, first + skip + granules, slack - skip);
    return first + skip;
}

static struct lm_span *span_find_clean(uint32_t group, uint32_t granules, uint32_t align, enum lm_kind kind)
{
    for (uint32_t i = 0; i < lm_arena_count; i++) {
        struct lm_arena *arena = &lm_arenas[i];
        uint32_t first = arena->group == group && arena->granules ? span_place(arena, granules, align) : 0;

        if (first)
            return span_start(lm_arena_span(arena, first), granules, kind);
    }
    return NULL;
}

static struct lm_span *span_find_dirty(uint32_t granules, uint32_t align, enum lm_kind kind)
{
    struct lm_span *span = lm_dirty_take(granules, align);

    return span ? span_start(span, granules, kind) : NULL;
}

static struct lm_span *span_find(uint32_t granules, uint32_t align, enum lm_kind kind, bool sparse, bool *zeroed)
{
    struct lm_span *span = sparse ? NULL : span_find_dirty(granules, align, kind);

    *zeroed = false;
    if (span)
        return span;
    lm_keep_clean(granules);
    span = span_find_clean(0, granules, align, kind);
    if (span) {
        const struct lm_arena *arena = lm_arena_of(span);

        *zeroed = lm_arena_granule(arena, span) >= arena->reserved;
    } else if (sparse) {
        span = span_find_dirty(granules, align, kind);
    }
    return span;
}

void lm_span_prefault(const struct lm_span *span, size_t bytes)
{
    if (bytes <= lm_config.prefault_bytes)
        lm_os_populate(lm_span_start(span), bytes);
}

/* True when an arena has the address space, so that it was the kernel who refused: a further arena would not help. */
static bool span_has_room(uint32_t granules)
{
    for (uint32_t i = 0; i < lm_arena_count; i++)
        if (lm_arenas[i].group == 0 && lm_arenas[i].granules - lm_arenas[i].frontier >= granules)
            return true;
    return false;
}

static struct lm_span *span_alloc(
    uint32_t granules, uint32_t align_granules, enum lm_kind kind, bool sparse, bool *zeroed)
{
    struct lm_span *span = NULL;

    lm_lock_take(&lm_page_lock);
    lm_dirty_tick(LM_TICK_ALLOC);
    if (lm_arena_count)
        span = span_find(granules, align_granules, kind, sparse, zeroed);
    if (!span && lm_dirty_granules && lm_dirty_purge(0))
        span = span_find(granules, align_granules, kind, sparse, zeroed);
    if (!span && granules <= LM_MAX_GRANULES / 2 && !span_has_room(granules + align_granules) &&
        lm_arena_create(granules + align_granules))
        span = span_find(granules, align_granules, kind, sparse, zeroed);
    lm_lock_release(&lm_page_lock);
    if (!span)
        errno = ENOMEM;
    return span;
}

struct lm_span *lm_span_alloc(uint32_t granules, uint32_t align_granules, enum lm_kind kind, bool *zeroed)
{
    return span_alloc(granules, align_granules, kind, false, zeroed);
}

struct lm_span *lm_span_alloc_sparse(uint32_t granules, enum lm_kind kind, bool *zeroed)
{
    return span_alloc(granules, 1, kind, true, zeroed);
}

struct lm_span *lm_span_alloc_in(uint32_t group, uint32_t granules, uint32_t align_granules, enum lm_kind kind)
{
    struct lm_span *span;

    lm_lock_take(&lm_page_lock);
    span = span_find_clean(group, granules, align_granules, kind);
    lm_lock_release(&lm_page_lock);
    if (!span)
        errno = ENOMEM;
    return span;
}

/* Granules that belong to nobody any more. */
static void span_release(struct lm_arena *arena, uint32_t first, uint32_t granules)
{
    uint32_t held =
        arena->group ? granules : (uint32_t)lm_min(arena->reserved - lm_min(first, arena->reserved), granules);

    lm_used_granules -= granules;
    if (held)
        lm_buddy_free(&arena->buddy, first, held); /* resident, and stays so */
    if (held == granules)
        return;
    lm_dirty_add(arena, first + held, granules - held);
}

/* Makes the descriptors those of no span. */
static void span_forget(struct lm_span *span)
{
    uint32_t granules = span->granules;
    size_t bytes = span->kind == LM_LARGE ? span->large.bytes : span->object_bytes;

    if (span->kind >= LM_SLAB_CURRENT)
        for (uint32_t i = 1; i < granules; i++)
            lm_span_set_kind(&span[i], LM_FREE); /* were CONT */
    *span = (struct lm_span){.flags = LM_SPAN_WAS_BLOCK, .was_bytes = bytes};
}

static void span_end(struct lm_span *span)
{
    struct lm_arena *arena = lm_arena_of(span);
    uint32_t granules = span->granules;

    span_forget(span);
    span_release(arena, lm_arena_granule(arena, span), granules);
}

void lm_span_free(struct lm_span *span)
{
    lm_lock_take(&lm_page_lock);
    span_end(span);
    lm_dirty_tick(LM_TICK_FREE);
    lm_lock_release(&lm_page_lock);
}

void lm_span_free_all(lm_span_id first)
{
    lm_lock_take(&lm_page_lock);
    while (first) {
        struct lm_span *span = lm_span_at(first);

        first = span->next;
        span_end(span);
    }
    lm_dirty_tick(LM_TICK_FREE);
    lm_lock_release(&lm_page_lock);
}

void *lm_span_move(struct lm_span *span, size_t new_bytes)
{
    struct lm_arena *arena = lm_arena_of(span);
    uint32_t first = lm_arena_granule(arena, span), granules = span->granules;
    void *p = NULL;

    LM_ASSERT(span->kind == LM_LARGE && new_bytes > granules * LM_GRANULE);
    /* where huge pages were asked for, the mapping would have them, too */
    if (!arena->group && first >= arena->reserved && !lm_arena_is_huge(arena, first + granules))
        p = lm_os_move(lm_span_start(span), granules * LM_GRANULE, new_bytes);
    if (!p)
        return NULL;
    lm_lock_take(&lm_page_lock);
    span_forget(span);
    lm_used_granules -= granules;
    lm_buddy_free(&arena->buddy, first, granules);
    lm_lock_release(&lm_page_lock);
    return p;
}

struct lm_span *lm_span_cut(struct lm_span *span, uint32_t granules)
{
    struct lm_span *rest = span + granules;

    LM_ASSERT((span->kind == LM_BLOCK || (span->kind == LM_SLAB_CURRENT && !span->link)) && granules < span->granules);
    *rest = (struct lm_span){.granules = span->granules - granules};
    lm_span_set_kind(rest, lm_span_kind(span));
    span->granules = granules;
    return rest;
}

bool lm_span_grow(struct lm_span *span, uint32_t granules)
{
    struct lm_arena *arena = lm_arena_of(span);
    uint32_t end = lm_arena_granule(arena, span) + span->granules, more = granules - span->granules;
    bool grown = false;

    lm_lock_take(&lm_page_lock);
    if (end + more <= arena->frontier)
        grown = lm_dirty_claim(arena, end, more) || lm_buddy_claim(&arena->buddy, end, more);
    if (grown) {
        span->granules = granules;
        lm_used_granules += more;
        span_peak_granules = lm_max(span_peak_granules, lm_used_granules + lm_dirty_granules);
    }
    lm_lock_release(&lm_page_lock);
    return grown;
}

void lm_span_shrink(struct lm_span *span, uint32_t granules)
{
    struct lm_arena *arena = lm_arena_of(span);
    uint32_t first = lm_arena_granule(arena, span) + granules, less = span->granules - granules;

    lm_lock_take(&lm_page_lock);
    span->granules = granules;
    span_release(arena, first, less);
    lm_dirty_tick(LM_TICK_FREE);
    lm_lock_release(&lm_page_lock);
}

size_t lm_page_purge(size_t keep_bytes)
{
    size_t returned;

    lm_lock_take(&lm_page_lock);
    returned = lm_dirty_purge(keep_bytes / LM_GRANULE);
    lm_lock_release(&lm_page_lock);
    return returned * LM_GRANULE;
}

bool lm_page_age(void)
{
    size_t before, after;

    do { /* a tick makes a bounded number of calls */
        lm_lock_take(&lm_page_lock);
        before = lm_dirty_granules;
        lm_dirty_tick(LM_TICK_CLOCK);
        after = lm_dirty_granules;
        lm_lock_release(&lm_page_lock);
    } while (after < before);
    return after != 0;
}

LM_RACY size_t lm_page_used(void)
{
    return lm_used_granules;
}

LM_RACY bool lm_page_would_rise(void)
{
    return !lm_dirty_granules && lm_used_granules >= span_peak_granules;
}

void lm_page_stats(struct lm_page_stats *out)
{
    *out = (struct lm_page_stats){0};
    lm_lock_take(&lm_page_lock);
    for (uint32_t i = 0; i < lm_arena_count; i++) {
        const struct lm_arena *arena = &lm_arenas[i];

        out->reserved_bytes += (size_t)arena->granules * LM_GRANULE;
        out->writable_bytes += (size_t)arena->frontier * LM_GRANULE;
        out->meta_bytes += arena->described * sizeof(struct lm_span);
    }
    out->used_bytes = lm_used_granules * LM_GRANULE;
    out->dirty_bytes = lm_dirty_granules * LM_GRANULE;
    out->peak_bytes = span_peak_granules * LM_GRANULE;
    lm_lock_release(&lm_page_lock);
}

LM_RACY void lm_page_each(void (*visit)(struct lm_span *span, void *arg), void *arg)
{
    lm_lock_take(&lm_page_lock);
    for (uint32_t i = 0; i < lm_arena_count; i++) {
        const struct lm_arena *arena = &lm_arenas[i];

        for (uint32_t g = arena->head; g < arena->frontier;) {
            struct lm_span *span = lm_arena_span(arena, g);
            bool live = span->kind >= LM_LARGE || span->kind == LM_META || span->kind == LM_BLOCK;

            if (live)
                visit(span, arg);
            g += live || span->kind == LM_DIRTY ? span->granules : 1;
        }
    }
    lm_lock_release(&lm_page_lock);
}

/* Every granule below each frontier is accounted for exactly once. */
static int span_check_arena(const struct lm_arena *arena, size_t *used)
{
    for (uint32_t g = arena->head; g < arena->frontier;) {
        const struct lm_span *span = lm_arena_span(arena, g);
        uint32_t length = 1;

        switch (span->kind) {
        case LM_FREE:
            if (!lm_buddy_is_free(&arena->buddy, g))
                return __LINE__;
            break;
        case LM_DIRTY:
            length = span->granules;
            break;
        case LM_META:
        case LM_BLOCK:
        case LM_LARGE:
        case LM_SLAB_CURRENT:
        case LM_SLAB_PARTIAL:
        case LM_SLAB_FULL:
            length = span->granules;
            *used += length;
            break;
        default:
            return __LINE__; /* a tail or continuation that no first granule explains */
        }
        if (length == 0 || length > arena->frontier - g)
            return __LINE__;
        g += length;
    }
    return 0;
}

int lm_page_check(void)
{
    size_t used = 0;
    int fault = 0;

    lm_lock_take(&lm_page_lock);
    for (uint32_t i = 0; i < lm_arena_count && !fault; i++) {
        fault = span_check_arena(&lm_arenas[i], &used);
        if (!fault)
            fault = lm_buddy_check(&lm_arenas[i].buddy);
    }
    if (!fault && used != lm_used_granules)
        fault = __LINE__;
    if (!fault)
        fault = lm_dirty_check();
    lm_lock_release(&lm_page_lock);
    return fault;
}
