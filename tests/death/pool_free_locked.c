/* An object of a pool with a lock and a destructor freed twice: the destructor does not see it again. */
#include "common_death.h"

#include <loam/pool.h>
#include <unistd.h>

static void destruct(void *object, void *arg)
{
    if (++*(char *)object != 1)
        (void)!write(STDOUT_FILENO, arg, 1);
}

static void misuse(size_t size)
{
    struct loam_pool_options options = {
        .struct_bytes = sizeof options, .object_bytes = size, .locked = 1, .destruct = destruct, .arg = (char[]){"!"}};
    struct loam_pool *pool = loam_pool_create_with(&options);
    char *p = loam_pool_alloc(pool);

    *p = 0;
    loam_pool_free(pool, p);
    loam_pool_free(pool, hide(p));
}

int main(void)
{
    return death("double free", 70000, misuse);
}
