/* cache.h: Bonwick's object cache, inside; see <loam/cache.h>.
 *
 *   cache.c         alloc and free, inline; making and destroying caches; figures
 *   cache_slab.c    slabs: carving, constructing, lists, reaping, and the check of it all
 *   cache_map.c     from a pointer to its slab where the pages are not loam's own
 *   cache_depot.c   the exchange of magazines, and their adaptation
 *   cache_magazine.c  magazines, and lists of them
 *   cache_thread.c  a thread's (or a CPU's) magazines: coming and going
 *   cache_reap.c    all caches: the registry, working sets, shortage of memory, fork
 *   cache_debug.c   redzone, poison, audit, and reports
 *
 *   thread            slot: [bottom ... top ... limit]  previous     alloc pops at top, free pushes there
 *                            loaded magazine            full or empty
 *   depot             full magazines, empty magazines
 *   slab     | colour | object 1 | object 2 | ... | object capacity | rest |
 *            ^ memory ^ origin + stride
 *   header   struct lm_cache_slab, a byte of state and a bit an object; out of line, in the general heap
 *
 * Every object has a number in its slab, from 1: origin lies a stride before the first object, so that every address in
 * the slab has a number, and the states of 0 and capacity + 1 are NONE. States:
 *
 *   RAW, DESTRUCTED -> BUILDING -> CACHED <-> LIVE        FREE <-> CACHED
 *   in the slab        a thread's   magazine   program      in the slab, constructed
 *
 * free finds a slab's facts (origin, states, magic, and the cache itself as owner) in the descriptor of any of its
 * granules, which are all filled in; a live object is proved by its boundary and its state, before anything is written.
 * The state of an object is written by whoever has the object, by relaxed atomics: a byte each, nobody else's.
 *
 * Invariant (loam_cache_check): an object's bit is set exactly while its state is RAW, DESTRUCTED or FREE; the objects
 * in state CACHED are those in magazines; slabs stand in the list that the number of their set bits says; a magazine in
 * the depot is full or empty.
 *
 * Locks: LM_RANK_CACHES the registry and the threads' tables; LM_RANK_CACHE_CPU a CPU's slot; LM_RANK_CACHE_DEPOT the
 * depot; LM_RANK_BLOCK the slabs. A thread's slot is its own: nobody else writes it while the thread lives. Hooks and
 * sources' map and unmap are called with none held. Fork takes them all. */
#ifndef LM_BLOCK_CACHE_H
#define LM_BLOCK_CACHE_H

#include "block/block.h"

#include <loam/cache.h>

enum lm_cache_state {
    LM_CACHE_NONE,       /* not an object */
    LM_CACHE_RAW,        /* never constructed */
    LM_CACHE_DESTRUCTED, /* not any more: freed in a poisoning cache */
    LM_CACHE_FREE,
    LM_CACHE_BUILDING, /* with a thread that constructs it */
    LM_CACHE_CACHED,
    LM_CACHE_KEPT, /* only while fork's child sorts out what is whose */
    LM_CACHE_LIVE,
};

enum {
    LM_CACHE_DEBUG = LOAM_CACHE_REDZONE | LOAM_CACHE_POISON | LOAM_CACHE_AUDIT,
    LM_CACHE_EVENTS = 4, /* remembered of each object */
    LM_CACHE_BATCH = 64, /* objects that one visit to the slabs brings at the most */
};

/* A free object on its way, and where its state stands. */
struct lm_round {
    void *object;
    uint8_t *state;
};

struct lm_magazine {
    struct lm_magazine *next;
    uint32_t capacity;
    uint32_t rounds; /* unless it is loaded: then the slot's top counts */
    uint32_t number; /* for piles, or 0 */
    struct lm_round round[];
};

/* A thread's or CPU's magazines of a cache. All NULL: none, which alloc takes for empty and free for full. */
struct lm_cache_slot {
    struct lm_round *top, *bottom, *limit; /* in the loaded magazine */
    struct lm_magazine *previous;          /* full or empty */
};

enum { LM_CACHE_SLOTS = 2048, LM_CACHE_SELF_SLOTS = 2 };

/* A thread's table of slots, by cache. A mapping of its own that is never given back, only used again: the pages of
 * slots that nobody used cost nothing. Slot 0 lies under the head and belongs to no cache, slot 1 is always empty. */
struct loam_cache_self {
    struct loam_cache_self *next, *next_idle; /* LM_RANK_CACHES */
    uint32_t used;                            /* slots below it may be loaded */
    uint32_t round;                           /* of shortage that the thread has answered */
    bool busy;                                /* it has a thread; LM_RANK_CACHES */
    char pad[39];
    struct lm_cache_slot slot[LM_CACHE_SLOTS - LM_CACHE_SELF_SLOTS];
};

_Static_assert(sizeof(struct loam_cache_self) == LM_CACHE_SLOTS * sizeof(struct lm_cache_slot), "a table of slots");
#define LM_CACHE_NO_SLOT 32 /* the offset of slot 1; inside pad, which stays zero */

struct lm_cache_cpu {
    struct lm_lock lock;
    struct lm_cache_slot slot;
    char pad[24];
};

_Static_assert(sizeof(struct lm_cache_cpu) == LM_CACHE_LINE, "CPUs do not share a line");

struct lm_cache_event {
    const void *caller;
    uint64_t ms;
    uint32_t thread;
    uint32_t state; /* that the object came to */
};

struct lm_cache_slab {
    struct lm_list link;
    char *memory, *origin;
    uint32_t free;                /* set bits */
    uint32_t where;               /* index of its list */
    const void *taker;            /* the thread that took from it last */
    uint64_t *bits;               /* of the objects in it, by number */
    struct lm_cache_event *audit; /* LM_CACHE_EVENTS of each object, or NULL */
    uint8_t state[] __attribute__((aligned(8)));
};

enum { LM_CACHE_FULL, LM_CACHE_PARTIAL, LM_CACHE_EMPTY, LM_CACHE_LISTS };

struct lm_cache_table; /* cache_map.c */

/* A list of magazines (cache_magazine.c). */
struct lm_magazines {
    bool is_pile;
    struct lm_magazine *first; /* of a chain, which the depot's lock guards, and how many there are */
    size_t count;
    struct lm_pile pile;
    size_t room;  /* atomic; the sum of capacities */
    size_t least; /* atomic; of the counts since lm_magazines_spare */
};

struct lm_cache_depot {
    struct lm_lock lock;                        /* with lists:mutex of everything here; else see cache_depot.c */
    bool is_shared;                             /* its lists are piles */
    uint32_t rounds, rounds_least, rounds_most; /* of new magazines; atomic */
    struct lm_magazines full, empty;
    /* atomic where it is shared */
    uint32_t inside;           /* threads that are at it */
    uint32_t window_contended; /* contention is counted by windows */
    uint64_t window_ms;
    uint64_t contended, exchanges;
};

struct loam_cache {
    /* read by the common path */
    size_t slot_offset; /* in every thread's table */
    const struct loam_cache_arena *arena;

    uint32_t flags;
    enum loam_cache_layer layer;
    size_t size, stride, align;
    uint64_t magic; /* ceil(2^64 / stride) */
    size_t slab_bytes, capacity, colours, colour_step;
    int (*construct)(void *, void *);
    void (*destruct)(void *, void *);
    void (*reclaim)(void *);
    void *arg;
    const struct loam_source *source;
    size_t idle_ms;
    struct lm_cache_cpu *cpu; /* cpu_count of them, or NULL */
    unsigned cpu_count;
    char name[32];

    struct lm_list link; /* of all caches; LM_RANK_CACHES, as the next two */
    uint32_t pins;       /* walkers that are at it */
    bool dying;

    struct lm_cache_depot depot __attribute__((aligned(LM_CACHE_LINE)));

    struct lm_lock lock __attribute__((aligned(LM_CACHE_LINE))); /* the rest */
    uint32_t colour;                                             /* of the next slab; atomic */
    struct lm_list list[LM_CACHE_LISTS];
    size_t count[LM_CACHE_LISTS]; /* of slabs */
    size_t slabs, empties_least;
    size_t out;                   /* objects that are not in a slab */
    uint32_t turn;                /* of a debugging cache: where the last object was taken, so that reuse comes late */
    struct lm_cache_table *table; /* atomic */
    uint64_t ticked_ms;
    uint64_t constructed, destructed, refused, reaped_bytes; /* atomic */
};

extern struct loam_cache_self lm_cache_self_none LM_HIDDEN; /* never written */

_Static_assert(LOAM_CACHE_STATE_LIVE == (int)LM_CACHE_LIVE && LOAM_CACHE_STATE_CACHED == (int)LM_CACHE_CACHED &&
        sizeof(struct loam_cache_round) == sizeof(struct lm_round) &&
        offsetof(struct loam_cache_slot, bottom) == offsetof(struct lm_cache_slot, bottom) &&
        offsetof(struct loam_cache_slot, limit) == offsetof(struct lm_cache_slot, limit) &&
        offsetof(struct loam_cache_arena, bytes) == offsetof(struct lm_first_arena, bytes) &&
        sizeof(struct loam_cache_line) == sizeof(struct lm_span) &&
        offsetof(struct loam_cache_line, state) == offsetof(struct lm_span, objects.state) &&
        offsetof(struct loam_cache_line, magic) == offsetof(struct lm_span, objects.magic) &&
        offsetof(struct loam_cache_line, first) == offsetof(struct lm_span, objects.first) &&
        offsetof(struct loam_cache_head, arena) == offsetof(struct loam_cache, arena),
    "what the inline functions of the public header believe");

LM_INLINE struct lm_cache_slot *lm_cache_slot_of(struct loam_cache_self *self, const struct loam_cache *cache)
{
    return (struct lm_cache_slot *)(void *)((char *)self + cache->slot_offset);
}

LM_INLINE void lm_cache_state_set(uint8_t *state, enum lm_cache_state to)
{
    __atomic_store_n(state, (uint8_t)to, __ATOMIC_RELAXED);
}

LM_INLINE enum lm_cache_state lm_cache_state_get(const uint8_t *state)
{
    return (enum lm_cache_state)__atomic_load_n(state, __ATOMIC_RELAXED);
}

/* Pushes and pops at the caller's own slot, which has room or rounds. */
LM_INLINE void lm_cache_slot_push(struct lm_cache_slot *slot, struct lm_round round)
{
    struct lm_round *top = slot->top;

    *top = round;
    __atomic_store_n(&slot->top, top + 1, __ATOMIC_RELAXED); /* read by figures */
}

LM_INLINE struct lm_round lm_cache_slot_pop(struct lm_cache_slot *slot)
{
    struct lm_round *top = slot->top - 1;

    __atomic_store_n(&slot->top, top, __ATOMIC_RELAXED); /* read by figures */
    return *top;
}

/* The number of the object at an offset from a slab's origin, or of the one that the offset lies in: then false.
 * offset * ceil(2^64 / stride) is the number in its high word, and less than that factor in its low word exactly when
 * nothing remains (Lemire, Kaser, Kurz 2019), for both below 2^32. */
LM_INLINE bool lm_cache_number(uint64_t offset, uint64_t magic, size_t *number)
{
    unsigned __int128 product = (unsigned __int128)offset * magic;

    *number = (size_t)(product >> 64);
    return (uint64_t)product < magic;
}

LM_INLINE void *lm_cache_object(const struct loam_cache *cache, const struct lm_cache_slab *slab, size_t number)
{
    return slab->origin + number * cache->stride;
}

/* -- cache.c -- */
void *lm_cache_alloc_slow(struct loam_cache *cache, const void *caller);
void lm_cache_free_slow(struct loam_cache *cache, void *object, const void *caller);

/* -- cache_slab.c -- */
/* Up to `want` constructed objects, state CACHED; how many, at least one, or 0 with errno. */
size_t lm_cache_take(struct loam_cache *cache, struct lm_round *out, size_t want);
/* Puts objects back, in the state FREE or DESTRUCTED. */
void lm_cache_give(struct loam_cache *cache, const struct lm_round *rounds, size_t count, enum lm_cache_state state);
size_t lm_cache_reap_slabs(struct loam_cache *cache, size_t most); /* empty ones; the bytes given back */
/* The slab that p lies in and the number of the object, or NULL; *start tells whether p is where it starts. */
struct lm_cache_slab *lm_cache_find(const struct loam_cache *cache, const void *p, size_t *number, bool *start);
int lm_cache_check_slabs(struct loam_cache *cache, size_t *cached); /* under its lock; objects in state CACHED */
void lm_cache_recover_slabs(struct loam_cache *cache);              /* in a fork's child */
size_t lm_cache_header_bytes(const struct loam_cache *cache);       /* of a slab, out of line */

/* -- cache_map.c: slabs by address, of caches with a source -- */
bool lm_cache_map_add(struct loam_cache *cache, struct lm_cache_slab *slab); /* under the cache's lock */
void lm_cache_map_drop(struct loam_cache *cache, const struct lm_cache_slab *slab);
struct lm_cache_slab *lm_cache_map_find(const struct loam_cache *cache, const void *p);
void lm_cache_map_free(struct loam_cache *cache);

/* -- cache_magazine.c -- */
struct lm_magazine *lm_magazine_new(uint32_t capacity, bool numbered); /* empty; NULL: no memory */
void lm_magazine_free(struct lm_magazine *m);                          /* NULL is allowed */
void lm_magazine_free_all(struct lm_magazine *chain);
void lm_magazines_start(struct lm_magazines *list, bool is_pile);
void lm_magazines_put(struct lm_magazines *list, struct lm_magazine *m);
struct lm_magazine *lm_magazines_get(struct lm_magazines *list); /* NULL: there is none */
size_t lm_magazines_count(const struct lm_magazines *list);
/* How many were to spare all the time since this was asked last; from now on it is counted anew. */
size_t lm_magazines_spare(struct lm_magazines *list);
/* The magazine after m, or with NULL the first; nobody may be at the list. */
struct lm_magazine *lm_magazines_next(const struct lm_magazines *list, const struct lm_magazine *m);
void lm_magazines_recover(struct lm_magazines *list); /* in a fork's child */
int lm_magazines_check(const struct lm_magazines *list);

/* -- cache_depot.c -- */
void lm_cache_depot_start(struct loam_cache *cache, size_t rounds);
/* True when the slot has a round to pop afterwards. */
bool lm_cache_load_full(struct loam_cache *cache, struct lm_cache_slot *slot);
/* True when the slot has room to push afterwards. */
bool lm_cache_load_empty(struct loam_cache *cache, struct lm_cache_slot *slot);
/* Empties a slot: full magazines into the depot, or with `all` everything into the slabs. */
void lm_cache_unload(struct loam_cache *cache, struct lm_cache_slot *slot, bool all);
void lm_cache_depot_trim(struct loam_cache *cache, bool all);  /* what was to spare since last time, or all */
size_t lm_cache_slot_rounds(const struct lm_cache_slot *slot); /* under the depot's lock */
void lm_cache_depot_recover(struct lm_cache_depot *depot);     /* in a fork's child */
int lm_cache_check_depot(struct loam_cache *cache, size_t *rounds);

/* -- cache_thread.c -- */
extern struct lm_lock lm_caches_lock; /* LM_RANK_CACHES */
extern struct loam_cache_self *lm_cache_selves;
extern size_t lm_cache_threads; /* that have a table; atomic */
/* The calling thread's table; NULL: it is past having one, or there is no memory. */
struct loam_cache_self *lm_cache_attach(void);
void lm_cache_answer(struct loam_cache_self *self, uint32_t round); /* empties the thread's own magazines */
size_t lm_cache_slot_assign(void);                                  /* an offset; LM_CACHE_NO_SLOT: all are taken */
void lm_cache_slot_release(struct loam_cache *cache);               /* empties it in every thread */
void *lm_cache_cpu_alloc(struct loam_cache *cache);
void lm_cache_cpu_free(struct loam_cache *cache, struct lm_round round);
void lm_cache_forget_threads(void); /* in a fork's child: all but the caller's tables are idle */

/* -- cache_reap.c -- */
void lm_caches_add(struct loam_cache *cache);
void lm_caches_remove(struct loam_cache *cache);
/* Every cache, none twice, with no lock held. */
void lm_caches_visit(void (*visit)(struct loam_cache *cache, void *arg), void *arg);
void lm_caches_tick(void);       /* on slow paths: gives back what was to spare, when an interval has passed */
bool lm_caches_relieve(void);    /* memory is short: true when asking again may help */
extern uint32_t lm_caches_round; /* of shortage; atomic */

/* -- cache_debug.c -- */
_Noreturn void lm_cache_misuse(const struct loam_cache *cache, const char *fault, const void *p) LM_COLD;
void lm_cache_debug_start(const struct loam_cache *cache, struct lm_cache_slab *slab); /* a new slab */
void *lm_cache_debug_alloc(struct loam_cache *cache, const void *caller);
void lm_cache_debug_free(struct loam_cache *cache, struct lm_cache_slab *slab, size_t number, const void *caller);
void lm_cache_debug_build(const struct loam_cache *cache, void *object);   /* before it is constructed */
void lm_cache_debug_unbuild(const struct loam_cache *cache, void *object); /* it was not, or is destructed */
/* 0 or the line: a live object's redzone, a free one's poison. */
int lm_cache_debug_check(const struct loam_cache *cache, const struct lm_cache_slab *slab, size_t number);

#endif
