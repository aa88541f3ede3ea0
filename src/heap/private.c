/* private.c: blocks of private heaps; see private.h.
 *
 * Sizes are rounded and classed as in the general heap. What is above the largest class is a span whatever its size:
 * a mapping of its own would not be the source's, and could not go with the rest. */
#include "heap/private.h"
#include "heap/room.h"

#include <errno.h>
#include <string.h>

enum { SWEEP_BYTES = 256 << 10 };                           /* freed in a heap that sweeps, before it does */
enum { CHUNK_BYTES = 1 << 20, CHUNK_MAX_BYTES = 64 << 20 }; /* asked of a source: the first, doubling, the largest */

static struct lm_private *private_idle; /* destroyed, waiting for reuse; linked by sibling */
static uint32_t private_groups;         /* numbers given out */

/* -- locking ------------------------------------------------------------------------------------------------ */

static void private_enter(struct lm_private *heap)
{
    if (!heap->unlocked)
        lm_lock_take(&heap->lock);
}

static void private_leave(struct lm_private *heap)
{
    if (!heap->unlocked)
        lm_lock_release(&heap->lock);
}

/* -- coming and going ---------------------------------------------------------------------------------------- */

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
    while (heap->group && !heap->steady && (memory = lm_arena_drop(heap->group, &bytes)) != NULL)
        if (!heap->source)
            lm_os_unmap(memory, bytes); /* a steady heap's reserve */
        else if (heap->source->unmap)
            heap->source->unmap(heap->source->ctx, memory, bytes);
    heap->chunk_bytes = 0;
}

/* Takes all the memory that a steady heap will have. */
static bool private_reserve(struct lm_private *heap, size_t reserve_bytes)
{
    size_t granules = reserve_bytes / LM_GRANULE + 1;
    /* descriptors and the buddy's part: less than two hundredths */
    size_t bytes = (granules + 2 + granules * 2 * sizeof(struct lm_span) / LM_GRANULE) * LM_GRANULE;
    void *memory = reserve_bytes <= PTRDIFF_MAX / 2 ? lm_os_map(bytes, LM_GRANULE) : NULL;

    errno = ENOMEM;
    if (!memory)
        return false;
    if ((lm_os_lock(memory, bytes) || lm_os_populate(memory, bytes)) && lm_arena_add(memory, bytes, heap->group))
        return heap->steady = true;
    lm_os_unmap(memory, bytes);
    return false;
}

struct lm_private *lm_private_create(const struct lm_private_options *options)
{
    struct lm_private *heap;
    uint32_t group = 0;

    lm_lock_take(&lm_privates_lock);
    heap = private_idle;
    if (heap)
        private_idle = heap->sibling;
    if (options->source || options->reserve_bytes)
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
    heap->uncounted = options->uncounted;
    heap->sweeps = options->sweeps;
    heap->unlocked = options->unlocked;
    heap->arg = options->arg;
    strncpy(heap->name, options->name ? options->name : "", sizeof heap->name - 1);
    if (!options->reserve_bytes || private_reserve(heap, options->reserve_bytes)) {
        if (lm_quota_join(heap, options->parent))
            return heap;
        heap->steady = false;
        private_empty(heap);
    }
    lm_lock_take(&lm_privates_lock);
    heap->sibling = private_idle;
    private_idle = heap;
    lm_lock_release(&lm_privates_lock);
    return NULL;
}

void lm_private_reset(struct lm_private *heap)
{
    for (struct lm_private *child = heap->children; child; child = child->sibling)
        lm_private_reset(child);
    private_enter(heap);
    private_empty(heap);
    private_leave(heap);
    /* the children have given theirs back: what is left was this heap's own */
    lm_quota_uncharge(heap, __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED));
    lm_scavenge_tell(LM_SCAVENGE_FREED);
}

void lm_private_destroy(struct lm_private *heap)
{
    while (heap->children)
        lm_private_destroy(heap->children);
    lm_private_reset(heap);
    if (heap->steady) {
        heap->steady = false;
        private_empty(heap);
    }
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

    if (heap->steady)
        return false;
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

/* What a request is given: its class, or (false) a span, and in *bytes how much; 0 bytes: more than there can be. */
static bool private_round(size_t size, size_t align, unsigned *size_class, size_t *bytes)
{
    const size_t most = (size_t)(LM_MAX_GRANULES / 4) * LM_GRANULE;

    if (size <= lm_config.slab_max_bytes && align <= lm_config.slab_max_bytes) {
        *size_class = align <= 16 ? lm_class_for(size) : lm_heap_aligned_class(lm_max(size, 1), align);
        *bytes = lm_class[*size_class].size;
        return true;
    }
    *bytes = size <= most && align <= most ? lm_align_up(lm_max(size, 1), lm_os_page_size()) : 0;
    return false;
}

void *lm_private_take(struct lm_private *heap, size_t size, size_t align, bool *zeroed)
{
    unsigned size_class;
    size_t bytes;

    *zeroed = false;
    if (private_round(size, align, &size_class, &bytes))
        return lm_heap_take(&heap->heap, size_class, zeroed);
    return bytes ? private_large(heap, bytes, align, zeroed) : NULL;
}

void *lm_private_malloc(struct lm_private *heap, size_t size, size_t align, bool *zeroed)
{
    unsigned size_class;
    size_t bytes;
    void *p;

    lm_single_guard();
    private_round(size, align, &size_class, &bytes);
    if (!heap->uncounted && bytes && !lm_quota_charge(heap, bytes))
        return NULL;
    private_enter(heap);
    p = lm_private_take(heap, size, align, zeroed);
    private_leave(heap);
    if (!p) {
        if (!heap->uncounted && bytes)
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

static size_t private_sweep_list(lm_span_id id)
{
    size_t bytes = 0;

    for (; id; id = lm_span_at(id)->next)
        bytes += lm_slab_punch(lm_span_at(id));
    return bytes;
}

/* Under the heap's lock. Full slabs are looked at, too: a few of their objects may be free. */
static size_t private_sweep(struct lm_private *heap)
{
    size_t bytes = private_sweep_list(heap->heap.lists.full);

    heap->freed_bytes = 0;
    lm_heap_release_current(&heap->heap);
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        if (heap->heap.current[c] != LM_SLAB_NONE)
            bytes += lm_slab_punch(heap->heap.current[c]);
        bytes += private_sweep_list(heap->heap.lists.partial[c]);
    }
    return bytes;
}

size_t lm_private_sweep(struct lm_private *heap)
{
    size_t bytes = 0;

    private_enter(heap);
    if (lm_config.holes)
        bytes = private_sweep(heap);
    else
        lm_heap_release_current(&heap->heap);
    private_leave(heap);
    return bytes;
}

void lm_private_free(struct lm_span *span, void *p)
{
    struct lm_private *heap = private_owner(span);
    size_t bytes;

    private_enter(heap);
    if (lm_span_kind(span) == LM_LARGE) {
        bytes = span->large.bytes;
        lm_lists_unlink(&heap->large, span);
        __atomic_store_n(&span->owner, NULL, __ATOMIC_RELEASE);
        lm_span_free(span);
    } else {
        bytes = lm_slab_object_size(span);
        lm_slab_put(span, p);
        span->flags &= (uint8_t)~LM_SLAB_SWEPT;
        if (--span->countdown == 0)
            lm_heap_push_zero(span);
    }
    if (heap->sweeps && (heap->freed_bytes += bytes) >= SWEEP_BYTES &&
        heap->freed_bytes >= __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED) / 8)
        private_sweep(heap);
    private_leave(heap);
    if (!heap->uncounted)
        lm_quota_uncharge(heap, bytes);
}

/* A large block that stays large and in place; false when it cannot. */
static bool private_resize_large(struct lm_private *heap, struct lm_span *span, size_t size)
{
    size_t old = span->large.bytes, bytes = lm_align_up(size, lm_os_page_size());
    uint32_t granules = (uint32_t)((bytes + LM_GRANULE - 1) / LM_GRANULE);
    bool done = true;

    if (!heap->uncounted && bytes > old && !lm_quota_charge(heap, bytes - old))
        return false;
    private_enter(heap);
    if (granules < span->granules)
        lm_span_shrink(span, granules);
    else if (granules > span->granules)
        done = lm_span_grow(span, granules);
    if (done)
        span->large.bytes = bytes;
    private_leave(heap);
    if (done && lm_config.stats) {
        lm_count_free(old);
        lm_count_malloc(size, bytes);
    }
    if (heap->uncounted)
        return done;
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
    if (large && size > lm_config.slab_max_bytes && !(heap->uncounted && size > lm_config.large_bytes) &&
        private_resize_large(heap, span, size))
        return p;
    q = heap->uncounted ? lm_shared_malloc(size, 1, &zeroed) : lm_private_malloc(heap, size, 1, &zeroed);
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
    private_enter(heap);
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
    private_leave(heap);
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

    private_enter(heap);
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
    private_leave(heap);
    for (const struct lm_private *child = heap->children; child; child = child->sibling)
        live += __atomic_load_n(&child->used_bytes, __ATOMIC_RELAXED);
    if (!fault && !heap->uncounted && live != __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED))
        fault = __LINE__;
    return fault;
}
