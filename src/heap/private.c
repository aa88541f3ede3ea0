/* private.c: blocks of private heaps; see private.h.
 *
 * Sizes are rounded and classed as in the general heap. What is above the largest class is a span whatever its size:
 * a mapping of its own would not be the source's, and could not go with the rest. */
#include "heap/private.h"
#include "heap/room.h"

#include <errno.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 20, CHUNK_MAX_BYTES = 64 << 20 }; /* asked of a source: the first, doubling, the largest */

static struct lm_private *private_idle; /* destroyed, waiting for reuse; linked by sibling */
static uint32_t private_groups;         /* numbers given out */

/* -- coming and going ---------------------------------------------------------------------------------------- */

struct lm_private *lm_private_create(const struct lm_private_options *options)
{
    struct lm_private *heap;
    uint32_t group = 0;

    lm_lock_take(&lm_privates_lock);
    heap = private_idle;
    if (heap)
        private_idle = heap->sibling;
    if (options->source)
        group = ++private_groups;
    lm_lock_release(&lm_privates_lock);
    if (!heap && !(heap = lm_meta_alloc(sizeof *heap))) {
        errno = ENOMEM;
        return NULL;
    }
    memset(heap, 0, sizeof *heap);
    lm_heap_init(&heap->heap, LM_TAG_PRIVATE);
    heap->lock = (struct lm_lock)LM_LOCK_INIT(LM_RANK_PRIVATE);
    heap->source = options->source;
    heap->group = group;
    heap->quota_bytes = options->quota_bytes ? options->quota_bytes : SIZE_MAX;
    heap->share_bytes = options->share_bytes;
    heap->reclaim = options->reclaim;
    heap->arg = options->arg;
    strncpy(heap->name, options->name ? options->name : "", sizeof heap->name - 1);
    if (lm_quota_join(heap, options->parent))
        return heap;
    lm_lock_take(&lm_privates_lock);
    heap->sibling = private_idle;
    private_idle = heap;
    lm_lock_release(&lm_privates_lock);
    return NULL;
}

static void private_release_list(lm_span_id *head)
{
    while (*head) {
        struct lm_span *span = lm_span_at(*head);

        lm_lists_unlink(head, span);
        __atomic_store_n(&span->owner, NULL, __ATOMIC_RELEASE);
        if (span->kind == LM_LARGE)
            lm_span_free(span);
        else
            lm_slab_free(span);
    }
}

/* Gives back every block and the source's memory. */
static void private_empty(struct lm_private *heap)
{
    size_t bytes;
    void *memory;

    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = heap->heap.current[c];

        if (slab != LM_SLAB_NONE) {
            lm_heap_set_current(&heap->heap, c, LM_SLAB_NONE);
            __atomic_store_n(&slab->owner, NULL, __ATOMIC_RELEASE);
            lm_slab_free(slab);
        }
        private_release_list(&heap->heap.lists.partial[c]);
    }
    private_release_list(&heap->heap.lists.full);
    private_release_list(&heap->large);
    while (heap->group && (memory = lm_arena_drop(heap->group, &bytes)) != NULL)
        if (heap->source->unmap)
            heap->source->unmap(heap->source->ctx, memory, bytes);
    heap->chunk_bytes = 0;
}

void lm_private_reset(struct lm_private *heap)
{
    for (struct lm_private *child = heap->children; child; child = child->sibling)
        lm_private_reset(child);
    lm_lock_take(&heap->lock);
    private_empty(heap);
    lm_lock_release(&heap->lock);
    /* the children have given theirs back: what is left was this heap's own */
    lm_quota_uncharge(heap, __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED));
}

void lm_private_destroy(struct lm_private *heap)
{
    while (heap->children)
        lm_private_destroy(heap->children);
    lm_private_reset(heap);
    lm_quota_leave(heap);
    lm_lock_take(&lm_privates_lock);
    heap->sibling = private_idle;
    private_idle = heap;
    lm_lock_release(&lm_privates_lock);
}

/* -- spans ------------------------------------------------------------------------------------------------------ */

/* More memory from the heap's source, at least for a span of `granules`. */
static bool private_grow(struct lm_private *heap, uint32_t granules)
{
    size_t least = ((size_t)granules + 1) * LM_GRANULE, want;
    void *memory;

    least += lm_align_up(granules * sizeof(struct lm_span) * 2, LM_GRANULE); /* descriptors and the buddy's part */
    want = lm_max(least, lm_min(lm_max(heap->chunk_bytes * 2, CHUNK_BYTES), CHUNK_MAX_BYTES));
    for (;; want = lm_max(want / 2, least)) {
        want = lm_align_up(want, LM_GRANULE);
        memory = heap->source->map(heap->source->ctx, want, LM_GRANULE);
        if (memory)
            break;
        if (want <= least)
            return false;
    }
    if (lm_arena_add(memory, want, heap->group)) {
        heap->chunk_bytes = want;
        return true;
    }
    if (heap->source->unmap)
        heap->source->unmap(heap->source->ctx, memory, want);
    return false;
}

struct lm_span *lm_private_new_slab(struct lm_heap *heap, unsigned size_class)
{
    struct lm_private *private = (struct lm_private *)(void *)heap;
    struct lm_span *slab = lm_slab_create_in(private->group, size_class, heap->colour++, lm_heap_tag(heap));

    if (!slab && private->group && private_grow(private, lm_class[size_class].granules))
        slab = lm_slab_create_in(private->group, size_class, heap->colour++, lm_heap_tag(heap));
    return slab;
}

/* Under the heap's lock. */
static void *private_large(struct lm_private *heap, size_t bytes, size_t align, bool *zeroed)
{
    uint32_t granules = (uint32_t)((bytes + LM_GRANULE - 1) / LM_GRANULE);
    uint32_t align_granules = (uint32_t)lm_max(align / LM_GRANULE, 1);
    struct lm_span *span;

    if (!heap->group) {
        span = lm_span_alloc(granules, align_granules, LM_LARGE, zeroed);
    } else {
        span = lm_span_alloc_in(heap->group, granules, align_granules, LM_LARGE);
        if (!span && private_grow(heap, granules + align_granules))
            span = lm_span_alloc_in(heap->group, granules, align_granules, LM_LARGE);
    }
    if (!span)
        return NULL;
    span->large.bytes = bytes;
    lm_lists_link(&heap->large, span);
    __atomic_store_n(&span->owner, lm_heap_tag(&heap->heap), __ATOMIC_RELEASE);
    return lm_span_start(span);
}

/* -- blocks ----------------------------------------------------------------------------------------------------- */

void *lm_private_malloc(struct lm_private *heap, size_t size, size_t align, bool *zeroed)
{
    bool small = size <= LM_SLAB_MAX && align <= LM_SLAB_MAX;
    unsigned size_class = 0;
    size_t bytes;
    void *p;

    *zeroed = false;
    if (small) {
        size_class = align <= 16 ? lm_class_of(size) : lm_heap_aligned_class(lm_max(size, 1), align);
        bytes = lm_class[size_class].size;
    } else if (size <= (size_t)(LM_MAX_GRANULES / 4) * LM_GRANULE &&
        align <= (size_t)(LM_MAX_GRANULES / 4) * LM_GRANULE) {
        bytes = lm_align_up(lm_max(size, 1), lm_os_page_size());
    } else {
        errno = ENOMEM;
        return NULL;
    }
    if (!lm_quota_charge(heap, bytes))
        return NULL;
    lm_lock_take(&heap->lock);
    p = small ? lm_heap_take(&heap->heap, size_class, zeroed) : private_large(heap, bytes, align, zeroed);
    lm_lock_release(&heap->lock);
    if (!p) {
        lm_quota_uncharge(heap, bytes);
        errno = ENOMEM;
    } else if (lm_config.stats) {
        lm_count_malloc(size, bytes);
    }
    return p;
}

static struct lm_private *private_owner(const struct lm_span *span)
{
    return (struct lm_private *)(void *)lm_slab_owner(span);
}

void lm_private_free(struct lm_span *span, void *p)
{
    struct lm_private *heap = private_owner(span);
    size_t bytes;

    lm_lock_take(&heap->lock);
    if (lm_span_kind(span) == LM_LARGE) {
        bytes = span->large.bytes;
        lm_lists_unlink(&heap->large, span);
        __atomic_store_n(&span->owner, NULL, __ATOMIC_RELEASE);
        lm_span_free(span);
    } else {
        bytes = lm_slab_object_size(span);
        lm_slab_put(span, p);
        if (--span->countdown == 0)
            lm_heap_push_zero(span);
    }
    lm_lock_release(&heap->lock);
    lm_quota_uncharge(heap, bytes);
}

/* A large block that stays large and in place; false when it cannot. */
static bool private_resize_large(struct lm_private *heap, struct lm_span *span, size_t size)
{
    size_t old = span->large.bytes, bytes = lm_align_up(size, lm_os_page_size());
    uint32_t granules = (uint32_t)((bytes + LM_GRANULE - 1) / LM_GRANULE);
    bool done = true;

    if (bytes > old && !lm_quota_charge(heap, bytes - old))
        return false;
    lm_lock_take(&heap->lock);
    if (granules < span->granules)
        lm_span_shrink(span, granules);
    else if (granules > span->granules)
        done = lm_span_grow(span, granules);
    if (done)
        span->large.bytes = bytes;
    lm_lock_release(&heap->lock);
    if (done && bytes < old)
        lm_quota_uncharge(heap, old - bytes);
    else if (!done)
        lm_quota_uncharge(heap, bytes - old);
    return done;
}

void *lm_private_resize(struct lm_span *span, void *p, size_t size)
{
    struct lm_private *heap = private_owner(span);
    bool large = lm_span_kind(span) == LM_LARGE, zeroed;
    size_t old = large ? span->large.bytes : lm_slab_object_size(span);
    void *q;

    if (!large && size <= old && size >= old / 2)
        return p;
    if (large && size > LM_SLAB_MAX && private_resize_large(heap, span, size))
        return p;
    q = lm_private_malloc(heap, size, 16, &zeroed);
    if (!q)
        return NULL;
    memcpy(q, p, lm_min(old, size));
    lm_heap_free(p);
    return q;
}

struct lm_private *lm_private_of(const void *p)
{
    const struct lm_span *span = p ? lm_block_span(p, "loam_heap_of") : NULL;

    return span && lm_span_is_private(span) ? private_owner(span) : NULL;
}

/* -- seen from above ----------------------------------------------------------------------------------------------- */

static void private_count_list(lm_span_id id, struct lm_private_stats *out)
{
    for (; id; id = lm_span_at(id)->next) {
        const struct lm_span *span = lm_span_at(id);

        out->held_bytes += span->granules * LM_GRANULE;
        if (span->kind == LM_LARGE)
            out->large_blocks++;
        else
            out->slabs++;
    }
}

void lm_private_stats(struct lm_private *heap, struct lm_private_stats *out)
{
    *out = (struct lm_private_stats){0};
    lm_lock_take(&heap->lock);
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        const struct lm_span *slab = heap->heap.current[c];

        if (slab != LM_SLAB_NONE) {
            out->slabs++;
            out->held_bytes += slab->granules * LM_GRANULE;
        }
        private_count_list(heap->heap.lists.partial[c], out);
    }
    private_count_list(heap->heap.lists.full, out);
    private_count_list(heap->large, out);
    lm_lock_release(&heap->lock);
}

/* The live bytes of a list, into *live. */
static int private_check_list(const struct lm_private *heap, lm_span_id id, enum lm_kind kind, size_t *live)
{
    int fault = 0;

    for (; id && !fault; id = lm_span_at(id)->next) {
        const struct lm_span *span = lm_span_at(id);

        if (span->kind != kind || private_owner(span) != heap || !lm_span_is_private(span))
            return __LINE__;
        if (kind == LM_LARGE) {
            *live += span->large.bytes;
            continue;
        }
        fault = lm_slab_check(span);
        *live += (span->carved - lm_slab_count_free(span)) * lm_slab_object_size(span);
    }
    return fault;
}

int lm_private_check(struct lm_private *heap)
{
    size_t live = 0;
    int fault = 0;

    lm_lock_take(&heap->lock);
    for (unsigned c = 0; c < LM_CLASSES && !fault; c++) {
        const struct lm_span *slab = heap->heap.current[c];

        if (slab != LM_SLAB_NONE) {
            fault = slab->kind == LM_SLAB_CURRENT ? lm_slab_check(slab) : __LINE__;
            live += (slab->carved - lm_slab_count_free(slab)) * lm_slab_object_size(slab);
        }
        if (!fault)
            fault = private_check_list(heap, heap->heap.lists.partial[c], LM_SLAB_PARTIAL, &live);
    }
    if (!fault)
        fault = private_check_list(heap, heap->heap.lists.full, LM_SLAB_FULL, &live);
    if (!fault)
        fault = private_check_list(heap, heap->large, LM_LARGE, &live);
    lm_lock_release(&heap->lock);
    for (const struct lm_private *child = heap->children; child; child = child->sibling)
        live += __atomic_load_n(&child->used_bytes, __ATOMIC_RELAXED);
    if (!fault && live != __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED))
        fault = __LINE__;
    return fault;
}
