/* A process that is single, becomes many-threaded in the middle of its work, and goes on: the plain steps of before and
 * the atomic ones of after must add up. Each round is a child, for a process is single only once. */
#include "common_stress.h"

#include <loam/loam.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 4000, THREADS = 3 };

static void *volatile shared[BLOCKS];

/* Frees what the first thread made, and makes what it will free. */
static void *others(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 2 + 1;

    for (int i = 0; i < 40 * BLOCKS; i++) {
        uint64_t r = next_random(&seed);
        void *mine = r % 64 ? malloc(16 + r % 600) : malloc(any_size(&seed));
        void *theirs;

        NEED(mine);
        theirs = __atomic_exchange_n(&shared[(r >> 20) % BLOCKS], mine, __ATOMIC_ACQ_REL);
        free(theirs);
    }
    return NULL;
}

static void round_of(uint64_t seed)
{
    pthread_t threads[THREADS];
    struct loam_stats stats = {.struct_bytes = sizeof stats};

    for (int i = 0; i < BLOCKS; i++)
        shared[i] = malloc(16 + next_random(&seed) % 600);
    churn(seed, 3000);
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, others, (void *)(seed + i)) == 0);
    others((void *)(seed + THREADS));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < BLOCKS; i++)
        free(shared[i]);
    churn(seed, 3000);
    malloc_trim(0);
    NEED(loam_stats(&stats) == 0);
    NEED(stats.live_small_bytes < 1 << 20); /* nothing was lost on the way between threads */
}

int main(void)
{
    int rounds = in_full() ? 200 : 20;
    const char *given = getenv("LOAM_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 2654435761u;

    printf("seed: LOAM_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (int i = 0; i < rounds; i++) {
        int status;
        pid_t child = fork();

        if (child == 0) {
            round_of(seed + (uint64_t)i);
            _exit(0);
        }
        NEED(waitpid(child, &status, 0) == child && status == 0);
    }
    return 0;
}
