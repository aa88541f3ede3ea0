/* latency.c: how long a single malloc and a single free take, of a mixed load with a working set that turns over. For any
 * allocator, by LD_PRELOAD, or for the heap in one piece of memory (loam/region.h, GOOD fit), whose library is preloaded as
 * well. See docs/policies.md.
 *
 *   usage: latency [MILLIONS [SEED [FILE [region]]]]
 *
 * Times are of the processor's cycle counter, calibrated against the clock, and include about 20 ns of reading it. The
 * histogram has 16 buckets a doubling, so a figure is right to 6 %; what is printed of it is how many calls took up to
 * a time, which doubles from line to line.
 *
 * On a machine that does other things the longest is an interrupt's, whoever allocates. But the n-th call does the same work
 * in every run, and no interrupt comes at the same call each time. So FILE keeps the least time of each call of all runs that
 * were given it, with the same arguments, and what is printed is of these; "" keeps nothing. */
#include "histogram.h"
#include <loam/region.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 20000, REGION_BYTES = 64 << 20 };

static struct histogram for_malloc, for_free;
static void *slot[SLOTS];
static struct loam_region *region;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

/* Mostly small, some of a few KiB, a few of up to 256 KiB: about 20 MiB alive. */
static size_t size_of(uint64_t *seed)
{
    uint64_t r = next_random(seed);

    return r % 1024 == 0 ? 1 + (r >> 20) % (256 << 10) : r % 16 == 0 ? 1 + (r >> 20) % 8192 : 1 + (r >> 20) % 512;
}

/* Of the library that was preloaded: a second one beside it would make a reserve of its own. */
static struct {
    struct loam_region *(*create)(void *, size_t, const struct loam_region_options *);
    void *(*alloc)(struct loam_region *, size_t);
    int (*free)(struct loam_region *, void *);
} of_region;

static void *take(size_t bytes)
{
    return region ? of_region.alloc(region, bytes) : malloc(bytes);
}

static void give(void *p)
{
    if (!region)
        free(p);
    else if (of_region.free(region, p) != 0)
        abort();
}

/* A region that is there already, as a reserve is; NULL: nobody brings regions. */
static struct loam_region *region_make(void)
{
    struct loam_region_options options = {.struct_bytes = sizeof options, .fit = LOAM_FIT_GOOD};
    void *memory = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    *(void **)&of_region.create = dlsym(RTLD_DEFAULT, "loam_region_create");
    *(void **)&of_region.alloc = dlsym(RTLD_DEFAULT, "loam_region_alloc");
    *(void **)&of_region.free = dlsym(RTLD_DEFAULT, "loam_region_free");
    if (memory == MAP_FAILED || !of_region.create || !of_region.alloc || !of_region.free)
        return NULL;
    return of_region.create(memory, REGION_BYTES, &options);
}

/* The least time of each call so far, in ticks; 0: none. */
struct least {
    uint32_t malloc, free;
};

/* The file, as long as it takes, and in memory. NULL: it cannot be. */
static struct least *least_open(const char *path, uint64_t pairs)
{
    size_t bytes = pairs * sizeof(struct least);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    void *p = file < 0 || ftruncate(file, (off_t)bytes) != 0
        ? MAP_FAILED
        : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);

    return p == MAP_FAILED ? NULL : p;
}

static uint32_t less(uint32_t before, uint64_t t)
{
    return before && before < t ? before : (uint32_t)(t < UINT32_MAX ? t : UINT32_MAX);
}

static bool turn_over(uint64_t pairs, uint64_t seed, struct least *least)
{
    for (uint64_t i = 0; i < pairs; i++) {
        size_t n = next_random(&seed) % SLOTS, size = size_of(&seed);
        uint64_t t0, t1, t2;

        t0 = ticks();
        give(slot[n]);
        t1 = ticks();
        slot[n] = take(size);
        t2 = ticks();
        if (!slot[n])
            return false;
        ((char *)slot[n])[0] = 1;
        ((char *)slot[n])[size - 1] = 1;
        if (least) {
            least[i].free = less(least[i].free, t1 - t0);
            least[i].malloc = less(least[i].malloc, t2 - t1);
            t1 = t0 + least[i].free;
            t2 = t1 + least[i].malloc;
        }
        note(&for_free, t1 - t0);
        note(&for_malloc, t2 - t1);
    }
    return true;
}

static void show(const char *name, const struct histogram *h, double ns_a_tick)
{
    double upto = 32, end;
    uint64_t sum = 0;

    printf("%-7s p50 %6.0f ns   p99 %6.0f ns   p99.99 %7.0f ns   longest %9.1f us\n", name,
        quantile(h, 0.5) * ns_a_tick, quantile(h, 0.99) * ns_a_tick, quantile(h, 0.9999) * ns_a_tick,
        (double)h->longest * ns_a_tick / 1000);
    for (unsigned b = 0; b < BUCKETS; b++) {
        end = bucket_end(b) * ns_a_tick;
        for (; end > upto; upto *= 2, sum = 0)
            if (sum)
                printf("  %12.0f ns %12llu\n", upto, (unsigned long long)sum);
        sum += h->count[b];
    }
    if (sum)
        printf("  %12.0f ns %12llu\n", upto, (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    uint64_t pairs = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000000, start_ticks;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    struct least *least = NULL;
    struct rusage before, after;
    double start_ns, ns_a_tick;

    if (argc > 5 || seed == 0 || (argc > 4 && (strcmp(argv[4], "region") != 0 || (region = region_make()) == NULL)))
        return 2;
    if (argc > 3 && *argv[3] && (least = least_open(argv[3], pairs)) == NULL)
        return 2;
    memset(&for_malloc, 0, sizeof for_malloc); /* resident before anything is timed */
    memset(&for_free, 0, sizeof for_free);
    mlockall(MCL_CURRENT); /* the bench's own memory; may be refused */
    for (int i = 0; i < SLOTS; i++)
        memset(slot[i] = take(16), 0, 16);
    getrusage(RUSAGE_SELF, &before);
    start_ns = now_ns();
    start_ticks = ticks();
    if (!turn_over(pairs, seed * 88172645463325252u, least))
        return 1;
    ns_a_tick = (now_ns() - start_ns) / (double)(ticks() - start_ticks);
    getrusage(RUSAGE_SELF, &after);
    show("malloc", &for_malloc, ns_a_tick);
    show("free", &for_free, ns_a_tick);
    printf("%llu million pairs, %ld page faults, peak %ld KiB\n", (unsigned long long)(pairs / 1000000),
        after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt, after.ru_maxrss);
    return 0;
}
