/* Holes in slabs: pages that no live object lies on go, and come back, beside a shadow that knows which objects live. */
#include "slab/slab.h"
#include "unit.h"

#include <string.h>
#include <sys/mman.h>

static int owner; /* any address will do */

enum { MOST = 4096 };
static bool live[MOST];

static char *object_at(const struct lm_span *slab, unsigned n)
{
    return slab->first + n * lm_slab_object_size(slab);
}

/* An object out of the slab as its owner takes one, or -1. */
static int take(struct lm_span *slab)
{
    struct lm_object *object;
    unsigned n;

    while (!slab->free && lm_slab_fill(slab))
        ;
    if (!slab->free && !lm_slab_carve(slab))
        return -1;
    object = slab->free;
    assert_true(lm_object_is_marked(object));
    slab->free = object->next;
    object->mark = 0;
    n = (unsigned)((size_t)((char *)object - slab->first) / lm_slab_object_size(slab));
    assert_false(live[n]);
    live[n] = true;
    memset(object, (int)n | 1, lm_slab_object_size(slab));
    return (int)n;
}

static void give(struct lm_span *slab, unsigned n)
{
    struct lm_object *object = (struct lm_object *)(void *)object_at(slab, n);

    for (size_t i = 0; i < lm_slab_object_size(slab); i++)
        assert_int_equal(((unsigned char *)object)[i], (n | 1) & 0xff); /* nobody took its pages */
    assert_false(lm_slab_is_absent(slab, object));
    lm_object_link(object, slab->free);
    slab->free = object;
    live[n] = false;
}

/* Every page is there exactly when it holds a live object, or has an object that is listed as free, or none at all. */
static void check_pages(const struct lm_span *slab, bool punched)
{
    size_t page = lm_os_page_size(), size = lm_slab_object_size(slab), bytes = slab->granules * LM_GRANULE;
    unsigned char present[512];
    unsigned count = lm_slab_count_free(slab) + lm_slab_absent(slab);

    assert_int_equal(lm_slab_check(slab), 0);
    for (unsigned n = 0; n < slab->carved; n++)
        count += live[n];
    assert_int_equal(count, slab->carved);
    if (!punched)
        return;
    assert_int_equal(mincore(lm_span_start(slab), bytes, present), 0);
    for (size_t p = 0; p < bytes / page; p++) {
        char *from = (char *)lm_span_start(slab) + p * page;
        bool held = false, carved = false;

        for (unsigned n = 0; n < slab->carved; n++)
            if (object_at(slab, n) < from + page && object_at(slab, n) + size > from) {
                held |= live[n];
                carved = true;
            }
        if (carved)
            assert_int_equal(present[p] & 1, held);
    }
}

static void one_class(unsigned size_class, uint64_t *seed)
{
    struct lm_span *slab = lm_slab_create(size_class, (unsigned)unit_below(seed, 100), &owner);
    unsigned capacity = slab->capacity, alive = 0;

    assert_true(capacity <= MOST);
    memset(live, 0, sizeof live);
    for (unsigned round = 0; round < 12; round++) {
        unsigned wanted = (unsigned)unit_below(seed, capacity + 1);

        while (alive < wanted && take(slab) >= 0)
            alive++;
        assert_true(alive >= wanted);
        for (unsigned n = 0; n < slab->carved; n++)
            if (live[n] && unit_below(seed, 4) != 0) {
                give(slab, n);
                alive--;
            }
        check_pages(slab, false);
        lm_slab_punch(slab);
        check_pages(slab, true);
        assert_int_equal(lm_slab_punch(slab), 0); /* nothing is left to return */
    }
    while (take(slab) >= 0)
        alive++;
    assert_int_equal(alive, capacity); /* every object came back */
    for (unsigned n = 0; n < capacity; n++)
        give(slab, n);
    lm_span_free(slab);
}

static void punches_and_fills(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c++)
        one_class(c, &seed);
    assert_int_equal(lm_page_check(), 0);
}

/* Objects that are absent are known to be free. */
static void knows_the_absent(void **state)
{
    struct lm_span *slab = lm_slab_create(lm_class_of(1024), 0, &owner);
    int n = 0, kept = -1;

    (void)state;
    memset(live, 0, sizeof live);
    for (int i = 0; i < 16 && (n = take(slab)) >= 0; i++)
        kept = i ? kept : n;
    for (unsigned i = 0; i < slab->carved; i++)
        if (live[i] && (int)i != kept)
            give(slab, i);
    assert_true(lm_slab_punch(slab) > 0);
    for (unsigned i = 0; i < slab->carved; i++) {
        bool alone = object_at(slab, i) < object_at(slab, (unsigned)kept) + lm_os_page_size();

        if (!alone)
            assert_true(lm_slab_is_absent(slab, object_at(slab, i)));
    }
    assert_false(lm_slab_is_absent(slab, object_at(slab, (unsigned)kept)));
}

/* With fewer classes every size still fits, and none is wasted on classes that are left out. */
static void classes_may_be_fewer(void **state)
{
    (void)state;
    for (unsigned in_a_doubling = 8; in_a_doubling; in_a_doubling /= 2) {
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
        assert_int_equal(count, 8 + 9 * in_a_doubling);
    }
    lm_class_space(8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(punches_and_fills), cmocka_unit_test(knows_the_absent),
        cmocka_unit_test(classes_may_be_fewer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
