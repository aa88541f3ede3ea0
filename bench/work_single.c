/* work_single.c: one thread: fixed and mixed sizes by lifetime, reallocation, large blocks, and the patterns of two
 * kinds of program, a cache and a compiler. */
#include "work.h"
#include <string.h>

/* Stacks of 100. */
static void fixed_lifo(long percent)
{
    void *p[100];

    for (long round = work_of(300000, percent); round-- > 0;) {
        for (int i = 0; i < 100; i++)
            p[i] = touch(48);
        for (int i = 100; i-- > 0;)
            free(p[i]);
    }
}

static void fixed_fifo(long percent)
{
    enum { N = 10000 };
    static void *ring[N];

    for (long i = 0, total = work_of(20000000, percent); i < total; i++) {
        free(ring[i % N]);
        ring[i % N] = touch(64);
    }
}

static void fixed_random(long percent)
{
    enum { N = 50000 };
    static void *held[N];
    uint64_t seed = 1;

    for (long i = work_of(6000000, percent); i-- > 0;) {
        size_t slot = next_random(&seed) % N;

        free(held[slot]);
        held[slot] = touch(80);
    }
}

static void mixed_lifo(long percent)
{
    void *p[100];
    uint64_t seed = 6;

    for (long round = work_of(200000, percent); round-- > 0;) {
        for (int i = 0; i < 100; i++)
            p[i] = touch(mixed(&seed));
        for (int i = 100; i-- > 0;)
            free(p[i]);
    }
}

static void mixed_fifo(long percent)
{
    enum { N = 10000 };
    static void *ring[N];
    uint64_t seed = 7;

    for (long i = 0, total = work_of(10000000, percent); i < total; i++) {
        free(ring[i % N]);
        ring[i % N] = touch(mixed(&seed));
    }
}

static void mixed_random(long percent)
{
    enum { N = 50000 };
    static void *held[N];
    uint64_t seed = 1;

    for (long i = work_of(4000000, percent); i-- > 0;) {
        size_t slot = next_random(&seed) % N;

        free(held[slot]);
        held[slot] = touch(mixed(&seed));
    }
}

/* -- reallocation -------------------------------------------------------------------------------------------------- */

/* Strings and tables, 64 at a time, that grow by a half. */
static void growing(long percent)
{
    enum { N = 64 };
    struct {
        char *p;
        size_t size, most;
    } held[N] = {{0}};
    uint64_t seed = 2;

    for (long i = work_of(50000, percent); i-- > 0;) {
        size_t slot = next_random(&seed) % N;

        if (!held[slot].p || held[slot].size >= held[slot].most) {
            free(held[slot].p);
            held[slot].p = NULL;
            held[slot].size = 16;
            held[slot].most = (size_t)1 << (8 + next_random(&seed) % 15);
        }
        held[slot].size += held[slot].size / 2;
        held[slot].p = realloc(held[slot].p, held[slot].size);
        if (!held[slot].p)
            abort();
        held[slot].p[held[slot].size - 1] = 1;
    }
}

/* Lines: read into a buffer that is large enough, cut to what came, kept for a while. */
static void shrinking(long percent)
{
    enum { N = 5000 };
    static char *held[N];
    uint64_t seed = 8;

    for (long i = work_of(1200000, percent); i-- > 0;) {
        size_t slot = next_random(&seed) % N, length = mixed(&seed);
        char *p = malloc(4096 << next_random(&seed) % 3);

        if (!p)
            abort();
        memset(p, 1, length);
        free(held[slot]);
        held[slot] = realloc(p, length);
        if (!held[slot])
            abort();
    }
}

/* Blocks of 64 KiB to 4 MiB, twenty alive. */
static void large_blocks(long percent)
{
    char *held[20] = {NULL};
    uint64_t seed = 3;

    for (long i = work_of(4000, percent); i-- > 0;) {
        size_t slot = next_random(&seed) % 20, size = (64 << 10) + next_random(&seed) % (4 << 20);

        free(held[slot]);
        held[slot] = malloc(size);
        if (!held[slot])
            abort();
        for (size_t b = 0; b < size; b += 4096)
            held[slot][b] = 1;
    }
}

/* -- a key-value cache with expiry --------------------------------------------------------------------------------- */

enum { BUCKETS = 1 << 14, WHEEL = 1 << 15, KEYS = 60000 };

/* In a chain of its bucket, and in the list of those that expire at the same tick. */
struct entry {
    struct entry *next, *next_to_expire;
    char *key;
    char *value; /* NULL: dropped already, and out of its chain */
    unsigned bucket;
};

static struct entry *chains[BUCKETS], *wheel[WHEEL];

static struct entry **find_entry(uint64_t number, char *name)
{
    struct entry **place = &chains[number % BUCKETS];

    for (int i = 0; i < 12; i++, number /= 26)
        name[i] = (char)('a' + number % 26);
    name[12] = 0;
    while (*place && strcmp((*place)->key, name) != 0)
        place = &(*place)->next;
    return place;
}

static void drop_value(struct entry **place)
{
    struct entry *entry = *place;

    *place = entry->next;
    free(entry->key);
    free(entry->value);
    entry->key = entry->value = NULL;
}

static void expire(struct entry *list)
{
    while (list) {
        struct entry *next = list->next_to_expire;

        if (list->value) {
            struct entry **place = &chains[list->bucket];

            while (*place != list)
                place = &(*place)->next;
            drop_value(place);
        }
        free(list);
        list = next;
    }
}

/* Half of the requests store, with a few hot keys and values of very different sizes. */
static void key_value(long percent)
{
    uint64_t seed = 9;

    for (long tick = 0, total = work_of(1500000, percent); tick < total; tick++) {
        uint64_t r = next_random(&seed);
        uint64_t key = r % 4 ? r / 4 % (KEYS / 20) : r / 4 % KEYS;
        char name[16];
        struct entry **place = find_entry(key, name), *entry;
        size_t slot = (size_t)tick % WHEEL, later = 1 + (r >> 20) % (WHEEL - 1);

        expire(wheel[slot]);
        wheel[slot] = NULL;
        place = find_entry(key, name);
        if (r >> 40 & 1)
            continue;
        if (*place)
            drop_value(place);
        entry = touch(sizeof *entry);
        entry->key = strcpy(touch(16 + (size_t)(key % 32)), name);
        entry->value = touch(mixed(&seed) + (r >> 41 & 1023 ? 0 : 30000));
        entry->bucket = (unsigned)(key % BUCKETS);
        entry->next = chains[entry->bucket];
        chains[entry->bucket] = entry;
        slot = (slot + later) % WHEEL;
        entry->next_to_expire = wheel[slot];
        wheel[slot] = entry;
    }
}

/* -- a compiler's arenas ------------------------------------------------------------------------------------------- */

struct chunk {
    struct chunk *before;
    size_t used, room;
};

static void *arena_take(struct chunk **arena, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!*arena || (*arena)->used + size > (*arena)->room) {
        size_t room = *arena ? (*arena)->room * 2 : 4064;
        struct chunk *chunk = malloc(sizeof *chunk + (room < 65536 ? room : 65536));

        if (!chunk)
            abort();
        *chunk = (struct chunk){*arena, 0, room < 65536 ? room : 65536};
        *arena = chunk;
    }
    (*arena)->used += size;
    return (char *)(*arena + 1) + (*arena)->used - size;
}

static void arena_drop(struct chunk *arena)
{
    while (arena) {
        struct chunk *before = arena->before;

        free(arena);
        arena = before;
    }
}

/* Functions: a tree in an arena, names that stay, a table of instructions that grows, lists that come and go. */
static void arenas(long percent)
{
    enum { NAMES = 200000 };
    static char *names[NAMES];
    uint64_t seed = 10;
    size_t named = 0;

    for (long function = work_of(30000, percent); function-- > 0;) {
        struct chunk *arena = NULL;
        void **code = NULL, *lists[32] = {NULL};
        size_t nodes = 20 + next_random(&seed) % 1000;

        for (size_t n = 0; n < nodes; n++) {
            *(size_t *)arena_take(&arena, 24 + next_random(&seed) % 100) = n;
            if ((n & (n - 1)) == 0 && !(code = realloc(code, (2 * n + 2) * sizeof *code)))
                abort();
            if (n % 8 == 0) {
                free(names[named % NAMES]);
                names[named++ % NAMES] = touch(5 + next_random(&seed) % 40);
            }
            free(lists[n % 32]);
            lists[n % 32] = touch(16 + 16 * (n % 5));
        }
        for (int i = 0; i < 32; i++)
            free(lists[i]);
        free(code);
        arena_drop(arena);
    }
}

const struct workload single_workloads[] = {{"fixed-lifo", "48 bytes, last in first out, in stacks of 100", fixed_lifo},
    {"fixed-fifo", "64 bytes, first in first out, 10,000 alive", fixed_fifo},
    {"fixed-random", "80 bytes, random lifetimes, 50,000 alive", fixed_random},
    {"mixed-lifo", "8 bytes to 4 KB, mostly small, in stacks of 100", mixed_lifo},
    {"mixed-fifo", "the same, first in first out, 10,000 alive", mixed_fifo},
    {"mixed-random", "the same, random lifetimes, 50,000 alive", mixed_random},
    {"growing", "64 buffers that realloc makes larger by a half, up to 4 MiB", growing},
    {"shrinking", "buffers of 4 to 16 KiB that realloc cuts to a line", shrinking},
    {"large", "blocks of 64 KiB to 4 MiB, twenty alive", large_blocks},
    {"key-value", "a cache: entry, key and value, expiry by a wheel, hot keys", key_value},
    {"arenas", "a compiler: an arena a function, names that stay, tables that grow", arenas}, {NULL, NULL, NULL}};
