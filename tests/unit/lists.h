/* lists.h: runs a group of tests once for each kind of shared lists (lm_config.lists). */
#ifndef LOAM_TEST_LISTS_H
#define LOAM_TEST_LISTS_H

#include "base/config.h"
#include "unit.h"

static inline int lists_mutex(void **state)
{
    (void)state;
    lm_config.lists = LM_LISTS_MUTEX;
    return 0;
}

static inline int lists_lockfree(void **state)
{
    (void)state;
    lm_config.lists = LM_LISTS_LOCKFREE;
    return 0;
}

static inline int lists_stm(void **state)
{
    (void)state;
    lm_config.lists = LM_LISTS_STM;
    return 0;
}

/* The number of tests that failed; `tests` is an array, as cmocka_run_group_tests wants it. */
#define lists_run_group_tests(tests) \
    (cmocka_run_group_tests_name("mutex", tests, lists_mutex, NULL) + \
        cmocka_run_group_tests_name("lockfree", tests, lists_lockfree, NULL) + \
        cmocka_run_group_tests_name("stm", tests, lists_stm, NULL))

#endif
