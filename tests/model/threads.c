/* Threads that come and go hand stamped blocks to each other by loam's own names, so that a sanitizer sees the
 * protocols of the heap: pushes onto slabs, mailboxes, orphans, adoption. The seed is printed; --seed N repeats it as far
 * as threads can be repeated. */
// test: timeout=900
#include <loam/loam.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, GENERATIONS = 6, STEPS = 30000, SLOTS = 600 };

struct block {
    size_t size;
    uint64_t stamp;
};

static struct block *slot[SLOTS];
static uint64_t first_seed;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

static void check(const struct block *b)
{
    const unsigned char *end = (const unsigned char *)b + b->size;

    if (b->stamp != (b->size ^ first_seed) || end[-1] != (unsigned char)b->size) {
        fprintf(stderr, "a block of %zu bytes was written to\n", b->size);
        abort();
    }
}

static struct block *make(uint64_t *seed)
{
    static const size_t most[] = {100, 100, 1000, 5000, 40000, 300000};
    size_t size =
        sizeof(struct block) + 1 + next_random(seed) % most[next_random(seed) % 60 ? next_random(seed) % 4 : 5];
    struct block *b = next_random(seed) % 4 ? loam_malloc(size) : loam_calloc(1, size);

    if (!b)
        abort();
    b->size = size;
    b->stamp = size ^ first_seed;
    ((unsigned char *)b)[size - 1] = (unsigned char)size;
    return b;
}

static void *trade(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 2654435761u ^ first_seed;
    struct block *mine[50] = {NULL};

    for (int i = 0; i < STEPS; i++) {
        uint64_t r = next_random(&seed);
        struct block **private = &mine[r % 50];

        if (r >> 40 & 1) {
            struct block *theirs = __atomic_exchange_n(&slot[(r >> 8) % SLOTS], make(&seed), __ATOMIC_ACQ_REL);

            if (theirs) {
                check(theirs);
                loam_free(theirs);
            }
        } else if (*private) {
            check(*private);
            loam_free(*private);
            *private = NULL;
        } else {
            *private = make(&seed);
        }
        if (r % 5000 == 0) {
            struct loam_stats stats = {.struct_bytes = sizeof stats};

            loam_trim(0);
            loam_stats(&stats);
        }
    }
    for (int i = 0; i < 50; i++)
        loam_free(mine[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    first_seed = argc == 3 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    printf("threads: --seed %llu\n", (unsigned long long)first_seed);
    fflush(stdout);
    first_seed |= 1;
    for (uintptr_t generation = 0; generation < GENERATIONS; generation++) {
        pthread_t threads[THREADS];

        for (uintptr_t i = 0; i < THREADS; i++)
            if (pthread_create(&threads[i], NULL, trade, (void *)(generation * THREADS + i + 1)) != 0)
                abort();
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < SLOTS; i++)
        loam_free(slot[i]);
    puts("nothing wrong");
    return 0;
}
