/* check.h: assertions of invariants, and the one way to die. */
#ifndef LM_BASE_CHECK_H
#define LM_BASE_CHECK_H

#include "base/bits.h"

#ifndef LOAM_DEBUG
#define LOAM_DEBUG 0
#endif
#ifndef LOAM_HARDENING
#define LOAM_HARDENING 1 /* 0 only to measure what the checks on the common path cost */
#endif

/* An invariant of loam's own: checked in debug builds, believed in release builds. */
#define LM_ASSERT(x) \
    do { \
        if (LOAM_DEBUG && !(x)) \
            lm_die("loam: broken invariant at %s:%d: %s\n", __FILE__, __LINE__, #x); \
    } while (0)

/* Writes the report to stderr and calls abort(). Never returns, never allocates. */
_Noreturn void lm_die(const char *format, ...) LM_COLD;

#endif
