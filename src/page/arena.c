/* arena.c: the reserves: layout, growth of the writable frontier, further arenas. See page.h for the drawing.
 *
 * Descriptors become writable DESCRIBE granules ahead of need, so that a growing heap costs few calls; the
 * frontier moves by steps that double, so that mappings and calls stay few while a small process under
 * mlockall or strict overcommit is not charged for memory it does not use. */
#include "page/arena.h"

#include <errno.h>

enum {
    FIRST_STEP = 16,     /* granules: 1 MiB, what a small program needs in all */
    LARGEST_STEP = 1024, /* 64 MiB: beyond it fewer calls are not felt */
    DESCRIBE = 1024,     /* descriptors at a time: 64 KiB of them, for 64 MiB */
    SMALLEST = 16        /* granules of the smallest arena that is worth having: 1 MiB */
};

struct lm_first_arena lm_first_arena;
struct lm_arena lm_arenas[LM_MAX_ARENAS];
uint32_t lm_arena_count;
struct lm_lock lm_page_lock = LM_LOCK_INIT(LM_RANK_PAGES);

struct lm_arena *lm_arena_of(const struct lm_span *span)
{
    const char *at = (const char *)span;
    uint32_t count = __atomic_load_n(&lm_arena_count, __ATOMIC_ACQUIRE); /* pairs with lm_arena_create */

    for (uint32_t i = 0; i < count; i++)
        if ((size_t)(at - lm_arenas[i].base) < (size_t)lm_arenas[i].granules * sizeof *span)
            return &lm_arenas[i];
    return NULL;
}

uint32_t lm_arena_granule(const struct lm_arena *arena, const struct lm_span *span)
{
    return (uint32_t)(span - (struct lm_span *)(void *)arena->base);
}

struct lm_span *lm_span_at(lm_span_id id)
{
    return lm_arena_span(&lm_arenas[id >> 24], id & (LM_MAX_GRANULES - 1));
}

lm_span_id lm_span_id_of(const struct lm_span *span)
{
    const struct lm_arena *arena = lm_arena_of(span);

    return arena->number << 24 | lm_arena_granule(arena, span);
}

void *lm_span_start(const struct lm_span *span)
{
    const struct lm_arena *arena = lm_arena_of(span);

    return arena->base + (size_t)lm_arena_granule(arena, span) * LM_GRANULE;
}

struct lm_span *lm_span_of(const void *p)
{
    uint32_t count = __atomic_load_n(&lm_arena_count, __ATOMIC_ACQUIRE); /* pairs with lm_arena_create */

    for (uint32_t i = 0; i < count; i++) {
        const struct lm_arena *arena = &lm_arenas[i];
        size_t granule = (size_t)((uintptr_t)p - (uintptr_t)arena->base) >> LM_GRANULE_SHIFT;

        if (granule < arena->granules)
            return granule < __atomic_load_n(&arena->described, __ATOMIC_RELAXED)
                ? lm_arena_span(arena, (uint32_t)granule)
                : NULL;
    }
    return NULL;
}

/* Makes the descriptors of the granules below `upto` writable. */
static bool arena_describe(struct lm_arena *arena, uint32_t upto)
{
    size_t page = lm_os_page_size(), from, to;

    if (upto <= arena->described)
        return true;
    upto = (uint32_t)lm_min(lm_max(upto, arena->described + DESCRIBE), arena->granules);
    from = lm_align_up(arena->described * sizeof(struct lm_span), page);
    to = lm_align_up(upto * sizeof(struct lm_span), page);
    if (to > from && !lm_os_commit(arena->base + from, to - from))
        return false;
    __atomic_store_n(&arena->described, upto, __ATOMIC_RELAXED);
    if (arena == &lm_arenas[0]) {
        /* the common path believes only described granules, so that a wild pointer into the untouched
         * part of the reserve is refused like any other */
        lm_first_arena.base = arena->base;
        __atomic_store_n(&lm_first_arena.bytes, upto * LM_GRANULE, __ATOMIC_RELEASE);
    }
    return true;
}

/* Moves the frontier up by `granules`. */
static bool arena_commit(struct lm_arena *arena, uint32_t granules)
{
    if (granules > arena->granules - arena->frontier)
        return false;
    if (!arena_describe(arena, arena->frontier + granules))
        return false;
    if (!lm_os_commit(arena->base + (size_t)arena->frontier * LM_GRANULE, (size_t)granules * LM_GRANULE))
        return false;
    arena->frontier += granules;
    return true;
}

uint32_t lm_arena_extend(struct lm_arena *arena, uint32_t granules)
{
    uint32_t first = arena->frontier;
    uint32_t step = (uint32_t)lm_min(lm_max(FIRST_STEP, first - arena->head), LARGEST_STEP);

    step = (uint32_t)lm_min(step, arena->granules - arena->frontier);
    if (step > granules && arena_commit(arena, step)) {
        lm_buddy_free(&arena->buddy, first + granules, step - granules);
        return first;
    }
    return arena_commit(arena, granules) ? first : 0; /* a refused step may be granted smaller */
}

/* Where the buddy's metadata starts in an arena of `granules`. */
static size_t arena_buddy_at(uint32_t granules)
{
    return lm_align_up((size_t)granules * sizeof(struct lm_span), LM_GRANULE);
}

/* Granules that an arena of `granules` needs for its own head. */
static uint32_t arena_head(uint32_t granules)
{
    size_t bytes = arena_buddy_at(granules) + lm_buddy_meta_bytes(granules);

    return (uint32_t)(lm_align_up(bytes, LM_GRANULE) / LM_GRANULE);
}

/* Lays an arena out in a fresh reserve. */
static bool arena_start(struct lm_arena *arena, char *base, uint32_t granules)
{
    size_t buddy_at = arena_buddy_at(granules);
    uint32_t head = arena_head(granules);
    uint32_t first_step = (uint32_t)lm_min(FIRST_STEP, granules - head);

    *arena = (struct lm_arena){.base = base, .granules = granules, .head = head};
    arena->number = lm_arena_count;
    if (!arena_describe(arena, head + first_step))
        return false;
    /* metadata and the first step are neighbours: one call */
    if (!lm_os_commit(base + buddy_at, (size_t)(head + first_step) * LM_GRANULE - buddy_at))
        return false;
    lm_buddy_init(&arena->buddy, granules, base + buddy_at);
    arena->frontier = head + first_step;
    lm_buddy_free(&arena->buddy, head, first_step);
    lm_arena_span(arena, 0)->kind = LM_HEAD;
    return true;
}

struct lm_arena *lm_arena_create(uint32_t granules)
{
    uint32_t number = lm_arena_count, need;
    uint32_t want = (uint32_t)lm_min(lm_config.arena_bytes / LM_GRANULE, LM_MAX_GRANULES);
    struct lm_arena *arena = &lm_arenas[number];
    bool limited = false;

    if (number == LM_MAX_ARENAS)
        return NULL;
    need = granules + FIRST_STEP + arena_head(2 * granules + SMALLEST);
    for (want = (uint32_t)lm_max(lm_max(want, SMALLEST), need);; want = (uint32_t)lm_max(want / 2, need)) {
        char *base = lm_os_reserve((size_t)want * LM_GRANULE, LM_GRANULE);

        if (base && arena_start(arena, base, want))
            break;
        if (base)
            lm_os_unmap(base, (size_t)want * LM_GRANULE);
        if (want <= lm_max(SMALLEST, need)) {
            errno = ENOMEM;
            return NULL;
        }
        if (!limited) { /* asked only now, for it costs a call: huge blocks, stacks and libraries need space too */
            want = (uint32_t)lm_min(want, lm_os_address_limit() / 4 / LM_GRANULE * 2);
            limited = true;
        }
    }
    __atomic_store_n(&lm_arena_count, number + 1, __ATOMIC_RELEASE); /* pairs with lm_span_of */
    return arena;
}
