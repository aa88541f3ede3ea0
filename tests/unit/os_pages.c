#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static void aligns(void **state)
{
    (void)state;
    for (size_t align = 4096; align <= (size_t)1 << 30; align *= 8) {
        char *p = lm_os_map(1 << 16, align);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 1, 1 << 16);
        assert_true(lm_os_unmap(p, 1 << 16));
    }
}

static void keeps_errno(void **state)
{
    char *p, *q;

    (void)state;
    errno = EDOM;
    p = lm_os_reserve(1 << 20, (size_t)1 << 30); /* over-mapped and trimmed, in all likelihood */
    q = lm_os_map(1 << 16, (size_t)1 << 21);
    assert_non_null(p);
    assert_non_null(q);
    assert_true(lm_os_commit(p, 1 << 20));
    assert_true(lm_os_purge(p, 1 << 20));
    lm_os_advise_huge(p, 1 << 20);
    lm_os_populate(p, 1 << 20);
    assert_true(lm_os_unmap(p, 1 << 20));
    assert_true(lm_os_unmap(q, 1 << 16));
    lm_os_cpu();
    lm_os_cpu_count();
    lm_os_yield();
    assert_int_equal(errno, EDOM);
}

static void purges_to_zero(void **state)
{
    char *p = lm_os_reserve(1 << 20, 4096);

    (void)state;
    assert_non_null(p);
    assert_true(lm_os_commit(p, 1 << 20));
    memset(p, 0xff, 1 << 20);
    assert_true(lm_os_purge(p, 1 << 20));
    for (size_t i = 0; i < 1 << 20; i += 4096)
        assert_int_equal(p[i], 0);
    assert_true(lm_os_unmap(p, 1 << 20));
}

static void remaps(void **state)
{
    char *p = lm_os_map(1 << 16, 4096), *q;

    (void)state;
    assert_non_null(p);
    memset(p, 7, 1 << 16);
    q = lm_os_remap(p, 1 << 16, 1 << 24, true);
    assert_non_null(q);
    assert_int_equal(q[(1 << 16) - 1], 7);
    assert_int_equal(q[1 << 16], 0);
    assert_true(lm_os_unmap(q, 1 << 24));
}

static void fakes_failures(void **state)
{
    (void)state;
    lm_fake_reset();
    lm_fake_fail_nth(LM_OS_MAP, 2);
    void *a = lm_os_map(4096, 4096);

    assert_non_null(a);
    errno = 0;
    assert_null(lm_os_map(4096, 4096));
    assert_int_equal(errno, ENOMEM);
    lm_fake_fail_from(LM_OS_UNMAP, 1);
    assert_false(lm_os_unmap(a, 4096));
    lm_fake_reset();
    assert_true(lm_os_unmap(a, 4096));
    lm_fake_limit_bytes(lm_fake_mapped_bytes() + 8192);
    assert_null(lm_os_map(3 * 4096, 4096));
    a = lm_os_map(2 * 4096, 4096);
    assert_non_null(a);
    assert_null(lm_os_remap(a, 2 * 4096, 3 * 4096, true));
    assert_true(lm_os_unmap(a, 2 * 4096));
    lm_fake_reset();
}

static void knows_secrets(void **state)
{
    (void)state;
    assert_true(lm_os_random(1) != lm_os_random(2));
    assert_true(lm_os_random(1) == lm_os_random(1));
    assert_true(lm_os_clock_ms() > 0);
    assert_null(lm_os_environment("LOAM_NO_SUCH_VARIABLE"));
    assert_non_null(lm_os_environment("PATH"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(aligns), cmocka_unit_test(keeps_errno),
        cmocka_unit_test(purges_to_zero), cmocka_unit_test(remaps), cmocka_unit_test(fakes_failures),
        cmocka_unit_test(knows_secrets)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
