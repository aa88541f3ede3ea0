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
 *   tag           | mark: 29 bits | length in units: 32 | TINY | PREV_FREE | USED |
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
enum { LM_REGION_LENGTH_SHIFT = 3, LM_REGION_MARK_SHIFT = 35 };
enum { LM_REGION_GRAIN8 = 3, LM_REGION_GRAIN16 = 4 }; /* grain_log2 */
enum { LM_REGION_TAG_BYTES = 8, LM_REGION_TINY_BYTES = 16, LM_REGION_TREE_BYTES = 32 };
enum { LM_REGION_VERSION = 1, LM_REGION_SLOTS = 32, LM_REGION_LEVELS = 28 };
#define LM_REGION_MAGIC 0x6e6f696765726d6cu
#define LM_REGION_LOW (((uint64_t)1 << LM_REGION_MARK_SHIFT) - 1)
#define LM_REGION_ERRORS UINT32_MAX  /* return_errors, when they are */
#define LM_REGION_DAMAGED UINT32_MAX /* instead of a unit, which it never is: `end` is at most that */

/* A level of the bins: sizes of one doubling; bit s of the map tells that head[s] is not 0. */
struct lm_region_level {
    uint32_t map;
    uint32_t head[LM_REGION_SLOTS];
};

struct loam_region {
    uint64_t magic;
    uint32_t version;
    uint32_t machine; /* what the layout depends on */
    /* never changed after creation, and sealed */
    uint64_t key;
    uint32_t first, end;
    uint8_t fit, lock, grain_log2, levels;
    uint32_t mutex_offset; /* of the mutex between processes, in bytes from here; 0: none */
    uint64_t seal;
    /* under the lock */
    struct lm_lock threads;
    uint32_t return_errors; /* by the majority of its bits, so that no damage to one byte makes an error fatal */
    uint32_t broken;        /* a process was killed inside, and the tags are damaged */
    uint32_t live_blocks, free_blocks, used_units, peak_units;
    uint32_t root;                  /* the user's */
    uint32_t rover;                 /* NEXT: where the last block taken ended */
    uint32_t top;                   /* bins: bit l tells that level[l].map is not 0; tree: the root */
    uint32_t sliding;               /* a block whose tag is being swallowed by the live one before it; 0: none */
    struct lm_region_level level[]; /* of the bins alone */
};

_Static_assert(offsetof(struct loam_region, end) == offsetof(struct loam_region, first) + 4 &&
        offsetof(struct loam_region, mutex_offset) == offsetof(struct loam_region, fit) + 4,
    "the seal reads them together");

/* In a free block's payload: of the bins the neighbours in its list, of the tree its children. 0: none. */
struct lm_region_links {
    uint32_t next, prev;
};

struct lm_region_node {
    uint32_t left, right;
    uint32_t max; /* the longest of the subtree */
};

/* What a call reads of the region's head, once, so that it stays in registers. */
struct lm_region_view {
    struct loam_region *region;
    uint64_t key;
    uint32_t first, end;
    uint32_t least; /* the shortest block, in units */
    uint8_t grain_log2;
    bool is_tree;
};

LM_INLINE bool lm_region_is_tree(const struct loam_region *region)
{
    return region->fit != LOAM_FIT_GOOD;
}

/* The shortest block, in units. */
LM_INLINE uint32_t lm_region_least(const struct loam_region *region)
{
    return (lm_region_is_tree(region) ? LM_REGION_TREE_BYTES : LM_REGION_TINY_BYTES) >> region->grain_log2;
}

/* The last two are what the region says; apart, so that they can be constants where they are known. */
LM_INLINE struct lm_region_view lm_region_view_as(const struct loam_region *region, bool is_tree, uint8_t grain_log2)
{
    return (struct lm_region_view){
        .region = (struct loam_region *)region,
        .key = region->key,
        .first = region->first,
        .end = region->end,
        .least = (is_tree ? LM_REGION_TREE_BYTES : LM_REGION_TINY_BYTES) >> grain_log2,
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
    return !v.is_tree && units == v.least;
}

LM_INLINE size_t lm_region_payload_bytes(struct lm_region_view v, uint32_t units)
{
    return ((size_t)units << v.grain_log2) - LM_REGION_TAG_BYTES;
}

/* -- tags -------------------------------------------------------------------------------------------------------- */

LM_INLINE uint32_t lm_region_length(uint64_t tag)
{
    return (uint32_t)(tag >> LM_REGION_LENGTH_SHIFT);
}

/* The tag with these low bits at that place. The multiplier is 2^64 / phi, as for Fibonacci hashing (Knuth). */
LM_INLINE uint64_t lm_region_mix(struct lm_region_view v, uint32_t unit, uint64_t low)
{
    return (low ^ (uint64_t)unit << 32 ^ v.key) * 0x9e3779b97f4a7c15u;
}

LM_INLINE uint64_t lm_region_sign(struct lm_region_view v, uint32_t unit, uint64_t low)
{
    return (lm_region_mix(v, unit, low) & ~LM_REGION_LOW) | low;
}

LM_INLINE bool lm_region_is_signed(struct lm_region_view v, uint32_t unit, uint64_t tag)
{
    return LM_LIKELY((lm_region_mix(v, unit, tag & LM_REGION_LOW) ^ tag) >> LM_REGION_MARK_SHIFT == 0);
}

LM_INLINE void lm_region_write(struct lm_region_view v, uint32_t unit, uint32_t units, unsigned flags)
{
    uint64_t tag = lm_region_sign(v, unit, (uint64_t)units << LM_REGION_LENGTH_SHIFT | flags);

    __atomic_store_n(lm_region_tag(v, unit), tag, __ATOMIC_RELEASE);
}

/* What the tag behind a free block of that length says about it. */
LM_INLINE unsigned lm_region_behind(struct lm_region_view v, uint32_t units)
{
    return lm_region_is_tiny(v, units) ? LM_REGION_PREV_FREE | LM_REGION_TINY : LM_REGION_PREV_FREE;
}

/* Sets what a tag says about the block before it; its own length and use stay. */
LM_INLINE void lm_region_tell(struct lm_region_view v, uint32_t unit, unsigned flags)
{
    uint64_t tag = *lm_region_tag(v, unit);

    lm_region_write(v, unit, lm_region_length(tag), (unsigned)(tag & LM_REGION_USED) | flags);
}

/* True when a block that starts at `unit` and has this tag is free, in bounds, and not beside a free one before it. */
LM_INLINE bool lm_region_is_free_tag(struct lm_region_view v, uint32_t unit, uint64_t tag)
{
    uint32_t units = lm_region_length(tag);

    return lm_region_is_signed(v, unit, tag) && (tag & LM_REGION_FLAGS) == 0 && units >= v.least &&
        units <= v.end - unit;
}

LM_INLINE bool lm_region_is_inside(struct lm_region_view v, uint32_t unit)
{
    return unit - v.first < v.end - v.first;
}

/* True when `unit`, which may be anything, is a free block. */
LM_INLINE bool lm_region_is_free(struct lm_region_view v, uint32_t unit)
{
    return lm_region_is_inside(v, unit) && lm_region_is_free_tag(v, unit, *lm_region_tag(v, unit));
}

LM_INLINE uint32_t lm_region_units(struct lm_region_view v, uint32_t unit)
{
    return lm_region_length(*lm_region_tag(v, unit));
}

/* What the fields that never change should be sealed with. */
LM_INLINE uint64_t lm_region_seal(const struct loam_region *region)
{
    uint64_t bounds, kind;

    memcpy(&bounds, &region->first, sizeof bounds); /* first and end */
    memcpy(&kind, &region->fit, sizeof kind);       /* fit to mutex_offset */
    return ((region->key ^ bounds) * 0x9e3779b97f4a7c15u ^ kind) * 0xd6e8feb86659fd93u;
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
