#include "base/base.h"
#include "unit.h"

#include <string.h>

static const char *const names[] = {"purge_ms", "arena", "large", "dirty", "remote_batch"};

static int nearest(const char *word)
{
    return lm_name_nearest(word, strlen(word), names, sizeof names / sizeof names[0]);
}

static void finds_near(void **state)
{
    (void)state;
    assert_int_equal(nearest("purge_ms"), 0);
    assert_int_equal(nearest("purge_sm"), 0); /* a transposition */
    assert_int_equal(nearest("arean"), 1);
    assert_int_equal(nearest("lrge"), 2); /* an omission */
    assert_int_equal(nearest("dirtyy"), 3);
    assert_int_equal(nearest("remotebatch"), 4);
}

static void refuses_far(void **state)
{
    char word[100];

    (void)state;
    assert_int_equal(nearest("zzzzzz"), -1);
    assert_int_equal(nearest("q"), -1);
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_int_equal(nearest(word), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_near), cmocka_unit_test(refuses_far)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
