/* What a thread that ends leaves to the next one: its empty current slabs, within bounds, and only while nothing else needs
 * them. */
#include "heap/room.h"
#include "lists.h"
#include "os/fake.h"
#include "unit.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>

enum { SIZES = 12, MOST = 16 << 20, THREADS = 24, ROUNDS = 60, TABLE = 512 };

static void *seen[SIZES];

static size_t size_of(int i)
{
    return (size_t)24 << i % 10;
}

/* Each size once: a current slab for each, empty when the thread ends. */
static void *use_each(void *arg)
{
    for (int i = 0; i < SIZES; i++) {
        seen[i] = lm_heap_malloc(size_of(i), NULL);
        if (!seen[i])
            abort();
        memset(seen[i], 1, size_of(i));
        lm_heap_free(seen[i]);
    }
    return arg;
}

static size_t used_bytes(void)
{
    struct lm_page_stats stats;

    lm_page_stats(&stats);
    return stats.used_bytes;
}

static size_t peak_bytes(void)
{
    struct lm_page_stats stats;

    lm_page_stats(&stats);
    return stats.peak_bytes;
}

/* Nothing is kept, nothing is dirty: what is in use now. */
static size_t fresh(void)
{
    lm_fake_reset();
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
    return used_bytes();
}

static void the_next_thread_gets_it(void **state)
{
    void *before[SIZES];
    size_t used = fresh(), kept;
    uint64_t purges;

    (void)state;
    unit_in_thread(use_each, NULL);
    assert_int_equal(lm_idle_check(), 0);
    kept = used_bytes();
    assert_true(kept >= used + 10 * LM_GRANULE);
    memcpy(before, seen, sizeof before);
    purges = lm_fake_calls(LM_OS_PURGE);
    for (int i = 0; i < 5; i++) {
        unit_in_thread(use_each, NULL);
        assert_memory_equal(before, seen, sizeof before); /* the very same pages */
        assert_int_equal(used_bytes(), kept);
        assert_int_equal(lm_heap_check(), 0);
    }
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), purges);
    lm_heap_trim(0);
    assert_int_equal(used_bytes(), used);
    assert_int_equal(lm_heap_check(), 0);
}

static void *leave_one(void *arg)
{
    *(void **)arg = lm_heap_malloc(100, NULL);
    return NULL;
}

static void what_is_live_is_an_orphan(void **state)
{
    size_t used = fresh();
    void *p;

    (void)state;
    unit_in_thread(leave_one, &p);
    assert_null(lm_slab_owner(lm_block_span(p, "free")));
    assert_int_equal(lm_heap_check(), 0);
    lm_heap_free(p);
    lm_heap_trim(0);
    assert_int_equal(used_bytes(), used);
}

static pthread_barrier_t all_there;

/* So many classes that 24 threads have twice as much as may be kept. */
static void *use_many(void *arg)
{
    for (size_t size = 1024; size <= 16 << 10; size += size / 8)
        lm_heap_free(lm_heap_malloc(size, NULL));
    pthread_barrier_wait(&all_there);
    return arg;
}

static void it_is_bounded(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    for (int turn = 0; turn < 2; turn++) { /* in the first, bookkeeping grows as well */
        size_t used = fresh();

        pthread_barrier_init(&all_there, NULL, THREADS);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, use_many, NULL), 0);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(thread[i], NULL), 0);
        pthread_barrier_destroy(&all_there);
        assert_int_equal(lm_heap_check(), 0);
        assert_true(used_bytes() > used + MOST / 2);
        if (turn)
            assert_true(used_bytes() - used <= MOST);
        lm_heap_trim(0);
    }
}

/* Whatever is wanted, small or as large as what fits there, is had from what is kept before there is more memory in all. */
static void it_does_not_raise_the_peak(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        size_t used = fresh(), peak, blocks = large ? 1 : 100;
        void *block[100];
        bool zeroed;
        struct lm_span *rest = /* up to the peak, so that all that is kept is beyond it */
            lm_span_alloc((uint32_t)((peak_bytes() - used) / LM_GRANULE + 1), 1, LM_LARGE, &zeroed);

        assert_non_null(rest);
        unit_in_thread(use_each, NULL);
        peak = peak_bytes();
        for (size_t i = 0; i < blocks; i++)
            assert_non_null(block[i] = lm_heap_malloc(large ? 2 * LM_GRANULE : 3000, NULL));
        assert_int_equal(peak_bytes(), peak);
        assert_int_equal(lm_heap_check(), 0);
        while (blocks)
            lm_heap_free(block[--blocks]);
        lm_span_free(rest);
    }
}

static void it_goes_with_time(void **state)
{
    size_t used = fresh(), kept;

    (void)state;
    lm_fake_clock(1000000);
    assert_false(lm_heap_age()); /* there is nothing */
    unit_in_thread(use_each, NULL);
    kept = used_bytes();
    lm_fake_clock(1000000 + lm_config.purge_ms - 1);
    assert_true(lm_heap_age());
    assert_int_equal(used_bytes(), kept);
    lm_fake_clock(1000000 + lm_config.purge_ms);
    assert_false(lm_heap_age());
    assert_int_equal(used_bytes(), used);
    assert_int_equal(lm_heap_check(), 0);
    lm_fake_reset();
}

static void without_a_delay_nothing_is_kept(void **state)
{
    size_t used = fresh(), purge_ms = lm_config.purge_ms;

    (void)state;
    lm_config.purge_ms = 0;
    unit_in_thread(use_each, NULL);
    assert_int_equal(used_bytes(), used);
    lm_config.purge_ms = purge_ms;
    assert_int_equal(lm_heap_check(), 0);
}

static void *wait_for_the_fork(void *arg)
{
    use_each(NULL);
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&all_there);
    return arg;
}

/* In the child of a process with more threads nothing is kept, and all is in order. */
static void a_child_keeps_nothing(void **state)
{
    pthread_t thread;
    int status;
    pid_t pid;

    (void)state;
    if (unit_is_emulated())
        return;
    fresh();
    pthread_barrier_init(&all_there, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_the_fork, NULL), 0);
    pthread_barrier_wait(&all_there);
    unit_in_thread(use_each, NULL); /* and a heap that keeps something */
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        lm_heap_after_fork();
        if (lm_heap_check())
            _exit(2);
        lm_heap_free(lm_heap_malloc(50, NULL));
        lm_heap_trim(0);
        _exit(lm_heap_check() ? 3 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    pthread_barrier_wait(&all_there);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&all_there);
    assert_int_equal(lm_heap_check(), 0);
}

static void *slot[TABLE];

static void *trade(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;

    for (int i = 0; i < 3000; i++) {
        uint64_t r = unit_random(&seed);
        uintptr_t *p = r % 5 < 3 ? lm_heap_malloc(16 + r / 64 % 6 * 1600, NULL) : NULL;

        if (p)
            *p = (uintptr_t)p;
        p = __atomic_exchange_n(&slot[r / 4096 % TABLE], p, __ATOMIC_ACQ_REL);
        if (p && *p != (uintptr_t)p)
            return "a block was written to";
        lm_heap_free(p);
    }
    return NULL;
}

static void threads_come_and_go(void **state)
{
    uint64_t seed = unit_seed();
    pthread_t thread[3];
    void *fault;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, trade, (void *)(uintptr_t)(unit_random(&seed) | 1)), 0);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pthread_join(thread[i], &fault), 0);
            assert_null(fault);
            assert_int_equal(lm_idle_check(), 0);
        }
        assert_int_equal(lm_heap_check(), 0);
        if (unit_below(&seed, 8) == 0)
            lm_heap_trim(0);
    }
    for (int i = 0; i < TABLE; i++)
        lm_heap_free(slot[i]);
    memset(slot, 0, sizeof slot);
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_thread_gets_it),
        cmocka_unit_test(what_is_live_is_an_orphan),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(it_does_not_raise_the_peak),
        cmocka_unit_test(it_goes_with_time),
        cmocka_unit_test(without_a_delay_nothing_is_kept),
        cmocka_unit_test(a_child_keeps_nothing),
        cmocka_unit_test(threads_come_and_go),
    };

    lm_config.cache = LM_CACHE_THREAD; /* also on machines with few processors */
    lm_heap_start();
    lm_heap_free(lm_heap_malloc(1, NULL));
    return lists_run_group_tests(tests);
}
