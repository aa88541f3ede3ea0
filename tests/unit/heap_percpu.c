/* Heaps and caches of CPUs: blocks keep their contents, every invariant holds after each step, draining leaves nothing
 * behind, and no CPU is given a block of a page that another allocates from. */
#include "heap/cpu.h"
#include "heap/heap.h"
#include "os/fake.h"
#include "cpus.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 2000, STEPS = 40000 };

static struct {
    unsigned char *p;
    size_t size;
    unsigned char stamp;
} block[BLOCKS];

static bool usable(void)
{
    return lm_percpu_is_used();
}

static void step(uint64_t *seed)
{
    int i = (int)unit_below(seed, BLOCKS);
    size_t size = 1 + unit_below(seed, unit_below(seed, 8) ? 700 : LM_SLAB_MAX);

    if (block[i].p) {
        assert_int_equal(block[i].p[0], block[i].stamp);
        assert_int_equal(block[i].p[block[i].size - 1], block[i].stamp);
        errno = 7;
        lm_heap_free(block[i].p);
        assert_int_equal(errno, 7);
        block[i].p = NULL;
        return;
    }
    block[i].p = unit_below(seed, 8) ? lm_heap_malloc(size, NULL)
                                     : lm_heap_malloc_aligned(size, (size_t)16 << unit_below(seed, 9));
    if (!block[i].p) {
        assert_int_equal(errno, ENOMEM);
        return;
    }
    block[i].size = size;
    block[i].stamp = (unsigned char)unit_random(seed);
    memset(block[i].p, block[i].stamp, size);
}

static void free_all(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        lm_heap_free(block[i].p);
        block[i].p = NULL;
    }
}

static void move_to(unsigned cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void assert_all_gone(void)
{
    struct lm_heap_stats stats;
    size_t blocks, bytes;

    lm_percpu_cached(&blocks, &bytes);
    assert_int_equal(blocks, 0);
    assert_int_equal(bytes, 0);
    lm_heap_stats(&stats);
    assert_int_equal(stats.small_live_bytes, 0);
    assert_int_equal(stats.slabs, 0);
}

static void keeps_blocks_and_invariants(void **state)
{
    uint64_t seed = unit_seed();
    unsigned cpus = lm_os_cpu_count();
    cpu_set_t all;

    (void)state;
    sched_getaffinity(0, sizeof all, &all);
    for (int i = 0; i < STEPS; i++) {
        step(&seed);
        if (unit_below(&seed, 500) == 0)
            move_to((unsigned)unit_below(&seed, cpus));
        if (unit_below(&seed, 100) == 0)
            assert_int_equal(lm_heap_check(), 0);
        if (unit_below(&seed, 2000) == 0)
            lm_heap_trim(0);
    }
    sched_setaffinity(0, sizeof all, &all);
    free_all();
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
    assert_all_gone();
    assert_int_equal(lm_percpu_on, usable());
}

static void survives_a_failing_system(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (int i = 0; i < STEPS / 4; i++) {
        if (i % 1000 == 0)
            lm_fake_fail_every(LM_OS_COMMIT, 1 + unit_below(&seed, 3));
        if (i % 1000 == 500)
            lm_fake_reset();
        step(&seed);
        if (i % 200 == 0)
            assert_int_equal(lm_heap_check(), 0);
    }
    lm_fake_reset();
    free_all();
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
    assert_all_gone();
}

/* -- two CPUs at once ------------------------------------------------------------------------------------------------ */

enum { PLACES = 3000, TAKEN = 8 };
static void *place[2][PLACES], *passed[TAKEN];
static pthread_barrier_t barrier;

/* Thread 1 first frees what thread 0 gave it; then both allocate at the same time, each on a CPU of its own. */
static void *allocate(void *arg)
{
    unsigned me = arg != NULL;

    move_to(me);
    if (!me)
        for (int i = 0; i < TAKEN; i++)
            passed[i] = lm_heap_malloc(24, NULL);
    pthread_barrier_wait(&barrier);
    if (me)
        for (int i = 0; i < TAKEN; i++)
            lm_heap_free(passed[i]);
    for (int i = 0; i < PLACES; i++) {
        place[me][i] = lm_heap_malloc(24, NULL);
        for (int spin = 0; spin < 200; spin++)
            __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* Pages of which both threads have blocks. */
static int shared_pages(void)
{
    size_t page = lm_os_page_size();
    int shared = 0;

    for (int i = 0; i < PLACES; i++)
        for (int k = 0; k < PLACES; k++)
            if ((uintptr_t)place[0][i] / page == (uintptr_t)place[1][k] / page) {
                shared++;
                break;
            }
    return shared;
}

/* Two pinned threads run at the same time, so by their numbers or by their CPUs they have lists of their own. What a
 * preempted thread's number does meanwhile is not fixed, so some rounds may mix; a sharing allocator mixes in all. */
static void two_cpus_share_no_page(void **state)
{
    int apart = 0;

    (void)state;
    if (!usable() || lm_os_cpu_count() < 2)
        skip();
    for (int round = 0; round < 20; round++) {
        pthread_t threads[2];

        pthread_barrier_init(&barrier, NULL, 2);
        for (uintptr_t i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, allocate, (void *)i), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        apart += shared_pages() == 0;
        for (int i = 0; i < PLACES; i++) {
            lm_heap_free(place[0][i]);
            lm_heap_free(place[1][i]);
        }
        lm_heap_trim(0);
        assert_int_equal(lm_heap_check(), 0);
    }
    printf("%d of 20 rounds apart\n", apart);
    assert_true(apart > 0);
}

/* -- fork ---------------------------------------------------------------------------------------- */

static void a_child_goes_on(void **state)
{
    void *before[500];
    int status;
    pid_t child;

    (void)state;
    for (int i = 0; i < 500; i++)
        before[i] = lm_heap_malloc((size_t)i, NULL);
    lm_percpu_fork_take();
    child = fork();
    if (child == 0) {
        lm_percpu_fork_reset();
        lm_heap_after_fork();
        for (int i = 0; i < 500; i++)
            lm_heap_free(before[i]);
        for (int i = 0; i < 5000; i++)
            lm_heap_free(lm_heap_malloc((size_t)i, NULL));
        lm_heap_trim(0);
        _exit(lm_heap_check() != 0);
    }
    lm_percpu_fork_release();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 0; i < 500; i++)
        lm_heap_free(before[i]);
    lm_heap_trim(0);
    assert_all_gone();
}

static int start(void **state)
{
    (void)state;
    lm_fake_reset();
    cpus_start(LM_CACHE_CPU);
    lm_heap_free(lm_heap_malloc(1, NULL));
    printf("CPUs are %sused\n", usable() ? "" : "not ");
    return 0;
}

/* However many classes serve, bookkeeping memory has room for a CPU's lists, and each that serves has one. */
static void lists_fit(void **state)
{
    (void)state;
    for (unsigned in_a_doubling = 16; in_a_doubling; in_a_doubling /= 2) {
        size_t bytes = LM_CPU_LISTS * sizeof(struct lm_rseq_list);

        lm_class_space(in_a_doubling);
        for (unsigned i = 0; i < LM_CPU_LISTS; i++) {
            assert_int_equal(lm_cpu_slots(i) > 0, i == LM_CPU_FOREIGN || lm_class_serving[i] == i);
            bytes += lm_cpu_slots(i) * sizeof(struct lm_rseq_slot);
        }
        assert_in_range(bytes, 1, LM_GRANULE);
    }
    lm_class_space((unsigned)lm_config.classes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_blocks_and_invariants),
        cmocka_unit_test(survives_a_failing_system),
        cmocka_unit_test(two_cpus_share_no_page),
        cmocka_unit_test(a_child_goes_on),
        cmocka_unit_test(lists_fit),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
