/* The operating system that fails on demand does so when told, and is the real one otherwise. */
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static size_t page;

static int reset(void **state)
{
    (void)state;
    lm_fake_reset();
    page = lm_os_page_size();
    return 0;
}

/* One map, given back at once; true when it was granted. */
static bool maps(void)
{
    void *p;

    errno = 0;
    p = lm_os_map(page, page);
    if (!p) {
        assert_int_equal(errno, ENOMEM);
        return false;
    }
    assert_true(lm_os_unmap(p, page));
    return true;
}

static void fails_the_nth(void **state)
{
    (void)state;
    assert_true(maps());
    lm_fake_fail_nth(LM_OS_MAP, 2); /* counted from now on */
    assert_true(maps());
    assert_false(maps());
    assert_true(maps());
    assert_int_equal(lm_fake_calls(LM_OS_MAP), 4); /* failed ones included */
    assert_int_equal(lm_fake_calls(LM_OS_UNMAP), 3);
    lm_fake_fail_nth(LM_OS_MAP, 1);
    lm_fake_fail_nth(LM_OS_MAP, 0);
    assert_true(maps());
}

static void fails_from(void **state)
{
    (void)state;
    lm_fake_fail_from(LM_OS_MAP, 2);
    assert_true(maps());
    for (int i = 0; i < 5; i++)
        assert_false(maps());
    lm_fake_fail_from(LM_OS_MAP, 0);
    assert_true(maps());
}

static void fails_every(void **state)
{
    (void)state;
    lm_fake_fail_every(LM_OS_MAP, 3);
    for (int i = 1; i <= 9; i++)
        assert_int_equal(maps(), i % 3 != 0);
}

/* Every kind fails, leaves what it was to change as it was, and other kinds alone. */
static void fails_each_kind(void **state)
{
    size_t before = lm_fake_mapped_bytes(), bytes;
    char *reserve = lm_os_reserve(4 * page, page), *mapped = lm_os_map(4 * page, page);

    (void)state;
    bytes = 4 * page;
    assert_non_null(reserve);
    assert_non_null(mapped);
    memset(mapped, 7, bytes);
    for (int kind = 0; kind < LM_OS_CALLS; kind++)
        lm_fake_fail_from((enum lm_os_call)kind, 1);
    assert_null(lm_os_reserve(bytes, page));
    assert_false(lm_os_commit(reserve, bytes));
    assert_null(lm_os_map(bytes, page));
    assert_false(lm_os_unmap(mapped, bytes));
    assert_null(lm_os_remap(mapped, bytes, 2 * bytes, true));
    assert_false(lm_os_purge(mapped, bytes));
    errno = EDOM;
    assert_false(lm_os_populate(mapped, bytes));
    lm_os_advise_huge(mapped, bytes);
    assert_int_equal(errno, EDOM);
    for (int kind = 0; kind < LM_OS_CALLS; kind++)
        assert_in_range(lm_fake_calls((enum lm_os_call)kind), 1, 2);
    assert_int_equal(mapped[bytes - 1], 7);
    assert_int_equal(lm_fake_mapped_bytes(), before + 2 * bytes);
    lm_fake_reset();
    assert_true(lm_os_unmap(mapped, bytes));
    assert_true(lm_os_unmap(reserve, bytes));
    assert_int_equal(lm_fake_mapped_bytes(), before);
}

static void limits_address_space(void **state)
{
    size_t before = lm_fake_mapped_bytes();
    void *a, *b;

    (void)state;
    lm_fake_limit_bytes(before + 4 * page);
    a = lm_os_reserve(2 * page, page);
    assert_non_null(a);
    assert_null(lm_os_map(3 * page, page));
    assert_null(lm_os_map(SIZE_MAX & ~(page - 1), page)); /* the sum would wrap */
    b = lm_os_map(2 * page, page);
    assert_non_null(b);
    assert_null(lm_os_reserve(page, page));
    assert_null(lm_os_remap(b, 2 * page, 3 * page, true));
    b = lm_os_remap(b, 2 * page, page, true); /* to shrink is always allowed */
    assert_non_null(b);
    assert_int_equal(lm_fake_mapped_bytes(), before + 3 * page);
    assert_true(lm_os_unmap(a, page)); /* a part */
    assert_true(lm_os_unmap((char *)a + page, page));
    assert_true(lm_os_unmap(b, page));
    assert_int_equal(lm_fake_mapped_bytes(), before);
}

static void pretends(void **state)
{
    (void)state;
    lm_fake_page_size(64 << 10);
    lm_fake_clock(12345);
    lm_fake_memory_limit(1 << 20);
    lm_fake_address_limit(2 << 20);
    assert_int_equal(lm_os_page_size(), 64 << 10);
    assert_int_equal(lm_os_clock_ms(), 12345);
    assert_int_equal(lm_os_clock_ms(), 12345);
    assert_int_equal(lm_os_memory_limit(), 1 << 20);
    assert_int_equal(lm_os_address_limit(), 2 << 20);
    lm_fake_reset();
    assert_int_equal(lm_os_page_size(), page);
    assert_int_not_equal(lm_os_memory_limit(), 1 << 20);
    assert_int_not_equal(lm_os_address_limit(), 2 << 20);
}

static void counts_as_the_real_one_does(void **state)
{
    struct lm_os_counter before[LM_OS_CALLS], after[LM_OS_CALLS];

    (void)state;
    lm_os_counters(before);
    assert_true(maps());
    lm_os_counters(after);
    assert_int_equal(after[LM_OS_MAP].calls - before[LM_OS_MAP].calls, 1);
    assert_int_equal(after[LM_OS_MAP].bytes - before[LM_OS_MAP].bytes, page);
    assert_int_equal(after[LM_OS_MAP].failed, before[LM_OS_MAP].failed);
    assert_int_equal(after[LM_OS_UNMAP].calls - before[LM_OS_UNMAP].calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fails_the_nth, reset),
        cmocka_unit_test_setup(fails_from, reset),
        cmocka_unit_test_setup(fails_every, reset),
        cmocka_unit_test_setup(fails_each_kind, reset),
        cmocka_unit_test_setup(limits_address_space, reset),
        cmocka_unit_test_setup(pretends, reset),
        cmocka_unit_test_setup(counts_as_the_real_one_does, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
