/* work.h: what the workloads share. A workload is a function of how much work to do, in percent of its own measure
 * (100: 0.3 to 1 s on two cores); it ends when the work is done, not when a time is up. What it can say that a
 * look from outside cannot, it prints with figure(). */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include "resident.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct workload {
    const char *name, *about;
    void (*run)(long percent);
};

/* One table a file, each ended by a NULL name. */
extern const struct workload single_workloads[], shape_workloads[], thread_workloads[], sharing_workloads[];

/* `full` scaled, at least 1. */
static inline long work_of(long full, long percent)
{
    long n = full / 100 * percent + full % 100 * percent / 100;

    return n > 0 ? n : 1;
}

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

/* A block whose first and last byte are written. */
static inline void *touch(size_t size)
{
    char *p = malloc(size);

    if (!p)
        abort();
    p[0] = 1;
    p[size - 1] = 1;
    return p;
}

/* Sizes of an ordinary program: mostly small. */
static inline size_t mixed(uint64_t *seed)
{
    uint64_t r = next_random(seed);

    return r % 16 < 14 ? 8 + (r >> 8) % 248 : 8 + (r >> 8) % 4000;
}

/* Runs body(0) .. body(count - 1), each in a thread, and waits for them. */
void run_threads(unsigned count, void *(*body)(void *number));

/* A line `figure NAME VALUE`, which bench/run keeps. */
void figure(const char *name, double value);

#endif
