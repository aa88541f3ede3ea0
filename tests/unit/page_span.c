/* Spans: random traffic with every invariant walked, the truth of `zeroed`, alignment, growth, return to the OS,
 * and failures of the operating system. */
#include "os/fake.h"
#include "page/page.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

enum { HELD = 200, STEPS = 6000 };

static unsigned char *start_of(struct lm_span *span)
{
    return lm_span_start(span);
}

/* Every page of the span, so that a lie about zeroes shows. */
static void paint(struct lm_span *span, bool zeroed)
{
    for (size_t i = 0; i < span->granules * LM_GRANULE; i += 4096) {
        if (zeroed)
            assert_int_equal(start_of(span)[i], 0);
        start_of(span)[i] = 0xaa;
    }
}

static void random_traffic(void **state)
{
    uint64_t seed = unit_seed();
    struct lm_span *held[HELD] = {NULL};
    size_t granules = 0;
    struct lm_page_stats stats;

    (void)state;
    lm_fake_reset();
    for (int step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)unit_below(&seed, HELD);
        uint32_t want = 1 + (uint32_t)unit_below(&seed, unit_below(&seed, 8) ? 6 : 300);
        bool zeroed;

        lm_fake_clock(1000 + (uint64_t)step); /* a millisecond a step: returns happen */
        if (!held[i]) {
            uint32_t align = 1u << unit_below(&seed, 6);

            held[i] = lm_span_alloc(want, align, LM_LARGE, &zeroed);
            assert_non_null(held[i]);
            assert_int_equal((uintptr_t)start_of(held[i]) % (align * LM_GRANULE), 0);
            assert_ptr_equal(lm_span_of(start_of(held[i]) + 5), held[i]);
            assert_ptr_equal(lm_span_at(lm_span_id_of(held[i])), held[i]);
            paint(held[i], zeroed);
            granules += want;
        } else if (unit_below(&seed, 3) == 0 && want < held[i]->granules) {
            granules -= held[i]->granules - want;
            lm_span_shrink(held[i], want);
        } else if (unit_below(&seed, 3) == 0 && want > held[i]->granules) {
            uint32_t before = held[i]->granules;

            if (lm_span_grow(held[i], want)) {
                granules += want - before;
                paint(held[i], false);
            }
        } else {
            granules -= held[i]->granules;
            lm_span_free(held[i]);
            held[i] = NULL;
        }
        if (step % 16 == 0)
            assert_int_equal(lm_page_check(), 0);
    }
    lm_page_stats(&stats);
    assert_int_equal(stats.used_bytes, granules * LM_GRANULE);
    for (int i = 0; i < HELD; i++)
        if (held[i])
            lm_span_free(held[i]);
    lm_page_purge(0);
    lm_page_stats(&stats);
    assert_int_equal(stats.used_bytes, 0);
    assert_int_equal(stats.dirty_bytes, 0);
    assert_int_equal(lm_page_check(), 0);
    lm_fake_reset();
}

static void returns_after_the_delay(void **state)
{
    bool zeroed;
    struct lm_page_stats stats;
    struct lm_span *big, *small;
    uint64_t now = 100000;

    (void)state;
    lm_fake_reset();
    lm_page_purge(0);
    lm_fake_clock(now);
    big = lm_span_alloc(20, 1, LM_LARGE, &zeroed);
    small = lm_span_alloc(1, 1, LM_LARGE, &zeroed);
    lm_span_free(big);
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 20 * LM_GRANULE); /* kept for a while */
    lm_fake_clock(now += lm_config.purge_ms / 2);
    lm_span_free(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 20 * LM_GRANULE); /* a pause is an eighth of the delay, however long it is */
    lm_fake_clock(now += 100 * lm_config.purge_ms);
    lm_span_free(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 20 * LM_GRANULE);
    for (int i = 0; i < 5; i++) {
        lm_fake_clock(now += lm_config.purge_ms / 8);
        lm_span_free(lm_span_alloc(1, 1, LM_LARGE, &zeroed));
        lm_page_stats(&stats);
        assert_int_equal(stats.dirty_bytes, 20 * LM_GRANULE);
    }
    lm_fake_clock(now += lm_config.purge_ms / 8);
    lm_span_free(small);
    lm_page_stats(&stats);
    assert_true(stats.dirty_bytes < 20 * LM_GRANULE);
    assert_int_equal(lm_page_check(), 0);
    lm_page_purge(0);
    lm_fake_reset();
}

/* Who asks by the clock, because the program makes no calls, is answered by the clock. */
static void age_counts_pauses(void **state)
{
    bool zeroed;
    struct lm_page_stats stats;

    (void)state;
    lm_fake_reset();
    lm_page_purge(0);
    lm_fake_clock(2000000);
    lm_span_free(lm_span_alloc(20, 1, LM_LARGE, &zeroed));
    lm_fake_clock(2000000 + lm_config.purge_ms - 1);
    assert_true(lm_page_age());
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 20 * LM_GRANULE);
    lm_fake_clock(2000000 + lm_config.purge_ms);
    assert_false(lm_page_age());
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 0);
    assert_int_equal(lm_page_check(), 0);
    lm_fake_reset();
}

enum { KEPT = 4 << 20, BREATHS = 100 }; /* bytes that may stay dirty in any case; spans of a breath, of 8 granules */
static struct lm_span *breath[BREATHS];

/* All spans come and go at this moment; the bytes of them that are dirty after that. */
static size_t breathe(uint64_t now_ms)
{
    struct lm_page_stats stats;
    bool zeroed;

    lm_fake_clock(now_ms);
    for (int i = 0; i < BREATHS; i++) {
        breath[i] = lm_span_alloc(8, 1, LM_LARGE, &zeroed);
        assert_non_null(breath[i]);
    }
    for (int i = 0; i < BREATHS; i++)
        lm_span_free(breath[i]);
    assert_int_equal(lm_page_check(), 0);
    lm_page_stats(&stats);
    return stats.dirty_bytes;
}

/* What a process frees goes back at once but for a little, without a call after the last free; unless it is wanted again soon:
 * then it stays, and the calls end; until that is long ago. */
static void the_bound_learns(void **state)
{
    size_t all = BREATHS * 8 * LM_GRANULE;
    uint64_t now = 10000000, calls;

    (void)state;
    lm_page_purge(0);
    lm_fake_reset();
    assert_true(breathe(now) <= KEPT);
    for (int i = 0; i < 8; i++)
        breathe(now += 5);
    calls = lm_fake_calls(LM_OS_PURGE);
    for (int i = 0; i < 8; i++)
        assert_int_equal(breathe(now += 5), all);
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), calls);
    assert_true(breathe(now += 100000) <= KEPT);
    assert_true(breathe(now += lm_config.purge_ms + 1) <= KEPT); /* too late to be regretted */
    lm_page_purge(0);
    lm_fake_reset();
}

/* The most in use and dirty while pieces between live ones are free, and all that is asked for is larger than they are. */
static size_t peak_of_misfits(size_t *most_used)
{
    enum { PIECES = 200, PIECE = 8 };
    struct lm_span *piece[PIECES], *misfit[PIECES / 2];
    struct lm_page_stats stats;
    size_t peak = 0;
    bool zeroed;

    for (int i = 0; i < PIECES; i++)
        assert_non_null(piece[i] = lm_span_alloc(PIECE, 1, LM_LARGE, &zeroed));
    for (int i = 1; i < PIECES; i += 2)
        lm_span_free(piece[i]);
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, PIECES / 2 * PIECE * LM_GRANULE);
    *most_used = PIECES * PIECE * LM_GRANULE;
    for (int i = 0; i < PIECES / 2; i++) {
        assert_non_null(misfit[i] = lm_span_alloc(PIECE + 1, 1, LM_LARGE, &zeroed));
        lm_page_stats(&stats);
        *most_used = lm_max(*most_used, stats.used_bytes);
        peak = lm_max(peak, stats.used_bytes + stats.dirty_bytes);
        assert_int_equal(lm_page_check(), 0);
    }
    for (int i = 0; i < PIECES; i += 2)
        lm_span_free(piece[i]);
    for (int i = 0; i < PIECES / 2; i++)
        lm_span_free(misfit[i]);
    lm_page_purge(0);
    return peak;
}

/* What is dirty and does not fit raises the peak by no more than config spare allows. The first test, for peaks are the process's. */
static void the_peak_is_spared(void **state)
{
    size_t spare = lm_config.spare_percent, used, peak;
    uint64_t now = 1000;

    (void)state;
    lm_page_purge(0);
    lm_fake_reset();
    for (int i = 0; i < 8; i++)
        breathe(now += 5); /* much may stay dirty now */
    lm_config.spare_percent = 10;
    peak = peak_of_misfits(&used);
    assert_true(peak <= used + used / 10);
    lm_config.spare_percent = 0;
    for (int i = 0; i < 8; i++)
        breathe(now += 5);
    peak = peak_of_misfits(&used);
    assert_true(peak > used + used / 5);
    lm_config.spare_percent = spare;
    lm_fake_reset();
}

/* In a small container the bound does not rise beyond an eighth of what there is, however much is regretted. */
static void the_bound_minds_the_limit(void **state)
{
    uint64_t now = 20000000;

    (void)state;
    lm_page_purge(0);
    lm_fake_reset();
    lm_fake_memory_limit((size_t)128 << 20);
    for (int i = 0; i < 8; i++)
        assert_true(breathe(now += 5) <= (size_t)16 << 20);
    lm_page_purge(0);
    lm_fake_reset();
}

/* A span that is for the most part not touched takes no pages that are there already, while there are others. */
static void sparse_spans_are_clean(void **state)
{
    struct lm_page_stats stats;
    struct lm_span *span;
    bool zeroed;

    (void)state;
    lm_fake_reset();
    lm_fake_clock(30000000);
    lm_page_purge(0);
    span = lm_span_alloc(8, 1, LM_LARGE, &zeroed);
    paint(span, zeroed);
    lm_span_free(span);
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 8 * LM_GRANULE);
    span = lm_span_alloc_sparse(4, LM_LARGE, &zeroed);
    assert_non_null(span);
    assert_true(zeroed); /* which recycled memory never is */
    paint(span, zeroed);
    assert_int_equal(lm_page_check(), 0);
    lm_span_free(span);
    lm_page_purge(0);
    lm_fake_reset();
}

static void keeps_below_the_cap(void **state)
{
    bool zeroed;
    struct lm_page_stats stats;
    struct lm_span *big;

    (void)state;
    lm_fake_reset();
    lm_fake_clock(200000);
    lm_config.dirty_bytes = 4 * LM_GRANULE;
    big = lm_span_alloc(100, 1, LM_LARGE, &zeroed);
    lm_span_free(big);
    lm_page_stats(&stats);
    assert_true(stats.dirty_bytes <= 4 * LM_GRANULE);
    lm_config.dirty_bytes = 0;
    lm_fake_reset();
}

static void a_refused_purge_stays_dirty(void **state)
{
    bool zeroed;
    struct lm_span *span;
    struct lm_page_stats stats;

    (void)state;
    lm_fake_reset();
    span = lm_span_alloc(3, 1, LM_LARGE, &zeroed);
    paint(span, zeroed);
    lm_fake_fail_from(LM_OS_PURGE, 1);
    lm_span_free(span);
    assert_int_equal(lm_page_purge(0), 0);
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, 3 * LM_GRANULE);
    span = lm_span_alloc(3, 1, LM_LARGE, &zeroed);
    assert_non_null(span);
    paint(span, zeroed); /* fails if it claims to be zero */
    lm_fake_reset();
    lm_span_free(span);
    assert_int_equal(lm_page_purge(0), 3 * LM_GRANULE);
}

enum { SCATTERED = 50 };

/* Spans of a granule that are dirty, and one behind each that lives, so that they do not merge. */
static void scatter(struct lm_span *freed[SCATTERED], struct lm_span *living[SCATTERED])
{
    bool zeroed;

    for (int i = 0; i < SCATTERED; i++) {
        freed[i] = lm_span_alloc(1, 1, LM_LARGE, &zeroed);
        paint(freed[i], zeroed);
        living[i] = lm_span_alloc(1, 1, LM_LARGE, &zeroed);
        paint(living[i], zeroed);
    }
    for (int i = 0; i < SCATTERED; i++)
        lm_span_free(freed[i]);
}

/* Many extents go by one call, and no others. */
static void returns_many_at_once(void **state)
{
    struct lm_span *freed[SCATTERED], *living[SCATTERED];
    struct lm_page_stats stats;

    (void)state;
    lm_page_purge(0);
    lm_fake_reset();
    lm_fake_clock(40000000);
    lm_config.dirty_bytes = SCATTERED * LM_GRANULE;
    scatter(freed, living);
    lm_page_stats(&stats);
    assert_int_equal(stats.dirty_bytes, SCATTERED * LM_GRANULE);
    assert_int_equal(lm_page_purge(0), SCATTERED * LM_GRANULE);
    assert_int_equal(lm_fake_calls(LM_OS_PURGE), 1);
    assert_int_equal(lm_page_check(), 0);
    for (int i = 0; i < SCATTERED; i++) {
        assert_int_equal(start_of(living[i])[0], 0xaa);
        assert_int_equal(start_of(living[i])[LM_GRANULE - 4096], 0xaa);
        lm_span_free(living[i]);
    }
    lm_page_purge(0);
    lm_config.dirty_bytes = 0;
    lm_fake_reset();
}

/* What exceeds the bound goes by the mebibyte, not by the granule. */
static void returns_by_the_mebibyte(void **state)
{
    enum { MANY = 400 };
    struct lm_span *freed[MANY], *living[MANY];
    struct lm_page_stats stats;
    bool zeroed;

    (void)state;
    lm_page_purge(0);
    lm_fake_reset();
    lm_fake_clock(60000000);
    for (int i = 0; i < MANY; i++) {
        freed[i] = lm_span_alloc(1, 1, LM_LARGE, &zeroed);
        living[i] = lm_span_alloc(1, 1, LM_LARGE, &zeroed);
    }
    lm_page_purge(0);
    lm_fake_reset();
    lm_fake_clock(60100000); /* whatever was learnt is forgotten */
    for (int i = 0; i < MANY; i++) {
        lm_span_free(freed[i]);
        lm_page_stats(&stats);
        assert_true(stats.dirty_bytes <= KEPT);
    }
    assert_true(lm_fake_calls(LM_OS_PURGE) <= MANY / 16);
    assert_int_equal(lm_page_check(), 0);
    for (int i = 0; i < MANY; i++)
        lm_span_free(living[i]);
    lm_page_purge(0);
    lm_fake_reset();
}

/* One of many is refused: it stays dirty wherever it stands, all before it have gone, those behind it can still go; nothing is taken
 * for clean that is not, and where all are refused, each try is of one. */
static void a_refusal_among_many(void **state)
{
    struct lm_span *freed[SCATTERED], *living[SCATTERED];
    struct lm_page_stats stats;

    (void)state;
    for (int held = 0; held < SCATTERED; held += 7) {
        lm_page_purge(0);
        lm_fake_reset();
        lm_fake_clock(50000000);
        lm_config.dirty_bytes = SCATTERED * LM_GRANULE;
        scatter(freed, living);
        lm_fake_hold(start_of(freed[held]));
        assert_int_equal(lm_page_purge(0), (size_t)held * LM_GRANULE);
        assert_int_equal(lm_page_check(), 0);
        lm_page_stats(&stats);
        assert_int_equal(stats.dirty_bytes, (size_t)(SCATTERED - held) * LM_GRANULE);
        assert_int_equal(lm_page_purge(0), (size_t)(SCATTERED - held - 1) * LM_GRANULE); /* it is the youngest now */
        assert_int_equal(lm_page_check(), 0);
        for (uint64_t calls = lm_fake_calls(LM_OS_PURGE), i = 1; i <= 3; i++) {
            assert_int_equal(lm_page_purge(0), 0);
            assert_int_equal(lm_fake_calls(LM_OS_PURGE), calls + i);
        }
        lm_page_stats(&stats);
        assert_int_equal(stats.dirty_bytes, LM_GRANULE);
        assert_int_equal(start_of(freed[held])[0], 0xaa);
        lm_fake_hold(NULL);
        assert_int_equal(lm_page_purge(0), LM_GRANULE);
        for (int i = 0; i < SCATTERED; i++) {
            assert_int_equal(start_of(living[i])[0], 0xaa);
            lm_span_free(living[i]);
        }
    }
    lm_page_purge(0);
    lm_config.dirty_bytes = 0;
    lm_fake_reset();
}

static void failures_leave_all_whole(void **state)
{
    bool zeroed;
    struct lm_span *held[64];

    (void)state;
    for (uint64_t nth = 1; nth < 6; nth++) {
        int got = 0;
        size_t mapped = lm_fake_mapped_bytes();

        lm_fake_reset();
        lm_fake_fail_from(LM_OS_COMMIT, nth);
        lm_fake_fail_from(LM_OS_RESERVE, 1);
        for (int i = 0; i < 64; i++) {
            errno = 0;
            held[got] = lm_span_alloc(700, 1, LM_LARGE, &zeroed);
            if (held[got])
                got++;
            else
                assert_int_equal(errno, ENOMEM);
            assert_int_equal(lm_page_check(), 0);
        }
        assert_true(got < 64);
        assert_int_equal(lm_fake_mapped_bytes(), mapped);
        lm_fake_reset();
        while (got--)
            lm_span_free(held[got]);
        assert_int_equal(lm_page_check(), 0);
    }
}

static void foreign_pointers_have_no_span(void **state)
{
    int local;
    bool zeroed;
    struct lm_span *span = lm_span_alloc(1, 1, LM_LARGE, &zeroed), *found;
    uintptr_t far = (uintptr_t)lm_span_start(span) + ((size_t)8 << 30);

    (void)state;
    assert_null(lm_span_of(&local));
    assert_null(lm_span_of(NULL));
    assert_null(lm_span_of((void *)UINTPTR_MAX));
    assert_null(lm_span_of((void *)far)); /* in the reserve, not described */
    assert_false(lm_span_find_fast((void *)far, &found));
    assert_false(lm_span_find_fast(NULL, &found));
    assert_true(lm_span_find_fast(lm_span_start(span), &found));
    assert_ptr_equal(found, span);
    lm_span_free(span);
}

static void meta_is_zeroed_and_aligned(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        unsigned char *p = lm_meta_alloc(1000);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % LM_CACHE_LINE, 0);
        for (int b = 0; b < 1000; b++)
            assert_int_equal(p[b], 0);
        memset(p, 0xee, 1000);
    }
    assert_null(lm_meta_alloc(LM_GRANULE + 1));
    assert_int_equal(lm_page_check(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_peak_is_spared), cmocka_unit_test(random_traffic),
        cmocka_unit_test(returns_after_the_delay), cmocka_unit_test(age_counts_pauses),
        cmocka_unit_test(the_bound_learns), cmocka_unit_test(the_bound_minds_the_limit),
        cmocka_unit_test(sparse_spans_are_clean), cmocka_unit_test(keeps_below_the_cap),
        cmocka_unit_test(a_refused_purge_stays_dirty), cmocka_unit_test(returns_many_at_once),
        cmocka_unit_test(returns_by_the_mebibyte), cmocka_unit_test(a_refusal_among_many),
        cmocka_unit_test(failures_leave_all_whole), cmocka_unit_test(foreign_pointers_have_no_span),
        cmocka_unit_test(meta_is_zeroed_and_aligned)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
