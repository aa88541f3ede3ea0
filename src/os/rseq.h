/* rseq.h: stacks of pairs of pointers that belong to a CPU, pushed and popped without lock or atomic instruction by restartable
 * sequences (Turner, Hunter 2013; Desnoyers 2018): the kernel sends a thread that is preempted, migrated or
 * signalled in the middle of a sequence to its abort handler, so nobody sees it half done.
 *
 *   lm_rseq.table[n]  ->  | list 0 | list 1 | ... | slots of list 0 | slots of list 1 | ... |
 *
 *   list:  owner   what a push must name, or it is refused
 *          begin <= top <= end: where slots are, in bytes from the start of the whole
 *   slot:  an object, and something more that belongs to it
 *
 * top is 32 bits wide, though 16 would do: docs/decisions/0008 says why.
 *
 * n is the thread's number among those of its process that run now (mm_cid, Linux 6.3), which is below the number of CPUs
 * and dense; where the kernel gives none, the CPU's number. Each sequence ends in one store, of `top`. A CPU is stopped by
 * pointing its entry to lists that are full and empty at once, and lm_rseq_fence(): from then on no thread is inside
 * a sequence that saw the old entry, and the lists are the caller's.
 *
 * The C library owns the registration (glibc 2.35 and later; GLIBC_TUNABLES=glibc.pthread.rseq=0 gives it to nobody).
 * Of the area that it shares with the kernel only rseq_cs is written, and it is cleared after each sequence, so
 * that the kernel is never led to a descriptor in a library that was unloaded.
 *
 * Signals: a handler may push and pop. Fork: each list is as after some whole number of steps. */
#ifndef LM_OS_RSEQ_H
#define LM_OS_RSEQ_H

#include "base/base.h"

#if defined(__x86_64__) || defined(__aarch64__)
#define LM_RSEQ_ARCH 1
#else
#define LM_RSEQ_ARCH 0
#endif

#if LM_TSAN /* it does not see what passes through the lists */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#endif

/* The area of a thread that the kernel reads and writes (linux/rseq.h, fixed layout). */
struct lm_rseq_area {
    uint32_t cpu_id_start;
    uint32_t cpu_id; /* negative: this thread is not registered */
    uint64_t cs;     /* the descriptor of the sequence the thread is in */
    uint32_t flags;
    uint32_t node_id;
    uint32_t mm_cid;
};

struct lm_rseq_list {
    void *owner;
    uint32_t top, begin, end;
};

struct lm_rseq_slot {
    void *object, *more;
};

struct lm_rseq_cpu {
    struct lm_rseq_list list[1]; /* as many as the user wants; then the slots */
};

struct lm_rseq {
    struct lm_rseq_cpu **table; /* atomic entries; `limit` of them */
    uint32_t limit;
    ptrdiff_t area;  /* from the thread pointer */
    ptrdiff_t index; /* of the word that has the index, within the area */
};
extern struct lm_rseq lm_rseq LM_HIDDEN;

/* Table entries that the largest index needs. */
uint32_t lm_rseq_limit(void);

/* To be called early: while the process has one thread the kernel makes ready to fence at once, and later only after a grace
 * period of its own (some 10 ms). Does nothing in a process with more threads. */
void lm_rseq_prepare(void);

/* Finds the kernel's and the C library's part. False: there is none, and nothing below may be used. Once, before anything else
 * here. The table, of so many entries, is filled with `stopped`, which is what sequences must find until they are proved. */
bool lm_rseq_find(struct lm_rseq_cpu **table, uint32_t limit, struct lm_rseq_cpu *stopped);

/* Tests both: sequences must commit, and must abort when fenced. False: they do not what they should. Others may run
 * sequences on stopped lists meanwhile. Starts a helper thread for a moment, of which the C library does not know. */
bool lm_rseq_prove(void);

/* When it returns true, no thread of the process is inside a sequence that it began before the call. False: the kernel
 * refuses (seccomp). In a fork's child as well. */
bool lm_rseq_fence(void);

enum lm_rseq_result { /* of a push */
    LM_RSEQ_DONE,
    LM_RSEQ_MISSED, /* the list is full, or no sequence would end */
    LM_RSEQ_FOREIGN /* the list is another owner's */
};

LM_INLINE struct lm_rseq_area *lm_rseq_area(void)
{
    char *thread = NULL;

#if defined(__x86_64__)
    __asm__("movq %%fs:0, %0" : "=r"(thread));
#elif defined(__aarch64__)
    __asm__("mrs %0, tpidr_el0" : "=r"(thread));
#endif
    return (struct lm_rseq_area *)(void *)(thread + lm_rseq.area);
}

/* True when the calling thread can run sequences. */
LM_INLINE bool lm_rseq_registered(const struct lm_rseq_area *area)
{
    return (int32_t)__atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED) >= 0;
}

/* The index just now; it may be another's at once. */
LM_INLINE uint32_t lm_rseq_index(const struct lm_rseq_area *area)
{
    return __atomic_load_n((const uint32_t *)(const void *)((const char *)area + lm_rseq.index), __ATOMIC_RELAXED);
}

/* To be told of a pointer that is read from a stopped list: the thread sanitizer sees neither it nor the fence. */
LM_INLINE void lm_rseq_found(void *object)
{
#if LM_TSAN
    __tsan_acquire(object);
#else
    (void)object;
#endif
}

/* A sequence that is aborted so often in a row runs under a debugger that steps through it. */
enum { LM_RSEQ_TRIES = 100 };

/* How every sequence begins: its descriptor 3, from label 1 to the committing store before label 2, aborted at 4; and that it
 * is under way. And what stands before label 4, for the kernel to know a place to abort to by. */
#define LM_RSEQ_DESCRIPTOR \
    ".pushsection lm_rseq_cs, \"aw\"\n" \
    ".balign 32\n" \
    "3: .long 0, 0\n" \
    ".quad 1f, 2f - 1f, 4f\n" \
    ".popsection\n"
#if defined(__x86_64__)
#define LM_RSEQ_BEGIN \
    LM_RSEQ_DESCRIPTOR \
    "leaq 3b(%%rip), %[t0]\n" \
    "movq %[t0], 8(%[area])\n"
#define LM_RSEQ_SIGNATURE /* reads as an undefined instruction */ \
    ".byte 0x0f, 0xb9, 0x3d\n" \
    ".long 0x53053053\n"
/* t0: the CPU's lists; on to label 5 when there are none. */
#define LM_RSEQ_LISTS \
    "1: movq %[index], %[t0]\n" \
    "movl (%[area],%[t0]), %k[t0]\n" \
    "cmpl %[limit], %k[t0]\n" \
    "jae 5f\n" \
    "movq %[table], %[t1]\n" \
    "movq (%[t1],%[t0],8), %[t0]\n"
#elif defined(__aarch64__)
#define LM_RSEQ_BEGIN \
    LM_RSEQ_DESCRIPTOR \
    "adrp %[t0], 3b\n" \
    "add %[t0], %[t0], :lo12:3b\n" \
    "str %[t0], [%[area], #8]\n"
#define LM_RSEQ_SIGNATURE ".inst 0xd428bc00\n"
/* t0: the CPU's lists, t1: the one that is meant; on to label 5 when there are none. */
#define LM_RSEQ_LISTS \
    "1: ldr %w[t0], [%[area], %[index]]\n" \
    "cmp %w[t0], %w[limit]\n" \
    "b.hs 5f\n" \
    "ldr %[t0], [%[table], %[t0], lsl #3]\n" \
    "add %[t1], %[t0], %[list]\n"
#endif

/* Takes the pair that was pushed last onto the list at `list` bytes. Its object is NULL when the list is empty, or no sequence
 * would end. */
LM_INLINE struct lm_rseq_slot lm_rseq_pop_of(const struct lm_rseq *rseq, struct lm_rseq_area *area, size_t list)
{
    struct lm_rseq_slot slot = {NULL, NULL};
    uint32_t tries = LM_RSEQ_TRIES;
    uintptr_t t0, t1;

#if defined(__x86_64__)
    __asm__ volatile("0:" LM_RSEQ_BEGIN LM_RSEQ_LISTS
                     "movl 8(%[t0],%[list]), %k[t1]\n"
                     "cmpl 12(%[t0],%[list]), %k[t1]\n"
                     "je 5f\n"
                     "movq -16(%[t0],%[t1]), %[object]\n"
                     "movq -8(%[t0],%[t1]), %[more]\n"
                     "subl $16, %k[t1]\n"
                     "movl %k[t1], 8(%[t0],%[list])\n"
                     "2: jmp 5f\n" LM_RSEQ_SIGNATURE "4: xorl %k[object], %k[object]\n"
                     "decl %[tries]\n"
                     "jnz 0b\n"
                     "5: movq $0, 8(%[area])\n"
                     : [object] "+&r"(slot.object), [more] "+&r"(slot.more), [tries] "+&r"(tries), [t0] "=&r"(t0),
                     [t1] "=&r"(t1)
                     : [area] "r"(area), [index] "m"(rseq->index), [limit] "m"(rseq->limit), [table] "m"(rseq->table),
                     [list] "r"(list)
                     : "memory", "cc");
#elif defined(__aarch64__)
    uintptr_t t2, t3;

    __asm__ volatile("0:" LM_RSEQ_BEGIN LM_RSEQ_LISTS
                     "ldr %w[t2], [%[t1], #8]\n"
                     "ldr %w[t3], [%[t1], #12]\n"
                     "cmp %w[t2], %w[t3]\n"
                     "b.eq 5f\n"
                     "sub %w[t2], %w[t2], #16\n"
                     "add %[t3], %[t0], %[t2]\n"
                     "ldp %[object], %[more], [%[t3]]\n"
                     "str %w[t2], [%[t1], #8]\n"
                     "2: b 5f\n" LM_RSEQ_SIGNATURE "4: mov %[object], xzr\n"
                     "subs %w[tries], %w[tries], #1\n"
                     "b.ne 0b\n"
                     "5: str xzr, [%[area], #8]\n"
                     : [object] "+&r"(slot.object), [more] "+&r"(slot.more), [tries] "+&r"(tries), [t0] "=&r"(t0),
                     [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3)
                     : [area] "r"(area), [index] "r"(rseq->index), [limit] "r"(rseq->limit), [table] "r"(rseq->table),
                     [list] "r"(list)
                     : "memory", "cc");
#else
    (void)rseq, (void)area, (void)list, (void)tries, (void)t0, (void)t1;
#endif
    if (slot.object)
        lm_rseq_found(slot.object);
    return slot;
}

/* Pushes a pair; the list must have this owner. */
LM_INLINE enum lm_rseq_result lm_rseq_push_of(
    const struct lm_rseq *rseq, struct lm_rseq_area *area, size_t list, const void *owner, struct lm_rseq_slot slot)
{
    uint32_t status = LM_RSEQ_TRIES; /* until it is known */
    uintptr_t t0, t1;

#if LM_TSAN
    __tsan_release(slot.object);
#endif
#if defined(__x86_64__)
    __asm__ volatile("0:" LM_RSEQ_BEGIN LM_RSEQ_LISTS
                     "cmpq %[owner], (%[t0],%[list])\n"
                     "jne 6f\n"
                     "movl 8(%[t0],%[list]), %k[t1]\n"
                     "cmpl 16(%[t0],%[list]), %k[t1]\n"
                     "je 5f\n"
                     "movq %[object], (%[t0],%[t1])\n"
                     "movq %[more], 8(%[t0],%[t1])\n"
                     "addl $16, %k[t1]\n"
                     "movl %k[t1], 8(%[t0],%[list])\n"
                     "2: xorl %[status], %[status]\n"
                     "jmp 7f\n" LM_RSEQ_SIGNATURE "4: decl %[status]\n"
                     "jnz 0b\n"
                     "5: movl %[missed], %[status]\n"
                     "jmp 7f\n"
                     "6: movl %[foreign], %[status]\n"
                     "7: movq $0, 8(%[area])\n"
                     : [status] "+&r"(status), [t0] "=&r"(t0), [t1] "=&r"(t1)
                     : [area] "r"(area), [index] "m"(rseq->index), [limit] "m"(rseq->limit), [table] "m"(rseq->table),
                     [list] "r"(list), [owner] "r"(owner), [object] "r"(slot.object), [more] "r"(slot.more),
                     [missed] "i"(LM_RSEQ_MISSED), [foreign] "i"(LM_RSEQ_FOREIGN)
                     : "memory", "cc");
#elif defined(__aarch64__)
    uintptr_t t2, t3;

    __asm__ volatile("0:" LM_RSEQ_BEGIN LM_RSEQ_LISTS
                     "ldr %[t2], [%[t1]]\n"
                     "cmp %[t2], %[owner]\n"
                     "b.ne 6f\n"
                     "ldr %w[t2], [%[t1], #8]\n"
                     "ldr %w[t3], [%[t1], #16]\n"
                     "cmp %w[t2], %w[t3]\n"
                     "b.eq 5f\n"
                     "add %[t3], %[t0], %[t2]\n"
                     "stp %[object], %[more], [%[t3]]\n"
                     "add %w[t2], %w[t2], #16\n"
                     "str %w[t2], [%[t1], #8]\n"
                     "2: mov %w[status], #0\n"
                     "b 7f\n" LM_RSEQ_SIGNATURE "4: subs %w[status], %w[status], #1\n"
                     "b.ne 0b\n"
                     "5: mov %w[status], %[missed]\n"
                     "b 7f\n"
                     "6: mov %w[status], %[foreign]\n"
                     "7: str xzr, [%[area], #8]\n"
                     : [status] "+&r"(status), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3)
                     : [area] "r"(area), [index] "r"(rseq->index), [limit] "r"(rseq->limit), [table] "r"(rseq->table),
                     [list] "r"(list), [owner] "r"(owner), [object] "r"(slot.object), [more] "r"(slot.more),
                     [missed] "i"(LM_RSEQ_MISSED), [foreign] "i"(LM_RSEQ_FOREIGN)
                     : "memory", "cc");
#else
    (void)rseq, (void)area, (void)list, (void)owner, (void)slot, (void)t0, (void)t1;
    status = LM_RSEQ_MISSED;
#endif
    return (enum lm_rseq_result)status;
}

LM_INLINE struct lm_rseq_slot lm_rseq_pop(struct lm_rseq_area *area, size_t list)
{
    return lm_rseq_pop_of(&lm_rseq, area, list);
}

LM_INLINE enum lm_rseq_result lm_rseq_push(
    struct lm_rseq_area *area, size_t list, const void *owner, struct lm_rseq_slot slot)
{
    return lm_rseq_push_of(&lm_rseq, area, list, owner, slot);
}

#endif
