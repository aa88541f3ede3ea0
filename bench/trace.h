/* trace.h: what a program asked of its allocator, in about two bytes a call.
 *
 *   file    | header, 64 bytes | event | event | ...
 *   event   | value, bits 0-3 : op, 3 bits : more |   then, while `more`, 7 bits of value a byte, lowest first
 *
 *   op        value                     then, as a number of 7 bits a byte
 *   MALLOC    bytes asked for           -
 *   CALLOC    bytes asked for           -
 *   ALIGNED   bytes asked for           log2 of the alignment
 *   REALLOC   new size in bytes         slot
 *   FREE      slot                      -
 *   THREAD    number of the thread that made the calls from here on, from 0
 *
 * Live blocks are known by slots, small numbers. A new block takes the slot that was given back last, or the next one
 * never used; reader and writer keep the same stack, so that no allocation names its slot. A slot is written as the
 * signed distance from the slot of the event before (distance d as 2d, or -2d - 1 when negative), which is mostly
 * zero or close to it.
 *
 * Calls that failed and free(NULL) are not in a trace. The header's counts are written last: a file whose program
 * died has `bytes` zero, and trace_open counts for itself.
 *
 * Everything here is for one thread at a time; memory comes from mmap, for the writer stands inside malloc. */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum trace_op { TRACE_MALLOC, TRACE_CALLOC, TRACE_ALIGNED, TRACE_REALLOC, TRACE_FREE, TRACE_THREAD, TRACE_OPS };

static const char *const trace_names[TRACE_OPS] = {"malloc", "calloc", "aligned", "realloc", "free", "thread"};

#define TRACE_MAGIC "loamtrc1"

struct trace_header {
    char magic[8];
    uint64_t bytes;             /* of events; 0: the program died before it could say */
    uint64_t counts[TRACE_OPS]; /* events by op */
};

/* One event, decoded. */
struct trace_event {
    enum trace_op op;
    unsigned align_log2; /* of ALIGNED */
    uint32_t slot;       /* of all but THREAD */
    uint64_t value;      /* bytes; THREAD: its number */
};

/* -- numbers ------------------------------------------------------------------------------------------------- */

enum { TRACE_EVENT_MOST = 24 }; /* bytes that one event may take */

static inline uint8_t *trace_put_number(uint8_t *at, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        *at++ = (uint8_t)(value | 128);
    *at++ = (uint8_t)value;
    return at;
}

static inline const uint8_t *trace_get_number(const uint8_t *at, uint64_t *value)
{
    uint64_t sum = 0;
    unsigned shift = 0;

    for (; *at & 128; shift += 7)
        sum |= (uint64_t)(*at++ & 127) << (shift & 63);
    *value = sum | (uint64_t)*at << (shift & 63);
    return at + 1;
}

static inline uint8_t *trace_put_head(uint8_t *at, enum trace_op op, uint64_t value)
{
    *at = (uint8_t)(value & 15) | (uint8_t)(op << 4) | (value > 15 ? 128 : 0);
    return value > 15 ? trace_put_number(at + 1, value >> 4) : at + 1;
}

static inline uint64_t trace_fold(int64_t distance)
{
    return distance < 0 ? (uint64_t)-distance * 2 - 1 : (uint64_t)distance * 2;
}

static inline int64_t trace_unfold(uint64_t folded)
{
    return folded & 1 ? -(int64_t)(folded / 2) - 1 : (int64_t)(folded / 2);
}

/* -- slots --------------------------------------------------------------------------------------------------- */

/* What both sides keep: the stack of slots given back, and the last slot named. */
struct trace_slots {
    uint32_t *back; /* [room] */
    size_t held, room;
    uint32_t next, last;
};

/* An array of `room` elements of `size` bytes, grown to twice that; NULL when there is no memory. */
static inline void *trace_grow(void *old, size_t *room, size_t size)
{
    size_t more = *room ? *room * 2 : 4096;
    void *p = old ? mremap(old, *room * size, more * size, MREMAP_MAYMOVE)
                  : mmap(NULL, more * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    *room = more;
    return p;
}

static inline uint32_t trace_slot_take(struct trace_slots *slots)
{
    return slots->last = slots->held ? slots->back[--slots->held] : slots->next++;
}

/* 0, or -1 when there is no memory to remember the slot. */
static inline int trace_slot_give(struct trace_slots *slots, uint32_t slot)
{
    if (slots->held == slots->room) {
        void *grown = trace_grow(slots->back, &slots->room, sizeof *slots->back);

        if (!grown)
            return -1;
        slots->back = (uint32_t *)grown;
    }
    slots->back[slots->held++] = slot;
    slots->last = slot;
    return 0;
}

/* -- events -------------------------------------------------------------------------------------------------- */

/* Decodes the event at `at`, takes and gives its slot; NULL when it makes no sense. */
static inline const uint8_t *trace_get(const uint8_t *at, struct trace_slots *slots, struct trace_event *event)
{
    uint64_t more = 0, number = 0;

    event->op = (enum trace_op)(*at >> 4 & 7);
    event->value = *at & 15;
    if (*at++ & 128) {
        at = trace_get_number(at, &more);
        event->value |= more << 4;
    }
    switch (event->op) {
    case TRACE_ALIGNED:
        at = trace_get_number(at, &number);
        event->align_log2 = (unsigned)number;
        if (number >= 48)
            return NULL; /* fall through */
    case TRACE_MALLOC:
    case TRACE_CALLOC:
        event->slot = trace_slot_take(slots);
        return at;
    case TRACE_REALLOC:
        at = trace_get_number(at, &number);
        event->slot = slots->last = (uint32_t)(slots->last + trace_unfold(number));
        return event->slot < slots->next ? at : NULL;
    case TRACE_FREE:
        event->slot = (uint32_t)(slots->last + trace_unfold(event->value));
        return event->slot < slots->next && trace_slot_give(slots, event->slot) == 0 ? at : NULL;
    case TRACE_THREAD:
        return at;
    default:
        return NULL;
    }
}

#endif
