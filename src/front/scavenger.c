/* scavenger.c: a thread that returns memory when the program itself makes no calls (option scavenge_ms).
 *
 * It is made by an allocation: the first after something was freed, or once there is as much as LITTLE_BYTES in use (but
 * not before the C library is up). Never by a free, for the C library frees what threads leave over while it holds a lock
 * that making a thread needs; it allocates nothing then. The thread sleeps until something is freed, waits for the
 * delay, and then returns what is old enough: so an idle program has an idle thread, and one that frees all the time
 * pays for one sweep in a delay. It blocks all signals but SIGSYS, by which a filter of system calls may answer its own.
 * Fork: the child has none until it allocates as the parent did. */
#include "front/front.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { IDLE, ARMED };
enum { LITTLE_BYTES = 256 << 10 };
enum { STACK_BYTES = 128 << 10 }; /* two pages of it are touched; a large static TLS is taken off it */

static uint32_t scavenger_word; /* atomic */
static bool scavenger_runs;     /* atomic: in this process */
static bool scavenger_wanted, scavenger_ready;

static void scavenger_sleep(void)
{
    struct timespec delay = {(time_t)(lm_config.scavenge_ms / 1000), (long)(lm_config.scavenge_ms % 1000) * 1000000};

    while (nanosleep(&delay, &delay) != 0 && errno == EINTR)
        ;
}

static void *scavenger_main(void *arg)
{
    bool young;

    for (;;) {
        while (__atomic_load_n(&scavenger_word, __ATOMIC_ACQUIRE) == IDLE)
            lm_os_wait(&scavenger_word, IDLE);
        scavenger_sleep();
        __atomic_store_n(&scavenger_word, IDLE, __ATOMIC_RELEASE); /* before the sweep: a free during it counts */
        if (lm_config.heaps)
            lm_heap_sweep();
        young = lm_heap_age(); /* before the next, for it makes memory dirty */
        if (lm_page_age() || young)
            __atomic_store_n(&scavenger_word, ARMED, __ATOMIC_RELEASE); /* what is too young yet */
    }
    return arg;
}

static void scavenger_run(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    int saved = errno;

    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* blocked, it would end the process */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (pthread_create(&thread, &attributes, scavenger_main, NULL) == 0)
        pthread_setname_np(thread, "loam");
    else
        __atomic_store_n(&scavenger_runs, false, __ATOMIC_RELEASE); /* another allocation will try again */
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
}

/* Something was freed: the thread has work, at once or when it comes to be. */
static void scavenger_arm(void)
{
    if (__atomic_load_n(&scavenger_word, __ATOMIC_RELAXED) == ARMED)
        return;
    if (__atomic_exchange_n(&scavenger_word, ARMED, __ATOMIC_ACQ_REL) == IDLE)
        lm_os_wake(&scavenger_word, 1);
}

static void scavenger_make(void)
{
    struct lm_page_stats stats;

    if (__atomic_load_n(&scavenger_runs, __ATOMIC_RELAXED))
        return;
    if (__atomic_load_n(&scavenger_word, __ATOMIC_RELAXED) == IDLE) {
        lm_page_stats(&stats);
        if (stats.used_bytes < LITTLE_BYTES)
            return;
    }
    if (!__atomic_exchange_n(&scavenger_runs, true, __ATOMIC_ACQ_REL))
        scavenger_run();
}

static void scavenger_hear(enum lm_scavenge when)
{
    if (when == LM_SCAVENGE_FREED)
        scavenger_arm();
    else
        scavenger_make();
}

void lm_scavenger_start(void)
{
    scavenger_wanted = lm_config.scavenge_ms && !lm_config.single;
    if (scavenger_ready)
        lm_scavenge_hook = scavenger_wanted ? scavenger_hear : NULL;
}

void lm_scavenger_ready(void)
{
    scavenger_ready = true;
    lm_scavenger_start();
}

void lm_scavenger_after_fork(void)
{
    scavenger_word = IDLE;
    scavenger_runs = false;
}
