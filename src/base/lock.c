/* lock.c: the three-state futex mutex (Drepper, "Futexes Are Tricky", 2011, mutex 2), with a short spin first,
 * because loam's critical sections are shorter than a system call; and tickets for those whom others keep overtaking. */
#include "base/lock.h"
#include "base/check.h"
#include "base/single.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FREE, HELD, WAITED_FOR, LOCK_STATE = 3 };
enum { DRAWN_SHIFT = 2, SERVED_SHIFT = 17, TICKETS = 1 << 15, TICKET_SETS = 31 };
enum { ANYBODY = 1 }; /* the set of sleepers without a ticket; those with one are in one of the 31 others */
enum { SPINS = 60 };
/* The kernel's numbers, here because musl's compiler wrapper sees no kernel headers. Private: never between processes. */
enum { LOCK_WAIT = 9 | 128, LOCK_WAKE = 10 | 128 }; /* by sets of sleepers */

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

static uint32_t lock_drawn(uint32_t word)
{
    return word >> DRAWN_SHIFT & (TICKETS - 1);
}

static uint32_t lock_served(uint32_t word)
{
    return word >> SERVED_SHIFT;
}

/* The sleepers whose turn it is. */
static uint32_t lock_set(uint32_t ticket)
{
    return 2u << ticket % TICKET_SETS;
}

static void lock_sleep(uint32_t *word, uint32_t value, uint32_t set)
{
    int saved = errno;

    syscall(SYS_futex, word, LOCK_WAIT, value, NULL, NULL, set);
    errno = saved;
}

/* All with the ticket's turn, for a set holds more than one; or one of those without. */
static void lock_wake(uint32_t *word, uint32_t value)
{
    bool tickets = lock_drawn(value) != lock_served(value);
    int saved = errno;

    syscall(SYS_futex, word, LOCK_WAKE, tickets ? INT_MAX : 1, NULL, NULL,
        tickets ? lock_set(lock_served(value)) : (uint32_t)ANYBODY);
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

/* False: there are as many tickets out as there are numbers. */
static bool lock_draw(struct lm_lock *lock, uint32_t *ticket)
{
    uint32_t seen = __atomic_load_n(&lock->state, __ATOMIC_RELAXED), next;

    do {
        *ticket = lock_drawn(seen);
        next = (*ticket + 1) % TICKETS;
        if (next == lock_served(seen))
            return false;
        next = (seen & ~((uint32_t)(TICKETS - 1) << DRAWN_SHIFT)) | next << DRAWN_SHIFT;
    } while (!__atomic_compare_exchange_n(&lock->state, &seen, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

/* The word when the next ticket has been served, and there may be sleepers. Without tickets it is as it was before any. */
static uint32_t lock_serve(uint32_t word)
{
    uint32_t served = (lock_served(word) + 1) % TICKETS;

    return served == lock_drawn(word) ? WAITED_FOR
                                      : lock_drawn(word) << DRAWN_SHIFT | served << SERVED_SHIFT | WAITED_FOR;
}

/* Sleeps until the lock is let go; seen is the word, which says that it is held, or another's turn. */
static uint32_t lock_wait_changed(struct lm_lock *lock, uint32_t seen, uint32_t set)
{
    uint32_t slept_for = seen + (WAITED_FOR - HELD);

    if ((seen & LOCK_STATE) != HELD)
        lock_sleep(&lock->state, seen, set);
    /* the holder must know; relaxed: it says nothing else */
    else if (__atomic_compare_exchange_n(&lock->state, &seen, slept_for, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        lock_sleep(&lock->state, slept_for, set);
    return __atomic_load_n(&lock->state, __ATOMIC_RELAXED);
}

static void lock_wait_in_turn(struct lm_lock *lock, uint32_t ticket)
{
    uint32_t seen = __atomic_load_n(&lock->state, __ATOMIC_RELAXED);

    for (;;)
        if ((seen & LOCK_STATE) != FREE || lock_served(seen) != ticket)
            seen = lock_wait_changed(lock, seen, lock_set(ticket));
        /* pairs with lm_lock_release */
        else if (__atomic_compare_exchange_n(
                     &lock->state, &seen, lock_serve(seen), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
}

/* As whoever comes first; false: in vain. Taken as a lock that is slept for, because it cannot be known who else does. */
static bool lock_wait_anyhow(struct lm_lock *lock)
{
    uint32_t seen = __atomic_load_n(&lock->state, __ATOMIC_RELAXED);

    for (int tries = 0; tries <= LM_LOCK_PATIENCE;)
        if (seen != FREE) {
            seen = lock_wait_changed(lock, seen, ANYBODY);
            tries++;
        } else if (__atomic_compare_exchange_n(/* pairs with lm_lock_release */
                       &lock->state, &seen, WAITED_FOR, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return true;
        }
    return false;
}

static void lock_wait(struct lm_lock *lock)
{
    uint32_t ticket;

    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&lock->state, __ATOMIC_RELAXED) == FREE && lock_grab(lock))
            return;
        lock_pause();
    }
    while (!lock_wait_anyhow(lock))
        if (lock_draw(lock, &ticket)) {
            lock_wait_in_turn(lock, ticket);
            return;
        }
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
    uint32_t seen = HELD;

    if (lm_is_single())
        __atomic_store_n(&lock->state, FREE, __ATOMIC_RELAXED);
    else if (!__atomic_compare_exchange_n(&lock->state, &seen, FREE, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        /* pairs with whoever takes it next. Tickets stay out; somebody may sleep */
        seen = __atomic_fetch_and(&lock->state, ~(uint32_t)LOCK_STATE, __ATOMIC_RELEASE);
        if ((seen & LOCK_STATE) == WAITED_FOR)
            lock_wake(&lock->state, seen);
    }
    lock_note_released(lock);
}

void lm_lock_reset(struct lm_lock *lock)
{
    lock_note_released(lock);
    __atomic_store_n(&lock->state, FREE, __ATOMIC_RELEASE);
}
