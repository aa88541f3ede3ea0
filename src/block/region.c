/* region.c: allocating, resizing and freeing in a region; layout and invariants in region.h.
 *
 * Every call has two parts: it proves all that it will follow or write (region_proof.h), and then it writes. Nothing is
 * written when a proof fails. */
#include "block/region_proof.h"

#include <errno.h>
#include <string.h>

void lm_region_index_insert(struct loam_region *region, uint32_t unit, uint32_t units)
{
    struct lm_region_view v = lm_region_view(region);

    index_insert(v, unit, units, index_bin(v, units));
}

void lm_region_index_clear(struct loam_region *region)
{
    region->top = 0;
    if (region->bins) /* else there is none */
        memset(region->map, 0, sizeof region->map);
    for (unsigned bin = 0; bin < region->bins; bin++)
        region->head[bin] = lm_region_none(lm_region_view(region));
}

/* -- allocating ------------------------------------------------------------------------------------------------ */

LM_INLINE void region_count(struct lm_region_view v, uint32_t units)
{
    uint32_t used = v.region->used_units += units;

    if (LM_UNLIKELY(used > v.region->peak_units))
        v.region->peak_units = used;
}

/* Takes a free block that was found. Damage: it becomes a bad one, and nothing is done. */
LM_INLINE void region_cut_whole(struct lm_region_view v, struct lm_region_hole *hole)
{
    uint32_t behind = hole->unit + hole->units;

    if (!region_agrees(v, lm_region_read(v, behind), hole->units) ||
        !index_can_remove(v, hole->unit, hole->units, &hole->knot)) {
        hole->what = LM_REGION_BAD;
        return;
    }
    index_remove(v, hole->unit, &hole->knot);
    lm_region_flag(v, hole->unit, 0, LM_REGION_USED);
    lm_region_flag(v, behind, LM_REGION_USED | lm_region_behind(v, hole->units), LM_REGION_USED);
    region_count(v, hole->units);
    if (v.is_tree)
        v.region->rover = behind;
}

/* The same for its first `units`; the rest, which is a whole block, stays free. */
LM_INLINE void region_cut_part(struct lm_region_view v, struct lm_region_hole *hole, uint32_t units)
{
    uint32_t rest = hole->units - units, start = hole->unit + units, behind = start + rest;
    unsigned bin = index_bin(v, rest);
    bool stays = index_is_place(v, &hole->knot, bin),
         tells = lm_region_is_tiny(v, rest); /* else it says PREV_FREE already */

    if ((tells && !region_agrees(v, lm_region_read(v, behind), hole->units)) ||
        !index_can_remove(v, hole->unit, hole->units, &hole->knot) ||
        (!stays && !index_can_insert(v, start, rest, bin))) {
        hole->what = LM_REGION_BAD;
        return;
    }
    if (!stays)
        index_remove(v, hole->unit, &hole->knot);
    lm_region_write(v, start, rest, 0);
    lm_region_write(v, hole->unit, units, LM_REGION_USED);
    if (tells)
        lm_region_flag(
            v, behind, LM_REGION_USED | LM_REGION_PREV_FREE, LM_REGION_USED | LM_REGION_PREV_FREE | LM_REGION_TINY);
    if (stays) {
        index_write_footer(v, start, rest);
        lm_region_bins_replace(v, &hole->knot, start);
    } else {
        index_insert(v, start, rest, bin);
    }
    region_count(v, units);
    if (v.is_tree)
        v.region->rover = start;
}

LM_INLINE void region_cut(struct lm_region_view v, struct lm_region_hole *hole, uint32_t units)
{
    if (hole->units - units < v.least)
        region_cut_whole(v, hole);
    else
        region_cut_part(v, hole, units);
}

/* The same after `gap` units that stay free. */
static void region_cut_after(struct lm_region_view v, struct lm_region_hole *hole, uint32_t gap, uint32_t units)
{
    uint32_t rest = hole->units - gap - units, unit = hole->unit + gap, behind = hole->unit + hole->units;
    uint64_t word = lm_region_read(v, behind);

    if (rest < v.least) {
        units += rest;
        rest = 0;
    }
    if (!index_can_remove(v, hole->unit, hole->units, &hole->knot) || !region_agrees(v, word, hole->units) ||
        !index_can_insert(v, hole->unit, gap, index_bin(v, gap)) ||
        (rest && !index_can_insert(v, unit + units, rest, index_bin(v, rest)))) {
        hole->what = LM_REGION_BAD;
        return;
    }
    index_remove(v, hole->unit, &hole->knot);
    if (rest)
        lm_region_write(v, unit + units, rest, 0);
    lm_region_write(v, unit, units, lm_region_behind(v, gap)); /* not USED before the chain leads to it */
    lm_region_write(v, hole->unit, gap, 0);
    index_insert(v, hole->unit, gap, index_bin(v, gap));
    lm_region_write(v, unit, units, LM_REGION_USED | lm_region_behind(v, gap));
    lm_region_tell(v, behind, word, rest ? lm_region_behind(v, rest) : 0);
    if (rest)
        index_insert(v, unit + units, rest, index_bin(v, rest));
    region_count(v, units);
    v.region->rover = unit + units;
    hole->unit = unit;
}

/* A free block for so many units; 0 units: for none. */
LM_INLINE struct lm_region_hole region_find(struct lm_region_view v, uint32_t units)
{
    struct lm_region_hole hole = lm_region_no_hole;

    if (LM_UNLIKELY(!units))
        return hole;
    if (!v.is_tree)
        return units < LM_REGION_SLOTS ? lm_region_bins_above(v, units, units) : lm_region_bins_find(v, units);
    hole.unit = lm_region_tree_find(v.region, units);
    if (hole.unit == LM_REGION_DAMAGED)
        return lm_region_bad_hole;
    if (hole.unit) {
        hole.what = LM_REGION_FOUND;
        hole.units = lm_region_units(v, hole.unit);
    }
    return hole;
}

/* What a request is given for what was found and cut: the block there, or NULL. */
LM_INLINE void *region_answer(struct lm_region_view v, const struct lm_region_hole *hole)
{
    if (LM_LIKELY(hole->what == LM_REGION_FOUND))
        return lm_region_at(v, hole->unit);
    if (hole->what == LM_REGION_BAD)
        lm_region_refuse(v.region, NULL);
    else
        errno = ENOMEM;
    return NULL;
}

LM_INLINE void *region_take_units(struct lm_region_view v, uint32_t units)
{
    struct lm_region_hole hole = region_find(v, units);

    if (LM_LIKELY(hole.what == LM_REGION_FOUND))
        region_cut(v, &hole, units);
    return region_answer(v, &hole);
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
    uint32_t units = region_units_for(v, size);
    size_t slack = (align >> v.grain_log2) + v.least;
    struct lm_region_hole hole = region_find(v, units); /* it may be aligned as it is */
    uint32_t gap;

    if (hole.what == LM_REGION_FOUND && region_gap(v, hole.unit, align) + units > hole.units)
        hole = slack <= v.end - v.first - units ? region_find(v, units + (uint32_t)slack) : lm_region_no_hole;
    if (hole.what == LM_REGION_FOUND) {
        gap = (uint32_t)region_gap(v, hole.unit, align);
        if (gap)
            region_cut_after(v, &hole, gap, units);
        else
            region_cut(v, &hole, units);
    }
    return region_answer(v, &hole);
}

/* Each kind of region apart, so that none burdens the others, and of GOOD short blocks, whose lists each have one length. */
static LM_NOINLINE void *region_take_tree(struct loam_region *region, size_t size)
{
    struct lm_region_view v = lm_region_view_as(region, true, region->grain_log2);

    return region_take_units(v, region_units_for(v, size));
}

static LM_NOINLINE void *region_take_long16(struct loam_region *region, uint32_t units)
{
    return region_take_units(lm_region_view_as(region, false, LM_REGION_GRAIN16), units);
}

static LM_NOINLINE void *region_take_long8(struct loam_region *region, uint32_t units)
{
    return region_take_units(lm_region_view_as(region, false, LM_REGION_GRAIN8), units);
}

static LM_NOINLINE void *region_take_good16(struct loam_region *region, size_t size)
{
    struct lm_region_view v = lm_region_view_as(region, false, LM_REGION_GRAIN16);
    uint32_t units = region_units_for(v, size);

    return units < LM_REGION_SLOTS ? region_take_units(v, units) : region_take_long16(region, units);
}

static LM_NOINLINE void *region_take_good8(struct loam_region *region, size_t size)
{
    struct lm_region_view v = lm_region_view_as(region, false, LM_REGION_GRAIN8);
    uint32_t units = region_units_for(v, size);

    return units < LM_REGION_SLOTS ? region_take_units(v, units) : region_take_long8(region, units);
}

static LM_NOINLINE void *region_take_inside(struct loam_region *region, size_t size)
{
    if (lm_region_is_tree(region))
        return region_take_tree(region, size);
    return region->grain_log2 == LM_REGION_GRAIN16 ? region_take_good16(region, size) : region_take_good8(region, size);
}

static LM_NOINLINE void *region_take_any(struct loam_region *region, size_t size)
{
    void *p;

    if (!region_enter(region))
        return NULL;
    p = region_take_inside(region, size);
    region_leave(region);
    return p;
}

LM_PUBLIC void *loam_region_alloc(struct loam_region *region, size_t size)
{
    switch (region_way(region)) {
    case LM_REGION_GOOD16:
        return region_take_good16(region, size);
    case LM_REGION_GOOD8:
        return region_take_good8(region, size);
    default:
        return region_take_any(region, size);
    }
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
    p = align >> region->grain_log2 <= 1 ? region_take_inside(region, size)
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

/* Frees a block that is proved, with its free neighbours, which are too. False: damaged, and nothing is done. That there are
 * neighbours is said apart, so that there can be code for each case. */
LM_INLINE bool region_release_with(
    struct lm_region_view v, struct region_place *place, bool has_before, bool has_behind)
{
    uint32_t behind = place->unit + place->units, start = has_before ? place->before : place->unit;
    uint32_t units = place->units + (has_before ? place->before_units : 0) + (has_behind ? place->behind_units : 0);
    bool tells = has_behind && lm_region_is_tiny(v, place->behind_units); /* else it says PREV_FREE already */
    unsigned bin = index_bin(v, units);
    bool stays = (has_before || has_behind) && /* a long block that becomes little longer, in the list */
        index_is_place(v, has_before ? &place->before_knot : &place->behind_knot, bin);

    if (tells) {
        behind += place->behind_units;
        if (!region_agrees(v, lm_region_read(v, behind), place->behind_units))
            return false;
    }
    if (!stays && !index_can_insert(v, start, units, bin))
        return false;
    if (!stays)
        region_join(v, place, has_before, has_behind);
    else if (has_before && has_behind)
        index_remove(v, place->unit + place->units, &place->behind_knot);
    if (has_before) /* the next store takes it out of the chain, where its tag must not be left as a live block's */
        v.region->sliding = place->unit;
    if (has_before || has_behind)
        lm_region_write(v, start, units, 0);
    else
        lm_region_flag(v, start, LM_REGION_USED, 0);
    if (has_before) {
        region_wipe(v, place->unit);
        v.region->sliding = 0;
    }
    if (has_behind)
        region_wipe(v, place->unit + place->units);
    if (tells)
        lm_region_flag(
            v, behind, LM_REGION_USED | LM_REGION_PREV_FREE | LM_REGION_TINY, LM_REGION_USED | LM_REGION_PREV_FREE);
    else if (!has_behind)
        lm_region_flag(v, behind, LM_REGION_USED, LM_REGION_USED | lm_region_behind(v, units));
    if (stays)
        index_write_footer(v, start, units);
    else
        index_insert(v, start, units, bin);
    if (stays && !has_before)
        lm_region_bins_replace(v, &place->behind_knot, start);
    v.region->used_units -= place->units;
    return true;
}

LM_INLINE bool region_release(struct lm_region_view v, struct region_place *place)
{
    bool has_before = place->flags & LM_REGION_PREV_FREE;

    if (!region_can_see_behind(v, place) || !region_can_see_before(v, place))
        return false;
    if (!place->behind_units)
        return has_before ? region_release_with(v, place, true, false) : region_release_with(v, place, false, false);
    return has_before ? region_release_with(v, place, true, true) : region_release_with(v, place, false, true);
}

LM_INLINE int region_give_back(struct lm_region_view v, void *block)
{
    struct region_place place;

    if (LM_LIKELY(region_can_use(v, block, &place) && region_release(v, &place)))
        return 0;
    lm_region_refuse(v.region, block);
    return -1;
}

static LM_NOINLINE int region_give_back_good16(struct loam_region *region, void *block)
{
    return region_give_back(lm_region_view_as(region, false, LM_REGION_GRAIN16), block);
}

static LM_NOINLINE int region_give_back_good8(struct loam_region *region, void *block)
{
    return region_give_back(lm_region_view_as(region, false, LM_REGION_GRAIN8), block);
}

static LM_NOINLINE int region_give_back_tree(struct loam_region *region, void *block)
{
    return region_give_back(lm_region_view_as(region, true, region->grain_log2), block);
}

static LM_NOINLINE int region_give_back_any(struct loam_region *region, void *block)
{
    int answer;

    if (!region_enter(region))
        return -1;
    if (lm_region_is_tree(region))
        answer = region_give_back_tree(region, block);
    else if (region->grain_log2 == LM_REGION_GRAIN16)
        answer = region_give_back_good16(region, block);
    else
        answer = region_give_back_good8(region, block);
    region_leave(region);
    return answer;
}

LM_PUBLIC int loam_region_free(struct loam_region *region, void *block)
{
    if (LM_UNLIKELY(!block))
        return 0;
    switch (region_way(region)) {
    case LM_REGION_GOOD16:
        return region_give_back_good16(region, block);
    case LM_REGION_GOOD8:
        return region_give_back_good8(region, block);
    default:
        return region_give_back_any(region, block);
    }
}

/* -- resizing ---------------------------------------------------------------------------------------------------- */

/* Gives the block `units` out of itself and the free block behind it, which together suffice; region_can_see_behind
 * has been asked. False: damaged, and nothing is done. */
LM_INLINE bool region_reshape(struct lm_region_view v, const struct region_place *place, uint32_t units)
{
    uint32_t all = place->units + place->behind_units, rest = all - units, behind = place->unit + place->units;
    uint64_t word = lm_region_read(v, place->unit + all);
    unsigned bin = 0;

    if (rest < v.least) {
        units = all;
        rest = 0;
    }
    if (units == place->units)
        return true;
    if (rest)
        bin = index_bin(v, rest);
    if ((rest && !index_can_insert(v, place->unit + units, rest, bin)) ||
        (place->behind_units && !region_agrees(v, word, place->behind_units)))
        return false;
    if (place->behind_units)
        index_remove(v, behind, &place->behind_knot);
    if (rest)
        lm_region_write(v, place->unit + units, rest, 0);
    lm_region_write(v, place->unit, units, place->flags);
    if (place->behind_units && behind != place->unit + units)
        region_wipe(v, behind);
    lm_region_tell(v, place->unit + all, word, rest ? lm_region_behind(v, rest) : 0);
    if (rest)
        index_insert(v, place->unit + units, rest, bin);
    v.region->used_units -= place->units;
    region_count(v, units);
    return true;
}

/* Moves the block down over the free one before it, which with the one behind suffices; both are proved. */
LM_INLINE void *region_slide(struct lm_region_view v, struct region_place *place, uint32_t units)
{
    uint32_t all = place->before_units + place->units + place->behind_units, old = place->units;
    void *from = lm_region_at(v, place->unit), *to = lm_region_at(v, place->before);

    region_join(v, place, true, place->behind_units != 0);
    v.region->sliding = place->unit;
    lm_region_write(v, place->before, all, LM_REGION_USED);
    region_wipe(v, place->unit);
    v.region->sliding = 0;
    if (place->behind_units)
        region_wipe(v, place->unit + old);
    if (place->behind_units)
        lm_region_tell(v, place->before + all, lm_region_read(v, place->before + all), 0);
    v.region->used_units -= old;
    region_count(v, all);
    memmove(to, from, lm_region_payload_bytes(v, old));
    *place = (struct region_place){.unit = place->before, .units = all, .flags = LM_REGION_USED};
    region_reshape(v, place, units); /* damage elsewhere: the block keeps all of it */
    return to;
}

/* True when the tag behind a proved block's free neighbours can be told that they are no more. */
LM_INLINE bool region_can_slide(struct lm_region_view v, const struct region_place *place)
{
    uint64_t word = lm_region_read(v, place->unit + place->units + place->behind_units);

    return place->behind_units == 0 || region_agrees(v, word, place->behind_units);
}

/* As loam_region_realloc; *is_sound becomes false when the block or its neighbours are not, and then nothing is done. */
LM_INLINE void *region_resize_sound(struct lm_region_view v, void *block, size_t size, bool *is_sound)
{
    uint32_t units = region_units_for(v, size);
    struct region_place place;
    void *moved;

    *is_sound = region_can_use(v, block, &place);
    if (*is_sound && units == place.units)
        return block; /* nothing is written */
    *is_sound = *is_sound && region_can_see_behind(v, &place);
    if (!*is_sound)
        return NULL;
    if (units && units <= place.units + place.behind_units) {
        *is_sound = region_reshape(v, &place, units);
        return block;
    }
    *is_sound = region_can_see_before(v, &place);
    if (!*is_sound)
        return NULL;
    if (units && (uint64_t)units <= (uint64_t)place.before_units + place.units + place.behind_units) {
        *is_sound = region_can_slide(v, &place);
        return *is_sound ? region_slide(v, &place, units) : NULL;
    }
    moved = region_take_inside(v.region, size);
    if (!moved)
        return NULL;
    memcpy(moved, block, lm_min(size, lm_region_payload_bytes(v, place.units)));
    if (!region_can_use(v, block, &place) || !region_release(v, &place))
        lm_region_refuse(v.region, block);
    return moved;
}

LM_INLINE void *region_resize(struct lm_region_view v, void *block, size_t size)
{
    bool is_sound;
    void *p = region_resize_sound(v, block, size, &is_sound);

    if (LM_LIKELY(is_sound))
        return p;
    lm_region_refuse(v.region, block);
    return NULL;
}

static LM_NOINLINE void *region_resize_good16(struct loam_region *region, void *block, size_t size)
{
    return region_resize(lm_region_view_as(region, false, LM_REGION_GRAIN16), block, size);
}

static LM_NOINLINE void *region_resize_good8(struct loam_region *region, void *block, size_t size)
{
    return region_resize(lm_region_view_as(region, false, LM_REGION_GRAIN8), block, size);
}

static LM_NOINLINE void *region_resize_any(struct loam_region *region, void *block, size_t size)
{
    void *p;

    if (!region_enter(region))
        return NULL;
    p = region_resize(lm_region_view(region), block, size);
    region_leave(region);
    return p;
}

LM_PUBLIC void *loam_region_realloc(struct loam_region *region, void *block, size_t size)
{
    if (!block)
        return loam_region_alloc(region, size);
    if (size == 0) {
        loam_region_free(region, block);
        return NULL;
    }
    switch (region_way(region)) {
    case LM_REGION_GOOD16:
        return region_resize_good16(region, block, size);
    case LM_REGION_GOOD8:
        return region_resize_good8(region, block, size);
    default:
        return region_resize_any(region, block, size);
    }
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
