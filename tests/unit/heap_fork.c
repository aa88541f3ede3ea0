// test: timeout=3600
/* What the child of a fork makes of the slabs of threads that are not there any more. The locks are taken and reset
 * as front/init.c does it, by the test. */
#include "heap/room.h"
#include "step.h"
#include "lists.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 4096, BLOCKS = 70 };

static void *block[BLOCKS];
static bool go;

/* Blocks in several slabs, of which the thread's end makes orphans. */
static void *leave_blocks(void *arg)
{
    for (int i = 0; i < BLOCKS; i++)
        if (!(block[i] = lm_heap_malloc(SIZE, NULL)))
            abort();
    for (int i = 1; i < BLOCKS; i += 3) {
        lm_heap_free(block[i]);
        block[i] = NULL;
    }
    return arg;
}

static void count_of_size(struct lm_span *slab, void *arg)
{
    if (slab->kind >= LM_SLAB_CURRENT && lm_slab_object_size(slab) == SIZE)
        ++*(unsigned *)arg;
}

static void count_ownerless(struct lm_span *slab, void *arg)
{
    if (slab->kind >= LM_SLAB_CURRENT && !lm_slab_owner(slab))
        ++*(unsigned *)arg;
}

/* Frees what leave_blocks left: every orphan must go with its last block. */
static int free_all(void)
{
    unsigned left = 0;

    for (int i = 0; i < BLOCKS; i++) {
        lm_heap_free(block[i]);
        block[i] = NULL;
        if (lm_heap_check())
            return 2;
    }
    lm_heap_trim(0); /* the adopted one, which is current */
    lm_page_each(count_ownerless, &left);
    return left ? 3 : 0;
}

/* A new heap takes an orphan before it makes a slab. */
static bool adopts(void)
{
    void *p = lm_heap_malloc(SIZE, NULL);
    bool found = false;

    for (int i = 0; i < BLOCKS; i++)
        found |= block[i] && lm_block_span(block[i], "free") == lm_block_span(p, "free");
    lm_heap_free(p);
    return found;
}

static int fork_and_free_all(void)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        alarm(20);
        lm_lock_reset(&lm_orphans_lock);
        lm_heap_after_fork();
        if (lm_heap_check() || (!lm_heap_mine() && !adopts()))
            _exit(1);
        _exit(free_all());
    }
    return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static void *fork_without_heap(void *arg)
{
    *(int *)arg = lm_heap_mine() ? -2 : fork_and_free_all();
    return NULL;
}

static void orphans_are_known_to_a_child_without_heap(void **state)
{
    int status;

    (void)state;
    lm_heap_free(lm_heap_malloc(1, NULL)); /* this thread has a heap, so the forking one is not alone */
    unit_in_thread(leave_blocks, NULL);
    unit_in_thread(fork_without_heap, &status);
    assert_int_equal(status, 0);
    assert_int_equal(free_all(), 0);
}

static void *free_one(void *arg)
{
    void *p = block[0];

    (void)arg;
    block[0] = NULL;
    lm_heap_free(p);
    return NULL;
}

/* A thread without a heap has pushed a block, and waits for the orphans' lock, which a fork holds. */
static void delivery_ends_with_its_thread(void **state)
{
    pthread_t thread;
    struct lm_span *slab;
    int status;

    (void)state;
    if (lm_config.lists != LM_LISTS_MUTEX)
        skip(); /* nothing waits; fork_while_mail_comes_in */
    unit_in_thread(leave_blocks, NULL);
    slab = lm_block_span(block[0], "free");
    lm_lock_take(&lm_orphans_lock);
    assert_int_equal(pthread_create(&thread, NULL, free_one, NULL), 0);
    while (!lm_slab_is_mailed(slab))
        sched_yield();
    status = fork_and_free_all();
    lm_lock_release(&lm_orphans_lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(status, 0);
    assert_int_equal(free_all(), 0);
}

static void *have_heap(void *arg)
{
    lm_heap_free(lm_heap_malloc(1, NULL));
    __atomic_store_n(&go, true, __ATOMIC_RELEASE);
    while (__atomic_load_n(&go, __ATOMIC_ACQUIRE))
        sched_yield();
    return arg;
}

/* Pushes a block onto its slab, as a thread without a heap frees it; true when that is to be delivered. */
static bool push_straight(struct lm_span *slab, void *p)
{
    uint64_t n;

    if (!lm_slab_number(slab, p, &n))
        abort();
    lm_slab_send(slab, n, 0);
    return lm_slab_push_remote(slab, (uint32_t)n, (uint32_t)n, 1);
}

/* A slab of the forking thread's own has become empty while another thread was about to deliver it. */
static void empty_slab_on_its_way_is_released(void **state)
{
    pthread_t thread;
    struct lm_span *slab;
    void *mine[BLOCKS];
    int count = 0, status;
    pid_t child;

    (void)state;
    mine[0] = lm_heap_malloc(SIZE, NULL);
    slab = lm_block_span(mine[0], "free");
    assert_true(push_straight(slab, mine[0])); /* as the other thread does, who then is stopped */
    while (count < BLOCKS && lm_block_span(mine[count] = lm_heap_malloc(SIZE, NULL), "free") == slab)
        count++;
    assert_in_range(count, 1, BLOCKS - 1);
    for (int i = 0; i < count; i++)
        lm_heap_free(mine[i]);
    assert_int_equal(slab->kind, LM_SLAB_PARTIAL);
    assert_int_equal(lm_slab_annex(slab)->countdown, 0);
    assert_int_equal(pthread_create(&thread, NULL, have_heap, NULL), 0);
    while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
        sched_yield();
    child = fork();
    if (child == 0) {
        lm_heap_after_fork();
        lm_heap_trim(0); /* it stands in this heap's mailbox now */
        _exit(lm_heap_check() ? 1 : slab->kind >= LM_SLAB_CURRENT ? 2 : 0);
    }
    __atomic_store_n(&go, false, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    lm_remote_deliver(slab); /* the other thread goes on */
    lm_heap_trim(0);
    lm_heap_free(mine[count]);
    assert_true(slab->kind < LM_SLAB_CURRENT);
    assert_int_equal(lm_heap_check(), 0);
}

/* Another thread has the span of a slab, but not yet made it one. */
static void slab_in_the_making_is_given_back(void **state)
{
    pthread_t thread;
    struct lm_span *span;
    bool zeroed;
    int status = -1;
    pid_t child;

    (void)state;
    lm_heap_free(lm_heap_malloc(1, NULL));
    assert_int_equal(pthread_create(&thread, NULL, have_heap, NULL), 0);
    while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
        sched_yield();
    span = lm_span_alloc(3, 1, LM_SLAB_CURRENT, &zeroed); /* as it stands in lm_slab_create_in when the fork comes */
    assert_non_null(span);
    child = fork();
    if (child == 0) {
        alarm(20);
        lm_heap_after_fork();
        _exit(lm_heap_check() ? 1 : span->kind >= LM_SLAB_CURRENT ? 2 : 0);
    }
    __atomic_store_n(&go, false, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    lm_span_free(span);
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
}

/* -- a handler that forks, at any instruction; the child returns from it and goes on ------------------------------------ */

/* Of so many instructions one is tried, a random one; all with LOAM_CHECK_ALL. Checked builds have many more. */
enum { STRIDE = LOAM_DEBUG ? 37 : 11 };

static bool stepped_in_child;
static int bad_children, good_children;
static long stride, first_step;

/* The rule of front/init.c: where this thread holds locks or has mail in its hands, the child leaves the heap alone. */
static bool heap_is_at_rest(void)
{
    static struct lm_lock *const locks[] = {
        &lm_heaps_lock, &lm_orphans_lock, &lm_huge_lock, &lm_page_lock, &lm_meta_lock};
    bool rests = !lm_remote_is_mine();

    for (unsigned i = 0; i < sizeof locks / sizeof *locks; i++)
        rests &= !lm_lock_is_mine(locks[i]);
    return rests;
}

static bool fork_here(long step)
{
    bool rests = heap_is_at_rest();
    int status = -1;
    pid_t child;

    if (step % stride != first_step)
        return true;
    child = fork();
    if (child == 0) {
        alarm(20);
        if (rests)
            lm_heap_after_fork();
        stepped_in_child = true;
        return false;
    }
    if (child > 0 && waitpid(child, &status, 0) == child && status == 0)
        good_children++;
    else if (bad_children++ == 0)
        printf("a child that was forked at step %ld ended with status %x\n", step, (unsigned)status);
    return true;
}

/* Slabs of this thread's own and orphans, blocks of which are on their way home: three of the former stand in the mailbox
 * when the last block is allocated; the frees empty one of the latter. */
static void mail_comes_in(void)
{
    void *mine[3 * BLOCKS], *fresh[BLOCKS];
    int count = 0, made = 0;

    for (; count < 3 * BLOCKS; count++)
        mine[count] = lm_heap_malloc(SIZE, NULL);
    for (int i = 0; i < count; i += 2) {
        struct lm_span *slab = lm_block_span(mine[i], "free");

        if (push_straight(slab, mine[i]))
            lm_remote_deliver(slab);
    }
    STEP_ON();
    while (lm_heap_mine()->mailbox && made < BLOCKS)
        fresh[made++] = lm_heap_malloc(SIZE, NULL);
    for (int i = 1; i < 12; i++) {
        lm_heap_free(block[i]);
        block[i] = NULL;
    }
    lm_remote_flush(lm_heap_mine());
    STEP_OFF();
    while (made)
        lm_heap_free(fresh[--made]);
    for (int i = 1; i < count; i += 2)
        lm_heap_free(mine[i]);
}

/* A heap makes a few slabs more once it has grown, of memory that it takes for several at once, and has still when it forks. */
static void slabs_are_made(void)
{
    enum { MORE = 5, OBJECTS = LM_GRANULE / SIZE, MOST = 600 * OBJECTS };
    static void *mine[MOST];
    size_t prefault = lm_config.prefault_bytes;
    struct lm_heap *heap = lm_heap_mine();
    int count = 0, slabs = 0;

    lm_config.prefault_bytes = LM_GRANULE;
    while (slabs < MORE && count < MOST) {
        const struct lm_span *slab = heap->current[lm_class_for(SIZE)];
        bool steps = lm_slab_annex(slab)->head == 0 && slab->carved == OBJECTS && (slabs || heap->ahead);

        slabs += steps;
        if (steps && !stepped_in_child)
            STEP_ON();
        mine[count++] = lm_heap_malloc(SIZE, NULL);
        if (steps && !stepped_in_child)
            STEP_OFF();
    }
    if (slabs < MORE)
        abort();
    while (count)
        lm_heap_free(mine[--count]);
    lm_config.prefault_bytes = prefault;
}

static void fork_at_any_instruction(void (*of)(void))
{
    uint64_t seed = unit_seed();
    unsigned left = 0;
    pthread_t thread;
    int fault;

    bad_children = good_children = 0;
    stride = getenv("LOAM_CHECK_ALL") ? 1 : STRIDE;
    first_step = (long)unit_below(&seed, (uint64_t)stride);
    unit_in_thread(leave_blocks, NULL);
    assert_int_equal(pthread_create(&thread, NULL, have_heap, NULL), 0); /* so that the child has something to do */
    while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
        sched_yield();
    if (!step_start(fork_here))
        print_message("no trap flag: no child\n");
    of();
    for (int i = 0; i < BLOCKS; i++) {
        lm_heap_free(block[i]);
        block[i] = NULL;
    }
    lm_heap_trim(0);
    lm_heap_trim(0); /* what the first gave back to orphans */
    fault = lm_heap_check();
    if (!fault)
        lm_page_each(count_of_size, &left);
    if (stepped_in_child)
        _exit(fault ? 1 : left ? 2 : 0);
    __atomic_store_n(&go, false, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(fault, 0);
    assert_int_equal(left, 0);
    printf("%d children\n", good_children);
    assert_int_equal(bad_children, 0);
}

static void fork_while_mail_comes_in(void **state)
{
    (void)state;
    fork_at_any_instruction(mail_comes_in);
}

static void fork_while_slabs_are_made(void **state)
{
    (void)state;
    fork_at_any_instruction(slabs_are_made);
}

/* -- a thread that vanishes at any instruction, because another forks ---------------------------------------------------- */

enum { VANISH_STRIDE = 97 };
static bool fork_wanted, thread_done;

static bool vanish_here(long step)
{
    if (step % stride != first_step)
        return true;
    __atomic_store_n(&fork_wanted, true, __ATOMIC_RELEASE);
    while (__atomic_load_n(&fork_wanted, __ATOMIC_ACQUIRE))
        sched_yield();
    return true;
}

/* Makes slabs, fills and empties them, and frees others' blocks. */
static void *vanishing(void *arg)
{
    void *mine[BLOCKS], **others = arg;

    STEP_ON();
    for (int i = 0; i < BLOCKS; i++)
        mine[i] = lm_heap_malloc(SIZE, NULL);
    for (int i = 0; i < BLOCKS; i++)
        lm_heap_free(i % 2 ? mine[i] : others[i]);
    for (int i = 0; i < BLOCKS; i += 2)
        lm_heap_free(mine[i]);
    lm_heap_trim(0);
    STEP_OFF();
    __atomic_store_n(&thread_done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Forks, unless the thread that is stopped holds a lock, for which a fork would wait. */
static void fork_now(void)
{
    static struct lm_lock *const locks[] = {
        &lm_heaps_lock, &lm_orphans_lock, &lm_huge_lock, &lm_page_lock, &lm_meta_lock};
    unsigned count = sizeof locks / sizeof *locks, taken = 0;
    int status = -1;
    pid_t child = 0;

    while (taken < count && lm_lock_try(locks[taken]))
        taken++;
    if (taken == count && (child = fork()) == 0) {
        alarm(20);
        while (taken)
            lm_lock_release(locks[--taken]);
        lm_heap_after_fork();
        if (lm_heap_check())
            _exit(1);
        for (int i = 0; i < BLOCKS; i++)
            lm_heap_free(block[i]);
        lm_heap_flush();
        for (int i = 0; i < BLOCKS; i++)
            block[i] = lm_heap_malloc(SIZE, NULL);
        _exit(lm_heap_check() ? 2 : 0);
    }
    while (taken)
        lm_lock_release(locks[--taken]);
    if (child == 0)
        return;
    if (child > 0 && waitpid(child, &status, 0) == child && status == 0)
        good_children++;
    else if (bad_children++ == 0)
        printf("a child ended with status %x\n", (unsigned)status);
}

static void thread_vanishes_at_any_instruction(void **state)
{
    void *others[BLOCKS];
    uint64_t seed = unit_seed();
    pthread_t thread;

    (void)state;
    bad_children = good_children = 0;
    stride = getenv("LOAM_CHECK_ALL") ? 1 : VANISH_STRIDE;
    first_step = (long)unit_below(&seed, (uint64_t)stride);
    unit_in_thread(leave_blocks, NULL);
    for (int i = 0; i < BLOCKS; i++)
        others[i] = lm_heap_malloc(SIZE, NULL);
    thread_done = false;
    step_start(vanish_here);
    assert_int_equal(pthread_create(&thread, NULL, vanishing, others), 0);
    while (!__atomic_load_n(&thread_done, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&fork_wanted, __ATOMIC_ACQUIRE)) {
            fork_now();
            __atomic_store_n(&fork_wanted, false, __ATOMIC_RELEASE);
        }
        sched_yield();
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 1; i < BLOCKS; i += 2)
        lm_heap_free(others[i]);
    assert_int_equal(free_all(), 0);
    printf("%d children\n", good_children);
    assert_int_equal(bad_children, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(orphans_are_known_to_a_child_without_heap),
        cmocka_unit_test(delivery_ends_with_its_thread),
        cmocka_unit_test(empty_slab_on_its_way_is_released),
        cmocka_unit_test(slab_in_the_making_is_given_back),
        cmocka_unit_test(fork_while_mail_comes_in),
        cmocka_unit_test(fork_while_slabs_are_made),
        cmocka_unit_test(thread_vanishes_at_any_instruction),
    };

    lm_heap_start();
    return lists_run_group_tests(tests);
}
