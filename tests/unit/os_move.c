/* Memory that moves out of a mapping: all of it, without a page fault, and nothing else; or, where something is refused, nothing. */
#include "os/fake.h"
#include "child.h"
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { BYTES = 512 << 10, ALL = 3 * BYTES };

/* Three equal parts, each full of its number. */
static char *lay_out(void)
{
    char *p = lm_os_map(ALL, lm_os_page_size());

    assert_non_null(p);
    for (int part = 0; part < 3; part++)
        memset(p + part * BYTES, part + 1, BYTES);
    return p;
}

static void check_full_of(const char *p, size_t bytes, char value)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != value)
            fail_msg("byte %zu is %d, not %d", i, p[i], value);
}

static void check_as_laid_out(char *p)
{
    for (int part = 0; part < 3; part++)
        check_full_of(p + part * BYTES, BYTES, (char)(part + 1));
}

static long page_faults(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

/* Whether this is done here at all: by kernels since 5.7, and not under an emulator. */
static bool moves_here(void)
{
    char *p = lm_os_map(BYTES, lm_os_page_size());
    void *q = lm_os_detach(p, BYTES);
    int error = errno;

    assert_true(lm_os_unmap(p, BYTES));
    if (q)
        assert_true(lm_os_unmap(q, BYTES));
    else
        assert_int_equal(error, ENOSYS);
    return q != NULL;
}

static void moves(void **state)
{
    char *p = lay_out(), *q;
    long before;

    (void)state;
    lm_fake_reset();
    if (!moves_here())
        skip();
    before = page_faults();
    q = lm_os_move(p + BYTES, BYTES, 2 * BYTES);
    assert_true(page_faults() - before < 8);
    assert_non_null(q);
    check_full_of(q, BYTES, 2);
    check_full_of(q + BYTES, BYTES, 0);
    check_full_of(p, BYTES, 1);
    check_full_of(p + BYTES, BYTES, 0);
    check_full_of(p + 2 * BYTES, BYTES, 3);
    memset(p + BYTES, 2, BYTES); /* which is still there to be written */
    memset(q, 9, 2 * BYTES);
    check_as_laid_out(p);
    assert_true(lm_os_unmap(q, 2 * BYTES));
    assert_true(lm_os_unmap(p, ALL));
}

/* The lock would go from all of the mapping. */
static void leaves_what_is_locked(void **state)
{
    char *p = lay_out();

    (void)state;
    lm_fake_reset();
    if (syscall(SYS_mlock, p, (size_t)ALL) != 0) /* sanitizers make mlock do nothing */
        skip();                                  /* a limit */
    assert_null(lm_os_move(p + BYTES, BYTES, 2 * BYTES));
    check_as_laid_out(p);
    assert_false(lm_os_purge(p, lm_os_page_size())); /* as of locked memory */
    assert_true(lm_os_unmap(p, ALL));
}

static void undone_when_refused(void **state)
{
    char *p = lay_out();
    size_t mapped;

    (void)state;
    lm_fake_reset();
    mapped = lm_fake_mapped_bytes();
    for (uint64_t n = 1; n <= 2; n++) { /* the move; what makes the new mapping larger */
        lm_fake_fail_nth(LM_OS_REMAP, n);
        assert_null(lm_os_move(p + BYTES, BYTES, 2 * BYTES));
        check_as_laid_out(p);
        assert_int_equal(lm_fake_mapped_bytes(), mapped);
    }
    lm_fake_reset();
    assert_true(lm_os_unmap(p, ALL));
}

static void watched(void)
{
    char *p = lay_out();

    lm_fake_reset();
    lm_fake_watch();
    NEED(!lm_os_move(p, BYTES, 2 * BYTES));
    NEED(lm_fake_calls(LM_OS_REMAP) == 0);
}

static void does_not_try_when_watched(void **state)
{
    (void)state;
    in_child(watched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(does_not_try_when_watched), cmocka_unit_test(moves),
        cmocka_unit_test(leaves_what_is_locked), cmocka_unit_test(undone_when_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
