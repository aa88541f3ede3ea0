/* child.h: tests in processes of their own, for what a process finds out or sets up only once. */
#ifndef LOAM_TEST_CHILD_H
#define LOAM_TEST_CHILD_H

#include "unit.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* An assertion for the child, whose end is heard by the parent. */
#define NEED(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
            _exit(1); \
        } \
    } while (0)

/* Runs body in a child; it fails by NEED, or by a cmocka assertion. */
static inline void in_child(void (*body)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        body();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#endif
