/* options.c: the parser and the table behind it (options.def). Runs before the C library may be up: no
 * allocation, no stdio, no locale. */
#include "front/options.h"
#include "os/os.h"

#include <string.h>
#include <unistd.h>

enum { SIZE, MS, COUNT, POWER, BOOL, POLICY, CACHE, LISTS };
enum { ANY, START };
static const char *const option_types[] = {"size", "ms", "count", "power of two", "bool", "policy", "name", "name"};
static const char *const option_caches[] = {"thread", "cpu", "auto"};   /* by value: enum lm_cache */
static const char *const option_lists[] = {"mutex", "lockfree", "stm"}; /* enum lm_lists_kind */

#define OPTION(n, t, field, standard, least, most, when, help) \
    {#n, NULL, standard, help, least, most, when == START, NULL},
static struct lm_option option_table[] = {
#include "front/options.def"
};
#undef OPTION

#define OPTION(n, t, field, standard, least, most, when, help) \
    {t, sizeof lm_config.field, offsetof(struct lm_config, field)},
static const struct {
    uint8_t type, bytes;
    uint16_t offset;
} option_place[] = {
#include "front/options.def"
};
#undef OPTION

enum { OPTIONS = sizeof option_table / sizeof option_table[0], VALUE_MAX = 63 };
static uint8_t option_origin[OPTIONS];

#define POLICY(name, settings, help) {#name, settings, help},
static const struct lm_policy_text option_policies[] = {
#include "front/policies.def"
};
#undef POLICY
enum { POLICIES = sizeof option_policies / sizeof option_policies[0] };

size_t lm_policy_count(void)
{
    return POLICIES;
}

const struct lm_policy_text *lm_policy_text(size_t i)
{
    return &option_policies[i];
}

/* What a program may define to choose its options when it is linked. */
extern const char *loam_conf __attribute__((weak, visibility("default")));

size_t lm_option_count(void)
{
    return OPTIONS;
}

const struct lm_option *lm_option(size_t i)
{
    option_table[i].type = option_types[option_place[i].type];
    option_table[i].names = option_place[i].type == LISTS ? option_lists
        : option_place[i].type == CACHE                   ? option_caches
                                                          : NULL;
    return &option_table[i];
}

size_t lm_option_value(size_t i)
{
    const char *at = (const char *)&lm_config + option_place[i].offset;
    size_t value = 0;

    if (option_place[i].bytes == sizeof(bool))
        return *(const bool *)at;
    memcpy(&value, at, sizeof value);
    return value;
}

static void option_set(size_t i, size_t value, enum lm_origin origin)
{
    char *at = (char *)&lm_config + option_place[i].offset;

    if (option_place[i].bytes == sizeof(bool))
        *(bool *)at = value != 0;
    else
        memcpy(at, &value, sizeof value);
    option_origin[i] = (uint8_t)origin;
}

enum lm_origin lm_option_origin(size_t i)
{
    return (enum lm_origin)option_origin[i];
}

const char *lm_origin_name(enum lm_origin origin)
{
    static const char *const names[] = {"default", "policy", "loam_conf", "LOAM_CONF", "loam_configure", "-c"};

    return names[origin];
}

void lm_option_show(const struct lm_option *option, size_t value, char out[32])
{
    struct lm_text text = {out, 32, 0};
    unsigned unit = 0;

    if (strcmp(option->type, "policy") == 0) {
        lm_text_add(&text, "%s", option_policies[value].name);
        return;
    }
    if (option->names) {
        lm_text_add(&text, "%s", option->names[value]);
        return;
    }
    if (strcmp(option->type, "size") == 0 || strcmp(option->type, "power of two") == 0)
        for (; value && value % 1024 == 0 && unit < 3; unit++)
            value /= 1024;
    lm_text_add(&text, "%zu%s", value, unit ? &"k\0M\0G"[2 * (unit - 1)] : "");
}

/* A number with an optional k, M or G; false when it is none or does not fit. */
static bool option_number(const char *s, size_t length, bool is_size, size_t *out)
{
    size_t value = 0, i = 0;

    for (; i < length && s[i] >= '0' && s[i] <= '9'; i++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (size_t)(s[i] - '0'), &value))
            return false;
    if (i == 0)
        return false;
    if (is_size && i + 1 == length) {
        static const char units[] = "kKmMgG";
        const char *unit = memchr(units, s[i], 6);

        if (!unit || __builtin_mul_overflow(value, (size_t)1 << (10 + 10 * ((unit - units) / 2)), &value))
            return false;
        i++;
    }
    *out = value;
    return i == length;
}

/* The value that a name stands for; false when it stands for none. */
static bool option_name(const struct lm_option *option, const char *s, size_t length, size_t *out)
{
    for (size_t i = option->least; i <= option->most; i++)
        if (strlen(option->names[i]) == length && memcmp(option->names[i], s, length) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* One line on stderr about a fault, with what would be right. */
static void option_complain(
    enum lm_origin origin, const char *fault, const char *what, size_t length, const char *advice)
{
    char word[VALUE_MAX + 1];

    length = lm_min(length, VALUE_MAX);
    memcpy(word, what, length);
    word[length] = '\0';
    lm_print(STDERR_FILENO, "loam: %s: %s \"%s\"%s\n", lm_origin_name(origin), fault, word, advice);
}

static bool option_unknown(enum lm_origin origin, const char *key, size_t length)
{
    const char *names[OPTIONS];
    char advice[128] = "; `loam config` lists all";
    struct lm_text text = {advice, sizeof advice, 0};
    int nearest;

    for (size_t i = 0; i < OPTIONS; i++)
        names[i] = option_table[i].name;
    nearest = lm_name_nearest(key, length, names, OPTIONS);
    if (nearest >= 0)
        lm_text_add(&text, "; did you mean \"%s\"?", names[nearest]);
    option_complain(origin, "unknown option", key, length, advice);
    return false;
}

static bool option_bad_value(enum lm_origin origin, size_t i, const char *value, size_t length, size_t nearest)
{
    char advice[160], low[32], high[32], near[32], fault[64];
    struct lm_text text = {advice, sizeof advice, 0}, fault_text = {fault, sizeof fault, 0};
    const struct lm_option *option = lm_option(i);

    for (size_t k = option->least; option->names && k <= option->most; k++)
        lm_text_add(&text, "%s %s", k == option->least ? "; it is one of" : ",", option->names[k]);
    lm_text_add(&fault_text, "option %s: bad value", option->name);
    if (option->names) {
        option_complain(origin, fault, value, length, advice);
        return false;
    }
    lm_option_show(option, option->least, low);
    lm_option_show(option, option->most, high);
    lm_option_show(option, nearest, near);
    lm_text_add(&text, "; it takes a %s from %s to %s, such as %s", option->type, low, high, near);
    option_complain(origin, fault, value, length, advice);
    return false;
}

static bool option_bad_policy(enum lm_origin origin, const char *value, size_t length)
{
    const char *names[POLICIES];
    char advice[160] = "; there are";
    struct lm_text text = {advice, sizeof advice, strlen(advice)};
    int nearest;

    for (size_t i = 0; i < POLICIES; i++) {
        names[i] = option_policies[i].name;
        lm_text_add(&text, "%s %s", i ? "," : "", names[i]);
    }
    nearest = lm_name_nearest(value, length, names, POLICIES);
    if (nearest >= 0)
        lm_text_add(&text, "; did you mean \"%s\"?", names[nearest]);
    option_complain(origin, "unknown policy", value, length, advice);
    return false;
}

static void option_set_default(size_t i)
{
    const struct lm_option *option = lm_option(i);
    const char *standard = option->standard;
    size_t value = LM_BALANCED;

    if (option->names)
        option_name(option, standard, strlen(standard), &value);
    else if (option_place[i].type != POLICY)
        option_number(standard, strlen(standard), true, &value);
    option_set(i, value, LM_FROM_DEFAULT);
}

void lm_options_reset(void)
{
    for (size_t i = 0; i < OPTIONS; i++)
        option_set_default(i);
}

/* A policy sets what has not been set by itself, now or before; so the order of the two does not matter. */
static void option_set_policy(size_t i, size_t policy, enum lm_origin origin)
{
    for (size_t k = 0; k < OPTIONS; k++)
        if (option_origin[k] == LM_FROM_POLICY)
            option_set_default(k);
    lm_options_parse(option_policies[policy].settings, LM_FROM_POLICY, false);
    option_set(i, policy, origin);
}

static bool option_parse_policy(size_t i, const char *value, size_t length, enum lm_origin origin)
{
    for (size_t p = 0; p < POLICIES; p++)
        if (strlen(option_policies[p].name) == length && memcmp(option_policies[p].name, value, length) == 0) {
            option_set_policy(i, p, origin);
            return true;
        }
    return option_bad_policy(origin, value, length);
}

static bool option_parse_one(const char *item, size_t length, enum lm_origin origin, bool running)
{
    const char *colon = memchr(item, ':', length);
    size_t key_length = colon ? (size_t)(colon - item) : length, value_length, value = 0;

    for (size_t i = 0; i < OPTIONS; i++) {
        const struct lm_option *option = lm_option(i);

        if (strlen(option->name) != key_length || memcmp(option->name, item, key_length) != 0)
            continue;
        if (!colon && option_place[i].type == POLICY)
            return option_bad_policy(origin, "", 0);
        if (!colon)
            return option_bad_value(origin, i, "", 0, lm_option_value(i));
        value_length = length - key_length - 1;
        if (running && option->start_only) {
            option_complain(
                origin, "too late for option", item, key_length, ": it can only be chosen before the first allocation");
            return false;
        }
        if (option_place[i].type == POLICY)
            return option_parse_policy(i, colon + 1, value_length, origin);
        if (option->names ? !option_name(option, colon + 1, value_length, &value)
                          : !option_number(colon + 1, value_length,
                                option_place[i].type == SIZE || option_place[i].type == POWER, &value))
            return option_bad_value(origin, i, colon + 1, value_length, lm_option_value(i));
        if (option_place[i].type == POWER && !lm_is_power2(value))
            return option_bad_value(origin, i, colon + 1, value_length, value ? (size_t)1 << lm_log2_floor(value) : 1);
        if (value < option->least || value > option->most)
            return option_bad_value(
                origin, i, colon + 1, value_length, value < option->least ? option->least : option->most);
        if (origin != LM_FROM_POLICY || option_origin[i] == LM_FROM_DEFAULT)
            option_set(i, value, origin);
        return true;
    }
    return option_unknown(origin, item, key_length);
}

int lm_options_parse(const char *text, enum lm_origin origin, bool running)
{
    int faults = 0;

    while (*text) {
        size_t length = strcspn(text, ",");

        if (length && !option_parse_one(text, length, origin, running))
            faults++;
        text += length + (text[length] == ',');
    }
    return faults;
}

void lm_options_start(void)
{
    const char *environment = lm_os_is_secure() ? NULL : lm_os_environment("LOAM_CONF");

    if (&loam_conf && loam_conf)
        lm_options_parse(loam_conf, LM_FROM_SYMBOL, false);
    if (environment)
        lm_options_parse(environment, LM_FROM_ENVIRONMENT, false);
}
