#include "slab/slab.h"
#include "unit.h"

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

        for (char *p = start; p < start + LM_GRANULE; p++)
            if (lm_slab_on_boundary(slab, p) != (p >= slab->first && (size_t)(p - slab->first) % size == 0))
                fail_msg("size %zu, offset %td", size, p - start);
        assert_int_equal((uintptr_t)slab->first % (size & -size), 0); /* natural alignment */
        lm_span_free(slab);
    }
}

static void colours_differ(void **state)
{
    unsigned c = lm_class_of(1100);
    struct lm_span *a = lm_slab_create(c, 0, &owner), *b = lm_slab_create(c, 1, &owner);

    (void)state;
    assert_true(lm_class[c].colours > 1);
    assert_true(a->first - (char *)lm_span_start(a) != b->first - (char *)lm_span_start(b));
    lm_span_free(a);
    lm_span_free(b);
}

static void carves_all_once(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c += 7) {
        struct lm_span *slab = lm_slab_create(c, c, &owner);
        char *before = NULL;
        unsigned count = 0;

        while (lm_slab_carve(slab)) {
            assert_int_equal(lm_slab_check(slab), 0);
            assert_int_equal(lm_slab_count_free(slab), slab->carved - count);
            for (struct lm_object *o = slab->free; o; o = o->next) {
                assert_true(!before || (char *)o == before + lm_class[c].size); /* neighbours in order */
                before = (char *)o;
                count++;
            }
            slab->free = NULL;
        }
        assert_int_equal(count, lm_class[c].capacity);
        bool zeroed;
        assert_null(lm_slab_carve_one(slab, &zeroed));
        lm_span_free(slab);
    }
}

static void remote_lists_come_home(void **state)
{
    struct lm_span *slab = lm_slab_create(3, 0, &owner);
    struct lm_object *a, *b, *c;

    (void)state;
    assert_true(lm_slab_carve(slab));
    a = slab->free;
    b = a->next;
    c = b->next;
    slab->free = c->next;
    lm_object_link(a, NULL);
    lm_object_link(b, a);
    assert_true(lm_slab_push_remote(slab, b, a)); /* the first push takes the mailed bit */
    assert_false(lm_slab_push_remote(slab, c, c));
    assert_true(lm_slab_is_mailed(slab));
    assert_int_equal(lm_slab_collect(slab, false), 3);
    assert_true(lm_slab_is_mailed(slab)); /* still on its way */
    assert_int_equal(lm_slab_check(slab), 0);
    assert_int_equal(lm_slab_count_free(slab), slab->carved);
    assert_int_equal(lm_slab_collect(slab, true), 0);
    assert_false(lm_slab_is_mailed(slab));
    assert_true(lm_slab_list_has(slab, b));
    lm_span_free(slab);
}

static void marks_tell(void **state)
{
    struct lm_object pair[2] = {{NULL, 0}, {NULL, 0}};

    (void)state;
    if (!LOAM_HARDENING)
        skip();
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
        cmocka_unit_test(colours_differ), cmocka_unit_test(carves_all_once), cmocka_unit_test(remote_lists_come_home),
        cmocka_unit_test(marks_tell)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
