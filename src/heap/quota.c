/* quota.c: the tree of private heaps: hard limits, shares, and what is lent between siblings.
 *
 * A charge climbs from the heap to its root; the first quota that it would exceed refuses it. A heap's share is a part
 * of its parent's quota that it can always have back: what it does not use, its siblings may borrow, and once it has
 * been refused while below its share (`wants`), its siblings above theirs are refused everything, and asked to give
 * something up (`reclaim`), until it has been served.
 *
 * Most charges are made ahead of need and kept as a heap's credit (private.h). That would make a quota refuse what there is
 * room for. So a charge that was refused calls in the credit of every heap below the one that refuses, and is tried again
 * before anybody is told (quota_call_in). Meanwhile, and wherever little of a quota is left, nothing is charged ahead.
 *
 * Invariants: the shares of a heap's children add up to no more than its quota; a heap's used bytes are those of its
 * own blocks, its credit, and its children's used bytes (lm_private_check); `wanting` is the number of children that want.
 *
 * Locks: the tree is LM_RANK_PRIVATES, under which a heap's own lock may be taken; charges take none. The reclaim hooks
 * are called with none held. */
#include "heap/private.h"

#include <errno.h>

struct lm_lock lm_privates_lock = LM_LOCK_INIT(LM_RANK_PRIVATES);
static LM_APART struct lm_private quota_roots; /* not a heap: `children` are the heaps without a parent */
static uint32_t quota_round;                   /* of reclaim; LM_RANK_PRIVATES */
static uint32_t quota_calling;                 /* atomic: threads that call credit in */

enum { AHEAD_SHARE = 8 }; /* nothing is charged ahead into the last eighth of a quota */

/* The next heap after `heap` in the tree below `top`, parents first; NULL: no more. */
static struct lm_private *quota_next(const struct lm_private *heap, const struct lm_private *top)
{
    if (heap->children)
        return heap->children;
    while (heap != top && !heap->sibling)
        heap = heap->parent ? heap->parent : &quota_roots;
    return heap == top ? NULL : heap->sibling;
}

/* The credit of the heap and its descendants, whose peaks are noted. */
static size_t quota_credit(struct lm_private *top)
{
    size_t credit = 0;

    for (struct lm_private *h = top; h; h = quota_next(h, top)) {
        size_t low = __atomic_load_n(&h->low, __ATOMIC_RELAXED);

        for (struct lm_private *above = h; above; above = above->parent)
            lm_count_raise(&above->peak_bytes, __atomic_load_n(&above->used_bytes, __ATOMIC_RELAXED) - low);
        credit += __atomic_load_n(&h->credit, __ATOMIC_RELAXED);
    }
    return credit;
}

size_t lm_quota_used(struct lm_private *heap)
{
    enum { LOOKS = 100 }; /* others may be charging all the time */
    size_t used = 0, credit = 0;

    lm_lock_take(&lm_privates_lock);
    for (int i = 0; i < LOOKS; i++) {
        used = __atomic_load_n(&heap->used_bytes, __ATOMIC_ACQUIRE);
        credit = quota_credit(heap);
        if (used == __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED))
            break;
    }
    lm_lock_release(&lm_privates_lock);
    return used > credit ? used - credit : 0;
}

/* With the lock of the tree. */
static void quota_call_in(struct lm_private *top)
{
    for (struct lm_private *h = top; h; h = quota_next(h, top)) {
        if (h->exact)
            continue;
        lm_bias_enter(&h->bias);
        lm_private_settle(h);
        lm_bias_leave(&h->bias);
    }
}

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
        if (parent && parent->bias.alone && !parent->exact) { /* its children's threads must not touch its credit */
            lm_private_settle(parent);
            parent->exact = true;
        }
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
        quota_call_in(heap); /* what was charged ahead may be above it now */
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
        lm_count_raise(&h->peak_bytes,
            __atomic_load_n(&h->used_bytes, __ATOMIC_RELAXED) - __atomic_load_n(&heap->credit, __ATOMIC_RELAXED));
        quota_content(h);
    }
    return true;
}

bool lm_quota_charge_ahead(struct lm_private *heap, size_t bytes)
{
    /* pairs with quota_charge_calling: it takes this heap's lock after it has set the flag */
    bool done = !__atomic_load_n(&quota_calling, __ATOMIC_RELAXED);

    for (struct lm_private *h = heap; h && done; h = h->parent) {
        size_t quota = __atomic_load_n(&h->quota_bytes, __ATOMIC_RELAXED), used = lm_count_add(&h->used_bytes, bytes);

        done = used >= bytes && used <= quota - quota / AHEAD_SHARE && !__atomic_load_n(&h->wants, __ATOMIC_RELAXED) &&
            !(h->parent && __atomic_load_n(&h->parent->wanting, __ATOMIC_RELAXED));
        if (!done)
            quota_uncharge_upto(heap, h->parent, bytes);
    }
    return done;
}

/* Once more, with all that is charged ahead below the heap that refused given up. */
static bool quota_charge_calling(
    struct lm_private *heap, size_t bytes, struct lm_private **refusing, struct lm_private **below)
{
    bool done;

    lm_lock_take(&lm_privates_lock);
    __atomic_fetch_add(&quota_calling, 1, __ATOMIC_RELAXED);
    quota_call_in(*refusing);
    done = quota_try(heap, bytes, refusing, below);
    __atomic_fetch_sub(&quota_calling, 1, __ATOMIC_RELAXED);
    lm_lock_release(&lm_privates_lock);
    return done;
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

    if (quota_try(heap, bytes, &refusing, &below) || quota_charge_calling(heap, bytes, &refusing, &below))
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

void lm_privates_release(void)
{
    if (lm_privates_fork_mine()) /* called by a hook, from inside one */
        return;
    lm_lock_take(&lm_privates_lock);
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap, &quota_roots))
        if (!heap->bias.alone)
            lm_private_release(heap);
    lm_lock_release(&lm_privates_lock);
}

/* -- fork ----------------------------------------------------------------------------------------------------- */

bool lm_privates_fork_mine(void)
{
    static const struct lm_lock any = LM_LOCK_INIT(LM_RANK_PRIVATE);

    return lm_lock_is_mine(&lm_privates_lock) || lm_lock_is_mine(&any) || lm_bias_is_mine();
}

void lm_privates_fork_take(void)
{
    bool unseated = false;

    lm_lock_take(&lm_privates_lock);
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap, &quota_roots)) {
        lm_lock_take_also(&heap->bias.lock);
        heap->bias.last = lm_bias_stop(&heap->bias);
        unseated |= heap->bias.last != NULL;
    }
    if (!unseated)
        return;
    lm_os_barrier();
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap, &quota_roots))
        if (heap->bias.last)
            lm_bias_wait(&heap->bias, heap->bias.last);
}

void lm_privates_fork_release(void)
{
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap, &quota_roots))
        lm_lock_release(&heap->bias.lock);
    lm_lock_release(&lm_privates_lock);
}

void lm_privates_fork_reset(void)
{
    for (struct lm_private *heap = quota_roots.children; heap; heap = quota_next(heap, &quota_roots)) {
        lm_bias_stop(&heap->bias);
        lm_lock_reset(&heap->bias.lock);
    }
    lm_lock_reset(&lm_privates_lock);
}
