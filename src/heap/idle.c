/* idle.c: heaps whose thread has ended, and what they keep for the next one.
 *
 *   thread ends ──> slabs with live blocks: to the orphans; empty current slabs stay ──> stack ──> next thread's heap
 *
 * A program that starts threads again and again wants from each what the one before had: a slab of each class that it uses,
 * with just the pages that such a thread touches. Given back, the slabs would become dirty memory, of which another class may
 * use all pages, or go to the OS. So a heap that waits in the stack may keep its empty current slabs, as a living thread that
 * is idle does. Nobody holds a block of them, so nobody frees into them or mails them.
 *
 * What is kept is bounded (KEPT_MOST, of all heaps together), goes before the process's peak would rise by anything else,
 * when the heap is trimmed or memory is short, and at a change of slabs or a scavenger's round, when no thread
 * has come or gone for purge_ms. Nothing is kept with purge_ms:0, or while CPUs serve.
 *
 * Invariant (lm_idle_check): the heaps that are not busy are exactly those in the stack; they own nothing but current slabs, all
 * empty and none mailed, of as many granules as `kept` says; idle_kept is their sum, at most KEPT_MOST.
 *
 * Lock: LM_RANK_HEAPS guards the stack and the heaps in it. Fork: the child of a process with more threads keeps nothing. */
#include "heap/room.h"

enum { KEPT_MOST = 256 }; /* granules: 16 MiB */

static struct lm_heap *idle_first;
static uint32_t idle_kept;     /* granules; atomic: read without the lock as a hint */
static uint64_t idle_moved_ms; /* when a heap last came or went */

static void idle_count(uint32_t granules)
{
    __atomic_store_n(&idle_kept, granules, __ATOMIC_RELAXED);
}

void lm_idle_choose(struct lm_heap *heap, bool *keep)
{
    bool any = lm_config.purge_ms && !__atomic_load_n(&lm_percpu_on, __ATOMIC_RELAXED);

    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = heap->current[c];

        keep[c] = false;
        if (!any || slab == LM_SLAB_NONE)
            continue;
        lm_slab_collect(slab, false);
        keep[c] = !lm_slab_is_mailed(slab) && lm_slab_count_free(slab) == slab->carved;
    }
}

/* Gives back a current slab that is empty. */
static void idle_give(struct lm_heap *heap, unsigned size_class)
{
    struct lm_span *slab = heap->current[size_class];

    lm_heap_set_current(heap, size_class, LM_SLAB_NONE);
    lm_lists_give(&heap->lists, slab, 0);
}

/* Gives back all that a heap in the stack keeps. */
static void idle_empty(struct lm_heap *heap)
{
    for (unsigned c = 0; c < LM_CLASSES; c++)
        if (heap->current[c] != LM_SLAB_NONE)
            idle_give(heap, c);
    idle_count(idle_kept - heap->kept);
    heap->kept = 0;
}

void lm_idle_push(struct lm_heap *heap)
{
    lm_lock_take(&lm_heaps_lock);
    heap->kept = 0;
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = heap->current[c];

        if (slab == LM_SLAB_NONE)
            continue;
        if (idle_kept + heap->kept + slab->granules > KEPT_MOST)
            idle_give(heap, c);
        else
            heap->kept += slab->granules;
    }
    idle_count(idle_kept + heap->kept);
    idle_moved_ms = lm_os_clock_ms();
    heap->busy = false;
    heap->next_idle = idle_first;
    idle_first = heap;
    lm_lock_release(&lm_heaps_lock);
}

struct lm_heap *lm_idle_pop(void)
{
    struct lm_heap *heap;

    lm_lock_take(&lm_heaps_lock);
    heap = idle_first;
    if (heap) {
        idle_first = heap->next_idle;
        idle_count(idle_kept - heap->kept);
        heap->kept = 0;
        idle_moved_ms = lm_os_clock_ms();
        heap->busy = true; /* under the lock: a fork sees the heap either here or there */
    }
    lm_lock_release(&lm_heaps_lock);
    return heap;
}

bool lm_idle_release(bool all)
{
    bool any = false;

    if (LM_LIKELY(!__atomic_load_n(&idle_kept, __ATOMIC_RELAXED)))
        return false;
    lm_lock_take(&lm_heaps_lock);
    for (struct lm_heap *heap = idle_first; heap && (all || !any); heap = heap->next_idle) {
        if (heap->kept) {
            idle_empty(heap);
            any = true;
        }
    }
    lm_lock_release(&lm_heaps_lock);
    return any;
}

bool lm_heap_age(void)
{
    bool young;

    if (LM_LIKELY(!__atomic_load_n(&idle_kept, __ATOMIC_RELAXED)))
        return false;
    lm_lock_take(&lm_heaps_lock);
    young = lm_os_clock_ms() - idle_moved_ms < lm_config.purge_ms;
    lm_lock_release(&lm_heaps_lock);
    if (!young)
        lm_idle_release(true);
    return young;
}

void lm_idle_after_fork(const struct lm_heap *mine)
{
    idle_first = NULL;
    idle_count(0);
    for (struct lm_heap *heap = lm_heaps; heap; heap = heap->next) {
        if (heap == mine)
            continue;
        /* whatever its thread was doing, none of its lists can be believed; its slabs are orphans now */
        struct lm_heap *next = heap->next;

        __builtin_memset(heap, 0, sizeof *heap);
        heap->next = next;
        lm_heap_init(heap, lm_config.stats ? LM_TAG_COUNTS : 0);
        heap->mailbox = LM_MAILBOX_CLOSED;
        heap->next_idle = idle_first;
        idle_first = heap;
    }
}

/* 0, or the line of the invariant that a heap in the stack breaks. */
static int idle_check_heap(const struct lm_heap *heap)
{
    uint32_t kept = 0;

    if (heap->busy || heap->pending || heap->lists.full || heap->ahead)
        return __LINE__;
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        const struct lm_span *slab = heap->current[c];

        if (heap->lists.partial[c])
            return __LINE__;
        if (slab == LM_SLAB_NONE)
            continue;
        if (lm_slab_owner(slab) != heap || lm_slab_is_mailed(slab) || lm_slab_count_free(slab) != slab->carved)
            return __LINE__;
        kept += slab->granules;
    }
    return kept == heap->kept ? lm_heap_check_slabs(heap) : __LINE__;
}

int lm_idle_check(void)
{
    size_t idle = 0, in_stack = 0;
    uint32_t kept = 0;
    int fault = 0;

    lm_lock_take(&lm_heaps_lock);
    for (const struct lm_heap *heap = lm_heaps; heap; heap = heap->next)
        idle += !heap->busy;
    for (const struct lm_heap *heap = idle_first; heap && !fault; heap = heap->next_idle, in_stack++) {
        kept += heap->kept;
        fault = idle_check_heap(heap);
    }
    if (!fault && (kept != idle_kept || kept > KEPT_MOST || idle != in_stack))
        fault = __LINE__;
    lm_lock_release(&lm_heaps_lock);
    return fault;
}
