#include "slab/slab.h"
#include "unit.h"

#include <limits.h>
#include <string.h>

static int owner; /* any address will do */

static void classes_fit(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        const struct lm_class *class = &lm_class[c];
        size_t bytes = class->granules * LM_GRANULE;

        assert_int_equal(class->size % 16, 0);
        assert_true(class->capacity * class->size <= bytes);
        assert_true((size_t)(class->colours - 1) * class->colour_step + class->capacity * class->size <= bytes);
        if (c >= 8)
            assert_true(class->size - lm_class[c - 1].size <= lm_class[c - 1].size / 8);
        if (class->size > 8192)
            assert_true(class->capacity >= 8);
    }
    assert_int_equal(lm_class[LM_CLASSES - 1].size, LM_SLAB_MAX);
    for (size_t size = 0; size <= LM_SLAB_MAX; size++) {
        unsigned c = lm_class_of(size);

        assert_true(lm_class[c].size >= size);
        assert_true(c == 0 || lm_class[c - 1].size < size);
    }
}

/* Every address of a granule, for every class: the multiplication agrees with a division. */
static void boundaries_are_exact(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = lm_slab_create(c, c, &owner);
        size_t size = lm_class[c].size;
        char *start = lm_span_start(slab);

        for (char *p = start; p < start + LM_GRANULE; p++) {
            char *first = lm_slab_object(slab, 1);
            bool starts = p >= first && (size_t)(p - first) % size == 0;
            uint64_t n;

            if ((lm_slab_number(slab, p, &n) && n != 0) != starts)
                fail_msg("size %zu, offset %td", size, p - start);
            if (starts)
                assert_ptr_equal(lm_slab_object(slab, (uint32_t)n), p);
        }
        assert_int_equal((uintptr_t)slab->origin % (size & -size), 0); /* natural alignment */
        lm_slab_free(slab);
    }
}

static void colours_differ(void **state)
{
    unsigned c = lm_class_of(1100);
    struct lm_span *a = lm_slab_create(c, 0, &owner), *b = lm_slab_create(c, 1, &owner);

    (void)state;
    assert_true(lm_class[c].colours > 1);
    assert_true(a->origin - (char *)lm_span_start(a) != b->origin - (char *)lm_span_start(b));
    lm_slab_free(a);
    lm_slab_free(b);
}

/* The next object: from the list, or carved. */
static void *take(struct lm_span *slab)
{
    void *p = lm_slab_pop(slab);
    bool zeroed;

    if (!p && lm_slab_object_size(slab) >= lm_os_page_size())
        p = lm_slab_carve_one(slab, &zeroed);
    else if (!p && lm_slab_carve(slab, UINT_MAX))
        p = lm_slab_pop(slab);
    return p;
}

/* Every object once, in the order of their addresses; and again when they have been put back. */
static void hands_out_all_once(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c += 7) {
        struct lm_span *slab = lm_slab_create(c, c, &owner);
        unsigned capacity = lm_class[c].capacity;

        for (int round = 0; round < 2; round++) {
            for (uint32_t n = 1; n <= capacity; n++) {
                void *p = take(slab);

                assert_ptr_equal(p, lm_slab_object(slab, n));
                assert_false(lm_slab_is_free(slab, p));
                assert_int_equal(lm_slab_check(slab), 0);
                assert_int_equal(lm_slab_count_free(slab), slab->carved - n);
            }
            assert_null(take(slab));
            for (uint32_t n = capacity; n >= 1; n--) {
                lm_slab_put(slab, lm_slab_object(slab, n));
                assert_true(lm_slab_is_free(slab, lm_slab_object(slab, n)));
            }
            assert_int_equal(lm_slab_check(slab), 0);
        }
        lm_slab_free(slab);
    }
}

/* Random takes and puts beside a table that knows what is live; a list that was lost is made anew from the links. */
static void takes_what_is_free(void **state)
{
    enum { SIZE_CLASS = 5, STEPS = 20000 };
    struct lm_span *slab = lm_slab_create(SIZE_CLASS, 1, &owner);
    unsigned capacity = lm_class[SIZE_CLASS].capacity, live = 0;
    static char is_live[4097];
    uint64_t seed = unit_seed(), n;

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        if (unit_below(&seed, 2) || live == 0) {
            char *p = take(slab);

            assert_true(!p == (live == capacity));
            if (p) {
                assert_true(lm_slab_number(slab, p, &n));
                assert_false(is_live[n]);
                is_live[n] = 1;
                live++;
            }
        } else {
            n = 1 + unit_below(&seed, capacity);
            assert_int_equal(lm_slab_is_free(slab, lm_slab_object(slab, (uint32_t)n)), !is_live[n]);
            if (is_live[n]) {
                lm_slab_put(slab, lm_slab_object(slab, (uint32_t)n));
                is_live[n] = 0;
                live--;
            }
        }
        if (unit_below(&seed, 50) == 0) {
            slab->head = 0;
            lm_slab_rebuild(slab);
        }
        assert_int_equal(lm_slab_count_free(slab), slab->carved - live);
        assert_int_equal(lm_slab_check(slab), 0);
    }
    lm_slab_free(slab);
}

static void remote_lists_come_home(void **state)
{
    struct lm_span *slab = lm_slab_create(3, 0, &owner);
    struct lm_object *a = take(slab), *b = take(slab), *c = take(slab);

    (void)state;
    assert_false(lm_slab_is_awaited(slab));
    lm_slab_open_bucket(slab);
    assert_true(lm_slab_is_awaited(slab));
    lm_object_link(a, NULL);
    lm_object_link(b, a);
    assert_true(lm_slab_push_remote(slab, b, a, true)); /* the first push takes the mailed bit */
    assert_false(lm_slab_push_remote(slab, c, c, false));
    assert_true(lm_slab_is_mailed(slab));
    assert_int_equal(lm_slab_collect(slab, false), 3);
    assert_true(lm_slab_is_mailed(slab)); /* still on its way */
    assert_int_equal(lm_slab_check(slab), 0);
    assert_int_equal(lm_slab_count_free(slab), slab->carved);
    assert_true(lm_slab_is_free(slab, b));
    assert_false(lm_object_is_marked(b)); /* or its next owner's free would be suspected */
    assert_int_equal(lm_slab_collect(slab, true), 0);
    assert_false(lm_slab_is_mailed(slab));
    assert_false(lm_slab_is_awaited(slab));
    lm_slab_free(slab);
}

/* Buckets of several threads are counted beside the list, and a fork's child forgets them alone. */
static void buckets_are_counted(void **state)
{
    struct lm_span *slab = lm_slab_create(3, 0, &owner);
    struct lm_object *a = take(slab);

    (void)state;
    lm_slab_open_bucket(slab);
    lm_slab_open_bucket(slab);
    assert_true(lm_slab_push_remote(slab, a, a, true));
    assert_int_equal(lm_slab_collect(slab, true), 1);
    assert_true(lm_slab_is_awaited(slab)); /* the other bucket */
    assert_false(lm_slab_is_mailed(slab));
    lm_slab_forget_buckets(slab);
    assert_false(lm_slab_is_awaited(slab));
    lm_slab_free(slab);
}

static void marks_tell(void **state)
{
    struct lm_object pair[2] = {{NULL, 0}, {NULL, 0}};

    (void)state;
    lm_secret = 0x1234567890abcdef;
    lm_object_link(&pair[0], &pair[1]);
    assert_true(lm_object_is_marked(&pair[0]));
    assert_false(lm_object_is_marked(&pair[1]));
    pair[1] = pair[0]; /* a copied mark proves nothing */
    assert_false(lm_object_is_marked(&pair[1]));
    pair[0].next = NULL; /* an overwritten link shows */
    assert_false(lm_object_is_marked(&pair[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(classes_fit), cmocka_unit_test(boundaries_are_exact),
        cmocka_unit_test(colours_differ), cmocka_unit_test(hands_out_all_once), cmocka_unit_test(takes_what_is_free),
        cmocka_unit_test(remote_lists_come_home), cmocka_unit_test(buckets_are_counted), cmocka_unit_test(marks_tell)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
