/* cache_depot.c: the exchange of magazines at the depot, and their adaptation; see cache.h.
 *
 * A slot has two magazines, one loaded and one that is full or empty, so that a program that allocates and frees by turns
 * at the boundary of a magazine does not come here each time (Bonwick and Adams 2001, section 3.1). A thread that finds
 * another at the depot counts that; when it happens often, new magazines become larger, and empty ones of the old size are
 * not kept.
 *
 * Locks, by the option lists. With mutex the depot's lock is held for every exchange. With lockfree and stm the lists are
 * piles, and exchanges take no lock, but note that they are inside, for handlers that fork. Whoever frees a magazine that has been
 * in a slot takes the lock after it went out of all hands, for figures read slots under it.
 *
 * A slot is changed by its owner, without the lock where the depot has no part in it. Each single step leaves the slot so
 * that no magazine stands in two places: a fork in another thread may see any of them. */
#include "block/cache.h"

enum { DEPOT_WINDOW_MS = 100, DEPOT_CONTENTION = 8, DEPOT_GROWTH = 8 }; /* so many waits in a window: grow */
enum { DEPOT_ROUNDS_BYTES = 8192, DEPOT_ROUNDS = 64 }; /* objects in a magazine at first, at the most */

void lm_cache_depot_start(struct loam_cache *cache, size_t rounds)
{
    struct lm_cache_depot *depot = &cache->depot;

    if (!rounds)
        rounds = lm_max(lm_min(DEPOT_ROUNDS_BYTES / cache->stride, DEPOT_ROUNDS), 1);
    depot->lock = (struct lm_lock)LM_LOCK_INIT(LM_RANK_CACHE_DEPOT);
    depot->rounds = depot->rounds_least = (uint32_t)rounds;
    depot->rounds_most = depot->rounds * DEPOT_GROWTH;
    depot->is_shared = lm_config.lists != LM_LISTS_MUTEX;
    lm_magazines_start(&depot->full, depot->is_shared);
    lm_magazines_start(&depot->empty, depot->is_shared);
}

/* -- coming in and out, and how much the depot is wanted ----------------------------------------------------------- */

struct depot_visit {
    struct lm_cache_depot *depot;
    struct lm_magazine *dead; /* to be freed at the end */
    bool noted;
};

static void depot_kill(struct depot_visit *visit, struct lm_magazine *m)
{
    m->next = visit->dead;
    visit->dead = m;
}

/* Empty magazines of the old size go. */
static void depot_grow(struct depot_visit *visit)
{
    struct lm_cache_depot *depot = visit->depot;
    uint32_t rounds = __atomic_load_n(&depot->rounds, __ATOMIC_RELAXED);
    struct lm_magazine *m;

    if (rounds == depot->rounds_most ||
        !__atomic_compare_exchange_n(&depot->rounds, &rounds, (uint32_t)lm_min(2 * rounds, depot->rounds_most), false,
            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return; /* another does it at this moment */
    while ((m = lm_magazines_get(&depot->empty)) != NULL)
        depot_kill(visit, m);
}

/* Somebody else is at the depot, too. */
static void depot_contend(struct depot_visit *visit)
{
    struct lm_cache_depot *depot = visit->depot;
    uint64_t now = lm_os_clock_ms();

    __atomic_fetch_add(&depot->contended, 1, __ATOMIC_RELAXED);
    if (now - __atomic_load_n(&depot->window_ms, __ATOMIC_RELAXED) > DEPOT_WINDOW_MS) {
        __atomic_store_n(&depot->window_ms, now, __ATOMIC_RELAXED);
        __atomic_store_n(&depot->window_contended, 0, __ATOMIC_RELAXED);
    }
    if (__atomic_add_fetch(&depot->window_contended, 1, __ATOMIC_RELAXED) >= DEPOT_CONTENTION) {
        __atomic_store_n(&depot->window_contended, 0, __ATOMIC_RELAXED);
        depot_grow(visit);
    }
}

static struct depot_visit depot_enter(struct lm_cache_depot *depot)
{
    struct depot_visit visit = {.depot = depot};

    if (depot->is_shared) {
        visit.noted = lm_lock_note(&depot->lock);
        if (__atomic_fetch_add(&depot->inside, 1, __ATOMIC_RELAXED))
            depot_contend(&visit);
    } else if (!lm_lock_try(&depot->lock)) {
        lm_lock_take(&depot->lock);
        depot_contend(&visit);
    }
    return visit;
}

static void depot_leave(struct depot_visit *visit)
{
    struct lm_cache_depot *depot = visit->depot;

    if (depot->is_shared) {
        __atomic_fetch_sub(&depot->inside, 1, __ATOMIC_RELAXED);
        if (visit->noted)
            lm_lock_unnote(&depot->lock);
        if (visit->dead) { /* figures that may have seen them in a slot end first */
            lm_lock_take(&depot->lock);
            lm_lock_release(&depot->lock);
        }
    } else {
        lm_lock_release(&depot->lock);
    }
    lm_magazine_free_all(visit->dead);
}

/* A magazine that is full or empty, whose own facts are settled. */
static void depot_put(struct depot_visit *visit, struct lm_magazine *m)
{
    struct lm_cache_depot *depot = visit->depot;

    if (m->rounds)
        lm_magazines_put(&depot->full, m);
    else if (m->capacity < __atomic_load_n(&depot->rounds, __ATOMIC_RELAXED))
        depot_kill(visit, m);
    else
        lm_magazines_put(&depot->empty, m);
}

/* -- slots -------------------------------------------------------------------------------------------------------------- */

static struct lm_magazine *slot_loaded(const struct lm_cache_slot *slot)
{
    return slot->bottom ? LM_CONTAINER(slot->bottom, struct lm_magazine, round) : NULL;
}

size_t lm_cache_slot_rounds(const struct lm_cache_slot *slot)
{
    const struct lm_round *top = __atomic_load_n(&slot->top, __ATOMIC_RELAXED);
    const struct lm_round *bottom = __atomic_load_n(&slot->bottom, __ATOMIC_RELAXED);
    const struct lm_round *limit = __atomic_load_n(&slot->limit, __ATOMIC_RELAXED);
    const struct lm_magazine *previous = __atomic_load_n(&slot->previous, __ATOMIC_ACQUIRE); /* pairs with slot_keep */
    size_t rounds = previous ? __atomic_load_n(&previous->rounds, __ATOMIC_RELAXED) : 0;

    /* the owner may be between two of its steps */
    return rounds + (top >= bottom && top <= limit ? (size_t)(top - bottom) : 0);
}

/* Loads a magazine, or none; what was loaded is the caller's, its rounds counted. */
static struct lm_magazine *slot_load(struct lm_cache_slot *slot, struct lm_magazine *m)
{
    struct lm_magazine *old = slot_loaded(slot);
    struct lm_round *bottom = m ? m->round : NULL;

    if (old)
        __atomic_store_n(&old->rounds, (uint32_t)(slot->top - slot->bottom), __ATOMIC_RELAXED);
    __atomic_store_n(&slot->bottom, bottom, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->top, m ? bottom + m->rounds : NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->limit, m ? bottom + m->capacity : NULL, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return old;
}

static void slot_keep(struct lm_cache_slot *slot, struct lm_magazine *previous)
{
    __atomic_store_n(&slot->previous, previous, __ATOMIC_RELEASE); /* pairs with lm_cache_slot_rounds */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Loads the previous magazine and keeps the loaded one in its place. */
static void slot_swap(struct lm_cache_slot *slot)
{
    struct lm_magazine *previous = slot->previous;

    slot_keep(slot, NULL);
    slot_keep(slot, slot_load(slot, previous));
}

/* The same with a magazine of the depot: what was previous goes there. */
static void slot_trade(struct depot_visit *visit, struct lm_cache_slot *slot, struct lm_magazine *m)
{
    struct lm_magazine *previous = slot->previous;

    __atomic_fetch_add(&visit->depot->exchanges, 1, __ATOMIC_RELAXED);
    slot_keep(slot, NULL);
    slot_keep(slot, slot_load(slot, m));
    if (previous)
        depot_put(visit, previous);
}

bool lm_cache_load_full(struct loam_cache *cache, struct lm_cache_slot *slot)
{
    struct depot_visit visit;
    struct lm_magazine *m;

    if (slot->top != slot->bottom)
        return true; /* a hook has freed something meanwhile */
    if (slot->previous && slot->previous->rounds) {
        slot_swap(slot);
        return true;
    }
    visit = depot_enter(&cache->depot);
    m = lm_magazines_get(&cache->depot.full);
    if (m)
        slot_trade(&visit, slot, m);
    depot_leave(&visit);
    if (!m && !slot->bottom && lm_cache_load_empty(cache, slot))
        return false; /* now there is room to fill from the slabs */
    return m;
}

bool lm_cache_load_empty(struct loam_cache *cache, struct lm_cache_slot *slot)
{
    struct lm_cache_depot *depot = &cache->depot;
    struct lm_magazine *m = NULL, *spare = NULL;
    struct depot_visit visit;

    for (int try = 0; try < 2; try++) {
        if (slot->previous && slot->previous->rounds == 0) {
            slot_swap(slot);
            break;
        }
        visit = depot_enter(depot);
        m = spare ? spare : lm_magazines_get(&depot->empty);
        spare = NULL;
        if (m)
            slot_trade(&visit, slot, m);
        depot_leave(&visit);
        if (m)
            break;
        /* outside: it may call hooks, which may use this slot */
        spare = lm_magazine_new(__atomic_load_n(&depot->rounds, __ATOMIC_RELAXED), depot->is_shared);
        if (slot->top != slot->limit || !spare)
            break;
    }
    lm_magazine_free(spare);
    return slot->top != slot->limit;
}

/* One magazine that no slot has any more. */
static void depot_receive(struct loam_cache *cache, struct lm_magazine *m, bool all)
{
    struct depot_visit visit;

    if (m->rounds && (all || m->rounds < m->capacity)) {
        lm_cache_give(cache, m->round, m->rounds, LM_CACHE_FREE);
        m->rounds = 0;
    }
    if (all) {
        lm_magazine_free(m);
        return;
    }
    visit = depot_enter(&cache->depot);
    depot_put(&visit, m);
    depot_leave(&visit);
}

void lm_cache_unload(struct loam_cache *cache, struct lm_cache_slot *slot, bool all)
{
    struct lm_magazine *previous, *loaded;

    lm_lock_take(&cache->depot.lock); /* figures may be looking at the slot */
    previous = slot->previous;
    slot_keep(slot, NULL);
    loaded = slot_load(slot, NULL);
    lm_lock_release(&cache->depot.lock);
    if (previous)
        depot_receive(cache, previous, all);
    if (loaded)
        depot_receive(cache, loaded, all);
}

/* Takes up to `most` magazines into a chain. */
static struct lm_magazine *depot_take(struct lm_magazines *list, size_t most, struct lm_magazine *chain)
{
    struct lm_magazine *m;

    while (most-- && (m = lm_magazines_get(list)) != NULL) {
        m->next = chain;
        chain = m;
    }
    return chain;
}

void lm_cache_depot_trim(struct loam_cache *cache, bool all)
{
    struct lm_cache_depot *depot = &cache->depot;
    struct lm_magazine *chain = NULL, *m;

    lm_lock_take(&depot->lock);
    chain = depot_take(&depot->full, all ? SIZE_MAX : lm_magazines_spare(&depot->full), chain);
    chain = depot_take(&depot->empty, all ? SIZE_MAX : lm_magazines_spare(&depot->empty), chain);
    lm_magazines_spare(&depot->full); /* from here on */
    lm_magazines_spare(&depot->empty);
    if (all)
        __atomic_store_n(&depot->rounds, depot->rounds_least, __ATOMIC_RELAXED);
    lm_lock_release(&depot->lock);
    while ((m = chain) != NULL) {
        chain = m->next;
        depot_receive(cache, m, true);
    }
}

void lm_cache_depot_recover(struct lm_cache_depot *depot)
{
    depot->inside = 0;
    lm_magazines_recover(&depot->full);
    lm_magazines_recover(&depot->empty);
}

/* -- the check ------------------------------------------------------------------------------------------------------------ */

static int depot_check_list(const struct loam_cache *cache, const struct lm_magazines *list, bool full)
{
    for (const struct lm_magazine *m = NULL; (m = lm_magazines_next(list, m)) != NULL;) {
        if (m->rounds != (full ? m->capacity : 0))
            return __LINE__;
        for (uint32_t i = 0; i < m->rounds; i++) {
            size_t number;
            bool start;
            struct lm_cache_slab *slab = lm_cache_find(cache, m->round[i].object, &number, &start);

            if (!slab || !start || m->round[i].state != &slab->state[number])
                return __LINE__;
            if (lm_cache_state_get(m->round[i].state) != LM_CACHE_CACHED)
                return __LINE__;
        }
    }
    return lm_magazines_check(list);
}

int lm_cache_check_depot(struct loam_cache *cache, size_t *rounds)
{
    const struct lm_cache_depot *depot = &cache->depot;
    int fault = depot_check_list(cache, &depot->full, true);

    if (!fault)
        fault = depot_check_list(cache, &depot->empty, false);
    if (!fault && (depot->rounds < depot->rounds_least || depot->rounds > depot->rounds_most || depot->inside))
        fault = __LINE__;
    *rounds += depot->full.room;
    return fault;
}
