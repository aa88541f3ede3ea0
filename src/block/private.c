/* private.c: the public face of heap/private; see <loam/heap.h>. */
#include "block/block.h"

#include <errno.h>
#include <loam/heap.h>
#include <string.h>

static struct lm_private *private_in(struct loam_heap *heap)
{
    return (struct lm_private *)(void *)heap;
}

static struct loam_heap *private_out(struct lm_private *heap)
{
    return (struct loam_heap *)(void *)heap;
}

LM_PUBLIC struct loam_heap *loam_heap_create(const struct loam_heap_options *options)
{
    static const struct loam_heap_options none = {.struct_bytes = sizeof none};
    struct lm_private_options inner;
    struct lm_private *heap;

    if (!options)
        options = &none;
    if (options->struct_bytes != sizeof *options || (unsigned)options->policy > LOAM_HEAP_STEADY ||
        (options->policy == LOAM_HEAP_STEADY) != (options->reserve_bytes != 0) ||
        (options->reserve_bytes && options->source)) {
        errno = EINVAL;
        return NULL;
    }
    inner = (struct lm_private_options){
        .name = options->name,
        .quota_bytes = options->quota_bytes,
        .share_bytes = options->share_bytes,
        .parent = options->parent ? private_in(options->parent) : NULL,
        .source = options->source,
        .reclaim = options->reclaim,
        .arg = options->arg,
        .sweeps = options->policy == LOAM_HEAP_LEAN,
        .unlocked = options->policy == LOAM_HEAP_SINGLE,
        .reserve_bytes = options->reserve_bytes,
    };
    heap = lm_private_create(&inner);
    return heap ? private_out(heap) : NULL;
}

LM_PUBLIC void loam_heap_destroy(struct loam_heap *heap)
{
    if (heap)
        lm_private_destroy(private_in(heap));
}

LM_PUBLIC void loam_heap_reset(struct loam_heap *heap)
{
    lm_private_reset(private_in(heap));
}

LM_PUBLIC void *loam_heap_malloc(struct loam_heap *heap, size_t size)
{
    bool zeroed;
    void *p = NULL;

    if (LM_LIKELY(size <= LM_DIRECT_MAX))
        p = lm_private_pop_direct(private_in(heap), size);
    else if (size <= lm_config.slab_max_bytes)
        p = lm_private_pop_class(private_in(heap), lm_class_for(size));
    return LM_LIKELY(p != NULL) ? p : lm_private_malloc(private_in(heap), size, 1, &zeroed);
}

LM_PUBLIC void *loam_heap_calloc(struct loam_heap *heap, size_t count, size_t size)
{
    bool zeroed;
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    p = lm_private_malloc(private_in(heap), bytes, 1, &zeroed);
    if (p && !zeroed)
        memset(p, 0, bytes);
    return p;
}

LM_PUBLIC void *loam_heap_aligned_alloc(struct loam_heap *heap, size_t align, size_t size)
{
    bool zeroed;

    if (!lm_is_power2(align)) {
        errno = EINVAL;
        return NULL;
    }
    return lm_private_malloc(private_in(heap), size, align, &zeroed);
}

LM_PUBLIC void *loam_heap_realloc(struct loam_heap *heap, void *block, size_t size)
{
    if (!block)
        return loam_heap_malloc(heap, size);
    if (size == 0) {
        lm_heap_free(block);
        return NULL;
    }
    return lm_heap_realloc(block, size);
}

LM_PUBLIC struct loam_heap *loam_heap_of(const void *block)
{
    struct lm_private *heap = lm_private_of(block);

    return heap ? private_out(heap) : NULL;
}

LM_PUBLIC int loam_heap_limit(struct loam_heap *heap, size_t quota_bytes, size_t share_bytes)
{
    return lm_quota_set(private_in(heap), quota_bytes ? quota_bytes : SIZE_MAX, share_bytes) ? 0 : -1;
}

LM_PUBLIC int loam_heap_stats(struct loam_heap *heap, struct loam_heap_figures *out)
{
    struct lm_private *private = private_in(heap);
    struct lm_private_stats stats;
    size_t used;

    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    lm_private_stats(private, &stats);
    used = lm_quota_used(private);
    *out = (struct loam_heap_figures){
        .struct_bytes = sizeof *out,
        .quota_bytes = __atomic_load_n(&private->quota_bytes, __ATOMIC_RELAXED),
        .share_bytes = __atomic_load_n(&private->share_bytes, __ATOMIC_RELAXED),
        .used_bytes = used,
        .peak_bytes = lm_max(used, __atomic_load_n(&private->peak_bytes, __ATOMIC_RELAXED)),
        .held_bytes = stats.held_bytes,
        .slabs = stats.slabs,
        .large_blocks = stats.large_blocks,
        .refused = __atomic_load_n(&private->refused, __ATOMIC_RELAXED),
    };
    memcpy(out->name, private->name, sizeof out->name);
    return 0;
}

LM_PUBLIC int loam_heap_check(struct loam_heap *heap)
{
    return lm_private_check(private_in(heap));
}
