/* An object of a pool freed twice. */
#include "common_death.h"

#include <loam/pool.h>

static void misuse(size_t size)
{
    struct loam_pool *pool = loam_pool_create(size, 0, NULL);
    char *p = loam_pool_alloc(pool), *keep = loam_pool_alloc(pool);

    loam_pool_free(pool, p);
    loam_pool_free(pool, hide(p));
    loam_pool_free(pool, keep);
}

int main(void)
{
    return death("double free", 70000, misuse);
}
