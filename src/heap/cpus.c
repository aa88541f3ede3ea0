/* cpus.c: all CPUs at once: draining, counting, checking, fork. See percpu.h. */
#include "heap/cpu.h"

/* The CPU after *i that has been met, or NULL; *i starts at 0. */
static struct lm_cpu *lm_cpu_next(uint32_t *i)
{
    while (*i < lm_rseq.limit && lm_cpu_table) {
        struct lm_cpu *cpu = lm_cpu_at((*i)++);

        if (cpu)
            return cpu;
    }
    return NULL;
}

void lm_cpu_resume(void)
{
    uint32_t i = 0;

    if (!lm_percpu_is_proved())
        return;
    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i))
        __atomic_store_n(&lm_rseq.table[i - 1], cpu->lists, __ATOMIC_RELEASE);
}

/* Takes the lists away from their CPUs. False: the kernel would not fence, and they have them still. Under
 * lm_cpus_lock, until lm_cpu_resume. */
static bool percpu_stop(void)
{
    uint32_t i = 0;

    if (!lm_percpu_is_proved())
        return true; /* they were never given them */
    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i))
        __atomic_store_n(&lm_rseq.table[i - 1], (struct lm_rseq_cpu *)(void *)lm_cpu_stopped, __ATOMIC_RELAXED);
    if (lm_rseq_fence())
        return true;
    lm_cpu_resume();
    return false;
}

static void percpu_empty(struct lm_cpu *cpu)
{
    for (unsigned i = 0; i < LM_CPU_LISTS; i++) {
        struct lm_rseq_list *list = &cpu->lists->list[i];

        for (uint32_t at = list->begin; at < list->top; at += sizeof(struct lm_rseq_slot)) {
            lm_rseq_found(lm_cpu_slot(cpu, at)->object);
            lm_cpu_give(cpu, lm_cpu_slot(cpu, at)->object);
        }
        list->top = list->begin;
    }
    lm_remote_flush(&cpu->heap);
}

void lm_cpu_drain(bool leave)
{
    uint32_t i = 0;

    if (!lm_percpu_is_used())
        return;
    lm_lock_take(&lm_cpus_lock);
    if (percpu_stop()) {
        for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i)) {
            lm_lock_take(&cpu->lock);
            percpu_empty(cpu);
            lm_lock_release(&cpu->lock);
        }
        lm_cpu_resume();
    }
    i = 0;
    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i)) {
        lm_lock_take(&cpu->lock);
        lm_remote_receive(&cpu->heap); /* also what the others have just sent */
        lm_heap_release_current(&cpu->heap);
        if (leave) {
            lm_orphans_add_all(&cpu->heap, NULL);
            lm_remote_receive(&cpu->heap); /* what was mailed while they still had an owner */
        }
        lm_lock_release(&cpu->lock);
    }
    lm_lock_release(&lm_cpus_lock);
}

void lm_percpu_drain(void)
{
    lm_cpu_drain(false);
}

/* -- seen from above; fork ---------------------------------------------------------------------------------------- */

LM_RACY void lm_percpu_cached(size_t *blocks, size_t *bytes)
{
    uint32_t i = 0;

    *blocks = *bytes = 0;
    if (!lm_percpu_is_used())
        return;
    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i)) {
        for (unsigned l = 0; l < LM_CPU_LISTS; l++) {
            const struct lm_rseq_list *list = &cpu->lists->list[l];
            uint32_t top = __atomic_load_n(&list->top, __ATOMIC_RELAXED);

            for (uint32_t at = list->begin; at < top; at += sizeof(struct lm_rseq_slot))
                *bytes += lm_slab_object_size(lm_cpu_slab_of(lm_cpu_slot(cpu, at)->object));
            *blocks += (top - list->begin) / sizeof(struct lm_rseq_slot);
        }
    }
}

/* 0, or the line of the invariant that a slot of list i breaks. */
static int percpu_check_slot(const struct lm_rseq_slot *slot, unsigned i)
{
    const struct lm_span *slab = lm_cpu_slab_of(slot->object);
    uint64_t n;

    lm_rseq_found(slot->object);
    if (lm_span_kind(slab) < LM_SLAB_CURRENT || !lm_slab_holds(slab, slot->object))
        return __LINE__;
    if (!lm_slab_number(slab, slot->object, &n) || slot->more != &slab->link[n] || lm_slab_link(slab, n) != LM_AWAY)
        return __LINE__;
    return i == LM_CPU_FOREIGN || slab->size_class == i ? 0 : __LINE__;
}

static int percpu_check_lists(const struct lm_cpu *cpu)
{
    int fault = 0;

    for (unsigned i = 0; i < LM_CPU_LISTS; i++) {
        const struct lm_rseq_list *list = &cpu->lists->list[i];
        size_t bytes = list->end - list->begin;

        if (list->top < list->begin || list->top > list->end || bytes != lm_cpu_slots(i) * sizeof(struct lm_rseq_slot))
            return __LINE__;
        for (uint32_t at = list->begin; at < list->top && !fault; at += sizeof(struct lm_rseq_slot))
            fault = percpu_check_slot(lm_cpu_slot(cpu, at), i);
    }
    return fault;
}

int lm_percpu_check(void)
{
    uint32_t i = 0;
    int fault = 0;

    if (!lm_percpu_is_used())
        return 0;
    lm_lock_take(&lm_cpus_lock);
    if (percpu_stop()) {
        for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu && !fault; cpu = lm_cpu_next(&i)) {
            lm_lock_take(&cpu->lock);
            fault = percpu_check_lists(cpu);
            if (!fault)
                fault = lm_heap_check_slabs(&cpu->heap);
            lm_lock_release(&cpu->lock);
        }
        lm_cpu_resume();
    }
    lm_lock_release(&lm_cpus_lock);
    return fault;
}

bool lm_percpu_fork_mine(void)
{
    static const struct lm_lock any = LM_LOCK_INIT(LM_RANK_CPU);

    return lm_lock_is_mine(&lm_cpus_lock) || lm_lock_is_mine(&any);
}

void lm_percpu_fork_take(void)
{
    uint32_t i = 0;

    lm_lock_take(&lm_cpus_lock);
    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i))
        lm_lock_take_also(&cpu->lock);
}

void lm_percpu_fork_release(void)
{
    uint32_t i = 0;

    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i))
        lm_lock_release(&cpu->lock);
    lm_lock_release(&lm_cpus_lock);
}

void lm_percpu_fork_reset(void)
{
    uint32_t i = 0;

    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i))
        lm_lock_reset(&cpu->lock);
    lm_lock_reset(&lm_cpus_lock);
    lm_percpu_fork_retry();
}

void lm_percpu_fork_mail(void)
{
    uint32_t i = 0;

    for (struct lm_cpu *cpu = lm_cpu_next(&i); cpu; cpu = lm_cpu_next(&i))
        cpu->heap.mailbox = 0;
}
