/* region.c: allocating, resizing and freeing in a region; layout and invariants in region.h.
 *
 * Every call has two parts: it proves all that it will follow or write (region_proof.h), and then it writes. Nothing is
 * written when a proof fails. */
#include "block/region_proof.h"

#include <errno.h>
#include <string.h>

void lm_region_index_insert(struct loam_region *region, uint32_t unit, uint32_t units)
{
    index_insert(lm_region_view(region), unit, units);
}

void lm_region_index_clear(struct loam_region *region)
{
    region->top = 0;
    memset(region->level, 0, region->levels * sizeof region->level[0]);
    region->free_blocks = 0;
}

/* -- allocating ------------------------------------------------------------------------------------------------ */

LM_INLINE void region_count(struct lm_region_view v, uint32_t units)
{
    v.region->live_blocks++;
    v.region->used_units += units;
    if (v.region->used_units > v.region->peak_units)
        v.region->peak_units = v.region->used_units;
}

/* Takes `units` out of the free block `from`, after `gap` units that stay free. LM_REGION_DAMAGED: nothing is done. */
LM_INLINE uint32_t region_cut(struct lm_region_view v, uint32_t from, uint32_t gap, uint32_t units)
{
    uint32_t length = lm_region_units(v, from), rest = length - gap - units, unit = from + gap;

    if (rest < v.least) {
        units += rest;
        rest = 0;
    }
    if (!region_can_take(v, from, length) || (gap && !index_can_insert(v, from, gap)) ||
        (rest && !index_can_insert(v, unit + units, rest)))
        return LM_REGION_DAMAGED;
    index_remove(v, from, length);
    if (rest)
        lm_region_write(v, unit + units, rest, 0);
    if (gap) { /* not USED before the chain leads to it */
        lm_region_write(v, unit, units, lm_region_behind(v, gap));
        lm_region_write(v, from, gap, 0);
        index_insert(v, from, gap);
    }
    lm_region_write(v, unit, units, LM_REGION_USED | (gap ? lm_region_behind(v, gap) : 0));
    if (!rest)
        lm_region_tell(v, unit + units, 0);
    else if (lm_region_is_tiny(v, rest) != lm_region_is_tiny(v, length))
        lm_region_tell(v, unit + units + rest, lm_region_behind(v, rest));
    if (rest)
        index_insert(v, unit + units, rest);
    region_count(v, units);
    v.region->rover = unit + units;
    return unit;
}

/* A free block for so many units; 0: none; LM_REGION_DAMAGED. */
LM_INLINE uint32_t region_find(struct lm_region_view v, uint32_t units)
{
    return v.is_tree ? lm_region_tree_find(v.region, units) : lm_region_bins_find(v, units);
}

/* What a request is given for the unit that was found and cut: the block there, or NULL, for none or for damage. */
LM_INLINE void *region_answer(struct lm_region_view v, uint32_t unit)
{
    if (LM_LIKELY(unit && unit != LM_REGION_DAMAGED))
        return lm_region_at(v, unit);
    if (unit)
        lm_region_refuse(v.region, NULL);
    else
        errno = ENOMEM;
    return NULL;
}

LM_INLINE void *region_take(struct lm_region_view v, size_t size)
{
    uint32_t units = region_units_for(v, size), unit = units ? region_find(v, units) : 0;

    if (LM_LIKELY(unit && unit != LM_REGION_DAMAGED))
        unit = region_cut(v, unit, 0, units);
    return region_answer(v, unit);
}

/* Units from the start of a free block to the first aligned place that leaves a whole block before it, or none. */
static size_t region_gap(struct lm_region_view v, uint32_t unit, size_t align)
{
    size_t start = (size_t)lm_region_at(v, unit), place = lm_align_up(start, align);
    size_t least = (size_t)v.least << v.grain_log2;

    while (place != start && place - start < least)
        place += align;
    return (place - start) >> v.grain_log2;
}

static void *region_take_aligned(struct lm_region_view v, size_t align, size_t size)
{
    uint32_t units = region_units_for(v, size), unit;
    size_t slack = (align >> v.grain_log2) + v.least;

    unit = units ? region_find(v, units) : 0; /* it may be aligned as it is */
    if (unit && unit != LM_REGION_DAMAGED && region_gap(v, unit, align) + units > lm_region_units(v, unit))
        unit = slack < v.end - units ? region_find(v, units + (uint32_t)slack) : 0;
    if (unit && unit != LM_REGION_DAMAGED)
        unit = region_cut(v, unit, (uint32_t)region_gap(v, unit, align), units);
    return region_answer(v, unit);
}

/* Each kind of region apart, so that none burdens the others; the first is the one for real time. */
static LM_NOINLINE void *region_take_grain8(struct loam_region *region, size_t size)
{
    return region_take(lm_region_view_as(region, false, LM_REGION_GRAIN8), size);
}

static LM_NOINLINE void *region_take_tree(struct loam_region *region, size_t size)
{
    return region_take(lm_region_view_as(region, true, region->grain_log2), size);
}

LM_PUBLIC void *loam_region_alloc(struct loam_region *region, size_t size)
{
    void *p;

    if (!region_enter(region))
        return NULL;
    if (lm_region_is_tree(region))
        p = region_take_tree(region, size);
    else if (region->grain_log2 == LM_REGION_GRAIN16)
        p = region_take(lm_region_view_as(region, false, LM_REGION_GRAIN16), size);
    else
        p = region_take_grain8(region, size);
    region_leave(region);
    return p;
}

LM_PUBLIC void *loam_region_calloc(struct loam_region *region, size_t count, size_t size)
{
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    p = loam_region_alloc(region, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

LM_PUBLIC void *loam_region_aligned_alloc(struct loam_region *region, size_t align, size_t size)
{
    void *p;

    if (!lm_is_power2(align)) {
        errno = EINVAL;
        return NULL;
    }
    if (!region_enter(region))
        return NULL;
    p = align >> region->grain_log2 <= 1 ? region_take(lm_region_view(region), size)
                                         : region_take_aligned(lm_region_view(region), align, size);
    region_leave(region);
    return p;
}

/* -- freeing ---------------------------------------------------------------------------------------------------- */

/* Leaves the tag of a block that is no longer one. */
LM_INLINE void region_wipe(struct lm_region_view v, uint32_t unit)
{
    lm_region_write(v, unit, 0, 0);
}

/* Frees a block that is proved, with its neighbours. False: they are damaged, and nothing is done. */
LM_INLINE bool region_release(struct lm_region_view v, struct region_place *place)
{
    uint32_t start = place->unit, units = place->units;

    if (!region_can_see_behind(v, place) || !region_can_see_before(v, place))
        return false;
    units += place->before_units + place->behind_units;
    if (place->before_units)
        start = place->before;
    if (!index_can_insert(v, start, units))
        return false;
    if (place->behind_units)
        index_remove(v, place->unit + place->units, place->behind_units);
    if (place->before_units) {
        index_remove(v, start, place->before_units);
        lm_region_write(v, place->unit, place->units, LM_REGION_PREV_FREE); /* free from here on, whatever comes */
    }
    lm_region_write(v, start, units, 0);
    if (place->before_units)
        region_wipe(v, place->unit);
    if (place->behind_units)
        region_wipe(v, place->unit + place->units);
    if (!place->behind_units || lm_region_is_tiny(v, place->behind_units) != lm_region_is_tiny(v, units))
        lm_region_tell(v, start + units, lm_region_behind(v, units));
    index_insert(v, start, units);
    v.region->live_blocks--;
    v.region->used_units -= place->units;
    return true;
}

LM_INLINE bool region_give_back(struct lm_region_view v, void *block)
{
    struct region_place place;

    return region_can_use(v, block, &place) && region_release(v, &place);
}

static LM_NOINLINE bool region_give_back_grain8(struct loam_region *region, void *block)
{
    return region_give_back(lm_region_view_as(region, false, LM_REGION_GRAIN8), block);
}

static LM_NOINLINE bool region_give_back_tree(struct loam_region *region, void *block)
{
    return region_give_back(lm_region_view_as(region, true, region->grain_log2), block);
}

LM_PUBLIC int loam_region_free(struct loam_region *region, void *block)
{
    bool done;

    if (!block)
        return 0;
    if (!region_enter(region))
        return -1;
    if (lm_region_is_tree(region))
        done = region_give_back_tree(region, block);
    else if (region->grain_log2 == LM_REGION_GRAIN16)
        done = region_give_back(lm_region_view_as(region, false, LM_REGION_GRAIN16), block);
    else
        done = region_give_back_grain8(region, block);
    if (LM_UNLIKELY(!done))
        lm_region_refuse(region, block);
    region_leave(region);
    return done ? 0 : -1;
}

/* -- resizing ---------------------------------------------------------------------------------------------------- */

/* Gives the block `units` out of itself and the free block behind it, which together suffice; region_can_see_behind
 * has been asked. False: damaged, and nothing is done. */
static bool region_reshape(struct lm_region_view v, const struct region_place *place, uint32_t units)
{
    uint32_t all = place->units + place->behind_units, rest = all - units, behind = place->unit + place->units;

    if (rest < v.least) {
        units = all;
        rest = 0;
    }
    if (units == place->units)
        return true;
    if (rest && !index_can_insert(v, place->unit + units, rest))
        return false;
    if (place->behind_units)
        index_remove(v, behind, place->behind_units);
    if (rest)
        lm_region_write(v, place->unit + units, rest, 0);
    lm_region_write(v, place->unit, units, place->flags);
    if (place->behind_units && behind != place->unit + units)
        region_wipe(v, behind);
    lm_region_tell(v, place->unit + all, rest ? lm_region_behind(v, rest) : 0);
    if (rest)
        index_insert(v, place->unit + units, rest);
    v.region->live_blocks--;
    v.region->used_units -= place->units;
    region_count(v, units);
    return true;
}

/* Moves the block down over the free one before it, which with the one behind suffices; both are proved. */
static void *region_slide(struct lm_region_view v, struct region_place *place, uint32_t units)
{
    uint32_t all = place->before_units + place->units + place->behind_units, old = place->units;
    void *from = lm_region_at(v, place->unit), *to = lm_region_at(v, place->before);

    index_remove(v, place->before, place->before_units);
    if (place->behind_units)
        index_remove(v, place->unit + old, place->behind_units);
    v.region->sliding = place->unit;
    lm_region_write(v, place->before, all, LM_REGION_USED);
    region_wipe(v, place->unit);
    v.region->sliding = 0;
    if (place->behind_units)
        region_wipe(v, place->unit + old);
    lm_region_tell(v, place->before + all, 0);
    v.region->live_blocks--;
    v.region->used_units -= old;
    region_count(v, all);
    memmove(to, from, lm_region_payload_bytes(v, old));
    *place = (struct region_place){.unit = place->before, .units = all, .flags = LM_REGION_USED};
    region_reshape(v, place, units); /* damage elsewhere: the block keeps all of it */
    return to;
}

static void *region_resize(struct lm_region_view v, void *block, size_t size)
{
    uint32_t units = region_units_for(v, size);
    struct region_place place;
    void *moved;

    if (!region_can_use(v, block, &place) || !region_can_see_behind(v, &place)) {
        lm_region_refuse(v.region, block);
        return NULL;
    }
    if (units && units <= place.units + place.behind_units) {
        if (region_reshape(v, &place, units))
            return block;
        lm_region_refuse(v.region, block);
        return NULL;
    }
    if (!region_can_see_before(v, &place)) {
        lm_region_refuse(v.region, block);
        return NULL;
    }
    if (units && (uint64_t)units <= (uint64_t)place.before_units + place.units + place.behind_units)
        return region_slide(v, &place, units);
    moved = region_take(v, size);
    if (!moved)
        return NULL;
    memcpy(moved, block, lm_min(size, lm_region_payload_bytes(v, place.units)));
    if (!region_can_use(v, block, &place) || !region_release(v, &place))
        lm_region_refuse(v.region, block);
    return moved;
}

LM_PUBLIC void *loam_region_realloc(struct loam_region *region, void *block, size_t size)
{
    void *p;

    if (!block)
        return loam_region_alloc(region, size);
    if (size == 0) {
        loam_region_free(region, block);
        return NULL;
    }
    if (!region_enter(region))
        return NULL;
    p = region_resize(lm_region_view(region), block, size);
    region_leave(region);
    return p;
}

LM_PUBLIC size_t loam_region_usable_size(struct loam_region *region, const void *block)
{
    struct region_place place;
    size_t bytes = 0;

    if (!block || !region_enter(region))
        return 0;
    if (region_can_use(lm_region_view(region), block, &place))
        bytes = lm_region_payload_bytes(lm_region_view(region), place.units);
    else
        lm_region_refuse(region, block);
    region_leave(region);
    return bytes;
}
