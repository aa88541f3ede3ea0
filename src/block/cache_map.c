/* cache_map.c: slabs by address, of caches whose pages are not loam's own; see cache.h.
 *
 * A slab of a source is as long as it is aligned, a power of two, so the address of any object, rounded down, is its key
 * in a hash table with linear probing. Readers take no lock: entries change from NULL or GONE to a slab, from a slab
 * to GONE, and to NULL only where a run ends, and a table that has become too small is kept, for readers who are still in it, until the cache is
 * destroyed (all former ones together are smaller than the last).
 *
 * Invariant: a slab stands in the current table once; no more than half of a table's entries are not NULL. Writers hold
 * the cache's lock. */
#include "block/cache.h"

#include <errno.h>
#include <string.h>

enum { MAP_LEAST = 64 };
#define MAP_GONE ((struct lm_cache_slab *)1)

struct lm_cache_table {
    struct lm_cache_table *former;
    size_t size;                  /* a power of two */
    size_t used;                  /* entries that are not NULL */
    struct lm_cache_slab *slab[]; /* atomic */
};

static size_t map_first(const struct lm_cache_table *table, const struct loam_cache *cache, uintptr_t p)
{
    return (size_t)(p / cache->slab_bytes * 0x9e3779b97f4a7c15u >> 20) & (table->size - 1);
}

static void map_put(struct lm_cache_table *table, const struct loam_cache *cache, struct lm_cache_slab *slab)
{
    size_t i = map_first(table, cache, (uintptr_t)slab->memory);

    while (table->slab[i] && table->slab[i] != MAP_GONE)
        i = (i + 1) & (table->size - 1);
    table->used += !table->slab[i];
    __atomic_store_n(&table->slab[i], slab, __ATOMIC_RELEASE); /* pairs with lm_cache_map_find */
}

/* A new table with what lives in the present one. */
static bool map_renew(struct loam_cache *cache)
{
    struct lm_cache_table *old = cache->table, *table;
    size_t size = old ? 2 * old->size : MAP_LEAST; /* twice at least, so that the former ones stay the smaller part */

    while (size < 4 * (cache->slabs + 1))
        size *= 2;
    table = lm_heap_malloc(sizeof *table + size * sizeof table->slab[0], NULL);
    if (!table)
        return false;
    memset(table, 0, sizeof *table + size * sizeof table->slab[0]);
    table->former = old;
    table->size = size;
    for (size_t i = 0; old && i < old->size; i++)
        if (old->slab[i] && old->slab[i] != MAP_GONE)
            map_put(table, cache, old->slab[i]);
    __atomic_store_n(&cache->table, table, __ATOMIC_RELEASE); /* pairs with lm_cache_map_find */
    return true;
}

bool lm_cache_map_add(struct loam_cache *cache, struct lm_cache_slab *slab)
{
    struct lm_cache_table *table = cache->table;

    if ((!table || 2 * (table->used + 1) > table->size) && !map_renew(cache))
        return false;
    map_put(cache->table, cache, slab);
    return true;
}

void lm_cache_map_drop(struct loam_cache *cache, const struct lm_cache_slab *slab)
{
    struct lm_cache_table *table = cache->table;
    size_t i = map_first(table, cache, (uintptr_t)slab->memory);

    while (table->slab[i] != slab)
        i = (i + 1) & (table->size - 1);
    __atomic_store_n(&table->slab[i], MAP_GONE, __ATOMIC_RELEASE); /* pairs with lm_cache_map_find */
    /* at the end of a run, where readers would go no further anyway, nothing needs to be remembered */
    for (; table->slab[i] == MAP_GONE && !table->slab[(i + 1) & (table->size - 1)]; i = (i - 1) & (table->size - 1)) {
        __atomic_store_n(&table->slab[i], NULL, __ATOMIC_RELEASE);
        table->used--;
    }
}

struct lm_cache_slab *lm_cache_map_find(const struct loam_cache *cache, const void *p)
{
    /* pairs with map_renew */
    const struct lm_cache_table *table = __atomic_load_n(&cache->table, __ATOMIC_ACQUIRE);
    struct lm_cache_slab *slab;
    size_t i;

    if (!table)
        return NULL;
    /* pairs with map_put */
    for (i = map_first(table, cache, (uintptr_t)p); (slab = __atomic_load_n(&table->slab[i], __ATOMIC_ACQUIRE)) != NULL;
         i = (i + 1) & (table->size - 1))
        if (slab != MAP_GONE && (uintptr_t)p - (uintptr_t)slab->memory < cache->slab_bytes)
            return slab;
    return NULL;
}

void lm_cache_map_free(struct loam_cache *cache)
{
    while (cache->table) {
        struct lm_cache_table *former = cache->table->former;

        lm_heap_free(cache->table);
        cache->table = former;
    }
}
