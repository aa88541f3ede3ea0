#include "base/base.h"
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void dies_on_falling_rank(void **state)
{
    struct lm_lock later = LM_LOCK_INIT(LM_RANK_PAGES);
    int status;
    pid_t child;

    (void)state;
    if (!LOAM_DEBUG)
        skip();
    child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        lm_lock_take(&later);
        lm_lock_take(&lock);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(excludes), cmocka_unit_test(tries), cmocka_unit_test(dies_on_falling_rank)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
