/* options.h: LOAM_CONF and the table of options. */
#ifndef LM_FRONT_OPTIONS_H
#define LM_FRONT_OPTIONS_H

#include "base/base.h"

void lm_options_start(void);

#endif
