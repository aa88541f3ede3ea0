/* arena.h: what the files of the page floor share. All of it is guarded by lm_page_lock. */
#ifndef LM_PAGE_ARENA_H
#define LM_PAGE_ARENA_H

#include "page/buddy.h"
#include "page/page.h"

struct lm_arena {
    char *base;
    uint32_t granules;     /* of the whole reserve */
    uint32_t head;         /* first granule for spans */
    uint32_t frontier;     /* granules below it are writable */
    uint32_t described;    /* granules below it have writable descriptors; >= frontier */
    uint32_t number;       /* its place in lm_arenas */
    uint32_t group;        /* whose it is; 0: everybody's */
    uint32_t reserved;     /* granules below it are resident for ever (config reserve): never dirty, never returned */
    struct lm_buddy buddy; /* clean free granules below the frontier */
};

extern struct lm_arena lm_arenas[LM_MAX_ARENAS];
extern uint32_t lm_arena_count; /* atomic: read without the lock by lm_span_of */
extern size_t lm_used_granules;

LM_INLINE struct lm_span *lm_arena_span(const struct lm_arena *arena, uint32_t granule)
{
    return (struct lm_span *)(void *)arena->base + granule;
}

struct lm_arena *lm_arena_of(const struct lm_span *span);
uint32_t lm_arena_granule(const struct lm_arena *arena, const struct lm_span *span);

/* True when huge pages may have been asked for below this granule. */
LM_INLINE bool lm_arena_is_huge(const struct lm_arena *arena, uint32_t upto)
{
    return lm_config.huge_bytes && (size_t)(upto - arena->head) * LM_GRANULE > lm_config.huge_bytes;
}

/* Makes at least `granules` more granules writable and returns the first of exactly `granules` of them,
 * which are the caller's; what the step brought beyond goes to the buddy. 0 when the arena is full or the
 * kernel refuses. */
uint32_t lm_arena_extend(struct lm_arena *arena, uint32_t granules);

/* dense.c: true when three quarters of the last quarter of the granules below `upto` have been touched. */
bool lm_arena_is_dense(const struct lm_arena *arena, uint32_t upto);

/* A further arena of group 0 with room for a span of `granules`, or NULL. */
struct lm_arena *lm_arena_create(uint32_t granules);

/* -- dirty.c: freed extents, coalesced with their dirty neighbours ------------------------------------- */

extern size_t lm_dirty_granules;

/* Adds a freed range, merged with dirty neighbours. */
void lm_dirty_add(struct lm_arena *arena, uint32_t first, uint32_t granules);

/* Takes an extent that holds `granules` at the alignment; the rest stays dirty. NULL when none does. */
struct lm_span *lm_dirty_take(uint32_t granules, uint32_t align_granules);

/* Takes exactly the range [first, first + granules) when it is the start of a dirty extent. */
bool lm_dirty_claim(struct lm_arena *arena, uint32_t first, uint32_t granules);

/* Returns extents older than purge_ms; and, but for ALLOC, the oldest while there are more than may stay dirty (keep.c), for
 * what is about to be allocated may be just these. CLOCK: pauses between calls count in full. */
enum lm_tick { LM_TICK_ALLOC, LM_TICK_FREE, LM_TICK_CLOCK };
void lm_dirty_tick(enum lm_tick tick);

/* Returns the oldest extents until at most `keep` granules are dirty; the granules returned. */
size_t lm_dirty_purge(size_t keep);

/* Returns the oldest extents, at most so many, until `granules` have gone; the granules returned. */
size_t lm_dirty_return(size_t granules, unsigned extents);

int lm_dirty_check(void);

/* -- keep.c: how much may stay dirty ------------------------------------------------------------------------ */

size_t lm_keep_bound(uint64_t now);                   /* granules */
void lm_keep_returned(size_t granules, uint64_t now); /* because there were more */
void lm_keep_clean(uint32_t granules);                /* no dirty extent serves a request for so many */

#endif
