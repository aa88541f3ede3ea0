/* check.h: one macro, and the count of what it found. */
#ifndef LOAM_TEST_CHECK_H
#define LOAM_TEST_CHECK_H

#include <stdio.h>

static int check_failures;

#define CHECK(x) \
    do { \
        if (!(x)) { \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #x); \
            check_failures++; \
        } \
    } while (0)

#endif
