/* Object caches: constructed state, all sources and layers, exact detection, reaping, failure of everything in turn. */
#include "block/cache.h"
#include "os/fake.h"
#include "lists.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIVE = 3000, KIB = 1 << 10 };
#define BUILT 0x6275696c742e2e2eu /* a mark of the constructed state */

struct item {
    uint64_t built, stamp;
    unsigned char rest[32];
};

static int building; /* constructed and not destructed */
static int fail_in;  /* the constructor fails when it counts down to 0; 0: never */
static char room[600 * KIB];

static int build(void *object, void *arg)
{
    struct item *item = object;

    assert_ptr_equal(arg, &building);
    if (fail_in && --fail_in == 0) {
        fail_in = 1; /* and goes on failing */
        errno = EIO;
        return -1;
    }
    item->built = BUILT;
    building++;
    return 0;
}

static void unbuild(void *object, void *arg)
{
    struct item *item = object;

    assert_ptr_equal(arg, &building);
    assert_true(item->built == BUILT);
    item->built = 0;
    building--;
}

static struct loam_cache_figures figures_of(struct loam_cache *cache)
{
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};

    assert_int_equal(loam_cache_stats(cache, &figures), 0);
    assert_int_equal(figures.held_bytes, figures.slabs * figures.slab_bytes);
    return figures;
}

static struct loam_cache_options options_of(size_t size)
{
    return (struct loam_cache_options){.struct_bytes = sizeof(struct loam_cache_options),
        .name = "test",
        .size_bytes = size,
        .construct = build,
        .destruct = unbuild,
        .arg = &building};
}

/* Random allocs and frees: every object is constructed, aligned, nobody else's, and keeps what is written to it. The cache
 * is destroyed and everything goes back. */
static void exercise(const struct loam_cache_options *options, uint64_t seed, int steps)
{
    static struct item *live[LIVE];
    struct loam_cache *cache = loam_cache_create_with(options);
    size_t align = options->align ? options->align : 16, count = 0;

    assert_non_null(cache);
    memset(live, 0, sizeof live);
    for (int step = 0; step < steps; step++) {
        size_t i = unit_below(&seed, step / 1000 % 2 ? LIVE : LIVE / 20);

        if (live[i]) {
            assert_true(live[i]->built == BUILT && live[i]->stamp == i);
            assert_int_equal(((unsigned char *)live[i])[options->size_bytes - 1], (unsigned char)i);
            ((unsigned char *)live[i])[options->size_bytes - 1] = 0;
            if (unit_below(&seed, 2))
                loam_cache_free_inline(cache, live[i]);
            else
                loam_cache_free(cache, live[i]);
            live[i] = NULL;
            count--;
        } else if ((live[i] = unit_below(&seed, 2) ? loam_cache_alloc_inline(cache) : loam_cache_alloc(cache)) !=
            NULL) {
            assert_true(live[i]->built == BUILT);
            assert_int_equal((uintptr_t)live[i] % align, 0);
            live[i]->stamp = i;
            ((unsigned char *)live[i])[options->size_bytes - 1] = (unsigned char)i;
            count++;
        } else {
            assert_int_equal(errno, ENOMEM);
            assert_non_null(options->source); /* the only one that is small */
        }
        if (step % 500 == 0) {
            assert_int_equal(loam_cache_check(cache), 0);
            assert_int_equal(figures_of(cache).live_objects, count);
        }
        if (step % 2500 == 2499)
            loam_cache_reap(cache);
    }
    for (size_t i = 0; i < LIVE; i++)
        if (live[i])
            loam_cache_free(cache, live[i]);
    assert_int_equal(figures_of(cache).live_objects, 0);
    assert_int_equal(loam_cache_check(cache), 0);
    loam_cache_destroy(cache);
    assert_int_equal(building, 0);
}

/* All sizes and layers, twice: the second time must not need more memory than the first. */
static void keeps_constructed_state(void **state)
{
    static const size_t sizes[] = {24, 48, 200, 1000, 5000, 9000, 70000};
    uint64_t seed = unit_seed();
    struct lm_page_stats pages[2];

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (int layer = LOAM_CACHE_BY_THREAD; layer <= LOAM_CACHE_BY_NOBODY; layer++) {
                struct loam_cache_options options = options_of(sizes[i]);

                options.layer = (enum loam_cache_layer)layer;
                options.align = i % 2 ? 64 : 0;
                exercise(&options, seed + i, sizes[i] > 9000 ? 3000 : 7000);
            }
        lm_page_stats(&pages[round]);
    }
    assert_in_range(pages[1].used_bytes, 0, pages[0].used_bytes);
    assert_int_equal(lm_page_check(), 0);
}

static void sits_on_any_source(void **state)
{
    const struct loam_source *shared = loam_source_shared("cache", 4096 * KIB);
    const struct loam_source *fixed = loam_source_fixed(room, sizeof room);
    const struct loam_source *sources[] = {loam_source_os(), loam_source_huge(), shared, fixed};
    size_t mapped;

    (void)state;
    exercise(&(struct loam_cache_options){.struct_bytes = sizeof(struct loam_cache_options),
                 .size_bytes = 40,
                 .construct = build,
                 .destruct = unbuild,
                 .arg = &building},
        7, 100);
    mapped = lm_fake_mapped_bytes();
    for (int i = 0; i < 4; i++)
        for (size_t size = 40; size < 5000; size = size * 5 / 2) {
            struct loam_cache_options options = options_of(size);

            options.source = sources[i];
            options.flags = size > 400 ? LM_CACHE_DEBUG : 0;
            exercise(&options, size * 2 + 1, 5000);
        }
    assert_int_equal(loam_source_used_bytes(shared), 0);
    assert_int_equal(loam_source_used_bytes(fixed), 0);
    assert_in_range(lm_fake_mapped_bytes(), 0, mapped + 4096 * KIB);
    loam_source_close(shared);
}

static void debugging_keeps_it_too(void **state)
{
    (void)state;
    for (unsigned flags = 1; flags <= LM_CACHE_DEBUG; flags++) {
        struct loam_cache_options options = options_of(100 + flags);

        options.flags = flags;
        exercise(&options, flags, 4000);
    }
}

static void refuses_bad_options(void **state)
{
    struct loam_cache_options good = options_of(100), bad;

    (void)state;
#define REFUSED(field, value) \
    do { \
        bad = good; \
        bad.field = value; \
        errno = 0; \
        assert_null(loam_cache_create_with(&bad)); \
        assert_int_equal(errno, EINVAL); \
    } while (0)
    REFUSED(struct_bytes, 8);
    REFUSED(size_bytes, 0);
    REFUSED(size_bytes, SIZE_MAX);
    REFUSED(align, 48);
    REFUSED(align, 128 * KIB);
    REFUSED(flags, 64);
    REFUSED(layer, (enum loam_cache_layer)3);
    REFUSED(slab_bytes, SIZE_MAX / 2);
    REFUSED(magazine_rounds, 5000);
    loam_cache_destroy(NULL);
}

/* A slab starts its objects at different places, one for each colour, all within the slab. */
static void colours_slabs(void **state)
{
    struct loam_cache_options options = options_of(7168);
    struct loam_cache *cache = loam_cache_create_with(&options);
    struct loam_cache_figures figures = figures_of(cache);
    void *objects[9 * 17];
    bool seen[17] = {false};

    (void)state;
    assert_int_equal(figures.objects_per_slab, 9);
    assert_int_equal(figures.colours, 1 + (64 * KIB - 9 * 7168) / 64);
    for (int i = 0; i < 9 * 17; i++) {
        size_t offset;

        objects[i] = loam_cache_alloc(cache);
        offset = (uintptr_t)objects[i] % LM_GRANULE % 7168;
        assert_int_equal(offset % 64, 0);
        assert_in_range(offset, 0, 1024);
        seen[offset / 64] = true;
    }
    for (int i = 0; i < 17; i++)
        assert_true(seen[i]);
    for (int i = 0; i < 9 * 17; i++)
        loam_cache_free(cache, objects[i]);
    loam_cache_destroy(cache);
    options.flags = LOAM_CACHE_NO_COLOUR;
    cache = loam_cache_create_with(&options);
    assert_int_equal(figures_of(cache).colours, 1);
    loam_cache_destroy(cache);
}

/* Freed objects are all returned but for what a thread's magazines hold; explicit reaping returns those of the caller. */
static void reaps_what_is_empty(void **state)
{
    static void *objects[100000];
    struct loam_cache_options options = options_of(256);
    size_t empty, before;

    (void)state;
    for (int source = 0; source < 2; source++) {
        struct loam_cache *cache;
        struct lm_page_stats pages;

        options.source = source ? loam_source_os() : NULL;
        cache = loam_cache_create_with(&options);
        for (int i = 0; i < 100000; i++)
            objects[i] = loam_cache_alloc(cache);
        assert_true(figures_of(cache).held_bytes >= (size_t)100000 * 256);
        lm_page_stats(&pages);
        before = source ? lm_fake_mapped_bytes() : pages.used_bytes;
        for (int i = 0; i < 100000; i++)
            if (i % 1000)
                loam_cache_free(cache, objects[i]); /* some slabs stay partial */
        loam_cache_reap(cache);
        assert_int_equal(figures_of(cache).empty_slabs, 0);
        for (int i = 0; i < 100000; i += 1000)
            loam_cache_free(cache, objects[i]);
        empty = figures_of(cache).held_bytes;
        assert_true(loam_cache_reap(cache) >= empty * 95 / 100);
        assert_int_equal(figures_of(cache).held_bytes, 0);
        assert_int_equal(figures_of(cache).reaped_bytes / figures_of(cache).slab_bytes * figures_of(cache).slab_bytes,
            figures_of(cache).reaped_bytes);
        lm_page_stats(&pages);
        assert_true(before - (source ? lm_fake_mapped_bytes() : pages.used_bytes) >= (size_t)100000 * 256 * 95 / 100);
        assert_int_equal(building, 0);
        loam_cache_destroy(cache);
    }
}

/* What the depot and the empty slabs did not need for a whole interval goes back by itself; what they needed stays. */
static void reaps_beyond_the_working_set(void **state)
{
    static void *objects[20000];
    struct loam_cache_options options = options_of(256);
    struct loam_cache *cache, *other;
    size_t slabs;

    (void)state;
    lm_fake_clock(1000);
    options.idle_ms = 500;
    cache = loam_cache_create_with(&options);
    options.layer = LOAM_CACHE_BY_NOBODY; /* every call is a visit */
    other = loam_cache_create_with(&options);
    for (int i = 0; i < 20000; i++)
        objects[i] = loam_cache_alloc(cache);
    for (int i = 0; i < 20000; i++)
        loam_cache_free(cache, objects[i]);
    slabs = figures_of(cache).slabs;
    assert_true(figures_of(cache).depot_full > 100);

    lm_fake_clock(1400); /* not yet */
    loam_cache_free(other, loam_cache_alloc(other));
    assert_int_equal(figures_of(cache).slabs, slabs);
    lm_fake_clock(1600); /* the first interval: they were all in use during it */
    loam_cache_free(other, loam_cache_alloc(other));
    assert_true(figures_of(cache).depot_full > 100);
    for (int i = 0; i < 5000; i++) /* the working set from now on */
        objects[i] = loam_cache_alloc(cache);
    for (int i = 0; i < 5000; i++)
        loam_cache_free(cache, objects[i]);
    lm_fake_clock(2200);
    loam_cache_free(other, loam_cache_alloc(other));
    assert_in_range(figures_of(cache).cached_objects, 5000, 5200);
    lm_fake_clock(2800); /* nothing was used all through this one; the emptied slabs of the last are spare as well */
    loam_cache_free(other, loam_cache_alloc(other));
    lm_fake_clock(3400);
    loam_cache_free(other, loam_cache_alloc(other));
    assert_in_range(figures_of(cache).cached_objects, 0, 2 * figures_of(cache).magazine_rounds);
    assert_in_range(figures_of(cache).slabs, 0, 2);
    assert_int_equal(loam_cache_check(cache), 0);
    loam_cache_destroy(cache);
    loam_cache_destroy(other);
    lm_fake_reset();
}

/* -- failures ------------------------------------------------------------------------------------------------- */

static void constructor_fails(void **state)
{
    struct loam_cache_options options = options_of(64);

    (void)state;
    for (int layer = LOAM_CACHE_BY_THREAD; layer <= LOAM_CACHE_BY_NOBODY; layer++)
        for (int nth = 1; nth < 40; nth++) {
            struct loam_cache *cache;
            void *object;

            options.layer = (enum loam_cache_layer)layer;
            options.flags = nth % 2 ? LM_CACHE_DEBUG : 0;
            cache = loam_cache_create_with(&options);
            fail_in = nth;
            errno = 0;
            object = loam_cache_alloc(cache);
            fail_in = 0;
            if (!object) {
                assert_int_equal(errno, EIO);
                assert_int_equal(building, 0);
                assert_int_equal(figures_of(cache).refused, 1);
                assert_int_equal(figures_of(cache).live_objects, 0);
            }
            assert_int_equal(loam_cache_check(cache), 0);
            if (object)
                loam_cache_free(cache, object);
            for (size_t i = 0; i <= figures_of(cache).objects_per_slab;
                 i++) { /* it is whole again, each object of it */
                object = loam_cache_alloc(cache);
                assert_non_null(object);
                loam_cache_free(cache, object);
            }
            loam_cache_destroy(cache);
            assert_int_equal(building, 0);
        }
}

static int maps_left;
static size_t mapped_out;

static void *scarce_map(void *ctx, size_t bytes, size_t align)
{
    (void)ctx;
    if (maps_left == 0) {
        errno = ENOMEM;
        return NULL;
    }
    maps_left--;
    mapped_out++;
    return lm_os_map(bytes, align);
}

static void scarce_unmap(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    maps_left++;
    mapped_out--;
    lm_os_unmap(p, bytes);
}

static void *given[4096];
static struct loam_cache *giving;
static int given_count, asked, other_asked;

static void give_up(void *arg)
{
    (void)arg;
    asked++;
    while (given_count)
        loam_cache_free(giving, given[--given_count]);
}

static void ask_other(void *arg)
{
    (void)arg;
    other_asked++;
}

/* Every cache is asked and reaped before a request is refused; a refusal leaves everything as it was. */
static void source_runs_out(void **state)
{
    static const struct loam_source scarce = {scarce_map, scarce_unmap, NULL, NULL};
    struct loam_cache_options options = options_of(256);
    struct loam_cache *taking, *third;
    void *object;
    int live = 0;

    (void)state;
    maps_left = 10;
    asked = other_asked = given_count = 0;
    options.source = &scarce;
    options.reclaim = give_up;
    giving = loam_cache_create_with(&options);
    options.reclaim = NULL;
    taking = loam_cache_create_with(&options);
    options.reclaim = ask_other;
    options.source = NULL;
    third = loam_cache_create_with(&options);
    while (mapped_out < 10)
        given[given_count++] = loam_cache_alloc(giving);
    object = loam_cache_alloc(taking); /* only the hook can make that possible */
    assert_non_null(object);
    assert_int_equal(asked, 1);
    assert_int_equal(other_asked, 1);
    assert_int_equal(figures_of(giving).live_objects, 0);
    /* now what only lies about in magazines and empty slabs: reaping is enough */
    for (given_count = 0; mapped_out < 10; given_count++)
        given[given_count] = loam_cache_alloc(giving);
    while (given_count)
        loam_cache_free(giving, given[--given_count]);
    assert_int_equal(mapped_out, 10);
    loam_cache_free(taking, object);
    for (; live < 4096 && (given[live] = loam_cache_alloc(taking)) != NULL; live++)
        ;
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(mapped_out, 10);
    assert_int_equal((size_t)live, 10 * figures_of(taking).objects_per_slab);
    assert_int_equal(figures_of(taking).refused, 1);
    assert_int_equal(loam_cache_check(taking), 0);
    while (live)
        loam_cache_free(taking, given[--live]);
    loam_cache_destroy(taking);
    loam_cache_destroy(giving);
    loam_cache_destroy(third);
    assert_int_equal(mapped_out, 0);
}

/* The general heap, too, asks before it gives up. */
static void heap_runs_out(void **state)
{
    struct loam_cache_options options = options_of(4000);
    void *block;

    (void)state;
    options.reclaim = give_up;
    options.source = loam_source_os();
    giving = loam_cache_create_with(&options);
    for (given_count = 0; given_count < 4096; given_count++)
        given[given_count] = loam_cache_alloc(giving);
    lm_heap_trim(0);
    lm_fake_limit_bytes(lm_fake_mapped_bytes() + 1024 * KIB);
    asked = 0;
    block = lm_heap_malloc(lm_config.large_bytes + 1, NULL); /* 32 MiB: not to be had even so */
    assert_null(block);
    assert_int_equal(asked, 1);
    assert_int_equal(figures_of(giving).held_bytes, 0);
    lm_fake_reset();
    block = lm_heap_malloc(lm_config.large_bytes + 1, NULL);
    assert_non_null(block);
    lm_heap_free(block);
    loam_cache_destroy(giving);
}

/* Every n-th call to the operating system fails, whatever it was for. */
static void system_fails(void **state)
{
    static void *objects[2000];

    (void)state;
    for (int n = 1; n < 12; n++) {
        struct loam_cache_options options = options_of(700);
        struct loam_cache *cache;
        int live = 0, failed = 0;

        options.source = n % 2 ? loam_source_os() : NULL;
        cache = loam_cache_create_with(&options);
        lm_fake_fail_every(LM_OS_MAP, (uint64_t)n);
        lm_fake_fail_every(LM_OS_COMMIT, (uint64_t)n);
        for (int i = 0; i < 2000; i++) {
            objects[live] = loam_cache_alloc(cache);
            if (objects[live])
                live++;
            else if (failed++ == 0)
                assert_int_equal(errno, ENOMEM);
        }
        lm_fake_reset();
        assert_int_equal(loam_cache_check(cache), 0);
        assert_int_equal(figures_of(cache).live_objects, (size_t)live);
        assert_int_equal(figures_of(cache).refused, (uint64_t)failed);
        while (live)
            loam_cache_free(cache, objects[--live]);
        loam_cache_destroy(cache);
        assert_int_equal(building, 0);
    }
}

static void finds_damage(void **state)
{
    struct loam_cache_options options = options_of(100);
    struct loam_cache *cache;
    char *object;

    (void)state;
    options.flags = LOAM_CACHE_REDZONE | LOAM_CACHE_POISON;
    options.construct = NULL;
    options.destruct = NULL;
    cache = loam_cache_create_with(&options);
    object = loam_cache_alloc(cache);
    assert_int_equal(loam_cache_check(cache), 0);
    object[100] ^= 1;
    assert_int_not_equal(loam_cache_check(cache), 0);
    object[100] ^= 1;
    assert_int_equal(loam_cache_check(cache), 0);
    loam_cache_free(cache, object);
    object[50] ^= 1;
    assert_int_not_equal(loam_cache_check(cache), 0);
    object[50] ^= 1;
    loam_cache_destroy(cache);
}

struct names {
    int found;
    size_t live;
};

static void count_names(const struct loam_cache_figures *figures, void *arg)
{
    struct names *names = arg;

    if (strcmp(figures->name, "first") == 0 || strcmp(figures->name, "a name of more than thirty-one") == 0)
        names->found++;
    names->live += figures->live_objects;
}

static void lists_all(void **state)
{
    struct loam_cache *first = loam_cache_create("first", 10, 0, NULL, NULL, NULL, NULL);
    struct loam_cache *second = loam_cache_create("a name of more than thirty-one", 10, 8, NULL, NULL, NULL, NULL);
    struct names names = {0, 0};
    void *object = loam_cache_alloc(first);
    struct loam_cache_figures wrong = {.struct_bytes = 3};

    (void)state;
    loam_cache_each(count_names, &names);
    assert_int_equal(names.found, 2);
    assert_int_equal(names.live, 1);
    loam_cache_free(first, object);
    loam_cache_free(first, NULL);
    assert_int_equal(loam_cache_stats(first, &wrong), -1);
    assert_int_equal(errno, EINVAL);
    loam_cache_destroy(first);
    loam_cache_destroy(second);
    names = (struct names){0, 0};
    loam_cache_each(count_names, &names);
    assert_int_equal(names.found, 0);
}

/* More caches than a thread has slots: the last ones have no magazines, and work. */
static void has_many_caches(void **state)
{
    static struct loam_cache *cache[LM_CACHE_SLOTS + 10];
    static void *object[LM_CACHE_SLOTS + 10];

    (void)state;
    for (int i = 0; i < LM_CACHE_SLOTS + 10; i++) {
        cache[i] = loam_cache_create("many", 64, 0, NULL, NULL, NULL, NULL);
        object[i] = loam_cache_alloc(cache[i]);
        assert_non_null(object[i]);
    }
    for (int i = 0; i < LM_CACHE_SLOTS + 10; i++) {
        loam_cache_free(cache[i], object[i]);
        assert_int_equal(figures_of(cache[i]).live_objects, 0);
        loam_cache_destroy(cache[i]);
    }
}

static bool stop_holding; /* atomic */

/* Holds the depot's lock until somebody waits for it, again and again; or is at the depot where there is none to wait for. */
static void *hold_depot(void *arg)
{
    struct loam_cache *cache = arg;

    if (cache->depot.is_shared) {
        __atomic_fetch_add(&cache->depot.inside, 1, __ATOMIC_RELAXED);
        while (!__atomic_load_n(&stop_holding, __ATOMIC_RELAXED))
            lm_os_yield();
        __atomic_fetch_sub(&cache->depot.inside, 1, __ATOMIC_RELAXED);
    }
    while (!__atomic_load_n(&stop_holding, __ATOMIC_RELAXED)) {
        lm_lock_take(&cache->depot.lock);
        while (!__atomic_load_n(&stop_holding, __ATOMIC_RELAXED) && !lm_lock_is_awaited(&cache->depot.lock))
            lm_os_yield();
        lm_lock_release(&cache->depot.lock);
        lm_os_yield();
    }
    return NULL;
}

/* Waiting for the depot makes magazines larger, a reap makes them small again. */
static void magazines_adapt(void **state)
{
    struct loam_cache_options options = options_of(64);
    struct loam_cache *cache;
    void *objects[100];
    pthread_t holder;

    (void)state;
    stop_holding = false;
    options.magazine_rounds = 4;
    cache = loam_cache_create_with(&options);
    assert_int_equal(figures_of(cache).magazine_rounds, 4);
    assert_int_equal(pthread_create(&holder, NULL, hold_depot, cache), 0);
    while (figures_of(cache).magazine_rounds == 4) { /* until it does: the test's own limit of time ends it else */
        for (int i = 0; i < 100; i++)
            objects[i] = loam_cache_alloc(cache);
        for (int i = 0; i < 100; i++)
            loam_cache_free(cache, objects[i]);
    }
    __atomic_store_n(&stop_holding, true, __ATOMIC_RELAXED);
    pthread_join(holder, NULL);
    assert_true(figures_of(cache).contended >= 8);
    assert_true(figures_of(cache).magazine_rounds <= 32);
    assert_int_equal(loam_cache_check(cache), 0);
    loam_cache_reap(cache);
    assert_int_equal(figures_of(cache).magazine_rounds, 4);
    loam_cache_destroy(cache);
}

static pthread_barrier_t alone_now, may_end;

/* In a transaction that nobody may commit beside, until it is told to end it. */
static void *be_alone(void *arg)
{
    struct lm_stm tx;

    lm_stm_start(&tx);
    for (int i = 0; i <= LM_STM_TRIES; i++)
        lm_stm_begin(&tx);
    pthread_barrier_wait(&alone_now);
    pthread_barrier_wait(&may_end);
    lm_stm_abort(&tx);
    return arg;
}

/* The child of a fork does not wait for transactions of threads that it does not have. */
static void a_child_waits_for_nobody(void **state)
{
    pthread_t thread;
    pid_t child;
    int status;

    (void)state;
    pthread_barrier_init(&alone_now, NULL, 2);
    pthread_barrier_init(&may_end, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, be_alone, NULL), 0);
    pthread_barrier_wait(&alone_now);
    assert_int_not_equal(lm_stm_check(), 0);
    lm_caches_fork_take();
    child = fork();
    if (child == 0) {
        lm_caches_fork_reset();
        _exit(lm_stm_check() != 0);
    }
    lm_caches_fork_release();
    assert_int_equal(waitpid(child, &status, 0), child);
    pthread_barrier_wait(&may_end);
    pthread_join(thread, NULL);
    assert_int_equal(lm_stm_check(), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_constructed_state),
        cmocka_unit_test(sits_on_any_source),
        cmocka_unit_test(debugging_keeps_it_too),
        cmocka_unit_test(refuses_bad_options),
        cmocka_unit_test(colours_slabs),
        cmocka_unit_test(reaps_what_is_empty),
        cmocka_unit_test(reaps_beyond_the_working_set),
        cmocka_unit_test(constructor_fails),
        cmocka_unit_test(source_runs_out),
        cmocka_unit_test(heap_runs_out),
        cmocka_unit_test(system_fails),
        cmocka_unit_test(finds_damage),
        cmocka_unit_test(lists_all),
        cmocka_unit_test(has_many_caches),
        cmocka_unit_test(magazines_adapt),
        cmocka_unit_test(a_child_waits_for_nobody),
    };

    return lists_run_group_tests(tests);
}
