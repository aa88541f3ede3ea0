/* cpu.h: what percpu.c (one CPU) and cpus.c (all of them) share. See percpu.h. */
#ifndef LM_HEAP_CPU_H
#define LM_HEAP_CPU_H

#include "heap/percpu.h"
#include "heap/room.h"

enum {
    LM_CPU_FOREIGN = LM_CLASSES, /* the list of other owners' blocks */
    LM_CPU_LISTS
};

struct lm_cpu {
    struct lm_heap heap; /* first: the slabs' owner */
    struct lm_lock lock;
    struct lm_rseq_cpu *lists;
};

extern struct lm_lock lm_cpus_lock;
extern struct lm_cpu **lm_cpu_table;                     /* by index; entries atomic; NULL: not met yet */
extern struct lm_rseq_list lm_cpu_stopped[LM_CPU_LISTS]; /* what a CPU's table entry shows while it is stopped */

unsigned lm_cpu_slots(unsigned list);                /* of a list */
void lm_cpu_give(struct lm_cpu *cpu, const void *p); /* a block that is away goes home; under the CPU's lock */
void lm_cpu_drain(bool leave);                       /* lm_percpu_drain; with leave, slabs become orphans */
void lm_cpu_resume(void);                            /* gives the CPUs their lists; under lm_cpus_lock */
bool lm_percpu_is_proved(void);                      /* their lists may be used */
void lm_percpu_fork_retry(void);                     /* in the child: nobody is proving it any more */

LM_INLINE struct lm_cpu *lm_cpu_at(uint32_t i)
{
    return __atomic_load_n(&lm_cpu_table[i], __ATOMIC_ACQUIRE); /* pairs with percpu_make */
}

/* What lies in a CPU's lists at `at` bytes from their start. */
LM_INLINE struct lm_rseq_slot *lm_cpu_slot(const struct lm_cpu *cpu, uint32_t at)
{
    return (struct lm_rseq_slot *)(void *)((char *)cpu->lists + at);
}

LM_INLINE struct lm_span *lm_cpu_slab_of(const void *p)
{
    struct lm_span *span;

    if (!lm_span_find_fast(p, &span))
        span = lm_span_of(p);
    return lm_span_kind(span) == LM_CONT ? lm_slab_head(span) : span;
}

#endif
