/* Another pool's object, an address of no pool, and one that was never handed out. */
#include "common_death.h"

#include <loam/pool.h>

static void misuse(size_t size)
{
    struct loam_pool *pool = loam_pool_create(size, 0, NULL);
    char *p = loam_pool_alloc(pool), *keep = loam_pool_alloc(pool);

    loam_pool_free(loam_pool_create(size, 0, NULL), hide(p));
    loam_pool_free(pool, keep);
}

int main(void)
{
    return death("not an object of this pool", 70000, misuse);
}
