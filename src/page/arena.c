/* arena.c: the reserves: layout, growth of the writable frontier, further arenas. See page.h for the drawing.
 *
 * Descriptors become writable DESCRIBE granules ahead of need, so that a growing heap costs few calls; the
 * frontier moves by steps that double, so that mappings and calls stay few while a small process under
 * mlockall or strict overcommit is not charged for memory it does not use.
 *
 * An arena of somebody's own memory (lm_arena_add) has the same layout, all of it described and writable from the start: its
 * frontier only says how far it was used. */
#include "page/arena.h"

#include <errno.h>

enum {
    FIRST_STEP = 16,     /* granules: 1 MiB, what a small program needs in all */
    LARGEST_STEP = 1024, /* 64 MiB: beyond it fewer calls are not felt */
    DESCRIBE = 1024,     /* descriptors at a time: 64 KiB of them, for 64 MiB */
    SMALLEST = 16        /* granules of the smallest arena that is worth having: 1 MiB */
};

struct lm_first_arena lm_first_arena;
struct lm_arena lm_arenas[LM_MAX_ARENAS] LM_APART_HEAD;
uint32_t lm_arena_count;
struct lm_lock lm_page_lock = LM_LOCK_INIT(LM_RANK_PAGES);

/* Where each arena lies, for readers without the lock: the number of its first granule and its length in one word,
 * because an arena that was added may go, and its place may be taken by another. 0: no arena there. */
static uint64_t arena_extent[LM_MAX_ARENAS];

enum { EXTENT_SHIFT = 24 };

static uint64_t arena_extent_at(uint32_t i)
{
    return __atomic_load_n(&arena_extent[i], __ATOMIC_ACQUIRE); /* pairs with arena_publish */
}

static char *arena_extent_base(uint64_t extent)
{
    return (char *)(uintptr_t)(extent >> EXTENT_SHIFT << LM_GRANULE_SHIFT);
}

static uint32_t arena_extent_granules(uint64_t extent)
{
    return extent & (((uint32_t)1 << EXTENT_SHIFT) - 1);
}

/* Lets an arena, which is ready, be found. */
static void arena_publish(const struct lm_arena *arena)
{
    uint64_t extent = (uint64_t)((uintptr_t)arena->base >> LM_GRANULE_SHIFT) << EXTENT_SHIFT | arena->granules;

    __atomic_store_n(&arena_extent[arena->number], extent, __ATOMIC_RELEASE);
    if (arena->number == lm_arena_count)
        __atomic_store_n(&lm_arena_count, arena->number + 1, __ATOMIC_RELEASE);
}

/* A place for a further arena, or NULL. */
static struct lm_arena *arena_place(void)
{
    uint32_t number = 0;

    while (number < lm_arena_count && arena_extent[number])
        number++;
    if (number == LM_MAX_ARENAS)
        return NULL;
    lm_arenas[number].number = number;
    return &lm_arenas[number];
}

struct lm_arena *lm_arena_of(const struct lm_span *span)
{
    const char *at = (const char *)span;
    uint32_t count = __atomic_load_n(&lm_arena_count, __ATOMIC_ACQUIRE); /* pairs with arena_publish */

    for (uint32_t i = 0; i < count; i++) {
        uint64_t extent = arena_extent_at(i);

        if ((size_t)(at - arena_extent_base(extent)) < arena_extent_granules(extent) * sizeof *span)
            return &lm_arenas[i];
    }
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
    uint32_t count = __atomic_load_n(&lm_arena_count, __ATOMIC_ACQUIRE); /* pairs with arena_publish */

    for (uint32_t i = 0; i < count; i++) {
        uint64_t extent = arena_extent_at(i);
        char *base = arena_extent_base(extent);
        size_t granule = (size_t)((uintptr_t)p - (uintptr_t)base) >> LM_GRANULE_SHIFT;

        if (granule < arena_extent_granules(extent))
            return granule < __atomic_load_n(&lm_arenas[i].described, __ATOMIC_RELAXED)
                ? (struct lm_span *)(void *)base + granule
                : NULL;
    }
    return NULL;
}

/* Makes the descriptors of the granules below `upto` writable. LM_RACY: the common path reads lm_first_arena plainly; a
 * thread that was given a pointer by another sees what was written before that. */
LM_RACY static bool arena_describe(struct lm_arena *arena, uint32_t upto)
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

/* Asks for huge pages behind the granules from `first` up to the frontier, as far as they lie beyond config huge, and when what
 * lies before them is filled. Whole ones only; the rest of the last is asked for together with what follows it. */
static void arena_advise(const struct lm_arena *arena, uint32_t first)
{
    char *start = arena->base + (size_t)first * LM_GRANULE, *end = arena->base + (size_t)arena->frontier * LM_GRANULE;
    uintptr_t from = lm_align_down((uintptr_t)start, LM_HUGE_PAGE), to = lm_align_down((uintptr_t)end, LM_HUGE_PAGE);

    if (!lm_config.huge_bytes)
        return;
    from = lm_max(
        from, lm_align_up((uintptr_t)(arena->base + arena->head * LM_GRANULE) + lm_config.huge_bytes, LM_HUGE_PAGE));
    if (from < to && lm_arena_is_dense(arena, first))
        lm_os_advise_huge((void *)from, to - from);
}

/* Moves the frontier up by `granules`. */
static bool arena_commit(struct lm_arena *arena, uint32_t granules)
{
    if (granules > arena->granules - arena->frontier)
        return false;
    if (!arena_describe(arena, arena->frontier + granules))
        return false;
    if (arena->group == 0 &&
        !lm_os_commit(arena->base + (size_t)arena->frontier * LM_GRANULE, (size_t)granules * LM_GRANULE))
        return false;
    arena->frontier += granules;
    if (arena->group == 0)
        arena_advise(arena, arena->frontier - granules);
    return true;
}

/* By how much the frontier moves. Where huge pages are asked for, by an eighth only, for the buddy would place spans at either end
 * of a step; and up to the end of a huge page: what lies in one that is not whole yet would get small pages. */
static uint32_t arena_step(const struct lm_arena *arena, uint32_t granules)
{
    size_t used = arena->frontier - arena->head, step = lm_min(lm_max(FIRST_STEP, used), LARGEST_STEP);
    uintptr_t end = (uintptr_t)arena->base / LM_GRANULE + arena->frontier;

    if (lm_config.huge_bytes && used * LM_GRANULE >= lm_config.huge_bytes / 2) {
        step = lm_max(step / 8, granules);
        step = lm_align_up(end + step, LM_HUGE_PAGE / LM_GRANULE) - end;
    }
    return (uint32_t)lm_min(step, arena->granules - arena->frontier);
}

uint32_t lm_arena_extend(struct lm_arena *arena, uint32_t granules)
{
    uint32_t first = arena->frontier, step = arena_step(arena, granules);

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

    *arena = (struct lm_arena){.base = base, .granules = granules, .head = head, .number = arena->number};
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
    uint32_t want = (uint32_t)lm_min(lm_config.arena_bytes / LM_GRANULE, LM_MAX_GRANULES - 1), need;
    struct lm_arena *arena = arena_place();
    bool limited = false;

    if (!arena)
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
    arena_publish(arena);
    return arena;
}

/* Makes memory resident; false: a limit forbids to lock it there. */
static bool arena_hold(void *p, size_t bytes)
{
    size_t page = lm_os_page_size();
    char *start = (char *)lm_align_down((uintptr_t)p, page);

    bytes = lm_align_up((size_t)((char *)p - start) + bytes, page);
    if (lm_os_lock(start, bytes))
        return true;
    lm_os_populate(start, bytes); /* the next best: it stays while there is no need to swap */
    return false;
}

bool lm_page_reserve(size_t bytes)
{
    uint32_t granules = (uint32_t)lm_min((bytes + LM_GRANULE - 1) / LM_GRANULE, LM_MAX_GRANULES / 2);
    struct lm_arena *arena = &lm_arenas[0];
    bool held = false;

    lm_lock_take(&lm_page_lock);
    if ((lm_arena_count || lm_arena_create(granules)) && arena->granules - arena->head >= granules) {
        uint32_t upto = arena->head + granules, first = arena->frontier;

        held = upto <= first || arena_commit(arena, upto - first);
        if (held && upto > first)
            lm_buddy_free(&arena->buddy, first, upto - first);
    }
    if (held) { /* what placing a span there touches, too */
        char *meta = arena->base + arena_buddy_at(arena->granules);

        arena->reserved = arena->head + granules;
        held = arena_hold(arena->base + (size_t)arena->head * LM_GRANULE, (size_t)granules * LM_GRANULE);
        held &= arena_hold(arena->base, arena->reserved * sizeof(struct lm_span));
        held &= arena_hold(meta, arena->reserved * sizeof(struct lm_buddy_links));
        held &= arena_hold(arena->buddy.state, arena->reserved);
    }
    lm_lock_release(&lm_page_lock);
    return held;
}

bool lm_arena_add(void *memory, size_t bytes, uint32_t group)
{
    uint32_t granules = (uint32_t)lm_min(bytes / LM_GRANULE, LM_MAX_GRANULES - 1), head = arena_head(granules);
    struct lm_arena *arena = NULL;

    LM_ASSERT((uintptr_t)memory % LM_GRANULE == 0 && group != 0);
    if (granules <= head)
        return false;
    lm_lock_take(&lm_page_lock);
    if (lm_arena_count || lm_arena_create(1)) /* the first is everybody's, for the common path knows it */
        arena = arena_place();
    if (arena) {
        __builtin_memset(memory, 0, head * LM_GRANULE);
        *arena = (struct lm_arena){.base = memory,
            .granules = granules,
            .head = head,
            .frontier = head,
            .described = granules,
            .number = arena->number,
            .group = group};
        lm_buddy_init(&arena->buddy, granules, arena->base + arena_buddy_at(granules));
        lm_arena_span(arena, 0)->kind = LM_HEAD;
        arena_publish(arena);
    }
    lm_lock_release(&lm_page_lock);
    return arena != NULL;
}

void *lm_arena_drop(uint32_t group, size_t *bytes)
{
    void *memory = NULL;

    lm_lock_take(&lm_page_lock);
    for (uint32_t i = 1; i < lm_arena_count && !memory; i++) {
        if (lm_arenas[i].group != group || !arena_extent[i])
            continue;
        LM_ASSERT(lm_arenas[i].buddy.free_units == lm_arenas[i].frontier - lm_arenas[i].head);
        memory = lm_arenas[i].base;
        *bytes = (size_t)lm_arenas[i].granules * LM_GRANULE;
        __atomic_store_n(&arena_extent[i], 0, __ATOMIC_RELEASE);
        lm_arenas[i] = (struct lm_arena){.number = i};
    }
    lm_lock_release(&lm_page_lock);
    return memory;
}
