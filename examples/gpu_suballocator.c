/* A GPU suballocator: the driver hands out few, large pieces of device memory; textures and vertex buffers are cut from
 * one by a buddy. The addresses are offsets in that memory, which the processor never touches. */
#include <loam/buddy.h>

#include <stdio.h>
#include <stdlib.h>

enum { MIB = 1 << 20, HEAP = 256 * MIB, BLOCK = 256, TEXTURE_ALIGN = 65536, FRAMES = 200, RESOURCES = 300 };

struct resource {
    uintptr_t offset;
    size_t bytes;
};

static int print_resource(uintptr_t offset, size_t bytes, void *left)
{
    printf("  offset %9zu: %zu bytes\n", (size_t)offset, bytes);
    return --*(int *)left == 0;
}

int main(void)
{
    struct loam_buddy_options options = {.struct_bytes = sizeof options, .bytes = HEAP, .min_block = BLOCK};
    struct loam_buddy_figures figures = {.struct_bytes = sizeof figures};
    static struct resource resources[RESOURCES];
    struct loam_buddy *device = loam_buddy_create(&options);
    size_t refused = 0, live = 0;
    int show = 5;

    /* The frame buffer stands where the display expects it. */
    if (!device || loam_buddy_claim(device, 16 * MIB, 3840 * 2160 * 4) != 0)
        return 1;
    srand(1);
    for (int frame = 0; frame < FRAMES; frame++)
        for (int i = 0; i < 20; i++) {
            struct resource *one = &resources[rand() % RESOURCES];
            size_t side = (size_t)16 << rand() % 8;

            if (one->bytes && loam_buddy_free(device, one->offset) != 0)
                return 1;
            one->bytes = rand() % 3 ? side * side * 4 / 3 * 4 / 4 : (size_t)(1 + rand() % 5000) * 32;
            one->offset = side > 100 ? loam_buddy_alloc_aligned(device, TEXTURE_ALIGN, one->bytes)
                                     : loam_buddy_alloc(device, one->bytes);
            if (one->offset == LOAM_BUDDY_NONE) { /* a renderer would evict something now */
                one->bytes = 0;
                refused++;
            }
        }
    loam_buddy_figures(device, &figures);
    printf("%zu of %zu MiB in %zu ranges, largest free %zu MiB, fragmentation %u.%u %%, %zu refused; the first:\n",
        figures.used_bytes / MIB, figures.total_bytes / MIB, figures.live_ranges, figures.largest_free_bytes / MIB,
        figures.fragmentation / 10, figures.fragmentation % 10, refused);
    loam_buddy_walk(device, print_resource, &show);
    for (int i = 0; i < RESOURCES; i++)
        if (resources[i].bytes) {
            live++;
            if (resources[i].offset % BLOCK || loam_buddy_size(device, resources[i].offset) < resources[i].bytes ||
                loam_buddy_free(device, resources[i].offset) != 0)
                return 1;
        }
    if (live + 1 != figures.live_ranges || loam_buddy_free(device, 16 * MIB) != 0)
        return 1;
    loam_buddy_figures(device, &figures);
    loam_buddy_destroy(device);
    return figures.used_bytes != 0 || figures.largest_free_bytes != HEAP;
}
