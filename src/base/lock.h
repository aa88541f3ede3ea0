/* lock.h: a 4-byte futex lock with ranks, that never allocates and survives fork.
 *
 * Invariant: a thread takes locks in rising rank only; with LOAM_DEBUG lm_lock_take() checks it and dies
 * on a breach, so that every debug test run proves the order. A lock that is all zero bytes and a rank is
 * free. Fork: front/fork.c takes all locks in rank order before fork and releases them in the parent; the
 * child, whose other threads are gone, calls lm_lock_reset().
 *
 * Fairness: whoever comes may take a free lock before those who sleep for it, which keeps short sections short. A thread that
 * was woken LM_LOCK_PATIENCE times in vain draws a ticket, and then nobody may come before it but those with earlier
 * tickets: so it waits for at most one hold of each thread that waits already, and for the one that is under way.
 *
 *   state:  | served (15 bits) | drawn (15) | free, held, held and slept for (2) |
 *
 * While tickets are out, drawn != served: the word is not FREE, so that the one compare-and-swap of the common case fails,
 * and only the thread whose ticket is served may take the lock. Each who is served counts served on.
 *
 * Signals: a handler must not take a lock that the code it interrupted may hold; loam's never does. */
#ifndef LM_BASE_LOCK_H
#define LM_BASE_LOCK_H

#include "base/bits.h"

/* In the order in which they may nest: a thread holding one takes only later ones. */
enum lm_rank {
    LM_RANK_NONE,
    LM_RANK_CACHES,      /* the registry of object caches and their threads */
    LM_RANK_CACHE_CPU,   /* a CPU's magazines */
    LM_RANK_CACHE_DEPOT, /* a cache's depot of magazines */
    LM_RANK_BLOCK,       /* a building block's own lock */
    LM_RANK_PRIVATES,    /* the tree of private heaps */
    LM_RANK_PRIVATE,     /* a private heap */
    LM_RANK_SOURCE,      /* a source of pages' own */
    LM_RANK_CPUS,        /* the table of CPUs */
    LM_RANK_CPU,         /* a CPU's slabs */
    LM_RANK_MAIL,        /* never locked, only noted: the thread has mail in its hands (heap/remote.c) */
    LM_RANK_OPTIONS,     /* start-up and configuration */
    LM_RANK_HEAPS,       /* the registry of thread heaps */
    LM_RANK_ORPHANS,     /* slabs whose thread is gone */
    LM_RANK_HUGE,        /* the registry of huge mappings */
    LM_RANK_PAGES,       /* arenas and their spans */
    LM_RANK_META,        /* loam's own bookkeeping memory */
    LM_RANK_COUNT
};

enum { LM_LOCK_PATIENCE = 4 };

struct lm_lock {
    uint32_t state; /* see above; atomic */
    uint32_t rank;
};

#define LM_LOCK_INIT(r) \
    { \
        0, (r) \
    }

void lm_lock_take(struct lm_lock *lock);
void lm_lock_take_also(struct lm_lock *lock); /* of a rank that may be held already: for fork, which takes them all */
bool lm_lock_try(struct lm_lock *lock);       /* true when taken */
void lm_lock_release(struct lm_lock *lock);
void lm_lock_reset(struct lm_lock *lock); /* to free, whoever held it; only in a fork's child */

/* True while somebody sleeps, or is about to, until it is released. */
LM_INLINE bool lm_lock_is_awaited(const struct lm_lock *lock)
{
    return (__atomic_load_n(&lock->state, __ATOMIC_RELAXED) & 3) == 2;
}

/* Notes that the calling thread is at what locks of this rank guard, when it needs no lock for that: lm_lock_is_mine then
 * says so, to a signal handler that forks. False, and nothing done: it was noted already. */
bool lm_lock_note(const struct lm_lock *lock);
void lm_lock_unnote(const struct lm_lock *lock);

/* True while the calling thread holds a lock of this rank, or is on its way in or out: what a signal handler must
 * know that forks in the middle of malloc. */
bool lm_lock_is_mine(const struct lm_lock *lock);

#endif
