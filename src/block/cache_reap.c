/* cache_reap.c: all caches together: the registry, working sets, shortage of memory, fork; see cache.h.
 *
 * Working set (Bonwick and Adams 2001, section 3.4): the least number of magazines in the depot, and of empty slabs, over
 * an interval is what the program did without all the time. At the interval's end that many go back. Intervals end when
 * some call comes to a slow road after it, whatever its cache: an idle cache is reaped by the traffic of the others.
 *
 * Shortage: every cache's reclaim hook is called, then every cache is reaped; then whoever was refused asks again.
 *
 * Hooks are called with no lock held, so a walk over the caches pins the one that it is at: lm_caches_remove waits for
 * that. Fork: prepare takes every lock of every cache; the child makes free again what the vanished threads' magazines
 * held, which the states of the objects tell exactly. */
#include "block/cache.h"

#include <errno.h>

uint32_t lm_caches_round;

static struct lm_list caches = {&caches, &caches};
static uint64_t caches_tick_ms;                       /* when the next interval may have passed; atomic */
static uint64_t caches_period_ms = (uint64_t)1 << 60; /* the least of the caches' intervals; atomic */

/* True while the thread is asking for memory back: what runs short meanwhile must not ask again. */
static __thread bool caches_relieving __attribute__((tls_model("initial-exec")));

static struct loam_cache *caches_at(const struct lm_list *link)
{
    return LM_CONTAINER(link, struct loam_cache, link);
}

/* -- the registry --------------------------------------------------------------------------------------------------- */

void lm_caches_add(struct loam_cache *cache)
{
    uint64_t first = cache->ticked_ms + cache->idle_ms;

    lm_lock_take(&lm_caches_lock);
    lm_list_push_back(&caches, &cache->link);
    if (cache->idle_ms < caches_period_ms)
        __atomic_store_n(&caches_period_ms, cache->idle_ms, __ATOMIC_RELAXED);
    if (!caches_tick_ms || first < caches_tick_ms)
        __atomic_store_n(&caches_tick_ms, first, __ATOMIC_RELAXED);
    lm_lock_release(&lm_caches_lock);
    __atomic_store_n(&lm_memory_short_hook, lm_caches_relieve, __ATOMIC_RELAXED);
}

void lm_caches_remove(struct loam_cache *cache)
{
    lm_lock_take(&lm_caches_lock);
    cache->dying = true;
    while (cache->pins) {
        lm_lock_release(&lm_caches_lock);
        lm_os_yield();
        lm_lock_take(&lm_caches_lock);
    }
    lm_list_remove(&cache->link);
    lm_lock_release(&lm_caches_lock);
}

void lm_caches_visit(void (*visit)(struct loam_cache *cache, void *arg), void *arg)
{
    lm_lock_take(&lm_caches_lock);
    for (struct lm_list *link = caches.next; link != &caches; link = link->next) {
        struct loam_cache *cache = caches_at(link);

        if (cache->dying)
            continue;
        cache->pins++;
        lm_lock_release(&lm_caches_lock);
        visit(cache, arg);
        lm_lock_take(&lm_caches_lock);
        cache->pins -= cache->pins != 0; /* a fork in a hook has set it to 0 */
    }
    lm_lock_release(&lm_caches_lock);
}

/* -- working sets ------------------------------------------------------------------------------------------------------ */

static void caches_tick_one(struct loam_cache *cache, void *arg)
{
    uint64_t now = *(const uint64_t *)arg, last = __atomic_load_n(&cache->ticked_ms, __ATOMIC_RELAXED);
    size_t spare;

    /* one thread at a time, and each interval once */
    if (now - last < cache->idle_ms ||
        !__atomic_compare_exchange_n(&cache->ticked_ms, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    lm_lock_take(&cache->lock);
    spare = cache->empties_least;
    lm_lock_release(&cache->lock);
    lm_cache_reap_slabs(cache, spare);
    lm_cache_depot_trim(cache, false);
    lm_lock_take(&cache->lock);
    cache->empties_least = cache->count[LM_CACHE_EMPTY];
    lm_lock_release(&cache->lock);
}

void lm_caches_tick(void)
{
    uint64_t due = __atomic_load_n(&caches_tick_ms, __ATOMIC_RELAXED), now = lm_os_clock_ms();
    int saved = errno;

    if (LM_LIKELY(now < due) || caches_relieving)
        return;
    if (!__atomic_compare_exchange_n(&caches_tick_ms, &due, now + __atomic_load_n(&caches_period_ms, __ATOMIC_RELAXED),
            false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return; /* another thread does it */
    lm_caches_visit(caches_tick_one, &now);
    errno = saved;
}

/* -- all that is free --------------------------------------------------------------------------------------------------- */

LM_PUBLIC size_t loam_cache_reap(struct loam_cache *cache)
{
    struct loam_cache_self *self = loam_cache_mine;

    if (cache->slot_offset != LM_CACHE_NO_SLOT && self != &lm_cache_self_none)
        lm_cache_unload(cache, lm_cache_slot_of(self, cache), true);
    for (unsigned i = 0; i < cache->cpu_count; i++) {
        lm_lock_take(&cache->cpu[i].lock);
        lm_cache_unload(cache, &cache->cpu[i].slot, true); /* calls no hooks */
        lm_lock_release(&cache->cpu[i].lock);
    }
    lm_cache_depot_trim(cache, true);
    return lm_cache_reap_slabs(cache, SIZE_MAX);
}

static void caches_reap_one(struct loam_cache *cache, void *arg)
{
    *(size_t *)arg += loam_cache_reap(cache);
}

LM_PUBLIC size_t loam_cache_reap_all(void)
{
    size_t bytes = 0;
    uint32_t round = __atomic_add_fetch(&lm_caches_round, 1, __ATOMIC_RELAXED);

    if (loam_cache_mine != &lm_cache_self_none)
        loam_cache_mine->round = round;
    lm_caches_visit(caches_reap_one, &bytes);
    return bytes;
}

struct caches_listing {
    void (*visit)(const struct loam_cache_figures *figures, void *arg);
    void *arg;
};

static void caches_list_one(struct loam_cache *cache, void *arg)
{
    const struct caches_listing *listing = arg;
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};

    loam_cache_stats(cache, &figures);
    listing->visit(&figures, listing->arg);
}

LM_PUBLIC void loam_cache_each(void (*visit)(const struct loam_cache_figures *figures, void *arg), void *arg)
{
    struct caches_listing listing = {visit, arg};

    lm_caches_visit(caches_list_one, &listing);
}

/* -- shortage -------------------------------------------------------------------------------------------------------------- */

static void caches_ask_one(struct loam_cache *cache, void *arg)
{
    if (cache->reclaim) {
        cache->reclaim(cache->arg);
        *(bool *)arg = true;
    }
}

/* True while the thread holds a lock that reaping takes: it is then in no place to wait for hooks. */
static bool caches_inside(void)
{
    static const struct lm_lock cpu = LM_LOCK_INIT(LM_RANK_CACHE_CPU), depot = LM_LOCK_INIT(LM_RANK_CACHE_DEPOT),
                                block = LM_LOCK_INIT(LM_RANK_BLOCK);

    return lm_lock_is_mine(&lm_caches_lock) || lm_lock_is_mine(&cpu) || lm_lock_is_mine(&depot) ||
        lm_lock_is_mine(&block);
}

bool lm_caches_relieve(void)
{
    bool asked = false;
    size_t bytes;
    int saved = errno;

    if (caches_relieving || caches_inside())
        return false;
    caches_relieving = true;
    lm_caches_visit(caches_ask_one, &asked);
    bytes = loam_cache_reap_all();
    caches_relieving = false;
    errno = saved;
    return asked || bytes > 0;
}

/* -- fork ------------------------------------------------------------------------------------------------------------------ */

bool lm_caches_fork_mine(void)
{
    return caches_inside();
}

static void caches_lock_each(enum lm_rank rank, void (*act)(struct lm_lock *lock))
{
    for (struct lm_list *link = caches.next; link != &caches; link = link->next) {
        struct loam_cache *cache = caches_at(link);

        for (unsigned i = 0; i < cache->cpu_count && rank == LM_RANK_CACHE_CPU; i++)
            act(&cache->cpu[i].lock);
        if (rank == LM_RANK_CACHE_DEPOT)
            act(&cache->depot.lock);
        if (rank == LM_RANK_BLOCK)
            act(&cache->lock);
    }
}

void lm_caches_fork_take(void)
{
    lm_lock_take(&lm_caches_lock);
    caches_lock_each(LM_RANK_CACHE_CPU, lm_lock_take_also);
    caches_lock_each(LM_RANK_CACHE_DEPOT, lm_lock_take_also);
    caches_lock_each(LM_RANK_BLOCK, lm_lock_take_also);
}

void lm_caches_fork_release(void)
{
    caches_lock_each(LM_RANK_BLOCK, lm_lock_release);
    caches_lock_each(LM_RANK_CACHE_DEPOT, lm_lock_release);
    caches_lock_each(LM_RANK_CACHE_CPU, lm_lock_release);
    lm_lock_release(&lm_caches_lock);
}

void lm_caches_fork_reset(void)
{
    lm_stm_reset(); /* others may have been in transactions on magazines */
    caches_lock_each(LM_RANK_BLOCK, lm_lock_reset);
    caches_lock_each(LM_RANK_CACHE_DEPOT, lm_lock_reset);
    caches_lock_each(LM_RANK_CACHE_CPU, lm_lock_reset);
    lm_lock_reset(&lm_caches_lock);
}

static void caches_keep_magazine(const struct lm_round *from, const struct lm_round *to)
{
    for (; from < to; from++)
        lm_cache_state_set(from->state, LM_CACHE_KEPT);
}

static void caches_keep_slot(const struct lm_cache_slot *slot)
{
    caches_keep_magazine(slot->bottom, slot->top);
    if (slot->previous)
        caches_keep_magazine(slot->previous->round, slot->previous->round + slot->previous->rounds);
}

void lm_caches_after_fork(void)
{
    bool alone = true;

    for (const struct loam_cache_self *self = lm_cache_selves; self; self = self->next)
        if (self->busy && self != loam_cache_mine)
            alone = false;
    for (struct lm_list *link = caches.next; link != &caches; link = link->next) {
        struct loam_cache *cache = caches_at(link);

        cache->pins = 0; /* of walkers that are gone */
        if (alone)
            continue;
        if (cache->slot_offset != LM_CACHE_NO_SLOT && loam_cache_mine != &lm_cache_self_none)
            caches_keep_slot(lm_cache_slot_of(loam_cache_mine, cache));
        for (unsigned i = 0; i < cache->cpu_count; i++)
            caches_keep_slot(&cache->cpu[i].slot);
        lm_cache_depot_recover(&cache->depot);
        for (const struct lm_magazine *m = NULL; (m = lm_magazines_next(&cache->depot.full, m)) != NULL;)
            caches_keep_magazine(m->round, m->round + m->rounds);
        lm_cache_recover_slabs(cache);
    }
    if (!alone)
        lm_cache_forget_threads();
}
