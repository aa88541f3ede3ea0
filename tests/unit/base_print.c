#include "base/base.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void formats(void **state)
{
    char buffer[128];
    struct lm_text text = {buffer, sizeof buffer, 0};

    (void)state;
    lm_text_add(&text, "%s|%5d|%-5u|%05x|%p|%%|%c", "a", -42, 7u, 0xabu, (void *)0x1234, 'z');
    assert_string_equal(buffer, "a|  -42|7    |000ab|0x1234|%|z");
    text.length = 0;
    lm_text_add(&text, "%zu %lld %llu", (size_t)1 << 40, -5ll, ~0ull);
    assert_string_equal(buffer, "1099511627776 -5 18446744073709551615");
    text.length = 0;
    lm_text_add(&text, "%B %B %B", (size_t)1023, (size_t)1536, (size_t)5 << 30);
    assert_string_equal(buffer, "1023 B 1.5 KiB 5.0 GiB");
    text.length = 0;
    lm_text_add(&text, "%s", NULL);
    assert_string_equal(buffer, "(null)");
}

static void pads_with_zeros_after_the_sign(void **state)
{
    char buffer[128];
    struct lm_text text = {buffer, sizeof buffer, 0};

    (void)state;
    lm_text_add(&text, "%05d|%03d|%02d|%-05d|%08p", -42, 7, -1234, -42, (void *)0xab);
    assert_string_equal(buffer, "-0042|007|-1234|-42  |0x0000ab");
}

static void cuts(void **state)
{
    char buffer[8];
    struct lm_text text = {buffer, sizeof buffer, 0};

    (void)state;
    lm_text_add(&text, "0123456789 %d", 3);
    assert_string_equal(buffer, "0123456");
    lm_text_add(&text, "x");
    assert_string_equal(buffer, "0123456");
}

static void prints_whole(void **state)
{
    int ends[2];
    char got[64] = "";

    (void)state;
    assert_int_equal(pipe(ends), 0);
    lm_print(ends[1], "line %d\n", 1);
    assert_int_equal(read(ends[0], got, sizeof got - 1), 7);
    assert_string_equal(got, "line 1\n");
    close(ends[0]);
    close(ends[1]);
}

static void keeps_errno(void **state)
{
    (void)state;
    errno = EDOM;
    lm_print(-1, "nobody reads this\n");
    assert_int_equal(errno, EDOM);
}

static void *print_cancelled(void *printed)
{
    pthread_cancel(pthread_self());
    lm_print(-1, "nobody reads this\n");
    *(volatile int *)printed = 1;
    return NULL;
}

static void is_no_cancellation_point(void **state)
{
    pthread_t thread;
    int printed = 0;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, print_cancelled, &printed), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(printed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(pads_with_zeros_after_the_sign),
        cmocka_unit_test(cuts), cmocka_unit_test(prints_whole), cmocka_unit_test(keeps_errno),
        cmocka_unit_test(is_no_cancellation_point)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
