/* Threads served by CPUs, under everything that breaks a restartable sequence: timer signals by the thousand, migration,
 * yields, fork, trims that take the caches away. Blocks are handed between threads; their contents tell whether one
 * was ever given out twice. */
// test: timeout=600 own
#include "common_stress.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

const char *loam_conf = "cache:cpu";

enum { THREADS = 8, SLOTS = 512 };
static volatile bool stop;
static void *slot[SLOTS]; /* atomic */

struct stamped {
    size_t size;
    struct stamped *self;
};

static void on_signal(int signal)
{
    (void)signal;
    sched_yield();
}

static struct stamped *make(uint64_t *seed)
{
    size_t size = sizeof(struct stamped) + next_random(seed) % (next_random(seed) % 16 ? 300 : 20000);
    struct stamped *p = malloc(size);

    NEED(p);
    memset(p, (int)size, size);
    p->size = size;
    p->self = p;
    return p;
}

static void drop(struct stamped *p)
{
    if (!p)
        return;
    NEED(p->self == p && malloc_usable_size(p) >= p->size);
    for (size_t i = sizeof *p; i < p->size; i++)
        NEED(((unsigned char *)p)[i] == (unsigned char)p->size);
    p->self = NULL;
    free(p);
}

static void *trade(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;
    struct stamped *mine[64] = {NULL};
    int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);

    for (unsigned n = 0; !stop; n++) {
        struct stamped **own = &mine[next_random(&seed) % 64];

        drop(*own);
        *own = make(&seed);
        if (n % 4 == 0)
            *own = __atomic_exchange_n(&slot[next_random(&seed) % SLOTS], *own, __ATOMIC_ACQ_REL);
        if (n % 512 == 0) {
            cpu_set_t one;

            CPU_ZERO(&one);
            CPU_SET((n / 512 + (unsigned)seed) % (unsigned)cpus, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
        if (n % 64 == 0)
            sched_yield();
    }
    for (int i = 0; i < 64; i++)
        drop(mine[i]);
    return NULL;
}

static void child(void)
{
    alarm(60);
    for (int i = 0; i < SLOTS; i++)
        drop(slot[i]);
    churn(7, 300);
    malloc_trim(0);
    _exit(0);
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    int rounds = in_full() ? 5000 : 300, status;
    pthread_t threads[THREADS];

    sigaction(SIGALRM, &action, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, trade, (void *)(i + 1)) == 0);
    for (int round = 0; round < rounds; round++) {
        pid_t pid;

        setitimer(ITIMER_REAL, &every, NULL);
        for (int i = 0; i < THREADS; i++)
            pthread_kill(threads[i], SIGALRM);
        if (round % 3 == 0)
            malloc_trim(0);
        churn((uint64_t)round, 200);
        if (round % 8)
            continue;
        setitimer(ITIMER_REAL, &never, NULL);
        pid = fork();
        if (pid == 0) {
            signal(SIGALRM, SIG_DFL);
            child();
        }
        NEED(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    stop = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        drop(slot[i]);
    printf("%d rounds\n", rounds);
    return 0;
}
