/* cache_magazine.c: magazines, and a depot's lists of them; see cache.h.
 *
 * With lists:mutex a list is a chain under the depot's lock. With lists:lockfree and lists:stm it is a pile (base/pile.h),
 * whose nodes are numbers, so that magazines have numbers then. Those of all caches stand in one table, in pages that are
 * never given back, because a thread may read the link of a magazine that another has taken and freed:
 *
 *   page[0 ...] ──> entry[512]: | link | magazine |         idle: a pile of the numbers that nobody has
 *
 * Invariant (lm_magazines_check): a list's count and room are those of the magazines in it; of a pile this holds only while
 * nobody is at it.
 *
 * Working set (Bonwick and Adams 2001, section 3.4): `least` is the least length that the list has had since it was asked
 * for last. A push counts before it is done and a pop afterwards, so that a count is never below what is there, and a pop
 * that finds nothing notes 0: what is to spare is not found too small, and too large at most by the pushes under way.
 *
 * Fork: a magazine that a vanished thread had in its hands is lost to the child, memory and number; its objects are
 * found again in their slabs. */
#include "block/cache.h"

enum { PAGE_ENTRIES = 512, PAGES = 4096 };

struct magazine_entry {
    uint64_t link; /* of the pile that the number is in */
    struct lm_magazine *magazine;
};

_Static_assert(PAGE_ENTRIES * sizeof(struct magazine_entry) <= LM_META_MOST, "a page comes from lm_meta_take");

static struct magazine_entry *magazine_page[PAGES]; /* atomic */
static uint32_t magazine_numbers;                   /* atomic; given out so far */

/* -- numbers ------------------------------------------------------------------------------------------------------ */

/* Of a number that has been given out. */
static struct magazine_entry *magazine_entry(uint32_t number)
{
    /* acquire: pairs with magazine_add_page */
    return &__atomic_load_n(&magazine_page[number / PAGE_ENTRIES], __ATOMIC_ACQUIRE)[number % PAGE_ENTRIES];
}

static uint64_t *magazine_link(uint32_t number)
{
    return &magazine_entry(number)->link;
}

static struct lm_pile magazine_idle = LM_PILE_INIT(LM_RANK_BLOCK, magazine_link);
static const struct lm_lock magazine_note = LM_LOCK_INIT(LM_RANK_CACHE_DEPOT); /* as in depot_enter */

/* True when the page is there. */
static bool magazine_add_page(struct magazine_entry **page)
{
    size_t bytes = PAGE_ENTRIES * sizeof **page;
    struct magazine_entry *fresh, *seen = NULL;
    struct lm_meta_piece *piece;

    if (__atomic_load_n(page, __ATOMIC_ACQUIRE)) /* pairs with the release below */
        return true;
    fresh = lm_meta_take(bytes);
    if (!fresh)
        return false;
    if (__atomic_compare_exchange_n(page, &seen, fresh, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        return true;
    piece = (void *)fresh; /* another was quicker */
    *piece = (struct lm_meta_piece){NULL, bytes};
    lm_meta_give(piece);
    return true;
}

/* 0: there is no memory, or there are too many. */
static uint32_t magazine_take_number(void)
{
    bool noted = lm_lock_note(&magazine_note);
    uint32_t number = lm_pile_pop(&magazine_idle), most = (uint32_t)PAGES * PAGE_ENTRIES - 1;

    if (noted)
        lm_lock_unnote(&magazine_note);
    if (number)
        return number;
    number = __atomic_load_n(&magazine_numbers, __ATOMIC_RELAXED);
    do
        if (number == most || !magazine_add_page(&magazine_page[(number + 1) / PAGE_ENTRIES]))
            return 0;
    while (
        !__atomic_compare_exchange_n(&magazine_numbers, &number, number + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return number + 1;
}

struct lm_magazine *lm_magazine_new(uint32_t capacity, bool numbered)
{
    struct lm_magazine *m = lm_heap_malloc(sizeof *m + capacity * sizeof m->round[0], NULL);
    uint32_t number;

    if (!m)
        return NULL;
    number = numbered ? magazine_take_number() : 0;
    if (numbered && !number) {
        lm_heap_free(m);
        return NULL;
    }
    *m = (struct lm_magazine){.capacity = capacity, .number = number};
    if (number)
        magazine_entry(number)->magazine = m;
    return m;
}

void lm_magazine_free(struct lm_magazine *m)
{
    if (m && m->number) {
        bool noted = lm_lock_note(&magazine_note);

        lm_pile_push(&magazine_idle, m->number);
        if (noted)
            lm_lock_unnote(&magazine_note);
    }
    lm_heap_free(m);
}

void lm_magazine_free_all(struct lm_magazine *chain)
{
    struct lm_magazine *next;

    for (; chain; chain = next) {
        next = chain->next;
        lm_magazine_free(chain);
    }
}

/* -- lists ---------------------------------------------------------------------------------------------------------- */

void lm_magazines_start(struct lm_magazines *list, bool is_pile)
{
    *list = (struct lm_magazines){.pile = LM_PILE_INIT(LM_RANK_BLOCK, magazine_link), .is_pile = is_pile};
}

size_t lm_magazines_count(const struct lm_magazines *list)
{
    return list->is_pile ? lm_pile_count(&list->pile) : list->count;
}

static void magazines_note(struct lm_magazines *list, size_t count)
{
    size_t least = __atomic_load_n(&list->least, __ATOMIC_SEQ_CST); /* in one order with lm_magazines_spare */

    while (count < least &&
        !__atomic_compare_exchange_n(&list->least, &least, count, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

void lm_magazines_put(struct lm_magazines *list, struct lm_magazine *m)
{
    __atomic_fetch_add(&list->room, m->capacity, __ATOMIC_RELAXED);
    if (list->is_pile) {
        lm_pile_push(&list->pile, m->number);
        return;
    }
    m->next = list->first;
    list->first = m;
    list->count++;
}

struct lm_magazine *lm_magazines_get(struct lm_magazines *list)
{
    struct lm_magazine *m = list->first;
    uint32_t number;

    if (list->is_pile) {
        number = lm_pile_pop(&list->pile);
        m = number ? magazine_entry(number)->magazine : NULL;
    } else if (m) {
        list->first = m->next;
        list->count--;
    }
    magazines_note(list, m ? lm_magazines_count(list) : 0);
    if (m)
        __atomic_fetch_sub(&list->room, m->capacity, __ATOMIC_RELAXED);
    return m;
}

size_t lm_magazines_spare(struct lm_magazines *list)
{
    /* first: a get from here on notes its count, and one before has lowered the count that is read */
    size_t least = __atomic_exchange_n(&list->least, SIZE_MAX, __ATOMIC_SEQ_CST), count = lm_magazines_count(list);

    magazines_note(list, count);
    return lm_min(least, count);
}

/* The magazine after m, or the first; nobody may be at the list. */
struct lm_magazine *lm_magazines_next(const struct lm_magazines *list, const struct lm_magazine *m)
{
    uint32_t number;

    if (!list->is_pile)
        return m ? m->next : list->first;
    number = m ? lm_pile_next(&list->pile, m->number) : lm_pile_top(&list->pile);
    return number ? magazine_entry(number)->magazine : NULL;
}

void lm_magazines_recover(struct lm_magazines *list)
{
    struct lm_magazine *chain = NULL, *m;

    if (!list->is_pile)
        return;
    for (m = lm_magazines_next(list, NULL); m; m = lm_magazines_next(list, m)) {
        m->next = chain;
        chain = m;
    }
    lm_pile_reset(&list->pile);
    list->room = 0;
    for (; chain; chain = chain->next)
        lm_magazines_put(list, chain);
    list->least = lm_min(list->least, lm_magazines_count(list));
}

int lm_magazines_check(const struct lm_magazines *list)
{
    size_t count = 0, room = 0;

    for (const struct lm_magazine *m = NULL; (m = lm_magazines_next(list, m)) != NULL; count++) {
        if (list->is_pile && (!m->number || magazine_entry(m->number)->magazine != m))
            return __LINE__;
        room += m->capacity;
    }
    return count != lm_magazines_count(list) || room != list->room || list->least > count ? __LINE__ : 0;
}
