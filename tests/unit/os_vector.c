/* Many ranges by one call, on the kernel that is there: it returns exactly what it says, also beside locked pages; where it has the
 * call, it is one. */
#include "os/os.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

enum { RANGES = 100 };

static uint64_t purges(void)
{
    struct lm_os_counter counter[LM_OS_CALLS];

    lm_os_counters(counter);
    return counter[LM_OS_PURGE].calls + counter[LM_OS_PURGE].failed;
}

/* A page in two of the map is to be returned. */
static void lay_out(char *map, struct lm_os_range *range)
{
    size_t page = lm_os_page_size();

    memset(map, 1, 2 * RANGES * page);
    for (size_t i = 0; i < RANGES; i++)
        range[i] = (struct lm_os_range){map + 2 * i * page, page};
}

static void check_zeroed(const char *map, size_t count)
{
    for (size_t i = 0; i < 2 * RANGES; i++)
        assert_int_equal(map[i * lm_os_page_size()], i % 2 == 1 || i / 2 >= count);
}

static void returns_ranges(void **state)
{
    struct lm_os_range range[RANGES];
    size_t page = lm_os_page_size();
    char *map = lm_os_map(2 * RANGES * page, page);
    bool has = !lm_os_is_watched();
    uint64_t before;

    (void)state;
    assert_non_null(map);
    lay_out(map, range);
    has = has && lm_os_purge_vector(range, 2) == 2 * page;
    before = purges();
    errno = EDOM;
    assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
    assert_int_equal(errno, EDOM);
    check_zeroed(map, RANGES);
    if (has)
        assert_int_equal(purges() - before, 1);
    else
        print_message("this kernel returns ranges one by one\n");
    assert_true(lm_os_unmap(map, 2 * RANGES * page));
}

static void says_what_is_locked(void **state)
{
    struct lm_os_range range[RANGES];
    size_t page = lm_os_page_size();
    char *map = lm_os_map(2 * RANGES * page, page);

    (void)state;
    assert_non_null(map);
    for (size_t locked = 0; locked < RANGES; locked += 33) {
        lay_out(map, range);
        if (syscall(SYS_mlock, range[locked].start, page) != 0) /* the address sanitizer makes mlock do nothing */
            skip();                                             /* a limit */
        assert_int_equal(lm_os_purge_all(range, RANGES), locked);
        assert_int_equal(errno, EINVAL);
        check_zeroed(map, locked);
        assert_int_equal(syscall(SYS_munlock, range[locked].start, page), 0);
        assert_int_equal(lm_os_purge_all(range, RANGES), RANGES);
        check_zeroed(map, RANGES);
    }
    assert_true(lm_os_unmap(map, 2 * RANGES * page));
}

/* More than the kernel takes at once. */
static void returns_thousands(void **state)
{
    enum { MANY = 2 * LM_OS_RANGES + 3 };
    static struct lm_os_range range[MANY];
    size_t page = lm_os_page_size();
    char *map = lm_os_map(MANY * page, page);

    (void)state;
    assert_non_null(map);
    memset(map, 1, MANY * page);
    for (size_t i = 0; i < MANY; i++)
        range[i] = (struct lm_os_range){map + i * page, page};
    assert_int_equal(lm_os_purge_all(range, MANY), MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(map[i * page], 0);
    assert_true(lm_os_unmap(map, MANY * page));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_ranges), cmocka_unit_test(says_what_is_locked), cmocka_unit_test(returns_thousands)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
