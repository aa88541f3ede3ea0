/* region_bins.h: the free blocks of a region by class of size (two-level segregated fit, Masmano et al. 2004).
 *
 * Level 0 has a list for each length below 32 units; level l > 0 cuts the lengths from 2^(l+4) to 2^(l+5) into 32 equal
 * steps. A list is linked both ways by unit, last in first out. Two words of bits find a list that is not empty.
 *
 * Nothing is believed: whoever writes to a block of a list first asks bins_can_..., which proves that the links of its
 * neighbours lead back to it: a link that was overwritten does so once in 2^32, much as a mark fits by chance. Every
 * step is bounded by a constant. */
#ifndef LM_BLOCK_REGION_BINS_H
#define LM_BLOCK_REGION_BINS_H

#include "block/region.h"

/* Blocks looked at in the class that may or may not fit: at first, and before giving up. */
enum { LM_REGION_LOOK = 4, LM_REGION_LAST_LOOK = 256 };

LM_INLINE unsigned lm_region_level_of(uint32_t units)
{
    return units < LM_REGION_SLOTS ? 0 : lm_log2_floor(units) - 4;
}

LM_INLINE unsigned lm_region_slot_of(uint32_t units, unsigned level)
{
    return level ? units >> (level - 1) & (LM_REGION_SLOTS - 1) : units;
}

LM_INLINE bool lm_region_bins_can_insert(struct lm_region_view v, uint32_t units)
{
    unsigned level = lm_region_level_of(units);
    uint32_t head = v.region->level[level].head[lm_region_slot_of(units, level)];

    return head == 0 || (lm_region_is_free(v, head) && lm_region_links(v, head)->prev == 0);
}

LM_INLINE void lm_region_bins_insert(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    unsigned level = lm_region_level_of(units), slot = lm_region_slot_of(units, level);
    struct lm_region_level *bins = &v.region->level[level];
    uint32_t head = bins->head[slot];

    *lm_region_links(v, unit) = (struct lm_region_links){head, 0};
    if (head)
        lm_region_links(v, head)->prev = unit;
    bins->head[slot] = unit;
    bins->map |= (uint32_t)1 << slot;
    v.region->top |= (uint32_t)1 << level;
}

LM_INLINE bool lm_region_bins_can_remove(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    struct lm_region_links links = *lm_region_links(v, unit);
    unsigned level = lm_region_level_of(units);

    if (links.next && !(lm_region_is_inside(v, links.next) && lm_region_links(v, links.next)->prev == unit))
        return false;
    if (links.prev)
        return lm_region_is_inside(v, links.prev) && lm_region_links(v, links.prev)->next == unit;
    return v.region->level[level].head[lm_region_slot_of(units, level)] == unit;
}

LM_INLINE void lm_region_bins_remove(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    struct lm_region_links links = *lm_region_links(v, unit);
    unsigned level, slot;
    struct lm_region_level *bins;

    if (links.next)
        lm_region_links(v, links.next)->prev = links.prev;
    if (links.prev) {
        lm_region_links(v, links.prev)->next = links.next;
        return;
    }
    level = lm_region_level_of(units);
    slot = lm_region_slot_of(units, level);
    bins = &v.region->level[level];
    bins->head[slot] = links.next;
    if (links.next)
        return;
    bins->map &= ~((uint32_t)1 << slot);
    if (!bins->map)
        v.region->top &= ~((uint32_t)1 << level);
}

/* The first of the first `most` blocks of a list that fits; 0: none; LM_REGION_DAMAGED. */
LM_INLINE uint32_t lm_region_bins_look(struct lm_region_view v, uint32_t at, uint32_t units, unsigned most)
{
    for (; at && most; most--) {
        if (!lm_region_is_free(v, at))
            return LM_REGION_DAMAGED;
        if (lm_region_units(v, at) >= units)
            return at;
        at = lm_region_links(v, at)->next;
    }
    return 0;
}

/* The first block of the lowest list at or above that level whose slots are `map`. */
LM_INLINE uint32_t lm_region_bins_first(struct lm_region_view v, unsigned level, uint32_t map, uint32_t units)
{
    uint32_t found = v.region->level[level].head[lm_lowest_bit(map)];

    if (LM_UNLIKELY(!lm_region_is_free(v, found) || lm_region_units(v, found) < units))
        return LM_REGION_DAMAGED;
    return found;
}

LM_INLINE uint32_t lm_region_bins_find(struct lm_region_view v, uint32_t units)
{
    unsigned level = lm_region_level_of(units), slot = lm_region_slot_of(units, level), own = level;
    uint32_t map, higher, found;

    if (level >= v.region->levels)
        return 0;
    map = v.region->level[level].map & ~(uint32_t)0 << slot;
    if (level && map >> slot & 1) { /* lengths of that list are on both sides of `units` */
        found = lm_region_bins_look(v, v.region->level[level].head[slot], units, LM_REGION_LOOK);
        if (found)
            return found;
        map &= map - 1;
    }
    if (!map) {
        higher = v.region->top & ~(uint32_t)0 << (level + 1);
        if (!higher)
            return own ? lm_region_bins_look(v, v.region->level[own].head[slot], units, LM_REGION_LAST_LOOK) : 0;
        level = lm_lowest_bit(higher);
        if (level >= v.region->levels || !(map = v.region->level[level].map))
            return LM_REGION_DAMAGED;
    }
    return lm_region_bins_first(v, level, map, units);
}

#endif
