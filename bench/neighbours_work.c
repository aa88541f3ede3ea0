/* neighbours_work.c: where an allocator puts what a program allocates one after the other, and how many page faults that
 * costs. For any allocator, by LD_PRELOAD; bench/neighbours runs it. usage: neighbours_work [PHASE]; without one, lists them
 *
 * A phase allocates, and writes, PHASE_BLOCKS small blocks, which all stay; before it the heap is as the phase's name says.
 * Printed for these: the median and the mean distance in bytes from one block to the next; the share of blocks that
 * follow the one before within a page; for each thousand the different pages and cache lines that they lie on, and
 * how many lines their bytes would fill; and page faults for each MiB asked for. A page fault is one that
 * stopped the program, by the kernel's counter. Addresses are noted in static memory, which is touched first, so that
 * nothing but the allocator causes faults. */
#include "work.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PHASE_BLOCKS = 50000, BEFORE = 300000, GROUP = 1000, LINE = 64, LARGE_ALIVE = 20 };

struct block {
    uintptr_t at;
    uint32_t size;
};

static struct block noted[PHASE_BLOCKS];
static void *before[BEFORE];
static uintptr_t scratch[PHASE_BLOCKS];
static uint64_t seed = 11;
static long notes;

static size_t small(void)
{
    return 8 + next_random(&seed) % 249;
}

/* Writes to every page of it. */
static void *filled(size_t size)
{
    char *p = touch(size);

    for (size_t i = 0; i < size; i += 1024)
        p[i] = 1;
    return p;
}

static void take(size_t size)
{
    noted[notes].at = (uintptr_t)filled(size);
    noted[notes++].size = (uint32_t)size;
}

/* -- how the heap came to be as it is --------------------------------------------------------------------------------- */

/* Three in four of BEFORE blocks are freed at random. */
static void wear(size_t (*size)(void))
{
    for (int i = 0; i < BEFORE; i++)
        before[i] = filled(size());
    for (int i = 0; i < BEFORE; i++)
        if (next_random(&seed) % 4) {
            free(before[i]);
            before[i] = NULL;
        }
}

static size_t node(void)
{
    return 48;
}

static void fresh_nodes(void)
{
    while (notes < PHASE_BLOCKS)
        take(48);
}

static void fresh_mixed(void)
{
    while (notes < PHASE_BLOCKS)
        take(small());
}

static void worn_nodes(void)
{
    wear(node);
}

static void worn_mixed(void)
{
    wear(small);
}

/* Blocks at random are replaced for so long that none of the first is left. */
static void turn(void)
{
    for (int i = 0; i < BEFORE; i++)
        before[i] = filled(small());
    for (long i = 0; i < 4L * BEFORE; i++) {
        size_t slot = next_random(&seed) % BEFORE;

        free(before[slot]);
        before[slot] = filled(small());
    }
}

/* Each block that stays follows one that goes. */
static void turning(void)
{
    while (notes < PHASE_BLOCKS) {
        size_t slot = next_random(&seed) % BEFORE;

        free(before[slot]);
        before[slot] = NULL;
        take(small());
    }
}

/* A tree is built as a parser does it: between two nodes, texts that do not stay. */
static void parsing(void)
{
    while (notes < PHASE_BLOCKS) {
        void *text[3];

        for (int i = 0; i < 3; i++)
            text[i] = filled(small());
        take(48);
        take(small());
        for (int i = 0; i < 3; i++)
            free(text[i]);
    }
}

/* -- page faults of more ----------------------------------------------------------------------------------------------- */

static size_t asked;

static void *asked_for(size_t size)
{
    asked += size;
    return filled(size);
}

/* Small blocks, all freed, and the same again. */
static void peaks(void)
{
    for (int peak = 0; peak < 2; peak++) {
        for (int i = 0; i < BEFORE; i++)
            before[i] = asked_for(2 * small());
        for (int i = 0; i < BEFORE; i++)
            free(before[i]);
    }
}

static void large(void)
{
    static void *alive[LARGE_ALIVE];

    for (int i = 0; i < 400; i++) {
        size_t slot = (size_t)i % LARGE_ALIVE;

        free(alive[slot]);
        alive[slot] = asked_for((64 << 10) + next_random(&seed) % (2 << 20));
    }
}

/* A buffer that is doubled until it holds 32 MiB, ten times. */
static void buffers(void)
{
    for (int i = 0; i < 10; i++) {
        char *p = NULL;

        for (size_t size = 4096; size <= 32u << 20; size *= 2) {
            char *q = realloc(p, size);

            if (!q)
                abort();
            p = q;
            for (size_t k = size == 4096 ? 0 : size / 2; k < size; k += 1024)
                p[k] = 1;
            asked += size == 4096 ? size : size / 2;
        }
        free(p);
    }
}

static const struct phase {
    const char *name, *about;
    void (*make_heap)(void), (*allocate)(void);
} phases[] = {
    {"fresh-nodes", "blocks of 48 bytes, the first of the process", NULL, fresh_nodes},
    {"fresh-mixed", "blocks of 8 to 256 bytes, the first of the process", NULL, fresh_mixed},
    {"worn-nodes", "blocks of 48 bytes after three in four of 300,000 were freed at random", worn_nodes, fresh_nodes},
    {"worn-mixed", "the same with 8 to 256 bytes", worn_mixed, fresh_mixed},
    {"turning", "blocks of 8 to 256 bytes, each after a random free, when all had been replaced", turn, turning},
    {"parsing", "nodes and names that stay, three texts between that do not", NULL, parsing},
    {"peaks", "150 MiB of blocks of 16 to 512 bytes, in two peaks", NULL, peaks},
    {"large", "blocks of 64 KiB to 2 MiB, twenty alive", NULL, large},
    {"buffers", "ten buffers doubled to 32 MiB each", NULL, buffers},
};

/* -- what is printed --------------------------------------------------------------------------------------------------- */

static void tell(const char *name, double value)
{
    printf("figure %s %.6g\n", name, value);
}

static int by_value(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

    return (x > y) - (x < y);
}

static void distances(void)
{
    double sum = 0;
    long near = 0, page = sysconf(_SC_PAGESIZE);

    for (long i = 1; i < notes; i++) {
        uintptr_t a = noted[i - 1].at, b = noted[i].at, d = a < b ? b - a : a - b;

        scratch[i - 1] = d;
        sum += (double)d;
        near += d < (uintptr_t)page;
    }
    qsort(scratch, (size_t)notes - 1, sizeof scratch[0], by_value);
    tell("median-distance", (double)scratch[notes / 2]);
    tell("mean-distance", sum / (double)(notes - 1));
    tell("within-a-page", (double)near / (double)(notes - 1));
}

/* How many different units of so many bytes a thousand consecutive blocks lie on, on average. */
static double units(uintptr_t unit)
{
    static uintptr_t on[GROUP * (256 / LINE + 2)];
    double sum = 0;

    for (long from = 0; from < notes; from += GROUP) {
        size_t count = 0;

        for (long i = from; i < from + GROUP; i++)
            for (uintptr_t u = noted[i].at / unit; u <= (noted[i].at + noted[i].size - 1) / unit; u++)
                on[count++] = u;
        qsort(on, count, sizeof on[0], by_value);
        for (size_t i = 0; i < count; i++)
            sum += i == 0 || on[i] != on[i - 1];
    }
    return sum / (double)notes * GROUP;
}

/* Counts page faults that stopped the program: a page that the kernel populates in advance is none. -1: it cannot. */
static int count_traps(void)
{
    struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE,
        .size = sizeof attributes,
        .config = PERF_COUNT_SW_PAGE_FAULTS,
        .exclude_kernel = 1,
        .exclude_hv = 1};

    return (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

/* What has been counted; all pages that the process was given, where traps cannot be. */
static long faults(int counter)
{
    struct rusage usage;
    uint64_t traps;

    if (read(counter, &traps, sizeof traps) == sizeof traps)
        return (long)traps;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static void run(const struct phase *phase)
{
    double bytes = 0;
    int counter = count_traps();
    long start;

    memset(noted, 1, sizeof noted);
    memset(before, 1, sizeof before);
    memset(before, 0, sizeof before);
    if (phase->make_heap)
        phase->make_heap();
    start = faults(counter);
    phase->allocate();
    start = faults(counter) - start;
    for (long i = 0; i < notes; i++)
        bytes += noted[i].size;
    if (notes) {
        distances();
        tell("pages-per-1000", units((uintptr_t)sysconf(_SC_PAGESIZE)));
        tell("lines-per-1000", units(LINE));
        tell("lines-of-bytes", bytes / (double)notes * GROUP / LINE);
    }
    tell("faults-per-mib", (double)start / ((bytes + (double)asked) / (1 << 20)));
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
        if (argc == 1) {
            printf("%-14s %s\n", phases[i].name, phases[i].about);
        } else if (strcmp(argv[1], phases[i].name) == 0) {
            run(&phases[i]);
            return 0;
        }
    return argc == 1 ? 0 : 2;
}
