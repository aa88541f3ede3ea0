#include "front/options.h"
#include "unit.h"

#include <string.h>
#include <unistd.h>

static char said[1024];

/* Parses with stderr caught in `said`. */
static int parse(const char *text, bool running)
{
    int ends[2], kept = dup(STDERR_FILENO), faults;
    ssize_t n;

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    faults = lm_options_parse(text, LM_FROM_COMMAND, running);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    n = read(ends[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    return faults;
}

static void sets_values(void **state)
{
    (void)state;
    assert_int_equal(parse("purge_ms:7,large:2M,arena:3G,dirty:512k,stats:0", false), 0);
    assert_string_equal(said, "");
    assert_int_equal(lm_config.purge_ms, 7);
    assert_int_equal(lm_config.large_bytes, 2 << 20);
    assert_int_equal(lm_config.arena_bytes, (size_t)3 << 30);
    assert_int_equal(lm_config.dirty_bytes, 512 << 10);
    assert_int_equal(parse("", false), 0);
    assert_int_equal(parse(",,", false), 0);
}

static void takes_names(void **state)
{
    char shown[32];
    size_t i = 0;

    (void)state;
    while (strcmp(lm_option(i)->name, "lists") != 0)
        i++;
    assert_int_equal(parse("lists:stm", false), 0);
    assert_int_equal(lm_config.lists, LM_LISTS_STM);
    lm_option_show(lm_option(i), lm_option_value(i), shown);
    assert_string_equal(shown, "stm");
    assert_int_equal(parse("lists:lockfree", false), 0);
    assert_int_equal(lm_config.lists, LM_LISTS_LOCKFREE);
    assert_int_equal(parse("lists:mutex", true), 1);
    assert_non_null(strstr(said, "too late"));
    assert_int_equal(parse("lists:1", false), 1);
    assert_non_null(strstr(said, "option lists: bad value \"1\"; it is one of mutex, lockfree, stm"));
    assert_int_equal(parse("lists:mute,lists,lists:", false), 3);
    assert_int_equal(lm_config.lists, LM_LISTS_LOCKFREE);
    assert_int_equal(parse("lists:mutex", false), 0);
}

static void names_the_nearest(void **state)
{
    (void)state;
    assert_int_equal(parse("purge_sm:3,purge_ms:9", false), 1);
    assert_non_null(strstr(said, "unknown option \"purge_sm\""));
    assert_non_null(strstr(said, "did you mean \"purge_ms\"?"));
    assert_int_equal(lm_config.purge_ms, 9); /* the rest is honoured */
    assert_int_equal(parse("qqqqqq:1", false), 1);
    assert_non_null(strstr(said, "loam config"));
}

static void refuses_bad_values(void **state)
{
    static const char *const bad[] = {"large:1", "large:", "large", "large:9X", "large:1MM", "large:-1",
        "large:99999999999999999999999", "stats:2", "purge_ms:1k"};

    (void)state;
    lm_config.large_bytes = 1 << 20;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(bad[i], false), 1);
        assert_non_null(strstr(said, "bad value"));
        assert_non_null(strstr(said, "such as"));
    }
    assert_int_equal(lm_config.large_bytes, 1 << 20);
}

static void some_are_too_late(void **state)
{
    (void)state;
    assert_int_equal(parse("arena:1G,purge_ms:5", true), 1);
    assert_non_null(strstr(said, "too late"));
    assert_int_equal(lm_config.purge_ms, 5);
}

static size_t option_at(const char *name)
{
    for (size_t i = 0; i < lm_option_count(); i++)
        if (strncmp(lm_option(i)->name, name, strlen(lm_option(i)->name)) == 0 &&
            name[strlen(lm_option(i)->name)] == ':')
            return i;
    fail_msg("no option %s", name);
    return 0;
}

/* Every policy sets what its text says, says so, and leaves everything as it was when another follows. Comes first:
 * what is set by itself stays. */
static void policies_set_options(void **state)
{
    (void)state;
    for (size_t p = 0; p < lm_policy_count(); p++) {
        char text[64], settings[256], shown[32], *item, *rest;

        snprintf(text, sizeof text, "policy:%s", lm_policy_text(p)->name);
        assert_int_equal(parse(text, false), 0);
        assert_string_equal(said, "");
        assert_int_equal(lm_config.policy, p);
        snprintf(settings, sizeof settings, "%s", lm_policy_text(p)->settings);
        for (item = strtok_r(settings, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
            size_t i = option_at(item);

            lm_option_show(lm_option(i), lm_option_value(i), shown);
            assert_string_equal(shown, strchr(item, ':') + 1);
            assert_int_equal(lm_option_origin(i), LM_FROM_POLICY);
        }
        assert_int_equal(parse("policy:balanced", false), 0);
        for (size_t i = 0; i < lm_option_count(); i++) {
            lm_option_show(lm_option(i), lm_option_value(i), shown);
            assert_string_equal(shown, lm_option(i)->standard);
        }
    }
    assert_int_equal(lm_config.policy, LM_BALANCED);
}

/* Each option by itself, with every policy, before and behind it. */
static void options_win_over_policies(void **state)
{
    (void)state;
    for (size_t p = 0; p < lm_policy_count(); p++)
        for (size_t i = 0; i < lm_option_count(); i++) {
            const struct lm_option *option = lm_option(i);
            char text[160], least[32];

            if (strcmp(option->name, "policy") == 0)
                continue;
            lm_option_show(option, option->least, least);
            for (int order = 0; order < 2; order++) {
                if (order)
                    snprintf(text, sizeof text, "policy:%s,%s:%s", lm_policy_text(p)->name, option->name, least);
                else
                    snprintf(text, sizeof text, "%s:%s,policy:%s", option->name, least, lm_policy_text(p)->name);
                lm_options_reset();
                assert_int_equal(parse(text, false), 0);
                assert_int_equal(lm_option_value(i), option->least);
                assert_int_equal(lm_option_origin(i), LM_FROM_COMMAND);
                assert_int_equal(lm_config.policy, p);
            }
        }
    lm_options_reset();
}

static void refuses_unknown_policies(void **state)
{
    (void)state;
    assert_int_equal(parse("policy:sped", false), 1);
    assert_non_null(strstr(said, "did you mean \"speed\"?"));
    assert_int_equal(parse("policy:", false), 1);
    assert_non_null(strstr(said, "there are balanced, speed, lean, single, steady"));
    assert_int_equal(parse("policy", false), 1);
    assert_int_equal(lm_config.policy, LM_BALANCED);
    assert_int_equal(parse("policy:lean", true), 1);
    assert_non_null(strstr(said, "too late"));
}

static void takes_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(parse("classes:2,carve:16k", false), 0);
    assert_int_equal(lm_config.classes, 2);
    assert_int_equal(lm_config.carve_bytes, 16 << 10);
    assert_int_equal(parse("classes:3", false), 1);
    assert_non_null(strstr(said, "such as 2"));
    assert_int_equal(parse("classes:32", false), 1);
    assert_int_equal(parse("classes:0", false), 1);
    assert_int_equal(lm_config.classes, 2);
    lm_options_reset();
}

/* The table's own texts are right: each default is accepted and shown as it is written. */
static void defaults_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < lm_option_count(); i++) {
        char text[128], shown[32];

        snprintf(text, sizeof text, "%s:%s", lm_option(i)->name, lm_option(i)->standard);
        assert_int_equal(parse(text, false), 0);
        lm_option_show(lm_option(i), lm_option_value(i), shown);
        assert_string_equal(shown, lm_option(i)->standard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(policies_set_options),
        cmocka_unit_test(options_win_over_policies), cmocka_unit_test(refuses_unknown_policies),
        cmocka_unit_test(takes_powers_of_two), cmocka_unit_test(sets_values), cmocka_unit_test(takes_names),
        cmocka_unit_test(names_the_nearest), cmocka_unit_test(refuses_bad_values), cmocka_unit_test(some_are_too_late),
        cmocka_unit_test(defaults_hold)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
