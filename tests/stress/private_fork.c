/* Fork while threads are deep in private heaps, with and without their lock: in the child every heap is whole, what the main
 * thread holds is as it was, and old and new heaps work. */
// test: timeout=600
#include "common_stress.h"

#include <loam/heap.h>
#include <loam/loam.h>
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 3, HEAPS = 4, HELD = 300, FORKS = 60, BY_MAIN = 500, SIZE_MOST = 700 };

static struct loam_heap *heaps[HEAPS]; /* the first of all threads, the others of one each, all but the last below it */
static int stop;

static void *work(void *arg)
{
    struct loam_heap *own = heaps[(uintptr_t)arg];
    uint64_t seed = (uintptr_t)arg | 1;
    unsigned char *held[HELD] = {NULL};

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        size_t i = next_random(&seed) % HELD, size = 1 + next_random(&seed) % SIZE_MOST;

        if (held[i]) {
            NEED(held[i][0] == (unsigned char)i);
            loam_free(held[i]);
            held[i] = NULL;
        } else {
            held[i] = loam_heap_malloc(next_random(&seed) % 8 ? own : heaps[0], size);
            NEED(held[i]);
            held[i][0] = (unsigned char)i;
        }
    }
    for (int i = 0; i < HELD; i++)
        loam_free(held[i]);
    return NULL;
}

static void in_child(void *arg)
{
    unsigned char **mine = arg;
    pthread_t thread;

    alarm(60);
    for (int h = 0; h < HEAPS; h++) {
        NEED(loam_heap_check(heaps[h]) == 0);
        for (int i = 0; i < 2000; i++)
            NEED(loam_heap_malloc(heaps[h], 1 + (size_t)i % SIZE_MOST));
    }
    for (int i = 0; i < BY_MAIN; i++) {
        NEED(mine[i][0] == (unsigned char)i && loam_heap_of(mine[i]) == heaps[i % HEAPS]);
        loam_free(mine[i]);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    NEED(pthread_create(&thread, NULL, work, (void *)1) == 0);
    pthread_join(thread, NULL);
    for (int h = 0; h < HEAPS; h++)
        NEED(loam_heap_check(heaps[h]) == 0);
    loam_heap_destroy(heaps[0]);
    loam_heap_destroy(heaps[HEAPS - 1]);
    _exit(0);
}

int main(void)
{
    static unsigned char *mine[BY_MAIN];
    struct loam_heap_options options = {.struct_bytes = sizeof options, .quota_bytes = 64 << 20};
    pthread_t threads[THREADS];

    for (int h = 0; h < HEAPS; h++) {
        options.parent = h && h < HEAPS - 1 ? heaps[0] : NULL;
        heaps[h] = loam_heap_create(&options);
        NEED(heaps[h]);
    }
    for (int i = 0; i < BY_MAIN; i++) {
        mine[i] = loam_heap_malloc(heaps[i % HEAPS], 1 + (size_t)i);
        mine[i][0] = (unsigned char)i;
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    forks(in_full() ? FORKS * 10 : FORKS, in_child, mine);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int h = 0; h < HEAPS; h++)
        NEED(loam_heap_check(heaps[h]) == 0);
    loam_heap_destroy(heaps[HEAPS - 1]);
    loam_heap_destroy(heaps[0]);
    return 0;
}
