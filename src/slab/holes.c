/* holes.c: free pages inside slabs, returned to the OS; see slab.h. */
#include "slab/slab.h"

#include <string.h>

enum { MAX_PAGES = 128 }; /* of 4 KiB in the largest slab */

enum page_state { LIVE, UNCARVED, FREE };

/* The pages that object n lies on: from *first to the one returned. */
static unsigned object_pages(const struct lm_span *slab, uint32_t n, unsigned *first)
{
    size_t offset = (size_t)((char *)lm_slab_object(slab, n) - (char *)lm_span_start(slab));

    *first = (unsigned)(offset / lm_os_page_size());
    return (unsigned)((offset + lm_slab_object_size(slab) - 1) / lm_os_page_size());
}

/* What each page holds: a live object, free ones only, or none that was ever carved. */
static void slab_survey(const struct lm_span *slab, uint8_t *page_state)
{
    unsigned first, last;

    memset(page_state, UNCARVED, MAX_PAGES);
    for (uint32_t n = 1; n <= slab->carved; n++) {
        last = object_pages(slab, n, &first);
        memset(page_state + first, FREE, last - first + 1);
    }
    for (uint32_t n = 1; n <= slab->carved; n++)
        if (!lm_slab_is_home(slab, n)) {
            last = object_pages(slab, n, &first);
            memset(page_state + first, LIVE, last - first + 1);
        }
}

/* Makes the list anew: objects whose pages are all there come first, so that holes are filled last. */
static void slab_reorder(struct lm_span *slab, const uint8_t *page_state)
{
    slab->head = 0;
    for (int there = 0; there <= 1; there++)
        for (uint32_t n = slab->carved; n > 0; n--) {
            unsigned first, last = object_pages(slab, n, &first);
            bool whole = !memchr(page_state + first, FREE, last - first + 1);

            if (lm_slab_is_home(slab, n) && whole == there)
                lm_slab_push(slab, n);
        }
}

size_t lm_slab_punch(struct lm_span *slab)
{
    uint8_t page_state[MAX_PAGES];
    size_t page_bytes = lm_os_page_size(), returned = 0;
    unsigned pages = (unsigned)(slab->granules * LM_GRANULE / page_bytes);
    char *start = lm_span_start(slab);

    if (slab->flags & LM_SLAB_SWEPT)
        return 0;
    slab->flags |= LM_SLAB_SWEPT;
    slab_survey(slab, page_state);
    for (unsigned page = 0, end; page < pages; page = end) {
        for (end = page + 1; page_state[page] == FREE && end < pages && page_state[end] == FREE;)
            end++;
        if (page_state[page] != FREE)
            continue;
        if (lm_os_purge(start + page * page_bytes, (end - page) * page_bytes))
            returned += (end - page) * page_bytes;
        else
            slab->flags &= (unsigned)~LM_SLAB_SWEPT; /* refused: once more the next time */
    }
    if (returned)
        slab_reorder(slab, page_state);
    return returned;
}
