/* A pointer into the middle of an object of a pool. */
#include "common_death.h"

#include <loam/pool.h>

static void misuse(size_t size)
{
    struct loam_pool *pool = loam_pool_create(size + 1, 0, NULL);
    char *p = loam_pool_alloc(pool);

    loam_pool_free(pool, hide(p + (size + 1) / 2));
}

int main(void)
{
    return death("not the start of an object", 70000, misuse);
}
