/* thread.c: heaps come with threads and go with them.
 *
 * A heap is made at a thread's first request and taken down by the last round of its TLS destructors, so that
 * destructors of others may still allocate. What comes later still (the C library's own clean-up) is served
 * without a heap: see lm_orphans_malloc and lm_remote_free. A heap's memory is never freed but waits in a stack (idle.c)
 * for the next thread: other threads may still look at its mailbox.
 *
 * Lock: LM_RANK_HEAPS guards the registry. */
#include "heap/room.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif

/* Rounds of a thread's destructors that its heap outlives. The thread sanitizer's own thread ends in one of them, and
 * it must see the heap go. */
enum { ROUNDS = LM_TSAN ? 1 : PTHREAD_DESTRUCTOR_ITERATIONS };

struct lm_lock lm_heaps_lock = LM_LOCK_INIT(LM_RANK_HEAPS);
struct lm_heap *lm_heaps;

__thread bool lm_thread_counted;

static uint64_t thread_live; /* atomic; counted and not ended */
static pthread_key_t thread_key;
static bool thread_key_made;

/* Destructor rounds that the thread's heap has seen; above the limit the thread is past having a heap. */
static __thread uint8_t thread_rounds __attribute__((tls_model("initial-exec")));

void lm_heap_init(struct lm_heap *heap, unsigned tag)
{
    for (unsigned i = 0; i <= LM_DIRECT_MAX / 16; i++)
        heap->fast.direct[i] = LM_LINKS_NONE;
    for (unsigned i = 0; i < LM_CLASSES - LM_DIRECT_CLASSES; i++)
        heap->fast.by_class[i] = LM_LINKS_NONE;
    for (unsigned i = 0; i < LM_CLASSES; i++)
        heap->current[i] = LM_SLAB_NONE;
    heap->tag = (uint8_t)tag;
}

/* A heap from the stack or a new one. */
static struct lm_heap *heap_obtain(void)
{
    struct lm_heap *heap = lm_idle_pop();

    if (heap) {
        memset(heap->grown, 0, sizeof heap->grown);
        heap->made = 0;
        __atomic_store_n(&heap->mailbox, 0, __ATOMIC_RELEASE); /* opens it again */
        return heap;
    }
    heap = lm_meta_alloc(sizeof *heap);
    if (!heap)
        return NULL;
    lm_heap_init(heap, lm_config.stats ? LM_TAG_COUNTS : 0);
    heap->busy = true;
    lm_lock_take(&lm_heaps_lock);
    heap->next = lm_heaps;
    __atomic_store_n(&lm_heaps, heap, __ATOMIC_RELEASE); /* for walkers without the lock */
    lm_lock_release(&lm_heaps_lock);
    return heap;
}

void lm_single_enter(void)
{
    static const void *only; /* relaxed: two threads that come first at once are a breach of the promise anyhow */
    const void *me = &lm_heap_self;
    const void *seen = __atomic_load_n(&only, __ATOMIC_RELAXED);

    if (!seen)
        __atomic_store_n(&only, me, __ATOMIC_RELAXED);
    else if (seen != me)
        lm_die("loam: single: a second thread uses the heap, but the program was promised to have only one. "
               "Leave single:1 and policy:single out.\n");
}

/* Has the thread's end told to thread_ends. */
static void thread_watch(void)
{
    if (thread_key_made)
        pthread_setspecific(thread_key, &thread_key);
}

struct lm_heap *lm_heap_attach(void)
{
    struct lm_heap *heap;

    if (thread_rounds >= ROUNDS)
        return NULL;
    if (!lm_thread_counted) {
        lm_thread_counted = true;
        lm_percpu_decide(lm_count_add(&thread_live, 1));
        if (lm_thread_on_cpus()) {
            thread_watch();
            return NULL;
        }
    }
    heap = heap_obtain();
    if (!heap)
        return NULL;
    /* read by lm_heap_claims; the kernel is asked when somebody will */
    __atomic_store_n(&heap->thread, lm_claim_hook ? (uint32_t)lm_os_thread_id() : 1, __ATOMIC_RELAXED);
    lm_heap_self = &heap->fast; /* before the next line, which may itself allocate */
    thread_watch();
    return heap;
}

void lm_heap_detach(struct lm_heap *heap)
{
    bool keep[LM_CLASSES];

    lm_remote_flush(heap);
    lm_remote_receive(heap);
    lm_share_end(heap);
    lm_heap_self = (struct lm_fast *)&lm_heap_none;
    lm_idle_choose(heap, keep);
    lm_orphans_add_all(heap, keep);
    lm_ahead_release(heap);
    lm_remote_close(heap);
    lm_idle_push(heap);
}

static void thread_ends(void *arg)
{
    if (thread_rounds == 0)
        lm_percpu_decide(lm_count_add(&thread_live, (uint64_t)-1));
    if (++thread_rounds < ROUNDS && pthread_setspecific(thread_key, arg) == 0)
        return; /* others' destructors may still need it */
    thread_rounds = ROUNDS;
    if (lm_heap_mine())
        lm_heap_detach(lm_heap_mine());
}

void lm_heap_start(void)
{
    /* a process that is promised to stay single has no thread whose end matters */
    thread_key_made = !lm_config.single && pthread_key_create(&thread_key, thread_ends) == 0;
    if (lm_config.cache != LM_CACHE_THREAD && !lm_config.single && !lm_config.heaps)
        lm_rseq_prepare();
}

void lm_heap_configure(void)
{
    lm_class_space((unsigned)lm_config.classes);
}

bool lm_heap_is_used(void)
{
    return __atomic_load_n(&lm_heaps, __ATOMIC_RELAXED) || __atomic_load_n(&thread_live, __ATOMIC_RELAXED) ||
        lm_shared_is_used();
}

void lm_heap_after_fork(void)
{
    struct lm_heap *mine = lm_heap_mine();
    /* acquire: pairs with lm_remote_free */
    bool alone = __atomic_load_n(&lm_remote_homeless, __ATOMIC_ACQUIRE) == 0 && !lm_percpu_is_used();

    for (struct lm_heap *heap = lm_heaps; heap; heap = heap->next)
        if (heap != mine && heap->busy)
            alone = false;
    if (alone)
        return;
    lm_remote_homeless = 0;
    lm_share_after_fork();
    lm_orphans_after_fork(mine);
    lm_idle_after_fork(mine);
    __atomic_store_n(&thread_live, lm_thread_counted, __ATOMIC_RELAXED);
    lm_percpu_decide(lm_thread_counted);
}
