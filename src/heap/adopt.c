/* adopt.c: slabs whose thread is gone.
 *
 * An orphan's owner is NULL. Its free list, counts and links are guarded by lm_orphans_lock, under which it is
 * taken by whichever heap next needs a slab of its class; frees reach it through its remote list as always, and
 * whoever must deliver them merges them in place (lm_orphans_receive) or releases the slab when that was the
 * last live block.
 *
 * Invariant: exactly the slabs in `orphans` have owner NULL.
 *
 * All that is the default, lists:mutex. With lists:lockfree and lists:stm shelf.c keeps them, without a lock.
 *
 * Fork: the child sees the other threads' slabs as they were in the middle of anything. Each single store left
 * them usable: an object is free or not by one word. Lists are not believed but made anew, those of a slab from these
 * words, those that join slabs from the descriptors. */
#include "heap/room.h"

struct lm_lock lm_orphans_lock = LM_LOCK_INIT(LM_RANK_ORPHANS);
static struct lm_lists orphans;

/* True when shelf.c keeps them. */
static bool orphans_on_shelves(void)
{
    return lm_config.lists != LM_LISTS_MUTEX;
}

static void orphans_enter(void)
{
    if (!orphans_on_shelves())
        lm_lock_take(&lm_orphans_lock);
}

static void orphans_leave(void)
{
    if (!orphans_on_shelves())
        lm_lock_release(&lm_orphans_lock);
}

static void orphan_add(struct lm_span *slab, unsigned live)
{
    if (orphans_on_shelves()) {
        lm_shelves_add(slab, live);
        return;
    }
    __atomic_store_n(&slab->owner, NULL, __ATOMIC_RELEASE); /* pairs with the acquire in lm_slab_owner */
    lm_lists_give(&orphans, slab, live);
}

/* The lock is let go after a few of them, so that nobody waits for a thread that leaves thousands. */
static void orphan_add_list(lm_span_id *head)
{
    enum { BREATH = 16 };

    for (unsigned n = 1; *head; n++) {
        struct lm_span *slab = lm_span_at(*head);

        lm_lists_unlink(head, slab);
        orphan_add(slab, lm_slab_live(slab));
        if (n % BREATH == 0) {
            orphans_leave();
            orphans_enter();
        }
    }
}

void lm_orphans_add_all(struct lm_heap *heap, const bool *keep)
{
    orphans_enter();
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = heap->current[c];

        if (slab != LM_SLAB_NONE && !(keep && keep[c])) {
            lm_heap_set_current(heap, c, LM_SLAB_NONE);
            lm_slab_collect(slab, false);
            orphan_add(slab, slab->carved - lm_slab_count_free(slab));
        }
        orphan_add_list(&heap->lists.partial[c]);
    }
    orphan_add_list(&heap->lists.full);
    orphans_leave();
}

struct lm_span *lm_orphans_take(struct lm_heap *heap, unsigned size_class)
{
    struct lm_span *slab;

    if (orphans_on_shelves())
        return lm_shelves_take(heap, size_class);
    if (!__atomic_load_n(&orphans.partial[size_class], __ATOMIC_RELAXED)) /* a hint; the lock decides */
        return NULL;
    lm_lock_take(&lm_orphans_lock);
    slab = lm_lists_take(&orphans, size_class);
    if (slab)
        __atomic_store_n(&slab->owner, lm_heap_tag(heap), __ATOMIC_RELEASE);
    lm_lock_release(&lm_orphans_lock);
    return slab;
}

void lm_orphans_give(struct lm_lists *lists, struct lm_span *slab)
{
    orphans_enter();
    lm_lists_unlink(&lists->partial[slab->size_class], slab);
    orphan_add(slab, lm_slab_annex(slab)->countdown);
    orphans_leave();
}

bool lm_orphans_receive(struct lm_span *slab)
{
    bool orphan;

    if (orphans_on_shelves())
        return lm_shelves_receive(slab);
    lm_lock_take(&lm_orphans_lock);
    orphan = lm_slab_owner(slab) == NULL;
    if (orphan)
        lm_lists_settle(&orphans, slab, lm_slab_collect(slab, true));
    lm_lock_release(&lm_orphans_lock);
    return orphan;
}

struct lm_span *lm_orphans_make(unsigned size_class, void *owner)
{
    struct lm_span *slab = lm_slab_create(size_class, 0, owner);

    if (slab)
        lm_slab_annex(slab)->countdown = 0; /* live objects, as in a partial slab */
    return slab;
}

void *lm_orphans_pop(struct lm_span *slab)
{
    void *p = lm_slab_pop(slab);
    bool zeroed;

    return p ? p : lm_slab_carve_one(slab, &zeroed);
}

void *lm_orphans_malloc(unsigned size_class)
{
    struct lm_span *slab;
    void *p = NULL;

    if (orphans_on_shelves())
        return lm_shelves_malloc(size_class);
    lm_lock_take(&lm_orphans_lock);
    slab = lm_lists_take(&orphans, size_class);
    if (!slab)
        slab = lm_orphans_make(size_class, NULL);
    if (slab) {
        unsigned live = lm_slab_annex(slab)->countdown;

        p = lm_orphans_pop(slab);
        lm_lists_give(&orphans, slab, live + 1);
    }
    lm_lock_release(&lm_orphans_lock);
    return p;
}

void lm_orphans_trim(void)
{
    if (orphans_on_shelves())
        lm_shelves_trim(); /* else they are released at once */
}

size_t lm_orphans_sweep(void)
{
    size_t bytes;

    if (orphans_on_shelves())
        return 0; /* nobody owns all of them at once */
    lm_lock_take(&lm_orphans_lock);
    bytes = lm_lists_sweep(&orphans);
    lm_lock_release(&lm_orphans_lock);
    return bytes;
}

int lm_orphans_check(void)
{
    int fault = 0;

    if (orphans_on_shelves())
        return lm_shelves_check();
    lm_lock_take(&lm_orphans_lock);
    for (unsigned c = 0; c <= LM_CLASSES && !fault; c++) {
        lm_span_id prev = 0;

        for (lm_span_id id = c < LM_CLASSES ? orphans.partial[c] : orphans.full; id && !fault;) {
            const struct lm_span *slab = lm_span_at(id);

            if (lm_slab_owner(slab) || slab->prev != prev || (c < LM_CLASSES && slab->size_class != c))
                fault = __LINE__;
            else if (slab->kind != (c < LM_CLASSES ? LM_SLAB_PARTIAL : LM_SLAB_FULL))
                fault = __LINE__;
            else
                fault = lm_slab_check(slab);
            prev = id;
            id = slab->next;
        }
    }
    lm_lock_release(&lm_orphans_lock);
    return fault;
}

/* -- fork ------------------------------------------------------------------------------------------------- */

struct orphan_search {
    struct lm_heap *mine;
    struct lm_span *found; /* a chain through the annexes' mail_next, which the child owns whole */
    lm_span_id unmade; /* a chain through next: no slabs yet, their thread was making them, or had memory for them */
};

/* True of the slabs of the child's one thread, and of CPUs: their locks were held when the process forked. */
static bool orphan_keeps_owner(const struct lm_span *slab, const struct lm_heap *mine)
{
    const struct lm_heap *owner = lm_slab_owner(slab);

    return owner && (owner == mine || owner->tag & LM_TAG_CPU);
}

static void orphan_find(struct lm_span *slab, void *arg)
{
    struct orphan_search *search = arg;

    if (slab->kind < LM_SLAB_CURRENT || lm_span_is_private(slab))
        return;
    if (!slab->link) {
        slab->next = search->unmade;
        search->unmade = lm_span_id_of(slab);
        return;
    }
    /* every mailed bit is void: whoever was to deliver is gone, or is this thread, which was not at it
     * (lm_remote_is_mine) */
    if (orphan_keeps_owner(slab, search->mine) && !lm_slab_is_mailed(slab))
        return;
    lm_slab_annex(slab)->mail_next = search->found ? lm_span_id_of(search->found) : 0;
    search->found = slab;
}

void lm_orphans_after_fork(struct lm_heap *mine)
{
    struct orphan_search search = {.mine = mine};
    struct lm_span *slab;

    orphans = (struct lm_lists){0};
    if (orphans_on_shelves())
        lm_shelves_after_fork();
    if (mine)
        mine->mailbox = mine->ahead = 0; /* the run is among the unmade slabs */
    lm_percpu_fork_mail();
    lm_page_each(orphan_find, &search);
    while (search.unmade) {
        slab = lm_span_at(search.unmade);
        search.unmade = slab->next;
        lm_span_free(slab);
    }
    for (slab = search.found; slab; slab = search.found) {
        lm_span_id next = lm_slab_annex(slab)->mail_next;

        search.found = next ? lm_span_at(next) : NULL;
        if (orphan_keeps_owner(slab, mine)) {
            /* into the mailbox, not into the lists: a handler that forks may have interrupted this thread at them */
            lm_remote_deliver(slab);
            continue;
        }
        lm_slab_rebuild(slab);
        lm_slab_collect(slab, true);
        slab->next = slab->prev = 0;
        orphan_add(slab, slab->carved - lm_slab_count_free(slab));
    }
}
