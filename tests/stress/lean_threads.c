// test: own
/* The first thing that a process frees may be freed by the C library under a lock that making a thread needs: the thread
 * descriptors' memory that joins leave over when more than 40 MiB of stacks are cached. The scavenger must not be made
 * there, and still be made. */
#include "common_stress.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *loam_conf = "policy:lean,scavenge_ms:20";

enum { THREADS = 12, BLOCKS = 20000, BYTES = 1000 };

static void *wait_for(void *barrier)
{
    pthread_barrier_wait(barrier);
    return NULL;
}

static int tasks(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = -2; /* . and .. */

    NEED(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    static void *blocks[BLOCKS];
    size_t full;

    alarm(60);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, wait_for, &barrier) == 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    for (int i = 0; i < BLOCKS; i++) {
        NEED(blocks[i] = malloc(BYTES));
        memset(blocks[i], i, BYTES);
    }
    full = resident_bytes();
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    /* as long as it takes, without a call to the heap that would return memory by itself */
    while (resident_bytes() + (size_t)BLOCKS * BYTES * 9 / 10 > full)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    NEED(tasks() == 2);
    puts("returned");
    return 0;
}
