/* A signal handler that interrupts malloc anywhere and forks and executes: neither process deadlocks. */
#include "common_stress.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t forked;

static void on_alarm(int signal)
{
    pid_t child;

    (void)signal;
    if (forked >= 300)
        return;
    child = fork();
    if (child == 0) {
        alarm(30);
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    if (child > 0)
        forked++;
}

static void *beside(void *arg)
{
    while (forked < 300)
        churn((uintptr_t)arg + (uint64_t)forked, 2000);
    return NULL;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 2000}, {0, 2000}};
    pthread_t thread;
    sigset_t profile;
    int status, bad = 0;

    alarm(200);
    sigemptyset(&profile);
    sigaddset(&profile, SIGVTALRM);
    pthread_sigmask(SIG_BLOCK, &profile, NULL); /* the other thread inherits the mask */
    NEED(pthread_create(&thread, NULL, beside, (void *)7) == 0);
    pthread_sigmask(SIG_UNBLOCK, &profile, NULL);
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &every, NULL);
    for (uint64_t seed = 1; forked < 300; seed++)
        churn(seed, 2000);
    pthread_join(thread, NULL);
    while (wait(&status) > 0)
        bad += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    printf("%d forks from a handler, %d ended badly\n", (int)forked, bad);
    return bad != 0;
}
