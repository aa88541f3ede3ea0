/* region.h: what the files of the region share: the layout, tags and their marks.
 *
 *   region.c        the calls that allocate, resize and free
 *   region_root.c   finding blocks again at another address
 *   region_proof.h  what is proved before anything is written
 *   region_bins.h   the free blocks by class of size, for GOOD
 *   region_tree.c   the free blocks in a tree, for FIRST, NEXT and BEST
 *   region_open.c   making, opening, locking, and repair after a process was killed inside
 *   region_check.c  walks, figures, check(), and what is said about a misuse
 *
 * The region is counted in units of 1 << grain_log2 bytes from its head. A block is named by the unit of its payload;
 * its tag is the 8 bytes before that:
 *
 *   | struct loam_region, index, mutex | pad, tag | payload ...    | tag | payload ... footer | tag |
 *                                                 ^ unit first           ^ a free block             ^ unit end
 *   live block    | tag | the user's ...                                 |
 *   free block    | tag | next, prev  (or left, right, max) |   | footer |    the footer is its length in units
 *   of 16 bytes   | tag | next, prev |                                        its neighbour's tag says TINY instead
 *
 *   tag           what lm_region_read makes of it: | mark: 29 bits, all 0 | TINY | PREV_FREE | USED | length in units: 32 |
 *
 * In memory a tag is (that word) * LM_REGION_SPREAD + key + its place. Read back, a word that was not written by the region, or
 * in another place, has a mark: one comparison of 64 bits says that the mark is none, the flags are these and the length is in
 * bounds. The multiplier is one by which every change to up to three bytes side by side, or to any two bits, and every
 * tag from less than 2 GiB away gets a mark for certain; anything else does but once in 2^29.
 *
 * The block at `end` has length 0 and is USED for ever. A tag that was merged away is left with length 0 and not USED, so
 * that a second free of its block is known for what it is.
 *
 * Invariant (lm_region_inspect): from `first` each tag's length leads to the next and the last to `end`; every mark is
 * right; no two free blocks touch; PREV_FREE and TINY are true; every free block has its footer and stands in the index,
 * and nothing else does; a tag that is USED is a live block's or the end's, nowhere else in the region is one.
 *
 * Order of stores. What decides about the chain of blocks is always one aligned store of 8 bytes, and the chain can
 * be walked before and after each: a process may be killed between any two. Flags, footers and index may then be stale;
 * lm_region_rebuild makes them anew. Stores of tags are releases for that reason alone (they pair with nothing: they keep
 * the compiler from moving them).
 *
 * Locks: the region's own; the one for threads has LM_RANK_BLOCK. Metadata: in the region. */
#ifndef LM_BLOCK_REGION_H
#define LM_BLOCK_REGION_H

#include "block/block.h"

#include <loam/region.h>
#include <stddef.h>
#include <string.h>

enum { LM_REGION_USED = 1, LM_REGION_PREV_FREE = 2, LM_REGION_TINY = 4, LM_REGION_FLAGS = 7 };
enum { LM_REGION_FLAGS_SHIFT = 32, LM_REGION_MARK_SHIFT = 35 };
enum { LM_REGION_GRAIN8 = 3, LM_REGION_GRAIN16 = 4 }; /* grain_log2 */
enum { LM_REGION_TAG_BYTES = 8, LM_REGION_TINY_BYTES = 16, LM_REGION_LEAST_BYTES = 32 };
enum { LM_REGION_VERSION = 2, LM_REGION_SLOTS = 64, LM_REGION_LEVELS = 14 };
#define LM_REGION_MAGIC 0x6e6f696765726d6cu
#define LM_REGION_SPREAD 0x9f119f2ab475ce55u /* see above; found by trying */
#define LM_REGION_GATHER 0xe303b886e6b0befdu /* its inverse */
#define LM_REGION_ERRORS UINT32_MAX          /* return_errors, when they are */
#define LM_REGION_DAMAGED UINT32_MAX         /* instead of a unit, which it never is: `end` is at most that */

/* The kinds of regions that have code of their own, so that what the others need does not burden them. */
enum lm_region_way { LM_REGION_ANY, LM_REGION_GOOD16, LM_REGION_GOOD8 }; /* the latter two have no lock */

/* In a free block's payload: of the bins the neighbours in its list (region_bins.h), of the tree its children. */
struct lm_region_links {
    uint32_t next, prev;
};

struct lm_region_node {
    uint32_t left, right; /* 0: none */
    uint32_t max;         /* the longest of the subtree */
};

struct loam_region {
    uint64_t magic;
    uint32_t version;
    uint32_t machine; /* what the layout depends on */
    /* never changed after creation, and sealed */
    uint64_t key;
    uint32_t first, end;
    uint8_t fit, lock, grain_log2, way;
    uint16_t bins;         /* lists of free blocks; 0 with a tree */
    uint16_t mutex_offset; /* of the mutex between processes, in bytes from here; 0: none */
    uint64_t seal;
    /* under the lock */
    struct lm_region_links none; /* bins: takes the stores that are meant for the neighbour of a block that has none */
    struct lm_lock threads;
    uint32_t return_errors; /* by the majority of its bits, so that no damage to one byte makes an error fatal */
    uint32_t broken;        /* a process was killed inside, and the tags are damaged */
    uint32_t used_units, peak_units;
    uint32_t root;    /* the user's */
    uint32_t rover;   /* NEXT: where the last block taken ended */
    uint32_t top;     /* bins: bit l tells that map[l] is not 0; tree: the root */
    uint32_t sliding; /* a block whose tag is being swallowed by the live one before it; 0: none */
    /* of the bins alone */
    uint64_t map[LM_REGION_LEVELS]; /* each bit tells that a list is not empty */
    uint32_t head[];
};

_Static_assert(
    offsetof(struct loam_region, end) == offsetof(struct loam_region, first) + 4, "the seal reads them together");
_Static_assert(offsetof(struct loam_region, mutex_offset) == offsetof(struct loam_region, fit) + 6, "so does the kind");
_Static_assert(offsetof(struct loam_region, none) % 16 == 0, "it stands where a block could");

/* What a call reads of the region's head, once, so that it stays in registers. */
struct lm_region_view {
    struct loam_region *region;
    uint64_t key;
    uint32_t first, end;
    uint32_t least; /* the shortest block, in units */
    uint32_t veil;  /* over links backwards: half of the key */
    uint8_t grain_log2;
    bool is_tree;
};

LM_INLINE bool lm_region_is_tree(const struct loam_region *region)
{
    return region->fit != LOAM_FIT_GOOD;
}

/* The shortest block, in units. With a tree because of its nodes; at the alignment of 8 because what is that short tends to
 * grow by a few bytes, for which it would move each time. */
LM_INLINE uint32_t lm_region_least_of(bool is_tree, uint8_t grain_log2)
{
    return is_tree || grain_log2 == LM_REGION_GRAIN8 ? LM_REGION_LEAST_BYTES >> grain_log2
                                                     : LM_REGION_TINY_BYTES >> grain_log2;
}

LM_INLINE uint32_t lm_region_least(const struct loam_region *region)
{
    return lm_region_least_of(lm_region_is_tree(region), region->grain_log2);
}

/* The last two are what the region says; apart, so that they can be constants where they are known. */
LM_INLINE struct lm_region_view lm_region_view_as(const struct loam_region *region, bool is_tree, uint8_t grain_log2)
{
    return (struct lm_region_view){
        .region = (struct loam_region *)region,
        .key = region->key,
        .first = region->first,
        .end = region->end,
        .veil = (uint32_t)region->key,
        .least = lm_region_least_of(is_tree, grain_log2),
        .grain_log2 = grain_log2,
        .is_tree = is_tree,
    };
}

LM_INLINE struct lm_region_view lm_region_view(const struct loam_region *region)
{
    return lm_region_view_as(region, lm_region_is_tree(region), region->grain_log2);
}

/* -- places ---------------------------------------------------------------------------------------------------- */

LM_INLINE char *lm_region_at(struct lm_region_view v, uint32_t unit)
{
    return (char *)v.region + ((size_t)unit << v.grain_log2);
}

LM_INLINE uint64_t *lm_region_tag(struct lm_region_view v, uint32_t unit)
{
    return (uint64_t *)(void *)lm_region_at(v, unit) - 1;
}

/* The footer of the free block that ends where `unit`'s tag begins. */
LM_INLINE uint64_t *lm_region_footer(struct lm_region_view v, uint32_t unit)
{
    return (uint64_t *)(void *)lm_region_at(v, unit) - 2;
}

LM_INLINE struct lm_region_links *lm_region_links(struct lm_region_view v, uint32_t unit)
{
    return (void *)lm_region_at(v, unit);
}

LM_INLINE struct lm_region_node *lm_region_node(struct lm_region_view v, uint32_t unit)
{
    return (void *)lm_region_at(v, unit);
}

LM_INLINE bool lm_region_is_tiny(struct lm_region_view v, uint32_t units)
{
    return v.least << v.grain_log2 == LM_REGION_TINY_BYTES && units == v.least;
}

LM_INLINE size_t lm_region_payload_bytes(struct lm_region_view v, uint32_t units)
{
    return ((size_t)units << v.grain_log2) - LM_REGION_TAG_BYTES;
}

/* -- tags -------------------------------------------------------------------------------------------------------- */

/* A tag as it is read (above) is one number: the length, the flags over it. */
LM_INLINE uint64_t lm_region_word(uint32_t units, unsigned flags)
{
    return (uint64_t)flags << LM_REGION_FLAGS_SHIFT | units;
}

LM_INLINE uint32_t lm_region_length(uint64_t word)
{
    return (uint32_t)word;
}

/* More than LM_REGION_FLAGS when the tag is damaged. */
LM_INLINE unsigned lm_region_flags(uint64_t word)
{
    return (unsigned)(word >> LM_REGION_FLAGS_SHIFT);
}

LM_INLINE bool lm_region_is_signed(uint64_t word)
{
    return LM_LIKELY(word >> LM_REGION_MARK_SHIFT == 0);
}

LM_INLINE bool lm_region_is_used(uint64_t word)
{
    return lm_region_flags(word) & LM_REGION_USED;
}

/* What is added to a tag's word in memory at that place. */
LM_INLINE uint64_t lm_region_salt(struct lm_region_view v, uint32_t unit)
{
    return v.key + ((uint64_t)unit << v.grain_log2);
}

LM_INLINE uint64_t lm_region_sign(struct lm_region_view v, uint32_t unit, uint64_t word)
{
    return word * LM_REGION_SPREAD + lm_region_salt(v, unit);
}

LM_INLINE uint64_t lm_region_unsign(struct lm_region_view v, uint32_t unit, uint64_t tag)
{
    return (tag - lm_region_salt(v, unit)) * LM_REGION_GATHER;
}

LM_INLINE uint64_t lm_region_read(struct lm_region_view v, uint32_t unit)
{
    return lm_region_unsign(v, unit, *lm_region_tag(v, unit));
}

LM_INLINE void lm_region_write(struct lm_region_view v, uint32_t unit, uint32_t units, unsigned flags)
{
    uint64_t tag = lm_region_sign(v, unit, lm_region_word(units, flags));

    __atomic_store_n(lm_region_tag(v, unit), tag, __ATOMIC_RELEASE);
}

/* Changes the flags alone, of a tag that has been proved to have those. */
LM_INLINE void lm_region_flag(struct lm_region_view v, uint32_t unit, unsigned from, unsigned to)
{
    uint64_t *tag = lm_region_tag(v, unit),
             change = (lm_region_word(0, to) - lm_region_word(0, from)) * LM_REGION_SPREAD;

    __atomic_store_n(tag, *tag + change, __ATOMIC_RELEASE);
}

/* What the tag behind a free block of that length says about it. */
LM_INLINE unsigned lm_region_behind(struct lm_region_view v, uint32_t units)
{
    return lm_region_is_tiny(v, units) ? LM_REGION_PREV_FREE | LM_REGION_TINY : LM_REGION_PREV_FREE;
}

/* Sets what a tag, which now reads as `word`, says about the block before it; its length and use stay. */
LM_INLINE void lm_region_tell(struct lm_region_view v, uint32_t unit, uint64_t word, unsigned flags)
{
    lm_region_write(v, unit, lm_region_length(word), (lm_region_flags(word) & LM_REGION_USED) | flags);
}

/* True when a block that starts at `unit`, which is inside, and has this word is free, in bounds, of at least so many
 * units, and not beside a free one before it: the second comparison proves that there is no flag and no mark, too. */
LM_INLINE bool lm_region_is_free_word(struct lm_region_view v, uint32_t unit, uint64_t word, uint32_t units)
{
    return LM_LIKELY(lm_region_length(word) >= units && word <= v.end - unit);
}

LM_INLINE bool lm_region_is_inside(struct lm_region_view v, uint32_t unit)
{
    return unit - v.first < v.end - v.first;
}

/* True when `unit`, which may be anything, is a free block. */
LM_INLINE bool lm_region_is_free(struct lm_region_view v, uint32_t unit)
{
    return lm_region_is_inside(v, unit) && lm_region_is_free_word(v, unit, lm_region_read(v, unit), v.least);
}

LM_INLINE uint32_t lm_region_units(struct lm_region_view v, uint32_t unit)
{
    return lm_region_length(lm_region_read(v, unit));
}

/* Fit, lock, grain, way, bins and mutex_offset. */
LM_INLINE uint64_t lm_region_kind(const struct loam_region *region)
{
    uint64_t kind;

    memcpy(&kind, &region->fit, sizeof kind);
    return kind;
}

/* What the fields that never change should be sealed with: not 0 when they all are. */
LM_INLINE uint64_t lm_region_seal(const struct loam_region *region)
{
    uint64_t bounds;

    memcpy(&bounds, &region->first, sizeof bounds); /* first and end */
    return (region->key ^ bounds) * LM_REGION_GATHER ^ ~lm_region_kind(region);
}

/* -- the tree (region_tree.c) -------------------------------------------------------------------------------- */

/* True when everything that the insertion of this block, or the removal of that one, would follow is sound. */
bool lm_region_tree_can_insert(const struct loam_region *region, uint32_t unit, uint32_t units);
bool lm_region_tree_can_remove(const struct loam_region *region, uint32_t unit, uint32_t units);

/* After the above, with the tag as it was in that call. */
void lm_region_tree_insert(struct loam_region *region, uint32_t unit);
void lm_region_tree_remove(struct loam_region *region, uint32_t unit);

/* The free block that the fit chooses for so many units; 0: none; LM_REGION_DAMAGED. */
uint32_t lm_region_tree_find(const struct loam_region *region, uint32_t units);

/* Checks the whole tree: the first damaged block, or 0; *count becomes the number of blocks in it. */
uint32_t lm_region_tree_inspect(const struct loam_region *region, uint32_t *count);

/* -- coming in (region_open.c) ------------------------------------------------------------------------------ */

/* For regions with a lock. False, with errno: the region is broken. */
bool lm_region_lock(struct loam_region *region);
void lm_region_unlock(struct loam_region *region);

/* Makes flags, footers, index and counts anew from the lengths. False, and nothing changed, when those are damaged. */
bool lm_region_rebuild(struct loam_region *region);

/* Empties the index; region.c inserts a free block into it without believing it. */
void lm_region_index_clear(struct loam_region *region);
void lm_region_index_insert(struct loam_region *region, uint32_t unit, uint32_t units);

/* -- what is wrong (region_check.c) -------------------------------------------------------------------------- */

/* As loam_region_check, without the lock. */
enum loam_region_damage lm_region_inspect(const struct loam_region *region, struct loam_region_fault *fault);

/* `p` was given as a live block and is none, or it or something near it is damaged (p NULL: something is). Reports and
 * aborts, or sets errno. */
void lm_region_refuse(struct loam_region *region, const void *p) LM_COLD;

#endif
