/* A free block of a region written to, found when what stands beside it is freed. */
#include "common_death.h"

#include <loam/region.h>
#include <string.h>

static struct loam_region *region;
static char room[1 << 20];

static void misuse(size_t size)
{
    void *p = loam_region_alloc(region, size + 32), *keep = loam_region_alloc(region, size);

    loam_region_free(region, p);
    memset(hide(p), 7, 16);
    loam_region_free(region, keep);
    loam_region_free(region, keep);
}

int main(void)
{
    int failures = 0;

    for (int fit = LOAM_FIT_GOOD; fit <= LOAM_FIT_BEST; fit++) {
        struct loam_region_options options = {.struct_bytes = sizeof options, .fit = (enum loam_fit)fit};

        region = loam_region_create(room, sizeof room, &options);
        failures += death("damaged: the start of a free block was overwritten", 60000, misuse);
    }
    return failures;
}
