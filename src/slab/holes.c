/* holes.c: free pages inside slabs, returned to the OS and taken back; see slab.h. */
#include "slab/slab.h"

#include <string.h>

enum { MAX_PAGES = 128, MAX_OBJECTS = 4096 }; /* of 4 KiB in the largest slab; of 16 bytes in a granule */

static unsigned slab_pages(const struct lm_span *slab)
{
    return (unsigned)(slab->granules * LM_GRANULE / lm_os_page_size());
}

static unsigned granule_pages(void)
{
    return (unsigned)(LM_GRANULE / lm_os_page_size());
}

static bool slab_is_hole(const struct lm_span *slab, unsigned page)
{
    return slab[page / granule_pages()].holes >> page % granule_pages() & 1;
}

static bool slab_has_holes(const struct lm_span *slab)
{
    for (uint32_t i = 0; i < slab->granules; i++)
        if (slab[i].holes)
            return true;
    return false;
}

/* The pages that object n lies on: from *first to the one returned. */
static unsigned object_pages(const struct lm_span *slab, unsigned n, unsigned *first)
{
    size_t size = lm_slab_object_size(slab), page = lm_os_page_size();
    size_t offset = (size_t)(slab->first - (char *)lm_span_start(slab)) + n * size;

    *first = (unsigned)(offset / page);
    return (unsigned)((offset + size - 1) / page);
}

static bool object_is_absent(const struct lm_span *slab, unsigned n)
{
    unsigned first, last = object_pages(slab, n, &first);

    for (unsigned page = first; page <= last; page++)
        if (slab_is_hole(slab, page))
            return true;
    return false;
}

static unsigned object_number(const struct lm_span *slab, const void *p)
{
    return (unsigned)((size_t)((const char *)p - slab->first) / lm_slab_object_size(slab));
}

bool lm_slab_is_absent(const struct lm_span *slab, const void *p)
{
    return slab_has_holes(slab) && object_is_absent(slab, object_number(slab, p));
}

unsigned lm_slab_absent(const struct lm_span *slab)
{
    unsigned count = 0;

    if (slab_has_holes(slab))
        for (unsigned n = 0; n < slab->carved; n++)
            count += object_is_absent(slab, n);
    return count;
}

/* Takes the objects that have become absent out of the free list. */
static void slab_relink(struct lm_span *slab)
{
    struct lm_object *object = slab->free, *last = NULL;

    slab->free = NULL;
    for (; object; object = object->next) {
        if (object_is_absent(slab, object_number(slab, object)))
            continue;
        if (last)
            lm_object_link(last, object);
        else
            slab->free = object;
        last = object;
    }
    if (last)
        lm_object_link(last, NULL);
}

size_t lm_slab_punch(struct lm_span *slab)
{
    uint8_t used[MAX_PAGES]; /* by live objects, or by none at all */
    uint64_t is_free[MAX_OBJECTS / 64] = {0};
    unsigned pages = slab_pages(slab), first, last, punched = 0;
    size_t page_bytes = lm_os_page_size();
    char *start = lm_span_start(slab);

    if (slab->kind == LM_SLAB_PARTIAL && slab->countdown == slab->capacity)
        return 0;
    memset(used, 1, sizeof used);
    for (unsigned n = 0; n < slab->carved; n++) { /* what was never carved was never touched either */
        last = object_pages(slab, n, &first);
        memset(used + first, 0, last - first + 1);
    }
    for (const struct lm_object *object = slab->free; object; object = object->next) {
        unsigned n = object_number(slab, object);

        is_free[n / 64] |= (uint64_t)1 << n % 64;
    }
    for (unsigned n = 0; n < slab->carved; n++)
        if (!(is_free[n / 64] >> n % 64 & 1) && !object_is_absent(slab, n)) {
            last = object_pages(slab, n, &first);
            memset(used + first, 1, last - first + 1);
        }
    for (unsigned page = 0; page < pages; page++)
        if (!used[page] && !slab_is_hole(slab, page)) {
            slab[page / granule_pages()].holes |= (uint32_t)1 << page % granule_pages();
            used[page] = 2;
            punched++;
        }
    if (!punched)
        return 0;
    slab_relink(slab); /* before the contents go */
    for (unsigned page = 0, end; page < pages; page = end) {
        for (end = page + 1; used[page] == 2 && end < pages && used[end] == 2;)
            end++;
        if (used[page] == 2)
            lm_os_purge(start + page * page_bytes, (end - page) * page_bytes); /* refused: a hole all the same */
    }
    return punched * page_bytes;
}

bool lm_slab_fill(struct lm_span *slab)
{
    unsigned pages = slab_pages(slab), page = 0, first, last;

    while (page < pages && !slab_is_hole(slab, page))
        page++;
    if (page == pages)
        return false;
    slab[page / granule_pages()].holes &= ~((uint32_t)1 << page % granule_pages());
    for (unsigned n = slab->carved; n-- > 0;) {
        last = object_pages(slab, n, &first);
        if (first <= page && page <= last && !object_is_absent(slab, n)) {
            struct lm_object *object = (struct lm_object *)(void *)(slab->first + n * lm_slab_object_size(slab));

            lm_object_link(object, slab->free);
            slab->free = object;
        }
    }
    return true;
}
