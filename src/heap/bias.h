/* bias.h: a lock that leans to one thread: who was in last enters and leaves its shortest sections by plain stores.
 *
 *   lean         | holder | the thread heap of the one that may enter without the lock, or NULL
 *   thread heap  | inside | the lean that the thread is in without the lock, or NULL
 *
 * The holder announces itself (`inside`), looks again whether it still is the holder, and is in. Another thread takes the
 * lock, unseats the holder, has every CPU pass a barrier (lm_os_barrier), and waits until the one it unseated is out: after
 * the barrier either that one sees that it is no longer the holder, or its announcement is seen. So the price of a
 * fence is paid by those who come second. (Biased locking: Kawachiya, Koseki & Onodera 2002; the asymmetric fence as in
 * Dice, Huang & Yang 2001.)
 *
 * Only short sections without calls may be entered like this (lm_bias_try); all others take the lock, and nobody is the
 * holder while it is held: so a section that calls hooks is a critical section like any other.
 *
 * A thread becomes the holder when it has been the last one to hold the lock for some time: at once at first, later and
 * later the more often holders were unseated. Threads without a heap of their own are never holders; nor is anybody where
 * the kernel has no barrier, under the thread sanitizer, which sees none, and while every call is counted.
 *
 * Invariant: while the lock is held `holder` is NULL and no thread is inside. Fork: lm_bias_stop for each, with
 * its lock taken, then lm_os_barrier once, then lm_bias_wait; the child's are as if nobody had ever entered. Thread
 * heaps are never unmapped; a thread that takes over another's is the holder where that one was. Signals: a handler must
 * not enter what it may have interrupted, as with any lock. */
#ifndef LM_HEAP_BIAS_H
#define LM_HEAP_BIAS_H

#include "heap/heap.h"

struct lm_bias {
    struct lm_fast *holder; /* atomic; written with the lock held */
    struct lm_lock lock;
    struct lm_fast *last; /* to release the lock, so many times in a row */
    uint32_t row, row_needed;
    bool alone; /* one thread at a time, as the caller promised: no lock */
    bool never; /* has a holder */
};

/* A lock that is free; `alone`: nobody ever waits for it. */
void lm_bias_init(struct lm_bias *bias, enum lm_rank rank, bool alone);

void lm_bias_attach_new(void);

/* Enters without the lock, as the holder. False: the caller is not. */
LM_INLINE bool lm_bias_try(struct lm_bias *bias)
{
    struct lm_fast *self = lm_heap_self;
    struct lm_heap *mine = (struct lm_heap *)(void *)self;

    if (LM_UNLIKELY(__atomic_load_n(&bias->holder, __ATOMIC_RELAXED) != self))
        return false;
    __atomic_store_n(&mine->inside, bias, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* in this order for the CPU, too, once it has passed lm_os_barrier */
    if (LM_LIKELY(__atomic_load_n(&bias->holder, __ATOMIC_RELAXED) == self))
        return true;
    __atomic_store_n(&mine->inside, NULL, __ATOMIC_RELEASE);
    return false;
}

/* Leaves what lm_bias_try entered. Release: pairs with lm_bias_wait. */
LM_INLINE void lm_bias_out(void)
{
    __atomic_store_n(&((struct lm_heap *)(void *)lm_heap_self)->inside, NULL, __ATOMIC_RELEASE);
}

/* Gives the calling thread a heap, so that it can be a holder. */
LM_INLINE void lm_bias_attach(void)
{
    if (LM_UNLIKELY(lm_heap_self == &lm_heap_none))
        lm_bias_attach_new();
}

/* With the lock. */
void lm_bias_enter(struct lm_bias *bias);
void lm_bias_leave(struct lm_bias *bias);

/* Fork. The holder that was unseated, or NULL; and waits for it. */
struct lm_fast *lm_bias_stop(struct lm_bias *bias);
void lm_bias_wait(const struct lm_bias *bias, struct lm_fast *holder);

/* True while the calling thread is inside any without the lock. */
bool lm_bias_is_mine(void);

#endif
