/* buddy.c: the public face of page/buddy; see <loam/buddy.h>.
 *
 *   the bookkeeping, one piece of memory of the source's or loam's heap:
 *   | struct loam_buddy | links and state of page/buddy, 9 bytes a unit |
 *
 * Invariant (loam_buddy_check): free blocks and known ranges cover all units, each once. Locks: its own when asked for,
 * LM_RANK_BLOCK. Nothing here touches what is at the addresses. */
#include "block/block.h"

#include <errno.h>
#include <loam/buddy.h>
#include <string.h>

struct loam_buddy {
    struct lm_block_lock lock;
    bool return_errors;
    uint8_t unit_log2;
    uintptr_t base;
    struct lm_buddy units;
    uint32_t live_ranges, peak_units;
    const struct loam_source *meta;
    size_t meta_bytes;
};

/* -- coming and going ------------------------------------------------------------------------------------------ */

static bool buddy_options_are_good(const struct loam_buddy_options *options)
{
    return options && options->struct_bytes == sizeof *options && lm_is_power2(options->min_block) &&
        options->base % options->min_block == 0 && options->bytes >= options->min_block &&
        options->bytes / options->min_block <= LM_BUDDY_MAX_UNITS && options->base + options->bytes >= options->base;
}

LM_PUBLIC struct loam_buddy *loam_buddy_create(const struct loam_buddy_options *options)
{
    struct loam_buddy *buddy;
    uint32_t units;
    size_t bytes;

    if (!buddy_options_are_good(options)) {
        errno = EINVAL;
        return NULL;
    }
    units = (uint32_t)(options->bytes / options->min_block);
    bytes = lm_align_up(sizeof *buddy + lm_buddy_meta_bytes(units), LOAM_SOURCE_GRAIN);
    buddy = options->meta ? lm_source_map(options->meta, bytes, LOAM_SOURCE_GRAIN) : lm_heap_malloc(bytes, &(bool){0});
    if (!buddy)
        return NULL;
    memset(buddy, 0, bytes);
    *buddy = (struct loam_buddy){
        .lock = LM_BLOCK_LOCK_INIT(options->locked != 0),
        .return_errors = options->return_errors != 0,
        .unit_log2 = (uint8_t)lm_log2_floor(options->min_block),
        .base = options->base,
        .meta = options->meta,
        .meta_bytes = bytes,
    };
    lm_buddy_init(&buddy->units, units, buddy + 1);
    lm_buddy_free(&buddy->units, 0, units);
    return buddy;
}

LM_PUBLIC void loam_buddy_destroy(struct loam_buddy *buddy)
{
    if (!buddy)
        return;
    if (buddy->meta)
        lm_source_unmap(buddy->meta, buddy, buddy->meta_bytes);
    else
        lm_heap_free(buddy);
}

/* -- units ---------------------------------------------------------------------------------------------------------- */

/* Units for so many bytes; 0: more than there are. */
static uint32_t buddy_units_for(const struct loam_buddy *buddy, size_t bytes)
{
    size_t units = bytes >> buddy->unit_log2, rest = bytes & (((size_t)1 << buddy->unit_log2) - 1);

    units = lm_max(units + (rest != 0), 1);
    return units <= buddy->units.units ? (uint32_t)units : 0;
}

/* The unit that starts at an address, or LM_BUDDY_NONE. */
static uint32_t buddy_unit_at(const struct loam_buddy *buddy, uintptr_t address)
{
    size_t offset = address - buddy->base, unit = offset >> buddy->unit_log2;

    if (address < buddy->base || unit >= buddy->units.units || unit << buddy->unit_log2 != offset)
        return LM_BUDDY_NONE;
    return (uint32_t)unit;
}

static uintptr_t buddy_address(const struct loam_buddy *buddy, uint32_t unit)
{
    return buddy->base + ((uintptr_t)unit << buddy->unit_log2);
}

/* The unit of a live range, or LM_BUDDY_NONE after what is to be done about a misuse. */
static uint32_t buddy_live_at(struct loam_buddy *buddy, uintptr_t address)
{
    uint32_t unit = buddy_unit_at(buddy, address);
    const char *misuse = "not a live range of this buddy";

    if (unit != LM_BUDDY_NONE) {
        if (lm_buddy_known(&buddy->units, unit))
            return unit;
        misuse = lm_buddy_is_free(&buddy->units, unit) ? "free of a range that is free" : "free inside a live range";
    }
    if (!buddy->return_errors)
        lm_block_misuse("buddy", misuse, (const void *)address);
    errno = EINVAL;
    return LM_BUDDY_NONE;
}

/* -- the calls --------------------------------------------------------------------------------------------------------- */

/* With the lock held: a range that was taken becomes live. */
static void buddy_live(struct loam_buddy *buddy, uint32_t unit, uint32_t units)
{
    lm_buddy_know(&buddy->units, unit, units);
    buddy->live_ranges++;
    buddy->peak_units = (uint32_t)lm_max(buddy->peak_units, buddy->units.units - buddy->units.free_units);
}

LM_PUBLIC uintptr_t loam_buddy_alloc_aligned(struct loam_buddy *buddy, size_t align, size_t bytes)
{
    uint32_t units = buddy_units_for(buddy, bytes), unit = LM_BUDDY_NONE;
    size_t step = align >> buddy->unit_log2;

    if (!lm_is_power2(align)) {
        errno = EINVAL;
        return LOAM_BUDDY_NONE;
    }
    lm_block_enter(&buddy->lock);
    if (units && step <= 1)
        unit = lm_buddy_alloc(&buddy->units, units);
    else if (units && step <= buddy->units.units)
        unit =
            lm_buddy_alloc_aligned(&buddy->units, units, (uint32_t)step, (uint32_t)(buddy->base >> buddy->unit_log2));
    if (unit != LM_BUDDY_NONE)
        buddy_live(buddy, unit, units);
    lm_block_leave(&buddy->lock);
    if (unit != LM_BUDDY_NONE)
        return buddy_address(buddy, unit);
    errno = ENOMEM;
    return LOAM_BUDDY_NONE;
}

LM_PUBLIC uintptr_t loam_buddy_alloc(struct loam_buddy *buddy, size_t bytes)
{
    return loam_buddy_alloc_aligned(buddy, 1, bytes);
}

LM_PUBLIC int loam_buddy_claim(struct loam_buddy *buddy, uintptr_t address, size_t bytes)
{
    uint32_t units = buddy_units_for(buddy, bytes), unit = buddy_unit_at(buddy, address);
    bool done;

    if (units == 0 || unit == LM_BUDDY_NONE || units > buddy->units.units - unit) {
        errno = EINVAL;
        return -1;
    }
    lm_block_enter(&buddy->lock);
    done = lm_buddy_claim(&buddy->units, unit, units);
    if (done)
        buddy_live(buddy, unit, units);
    lm_block_leave(&buddy->lock);
    if (!done)
        errno = EBUSY;
    return done ? 0 : -1;
}

LM_PUBLIC int loam_buddy_free(struct loam_buddy *buddy, uintptr_t address)
{
    uint32_t unit, units;

    lm_block_enter(&buddy->lock);
    unit = buddy_live_at(buddy, address);
    if (unit != LM_BUDDY_NONE) {
        units = lm_buddy_known(&buddy->units, unit);
        lm_buddy_forget(&buddy->units, unit);
        lm_buddy_free(&buddy->units, unit, units);
        buddy->live_ranges--;
    }
    lm_block_leave(&buddy->lock);
    return unit != LM_BUDDY_NONE ? 0 : -1;
}

/* With the lock held. */
static bool buddy_reshape(struct loam_buddy *buddy, uint32_t unit, uint32_t units)
{
    uint32_t was = lm_buddy_known(&buddy->units, unit);

    if (units == 0 || units > buddy->units.units - unit ||
        (units > was && !lm_buddy_claim(&buddy->units, unit + was, units - was)))
        return false;
    lm_buddy_forget(&buddy->units, unit);
    if (units < was)
        lm_buddy_free(&buddy->units, unit + units, was - units);
    buddy->live_ranges--;
    buddy_live(buddy, unit, units);
    return true;
}

LM_PUBLIC int loam_buddy_resize(struct loam_buddy *buddy, uintptr_t address, size_t bytes)
{
    uint32_t units = buddy_units_for(buddy, bytes), unit;
    bool done = false;

    lm_block_enter(&buddy->lock);
    unit = buddy_live_at(buddy, address);
    if (unit != LM_BUDDY_NONE && !(done = buddy_reshape(buddy, unit, units)))
        errno = ENOMEM;
    lm_block_leave(&buddy->lock);
    return done ? 0 : -1;
}

LM_PUBLIC size_t loam_buddy_size(struct loam_buddy *buddy, uintptr_t address)
{
    uint32_t unit = buddy_unit_at(buddy, address), units = 0;

    lm_block_enter(&buddy->lock);
    if (unit != LM_BUDDY_NONE)
        units = lm_buddy_known(&buddy->units, unit);
    lm_block_leave(&buddy->lock);
    return (size_t)units << buddy->unit_log2;
}

/* -- looking at it -------------------------------------------------------------------------------------------------- */

LM_PUBLIC int loam_buddy_walk(
    struct loam_buddy *buddy, int (*visit)(uintptr_t address, size_t bytes, void *arg), void *arg)
{
    int answer = 0;

    lm_block_enter(&buddy->lock);
    for (uint32_t unit = 0; unit < buddy->units.units && !answer;) {
        uint32_t units = lm_buddy_known(&buddy->units, unit);

        if (units)
            answer = visit(buddy_address(buddy, unit), (size_t)units << buddy->unit_log2, arg);
        else
            units = (uint32_t)1 << (buddy->units.state[unit] - 1); /* free: what is not live is */
        unit += units;
    }
    lm_block_leave(&buddy->lock);
    return answer;
}

LM_PUBLIC int loam_buddy_figures(struct loam_buddy *buddy, struct loam_buddy_figures *out)
{
    size_t unused, largest;

    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    lm_block_enter(&buddy->lock);
    unused = buddy->units.free_units;
    largest = lm_buddy_largest(&buddy->units);
    *out = (struct loam_buddy_figures){
        .struct_bytes = sizeof *out,
        .total_bytes = (size_t)buddy->units.units << buddy->unit_log2,
        .used_bytes = (buddy->units.units - unused) << buddy->unit_log2,
        .peak_bytes = (size_t)buddy->peak_units << buddy->unit_log2,
        .live_ranges = buddy->live_ranges,
        .largest_free_bytes = largest << buddy->unit_log2,
        .meta_bytes = buddy->meta_bytes,
        .fragmentation = unused ? (unsigned)((unused - largest) * 1000 / unused) : 0,
    };
    lm_block_leave(&buddy->lock);
    return 0;
}

LM_PUBLIC int loam_buddy_check(struct loam_buddy *buddy)
{
    int broken;

    lm_block_enter(&buddy->lock);
    broken = lm_buddy_check_known(&buddy->units);
    lm_block_leave(&buddy->lock);
    return broken;
}
