/* The middle of a buddy's range freed. */
#include "common_death.h"

#include <loam/buddy.h>

static struct loam_buddy *buddy;

static void misuse(size_t size)
{
    loam_buddy_free(buddy, loam_buddy_alloc(buddy, size) + 1);
}

static void misuse_whole_unit(size_t size)
{
    loam_buddy_free(buddy, loam_buddy_alloc(buddy, size + 16) + 16);
}

int main(void)
{
    struct loam_buddy_options options = {
        .struct_bytes = sizeof options, .base = 1 << 20, .bytes = 1 << 20, .min_block = 16};

    buddy = loam_buddy_create(&options);
    return death("not a live range of this buddy", 60000, misuse) +
        death("free inside a live range", 60000, misuse_whole_unit);
}
