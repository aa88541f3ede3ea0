/* family.h: what of malloc's family is the same for every bare allocator here: it is made of the includer's memalign. */
#ifndef LOAM_BENCH_FAMILY_H
#define LOAM_BENCH_FAMILY_H

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    void *p = memalign(align, size);

    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

#endif
