/* A block of malloc given to a region. */
#include "common_death.h"

#include <loam/region.h>
#include <stdlib.h>

static struct loam_region *region;
static char room[1 << 20];

static void misuse(size_t size)
{
    void *keep = loam_region_alloc(region, size);

    loam_region_free(region, malloc(size));
    loam_region_free(region, keep);
}

int main(void)
{
    int failures = 0;

    for (int fit = LOAM_FIT_GOOD; fit <= LOAM_FIT_BEST; fit++) {
        struct loam_region_options options = {.struct_bytes = sizeof options, .fit = (enum loam_fit)fit};

        region = loam_region_create(room, sizeof room, &options);
        failures += death("not a block of this region", 60000, misuse);
    }
    return failures;
}
