/* The object cache raced: against glibc's malloc, loam's, and whatever libumem and libmimalloc are named.
 *
 *   bench-blocks_cache [--rounds N] [umem=LIBRARY] [mimalloc=LIBRARY]
 *                                                              the table: median (least) of interleaved rounds, ns an alloc
 *                                                              and free
 *   bench-blocks_cache colour                                  the same field of many objects, colouring on and off
 *   bench-blocks_cache count CONTENDER PAIRS                   one contender alone, to count instructions (valgrind)
 *
 * A session of 128 bytes is constructed (a mutex, two list heads, a name) or not; malloc and mimalloc construct after
 * each alloc, caches when a slab is made. Traffic: "pair" frees at once; "set" replaces one of 1,000 at random; "burst"
 * allocates 500 and frees them in the same order; "trade" has one thread allocate what another frees. */
#include <loam/cache.h>
#include <loam/loam.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 128, MOST_ROUNDS = 101, SET = 1000, BURST = 500, RING = 1024 };
enum kind { GLIBC, LOAM, MIMALLOC, UMEM, CACHE, CACHE_CPU, CACHE_NOBODY, CACHE_INLINE, KINDS };
enum traffic { PAIR, SETS, BURSTS, TRAFFICS };

static const char *const kind_names[KINDS] = {"glibc malloc", "loam_malloc", "mi_heap_malloc", "umem_cache",
    "loam_cache", "loam_cache by CPU", "loam_cache by nobody", "loam_cache inline"};
static const char *const traffic_names[] = {"pair", "set", "burst", "trade"};

struct session {
    pthread_mutex_t lock;
    struct session *next, *prev, *first_child, *last_child;
    char name[SIZE - sizeof(pthread_mutex_t) - 4 * sizeof(void *)];
};

static int rounds = 9;
static struct loam_cache *cache[3][2]; /* by layer; with a constructor or not */
static void *umem[2];
static void *(*umem_create)(const char *, size_t, size_t, int (*)(void *, void *, int), void (*)(void *, void *),
    void (*)(void *), void *, void *, int);
static void *(*umem_alloc)(void *, int);
static void (*umem_free)(void *, void *);
static void *(*mi_new)(void);
static void *(*mi_malloc)(void *, size_t);
static void (*mi_free)(void *);
static void (*mi_delete)(void *);
static __thread void *mi_heap;

static int construct(void *p, void *arg)
{
    struct session *s = p;

    (void)arg;
    pthread_mutex_init(&s->lock, NULL);
    s->next = s->prev = s;
    s->first_child = s->last_child = NULL;
    memset(s->name, 0, sizeof s->name);
    return 0;
}

static int construct_umem(void *p, void *arg, int flags)
{
    (void)flags;
    return construct(p, arg);
}

/* Keeps the compiler from dropping what nobody reads. */
static inline void use(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static inline __attribute__((always_inline)) void *take(enum kind kind, int built)
{
    void *p;

    switch (kind) {
    case GLIBC:
        p = malloc(SIZE);
        break;
    case LOAM:
        p = loam_malloc(SIZE);
        break;
    case MIMALLOC:
        p = mi_malloc(mi_heap, SIZE);
        break;
    case UMEM:
        return umem_alloc(umem[built], 0);
    case CACHE_INLINE:
        return loam_cache_alloc_inline(cache[0][built]);
    default:
        return loam_cache_alloc(cache[kind - CACHE][built]);
    }
    if (built)
        construct(p, NULL);
    return p;
}

static inline __attribute__((always_inline)) void give(enum kind kind, int built, void *p)
{
    switch (kind) {
    case GLIBC:
        free(p);
        break;
    case LOAM:
        loam_free(p);
        break;
    case MIMALLOC:
        mi_free(p);
        break;
    case UMEM:
        umem_free(umem[built], p);
        break;
    case CACHE_INLINE:
        loam_cache_free_inline(cache[0][built], p);
        break;
    default:
        loam_cache_free(cache[kind - CACHE][built], p);
        break;
    }
}

static inline __attribute__((always_inline)) void work(enum kind kind, int built, enum traffic traffic, size_t pairs)
{
    void *held[SET] = {NULL};
    unsigned long seed = 88172645463325252u;

    if (traffic == PAIR)
        for (size_t i = 0; i < pairs; i++) {
            void *p = take(kind, built);

            use(p);
            give(kind, built, p);
        }
    for (size_t i = 0; traffic == SETS && i < pairs; i++) {
        void **p;

        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        p = &held[(seed >> 20) % SET];
        if (*p)
            give(kind, built, *p);
        *p = take(kind, built);
        ((struct session *)*p)->first_child = *p;
    }
    for (int i = 0; traffic == SETS && i < SET; i++)
        if (held[i])
            give(kind, built, held[i]);
    for (size_t i = 0; traffic == BURSTS && i < pairs; i += BURST) {
        for (int j = 0; j < BURST; j++) {
            held[j] = take(kind, built);
            ((struct session *)held[j])->first_child = held[j];
        }
        for (int j = 0; j < BURST; j++)
            give(kind, built, held[j]);
    }
}

#define EACH(k) \
    case k: \
        work(k, built, traffic, pairs); \
        break

/* Each contender's loop apart, so that its calls are direct ones. */
static inline __attribute__((always_inline)) void work_each(
    enum kind kind, int built, enum traffic traffic, size_t pairs)
{
    switch (kind) {
        EACH(GLIBC);
        EACH(LOAM);
        EACH(MIMALLOC);
        EACH(UMEM);
        EACH(CACHE);
        EACH(CACHE_CPU);
        EACH(CACHE_NOBODY);
        EACH(CACHE_INLINE);
    case KINDS:
        break;
    }
}

static __attribute__((noinline)) void work_built(enum kind kind, enum traffic traffic, size_t pairs)
{
    work_each(kind, 1, traffic, pairs);
}

static __attribute__((noinline)) void work_bare(enum kind kind, enum traffic traffic, size_t pairs)
{
    work_each(kind, 0, traffic, pairs);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct job {
    enum kind kind;
    enum traffic traffic;
    int built;
    size_t pairs;
    pthread_barrier_t *start;
    double ns;
};

static void *run_job(void *arg)
{
    struct job *job = arg;
    double from;

    if (mi_new && job->kind == MIMALLOC)
        mi_heap = mi_new();
    (job->built ? work_built : work_bare)(job->kind, job->traffic, job->pairs / 10);
    if (job->start)
        pthread_barrier_wait(job->start);
    from = now();
    (job->built ? work_built : work_bare)(job->kind, job->traffic, job->pairs);
    job->ns = (now() - from) / (double)job->pairs;
    if (mi_new && job->kind == MIMALLOC)
        mi_delete(mi_heap);
    return NULL;
}

static void *ring[RING];
static size_t ring_put, ring_taken;

static void *run_consumer(void *arg)
{
    struct job *job = arg;

    for (size_t i = 0; i < job->pairs; i++) {
        while (__atomic_load_n(&ring_put, __ATOMIC_ACQUIRE) == i)
            sched_yield();
        give(job->kind, job->built, ring[i % RING]); /* not specialised: a switch more for each contender alike */
        __atomic_store_n(&ring_taken, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static double trade(enum kind kind, int built, size_t pairs)
{
    struct job job = {.kind = kind, .built = built, .pairs = pairs};
    pthread_t consumer;
    double from = now();

    ring_put = ring_taken = 0;
    if (kind == MIMALLOC)
        mi_heap = mi_new();
    pthread_create(&consumer, NULL, run_consumer, &job);
    for (size_t i = 0; i < pairs; i++) {
        while (i - __atomic_load_n(&ring_taken, __ATOMIC_ACQUIRE) == RING)
            sched_yield();
        ring[i % RING] = take(kind, built);
        __atomic_store_n(&ring_put, i + 1, __ATOMIC_RELEASE);
    }
    pthread_join(consumer, NULL);
    from = (now() - from) / (double)pairs;
    if (kind == MIMALLOC)
        mi_delete(mi_heap);
    return from;
}

static double measure(enum kind kind, int built, int traffic, int threads)
{
    pthread_barrier_t start;
    struct job job[2];
    pthread_t thread[2];

    if (traffic == TRAFFICS)
        return trade(kind, built, 200000);
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        job[i] = (struct job){kind, (enum traffic)traffic, built, 400000, &start, 0};
        pthread_create(&thread[i], NULL, run_job, &job[i]);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&start);
    return threads == 2 ? (job[0].ns + job[1].ns) / 2 : job[0].ns;
}

static int compare(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static int present(enum kind kind)
{
    return (kind != MIMALLOC || mi_malloc) && (kind != UMEM || umem_alloc);
}

static void race(int built, int traffic, int threads)
{
    static double ns[KINDS][MOST_ROUNDS];

    for (int r = 0; r < rounds; r++)
        for (int k = 0; k < KINDS; k++) {
            enum kind kind = (enum kind)((k + r * 3) % KINDS);

            if (present(kind))
                ns[kind][r] = measure(kind, built, traffic, threads);
        }
    printf("| %s, %s, %d |", traffic_names[traffic], built ? "constructed" : "bare", threads);
    for (int k = 0; k < KINDS; k++) {
        if (!present((enum kind)k)) {
            printf(" |");
            continue;
        }
        qsort(ns[k], (size_t)rounds, sizeof(double), compare);
        printf(" %.1f (%.1f) |", ns[k][rounds / 2], ns[k][0]);
    }
    printf("\n");
    fflush(stdout);
}

/* -- colouring ----------------------------------------------------------------------------------------------------- */

enum { COLOUR_SIZE = 7168, COLOUR_MOST = 400, VISITS = 2000000 };

static double walk(int objects, int coloured, size_t *sets_used, size_t *sets, size_t *colours)
{
    struct loam_cache_options options = {.struct_bytes = sizeof options,
        .name = "walked",
        .size_bytes = COLOUR_SIZE,
        .flags = coloured ? 0 : LOAM_CACHE_NO_COLOUR};
    struct loam_cache *walked = loam_cache_create_with(&options);
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};
    void **object[COLOUR_MOST];
    long bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE), ways = sysconf(_SC_LEVEL1_DCACHE_ASSOC);
    char used[4096] = {0};
    double from;

    *sets = bytes > 0 && ways > 0 ? (size_t)(bytes / ways / 64) : 64;
    for (int i = 0; i < objects; i++)
        object[i] = loam_cache_alloc(walked);
    *sets_used = 0;
    for (int i = 0; i < objects; i++) {
        size_t set = (size_t)object[i] / 64 % *sets;

        *sets_used += !used[set];
        used[set] = 1;
        *object[i] = object[(i + 1) % objects]; /* a ring through the first field of each */
    }
    from = now();
    void **p = object[0];
    for (long i = 0; i < VISITS; i++)
        p = *p;
    use(p);
    from = (now() - from) / VISITS;
    loam_cache_stats(walked, &figures);
    *colours = figures.colours;
    for (int i = 0; i < objects; i++)
        loam_cache_free(walked, object[i]);
    loam_cache_destroy(walked);
    return from;
}

static int colour(void)
{
    static const int counts[] = {56, COLOUR_MOST}; /* as many pages as the first TLB holds; more */
    double ns[2][MOST_ROUNDS];
    size_t used[2], colours[2], sets = 0;

    for (size_t c = 0; c < 2; c++) {
        for (int r = 0; r < rounds; r++)
            for (int on = 0; on < 2; on++)
                ns[on][r] = walk(counts[c], on, &used[on], &sets, &colours[on]);
        for (int on = 0; on < 2; on++) {
            qsort(ns[on], (size_t)rounds, sizeof(double), compare);
            printf(
                "a field of %d objects of %d bytes, colouring %s: %zu colours, %zu of %zu cache sets used, %.2f ns a visit\n",
                counts[c], COLOUR_SIZE, on ? "on" : "off", colours[on], used[on], sets, ns[on][rounds / 2]);
        }
    }
    return 0;
}

/* -- contenders -------------------------------------------------------------------------------------------------------- */

static void open_umem(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&umem_create = dlsym(library, "umem_cache_create");
    *(void **)&umem_alloc = dlsym(library, "umem_cache_alloc");
    *(void **)&umem_free = dlsym(library, "umem_cache_free");
    for (int built = 0; built < 2; built++)
        umem[built] = umem_create("session", SIZE, 16, built ? construct_umem : NULL, NULL, NULL, NULL, NULL, 0);
}

static void open_mimalloc(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&mi_new = dlsym(library, "mi_heap_new");
    *(void **)&mi_malloc = dlsym(library, "mi_heap_malloc");
    *(void **)&mi_free = dlsym(library, "mi_free");
    *(void **)&mi_delete = dlsym(library, "mi_heap_delete");
}

static int count(const char *name, size_t pairs)
{
    for (int k = 0; k < KINDS; k++)
        if (strcmp(kind_names[k], name) == 0 && present((enum kind)k)) {
            if (k == MIMALLOC)
                mi_heap = mi_new();
            work_bare((enum kind)k, SETS, pairs);
            return 0;
        }
    fprintf(stderr, "no contender \"%s\"\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    int args = 1;

    if (argc > 2 && strcmp(argv[1], "--rounds") == 0) {
        rounds = atoi(argv[2]);
        if (rounds < 1 || rounds > MOST_ROUNDS)
            rounds = 9;
        args = 3;
    }
    for (; args < argc && strchr(argv[args], '='); args++) {
        if (strncmp(argv[args], "umem=", 5) == 0)
            open_umem(argv[args] + 5);
        else if (strncmp(argv[args], "mimalloc=", 9) == 0)
            open_mimalloc(argv[args] + 9);
    }
    for (int layer = 0; layer < 3; layer++)
        for (int built = 0; built < 2; built++) {
            struct loam_cache_options options = {.struct_bytes = sizeof options,
                .name = "session",
                .size_bytes = SIZE,
                .construct = built ? construct : NULL,
                .layer = (enum loam_cache_layer)layer};

            cache[layer][built] = loam_cache_create_with(&options);
        }
    if (args < argc && strcmp(argv[args], "colour") == 0)
        return colour();
    if (args + 2 < argc && strcmp(argv[args], "count") == 0)
        return count(argv[args + 1], strtoull(argv[args + 2], NULL, 0));
    printf("| traffic, objects, threads |");
    for (int k = 0; k < KINDS; k++)
        printf(" %s |", kind_names[k]);
    printf("\n|---|---|---|---|---|---|---|---|---|\n");
    for (int threads = 1; threads <= 2; threads++)
        for (int built = 1; built >= 0; built--)
            for (int traffic = 0; traffic < TRAFFICS; traffic++)
                race(built, traffic, threads);
    for (int built = 1; built >= 0; built--)
        race(built, TRAFFICS, 2);
    return 0;
}
