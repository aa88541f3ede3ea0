/* cache_depot.c: magazines, their exchange at the depot, and their adaptation; see cache.h.
 *
 * A slot has two magazines, one loaded and one that is full or empty, so that a program that allocates and frees by turns
 * at the boundary of a magazine does not come here each time (Bonwick and Adams 2001, section 3.1). A thread that finds
 * the depot locked counts that; when it happens often, new magazines become larger, and empty ones of the old size are
 * not kept.
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
}

/* -- the lock, which measures how much it is wanted --------------------------------------------------------------- */

/* Empty magazines of the old size go when the lock is released. */
static void depot_grow(struct lm_cache_depot *depot)
{
    __atomic_store_n(&depot->rounds, (uint32_t)lm_min(2 * depot->rounds, depot->rounds_most), __ATOMIC_RELAXED);
    while (depot->empty) {
        struct lm_magazine *m = depot->empty;

        depot->empty = m->next;
        m->next = depot->dead;
        depot->dead = m;
    }
    depot->empty_count = depot->empty_least = 0;
}

static void depot_lock(struct lm_cache_depot *depot)
{
    uint64_t now;

    if (lm_lock_try(&depot->lock))
        return;
    lm_lock_take(&depot->lock);
    depot->contended++;
    now = lm_os_clock_ms();
    if (now - depot->window_ms > DEPOT_WINDOW_MS) {
        depot->window_ms = now;
        depot->window_contended = 0;
    }
    if (++depot->window_contended >= DEPOT_CONTENTION) {
        depot->window_contended = 0;
        if (depot->rounds < depot->rounds_most)
            depot_grow(depot);
    }
}

static void depot_unlock(struct lm_cache_depot *depot)
{
    struct lm_magazine *dead = depot->dead, *next;

    depot->dead = NULL;
    lm_lock_release(&depot->lock);
    for (; dead; dead = next) {
        next = dead->next;
        lm_heap_free(dead);
    }
}

/* -- its lists, under the lock ------------------------------------------------------------------------------------- */

static void depot_put_full(struct lm_cache_depot *depot, struct lm_magazine *m)
{
    m->next = depot->full;
    depot->full = m;
    depot->full_count++;
}

static struct lm_magazine *depot_get_full(struct lm_cache_depot *depot)
{
    struct lm_magazine *m = depot->full;

    if (!m)
        return NULL;
    depot->full = m->next;
    depot->full_count--;
    depot->full_least = lm_min(depot->full_least, depot->full_count);
    return m;
}

static void depot_put_empty(struct lm_cache_depot *depot, struct lm_magazine *m)
{
    bool small = m->capacity < depot->rounds;

    m->next = small ? depot->dead : depot->empty;
    *(small ? &depot->dead : &depot->empty) = m;
    depot->empty_count += !small;
}

static struct lm_magazine *depot_get_empty(struct lm_cache_depot *depot)
{
    struct lm_magazine *m = depot->empty;

    if (!m)
        return NULL;
    depot->empty = m->next;
    depot->empty_count--;
    depot->empty_least = lm_min(depot->empty_least, depot->empty_count);
    return m;
}

static struct lm_magazine *depot_new(struct lm_cache_depot *depot)
{
    uint32_t rounds = __atomic_load_n(&depot->rounds, __ATOMIC_RELAXED);
    struct lm_magazine *m = lm_heap_malloc(sizeof *m + rounds * sizeof m->round[0], NULL);

    if (m)
        *m = (struct lm_magazine){.capacity = rounds};
    return m;
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
static void slot_trade(struct lm_cache_depot *depot, struct lm_cache_slot *slot, struct lm_magazine *m)
{
    struct lm_magazine *previous = slot->previous;

    depot->exchanges++;
    slot_keep(slot, NULL);
    slot_keep(slot, slot_load(slot, m));
    if (previous && previous->rounds)
        depot_put_full(depot, previous);
    else if (previous)
        depot_put_empty(depot, previous);
}

bool lm_cache_load_full(struct loam_cache *cache, struct lm_cache_slot *slot)
{
    struct lm_cache_depot *depot = &cache->depot;
    struct lm_magazine *m;

    if (slot->top != slot->bottom)
        return true; /* a hook has freed something meanwhile */
    if (slot->previous && slot->previous->rounds) {
        slot_swap(slot);
        return true;
    }
    depot_lock(depot);
    m = depot_get_full(depot);
    if (m)
        slot_trade(depot, slot, m);
    depot_unlock(depot);
    if (!m && !slot->bottom && lm_cache_load_empty(cache, slot))
        return false; /* now there is room to fill from the slabs */
    return m;
}

bool lm_cache_load_empty(struct loam_cache *cache, struct lm_cache_slot *slot)
{
    struct lm_cache_depot *depot = &cache->depot;
    struct lm_magazine *m = NULL, *spare = NULL;

    for (int try = 0; try < 2; try++) {
        if (slot->previous && slot->previous->rounds == 0) {
            slot_swap(slot);
            break;
        }
        depot_lock(depot);
        m = spare ? spare : depot_get_empty(depot);
        spare = NULL;
        if (m)
            slot_trade(depot, slot, m);
        depot_unlock(depot);
        if (m)
            break;
        spare = depot_new(depot); /* without the lock: it may call hooks, which may use this slot */
        if (slot->top != slot->limit || !spare)
            break;
    }
    lm_heap_free(spare);
    return slot->top != slot->limit;
}

/* One magazine that no slot has any more. */
static void depot_receive(struct loam_cache *cache, struct lm_magazine *m, bool all)
{
    if (m->rounds && (all || m->rounds < m->capacity)) {
        lm_cache_give(cache, m->round, m->rounds, LM_CACHE_FREE);
        m->rounds = 0;
    }
    if (all) {
        lm_heap_free(m);
        return;
    }
    depot_lock(&cache->depot);
    if (m->rounds)
        depot_put_full(&cache->depot, m);
    else
        depot_put_empty(&cache->depot, m);
    depot_unlock(&cache->depot);
}

void lm_cache_unload(struct loam_cache *cache, struct lm_cache_slot *slot, bool all)
{
    struct lm_magazine *previous, *loaded;

    depot_lock(&cache->depot); /* figures may be looking at the slot */
    previous = slot->previous;
    slot_keep(slot, NULL);
    loaded = slot_load(slot, NULL);
    depot_unlock(&cache->depot);
    if (previous)
        depot_receive(cache, previous, all);
    if (loaded)
        depot_receive(cache, loaded, all);
}

void lm_cache_depot_trim(struct loam_cache *cache, bool all)
{
    struct lm_cache_depot *depot = &cache->depot;
    struct lm_magazine *chain = NULL, *m;
    size_t full, empty;

    lm_lock_take(&depot->lock);
    full = all ? SIZE_MAX : depot->full_least;
    empty = all ? SIZE_MAX : depot->empty_least;
    while (full-- && (m = depot_get_full(depot)) != NULL) {
        m->next = chain;
        chain = m;
    }
    while (empty-- && (m = depot_get_empty(depot)) != NULL) {
        m->next = chain;
        chain = m;
    }
    depot->full_least = depot->full_count;
    depot->empty_least = depot->empty_count;
    if (all)
        __atomic_store_n(&depot->rounds, depot->rounds_least, __ATOMIC_RELAXED); /* read by depot_new */
    depot_unlock(depot);
    while ((m = chain) != NULL) {
        chain = m->next;
        depot_receive(cache, m, true);
    }
}

/* -- the check ------------------------------------------------------------------------------------------------------------ */

static int depot_check_list(const struct loam_cache *cache, const struct lm_magazine *m, bool full, size_t *count)
{
    for (; m; m = m->next, ++*count) {
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
    return 0;
}

int lm_cache_check_depot(struct loam_cache *cache, size_t *rounds)
{
    const struct lm_cache_depot *depot = &cache->depot;
    size_t full = 0, empty = 0;
    int fault = depot_check_list(cache, depot->full, true, &full);

    if (!fault)
        fault = depot_check_list(cache, depot->empty, false, &empty);
    if (!fault &&
        (full != depot->full_count || empty != depot->empty_count || depot->full_least > full ||
            depot->empty_least > empty || depot->rounds < depot->rounds_least || depot->rounds > depot->rounds_most ||
            depot->dead))
        fault = __LINE__;
    for (const struct lm_magazine *m = depot->full; m; m = m->next)
        *rounds += m->rounds;
    return fault;
}
