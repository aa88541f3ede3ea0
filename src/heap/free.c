/* free.c: the slow road of free: whose block is it, and is it one.
 *
 * Nothing is written before the pointer is known to be the start of a live block:
 *
 *   its granule has no descriptor, or one without a kind   not ours, unless a huge block starts there
 *   a slab                                                 on an object's boundary, carved, not free
 *   a large span                                           its start
 *
 * A block is free when its link says so, whether it is at home or on its way there from another thread. */
#include "heap/room.h"

#include <errno.h>
#include <stdio.h>

void (*lm_misuse_hook)(const char *text);

/* The descriptor of the slab or large span that p lies in, even if that is not its first granule; else of p's own
 * granule, NULL outside of all arenas. */
static LM_COLD struct lm_span *misuse_span(const void *p)
{
    struct lm_span *span = lm_span_of(p);

    if (span && span->kind == LM_CONT)
        return lm_slab_head(span);
    if (span && span->kind == LM_FREE) {
        struct lm_span *first = span;
        size_t before = (size_t)((uintptr_t)p >> LM_GRANULE_SHIFT);

        while (before-- && lm_span_of((char *)lm_span_start(first) - 1) && first->kind == LM_FREE)
            first--;
        if (first->kind == LM_LARGE && (size_t)(span - first) < first->granules)
            return first;
    }
    return span;
}

/* The part of a report that says what is known about the address. */
static LM_COLD void misuse_describe(struct lm_text *text, const void *p)
{
    struct lm_span *span = misuse_span(p);
    enum lm_huge_place place;
    size_t bytes;

    if (span && lm_slab_is_made(span))
        lm_text_add(text, " (in a slab of %zu-byte blocks)", lm_slab_object_size(span));
    else if (span && span->kind == LM_LARGE)
        lm_text_add(text, " (in a block of %zu bytes)", span->large.bytes);
    else if (span && span->flags & LM_SPAN_WAS_BLOCK && p == lm_span_start(span))
        lm_text_add(text, " (was a block of %zu bytes)", span->was_bytes);
    else if (!span && (place = lm_huge_place(p, &bytes)) != LM_HUGE_OUTSIDE && bytes)
        lm_text_add(text, " (%s a block of %zu bytes)", place == LM_HUGE_FREED ? "was" : "in", bytes);
}

_Noreturn static LM_COLD void misuse(const char *fault, const void *p)
{
    char buffer[512];
    struct lm_text text = {buffer, sizeof buffer, 0};

    lm_text_add(&text, "loam: %s: %p", fault, p);
    misuse_describe(&text, p);
    lm_text_add(&text, ". Run the program again under valgrind or an address sanitizer to find the place.");
    if (lm_misuse_hook)
        lm_misuse_hook(buffer);
    lm_die("%s\n", buffer);
}

/* Says why p, given to `verb`, is no block. Only reached on the way to abort, so it may search. */
_Noreturn static LM_COLD void misuse_of(const char *verb, const void *p)
{
    char fault[128];
    struct lm_text text = {fault, sizeof fault, 0};
    struct lm_span *span = misuse_span(p);
    size_t bytes;
    enum lm_huge_place place = span ? LM_HUGE_OUTSIDE : lm_huge_place(p, &bytes);
    const char *why = "not a block of this heap";

    if ((span && span->kind >= LM_LARGE) || place == LM_HUGE_INSIDE)
        why = (uintptr_t)p % 16 ? "misaligned pointer" : "inside a block";
    if (((span && span->flags & LM_SPAN_WAS_BLOCK && p == lm_span_start(span)) || place == LM_HUGE_FREED) &&
        verb[0] == 'f')
        misuse("double free", p);
    lm_text_add(&text, "invalid %s: %s", verb, why);
    misuse(fault, p);
}

_Noreturn static LM_COLD void misuse_of_free(const char *verb, const void *p)
{
    char fault[128];
    struct lm_text text = {fault, sizeof fault, 0};

    if (verb[0] == 'f')
        misuse("double free", p);
    lm_text_add(&text, "invalid %s: block is free", verb);
    misuse(fault, p);
}

struct lm_span *lm_block_span(const void *p, const char *verb)
{
    struct lm_span *span = lm_span_of(p);

    if (!span) {
        if (!lm_huge_usable(p))
            misuse_of(verb, p);
        return NULL;
    }
    if (lm_span_kind(span) == LM_CONT)
        span = lm_slab_head(span);
    if (lm_span_kind(span) >= LM_SLAB_CURRENT) {
        if (!lm_slab_holds(span, p))
            misuse_of(verb, p);
        if (lm_slab_is_free(span, p))
            misuse_of_free(verb, p);
    } else if (lm_span_kind(span) != LM_LARGE || p != lm_span_start(span)) {
        misuse_of(verb, p);
    }
    return span;
}

size_t lm_heap_usable(const void *p)
{
    const struct lm_span *span;

    if (!p)
        return 0;
    span = lm_block_span(p, "malloc_usable_size");
    if (!span)
        return lm_huge_usable(p);
    return lm_span_kind(span) == LM_LARGE ? span->large.bytes : lm_slab_object_size(span);
}

/* Into the caller's own slab. */
static void free_local(struct lm_span *slab, void *p)
{
    if (lm_slab_put(slab, p))
        lm_heap_push_zero(slab);
}

/* True, and *n: a block of a slab of somebody else's starts at p, and it is live. Proves as much as lm_block_span does;
 * what is not proved may be a block that needs a closer look. */
LM_INLINE bool foreign_number(const struct lm_span *slab, const void *p, uint64_t *n)
{
    if (lm_span_kind(slab) < LM_SLAB_CURRENT || lm_span_is_private(slab) || !lm_slab_number(slab, p, n))
        return false;
    return *n <= __atomic_load_n(&slab->carved, __ATOMIC_RELAXED) && lm_slab_link(slab, *n) == LM_LIVE;
}

void lm_heap_free_foreign(struct lm_span *slab, void *p)
{
    struct lm_heap *heap = lm_heap_mine();
    uint64_t n;

    if (LM_UNLIKELY(lm_config.stats || lm_config.single)) {
        lm_heap_free(p);
    } else if (LM_UNLIKELY(!foreign_number(slab, p, &n))) {
        if (lm_span_kind(slab) < LM_SLAB_CURRENT || !lm_span_is_private(slab) || !lm_private_push(slab, p))
            lm_heap_free(p);
    } else if (LM_LIKELY(heap != NULL)) {
        lm_remote_gather(heap, slab, n);
    } else {
        lm_homeless_free(slab, n, p);
    }
}

void lm_heap_free(void *p)
{
    int saved;
    struct lm_heap *heap;
    struct lm_span *span;
    uint64_t n;

    lm_single_guard();
    if (!p)
        return;
    saved = errno;
    if (!lm_span_of(p)) {
        if (!lm_huge_free(p))
            misuse_of("free", p);
        errno = saved;
        return;
    }
    span = lm_block_span(p, "free");
    if (lm_config.stats)
        lm_count_free(lm_span_kind(span) == LM_LARGE ? span->large.bytes : lm_slab_object_size(span));
    heap = lm_heap_mine();
    if (lm_span_is_private(span))
        lm_private_free(span, p);
    else if (lm_span_kind(span) == LM_LARGE)
        lm_span_free(span);
    else if (heap && lm_slab_owner(span) == heap)
        free_local(span, p);
    else if (lm_slab_number(span, p, &n))
        lm_remote_free(span, n);
    lm_scavenge_tell(LM_SCAVENGE_FREED);
    errno = saved;
}
