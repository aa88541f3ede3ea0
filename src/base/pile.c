/* pile.c: see pile.h. */
#include "base/pile.h"
#include "base/stm.h"

static const uint64_t PILE_REMOVED = (uint64_t)1 << 32; /* one more removal */

/* -- mutex ---------------------------------------------------------------------------------------------------- */

static void pile_locked_push(struct lm_pile *pile, uint32_t node)
{
    lm_lock_take(&pile->lock);
    *pile->link(node) = pile->head;
    __atomic_store_n(&pile->head, node, __ATOMIC_RELAXED); /* lm_pile_is_empty looks without the lock */
    lm_lock_release(&pile->lock);
}

static uint32_t pile_locked_pop(struct lm_pile *pile, bool all)
{
    uint32_t node;

    lm_lock_take(&pile->lock);
    node = (uint32_t)pile->head;
    if (node) /* as above */
        __atomic_store_n(&pile->head, all ? 0 : *pile->link(node), __ATOMIC_RELAXED);
    lm_lock_release(&pile->lock);
    return node;
}

/* -- lockfree ------------------------------------------------------------------------------------------------- */

/* Of a node that another thread may have taken meanwhile, and be using. */
LM_RACY static uint64_t pile_peek(const uint64_t *link)
{
    return __atomic_load_n(link, __ATOMIC_RELAXED);
}

static void pile_free_push(struct lm_pile *pile, uint32_t node)
{
    uint64_t seen = __atomic_load_n(&pile->head, __ATOMIC_RELAXED), *link = pile->link(node);

    do /* atomic: a pop that has seen this node before may be looking */
        __atomic_store_n(link, (uint32_t)seen, __ATOMIC_RELAXED);
    while (/* release: pairs with the pops' acquire. Acquire: what who emptied the pile had done before is seen after */
        !__atomic_compare_exchange_n(
            &pile->head, &seen, (seen & ~(uint64_t)UINT32_MAX) | node, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

static uint32_t pile_free_pop(struct lm_pile *pile, bool all)
{
    uint64_t seen = __atomic_load_n(&pile->head, __ATOMIC_ACQUIRE), next; /* pairs with pile_free_push */

    do {
        if (!(uint32_t)seen)
            return 0;
        next = all ? 0 : (uint32_t)pile_peek(pile->link((uint32_t)seen));
        next |= (seen & ~(uint64_t)UINT32_MAX) + PILE_REMOVED;
        /* pairs with pile_free_push, whose link it lets the caller see, also when another's push came between */
    } while (!__atomic_compare_exchange_n(&pile->head, &seen, next, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return (uint32_t)seen;
}

/* -- stm -------------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(uintptr_t) == sizeof(uint64_t), "words of transactions hold heads and links");

static void pile_stm_push(struct lm_pile *pile, uint32_t node)
{
    struct lm_stm tx;

    lm_stm_start(&tx);
    do {
        lm_stm_begin(&tx);
        lm_stm_write(&tx, (uintptr_t *)pile->link(node), lm_stm_read(&tx, (uintptr_t *)&pile->head));
        lm_stm_write(&tx, (uintptr_t *)&pile->head, node);
    } while (!lm_stm_commit(&tx));
}

static uint32_t pile_stm_pop(struct lm_pile *pile, bool all)
{
    struct lm_stm tx;
    uint32_t node;

    lm_stm_start(&tx);
    do {
        lm_stm_begin(&tx);
        node = (uint32_t)lm_stm_read(&tx, (uintptr_t *)&pile->head);
        if (node && lm_stm_ok(&tx))
            lm_stm_write(&tx, (uintptr_t *)&pile->head, all ? 0 : lm_stm_read(&tx, (uintptr_t *)pile->link(node)));
    } while (!lm_stm_commit(&tx));
    return node;
}

/* -- whichever ------------------------------------------------------------------------------------------------- */

void lm_pile_push(struct lm_pile *pile, uint32_t node)
{
    __atomic_fetch_add(&pile->count, 1, __ATOMIC_RELAXED);
    if (lm_config.lists == LM_LISTS_LOCKFREE)
        pile_free_push(pile, node);
    else if (lm_config.lists == LM_LISTS_STM)
        pile_stm_push(pile, node);
    else
        pile_locked_push(pile, node);
}

static uint32_t pile_remove(struct lm_pile *pile, bool all)
{
    if (lm_config.lists == LM_LISTS_LOCKFREE)
        return pile_free_pop(pile, all);
    if (lm_config.lists == LM_LISTS_STM)
        return pile_stm_pop(pile, all);
    return pile_locked_pop(pile, all);
}

uint32_t lm_pile_pop(struct lm_pile *pile)
{
    uint32_t node = lm_pile_is_empty(pile) ? 0 : pile_remove(pile, false);

    if (node)
        __atomic_fetch_sub(&pile->count, 1, __ATOMIC_RELAXED);
    return node;
}

uint32_t lm_pile_take(struct lm_pile *pile)
{
    uint32_t first = lm_pile_is_empty(pile) ? 0 : pile_remove(pile, true);
    int64_t count = 0;

    for (uint32_t node = first; node; node = lm_pile_next(pile, node))
        count++;
    if (count)
        __atomic_fetch_sub(&pile->count, count, __ATOMIC_RELAXED);
    return first;
}

void lm_pile_reset(struct lm_pile *pile)
{
    pile->head = 0;
    pile->count = 0;
    lm_lock_reset(&pile->lock);
}

int lm_pile_check(const struct lm_pile *pile)
{
    int64_t count = 0;

    for (uint32_t node = (uint32_t)pile->head; node; node = lm_pile_next(pile, node))
        if (++count > pile->count)
            return __LINE__; /* a ring, or a node that nobody pushed */
    return count == pile->count ? 0 : __LINE__;
}
