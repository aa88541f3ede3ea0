/* A block of a region written beyond its end, over the next one's tag; the free of either is refused. */
#include "common_death.h"

#include <loam/region.h>
#include <string.h>

static struct loam_region *region;
static char room[1 << 20];

static void misuse(size_t size)
{
    void *p = loam_region_alloc(region, size + 32), *keep = loam_region_alloc(region, size);

    memset(hide(p), 7, size + 72);
    loam_region_free(region, p);
    loam_region_free(region, keep);
}

int main(void)
{
    int failures = 0;

    for (int fit = LOAM_FIT_GOOD; fit <= LOAM_FIT_BEST; fit++) {
        struct loam_region_options options = {.struct_bytes = sizeof options, .fit = (enum loam_fit)fit};

        region = loam_region_create(room, sizeof room, &options);
        failures += death("damaged: the tag before a block was overwritten", 60000, misuse);
    }
    return failures;
}
