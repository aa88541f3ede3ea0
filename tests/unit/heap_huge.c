/* Blocks with mappings of their own that realloc makes larger: few calls, whatever the step; and none of it if the address space to
 * spare is refused. */
#include "heap/room.h"
#include "os/fake.h"
#include "unit.h"

#include <string.h>

enum { FIRST = 300 << 10, MOST = 64 << 20, STEP = 4096 };

/* Makes the block larger, marks its new end, and finds the marks from before. */
static char *grow(char *p, size_t from, size_t size)
{
    char *q = lm_heap_realloc(p, size);

    assert_non_null(q);
    assert_true(lm_heap_usable(q) >= size);
    assert_int_equal(q[0], 7);
    assert_int_equal(q[from - 1], 7);
    q[size - 1] = 7;
    return q;
}

static char *start(size_t size)
{
    char *p = lm_heap_malloc(size, NULL);

    assert_non_null(p);
    p[0] = p[size - 1] = 7;
    return p;
}

static void grows_by_halves(void **state)
{
    char *p = start(FIRST);
    unsigned steps = 0;

    (void)state;
    lm_fake_reset();
    for (size_t size = FIRST; size < MOST; size += size / 2, steps++)
        p = grow(p, size, size + size / 2);
    assert_true(
        lm_fake_calls(LM_OS_MAP) + lm_fake_calls(LM_OS_REMAP) <= steps / 2 + 2); /* of which one is for the registry */
    lm_heap_free(p);
}

static void grows_by_pages(void **state)
{
    char *p = start(FIRST);

    (void)state;
    lm_fake_reset();
    for (size_t size = FIRST; size < 10 * FIRST; size += STEP)
        p = grow(p, size, size + STEP);
    assert_true(lm_fake_calls(LM_OS_MAP) + lm_fake_calls(LM_OS_REMAP) < 24);
    lm_heap_free(p);
}

static void does_without_spare(void **state)
{
    enum { LITTLE = 128 << 10 };
    char *blocker, *p;

    (void)state;
    p = start(FIRST);
    blocker = start(FIRST); /* behind it, so that it has to move */
    lm_fake_reset();
    lm_fake_limit_bytes(lm_fake_mapped_bytes() + 2 * FIRST + LITTLE);
    p = grow(p, FIRST, 2 * FIRST);
    lm_fake_limit_bytes(lm_fake_mapped_bytes() + 2 * FIRST + LITTLE);
    p = grow(p, 2 * FIRST, 4 * FIRST);
    assert_true(lm_fake_calls(LM_OS_REMAP) >= 2); /* the first was refused */
    lm_fake_limit_bytes(lm_fake_mapped_bytes());
    assert_null(lm_heap_realloc(p, MOST)); /* nor is there room in the arena for that */
    assert_int_equal(p[4 * FIRST - 1], 7); /* as it was */
    lm_fake_reset();
    lm_heap_free(p);
    lm_heap_free(blocker);
}

/* One of the blocks that another follows too soon for it to become twice as large in place; its place in `block`. */
static unsigned hemmed_in(char *block[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        block[i] = start(FIRST);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < count; j++)
            if (block[j] > block[i] && block[j] < block[i] + 2 * FIRST)
                return i;
    fail_msg("no two blocks near each other");
    return 0;
}

/* A block that outgrows its place in the arena takes its memory along; its place is clean again, at once. */
static void moves_out_of_the_arena(void **state)
{
    enum { BLOCKS = 16 };
    char *block[BLOCKS], *p, *q;
    unsigned i = hemmed_in(block, BLOCKS);
    struct lm_page_stats before, after;

    (void)state;
    p = block[i];
    memset(p, 7, FIRST);
    lm_fake_reset();
    lm_page_stats(&before);
    q = block[i] = grow(p, FIRST, 2 * FIRST);
    lm_page_stats(&after);
    assert_null(lm_span_of(q));
    for (size_t at = 0; at < FIRST; at++)
        assert_int_equal(q[at], 7);
    assert_true(after.used_bytes < before.used_bytes);
    if (lm_fake_calls(LM_OS_MAP) == 0) { /* as it is where the kernel moves memory; else it was copied */
        assert_int_equal(after.dirty_bytes, before.dirty_bytes);
        for (size_t at = 0; at < FIRST; at++)
            assert_int_equal(p[at], 0);
    }
    assert_int_equal(lm_page_check(), 0);
    assert_int_equal(lm_heap_check(), 0);
    for (i = 0; i < BLOCKS; i++)
        lm_heap_free(block[i]);
}

/* Whatever of it is refused, the block becomes larger, or stays as it is. */
static void moves_or_is_copied(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        char *p = start(FIRST), *blocker = start(FIRST);

        lm_fake_reset();
        lm_fake_fail_nth(LM_OS_REMAP, n);
        p = grow(p, FIRST, 2 * FIRST);
        lm_fake_reset();
        assert_int_equal(lm_page_check(), 0);
        assert_int_equal(lm_heap_check(), 0);
        lm_heap_free(p);
        lm_heap_free(blocker);
    }
}

/* Sizes at the end of what there are: an error, not a wrap-around. */
static void too_much_is_refused(void **state)
{
    char *p = start(FIRST);

    (void)state;
    for (unsigned shift = 46; shift < 64; shift++)
        for (size_t less = 0; less <= LM_GRANULE; less += LM_GRANULE / 4) {
            assert_null(lm_heap_realloc(p, ((size_t)1 << shift) - less));
            assert_int_equal(p[FIRST - 1], 7);
        }
    p = grow(p, FIRST, 2 * FIRST);
    assert_null(lm_heap_realloc(p, PTRDIFF_MAX - LM_GRANULE));
    assert_int_equal(p[2 * FIRST - 1], 7);
    lm_heap_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(grows_by_halves), cmocka_unit_test(grows_by_pages),
        cmocka_unit_test(does_without_spare), cmocka_unit_test(moves_out_of_the_arena),
        cmocka_unit_test(moves_or_is_copied), cmocka_unit_test(too_much_is_refused)};

    lm_heap_start();
    lm_heap_configure();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
