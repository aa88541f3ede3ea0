/* Object caches under the shadow: a malloc made of caches, one for each size class and alignment, of every kind of layer
 * and source in turn. A free finds its cache by the class that a table here remembers. */
// test: timeout=1200
#include "common_model.h"

#include <loam/cache.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CLASSES = 32, ALIGNS = 12, TABLE = 1 << 12, MOST = 6000 };

static struct loam_cache_options kind; /* what all caches of the run have in common */
static struct loam_cache *caches[CLASSES][ALIGNS];
static struct entry {
    void *p;
    struct loam_cache *cache;
    size_t size;
} * table; /* of live blocks, few enough to look through */

static struct loam_cache *cache_of(size_t align, size_t size, size_t *given)
{
    int class = 0, a = 0;

    for (*given = 8; *given < size; class ++)
        *given += *given < 32 ? 8 : *given / 2 / 8 * 8;
    for (; (size_t)16 << a < align; a++)
        ;
    if (!caches[class][a]) {
        struct loam_cache_options options = kind;

        options.name = "model";
        options.size_bytes = *given;
        options.align = align;
        caches[class][a] = loam_cache_create_with(&options);
        if (!caches[class][a])
            abort();
    }
    return caches[class][a];
}

static struct entry *entry_of(const void *p)
{
    for (int i = 0; i < TABLE; i++)
        if (table[i].p == p)
            return &table[i];
    abort();
}

static void *cache_aligned(size_t align, size_t size)
{
    struct loam_cache *cache = cache_of(align, size, &size);
    void *p = loam_cache_alloc(cache);

    if (p)
        *entry_of(NULL) = (struct entry){p, cache, size};
    return p;
}

static void *cache_malloc(size_t size)
{
    return cache_aligned(16, size);
}

static void *cache_calloc(size_t count, size_t size)
{
    void *p = cache_malloc(count * size);

    return p ? memset(p, 0, count * size) : NULL;
}

static void cache_free(void *p)
{
    struct entry *entry = entry_of(p);

    entry->p = NULL;
    loam_cache_free(entry->cache, p);
}

static void *cache_realloc(void *p, size_t size)
{
    void *q = cache_malloc(size);

    if (q) {
        size_t was = entry_of(p)->size;

        memcpy(q, p, was < size ? was : size);
        cache_free(p);
    }
    return q;
}

static size_t cache_usable(void *p)
{
    return entry_of(p)->size;
}

static int cache_check(void)
{
    static unsigned calls;

    if (++calls % 4 == 0)
        loam_cache_reap_all();
    for (int i = 0; i < CLASSES; i++)
        for (int a = 0; a < ALIGNS; a++)
            if (caches[i][a] && loam_cache_check(caches[i][a]) != 0)
                return 1;
    return 0;
}

static int run(int argc, char **argv, const char *name, size_t steps)
{
    struct model_target target = {
        name, cache_malloc, cache_calloc, cache_realloc, cache_aligned, cache_free, cache_usable, cache_check, MOST};

    return model_main(argc, argv, &target, steps);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum loam_cache_layer layer;
        unsigned flags;
    } kinds[] = {
        {"object caches by thread", LOAM_CACHE_BY_THREAD, 0},
        {"object caches by CPU", LOAM_CACHE_BY_CPU, 0},
        {"object caches by nobody", LOAM_CACHE_BY_NOBODY, 0},
        {"debugging object caches", LOAM_CACHE_BY_THREAD, LOAM_CACHE_REDZONE | LOAM_CACHE_POISON | LOAM_CACHE_AUDIT},
    };
    int status = 0;

    table = mmap(NULL, TABLE * sizeof *table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        return 1;
    /* each run is in children of this process, which makes no cache itself */
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !status; i++)
        for (int source = 0; source < 2 && !status; source++) {
            kind = (struct loam_cache_options){.struct_bytes = sizeof kind,
                .layer = kinds[i].layer,
                .flags = kinds[i].flags,
                .source = source ? loam_source_os() : NULL};
            status = run(argc, argv, kinds[i].name, 50000);
        }
    return status;
}
