/* blocks_traces.h: what programs ask of an allocator, as lists of operations to play again.
 *
 * Five come from real programs, recorded by bench/blocks_record at the time of the bench (blocks_record.c); some are made
 * from a seed.
 * An operation names a slot: size 0 frees what is in it, a full slot is resized, an empty one filled. */
#ifndef LOAM_BENCH_TRACES_H
#define LOAM_BENCH_TRACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_FILE_RECORDS = 8 << 20, TRACE_MOST = 2000000 };

/* One call: what was given and what returned; was 0: an allocation; p 0: a free. */
struct trace_record {
    uint64_t was, p, size;
};

struct trace_file {
    uint64_t count, spare;
    struct trace_record records[];
};
#define TRACE_FILE_BYTES (sizeof(struct trace_file) + TRACE_FILE_RECORDS * sizeof(struct trace_record))

struct trace_op {
    uint32_t slot, size;
};

struct trace {
    char name[32];
    struct trace_op *ops;
    size_t count, slots;
    size_t peak_bytes; /* the most that is live at once, as asked for */
};

/* Addresses to slots: open addressing, from the address to slot + 1. */
struct trace_map {
    uint64_t *key;
    uint32_t *slot;
    size_t mask;
};

static inline size_t trace_find(const struct trace_map *map, uint64_t key)
{
    size_t at = (key >> 4) * 0x9e3779b97f4a7c15u >> 20 & map->mask;

    while (map->key[at] && map->key[at] != key)
        at = (at + 1) & map->mask;
    return at;
}

static inline void *trace_memory(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (!p) {
        fprintf(stderr, "no memory for a trace\n");
        exit(1);
    }
    return p;
}

/* Counts slots and the peak of a list of operations. */
static inline void trace_finish(struct trace *trace)
{
    uint32_t *size;
    size_t live = 0;

    for (size_t i = 0; i < trace->count; i++)
        if (trace->ops[i].slot >= trace->slots)
            trace->slots = trace->ops[i].slot + 1;
    size = trace_memory(trace->slots, sizeof *size);
    for (size_t i = 0; i < trace->count; i++) {
        struct trace_op op = trace->ops[i];

        live += op.size;
        live -= size[op.slot];
        size[op.slot] = op.size;
        if (live > trace->peak_bytes)
            trace->peak_bytes = live;
    }
    free(size);
}

/* Reads the first `most` (up to TRACE_MOST) operations that blocks_record.c wrote; blocks that were allocated before the
 * recording began are left out. */
static inline bool trace_load(struct trace *trace, const char *name, const char *path, size_t most)
{
    FILE *file = fopen(path, "rb");
    struct trace_file head;
    struct trace_record record;
    struct trace_map map = {.mask = ((size_t)1 << 22) - 1};
    uint32_t *spare, spares = 0, slots = 0;

    if (!file || fread(&head, sizeof head, 1, file) != 1)
        return false;
    memset(trace, 0, sizeof *trace);
    snprintf(trace->name, sizeof trace->name, "%s", name);
    trace->ops = trace_memory(TRACE_MOST + 1, sizeof *trace->ops);
    spare = trace_memory(TRACE_MOST, sizeof *spare);
    map.key =
        trace_memory(map.mask + 1, sizeof *map.key); /* keys stay when a block is freed; there are few addresses */
    map.slot = trace_memory(map.mask + 1, sizeof *map.slot);
    for (uint64_t i = 0; i < head.count && trace->count < most && fread(&record, sizeof record, 1, file); i++) {
        size_t at = record.was ? trace_find(&map, record.was) : 0;
        uint32_t slot = record.was ? map.slot[at] : 0;

        if (record.size > UINT32_MAX / 2 || (record.was && !slot && !record.p))
            continue;
        if (slot)
            map.slot[at] = 0;
        else
            slot = spares ? spare[--spares] : ++slots;
        trace->ops[trace->count++] = (struct trace_op){slot - 1, (uint32_t)(record.p ? record.size + !record.size : 0)};
        if (record.p) {
            at = trace_find(&map, record.p);
            map.key[at] = record.p;
            map.slot[at] = slot;
        } else {
            spare[spares++] = slot;
        }
    }
    fclose(file);
    free(spare);
    free(map.key);
    free(map.slot);
    trace_finish(trace);
    return trace->count != 0;
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
static inline void trace_generate(struct trace *trace, enum trace_kind kind, uint64_t seed)
{
    static const char *const names[] = {"small", "mixed", "phases"};
    enum { SLOTS = 20000, COUNT = 600000 };
    char *full = trace_memory(SLOTS, 1);
    size_t live = 0;
    bool filling = true;

    memset(trace, 0, sizeof *trace);
    snprintf(trace->name, sizeof trace->name, "%s", names[kind]);
    trace->ops = trace_memory(COUNT, sizeof *trace->ops);
    seed = seed * 2 + 1;
    while (trace->count < COUNT) {
        uint32_t slot = (uint32_t)(trace_random(&seed) % SLOTS), size = trace_size(kind, &seed);
        bool resize = kind == TRACE_MIXED && trace_random(&seed) % 8 == 0;

        if (live > SLOTS * 9 / 10 || live < SLOTS / 10)
            filling = live < SLOTS / 10;
        if (kind == TRACE_PHASES && full[slot] == filling)
            continue;
        if (full[slot] && !resize)
            size = 0;
        trace->ops[trace->count++] = (struct trace_op){slot, size};
        live += (size != 0) - (size_t)full[slot];
        full[slot] = size != 0;
    }
    free(full);
    trace_finish(trace);
}

#endif
