/* step.h: stops a thread before each of its instructions, by the processor's trap flag (x86-64), so that a test can do
 * something else at exactly that moment: what a signal handler would, or another thread while this one is preempted. */
#ifndef LOAM_TEST_STEP_H
#define LOAM_TEST_STEP_H

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

static bool (*step_visit)(long step); /* false: run on without stops */
static long step_count;

/* Not through the thread sanitizer's own steps, which take locks. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
enum { STEP_FLAG = 0x100 };

static void step_trap(int signal, siginfo_t *info, void *context)
{
    ucontext_t *interrupted = context;

    (void)signal;
    (void)info;
    if (!step_visit(step_count++))
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~(long long)STEP_FLAG;
}

/* False where processors cannot. */
static inline bool step_start(bool (*visit)(long step))
{
    struct sigaction action = {.sa_sigaction = step_trap, .sa_flags = SA_SIGINFO};

    step_visit = visit;
    step_count = 0;
    return sigaction(SIGTRAP, &action, NULL) == 0;
}

/* Between them every instruction is visited. Below the red zone, which the stack's user may have in use. */
#define STEP_ON() \
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" :: \
                         : "memory", "cc")
#define STEP_OFF() \
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $-257, (%%rsp); popfq; lea 128(%%rsp), %%rsp" :: \
                         : "memory", "cc")
#else
static inline bool step_start(bool (*visit)(long step))
{
    step_visit = visit;
    step_count = 0;
    return false;
}
#define STEP_ON() (void)0
#define STEP_OFF() (void)0
#endif

#endif
