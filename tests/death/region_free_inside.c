/* A free inside a block of a region. */
#include "common_region.h"

static void misuse(size_t size)
{
    void *p = loam_region_alloc(region, size + 32), *keep = loam_region_alloc(region, size);

    loam_region_free(region, (char *)hide(p) + 16);
    loam_region_free(region, keep);
}

int main(void)
{
    return death_in_region("a pointer into a live block", misuse);
}
