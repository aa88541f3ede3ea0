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

    slab->head = 0;
    for (int there = 0; there <= 1; there++)
        for (uint32_t n = slab->carved; n > 0; n--)
            if (lm_slab_is_home(slab, n) && object_is_whole(slab, first + (n - 1) * size, shift, page_state) == there)
                lm_slab_push(slab, n, lm_slab_object(slab, n));
}

/* The bytes returned; *refused: not all that could have been. Nothing is done for fewer than `least` pages. */
static size_t slab_punch(struct lm_span *slab, unsigned least, bool *refused)
{
    uint8_t page_state[MAX_PAGES];
    size_t page_bytes = lm_os_page_size(), returned = 0;
    unsigned pages = (unsigned)(slab->granules * LM_GRANULE >> page_shift()), holes = 0;
    char *start = lm_span_start(slab);
    size_t first = (size_t)(slab->origin - start) + lm_slab_object_size(slab);

    *refused = false;
    for (unsigned page = 0; page < pages; page++) {
        page_state[page] = (uint8_t)page_survey(slab, page * page_bytes, (page + 1) * page_bytes, first);
        holes += page_state[page] == FREE;
    }
    if (holes < least)
        return 0;
    for (unsigned page = 0, end; page < pages; page = end) {
        for (end = page + 1; page_state[page] == FREE && end < pages && page_state[end] == FREE;)
            end++;
        if (page_state[page] != FREE)
            continue;
        if (lm_os_purge(start + page * page_bytes, (end - page) * page_bytes))
            returned += (end - page) * page_bytes;
        else
            *refused = true;
    }
    if (returned)
        slab_reorder(slab, page_state, first);
    return returned;
}

size_t lm_slab_punch(struct lm_span *slab)
{
    bool refused;
    size_t returned;

    if (slab->flags & LM_SLAB_SWEPT)
        return 0;
    returned = slab_punch(slab, 1, &refused);
    if (!refused) /* else once more the next time */
        slab->flags |= LM_SLAB_SWEPT;
    return returned;
}

size_t lm_slab_look(struct lm_span *slab, enum lm_look look)
{
    struct lm_annex *annex = lm_slab_annex(slab);
    unsigned live = slab->countdown, free_objects = slab->carved - live;
    unsigned quarter = (unsigned)(slab->granules * LM_GRANULE / 4 >> page_shift());
    bool idle = annex->seen_free == free_objects, refused;

    annex->seen_free = (uint16_t)free_objects;
    if (free_objects <= annex->punched_free || (look != LM_LOOK_ALL && free_objects < slab->carved / 4u))
        return 0;
    if (look == LM_LOOK_IDLE && !idle)
        return 0;
    if (look == LM_LOOK_NEED && live > (slab->carved - annex->punched_free) / 8u)
        return 0;
    annex->punched_free = (uint16_t)free_objects;
    return slab_punch(slab, look == LM_LOOK_ALL ? 1 : lm_max(quarter, 1), &refused);
}
