/* resize.c: realloc.
 *
 *   in a slab     stays while the class fits and at least half of it is used
 *   large         shrinks in place; grows in place into free granules behind it; else moves
 *   huge          mremap, which moves pages instead of copying them; a copy where that is refused
 *
 * A large block that outgrows its place becomes huge, because a block that has grown once will grow again: this
 * step and the next then move page tables, not bytes, and the peak does not hold the block twice. */
#include "heap/room.h"

#include <errno.h>
#include <string.h>

static void *resize_move(void *p, size_t old_bytes, size_t size, bool to_huge)
{
    void *q = NULL;

    if (to_huge) {
        q = lm_huge_malloc(lm_align_up(size, lm_os_page_size()), lm_min(old_bytes, size), 1);
        if (q && lm_config.stats)
            lm_count_malloc(size, lm_align_up(size, lm_os_page_size()));
    }
    if (!q)
        q = lm_heap_pop(size);
    if (!q)
        q = lm_heap_malloc(size, NULL);
    if (!q)
        return NULL;
    memcpy(q, p, lm_min(old_bytes, size));
    if (LM_UNLIKELY(!lm_heap_push(p)))
        lm_heap_free(p);
    return q;
}

/* A large span that becomes a huge block. */
static void *resize_to_huge(struct lm_span *span, void *p, size_t size)
{
    size_t old_bytes = span->large.bytes, bytes = lm_align_up(size, lm_os_page_size());
    void *q = lm_huge_take(span, bytes);

    if (!q)
        return resize_move(p, old_bytes, size, true);
    lm_count_resize(old_bytes, size, bytes);
    return q;
}

/* A large span that stays large, or outgrows its place. */
static void *resize_large(struct lm_span *span, void *p, size_t size)
{
    size_t bytes = lm_align_up(size, lm_os_page_size());
    uint32_t granules = (uint32_t)((bytes + LM_GRANULE - 1) / LM_GRANULE);

    if (granules < span->granules)
        lm_span_shrink(span, granules);
    else if (granules > span->granules && !lm_span_grow(span, granules))
        return size >= lm_config.remap_bytes && !lm_config.reserve_bytes
            ? resize_to_huge(span, p, size)
            : resize_move(p, span->large.bytes, size, false);
    lm_count_resize(span->large.bytes, size, bytes);
    span->large.bytes = bytes;
    return p;
}

void *lm_heap_realloc(void *p, size_t size)
{
    struct lm_span *span;
    size_t bytes;

    lm_single_guard();
    span = lm_block_span(p, "realloc");
    if (size > PTRDIFF_MAX - LM_GRANULE) {
        errno = ENOMEM;
        return NULL;
    }
    if (!span) {
        void *q = NULL;

        bytes = lm_huge_usable(p);
        if (size > lm_config.remap_bytes / 2)
            q = lm_huge_resize(p, size);
        return q ? q : resize_move(p, bytes, size, size > lm_config.remap_bytes / 2);
    }
    if (lm_span_is_private(span))
        return lm_private_resize(span, p, size);
    if (lm_span_kind(span) == LM_LARGE) {
        if (size > lm_config.slab_max_bytes && size <= lm_config.large_bytes)
            return resize_large(span, p, size);
        return size > lm_config.large_bytes ? resize_to_huge(span, p, size)
                                            : resize_move(p, span->large.bytes, size, false);
    }
    bytes = lm_slab_object_size(span);
    if (size <= bytes && size >= bytes / 2)
        return p;
    return resize_move(p, bytes, size, false);
}
