/* options.h: one grammar for options everywhere: "key:value,key:value". */
#ifndef LM_FRONT_OPTIONS_H
#define LM_FRONT_OPTIONS_H

#include "base/base.h"

struct lm_option {
    const char *name;
    const char *type;     /* "size", "ms", "count", "power of two", "bool", "policy", "name" */
    const char *standard; /* the default, as text */
    const char *help;
    size_t least, most;
    bool start_only;
    const char *const *names; /* of the values least to most; NULL: numbers */
};

/* Where an option's value came from. */
enum lm_origin { LM_FROM_DEFAULT, LM_FROM_POLICY, LM_FROM_SYMBOL, LM_FROM_ENVIRONMENT, LM_FROM_CALL, LM_FROM_COMMAND };

size_t lm_option_count(void);
const struct lm_option *lm_option(size_t i);
size_t lm_option_value(size_t i);
enum lm_origin lm_option_origin(size_t i);
const char *lm_origin_name(enum lm_origin origin);

/* The policies; the name and help of each, and what it sets. */
struct lm_policy_text {
    const char *name, *settings, *help;
};
size_t lm_policy_count(void);
const struct lm_policy_text *lm_policy_text(size_t i);

/* Shows a value as the option's type would be written, into at least 32 bytes. */
void lm_option_show(const struct lm_option *option, size_t value, char out[32]);

/* Honours a text of options; a fault (unknown key, bad value, start-only option when `running`) is reported on
 * stderr in one line that names what would be right, and the rest is still honoured. Returns the faults. Does not
 * allocate. */
int lm_options_parse(const char *text, enum lm_origin origin, bool running);

/* Every option as it is by default. Only before the first allocation. */
void lm_options_reset(void);

/* Start-up: the weak symbol loam_conf, then LOAM_CONF unless the process is set-user-ID. */
void lm_options_start(void);

#endif
