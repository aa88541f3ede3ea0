/* lock.c: the three-state futex mutex (Drepper, "Futexes Are Tricky", 2011, mutex 2), with a short spin first,
 * because loam's critical sections are shorter than a system call. */
#include "base/lock.h"
#include "base/check.h"
#include "base/single.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FREE, HELD, WAITED_FOR };
enum { SPINS = 60 };
/* The kernel's numbers, here because musl's compiler wrapper sees no kernel headers. Private: never between processes. */
enum { LOCK_WAIT = 0 | 128, LOCK_WAKE = 1 | 128 };

/* A bit for each rank that the thread holds, set before the lock is taken and cleared after it is released. */
static __thread volatile uint32_t lock_held __attribute__((tls_model("initial-exec")));

bool lm_lock_is_mine(const struct lm_lock *lock)
{
    return lock_held >> lock->rank & 1;
}

static void lock_note_taking(const struct lm_lock *lock)
{
    LM_ASSERT(lock->rank > LM_RANK_NONE && lock->rank < LM_RANK_COUNT);
    LM_ASSERT(lock_held >> lock->rank == 0); /* ranks rise */
    lock_held |= 1u << lock->rank;
}

static void lock_note_released(const struct lm_lock *lock)
{
    lock_held &= ~(1u << lock->rank);
}

bool lm_lock_note(const struct lm_lock *lock)
{
    if (lm_lock_is_mine(lock))
        return false;
    lock_note_taking(lock);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* before what it announces: a handler may look at any moment */
    return true;
}

void lm_lock_unnote(const struct lm_lock *lock)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    lock_note_released(lock);
}

static void lock_futex(uint32_t *word, int operation, uint32_t value)
{
    int saved = errno;

    syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
    errno = saved;
}

static void lock_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* From free to held in one step. Acquire: pairs with the release in lm_lock_release. */
static bool lock_grab(struct lm_lock *lock)
{
    uint32_t seen = FREE;

    if (lm_is_single()) {
        if (lock->state != FREE)
            return false;
        __atomic_store_n(&lock->state, HELD, __ATOMIC_RELAXED);
        return true;
    }
    return __atomic_compare_exchange_n(&lock->state, &seen, HELD, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

bool lm_lock_try(struct lm_lock *lock)
{
    lock_note_taking(lock);
    if (lock_grab(lock))
        return true;
    lock_note_released(lock);
    return false;
}

static void lock_wait(struct lm_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&lock->state, __ATOMIC_RELAXED) == FREE && lock_grab(lock))
            return;
        lock_pause();
    }
    while (__atomic_exchange_n(&lock->state, WAITED_FOR, __ATOMIC_ACQUIRE) != FREE)
        lock_futex(&lock->state, LOCK_WAIT, WAITED_FOR);
}

void lm_lock_take(struct lm_lock *lock)
{
    lock_note_taking(lock);
    lock_wait(lock);
}

void lm_lock_take_also(struct lm_lock *lock)
{
    LM_ASSERT(lock_held >> lock->rank <= 1);
    lock_held |= 1u << lock->rank;
    lock_wait(lock);
}

void lm_lock_release(struct lm_lock *lock)
{
    if (lm_is_single())
        __atomic_store_n(&lock->state, FREE, __ATOMIC_RELAXED);
    else if (__atomic_exchange_n(&lock->state, FREE, __ATOMIC_RELEASE) == WAITED_FOR)
        lock_futex(&lock->state, LOCK_WAKE, 1);
    lock_note_released(lock);
}

void lm_lock_reset(struct lm_lock *lock)
{
    lock_note_released(lock);
    __atomic_store_n(&lock->state, FREE, __ATOMIC_RELEASE);
}
