/* A free block of a region written to, found when what stands beside it is freed. */
#include "common_region.h"

#include <string.h>

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
    return death_in_region("damaged: the start of a free block was overwritten", misuse);
}
