/* Arenas: a small one under limits, further ones when one is full, other page sizes. One program a case, because a
 * process keeps its arenas: each case runs in a child. */
#include "os/fake.h"
#include "page/arena.h"
#include "child.h"
#include "unit.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static void small_under_an_address_limit(void)
{
    struct lm_page_stats stats;
    bool zeroed;

    lm_fake_address_limit((size_t)64 << 20);
    lm_fake_limit_bytes((size_t)60 << 20);
    NEED(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
    lm_page_stats(&stats);
    NEED(stats.reserved_bytes <= (size_t)16 << 20);
}

static void smaller_when_refused(void)
{
    bool zeroed;

    lm_fake_limit_bytes((size_t)40 << 20); /* 64 GiB, 32 GiB, ... are refused */
    NEED(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
    NEED(lm_fake_calls(LM_OS_RESERVE) > 3);
    NEED(lm_page_check() == 0);
}

static void further_arenas(void)
{
    struct lm_span *held[100];
    struct lm_page_stats stats;
    bool zeroed;

    lm_config.arena_bytes = (size_t)2 << 20;
    for (int i = 0; i < 100; i++) {
        held[i] = lm_span_alloc(10, 1, LM_LARGE, &zeroed);
        NEED(held[i] && zeroed);
        NEED(lm_span_of((char *)lm_span_start(held[i]) + 9 * LM_GRANULE) == held[i] + 9);
        NEED(lm_span_at(lm_span_id_of(held[i])) == held[i]);
        NEED(lm_page_check() == 0);
    }
    lm_page_stats(&stats);
    NEED(stats.used_bytes == 1000 * LM_GRANULE);
    for (int i = 0; i < 100; i++)
        lm_span_free(held[i]);
    NEED(lm_page_check() == 0);
    NEED(lm_span_alloc(5000, 1, LM_LARGE, &zeroed)); /* larger than an arena is wanted */
    NEED(lm_page_check() == 0);
}

static void out_of_memory_is_enomem(void)
{
    bool zeroed;

    lm_fake_fail_from(LM_OS_RESERVE, 1);
    errno = 0;
    NEED(!lm_span_alloc(1, 1, LM_LARGE, &zeroed) && errno == ENOMEM);
    lm_fake_reset();
    lm_fake_fail_from(LM_OS_COMMIT, 1);
    errno = 0;
    NEED(!lm_span_alloc(1, 1, LM_LARGE, &zeroed) && errno == ENOMEM);
    NEED(lm_fake_mapped_bytes() == 0); /* what was reserved in vain has been given back */
    lm_fake_reset();
    NEED(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
}

static void pages_of_64_kib(void)
{
    struct lm_span *span;
    bool zeroed;

    lm_fake_page_size(64 << 10);
    span = lm_span_alloc(3, 4, LM_LARGE, &zeroed);
    NEED(span && lm_page_check() == 0);
    lm_span_free(span);
    lm_page_purge(0);
    NEED(lm_page_check() == 0);
}

/* Where huge pages are asked for, the frontier stops at their ends, and goes on in small steps. */
static void steps_of_huge_pages(void)
{
    struct lm_page_stats stats;
    bool zeroed;

    lm_config.huge_bytes = (size_t)4 << 20;
    for (size_t used = LM_GRANULE; used < (size_t)100 << 20; used += LM_GRANULE) {
        struct lm_span *span = lm_span_alloc(1, 1, LM_LARGE, &zeroed);
        char *end;

        NEED(span && zeroed);
        lm_page_stats(&stats);
        NEED(stats.used_bytes == used);
        end = lm_arenas[0].base + (size_t)lm_arenas[0].frontier * LM_GRANULE;
        if (used <= lm_config.huge_bytes)
            continue;
        NEED((uintptr_t)end % LM_HUGE_PAGE == 0);
        NEED((lm_arenas[0].frontier - lm_arenas[0].head) * LM_GRANULE <= used + used / 8 + 2 * LM_HUGE_PAGE);
    }
    NEED(lm_fake_calls(LM_OS_ADVISE) > 10);
    NEED(lm_page_check() == 0);
}

/* Huge pages are asked for behind the option's size only, whatever the steps in which the heap grows. */
static void huge_pages_beyond_the_size(void)
{
    struct lm_os_counter counters[LM_OS_CALLS];
    bool zeroed;

    lm_config.huge_bytes = (size_t)64 << 20;
    NEED(lm_span_alloc(640, 1, LM_LARGE, &zeroed)); /* 40 MiB, and a MiB before it */
    NEED(lm_fake_calls(LM_OS_ADVISE) == 0);
    NEED(lm_span_alloc(480, 1, LM_LARGE, &zeroed)); /* in one step from 41 MiB to 71 */
    lm_os_counters(counters);
    NEED(counters[LM_OS_ADVISE].bytes > 0);
    NEED(counters[LM_OS_ADVISE].bytes <= (size_t)10 << 20);
    NEED(lm_page_check() == 0);
}

/* Slabs of two granules each, in an arena that grows by `bytes`, of which so many objects of a page are carved. */
static void grow_by_slabs(size_t bytes, uint16_t carved)
{
    bool zeroed;

    for (size_t grown = 0; grown < bytes; grown += 2 * LM_GRANULE) {
        struct lm_span *slab = lm_span_alloc(2, 1, LM_SLAB_CURRENT, &zeroed);

        NEED(slab);
        slab->object_bytes = 4096;
        slab->carved = carved;
        lm_span_set_kind(&slab[1], LM_CONT);
        slab[1].granules = 1;
    }
}

/* Where a page or two of each slab is all that is used, a huge page would multiply what is resident. */
static void huge_pages_for_dense_memory_only(void)
{
    bool zeroed;
    uint32_t middle;

    lm_config.huge_bytes = (size_t)16 << 20;
    grow_by_slabs((size_t)100 << 20, 17); /* one granule is full, the other has a page */
    NEED(lm_fake_calls(LM_OS_ADVISE) == 0);
    middle = lm_arenas[0].frontier;
    grow_by_slabs((size_t)100 << 20, 32);
    NEED(lm_fake_calls(LM_OS_ADVISE) > 0);
    NEED(lm_arena_is_dense(&lm_arenas[0], lm_arenas[0].frontier));
    NEED(!lm_arena_is_dense(&lm_arenas[0], middle));
    grow_by_slabs((size_t)200 << 20, 1);
    NEED(!lm_arena_is_dense(&lm_arenas[0], lm_arenas[0].frontier));
    /* what is free says nothing; a large block counts as filled */
    for (uint32_t g = lm_arenas[0].head, next; g < lm_arenas[0].frontier; g = next) {
        struct lm_span *slab = lm_arena_span(&lm_arenas[0], g);

        next = g + (slab->kind == LM_SLAB_CURRENT ? slab->granules : 1);
        if (slab->kind == LM_SLAB_CURRENT)
            lm_span_free(slab);
    }
    lm_page_purge(0);
    NEED(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
    NEED(lm_arena_is_dense(&lm_arenas[0], lm_arenas[0].frontier));
    NEED(lm_page_check() == 0);
}

static void all(void **state)
{
    (void)state;
    lm_fake_reset();
    in_child(small_under_an_address_limit);
    in_child(smaller_when_refused);
    in_child(further_arenas);
    in_child(out_of_memory_is_enomem);
    in_child(pages_of_64_kib);
    in_child(steps_of_huge_pages);
    in_child(huge_pages_beyond_the_size);
    in_child(huge_pages_for_dense_memory_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
