/* large.c: blocks above the largest class have a span of their own; above config.large_bytes, a mapping.
 *
 * A block is as long as the pages it needs; the rest of its last granule is address space without memory. */
#include "heap/room.h"

#include <errno.h>

/* Rounds a request up to pages; 0 when it cannot be met. */
static size_t large_round(size_t size)
{
    return size > PTRDIFF_MAX - LM_GRANULE ? 0 : lm_align_up(size, lm_os_page_size());
}

void *lm_large_malloc(size_t size, size_t align, bool *zeroed)
{
    size_t bytes = large_round(size), granules = (bytes + LM_GRANULE - 1) / LM_GRANULE;
    size_t align_granules = lm_max(align / LM_GRANULE, 1);
    struct lm_span *span = NULL;
    void *p = NULL;

    if (bytes == 0) {
        errno = ENOMEM;
        return NULL;
    }
    if (lm_page_would_rise())
        lm_idle_release(true);
    if (bytes <= lm_config.large_bytes && align_granules <= lm_config.large_bytes / LM_GRANULE)
        span = lm_span_alloc((uint32_t)granules, (uint32_t)align_granules, LM_LARGE, zeroed);
    if (span) {
        span->large.bytes = bytes;
        p = lm_span_start(span);
        if (*zeroed)
            lm_span_prefault(span, bytes);
    } else {
        *zeroed = true;
        p = lm_huge_malloc(bytes, 0, align);
        if (!p && lm_heap_trim(0) > 0)
            p = lm_huge_malloc(bytes, 0, align);
        if (!p && lm_memory_is_short())
            p = lm_huge_malloc(bytes, 0, align);
    }
    if (!p)
        errno = ENOMEM;
    else if (lm_config.stats)
        lm_count_malloc(size, bytes);
    return p;
}
