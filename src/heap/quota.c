/* quota.c: the tree of private heaps: hard limits, shares, and what is lent between siblings.
 *
 * A charge climbs from the heap to its root; the first quota that it would exceed refuses it. A heap's share is a part
 * of its parent's quota that it can always have back: what it does not use, its siblings may borrow, and once it has
 * been refused while below its share (`wants`), its siblings above theirs are refused everything, and asked to give
 * something up (`reclaim`), until it has been served.
 *
 * Invariants (lm_quota_check): the shares of a heap's children add up to no more than its quota; a heap's used bytes
 * are those of its own blocks and its children's used bytes; `wanting` is the number of children that want.
 *
 * Locks: the tree is LM_RANK_PRIVATES; charges take none. The reclaim hooks are called with none held. */
#include "heap/private.h"

#include <errno.h>

struct lm_lock lm_privates_lock = LM_LOCK_INIT(LM_RANK_PRIVATES);
static struct lm_private quota_roots; /* not a heap: `children` are the heaps without a parent */
static uint32_t quota_round;          /* of reclaim; LM_RANK_PRIVATES */

static size_t quota_shares(const struct lm_private *parent, const struct lm_private *without)
{
    size_t sum = 0;

    for (const struct lm_private *child = parent->children; child; child = child->sibling)
        if (child != without)
            sum += child->share_bytes;
    return sum;
}

static bool quota_fits(const struct lm_private *parent, const struct lm_private *without, size_t share)
{
    size_t others = quota_shares(parent, without);

    if (share <= parent->quota_bytes && others <= parent->quota_bytes - share)
        return true;
    errno = EINVAL;
    return false;
}

bool lm_quota_join(struct lm_private *heap, struct lm_private *parent)
{
    struct lm_private *above = parent ? parent : &quota_roots;
    bool fits;

    lm_lock_take(&lm_privates_lock);
    fits = !parent || quota_fits(parent, NULL, heap->share_bytes);
    if (fits) {
        heap->parent = parent;
        heap->sibling = above->children;
        above->children = heap;
    }
    lm_lock_release(&lm_privates_lock);
    return fits;
}

/* The heap wants no more. */
static void quota_content(struct lm_private *heap)
{
    if (heap->parent && __atomic_load_n(&heap->wants, __ATOMIC_RELAXED) && lm_flag_swap(&heap->wants, 0))
        lm_count_add(&heap->parent->wanting, 0 - (uint64_t)1);
}

void lm_quota_leave(struct lm_private *heap)
{
    struct lm_private *above = heap->parent ? heap->parent : &quota_roots, **link = &above->children;

    quota_content(heap);
    lm_lock_take(&lm_privates_lock);
    while (*link != heap)
        link = &(*link)->sibling;
    *link = heap->sibling;
    lm_lock_release(&lm_privates_lock);
}

bool lm_quota_set(struct lm_private *heap, size_t quota_bytes, size_t share_bytes)
{
    bool fits;

    lm_lock_take(&lm_privates_lock);
    fits = quota_shares(heap, NULL) <= quota_bytes;
    if (!fits)
        errno = EINVAL;
    else if (heap->parent)
        fits = quota_fits(heap->parent, heap, share_bytes);
    if (fits) {
        __atomic_store_n(&heap->quota_bytes, quota_bytes, __ATOMIC_RELAXED);
        __atomic_store_n(&heap->share_bytes, share_bytes, __ATOMIC_RELAXED);
    }
    lm_lock_release(&lm_privates_lock);
    return fits;
}

/* -- charging ----------------------------------------------------------------------------------------------- */

static void quota_uncharge_upto(struct lm_private *heap, struct lm_private *end, size_t bytes)
{
    for (; heap != end; heap = heap->parent)
        lm_count_add(&heap->used_bytes, 0 - (uint64_t)bytes);
}

void lm_quota_uncharge(struct lm_private *heap, size_t bytes)
{
    quota_uncharge_upto(heap, NULL, bytes);
}

/* True when `heap`, which would use `used`, takes what a sibling wants back. */
static bool quota_borrows(const struct lm_private *heap, size_t used)
{
    return heap->parent && __atomic_load_n(&heap->parent->wanting, __ATOMIC_RELAXED) &&
        used > __atomic_load_n(&heap->share_bytes, __ATOMIC_RELAXED);
}

/* Charges all the way up, or nothing. *refusing is the heap whose quota is reached, *below its child on the way. */
static bool quota_try(struct lm_private *heap, size_t bytes, struct lm_private **refusing, struct lm_private **below)
{
    struct lm_private *child = NULL;

    for (struct lm_private *h = heap; h; child = h, h = h->parent) {
        size_t used = lm_count_add(&h->used_bytes, bytes);
        bool over = used < bytes || used > __atomic_load_n(&h->quota_bytes, __ATOMIC_RELAXED);

        if (over || quota_borrows(h, used)) {
            quota_uncharge_upto(heap, h->parent, bytes);
            *refusing = over ? h : h->parent;
            *below = over ? child : h;
            return false;
        }
    }
    for (struct lm_private *h = heap; h; h = h->parent) {
        lm_count_raise(&h->peak_bytes, __atomic_load_n(&h->used_bytes, __ATOMIC_RELAXED));
        quota_content(h);
    }
    return true;
}

/* Asks the children of `parent` that are above their share, but `child`, to give something up. */
static void quota_ask(struct lm_private *parent, const struct lm_private *child, size_t bytes)
{
    uint32_t round;

    lm_lock_take(&lm_privates_lock);
    round = ++quota_round;
    for (struct lm_private *h = parent->children; h;) {
        if (h != child && h->reclaim && h->asked != round &&
            __atomic_load_n(&h->used_bytes, __ATOMIC_RELAXED) > h->share_bytes) {
            h->asked = round;
            lm_lock_release(&lm_privates_lock);
            h->reclaim((struct loam_heap *)(void *)h, bytes, h->arg);
            lm_lock_take(&lm_privates_lock);
            h = parent->children; /* the list may have changed meanwhile */
            continue;
        }
        h = h->sibling;
    }
    lm_lock_release(&lm_privates_lock);
}

bool lm_quota_charge(struct lm_private *heap, size_t bytes)
{
    struct lm_private *refusing = NULL, *below = NULL;

    if (quota_try(heap, bytes, &refusing, &below))
        return true;
    if (below && __atomic_load_n(&below->used_bytes, __ATOMIC_RELAXED) + bytes <= below->share_bytes) {
        if (!lm_flag_swap(&below->wants, 1))
            lm_count_add(&refusing->wanting, 1);
        quota_ask(refusing, below, bytes);
        if (quota_try(heap, bytes, &refusing, &below))
            return true;
    }
    lm_count_add(&heap->refused, 1);
    errno = ENOMEM;
    return false;
}

/* -- fork ----------------------------------------------------------------------------------------------------- */

/* The next heap after `heap` in the tree, parents first; NULL: no more. */
static struct lm_private *quota_next(struct lm_private *heap)
{
    if (heap->children)
        return heap->children;
    while (heap && heap != &quota_roots && !heap->sibling)
        heap = heap->parent;
    return heap && heap != &quota_roots ? heap->sibling : NULL;
}

bool lm_privates_fork_mine(void)
{
    static const struct lm_lock any = LM_LOCK_INIT(LM_RANK_PRIVATE);

    return lm_lock_is_mine(&lm_privates_lock) || lm_lock_is_mine(&any);
}

void lm_privates_fork_take(void)
{
    lm_lock_take(&lm_privates_lock);
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap))
        lm_lock_take_also(&heap->lock);
}

void lm_privates_fork_release(void)
{
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap))
        lm_lock_release(&heap->lock);
    lm_lock_release(&lm_privates_lock);
}

void lm_privates_fork_reset(void)
{
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap))
        lm_lock_reset(&heap->lock);
    lm_lock_reset(&lm_privates_lock);
}
