/* blocks_region.c: plays traces on the region with each fit, the buddy, a table of classes, a private heap, malloc, and
 * allocators given as libraries.
 *
 *   bench-blocks_region [--rounds N] [--seed N] [--only TRACE] [--on NAME,...] [--most CALLS] [--no-time] [--no-size]
 *                       [TRACE ...] [NAME=LIBRARY.so ...]
 *
 * A TRACE is a file that the recorder made (trace.h); its name is the file's.
 *
 * A library exports int bench_reset(void *memory, size_t bytes), 0 when it can work there, void *bench_alloc(size_t),
 * void *bench_realloc(void *, size_t) and void bench_free(void *).
 *
 * Printed for each trace and allocator: nanoseconds an operation (median of rounds in which all take turns); the worst
 * operation of a run, as the 99.99th percentile and the greatest, each the least of the rounds', so that an interrupt
 * counts only when it comes every time; and the smallest memory in which the trace can be played, over the peak of
 * live bytes: by bisection, of the memory given, for classes of their budget; of a private heap the most that a fresh
 * process becomes larger by; of malloc there is none. */
#include "blocks_traces.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <loam/buddy.h>
#include <loam/classes.h>
#include <loam/heap.h>
#include <loam/loam.h>
#include <loam/region.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_TRACES = 16, MOST_ALLOCATORS = 16, MOST_ROUNDS = 101 };
#define ARENA_BYTES ((size_t)4 << 30)

/* How the memory that it needs is found: by giving it less and less, by what becomes resident, or not. */
enum sized { SIZED_BY_GIVING, SIZED_BY_RESIDENCE, NOT_SIZED };

struct allocator {
    char name[32];
    int (*reset)(void *memory, size_t bytes);
    void *(*alloc)(size_t size);
    void *(*resize)(void *p, size_t size);
    void (*release)(void *p);
    enum sized sized;
};

static struct trace traces[MOST_TRACES];
static struct allocator allocators[MOST_ALLOCATORS];
static int trace_count, allocator_count, rounds = 7;
static bool no_time, no_size;
static size_t most = TRACE_MOST;
static const char *only, *on;
static char *arena;

/* -- regions --------------------------------------------------------------------------------------------------------- */

static struct loam_region *region;

static int region_reset(void *memory, size_t bytes, enum loam_fit fit, size_t align)
{
    struct loam_region_options options = {.struct_bytes = sizeof options, .fit = fit, .align_bytes = align};

    region = loam_region_create(memory, bytes, &options);
    return region ? 0 : -1;
}

static int reset_good(void *memory, size_t bytes)
{
    return region_reset(memory, bytes, LOAM_FIT_GOOD, 16);
}

static int reset_good8(void *memory, size_t bytes)
{
    return region_reset(memory, bytes, LOAM_FIT_GOOD, 8);
}

static int reset_first(void *memory, size_t bytes)
{
    return region_reset(memory, bytes, LOAM_FIT_FIRST, 16);
}

static int reset_next(void *memory, size_t bytes)
{
    return region_reset(memory, bytes, LOAM_FIT_NEXT, 16);
}

static int reset_best(void *memory, size_t bytes)
{
    return region_reset(memory, bytes, LOAM_FIT_BEST, 16);
}

static void *region_alloc(size_t size)
{
    return loam_region_alloc(region, size);
}

static void *region_resize(void *p, size_t size)
{
    return loam_region_realloc(region, p, size);
}

static void region_release(void *p)
{
    loam_region_free(region, p);
}

/* -- the buddy ------------------------------------------------------------------------------------------------------- */

static struct loam_buddy *buddy;

/* Its bookkeeping counts as part of the memory: 9 bytes a unit of 16. */
static int buddy_reset(void *memory, size_t bytes)
{
    struct loam_buddy_options options = {
        .struct_bytes = sizeof options, .base = (uintptr_t)memory, .bytes = bytes * 16 / 25, .min_block = 16};

    loam_buddy_destroy(buddy);
    buddy = loam_buddy_create(&options);
    return buddy ? 0 : -1;
}

static void *buddy_take(size_t size)
{
    uintptr_t at = loam_buddy_alloc(buddy, size);

    return at == LOAM_BUDDY_NONE ? NULL : (void *)at;
}

static void buddy_release(void *p)
{
    loam_buddy_free(buddy, (uintptr_t)p);
}

static void *buddy_resize(void *p, size_t size)
{
    void *q;

    if (loam_buddy_resize(buddy, (uintptr_t)p, size) == 0)
        return p;
    q = buddy_take(size);
    if (q)
        memcpy(q, p, size < loam_buddy_size(buddy, (uintptr_t)p) ? size : loam_buddy_size(buddy, (uintptr_t)p));
    if (q)
        buddy_release(p);
    return q;
}

/* -- classes and private heaps, which bring their own memory ------------------------------------------------------------ */

static struct loam_classes *classes;
static struct loam_heap *heap;

/* Slabs, large blocks and bookkeeping count against the budget. */
static int classes_reset(void *memory, size_t bytes)
{
    struct loam_classes_options options = {.struct_bytes = sizeof options, .limit_bytes = bytes};

    (void)memory;
    loam_classes_destroy(classes);
    classes = loam_classes_create(&options);
    return classes ? 0 : -1;
}

static void *classes_take(size_t size)
{
    return loam_classes_alloc(classes, size);
}

static void *classes_resize(void *p, size_t size)
{
    return loam_classes_realloc(classes, p, size);
}

static void classes_release(void *p)
{
    loam_classes_free(classes, p);
}

static int heap_reset(void *memory, size_t bytes)
{
    (void)memory;
    (void)bytes;
    loam_heap_destroy(heap);
    heap = loam_heap_create(NULL);
    return heap ? 0 : -1;
}

static void *heap_take(size_t size)
{
    return loam_heap_malloc(heap, size);
}

static void *heap_resize(void *p, size_t size)
{
    return loam_heap_realloc(heap, p, size);
}

static void heap_release(void *p)
{
    loam_free(p);
}

/* -- playing ----------------------------------------------------------------------------------------------------------- */

static int malloc_reset(void *memory, size_t bytes)
{
    (void)memory;
    (void)bytes;
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *play_one(const struct allocator *allocator, void *p, size_t size)
{
    if (!p)
        return allocator->alloc(size);
    if (size)
        return allocator->resize(p, size);
    allocator->release(p);
    return NULL;
}

/* False when the allocator had no memory for it. What is live at the end is freed when `all`. */
static bool play(const struct allocator *allocator, const struct trace *trace, void **slots, bool all)
{
    size_t i;

    memset(slots, 0, trace->slots * sizeof *slots);
    for (i = 0; i < trace->count; i++) {
        struct trace_step step = trace->steps[i];
        void *p = play_one(allocator, slots[step.slot], step.size);

        if (step.size && !p)
            break;
        slots[step.slot] = p;
        if (p)
            *(char *)p = (char)step.slot; /* as a program would */
    }
    for (size_t slot = 0; all && slot < trace->slots; slot++)
        if (slots[slot])
            allocator->release(slots[slot]);
    return i == trace->count;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static size_t room_for(const struct trace *trace)
{
    size_t room = trace->peak_bytes * 4 + ((size_t)64 << 20);

    return room < ARENA_BYTES ? room : ARENA_BYTES;
}

static void time_all(const struct trace *trace, void **slots)
{
    static double ns[MOST_ALLOCATORS][MOST_ROUNDS];

    for (int round = -1; round < rounds; round++) /* the first warms up */
        for (int k = 0; k < allocator_count; k++) {
            int a = (k + round + 1) % allocator_count;
            uint64_t start;

            if (allocators[a].reset(arena, room_for(trace)) != 0) {
                fprintf(stderr, "%s cannot start\n", allocators[a].name);
                exit(1);
            }
            start = now_ns();
            if (!play(&allocators[a], trace, slots, true))
                fprintf(stderr, "%s ran out of memory on %s\n", allocators[a].name, trace->name);
            if (round >= 0)
                ns[a][round] = (double)(now_ns() - start) / (double)trace->count;
        }
    for (int a = 0; a < allocator_count; a++) {
        qsort(ns[a], (size_t)rounds, sizeof ns[a][0], by_value);
        printf("time %-10s %-12s %7.1f ns (%.1f-%.1f)\n", trace->name, allocators[a].name, ns[a][rounds / 2], ns[a][0],
            ns[a][rounds - 1]);
    }
}

/* Each operation by itself; the clock's own cost is in all alike. */
static void worst_of(const struct allocator *allocator, const struct trace *trace, void **slots)
{
    double *ns = trace_memory(trace->count, sizeof *ns), high = 1e18, greatest = 1e18;

    for (int round = 0; round < 3; round++) {
        allocator->reset(arena, room_for(trace));
        memset(slots, 0, trace->slots * sizeof *slots);
        for (size_t i = 0; i < trace->count; i++) {
            struct trace_step step = trace->steps[i];
            uint64_t start = now_ns();

            slots[step.slot] = play_one(allocator, slots[step.slot], step.size);
            ns[i] = (double)(now_ns() - start);
        }
        for (size_t slot = 0; slot < trace->slots; slot++)
            if (slots[slot])
                allocator->release(slots[slot]);
        qsort(ns, trace->count, sizeof *ns, by_value);
        if (ns[trace->count - 1 - trace->count / 10000] < high)
            high = ns[trace->count - 1 - trace->count / 10000];
        if (ns[trace->count - 1] < greatest)
            greatest = ns[trace->count - 1];
    }
    printf("worst %-10s %-12s p99.99 %.0f ns, greatest %.0f ns\n", trace->name, allocator->name, high, greatest);
    free(ns);
}

static void print_size(const struct allocator *allocator, const struct trace *trace, size_t bytes)
{
    printf("size %-10s %-12s %6.3f (%zu of %zu bytes)\n", trace->name, allocator->name,
        (double)bytes / (double)trace->peak_bytes, bytes, trace->peak_bytes);
    fflush(stdout);
}

static size_t resident_bytes(int statm)
{
    char text[128] = "";
    unsigned long total, resident = 0;

    if (pread(statm, text, sizeof text - 1, 0) <= 0 || sscanf(text, "%lu %lu", &total, &resident) != 2)
        exit(1);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* The most that a process that does nothing else becomes larger by, all of every block being written; 0: it failed. */
static size_t most_resident(const struct allocator *allocator, const struct trace *trace, void **slots)
{
    int statm = open("/proc/self/statm", O_RDONLY);
    size_t base, most_bytes;

    memset(slots, 0, trace->slots * sizeof *slots);
    most_bytes = base = resident_bytes(statm);
    if (allocator->reset(NULL, 0) != 0)
        return 0;
    for (size_t i = 0; i < trace->count; i++) {
        struct trace_step step = trace->steps[i];
        void *p = play_one(allocator, slots[step.slot], step.size);

        if (step.size && !p)
            return 0;
        slots[step.slot] = p;
        if (!p)
            continue;
        memset(p, (int)step.slot, step.size);
        if (i % 16 == 0 || step.size >= 4096) {
            size_t now = resident_bytes(statm);

            most_bytes = now > most_bytes ? now : most_bytes;
        }
    }
    return most_bytes - base;
}

/* In a child, before this process itself has used loam: what that keeps for later would hide what is needed. */
static void resident_of(const struct allocator *allocator, const struct trace *trace, void **slots)
{
    size_t *bytes = mmap(NULL, sizeof *bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child;

    if (bytes == MAP_FAILED)
        exit(1);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        *bytes = most_resident(allocator, trace, slots);
        _exit(0);
    }
    if (child < 0 || waitpid(child, NULL, 0) != child || *bytes == 0) {
        fprintf(stderr, "%s could not be measured on %s\n", allocator->name, trace->name);
        exit(1);
    }
    print_size(allocator, trace, *bytes);
    munmap(bytes, sizeof *bytes);
}

static void size_of(const struct allocator *allocator, const struct trace *trace, void **slots)
{
    size_t low = trace->peak_bytes, high = room_for(trace);

    while (high - low > 1024 + trace->peak_bytes / 2000) {
        size_t middle = low + (high - low) / 2;

        if (allocator->reset(arena, middle) == 0 && play(allocator, trace, slots, false))
            high = middle;
        else
            low = middle;
    }
    print_size(allocator, trace, high);
}

/* True when the name is in the list that was given, or none was. */
static bool is_wanted(const char *name)
{
    size_t length = strlen(name);

    for (const char *at = on; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    return !on;
}

static void add_allocator(const struct allocator *allocator)
{
    if (is_wanted(allocator->name) && allocator_count < MOST_ALLOCATORS)
        allocators[allocator_count++] = *allocator;
}

static void add_library(const char *word, const char *path)
{
    struct allocator allocator = {.sized = SIZED_BY_GIVING};
    void *library = dlopen(path, RTLD_NOW);

    snprintf(allocator.name, sizeof allocator.name, "%.*s", (int)(path - 1 - word), word);
    if (library) {
        *(void **)&allocator.reset = dlsym(library, "bench_reset");
        *(void **)&allocator.alloc = dlsym(library, "bench_alloc");
        *(void **)&allocator.resize = dlsym(library, "bench_realloc");
        *(void **)&allocator.release = dlsym(library, "bench_free");
    }
    if (!allocator.reset || !allocator.alloc || !allocator.resize || !allocator.release) {
        fprintf(stderr, "%s: %s\n", path, library ? "a function is missing" : dlerror());
        exit(1);
    }
    add_allocator(&allocator);
}

static void add_trace_file(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    char stem[32];

    snprintf(stem, sizeof stem, "%.*s", (int)strcspn(name, "."), name);
    if (trace_count == MOST_TRACES || !trace_load(&traces[trace_count], stem, path, most)) {
        fprintf(stderr, "%s: no trace\n", path);
        exit(1);
    }
    trace_count++;
}

int main(int argc, char **argv)
{
    static const struct allocator own[] = {
        {"good", reset_good, region_alloc, region_resize, region_release, SIZED_BY_GIVING},
        {"good/8", reset_good8, region_alloc, region_resize, region_release, SIZED_BY_GIVING},
        {"first", reset_first, region_alloc, region_resize, region_release, SIZED_BY_GIVING},
        {"next", reset_next, region_alloc, region_resize, region_release, SIZED_BY_GIVING},
        {"best", reset_best, region_alloc, region_resize, region_release, SIZED_BY_GIVING},
        {"buddy", buddy_reset, buddy_take, buddy_resize, buddy_release, SIZED_BY_GIVING},
        {"classes", classes_reset, classes_take, classes_resize, classes_release, SIZED_BY_GIVING},
        {"heap", heap_reset, heap_take, heap_resize, heap_release, SIZED_BY_RESIDENCE},
        {"malloc", malloc_reset, malloc, realloc, free, NOT_SIZED},
    };
    uint64_t seed = 1;

    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--on") == 0)
            on = argv[i + 1];
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        add_allocator(&own[i]);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-time") == 0)
            no_time = true;
        else if (strcmp(argv[i], "--no-size") == 0)
            no_size = true;
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = atoi(argv[++i]);
        else if (strcmp(argv[i], "--most") == 0 && i + 1 < argc)
            most = strtoull(argv[++i], NULL, 0) < TRACE_MOST ? strtoull(argv[i], NULL, 0) : TRACE_MOST;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--on") == 0 && i + 1 < argc)
            i++;
        else if (strchr(argv[i], '='))
            add_library(argv[i], strchr(argv[i], '=') + 1);
        else
            add_trace_file(argv[i]);
    }
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    printf("generated traces: --seed %llu\n", (unsigned long long)seed);
    for (int kind = 0; kind < TRACE_KINDS && trace_count < MOST_TRACES; kind++)
        trace_generate(&traces[trace_count++], (enum trace_kind)kind, seed, most);
    arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        return 1;
    for (int t = 0; t < trace_count && !no_size; t++) {
        void **slots = trace_memory(traces[t].slots, sizeof *slots);

        for (int a = 0; a < allocator_count && (!only || strcmp(only, traces[t].name) == 0); a++)
            if (allocators[a].sized == SIZED_BY_RESIDENCE)
                resident_of(&allocators[a], &traces[t], slots);
        free(slots);
    }
    for (int t = 0; t < trace_count; t++) {
        void **slots = trace_memory(traces[t].slots, sizeof *slots);

        if (only && strcmp(only, traces[t].name) != 0)
            continue;
        printf("trace %s: %zu operations, %zu slots, peak %zu bytes\n", traces[t].name, traces[t].count,
            traces[t].slots, traces[t].peak_bytes);
        if (!no_time)
            time_all(&traces[t], slots);
        for (int a = 0; a < allocator_count && !no_time; a++)
            worst_of(&allocators[a], &traces[t], slots);
        for (int a = 0; a < allocator_count && !no_size; a++)
            if (allocators[a].sized == SIZED_BY_GIVING)
                size_of(&allocators[a], &traces[t], slots);
        free(slots);
    }
    return 0;
}
