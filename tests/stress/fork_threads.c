/* fork, vfork and posix_spawn from a process with eight allocating threads; each child allocates, frees what it
 * inherited, and exits. */
// test: timeout=3600
#include "common_stress.h"

#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static volatile bool stop;
static void *inherited;    /* a huge block */
static void *shared[1024]; /* blocks of all threads, freed by the children */
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static void *hammer(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;

    while (!stop) {
        churn(next_random(&seed), 500);
        int i = (int)(next_random(&seed) % 1024);
        void *fresh = malloc(any_size(&seed)), *old;

        pthread_mutex_lock(&shared_lock);
        old = shared[i];
        shared[i] = fresh;
        pthread_mutex_unlock(&shared_lock);
        free(old);   /* mostly another thread's */
        usleep(500); /* or eight of these leave the forks no processor */
    }
    return NULL;
}

static void child_works(uint64_t seed)
{
    for (int i = 0; i < 1024; i += 3) {
        free(shared[i]);
        shared[i] = NULL;
    }
    churn(seed, 300);
    free(inherited);
    inherited = malloc(40 << 20);
    NEED(inherited);
    free(inherited);
    pthread_t thread;
    if (seed % 8 == 0 && pthread_create(&thread, NULL, hammer, (void *)(uintptr_t)seed) == 0) {
        stop = true;
        pthread_join(thread, NULL);
    }
}

int main(void)
{
    int rounds = in_full() ? 10000 : 400;
    pthread_t threads[8];

    /* little memory, for each fork makes all of it be copied on write; one huge block of it */
    any_size_is_huge = false;
    inherited = malloc(40 << 20);
    NEED(inherited);
    for (uintptr_t i = 0; i < 8; i++)
        NEED(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)) == 0);
    for (int round = 0; round < rounds; round++) {
        int status;
        pid_t child;

        alarm(120); /* a hang, not a slow machine */
        if (round % 10 == 9) {
            char *argv[] = {"true", NULL};

            NEED(posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) == 0);
        } else if (round % 10 == 8) {
            child = vfork();
            if (child == 0)
                _exit(0);
        } else {
            pthread_mutex_lock(&shared_lock); /* so that the child may read `shared` */
            child = fork();
            if (child == 0) {
                pthread_mutex_init(&shared_lock, NULL);
                alarm(60);
                child_works((uint64_t)round);
                _exit(0);
            }
            pthread_mutex_unlock(&shared_lock);
        }
        NEED(child > 0 && waitpid(child, &status, 0) == child);
        NEED(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    stop = true;
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    printf("%d forks\n", rounds);
    return 0;
}
