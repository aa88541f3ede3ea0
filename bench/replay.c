/* replay.c: makes the calls of a trace (trace.h) again, on whatever malloc this process has.
 *
 *   replay [-r ROUNDS] [-c] [-i] TRACE
 *
 *   -r  so many times over (1); after each round the blocks that the program never freed are freed
 *   -c  check: a calloc'd block is zero, a block's first word survives until it is freed or moved by realloc
 *   -i  only say what the trace holds
 *
 * Printed is one line of JSON: the header's counts, and those of the calls made, which must be alike.
 *
 * A trace of several threads is replayed by as many. Every thread makes its own calls in its own order; a call upon a
 * slot waits until the calls upon that slot that stand before it in the trace were made (its turn), so every block is
 * freed by the thread that freed it then. The order of events in the trace is one in which no call waits, so the
 * threads never wait for each other in a circle. All of them live from first to last.
 *
 * Nothing here calls malloc but to replay: recording a replay of one thread's trace gives the same trace. */
#include "trace.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS_MOST = 256, PAGE = 4096 };

/* What stands in a slot. turn pairs: released after a call upon the slot, acquired by the next. */
struct place {
    void *block;
    uint32_t turn;
    uint32_t marked; /* the block's first word holds its slot */
};

/* One thread's calls: op and value, slot, turn (only among several threads), alignment. */
struct stream {
    uint8_t *calls, *end;
    size_t room;
    uint64_t counts[TRACE_OPS], left;
    pthread_t thread;
};

static struct stream streams[THREADS_MOST];
static unsigned stream_count;
static struct place *places;
static uint32_t place_count;
static uint64_t recorded[TRACE_OPS], live_peak;
static bool checking;

static void die(const char *what, const char *name)
{
    dprintf(STDERR_FILENO, "replay: %s: %s\n", name, what);
    _exit(1);
}

/* -- loading ------------------------------------------------------------------------------------------------------- */

static const uint8_t *open_trace(const char *name, const struct trace_header **header, const uint8_t **end)
{
    int file = open(name, O_RDONLY);
    struct stat about;
    const uint8_t *p;

    if (file < 0 || fstat(file, &about) != 0)
        die(strerror(errno), name);
    if ((size_t)about.st_size < sizeof **header)
        die("not a trace", name);
    /* a page more than the file, so that a cut number ends in zeros */
    p = mmap(NULL, (size_t)about.st_size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || pread(file, (void *)(uintptr_t)p, (size_t)about.st_size, 0) != about.st_size)
        die("cannot be read", name);
    close(file);
    *header = (const struct trace_header *)(const void *)p;
    if (memcmp((*header)->magic, TRACE_MAGIC, sizeof(*header)->magic) != 0)
        die("not a trace", name);
    if ((*header)->bytes > (size_t)about.st_size - sizeof **header)
        die("cut short", name);
    *end = (*header)->bytes ? p + sizeof **header + (*header)->bytes : p + about.st_size;
    return p + sizeof **header;
}

/* What is known of a slot while loading. */
struct seen {
    uint64_t bytes;
    uint32_t turn;
};

static struct seen *seen_slot(struct seen **seen, size_t *room, uint32_t slot)
{
    while (slot >= *room) {
        struct seen *grown = trace_grow(*seen, room, sizeof **seen);

        if (!grown)
            die("no memory", "slots");
        *seen = grown;
    }
    return &(*seen)[slot];
}

static void add_call(struct stream *stream, const struct trace_event *event, uint32_t turn)
{
    size_t used = (size_t)(stream->end - stream->calls);

    if (used + 2 * TRACE_EVENT_MOST > stream->room) {
        uint8_t *grown = trace_grow(stream->calls, &stream->room, 1);

        if (!grown)
            die("no memory", "calls");
        stream->calls = grown;
        stream->end = grown + used;
    }
    stream->end = trace_put_head(stream->end, event->op, event->op == TRACE_FREE ? 0 : event->value);
    stream->end = trace_put_number(stream->end, event->slot);
    stream->end = trace_put_number(stream->end, turn);
    if (event->op == TRACE_ALIGNED)
        *stream->end++ = (uint8_t)event->align_log2;
}

static void count_event(const struct trace_event *event, struct seen *seen, uint64_t *live)
{
    *live -= seen->bytes;
    seen->bytes = event->op == TRACE_FREE ? 0 : event->value;
    *live += seen->bytes;
    if (*live > live_peak)
        live_peak = *live;
}

/* Sorts the events by thread, with slots and turns spelled out. */
static void load(const char *name)
{
    const struct trace_header *header;
    const uint8_t *end, *at = open_trace(name, &header, &end), *first = at;
    struct trace_slots slots = {0};
    struct seen *seen = NULL;
    size_t room = 0;
    uint64_t live = 0;
    unsigned thread = 0;

    while (at < end) {
        struct trace_event event = {0};
        const uint8_t *next = trace_get(at, &slots, &event);

        if (!next || (next > end && header->bytes) || (event.op == TRACE_THREAD && event.value >= THREADS_MOST))
            die("damaged", name);
        if (next > end)
            break; /* the program died in the middle of an event */
        at = next;
        recorded[event.op]++;
        if (event.op == TRACE_THREAD) {
            thread = (unsigned)event.value;
        } else {
            struct seen *slot = seen_slot(&seen, &room, event.slot);

            count_event(&event, slot, &live);
            add_call(&streams[thread], &event, slot->turn++);
        }
        if (thread >= stream_count)
            stream_count = thread + 1;
    }
    for (int op = 0; header->bytes && op < TRACE_OPS; op++)
        if (header->counts[op] != recorded[op])
            die("the header counts other events than there are", name);
    place_count = slots.next;
    if (seen)
        munmap(seen, room * sizeof *seen);
    if (slots.back)
        munmap(slots.back, slots.room * sizeof *slots.back);
    munmap((void *)(uintptr_t)header, (size_t)(end - first) + sizeof *header);
    places = mmap(NULL, (place_count + 1) * sizeof *places, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (places == MAP_FAILED)
        die("no memory", "places");
}

/* -- replaying ----------------------------------------------------------------------------------------------------- */

static void use(char *block, size_t size, enum trace_op op)
{
    if (size == 0)
        return;
    block[0] = 1;
    if (op == TRACE_CALLOC)
        return;
    for (size_t i = PAGE; i < size; i += PAGE)
        block[i] = 1;
    block[size - 1] = 1;
}

static void mark(struct place *place, size_t size)
{
    place->marked = size >= sizeof(uint64_t);
    if (place->marked)
        *(uint64_t *)place->block = (uint64_t)(place - places) * 0x9E3779B97F4A7C15u;
}

static void expect_mark(const struct place *place, const void *block)
{
    if (place->marked && *(const uint64_t *)block != (uint64_t)(place - places) * 0x9E3779B97F4A7C15u)
        die("a block changed", "check");
}

static void expect_zeros(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != 0)
            die("a calloc'd block is not zero", "check");
}

static void *make(enum trace_op op, size_t size, unsigned align_log2)
{
    void *block = NULL;

    switch (op) {
    case TRACE_MALLOC:
        block = malloc(size);
        break;
    case TRACE_CALLOC:
        block = calloc(1, size);
        break;
    default:
        if (align_log2 < 3)
            align_log2 = 3;
        if (posix_memalign(&block, (size_t)1 << align_log2, size) != 0)
            block = NULL;
        break;
    }
    if (!block)
        die("no memory", trace_names[op]);
    return block;
}

static void call(struct place *place, enum trace_op op, size_t size, unsigned align_log2)
{
    if (checking && (op == TRACE_FREE || op == TRACE_REALLOC))
        expect_mark(place, place->block);
    if (op == TRACE_FREE) {
        free(place->block);
        place->block = NULL;
        return;
    }
    if (op == TRACE_REALLOC) {
        place->block = realloc(place->block, size);
        if (!place->block)
            die("no memory", trace_names[op]);
        if (checking && size >= sizeof(uint64_t))
            expect_mark(place, place->block);
    } else {
        place->block = make(op, size, align_log2);
        if (checking && op == TRACE_CALLOC)
            expect_zeros(place->block, size);
    }
    use(place->block, size, op);
    if (checking)
        mark(place, size);
}

static void wait_turn(const struct place *place, uint32_t turn)
{
    for (unsigned tries = 0; __atomic_load_n(&place->turn, __ATOMIC_ACQUIRE) != turn; tries++)
        if (tries % 64 == 63)
            sched_yield();
}

static void *replay_stream(void *arg)
{
    struct stream *stream = arg;
    bool alone = stream_count == 1;

    for (const uint8_t *at = stream->calls; at < stream->end;) {
        enum trace_op op = (enum trace_op)(*at >> 4 & 7);
        uint64_t size = *at & 15, more, slot, turn;
        unsigned align_log2 = 0;

        if (*at++ & 128) {
            at = trace_get_number(at, &more);
            size |= more << 4;
        }
        at = trace_get_number(at, &slot);
        at = trace_get_number(at, &turn);
        if (op == TRACE_ALIGNED)
            align_log2 = *at++;
        if (!alone)
            wait_turn(&places[slot], (uint32_t)turn);
        call(&places[slot], op, size, align_log2);
        stream->counts[op]++;
        if (!alone)
            __atomic_store_n(&places[slot].turn, (uint32_t)turn + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void free_what_is_left(void)
{
    for (uint32_t i = 0; i < place_count; i++) {
        if (places[i].block) {
            free(places[i].block);
            streams[0].left++;
        }
        places[i] = (struct place){0};
    }
}

static void replay_round(void)
{
    for (unsigned i = 1; i < stream_count; i++)
        if (pthread_create(&streams[i].thread, NULL, replay_stream, &streams[i]) != 0)
            die("no thread", "replay");
    replay_stream(&streams[0]);
    for (unsigned i = 1; i < stream_count; i++)
        pthread_join(streams[i].thread, NULL);
}

/* -- what it says -------------------------------------------------------------------------------------------------- */

static size_t put_counts(char *to, size_t room, const char *name, const uint64_t *counts)
{
    size_t length = (size_t)snprintf(to, room, ", \"%s\": {", name);

    for (int op = 0; op < TRACE_THREAD; op++)
        length += (size_t)snprintf(
            to + length, room - length, "%s\"%s\": %lu", op ? ", " : "", trace_names[op], (unsigned long)counts[op]);
    return length + (size_t)snprintf(to + length, room - length, "}");
}

/* In one piece: stdio would ask malloc for a buffer. */
static void report(long rounds)
{
    uint64_t made[TRACE_OPS] = {0};
    char line[2048];
    size_t length;

    for (unsigned i = 0; i < stream_count; i++)
        for (int op = 0; op < TRACE_OPS; op++)
            made[op] += streams[i].counts[op];
    length = (size_t)snprintf(line, sizeof line,
        "{\"threads\": %u, \"slots\": %u, \"live_peak_bytes\": %lu, \"rounds\": %ld", stream_count, place_count,
        (unsigned long)live_peak, rounds);
    length += put_counts(line + length, sizeof line - length, "recorded", recorded);
    if (rounds) {
        length += put_counts(line + length, sizeof line - length, "replayed", made);
        length +=
            (size_t)snprintf(line + length, sizeof line - length, ", \"left\": %lu", (unsigned long)streams[0].left);
    }
    length += (size_t)snprintf(line + length, sizeof line - length, "}\n");
    if (write(STDOUT_FILENO, line, length) != (ssize_t)length)
        _exit(1);
}

int main(int argc, char **argv)
{
    long rounds = 1;
    int option;

    while ((option = getopt(argc, argv, "r:ci")) != -1)
        if (option == 'r')
            rounds = atol(optarg);
        else if (option == 'c')
            checking = true;
        else if (option == 'i')
            rounds = 0;
        else
            return 2;
    if (optind + 1 != argc || rounds < 0) {
        dprintf(STDERR_FILENO, "usage: replay [-r ROUNDS] [-c] [-i] TRACE\n");
        return 2;
    }
    load(argv[optind]);
    for (long round = 0; round < rounds; round++) {
        replay_round();
        if (round + 1 < rounds || stream_count > 1)
            free_what_is_left();
    }
    report(rounds);
    return 0;
}
