/* Piles of each kind: order, and nodes that many threads take, write to, and put back. */
// test: timeout=120
#include "base/base.h"
#include "lists.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { NODES = 64, THREADS = 4, ROUNDS = 40000, PILES = 2 };

static struct {
    uint64_t link;
    uint32_t holder; /* atomic: the thread that has it in its hands; 0: it is on a pile */
} node[NODES + 1];

static uint64_t *link_of(uint32_t n)
{
    return &node[n].link;
}

static struct lm_pile pile[PILES] = {LM_PILE_INIT(LM_RANK_BLOCK, link_of), LM_PILE_INIT(LM_RANK_BLOCK, link_of)};
static uint64_t seed_base;

static void last_in_first_out(void **state)
{
    struct lm_pile *p = &pile[0];

    (void)state;
    assert_true(lm_pile_is_empty(p));
    assert_int_equal(lm_pile_pop(p), 0);
    assert_int_equal(lm_pile_take(p), 0);
    for (uint32_t n = 1; n <= 3; n++) {
        lm_pile_push(p, n);
        assert_int_equal(lm_pile_count(p), n);
        assert_int_equal(lm_pile_check(p), 0);
    }
    assert_int_equal(lm_pile_pop(p), 3);
    lm_pile_push(p, 3);
    assert_int_equal(lm_pile_take(p), 3);
    assert_int_equal(lm_pile_next(p, 3), 2);
    assert_int_equal(lm_pile_next(p, 2), 1);
    assert_int_equal(lm_pile_next(p, 1), 0);
    assert_true(lm_pile_is_empty(p));
    assert_int_equal(lm_pile_check(p), 0);
}

static void check_finds_faults(void **state)
{
    struct lm_pile *p = &pile[0];

    (void)state;
    lm_pile_push(p, 1);
    lm_pile_push(p, 2);
    node[1].link = 2;
    assert_int_not_equal(lm_pile_check(p), 0); /* a ring */
    node[1].link = 0;
    assert_int_equal(lm_pile_check(p), 0);
    node[2].link = 0;
    assert_int_not_equal(lm_pile_check(p), 0); /* a node is missing */
    lm_pile_reset(p);
    assert_true(lm_pile_is_empty(p));
    assert_int_equal(lm_pile_check(p), 0);
}

/* A pop that was about to take A off, when A and B were taken and A put back, must not make B the top. */
static void what_was_put_back_is_another(void **state)
{
    struct lm_pile *p = &pile[0];
    uint64_t before;

    (void)state;
    if (lm_config.lists != LM_LISTS_LOCKFREE)
        skip();
    lm_pile_push(p, 2);
    lm_pile_push(p, 1);
    before = p->head;
    assert_int_equal(lm_pile_pop(p), 1);
    assert_int_equal(lm_pile_pop(p), 2);
    lm_pile_push(p, 1);
    assert_int_equal((uint32_t)p->head, (uint32_t)before);
    assert_int_not_equal(p->head, before);
    assert_int_equal(lm_pile_pop(p), 1);
}

static const char *hold(uint32_t n, uint32_t me)
{
    if (n > NODES || __atomic_exchange_n(&node[n].holder, me, __ATOMIC_ACQ_REL) != 0)
        return "a node was given to two";
    /* it is this thread's now, link and all; others may look */
    __atomic_store_n(&node[n].link, 0xdeadbeef00000000u | (n * 7 % NODES + 1), __ATOMIC_RELAXED);
    return NULL;
}

static void put(uint32_t n, struct lm_pile *to)
{
    __atomic_store_n(&node[n].holder, 0, __ATOMIC_RELEASE);
    lm_pile_push(to, n);
}

static void *trade(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg, held[8], n;
    uint64_t seed = seed_base + me * 977;
    const char *fault = NULL;

    for (int round = 0; round < ROUNDS && !fault; round++) {
        uint64_t r = unit_random(&seed);
        unsigned count = 0, want = 1 + r % 8;

        while (count < want && !fault && (n = lm_pile_pop(&pile[r / 8 % PILES])) != 0) {
            fault = hold(n, me);
            held[count++] = n;
        }
        if (r / 16 % 16 == 0)
            sched_yield();
        while (count && !fault)
            put(held[--count], &pile[r / 256 % PILES]);
        if (r / 512 % 64)
            continue;
        for (uint32_t next = n = lm_pile_take(&pile[0]); n && !fault; n = next) {
            next = lm_pile_next(&pile[0], n);
            fault = hold(n, me);
            put(n, &pile[1]);
        }
    }
    return (void *)fault;
}

static void many_at_once(void **state)
{
    pthread_t thread[THREADS];
    unsigned found = 0;
    void *fault;

    (void)state;
    for (uint32_t n = 1; n <= NODES; n++)
        lm_pile_push(&pile[n % PILES], n);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, trade, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &fault), 0);
        if (fault)
            fail_msg("%s", (const char *)fault);
    }
    for (int i = 0; i < PILES; i++) {
        assert_int_equal(lm_pile_check(&pile[i]), 0);
        for (uint32_t n; (n = lm_pile_pop(&pile[i])) != 0; found++)
            assert_null(hold(n, 1));
    }
    assert_int_equal(found, NODES); /* none was lost */
    assert_int_equal(lm_stm_check(), 0);
    memset(node, 0, sizeof node);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_in_first_out),
        cmocka_unit_test(check_finds_faults),
        cmocka_unit_test(what_was_put_back_is_another),
        cmocka_unit_test(many_at_once),
    };

    seed_base = unit_seed();
    return lists_run_group_tests(tests);
}
