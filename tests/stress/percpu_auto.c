/* cache:auto while the number of threads rises and falls through the limits: threads with heaps of their own, threads
 * served by CPUs and threads that move between the two hand blocks to each other; in the end nothing is left. */
// test: timeout=600 own
#include "common_stress.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *loam_conf = "cache:auto,cache_threads:2";

enum { WAVES = 12, MOST = 24, SLOTS = 256 };
static void *slot[SLOTS]; /* atomic */

static void *wave(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;

    for (int n = 0; n < 2000; n++) {
        size_t size = 16 + next_random(&seed) % 2000;
        size_t *p = malloc(size), *old;

        NEED(p);
        memset(p, 0x5a, size);
        *p = size;
        old = __atomic_exchange_n(&slot[next_random(&seed) % SLOTS], p, __ATOMIC_ACQ_REL);
        if (old) {
            NEED(*old <= malloc_usable_size(old) && ((char *)old)[*old - 1] == (*old > 16 ? 0x5a : ((char *)old)[15]));
            free(old);
        }
    }
    churn(seed, 300);
    return NULL;
}

int main(void)
{
    pthread_t threads[MOST];
    int waves = in_full() ? WAVES * 20 : WAVES, status;

    for (int w = 0; w < waves; w++) {
        int count = w % 3 == 2 ? 3 : MOST;

        for (uintptr_t i = 0; i < (uintptr_t)count; i++)
            NEED(pthread_create(&threads[i], NULL, wave, (void *)(i + 1 + (uintptr_t)w * MOST)) == 0);
        if (w % 2) {
            pid_t pid = fork();

            if (pid == 0) {
                alarm(60);
                wave((void *)(uintptr_t)w);
                _exit(0);
            }
            NEED(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
        }
        for (int i = 0; i < count; i++)
            pthread_join(threads[i], NULL);
        malloc_trim(0);
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    malloc_trim(0);
    NEED(resident_bytes() < 12u << 20);
    printf("%d waves, %zu KiB resident\n", waves, resident_bytes() >> 10);
    return 0;
}
