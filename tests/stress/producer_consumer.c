/* A producer and a consumer that only frees: resident memory stays near what is live. */
// test: timeout=900
#include "common_stress.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1 << 14, SLACK = 6 << 20 /* stacks, and one slab a class */ };

static void *ring[RING];
static size_t put_count, taken_count, live_bytes, live_peak;
static volatile bool stop;

static void *consume(void *arg)
{
    for (;;) {
        size_t i = __atomic_load_n(&taken_count, __ATOMIC_RELAXED);

        while (__atomic_load_n(&put_count, __ATOMIC_ACQUIRE) == i) {
            if (stop)
                return arg;
            sched_yield();
        }
        size_t *p = ring[i % RING];

        __atomic_fetch_sub(&live_bytes, *p, __ATOMIC_RELAXED);
        free(p);
        __atomic_store_n(&taken_count, i + 1, __ATOMIC_RELEASE);
    }
}

int main(void)
{
    time_t end = time(NULL) + (in_full() ? 300 : 6);
    uint64_t seed = 99;
    pthread_t consumer;
    size_t before = resident_bytes(), worst = 0; /* a policy may have a reserve */

    alarm(800);
    NEED(pthread_create(&consumer, NULL, consume, NULL) == 0);
    for (size_t i = 0; i % 1024 || time(NULL) < end; i++) {
        size_t size = 16 + next_random(&seed) % 2000, live;

        while (i - __atomic_load_n(&taken_count, __ATOMIC_ACQUIRE) == RING)
            sched_yield();
        ring[i % RING] = malloc(size);
        NEED(ring[i % RING]);
        memset(ring[i % RING], 1, size);
        *(size_t *)ring[i % RING] = size;
        live = __atomic_add_fetch(&live_bytes, size, __ATOMIC_RELAXED);
        live_peak = live > live_peak ? live : live_peak;
        __atomic_store_n(&put_count, i + 1, __ATOMIC_RELEASE);
        if (i % 65536 == 0 && resident_bytes() > worst)
            worst = resident_bytes();
    }
    stop = true;
    pthread_join(consumer, NULL);
    printf("%zu blocks, at most %zu KiB live, at most %zu KiB resident\n", put_count, live_peak >> 10, worst >> 10);
    NEED(worst <= before + at_the_price(live_peak + live_peak * 3 / 10 + SLACK));
    return 0;
}
