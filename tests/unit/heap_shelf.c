/* Orphans by each kind of list: what becomes of them, one after the other, at once, and with another thread at them
 * between any two instructions. */
// test: timeout=1800
#include "heap/room.h"
#include "step.h"
#include "lists.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { SIZE = 4096, FEW = 3, MANY = 700 };

static void *few[FEW], *many[MANY];
static uint64_t seed_base;

static void count_slabs(struct lm_span *slab, void *arg)
{
    if (slab->kind >= LM_SLAB_CURRENT && !lm_span_is_private(slab) && lm_slab_object_size(slab) == SIZE)
        ++*(unsigned *)arg;
}

static unsigned slabs(void)
{
    unsigned count = 0;

    lm_page_each(count_slabs, &count);
    return count;
}

static void *allocate(size_t size)
{
    void *p = lm_heap_malloc(size, NULL);

    if (!p)
        abort();
    return p;
}

/* The thread's slabs become orphans, and the thread keeps its heap. */
static void disown(void)
{
    if (!lm_heap_mine())
        abort();
    lm_orphans_add_all(lm_heap_mine(), NULL);
}

/* As a thread without a heap frees. */
static void free_straight(void *p)
{
    struct lm_span *slab = lm_block_span(p, "free");
    uint64_t n;

    if (!lm_slab_number(slab, p, &n))
        abort();
    lm_slab_send(slab, n, 0);
    if (lm_slab_push_remote(slab, (uint32_t)n, (uint32_t)n, 1))
        lm_remote_deliver(slab);
}

/* -- one after the other --------------------------------------------------------------------------------------------- */

static void leaves_many(void)
{
    for (int i = 0; i < MANY; i++)
        many[i] = allocate(SIZE);
    disown();
    assert_int_equal(lm_heap_check(), 0);
}

static void goes_with_its_last_block(void **state)
{
    uint64_t seed = unit_seed();
    unsigned most;

    (void)state;
    leaves_many();
    most = slabs();
    for (int left = MANY; left > 0; left--) { /* in random order */
        int i = (int)unit_below(&seed, (uint64_t)left);

        free_straight(many[i]);
        many[i] = many[left - 1];
        assert_int_equal(lm_heap_check(), 0);
        /* as many as can be in use, and not more than an eighth beside them */
        assert_in_range(slabs(), 0, lm_min(most, (unsigned)(left - 1) + (unsigned)(left - 1) / 7 + 1));
    }
    assert_int_equal(slabs(), 0);
}

static void trim_takes_what_is_empty(void **state)
{
    struct lm_span *last = NULL;
    unsigned used = 0;

    (void)state;
    leaves_many();
    for (int i = 0; i < MANY; i++) { /* every tenth slab becomes empty */
        struct lm_span *slab = lm_block_span(many[i], "free");

        used += slab != last;
        last = slab;
        if (used % 10)
            continue;
        free_straight(many[i]);
        many[i] = NULL;
    }
    lm_heap_trim(0);
    assert_int_equal(slabs(), used - used / 10);
    for (int i = 0; i < MANY; i++)
        if (many[i])
            free_straight(many[i]);
    assert_int_equal(slabs(), 0);
}

static void is_adopted_before_one_is_made(void **state)
{
    struct lm_span *slab;

    (void)state;
    for (int i = 0; i < FEW; i++)
        few[i] = allocate(SIZE);
    slab = lm_block_span(few[0], "free");
    disown();
    assert_null(lm_slab_owner(slab));
    free_straight(few[0]);
    few[0] = allocate(SIZE);
    assert_ptr_equal(lm_block_span(few[0], "free"), slab);
    assert_ptr_equal(lm_slab_owner(slab), lm_heap_mine());
    disown();
    lm_heap_free(lm_orphans_malloc(lm_class_of(SIZE))); /* of it, too, and back by its remote list */
    lm_heap_flush();
    assert_int_equal(slabs(), 1);
    for (int i = 0; i < FEW; i++)
        lm_heap_free(few[i]);
    lm_heap_flush();
    assert_int_equal(slabs(), 0);
}

/* -- another thread between any two instructions --------------------------------------------------------------------- */

/* Of so many moments one is tried, a random one; all with LOAM_CHECK_ALL. Checked builds execute many more instructions. */
enum { STRIDE = LOAM_DEBUG ? 311 : 61, PATIENCE = 50 };

static void free_first(void)
{
    free_straight(few[0]);
    few[0] = NULL;
}

static void free_second(void)
{
    free_straight(few[1]);
    few[1] = NULL;
}

static void allocate_one(void)
{
    few[2] = allocate(SIZE);
}

static void allocate_late(void) /* as a thread that is past having a heap */
{
    few[2] = lm_orphans_malloc(lm_class_of(SIZE));
}

static void end(void)
{
    disown();
}

static void trim(void)
{
    lm_heap_trim(0);
}

static void check(void)
{
    if (lm_orphans_check())
        abort();
}

static void (*others)(void); /* what the other thread is to do */
static unsigned asked, answered;
static long stop_at;

static void *other_thread(void *arg)
{
    unsigned seen = 0, now;

    lm_heap_free(allocate(1));
    for (;;) {
        while ((now = __atomic_load_n(&asked, __ATOMIC_ACQUIRE)) == seen) /* pairs with ask */
            sched_yield();
        seen = now;
        if (!others)
            return arg;
        others();
        __atomic_store_n(&answered, seen, __ATOMIC_RELEASE);
    }
}

static void ask(void (*what)(void))
{
    others = what;
    __atomic_add_fetch(&asked, 1, __ATOMIC_RELEASE);
}

static bool is_answered(void)
{
    return __atomic_load_n(&answered, __ATOMIC_ACQUIRE) == asked;
}

/* A lock that this thread holds, or a commit that it is in the middle of, may make the other wait: then it goes on. */
static bool visit(long step)
{
    if (step != stop_at)
        return true;
    ask(others);
    for (int i = 0; i < PATIENCE && !is_answered(); i++)
        sched_yield();
    return false;
}

static void wait_answered(void)
{
    while (!is_answered())
        sched_yield();
}

static void clear(void)
{
    for (int i = 0; i < FEW; i++)
        if (few[i])
            lm_heap_free(few[i]);
    lm_heap_trim(0);
}

/* One slab with few[0] and few[1], an orphan unless this thread is about to end; both threads do something to it. */
static bool both_do(void (*mine)(void), void (*theirs)(void), long step)
{
    unsigned left;

    for (int i = 0; i < FEW; i++)
        few[i] = i < 2 ? allocate(SIZE) : NULL;
    if (mine != end)
        disown();
    stop_at = step;
    others = theirs;
    step_start(visit);
    STEP_ON();
    mine();
    STEP_OFF();
    if (step_count > step)
        wait_answered();
    assert_int_equal(lm_heap_check(), 0);
    clear();
    ask(trim);
    wait_answered();
    assert_int_equal(lm_heap_check(), 0);
    left = slabs();
    if (left)
        printf("%u slabs left at step %ld\n", left, step);
    assert_int_equal(left, 0);
    return step_count > step;
}

static void between_any_two_instructions(void **state)
{
    static void (*const mine[])(void) = {free_first, allocate_one, allocate_late, end, trim, check};
    static void (*const theirs[])(void) = {free_second, allocate_one, allocate_late, trim, check};
    pthread_t thread;
    long visits = 0, stride = getenv("LOAM_CHECK_ALL") && !LOAM_DEBUG ? 1 : STRIDE;
    uint64_t seed = seed_base;

    (void)state;
    if (!step_start(visit))
        skip();
    asked = answered = 0; /* what the last thread was asked is not for this one */
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    for (unsigned m = 0; m < sizeof mine / sizeof *mine; m++)
        for (unsigned t = 0; t < sizeof theirs / sizeof *theirs; t++) {
            if ((mine[m] == allocate_one || mine[m] == allocate_late) &&
                (theirs[t] == allocate_one || theirs[t] == allocate_late))
                continue; /* there is one place for a block; many_come_and_go has two that take */
            for (long step = (long)unit_below(&seed, (uint64_t)stride); both_do(mine[m], theirs[t], step);
                 step += stride)
                visits++;
        }
    ask(NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    printf("%ld moments\n", visits);
    assert_in_range(visits, 20, 1000000);
}

/* -- many at once ----------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, LIVES = 60, STEPS = 1500, SLOTS = 256 };
static void *slot[SLOTS];

static void *short_life(void *arg)
{
    uint64_t seed = seed_base + (uintptr_t)arg * 7919;

    for (int i = 0; i < STEPS; i++) {
        uint64_t r = unit_random(&seed);
        void *p = r % 3 ? allocate(SIZE) : NULL;

        if (p)
            *(uint64_t *)p = (uint64_t)(uintptr_t)p;
        p = __atomic_exchange_n(&slot[r / 8 % SLOTS], p, __ATOMIC_ACQ_REL);
        if (p && *(uint64_t *)p != (uint64_t)(uintptr_t)p)
            return "a block was written to";
        lm_heap_free(p);
        if (r / 4096 % 16 == 0)
            sched_yield();
        if (r / 65536 % 512 == 0 && lm_orphans_check())
            return "an orphan is not as it should be";
        if (r / 65536 % 512 == 1)
            lm_heap_trim(0);
    }
    return NULL;
}

static void many_come_and_go(void **state)
{
    (void)state;
    for (uintptr_t life = 0; life < LIVES; life++) {
        pthread_t thread[THREADS];
        void *fault;

        for (uintptr_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, short_life, (void *)(life * THREADS + i + 1)), 0);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(thread[i], &fault), 0);
            assert_null(fault);
        }
        assert_int_equal(lm_heap_check(), 0);
    }
    for (int i = 0; i < SLOTS; i++)
        lm_heap_free(slot[i]);
    memset(slot, 0, sizeof slot);
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
    assert_int_equal(slabs(), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_with_its_last_block),
        cmocka_unit_test(trim_takes_what_is_empty),
        cmocka_unit_test(is_adopted_before_one_is_made),
        cmocka_unit_test(between_any_two_instructions),
        cmocka_unit_test(many_come_and_go),
    };

    alarm(getenv("LOAM_CHECK_ALL") ? 1700 : 250);
    seed_base = unit_seed();
    lm_heap_start();
    return lists_run_group_tests(tests);
}
