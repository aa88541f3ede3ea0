/* The buddy against a map of bytes, one a unit. */
#include "page/buddy.h"
#include "unit.h"

#include <string.h>

enum { UNITS = 777, STEPS = 20000 }; /* no power of two: the last blocks are cut off */

static struct lm_buddy buddy;
static unsigned char taken[UNITS];
static _Alignas(8) unsigned char meta[UNITS * 16];

static uint32_t count_free(void)
{
    uint32_t free_units = 0;

    for (uint32_t i = 0; i < UNITS; i++)
        free_units += !taken[i];
    return free_units;
}

static void take(uint32_t first, uint32_t units)
{
    for (uint32_t i = first; i < first + units; i++) {
        assert_false(taken[i]);
        taken[i] = 1;
    }
}

static void start(bool all_free)
{
    assert_true(lm_buddy_meta_bytes(UNITS) <= sizeof meta);
    memset(meta, 0, sizeof meta);
    memset(taken, !all_free, sizeof taken);
    lm_buddy_init(&buddy, UNITS, meta);
    assert_int_equal(lm_buddy_alloc(&buddy, 1), LM_BUDDY_NONE);
    if (all_free)
        lm_buddy_free(&buddy, 0, UNITS);
}

static void agrees_with_a_map(void **state)
{
    uint64_t seed = unit_seed();
    struct {
        uint32_t first, units;
    } held[UNITS];
    unsigned count = 0;

    (void)state;
    start(true);
    for (int step = 0; step < STEPS; step++) {
        uint32_t units = 1 + (uint32_t)unit_below(&seed, unit_below(&seed, 4) ? 8 : 200);

        if (count && unit_below(&seed, 2)) {
            unsigned i = (unsigned)unit_below(&seed, count);

            lm_buddy_free(&buddy, held[i].first, held[i].units);
            memset(taken + held[i].first, 0, held[i].units);
            held[i] = held[--count];
        } else if (unit_below(&seed, 3)) {
            uint32_t first = lm_buddy_alloc(&buddy, units);

            if (first == LM_BUDDY_NONE)
                continue;
            take(first, units);
            held[count].first = first;
            held[count++].units = units;
        } else {
            uint32_t first = (uint32_t)unit_below(&seed, UNITS);
            bool possible = first + units <= UNITS;

            for (uint32_t u = first; possible && u < first + units; u++)
                possible = !taken[u];
            assert_int_equal(lm_buddy_claim(&buddy, first, units), possible);
            if (!possible)
                continue;
            take(first, units);
            held[count].first = first;
            held[count++].units = units;
        }
        assert_int_equal(lm_buddy_check(&buddy), 0);
        assert_int_equal(buddy.free_units, count_free());
        uint32_t unit = (uint32_t)unit_below(&seed, UNITS);
        assert_int_equal(lm_buddy_is_free(&buddy, unit), !taken[unit]);
    }
    while (count--)
        lm_buddy_free(&buddy, held[count].first, held[count].units);
    assert_int_equal(buddy.free_units, UNITS);
    assert_int_equal(lm_buddy_largest(&buddy), 512); /* all merged again */
}

static void trims_tails(void **state)
{
    (void)state;
    start(true);
    uint32_t first = lm_buddy_alloc(&buddy, 257);

    assert_int_equal(buddy.free_units, UNITS - 257);
    assert_int_equal(lm_buddy_check(&buddy), 0);
    lm_buddy_free(&buddy, first, 257);
    assert_int_equal(buddy.free_units, UNITS);
}

static void refuses(void **state)
{
    (void)state;
    start(true);
    assert_int_equal(lm_buddy_alloc(&buddy, 0), LM_BUDDY_NONE);
    assert_int_equal(lm_buddy_alloc(&buddy, UNITS + 1), LM_BUDDY_NONE);
    assert_int_equal(lm_buddy_alloc(&buddy, 513), LM_BUDDY_NONE); /* no block is that long */
    assert_false(lm_buddy_claim(&buddy, UNITS - 1, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_map), cmocka_unit_test(trims_tails), cmocka_unit_test(refuses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
