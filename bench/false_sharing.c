/* false_sharing.c: do blocks of two CPUs lie on one cache line or page? After cache-thrash and cache-scratch (Berger,
 * McKinley, Blumofe, Wilson 2000): threads, each pinned to a CPU, allocate small blocks at the same time and write them
 * often. Active: the allocator hands out neighbours to two CPUs by itself. Passive: each thread first frees blocks
 * that the main thread allocated side by side and passed on; an allocator that reuses them in place spreads one line
 * over the CPUs.
 *
 * usage: false_sharing active|passive [THREADS] [ROUNDS] [sharing]
 * `sharing` is the negative control: an allocator made to share, from one list for all threads.
 * prints: seconds of writing, cache lines and pages that two CPUs held blocks of at the same time, in all rounds */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 32, BYTES = 16, WRITES = 20000, MOST_THREADS = 64, LINE = 64, PAGE = 4096, SLOTS = 1 << 16 };

static int threads = 2, rounds = 200, cpus;
static int passive;
static pthread_barrier_t together;
static volatile char *block[MOST_THREADS][BLOCKS];
static void *passed[MOST_THREADS * BLOCKS];
static long shared_lines, shared_pages;
static double writing[MOST_THREADS];

/* -- the allocator that shares ------------------------------------------------------------------------------------- */

static struct cell {
    struct cell *next;
    char rest[BYTES - sizeof(struct cell *)];
} cells[SLOTS], *cell_free;
static size_t cells_used;
static pthread_mutex_t cell_lock = PTHREAD_MUTEX_INITIALIZER;

static void *sharing_malloc(size_t size)
{
    struct cell *cell;

    if (size > sizeof *cell)
        abort();
    pthread_mutex_lock(&cell_lock);
    cell = cell_free;
    if (cell)
        cell_free = cell->next;
    else if (cells_used < SLOTS)
        cell = &cells[cells_used++];
    pthread_mutex_unlock(&cell_lock);
    if (!cell)
        abort();
    sched_yield(); /* the next one is the other thread's */
    return cell;
}

static void sharing_free(void *p)
{
    struct cell *cell = p;

    pthread_mutex_lock(&cell_lock);
    cell->next = cell_free;
    cell_free = cell;
    pthread_mutex_unlock(&cell_lock);
}

static void *(*make)(size_t) = malloc;
static void (*drop)(void *) = free;

/* -- the work --------------------------------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct unit {
    uintptr_t number;
    int cpu;
};

static int compare(const void *a, const void *b)
{
    const struct unit *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* Units of so many bytes that blocks of two CPUs lie in now. */
static long count_shared(size_t bytes)
{
    static struct unit units[MOST_THREADS * BLOCKS];
    size_t count = 0;
    long shared = 0;

    for (int t = 0; t < threads; t++)
        for (int i = 0; i < BLOCKS; i++)
            units[count++] = (struct unit){(uintptr_t)block[t][i] / bytes, t % cpus};
    qsort(units, count, sizeof *units, compare);
    for (size_t from = 0, to; from < count; from = to) {
        int two = 0;

        for (to = from; to < count && units[to].number == units[from].number; to++)
            two |= units[to].cpu != units[from].cpu;
        shared += two;
    }
    return shared;
}

static void *work(void *arg)
{
    int me = (int)(intptr_t)arg;
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(me % cpus, &one);
    sched_setaffinity(0, sizeof one, &one);
    pthread_barrier_wait(&together);
    for (int i = 0; passive && i < BLOCKS; i++)
        drop(passed[i * threads + me]);
    for (int round = 0; round < rounds; round++) {
        double start;

        pthread_barrier_wait(&together);
        for (int i = 0; i < BLOCKS; i++)
            block[me][i] = make(BYTES);
        pthread_barrier_wait(&together);
        if (me == 0) {
            shared_lines += count_shared(LINE);
            shared_pages += count_shared(PAGE);
        }
        pthread_barrier_wait(&together);
        start = seconds();
        for (int n = 0; n < WRITES; n++)
            block[me][n % BLOCKS][n % BYTES]++;
        writing[me] += seconds() - start;
        pthread_barrier_wait(&together);
        for (int i = 0; i < BLOCKS; i++)
            drop((void *)block[me][i]);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread[MOST_THREADS];
    double longest = 0;

    if (argc < 2 || (strcmp(argv[1], "active") != 0 && strcmp(argv[1], "passive") != 0))
        return fprintf(stderr, "usage: false_sharing active|passive [THREADS] [ROUNDS] [sharing]\n"), 2;
    passive = argv[1][0] == 'p';
    if (argc > 2)
        threads = atoi(argv[2]);
    if (argc > 3)
        rounds = atoi(argv[3]);
    if (argc > 4 && strcmp(argv[4], "sharing") == 0) {
        make = sharing_malloc;
        drop = sharing_free;
    }
    if (threads < 1 || threads > MOST_THREADS)
        return 2;
    cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int i = 0; passive && i < threads * BLOCKS; i++)
        passed[i] = make(BYTES);
    pthread_barrier_init(&together, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i) != 0)
            return 1;
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        longest = writing[i] > longest ? writing[i] : longest;
    }
    printf("%.3f %ld %ld\n", longest, shared_lines, shared_pages);
    return 0;
}
