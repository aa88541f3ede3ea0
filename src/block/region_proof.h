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

LM_INLINE void region_leave(struct loam_region *region)
{
    if (region->lock != LOAM_REGION_UNLOCKED)
        lm_region_unlock(region);
}

/* -- the index, whichever the fit has -------------------------------------------------------------------------- */

LM_INLINE bool index_can_insert(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    return v.is_tree ? lm_region_tree_can_insert(v.region, unit, units) : lm_region_bins_can_insert(v, units);
}

LM_INLINE bool index_can_remove(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    return v.is_tree ? lm_region_tree_can_remove(v.region, unit, units) : lm_region_bins_can_remove(v, unit, units);
}

LM_INLINE void index_remove(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    if (v.is_tree)
        lm_region_tree_remove(v.region, unit);
    else
        lm_region_bins_remove(v, unit, units);
    v.region->free_blocks--;
}

/* Makes a block whose tag is written a free one in full. */
LM_INLINE void index_insert(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    if (!lm_region_is_tiny(v, units))
        *lm_region_footer(v, unit + units) = units;
    if (v.is_tree)
        lm_region_tree_insert(v.region, unit);
    else
        lm_region_bins_insert(v, unit, units);
    v.region->free_blocks++;
}

/* -- proofs ------------------------------------------------------------------------------------------------------ */

/* A block and the free ones on both sides of it; lengths 0 where there is none. */
struct region_place {
    uint32_t unit, units;
    uint32_t before, before_units;
    uint32_t behind_units;
    unsigned flags; /* of the block's own tag */
};

/* Units for so many bytes; 0: more than there can be. */
LM_INLINE uint32_t region_units_for(struct lm_region_view v, size_t size)
{
    size_t grain = (size_t)1 << v.grain_log2, bytes = lm_align_up(size + LM_REGION_TAG_BYTES, grain);
    size_t units = bytes >> v.grain_log2;

    if (LM_UNLIKELY(bytes < size || units > v.end - v.first))
        return 0;
    return (uint32_t)lm_max(units, v.least);
}

/* True when `p` is a live block whose own tag is sound. */
LM_INLINE bool region_can_use(struct lm_region_view v, const void *p, struct region_place *out)
{
    size_t offset = (size_t)((uintptr_t)p - (uintptr_t)v.region), unit = offset >> v.grain_log2;
    uint64_t tag;

    if (unit - v.first >= v.end - v.first || offset != unit << v.grain_log2)
        return false;
    out->unit = (uint32_t)unit;
    tag = *lm_region_tag(v, out->unit);
    out->units = lm_region_length(tag);
    out->flags = (unsigned)(tag & LM_REGION_FLAGS);
    return lm_region_is_signed(v, out->unit, tag) && tag & LM_REGION_USED && out->units >= v.least &&
        out->units <= v.end - out->unit;
}

/* True when the tag at `unit` is sound and says that the block before it is free, or is not. */
LM_INLINE bool region_agrees(struct lm_region_view v, uint32_t unit, unsigned prev_flags)
{
    uint64_t tag = *lm_region_tag(v, unit);

    return lm_region_is_signed(v, unit, tag) && (tag & (LM_REGION_PREV_FREE | LM_REGION_TINY)) == prev_flags &&
        (tag & LM_REGION_USED || !prev_flags);
}

/* True when what stands behind the block is sound; finds the free block there. */
LM_INLINE bool region_can_see_behind(struct lm_region_view v, struct region_place *place)
{
    uint32_t behind = place->unit + place->units;
    uint64_t tag = *lm_region_tag(v, behind);

    place->behind_units = 0;
    if (!lm_region_is_signed(v, behind, tag) || tag & LM_REGION_PREV_FREE)
        return false;
    if (tag & LM_REGION_USED)
        return true;
    place->behind_units = lm_region_length(tag);
    return lm_region_is_free(v, behind) && index_can_remove(v, behind, place->behind_units) &&
        region_agrees(v, behind + place->behind_units, lm_region_behind(v, place->behind_units));
}

/* The same for what stands before it. */
LM_INLINE bool region_can_see_before(struct lm_region_view v, struct region_place *place)
{
    uint64_t units, tag;

    place->before_units = 0;
    if (!(place->flags & LM_REGION_PREV_FREE))
        return true;
    units = place->flags & LM_REGION_TINY ? (uint64_t)LM_REGION_TINY_BYTES >> v.grain_log2
                                          : *lm_region_footer(v, place->unit);
    if (units < v.least || units > place->unit - v.first)
        return false;
    place->before_units = (uint32_t)units;
    place->before = place->unit - place->before_units;
    tag = *lm_region_tag(v, place->before);
    return lm_region_is_free_tag(v, place->before, tag) && lm_region_length(tag) == units &&
        index_can_remove(v, place->before, place->before_units);
}

/* True when a free block is sound on its own and to the block behind. */
LM_INLINE bool region_can_take(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    return index_can_remove(v, unit, units) && region_agrees(v, unit + units, lm_region_behind(v, units));
}

#endif
