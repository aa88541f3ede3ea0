/* remote.c: frees of other threads' blocks.
 *
 *   free ──> bucket of the slab ──(when full, displaced, or at a flush)──> slab->remote ──> owner's mailbox
 *
 * A thread gathers its frees of foreign blocks in buckets, one for each slab: chains through the blocks' links in the
 * slab's annex, which from then on say that the blocks are free. It pushes a bucket onto the slab with one atomic step. Whoever finds the slab's mailed bit clear has set it with the same step and must
 * deliver the slab: push it onto the mailbox of its owner, a stack of slabs. The owner takes the whole stack
 * when it next needs memory, clears each slab's mailed bit and takes its remote list with one exchange.
 *
 * Invariant: a slab whose mailed bit is set stands in exactly one mailbox, or in the hands of one thread that
 * is delivering it; so mail_next has one writer, and the slab is not released meanwhile. An owner may change
 * while a slab travels: whoever receives a slab that is not its own delivers it again. A thread that ends
 * disowns its slabs first and closes its mailbox then, so that a sender who finds a mailbox closed will
 * find another owner. Stacks are only pushed to and taken whole: no ABA.
 *
 * Fork: what a thread that vanishes had in its hands is found by its mailed bit. To a signal handler that forks, the thread
 * it interrupted shows by a note (lm_remote_is_mine) that it has such slabs in its hands: then the child leaves all as
 * it is, for that thread to go on with.
 *
 * What is gathered is bounded by count and bytes for each bucket, and sets out when the thread's heap grows, when it trims,
 * and when it ends. */
#include "heap/room.h"

#include <errno.h>

enum {
    BUCKET_BYTES = 8 << 10, /* of blocks in a bucket, at the most, or one: 1 MiB in all of a thread's */
    FREES_ALONE = 32,       /* of a thread that has no heap, before it gets one */
};

uint32_t lm_remote_homeless;

static const struct lm_lock remote_hands = LM_LOCK_INIT(LM_RANK_MAIL); /* only noted, never taken */

bool lm_remote_is_mine(void)
{
    return lm_lock_is_mine(&remote_hands);
}

bool lm_remote_enter(void)
{
    return lm_lock_note(&remote_hands);
}

void lm_remote_leave(bool noted)
{
    if (noted)
        lm_lock_unnote(&remote_hands);
}

/* Pushes a chain of objects onto their slab, and delivers it where that falls to the caller. */
static void remote_push(struct lm_span *slab, uint32_t head, uint32_t tail, uint32_t count)
{
    bool noted = lm_remote_enter();

    if (lm_slab_push_remote(slab, head, tail, count))
        lm_remote_deliver(slab);
    lm_remote_leave(noted);
}

void lm_remote_send(struct lm_heap *heap, struct lm_bucket *bucket)
{
    struct lm_span *slab = bucket->slab;
    int saved = errno;

    heap->pending--;
    bucket->slab = NULL;
    remote_push(slab, bucket->head, bucket->tail, (uint32_t)(bucket->most - bucket->room));
    errno = saved; /* free keeps it */
}

void lm_remote_flush(struct lm_heap *heap)
{
    for (unsigned i = 0; heap->pending && i < LM_BUCKETS; i++)
        if (heap->bucket[i].slab)
            lm_remote_send(heap, &heap->bucket[i]);
}

void lm_remote_open(struct lm_heap *heap, struct lm_span *slab, uint64_t n)
{
    struct lm_bucket *bucket = lm_remote_bucket(heap, slab);

    if (bucket->slab)
        lm_remote_send(heap, bucket);
    heap->pending++;
    bucket->slab = slab;
    bucket->head = 0;
    bucket->tail = (uint16_t)n;
    bucket->most = (uint16_t)lm_min(lm_config.remote_batch, lm_max(BUCKET_BYTES / lm_slab_object_size(slab), 1));
    bucket->room = bucket->most;
    lm_remote_gather(heap, slab, n);
}

/* Without a heap to gather in: straight to the slab. */
static void remote_free_one(struct lm_span *slab, uint64_t n)
{
    /* before the push and after the delivery (the push is a release): read in the child of a fork only */
    __atomic_fetch_add(&lm_remote_homeless, 1, __ATOMIC_RELAXED);
    lm_slab_send(slab, n, 0);
    remote_push(slab, (uint32_t)n, (uint32_t)n, 1);
    __atomic_fetch_sub(&lm_remote_homeless, 1, __ATOMIC_RELEASE);
}

void lm_remote_free(struct lm_span *slab, uint64_t n)
{
    static __thread uint8_t alone __attribute__((tls_model("initial-exec"))); /* frees without a heap */
    struct lm_heap *heap = lm_heap_mine();
    int saved;

    if (LM_LIKELY(heap != NULL)) {
        lm_remote_gather(heap, slab, n);
        return;
    }
    saved = errno;
    if (!lm_percpu_free(slab, n, lm_slab_object(slab, n))) {
        /* a thread that only frees gets a heap as well, once it is seen to be one: for the sake of its buckets */
        if (alone == FREES_ALONE)
            heap = lm_heap_attach();
        else
            alone++;
        if (heap)
            lm_remote_gather(heap, slab, n);
        else
            remote_free_one(slab, n);
    }
    errno = saved;
}

/* False: the mailbox is closed. */
static bool remote_mail(struct lm_heap *to, struct lm_span *slab)
{
    lm_span_id id = lm_span_id_of(slab);
    uint32_t seen = __atomic_load_n(&to->mailbox, __ATOMIC_ACQUIRE); /* pairs with lm_remote_close */

    do {
        if (seen == LM_MAILBOX_CLOSED)
            return false;
        lm_slab_annex(slab)->mail_next = seen;
        /* release: pairs with the exchange in lm_remote_receive */
    } while (!__atomic_compare_exchange_n(&to->mailbox, &seen, id, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return true;
}

void lm_remote_deliver(struct lm_span *slab)
{
    for (;;) {
        struct lm_heap *owner = lm_slab_owner(slab);

        if (owner ? remote_mail(owner, slab) : lm_orphans_receive(slab))
            return;
    }
}

bool lm_remote_receive(struct lm_heap *heap)
{
    lm_span_id id;
    bool noted;

    if (!__atomic_load_n(&heap->mailbox, __ATOMIC_RELAXED))
        return false;
    noted = lm_remote_enter();
    id = __atomic_exchange_n(&heap->mailbox, 0, __ATOMIC_ACQ_REL); /* pairs with remote_mail */
    while (id) {
        struct lm_span *slab = lm_span_at(id);

        id = lm_slab_annex(slab)->mail_next;
        if (lm_slab_owner(slab) != heap)
            lm_remote_deliver(slab);
        else
            lm_lists_settle(&heap->lists, slab, lm_slab_collect(slab, true));
    }
    lm_remote_leave(noted);
    return true;
}

void lm_remote_close(struct lm_heap *heap)
{
    bool noted = lm_remote_enter();
    /* release: the slabs have been disowned before; pairs with the acquire in remote_mail */
    lm_span_id id = __atomic_exchange_n(&heap->mailbox, LM_MAILBOX_CLOSED, __ATOMIC_ACQ_REL);

    while (id) {
        struct lm_span *slab = lm_span_at(id);

        id = lm_slab_annex(slab)->mail_next;
        lm_remote_deliver(slab);
    }
    lm_remote_leave(noted);
}
