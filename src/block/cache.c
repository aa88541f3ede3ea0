/* cache.c: alloc and free of object caches, their making and destroying, and figures; see cache.h.
 *
 * The common path knows no modes: a cache without magazines (debugging, by CPU, by nobody) has the slot that is always
 * empty and always full, and everything happens on the slow road. */
#include "block/cache.h"

#include <errno.h>
#include <string.h>

enum {
    CACHE_ALIGN_MOST = (int)LM_GRANULE,
    CACHE_SLAB_LIMIT = 1 << 20,
    CACHE_IDLE_MS = 15000,
    CACHE_ROUNDS_MOST = 1024
};
enum { CACHE_FLAGS = LM_CACHE_DEBUG | LOAM_CACHE_NO_COLOUR, CACHE_REDZONE_BYTES = 8 };
#define CACHE_SIZE_MOST ((size_t)256 << 20)
#define CACHE_SLAB_MOST ((size_t)1 << 31) /* offsets in a slab must be below 2^32: lm_cache_number */

/* -- the common path ---------------------------------------------------------------------------------------- */

LM_PUBLIC void *loam_cache_alloc(struct loam_cache *cache)
{
    struct lm_cache_slot *slot = lm_cache_slot_of(loam_cache_mine, cache);
    struct lm_round round;

    if (LM_UNLIKELY(slot->top == slot->bottom))
        return lm_cache_alloc_slow(cache, __builtin_return_address(0));
    round = lm_cache_slot_pop(slot);
    lm_cache_state_set(round.state, LM_CACHE_LIVE);
    return round.object;
}

LM_PUBLIC void loam_cache_free(struct loam_cache *cache, void *object)
{
    struct lm_cache_slot *slot;
    struct lm_span *span;
    struct lm_round *top;
    uint8_t *state;
    size_t number;

    /* pairs with the release in slab_publish */
    if (LM_UNLIKELY(!lm_span_find_fast(object, &span)) ||
        LM_UNLIKELY(__atomic_load_n(&span->owner, __ATOMIC_RELAXED) != cache) ||
        LM_UNLIKELY(!lm_cache_number((uintptr_t)object - (uintptr_t)span->objects.first, span->objects.magic, &number)))
        goto slow;
    state = span->objects.state + number;
    slot = lm_cache_slot_of(loam_cache_mine, cache);
    top = slot->top;
    if (LM_UNLIKELY(lm_cache_state_get(state) != LM_CACHE_LIVE) || LM_UNLIKELY(top == slot->limit))
        goto slow;
    lm_cache_state_set(state, LM_CACHE_CACHED);
    *top = (struct lm_round){object, state};
    __atomic_store_n(&slot->top, top + 1, __ATOMIC_RELAXED); /* read by figures */
    return;
slow:
    lm_cache_free_slow(cache, object, __builtin_return_address(0));
}

/* -- the slow road -------------------------------------------------------------------------------------------- */

/* The calling thread's slot of the cache, or NULL. */
static struct lm_cache_slot *cache_slot(struct loam_cache *cache)
{
    struct loam_cache_self *self = lm_cache_attach();
    uint32_t index = (uint32_t)(cache->slot_offset / sizeof(struct lm_cache_slot)), round;

    if (!self)
        return NULL;
    round = __atomic_load_n(&lm_caches_round, __ATOMIC_RELAXED);
    if (self->round != round)
        lm_cache_answer(self, round);
    if (cache->slot_offset == LM_CACHE_NO_SLOT)
        return NULL;
    if (self->used <= index)
        __atomic_store_n(&self->used, index + 1, __ATOMIC_RELAXED); /* read by those who empty the threads' slots */
    return lm_cache_slot_of(self, cache);
}

/* From the slabs: one object for the caller, and some to fill the magazine with. */
static void *cache_refill(struct loam_cache *cache, struct lm_cache_slot *slot)
{
    struct lm_round rounds[LM_CACHE_BATCH];
    size_t room = slot ? (size_t)(slot->limit - slot->top) : 0;
    size_t count = lm_cache_take(cache, rounds, lm_min(room + 1, LM_CACHE_BATCH));

    if (!count && lm_caches_relieve())
        count = lm_cache_take(cache, rounds, 1);
    if (!count) {
        __atomic_fetch_add(&cache->refused, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    /* backwards, so that they are handed out by rising address; a hook may have used the slot meanwhile */
    for (size_t i = count; i-- > 1;)
        if (slot && slot->top != slot->limit)
            lm_cache_slot_push(slot, rounds[i]);
        else
            lm_cache_give(cache, &rounds[i], 1, LM_CACHE_FREE);
    lm_cache_state_set(rounds[0].state, LM_CACHE_LIVE);
    return rounds[0].object;
}

void *lm_cache_alloc_slow(struct loam_cache *cache, const void *caller)
{
    struct lm_cache_slot *slot = cache_slot(cache);

    lm_caches_tick();
    if (cache->flags & LM_CACHE_DEBUG)
        return lm_cache_debug_alloc(cache, caller);
    if (cache->cpu) {
        void *object = lm_cache_cpu_alloc(cache);

        return object ? object : cache_refill(cache, NULL);
    }
    if (slot && lm_cache_load_full(cache, slot)) {
        struct lm_round round = lm_cache_slot_pop(slot);

        lm_cache_state_set(round.state, LM_CACHE_LIVE);
        return round.object;
    }
    return cache_refill(cache, slot);
}

/* Proves that an object of the cache starts at p and is live, or dies. */
static struct lm_cache_slab *cache_prove(const struct loam_cache *cache, const void *p, size_t *number)
{
    bool start;
    struct lm_cache_slab *slab = lm_cache_find(cache, p, number, &start);
    enum lm_cache_state state;

    if (!slab)
        lm_cache_misuse(cache, "not an object of this cache", p);
    state = lm_cache_state_get(&slab->state[*number]);
    if (!start)
        lm_cache_misuse(cache, state == LM_CACHE_NONE ? "not an object of this cache" : "inside an object", p);
    if (state == LM_CACHE_NONE || state == LM_CACHE_RAW || state == LM_CACHE_BUILDING)
        lm_cache_misuse(cache, "free of an object that was never allocated", p);
    if (state != LM_CACHE_LIVE)
        lm_cache_misuse(cache, "double free", p);
    return slab;
}

void lm_cache_free_slow(struct loam_cache *cache, void *object, const void *caller)
{
    struct lm_cache_slot *slot;
    struct lm_cache_slab *slab;
    struct lm_round round = {object, NULL};
    size_t number;
    int saved = errno;

    if (!object)
        return;
    slab = cache_prove(cache, object, &number);
    if (cache->flags & LM_CACHE_DEBUG) {
        lm_cache_debug_free(cache, slab, number, caller);
        errno = saved;
        return;
    }
    slot = cache_slot(cache);
    lm_caches_tick();
    round.state = &slab->state[number];
    lm_cache_state_set(round.state, LM_CACHE_CACHED);
    if (cache->cpu)
        lm_cache_cpu_free(cache, round);
    else if (slot && (slot->top != slot->limit || lm_cache_load_empty(cache, slot)))
        lm_cache_slot_push(slot, round);
    else
        lm_cache_give(cache, &round, 1, LM_CACHE_FREE);
    errno = saved;
}

/* -- making and destroying -------------------------------------------------------------------------------------- */

/* Whether slabs of so many bytes waste little enough: an eighth. */
static bool cache_slab_fits(size_t bytes, size_t stride)
{
    return bytes >= stride && bytes % stride <= bytes / 8;
}

/* From loam's arena whole granules, from a source powers of two, by which cache_map.c finds them. */
static size_t cache_slab_bytes(const struct loam_cache *cache, size_t least)
{
    size_t bytes = cache->source ? LOAM_SOURCE_GRAIN : LM_GRANULE, best;

    if (cache->source == loam_source_huge())
        bytes = (size_t)2 << 20;
    while (bytes < lm_max(cache->stride, least))
        bytes = cache->source ? bytes * 2 : bytes + LM_GRANULE;
    if (least)
        return bytes;
    while (cache->source && bytes < LM_GRANULE && bytes < 8 * cache->stride)
        bytes *= 2;
    for (best = bytes; !cache_slab_fits(bytes, cache->stride) && bytes <= lm_max(CACHE_SLAB_LIMIT, best);) {
        bytes = cache->source ? bytes * 2 : bytes + LM_GRANULE;
        if (bytes % cache->stride * best < best % cache->stride * bytes)
            best = bytes;
    }
    return cache_slab_fits(bytes, cache->stride) ? bytes : best;
}

static bool cache_options_good(const struct loam_cache_options *options)
{
    return options->struct_bytes == sizeof *options && options->size_bytes > 0 &&
        options->size_bytes <= CACHE_SIZE_MOST && (!options->align || lm_is_power2(options->align)) &&
        options->align <= CACHE_ALIGN_MOST && !(options->flags & ~(unsigned)CACHE_FLAGS) &&
        options->layer <= LOAM_CACHE_BY_NOBODY && options->slab_bytes <= CACHE_SLAB_MOST / 2 &&
        options->magazine_rounds <= CACHE_ROUNDS_MOST;
}

static void cache_fill(struct loam_cache *cache, const struct loam_cache_options *options)
{
    size_t guard = options->flags & LOAM_CACHE_REDZONE ? CACHE_REDZONE_BYTES : 0;

    *cache = (struct loam_cache){
        .slot_offset = LM_CACHE_NO_SLOT,
        .arena = (const struct loam_cache_arena *)(const void *)&lm_first_arena,
        .flags = options->flags,
        .layer = options->layer,
        .size = options->size_bytes,
        .align = options->align        ? options->align
            : options->size_bytes < 16 ? 8
                                       : 16,
        .construct = options->construct,
        .destruct = options->destruct,
        .reclaim = options->reclaim,
        .arg = options->arg,
        .source = options->source,
        .idle_ms = options->idle_ms ? options->idle_ms : CACHE_IDLE_MS,
        .lock = LM_LOCK_INIT(LM_RANK_BLOCK),
        .ticked_ms = lm_os_clock_ms(),
    };
    strncpy(cache->name, options->name ? options->name : "", sizeof cache->name - 1);
    cache->stride = lm_align_up(cache->size + guard, lm_max(cache->align, 8));
    cache->magic = UINT64_MAX / cache->stride + 1;
    cache->slab_bytes = cache_slab_bytes(cache, options->slab_bytes);
    cache->capacity = cache->slab_bytes / cache->stride;
    cache->colour_step = lm_max(cache->align, LM_CACHE_LINE);
    cache->colours = 1;
    if (!(cache->flags & LOAM_CACHE_NO_COLOUR))
        cache->colours += cache->slab_bytes % cache->stride / cache->colour_step;
    for (int i = 0; i < LM_CACHE_LISTS; i++)
        lm_list_init(&cache->list[i]);
    lm_cache_depot_start(cache, options->magazine_rounds);
}

/* One slot for each CPU that the process may use; false: no memory. */
static bool cache_add_cpus(struct loam_cache *cache)
{
    size_t count = lm_os_cpu_count(), bytes = count * sizeof *cache->cpu;

    cache->cpu = lm_heap_malloc_aligned(bytes, LM_CACHE_LINE);
    if (!cache->cpu)
        return false;
    memset(cache->cpu, 0, bytes);
    for (size_t i = 0; i < count; i++)
        cache->cpu[i].lock = (struct lm_lock)LM_LOCK_INIT(LM_RANK_CACHE_CPU);
    cache->cpu_count = (unsigned)count;
    return true;
}

LM_PUBLIC struct loam_cache *loam_cache_create_with(const struct loam_cache_options *options)
{
    struct loam_cache *cache;

    if (!cache_options_good(options)) {
        errno = EINVAL;
        return NULL;
    }
    cache = lm_heap_malloc_aligned(sizeof *cache, LM_CACHE_LINE);
    if (!cache)
        return NULL;
    cache_fill(cache, options);
    if (!(cache->flags & LM_CACHE_DEBUG)) {
        if (cache->layer == LOAM_CACHE_BY_THREAD)
            cache->slot_offset = lm_cache_slot_assign();
        if (cache->layer == LOAM_CACHE_BY_CPU && !cache_add_cpus(cache)) {
            lm_heap_free(cache);
            return NULL;
        }
    }
    lm_caches_add(cache);
    return cache;
}

LM_PUBLIC struct loam_cache *loam_cache_create(const char *name, size_t size_bytes, size_t align,
    int (*construct)(void *object, void *arg), void (*destruct)(void *object, void *arg), void (*reclaim)(void *arg),
    void *arg)
{
    struct loam_cache_options options = {.struct_bytes = sizeof options,
        .name = name,
        .size_bytes = size_bytes,
        .align = align,
        .construct = construct,
        .destruct = destruct,
        .reclaim = reclaim,
        .arg = arg};

    return loam_cache_create_with(&options);
}

LM_PUBLIC void loam_cache_destroy(struct loam_cache *cache)
{
    if (!cache)
        return;
    lm_caches_remove(cache);
    lm_cache_slot_release(cache);
    for (unsigned i = 0; i < cache->cpu_count; i++)
        lm_cache_unload(cache, &cache->cpu[i].slot, true);
    lm_cache_depot_trim(cache, true);
    if (cache->out)
        lm_cache_misuse(cache, "destroyed while objects are live", cache);
    lm_cache_reap_slabs(cache, SIZE_MAX);
    lm_cache_map_free(cache);
    lm_heap_free(cache->cpu);
    lm_heap_free(cache);
}

/* -- seen from above ---------------------------------------------------------------------------------------------- */

/* What the slots of all threads and CPUs hold; under LM_RANK_CACHES and the depot's lock. */
static size_t cache_slots_rounds(const struct loam_cache *cache)
{
    size_t rounds = 0;

    for (struct loam_cache_self *self = lm_cache_selves; self; self = self->next)
        if (cache->slot_offset != LM_CACHE_NO_SLOT)
            rounds += lm_cache_slot_rounds(lm_cache_slot_of(self, cache));
    for (unsigned i = 0; i < cache->cpu_count; i++)
        rounds += lm_cache_slot_rounds(&cache->cpu[i].slot);
    return rounds;
}

static void cache_figures_of_depot(struct loam_cache *cache, struct loam_cache_figures *out)
{
    struct lm_cache_depot *depot = &cache->depot;
    size_t full_room, empty_room;

    lm_lock_take(&lm_caches_lock);
    lm_lock_take(&depot->lock);
    out->cached_objects = cache_slots_rounds(cache);
    full_room = __atomic_load_n(&depot->full.room, __ATOMIC_RELAXED);
    empty_room = __atomic_load_n(&depot->empty.room, __ATOMIC_RELAXED);
    out->cached_objects += full_room;
    out->depot_full = lm_magazines_count(&depot->full);
    out->depot_empty = lm_magazines_count(&depot->empty);
    out->meta_bytes += (out->depot_full + out->depot_empty) * sizeof(struct lm_magazine) +
        (full_room + empty_room) * sizeof(struct lm_round);
    out->magazine_rounds = __atomic_load_n(&depot->rounds, __ATOMIC_RELAXED);
    out->exchanges = __atomic_load_n(&depot->exchanges, __ATOMIC_RELAXED);
    out->contended = __atomic_load_n(&depot->contended, __ATOMIC_RELAXED);
    lm_lock_release(&depot->lock);
    lm_lock_release(&lm_caches_lock);
}

LM_PUBLIC int loam_cache_stats(struct loam_cache *cache, struct loam_cache_figures *out)
{
    size_t gone;

    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    *out = (struct loam_cache_figures){
        .struct_bytes = sizeof *out,
        .object_bytes = cache->size,
        .stride_bytes = cache->stride,
        .slab_bytes = cache->slab_bytes,
        .objects_per_slab = cache->capacity,
        .colours = cache->colours,
        .constructed = __atomic_load_n(&cache->constructed, __ATOMIC_RELAXED),
        .destructed = __atomic_load_n(&cache->destructed, __ATOMIC_RELAXED),
        .refused = __atomic_load_n(&cache->refused, __ATOMIC_RELAXED),
        .reaped_bytes = __atomic_load_n(&cache->reaped_bytes, __ATOMIC_RELAXED),
    };
    memcpy(out->name, cache->name, sizeof out->name);
    cache_figures_of_depot(cache, out);
    lm_lock_take(&cache->lock);
    gone = cache->out;
    out->slabs = cache->slabs;
    out->empty_slabs = cache->count[LM_CACHE_EMPTY];
    lm_lock_release(&cache->lock);
    out->held_bytes = out->slabs * cache->slab_bytes;
    out->meta_bytes += out->slabs * lm_cache_header_bytes(cache);
    out->live_objects = gone > out->cached_objects ? gone - out->cached_objects : 0;
    return 0;
}

LM_PUBLIC int loam_cache_check(struct loam_cache *cache)
{
    size_t cached = 0, rounds = 0;
    int fault;

    lm_lock_take(&lm_caches_lock);
    lm_lock_take(&cache->depot.lock);
    fault = lm_cache_check_depot(cache, &rounds);
    rounds += cache_slots_rounds(cache);
    lm_lock_take(&cache->lock);
    if (!fault)
        fault = lm_cache_check_slabs(cache, &cached);
    lm_lock_release(&cache->lock);
    lm_lock_release(&cache->depot.lock);
    lm_lock_release(&lm_caches_lock);
    if (!fault && cached != rounds)
        fault = __LINE__;
    return fault;
}
