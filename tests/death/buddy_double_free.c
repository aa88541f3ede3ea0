/* A range of a buddy freed twice. */
#include "common_death.h"

#include <loam/buddy.h>

static struct loam_buddy *buddy;

static void misuse(size_t size)
{
    uintptr_t at = loam_buddy_alloc(buddy, size);

    loam_buddy_free(buddy, at);
    loam_buddy_free(buddy, at);
}

int main(void)
{
    struct loam_buddy_options options = {
        .struct_bytes = sizeof options, .base = 1 << 20, .bytes = 1 << 20, .min_block = 16};

    buddy = loam_buddy_create(&options);
    return death("free of a range that is free", 60000, misuse);
}
