/* shared.c: the few heaps that all threads share when they are to have none of their own (config heaps).
 *
 * They are private heaps without a quota. A thread keeps to one while it finds it free and goes on to the next when
 * another thread is in it, as glibc's arenas do (Gloger's ptmalloc): so threads that allocate at the same time spread out,
 * and threads that do not, share. There is nothing that belongs to a thread: nothing is cached, adopted or orphaned.
 *
 * Locks: a heap's own; LM_RANK_PRIVATES while they are made. */
#include "heap/private.h"
#include "heap/room.h"

#include <errno.h>

enum { SHARED_MAX = 64 };

static LM_APART struct lm_private *shared_heap[SHARED_MAX]; /* atomic; made when first needed */
static __thread uint8_t shared_mine __attribute__((tls_model("initial-exec")));

/* Heap i; NULL: no memory. */
static struct lm_private *shared_get(size_t i)
{
    struct lm_private *heap = __atomic_load_n(&shared_heap[i], __ATOMIC_ACQUIRE), *seen = NULL;
    struct lm_private_options options = {.name = "shared", .uncounted = true};

    if (heap)
        return heap;
    heap = lm_private_create(&options);
    if (!heap)
        return NULL;
    if (lm_is_single()) {
        __atomic_store_n(&shared_heap[i], heap, __ATOMIC_RELAXED);
        return heap;
    }
    /* release: pairs with the load above */
    if (__atomic_compare_exchange_n(&shared_heap[i], &seen, heap, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return heap;
    lm_private_destroy(heap); /* another thread was first */
    return seen;
}

/* A heap whose lock the caller then holds; NULL: no memory. */
static struct lm_private *shared_enter(void)
{
    struct lm_private *heap = NULL;

    for (size_t n = 0, i = shared_mine; n < lm_config.heaps; n++, i++) {
        heap = shared_get(i % lm_config.heaps);
        if (!heap)
            continue;
        /* one that is being swept is waited for: in another the thread would start anew, beside all that is free here */
        if (!lm_lock_try(&heap->bias.lock)) {
            if (!__atomic_load_n(&heap->swept, __ATOMIC_RELAXED))
                continue;
            lm_lock_take(&heap->bias.lock);
        }
        shared_mine = (uint8_t)(i % lm_config.heaps);
        return heap;
    }
    heap = shared_get(shared_mine);
    if (heap)
        lm_lock_take(&heap->bias.lock);
    return heap;
}

void *lm_shared_malloc(size_t size, size_t align, bool *zeroed)
{
    struct lm_private *heap;
    void *p = NULL;

    *zeroed = false;
    if (size > lm_config.large_bytes || align > lm_config.large_bytes)
        return lm_large_malloc(size, align, zeroed); /* a mapping of its own, returned when it is freed */
    heap = shared_enter();
    if (heap) {
        p = lm_private_take(heap, size, align, zeroed);
        lm_lock_release(&heap->bias.lock);
    }
    if (!p && lm_heap_trim(0) > 0 && (heap = shared_enter()) != NULL) {
        p = lm_private_take(heap, size, align, zeroed);
        lm_lock_release(&heap->bias.lock);
    }
    if (!p)
        errno = ENOMEM;
    else if (lm_config.stats)
        lm_count_malloc(size, lm_heap_usable(p));
    return p;
}

bool lm_shared_is_used(void)
{
    for (size_t i = 0; i < SHARED_MAX; i++)
        if (__atomic_load_n(&shared_heap[i], __ATOMIC_RELAXED))
            return true;
    return false;
}

void lm_heap_sweep(void)
{
    for (size_t i = 0; i < lm_config.heaps; i++) {
        struct lm_private *heap = __atomic_load_n(&shared_heap[i], __ATOMIC_ACQUIRE);

        if (heap)
            lm_private_sweep(heap);
    }
}
