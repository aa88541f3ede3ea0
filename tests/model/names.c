/* The heap under the shadow: by malloc's names, or by loam's own where a sanitizer has malloc. */
// test: timeout=1200
#include "common_model.h"

#include <loam/loam.h>
#include <malloc.h>
#include <stdlib.h>

static size_t own_usable(void *p)
{
    return loam_usable_size(p);
}

int main(int argc, char **argv)
{
    static const struct model_target own = {"loam_malloc", loam_malloc, loam_calloc, loam_realloc, loam_aligned_alloc,
        loam_free, own_usable, NULL, 60u << 20};
#if LOAM_OWN_NAMES
    return model_main(argc, argv, &own, 300000);
#else
    static const struct model_target usual = {
        "malloc", malloc, calloc, realloc, aligned_alloc, free, malloc_usable_size, NULL, 60u << 20};

    return model_main(argc, argv, &usual, 8000000) || model_main(argc, argv, &own, 3000000);
#endif
}
