/* Memory ahead of objects: slabs of a class that has grown, in a heap that has grown, are populated in steps, those of others never. */
#include "heap/room.h"
#include "lists.h"
#include "unit.h"

#include <string.h>

enum { SIZE = 200, OTHER = 400, MOST = 40, FAR = 64 };

/* Fresh slabs of the class, each with all of its objects taken; how many of them were AHEAD. */
static unsigned grow(size_t size, unsigned slabs)
{
    unsigned c = lm_class_for(size), ahead = 0;
    struct lm_span *seen = NULL;

    for (unsigned made = 0; made < slabs;) {
        char *p = lm_heap_malloc(size, NULL);
        struct lm_span *slab = lm_span_of(p);

        assert_non_null(p);
        memset(p, 1, size);
        if (slab == seen)
            continue;
        seen = slab;
        made++;
        assert_int_equal(lm_slab_check(slab), 0);
        assert_int_equal(slab->size_class, c);
        ahead += (slab->flags & LM_SLAB_AHEAD) != 0;
    }
    return ahead;
}

/* However often its slabs come and go. */
static void not_in_a_small_heap(void **state)
{
    enum { TIMES = 20, SLABS = 10, OBJECTS = SLABS * LM_GRANULE / OTHER };
    static char *held[OBJECTS];

    (void)state;
    lm_config.prefault_bytes = 16 << 10;
    for (int i = 0; i < TIMES; i++) {
        for (int j = 0; j < OBJECTS; j++) {
            held[j] = lm_heap_malloc(OTHER, NULL);
            assert_non_null(held[j]);
            assert_false(((struct lm_span *)lm_span_of(held[j]))->flags & LM_SLAB_AHEAD);
        }
        for (int j = 0; j < OBJECTS; j++)
            lm_heap_free(held[j]);
    }
    assert_int_equal(grow(SIZE, FAR - SLABS - 2), 0);
    assert_true(lm_heap_mine()->made > FAR);
}

static void classes_that_grow(void **state)
{
    (void)state;
    lm_config.prefault_bytes = 16 << 10;
    assert_true(grow(SIZE, FAR) > 0);
    assert_int_equal(grow(SIZE, MOST), MOST);
    assert_int_equal(grow(4 * OTHER, 8), 0);
    assert_int_equal(grow(4 * OTHER, 3), 2); /* each class by itself */
}

static void nothing_without_the_option(void **state)
{
    (void)state;
    lm_config.prefault_bytes = 0;
    assert_int_equal(grow(2 * OTHER, MOST), 0);
}

/* Memory that was in use before is there already. */
static void not_what_was_dirty(void **state)
{
    enum { BLOCKS = 20 };
    char *held[BLOCKS];
    bool zeroed;

    (void)state;
    lm_config.prefault_bytes = 16 << 10;
    lm_config.dirty_bytes = (size_t)1 << 30;
    assert_true(grow(3 * OTHER, 10) > 0);
    for (int i = 0; i < BLOCKS; i++)
        held[i] = lm_large_malloc(LM_GRANULE, 1, &zeroed);
    for (int i = 0; i < BLOCKS; i++)
        lm_heap_free(held[i]);
    assert_true(grow(3 * OTHER, 10) < 10);
}

static size_t advised_bytes(void)
{
    struct lm_os_counter counters[LM_OS_CALLS];

    lm_os_counters(counters);
    return counters[LM_OS_ADVISE].bytes;
}

/* A block that grows by small steps asks for huge pages, whole ones, once it is large; and keeps what is in it. */
static void blocks_that_grow(void **state)
{
    enum { STEP = 300 << 10, UPTO = 20 << 20, LARGE = 8 << 20 };
    size_t page = lm_os_page_size(), bytes = lm_align_up(STEP, page), before;
    char *p = lm_huge_malloc(bytes, 0, 1);

    (void)state;
    assert_non_null(p);
    memset(p, 7, STEP);
    for (size_t size = 2 * STEP; size < UPTO; size += STEP) {
        lm_config.huge_bytes = size / STEP % 7 ? 1 : 0; /* it may change at any time */
        before = advised_bytes();
        p = lm_huge_resize(p, size);
        assert_non_null(p);
        assert_true(lm_huge_usable(p) >= size);
        assert_true(advised_bytes() == before || (size >= LARGE && lm_config.huge_bytes));
        assert_int_equal((advised_bytes() - before) % LM_HUGE_PAGE, 0);
        for (size_t i = 0; i < size - STEP; i += STEP / 2)
            assert_int_equal(p[i], 7);
        memset(p + size - STEP, 7, STEP);
    }
    assert_true(advised_bytes() > UPTO);
    lm_config.huge_bytes = 0;
    p = lm_huge_resize(p, STEP);
    assert_non_null(p);
    assert_true(lm_huge_free(p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(not_in_a_small_heap), cmocka_unit_test(classes_that_grow),
        cmocka_unit_test(nothing_without_the_option), cmocka_unit_test(not_what_was_dirty),
        cmocka_unit_test(blocks_that_grow)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
