/* The list against an array of the same contents, with its invariant checked after every step. */
#include "base/base.h"
#include "unit.h"

enum { NODES = 16, STEPS = 20000 };

struct item {
    int number;
    struct lm_list node;
};

static struct item items[NODES];

/* The numbers in order are those of `want`, forwards and backwards. */
static void assert_holds(const struct lm_list *head, const int *want, size_t count)
{
    const struct lm_list *n = head;

    for (size_t i = 0; i < count; i++) {
        n = n->next;
        assert_ptr_equal(n->prev->next, n);
        assert_ptr_equal(n->next->prev, n);
        assert_int_equal(LM_CONTAINER(n, struct item, node)->number, want[i]);
    }
    assert_ptr_equal(n->next, head);
    assert_ptr_equal(head->prev, n);
    assert_int_equal(lm_list_empty(head), count == 0);
}

static void keeps_order(void **state)
{
    struct lm_list head;

    (void)state;
    for (int i = 0; i < NODES; i++)
        items[i].number = i;
    lm_list_init(&head);
    assert_holds(&head, NULL, 0);
    assert_null(lm_list_pop_front(&head));
    lm_list_push_back(&head, &items[1].node);
    lm_list_push_front(&head, &items[0].node);
    lm_list_push_back(&head, &items[3].node);
    lm_list_insert_after(&items[1].node, &items[2].node);
    assert_holds(&head, (const int[]){0, 1, 2, 3}, 4);
    lm_list_remove(&items[2].node);
    assert_true(lm_list_empty(&items[2].node)); /* a list of its own, so that it may be removed again */
    lm_list_remove(&items[2].node);
    assert_holds(&head, (const int[]){0, 1, 3}, 3);
    assert_ptr_equal(lm_list_pop_front(&head), &items[0].node);
    assert_holds(&head, (const int[]){1, 3}, 2);
}

static void model_insert(int *model, size_t *count, size_t at, int number)
{
    for (size_t i = (*count)++; i > at; i--)
        model[i] = model[i - 1];
    model[at] = number;
}

static void model_remove(int *model, size_t *count, size_t at)
{
    for (size_t i = at + 1; i < *count; i++)
        model[i - 1] = model[i];
    (*count)--;
}

static void follows_the_model(void **state)
{
    uint64_t seed = unit_seed();
    struct lm_list head;
    int model[NODES];
    size_t count = 0;

    (void)state;
    lm_list_init(&head);
    for (int i = 0; i < NODES; i++) {
        items[i].number = i;
        lm_list_init(&items[i].node);
    }
    for (int step = 0; step < STEPS; step++) {
        struct item *item = &items[unit_below(&seed, NODES)];
        size_t at = 0;

        while (at < count && model[at] != item->number)
            at++;
        if (at < count) {
            lm_list_remove(&item->node);
            model_remove(model, &count, at);
        } else if (unit_below(&seed, 4) == 0) {
            struct lm_list *n = lm_list_pop_front(&head);

            assert_int_equal(n == NULL, count == 0);
            if (n)
                model_remove(model, &count, 0);
        } else if (unit_below(&seed, 2)) {
            lm_list_push_front(&head, &item->node);
            model_insert(model, &count, 0, item->number);
        } else {
            lm_list_push_back(&head, &item->node);
            model_insert(model, &count, count, item->number);
        }
        assert_holds(&head, model, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_order), cmocka_unit_test(follows_the_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
