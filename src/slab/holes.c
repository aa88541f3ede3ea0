/* holes.c: free pages inside slabs, returned to the OS; see slab.h. */
#include "slab/slab.h"

#include <string.h>

enum { MAX_PAGES = 128 }; /* of 4 KiB in the largest slab */

enum page_state { LIVE, UNCARVED, FREE };

static unsigned page_shift(void)
{
    return lm_log2_floor(lm_os_page_size());
}

/* What a page holds: a live object, free ones only, or none that was ever carved. `first` is where object 1 lies. */
static enum page_state page_survey(const struct lm_span *slab, size_t from, size_t to, size_t first)
{
    size_t size = lm_slab_object_size(slab);
    size_t n = from > first ? (from - first) / size + 1 : 1, last = slab->carved;

    if (to <= first || n > last)
        return UNCARVED;
    last = lm_min(last, (to - 1 - first) / size + 1);
    for (; n <= last; n++)
        if (!lm_slab_is_home(slab, n))
            return LIVE;
    return FREE;
}

/* True when object n lies on no page that was returned. */
static bool object_is_whole(const struct lm_span *slab, size_t offset, unsigned shift, const uint8_t *page_state)
{
    size_t page = offset >> shift, last = (offset + lm_slab_object_size(slab) - 1) >> shift;

    for (; page <= last; page++)
        if (page_state[page] == FREE)
            return false;
    return true;
}

/* Makes the list anew: objects whose pages are all there come first, so that holes are filled last. */
static void slab_reorder(struct lm_span *slab, const uint8_t *page_state, size_t first)
{
    size_t size = lm_slab_object_size(slab);
    unsigned shift = page_shift();

    lm_slab_annex(slab)->head = 0;
    for (int there = 0; there <= 1; there++)
        for (uint32_t n = slab->carved; n > 0; n--)
            if (lm_slab_is_home(slab, n) && object_is_whole(slab, first + (n - 1) * size, shift, page_state) == there)
                lm_slab_push(slab, n, lm_slab_object(slab, n));
}

void lm_holes_return(struct lm_holes *holes)
{
    for (unsigned i = 0; i < holes->count; i++) { /* which stands at the first that is not returned yet */
        unsigned end = i + (unsigned)lm_os_purge_all(&holes->range[i], holes->count - i);

        for (; i < end; i++)
            holes->returned += holes->range[i].bytes;
        holes->refused |= end < holes->count;
    }
    holes->count = 0;
}

/* Gathers the free pages of a slab, unless they are fewer than `least`. */
static void slab_gather(struct lm_span *slab, unsigned least, struct lm_holes *holes)
{
    uint8_t page_state[MAX_PAGES];
    size_t page_bytes = lm_os_page_size();
    unsigned pages = (unsigned)(slab->granules * LM_GRANULE >> page_shift()), free_pages = 0;
    char *start = lm_span_start(slab);
    size_t first = (size_t)(slab->origin - start) + lm_slab_object_size(slab);

    for (unsigned page = 0; page < pages; page++) {
        page_state[page] = (uint8_t)page_survey(slab, page * page_bytes, (page + 1) * page_bytes, first);
        free_pages += page_state[page] == FREE;
    }
    if (free_pages < least)
        return;
    for (unsigned page = 0, end; page < pages; page = end) {
        for (end = page + 1; page_state[page] == FREE && end < pages && page_state[end] == FREE;)
            end++;
        if (page_state[page] != FREE)
            continue;
        if (holes->count == sizeof holes->range / sizeof holes->range[0])
            lm_holes_return(holes);
        holes->range[holes->count++] = (struct lm_os_range){start + page * page_bytes, (end - page) * page_bytes};
    }
    slab_reorder(slab, page_state, first);
}

size_t lm_slab_punch(struct lm_span *slab)
{
    struct lm_holes holes;

    if (slab->flags & LM_SLAB_SWEPT)
        return 0;
    lm_holes_start(&holes);
    slab_gather(slab, 1, &holes);
    lm_holes_return(&holes);
    if (!holes.refused) /* else once more the next time */
        slab->flags |= LM_SLAB_SWEPT;
    return holes.returned;
}

void lm_slab_look(struct lm_span *slab, enum lm_look look, struct lm_holes *holes)
{
    struct lm_annex *annex = lm_slab_annex(slab);
    unsigned live = annex->countdown, free_objects = slab->carved - live;
    unsigned quarter = (unsigned)(slab->granules * LM_GRANULE / 4 >> page_shift());
    bool idle = annex->seen_free == free_objects;

    annex->seen_free = (uint16_t)free_objects;
    if (free_objects <= annex->punched_free || (look != LM_LOOK_ALL && free_objects < slab->carved / 4u))
        return;
    if (look == LM_LOOK_IDLE && !idle)
        return;
    if (look == LM_LOOK_NEED && live > (slab->carved - annex->punched_free) / 8u)
        return;
    annex->punched_free = (uint16_t)free_objects;
    slab_gather(slab, look == LM_LOOK_ALL ? 1 : lm_max(quarter, 1), holes);
}
