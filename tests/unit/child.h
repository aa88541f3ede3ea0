/* child.h: tests in processes of their own, for what a process finds out or sets up only once. */
#ifndef LOAM_TEST_CHILD_H
#define LOAM_TEST_CHILD_H

#include "../need.h"
#include "unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* The same of a body that must abort; what it says is not heard. */
static inline void aborts_in_child(void (*body)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

#endif
