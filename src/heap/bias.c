/* bias.c: see bias.h. */
#include "heap/room.h"

enum {
    ROW_FIRST = 64,    /* times in a row after the first holder was unseated: a barrier costs as much as some of them */
    ROW_MOST = 1 << 20 /* where threads keep taking turns */
};

void lm_bias_init(struct lm_bias *bias, enum lm_rank rank, bool alone)
{
    *bias = (struct lm_bias){.lock = LM_LOCK_INIT(rank), .alone = alone};
}

static bool bias_is_possible(const struct lm_bias *bias)
{
    static uint8_t known; /* atomic, relaxed: whoever comes first finds the same as whoever comes second */
    uint8_t seen;

    if (LM_TSAN || bias->never || lm_config.stats || !lm_heap_mine())
        return false;
    if (bias->alone)
        return true;
    seen = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!seen) {
        seen = lm_os_has_barrier() ? 1 : 2;
        __atomic_store_n(&known, seen, __ATOMIC_RELAXED);
    }
    return seen == 1;
}

void lm_bias_attach_new(void)
{
    if (!lm_thread_on_cpus())
        lm_heap_attach();
}

struct lm_fast *lm_bias_stop(struct lm_bias *bias)
{
    struct lm_fast *holder = __atomic_load_n(&bias->holder, __ATOMIC_RELAXED);

    __atomic_store_n(&bias->holder, NULL, __ATOMIC_RELAXED); /* pairs, by the barrier, with lm_bias_try */
    return holder == lm_heap_self ? NULL : holder;
}

void lm_bias_wait(const struct lm_bias *bias, struct lm_fast *holder)
{
    const struct lm_heap *other = (const struct lm_heap *)(const void *)holder;

    /* acquire: pairs with lm_bias_out */
    while (__atomic_load_n(&other->inside, __ATOMIC_ACQUIRE) == bias)
        lm_os_yield();
}

void lm_bias_enter(struct lm_bias *bias)
{
    struct lm_fast *holder;

    if (bias->alone) {
        __atomic_store_n(&bias->holder, NULL, __ATOMIC_RELAXED);
        return;
    }
    lm_lock_take(&bias->lock);
    holder = lm_bias_stop(bias);
    if (LM_UNLIKELY(holder != NULL)) {
        lm_os_barrier();
        lm_bias_wait(bias, holder);
        bias->row_needed = (uint32_t)lm_min(lm_max(bias->row_needed * (size_t)4, ROW_FIRST), ROW_MOST);
    }
}

void lm_bias_leave(struct lm_bias *bias)
{
    struct lm_fast *self = lm_heap_self;

    bias->row = bias->last == self ? bias->row + 1 : 0;
    bias->last = self;
    if ((bias->alone || bias->row >= bias->row_needed) && bias_is_possible(bias))
        __atomic_store_n(&bias->holder, self, __ATOMIC_RELAXED); /* the next to read it as its own is this thread */
    if (!bias->alone)
        lm_lock_release(&bias->lock);
}

bool lm_bias_is_mine(void)
{
    const struct lm_heap *mine = lm_heap_mine();

    return mine && __atomic_load_n(&mine->inside, __ATOMIC_RELAXED);
}
