/* The lock that leans to one thread: who may enter without it, and that never two are inside. */
#include "heap/heap.h"
#include "heap/room.h"
#include "unit.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 40, STEPS = 2000 };

static struct lm_bias bias;
static uint64_t one, other; /* plain: the lock is all that keeps them equal */

static void enter_and_leave(void)
{
    lm_bias_enter(&bias);
    lm_bias_leave(&bias);
}

static void *comes_second(void *arg)
{
    lm_bias_attach();
    enter_and_leave();
    return arg;
}

static void in_other_thread(void)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, comes_second, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void leans_and_is_unseated(void **state)
{
    int times = 0;

    (void)state;
    lm_bias_init(&bias, LM_RANK_PRIVATE, false);
    assert_false(lm_bias_try(&bias));
    lm_bias_attach();
    assert_false(lm_bias_is_mine());
    enter_and_leave();
    if (LM_TSAN || !lm_os_has_barrier()) {
        assert_false(lm_bias_try(&bias));
        return;
    }
    assert_true(lm_bias_try(&bias)); /* the first one is the holder at once */
    assert_true(lm_bias_is_mine());
    lm_bias_out();
    assert_false(lm_bias_is_mine());
    lm_bias_enter(&bias);
    assert_false(lm_bias_try(&bias)); /* nobody is while the lock is held */
    lm_bias_leave(&bias);
    assert_true(lm_bias_try(&bias));
    lm_bias_out();
    in_other_thread();
    for (; !lm_bias_try(&bias); times++)
        enter_and_leave();
    lm_bias_out();
    assert_true(times > 1); /* not at once again */
    in_other_thread();
    for (int i = 0; i < times; i++, enter_and_leave())
        assert_false(lm_bias_try(&bias)); /* later and later */
}

static void is_nobodys_when_told(void **state)
{
    (void)state;
    lm_bias_init(&bias, LM_RANK_PRIVATE, false);
    bias.never = true;
    for (int i = 0; i < 1000; i++, enter_and_leave())
        assert_false(lm_bias_try(&bias));
    lm_bias_init(&bias, LM_RANK_PRIVATE, true); /* one at a time: who comes is the holder */
    for (int i = 0; i < 3; i++) {
        enter_and_leave();
        in_other_thread();
        assert_false(lm_bias_try(&bias));
    }
}

static void *comes_and_goes(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;

    lm_bias_attach();
    for (int round = 0; round < ROUNDS; round++) {
        for (int step = 0; step < STEPS; step++) {
            bool without = lm_bias_try(&bias);

            if (!without)
                lm_bias_enter(&bias);
            one++;
            other = one;
            if (without)
                lm_bias_out();
            else
                lm_bias_leave(&bias);
        }
        for (uint64_t pause = unit_below(&seed, 40); pause; pause--)
            lm_os_yield(); /* so that each has it for itself now and then */
    }
    return NULL;
}

static void lets_one_in_at_a_time(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    lm_bias_init(&bias, LM_RANK_PRIVATE, false);
    one = other = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, comes_and_goes, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(one, (uint64_t)THREADS * ROUNDS * STEPS);
    assert_int_equal(other, one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(leans_and_is_unseated), cmocka_unit_test(is_nobodys_when_told),
        cmocka_unit_test(lets_one_in_at_a_time)};

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
