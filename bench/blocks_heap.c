/* blocks_heap.c: requests on private heaps: against mimalloc's heaps, and against malloc that frees block by block.
 *
 *   bench-blocks_heap [--rounds N] [--scale N] [--seed N] [--only CONTENDER] [--blocks N] [mimalloc=LIBRARY.so]
 *
 * A request allocates some blocks of mixed sizes (four fifths of 16 to 256 bytes, most others to 2 KiB, one in a
 * hundred to 16 KiB), writes the first and the last word of each, frees one in four on the way, resizes none, and ends:
 * a heap of its own is destroyed or reset, malloc's blocks are freed one by one, in the order in which they were made.
 * Each thread has its own requests. All contenders see the same sizes, in turns that begin with another one each round;
 * the first round does not count. Printed are the median and the least nanoseconds a block allocated, the end included. */
#include <dlfcn.h>
#include <loam/heap.h>
#include <loam/loam.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_BLOCKS = 3000, SIZES = 1 << 14, MOST_ROUNDS = 101, THREADS = 2, BLOCKS_A_RUN = 300000 };

/* make may return NULL for those without heaps; end is told what is live. */
struct contender {
    const char *name;
    void *(*make)(void);
    void *(*take)(void *heap, size_t size);
    void (*give)(void *p);
    void (*end)(void *heap, void **live, size_t count);
    void (*unmake)(void *heap);
    int keeps; /* one heap for all of a thread's requests */
};

static uint32_t sizes[SIZES];
static uint8_t dies[SIZES]; /* 1: an older block is freed after this one */
static int rounds = 9, scale = 1;
static size_t blocks_a_request;
static const char *only_contender; /* for profilers */
static size_t only_blocks;
static void *(*mi_new)(void);
static void *(*mi_take)(void *heap, size_t size);
static void (*mi_give)(void *p);
static void (*mi_destroy)(void *heap);

/* -- contenders ---------------------------------------------------------------------------------------------------- */

static void *make_none(void)
{
    return NULL;
}

static void unmake_none(void *heap)
{
    (void)heap;
}

static void *libc_take(void *heap, size_t size)
{
    (void)heap;
    return malloc(size);
}

static void libc_end(void *heap, void **live, size_t count)
{
    (void)heap;
    for (size_t i = 0; i < count; i++)
        free(live[i]);
}

static void *loam_take(void *heap, size_t size)
{
    (void)heap;
    return loam_malloc(size);
}

static void loam_end(void *heap, void **live, size_t count)
{
    (void)heap;
    for (size_t i = 0; i < count; i++)
        loam_free(live[i]);
}

static void *heap_make(void)
{
    return loam_heap_create(NULL);
}

static void *heap_make_single(void)
{
    struct loam_heap_options options = {.struct_bytes = sizeof options, .policy = LOAM_HEAP_SINGLE};

    return loam_heap_create(&options);
}

static void *heap_take(void *heap, size_t size)
{
    return loam_heap_malloc(heap, size);
}

static void heap_drop(void *heap, void **live, size_t count)
{
    (void)live;
    (void)count;
    loam_heap_destroy(heap);
}

static void heap_empty(void *heap, void **live, size_t count)
{
    (void)live;
    (void)count;
    loam_heap_reset(heap);
}

static void heap_unmake(void *heap)
{
    loam_heap_destroy(heap);
}

static void *mimalloc_make(void)
{
    return mi_new();
}

static void *mimalloc_take(void *heap, size_t size)
{
    return mi_take(heap, size);
}

static void mimalloc_give(void *p)
{
    mi_give(p);
}

static void mimalloc_drop(void *heap, void **live, size_t count)
{
    (void)live;
    (void)count;
    mi_destroy(heap);
}

static struct contender contenders[] = {
    {"glibc malloc", make_none, libc_take, free, libc_end, unmake_none, 1},
    {"loam_malloc", make_none, loam_take, loam_free, loam_end, unmake_none, 1},
    {"loam_heap, destroyed", heap_make, heap_take, loam_free, heap_drop, unmake_none, 0},
    {"loam_heap, reset", heap_make, heap_take, loam_free, heap_empty, heap_unmake, 1},
    {"loam_heap single, reset", heap_make_single, heap_take, loam_free, heap_empty, heap_unmake, 1},
    {"mi_heap, destroyed", mimalloc_make, mimalloc_take, mimalloc_give, mimalloc_drop, unmake_none, 0},
};
enum { CONTENDERS = sizeof contenders / sizeof contenders[0] };

/* -- requests ------------------------------------------------------------------------------------------------------ */

static void must(const void *p, const char *what)
{
    if (!p) {
        fprintf(stderr, "blocks_heap: %s: no memory\n", what);
        exit(1);
    }
}

static void serve(const struct contender *contender, void *heap, size_t at, void **live)
{
    size_t count = 0;

    for (size_t i = 0; i < blocks_a_request; i++, at++) {
        size_t size = sizes[at % SIZES];
        char *p = contender->take(heap, size);

        must(p, contender->name);
        memcpy(p, &at, sizeof at);
        memcpy(p + size - sizeof at, &at, sizeof at);
        live[count++] = p;
        if (dies[at % SIZES]) {
            size_t old = at * 2654435761u % count;

            contender->give(live[old]);
            live[old] = live[--count];
        }
    }
    contender->end(heap, live, count);
}

struct job {
    const struct contender *contender;
    pthread_barrier_t *start;
    double ns;
};

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void *run(void *arg)
{
    struct job *job = arg;
    const struct contender *contender = job->contender;
    size_t requests = (size_t)scale * BLOCKS_A_RUN / blocks_a_request;
    void *live[MOST_BLOCKS], *heap = contender->keeps ? contender->make() : NULL;
    double from = 0;

    for (size_t i = 0; i < requests + requests / 10; i++) {
        if (i == requests / 10) { /* those before warm up */
            pthread_barrier_wait(job->start);
            from = now_ns();
        }
        if (!contender->keeps) {
            heap = contender->make();
            must(heap, contender->name);
        }
        serve(contender, heap, i * blocks_a_request, live);
    }
    job->ns = (now_ns() - from) / (double)(requests * blocks_a_request);
    contender->unmake(heap);
    return NULL;
}

static double measure(const struct contender *contender, unsigned threads)
{
    struct job jobs[THREADS];
    pthread_t thread[THREADS];
    pthread_barrier_t start;
    double sum = 0;

    pthread_barrier_init(&start, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct job){contender, &start, 0};
        if (pthread_create(&thread[i], NULL, run, &jobs[i]) != 0)
            exit(1);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        sum += jobs[i].ns;
    }
    pthread_barrier_destroy(&start);
    return sum / threads;
}

/* -- the race ------------------------------------------------------------------------------------------------------ */

static void make_sizes(uint64_t seed)
{
    seed = seed * 2 + 1;
    for (int i = 0; i < SIZES; i++) {
        uint64_t r;

        seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27; /* xorshift64* */
        r = seed * 2685821657736338717u >> 16;
        dies[i] = r % 4 == 0;
        r /= 4;
        sizes[i] = (uint32_t)(r % 100 < 80 ? 16 + r / 100 % 241
                : r % 100 < 99             ? 16 + r / 100 % 2033
                                           : 16 + r / 100 % 16369);
    }
}

static int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static int is_present(const struct contender *contender)
{
    return (contender->make != mimalloc_make || mi_new) &&
        (!only_contender || strcmp(only_contender, contender->name) == 0);
}

static void race(size_t blocks, unsigned threads)
{
    static double ns[CONTENDERS][MOST_ROUNDS];

    blocks_a_request = blocks;
    for (int round = -1; round < rounds; round++)
        for (int k = 0; k < CONTENDERS; k++) {
            int c = (k + round + 1) % CONTENDERS;
            double found = is_present(&contenders[c]) ? measure(&contenders[c], threads) : 0;

            if (round >= 0)
                ns[c][round] = found;
        }
    printf("| %zu, %u |", blocks, threads);
    for (int c = 0; c < CONTENDERS; c++) {
        qsort(ns[c], (size_t)rounds, sizeof ns[c][0], by_value);
        if (ns[c][0] > 0)
            printf(" %.1f (%.1f) |", ns[c][rounds / 2], ns[c][0]);
        else
            printf(" |");
    }
    printf("\n");
    fflush(stdout);
}

static void open_mimalloc(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (library) {
        *(void **)&mi_new = dlsym(library, "mi_heap_new");
        *(void **)&mi_take = dlsym(library, "mi_heap_malloc");
        *(void **)&mi_give = dlsym(library, "mi_free");
        *(void **)&mi_destroy = dlsym(library, "mi_heap_destroy");
    }
    if (!mi_new || !mi_take || !mi_give || !mi_destroy) {
        fprintf(stderr, "blocks_heap: %s: %s\n", path, library ? "a function is missing" : dlerror());
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const size_t blocks[] = {30, 300, MOST_BLOCKS};
    uint64_t seed = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = atoi(argv[++i]);
        else if (strcmp(argv[i], "--scale") == 0 && i + 1 < argc)
            scale = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only_contender = argv[++i];
        else if (strcmp(argv[i], "--blocks") == 0 && i + 1 < argc)
            only_blocks = strtoull(argv[++i], NULL, 0);
        else if (strncmp(argv[i], "mimalloc=", 9) == 0)
            open_mimalloc(argv[i] + 9);
        else
            return fprintf(stderr, "blocks_heap: %s: see the head of bench/blocks_heap.c\n", argv[i]), 2;
    }
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    scale = scale < 1 ? 1 : scale;
    make_sizes(seed);
    printf("| blocks a request, threads |");
    for (int c = 0; c < CONTENDERS; c++)
        printf(" %s |", contenders[c].name);
    printf("\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        for (unsigned threads = 1; threads <= THREADS && (!only_blocks || only_blocks == blocks[i]); threads++)
            race(blocks[i], threads);
    return 0;
}
