/* region_check.c: walking a region, its figures, check(), and what is said about a misuse; layout in region.h. */
#include "block/region_bins.h"

#include <errno.h>

/* -- check ------------------------------------------------------------------------------------------------------------ */

static const char *const region_reasons[] = {
    [LOAM_REGION_SOUND] = "sound",
    [LOAM_REGION_BAD_HEADER] = "the head of the region was overwritten",
    [LOAM_REGION_BAD_TAG] = "the tag before a block was overwritten",
    [LOAM_REGION_BAD_NEIGHBOUR] = "the tag of a block does not agree with the block before it",
    [LOAM_REGION_BAD_FOOTER] = "the end of a free block was overwritten",
    [LOAM_REGION_BAD_LINK] = "the start of a free block was overwritten, or what leads to it",
    [LOAM_REGION_BAD_COUNT] = "the counts do not agree with the blocks",
};

static enum loam_region_damage region_found(
    const struct loam_region *region, enum loam_region_damage damage, uint32_t unit, struct loam_region_fault *fault)
{
    if (fault) {
        fault->damage = damage;
        fault->block = unit ? lm_region_at(lm_region_view(region), unit) : NULL;
        fault->reason = region_reasons[damage];
    }
    return damage;
}

/* The free block of a list that is wrong first, or 0; *left, what there may still be, becomes less by those in it. */
static uint32_t bins_inspect(const struct loam_region *region, unsigned bin, uint32_t *left)
{
    struct lm_region_view v = lm_region_view(region);
    uint32_t none = lm_region_none(v), before = none, unit = region->head[bin];

    for (; unit != none; before = unit, unit = lm_region_links(v, unit)->next, --*left) {
        if (!lm_region_is_free(v, unit) || lm_region_links(v, unit)->prev != lm_region_veiled(v, before))
            return before != none ? before : unit ? unit : LM_REGION_DAMAGED;
        if (lm_region_bin_of(lm_region_units(v, unit)) != bin || *left == 0)
            return unit;
    }
    return 0;
}

/* True when the links of a free block's neighbours in its list lead back to it. */
static bool bins_lead_back(struct lm_region_view v, uint32_t unit, uint32_t units)
{
    struct lm_region_knot knot = lm_region_knot(v, unit, lm_region_bin_of(units));

    return lm_region_is_link(v, knot.next) && lm_region_is_link(v, lm_region_veiled(v, knot.prev)) &&
        (knot.next == lm_region_none(v) || lm_region_links(v, knot.next)->prev == lm_region_veiled(v, unit)) &&
        *knot.forward == unit;
}

static bool bins_maps_agree(const struct loam_region *region)
{
    uint32_t none = lm_region_none(lm_region_view(region)), top = 0;
    uint64_t map[LM_REGION_LEVELS] = {0};

    for (unsigned bin = 0; bin < region->bins; bin++)
        if (region->head[bin] != none)
            map[bin / LM_REGION_SLOTS] |= (uint64_t)1 << bin % LM_REGION_SLOTS;
    for (unsigned level = 0; level < LM_REGION_LEVELS; level++)
        top |= (uint32_t)(map[level] != 0) << level;
    return region->top == top && memcmp(region->map, map, sizeof map) == 0;
}

/* A unit that is out of bounds is named by the head, where it stands. */
static uint32_t region_clamp(const struct loam_region *region, uint32_t unit)
{
    return unit >= region->first && unit < region->end ? unit : 0;
}

/* `left`: how many free blocks there are. */
static enum loam_region_damage index_inspect(
    const struct loam_region *region, uint32_t left, struct loam_region_fault *fault)
{
    uint32_t count = 0, bad = 0;

    if (lm_region_is_tree(region))
        bad = lm_region_tree_inspect(region, &count);
    else if (!bins_maps_agree(region))
        return region_found(region, LOAM_REGION_BAD_HEADER, 0, fault);
    for (unsigned bin = 0; bin < region->bins && !bad; bin++)
        bad = bins_inspect(region, bin, &left);
    if (bad)
        return region_found(region, LOAM_REGION_BAD_LINK, region_clamp(region, bad), fault);
    if (count != left) /* the lists counted down, the tree up */
        return region_found(region, LOAM_REGION_BAD_COUNT, 0, fault);
    return LOAM_REGION_SOUND;
}

/* What is wrong with a free block whose tag is sound. */
static enum loam_region_damage region_inspect_free(const struct loam_region *region, uint32_t unit, uint32_t units)
{
    if (!lm_region_is_tiny(lm_region_view(region), units) &&
        *lm_region_footer(lm_region_view(region), unit + units) != units)
        return LOAM_REGION_BAD_FOOTER;
    if (lm_region_is_tree(region) ? !lm_region_tree_can_remove(region, unit, units)
                                  : !bins_lead_back(lm_region_view(region), unit, units))
        return LOAM_REGION_BAD_LINK;
    return LOAM_REGION_SOUND;
}

/* What a tag says must follow from what came before. */
static enum loam_region_damage region_inspect_tag(const struct loam_region *region, uint32_t unit, unsigned before)
{
    uint64_t word = lm_region_read(lm_region_view(region), unit);
    uint32_t units = lm_region_length(word);

    if (!lm_region_is_signed(word))
        return LOAM_REGION_BAD_TAG;
    if (unit == region->end ? units != 0 || !lm_region_is_used(word)
                            : units < lm_region_least(region) || units > region->end - unit)
        return LOAM_REGION_BAD_TAG;
    if ((lm_region_flags(word) & (LM_REGION_PREV_FREE | LM_REGION_TINY)) != before ||
        (before && !lm_region_is_used(word)))
        return LOAM_REGION_BAD_NEIGHBOUR;
    return LOAM_REGION_SOUND;
}

/* All tags, and the count of what is used; *unused becomes the number of free blocks. */
static enum loam_region_damage region_inspect_chain(
    const struct loam_region *region, uint32_t *unused, struct loam_region_fault *fault)
{
    uint32_t used = 0, unit = region->first, units;
    unsigned before = 0;

    *unused = 0;

    for (;; unit += units) {
        enum loam_region_damage damage = region_inspect_tag(region, unit, before);

        if (damage)
            return region_found(region, damage, unit, fault);
        if (unit == region->end)
            break;
        units = lm_region_units(lm_region_view(region), unit);
        if (lm_region_is_used(lm_region_read(lm_region_view(region), unit))) {
            used += units;
            before = 0;
        } else {
            ++*unused;
            before = lm_region_behind(lm_region_view(region), units);
        }
    }
    if (used != region->used_units)
        return region_found(region, LOAM_REGION_BAD_COUNT, 0, fault);
    return LOAM_REGION_SOUND;
}

/* Tags first: a link to a damaged block is not the link's fault. */
enum loam_region_damage lm_region_inspect(const struct loam_region *region, struct loam_region_fault *fault)
{
    enum loam_region_damage damage;
    uint32_t unused;

    if (lm_region_seal(region) != region->seal)
        return region_found(region, LOAM_REGION_BAD_HEADER, 0, fault);
    damage = region_inspect_chain(region, &unused, fault);
    if (damage)
        return damage;
    for (uint32_t unit = region->first; unit < region->end; unit += lm_region_units(lm_region_view(region), unit)) {
        if (!lm_region_is_used(lm_region_read(lm_region_view(region), unit)))
            damage = region_inspect_free(region, unit, lm_region_units(lm_region_view(region), unit));
        if (damage)
            return region_found(region, damage, unit, fault);
    }
    region_found(region, LOAM_REGION_SOUND, 0, fault);
    return index_inspect(region, unused, fault);
}

LM_PUBLIC enum loam_region_damage loam_region_check(struct loam_region *region, struct loam_region_fault *fault)
{
    enum loam_region_damage damage;
    bool is_locked;

    if (lm_region_seal(region) != region->seal)
        return region_found(region, LOAM_REGION_BAD_HEADER, 0, fault);
    is_locked = region->lock && lm_region_lock(region);
    damage = lm_region_inspect(region, fault); /* refused the lock: it is broken, and nobody is inside */
    if (is_locked)
        lm_region_unlock(region);
    return damage;
}

/* -- misuse -------------------------------------------------------------------------------------------------------------- */

/* Why `p` is no live block; NULL: it is one, or the tags on the way to it are damaged. */
static const char *region_judge(const struct loam_region *region, const void *p)
{
    uintptr_t start = (uintptr_t)lm_region_at(lm_region_view(region), region->first);
    size_t offset = (uintptr_t)p - start, grain = (size_t)1 << region->grain_log2;
    uint32_t unit = region->first, target, units;
    uint64_t word;

    if (offset >= (uintptr_t)lm_region_at(lm_region_view(region), region->end) - start)
        return "not a block of this region";
    target = region->first + (uint32_t)(offset >> region->grain_log2);
    for (;; unit += units) {
        word = lm_region_read(lm_region_view(region), unit);
        units = lm_region_length(word);
        if (!lm_region_is_signed(word) || units == 0 || units > region->end - unit)
            return NULL;
        if (target - unit < units)
            break;
    }
    if (target == unit && offset % grain == 0)
        return lm_region_is_used(word) ? NULL : "double free";
    if (lm_region_is_used(word))
        return "a pointer into a live block";
    return offset % grain == 0 && lm_region_is_signed(lm_region_read(lm_region_view(region), target))
        ? "double free"
        : "a pointer into a free block";
}

void lm_region_refuse(struct loam_region *region, const void *p)
{
    bool is_head_sound = lm_region_seal(region) == region->seal;
    const char *misuse = p && is_head_sound ? region_judge(region, p) : NULL;
    struct loam_region_fault fault;
    char buffer[128];
    struct lm_text text = {buffer, sizeof buffer, 0};

    if (__builtin_popcount(region->return_errors) > 16) {
        errno = misuse ? EINVAL : EUCLEAN;
        return;
    }
    if (misuse)
        lm_block_misuse("region", misuse, p);
    if (!lm_region_inspect(region, &fault)) {
        fault.reason = "an operation met damage that is gone"; /* somebody writes to the region at this moment */
        fault.block = (void *)p;
    }
    lm_text_add(&text, "damaged: %s", fault.reason);
    lm_block_misuse("region", buffer, fault.block ? fault.block : region);
}

/* -- walks --------------------------------------------------------------------------------------------------------------- */

static int region_walk_blocks(
    const struct loam_region *region, int (*visit)(void *block, size_t bytes, int is_live, void *arg), void *arg)
{
    for (uint32_t unit = region->first, units; unit < region->end; unit += units) {
        uint64_t word = lm_region_read(lm_region_view(region), unit);
        int answer;

        units = lm_region_length(word);
        if (!lm_region_is_signed(word) || units < lm_region_least(region) || units > region->end - unit) {
            errno = EUCLEAN;
            return -1;
        }
        answer = visit(lm_region_at(lm_region_view(region), unit),
            lm_region_payload_bytes(lm_region_view(region), units), lm_region_is_used(word), arg);
        if (answer)
            return answer;
    }
    return 0;
}

LM_PUBLIC int loam_region_walk(
    struct loam_region *region, int (*visit)(void *block, size_t bytes, int is_live, void *arg), void *arg)
{
    int answer;

    if (lm_region_seal(region) != region->seal) {
        errno = EUCLEAN;
        return -1;
    }
    if (region->lock && !lm_region_lock(region))
        return -1;
    answer = region_walk_blocks(region, visit, arg);
    if (region->lock)
        lm_region_unlock(region);
    return answer;
}

static int region_measure(void *block, size_t bytes, int is_live, void *arg)
{
    struct loam_region_figures *out = arg;

    (void)block;
    if (is_live) {
        out->live_blocks++;
        out->used_bytes += bytes + LM_REGION_TAG_BYTES;
    } else {
        out->free_blocks++;
        out->largest_free_bytes = lm_max(out->largest_free_bytes, bytes);
    }
    out->total_bytes += bytes + LM_REGION_TAG_BYTES;
    return 0;
}

LM_PUBLIC int loam_region_figures(struct loam_region *region, struct loam_region_figures *out)
{
    struct loam_region_figures figures = {.struct_bytes = sizeof figures};
    size_t unused;

    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    if (loam_region_walk(region, region_measure, &figures) != 0)
        return -1;
    figures.peak_bytes = (size_t)region->peak_units << region->grain_log2;
    unused = figures.total_bytes - figures.used_bytes;
    if (unused) {
        size_t largest = figures.largest_free_bytes ? figures.largest_free_bytes + LM_REGION_TAG_BYTES : 0;

        figures.fragmentation = (unsigned)((unused - largest) * 1000 / unused);
    }
    *out = figures;
    return 0;
}
