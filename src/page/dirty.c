/* dirty.c: freed extents on their way back to the OS.
 *
 * An extent is a run of granules whose pages may hold memory. Its first descriptor (DIRTY) and its last
 * (DIRTY_TAIL, when there are two or more) both hold its length: boundary tags, by which a freed range finds
 * and swallows its dirty neighbours in O(1). Extents stand in two lists: by size, in the bins below, for
 * reuse; and by age, for return.
 *
 *   bins: one for each length up to 64 granules, then eight a doubling; a bit each says which hold any
 *
 * Invariant (lm_dirty_check): no two extents touch; every extent is in the bin of its length and in the age
 * list; lm_dirty_granules is the sum. A purge that the kernel refuses leaves the extent dirty, at the young
 * end of the list: it can still be reused and will be tried again.
 *
 * Age: what is cut from an extent keeps the extent's age, and so does an extent that grows by a neighbour while
 * little is dirty in all; otherwise memory that is recycled all the time would never be returned, and would slowly
 * fill with pages that one use or other touched. Where much is dirty it starts anew, so that at most 4 MiB in a
 * delay are faulted in again for this. It passes while the program calls: a pause between two calls counts as an eighth of
 * purge_ms at the most, for the call that ends it may be the first of many that want the memory again.
 *
 * Return is from the old end, many extents by one call; at most BATCH of them at a time, so that nobody who waits for the lock
 * waits for long. */
#include "page/arena.h"

#include <limits.h>

enum {
    EXACT = 64,
    PER_DOUBLING = 8,
    BINS = EXACT + PER_DOUBLING * 18,
    BATCH = 64,           /* extents returned by one call */
    SLACK = 16,           /* granules */
    BATCH_GRANULES = 128, /* after which a tick gathers no more of them */
    KEEPS_AGE = 64,       /* granules: 4 MiB */
    PAUSES = 8,           /* of any length that make purge_ms */
};

size_t lm_dirty_granules;

static lm_span_id dirty_bin[BINS + 1];
static uint64_t dirty_bin_used[(BINS + 64) / 64];
static lm_span_id dirty_oldest, dirty_youngest;
/* Extents in the next call; 1 after a refusal, for where memory is locked all are refused. */
static unsigned dirty_most = BATCH;
static uint64_t dirty_seen_ms, dirty_skipped_ms; /* when the clock was last read; what of pauses does not count */

static unsigned dirty_bin_of(uint32_t granules)
{
    unsigned e;

    if (granules <= EXACT)
        return granules - 1;
    e = lm_log2_floor(granules);
    return EXACT + (e - 6) * PER_DOUBLING + ((granules >> (e - 3)) & (PER_DOUBLING - 1));
}

static void dirty_bin_insert(struct lm_span *extent, lm_span_id id)
{
    unsigned bin = dirty_bin_of(extent->granules);

    extent->dirty.bin_prev = 0;
    extent->dirty.bin_next = dirty_bin[bin];
    if (dirty_bin[bin])
        lm_span_at(dirty_bin[bin])->dirty.bin_prev = id;
    dirty_bin[bin] = id;
    dirty_bin_used[bin / 64] |= (uint64_t)1 << bin % 64;
}

static void dirty_bin_remove(struct lm_span *extent)
{
    unsigned bin = dirty_bin_of(extent->granules);

    if (extent->dirty.bin_next)
        lm_span_at(extent->dirty.bin_next)->dirty.bin_prev = extent->dirty.bin_prev;
    if (extent->dirty.bin_prev)
        lm_span_at(extent->dirty.bin_prev)->dirty.bin_next = extent->dirty.bin_next;
    else
        dirty_bin[bin] = extent->dirty.bin_next;
    if (!dirty_bin[bin])
        dirty_bin_used[bin / 64] &= ~((uint64_t)1 << bin % 64);
}

static void dirty_age_insert(struct lm_span *extent, lm_span_id id)
{
    extent->dirty.age_next = 0;
    extent->dirty.age_prev = dirty_youngest;
    if (dirty_youngest)
        lm_span_at(dirty_youngest)->dirty.age_next = id;
    else
        dirty_oldest = id;
    dirty_youngest = id;
}

static void dirty_age_remove(struct lm_span *extent)
{
    if (extent->dirty.age_next)
        lm_span_at(extent->dirty.age_next)->dirty.age_prev = extent->dirty.age_prev;
    else
        dirty_youngest = extent->dirty.age_prev;
    if (extent->dirty.age_prev)
        lm_span_at(extent->dirty.age_prev)->dirty.age_next = extent->dirty.age_next;
    else
        dirty_oldest = extent->dirty.age_next;
}

/* Takes an extent out of everything; its granules become nobody's and FREE. */
static void dirty_remove(struct lm_span *extent)
{
    dirty_bin_remove(extent);
    dirty_age_remove(extent);
    lm_dirty_granules -= extent->granules;
    extent[extent->granules - 1].kind = LM_FREE;
    extent->kind = LM_FREE;
}

/* Puts an extent in whose neighbours are known not to be dirty. */
static void dirty_insert(struct lm_arena *arena, uint32_t first, uint32_t granules, uint64_t freed_ms)
{
    struct lm_span *extent = lm_arena_span(arena, first);
    lm_span_id id = arena->number << 24 | first;

    extent[granules - 1].kind = LM_DIRTY_TAIL;
    extent[granules - 1].granules = granules;
    extent->kind = LM_DIRTY;
    extent->granules = granules;
    extent->dirty.freed_ms = freed_ms;
    lm_dirty_granules += granules;
    dirty_bin_insert(extent, id);
    dirty_age_insert(extent, id);
}

/* The time by which extents age. */
static uint64_t dirty_clock(enum lm_tick tick)
{
    uint64_t now = lm_os_clock_ms(), gap = now - dirty_seen_ms, most = lm_max(lm_config.purge_ms / PAUSES, 1);

    dirty_seen_ms = now;
    if (tick != LM_TICK_CLOCK && gap > most)
        dirty_skipped_ms += gap - most;
    return now - dirty_skipped_ms;
}

void lm_dirty_add(struct lm_arena *arena, uint32_t first, uint32_t granules)
{
    struct lm_span *span = lm_arena_span(arena, first);
    struct lm_span *before = span - 1, *behind = span + granules;
    uint64_t now = dirty_clock(LM_TICK_FREE), oldest = now;

    if (first > arena->head && (lm_span_kind(before) == LM_DIRTY_TAIL || lm_span_kind(before) == LM_DIRTY)) {
        before = span - before->granules;
        first -= before->granules;
        granules += before->granules;
        oldest = before->dirty.freed_ms;
        dirty_remove(before);
    }
    if (behind < lm_arena_span(arena, arena->frontier) && lm_span_kind(behind) == LM_DIRTY) {
        granules += behind->granules;
        oldest = lm_min(oldest, behind->dirty.freed_ms);
        dirty_remove(behind);
    }
    dirty_insert(arena, first, granules, lm_dirty_granules + granules <= KEEPS_AGE ? oldest : now);
}

/* Cuts [first, first + granules) out of an extent; what is left on either side stays dirty. */
static struct lm_span *dirty_cut(struct lm_span *extent, uint32_t skip, uint32_t granules)
{
    struct lm_arena *arena = lm_arena_of(extent);
    uint32_t first = lm_arena_granule(arena, extent), length = extent->granules;
    uint64_t freed_ms = extent->dirty.freed_ms;

    dirty_remove(extent);
    if (skip)
        dirty_insert(arena, first, skip, freed_ms);
    if (length - skip - granules)
        dirty_insert(arena, first + skip + granules, length - skip - granules, freed_ms);
    return extent + skip;
}

/* Granules to skip from the start of an extent to the alignment. */
static uint32_t dirty_skip(const struct lm_span *extent, uint32_t align)
{
    uintptr_t at = (uintptr_t)lm_span_start(extent) / LM_GRANULE;

    return (uint32_t)(-at & (align - 1));
}

/* The first extent in a bin that holds the request; a bin of one length needs one look. */
static struct lm_span *dirty_search_bin(unsigned bin, uint32_t granules, uint32_t align)
{
    enum { LOOKS = 8 }; /* bounded work; a bin holds lengths within 12.5 % of each other */
    lm_span_id id = dirty_bin[bin];

    for (int i = 0; id && i < LOOKS; i++) {
        struct lm_span *extent = lm_span_at(id);
        uint32_t skip = dirty_skip(extent, align);

        if (extent->granules >= granules + skip)
            return dirty_cut(extent, skip, granules);
        id = extent->dirty.bin_next;
    }
    return NULL;
}

struct lm_span *lm_dirty_take(uint32_t granules, uint32_t align_granules)
{
    unsigned word;
    uint64_t bits;

    if (lm_dirty_granules < granules)
        return NULL;
    word = dirty_bin_of(granules) / 64;
    bits = dirty_bin_used[word] & (~(uint64_t)0 << dirty_bin_of(granules) % 64);
    for (;;) {
        while (bits) {
            struct lm_span *span = dirty_search_bin(word * 64 + lm_lowest_bit(bits), granules, align_granules);

            if (span)
                return span;
            bits &= bits - 1;
        }
        if (++word == sizeof dirty_bin_used / sizeof dirty_bin_used[0])
            return NULL;
        bits = dirty_bin_used[word];
    }
}

bool lm_dirty_claim(struct lm_arena *arena, uint32_t first, uint32_t granules)
{
    struct lm_span *extent = lm_arena_span(arena, first);

    if (first >= arena->frontier || lm_span_kind(extent) != LM_DIRTY || extent->granules < granules)
        return false;
    dirty_cut(extent, 0, granules);
    return true;
}

/* Where there are huge pages, one that is touched anywhere is there as a whole: clean granules of the same are returned as well. */
static void dirty_widen(const struct lm_arena *arena, uint32_t *from, uint32_t *to)
{
    enum { IN_HUGE_PAGE = LM_HUGE_PAGE / LM_GRANULE };
    size_t base = (uintptr_t)arena->base / LM_GRANULE;

    if (!lm_arena_is_huge(arena, *to))
        return;
    while ((base + *from) % IN_HUGE_PAGE && *from > lm_max(arena->head, arena->reserved) &&
        lm_buddy_is_free(&arena->buddy, *from - 1))
        --*from;
    while ((base + *to) % IN_HUGE_PAGE && *to < arena->frontier && lm_buddy_is_free(&arena->buddy, *to))
        ++*to;
}

/* Extents on their way out: in no list, and not the buddy's yet. */
struct dirty_batch {
    unsigned count;
    struct lm_os_range range[BATCH]; /* widened */
    lm_span_id first[BATCH];
    uint32_t length[BATCH];
};

/* Takes the oldest extent out. */
static void dirty_gather(struct dirty_batch *batch)
{
    struct lm_span *extent = lm_span_at(dirty_oldest);
    struct lm_arena *arena = lm_arena_of(extent);
    uint32_t first = lm_arena_granule(arena, extent), granules = extent->granules, from = first, to = first + granules;

    batch->first[batch->count] = dirty_oldest;
    batch->length[batch->count] = granules;
    dirty_remove(extent);
    dirty_widen(arena, &from, &to);
    batch->range[batch->count++] =
        (struct lm_os_range){arena->base + (size_t)from * LM_GRANULE, (size_t)(to - from) * LM_GRANULE};
}

/* Puts one of a batch back. */
static void dirty_put_back(const struct dirty_batch *batch, unsigned i, uint64_t freed_ms)
{
    struct lm_arena *arena = lm_arena_of(lm_span_at(batch->first[i]));

    dirty_insert(arena, batch->first[i] & (LM_MAX_GRANULES - 1), batch->length[i], freed_ms);
}

/* Returns a batch's memory to the OS; false: one of them was refused. It is dirty again, and so are those behind it. */
static bool dirty_return(const struct dirty_batch *batch)
{
    unsigned done = (unsigned)lm_os_purge_all(batch->range, batch->count);

    for (unsigned i = 0; i < done; i++) {
        struct lm_arena *arena = lm_arena_of(lm_span_at(batch->first[i]));

        lm_buddy_free(&arena->buddy, batch->first[i] & (LM_MAX_GRANULES - 1), batch->length[i]);
    }
    for (unsigned i = done + 1; i < batch->count; i++)
        dirty_put_back(batch, i, lm_span_at(batch->first[i])->dirty.freed_ms);
    if (done < batch->count)
        dirty_put_back(batch, done, dirty_clock(LM_TICK_FREE));
    dirty_most = done < batch->count ? 1 : BATCH;
    return done == batch->count;
}

size_t lm_dirty_return(size_t granules, unsigned extents)
{
    size_t before = lm_dirty_granules;
    struct dirty_batch batch;

    do {
        for (batch.count = 0;
             before - lm_dirty_granules < granules && dirty_oldest && extents && batch.count < dirty_most; extents--)
            dirty_gather(&batch);
    } while (batch.count && dirty_return(&batch));
    return before - lm_dirty_granules;
}

size_t lm_dirty_purge(size_t keep)
{
    return lm_dirty_granules > keep ? lm_dirty_return(lm_dirty_granules - keep, UINT_MAX) : 0;
}

/* True when the oldest extent has waited for long enough. */
static bool dirty_is_due(uint64_t now)
{
    return dirty_oldest && now - lm_span_at(dirty_oldest)->dirty.freed_ms >= lm_config.purge_ms;
}

/* How much more than what exceeds the bound is returned, lest every further free makes a call: a mebibyte, or a sixteenth. */
static size_t dirty_slack(size_t bound)
{
    return lm_max(lm_min(SLACK, bound / 2), bound / 16);
}

void lm_dirty_tick(enum lm_tick tick)
{
    size_t before, due, most;
    struct dirty_batch batch;
    uint64_t now;

    if (!dirty_oldest)
        return;
    now = dirty_clock(tick);
    before = lm_dirty_granules;
    for (batch.count = 0; dirty_is_due(now) && batch.count < dirty_most && before - lm_dirty_granules < BATCH_GRANULES;)
        dirty_gather(&batch);
    due = before - lm_dirty_granules;
    most = tick == LM_TICK_ALLOC ? SIZE_MAX : lm_keep_bound(dirty_seen_ms);
    if (lm_dirty_granules > most)
        while (dirty_oldest && lm_dirty_granules > most - dirty_slack(most) && batch.count < dirty_most)
            dirty_gather(&batch);
    if (batch.count)
        dirty_return(&batch);
    if (before - lm_dirty_granules > due)
        lm_keep_returned(before - lm_dirty_granules - due, dirty_seen_ms);
}

int lm_dirty_check(void)
{
    size_t sum = 0, aged = 0;

    for (unsigned bin = 0; bin < BINS; bin++) {
        bool any = dirty_bin[bin] != 0;

        if (any != !!(dirty_bin_used[bin / 64] >> bin % 64 & 1))
            return __LINE__;
        for (lm_span_id id = dirty_bin[bin]; id; id = lm_span_at(id)->dirty.bin_next) {
            const struct lm_span *extent = lm_span_at(id);
            const struct lm_arena *arena = lm_arena_of(extent);

            if (extent->kind != LM_DIRTY || dirty_bin_of(extent->granules) != bin)
                return __LINE__;
            if (extent->granules > 1 && extent[extent->granules - 1].granules != extent->granules)
                return __LINE__;
            if ((id & (LM_MAX_GRANULES - 1)) + extent->granules < arena->frontier &&
                extent[extent->granules].kind == LM_DIRTY)
                return __LINE__; /* should have merged */
            sum += extent->granules;
        }
    }
    for (lm_span_id id = dirty_oldest; id; id = lm_span_at(id)->dirty.age_next)
        aged += lm_span_at(id)->granules;
    return sum != lm_dirty_granules || aged != sum ? __LINE__ : 0;
}
