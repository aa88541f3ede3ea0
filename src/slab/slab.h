/* slab: a span cut into equal objects.
 *
 *   sizeclass.h   which sizes there are, and a class's numbers
 *   slab.c        making, carving, collecting, checking and releasing slabs
 *   holes.c       free pages inside slabs, returned and taken back
 *
 *   | colour | object 0 | object 1 | ... | object capacity-1 | rest |
 *   ^ start  ^ first                ^ first + carved * size
 *
 * A free object holds two words, a live one none:
 *
 *   word 0: the next free object of the same slab, or NULL
 *   word 1: the mark, word 0 ^ the object's own address ^ lm_secret
 *
 * The mark proves at once that the object is free and that its link was not overwritten: it is checked
 * whenever a link is about to be followed and, at free, suspected of a double free when it is already there.
 * Handing an object out clears word 1. A mark copied elsewhere proves nothing, because of the address.
 *
 * Counting without counting: `countdown` falls by one at each local free, and nobody looks until it is 0;
 * malloc does not count at all. What 0 means depends on the state (span->kind):
 *
 *   CURRENT  the owner allocates from it; 0 means nothing, the count starts again at LM_COUNT_IDLE
 *   FULL     no object is free; 0 after `lm_slab_reserve` frees: it is worth a place in the partial list
 *   PARTIAL  countdown is the number of live objects, exactly; 0 means the slab is empty
 *
 * It is exact because a slab stops being CURRENT only when its list is empty.
 *
 * Holes: of a slab that only its owner touches (a private or shared heap's) whole free pages may be returned to the OS.
 * `holes` of each granule's descriptor has a bit for each of its pages that is one. An object that any of its pages is a
 * hole of is absent: free, but in no list and without a mark. It comes back when its last hole is filled.
 *
 * Invariant (lm_slab_check): every object of the free list and of the remote list lies on an object boundary
 * below `carved`, appears once, and carries its mark; in state PARTIAL live + free + absent == carved.
 *
 * Who writes what: the owner alone writes free, countdown, carved, kind, next and prev; other threads push
 * onto `remote`, whose low bit LM_MAILED says that the slab stands in (or travels to) a mailbox; the holder of
 * that bit owns mail_next. No locks here. */
#ifndef LM_SLAB_H
#define LM_SLAB_H

#include "page/page.h"
#include "slab/sizeclass.h"

enum { LM_COUNT_IDLE = 0xffff };
enum { LM_MAILED = 1 };

/* What the two words of a free object look like. */
struct lm_object {
    struct lm_object *next;
    uintptr_t mark;
};

extern uintptr_t lm_secret LM_HIDDEN; /* the process's own, chosen at start-up */

/* What distinguishes the object's marks from all others'. */
LM_INLINE uintptr_t lm_object_key(const struct lm_object *object)
{
    return (uintptr_t)object ^ lm_secret;
}

/* True when the object looks free, with its link as loam wrote it. */
LM_INLINE bool lm_object_is_marked(const struct lm_object *object)
{
    return object->mark == ((uintptr_t)object->next ^ lm_object_key(object));
}

LM_INLINE void lm_object_link_keyed(struct lm_object *object, struct lm_object *next, uintptr_t key)
{
    object->next = next;
    if (LOAM_HARDENING)
        object->mark = (uintptr_t)next ^ key;
}

LM_INLINE void lm_object_link(struct lm_object *object, struct lm_object *next)
{
    lm_object_link_keyed(object, next, lm_object_key(object));
}

/* True when the pointer, which lies in the slab's span, is the start of an object: an offset n is a multiple
 * of the size d exactly when n * ceil(2^64 / d) mod 2^64 is less than that factor, for n, d < 2^32 (Lemire,
 * Kaser, Kurz 2019). A pointer below the first object wraps to an offset that no factor accepts. */
LM_INLINE bool lm_slab_on_boundary(const struct lm_span *slab, const void *p)
{
    return (uint64_t)((const char *)p - slab->first) * slab->magic < slab->magic;
}

/* True when p, which lies in the slab's span, is the start of an object that has been carved. */
LM_INLINE bool lm_slab_holds(const struct lm_span *slab, const void *p)
{
    size_t carved = __atomic_load_n(&slab->carved, __ATOMIC_RELAXED); /* the owner may be carving others */

    return lm_slab_on_boundary(slab, p) &&
        (size_t)((const char *)p - slab->first) < carved * lm_class[slab->size_class].size;
}

/* A new slab of the class with nothing carved, state CURRENT, or NULL with ENOMEM. `colour` is any number;
 * slabs made with successive ones start their objects on different cache lines. */
struct lm_span *lm_slab_create(unsigned size_class, unsigned colour, void *owner);
struct lm_span *lm_slab_create_in(uint32_t group, unsigned size_class, unsigned colour, void *owner); /* of arenas */

/* Links the next OS page of fresh objects into the (empty) free list; false when all are carved. */
bool lm_slab_carve(struct lm_span *slab);

/* Like it, for one object that is handed out at once; *zeroed when its memory reads as zero. NULL when all
 * are carved. */
void *lm_slab_carve_one(struct lm_span *slab, bool *zeroed);

/* Dies with the report that a free object was written to. */
_Noreturn void lm_slab_die_overwritten(const struct lm_span *slab, const void *object) LM_COLD;

/* Moves what other threads freed onto the slab's own list, proving every link. Returns how many. With
 * `delivered` the caller holds the mailed bit and gives it up. */
unsigned lm_slab_collect(struct lm_span *slab, bool delivered);

/* Pushes a chain of `head`..`tail` freed by another thread. True when the caller has thereby taken the
 * mailed bit, and must deliver the slab to its owner. */
bool lm_slab_push_remote(struct lm_span *slab, struct lm_object *head, struct lm_object *tail);

/* True when the slab stands in a mailbox or on its way there; it must not be released then. */
LM_INLINE bool lm_slab_is_mailed(const struct lm_span *slab)
{
    return __atomic_load_n(&slab->remote, __ATOMIC_ACQUIRE) & LM_MAILED;
}

/* Returns the pages of the slab that no live object lies on; the bytes returned. */
size_t lm_slab_punch(struct lm_span *slab);

/* Fills a hole: its objects are free again. False: there is none. */
bool lm_slab_fill(struct lm_span *slab);

/* Objects below `carved` that are absent, and whether the one at p is. */
unsigned lm_slab_absent(const struct lm_span *slab);
bool lm_slab_is_absent(const struct lm_span *slab, const void *p);

/* Objects in the free list, walked; links that prove wrong end the walk, so that it may run on a slab that
 * another thread is changing. */
unsigned lm_slab_count_free(const struct lm_span *slab);

/* True when the object is in the slab's own free list. For the owner only. */
bool lm_slab_list_has(const struct lm_span *slab, const void *object);

/* Frees that a full slab waits for before it is worth a place in the partial list. */
LM_INLINE unsigned lm_slab_reserve(const struct lm_span *slab)
{
    return 1 + slab->capacity / 16;
}

/* The first descriptor of the slab whose later granule this is. */
LM_INLINE struct lm_span *lm_slab_head(struct lm_span *cont)
{
    return cont - cont->granules;
}

LM_INLINE size_t lm_slab_object_size(const struct lm_span *slab)
{
    return lm_class[slab->size_class].size;
}

/* 0, or the number of the line whose invariant is broken. For the owner only. */
int lm_slab_check(const struct lm_span *slab);

#endif
