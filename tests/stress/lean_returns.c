// test: own
/* Policy lean: after a peak every OS page that holds no live block goes back, without a further call of the program's,
 * whatever thread made the blocks and however idle it is. mincore() says which pages are there; how long it takes is
 * printed, and bounded only by the patience of the test. */
#include "common_stress.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const char *loam_conf = "policy:lean";

enum { THREADS = 3, BLOCKS = 60000, PATIENCE_MS = 20000 };
enum {
    LIBCS_OWN = 8
}; /* pages that may hold blocks of the C library's, such as each thread's dtv, unknown to the test */

struct block {
    char *start;
    size_t bytes;
    int live;
};

/* Not in the heap that is looked at. */
static struct block *blocks;
static sem_t made, leave;

static size_t size_of(uint64_t *seed)
{
    uint64_t r = next_random(seed);

    return r % 1000 == 0 ? 20000 + (r >> 20) % 400000 : r % 10 == 0 ? 1 + (r >> 20) % 9000 : 1 + (r >> 20) % 500;
}

/* Makes a third of the blocks and is idle. */
static void *peak(void *arg)
{
    uintptr_t self = (uintptr_t)arg;
    uint64_t seed = self * 77 + 5;

    for (size_t i = self; i < BLOCKS; i += THREADS) {
        blocks[i].start = malloc(size_of(&seed));
        NEED(blocks[i].start);
        blocks[i].bytes = malloc_usable_size(blocks[i].start);
        memset(blocks[i].start, 1, blocks[i].bytes);
    }
    sem_post(&made);
    sem_wait(&leave);
    return NULL;
}

/* Pages that some block lay on and no live one does, and which are still there; the blocks sorted by address. */
static size_t pages_left(size_t page)
{
    static unsigned char present[1 << 12];
    uintptr_t counted = 0;
    size_t left = 0;

    for (size_t i = 0; i < BLOCKS; i++) {
        uintptr_t from = (uintptr_t)blocks[i].start & ~(page - 1);
        uintptr_t to = ((uintptr_t)blocks[i].start + blocks[i].bytes + page - 1) & ~(page - 1);

        if (blocks[i].live || !blocks[i].bytes)
            continue;
        NEED((to - from) / page <= sizeof present);
        if (mincore((void *)from, to - from, present) != 0)
            continue; /* not even mapped any more */
        for (uintptr_t at = from; at < to; at += page)
            if (at > counted && present[(at - from) / page] & 1) {
                counted = at;
                left++;
            }
    }
    return left;
}

static int by_start(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

/* Cuts from the freed blocks what shares a page with a live one; sorted by address. */
static void spare_shared_pages(size_t page)
{
    uintptr_t live_end = 0;

    for (size_t i = 0; i < BLOCKS; i++) {
        uintptr_t start = (uintptr_t)blocks[i].start, end = start + blocks[i].bytes;

        if (blocks[i].live) {
            live_end = (end + page - 1) & ~(page - 1);
            for (size_t k = i; k-- > 0 && (uintptr_t)blocks[k].start + blocks[k].bytes > (start & ~(page - 1));)
                if (!blocks[k].live) {
                    uintptr_t limit = start & ~(page - 1);

                    blocks[k].bytes = limit > (uintptr_t)blocks[k].start ? limit - (uintptr_t)blocks[k].start : 0;
                }
        } else if (start < live_end) {
            uintptr_t from = live_end < end ? live_end : end;

            blocks[i].bytes = end - from;
            blocks[i].start = (char *)from;
        }
    }
}

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), left, freed = 0;
    pthread_t threads[THREADS];
    long start;

    blocks = mmap(NULL, BLOCKS * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(blocks != MAP_FAILED);
    sem_init(&made, 0, 0);
    sem_init(&leave, 0, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, peak, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        sem_wait(&made);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i].live = i % 16 == 3;
        if (!blocks[i].live) {
            free(blocks[i].start);
            freed += blocks[i].bytes;
        }
    }
    start = now_ms();
    qsort(blocks, BLOCKS, sizeof *blocks, by_start); /* glibc's: in place or by malloc, either way before the polling */
    spare_shared_pages(page);
    while ((left = pages_left(page)) > LIBCS_OWN && now_ms() - start < PATIENCE_MS)
        usleep(20000);
    printf(
        "%zu KiB freed; %zu pages without a live block are left after %ld ms\n", freed >> 10, left, now_ms() - start);
    fflush(stdout);
    NEED(left <= LIBCS_OWN);
    for (int i = 0; i < THREADS; i++)
        sem_post(&leave);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
