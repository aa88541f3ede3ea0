/* A block of malloc given to a region. */
#include "common_region.h"

#include <stdlib.h>

static void misuse(size_t size)
{
    void *keep = loam_region_alloc(region, size);

    loam_region_free(region, malloc(size));
    loam_region_free(region, keep);
}

int main(void)
{
    return death_in_region("not a block of this region", misuse);
}
