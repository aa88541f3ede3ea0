/* private_block.c: blocks of private heaps; see private.h.
 *
 * Sizes are rounded and classed as in the general heap. What is above the largest class is a span whatever its size:
 * a mapping of its own would not be the source's, and could not go with the rest.
 *
 * What a block costs is taken from the heap's credit. Where that does not suffice, CREDIT_BYTES more are charged ahead, and
 * where that is not possible, the lock is left and the block's own bytes are charged. What is freed becomes credit
 * again, up to twice CREDIT_BYTES. */
#include "heap/private.h"
#include "heap/room.h"

#include <errno.h>
#include <string.h>

enum { SWEEP_BYTES = 256 << 10 }; /* freed in a heap that sweeps, before it does */
enum { CREDIT_BYTES = 32 << 10 };

/* -- what it costs ------------------------------------------------------------------------------------------------ */

static void credit_set(struct lm_private *heap, size_t credit, size_t low)
{
    __atomic_store_n(&heap->credit, credit, __ATOMIC_RELAXED);
    __atomic_store_n(&heap->low, low, __ATOMIC_RELAXED);
}

void lm_private_note_peak(struct lm_private *heap)
{
    for (struct lm_private *h = heap; h; h = h->parent)
        lm_count_raise(&h->peak_bytes, __atomic_load_n(&h->used_bytes, __ATOMIC_RELAXED) - heap->low);
    credit_set(heap, heap->credit, heap->credit);
}

void lm_private_settle(struct lm_private *heap)
{
    size_t bytes = heap->credit;

    lm_private_note_peak(heap);
    credit_set(heap, 0, 0);
    heap->most = 0;
    lm_quota_uncharge(heap, bytes);
}

/* With the lock: true when the credit, or what is charged ahead now, pays for so much. */
static bool credit_spend(struct lm_private *heap, size_t bytes)
{
    size_t credit = heap->credit;

    if (credit < bytes) {
        if (heap->exact || bytes > CREDIT_BYTES)
            return false;
        lm_private_note_peak(heap);
        if (!lm_quota_charge_ahead(heap, CREDIT_BYTES))
            return false;
        credit += CREDIT_BYTES;
        credit_set(heap, credit, credit);
        heap->most = (size_t)2 * CREDIT_BYTES;
    }
    credit_set(heap, credit - bytes, lm_min(heap->low, credit - bytes));
    return true;
}

/* With the lock: what was paid comes back; what is more than may be kept goes up. */
static void credit_return(struct lm_private *heap, size_t bytes)
{
    size_t credit = heap->credit + bytes, surplus;

    if (credit <= heap->most) {
        credit_set(heap, credit, heap->low);
        return;
    }
    surplus = credit - heap->most / 2;
    lm_private_note_peak(heap);
    credit_set(heap, credit - surplus, credit - surplus);
    lm_quota_uncharge(heap, surplus);
}

/* Without the lock: from above alone, and exactly. */
static bool credit_charge(struct lm_private *heap, size_t bytes)
{
    lm_bias_enter(&heap->bias);
    lm_private_note_peak(heap);
    lm_bias_leave(&heap->bias);
    return lm_quota_charge(heap, bytes);
}

/* -- taking ------------------------------------------------------------------------------------------------------- */

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
    return bytes ? lm_private_large(heap, bytes, align, zeroed) : NULL;
}

void *lm_private_malloc(struct lm_private *heap, size_t size, size_t align, bool *zeroed)
{
    unsigned size_class = 0;
    size_t bytes;
    void *p;
    bool small = private_round(size, align, &size_class, &bytes);

    lm_single_guard();
    *zeroed = false;
    if (!bytes) {
        errno = ENOMEM;
        return NULL;
    }
    lm_bias_attach();
    lm_bias_enter(&heap->bias);
    if (!heap->uncounted && !credit_spend(heap, bytes)) {
        lm_private_note_peak(heap);
        lm_bias_leave(&heap->bias);
        if (!lm_quota_charge(heap, bytes))
            return NULL;
        lm_bias_enter(&heap->bias);
    }
    p = small ? lm_heap_take(&heap->heap, size_class, zeroed) : lm_private_large(heap, bytes, align, zeroed);
    if (!p && !heap->uncounted)
        credit_return(heap, bytes);
    lm_bias_leave(&heap->bias);
    if (!p)
        errno = ENOMEM;
    else if (lm_config.stats)
        lm_count_malloc(size, bytes);
    return p;
}

/* -- sweeping ------------------------------------------------------------------------------------------------------- */

static size_t private_sweep_list(lm_span_id id)
{
    size_t bytes = 0;

    for (; id; id = lm_span_at(id)->next)
        bytes += lm_slab_punch(lm_span_at(id));
    return bytes;
}

/* Under the heap's lock: the slabs of a class, or, for LM_CLASSES, the full ones: a few of their objects may be free. */
static size_t private_sweep_class(struct lm_private *heap, unsigned c)
{
    size_t bytes = 0;

    if (c == LM_CLASSES)
        return private_sweep_list(heap->heap.lists.full);
    if (heap->heap.current[c] != LM_SLAB_NONE)
        bytes = lm_slab_punch(heap->heap.current[c]);
    return bytes + private_sweep_list(heap->heap.lists.partial[c]);
}

/* Under the heap's lock. */
static void private_sweep(struct lm_private *heap)
{
    heap->freed_bytes = 0;
    lm_heap_release_current(&heap->heap);
    for (unsigned c = 0; c <= LM_CLASSES; c++)
        private_sweep_class(heap, c);
}

size_t lm_private_sweep(struct lm_private *heap)
{
    size_t bytes = 0;

    /* whoever finds the lock taken for this waits, for it is soon over: see shared_enter */
    __atomic_store_n(&heap->swept, true, __ATOMIC_RELAXED);
    lm_bias_enter(&heap->bias);
    lm_heap_release_current(&heap->heap);
    lm_bias_leave(&heap->bias);
    for (unsigned c = 0; c <= LM_CLASSES && lm_config.holes; c++) {
        lm_bias_enter(&heap->bias);
        bytes += private_sweep_class(heap, c);
        lm_bias_leave(&heap->bias);
    }
    __atomic_store_n(&heap->swept, false, __ATOMIC_RELAXED);
    return bytes;
}

/* -- giving back ---------------------------------------------------------------------------------------------------- */

void lm_private_free(struct lm_span *span, void *p)
{
    struct lm_private *heap = lm_private_owner(span);
    size_t bytes;

    lm_bias_enter(&heap->bias);
    if (lm_span_kind(span) == LM_LARGE) {
        bytes = span->large.bytes;
        lm_lists_unlink(&heap->large, span);
        __atomic_store_n(&span->owner, NULL, __ATOMIC_RELEASE);
        lm_span_free(span);
    } else {
        bytes = lm_slab_object_size(span);
        span->flags &= (uint8_t)~LM_SLAB_SWEPT;
        if (lm_slab_put(span, p))
            lm_heap_push_zero(span);
    }
    if (!heap->uncounted)
        credit_return(heap, bytes);
    if (heap->sweeps && (heap->freed_bytes += bytes) >= SWEEP_BYTES &&
        heap->freed_bytes >= __atomic_load_n(&heap->used_bytes, __ATOMIC_RELAXED) / 8)
        private_sweep(heap);
    lm_bias_leave(&heap->bias);
}

/* A large block that stays large and in place; false when it cannot. */
static bool private_resize_large(struct lm_private *heap, struct lm_span *span, size_t size)
{
    size_t old = span->large.bytes, bytes = lm_align_up(size, lm_os_page_size());
    uint32_t granules = (uint32_t)((bytes + LM_GRANULE - 1) / LM_GRANULE);
    bool done = true;

    if (!heap->uncounted && bytes > old && !credit_charge(heap, bytes - old))
        return false;
    lm_bias_enter(&heap->bias);
    if (granules < span->granules)
        lm_span_shrink(span, granules);
    else if (granules > span->granules)
        done = lm_span_grow(span, granules);
    if (done)
        span->large.bytes = bytes;
    if (!heap->uncounted && done && bytes < old)
        credit_return(heap, old - bytes);
    else if (!heap->uncounted && !done)
        credit_return(heap, bytes - old);
    lm_bias_leave(&heap->bias);
    if (done)
        lm_count_resize(old, size, bytes);
    return done;
}

void *lm_private_resize(struct lm_span *span, void *p, size_t size)
{
    struct lm_private *heap = lm_private_owner(span);
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

    return span && lm_span_is_private(span) ? lm_private_owner(span) : NULL;
}
