/* private.c: private heaps come and go, with their spans; and the walk. See private.h. */
#include "heap/private.h"
#include "heap/room.h"

#include <errno.h>
#include <string.h>

enum { KEPT_MOST = 32 }; /* granules that a reset leaves */
/* Runs of granules taken ahead for slabs: 1, 2, 4, 8, 8..., while the heap is young. Later one by one, for there are
 * likely to be single ones that an emptied slab has left dirty. */
enum { SPARE_MOST = 8, SPARE_TOTAL = 15 };
enum { CHUNK_BYTES = 1 << 20, CHUNK_MAX_BYTES = 64 << 20 }; /* asked of a source: the first, doubling, the largest */

static struct lm_private *private_idle; /* destroyed, waiting for reuse; linked by sibling */
static uint32_t private_groups;         /* numbers given out */

/* -- coming and going ---------------------------------------------------------------------------------------- */

/* Adds a span to those that are given back together (lm_slab_free_all). */
static void private_throw(lm_span_id *refuse, struct lm_span *span)
{
    __atomic_store_n(&span->owner, NULL, __ATOMIC_RELEASE);
    span->next = *refuse;
    *refuse = lm_span_id_of(span);
}

static void private_throw_list(lm_span_id *refuse, lm_span_id *head)
{
    lm_span_id id = *head;

    while (id) {
        struct lm_span *span = lm_span_at(id);

        id = span->next;
        private_throw(refuse, span);
    }
    *head = 0;
}

/* Gives back every block and the source's memory, but for so many current slabs of a granule, which are as new. */
static void private_empty(struct lm_private *heap, unsigned keep)
{
    lm_span_id refuse = 0;
    size_t bytes;
    void *memory;

    private_throw_list(&refuse, &heap->spare);
    private_throw_list(&refuse, &heap->large);
    private_throw_list(&refuse, &heap->heap.lists.full);
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = heap->heap.current[c];

        if (slab != LM_SLAB_NONE && keep && slab->granules == 1) {
            keep--;
            lm_slab_renew(slab);
        } else if (slab != LM_SLAB_NONE) {
            lm_heap_set_current(&heap->heap, c, LM_SLAB_NONE);
            private_throw(&refuse, slab);
        }
        private_throw_list(&refuse, &heap->heap.lists.partial[c]);
    }
    if (refuse)
        lm_slab_free_all(refuse);
    heap->spare_next = 1;
    heap->spare_total = 0;
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
    if (!heap) {
        heap = lm_meta_alloc(sizeof *heap);
        if (!heap) {
            errno = ENOMEM;
            return NULL;
        }
        lm_heap_init(&heap->heap, LM_TAG_PRIVATE);
    }
    memset((char *)heap + sizeof heap->heap, 0, sizeof *heap - sizeof heap->heap);
    lm_bias_init(&heap->bias, LM_RANK_PRIVATE, options->unlocked);
    heap->bias.never = options->uncounted; /* shared.c knows the lock alone */
    heap->spare_next = 1;
    heap->source = options->source;
    heap->group = group;
    heap->quota_bytes = options->quota_bytes ? options->quota_bytes : SIZE_MAX;
    heap->share_bytes = options->share_bytes;
    heap->reclaim = options->reclaim;
    heap->uncounted = options->uncounted;
    heap->sweeps = options->sweeps;
    heap->exact = options->uncounted || options->sweeps || (options->unlocked && options->parent);
    heap->arg = options->arg;
    strncpy(heap->name, options->name ? options->name : "", sizeof heap->name - 1);
    if (!options->reserve_bytes || private_reserve(heap, options->reserve_bytes)) {
        if (lm_quota_join(heap, options->parent))
            return heap;
        heap->steady = false;
        private_empty(heap, 0);
    }
    lm_lock_take(&lm_privates_lock);
    heap->sibling = private_idle;
    private_idle = heap;
    lm_lock_release(&lm_privates_lock);
    return NULL;
}

static void private_reset(struct lm_private *heap, unsigned keep)
{
    for (struct lm_private *child = heap->children; child; child = child->sibling)
        private_reset(child, keep);
    lm_bias_enter(&heap->bias);
    lm_private_note_peak(heap);
    private_empty(heap, heap->group || heap->sweeps ? 0 : keep);
    lm_private_settle(heap);
    lm_bias_leave(&heap->bias);
    /* the children have given theirs back: what is left was this heap's own */
    lm_quota_uncharge(heap, __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED));
    lm_scavenge_tell(LM_SCAVENGE_FREED);
}

void lm_private_reset(struct lm_private *heap)
{
    private_reset(heap, KEPT_MOST);
}

void lm_private_release(struct lm_private *heap)
{
    lm_bias_enter(&heap->bias);
    lm_heap_release_current(&heap->heap);
    if (heap->spare)
        lm_span_free(lm_span_at(heap->spare));
    heap->spare = 0;
    lm_bias_leave(&heap->bias);
}

void lm_private_destroy(struct lm_private *heap)
{
    while (heap->children)
        lm_private_destroy(heap->children);
    private_reset(heap, 0);
    if (heap->steady) {
        heap->steady = false;
        private_empty(heap, 0);
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

/* A span of one granule, cut from the spare run or the beginning of a new one; NULL: no memory. */
static struct lm_span *private_granule(struct lm_private *heap, bool *zeroed)
{
    struct lm_span *span = heap->spare ? lm_span_at(heap->spare) : NULL;

    if (!span) {
        span = lm_span_alloc(heap->spare_next, 1, LM_BLOCK, &heap->spare_zeroed);
        if (!span && heap->spare_next > 1)
            span = lm_span_alloc(1, 1, LM_BLOCK, &heap->spare_zeroed);
        if (!span)
            return NULL;
        heap->spare_total += span->granules;
        /* those that lean to memory, and the shared ones, take no more than they need */
        heap->spare_next =
            heap->exact || heap->spare_total >= SPARE_TOTAL ? 1 : (uint32_t)lm_min(heap->spare_next * 2u, SPARE_MOST);
    }
    *zeroed = heap->spare_zeroed;
    heap->spare = span->granules > 1 ? lm_span_id_of(lm_span_cut(span, 1)) : 0;
    return span;
}

struct lm_span *lm_private_new_slab(struct lm_heap *heap, unsigned size_class)
{
    struct lm_private *private = (struct lm_private *)(void *)heap;
    struct lm_span *slab = NULL, *span;
    bool zeroed;

    if (private->uncounted && lm_page_would_rise()) /* one that threads share */
        lm_heap_sweep_some(heap, 1);
    if (private->group || lm_class[size_class].granules > 1) {
        slab = lm_slab_create_in(private->group, size_class, heap->colour++, lm_heap_tag(heap));
        if (!slab && private->group && private_grow(private, lm_class[size_class].granules))
            slab = lm_slab_create_in(private->group, size_class, heap->colour++, lm_heap_tag(heap));
        return slab;
    }
    span = private_granule(private, &zeroed);
    if (!span)
        return NULL;
    return lm_slab_create_at(span, size_class, heap->colour++, zeroed, lm_heap_tag(heap));
}

/* Under the heap's lock. */
void *lm_private_large(struct lm_private *heap, size_t bytes, size_t align, bool *zeroed)
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
    lm_bias_enter(&heap->bias);
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        const struct lm_span *slab = heap->heap.current[c];

        if (slab != LM_SLAB_NONE) {
            out->slabs++;
            out->held_bytes += slab->granules * LM_GRANULE;
        }
        private_count_list(heap->heap.lists.partial[c], out);
    }
    private_count_list(heap->heap.lists.full, out);
    if (heap->spare)
        out->held_bytes += lm_span_at(heap->spare)->granules * LM_GRANULE;
    private_count_list(heap->large, out);
    lm_bias_leave(&heap->bias);
}

/* The live bytes of a list, into *live. */
static int private_check_list(const struct lm_private *heap, lm_span_id id, enum lm_kind kind, size_t *live)
{
    int fault = 0;

    for (; id && !fault; id = lm_span_at(id)->next) {
        const struct lm_span *span = lm_span_at(id);

        if (span->kind != kind || lm_private_owner(span) != heap || !lm_span_is_private(span))
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

    lm_bias_enter(&heap->bias);
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
    lm_bias_leave(&heap->bias);
    for (const struct lm_private *child = heap->children; child; child = child->sibling)
        live += __atomic_load_n(&child->used_bytes, __ATOMIC_RELAXED);
    if (!fault && !heap->uncounted && live + heap->credit != __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED))
        fault = __LINE__;
    if (!fault && (heap->low > heap->credit || heap->credit > heap->most))
        fault = __LINE__;
    return fault;
}
