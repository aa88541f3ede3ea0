/* cache:auto: threads are served by CPUs while there are many, and have heaps of their own again when there are few;
 * what both sorts allocated is freed by either, and in the end nothing is left. */
#include "heap/heap.h"
#include "cpus.h"
#include "unit.h"

#include <pthread.h>

static pthread_barrier_t barrier;

enum { MANY = 40 };
static void *kept[MANY];

/* Threads free what others allocated, before or after the move. */
static void *allocate_and_stay(void *arg)
{
    uintptr_t i = (uintptr_t)arg;

    kept[i] = lm_heap_malloc(100 + i, NULL);
    for (int n = 0; n < 3000; n++)
        lm_heap_free(lm_heap_malloc((size_t)n, NULL));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    lm_heap_free(kept[MANY - 1 - i]);
    return NULL;
}

static void auto_comes_and_goes(void **state)
{
    pthread_t threads[MANY];
    struct lm_heap_stats stats;

    (void)state;
    if (!lm_percpu_is_used())
        skip();
    for (int round = 0; round < 5; round++) {
        pthread_barrier_init(&barrier, NULL, MANY + 1);
        for (uintptr_t i = 0; i < MANY; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_stay, (void *)i), 0);
        pthread_barrier_wait(&barrier);
        assert_true(lm_percpu_on);
        lm_heap_free(lm_heap_malloc(77, NULL)); /* this thread moves, too */
        assert_int_equal(lm_heap_check(), 0);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < MANY; i++)
            pthread_join(threads[i], NULL);
        assert_false(lm_percpu_on);
        lm_heap_free(lm_heap_malloc(77, NULL));
        assert_int_equal(lm_heap_check(), 0);
        lm_heap_stats(&stats);
        assert_int_equal(stats.heaps - stats.idle_heaps, 1);
    }
    lm_heap_trim(0);
    lm_heap_stats(&stats);
    assert_int_equal(stats.small_live_bytes, 0);
    assert_int_equal(stats.slabs, 0);
}

static void nobody(void **state)
{
    size_t blocks, bytes;

    (void)state;
    lm_percpu_cached(&blocks, &bytes);
    assert_int_equal(blocks, 0);
    assert_false(lm_percpu_on); /* one thread is not many */
}

/* Once, so that a machine without restartable sequences is known by it. */
static int start(void **state)
{
    (void)state;
    lm_config.cache_threads = lm_max(MANY / 2 / lm_os_cpu_count(), 1);
    cpus_start(LM_CACHE_AUTO);
    lm_percpu_decide(MANY);
    lm_percpu_decide(1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody),
        cmocka_unit_test(auto_comes_and_goes),
        cmocka_unit_test(nobody),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
