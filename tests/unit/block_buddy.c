/* The public buddy against a map of units; nothing is ever at its addresses. */
#include "block/block.h"
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <loam/buddy.h>
#include <string.h>

enum { UNITS = 1000, STEPS = 15000 };
#define BASE ((uintptr_t)0x7000)

static unsigned char taken[UNITS];

static struct loam_buddy_options options_for(uintptr_t base, size_t bytes, size_t min_block)
{
    return (struct loam_buddy_options){.struct_bytes = sizeof(struct loam_buddy_options),
        .base = base,
        .bytes = bytes,
        .min_block = min_block,
        .return_errors = 1};
}

static struct loam_buddy *buddy_of(uintptr_t base, size_t bytes, size_t min_block)
{
    struct loam_buddy_options options = options_for(base, bytes, min_block);
    struct loam_buddy *buddy = loam_buddy_create(&options);

    assert_non_null(buddy);
    return buddy;
}

/* Marks units taken or free in the map; they must have been the other. */
static void put(size_t unit, size_t units, unsigned char value)
{
    for (size_t i = unit; i < unit + units; i++) {
        assert_int_equal(taken[i], !value);
        taken[i] = value;
    }
}

static int matches_map(uintptr_t address, size_t bytes, void *arg)
{
    for (size_t i = 0; i < bytes / 16; i++)
        assert_int_equal(taken[(address - BASE) / 16 + i], 1);
    *(size_t *)arg += bytes / 16;
    return 0;
}

static void agrees_with_a_map(void **state)
{
    struct loam_buddy *buddy = buddy_of(BASE, UNITS * 16 + 5, 16);
    uint64_t seed = unit_seed();
    struct {
        uintptr_t at;
        size_t units;
    } held[UNITS];
    size_t count = 0;

    (void)state;
    memset(taken, 0, sizeof taken);
    for (int step = 0; step < STEPS; step++) {
        size_t bytes = 1 + unit_below(&seed, unit_below(&seed, 4) ? 100 : 3000), units = (bytes + 15) / 16;
        size_t i = count ? unit_below(&seed, count) : 0, align = (size_t)1 << unit_below(&seed, 11), walked = 0;
        uintptr_t at;

        switch (unit_below(&seed, count ? 6 : 3)) {
        case 0:
        case 1:
            at = step % 2 ? loam_buddy_alloc_aligned(buddy, align, bytes) : loam_buddy_alloc(buddy, bytes);
            if (at == LOAM_BUDDY_NONE)
                break;
            assert_int_equal(at % (step % 2 ? align : 16), 0);
            put((at - BASE) / 16, units, 1);
            held[count].at = at;
            held[count++].units = units;
            break;
        case 2:
            at = BASE + unit_below(&seed, UNITS) * 16;
            if (loam_buddy_claim(buddy, at, bytes) != 0)
                break;
            put((at - BASE) / 16, units, 1);
            held[count].at = at;
            held[count++].units = units;
            break;
        case 3:
            if (loam_buddy_resize(buddy, held[i].at, bytes) != 0) {
                assert_int_equal(errno, ENOMEM);
                break;
            }
            put((held[i].at - BASE) / 16, held[i].units, 0);
            put((held[i].at - BASE) / 16, units, 1);
            held[i].units = units;
            break;
        default:
            assert_int_equal(loam_buddy_size(buddy, held[i].at), held[i].units * 16);
            assert_int_equal(loam_buddy_free(buddy, held[i].at), 0);
            put((held[i].at - BASE) / 16, held[i].units, 0);
            assert_int_equal(loam_buddy_free(buddy, held[i].at), -1);
            assert_int_equal(errno, EINVAL);
            held[i] = held[--count];
        }
        assert_int_equal(loam_buddy_check(buddy), 0);
        assert_int_equal(loam_buddy_walk(buddy, matches_map, &walked), 0);
        for (size_t u = 0; u < UNITS; u++)
            walked -= taken[u];
        assert_int_equal(walked, 0);
    }
    while (count--)
        assert_int_equal(loam_buddy_free(buddy, held[count].at), 0);
    struct loam_buddy_figures figures = {.struct_bytes = sizeof figures};

    assert_int_equal(loam_buddy_figures(buddy, &figures), 0);
    assert_int_equal(figures.used_bytes, 0);
    assert_int_equal(figures.live_ranges, 0);
    assert_int_equal(figures.total_bytes, UNITS * 16);
    assert_int_equal(figures.largest_free_bytes, 512 * 16); /* all merged again */
    loam_buddy_destroy(buddy);
}

/* Every address but the right one is refused, and nothing changes. */
static void frees_only_what_is_live(void **state)
{
    struct loam_buddy *buddy = buddy_of(BASE, 256, 1);
    uintptr_t at = loam_buddy_alloc(buddy, 37);

    (void)state;
    for (uintptr_t wrong = BASE - 10; wrong < BASE + 270; wrong++) {
        if (wrong == at)
            continue;
        errno = 0;
        assert_int_equal(loam_buddy_free(buddy, wrong), -1);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(loam_buddy_resize(buddy, wrong, 1), -1);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(loam_buddy_size(buddy, wrong), 0);
    }
    assert_int_equal(loam_buddy_size(buddy, at), 37);
    assert_int_equal(loam_buddy_check(buddy), 0);
    loam_buddy_destroy(buddy);
}

static void refuses_ranges(void **state)
{
    static const struct {
        uintptr_t base;
        size_t bytes, min_block;
    } bad[] = {{0, 0, 16}, {0, 15, 16}, {8, 100, 16}, {0, 100, 0}, {0, 100, 3}, {0, ((size_t)1 << 26) + 1, 1},
        {UINTPTR_MAX - 15, 32, 16}};
    struct loam_buddy_options options = options_for(0, 100, 1);
    struct loam_buddy *buddy;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct loam_buddy_options one = options_for(bad[i].base, bad[i].bytes, bad[i].min_block);

        errno = 0;
        assert_null(loam_buddy_create(&one));
        assert_int_equal(errno, EINVAL);
    }
    assert_null(loam_buddy_create(NULL));
    options.struct_bytes--;
    assert_null(loam_buddy_create(&options));
    buddy = buddy_of(1024, 1000, 1); /* ports */
    assert_int_equal(loam_buddy_claim(buddy, 8080 % 1000 + 1024, 1), 0);
    assert_int_equal(loam_buddy_claim(buddy, 8080 % 1000 + 1024, 1), -1);
    assert_int_equal(errno, EBUSY);
    assert_int_equal(loam_buddy_claim(buddy, 2000, 100), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(loam_buddy_alloc_aligned(buddy, 3, 1), LOAM_BUDDY_NONE);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(loam_buddy_alloc(buddy, 1001), LOAM_BUDDY_NONE);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(loam_buddy_alloc(buddy, SIZE_MAX), LOAM_BUDDY_NONE);
    loam_buddy_destroy(buddy);
    loam_buddy_destroy(NULL);
    buddy = buddy_of((uintptr_t)1 << 40, (size_t)1 << 46, (size_t)1 << 20); /* all 2^26 units */
    assert_int_equal(loam_buddy_alloc(buddy, (size_t)1 << 46), (uintptr_t)1 << 40);
    loam_buddy_destroy(buddy);
}

static void bookkeeping_is_the_source_s(void **state)
{
    struct loam_buddy_options options = options_for(0, 1 << 20, 256);
    size_t before = lm_fake_mapped_bytes();
    struct loam_buddy *buddy;

    (void)state;
    options.meta = loam_source_os();
    options.locked = 1;
    buddy = loam_buddy_create(&options);
    assert_non_null(buddy);
    assert_true(lm_fake_mapped_bytes() > before);
    assert_int_not_equal(loam_buddy_alloc(buddy, 1000), LOAM_BUDDY_NONE);
    loam_buddy_destroy(buddy);
    assert_int_equal(lm_fake_mapped_bytes(), before);
    lm_fake_fail_from(LM_OS_MAP, 1);
    assert_null(loam_buddy_create(&options));
    assert_int_equal(errno, ENOMEM);
    lm_fake_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_a_map), cmocka_unit_test(frees_only_what_is_live),
        cmocka_unit_test(refuses_ranges), cmocka_unit_test(bookkeeping_is_the_source_s)};

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
