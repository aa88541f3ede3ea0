/* cache_thread.c: a thread's and a CPU's magazines of all caches: coming and going; see cache.h.
 *
 * A thread's table is attached when one of its calls first comes to the slow road, and emptied by its TLS destructor: full
 * magazines into the depots, the rest into the slabs. Destructors that run later attach it again, as often as there are
 * rounds of them; a thread past its last round works on the slabs, without magazines. Tables are mappings that are kept
 * for the next thread, because others may be looking at them.
 *
 * Invariant: a table without a thread is empty; slots from `used` on are empty; slot 1 is always. */
#include "block/cache.h"

#include <limits.h>
#include <pthread.h>

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif

struct lm_lock lm_caches_lock = LM_LOCK_INIT(LM_RANK_CACHES);
struct loam_cache_self *lm_cache_selves;
size_t lm_cache_threads;
struct loam_cache_self lm_cache_self_none __attribute__((aligned(LM_CACHE_LINE))) LM_APART;
LM_PUBLIC __thread struct loam_cache_self *loam_cache_mine = &lm_cache_self_none;

static struct loam_cache_self *selves_idle;
static pthread_key_t selves_key;
static bool selves_key_made, selves_key_tried;                                       /* LM_RANK_CACHES */
static uint64_t slots_taken[LM_CACHE_SLOTS / 64] = {(1 << LM_CACHE_SELF_SLOTS) - 1}; /* LM_RANK_CACHES */

/* Destructor rounds that the thread's table has seen. */
static __thread uint8_t self_rounds __attribute__((tls_model("initial-exec")));

/* -- slots by cache --------------------------------------------------------------------------------------------- */

size_t lm_cache_slot_assign(void)
{
    size_t offset = LM_CACHE_NO_SLOT;

    lm_lock_take(&lm_caches_lock);
    for (size_t w = 0; w < LM_CACHE_SLOTS / 64; w++) {
        unsigned bit;

        if (!~slots_taken[w])
            continue;
        bit = lm_lowest_bit(~slots_taken[w]);
        slots_taken[w] |= (uint64_t)1 << bit;
        offset = (w * 64 + bit) * sizeof(struct lm_cache_slot);
        break;
    }
    lm_lock_release(&lm_caches_lock);
    return offset;
}

void lm_cache_slot_release(struct loam_cache *cache)
{
    size_t index = cache->slot_offset / sizeof(struct lm_cache_slot);
    struct loam_cache_self *self;

    if (cache->slot_offset == LM_CACHE_NO_SLOT)
        return;
    /* the list only grows, and nobody uses the cache any more: its slots are this thread's now */
    self = __atomic_load_n(&lm_cache_selves, __ATOMIC_ACQUIRE); /* pairs with self_obtain */
    for (; self; self = self->next)
        if (__atomic_load_n(&self->used, __ATOMIC_RELAXED) > index)
            lm_cache_unload(cache, lm_cache_slot_of(self, cache), true);
    lm_lock_take(&lm_caches_lock);
    slots_taken[index / 64] &= ~((uint64_t)1 << index % 64);
    lm_lock_release(&lm_caches_lock);
}

/* -- threads -------------------------------------------------------------------------------------------------------- */

struct self_emptying {
    struct loam_cache_self *self;
    bool all;
};

static void self_empty_one(struct loam_cache *cache, void *arg)
{
    const struct self_emptying *emptying = arg;
    size_t index = cache->slot_offset / sizeof(struct lm_cache_slot);

    if (cache->slot_offset != LM_CACHE_NO_SLOT && index < emptying->self->used)
        lm_cache_unload(cache, lm_cache_slot_of(emptying->self, cache), emptying->all);
}

void lm_cache_answer(struct loam_cache_self *self, uint32_t round)
{
    struct self_emptying emptying = {self, true};

    self->round = round; /* before hooks can come here again */
    lm_caches_visit(self_empty_one, &emptying);
}

static void self_detach(struct loam_cache_self *self)
{
    struct self_emptying emptying = {self, false};

    loam_cache_mine = &lm_cache_self_none;
    lm_caches_visit(self_empty_one, &emptying);
    self->used = 0;
    lm_lock_take(&lm_caches_lock);
    self->busy = false;
    self->next_idle = selves_idle;
    selves_idle = self;
    __atomic_fetch_sub(&lm_cache_threads, 1, __ATOMIC_RELAXED);
    lm_lock_release(&lm_caches_lock);
}

static void self_ends(void *arg)
{
    self_rounds++;
    self_detach(arg);
}

/* A table from the stack or a new one; NULL: no memory. */
static struct loam_cache_self *self_obtain(void)
{
    size_t bytes = lm_align_up(sizeof(struct loam_cache_self), lm_os_page_size());
    struct loam_cache_self *self;

    lm_lock_take(&lm_caches_lock);
    if (!selves_key_tried)
        selves_key_made = pthread_key_create(&selves_key, self_ends) == 0;
    selves_key_tried = true;
    self = selves_idle;
    if (self)
        selves_idle = self->next_idle;
    else if ((self = lm_os_map(bytes, lm_os_page_size())) != NULL) {
        self->next = lm_cache_selves;
        __atomic_store_n(&lm_cache_selves, self, __ATOMIC_RELEASE); /* pairs with lm_cache_slot_release */
    }
    if (self) {
        self->busy = true;
        __atomic_fetch_add(&lm_cache_threads, 1, __ATOMIC_RELAXED);
    }
    lm_lock_release(&lm_caches_lock);
    return self;
}

struct loam_cache_self *lm_cache_attach(void)
{
    struct loam_cache_self *self = loam_cache_mine;

    if (LM_LIKELY(self != &lm_cache_self_none))
        return self;
    if (self_rounds >= PTHREAD_DESTRUCTOR_ITERATIONS || !(self = self_obtain()))
        return NULL;
    self->round = __atomic_load_n(&lm_caches_round, __ATOMIC_RELAXED);
    loam_cache_mine = self; /* before the next line, which may allocate */
    if (!selves_key_made || pthread_setspecific(selves_key, self) != 0) {
        self_detach(self); /* nobody would empty it */
        return NULL;
    }
    return self;
}

void lm_cache_forget_threads(void)
{
    selves_idle = NULL;
    lm_cache_threads = loam_cache_mine != &lm_cache_self_none;
    for (struct loam_cache_self *self = lm_cache_selves; self; self = self->next) {
        if (self == loam_cache_mine)
            continue;
        /* the magazines are not followed: their thread may have been at it. Some memory of them is lost in the child */
        for (uint32_t i = 0; i < LM_CACHE_SLOTS - LM_CACHE_SELF_SLOTS && i < self->used; i++)
            self->slot[i] = (struct lm_cache_slot){NULL, NULL, NULL, NULL};
        self->used = 0;
        self->busy = false;
        self->next_idle = selves_idle;
        selves_idle = self;
    }
}

/* -- CPUs -------------------------------------------------------------------------------------------------------------- */

/* The slot of the CPU that the caller runs on, locked: by the time it is used the thread may run elsewhere, which costs
 * a wait at worst. */
static struct lm_cache_cpu *cpu_enter(struct loam_cache *cache)
{
    struct lm_cache_cpu *cpu = &cache->cpu[lm_os_cpu() % cache->cpu_count];

    lm_lock_take(&cpu->lock);
    return cpu;
}

void *lm_cache_cpu_alloc(struct loam_cache *cache)
{
    struct lm_round rounds[LM_CACHE_BATCH], round = {NULL, NULL};
    struct lm_cache_cpu *cpu = cpu_enter(cache);
    size_t room = 0, count;

    if (cpu->slot.top != cpu->slot.bottom || lm_cache_load_full(cache, &cpu->slot))
        round = lm_cache_slot_pop(&cpu->slot);
    else
        room = (size_t)(cpu->slot.limit - cpu->slot.top);
    lm_lock_release(&cpu->lock);
    if (!round.object) {
        /* constructors run without the lock; the CPU may be another by then */
        count = lm_cache_take(cache, rounds, lm_min(room + 1, LM_CACHE_BATCH));
        if (!count)
            return NULL;
        round = rounds[0];
        for (size_t i = count; i-- > 1;)
            lm_cache_cpu_free(cache, rounds[i]);
    }
    lm_cache_state_set(round.state, LM_CACHE_LIVE);
    return round.object;
}

void lm_cache_cpu_free(struct loam_cache *cache, struct lm_round round)
{
    struct lm_cache_cpu *cpu = cpu_enter(cache);
    bool room = cpu->slot.top != cpu->slot.limit || lm_cache_load_empty(cache, &cpu->slot);

    if (room)
        lm_cache_slot_push(&cpu->slot, round);
    lm_lock_release(&cpu->lock);
    if (!room)
        lm_cache_give(cache, &round, 1, LM_CACHE_FREE);
}
