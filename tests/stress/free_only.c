/* A thread that only frees: what it frees becomes usable for the thread that allocates. */
#include "common_stress.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 20000, ROUNDS = 2000 };
static void *blocks[BATCH];

static void *free_all(void *arg)
{
    for (int i = 0; i < BATCH; i++)
        free(blocks[i]);
    return arg;
}

static pthread_barrier_t ready, done;

static void *free_for_ever(void *arg)
{
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&ready);
        free_all(NULL);
        pthread_barrier_wait(&done);
    }
    return arg;
}

int main(void)
{
    pthread_t thread;
    size_t early = 0;

    alarm(250);
    pthread_barrier_init(&ready, NULL, 2);
    pthread_barrier_init(&done, NULL, 2);
    NEED(pthread_create(&thread, NULL, free_for_ever, NULL) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BATCH; i++) {
            blocks[i] = malloc(200);
            NEED(blocks[i]);
            memset(blocks[i], round, 200);
        }
        pthread_barrier_wait(&ready);
        pthread_barrier_wait(&done);
        if (round <= ROUNDS / 10 && resident_bytes() > early)
            early = resident_bytes();
    }
    pthread_join(thread, NULL);
    printf("at most %zu KiB in the first tenth, %zu KiB at the end\n", early >> 10, resident_bytes() >> 10);
    NEED(resident_bytes() <= early + early / 4); /* of 8 GB that came and went; which CPU has how many of them varies */
    return 0;
}
