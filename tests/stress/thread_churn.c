/* Many short threads whose TLS destructors allocate, free and re-arm for four rounds: memory does not grow. */
// test: timeout=900
#include "common_stress.h"

#include <pthread.h>
#include <unistd.h>

enum { EARLY = 10000 }; /* threads: a tenth of the full form */

static pthread_key_t key;
static void *passed; /* a block of the last thread, freed by the next */

static void destructor(void *arg)
{
    char *p = malloc(100 + (uintptr_t)arg * 1000);

    free(malloc(50));
    NEED(p);
    p[0] = 1;
    free(p);
    if ((uintptr_t)arg < 4)
        pthread_setspecific(key, (void *)((uintptr_t)arg + 1));
}

static void *short_life(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 2 + 1;
    void *p[40];

    pthread_setspecific(key, (void *)1);
    for (int i = 0; i < 40; i++)
        NEED(p[i] = malloc(1 + next_random(&seed) % 3000));
    free(passed);
    passed = p[0];
    for (int i = 1; i < 40; i++)
        free(p[i]);
    return NULL;
}

int main(void)
{
    int threads = in_full() ? 100000 : 20000;
    size_t early = 0, late;

    alarm(800);
    NEED(pthread_key_create(&key, destructor) == 0);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;

        NEED(pthread_create(&thread, NULL, short_life, (void *)(uintptr_t)i) == 0);
        pthread_join(thread, NULL);
        /* memory that waits for its return makes the figure a saw: the early one is its top */
        if (i <= EARLY && i % 64 == 0 && resident_bytes() > early)
            early = resident_bytes();
    }
    late = resident_bytes();
    fprintf(stderr, "%d threads: %zu KiB at most in the first 10,000, %zu KiB at the end\n", threads, early >> 10,
        late >> 10);
    NEED(late <= early + early / 10);
    return 0;
}
