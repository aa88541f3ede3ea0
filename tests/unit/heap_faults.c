/* The heap while the operating system fails: NULL with ENOMEM or success, never a crash, never a leak of address
 * space, and every block keeps what was written to it. */
#include "heap/heap.h"
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

enum { BLOCKS = 400, STEPS = 1500, TABLE = 64 << 10 /* the registry of huge blocks may have grown */ };

static struct {
    unsigned char *p;
    size_t size;
    unsigned char stamp;
} block[BLOCKS];

static void verify(int i)
{
    for (size_t b = 0; b < block[i].size; b += 1 + block[i].size / 16)
        assert_int_equal(block[i].p[b], block[i].stamp);
}

static size_t any_size(uint64_t *seed)
{
    static const size_t most[] = {200, 3000, 60000, 500000, 3000000, 40000000};

    return 1 + unit_below(seed, most[unit_below(seed, 30) < 24 ? unit_below(seed, 3) : unit_below(seed, 6)]);
}

static void step(uint64_t *seed)
{
    int i = (int)unit_below(seed, BLOCKS);
    size_t size = any_size(seed);
    bool zeroed = false;
    unsigned char *p;

    errno = 0;
    if (!block[i].p) {
        p = lm_heap_malloc(size, &zeroed);
        assert_true(p || errno == ENOMEM);
        if (!p)
            return;
        for (size_t b = 0; zeroed && b < size; b += 512)
            assert_int_equal(p[b], 0);
        block[i].stamp = (unsigned char)unit_random(seed);
    } else if (unit_below(seed, 3) == 0) {
        verify(i);
        p = lm_heap_realloc(block[i].p, size);
        assert_true(p || errno == ENOMEM);
        if (!p) {
            verify(i);
            return;
        }
        for (size_t b = 0; b < lm_min(size, block[i].size); b += 1 + block[i].size / 16)
            assert_int_equal(p[b], block[i].stamp);
    } else {
        verify(i);
        errno = 7;
        lm_heap_free(block[i].p);
        assert_int_equal(errno, 7);
        block[i].p = NULL;
        return;
    }
    memset(p, block[i].stamp, size);
    block[i].p = p;
    block[i].size = size;
}

static void free_all(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        if (block[i].p)
            verify(i);
        lm_heap_free(block[i].p);
        block[i].p = NULL;
    }
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
}

static void every_nth_of_every_kind(void **state)
{
    uint64_t seed = unit_seed();
    size_t mapped;

    (void)state;
    lm_fake_reset();
    for (int i = 0; i < STEPS; i++)
        step(&seed);
    free_all();
    mapped = lm_fake_mapped_bytes();
    for (int kind = 0; kind < LM_OS_CALLS; kind++)
        for (uint64_t every = 1; every < 4; every++) {
            lm_fake_reset();
            lm_fake_fail_every((enum lm_os_call)kind, every);
            for (int i = 0; i < STEPS; i++) {
                step(&seed);
                if (i % 256 == 0)
                    assert_int_equal(lm_heap_check(), 0);
            }
            lm_fake_reset();
            free_all();
            lm_heap_free(lm_heap_malloc((size_t)50 << 20, NULL)); /* mappings that would not go are tried again */
            assert_in_range(lm_fake_mapped_bytes(), 0, mapped + TABLE);
        }
}

static void out_of_address_space(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    lm_fake_reset();
    lm_fake_limit_bytes(lm_fake_mapped_bytes() + ((size_t)16 << 20));
    for (int i = 0; i < STEPS; i++)
        step(&seed);
    lm_fake_reset();
    free_all();
}

static void impossible_sizes(void **state)
{
    void *p = lm_heap_malloc(100, NULL);

    (void)state;
    for (int i = 0; i < 3; i++) {
        static const size_t sizes[] = {SIZE_MAX, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1};

        errno = 0;
        assert_null(lm_heap_malloc(sizes[i], NULL));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(lm_heap_realloc(p, sizes[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(lm_heap_malloc_aligned(sizes[i], 4096));
        assert_int_equal(errno, ENOMEM);
    }
    lm_heap_free(p);
}

static int start(void **state)
{
    (void)state;
    lm_heap_start();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_nth_of_every_kind),
        cmocka_unit_test(out_of_address_space), cmocka_unit_test(impossible_sizes)};

    return cmocka_run_group_tests(tests, start, NULL);
}
