/* blocks_traces.h: what programs ask of an allocator, as lists of steps to play again.
 *
 * Some come from real programs, recorded as bench/traces.py does (trace.h); some are made from a seed. A step names a slot:
 * size 0 frees what is in it, a full slot is resized, an empty one filled. Alignments and threads are left out. */
#ifndef LOAM_BENCH_BLOCKS_TRACES_H
#define LOAM_BENCH_BLOCKS_TRACES_H

#include "trace.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_MOST = 2000000 };

struct trace_step {
    uint32_t slot, size;
};

struct trace {
    char name[32];
    struct trace_step *steps;
    size_t count, slots;
    size_t peak_bytes; /* the most that is live at once, as asked for */
};

static inline void *trace_memory(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (!p) {
        fprintf(stderr, "no memory for a trace\n");
        exit(1);
    }
    return p;
}

/* Counts slots and the peak of a list of steps. */
static inline void trace_finish(struct trace *trace)
{
    uint32_t *size;
    size_t live = 0;

    for (size_t i = 0; i < trace->count; i++)
        if (trace->steps[i].slot >= trace->slots)
            trace->slots = trace->steps[i].slot + 1;
    size = trace_memory(trace->slots, sizeof *size);
    for (size_t i = 0; i < trace->count; i++) {
        struct trace_step step = trace->steps[i];

        live += step.size;
        live -= size[step.slot];
        size[step.slot] = step.size;
        if (live > trace->peak_bytes)
            trace->peak_bytes = live;
    }
    free(size);
}

/* The whole file, and zeros behind it, so that a number that was cut ends; NULL: it cannot be read. */
static inline uint8_t *trace_read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    long length = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint8_t *all = NULL;

    if (length >= 0) {
        all = trace_memory((size_t)length + TRACE_EVENT_MOST, 1);
        rewind(file);
        *bytes = fread(all, 1, (size_t)length, file);
    }
    if (file)
        fclose(file);
    return all;
}

/* Reads the first `most` (up to TRACE_MOST) calls of a recorded trace. */
static inline bool trace_load(struct trace *trace, const char *name, const char *path, size_t most)
{
    struct trace_slots slots = {.back = NULL};
    struct trace_event event = {0};
    size_t bytes = 0;
    uint8_t *all = trace_read_file(path, &bytes);
    const uint8_t *at = all + sizeof(struct trace_header), *end = all + bytes;

    if (!all || bytes < sizeof(struct trace_header) || memcmp(all, TRACE_MAGIC, strlen(TRACE_MAGIC)) != 0)
        return false;
    memset(trace, 0, sizeof *trace);
    snprintf(trace->name, sizeof trace->name, "%s", name);
    trace->steps = trace_memory(TRACE_MOST, sizeof *trace->steps);
    while (at < end && trace->count < most && (at = trace_get(at, &slots, &event)) != NULL) {
        struct trace_step step = {event.slot, 0};

        if (event.op == TRACE_THREAD)
            continue;
        if (event.value > UINT32_MAX / 2)
            return false;
        if (event.op != TRACE_FREE)
            step.size = (uint32_t)(event.value + !event.value);
        trace->steps[trace->count++] = step;
    }
    free(all);
    if (slots.back)
        munmap(slots.back, slots.room * sizeof *slots.back);
    trace_finish(trace);
    return at && trace->count != 0;
}

static inline uint64_t trace_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

enum trace_kind { TRACE_SMALL, TRACE_MIXED, TRACE_PHASES, TRACE_KINDS };

static inline uint32_t trace_size(enum trace_kind kind, uint64_t *seed)
{
    uint64_t r = trace_random(seed) % 1000;

    if (kind == TRACE_SMALL || r < 700)
        return 8 + (uint32_t)(trace_random(seed) % 248);
    if (r < 970)
        return 256 + (uint32_t)(trace_random(seed) % 3800);
    return 4096 + (uint32_t)(trace_random(seed) % 60000);
}

/* small: 8..255 bytes, any lifetime; mixed: up to 64 KiB, with resizes; phases: fills up, then frees until a tenth is left
 * that is scattered, and again with other sizes. */
static inline void trace_generate(struct trace *trace, enum trace_kind kind, uint64_t seed, size_t most)
{
    static const char *const names[] = {"small", "mixed", "phases"};
    enum { SLOTS = 20000, COUNT = 600000 };
    char *full = trace_memory(SLOTS, 1);
    size_t live = 0;
    bool filling = true;

    memset(trace, 0, sizeof *trace);
    snprintf(trace->name, sizeof trace->name, "%s", names[kind]);
    trace->steps = trace_memory(COUNT, sizeof *trace->steps);
    seed = seed * 2 + 1;
    while (trace->count < COUNT && trace->count < most) {
        uint32_t slot = (uint32_t)(trace_random(&seed) % SLOTS), size = trace_size(kind, &seed);
        bool resize = kind == TRACE_MIXED && trace_random(&seed) % 8 == 0;

        if (live > SLOTS * 9 / 10 || live < SLOTS / 10)
            filling = live < SLOTS / 10;
        if (kind == TRACE_PHASES && full[slot] == filling)
            continue;
        if (full[slot] && !resize)
            size = 0;
        trace->steps[trace->count++] = (struct trace_step){slot, size};
        live += (size != 0) - (size_t)full[slot];
        full[slot] = size != 0;
    }
    free(full);
    trace_finish(trace);
}

#endif
