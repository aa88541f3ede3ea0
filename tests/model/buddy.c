/* The buddy under the shadow: its addresses are laid over a mapping, so that the shadow sees overlaps in the bytes too. */
// test: timeout=1200
#include "common_model.h"

#include <loam/buddy.h>
#include <string.h>
#include <sys/mman.h>

enum { ROOM = 1 << 30 };

static struct loam_buddy *buddy;

static void *buddy_memory(uintptr_t at)
{
    return at == LOAM_BUDDY_NONE ? NULL : (void *)at;
}

static void *buddy_malloc(size_t size)
{
    return buddy_memory(loam_buddy_alloc(buddy, size));
}

static void *buddy_aligned(size_t align, size_t size)
{
    return buddy_memory(loam_buddy_alloc_aligned(buddy, align, size));
}

static void *buddy_calloc(size_t count, size_t size)
{
    void *p = buddy_malloc(count * size);

    return p ? memset(p, 0, count * size) : NULL;
}

static void buddy_free(void *p)
{
    loam_buddy_free(buddy, (uintptr_t)p);
}

static size_t buddy_usable(void *p)
{
    return loam_buddy_size(buddy, (uintptr_t)p);
}

static void *buddy_realloc(void *p, size_t size)
{
    size_t was = buddy_usable(p);
    void *q;

    if (loam_buddy_resize(buddy, (uintptr_t)p, size) == 0)
        return p;
    q = buddy_malloc(size);
    if (!q)
        return NULL;
    memcpy(q, p, was < size ? was : size);
    buddy_free(p);
    return q;
}

static int buddy_check(void)
{
    return loam_buddy_check(buddy);
}

int main(int argc, char **argv)
{
    static const struct model_target target = {"buddy", buddy_malloc, buddy_calloc, buddy_realloc, buddy_aligned,
        buddy_free, buddy_usable, buddy_check, 8u << 20};
    struct loam_buddy_options options = {.struct_bytes = sizeof options, .bytes = ROOM, .min_block = 64};
    void *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    options.base = (uintptr_t)room;
    buddy = room == MAP_FAILED ? NULL : loam_buddy_create(&options);
    return buddy ? model_main(argc, argv, &target, 40000) : 1;
}
