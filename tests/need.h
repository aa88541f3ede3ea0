/* need.h: an assertion for programs and children that are not cmocka's: says where it failed, and aborts. */
#ifndef LOAM_TEST_NEED_H
#define LOAM_TEST_NEED_H

#include <stdio.h>
#include <stdlib.h>

#define NEED(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
            abort(); \
        } \
    } while (0)

#endif
