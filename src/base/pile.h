/* pile.h: stacks that threads share, by one of three means, which the option `lists` chooses for all of them.
 *
 *   head: | removals (32 bits) | number of the top node (32 bits, 0: none) |       link(node) ──> the next, ...
 *
 *   mutex     a futex lock around two loads and two stores
 *   lockfree  a compare-and-swap on the head (Treiber, "Systems Programming: Coping with Parallelism", IBM RJ 5118,
 *             1986), whose upper half counts removals: a head that was taken off and put back is another head
 *   stm       a transaction (stm.h)
 *
 * Nodes are numbers from 1, and the caller says where each keeps its link, a word. A number is half a word, so that it
 * and the count fit into one compare-and-swap; that would have to be missed by 2^32 removals within one pop to go wrong.
 *
 * Invariant (lm_pile_check, when nobody is at it): following the links from the head ends, after `count` nodes.
 *
 * A node belongs to whoever took it off, link and all. A thread that is about to take it off too may still read its
 * link, and throws away what it read: so a link must stay readable memory for ever, as span descriptors do, whatever it
 * then holds. Object caches number their magazines and keep the links (block/cache_magazine.c).
 *
 * Progress: lockfree never waits for another thread; stm waits only where stm.h does. Locks: with mutex the pile's own,
 * of the rank given; fork then has to take it. Fork in the two others: a thread may vanish with nodes in its hands, and
 * with stm in the middle of a commit; the child makes its piles anew (lm_pile_reset, lm_stm_reset). */
#ifndef LM_BASE_PILE_H
#define LM_BASE_PILE_H

#include "base/config.h"
#include "base/lock.h"

struct lm_pile {
    uint64_t head; /* atomic */
    int64_t count; /* atomic; behind or ahead of the truth while threads are at it */
    uint64_t *(*link)(uint32_t node);
    struct lm_lock lock; /* mutex */
};

#define LM_PILE_INIT(rank, link) \
    { \
        0, 0, (link), LM_LOCK_INIT(rank) \
    }

void lm_pile_push(struct lm_pile *pile, uint32_t node);
uint32_t lm_pile_pop(struct lm_pile *pile); /* 0: there is none */

/* All of it; the rest follows by lm_pile_next until 0. */
uint32_t lm_pile_take(struct lm_pile *pile);

/* The node after one that the caller has taken. */
LM_INLINE uint32_t lm_pile_next(const struct lm_pile *pile, uint32_t node)
{
    return (uint32_t)__atomic_load_n(pile->link(node), __ATOMIC_RELAXED);
}

/* The top node, or 0. A hint, as the next: it may have changed by the time the caller looks at the answer. */
LM_INLINE uint32_t lm_pile_top(const struct lm_pile *pile)
{
    return (uint32_t)__atomic_load_n(&pile->head, __ATOMIC_RELAXED);
}

LM_INLINE bool lm_pile_is_empty(const struct lm_pile *pile)
{
    return lm_pile_top(pile) == 0;
}

LM_INLINE size_t lm_pile_count(const struct lm_pile *pile)
{
    int64_t count = __atomic_load_n(&pile->count, __ATOMIC_RELAXED);

    return count > 0 ? (size_t)count : 0;
}

/* Forgets what it holds, and whoever was at it; in a fork's child. */
void lm_pile_reset(struct lm_pile *pile);

/* 0, or the line of the broken invariant; nobody may be at it. */
int lm_pile_check(const struct lm_pile *pile);

#endif
