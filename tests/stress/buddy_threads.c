/* Threads on one buddy with a lock: no unit is ever two threads' at once, and everything merges again. */
#include "common_stress.h"

#include <loam/buddy.h>
#include <pthread.h>

enum { THREADS = 4, UNITS = 4096, HELD = 40 };

static struct loam_buddy *buddy;
static int owner[UNITS]; /* atomic: the thread whose unit it is, 0 for none */
static int steps;

/* Hands units over in the map; they must have been `from`'s. */
static void pass(uintptr_t at, size_t bytes, int from, int to)
{
    for (size_t i = 0; i < bytes; i++) {
        int was = from; /* pairs with itself in another thread: whoever had the unit has let it go */

        NEED(__atomic_compare_exchange_n(&owner[at + i], &was, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    }
}

static void *work(void *arg)
{
    int me = (int)(size_t)arg;
    uint64_t seed = (uint64_t)me * 2 + 1;
    uintptr_t at[HELD];
    size_t bytes[HELD] = {0};

    for (int i = 0; i < steps; i++) {
        size_t k = next_random(&seed) % HELD, size = 1 + next_random(&seed) % 60;

        if (bytes[k]) {
            pass(at[k], bytes[k], me, 0);
            NEED(loam_buddy_free(buddy, at[k]) == 0);
            bytes[k] = 0;
        } else if ((at[k] = loam_buddy_alloc(buddy, size)) != LOAM_BUDDY_NONE) {
            bytes[k] = size;
            pass(at[k], size, 0, me);
        }
        if (i % 5000 == 0)
            NEED(loam_buddy_check(buddy) == 0);
    }
    for (int k = 0; k < HELD; k++)
        if (bytes[k]) {
            pass(at[k], bytes[k], me, 0);
            NEED(loam_buddy_free(buddy, at[k]) == 0);
        }
    return NULL;
}

int main(void)
{
    struct loam_buddy_options options = {.struct_bytes = sizeof options, .bytes = UNITS, .min_block = 1, .locked = 1};
    struct loam_buddy_figures figures = {.struct_bytes = sizeof figures};
    pthread_t threads[THREADS];

    steps = in_full() ? 2000000 : 100000;
    buddy = loam_buddy_create(&options);
    NEED(buddy);
    for (size_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    NEED(loam_buddy_check(buddy) == 0);
    NEED(loam_buddy_figures(buddy, &figures) == 0);
    NEED(figures.live_ranges == 0 && figures.largest_free_bytes == UNITS);
    return 0;
}
