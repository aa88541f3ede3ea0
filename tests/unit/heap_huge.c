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
    assert_true(lm_fake_calls(LM_OS_MAP) + lm_fake_calls(LM_OS_REMAP) <= steps / 2 + 2); /* of which one is for the registry */
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
        cmocka_unit_test(does_without_spare), cmocka_unit_test(too_much_is_refused)};

    lm_heap_start();
    lm_heap_configure();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
