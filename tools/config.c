/* config.c: `loam config`: every option with its value, default and origin; --man for the manual page. */
#include "front/options.h"
#include "loam_tool.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: loam config [-c CONF] [--man]\n"
    "\n"
    "Lists every option with its value, default and where the value came from: the default, the\n"
    "environment variable LOAM_CONF, or -c. Faults in either are reported as a program would.\n"
    "\n"
    "  -c CONF   options as in LOAM_CONF: \"key:value,key:value\"; they win over the environment\n"
    "  --man     the list as a section of a manual page\n";

/* Settings, which may be broken after each comma: together they can be longer than a line. */
static void config_manual_list(const char *settings)
{
    printf(" Sets ");
    for (const char *at = settings; *at; at++)
        if (*at == ',')
            printf(",\\:");
        else
            putchar(*at);
    putchar('.');
}

static void config_man(void)
{
    printf("The policies:\n.na\n"); /* long settings have no space by which a line could be adjusted */
    for (size_t i = 0; i < lm_policy_count(); i++) {
        const struct lm_policy_text *policy = lm_policy_text(i);

        printf(".TP\n.B policy:%s\n%s", policy->name, policy->help);
        if (policy->settings[0])
            config_manual_list(policy->settings);
        putchar('\n');
    }
    printf(".P\n.ad\nAll options:\n");
    for (size_t i = 0; i < lm_option_count(); i++) {
        const struct lm_option *option = lm_option(i);

        printf(".TP\n.BR %s : \\fI%s\\fR \" (default %s)\"\n%s%s\n", option->name, option->type, option->standard,
            option->help, option->start_only ? " Only before the first allocation." : "");
    }
}

static void config_list(void)
{
    char value[32];

    printf("%-14s %-12s %-12s %-14s %s\n", "option", "value", "default", "origin", "meaning");
    for (size_t i = 0; i < lm_option_count(); i++) {
        const struct lm_option *option = lm_option(i);

        lm_option_show(option, lm_option_value(i), value);
        printf("%-14s %-12s %-12s %-14s %s\n", option->name, value, option->standard,
            lm_origin_name(lm_option_origin(i)), option->help);
    }
    printf("\n%-14s %s\n", "policy", "meaning");
    for (size_t i = 0; i < lm_policy_count(); i++) {
        const struct lm_policy_text *policy = lm_policy_text(i);

        printf("%-14s %s%s%s\n", policy->name, policy->help, policy->settings[0] ? " Sets " : "", policy->settings);
    }
}

int tool_config(int argc, char **argv)
{
    static const char *const options[] = {"-c", "--man", "--help"};
    const char *conf = NULL;
    int faults = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(usage, stdout) < 0;
        if (strcmp(argv[i], "--man") == 0) {
            config_man();
            return 0;
        }
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            conf = argv[++i];
        else
            return tool_bad_option("config", argv[i], options, 3);
    }
    lm_options_start();
    if (conf)
        faults = lm_options_parse(conf, LM_FROM_COMMAND, false);
    config_list();
    return faults ? EXIT_USAGE : 0;
}
