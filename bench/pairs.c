/* pairs.c: what a malloc and its free take in loops of nothing else, of several allocators in one process. Each is loaded by
 * itself (dlopen), and they take turns in slices of a fraction of a millisecond, of which the quickest counts: so
 * differences of a few percent show on a machine that others are using as well.
 *
 * usage: pairs ROUNDS NAME=LIBRARY...     prints a line for each: nanoseconds a pair by pattern
 *
 * A library that wants much static TLS needs GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 16, SLICES = 8, PAIRS = 20000, FEW = 400, MANY = 10000 };

struct allocator {
    const char *name;
    void *(*malloc)(size_t size);
    void (*free)(void *p);
};

static void *held[MANY];

/* A block whose first and last byte are written. */
static void *touch(const struct allocator *a, size_t size)
{
    char *p = a->malloc(size);

    if (!p)
        abort();
    p[0] = 1;
    p[size - 1] = 1;
    return p;
}

static void one(const struct allocator *a)
{
    for (int i = 0; i < PAIRS; i++)
        a->free(touch(a, 64));
}

/* Stacks of 100. */
static void lifo(const struct allocator *a)
{
    for (int round = 0; round < PAIRS / 100; round++) {
        for (int i = 0; i < 100; i++)
            held[i] = touch(a, 48);
        for (int i = 100; i-- > 0;)
            a->free(held[i]);
    }
}

/* The same in the order of allocation, and nothing is written. */
static void batch(const struct allocator *a)
{
    for (int round = 0; round < PAIRS / 100; round++) {
        for (int i = 0; i < 100; i++)
            held[i] = a->malloc(128);
        for (int i = 0; i < 100; i++)
            a->free(held[i]);
    }
}

static void fifo(const struct allocator *a, size_t live)
{
    size_t at = 0;

    memset(held, 0, sizeof held);
    for (int i = 0; i < PAIRS; i++) {
        a->free(held[at]);
        held[at] = touch(a, 64);
        at = at + 1 < live ? at + 1 : 0;
    }
    for (size_t i = 0; i < live; i++)
        a->free(held[i]);
}

static void fifo_few(const struct allocator *a)
{
    fifo(a, FEW);
}

static void fifo_many(const struct allocator *a)
{
    fifo(a, MANY);
}

/* Sixteen short-lived blocks of four sizes. */
static void temporaries(const struct allocator *a)
{
    memset(held, 0, sizeof held[0] * 16);
    for (int i = 0; i < PAIRS; i++) {
        size_t slot = (size_t)i * 7 % 16;

        a->free(held[slot]);
        held[slot] = touch(a, 16 + (size_t)i * 11 % 4 * 8);
    }
    for (int i = 0; i < 16; i++)
        a->free(held[i]);
}

static const struct pattern {
    const char *name;
    void (*run)(const struct allocator *a);
} patterns[] = {{"one", one}, {"lifo", lifo}, {"batch", batch}, {"fifo-few", fifo_few}, {"fifo-many", fifo_many},
    {"temporaries", temporaries}};

enum { PATTERNS = sizeof patterns / sizeof patterns[0] };

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct allocator load(char *argument)
{
    char *path = strchr(argument, '=');
    void *library = NULL;
    struct allocator a = {argument, NULL, NULL};

    if (path) {
        *path++ = '\0';
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    }
    if (library) {
        *(void **)&a.malloc = dlsym(library, "malloc");
        *(void **)&a.free = dlsym(library, "free");
    }
    if (!a.malloc || !a.free) {
        fprintf(stderr, "pairs: %s: %s\n", argument, path ? dlerror() : "want NAME=LIBRARY");
        exit(2);
    }
    return a;
}

/* The quickest slice's time, in nanoseconds a pair, or `best`. */
static double quickest(const struct allocator *a, const struct pattern *pattern, double best)
{
    pattern->run(a);
    for (int i = 0; i < SLICES; i++) {
        double start = seconds_now(), took;

        pattern->run(a);
        took = (seconds_now() - start) / PAIRS * 1e9;
        if (took < best)
            best = took;
    }
    return best;
}

int main(int argc, char **argv)
{
    static struct allocator allocator[MOST];
    static double best[MOST][PATTERNS];
    int count = argc - 2, rounds = argc > 1 ? atoi(argv[1]) : 0;

    if (rounds < 1 || count < 1 || count > MOST) {
        fprintf(stderr, "usage: pairs ROUNDS NAME=LIBRARY...\n");
        return 2;
    }
    for (int i = 0; i < count; i++)
        allocator[i] = load(argv[i + 2]);
    for (int p = 0; p < PATTERNS; p++)
        for (int i = 0; i < count; i++)
            best[i][p] = 1e9;
    for (int round = 0; round < rounds; round++)
        for (int p = 0; p < PATTERNS; p++)
            for (int i = 0; i < count; i++)
                best[i][p] = quickest(&allocator[i], &patterns[p], best[i][p]);
    printf("%-12s", "");
    for (int p = 0; p < PATTERNS; p++)
        printf("%12s", patterns[p].name);
    for (int i = 0; i < count; i++) {
        printf("\n%-12s", allocator[i].name);
        for (int p = 0; p < PATTERNS; p++)
            printf("%12.2f", best[i][p]);
    }
    printf("\n");
    return 0;
}
