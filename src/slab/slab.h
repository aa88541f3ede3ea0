/* slab: a span cut into equal objects.
 *
 *   sizeclass.h   which sizes there are, and a class's numbers
 *   slab.c        making, carving, collecting, checking and releasing slabs
 *   holes.c       free pages inside slabs, returned to the OS
 *
 *   | colour | object 1 | object 2 | ... | object capacity | rest |
 *   ^ start  ^ origin + size       ^ origin + (carved + 1) * size
 *
 * The list of free objects is kept out of line, by number, in the slab's annex, where it has a line of its own, which the links
 * begin in. The descriptor is not written by malloc or free: other threads read it at each free of a block that is not theirs.
 *
 *   head       the first free object, 0: none
 *   ready      where it lies
 *   link[n]    of a free object n: the next one, 0 at the end of the list; LM_LIVE of one that is handed out;
 *              LM_AWAY | next of one that another thread has freed and that is not home yet
 *
 * head and countdown, which are stored and read again within a few calls, are 32 bits wide, though 16 would do: processors
 * hand a whole word from a store to the next load at once, and a part of one only by way of the store queue. Links are
 * half as wide because there are many of them (docs/decisions/0008).
 *
 * A free object's memory holds nothing of loam's and is not touched when it is freed or handed out. So a cold block
 * costs no cache miss at free, nothing that a program writes to a freed block can mislead the heap, an object that
 * is freed twice is known at once and exactly, and whole pages of free objects may be given to the OS as they are.
 *
 * What other threads free travels as a chain through the same links: whoever holds a block may write its link, the owner
 * all others. So a free from another thread touches the block as little as the owner's does, and from that moment on
 * everybody's free of it finds that it is not live. Should two threads free a block at the very same time, both may find
 * it live: then it stands in two chains, or in a chain and in the list, and whoever takes them meets a link that is none of
 * their kind, or a chain that is not as long as it should be. A list is never followed beyond a link that is away.
 *
 * Counting without counting: `countdown` falls by one at each local free, and nobody looks until it is 0;
 * malloc does not count at all. What 0 means depends on the state (span->kind):
 *
 *   CURRENT  the owner allocates from it; 0 means nothing, the count starts again at LM_COUNT_IDLE
 *   FULL     no object is free; 0 after `lm_slab_reserve` frees: it is worth a place in the partial list
 *   PARTIAL  countdown is the number of live objects, exactly; 0 means the slab is empty
 *
 * It is exact because a slab's free objects are counted when it stops being CURRENT.
 *
 * The pages that no live object lies on may be returned to the OS by the owner (lm_slab_punch, lm_slab_look). Their objects
 * stay free, at the end of the list.
 *
 * Invariant (lm_slab_check): the list holds exactly the objects up to `carved` whose link is neither LM_LIVE nor away,
 * each once; link[0] and links beyond `carved` are of that kind; in state PARTIAL live + free == carved, where an object
 * that is away counts as live; the remote list holds objects up to `carved` that are away, each once.
 *
 * Who writes what: the owner alone writes head, ready, countdown, carved, kind, next and prev, and the links of objects that are
 * not handed out; other threads write the link of a block that they were given, once, to free it. They push onto `remote`,
 * in a cache line of its own:
 *
 *   | length of the list (15) | its first object (16) | LM_MAILED |
 *
 * whose low bit says that the slab stands in (or travels to) a mailbox. The holder of the mailed bit owns mail_next. No
 * locks here. */
#ifndef LM_SLAB_H
#define LM_SLAB_H

#include "page/page.h"
#include "slab/sizeclass.h"

enum { LM_COUNT_IDLE = 0x7fffffff };
enum { LM_MAILED = 1 };
enum { LM_LIVE = 0xffff, LM_AWAY = 0x8000 }; /* above all numbers: no slab has so many objects */

/* Flags of a slab's span. */
enum {
    LM_SLAB_ZEROED = 2, /* fresh objects read as zero */
    LM_SLAB_SWEPT = 4,  /* nothing was freed since its free pages were returned */
    LM_SLAB_AHEAD = 8,  /* its memory is fresh and will be used to the end: it is populated ahead of its objects */
};

/* What a slab needs beside its descriptor: bookkeeping memory that comes and goes with it. */
struct lm_annex {
    /* written by other threads, or rarely */
    uint32_t remote; /* atomic */
    lm_span_id mail_next;
    uint16_t seen_free, punched_free; /* objects, at the last lm_slab_look, and when it last returned pages */
    /* once the slab is being freed: the next annex, and what the descriptor said */
    uint16_t parting_class, parting_carved;
    struct lm_annex *parting;

    /* the list: all that malloc reads or writes, and all that a free by the owner writes */
    uint32_t head __attribute__((aligned(LM_CACHE_LINE)));
    uint32_t countdown;
    char *ready;
    char *origin;          /* as in the descriptor */
    uint32_t object_bytes; /* the same */
    uint16_t link[];       /* capacity + 1 */
};

/* The number of the object that starts at p, which lies in the slab's span; false: none starts there. An offset n is a
 * multiple of the size d exactly when n * ceil(2^64 / d) mod 2^64 is less than that factor, for n, d < 2^32 (Lemire,
 * Kaser, Kurz 2019), and then the other half of the product is n / d. A pointer below the origin wraps to an offset that no
 * factor accepts. 0, for a pointer that no object starts at either, is a number that is never live. */
LM_INLINE bool lm_slab_number(const struct lm_span *slab, const void *p, uint64_t *number)
{
    unsigned __int128 product = (unsigned __int128)(uint64_t)((const char *)p - slab->origin) * slab->magic;

    *number = (uint64_t)(product >> 64);
    return (uint64_t)product < slab->magic;
}

/* Object n. */
LM_INLINE void *lm_slab_object(const struct lm_span *slab, uint64_t n)
{
    return slab->origin + (uint32_t)n * slab->object_bytes;
}

/* True when p, which lies in the slab's span, is the start of an object that has been carved. */
LM_INLINE bool lm_slab_holds(const struct lm_span *slab, const void *p)
{
    uint64_t n;

    /* the owner may be carving others */
    return lm_slab_number(slab, p, &n) && n - 1 < __atomic_load_n(&slab->carved, __ATOMIC_RELAXED);
}

LM_INLINE struct lm_annex *lm_links_annex(uint16_t *links)
{
    return LM_CONTAINER(links, struct lm_annex, link);
}

LM_INLINE struct lm_annex *lm_slab_annex(const struct lm_span *slab)
{
    return lm_links_annex(slab->link);
}

/* Links have one writer at a time, who owns the object; relaxed, because what belongs together is handed over by the
 * remote list's word, or by the program. */
LM_INLINE uint16_t lm_links_get(const uint16_t *links, uint64_t n)
{
    return __atomic_load_n(&links[n], __ATOMIC_RELAXED);
}

LM_INLINE void lm_links_set(uint16_t *links, uint64_t n, uint16_t link)
{
    __atomic_store_n(&links[n], link, __ATOMIC_RELAXED);
}

LM_INLINE uint16_t lm_slab_link(const struct lm_span *slab, uint64_t n)
{
    return lm_links_get(slab->link, n);
}

LM_INLINE void lm_slab_set_link(struct lm_span *slab, uint64_t n, uint16_t link)
{
    lm_links_set(slab->link, n, link);
}

/* True when the object that starts at p is free, at home or on its way there. */
LM_INLINE bool lm_slab_is_free(const struct lm_span *slab, const void *p)
{
    uint64_t n;

    lm_slab_number(slab, p, &n);
    return lm_slab_link(slab, n) != LM_LIVE;
}

/* True when object n is in the slab's list. */
LM_INLINE bool lm_slab_is_home(const struct lm_span *slab, uint64_t n)
{
    return lm_slab_link(slab, n) < LM_AWAY;
}

/* Object n, which the caller holds, leaves for home, before object `next` of the same slab, or 0. */
LM_INLINE void lm_slab_send(struct lm_span *slab, uint64_t n, uint32_t next)
{
    lm_slab_set_link(slab, n, (uint16_t)(LM_AWAY | next));
}

/* A new slab of the class with nothing carved, state CURRENT, or NULL with ENOMEM. `colour` is any number;
 * slabs made with successive ones start their objects on different cache lines. */
struct lm_span *lm_slab_create(unsigned size_class, unsigned colour, void *owner);
struct lm_span *lm_slab_create_in(uint32_t group, unsigned size_class, unsigned colour, void *owner); /* of arenas */

/* The same in a span of kind BLOCK, or SLAB_CURRENT as it was allocated, that is as long as a slab of the class, and is freed if
 * there is none. NULL with ENOMEM. */
struct lm_span *lm_slab_create_at(struct lm_span *span, unsigned size_class, unsigned colour, bool zeroed, void *owner);

/* False of memory for a slab that is still to be made. */
LM_INLINE bool lm_slab_is_made(const struct lm_span *span)
{
    return span->kind >= LM_SLAB_CURRENT && span->link;
}

/* Takes the first object of the list; NULL: it is empty, or ends in a link that is away. */
LM_INLINE void *lm_links_pop(uint16_t *links)
{
    struct lm_annex *annex = lm_links_annex(links);
    uint64_t n = annex->head;
    char *p = annex->ready, *next;
    uint32_t link;

    if (LM_UNLIKELY((int16_t)n <= 0)) /* away is negative */
        return NULL;
    link = lm_links_get(links, n);
    annex->head = link;
    next = annex->origin + link * annex->object_bytes;
    __asm__("" : "+r"(n)); /* or the compiler spends an instruction on keeping the link's place */
    lm_links_set(links, n, LM_LIVE);
    lm_prefetch_write(next);
    __asm__(""
            : "+r"(p)
            : "r"(next)); /* both are there now; so the compiler has p where it is returned, and moves neither */
    annex->ready = next;
    if (!p)
        __builtin_unreachable(); /* spares the caller a branch */
    return p;
}

LM_INLINE void *lm_slab_pop(struct lm_span *slab)
{
    return lm_links_pop(slab->link);
}

/* Puts object n, which is live and starts at p, into the list; the countdown is the caller's matter. */
LM_INLINE void lm_links_push(uint16_t *links, uint64_t n, void *p)
{
    struct lm_annex *annex = lm_links_annex(links);

    lm_links_set(links, n, (uint16_t)annex->head);
    annex->head = (uint32_t)n;
    annex->ready = p;
}

LM_INLINE void lm_slab_push(struct lm_span *slab, uint64_t n, void *p)
{
    lm_links_push(slab->link, n, p);
}

/* The same for a free by the owner, which is counted; true: the countdown is 0, and lm_heap_push_zero is due. */
LM_INLINE bool lm_links_free(uint16_t *links, uint64_t n, void *p)
{
    __asm__("" : "+r"(links)); /* or the compiler spends an instruction on keeping the link's place */
    lm_links_push(links, n, p);
    return --lm_links_annex(links)->countdown == 0;
}

/* The same for the object that starts at p. */
LM_INLINE bool lm_slab_put(struct lm_span *slab, void *p)
{
    uint64_t n;

    lm_slab_number(slab, p, &n);
    return lm_links_free(slab->link, n, p);
}

/* Puts the next OS page of objects, at most so many, into the (empty) list; false when all are carved. More than a page (config
 * prefault), which is populated, when the slab is AHEAD. Dies with a report when the list is not empty, but ends in a link that
 * is away. */
bool lm_slab_carve(struct lm_span *slab, unsigned most);

/* Like it, for one object that is handed out at once; *zeroed when its memory reads as zero. NULL when all
 * are carved. */
void *lm_slab_carve_one(struct lm_span *slab, bool *zeroed);

/* Gives the span of a slab back, and its annex. */
void lm_slab_free(struct lm_span *slab);

/* The same for a chain of spans, linked by next, with the annexes of those that are slabs: locks are taken once. */
void lm_slab_free_all(lm_span_id first);

/* Makes it as if it had just been created, but for what is in its memory; for the owner only. */
void lm_slab_renew(struct lm_span *slab);

/* Makes the list anew of all objects that are not live: in a fork's child, whose parent may have been at it. */
void lm_slab_rebuild(struct lm_span *slab);

/* Dies with the report that two threads freed object n, or (0) one that is not known. */
_Noreturn void lm_slab_die_twice(const struct lm_span *slab, uint64_t n) LM_COLD;

/* Makes free what other threads freed, proving every link. Returns how many. With `delivered` the caller holds the
 * mailed bit and gives it up. Dies with a report when an object has been freed twice. */
unsigned lm_slab_collect(struct lm_span *slab, bool delivered);

/* Pushes a chain of `count` objects `head`..`tail` that are away. True when the caller has thereby taken the mailed bit, and must
 * deliver the slab to its owner. */
bool lm_slab_push_remote(struct lm_span *slab, uint32_t head, uint32_t tail, uint32_t count);

/* True when the slab stands in a mailbox or on its way there; it must not be released then. */
LM_INLINE bool lm_slab_is_mailed(const struct lm_span *slab)
{
    return __atomic_load_n(&lm_slab_annex(slab)->remote, __ATOMIC_ACQUIRE) & LM_MAILED;
}

/* Free pages on their way to the OS, of one slab or of several. Nobody allocates from these slabs meanwhile. */
struct lm_holes {
    size_t returned; /* bytes, so far */
    bool refused;    /* some were, and are there as before */
    unsigned count;
    struct lm_os_range range[64];
};
LM_INLINE void lm_holes_start(struct lm_holes *holes)
{
    holes->returned = 0;
    holes->refused = false;
    holes->count = 0;
}
void lm_holes_return(struct lm_holes *holes); /* all of them now */

/* Returns to the OS the pages of the slab that no live object lies on, unless none was freed since it did so last; the
 * bytes returned. For the owner only. */
size_t lm_slab_punch(struct lm_span *slab);

/* Gathers such pages of a PARTIAL slab of any heap, if it is worth it: more objects are free than when it last was, a quarter at least,
 * and a quarter of the pages would go; and (IDLE) none was freed since the last look, or (NEED) seven in eight of the live ones
 * are gone. In any case and for any page: ALL. */
enum lm_look { LM_LOOK_IDLE, LM_LOOK_NEED, LM_LOOK_ALL };
void lm_slab_look(struct lm_span *slab, enum lm_look look, struct lm_holes *holes);

/* A PARTIAL slab is allocated from again: what was seen of it is void. */
LM_INLINE void lm_slab_unlook(struct lm_span *slab)
{
    struct lm_annex *annex = lm_slab_annex(slab);

    annex->seen_free = annex->punched_free = 0;
}

/* Objects that are carved and free; may run on a slab that another thread is changing. */
unsigned lm_slab_count_free(const struct lm_span *slab);

/* The same by walking the list, which is quick when it is short. For the owner only. */
unsigned lm_slab_list_length(const struct lm_span *slab);

LM_INLINE unsigned lm_slab_capacity(const struct lm_span *slab)
{
    return lm_class[slab->size_class].capacity;
}

/* Frees that a full slab waits for before it is worth a place in the partial list. */
LM_INLINE unsigned lm_slab_reserve(const struct lm_span *slab)
{
    return 1 + lm_slab_capacity(slab) / 16;
}

/* The first descriptor of the slab whose later granule this is. */
LM_INLINE struct lm_span *lm_slab_head(struct lm_span *cont)
{
    return cont - cont->granules;
}

LM_INLINE size_t lm_slab_object_size(const struct lm_span *slab)
{
    return slab->object_bytes;
}

/* 0, or the number of the line whose invariant is broken. For the owner only. */
int lm_slab_check(const struct lm_span *slab);

#endif
