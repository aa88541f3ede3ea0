/* Preloaded, stops every thread at random instructions: each has a timer of its own that sends it a signal after 20 to 520
 * microseconds, whose handler gives up the processor, or sleeps and so holds whatever lock the thread holds, and sets the timer
 * anew. What two cores would show once a day is then seen in minutes. The seed, PREEMPT_SEED or the time, decides the
 * intervals; at exit it is told with the number of interruptions when PREEMPT_TELL is set. Not replayable: the kernel has
 * its own mind. A child of fork has no timers; its calls go on undisturbed. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 4096, SHORTEST_NS = 20000, RANGE_NS = 500000 };
#define PREEMPT_SIGNAL (SIGRTMIN + 5)

static uint64_t seed, interruptions;
static __thread __attribute__((tls_model("initial-exec"))) struct {
    timer_t timer;
    uint64_t random;
    int armed;
} mine;

static uint64_t roll(void)
{
    mine.random ^= mine.random << 13;
    mine.random ^= mine.random >> 7;
    return mine.random ^= mine.random << 17;
}

static void arm(void)
{
    struct itimerspec once = {.it_value.tv_nsec = (long)(SHORTEST_NS + roll() % RANGE_NS)};

    timer_settime(mine.timer, 0, &once, NULL);
}

static void on_signal(int number)
{
    int before = errno;

    (void)number;
    if (!mine.armed) /* a child's only thread */
        return;
    __atomic_fetch_add(&interruptions, 1, __ATOMIC_RELAXED);
    if (roll() % 8)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = (long)(roll() % 200000)}, NULL);
    arm();
    errno = before;
}

static void begin(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PREEMPT_SIGNAL};

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    mine.random = (seed + (uint64_t)event._sigev_un._tid) * 0x9e3779b97f4a7c15u | 1;
    mine.armed = timer_create(CLOCK_MONOTONIC, &event, &mine.timer) == 0; /* not beyond the limit of pending signals */
    if (mine.armed)
        arm();
}

static void end(void)
{
    if (mine.armed) {
        mine.armed = 0;
        timer_delete(mine.timer);
    }
}

struct start {
    void *(*body)(void *);
    void *arg;
    int taken; /* atomic */
};

static struct start starts[MOST_THREADS];

static void ended(void *unused)
{
    (void)unused;
    end();
}

static void *thread_main(void *arg)
{
    struct start *slot = arg, start = *slot;
    void *result;

    __atomic_store_n(&slot->taken, 0, __ATOMIC_RELEASE);
    begin();
    pthread_cleanup_push(ended, NULL);
    result = start.body(start.arg);
    pthread_cleanup_pop(1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    for (int i = 0; i < MOST_THREADS; i++) {
        int expected = 0, status;

        if (!__atomic_compare_exchange_n(&starts[i].taken, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        starts[i].body = body;
        starts[i].arg = arg;
        status = real(thread, attributes, thread_main, &starts[i]);
        if (status)
            __atomic_store_n(&starts[i].taken, 0, __ATOMIC_RELEASE);
        return status;
    }
    return real(thread, attributes, body, arg);
}

static void vanish(void)
{
    mine.armed = 0;
}

__attribute__((constructor)) static void preempt_start(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const char *given = getenv("PREEMPT_SEED");

    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    sigaction(PREEMPT_SIGNAL, &action, NULL);
    pthread_atfork(NULL, NULL, vanish);
    begin();
}

__attribute__((destructor)) static void preempt_end(void)
{
    char line[100];
    int length;

    end();
    if (!getenv("PREEMPT_TELL"))
        return;
    length = snprintf(line, sizeof line, "preempted %llu times, PREEMPT_SEED=%llu\n", (unsigned long long)interruptions,
        (unsigned long long)seed);
    if (write(STDERR_FILENO, line, (size_t)length) != length)
        _exit(1);
}
