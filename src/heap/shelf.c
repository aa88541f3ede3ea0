/* shelf.c: orphans without a lock (lists:lockfree, lists:stm); adopt.c is the same with one.
 *
 *   shelf[class] ──> slab ──> slab ──> ...      a pile (base/pile.h) of orphans with room: PARTIAL, link in `shelf_link`
 *
 * An orphan's owner field is NULL, or says that a thread is at it: a claim, which is won by compare-and-swap and without
 * which nobody touches its free list, count and kind. Two may want it at once: the thread that delivers frees (it holds
 * the mailed bit) and the one that took the slab off the shelf. Who comes second does not wait but leaves a note in the
 * same word, and the holder does the other's work before it lets go:
 *
 *   NULL ──claim──> CLAIMED ──the other comes──> CLAIMED|MAIL    take these frees too
 *    ^                 │                         CLAIMED|OFF     it is off the shelf, in your hands
 *    └────let go───────┴──or──> a heap, or released
 *
 * Invariant (lm_shelves_check): an orphan that is FULL stands on no shelf. One that is PARTIAL stands on its class's, or is
 * in the hands of exactly one thread, which took it off or is about to put it there, and which alone may give it to a
 * heap or release it. So a slab that becomes empty on the shelf stays there at first: when so many may be empty, an
 * eighth of the shelf, or when memory is trimmed, the shelf is taken whole and the empty ones are released: eight looks
 * for each slab, and never more than an eighth kept for nothing.
 *
 * Fork: with no lock to wait for, a thread may vanish anywhere. Its claims are void in the child, which makes the shelves
 * anew from the descriptors (lm_orphans_after_fork); blocks that it was just bringing home may be lost to the child, as
 * they may in a thread's own slabs. To handlers that fork it looks as if lm_orphans_lock were held. */
#include "heap/room.h"

enum { SHELF_LOOKS = 2, SHELF_EMPTIES = 8 /* the part of a shelf that may be empty, inverted */ };

struct shelf {
    struct lm_pile pile;
    uint32_t empties; /* atomic: slabs that became empty there since it was swept last */
} __attribute__((aligned(LM_CACHE_LINE)));

static uint64_t *shelf_link(uint32_t id)
{
    return &lm_span_at(id)->shelf_link;
}

static LM_APART_DATA struct shelf shelf[LM_CLASSES] = {
    [0 ... LM_CLASSES - 1] = {.pile = LM_PILE_INIT(LM_RANK_ORPHANS, shelf_link)}};

/* -- being at it --------------------------------------------------------------------------------------------------- */

/* A thread without a heap is counted as one that may vanish in the middle of this: see lm_heap_after_fork. */
static bool shelf_enter(void)
{
    if (!lm_heap_mine())
        __atomic_fetch_add(&lm_remote_homeless, 1, __ATOMIC_RELAXED); /* as in lm_remote_free */
    return lm_lock_note(&lm_orphans_lock);
}

static void shelf_leave(bool noted)
{
    if (noted)
        lm_lock_unnote(&lm_orphans_lock);
    if (!lm_heap_mine())
        __atomic_fetch_sub(&lm_remote_homeless, 1, __ATOMIC_RELEASE);
}

/* -- claims -------------------------------------------------------------------------------------------------------- */

enum shelf_claim { SHELF_MINE, SHELF_LEFT, SHELF_NO_ORPHAN };

/* Claims an orphan, or leaves the note with who has it. */
static enum shelf_claim shelf_claim(struct lm_span *slab, uintptr_t note)
{
    uintptr_t seen = 0;

    for (;;) {
        uintptr_t claim = seen ? seen | note : LM_TAG_CLAIMED;

        if (seen & ~(uintptr_t)(LM_TAG_CLAIMED | LM_TAG_NOTES))
            return SHELF_NO_ORPHAN;
        LM_ASSERT(!(seen & note));
        /* acquire: pairs with the release of the one who let go; release: with shelf_let_go, which reads the note */
        if (__atomic_compare_exchange_n(
                (uintptr_t *)&slab->owner, &seen, claim, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return claim & LM_TAG_NOTES ? SHELF_LEFT : SHELF_MINE;
    }
}

/* Exchanges the claim for an owner; the notes, when there are any: then it is kept, and they are taken. */
static uintptr_t shelf_let_go(struct lm_span *slab, void *owner)
{
    uintptr_t seen = LM_TAG_CLAIMED;

    /* release: pairs with shelf_claim and lm_slab_owner; acquire: with who left a note */
    if (__atomic_compare_exchange_n(
            (uintptr_t *)&slab->owner, &seen, (uintptr_t)owner, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return 0;
    __atomic_fetch_and((uintptr_t *)&slab->owner, ~(seen & LM_TAG_NOTES), __ATOMIC_ACQ_REL);
    return seen & LM_TAG_NOTES;
}

/* -- what the holder of a claim does ---------------------------------------------------------------------------------- */

static void shelf_count(struct lm_span *slab, unsigned live)
{
    bool full = live == lm_slab_capacity(slab);

    lm_span_set_kind(slab, full ? LM_SLAB_FULL : LM_SLAB_PARTIAL);
    __atomic_store_n(&lm_slab_annex(slab)->countdown, full ? lm_slab_reserve(slab) : live, __ATOMIC_RELAXED);
}

/* Takes in what the remote list brings, with the mailed bit; true when the slab, which was full, now has room enough
 * for a place on the shelf. */
static bool shelf_collect(struct lm_span *slab)
{
    unsigned freed = lm_slab_collect(slab, true);
    bool full = slab->kind == LM_SLAB_FULL;

    if (full && freed < lm_slab_annex(slab)->countdown) {
        lm_slab_annex(slab)->countdown -= freed;
        return false;
    }
    if (freed)
        shelf_count(slab, lm_slab_live(slab) - freed);
    return full;
}

/* Nobody has a block of it, and nobody is on the way to it. */
static bool shelf_is_empty(const struct lm_span *slab)
{
    return slab->kind == LM_SLAB_PARTIAL && lm_slab_annex(slab)->countdown == 0 && !lm_slab_is_mailed(slab);
}

/* The same by somebody without a claim, who may be wrong: the slab may be another by now, with another annex, or
 * released. Its descriptor stays readable, and so does bookkeeping memory. */
LM_RACY static bool shelf_seems_empty(const struct lm_annex *annex)
{
    /* volatile, or gcc moves the load to the caller, where the thread sanitizer sees it */
    return *(const volatile uint32_t *)&annex->countdown == 0 &&
        !(__atomic_load_n(&annex->remote, __ATOMIC_RELAXED) & LM_MAILED);
}

/* Puts a slab that was in the caller's hands, and is no more from here on, on the shelf. */
static void shelf_put(struct lm_span *slab, unsigned size_class)
{
    struct shelf *s = &shelf[size_class];
    const struct lm_annex *annex = lm_slab_annex(slab); /* while it cannot be released */

    lm_pile_push(&s->pile, lm_span_id_of(slab));
    /* it may have become empty just before: then a sweep may have looked for it too early. Who emptied it, let it go,
     * and took the shelf before this push is seen here, by the push's acquire; who takes it later finds it */
    if (shelf_seems_empty(annex))
        __atomic_fetch_add(&s->empties, 1, __ATOMIC_RELAXED);
}

/* Ends a claim. `off`: the slab is in the caller's hands, or is full. The caller then sweeps if that is due. */
static void shelf_finish(struct lm_span *slab, bool off)
{
    unsigned size_class = slab->size_class;
    bool empty, partial;
    uintptr_t notes;

    do {
        empty = shelf_is_empty(slab);
        partial = slab->kind == LM_SLAB_PARTIAL;
        if (off && empty) { /* nobody can leave a note any more: nothing is mailed, and it is off */
            __atomic_store_n(&slab->owner, NULL, __ATOMIC_RELEASE);
            lm_slab_free(slab);
            return;
        }
        notes = shelf_let_go(slab, NULL);
        if (notes & LM_TAG_MAIL)
            off |= shelf_collect(slab);
        if (notes & LM_TAG_OFF)
            off = true;
    } while (notes);
    if (off && partial)
        shelf_put(slab, size_class);
    else if (empty)
        __atomic_fetch_add(&shelf[size_class].empties, 1, __ATOMIC_RELAXED);
}

/* Takes the shelf whole, releases what is empty and puts the rest back. */
static void shelf_sweep(struct shelf *s)
{
    uint32_t id, next;

    __atomic_store_n(&s->empties, 0, __ATOMIC_RELAXED); /* first: what becomes empty from here on counts for the next */
    for (id = lm_pile_take(&s->pile); id; id = next) {
        next = lm_pile_next(&s->pile, id); /* before the note: the slab is then somebody else's */
        if (shelf_claim(lm_span_at(id), LM_TAG_OFF) == SHELF_MINE)
            shelf_finish(lm_span_at(id), true);
    }
}

/* Again, when others have become empty meanwhile, which the sweep may have missed. */
static void shelf_sweep_if_due(unsigned size_class)
{
    struct shelf *s = &shelf[size_class];
    size_t empties;

    while ((empties = __atomic_load_n(&s->empties, __ATOMIC_RELAXED)) != 0 &&
        empties * SHELF_EMPTIES >= lm_pile_count(&s->pile))
        shelf_sweep(s);
}

/* -- seen from adopt.c ------------------------------------------------------------------------------------------------ */

void lm_shelves_add(struct lm_span *slab, unsigned live)
{
    unsigned size_class = slab->size_class;
    bool noted = shelf_enter();

    /* release: pairs with the acquire in lm_slab_owner; the claim keeps deliveries out */
    __atomic_store_n(&slab->owner, (void *)(uintptr_t)LM_TAG_CLAIMED, __ATOMIC_RELEASE);
    shelf_count(slab, live);
    shelf_finish(slab, true);
    shelf_sweep_if_due(size_class);
    shelf_leave(noted);
}

/* The fullest of a few slabs, off the shelf and claimed, or NULL. */
static struct lm_span *shelf_take(unsigned size_class)
{
    struct lm_span *best = NULL;
    uint32_t id;

    for (int looks = 0; looks < SHELF_LOOKS && (id = lm_pile_pop(&shelf[size_class].pile)) != 0;) {
        struct lm_span *slab = lm_span_at(id), *other;

        if (shelf_claim(slab, LM_TAG_OFF) != SHELF_MINE)
            continue; /* who is at it puts it back */
        looks++;
        other = best && lm_slab_annex(best)->countdown >= lm_slab_annex(slab)->countdown ? slab : best;
        best = other == slab ? best : slab;
        if (other)
            shelf_finish(other, true);
    }
    return best;
}

struct lm_span *lm_shelves_take(struct lm_heap *heap, unsigned size_class)
{
    struct lm_span *slab;
    bool noted;

    if (lm_pile_is_empty(&shelf[size_class].pile))
        return NULL;
    noted = shelf_enter();
    slab = shelf_take(size_class);
    if (slab) {
        while (shelf_let_go(slab, lm_heap_tag(heap)))
            shelf_collect(slab); /* MAIL: a delivery that came meanwhile */
    }
    shelf_sweep_if_due(size_class);
    shelf_leave(noted);
    return slab;
}

bool lm_shelves_receive(struct lm_span *slab)
{
    bool noted = shelf_enter();
    enum shelf_claim claim = shelf_claim(slab, LM_TAG_MAIL);

    if (claim == SHELF_MINE) {
        unsigned size_class = slab->size_class;
        bool off = slab->kind == LM_SLAB_FULL;

        shelf_collect(slab);
        shelf_finish(slab, off);
        shelf_sweep_if_due(size_class);
    }
    shelf_leave(noted);
    return claim != SHELF_NO_ORPHAN;
}

void *lm_shelves_malloc(unsigned size_class)
{
    bool noted = shelf_enter();
    struct lm_span *slab = shelf_take(size_class);
    void *p = NULL;

    if (!slab)
        slab = lm_orphans_make(size_class, (void *)(uintptr_t)LM_TAG_CLAIMED);
    if (slab) {
        unsigned live = lm_slab_annex(slab)->countdown;

        p = lm_orphans_pop(slab);
        shelf_count(slab, live + 1);
        shelf_finish(slab, true);
        shelf_sweep_if_due(size_class);
    }
    shelf_leave(noted);
    return p;
}

void lm_shelves_trim(void)
{
    bool noted = shelf_enter();

    for (unsigned c = 0; c < LM_CLASSES; c++)
        if (__atomic_load_n(&shelf[c].empties, __ATOMIC_RELAXED))
            shelf_sweep(&shelf[c]);
    shelf_leave(noted);
}

void lm_shelves_after_fork(void)
{
    lm_stm_reset();
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        lm_pile_reset(&shelf[c].pile);
        shelf[c].empties = 0;
    }
}

/* Each slab is taken off, looked at, and put back, because others may be at it. */
int lm_shelves_check(void)
{
    bool noted = shelf_enter();
    int fault = 0;

    for (unsigned c = 0; c < LM_CLASSES; c++)
        for (uint32_t next, id = lm_pile_take(&shelf[c].pile); id; id = next) {
            struct lm_span *slab = lm_span_at(id);
            enum shelf_claim claim;

            next = lm_pile_next(&shelf[c].pile, id);
            claim = shelf_claim(slab, LM_TAG_OFF);
            if (claim == SHELF_NO_ORPHAN)
                fault = __LINE__;
            if (claim != SHELF_MINE)
                continue;
            if (!fault)
                fault = slab->kind != LM_SLAB_PARTIAL || slab->size_class != c ? __LINE__ : lm_slab_check(slab);
            shelf_finish(slab, true);
        }
    shelf_leave(noted);
    return fault;
}
