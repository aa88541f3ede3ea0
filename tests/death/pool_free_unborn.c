/* An object of a pool that was never handed out. */
#include "common_death.h"

#include <loam/pool.h>

static void misuse(size_t size)
{
    struct loam_pool *pool = loam_pool_create(size, 0, NULL);
    char *p = loam_pool_alloc(pool);

    loam_pool_free(pool, hide(p + size));
}

int main(void)
{
    return death("double free, or never allocated", 70000, misuse);
}
