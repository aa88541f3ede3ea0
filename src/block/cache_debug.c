/* cache_debug.c: redzone, poison, audit, and the reports of a misuse; see cache.h.
 *
 *   live, REDZONE        | object: size bytes | guard, to the end of the stride |
 *   free, POISON         | pattern, over the whole object                       |
 *
 * A debugging cache has no magazines: every call comes here, and an object that was freed is used again as late as may
 * be. A poisoning cache destructs at free and constructs at alloc, because the pattern is no constructed state. With
 * AUDIT the last LM_CACHE_EVENTS events of each object stand in its slab's header, newest first. */
#include "block/cache.h"

#include <errno.h>
#include <string.h>

enum { GUARD = 0xa5, POISON = 0xde, FRESH = 0xba }; /* FRESH: allocated, and not written by a constructor yet */

/* -- reports -------------------------------------------------------------------------------------------------------- */

static void debug_describe(struct lm_text *text, const struct lm_cache_slab *slab, size_t number)
{
    const struct lm_cache_event *event = slab->audit + number * LM_CACHE_EVENTS;
    uint64_t now = lm_os_clock_ms();

    for (int i = 0; i < LM_CACHE_EVENTS && event[i].state; i++)
        lm_text_add(text, "%s %s by the caller at %p in thread %u, %llu ms ago", i ? "," : ";",
            event[i].state == LM_CACHE_LIVE ? "allocated" : "freed", event[i].caller, event[i].thread,
            (unsigned long long)(now - event[i].ms));
}

void lm_cache_misuse(const struct loam_cache *cache, const char *fault, const void *p)
{
    char block[64], whole[512];
    struct lm_text name = {block, sizeof block, 0}, text = {whole, sizeof whole, 0};
    size_t number;
    bool start;
    const struct lm_cache_slab *slab = lm_cache_find(cache, p, &number, &start);

    lm_text_add(&name, "object cache %s", cache->name);
    lm_text_add(&text, "%s", fault);
    if (slab && slab->audit && number >= 1 && number <= cache->capacity)
        debug_describe(&text, slab, number);
    lm_block_misuse(block, whole, p);
}

/* -- patterns --------------------------------------------------------------------------------------------------------- */

/* The first byte of n that is not the pattern, or NULL. */
static const unsigned char *debug_differs(const unsigned char *p, size_t n, unsigned char pattern)
{
    for (const unsigned char *end = p + n; p < end; p++)
        if (*p != pattern)
            return p;
    return NULL;
}

static const void *debug_guard_damage(const struct loam_cache *cache, const void *object)
{
    if (!(cache->flags & LOAM_CACHE_REDZONE))
        return NULL;
    return debug_differs((const unsigned char *)object + cache->size, cache->stride - cache->size, GUARD);
}

void lm_cache_debug_start(const struct loam_cache *cache, struct lm_cache_slab *slab)
{
    memset(lm_cache_object(cache, slab, 1), POISON, cache->capacity * cache->stride);
}

/* The moment between free memory and a constructed object: the last at which what was written after free shows. */
void lm_cache_debug_build(const struct loam_cache *cache, void *object)
{
    if (cache->flags & LOAM_CACHE_POISON) {
        if (debug_differs(object, cache->size, POISON))
            lm_cache_misuse(cache, "written to after it was freed", object);
        memset(object, FRESH, cache->size);
    }
    if (cache->flags & LOAM_CACHE_REDZONE)
        memset((char *)object + cache->size, GUARD, cache->stride - cache->size);
}

void lm_cache_debug_unbuild(const struct loam_cache *cache, void *object)
{
    if (cache->flags & LOAM_CACHE_POISON)
        memset(object, POISON, cache->size);
}

static void debug_note(struct lm_cache_slab *slab, size_t number, enum lm_cache_state state, const void *caller)
{
    struct lm_cache_event *event;

    if (!slab->audit)
        return;
    event = slab->audit + number * LM_CACHE_EVENTS;
    memmove(event + 1, event, (LM_CACHE_EVENTS - 1) * sizeof *event);
    *event = (struct lm_cache_event){caller, lm_os_clock_ms(), (uint32_t)lm_os_thread_id(), state};
}

/* -- alloc and free ----------------------------------------------------------------------------------------------------- */

void *lm_cache_debug_alloc(struct loam_cache *cache, const void *caller)
{
    struct lm_round round;
    struct lm_cache_slab *slab;
    size_t number;
    bool start;

    if (!lm_cache_take(cache, &round, 1) && !(lm_caches_relieve() && lm_cache_take(cache, &round, 1))) {
        __atomic_fetch_add(&cache->refused, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    if (debug_guard_damage(cache, round.object))
        lm_cache_misuse(cache, "overrun after it was freed", round.object);
    slab = lm_cache_find(cache, round.object, &number, &start);
    debug_note(slab, number, LM_CACHE_LIVE, caller);
    lm_cache_state_set(round.state, LM_CACHE_LIVE);
    return round.object;
}

void lm_cache_debug_free(struct loam_cache *cache, struct lm_cache_slab *slab, size_t number, const void *caller)
{
    struct lm_round round = {lm_cache_object(cache, slab, number), &slab->state[number]};
    bool poison = cache->flags & LOAM_CACHE_POISON;

    if (debug_guard_damage(cache, round.object))
        lm_cache_misuse(cache, "overrun: bytes behind the object were written", round.object);
    debug_note(slab, number, LM_CACHE_FREE, caller);
    lm_cache_state_set(round.state, LM_CACHE_CACHED);
    if (poison) {
        if (cache->destruct)
            cache->destruct(round.object, cache->arg);
        __atomic_fetch_add(&cache->destructed, 1, __ATOMIC_RELAXED);
        lm_cache_debug_unbuild(cache, round.object);
    }
    lm_cache_give(cache, &round, 1, poison ? LM_CACHE_DESTRUCTED : LM_CACHE_FREE);
}

int lm_cache_debug_check(const struct loam_cache *cache, const struct lm_cache_slab *slab, size_t number)
{
    enum lm_cache_state state = lm_cache_state_get(&slab->state[number]);
    const void *object = lm_cache_object(cache, slab, number);
    bool raw = state == LM_CACHE_RAW || state == LM_CACHE_DESTRUCTED;

    if (raw && cache->flags & LOAM_CACHE_POISON && debug_differs(object, cache->size, POISON))
        return __LINE__;
    if (!raw && debug_guard_damage(cache, object))
        return __LINE__;
    return 0;
}
