/* common_region.h: a misuse of a region, in regions of every fit. */
#ifndef LOAM_TEST_DEATH_REGION_H
#define LOAM_TEST_DEATH_REGION_H

#include "common_death.h"

#include <loam/region.h>

static struct loam_region *region; /* the one that the misuse is to use */

/* As death() for blocks of up to 60,000 bytes, once for each fit. */
static inline int death_in_region(const char *text, void (*misuse)(size_t size))
{
    static char room[1 << 20];
    int failures = 0;

    for (int fit = LOAM_FIT_GOOD; fit <= LOAM_FIT_BEST; fit++) {
        struct loam_region_options options = {.struct_bytes = sizeof options, .fit = (enum loam_fit)fit};

        region = loam_region_create(room, sizeof room, &options);
        failures += death(text, 60000, misuse);
    }
    return failures;
}

#endif
