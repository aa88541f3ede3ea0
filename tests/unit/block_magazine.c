/* A depot's lists of magazines, as chains and as piles: what is to spare, many threads at once, fork's child. */
#include "block/cache.h"
#include "lists.h"
#include "unit.h"

#include <pthread.h>

enum { THREADS = 4, MAGAZINES = 40, STEPS = 20000, ROUNDS = 5 };

static struct lm_magazines list[2];
static uint64_t first_seed;

static void start(struct lm_magazines *l)
{
    lm_magazines_start(l, lm_config.lists != LM_LISTS_MUTEX);
}

static void put_new(struct lm_magazines *l, int count)
{
    while (count--) {
        struct lm_magazine *m = lm_magazine_new(ROUNDS, l->is_pile);

        assert_non_null(m);
        assert_int_equal(m->number != 0, l->is_pile);
        lm_magazines_put(l, m);
        assert_int_equal(lm_magazines_check(l), 0);
    }
}

static void get(struct lm_magazines *l, int count)
{
    while (count--) {
        struct lm_magazine *m = lm_magazines_get(l);

        assert_non_null(m);
        lm_magazine_free(m);
        assert_int_equal(lm_magazines_check(l), 0);
    }
}

/* What is to spare is the least length between two questions. */
static void spare_is_the_least_length(void **state)
{
    struct lm_magazines *l = &list[0];

    (void)state;
    start(l);
    put_new(l, 10);
    assert_int_equal(l->room, 10 * ROUNDS);
    assert_int_equal(lm_magazines_spare(l), 0); /* it was empty at first */
    assert_int_equal(lm_magazines_spare(l), 10);
    get(l, 3);
    put_new(l, 2);
    get(l, 1);
    put_new(l, 4);
    assert_int_equal(lm_magazines_count(l), 12);
    assert_int_equal(lm_magazines_spare(l), 7);
    assert_int_equal(lm_magazines_spare(l), 12);
    get(l, 12);
    assert_null(lm_magazines_get(l));
    put_new(l, 6);
    assert_int_equal(lm_magazines_spare(l), 0);
    assert_int_equal(lm_magazines_spare(l), 6);
    get(l, 6);
    assert_int_equal(l->room, 0);
}

/* A number that was given back is given out again, before new ones. */
static void numbers_are_used_again(void **state)
{
    struct lm_magazine *m[MAGAZINES];
    uint32_t most = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MAGAZINES; i++) {
            m[i] = lm_magazine_new(1, true);
            assert_non_null(m[i]);
            for (int j = 0; j < i; j++)
                assert_int_not_equal(m[i]->number, m[j]->number);
            assert_true(round == 0 || m[i]->number <= most);
        }
        for (int i = 0; i < MAGAZINES; i++) {
            most = (uint32_t)lm_max(most, m[i]->number);
            lm_magazine_free(m[i]);
        }
    }
}

/* Moves magazines from one list to the other, frees some and makes others; writes into what it has. */
static void *move_about(void *arg)
{
    uint64_t seed = first_seed + (uintptr_t)arg;

    for (int step = 0; step < STEPS; step++) {
        size_t from = unit_below(&seed, 2);
        struct lm_magazine *m = lm_magazines_get(&list[from]);

        if (!m)
            continue;
        if (m->rounds)
            abort(); /* another has it, too */
        m->rounds = 1;
        if (unit_below(&seed, 50) == 0) {
            lm_magazine_free(m);
            m = lm_magazine_new(ROUNDS, true);
            if (!m)
                abort();
        }
        m->rounds = 0;
        lm_magazines_put(&list[!from], m);
        if (unit_below(&seed, 100) == 0 && lm_magazines_spare(&list[from]) > MAGAZINES + THREADS)
            abort();
    }
    return NULL;
}

static void threads_lose_none(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    if (lm_config.lists == LM_LISTS_MUTEX)
        skip(); /* chains have the depot's lock: model/cache_threads.c */
    first_seed = unit_seed();
    start(&list[0]);
    start(&list[1]);
    put_new(&list[0], MAGAZINES);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, move_about, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(lm_magazines_check(&list[i]), 0);
    assert_int_equal(lm_magazines_count(&list[0]) + lm_magazines_count(&list[1]), MAGAZINES);
    lm_magazines_spare(&list[0]);
    assert_int_equal(lm_magazines_spare(&list[0]), lm_magazines_count(&list[0])); /* nobody is at it any more */
    get(&list[0], (int)lm_magazines_count(&list[0]));
    get(&list[1], (int)lm_magazines_count(&list[1]));
}

/* A thread that had counted its push and not done it, and one that had done its pop and not counted it, are gone. */
static void child_counts_anew(void **state)
{
    struct lm_magazines *l = &list[0];

    (void)state;
    start(l);
    put_new(l, 8);
    lm_magazines_spare(l);
    if (l->is_pile) {
        l->pile.count += 2;
        l->room += 2 * ROUNDS;
        assert_int_not_equal(lm_magazines_check(l), 0);
    }
    lm_magazines_recover(l);
    assert_int_equal(lm_magazines_check(l), 0);
    assert_int_equal(lm_magazines_count(l), 8);
    get(l, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spare_is_the_least_length),
        cmocka_unit_test(numbers_are_used_again), cmocka_unit_test(threads_lose_none),
        cmocka_unit_test(child_counts_anew)};

    lm_heap_start();
    return lists_run_group_tests(tests);
}
