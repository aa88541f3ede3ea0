/* region_bins.h: the free blocks of a region by class of size (two-level segregated fit, Masmano et al. 2004).
 *
 * A list for each length below 64 units; from there on 32 to a doubling, in equal steps. A list is linked both ways by
 * unit, last in first out. Two words of bits find a list that is not empty.
 *
 * Where a block has no neighbour its link is that of `none`, in the region's head, which takes the store that would go
 * there, so that linking needs no branch. Links backwards are kept under a veil, half of the region's key, so that no number
 * that a program wrote is one by chance.
 *
 * Nothing is believed: whoever writes to a block of a list first asks bins_can_..., which proves that the links of its
 * neighbours lead back to it: a link that was overwritten does so once in 2^32, much as a mark fits by chance. Every
 * step is bounded by a constant. */
#ifndef LM_BLOCK_REGION_BINS_H
#define LM_BLOCK_REGION_BINS_H

#include "block/region.h"

/* Blocks looked at in the class that may or may not fit: at first, and before giving up. */
enum { LM_REGION_LOOK = 4, LM_REGION_LAST_LOOK = 256 };
enum { LM_REGION_STEPS_LOG2 = 5 }; /* of the classes to a doubling */

/* The list for so many units; below 64 units each length has one of its own. */
LM_INLINE unsigned lm_region_bin_of(uint32_t units)
{
    unsigned step_log2 = lm_log2_floor(units | 1u << LM_REGION_STEPS_LOG2) - LM_REGION_STEPS_LOG2;

    return (step_log2 << LM_REGION_STEPS_LOG2) + (units >> step_log2);
}

/* The unit where `none` would be the links of a block. */
LM_INLINE uint32_t lm_region_none(struct lm_region_view v)
{
    return (uint32_t)(offsetof(struct loam_region, none) >> v.grain_log2);
}

/* A link backwards, under the veil or from under it. */
LM_INLINE uint32_t lm_region_veiled(struct lm_region_view v, uint32_t unit)
{
    return unit ^ v.veil;
}

/* True when links can be there. */
LM_INLINE bool lm_region_is_link(struct lm_region_view v, uint32_t unit)
{
    return LM_LIKELY(unit < v.end);
}

/* -- putting a block into its list ------------------------------------------------------------------------------- */

LM_INLINE bool lm_region_bins_can_insert(struct lm_region_view v, unsigned bin)
{
    uint32_t next = v.region->head[bin], none = lm_region_veiled(v, lm_region_none(v));

    v.region->none.prev = none;
    return lm_region_is_link(v, next) && LM_LIKELY(lm_region_links(v, next)->prev == none);
}

LM_INLINE void lm_region_bins_insert(struct lm_region_view v, uint32_t unit, unsigned bin)
{
    struct lm_region_links *links = lm_region_links(v, unit);
    uint64_t map = v.region->map[bin / LM_REGION_SLOTS];
    uint32_t next = v.region->head[bin];

    links->next = next;
    lm_region_links(v, next)->prev = lm_region_veiled(v, unit);
    links->prev = lm_region_veiled(v, lm_region_none(v));
    v.region->head[bin] = unit;
    v.region->map[bin / LM_REGION_SLOTS] = map | (uint64_t)1 << bin % LM_REGION_SLOTS;
    if (!map)
        v.region->top |= (uint32_t)1 << bin / LM_REGION_SLOTS;
}

/* -- taking one out ---------------------------------------------------------------------------------------------- */

LM_INLINE void lm_region_bins_empty(struct lm_region_view v, unsigned bin)
{
    uint64_t map = v.region->map[bin / LM_REGION_SLOTS] & ~((uint64_t)1 << bin % LM_REGION_SLOTS);

    v.region->map[bin / LM_REGION_SLOTS] = map;
    if (!map)
        v.region->top &= ~((uint32_t)1 << bin / LM_REGION_SLOTS);
}

/* A block in its list, and where the links to it are. */
struct lm_region_knot {
    uint32_t next, prev; /* prev under the veil */
    uint32_t *forward;
    unsigned bin;
};

static const struct lm_region_knot lm_region_no_knot = {.forward = NULL};

LM_INLINE struct lm_region_knot lm_region_knot(struct lm_region_view v, uint32_t unit, unsigned bin)
{
    struct lm_region_links links = *lm_region_links(v, unit);
    uint32_t prev = lm_region_veiled(v, links.prev);
    size_t head = offsetof(struct loam_region, head) + bin * sizeof v.region->head[0];
    size_t place = (size_t)prev << v.grain_log2;

    place = prev == lm_region_none(v) ? head : place;
    return (struct lm_region_knot){links.next, links.prev, (void *)((char *)v.region + place), bin};
}

LM_INLINE bool lm_region_bins_can_remove(struct lm_region_view v, uint32_t unit, const struct lm_region_knot *knot)
{
    uint32_t prev = lm_region_veiled(v, knot->prev);

    v.region->none.prev = lm_region_veiled(v, unit);
    return lm_region_is_link(v, knot->next) && (prev == lm_region_none(v) || lm_region_is_link(v, prev)) &&
        LM_LIKELY(lm_region_links(v, knot->next)->prev == lm_region_veiled(v, unit)) &&
        LM_LIKELY(*knot->forward == unit);
}

LM_INLINE void lm_region_bins_remove(struct lm_region_view v, const struct lm_region_knot *knot)
{
    lm_region_links(v, knot->next)->prev = knot->prev;
    *knot->forward = knot->next;
    if ((knot->next ^ lm_region_none(v)) | (lm_region_veiled(v, knot->prev) ^ lm_region_none(v)))
        return;
    lm_region_bins_empty(v, knot->bin);
}

/* Puts another block where that one was in its list. */
LM_INLINE void lm_region_bins_replace(struct lm_region_view v, const struct lm_region_knot *knot, uint32_t unit)
{
    lm_region_links(v, unit)->next = knot->next;
    lm_region_links(v, knot->next)->prev = lm_region_veiled(v, unit);
    lm_region_links(v, unit)->prev = knot->prev;
    *knot->forward = unit;
}

/* -- finding one ------------------------------------------------------------------------------------------------- */

/* A free block, or that there is none, or damage. */
struct lm_region_hole {
    enum { LM_REGION_FOUND, LM_REGION_NONE, LM_REGION_BAD } what;
    uint32_t unit, units;
    struct lm_region_knot knot;
};

static const struct lm_region_hole lm_region_no_hole = {.what = LM_REGION_NONE},
                                   lm_region_bad_hole = {.what = LM_REGION_BAD};

/* The first of the first `most` blocks of a list that fits. */
LM_INLINE struct lm_region_hole lm_region_bins_look(
    struct lm_region_view v, unsigned bin, uint32_t units, unsigned most)
{
    uint32_t at = v.region->head[bin];

    for (; at != lm_region_none(v) && most; most--) {
        uint64_t word;

        if (LM_UNLIKELY(!lm_region_is_inside(v, at)))
            return lm_region_bad_hole;
        word = lm_region_read(v, at);
        if (lm_region_is_free_word(v, at, word, units))
            return (struct lm_region_hole){LM_REGION_FOUND, at, lm_region_length(word), lm_region_knot(v, at, bin)};
        if (LM_UNLIKELY(!lm_region_is_free_word(v, at, word, v.least)))
            return lm_region_bad_hole;
        at = lm_region_links(v, at)->next;
    }
    return lm_region_no_hole;
}

/* The first block of a list all of whose blocks fit, and which has one. */
LM_INLINE struct lm_region_hole lm_region_bins_first(struct lm_region_view v, unsigned bin, uint32_t units)
{
    struct lm_region_knot knot = {.forward = &v.region->head[bin], .bin = bin};
    uint32_t at;
    uint64_t word;

    if (LM_UNLIKELY(bin >= v.region->bins))
        return lm_region_bad_hole;
    at = v.region->head[bin];
    if (LM_UNLIKELY(!lm_region_is_inside(v, at)))
        return lm_region_bad_hole;
    word = lm_region_read(v, at);
    if (LM_UNLIKELY(!lm_region_is_free_word(v, at, word, units)))
        return lm_region_bad_hole;
    knot.next = lm_region_links(v, at)->next;
    knot.prev = lm_region_veiled(v, lm_region_none(v));
    if (LM_UNLIKELY(lm_region_links(v, at)->prev != knot.prev))
        return lm_region_bad_hole;
    return (struct lm_region_hole){LM_REGION_FOUND, at, lm_region_length(word), knot};
}

/* The first block of the first list from `bin` on. */
LM_INLINE struct lm_region_hole lm_region_bins_above(struct lm_region_view v, unsigned bin, uint32_t units)
{
    unsigned at = bin / LM_REGION_SLOTS;
    uint64_t map = v.region->map[at] & ~(uint64_t)0 << bin % LM_REGION_SLOTS;

    if (!map) {
        uint32_t higher = v.region->top & ~(uint32_t)1 << at;

        if (!higher)
            return lm_region_no_hole;
        at = lm_lowest_bit(higher);
        if (LM_UNLIKELY(at >= LM_REGION_LEVELS || !(map = v.region->map[at])))
            return lm_region_bad_hole;
    }
    return lm_region_bins_first(v, at * LM_REGION_SLOTS + lm_lowest_bit(map), units);
}

/* For lengths whose list has others on both sides of them. */
LM_INLINE struct lm_region_hole lm_region_bins_find(struct lm_region_view v, uint32_t units)
{
    unsigned bin = lm_region_bin_of(units);
    struct lm_region_hole hole = lm_region_bins_look(v, bin, units, LM_REGION_LOOK);

    if (hole.what == LM_REGION_NONE)
        hole = lm_region_bins_above(v, bin + 1, units);
    if (hole.what == LM_REGION_NONE)
        hole = lm_region_bins_look(v, bin, units, LM_REGION_LAST_LOOK);
    return hole;
}

#endif
