/* pool.c: objects of one size; see <loam/pool.h>.
 *
 * A pool is one shelf of trays (room_tray.h), whose headers and index stand in a home of its own (room_store.h):
 *
 *   home    | struct loam_pool | first index | headers ...          batches  | object | object | ... |
 *             word  ---------------------------> bits of 64 cells
 *             entry -----------> key, tray -----------^
 *
 * What is freed goes first into `recent`, a stack, and is handed out from there again, while it is in the cache: only its
 * bit changes. When the stack is full all of it goes back to the trays, which learn then that they have room; until then
 * they count it as live, so that none of them can be empty. The shelf is asked only when the stack is empty, so a set
 * bit that the shelf looks at is never in it. The stack is as long as 1,000 objects freed in a row need, so that most
 * never take the way through the trays.
 *
 * The common path is in <loam/pool.h>, where programs may have it inline. It reads the copies of the shelf's and the
 * index's fields at the head of the structure. A pool with a lock or hooks has an empty word there and cells of 0 bytes, so
 * that the common path misses and all is done on the slow road.
 *
 * Invariant (loam_pool_check): the shelf's and the index's own; every tray is in the index by its address; the copies are
 * the originals, or the empty ones. Locks: LM_RANK_BLOCK when `locked`, none else. fork: nothing is done; signals: not
 * reentrant. Metadata: home and chunks, from the pool's source. */
#include "block/pool_inner.h"

#include <errno.h>

/* -- batches come and go ------------------------------------------------------------------------------------- */

static bool pool_grow(struct loam_pool *pool)
{
    struct lm_tray *tray = lm_store_header(&pool->store);
    char *memory = tray ? lm_store_map(&pool->store, pool->tray_bytes, pool->tray_align) : NULL;

    if (!memory || !lm_index_insert(&pool->index, lm_pool_key(pool, memory), tray)) {
        int saved = errno;

        if (memory)
            lm_store_unmap(&pool->store, memory, pool->tray_bytes);
        if (tray)
            lm_store_free_header(&pool->store, tray);
        errno = saved;
        return false;
    }
    lm_shelf_add(&pool->shelf, tray, memory);
    lm_list_push_back(&pool->batches, &tray->order);
    pool->grown++;
    return true;
}

static void pool_return(struct loam_pool *pool, struct lm_tray *tray)
{
    lm_shelf_remove(tray);
    lm_list_remove(&tray->order);
    lm_index_remove(&pool->index, lm_pool_key(pool, tray->first));
    lm_store_unmap(&pool->store, tray->first, pool->tray_bytes);
    lm_store_free_header(&pool->store, tray);
    pool->returned++;
}

size_t lm_pool_shed(struct loam_pool *pool, size_t keep_bytes)
{
    size_t bytes = 0;
    int saved = errno;

    while (!pool->walks && pool->shelf.empties && pool->shelf.empties * pool->tray_bytes > keep_bytes) {
        pool_return(pool, LM_CONTAINER(pool->shelf.empty.prev, struct lm_tray, list));
        bytes += pool->tray_bytes;
    }
    lm_pool_refresh(pool);
    errno = saved;
    return bytes;
}

/* -- one object ------------------------------------------------------------------------------------------------ */

/* From the shelf, which may have to turn to another word or to grow. */
static void *pool_take(struct loam_pool *pool)
{
    void *object = lm_shelf_take(&pool->shelf);

    if (object)
        return object;
    if (!lm_shelf_advance(&pool->shelf)) {
        if (!pool_grow(pool)) {
            pool->refused++;
            lm_pool_refresh(pool);
            return NULL;
        }
        lm_shelf_advance(&pool->shelf);
    }
    lm_pool_refresh(pool);
    return lm_shelf_take(&pool->shelf);
}

/* The tray and cell of a live object; NULL: it is none. */
static struct lm_tray *pool_find(const struct loam_pool *pool, const void *p, size_t *cell)
{
    struct lm_tray *tray = lm_index_find(&pool->index, lm_pool_key(pool, p));

    if (!tray || !lm_tray_find(tray, pool->head.magic, p, cell) || lm_tray_is_free(tray, *cell))
        return NULL;
    return tray;
}

static _Noreturn LM_COLD void pool_misuse(struct loam_pool *pool, const void *p)
{
    struct lm_tray *tray = lm_index_find(&pool->index, lm_pool_key(pool, p));
    const char *fault = "not an object of this pool";
    size_t cell;

    if (tray)
        fault = lm_tray_find(tray, pool->head.magic, p, &cell) ? "double free, or never allocated"
                                                               : "not the start of an object";
    lm_block_leave(&pool->lock);
    lm_block_misuse("pool", fault, p);
}

static struct lm_tray *pool_prove(struct loam_pool *pool, const void *p, size_t *cell)
{
    struct lm_tray *tray = pool_find(pool, p, cell);

    if (LM_UNLIKELY(!tray))
        pool_misuse(pool, p);
    return tray;
}

/* Straight into the tray. Recent objects go before it: a word that holds the bit of one does not look full, though its
 * tray does not know yet that it has room. */
static void pool_put(struct loam_pool *pool, struct lm_tray *tray, size_t cell)
{
    bool flushed = pool->head.top != pool->head.bottom;

    lm_pool_flush(pool);
    if (lm_tray_put(tray, cell) || flushed)
        lm_pool_shed(pool, pool->keep_bytes);
}

LM_PUBLIC void *loam_pool_alloc_slow(struct loam_pool *pool)
{
    void *object;

    lm_block_enter(&pool->lock);
    object = pool_take(pool);
    lm_block_leave(&pool->lock);
    if (object && pool->construct && pool->construct(object, pool->arg) != 0) {
        size_t cell;
        int saved = errno;

        lm_block_enter(&pool->lock);
        struct lm_tray *tray = pool_prove(pool, object, &cell);

        pool_put(pool, tray, cell);
        lm_block_leave(&pool->lock);
        errno = saved;
        return NULL;
    }
    return object;
}

/* Proves an object twice when there is a destructor, which runs without the lock and may do anything. */
LM_PUBLIC void loam_pool_free_slow(struct loam_pool *pool, void *object)
{
    size_t cell;
    struct lm_tray *tray;
    int saved = errno;

    if (!object)
        return;
    lm_block_enter(&pool->lock);
    tray = pool_prove(pool, object, &cell);
    if (pool->destruct) {
        lm_block_leave(&pool->lock);
        pool->destruct(object, pool->arg);
        lm_block_enter(&pool->lock);
        tray = pool_prove(pool, object, &cell);
    }
    pool_put(pool, tray, cell);
    lm_block_leave(&pool->lock);
    errno = saved;
}

LM_PUBLIC void *loam_pool_alloc(struct loam_pool *pool)
{
    return loam_pool_alloc_inline(pool);
}

/* Objects of one word come mostly in a row: their tray is told once. */
void lm_pool_flush(struct loam_pool *pool)
{
    const struct loam_pool_recent *one = pool->head.bottom, *top = pool->head.top;

    if (one == top)
        return; /* as ever in a pool with a lock, where others may be reading `top` without it */
    while (one < top) {
        const struct loam_pool_recent *first = one;
        uint64_t *word = lm_pool_word(one);
        struct lm_tray *tray = lm_index_find(&pool->index, lm_pool_key(pool, one->object));

        while (one < top && lm_pool_word(one) == word)
            one++;
        lm_tray_open(tray, (size_t)(word - tray->bits));
        tray->live -= (uint32_t)(one - first);
        if (tray->live == 0)
            lm_tray_drained(tray);
    }
    pool->head.top = pool->head.bottom;
}

/* The place for recent ones is full: all of them go back. */
LM_PUBLIC void loam_pool_free_full(struct loam_pool *pool)
{
    lm_pool_flush(pool);
    lm_pool_shed(pool, pool->keep_bytes);
}

LM_PUBLIC void loam_pool_free(struct loam_pool *pool, void *object)
{
    loam_pool_free_inline(pool, object);
}

/* -- many objects ------------------------------------------------------------------------------------------------ */

LM_PUBLIC size_t loam_pool_alloc_batch(struct loam_pool *pool, size_t count, void **out)
{
    size_t made = 0;

    if (pool->construct) {
        while (made < count && (out[made] = loam_pool_alloc(pool)) != NULL)
            made++;
        return made;
    }
    while (made < count && pool->head.top != pool->head.bottom)
        out[made++] = loam_pool_alloc(pool);
    lm_block_enter(&pool->lock);
    while (made < count && (out[made] = pool_take(pool)) != NULL) {
        uint64_t bits = *pool->shelf.word;

        for (made++; made < count && bits; bits &= bits - 1)
            out[made++] = pool->shelf.base + lm_lowest_bit(bits) * pool->head.stride;
        *pool->shelf.word = bits;
    }
    lm_block_leave(&pool->lock);
    return made;
}

LM_PUBLIC void loam_pool_free_batch(struct loam_pool *pool, size_t count, void **objects)
{
    if (pool->destruct || !pool->lock.is_used) {
        for (size_t i = 0; i < count; i++)
            loam_pool_free(pool, objects[i]);
        return;
    }
    lm_block_enter(&pool->lock);
    for (size_t i = 0; i < count; i++)
        if (objects[i]) {
            size_t cell;
            struct lm_tray *tray = pool_prove(pool, objects[i], &cell);

            pool_put(pool, tray, cell);
        }
    lm_block_leave(&pool->lock);
}

size_t lm_pool_count_live(const struct loam_pool *pool)
{
    size_t live = 0;

    for (const struct lm_list *link = pool->batches.next; link != &pool->batches; link = link->next)
        live += lm_tray_count(LM_CONTAINER(link, struct lm_tray, order));
    return live;
}

LM_PUBLIC int loam_pool_reserve(struct loam_pool *pool, size_t objects)
{
    size_t free;
    bool grown = true;

    lm_block_enter(&pool->lock);
    free = (size_t)pool->shelf.trays * pool->shelf.cells - lm_pool_count_live(pool);
    for (; free < objects && grown; free += pool->shelf.cells)
        grown = pool_grow(pool);
    lm_pool_refresh(pool);
    lm_block_leave(&pool->lock);
    return grown ? 0 : -1;
}

LM_PUBLIC size_t loam_pool_trim(struct loam_pool *pool)
{
    size_t bytes = 0;

    lm_block_enter(&pool->lock);
    if (!pool->walks) {
        lm_pool_flush(pool);
        lm_shelf_retire(&pool->shelf); /* it may be empty */
        bytes = lm_pool_shed(pool, 0);
    }
    lm_block_leave(&pool->lock);
    return bytes;
}

LM_PUBLIC int loam_pool_owns(struct loam_pool *pool, const void *p)
{
    size_t cell;
    bool owns;

    lm_block_enter(&pool->lock);
    owns = pool_find(pool, p, &cell) != NULL;
    lm_block_leave(&pool->lock);
    return owns;
}

/* -- walks --------------------------------------------------------------------------------------------------------- */

struct pool_walk {
    void (*visit)(void *object, void *arg);
    int (*dead)(void *object, void *arg);
    void *arg;
    size_t freed;
};

/* Bits are read anew after each call, for it may have freed what would have come next. */
static void pool_walk_tray(struct loam_pool *pool, struct lm_tray *tray, struct pool_walk *walk)
{
    for (size_t cell = 0; (cell = lm_tray_next_live(tray, cell)) < tray->cells; cell++) {
        void *object = lm_tray_cell(tray, cell);

        if (walk->visit) {
            walk->visit(object, walk->arg);
        } else if (walk->dead(object, walk->arg) && !lm_tray_is_free(tray, cell)) {
            if (pool->destruct)
                pool->destruct(object, pool->arg);
            pool_put(pool, tray, cell);
            walk->freed++;
        }
    }
}

/* Ends with the batch that is the last now, though the visits may add more. */
static void pool_walk(struct loam_pool *pool, struct pool_walk *walk)
{
    const struct lm_list *last = pool->batches.prev;

    if (lm_list_empty(&pool->batches))
        return;
    pool->walks++;
    for (struct lm_list *link = pool->batches.next;; link = link->next) {
        pool_walk_tray(pool, LM_CONTAINER(link, struct lm_tray, order), walk);
        if (link == last)
            break;
    }
    pool->walks--;
    lm_pool_flush(pool);
    lm_pool_shed(pool, pool->keep_bytes);
}

LM_PUBLIC void loam_pool_each(struct loam_pool *pool, void (*visit)(void *object, void *arg), void *arg)
{
    struct pool_walk walk = {.visit = visit, .arg = arg};

    lm_block_enter(&pool->lock);
    pool_walk(pool, &walk);
    lm_block_leave(&pool->lock);
}

LM_PUBLIC size_t loam_pool_free_if(struct loam_pool *pool, int (*dead)(void *object, void *arg), void *arg)
{
    struct pool_walk walk = {.dead = dead, .arg = arg};

    lm_block_enter(&pool->lock);
    pool_walk(pool, &walk);
    lm_block_leave(&pool->lock);
    return walk.freed;
}

static int pool_always(void *object, void *arg)
{
    (void)object;
    (void)arg;
    return 1;
}

void lm_pool_destruct_all(struct loam_pool *pool)
{
    struct pool_walk walk = {.dead = pool_always};

    if (pool->destruct)
        pool_walk(pool, &walk);
}
