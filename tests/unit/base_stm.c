/* Transactions: one after the other, many at once, and what a doomed one may see. */
// test: timeout=120
#include "base/base.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>

enum { THREADS = 4, ROUNDS = 20000, WORDS = 8, EACH = 1000 };

static uintptr_t words[WORDS];
static uint64_t seed_base;

static void in_threads(void *(*routine)(void *), int threads)
{
    pthread_t thread[THREADS];
    void *fault;

    for (int i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, routine, (void *)(uintptr_t)(i + 1)), 0);
    for (int i = 0; i < threads; i++) {
        assert_int_equal(pthread_join(thread[i], &fault), 0);
        assert_null(fault);
    }
    assert_int_equal(lm_stm_check(), 0);
}

/* Gives the processor away at random: transactions overlap even on one. */
static void stumble(uint64_t *seed)
{
    if (unit_below(seed, 16) == 0)
        sched_yield();
}

static void one_thread(void **state)
{
    struct lm_stm tx;

    (void)state;
    lm_stm_start(&tx);
    lm_stm_begin(&tx);
    lm_stm_write(&tx, &words[0], 5);
    assert_int_equal(lm_stm_read(&tx, &words[0]), 5); /* its own */
    assert_int_equal(words[0], 0);                    /* nobody else's yet */
    lm_stm_write(&tx, &words[0], 6);
    assert_true(lm_stm_commit(&tx));
    assert_int_equal(words[0], 6);
    lm_stm_begin(&tx);
    lm_stm_write(&tx, &words[0], 7);
    lm_stm_abort(&tx);
    assert_int_equal(words[0], 6);
    words[0] = 0;
    assert_int_equal(lm_stm_check(), 0);
}

static void conflicts(void **state)
{
    struct lm_stm one, two;

    (void)state;
    lm_stm_start(&one);
    lm_stm_start(&two);
    lm_stm_begin(&one);
    lm_stm_begin(&two);
    lm_stm_write(&one, &words[0], lm_stm_read(&one, &words[0]) + 1);
    lm_stm_write(&two, &words[0], lm_stm_read(&two, &words[0]) + 1);
    assert_true(lm_stm_commit(&one));
    assert_false(lm_stm_commit(&two)); /* what it read is no more */
    lm_stm_begin(&two);
    lm_stm_write(&one, &words[1], 1); /* of a transaction that begins anew below */
    lm_stm_begin(&one);
    lm_stm_write(&one, &words[1], 1);
    assert_true(lm_stm_commit(&one));
    lm_stm_read(&two, &words[1]); /* newer than its beginning */
    assert_false(lm_stm_ok(&two));
    assert_int_equal(lm_stm_read(&two, &words[0]), 0);
    assert_false(lm_stm_commit(&two));
    lm_stm_abort(&two);
    words[0] = words[1] = 0;
    assert_int_equal(lm_stm_check(), 0);
}

/* One that fails again and again is at last alone, and then cannot fail. */
static void is_alone_at_last(void **state)
{
    struct lm_stm poor, rich;

    (void)state;
    lm_stm_start(&poor);
    lm_stm_start(&rich);
    for (int i = 0; i < LM_STM_TRIES; i++) {
        lm_stm_begin(&poor);
        lm_stm_write(&poor, &words[0], lm_stm_read(&poor, &words[0]) + 1);
        lm_stm_begin(&rich);
        lm_stm_write(&rich, &words[0], lm_stm_read(&rich, &words[0]) + 1);
        assert_true(lm_stm_commit(&rich));
        rich.tries = 0;
        assert_false(lm_stm_commit(&poor));
        assert_false(poor.alone);
    }
    lm_stm_begin(&poor);
    assert_true(poor.alone);
    lm_stm_write(&poor, &words[0], lm_stm_read(&poor, &words[0]) + 1);
    assert_true(lm_stm_commit(&poor));
    assert_false(poor.alone);
    assert_int_equal(words[0], LM_STM_TRIES + 1);
    words[0] = 0;
    assert_int_equal(lm_stm_check(), 0);
}

/* Moves value between words; every sum that a transaction sees is the same, even one that will fail. */
static void *move(void *arg)
{
    uint64_t seed = seed_base + (uintptr_t)arg * 977;
    struct lm_stm tx;

    for (int round = 0; round < ROUNDS; round++) {
        lm_stm_start(&tx);
        do {
            uintptr_t sum = 0, value[WORDS];
            size_t from = unit_below(&seed, WORDS), to = unit_below(&seed, WORDS), some;

            lm_stm_begin(&tx);
            for (int i = 0; i < WORDS; i++) {
                sum += value[i] = lm_stm_read(&tx, &words[i]);
                stumble(&seed);
            }
            if (lm_stm_ok(&tx) && sum != WORDS * EACH)
                return "an inconsistent sum was seen";
            some = value[from] ? unit_below(&seed, value[from] + 1) : 0;
            if (round % 4 == 0 || from == to)
                continue; /* reads only */
            lm_stm_write(&tx, &words[from], value[from] - some);
            lm_stm_write(&tx, &words[to], value[to] + some);
        } while (!lm_stm_commit(&tx));
    }
    return NULL;
}

static void sums_are_kept(void **state)
{
    uintptr_t sum = 0;

    (void)state;
    for (int i = 0; i < WORDS; i++)
        words[i] = EACH;
    in_threads(move, THREADS);
    for (int i = 0; i < WORDS; i++)
        sum += words[i];
    assert_int_equal(sum, WORDS * EACH);
}

/* A sorted list of small numbers, linked by index; each thread inserts and removes numbers of its own. */
enum { NODES = 24, ENDS = NODES };
static uintptr_t list_next[NODES + 1];

static void list_do(struct lm_stm *tx, uintptr_t node, bool insert, bool *did)
{
    uintptr_t prev = ENDS, at = lm_stm_read(tx, &list_next[ENDS]);

    while (lm_stm_ok(tx) && at != ENDS && at < node) {
        prev = at;
        at = lm_stm_read(tx, &list_next[at]);
    }
    if (!lm_stm_ok(tx))
        return;
    *did = insert ? at != node : at == node;
    if (*did && insert) {
        lm_stm_write(tx, &list_next[node], at);
        lm_stm_write(tx, &list_next[prev], node);
    } else if (*did) {
        lm_stm_write(tx, &list_next[prev], lm_stm_read(tx, &list_next[node]));
        lm_stm_write(tx, &list_next[node], node); /* points to itself: not in the list */
    }
}

static void *edit_list(void *arg)
{
    uintptr_t me = (uintptr_t)arg - 1;
    uint64_t seed = seed_base + me * 31;
    bool in[NODES] = {false}, did = false;
    struct lm_stm tx;

    for (int round = 0; round < ROUNDS; round++) {
        uintptr_t node = unit_below(&seed, NODES / THREADS) * THREADS + me;
        bool insert = unit_below(&seed, 2);

        lm_stm_start(&tx);
        do {
            lm_stm_begin(&tx);
            list_do(&tx, node, insert, &did);
            stumble(&seed);
        } while (!lm_stm_commit(&tx));
        if (did != (insert != in[node]))
            return "the list does not hold what was put into it";
        in[node] = insert;
    }
    for (uintptr_t node = me; node < NODES; node += THREADS) {
        lm_stm_start(&tx);
        do {
            lm_stm_begin(&tx);
            list_do(&tx, node, false, &did);
        } while (!lm_stm_commit(&tx));
        if (did != in[node])
            return "the list does not hold at the end what was put into it";
    }
    return NULL;
}

static void list_is_linear(void **state)
{
    (void)state;
    for (uintptr_t i = 0; i <= NODES; i++)
        list_next[i] = i;
    in_threads(edit_list, THREADS);
    assert_int_equal(list_next[ENDS], ENDS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread),
        cmocka_unit_test(conflicts),
        cmocka_unit_test(is_alone_at_last),
        cmocka_unit_test(sums_are_kept),
        cmocka_unit_test(list_is_linear),
    };

    seed_base = unit_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
