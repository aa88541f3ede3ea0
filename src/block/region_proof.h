/* region_proof.h: what a call does before it writes: comes in, and proves all that it will follow.
 *
 * region_can_... say whether a block and what stands beside it are sound, and find its free neighbours on the way (struct
 * region_place); index_... are the bins or the tree, whichever the fit has. */
#ifndef LM_BLOCK_REGION_PROOF_H
#define LM_BLOCK_REGION_PROOF_H

#include "block/region_bins.h"

/* -- coming in and out --------------------------------------------------------------------------------------- */

LM_INLINE bool region_enter(struct loam_region *region)
{
    if (LM_UNLIKELY(lm_region_seal(region) != region->seal)) {
        lm_region_refuse(region, NULL);
        return false;
    }
    return region->lock == LOAM_REGION_UNLOCKED || lm_region_lock(region);
}

/* Whose code a call may run at once: the region needs no lock, and its head is sound. */
LM_INLINE enum lm_region_way region_way(const struct loam_region *region)
{
    return LM_LIKELY(lm_region_seal(region) == region->seal) ? (enum lm_region_way)region->way : LM_REGION_ANY;
}

LM_INLINE void region_leave(struct loam_region *region)
{
    if (region->lock != LOAM_REGION_UNLOCKED)
        lm_region_unlock(region);
}

/* -- the index, whichever the fit has -------------------------------------------------------------------------- */

/* The list for a length; with a tree nothing. */
LM_INLINE unsigned index_bin(struct lm_region_view v, uint32_t units)
{
    return v.is_tree ? 0 : lm_region_bin_of(units);
}

LM_INLINE bool index_can_insert(struct lm_region_view v, uint32_t unit, uint32_t units, unsigned bin)
{
    return v.is_tree ? lm_region_tree_can_insert(v.region, unit, units) : lm_region_bins_can_insert(v, bin);
}

LM_INLINE void index_write_footer(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    if (!lm_region_is_tiny(v, units))
        *lm_region_footer(v, unit + units) = units;
}

/* Makes a block whose tag is written a free one in full. */
LM_INLINE void index_insert(struct lm_region_view v, uint32_t unit, uint32_t units, unsigned bin)
{
    index_write_footer(v, unit, units);
    if (v.is_tree)
        lm_region_tree_insert(v.region, unit);
    else
        lm_region_bins_insert(v, unit, bin);
}

LM_INLINE struct lm_region_knot index_knot(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    return v.is_tree ? lm_region_no_knot : lm_region_knot(v, unit, lm_region_bin_of(units));
}

LM_INLINE bool index_can_remove(
    struct lm_region_view v, uint32_t unit, uint32_t units, const struct lm_region_knot *knot)
{
    return v.is_tree ? lm_region_tree_can_remove(v.region, unit, units) : lm_region_bins_can_remove(v, unit, knot);
}

/* The knot is as it was when it was proved. */
LM_INLINE void index_remove(struct lm_region_view v, uint32_t unit, const struct lm_region_knot *knot)
{
    if (v.is_tree)
        lm_region_tree_remove(v.region, unit);
    else
        lm_region_bins_remove(v, knot);
}

/* True when a block that is made from that one can have its place in the index. */
LM_INLINE bool index_is_place(struct lm_region_view v, const struct lm_region_knot *knot, unsigned bin)
{
    return !v.is_tree && knot->bin == bin;
}

/* -- proofs ------------------------------------------------------------------------------------------------------ */

/* A block and the free ones on both sides of it; lengths 0 where there is none. */
struct region_place {
    uint32_t unit, units;
    uint32_t before, before_units; /* where there is none, the block itself */
    uint32_t behind_units;
    unsigned flags;  /* of the block's own tag */
    uint64_t behind; /* the word of the tag behind it */
    struct lm_region_knot before_knot, behind_knot;
};

/* Units for so many bytes; 0: more than there can be. */
LM_INLINE uint32_t region_units_for(struct lm_region_view v, size_t size)
{
    size_t grain = (size_t)1 << v.grain_log2, bytes = lm_align_up(size + LM_REGION_TAG_BYTES, grain);
    size_t units = bytes >> v.grain_log2;

    if (LM_UNLIKELY(bytes < size) || LM_UNLIKELY(units > v.end - v.first))
        return 0;
    return v.least > 1 && units < v.least ? v.least : (uint32_t)units;
}

/* True when `p` is a live block whose own tag is sound. */
LM_INLINE bool region_can_use(struct lm_region_view v, const void *p, struct region_place *out)
{
    size_t offset = (size_t)((uintptr_t)p - (uintptr_t)v.region), unit = offset >> v.grain_log2;
    uint64_t word;

    if (LM_UNLIKELY(unit - v.first >= v.end - v.first) || LM_UNLIKELY(offset & (((size_t)1 << v.grain_log2) - 1)))
        return false;
    out->unit = (uint32_t)unit;
    word =
        (((const uint64_t *)p)[-1] - v.key - offset) * LM_REGION_GATHER; /* as lm_region_read, with what is at hand */
    out->units = lm_region_length(word);
    out->flags = lm_region_flags(word);
    if (LM_UNLIKELY((out->flags | LM_REGION_PREV_FREE | LM_REGION_TINY) != LM_REGION_FLAGS))
        return false;
    return LM_LIKELY(out->units >= v.least) && LM_LIKELY(out->units <= v.end - out->unit);
}

/* True when the word of the tag at `unit` is sound and says that there is a free block of so many units before it. */
LM_INLINE bool region_agrees(struct lm_region_view v, uint64_t word, uint32_t units)
{
    return LM_LIKELY(lm_region_flags(word) == (LM_REGION_USED | lm_region_behind(v, units)));
}

/* Reads the tag behind; true when the block there is live and its tag sound. */
LM_INLINE bool region_is_behind_used(struct lm_region_view v, struct region_place *place)
{
    place->behind = lm_region_read(v, place->unit + place->units);
    return lm_region_flags(place->behind) == LM_REGION_USED;
}

/* True when what stands behind the block is sound, as far as it will be written; finds the free block there. */
LM_INLINE bool region_can_see_behind(struct lm_region_view v, struct region_place *place)
{
    uint32_t behind = place->unit + place->units;

    place->behind_units = 0;
    place->behind_knot = lm_region_no_knot;
    if (region_is_behind_used(v, place))
        return true;
    place->behind_units = lm_region_length(place->behind);
    if (!lm_region_is_free_word(v, behind, place->behind, v.least))
        return false;
    place->behind_knot = index_knot(v, behind, place->behind_units);
    return index_can_remove(v, behind, place->behind_units, &place->behind_knot);
}

/* The same for what stands before it. */
LM_INLINE bool region_can_see_before(struct lm_region_view v, struct region_place *place)
{
    uint64_t units;

    place->before = place->unit;
    place->before_units = 0;
    place->before_knot = lm_region_no_knot;
    if (!(place->flags & LM_REGION_PREV_FREE))
        return true;
    units = place->flags & LM_REGION_TINY ? (uint64_t)LM_REGION_TINY_BYTES >> v.grain_log2
                                          : *lm_region_footer(v, place->unit);
    if (LM_UNLIKELY(units < v.least || units > place->unit - v.first))
        return false;
    place->before_units = (uint32_t)units;
    place->before = place->unit - place->before_units;
    if (LM_UNLIKELY(lm_region_read(v, place->before) != units))
        return false;
    place->before_knot = index_knot(v, place->before, place->before_units);
    return index_can_remove(v, place->before, place->before_units, &place->before_knot);
}

/* Takes the free neighbours, which are proved, out of the index. */
LM_INLINE void region_join(struct lm_region_view v, struct region_place *place, bool has_before, bool has_behind)
{
    if (has_behind)
        index_remove(v, place->unit + place->units, &place->behind_knot);
    if (has_before && has_behind) /* it may have been the other's neighbour in the list, too */
        place->before_knot = index_knot(v, place->before, place->before_units);
    if (has_before)
        index_remove(v, place->before, &place->before_knot);
}

#endif
