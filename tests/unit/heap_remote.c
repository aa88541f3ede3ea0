/* Frees of other threads' blocks: who sees them when, how many wait in buckets, and that all come home. */
#include "heap/room.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

enum { BLOCKS = 40000, FEW = 20 };

static void *block[BLOCKS];
static size_t block_bytes;

static void allocate(unsigned count, size_t bytes)
{
    block_bytes = bytes;
    for (unsigned i = 0; i < count; i++) {
        block[i] = lm_heap_malloc(bytes, NULL);
        assert_non_null(block[i]);
        __builtin_memset(block[i], 0x5a, bytes);
    }
}

/* Whether another thread's free is seen at once, and leaves block and errno alone. */
static const char *free_and_look(void *p)
{
    struct lm_span *slab = lm_block_span(p, "free");
    uint64_t n;

    errno = 77;
    lm_heap_free(p);
    if (errno != 77)
        return "errno";
    if (!lm_slab_is_free(slab, p) || !lm_slab_number(slab, p, &n) || lm_slab_is_home(slab, n))
        return "the link";
    for (size_t i = 0; i < block_bytes; i++)
        if (((char *)p)[i] != 0x5a)
            return "the block";
    return NULL;
}

static void *free_few(void *arg)
{
    const char *fault = NULL;

    (void)arg;
    for (int i = 0; i < FEW && !fault; i++)
        fault = free_and_look(block[i]);
    if (!fault && lm_heap_mine())
        fault = "a heap for a few frees";
    return (void *)(uintptr_t)fault;
}

static void few_frees_need_no_heap(void **state)
{
    (void)state;
    allocate(FEW, 48);
    assert_null(unit_in_thread(free_few, NULL));
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
}

/* Bytes of blocks that are away, but in no slab's remote list. */
static void count_waiting(struct lm_span *slab, void *arg)
{
    size_t *bytes = arg;
    unsigned away = 0;

    if (!lm_slab_is_made(slab) || lm_span_is_private(slab))
        return;
    for (uint32_t n = 1; n <= slab->carved; n++)
        away += !lm_slab_is_home(slab, n) && lm_slab_link(slab, n) != LM_LIVE;
    *bytes += (away - (lm_slab_annex(slab)->remote >> 17)) * lm_slab_object_size(slab);
}

static size_t waiting_bytes(void)
{
    size_t bytes = 0;

    lm_page_each(count_waiting, &bytes);
    return bytes;
}

/* In a random order, so that buckets displace each other. */
static void *free_many(void *arg)
{
    uint64_t *seed = arg;
    size_t most = 0;

    for (unsigned left = BLOCKS; left > 0; left--) {
        unsigned i = (unsigned)unit_below(seed, left);
        void *p = block[i];

        block[i] = block[left - 1];
        lm_heap_free(p);
        if (left % 1000 == 0)
            most = lm_max(most, waiting_bytes());
    }
    if (!lm_heap_mine())
        return "no heap for many frees";
    if (most == 0)
        return "nothing was gathered";
    return most > 1 << 20 ? "more than a MiB was gathered" : NULL;
}

static void many_frees_are_gathered(void **state)
{
    uint64_t seed = unit_seed();
    const char *fault;

    (void)state;
    for (size_t bytes = 16; bytes <= 1024; bytes *= 4) {
        struct lm_heap_stats stats;

        allocate(BLOCKS, bytes);
        fault = unit_in_thread(free_many, &seed);
        if (fault)
            fail_msg("%zu bytes: %s", bytes, fault);
        assert_int_equal(waiting_bytes(), 0); /* the thread's end sent the rest */
        lm_heap_trim(0);
        lm_heap_stats(&stats);
        assert_int_equal(stats.small_live_bytes, 0);
        assert_int_equal(lm_heap_check(), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_frees_need_no_heap),
        cmocka_unit_test(many_frees_are_gathered),
    };

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
