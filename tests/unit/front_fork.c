/* fork while another thread holds one of loam's locks, and all of them: the child never sees one held. */
#include "front/front.h"
#include "unit.h"

#include <loam/heap.h>
#include <loam/loam.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#if LM_TSAN
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_thread_leaks=0"; /* those that are not there in the child */
}
#endif

static struct lm_lock *const locks[] = {&lm_heaps_lock, &lm_orphans_lock, &lm_huge_lock, &lm_page_lock, &lm_meta_lock};
enum { LOCKS = sizeof locks / sizeof locks[0], HOLD_US = 20000 };
static int first, last; /* held by the other thread */
static bool held;
static bool child_has_threads;
static int forks = 100; /* an emulator takes a second for one */

static void *hold(void *arg)
{
    for (int i = first; i < last; i++)
        lm_lock_take(locks[i]);
    __atomic_store_n(&held, true, __ATOMIC_RELEASE);
    usleep(HOLD_US); /* the forking thread comes to wait for it */
    for (int i = last; i-- > first;)
        lm_lock_release(locks[i]);
    return arg;
}

/* Every kind of block, so that every lock is needed; and a new thread, so that a heap is made. */
static void *use_all(void *arg)
{
    static const size_t sizes[] = {1, 100, 5000, 60000, 300000, 64u << 20};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *p = loam_malloc(sizes[i]);

        if (!p)
            _exit(2);
        p[0] = p[sizes[i] - 1] = 1;
        loam_free(p);
    }
    return arg;
}

static void fork_while_held(int from, int to)
{
    pthread_t thread, inner;
    int status;
    pid_t child;

    first = from;
    last = to;
    held = false;
    assert_int_equal(pthread_create(&thread, NULL, hold, NULL), 0);
    while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE))
        sched_yield();
    child = fork();
    if (child == 0) {
        alarm(20);
        for (int i = 0; i < LOCKS; i++)
            if (!lm_lock_try(locks[i]))
                _exit(1);
            else
                lm_lock_release(locks[i]);
        use_all(NULL);
        if (child_has_threads && (pthread_create(&inner, NULL, use_all, NULL) || pthread_join(inner, NULL)))
            _exit(3);
        _exit(lm_heap_check() ? 4 : 0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    use_all(NULL);
}

static void each_lock(void **state)
{
    (void)state;
    use_all(NULL);
    for (int i = 0; i < LOCKS; i++)
        fork_while_held(i, i + 1);
}

static void every_lock_at_once(void **state)
{
    (void)state;
    fork_while_held(0, LOCKS);
}

static struct loam_heap *heap;
static bool stop;

static void *use_heap(void *arg)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        for (size_t size = 1; size < 2000; size += 37)
            loam_free(loam_heap_malloc(heap, size));
    return arg;
}

/* A private heap that other threads are using. */
static void private_heaps(void **state)
{
    enum { THREADS = 3 };
    pthread_t thread[THREADS];
    int status;

    (void)state;
    heap = loam_heap_create(NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, use_heap, NULL), 0);
    for (int i = 0; i < forks; i++) {
        pid_t child = fork();

        if (child == 0) {
            alarm(20);
            for (size_t size = 0; size < 3000; size++)
                loam_free(loam_heap_malloc(heap, size));
            loam_heap_destroy(heap);
            _exit(lm_page_check() != 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_destroy(heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_lock), cmocka_unit_test(every_lock_at_once), cmocka_unit_test(private_heaps)};

    child_has_threads = !LM_TSAN; /* which cannot follow a thread made in a fork's child */
    if (unit_is_emulated()) {
        child_has_threads = false;
        forks = 10;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
