/* Private heaps under the shadow: on loam's own arena, and on a source. */
// test: timeout=1200
#include "common_model.h"

#include <loam/heap.h>
#include <loam/loam.h>

static struct loam_heap *heap;

static void *heap_malloc(size_t size)
{
    return loam_heap_malloc(heap, size);
}

static void *heap_calloc(size_t count, size_t size)
{
    return loam_heap_calloc(heap, count, size);
}

static void *heap_realloc(void *p, size_t size)
{
    return loam_heap_realloc(heap, p, size);
}

static void *heap_aligned(size_t align, size_t size)
{
    return loam_heap_aligned_alloc(heap, align, size);
}

static size_t heap_usable(void *p)
{
    return loam_usable_size(p);
}

static int heap_check(void)
{
    return loam_heap_check(heap);
}

int main(int argc, char **argv)
{
    static const struct model_target target = {"private heap", heap_malloc, heap_calloc, heap_realloc, heap_aligned,
        loam_free, heap_usable, heap_check, 8u << 20};
    struct loam_heap_options options = {.struct_bytes = sizeof options};
    int status;

    heap = loam_heap_create(&options);
    status = model_main(argc, argv, &target, 200000);
    options.source = loam_source_os();
    heap = loam_heap_create(&options);
    return status || model_main(argc, argv, &target, 200000);
}
