/* A block of a region written beyond its end, over the next one's tag; the free of either is refused. */
#include "common_region.h"

#include <string.h>

static void misuse(size_t size)
{
    void *p = loam_region_alloc(region, size + 32), *keep = loam_region_alloc(region, size);

    memset(hide(p), 7, size + 72);
    loam_region_free(region, p);
    loam_region_free(region, keep);
}

int main(void)
{
    return death_in_region("damaged: the tag before a block was overwritten", misuse);
}
