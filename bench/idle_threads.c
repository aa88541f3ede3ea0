/* idle_threads.c: many threads of which few work at a time, as in a server with a thread for each connection. Each
 * request allocates and frees blocks of a program's usual sizes and leaves some of them alive until the thread's next
 * one. `tokens` threads work at a time; each wakes a next one when it is done.
 *
 * usage: idle_threads [THREADS] [REQUESTS] [TOKENS]
 * prints: million mallocs a second, resident KiB with all threads idle in the end, of that KiB without any heap work */
#include "resident.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 400, KEPT = 16, MOST_THREADS = 20000 };

static sem_t wake[MOST_THREADS];
static int threads = 2000, tokens = 4;
static long requests = 40000;
static long served; /* atomic */
static pthread_barrier_t all_up;
static sem_t finished;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

static void *touch(uint64_t *seed)
{
    uint64_t r = next_random(seed);
    size_t size = r % 16 < 14 ? 8 + (r >> 8) % 248 : 8 + (r >> 8) % 4000;
    char *p = malloc(size);

    if (!p)
        abort();
    p[0] = p[size - 1] = 1;
    return p;
}

static void serve(uint64_t *seed, void **kept)
{
    void *block[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        block[i] = touch(seed);
    for (int i = 0; i < BLOCKS; i++) {
        if (i < KEPT) {
            free(kept[i]);
            kept[i] = block[i];
        } else {
            free(block[i]);
        }
    }
}

static void *work(void *arg)
{
    int me = (int)(intptr_t)arg;
    uint64_t seed = (uint64_t)me * 2 + 1;
    void *kept[KEPT] = {NULL};

    pthread_barrier_wait(&all_up);
    for (;;) {
        sem_wait(&wake[me]);
        if (__atomic_add_fetch(&served, 1, __ATOMIC_RELAXED) > requests) {
            sem_post(&finished); /* the token ends here; the thread stays idle, with its blocks */
            continue;
        }
        serve(&seed, kept);
        sem_post(&wake[(me + 7) % threads]); /* 7 and the number of threads should have no common divisor */
    }
    return NULL;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    static pthread_t thread[MOST_THREADS];
    pthread_attr_t attributes;
    double start, end;
    long before;

    if (argc > 1)
        threads = atoi(argv[1]);
    if (argc > 2)
        requests = atol(argv[2]);
    if (argc > 3)
        tokens = atoi(argv[3]);
    if (threads < tokens || threads > MOST_THREADS || tokens < 1)
        return 2;
    sem_init(&finished, 0, 0);
    pthread_barrier_init(&all_up, NULL, (unsigned)threads + 1);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (int i = 0; i < threads; i++) {
        sem_init(&wake[i], 0, 0);
        if (pthread_create(&thread[i], &attributes, work, (void *)(intptr_t)i) != 0)
            abort();
    }
    pthread_barrier_wait(&all_up);
    before = resident_kib();
    start = seconds();
    for (int i = 0; i < tokens; i++)
        sem_post(&wake[i * (threads / tokens)]);
    for (int i = 0; i < tokens; i++) /* every token ends in some thread */
        sem_wait(&finished);
    end = seconds();
    printf("%.2f %ld %ld\n", (double)requests * BLOCKS / (end - start) / 1e6, resident_kib(), before);
    fflush(stdout);
    _exit(0);
}
