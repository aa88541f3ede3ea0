/* All threads hand blocks to all; contents are stamped and checked; threads come and go meanwhile. */
#include "common_stress.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 6, SLOTS = 5000 };

struct block {
    size_t size;
    unsigned char stamp;
};
static struct block *slot[SLOTS];

static void *trade(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 2654435761u + 1;

    for (int i = 0; i < 150000; i++) {
        size_t size = sizeof(struct block) + any_size(&seed) % 100000;
        struct block *mine = malloc(size), *theirs;

        NEED(mine);
        mine->size = size;
        mine->stamp = (unsigned char)next_random(&seed);
        ((unsigned char *)mine)[size - 1] = size > sizeof *mine ? mine->stamp : ((unsigned char *)mine)[size - 1];
        theirs = __atomic_exchange_n(&slot[next_random(&seed) % SLOTS], mine, __ATOMIC_ACQ_REL);
        if (theirs) {
            NEED(theirs->size <= sizeof *theirs || ((unsigned char *)theirs)[theirs->size - 1] == theirs->stamp);
            memset(theirs, 0, sizeof *theirs);
            free(theirs);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];

    alarm(250);
    for (uintptr_t generation = 0; generation < 4; generation++) {
        for (uintptr_t i = 0; i < THREADS; i++)
            NEED(pthread_create(&threads[i], NULL, trade, (void *)(generation * THREADS + i + 1)) == 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    puts("traded");
    return 0;
}
