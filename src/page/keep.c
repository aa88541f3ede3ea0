/* keep.c: how much freed memory may stay dirty, and what is done for the peak.
 *
 * Nobody can tell a process that will allocate again from one that has freed its heap and now sleeps, and the latter
 * makes no further call in which its memory could be returned. So what is freed beyond a small bound is returned at once, and
 * the bound learns: when memory is wanted within purge_ms that was returned for the bound's sake, the return is regretted,
 * and the bound rises by eight times what is wanted, up to twice all there is. So a process that breathes pays with page faults for
 * the first breath or two, and one that shrinks for good has nothing to regret. The bound holds at frees only: an allocation takes
 * from what is dirty, and may be the first of many, after a pause in which the bound has fallen.
 *
 *   bound      LEAST ... an eighth of the memory limit, falling by an eighth each second
 *   owed       granules that were returned for its sake and not yet wanted again
 *
 * The peak is guarded, too: what was never in use at once should not be resident at once, only because what was freed does not
 * fit what is asked for. So when no dirty extent serves a request and the peak would rise, dirty memory is returned first: in a small
 * heap (config guard) as much in all as the most in use has risen, which costs each page at most once; and in any (config
 * spare), where the peak would be more above the most in use than it says, however often. */
#include "page/arena.h"

enum {
    LEAST = 64,       /* granules: 4 MiB */
    SPARE_LEAST = 32, /* 2 MiB, whatever config spare says */
    ASKING = 128,     /* 8 MiB: below it the memory limit, which costs calls, is not asked for */
    REGRET = 8,       /* times what is wanted back */
    DECAY_MS = 1000,  /* the bound loses an eighth */
    PEAK_MOST = 32,   /* extents that are returned for the peak's sake, for a request */
};

static size_t keep_bound = LEAST, keep_owed;
static uint64_t keep_returned_ms, keep_decayed_ms;
static size_t keep_peak;  /* granules in use and dirty, the most */
static size_t keep_used;  /* granules in use, the most */
static size_t keep_spent; /* as many as were returned for a small heap's peak */

static void keep_decay(uint64_t now)
{
    if (now - keep_decayed_ms < DECAY_MS)
        return;
    for (; now - keep_decayed_ms >= DECAY_MS && keep_bound > LEAST; keep_decayed_ms += DECAY_MS)
        keep_bound -= lm_min((keep_bound + 7) / 8, keep_bound - LEAST);
    keep_decayed_ms = now;
}

size_t lm_keep_bound(uint64_t now)
{
    if (lm_config.dirty_bytes)
        return lm_config.dirty_bytes / LM_GRANULE;
    keep_decay(now);
    return keep_bound;
}

void lm_keep_returned(size_t granules, uint64_t now)
{
    keep_owed = now - keep_returned_ms <= lm_config.purge_ms ? keep_owed + granules : granules;
    keep_returned_ms = now;
}

/* Clean memory is wanted: perhaps instead of what was returned too soon. */
static void keep_regret(uint32_t granules)
{
    size_t most, all = lm_used_granules + lm_dirty_granules;

    if (lm_os_clock_ms() - keep_returned_ms > lm_config.purge_ms)
        keep_owed = 0;
    most = lm_min(granules, keep_owed);
    keep_owed -= most;
    keep_bound = lm_max(keep_bound, lm_min(keep_bound + REGRET * most, 2 * all));
    if (keep_bound > ASKING)
        keep_bound = lm_min(keep_bound, lm_max(ASKING, lm_os_memory_limit() / LM_GRANULE / 8));
}

/* For a small heap's peak: an extent goes as a whole, so that more may go than is wanted. */
static size_t keep_small(size_t wanted)
{
    size_t most = lm_min(keep_used, lm_config.guard_bytes / LM_GRANULE);
    size_t returned = lm_dirty_return(lm_min(wanted, most - lm_min(most, keep_spent)), PEAK_MOST);

    keep_spent += returned;
    return returned;
}

/* For any heap's, at `footprint` granules. */
static size_t keep_spare(size_t footprint)
{
    size_t most = keep_used + lm_max(SPARE_LEAST, keep_used * lm_config.spare_percent / 100);

    return lm_config.spare_percent && footprint > most ? lm_dirty_return(footprint - most, PEAK_MOST) : 0;
}

void lm_keep_clean(uint32_t granules)
{
    size_t used = lm_used_granules + granules, footprint = used + lm_dirty_granules;

    if (keep_owed)
        keep_regret(granules);
    keep_used = lm_max(keep_used, used);
    if (lm_config.dirty_bytes || footprint <= keep_peak)
        return;
    if (used <= lm_config.guard_bytes / LM_GRANULE)
        footprint -= keep_small(footprint - keep_peak);
    footprint -= keep_spare(footprint);
    keep_peak = lm_max(keep_peak, footprint);
}
