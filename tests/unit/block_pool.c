/* Pools: sizes, alignments and sources; order; walks; hooks; what they keep and return; failing sources; threads. */
#include "block/block.h"
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <loam/pool.h>
#include <pthread.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20, LIVE = 3000 };

static struct loam_pool_figures figures_of(struct loam_pool *pool)
{
    struct loam_pool_figures figures = {.struct_bytes = sizeof figures};

    assert_int_equal(loam_pool_stats(pool, &figures), 0);
    assert_int_equal(figures.live + figures.free, figures.batches * figures.batch);
    assert_true(figures.peak_bytes >= figures.held_bytes && figures.grown - figures.returned == figures.batches);
    return figures;
}

/* -- a source that counts what is out, and refuses on demand -- */

static struct {
    size_t out_bytes, calls, fail_every, skew;
} counted;

static void *counted_map(void *ctx, size_t bytes, size_t align)
{
    void *p;

    assert_ptr_equal(ctx, &counted);
    assert_int_equal(bytes % LOAM_SOURCE_GRAIN, 0);
    assert_true(lm_is_power2(align) && align >= LOAM_SOURCE_GRAIN);
    if (counted.fail_every && ++counted.calls % counted.fail_every == 0) {
        errno = EDQUOT;
        return NULL;
    }
    p = aligned_alloc(align, lm_align_up(bytes + counted.skew, align));
    counted.out_bytes += bytes;
    return memset((char *)p + counted.skew, 0xa5, bytes);
}

static void counted_unmap(void *ctx, void *p, size_t bytes)
{
    assert_ptr_equal(ctx, &counted);
    assert_true(counted.out_bytes >= bytes);
    counted.out_bytes -= bytes;
    memset(p, 0x5a, bytes);
    free((char *)p - counted.skew);
}

static const struct loam_source counted_source = {counted_map, counted_unmap, NULL, &counted};

/* -- traffic: contents are checked, the structure after every few steps -- */

static unsigned char *live[LIVE];

static void traffic(struct loam_pool *pool, uint64_t seed, int steps, int most)
{
    struct loam_pool_figures figures = figures_of(pool);
    size_t size = figures.object_bytes;

    for (int step = 0; step < steps; step++) {
        size_t i = unit_below(&seed, (uint64_t)most);

        if (live[i]) {
            assert_int_equal(live[i][0], (unsigned char)i);
            assert_int_equal(live[i][size - 1], (unsigned char)i);
            assert_true(loam_pool_owns(pool, live[i]));
            assert_true(size == 1 || !loam_pool_owns(pool, live[i] + 1));
            loam_pool_free(pool, live[i]);
            assert_false(loam_pool_owns(pool, live[i]));
            live[i] = NULL;
        } else if ((live[i] = loam_pool_alloc(pool)) != NULL) {
            live[i][0] = live[i][size - 1] = (unsigned char)i;
        } else {
            assert_true(errno == ENOMEM || errno == EDQUOT);
        }
        if (step % 64 == 0)
            assert_int_equal(loam_pool_check(pool), 0);
    }
}

static void empty_out(struct loam_pool *pool)
{
    for (int i = 0; i < LIVE; i++) {
        loam_pool_free(pool, live[i]);
        live[i] = NULL;
    }
    assert_int_equal(loam_pool_check(pool), 0);
    assert_int_equal(figures_of(pool).live, 0);
}

static char fixed_room[8 * MIB];

static void every_size_on_every_source(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 8, 15, 16, 24, 40, 64, 100, 1000, 4096, 5000, 70000};
    const struct loam_source *sources[] = {NULL, loam_source_os(), &counted_source, NULL};
    uint64_t seed = unit_seed();

    (void)state;
    sources[3] = loam_source_fixed(fixed_room, sizeof fixed_room);
    for (size_t s = 0; s < 4; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct loam_pool_options options = {
                .struct_bytes = sizeof options, .object_bytes = sizes[i], .source = sources[s], .batch = 20};
            struct loam_pool *pool = loam_pool_create_with(&options);

            assert_non_null(pool);
            for (int round = 0; round < 2; round++) {
                traffic(pool, seed + i, 2000, sizes[i] > 2000 ? 60 : 1000);
                if (round == 0)
                    empty_out(pool);
            }
            memset(live, 0, sizeof live);
            loam_pool_reset(pool);
            assert_int_equal(loam_pool_check(pool), 0);
            assert_int_equal(figures_of(pool).batches, 0);
            traffic(pool, seed, 100, 100);
            memset(live, 0, sizeof live);
            loam_pool_destroy(pool);
        }
    assert_int_equal(counted.out_bytes, 0);
    assert_int_equal(loam_source_used_bytes(sources[3]), 0);
    loam_pool_destroy(NULL);
}

static void alignment_is_kept(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 1 << 17; align *= 2) {
        struct loam_pool *pool = loam_pool_create(align < 64 ? 40 : 3, align, &counted_source);

        for (int i = 0; i < 100; i++)
            assert_int_equal((uintptr_t)loam_pool_alloc(pool) % align, 0);
        assert_int_equal(loam_pool_check(pool), 0);
        loam_pool_destroy(pool);
    }
    for (size_t size = 1; size < 100; size++) {
        struct loam_pool *pool = loam_pool_create(size, 0, NULL);

        assert_int_equal(figures_of(pool).object_bytes, size);
        loam_pool_destroy(pool);
    }
    assert_int_equal(counted.out_bytes, 0);
}

static void bad_arguments(void **state)
{
    struct loam_pool_options options = {.struct_bytes = 3, .object_bytes = 8};
    struct loam_pool_figures figures = {.struct_bytes = 1};
    struct loam_pool *pool;

    (void)state;
    errno = 0;
    assert_null(loam_pool_create_with(&options));
    assert_int_equal(errno, EINVAL);
    assert_null(loam_pool_create_with(NULL));
    assert_null(loam_pool_create(0, 0, NULL));
    assert_null(loam_pool_create(8, 3, NULL));
    assert_null(loam_pool_create(SIZE_MAX, 0, NULL));
    assert_null(loam_pool_create(((size_t)1 << 30) + 1, 0, NULL));
    assert_null(loam_pool_create(8, (size_t)1 << 31, NULL));
    options = (struct loam_pool_options){.struct_bytes = sizeof options, .object_bytes = 8, .batch = SIZE_MAX / 4};
    assert_null(loam_pool_create_with(&options));
    assert_int_equal(errno, EINVAL);
    pool = loam_pool_create((size_t)1 << 30, 0, NULL); /* one a batch */
    assert_int_equal(figures_of(pool).batch, 1);
    assert_int_equal(loam_pool_stats(pool, &figures), -1);
    loam_pool_destroy(pool);
}

/* One bit an object: of 64 KiB of bytes, all but nothing are objects; batches are exactly as large as they hold. */
static void costs_one_bit(void **state)
{
    struct loam_pool *pool = loam_pool_create(1, 0, NULL);
    struct loam_pool_figures figures;
    size_t n = 1000000;

    (void)state;
    assert_int_equal(loam_pool_reserve(pool, n), 0);
    figures = figures_of(pool);
    assert_int_equal(figures.batch, figures.batch_bytes);
    assert_true(figures.held_bytes <= n + n / 8 + n / 8 + 3 * 64 * KIB); /* summaries and whole grains, too */
    for (size_t i = 0; i < n; i++)
        assert_non_null(loam_pool_alloc(pool));
    assert_int_equal(figures_of(pool).batches, figures.batches);
    assert_int_equal(loam_pool_check(pool), 0);
    loam_pool_destroy(pool);
    pool = loam_pool_create(1024, 0, NULL);
    figures = figures_of(pool);
    assert_int_equal(figures.batch, 64);
    assert_int_equal(figures.batch_bytes, 64 * KIB);
    loam_pool_destroy(pool);
}

/* -- walks -- */

struct order {
    char *last[2];
    size_t seen, batch;
    struct loam_pool *pool;
    size_t freed;
};

static void see(void *object, void *arg)
{
    struct order *order = arg;
    uint32_t number = *(uint32_t *)object;

    (void)number;
    if (order->last[0] && (char *)object < order->last[0]) /* a lower address begins another batch */
        order->batch++;
    order->last[0] = object;
    order->seen++;
}

static void free_neighbours(void *object, void *arg)
{
    struct order *order = arg;

    assert_true(loam_pool_owns(order->pool, object));
    order->seen++;
    if (loam_pool_owns(order->pool, (char *)object + 32)) {
        loam_pool_free(order->pool, (char *)object + 32);
        order->freed++;
    }
    loam_pool_free(order->pool, object);
    order->freed++;
    loam_pool_free(order->pool, loam_pool_alloc(order->pool));
}

static int is_odd(void *object, void *arg)
{
    ++*(size_t *)arg;
    return *(uint32_t *)object % 2;
}

static void walks_in_order(void **state)
{
    struct loam_pool_options options = {
        .struct_bytes = sizeof options, .object_bytes = 32, .batch = 128, .source = &counted_source, .keep_bytes = 1};
    struct loam_pool *pool = loam_pool_create_with(&options);
    struct order order = {.pool = pool};
    uint32_t *p[1280];
    size_t asked = 0;

    (void)state;
    loam_pool_each(pool, see, &order);
    assert_int_equal(order.seen, 0);
    for (uint32_t i = 0; i < 1280; i++) {
        p[i] = loam_pool_alloc(pool);
        *p[i] = i;
        assert_true(i % 128 == 0 || p[i] == p[i - 1] + 8); /* fresh batches are used upwards */
    }
    loam_pool_each(pool, see, &order);
    assert_int_equal(order.seen, 1280);
    assert_true(order.batch < 10);
    assert_int_equal(loam_pool_free_if(pool, is_odd, &asked), 640);
    assert_int_equal(asked, 1280);
    assert_int_equal(figures_of(pool).live, 640);
    assert_int_equal(loam_pool_check(pool), 0);
    for (uint32_t i = 0; i < 1280; i++)
        assert_int_equal(loam_pool_owns(pool, p[i]), i % 2 == 0);
    assert_ptr_equal(loam_pool_alloc(pool), p[9 * 128 + 65]); /* the lowest hole of the 64 in use */
    order.seen = 0;
    loam_pool_each(pool, free_neighbours, &order);
    assert_int_equal(order.freed, 641);
    assert_int_equal(figures_of(pool).live, 0);
    assert_int_equal(figures_of(pool).batches, 2); /* one empty one is kept, and one is current */
    assert_int_equal(loam_pool_trim(pool), 2 * 4096);
    assert_int_equal(figures_of(pool).batches, 0);
    assert_int_equal(loam_pool_check(pool), 0);
    loam_pool_destroy(pool);
    assert_int_equal(counted.out_bytes, 0);
}

static void *doomed;

static int is_doomed(void *object, void *arg)
{
    (void)arg;
    return object == doomed;
}

/* One object of a word goes to the recent ones, another straight to its tray: neither may be lost. */
static void frees_by_two_roads(void **state)
{
    struct loam_pool *pool = loam_pool_create(16, 0, NULL);
    void *p[256];

    (void)state;
    assert_int_equal(loam_pool_alloc_batch(pool, 256, p), 256);
    loam_pool_free(pool, p[0]);
    doomed = p[1];
    assert_int_equal(loam_pool_free_if(pool, is_doomed, NULL), 1);
    assert_non_null(loam_pool_alloc(pool));
    assert_int_equal(loam_pool_check(pool), 0);
    loam_pool_destroy(pool);
}

/* -- hooks -- */

static size_t constructed, destructed;

static int construct(void *object, void *arg)
{
    size_t *allowed = arg;

    if (*allowed == 0) {
        errno = EMFILE;
        return -1;
    }
    --*allowed;
    constructed++;
    *(size_t *)object = 0x600d;
    return 0;
}

static void destruct(void *object, void *arg)
{
    (void)arg;
    assert_int_equal(*(size_t *)object, 0x600d);
    *(size_t *)object = 0xdead;
    destructed++;
}

static void constructs_and_destructs(void **state)
{
    size_t allowed = 500, asked = 0;
    struct loam_pool_options options = {.struct_bytes = sizeof options,
        .object_bytes = sizeof(size_t),
        .construct = construct,
        .destruct = destruct,
        .arg = &allowed};
    void *p[600];

    for (options.locked = 0; options.locked < 2; options.locked++) {
        struct loam_pool *pool = loam_pool_create_with(&options);
        size_t made;

        constructed = destructed = 0;
        allowed = 500;
        made = loam_pool_alloc_batch(pool, 600, p);
        assert_int_equal(made, 500);
        assert_int_equal(errno, EMFILE);
        assert_int_equal(figures_of(pool).live, 500);
        loam_pool_free_batch(pool, 100, p);
        assert_int_equal(destructed, 100);
        assert_int_equal(loam_pool_free_if(pool, is_odd, &asked), 400); /* 0x600d */
        assert_int_equal(destructed, 500);
        allowed = 50;
        while (loam_pool_alloc(pool))
            continue;
        loam_pool_reset(pool);
        assert_int_equal(destructed, 550);
        assert_int_equal(constructed, 550);
        assert_int_equal(loam_pool_check(pool), 0);
        loam_pool_destroy(pool);
    }
    (void)state;
}

struct node {
    struct node *child;
};
static struct loam_pool *nodes;

static void destruct_node(void *object, void *arg)
{
    struct node *node = object;

    (void)arg;
    if (node->child)
        loam_pool_free(nodes, node->child);
}

/* A destructor frees what its object holds, by free and by reset. */
static void destructors_free_others(void **state)
{
    struct loam_pool_options options = {
        .struct_bytes = sizeof options, .object_bytes = sizeof(struct node), .destruct = destruct_node, .locked = 1};

    (void)state;
    nodes = loam_pool_create_with(&options);
    for (int round = 0; round < 2; round++) {
        struct node *parent = loam_pool_alloc(nodes);

        for (int i = 0; i < 200; i++) {
            struct node *node = loam_pool_alloc(nodes);

            node->child = NULL;
            parent->child = i % 2 ? parent->child : node; /* every other one is nobody's */
            if (i % 2 == 0)
                parent = node;
        }
        parent->child = NULL;
        loam_pool_reset(nodes);
        assert_int_equal(figures_of(nodes).live, 0);
    }
    loam_pool_destroy(nodes);
}

/* -- batches, reserve, limit, keep -- */

static void batches_of_objects(void **state)
{
    struct loam_pool_options options = {.struct_bytes = sizeof options,
        .object_bytes = 48,
        .source = &counted_source,
        .name = "a name that is too long for it"
                " to be copied as a whole"};
    void *p[1000];

    (void)state;
    for (options.locked = 0; options.locked < 2; options.locked++) {
        struct loam_pool *pool = loam_pool_create_with(&options);

        assert_int_equal(strlen(figures_of(pool).name), 31);
        for (int round = 0; round < 20; round++) {
            size_t n = 1 + (size_t)round * 50;

            assert_int_equal(loam_pool_alloc_batch(pool, n, p), n);
            assert_int_equal(figures_of(pool).live, n);
            for (size_t i = 0; i < n; i++)
                memset(p[i], (int)i, 48);
            for (size_t i = 0; i < n; i++)
                assert_true(
                    ((unsigned char *)p[i])[0] == (unsigned char)i && ((unsigned char *)p[i])[47] == (unsigned char)i);
            assert_int_equal(loam_pool_check(pool), 0);
            loam_pool_free(pool, p[n / 2]);
            p[n / 2] = NULL;
            loam_pool_free_batch(pool, n, p);
            assert_int_equal(figures_of(pool).live, 0);
            assert_int_equal(loam_pool_check(pool), 0);
        }
        assert_int_equal(loam_pool_alloc_batch(pool, 0, p), 0);
        loam_pool_destroy(pool);
    }
}

static void reserve_and_limit(void **state)
{
    struct loam_pool_options options = {
        .struct_bytes = sizeof options, .object_bytes = 100, .source = &counted_source, .limit_bytes = 96 * KIB};
    struct loam_pool *pool = loam_pool_create_with(&options);
    size_t calls, n = 0;

    (void)state;
    assert_int_equal(loam_pool_reserve(pool, 300), 0);
    calls = counted.out_bytes;
    for (int i = 0; i < 300; i++)
        assert_non_null(loam_pool_alloc(pool));
    assert_int_equal(counted.out_bytes, calls);
    errno = 0;
    assert_int_equal(loam_pool_reserve(pool, 5000), -1);
    assert_int_equal(errno, ENOMEM);
    while (loam_pool_alloc(pool))
        n++;
    assert_true(n > 200);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(figures_of(pool).refused, 1);
    assert_true(figures_of(pool).held_bytes <= 96 * KIB && counted.out_bytes == figures_of(pool).held_bytes);
    assert_int_equal(loam_pool_check(pool), 0);
    loam_pool_destroy(pool);
    options.limit_bytes = 100;
    assert_null(loam_pool_create_with(&options));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(counted.out_bytes, 0);
}

/* The inline functions and the others are the same ones, whatever the pool. */
static void inline_or_called(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (int kind = 0; kind < 4; kind++)
        for (size_t size = 1; size < 100000; size = size * 3 + 1) {
            struct loam_pool_options options = {.struct_bytes = sizeof options,
                .object_bytes = size,
                .locked = kind & 1,
                .keep_bytes = kind & 2 ? 1 : 0,
                .source = &counted_source};
            struct loam_pool *pool = loam_pool_create_with(&options);
            unsigned char *p[700] = {NULL};

            for (int step = 0; step < 3000; step++) {
                unsigned char **one = &p[unit_below(&seed, 700)];
                bool inlined = unit_below(&seed, 2) != 0;

                if (!*one) {
                    *one = inlined ? loam_pool_alloc_inline(pool) : loam_pool_alloc(pool);
                    assert_true(loam_pool_owns(pool, *one));
                    **one = (unsigned char)(one - p);
                    continue;
                }
                assert_int_equal(**one, (unsigned char)(one - p));
                if (inlined)
                    loam_pool_free_inline(pool, *one);
                else
                    loam_pool_free(pool, *one);
                assert_false(loam_pool_owns(pool, *one));
                *one = NULL;
                if (step % 100 == 0)
                    assert_int_equal(loam_pool_check(pool), 0);
            }
            loam_pool_free_inline(pool, NULL);
            assert_int_equal(loam_pool_check(pool), 0);
            loam_pool_destroy(pool);
            assert_int_equal(counted.out_bytes, 0);
        }
}

static void keeps_what_it_may(void **state)
{
    struct loam_pool_options options = {.struct_bytes = sizeof options,
        .object_bytes = 64,
        .batch = 64,
        .source = &counted_source,
        .keep_bytes = 5 * 4096};
    struct loam_pool *pool = loam_pool_create_with(&options);
    void *p[640];

    (void)state;
    assert_int_equal(loam_pool_alloc_batch(pool, 640, p), 640);
    assert_int_equal(figures_of(pool).batches, 10);
    for (int i = 0; i < 640; i++) {
        errno = EXDEV;
        loam_pool_free(pool, p[i]);
        assert_int_equal(errno, EXDEV);
    }
    assert_int_equal(figures_of(pool).batches, 6); /* five, and the current one */
    assert_int_equal(figures_of(pool).empty_batches, 6);
    assert_int_equal(loam_pool_trim(pool), 6 * 4096);
    loam_pool_destroy(pool);
}

/* -- failing sources -- */

static void survives_refusals(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (size_t every = 1; every < 12; every++) {
        struct loam_pool *pool;

        counted.calls = 0;
        counted.fail_every = every;
        pool = loam_pool_create(200, 0, &counted_source);
        assert_int_equal(pool != NULL, every > 1);
        if (pool) {
            traffic(pool, seed, 3000, LIVE);
            empty_out(pool);
            loam_pool_reserve(pool, 4000);
            assert_int_equal(loam_pool_check(pool), 0);
        }
        counted.fail_every = 0;
        loam_pool_destroy(pool);
        assert_int_equal(counted.out_bytes, 0);
    }
    counted.skew = 64; /* a source that breaks its promise */
    assert_null(loam_pool_create(200, 0, &counted_source));
    assert_int_equal(errno, EINVAL);
    counted.skew = 0;
    assert_int_equal(counted.out_bytes, 0);
    for (unsigned nth = 1; nth < 40; nth++) {
        struct loam_pool *pool;

        lm_fake_fail_every(LM_OS_MAP, nth % 5 + 1);
        lm_fake_fail_every(LM_OS_COMMIT, nth % 7 + 1);
        pool = loam_pool_create(3000, 0, nth % 2 ? loam_source_os() : NULL);
        if (pool) {
            traffic(pool, nth * 2 + 1, 300, 300);
            assert_int_equal(loam_pool_check(pool), 0);
        }
        lm_fake_reset();
        memset(live, 0, sizeof live);
        loam_pool_destroy(pool);
    }
    assert_int_equal(lm_page_check(), 0);
}

/* Many batches, so that the index grows; freed at random, so that it shrinks by the entry. */
static void many_batches(void **state)
{
    struct loam_pool_options options = {
        .struct_bytes = sizeof options, .object_bytes = 2048, .batch = 2, .source = &counted_source, .keep_bytes = 1};
    struct loam_pool *pool = loam_pool_create_with(&options);
    uint64_t seed = unit_seed();
    void *p[2000];

    (void)state;
    assert_int_equal(loam_pool_alloc_batch(pool, 2000, p), 2000);
    assert_int_equal(figures_of(pool).batches, 1000);
    assert_int_equal(loam_pool_check(pool), 0);
    for (size_t n = 2000; n; n--) {
        size_t i = unit_below(&seed, n);

        loam_pool_free(pool, p[i]);
        p[i] = p[n - 1];
        if (n % 50 == 0)
            assert_int_equal(loam_pool_check(pool), 0);
    }
    loam_pool_trim(pool);
    assert_int_equal(figures_of(pool).batches, 0);
    loam_pool_destroy(pool);
    assert_int_equal(counted.out_bytes, 0);
}

/* -- threads -- */

enum { THREADS = 4, SLOTS = 512 };
static size_t *slot[SLOTS];
static struct loam_pool *common;

static void *passes_on(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;
    void *p[16];

    for (int i = 0; i < 20000; i++) {
        size_t *fresh = loam_pool_alloc(common), *old;

        *fresh = (size_t)fresh;
        old = __atomic_exchange_n(&slot[unit_below(&seed, SLOTS)], fresh, __ATOMIC_ACQ_REL);
        if (old && *old != (size_t)old)
            abort();
        loam_pool_free(common, old);
        if (i % 64 == 0)
            loam_pool_free_batch(common, loam_pool_alloc_batch(common, 16, p), p);
        if (i % 1024 == 0)
            loam_pool_trim(common);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct loam_pool_options options = {
        .struct_bytes = sizeof options, .object_bytes = sizeof(size_t), .locked = 1, .keep_bytes = 1};
    pthread_t thread[THREADS];

    (void)state;
    common = loam_pool_create_with(&options);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, passes_on, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(loam_pool_check(common), 0);
    for (int i = 0; i < SLOTS; i++)
        loam_pool_free(common, slot[i]);
    assert_int_equal(figures_of(common).live, 0);
    loam_pool_destroy(common);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_size_on_every_source),
        cmocka_unit_test(alignment_is_kept), cmocka_unit_test(bad_arguments), cmocka_unit_test(costs_one_bit),
        cmocka_unit_test(walks_in_order), cmocka_unit_test(frees_by_two_roads),
        cmocka_unit_test(constructs_and_destructs), cmocka_unit_test(destructors_free_others),
        cmocka_unit_test(batches_of_objects), cmocka_unit_test(reserve_and_limit), cmocka_unit_test(inline_or_called),
        cmocka_unit_test(keeps_what_it_may), cmocka_unit_test(survives_refusals), cmocka_unit_test(many_batches),
        cmocka_unit_test(many_threads)};

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
