/* region_root.c: finding blocks of a region again, wherever it is mapped: numbers and the root; see <loam/region.h>. */
#include "block/region_proof.h"

#include <errno.h>

LM_PUBLIC uint64_t loam_region_number(struct loam_region *region, const void *block)
{
    return block && loam_region_usable_size(region, block)
        ? (uint64_t)((uintptr_t)block - (uintptr_t)region) >> region->grain_log2
        : 0;
}

/* The live block of that number, or NULL. */
static void *region_block_at(struct loam_region *region, uint64_t number)
{
    struct region_place place;

    if (number == 0 || number >= region->end ||
        !region_can_use(lm_region_view(region), lm_region_at(lm_region_view(region), (uint32_t)number), &place))
        return NULL;
    return lm_region_at(lm_region_view(region), place.unit);
}

LM_PUBLIC void *loam_region_block(struct loam_region *region, uint64_t number)
{
    void *p;

    if (number == 0 || !region_enter(region))
        return NULL;
    p = region_block_at(region, number);
    region_leave(region);
    if (!p)
        errno = EINVAL;
    return p;
}

LM_PUBLIC int loam_region_set_root(struct loam_region *region, void *block)
{
    struct region_place place = {.unit = 0};
    bool done;

    if (!region_enter(region))
        return -1;
    done = !block || region_can_use(lm_region_view(region), block, &place);
    if (done)
        region->root = place.unit;
    else
        lm_region_refuse(region, block);
    region_leave(region);
    return done ? 0 : -1;
}

LM_PUBLIC void *loam_region_root(struct loam_region *region)
{
    void *p;

    if (!region_enter(region))
        return NULL;
    p = region_block_at(region, region->root);
    region_leave(region);
    return p;
}
