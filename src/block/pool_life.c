/* pool_life.c: creating and dropping pools, their figures and their check; see pool.c. */
#include "block/pool_inner.h"

#include <errno.h>
#include <string.h>

enum { POOL_BATCH = 64, POOL_ALIGN_DEFAULT = 16 };
#define POOL_KEEP_BYTES ((size_t)1 << 20)
#define POOL_OBJECT_MAX ((size_t)1 << 30)
#define POOL_BATCH_BYTES ((size_t)16 << 20) /* of the default batch at most */
#define POOL_BATCH_MOST ((size_t)1 << 30)   /* with a source's grain still below LM_TRAY_MAX_BYTES */

static const struct loam_pool_options pool_defaults = {.struct_bytes = sizeof pool_defaults};

/* Rounds sizes: the stride, and the bytes of a batch, filled up to the source's grain. False: they cannot be. */
static bool pool_measure(const struct loam_pool_options *options, size_t *stride, size_t *tray_bytes)
{
    size_t size = options->object_bytes, align = options->align, batch = options->batch, bytes;

    if (options->struct_bytes != sizeof *options || size == 0 || size > POOL_OBJECT_MAX)
        return false;
    if (!align)
        align = lm_min((size & -size), POOL_ALIGN_DEFAULT);
    if (!lm_is_power2(align) || align > POOL_OBJECT_MAX)
        return false;
    *stride = lm_align_up(size, align);
    if (!batch)
        batch = lm_max(lm_min(POOL_BATCH, POOL_BATCH_BYTES / *stride), 1);
    if (__builtin_mul_overflow(*stride, batch, &bytes) || bytes > POOL_BATCH_MOST)
        return false;
    *tray_bytes = lm_align_up(bytes, lm_store_grain(options->source));
    return true;
}

static void pool_name(struct loam_pool *pool, const char *name)
{
    if (name)
        strncpy(pool->name, name, sizeof pool->name - 1);
}

/* Places for recent objects: they keep no more memory than may be kept in empty batches, but for a few. */
static size_t pool_recent_most(size_t objects)
{
    return lm_min(lm_max(objects, POOL_RECENT_LEAST), POOL_RECENT);
}

LM_PUBLIC struct loam_pool *loam_pool_create_with(const struct loam_pool_options *options)
{
    size_t stride, tray_bytes, header_bytes;
    struct loam_pool *pool;
    struct lm_store *home, store;

    if (!options || !pool_measure(options, &stride, &tray_bytes)) {
        errno = EINVAL;
        return NULL;
    }
    home = lm_store_home(options->source, sizeof *pool, options->limit_bytes ? options->limit_bytes : SIZE_MAX);
    if (!home)
        return NULL;
    store = *home;
    pool = (struct loam_pool *)(void *)home;
    memset(pool, 0, sizeof *pool);
    pool->store = store;
    lm_shelf_init(&pool->shelf, stride, (uint32_t)(tray_bytes / stride));
    header_bytes = lm_tray_header_bytes(pool->shelf.cells);
    lm_store_init(&pool->store, pool, sizeof *pool, header_bytes);
    lm_index_init(&pool->index, &pool->store, pool->first_index, POOL_INDEX_PLACES, lm_log2_ceil(tray_bytes));
    lm_list_init(&pool->batches);
    pool->head.top = pool->head.bottom = pool->recent;
    pool->head.word = LM_TRAY_NO_WORD;
    pool->head.stride = stride;
    pool->head.entry = (const struct loam_pool_entry *)(const void *)pool->first_index;
    pool->head.magic = pool->shelf.magic;
    pool->tray_bytes = tray_bytes;
    pool->tray_align = (size_t)1 << lm_log2_ceil(tray_bytes);
    pool->head.shift = lm_log2_ceil(tray_bytes) - lm_log2_floor(sizeof *pool->head.entry);
    pool->keep_bytes = lm_max(options->keep_bytes ? options->keep_bytes : POOL_KEEP_BYTES, tray_bytes);
    pool->lock = (struct lm_block_lock)LM_BLOCK_LOCK_INIT(options->locked != 0);
    pool->construct = options->construct;
    pool->destruct = options->destruct;
    pool->arg = options->arg;
    pool->slow = pool->lock.is_used || pool->construct || pool->destruct;
    pool->head.limit = pool->recent + (pool->slow ? 1 : pool_recent_most(pool->keep_bytes / stride));
    pool->head.cells_bytes = pool->slow ? 0 : pool->shelf.cells * stride;
    pool_name(pool, options->name);
    lm_pool_refresh(pool);
    return pool;
}

LM_PUBLIC struct loam_pool *loam_pool_create(size_t object_bytes, size_t align, const struct loam_source *source)
{
    struct loam_pool_options options = pool_defaults;

    options.object_bytes = object_bytes;
    options.align = align;
    options.source = source;
    return loam_pool_create_with(&options);
}

/* Gives the memory of all batches back, whatever is live. */
static void pool_drop(struct loam_pool *pool)
{
    struct lm_list *link;

    while ((link = lm_list_pop_front(&pool->batches)) != NULL) {
        struct lm_tray *tray = LM_CONTAINER(link, struct lm_tray, order);

        lm_store_unmap(&pool->store, tray->first, pool->tray_bytes);
        pool->returned++;
    }
    pool->head.top = pool->head.bottom;
    lm_shelf_init(&pool->shelf, pool->head.stride, pool->shelf.cells);
    lm_index_clear(&pool->index);
    lm_store_clear(&pool->store);
    lm_pool_refresh(pool);
}

LM_PUBLIC void loam_pool_reset(struct loam_pool *pool)
{
    lm_pool_destruct_all(pool);
    pool_drop(pool);
}

LM_PUBLIC void loam_pool_destroy(struct loam_pool *pool)
{
    if (!pool)
        return;
    loam_pool_reset(pool);
    lm_store_close(&pool->store);
}

LM_PUBLIC int loam_pool_stats(struct loam_pool *pool, struct loam_pool_figures *out)
{
    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    lm_block_enter(&pool->lock);
    lm_pool_flush(pool);
    lm_pool_shed(pool, pool->keep_bytes);
    *out = (struct loam_pool_figures){
        .struct_bytes = sizeof *out,
        .object_bytes = pool->head.stride,
        .batch = pool->shelf.cells,
        .batch_bytes = pool->tray_bytes,
        .live = lm_pool_count_live(pool),
        .batches = pool->shelf.trays,
        .held_bytes = pool->store.held_bytes,
        .peak_bytes = pool->store.peak_bytes,
        .grown = pool->grown,
        .returned = pool->returned,
        .refused = pool->refused,
    };
    out->free = out->batches * out->batch - out->live;
    out->empty_batches = pool->shelf.empties;
    if (pool->shelf.current && lm_tray_count(pool->shelf.current) == 0)
        out->empty_batches++;
    memcpy(out->name, pool->name, sizeof out->name);
    lm_block_leave(&pool->lock);
    return 0;
}

static int pool_check_parts(const struct loam_pool *pool)
{
    size_t trays = 0;
    int line = lm_shelf_check(&pool->shelf);

    if (!line)
        line = lm_index_check(&pool->index);
    for (const struct lm_list *link = pool->batches.next; !line && link != &pool->batches; link = link->next) {
        struct lm_tray *tray = LM_CONTAINER(link, struct lm_tray, order);

        if (lm_index_find(&pool->index, lm_pool_key(pool, tray->first)) != tray || link->next->prev != link)
            line = __LINE__;
        if (tray->shelf != &pool->shelf || tray->state == LM_TRAY_LEAVING)
            line = __LINE__;
        trays++;
    }
    if (!line && (trays != pool->shelf.trays || trays != pool->index.used))
        line = __LINE__;
    if (!line)
        line = lm_store_check(&pool->store, trays * pool->tray_bytes + lm_index_mapped_bytes(&pool->index));
    return line;
}

/* True when the common path's copies are what they must be. */
static bool pool_copies_fit(const struct loam_pool *pool)
{
    if (pool->slow)
        return pool->head.word == LM_TRAY_NO_WORD && pool->head.cells_bytes == 0 && pool->head.top == pool->head.bottom;
    return pool->head.word == pool->shelf.word && pool->head.base == pool->shelf.base &&
        (const void *)pool->head.entry == pool->index.entry &&
        pool->head.mask == pool->index.mask * sizeof *pool->head.entry;
}

/* Every one is free by its bit, in a tray that counts it as live, and is there once. */
static int pool_check_recent(struct loam_pool *pool)
{
    const struct loam_pool_recent *one;

    if (pool->head.top < pool->head.bottom || pool->head.top >= pool->head.limit)
        return __LINE__;
    /* each bit is turned off, so that a second one would not find it on */
    for (one = pool->head.bottom; one < pool->head.top; one++) {
        struct lm_tray *tray = lm_index_find(&pool->index, lm_pool_key(pool, one->object));
        uint64_t bit = (uint64_t)1 << one->place % 64;
        size_t cell;

        if (!tray || !lm_tray_find(tray, pool->head.magic, one->object, &cell) || tray->live == 0 ||
            one->place != (uintptr_t)tray->bits * 8 + cell || !(*lm_pool_word(one) & bit))
            return __LINE__;
        *lm_pool_word(one) ^= bit;
    }
    for (one = pool->head.bottom; one < pool->head.top; one++)
        *lm_pool_word(one) |= (uint64_t)1 << one->place % 64;
    return 0;
}

LM_PUBLIC int loam_pool_check(struct loam_pool *pool)
{
    int line;

    lm_block_enter(&pool->lock);
    line = pool_check_recent(pool);
    if (!line) {
        lm_pool_flush(pool); /* trays then count as their bits say */
        line = pool_check_parts(pool);
    }
    if (!line && !pool_copies_fit(pool))
        line = __LINE__;
    if (!line && (pool->walks || pool->head.stride != pool->shelf.stride || pool->head.magic != pool->shelf.magic))
        line = __LINE__;
    lm_block_leave(&pool->lock);
    return line;
}
