/* <loam/cache.h>: object caches: objects of one type that keep their constructed state while they are free.
 *
 * After Bonwick, "The Slab Allocator" (USENIX 1994), and Bonwick and Adams, "Magazines and Vmem" (USENIX 2001). An
 * object is constructed once, when its memory is first carved from a slab, and destructed once, when the slab goes
 * back; in between it is allocated and freed any number of times. What does not change from one use to the next (a
 * mutex, an empty list head, a buffer of its own) is made once. Whoever frees an object leaves it as constructed; the
 * cache writes nothing into a free object, its bookkeeping is out of line.
 *
 * Free objects wait in magazines, which each thread (or each CPU) has two of, so that alloc and free take no lock;
 * full and empty magazines are traded at a depot, whose magazines grow when threads fight for it. What the depot and the
 * list of empty slabs had to spare all through an interval goes back to the source at its end. When memory is short,
 * every cache's reclaim hook is called and every cache is reaped before a request is refused.
 *
 * Misuse (an object freed twice, a pointer that is no object of the cache, a cache destroyed while objects are live)
 * aborts with a report on stderr before anything is written.
 *
 * Thread safety: all functions may be called by any thread at any time, but that nobody may use a cache while it is
 * destroyed. Late frees, from other libraries' TLS destructors, work. fork: the child has its own copy of every cache;
 * what the vanished threads' magazines held is free again. The hooks (construct, destruct, reclaim) are called with no
 * lock held and may use any other cache and heap; they must neither destroy a cache nor
 * fork. */
#ifndef LOAM_CACHE_H
#define LOAM_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include <loam/source.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_cache;

/* Debugging, any sum of the first three. A cache with one of them has no magazines. */
enum {
    LOAM_CACHE_REDZONE = 1,  /* a guard of at least 8 bytes behind each object, proved at free and by the check */
    LOAM_CACHE_POISON = 2,   /* free objects are destructed and filled, and proved untouched when next allocated */
    LOAM_CACHE_AUDIT = 4,    /* reports name the last calls that an object has seen: who, which thread, when */
    LOAM_CACHE_NO_COLOUR = 8 /* every slab's first object at the same place, for comparison */
};

/* Who has magazines of free objects. */
enum loam_cache_layer {
    LOAM_CACHE_BY_THREAD, /* each thread: the fastest */
    LOAM_CACHE_BY_CPU,    /* each processor, with a lock that is rarely waited for: less memory with many threads */
    LOAM_CACHE_BY_NOBODY  /* one lock for all: the least memory */
};

/* All fields but size_bytes may be 0. */
struct loam_cache_options {
    size_t struct_bytes; /* sizeof(struct loam_cache_options) */
    const char *name;    /* for statistics and reports; the first 31 bytes are copied */
    size_t size_bytes;   /* of an object, 1 byte to 256 MiB */
    size_t align;        /* of an object: a power of two up to 64 KiB; 0: 16, or 8 below 16 bytes */
    int (*construct)(void *object, void *arg); /* 0, or anything else: it failed, and undid what it had done */
    void (*destruct)(void *object, void *arg); /* of an object as constructed */
    void (*reclaim)(void *arg);                /* memory is short: free what can be spared, of this or any cache */
    void *arg;                                 /* of the hooks */
    const struct loam_source *source;          /* of slabs; NULL: loam's own arena */
    unsigned flags;                            /* LOAM_CACHE_REDZONE... */
    enum loam_cache_layer layer;
    size_t slab_bytes;      /* at least; rounded up to what the source deals in; 0: at most 1/8 of a slab is wasted */
    size_t magazine_rounds; /* objects in a magazine at first, 1 to 1024; 0: by size. They grow to eight times that */
    size_t idle_ms;         /* the interval whose surplus goes back; 0: 15,000 */
};

/* A new cache. NULL with EINVAL when an option is none that this version knows or out of its range; NULL with ENOMEM.
 * At most 2,046 caches by thread have magazines at a time; further ones are by nobody. */
struct loam_cache *loam_cache_create_with(const struct loam_cache_options *options);

/* The same, by thread, on loam's own arena. */
struct loam_cache *loam_cache_create(const char *name, size_t size_bytes, size_t align,
    int (*construct)(void *object, void *arg), void (*destruct)(void *object, void *arg), void (*reclaim)(void *arg),
    void *arg);

/* Destructs every object and gives the memory back. All objects must have been freed. NULL is allowed. */
void loam_cache_destroy(struct loam_cache *cache);

/* An object as constructed (without a constructor: with any contents). NULL with ENOMEM, or with the errno that a failing
 * constructor set, after every cache was asked to give back what it can; nothing has changed then. */
void *loam_cache_alloc(struct loam_cache *cache);

/* Frees an object, which must be as constructed. NULL is allowed; errno is kept. */
void loam_cache_free(struct loam_cache *cache, void *object);

/* The same two, inline in the caller: for where a call counts. A program that uses them is bound to the layout below. */
static inline void *loam_cache_alloc_inline(struct loam_cache *cache);
static inline void loam_cache_free_inline(struct loam_cache *cache, void *object);

/* Gives back all that is free, working set or not, but what other threads' magazines hold. The bytes of slabs that went
 * back to the source. */
size_t loam_cache_reap(struct loam_cache *cache);

/* The same for every cache; other threads' magazines are emptied when they next come to the depot. */
size_t loam_cache_reap_all(void);

struct loam_cache_figures {
    size_t struct_bytes; /* set by the caller to sizeof(struct loam_cache_figures) */
    char name[32];
    size_t object_bytes;     /* as asked for */
    size_t stride_bytes;     /* from one object to the next */
    size_t slab_bytes;       /* of a slab */
    size_t objects_per_slab; /* in it */
    size_t colours;          /* places where a slab's first object may stand; 1: the slab has no slack */
    size_t slabs, empty_slabs;
    size_t held_bytes;                /* in slabs */
    size_t meta_bytes;                /* bookkeeping: of slabs and of the depot's magazines */
    size_t live_objects;              /* with the program; about right while others are at work, exact else */
    size_t cached_objects;            /* free, in magazines */
    size_t magazine_rounds;           /* of a new magazine, now */
    size_t depot_full, depot_empty;   /* magazines */
    uint64_t constructed, destructed; /* calls so far; without hooks, objects carved and given back */
    uint64_t exchanges;               /* visits to the depot */
    uint64_t contended;               /* of these, that found another there */
    uint64_t refused;                 /* requests that failed */
    uint64_t reaped_bytes;            /* slabs given back so far */
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows. */
int loam_cache_stats(struct loam_cache *cache, struct loam_cache_figures *out);

/* Calls visit with the figures of every cache there is. */
void loam_cache_each(void (*visit)(const struct loam_cache_figures *figures, void *arg), void *arg);

/* Walks the cache: 0, or a number that says which invariant is broken (of a debugging cache also: a redzone or a
 * poisoned object was written to). For tests; nobody may use the cache meanwhile. */
int loam_cache_check(struct loam_cache *cache);

/* -- for the inline functions alone -------------------------------------------------------------------------------- */

struct loam_cache_round {
    void *object;
    uint8_t *state;
};

enum { LOAM_CACHE_STATE_CACHED = 5, LOAM_CACHE_STATE_LIVE = 7 };

/* The magazine of a cache that a thread has loaded. */
struct loam_cache_slot {
    struct loam_cache_round *top, *bottom, *limit;
};

/* The calling thread's slots. */
struct loam_cache_self;
extern __thread struct loam_cache_self *loam_cache_mine __attribute__((tls_model("initial-exec")));

/* Memory by pieces of 64 KiB; at its base there is a line of 64 bytes for each. */
struct loam_cache_arena {
    char *base;
    size_t bytes;
};

struct loam_cache_line {
    void *cache; /* to which the piece belongs */
    uint8_t *state;
    uint64_t magic;
    char *first;
    char more[32];
};

/* The head of a cache. */
struct loam_cache_head {
    size_t slot_offset;
    const struct loam_cache_arena *arena;
};

static inline void *loam_cache_alloc_inline(struct loam_cache *cache)
{
    const struct loam_cache_head *head = (const struct loam_cache_head *)(const void *)cache;
    struct loam_cache_slot *slot = (struct loam_cache_slot *)(void *)((char *)loam_cache_mine + head->slot_offset);
    struct loam_cache_round *top = slot->top;

    if (__builtin_expect(top == slot->bottom, 0))
        return loam_cache_alloc(cache);
    __atomic_store_n(&slot->top, top - 1, __ATOMIC_RELAXED);
    __atomic_store_n(top[-1].state, (uint8_t)LOAM_CACHE_STATE_LIVE, __ATOMIC_RELAXED);
    return top[-1].object;
}

static inline void loam_cache_free_inline(struct loam_cache *cache, void *object)
{
    const struct loam_cache_head *head = (const struct loam_cache_head *)(const void *)cache;
    const struct loam_cache_arena *arena = head->arena;
    size_t place = (size_t)((uintptr_t)object - (uintptr_t)arena->base);
    struct loam_cache_slot *slot = (struct loam_cache_slot *)(void *)((char *)loam_cache_mine + head->slot_offset);
    struct loam_cache_round *top = slot->top;
    const struct loam_cache_line *line;
    __extension__ unsigned __int128 product;
    uint8_t *state;

    if (__builtin_expect(place >= arena->bytes, 0)) {
        loam_cache_free(cache, object);
        return;
    }
    line = (const struct loam_cache_line *)(const void *)(arena->base + (place >> 16 << 6));
    product = (__extension__(unsigned __int128)((uintptr_t)object - (uintptr_t)line->first)) * line->magic;
    if (__builtin_expect(__atomic_load_n(&line->cache, __ATOMIC_RELAXED) != (void *)cache, 0) ||
        __builtin_expect((uint64_t)product >= line->magic, 0)) {
        loam_cache_free(cache, object);
        return;
    }
    state = line->state + (size_t)(product >> 64);
    if (__builtin_expect(__atomic_load_n(state, __ATOMIC_RELAXED) != LOAM_CACHE_STATE_LIVE, 0) ||
        __builtin_expect(top == slot->limit, 0)) {
        loam_cache_free(cache, object);
        return;
    }
    __atomic_store_n(state, (uint8_t)LOAM_CACHE_STATE_CACHED, __ATOMIC_RELAXED);
    top->object = object;
    top->state = state;
    __atomic_store_n(&slot->top, top + 1, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
}
#endif
#endif
