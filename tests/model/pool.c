/* Pools under the shadow: one for each power of two of size and each alignment, made when first asked for. */
// test: timeout=1200
#include "common_model.h"

#include <loam/pool.h>
#include <string.h>

enum { SIZES = 13, ALIGNS = 16, LEAST_ALIGN = 4 };

static struct loam_pool *pool[SIZES][ALIGNS];
static const struct loam_source *source;

static unsigned log2_of(size_t x)
{
    unsigned e = 0;

    while (((size_t)1 << e) < x)
        e++;
    return e;
}

static void *pools_aligned(size_t align, size_t size)
{
    unsigned s = log2_of(size), a = log2_of(align);
    struct loam_pool **mine = &pool[s][a];
    struct loam_pool_options options = {.struct_bytes = sizeof options,
        .object_bytes = (size_t)1 << s,
        .align = align,
        .batch = 10,
        .source = source,
        .keep_bytes = 1};

    if (!*mine)
        *mine = loam_pool_create_with(&options);
    return loam_pool_alloc(*mine);
}

static void *pools_malloc(size_t size)
{
    return pools_aligned((size_t)1 << LEAST_ALIGN, size);
}

static void *pools_calloc(size_t count, size_t size)
{
    void *p = pools_malloc(count * size);

    return p ? memset(p, 0, count * size) : NULL;
}

/* The one pool that says that it is its own. */
static struct loam_pool *owner(void *p, size_t *size)
{
    struct loam_pool *found = NULL;

    for (unsigned s = 0; s < SIZES; s++)
        for (unsigned a = LEAST_ALIGN; a < ALIGNS; a++)
            if (pool[s][a] && loam_pool_owns(pool[s][a], p)) {
                if (found)
                    return NULL;
                found = pool[s][a];
                *size = (size_t)1 << s;
            }
    return found;
}

static size_t pools_usable(void *p)
{
    size_t size;

    return owner(p, &size) ? size : 0;
}

static void pools_free(void *p)
{
    size_t size;

    loam_pool_free(owner(p, &size), p);
}

static void *pools_realloc(void *p, size_t size)
{
    size_t old = pools_usable(p);
    void *fresh = pools_malloc(size);

    if (fresh) {
        memcpy(fresh, p, old < size ? old : size);
        pools_free(p);
    }
    return fresh;
}

static int pools_check(void)
{
    int line = 0;

    for (unsigned s = 0; s < SIZES; s++)
        for (unsigned a = LEAST_ALIGN; a < ALIGNS; a++)
            if (pool[s][a] && !line)
                line = loam_pool_check(pool[s][a]);
    return line;
}

int main(int argc, char **argv)
{
    static const struct model_target target = {
        "pools", pools_malloc, pools_calloc, pools_realloc, pools_aligned, pools_free, pools_usable, pools_check, 1000};
    int status = model_main(argc, argv, &target, 100000);

    memset(pool, 0, sizeof pool);
    source = loam_source_os();
    return status || model_main(argc, argv, &target, 40000);
}
