/* A block of a region freed twice, whether it was merged with a neighbour in between or not. */
#include "common_region.h"

static void misuse(size_t size)
{
    void *p = loam_region_alloc(region, size + 32), *keep = loam_region_alloc(region, size);

    loam_region_free(region, p);
    loam_region_free(region, hide(p));
    loam_region_free(region, keep);
}

int main(void)
{
    return death_in_region("double free", misuse);
}
