/* rseq.c: finding restartable sequences, and proving that they work before they are believed.
 *
 * What must hold, and is tested once before the first use (which takes a moment, or some 50 ms where many threads want to
 * run, for a helper must get its turn): the area is registered for this thread; membarrier knows the
 * fence; sequences commit what they should and refuse what they should; and a thread that is inside a sequence while
 * another thread fences is sent to its abort handler. Emulators and checkers that know nothing of it (valgrind,
 * qemu-user) fail one of these. */
#include "os/os.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's numbers, here because musl's compiler wrapper sees no kernel headers. */
enum { FENCE = 1 << 7, FENCE_REGISTER = 1 << 8 }; /* membarrier's MEMBARRIER_CMD_[REGISTER_]PRIVATE_EXPEDITED_RSEQ */
enum { AT_RSEQ_FEATURES = 27 };                   /* AT_RSEQ_FEATURE_SIZE, Linux 6.3 */
enum { MOST_CPUS = 8192 };                        /* the largest NR_CPUS of x86-64 */
enum { SPINS = 50000000 };                        /* some 20 ms: what the self-test waits for an abort at the most */

/* glibc's; other C libraries have none. */
extern const ptrdiff_t __rseq_offset __attribute__((weak, visibility("default")));
extern const unsigned __rseq_size __attribute__((weak, visibility("default")));

struct lm_rseq lm_rseq;

uint32_t lm_rseq_limit(void)
{
    unsigned long mask[MOST_CPUS / (8 * sizeof(unsigned long))];
    int saved = errno;
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask); /* of the mask: all possible CPUs */

    errno = saved;
    return bytes > 0 ? (uint32_t)bytes * 8 : MOST_CPUS;
}

void lm_rseq_prepare(void)
{
    int saved = errno;

    if (lm_is_single() && &__rseq_size && __rseq_size)
        syscall(SYS_membarrier, FENCE_REGISTER, 0, 0);
    errno = saved;
}

bool lm_rseq_fence(void)
{
    int saved = errno;
    bool done = syscall(SYS_membarrier, FENCE, 0, 0) == 0;

    if (!done && errno == EPERM && syscall(SYS_membarrier, FENCE_REGISTER, 0, 0) == 0)
        done = syscall(SYS_membarrier, FENCE, 0, 0) == 0;
    errno = saved;
    return done;
}

/* -- the self-test ------------------------------------------------------------------------------------------------ */

#if LM_RSEQ_ARCH

/* Starts a task that waits until *ready, fences, and ends; *tid becomes 0 when it has. It touches no stack, no thread
 * storage and no errno, for it shares the caller's. Its flags are those of every thread's, for filters of system calls
 * that let threads be made but nothing else. False: it could not be started. */
static bool rseq_start_fencer(uint32_t *ready, uint32_t *tid, void *thread)
{
    enum {
        FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
            CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID
    };
    char stack[256] __attribute__((aligned(16)));
    long done;

#if defined(__x86_64__)
    register long r10 __asm__("r10") = (long)(uintptr_t)tid;
    register long r8 __asm__("r8") = (long)(uintptr_t)thread;

    __asm__ volatile("syscall\n"
                     "testq %%rax, %%rax\n"
                     "jnz 9f\n"
                     "1: cmpl $0, (%[ready])\n"
                     "jne 2f\n"
                     "movl %[yield], %%eax\n"
                     "syscall\n"
                     "jmp 1b\n"
                     "2: movl %[membarrier], %%eax\n"
                     "movl %[fence], %%edi\n"
                     "xorl %%esi, %%esi\n"
                     "xorl %%edx, %%edx\n"
                     "syscall\n"
                     "movl %[exit], %%eax\n"
                     "xorl %%edi, %%edi\n"
                     "syscall\n"
                     "9:\n"
                     : "=a"(done)
                     : "a"((long)SYS_clone), "D"((long)FLAGS), "S"(stack + sizeof stack), "d"(tid), "r"(r10),
                     "r"(r8), [ready] "b"(ready), [yield] "i"(SYS_sched_yield), [membarrier] "i"(SYS_membarrier),
                     [fence] "i"(FENCE), [exit] "i"(SYS_exit)
                     : "rcx", "r11", "memory", "cc");
#else
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = FLAGS;
    register char *x1 __asm__("x1") = stack + sizeof stack;
    register uint32_t *x2 __asm__("x2") = tid;
    register void *x3 __asm__("x3") = thread;
    register uint32_t *x4 __asm__("x4") = tid;
    register uint32_t *x9 __asm__("x9") = ready;

    __asm__ volatile("svc #0\n"
                     "cbnz x0, 9f\n"
                     "1: ldar w1, [x9]\n"
                     "cbnz w1, 2f\n"
                     "mov x8, %[yield]\n"
                     "svc #0\n"
                     "b 1b\n"
                     "2: mov x8, %[membarrier]\n"
                     "mov x0, %[fence]\n"
                     "mov x1, #0\n"
                     "mov x2, #0\n"
                     "svc #0\n"
                     "mov x8, %[exit]\n"
                     "mov x0, #0\n"
                     "svc #0\n"
                     "9:\n"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x9), [yield] "i"(SYS_sched_yield),
                     [membarrier] "i"(SYS_membarrier), [fence] "i"(FENCE), [exit] "i"(SYS_exit)
                     : "memory", "cc");
    done = x0;
#endif
    return done > 0;
}

/* Sets *ready inside a sequence and stays there: true when it was aborted. */
static bool rseq_spin(struct lm_rseq_area *area, uint32_t *ready)
{
    uint64_t aborted = 0, spins = SPINS, t0;

#if defined(__x86_64__)
    __asm__ volatile(LM_RSEQ_BEGIN "1: movl $1, (%[ready])\n"
                                   "7: decq %[spins]\n"
                                   "jnz 7b\n"
                                   "2: jmp 5f\n" LM_RSEQ_SIGNATURE "4: movl $1, %k[aborted]\n"
                                   "5: movq $0, 8(%[area])\n"
                     : [aborted] "+&r"(aborted), [spins] "+&r"(spins), [t0] "=&r"(t0)
                     : [area] "r"(area), [ready] "r"(ready)
                     : "memory", "cc");
#else
    __asm__ volatile(LM_RSEQ_BEGIN "mov %w[t0], #1\n"
                                   "1: stlr %w[t0], [%[ready]]\n"
                                   "7: subs %[spins], %[spins], #1\n"
                                   "b.ne 7b\n"
                                   "2: b 5f\n" LM_RSEQ_SIGNATURE "4: mov %w[aborted], #1\n"
                                   "5: str xzr, [%[area], #8]\n"
                     : [aborted] "+&r"(aborted), [spins] "+&r"(spins), [t0] "=&r"(t0)
                     : [area] "r"(area), [ready] "r"(ready)
                     : "memory", "cc");
#endif
    return aborted;
}

/* True when a thread inside a sequence is aborted while another fences. */
static bool rseq_test_abort(struct lm_rseq_area *area)
{
    uint32_t ready = 0, tid = 1, running;
    sigset_t all, before;
    bool aborted = false;
    int saved = errno;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before); /* the helper inherits it: no handler may run there */
    if (rseq_start_fencer(&ready, &tid, (char *)area - lm_rseq.area)) {
        aborted = rseq_spin(area, &ready);
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE); /* it may have been preempted before it said so */
        while ((running = __atomic_load_n(&tid, __ATOMIC_ACQUIRE)) != 0)
            syscall(SYS_futex, &tid, 0, running, NULL, NULL, 0); /* FUTEX_WAIT: the kernel clears and wakes */
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return aborted;
}

/* True when sequences do to a list what they should. Nobody else sees the list: the sequences find it at index 0, which is where
 * they are told to look for their index. */
static bool rseq_test_commit(struct lm_rseq_area *area)
{
    static const uint32_t zero;
    enum { FIRST = sizeof(struct lm_rseq_list), BEHIND = FIRST + sizeof(struct lm_rseq_slot) };
    struct {
        struct lm_rseq_list list;
        struct lm_rseq_slot slot[1];
    } scratch = {.list = {.owner = &scratch, .top = FIRST, .begin = FIRST, .end = BEHIND}};
    struct lm_rseq_cpu *one = (struct lm_rseq_cpu *)(void *)&scratch;
    struct lm_rseq trial = {.table = &one, .limit = 1, .index = (const char *)&zero - (const char *)area};
    struct lm_rseq_slot slot = {&trial, &one}, popped;
    bool right;

    right = !lm_rseq_pop_of(&trial, area, 0).object &&
        lm_rseq_push_of(&trial, area, 0, area, slot) == LM_RSEQ_FOREIGN &&
        lm_rseq_push_of(&trial, area, 0, &scratch, slot) == LM_RSEQ_DONE && scratch.list.top == BEHIND &&
        lm_rseq_push_of(&trial, area, 0, &scratch, slot) == LM_RSEQ_MISSED;
    popped = lm_rseq_pop_of(&trial, area, 0);
    right = right && popped.object == slot.object && popped.more == slot.more && scratch.list.top == FIRST;
    trial.limit = 0; /* no index is right */
    right = right && !lm_rseq_pop_of(&trial, area, 0).object &&
        lm_rseq_push_of(&trial, area, 0, &scratch, slot) == LM_RSEQ_MISSED;
    return right && area->cs == 0;
}

bool lm_rseq_find(struct lm_rseq_cpu **table, uint32_t limit, struct lm_rseq_cpu *stopped)
{
    const struct lm_rseq_area *area;

    /* the area is registered with 32 bytes at the least, so a kernel that knows mm_cid fills it whatever __rseq_size
     * counts as in use */
    if (!&__rseq_offset || !&__rseq_size || __rseq_size == 0)
        return false;
    lm_rseq.table = table;
    lm_rseq.limit = limit;
    lm_rseq.area = __rseq_offset;
    lm_rseq.index = getauxval(AT_RSEQ_FEATURES) >= offsetof(struct lm_rseq_area, mm_cid) + sizeof(uint32_t)
        ? offsetof(struct lm_rseq_area, mm_cid)
        : offsetof(struct lm_rseq_area, cpu_id);
    for (uint32_t i = 0; i < limit; i++)
        table[i] = stopped;
    area = lm_rseq_area();
    return lm_rseq_registered(area) && lm_rseq_index(area) < limit && area->cs == 0;
}

bool lm_rseq_prove(void)
{
    struct lm_rseq_area *area = lm_rseq_area();

    return lm_rseq_fence() && rseq_test_commit(area) && rseq_test_abort(area);
}

#else

bool lm_rseq_find(struct lm_rseq_cpu **table, uint32_t limit, struct lm_rseq_cpu *stopped)
{
    (void)table, (void)limit, (void)stopped;
    return false;
}

bool lm_rseq_prove(void)
{
    return false;
}

#endif
