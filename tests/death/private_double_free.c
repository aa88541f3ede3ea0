/* A block of a private heap freed twice, by one thread and by two. */
// test: threads
#include "common_death.h"

#include <loam/heap.h>
#include <loam/loam.h>

static struct loam_heap *heap;

static void misuse(size_t size)
{
    void *p = loam_heap_malloc(heap, size), *keep = loam_heap_malloc(heap, size);

    loam_free(p);
    loam_free(hide(p));
    loam_free(keep);
}

static void free_it(void *p)
{
    loam_free(p);
}

static void misuse_elsewhere(size_t size)
{
    void *p, *keep;

    in_thread_again();
    p = loam_heap_malloc(heap, size);
    keep = loam_heap_malloc(heap, size);
    loam_free(p);
    in_thread(free_it, hide(p));
    loam_free(keep);
}

int main(void)
{
    heap = loam_heap_create(NULL);
    return death("double free", (size_t)-1, misuse) + death("double free", (size_t)-1, misuse_elsewhere);
}
