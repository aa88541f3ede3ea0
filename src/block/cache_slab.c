/* cache_slab.c: the slab layer of object caches: carving, constructing, lists, reaping, and the check of it; see cache.h.
 *
 * Objects are handed out by rising address from the slab at the head of the partial list, which is the one that was full
 * most lately: the emptier ones have time to become empty. A new slab is not constructed as a whole but by the page, as
 * its objects are first wanted. */
#include "block/cache.h"

#include <errno.h>
#include <string.h>

/* -- headers ------------------------------------------------------------------------------------------------- */

static size_t slab_state_bytes(const struct loam_cache *cache)
{
    return lm_align_up(cache->capacity + 2, 8);
}

static size_t slab_words(const struct loam_cache *cache)
{
    return (cache->capacity + 1 + 63) / 64;
}

size_t lm_cache_header_bytes(const struct loam_cache *cache)
{
    size_t audit =
        cache->flags & LOAM_CACHE_AUDIT ? (cache->capacity + 1) * LM_CACHE_EVENTS * sizeof(struct lm_cache_event) : 0;

    return sizeof(struct lm_cache_slab) + slab_state_bytes(cache) + slab_words(cache) * sizeof(uint64_t) + audit;
}

/* Makes a slab's granules lead to it. */
static void slab_publish(const struct loam_cache *cache, struct lm_cache_slab *slab)
{
    struct lm_span *span = lm_span_of(slab->memory);

    for (size_t i = 0; i < cache->slab_bytes / LM_GRANULE; i++) {
        span[i].objects.first = slab->origin;
        span[i].objects.magic = cache->magic;
        span[i].objects.state = slab->state;
        /* pairs with loam_cache_free and lm_cache_find, which however have the object from whoever got it first */
        __atomic_store_n(&span[i].owner, (void *)(uintptr_t)cache, __ATOMIC_RELEASE);
    }
}

static void slab_retract(const struct loam_cache *cache, const struct lm_cache_slab *slab)
{
    struct lm_span *span = lm_span_of(slab->memory);

    for (size_t i = 0; i < cache->slab_bytes / LM_GRANULE; i++) {
        __atomic_store_n(&span[i].owner, NULL, __ATOMIC_RELEASE); /* pairs with lm_cache_find */
        span[i].objects.first = NULL;
        span[i].objects.magic = 0;
        span[i].objects.state = NULL;
    }
}

/* -- lists, under the cache's lock -------------------------------------------------------------------------------- */

static void slab_unlist(struct loam_cache *cache, struct lm_cache_slab *slab)
{
    lm_list_remove(&slab->link);
    if (slab->where < LM_CACHE_LISTS)
        cache->count[slab->where]--;
    cache->empties_least = lm_min(cache->empties_least, cache->count[LM_CACHE_EMPTY]);
}

static void slab_enlist(struct loam_cache *cache, struct lm_cache_slab *slab)
{
    uint32_t where = slab->free == 0 ? LM_CACHE_FULL : slab->free < cache->capacity ? LM_CACHE_PARTIAL : LM_CACHE_EMPTY;

    if (where == slab->where)
        return;
    slab_unlist(cache, slab);
    slab->where = where;
    cache->count[where]++;
    lm_list_push_front(&cache->list[where], &slab->link);
}

static void slab_delist(struct loam_cache *cache, struct lm_cache_slab *slab)
{
    slab_unlist(cache, slab);
    cache->slabs--;
    if (cache->source)
        lm_cache_map_drop(cache, slab);
}

static struct lm_cache_slab *slab_at(const struct lm_list *link)
{
    return LM_CONTAINER(link, struct lm_cache_slab, link);
}

/* -- making and destroying slabs ------------------------------------------------------------------------------------ */

static void slab_fill(struct loam_cache *cache, struct lm_cache_slab *slab, char *memory)
{
    size_t colour = __atomic_fetch_add(&cache->colour, 1, __ATOMIC_RELAXED) % cache->colours;
    size_t words = slab_words(cache);

    memset(slab, 0, lm_cache_header_bytes(cache));
    lm_list_init(&slab->link);
    slab->memory = memory;
    slab->origin = memory + colour * cache->colour_step - cache->stride;
    slab->free = (uint32_t)cache->capacity;
    slab->where = LM_CACHE_LISTS; /* none */
    slab->bits = (uint64_t *)(void *)(slab->state + slab_state_bytes(cache));
    if (cache->flags & LOAM_CACHE_AUDIT)
        slab->audit = (struct lm_cache_event *)(void *)(slab->bits + words);
    for (size_t number = 1; number <= cache->capacity; number++)
        slab->bits[number / 64] |= (uint64_t)1 << number % 64;
    memset(slab->state + 1, LM_CACHE_RAW, cache->capacity);
    if (cache->flags & LOAM_CACHE_POISON)
        lm_cache_debug_start(cache, slab);
}

/* Adds an empty slab; false with errno. */
static bool slab_add(struct loam_cache *cache)
{
    size_t align = cache->source ? cache->slab_bytes : LM_GRANULE;
    struct lm_cache_slab *slab = lm_heap_malloc_aligned(lm_cache_header_bytes(cache), LM_CACHE_LINE);
    char *memory = slab ? lm_source_map(cache->source, cache->slab_bytes, align) : NULL;
    bool added = memory;

    if (memory) {
        slab_fill(cache, slab, memory);
        if (!cache->source)
            slab_publish(cache, slab);
        lm_lock_take(&cache->lock);
        added = !cache->source || lm_cache_map_add(cache, slab);
        if (added) {
            cache->slabs++;
            slab_enlist(cache, slab);
        }
        lm_lock_release(&cache->lock);
        if (!added)
            lm_source_unmap(cache->source, memory, cache->slab_bytes);
    }
    if (!added)
        lm_heap_free(slab);
    return added;
}

/* Destructs what is constructed and gives the memory back; the slab stands in no list. */
static void slab_destroy(struct loam_cache *cache, struct lm_cache_slab *slab)
{
    uint64_t destructed = 0;

    for (size_t number = 1; number <= cache->capacity; number++) {
        if (lm_cache_state_get(&slab->state[number]) != LM_CACHE_FREE)
            continue;
        if (cache->destruct)
            cache->destruct(lm_cache_object(cache, slab, number), cache->arg);
        destructed++;
    }
    __atomic_fetch_add(&cache->destructed, destructed, __ATOMIC_RELAXED);
    __atomic_fetch_add(&cache->reaped_bytes, cache->slab_bytes, __ATOMIC_RELAXED);
    if (!cache->source)
        slab_retract(cache, slab);
    lm_source_unmap(cache->source, slab->memory, cache->slab_bytes);
    lm_heap_free(slab);
}

size_t lm_cache_reap_slabs(struct loam_cache *cache, size_t most)
{
    struct lm_list *link, chain;
    size_t bytes = 0;

    lm_list_init(&chain);
    lm_lock_take(&cache->lock);
    /* from the tail: those that have been empty for longest */
    while (most-- && !lm_list_empty(&cache->list[LM_CACHE_EMPTY])) {
        struct lm_cache_slab *slab = slab_at(cache->list[LM_CACHE_EMPTY].prev);

        slab_delist(cache, slab);
        lm_list_push_back(&chain, &slab->link);
    }
    lm_lock_release(&cache->lock);
    while ((link = lm_list_pop_front(&chain)) != NULL) {
        slab_destroy(cache, slab_at(link));
        bytes += cache->slab_bytes;
    }
    return bytes;
}

/* -- taking ----------------------------------------------------------------------------------------------------------- */

/* The number of the first object in the slab from `from` on; the slab has one somewhere. */
static size_t slab_first(const struct loam_cache *cache, const struct lm_cache_slab *slab, size_t from)
{
    size_t words = slab_words(cache), w = from / 64;
    uint64_t word = slab->bits[w] & ~(uint64_t)0 << from % 64;

    while (!word) {
        w = w + 1 < words ? w + 1 : 0;
        word = slab->bits[w];
    }
    return w * 64 + lm_lowest_bit(word);
}

/* Objects that are constructed at a time, at the most: a page of them. */
static size_t slab_build_batch(const struct loam_cache *cache)
{
    return lm_max(lm_os_page_size() / cache->stride, 1);
}

/* Takes objects of one slab, number `from` first, all to be constructed (state BUILDING) or none (CACHED). Under the
 * lock. */
static size_t slab_take_from(
    struct loam_cache *cache, struct lm_cache_slab *slab, struct lm_round *out, size_t want, size_t from)
{
    size_t number = from, count = 0;
    bool build = lm_cache_state_get(&slab->state[from]) != LM_CACHE_FREE;

    want = lm_min(want, build ? lm_min(slab->free, slab_build_batch(cache)) : slab->free);
    for (; count < want; count++) {
        number = slab_first(cache, slab, number);
        if ((lm_cache_state_get(&slab->state[number]) != LM_CACHE_FREE) != build)
            break;
        slab->bits[number / 64] &= ~((uint64_t)1 << number % 64);
        lm_cache_state_set(&slab->state[number], build ? LM_CACHE_BUILDING : LM_CACHE_CACHED);
        out[count] = (struct lm_round){lm_cache_object(cache, slab, number), &slab->state[number]};
    }
    cache->turn = (uint32_t)number;
    slab->free -= (uint32_t)count;
    cache->out += count;
    slab_enlist(cache, slab);
    return count;
}

/* The slab to take from next, or NULL; with `own` none that another thread is taking from. Under the lock. */
static struct lm_cache_slab *slab_next(const struct loam_cache *cache, bool or_empty, bool own)
{
    enum { LOOKS = 8 };
    const struct lm_list *partial = &cache->list[LM_CACHE_PARTIAL], *link = partial->next;

    for (int i = 0; i < LOOKS && link != partial; i++, link = link->next)
        if (slab_at(link)->taker == loam_cache_mine || !slab_at(link)->taker)
            return slab_at(link);
    if (!own && !lm_list_empty(partial))
        return slab_at(partial->next);
    return or_empty && !lm_list_empty(&cache->list[LM_CACHE_EMPTY]) ? slab_at(cache->list[LM_CACHE_EMPTY].next) : NULL;
}

/* From the slabs there are; 0: they are all full, or other threads'. What must be constructed first comes alone, and only
 * when nothing else is left. */
static size_t slab_take(struct loam_cache *cache, struct lm_round *out, size_t want, bool own)
{
    struct lm_cache_slab *slab;
    size_t count = 0;

    lm_lock_take(&cache->lock);
    /* a slab for each thread, as far as there are no more of them than threads, so that the states of one thread's
     * objects do not share lines with another's */
    own = own && cache->count[LM_CACHE_PARTIAL] < __atomic_load_n(&lm_cache_threads, __ATOMIC_RELAXED);
    while (count < want && (slab = slab_next(cache, count == 0, own)) != NULL) {
        /* a debugging cache goes round, so that an object is used again as late as may be */
        size_t first = slab_first(cache, slab, cache->flags & LM_CACHE_DEBUG ? cache->turn : 0);
        bool built = lm_cache_state_get(&slab->state[first]) == LM_CACHE_FREE;

        if (count && !built)
            break;
        slab->taker = loam_cache_mine;
        count += slab_take_from(cache, slab, out + count, want - count, first);
        if (!built)
            break;
    }
    lm_lock_release(&cache->lock);
    return count;
}

static void slab_destruct(struct loam_cache *cache, struct lm_round *rounds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cache->destruct)
            cache->destruct(rounds[i].object, cache->arg);
    __atomic_fetch_add(&cache->destructed, count, __ATOMIC_RELAXED);
}

/* Constructs all of them or none: then they are back in their slab, and errno is the constructor's. */
static bool slab_build(struct loam_cache *cache, struct lm_round *rounds, size_t count)
{
    int saved = errno, why;

    for (size_t i = 0; i < count; i++) {
        if (cache->flags & LM_CACHE_DEBUG)
            lm_cache_debug_build(cache, rounds[i].object);
        errno = ENOMEM;
        if (cache->construct && cache->construct(rounds[i].object, cache->arg) != 0) {
            why = errno;
            __atomic_fetch_add(&cache->constructed, i, __ATOMIC_RELAXED);
            slab_destruct(cache, rounds, i);
            for (size_t j = 0; j <= i && cache->flags & LM_CACHE_DEBUG; j++)
                lm_cache_debug_unbuild(cache, rounds[j].object);
            lm_cache_give(cache, rounds, count, LM_CACHE_RAW);
            errno = why;
            return false;
        }
    }
    errno = saved;
    __atomic_fetch_add(&cache->constructed, count, __ATOMIC_RELAXED);
    for (size_t i = 0; i < count; i++)
        lm_cache_state_set(rounds[i].state, LM_CACHE_CACHED);
    return true;
}

size_t lm_cache_take(struct loam_cache *cache, struct lm_round *out, size_t want)
{
    bool own = cache->layer == LOAM_CACHE_BY_THREAD;
    size_t count;

    while ((count = slab_take(cache, out, want, own)) == 0) {
        if (slab_add(cache))
            continue;
        if (!own)
            return 0;
        own = false; /* then from whatever slab there is */
    }
    if (lm_cache_state_get(out[0].state) == LM_CACHE_BUILDING && !slab_build(cache, out, count))
        return 0;
    return count;
}

/* -- giving back ------------------------------------------------------------------------------------------------------ */

struct lm_cache_slab *lm_cache_find(const struct loam_cache *cache, const void *p, size_t *number, bool *start)
{
    struct lm_cache_slab *slab = NULL;
    struct lm_span *span;

    if (cache->source) {
        slab = lm_cache_map_find(cache, p);
    } else {
        span = lm_span_of(p);
        /* pairs with slab_publish */
        if (span && __atomic_load_n(&span->owner, __ATOMIC_ACQUIRE) == cache)
            slab = LM_CONTAINER(span->objects.state, struct lm_cache_slab, state);
    }
    if (slab)
        *start = lm_cache_number((uintptr_t)p - (uintptr_t)slab->origin, cache->magic, number);
    return slab;
}

void lm_cache_give(struct loam_cache *cache, const struct lm_round *rounds, size_t count, enum lm_cache_state state)
{
    lm_lock_take(&cache->lock);
    for (size_t i = 0; i < count; i++) {
        bool start;
        size_t number;
        struct lm_cache_slab *slab = lm_cache_find(cache, rounds[i].object, &number, &start);

        lm_cache_state_set(rounds[i].state, state);
        slab->bits[number / 64] |= (uint64_t)1 << number % 64;
        slab->free++;
        slab_enlist(cache, slab);
    }
    cache->out -= count;
    lm_lock_release(&cache->lock);
}

/* -- fork, and the check ------------------------------------------------------------------------------------------------ */

/* What is marked KEPT is in a magazine of this process; what else left its slab and is not live, was on its way with a
 * thread that is gone, whole or half constructed. */
void lm_cache_recover_slabs(struct loam_cache *cache)
{
    for (int i = 0; i < LM_CACHE_LISTS; i++) {
        struct lm_list *next;

        for (struct lm_list *link = cache->list[i].next; link != &cache->list[i]; link = next) {
            struct lm_cache_slab *slab = slab_at(link);

            next = link->next;
            for (size_t number = 1; number <= cache->capacity; number++) {
                enum lm_cache_state state = lm_cache_state_get(&slab->state[number]);

                if (state == LM_CACHE_KEPT)
                    lm_cache_state_set(&slab->state[number], LM_CACHE_CACHED);
                if (state != LM_CACHE_CACHED && state != LM_CACHE_BUILDING)
                    continue;
                lm_cache_state_set(&slab->state[number], state == LM_CACHE_CACHED ? LM_CACHE_FREE : LM_CACHE_RAW);
                slab->bits[number / 64] |= (uint64_t)1 << number % 64;
                slab->free++;
                cache->out--;
            }
            slab_enlist(cache, slab);
        }
    }
}

static int slab_check(const struct loam_cache *cache, const struct lm_cache_slab *slab, size_t *cached)
{
    size_t free = 0, number = 0;
    int fault = 0;
    bool start = false;

    for (size_t n = 0; n <= cache->capacity + 1 && !fault; n++) {
        enum lm_cache_state state = lm_cache_state_get(&slab->state[n]);
        bool in = state == LM_CACHE_RAW || state == LM_CACHE_DESTRUCTED || state == LM_CACHE_FREE;
        bool bit = n <= cache->capacity && slab->bits[n / 64] >> n % 64 & 1;

        if (in != bit || state > LM_CACHE_LIVE || state == LM_CACHE_KEPT)
            return __LINE__;
        if ((state == LM_CACHE_NONE) != (n == 0 || n > cache->capacity))
            return __LINE__;
        if (state == LM_CACHE_NONE)
            continue;
        if (lm_cache_find(cache, lm_cache_object(cache, slab, n), &number, &start) != slab || number != n || !start)
            return __LINE__;
        if (n < cache->capacity &&
            (lm_cache_find(cache, (char *)lm_cache_object(cache, slab, n) + 1, &number, &start) != slab || start))
            return __LINE__;
        free += bit;
        *cached += state == LM_CACHE_CACHED;
        if (cache->flags & LM_CACHE_DEBUG)
            fault = lm_cache_debug_check(cache, slab, n);
    }
    if (!fault && free != slab->free)
        fault = __LINE__;
    return fault;
}

int lm_cache_check_slabs(struct loam_cache *cache, size_t *cached)
{
    size_t slabs = 0, count, out = 0;
    int fault = 0;

    for (uint32_t i = 0; i < LM_CACHE_LISTS && !fault; i++, slabs += count) {
        count = 0;
        for (struct lm_list *link = cache->list[i].next; link != &cache->list[i] && !fault;
             link = link->next, count++) {
            const struct lm_cache_slab *slab = slab_at(link);

            if (link->next->prev != link || slab->where != i)
                return __LINE__;
            if ((slab->free == 0) != (i == LM_CACHE_FULL) || (slab->free == cache->capacity) != (i == LM_CACHE_EMPTY))
                return __LINE__;
            fault = slab_check(cache, slab, cached);
            out += cache->capacity - slab->free;
        }
        if (!fault && count != cache->count[i])
            fault = __LINE__;
    }
    if (!fault && (slabs != cache->slabs || cache->count[LM_CACHE_EMPTY] < cache->empties_least || out != cache->out))
        fault = __LINE__;
    return fault;
}
