/* Holes in slabs: pages that no live object lies on go, and come back, beside a shadow that knows which objects live. */
#include "os/fake.h"
#include "slab/slab.h"
#include "unit.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>

static int owner; /* any address will do */

enum { MOST = 4097 };
static bool live[MOST]; /* by number, from 1 */

/* An object out of the slab as its owner takes one, or 0. */
static uint32_t take(struct lm_span *slab)
{
    void *p = lm_slab_pop(slab);
    uint64_t n;

    if (!p && lm_slab_carve(slab, UINT_MAX))
        p = lm_slab_pop(slab);
    if (!p)
        return 0;
    assert_true(lm_slab_number(slab, p, &n));
    assert_false(live[n]);
    live[n] = true;
    memset(p, (int)n | 1, lm_slab_object_size(slab));
    return (uint32_t)n;
}

static void give(struct lm_span *slab, uint32_t n)
{
    unsigned char *p = lm_slab_object(slab, n);

    for (size_t i = 0; i < lm_slab_object_size(slab); i++)
        assert_int_equal(p[i], (n | 1) & 0xff); /* nobody took its pages */
    assert_false(lm_slab_is_free(slab, p));
    lm_slab_put(slab, p);
    slab->flags &= (uint8_t)~LM_SLAB_SWEPT;
    live[n] = false;
}

/* Every page is there exactly when it holds a live object, or none at all was ever carved from it. */
static void check_pages(const struct lm_span *slab, bool punched)
{
    size_t page = lm_os_page_size(), size = lm_slab_object_size(slab), bytes = slab->granules * LM_GRANULE;
    unsigned char present[512];
    unsigned count = lm_slab_count_free(slab);

    assert_int_equal(lm_slab_check(slab), 0);
    for (uint32_t n = 1; n <= slab->carved; n++)
        count += live[n];
    assert_int_equal(count, slab->carved);
    if (!punched)
        return;
    assert_int_equal(mincore(lm_span_start(slab), bytes, present), 0);
    for (size_t p = 0; p < bytes / page; p++) {
        char *from = (char *)lm_span_start(slab) + p * page;
        bool held = false, carved = false;

        for (uint32_t n = 1; n <= slab->carved; n++) {
            char *object = lm_slab_object(slab, n);

            if (object < from + page && object + size > from) {
                held |= live[n];
                carved = true;
            }
        }
        if (carved)
            assert_int_equal(present[p] & 1, held);
    }
}

/* While a free object has all its pages, it is handed out before one that has not. */
static void check_order(const struct lm_span *slab)
{
    size_t page = lm_os_page_size();
    bool holes = false;

    for (uint32_t n = lm_slab_annex(slab)->head; n; n = lm_slab_link(slab, n)) {
        char *from = (char *)lm_align_down((uintptr_t)lm_slab_object(slab, n), page);
        char *to = (char *)lm_slab_object(slab, n) + lm_slab_object_size(slab);
        unsigned char present[512];
        bool whole = true;

        assert_int_equal(mincore(from, (size_t)(to - from), present), 0);
        for (size_t p = 0; p < ((size_t)(to - from) + page - 1) / page; p++)
            whole &= present[p] & 1;
        assert_false(whole && holes);
        holes |= !whole;
    }
}

static void one_class(unsigned size_class, uint64_t *seed)
{
    struct lm_span *slab = lm_slab_create(size_class, (unsigned)unit_below(seed, 100), &owner);
    unsigned capacity = lm_slab_capacity(slab), alive = 0;

    assert_true(capacity < MOST);
    memset(live, 0, sizeof live);
    for (unsigned round = 0; round < 12; round++) {
        unsigned wanted = (unsigned)unit_below(seed, capacity + 1);

        while (alive < wanted && take(slab))
            alive++;
        assert_true(alive >= wanted);
        for (uint32_t n = 1; n <= slab->carved; n++)
            if (live[n] && unit_below(seed, 4) != 0) {
                give(slab, n);
                alive--;
            }
        check_pages(slab, false);
        lm_slab_punch(slab);
        check_pages(slab, true);
        check_order(slab);
        assert_int_equal(lm_slab_punch(slab), 0); /* nothing was freed since */
    }
    while (take(slab))
        alive++;
    assert_int_equal(alive, capacity); /* every object came back */
    for (uint32_t n = 1; n <= capacity; n++)
        give(slab, n);
    lm_slab_free(slab);
}

/* Frees all live objects but each `keep`-th, of a slab that stands in a partial list. */
static void thin(struct lm_span *slab, unsigned keep)
{
    for (uint32_t n = 1; n <= slab->carved; n++)
        if (live[n] && n % keep != 0)
            give(slab, n);
}

/* The bytes that a look returns. */
static size_t look(struct lm_span *slab, enum lm_look how)
{
    struct lm_holes holes;

    lm_holes_start(&holes);
    lm_slab_look(slab, how, &holes);
    lm_holes_return(&holes);
    assert_false(holes.refused);
    return holes.returned;
}

/* A slab of a list is looked at: it gives pages when it is idle, or (need) nearly empty; not when nothing was freed since it
 * did, nor for a page or two; and after it has been allocated from, anew. */
static void looks_before_it_punches(void **state)
{
    struct lm_span *slab = lm_slab_create(lm_class_of(1024), 0, &owner);
    unsigned alive = 0;

    (void)state;
    memset(live, 0, sizeof live);
    while (take(slab))
        alive++;
    slab->kind = LM_SLAB_PARTIAL;
    lm_slab_annex(slab)->countdown = (uint16_t)alive;
    assert_int_equal(look(slab, LM_LOOK_ALL), 0); /* full */
    for (uint32_t n = 1; n <= 24; n++) {
        give(slab, n);
        assert_int_equal(look(slab, LM_LOOK_IDLE), 0); /* not known to be idle */
        assert_int_equal(look(slab, LM_LOOK_NEED), 0); /* nor nearly empty */
    }
    assert_true(look(slab, LM_LOOK_IDLE) > 0); /* none was freed since the last look */
    assert_int_equal(look(slab, LM_LOOK_IDLE), 0);
    assert_int_equal(look(slab, LM_LOOK_ALL), 0);
    check_pages(slab, true);
    give(slab, 25);
    assert_int_equal(look(slab, LM_LOOK_NEED), 0); /* one object is not seven in eight */
    thin(slab, 16);
    assert_true(look(slab, LM_LOOK_NEED) > 0);
    check_pages(slab, true);
    check_order(slab);
    assert_int_equal(look(slab, LM_LOOK_NEED), 0);
    lm_slab_unlook(slab);
    slab->kind = LM_SLAB_CURRENT;
    while (take(slab))
        ;
    slab->kind = LM_SLAB_PARTIAL;
    lm_slab_annex(slab)->countdown = slab->carved;
    thin(slab, 16);
    assert_true(look(slab, LM_LOOK_ALL) > 0);
    check_pages(slab, true);
    thin(slab, UINT32_MAX);
    lm_slab_free(slab);
}

/* Holes of many slabs go by few calls; what is refused among them stays as it was, and is not counted as returned. */
static void slabs_share_a_call(void **state)
{
    enum { SLABS = 12 };
    struct lm_span *slab[SLABS];
    static bool lives[SLABS][MOST];
    struct lm_holes holes;
    size_t page = lm_os_page_size(), returned = 0;

    (void)state;
    if (page > 4096)
        skip(); /* no page would be free of live objects */
    for (int refuse = 0; refuse <= 1; refuse++) {
        for (int i = 0; i < SLABS; i++) {
            slab[i] = lm_slab_create(lm_class_of(512), 0, &owner);
            memset(live, 0, sizeof live);
            while (take(slab[i]))
                ;
            slab[i]->kind = LM_SLAB_PARTIAL;
            lm_slab_annex(slab[i])->countdown = slab[i]->carved;
            thin(slab[i], 17);
            memcpy(lives[i], live, sizeof live);
        }
        lm_fake_reset();
        if (refuse)
            lm_fake_hold(lm_slab_object(slab[5], 34 + 8)); /* a page that holds none of those that live */
        lm_holes_start(&holes);
        for (int i = 0; i < SLABS; i++)
            lm_slab_look(slab[i], LM_LOOK_ALL, &holes);
        lm_holes_return(&holes);
        assert_int_equal(holes.refused, refuse);
        assert_true(lm_fake_calls(LM_OS_PURGE) <= 6);
        if (!refuse)
            returned = holes.returned;
        else
            assert_true(holes.returned < returned && holes.returned + 4 * page >= returned);
        for (int i = 0; i < SLABS; i++) {
            memcpy(live, lives[i], sizeof live);
            check_pages(slab[i], !refuse || i != 5);
            if (!refuse || i != 5)
                check_order(slab[i]);
            thin(slab[i], UINT32_MAX);
            slab[i]->kind = LM_SLAB_CURRENT;
            lm_slab_free(slab[i]);
        }
    }
    lm_fake_reset();
}

static void punches_and_fills(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c++)
        one_class(c, &seed);
    assert_int_equal(lm_page_check(), 0);
}

/* With fewer classes every size still fits, and none is wasted on classes that are left out. */
static void classes_may_be_fewer(void **state)
{
    (void)state;
    for (unsigned in_a_doubling = 16; in_a_doubling; in_a_doubling /= 2) {
        bool used[LM_CLASSES] = {false};
        unsigned count = 0;

        lm_class_space(in_a_doubling);
        for (size_t size = 0; size <= LM_SLAB_MAX; size++) {
            unsigned c = lm_class_for(size);

            assert_true(c < LM_CLASSES && lm_class[c].size >= size);
            assert_int_equal(lm_class_serving[c], c);
            used[c] = true;
        }
        for (unsigned c = 0; c < LM_CLASSES; c++)
            count += used[c];
        assert_int_equal(count, 16 + 8 * in_a_doubling);
    }
    lm_class_space(8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(punches_and_fills), cmocka_unit_test(looks_before_it_punches),
        cmocka_unit_test(slabs_share_a_call), cmocka_unit_test(classes_may_be_fewer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
