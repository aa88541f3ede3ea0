/* Regions under the shadow: every fit, with both alignments, without and with locks. */
// test: timeout=1200
#include "common_model.h"

#include <loam/region.h>
#include <stdio.h>
#include <sys/mman.h>

enum { ROOM = 700 << 20 };

static struct loam_region *region;

static void *region_malloc(size_t size)
{
    return loam_region_alloc(region, size);
}

static void *region_calloc(size_t count, size_t size)
{
    return loam_region_calloc(region, count, size);
}

static void *region_realloc(void *p, size_t size)
{
    return loam_region_realloc(region, p, size);
}

static void *region_aligned(size_t align, size_t size)
{
    return loam_region_aligned_alloc(region, align, size);
}

static void region_free(void *p)
{
    loam_region_free(region, p);
}

static size_t region_usable(void *p)
{
    return loam_region_usable_size(region, p);
}

static int region_check(void)
{
    return loam_region_check(region, NULL);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "region, good fit", "region, first fit", "region, next fit", "region, best fit"};
    struct model_target target = {NULL, region_malloc, region_calloc, region_realloc, region_aligned, region_free,
        region_usable, region_check, 8u << 20};
    int status = 0;
    void *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    for (int fit = LOAM_FIT_GOOD; fit <= LOAM_FIT_BEST && !status; fit++) {
        struct loam_region_options options = {.struct_bytes = sizeof options, .fit = (enum loam_fit)fit};

        for (int lock = LOAM_REGION_UNLOCKED; lock <= LOAM_REGION_PROCESSES && !status; lock++) {
            options.lock = (enum loam_region_lock)lock;
            region = loam_region_create(room, ROOM, &options);
            target.name = names[fit];
            status = region ? model_main(argc, argv, &target, 60000) : 1;
        }
    }
    return status;
}
