/* loam.c: the loam_* names; see <loam/loam.h> for their contracts. */
#include <loam/cache.h>
#include <loam/loam.h>

#include "front/calls.h"
#include "front/options.h"

#include <errno.h>

LM_PUBLIC void *loam_malloc(size_t size)
{
    return lm_call_malloc(size);
}

LM_PUBLIC void *loam_calloc(size_t count, size_t size)
{
    return lm_call_calloc(count, size);
}

LM_PUBLIC void *loam_realloc(void *block, size_t size)
{
    return lm_call_realloc(block, size);
}

LM_PUBLIC void *loam_aligned_alloc(size_t align, size_t size)
{
    if (!lm_is_power2(align)) {
        errno = EINVAL;
        return NULL;
    }
    return lm_call_aligned(align, size);
}

LM_PUBLIC void loam_free(void *block)
{
    lm_call_free(block);
}

LM_PUBLIC void loam_free_sized(void *block, size_t size)
{
    (void)size;
    lm_call_free(block);
}

LM_PUBLIC size_t loam_usable_size(const void *block)
{
    return lm_heap_usable(block);
}

LM_PUBLIC size_t loam_good_size(size_t size)
{
    return lm_heap_good_size(size);
}

LM_PUBLIC size_t loam_malloc_batch(size_t size, size_t count, void **out)
{
    size_t made = 0;

    while (made < count && (out[made] = lm_call_malloc(size)) != NULL)
        made++;
    return made;
}

LM_PUBLIC void loam_free_batch(size_t count, void **blocks)
{
    for (size_t i = 0; i < count; i++)
        lm_call_free(blocks[i]);
}

LM_PUBLIC size_t loam_trim(size_t keep_bytes)
{
    lm_start();
    loam_cache_reap_all();
    lm_privates_release();
    return lm_heap_trim(keep_bytes);
}

LM_PUBLIC int loam_configure(const char *conf)
{
    bool used;
    int faults;

    lm_start();
    used = lm_heap_is_used();
    faults = lm_options_parse(conf, LM_FROM_CALL, used);
    if (!used)
        lm_start_apply();
    if (faults == 0)
        return 0;
    errno = EINVAL;
    return -1;
}

LM_PUBLIC int loam_stats(struct loam_stats *out)
{
    struct lm_page_stats pages;
    struct lm_heap_stats heap;
    struct lm_os_counter os[LM_OS_CALLS];

    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    lm_page_stats(&pages);
    lm_heap_stats(&heap);
    lm_os_counters(os);
    *out = (struct loam_stats){
        .struct_bytes = sizeof *out,
        .reserved_bytes = pages.reserved_bytes,
        .committed_bytes = pages.used_bytes + pages.dirty_bytes + pages.meta_bytes + heap.huge_bytes,
        .dirty_bytes = pages.dirty_bytes,
        .live_small_bytes = heap.small_live_bytes,
        .live_large_bytes = heap.large_bytes,
        .live_huge_bytes = heap.huge_bytes,
        .free_small_bytes = heap.small_free_bytes,
        .slabs = heap.slabs,
        .large_blocks = heap.large_blocks,
        .huge_blocks = heap.huge_blocks,
        .threads = heap.heaps - heap.idle_heaps,
        .mapped_bytes = os[LM_OS_COMMIT].bytes + os[LM_OS_MAP].bytes,
        .returned_bytes = os[LM_OS_UNMAP].bytes + os[LM_OS_PURGE].bytes,
    };
    for (int i = 0; i < LM_OS_CALLS; i++)
        out->os_calls += os[i].calls;
    return 0;
}
