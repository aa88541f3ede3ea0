/* Many ranges by one call: what is returned is exactly what is said to be, whatever a kernel refuses; and a kernel that does not have
 * the call, or somebody before it who may not, is asked once. By the fake, which has the call on every kernel; the real
 * one: os_vector.c. */
#include "os/fake.h"
#include "child.h"
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANGES = 40 };
static struct lm_os_range range[RANGES];
static char *memory;
static size_t page;

/* Ranges of one to three pages with a page between them, all of it written. */
static void lay_out(void)
{
    page = lm_os_page_size();
    if (!memory)
        memory = lm_os_map(RANGES * 4 * page, page);
    assert_non_null(memory);
    memset(memory, 1, RANGES * 4 * page);
    for (size_t i = 0; i < RANGES; i++)
        range[i] = (struct lm_os_range){memory + i * 4 * page, (1 + i % 3) * page};
}

/* Exactly the ranges [from, to) read as zero. */
static void check_zeroed(size_t from, size_t to)
{
    for (size_t i = 0; i < RANGES; i++)
        for (size_t p = 0; p < 4; p++)
            assert_int_equal(memory[(i * 4 + p) * page], !(i >= from && i < to && p <= i % 3));
}

static void by_one_call(void)
{
    lm_fake_reset();
    lay_out();
    errno = EDOM;
    assert_int_equal(lm_os_purge_all(range, 0), 0);
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), 0);
    assert_int_equal(lm_os_purge_all(range, 1), 1); /* one needs no array */
    assert_int_equal(lm_fake_vectors(), 0);
    check_zeroed(0, 1);
    lay_out();
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), 2);
    assert_int_equal(lm_fake_vectors(), 1);
    assert_int_equal(errno, EDOM);
    check_zeroed(0, RANGES);
}

/* Wherever the refused range stands, all before it are returned, it is named, and those behind it are left alone. */
static void stops_at_a_refusal(void)
{
    for (size_t held = 0; held < RANGES; held++) {
        lm_fake_reset();
        lay_out();
        lm_fake_hold((char *)range[held].start + range[held].bytes - 1);
        errno = 0;
        assert_int_equal(lm_os_purge_all(range, RANGES), held);
        assert_int_equal(errno, EINVAL);
        check_zeroed(0, held);
        assert_true(lm_fake_calls(LM_OS_PURGE) <= 3); /* up to it, from it on, it alone */
        lm_fake_hold(NULL);
        assert_int_equal(lm_os_purge_all(range + held, RANGES - held), RANGES - held);
        assert_int_equal(lm_fake_vectors() > 0, true); /* a refusal of what is locked says nothing about the call */
    }
}

/* A call that fails for want of something is not given up. */
static void outlives_want(void)
{
    lm_fake_reset();
    lay_out();
    lm_fake_fail_nth(LM_OS_PURGE, 1);
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES); /* the first by itself, then the others */
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), 3);
    check_zeroed(0, RANGES);
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), 4);
    lm_fake_fail_from(LM_OS_PURGE, 1);
    lay_out();
    assert_int_equal(lm_os_purge_all(range, RANGES), 0);
    check_zeroed(0, 0);
    lm_fake_fail_from(LM_OS_PURGE, 0);
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), 7);
}

static int refusal;

/* What an older kernel answers; it is heard once, and all is returned all the same. */
static void falls_back(void)
{
    lm_fake_reset();
    lay_out();
    lm_fake_refuse_vectors(refusal);
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    check_zeroed(0, RANGES);
    assert_int_equal(lm_fake_vectors(), 1);
    lm_fake_refuse_vectors(0);
    lay_out();
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    check_zeroed(0, RANGES);
    assert_int_equal(lm_fake_vectors(), 1); /* for ever */
    lay_out();
    lm_fake_hold(range[7].start);
    assert_int_equal(lm_os_purge_all(range, RANGES), 7);
    check_zeroed(0, 7);
}

/* The same where the first range is locked at that: nothing is known yet. */
static void learns_later(void)
{
    lm_fake_reset();
    lay_out();
    lm_fake_refuse_vectors(ENOSYS);
    lm_fake_hold(range[0].start);
    assert_int_equal(lm_os_purge_all(range, RANGES), 0);
    check_zeroed(0, 0);
    lm_fake_hold(NULL);
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    check_zeroed(0, RANGES);
    assert_int_equal(lm_fake_vectors(), 2);
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    assert_int_equal(lm_fake_vectors(), 2);
}

static void leaves_filters_alone(void)
{
    lm_fake_reset();
    lay_out();
    lm_fake_watch();
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    check_zeroed(0, RANGES);
    assert_int_equal(lm_fake_vectors(), 0);
}

static void one_call(void **state)
{
    (void)state;
    in_child(by_one_call);
    in_child(stops_at_a_refusal);
    in_child(outlives_want);
}

static void no_such_call(void **state)
{
    static const int errors[] = {ENOSYS, EINVAL, EBADF, EPERM, ESRCH, EACCES};

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        refusal = errors[i];
        in_child(falls_back);
    }
    in_child(learns_later);
    in_child(leaves_filters_alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_call), cmocka_unit_test(no_such_call)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
