#include "base/base.h"
#include "child.h"

#include <pthread.h>
#include <sched.h>

enum { THREADS = 4, ROUNDS = 100000 };
static struct lm_lock lock = LM_LOCK_INIT(LM_RANK_HEAPS);
static unsigned long shared;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        lm_lock_take(&lock);
        shared = shared + 1;
        lm_lock_release(&lock);
    }
    return arg;
}

static void excludes(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared, (unsigned long)THREADS * ROUNDS);
}

/* Holds that are given up to others in the middle: everybody sleeps, is woken in vain, and draws tickets. */
static void *count_slowly(void *arg)
{
    for (int i = 0; i < ROUNDS / 100; i++) {
        unsigned long seen;

        lm_lock_take(&lock);
        seen = shared;
        sched_yield();
        shared = seen + 1;
        lm_lock_release(&lock);
        if (i % 16 == 0 && lm_lock_try(&lock)) {
            shared++;
            lm_lock_release(&lock);
            __atomic_add_fetch((unsigned long *)arg, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void nobody_sleeps_for_ever(void **state)
{
    enum { MANY = 40 };
    pthread_t threads[MANY];
    unsigned long tried = 0;

    (void)state;
    shared = 0;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_slowly, &tried), 0);
    for (int i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared, MANY * (ROUNDS / 100) + tried);
    assert_int_equal(lock.state, 0); /* every ticket was served */
}

static void tries(void **state)
{
    (void)state;
    assert_false(lm_lock_is_mine(&lock));
    assert_true(lm_lock_try(&lock));
    assert_true(lm_lock_is_mine(&lock));
    lm_lock_release(&lock);
    assert_false(lm_lock_is_mine(&lock));
    lm_lock_take(&lock);
    lm_lock_reset(&lock); /* as a fork's child does */
    assert_true(lm_lock_try(&lock));
    lm_lock_release(&lock);
}

static void take_in_falling_rank(void)
{
    struct lm_lock later = LM_LOCK_INIT(LM_RANK_PAGES);

    lm_lock_take(&later);
    lm_lock_take(&lock);
}

static void dies_on_falling_rank(void **state)
{
    (void)state;
    if (!LOAM_DEBUG)
        skip();
    aborts_in_child(take_in_falling_rank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(excludes), cmocka_unit_test(nobody_sleeps_for_ever),
        cmocka_unit_test(tries), cmocka_unit_test(dies_on_falling_rank)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
