/* Class tables: sizes, resizing, large blocks, the budget, slabs that move, hooks, failing sources, threads. */
#include "block/block.h"
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <loam/classes.h>
#include <pthread.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20, LIVE = 400 };

static struct loam_classes_figures figures_of(struct loam_classes *table)
{
    struct loam_classes_figures figures = {.struct_bytes = sizeof figures};

    assert_int_equal(loam_classes_stats(table, &figures), 0);
    assert_true(figures.held_bytes <= figures.peak_bytes);
    return figures;
}

struct sum {
    size_t slabs, live, last, count, want;
    uint64_t in, out, evicted;
    struct loam_classes_class found; /* the class of `want` bytes */
};

static void add_up(const struct loam_classes_class *class, void *arg)
{
    struct sum *sum = arg;

    assert_true(class->block_bytes > sum->last);
    assert_int_equal(class->live + class->free, class->slabs * class->slab_blocks);
    if (sum->want > sum->last && sum->want <= class->block_bytes)
        sum->found = *class;
    sum->last = class->block_bytes;
    sum->slabs += class->slabs;
    sum->live += class->live;
    sum->in += class->moved_in;
    sum->out += class->moved_out;
    sum->evicted += class->evicted;
    sum->count++;
}

static struct sum sum_of(struct loam_classes *table, size_t want)
{
    struct sum sum = {.want = want};
    struct loam_classes_figures figures = figures_of(table);

    loam_classes_each(table, add_up, &sum);
    assert_int_equal(sum.slabs, figures.slabs);
    assert_int_equal(sum.live, figures.live);
    assert_int_equal(sum.in, sum.out);
    assert_int_equal(sum.in, figures.moved);
    assert_int_equal(sum.count, figures.classes);
    return sum;
}

/* -- a source that counts what is out, and refuses on demand -- */

static struct {
    size_t out_bytes, calls, fail_every;
} counted;

static void *counted_map(void *ctx, size_t bytes, size_t align)
{
    void *p;

    (void)ctx;
    if (counted.fail_every && ++counted.calls % counted.fail_every == 0) {
        errno = ENOMEM;
        return NULL;
    }
    p = aligned_alloc(align, lm_align_up(bytes, align));
    counted.out_bytes += bytes;
    return memset(p, 0xa5, bytes);
}

static void counted_unmap(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    counted.out_bytes -= bytes;
    free(p);
}

static const struct loam_source counted_source = {counted_map, counted_unmap, NULL, &counted};

/* -- traffic -- */

static struct {
    unsigned char *p;
    size_t size;
} live[LIVE];

static void check_block(struct loam_classes *table, size_t i)
{
    assert_int_equal((uintptr_t)live[i].p % 16, 0);
    assert_true(loam_classes_usable_size(table, live[i].p) >= live[i].size);
    if (live[i].size)
        assert_true(live[i].p[0] == (unsigned char)i && live[i].p[live[i].size - 1] == (unsigned char)i);
}

static void stamp(size_t i, size_t size)
{
    live[i].size = size;
    if (size)
        live[i].p[0] = live[i].p[size - 1] = (unsigned char)i;
}

static void step_once(struct loam_classes *table, uint64_t *seed)
{
    static const size_t most[] = {20, 100, 1000, 20000, 70000, 300000};
    size_t i = unit_below(seed, LIVE), size = unit_below(seed, most[unit_below(seed, 6)]), kept;
    unsigned char *p;

    if (!live[i].p) {
        live[i].p = loam_classes_alloc(table, size);
        if (live[i].p)
            stamp(i, size);
        else
            assert_int_equal(errno, ENOMEM);
        return;
    }
    check_block(table, i);
    if (unit_below(seed, 3)) {
        errno = EXDEV;
        loam_classes_free(table, live[i].p);
        assert_int_equal(errno, EXDEV);
        live[i].p = NULL;
        return;
    }
    p = loam_classes_realloc(table, live[i].p, size + 1);
    if (!p) {
        check_block(table, i);
        return;
    }
    kept = lm_min(size + 1, live[i].size);
    if (kept)
        assert_int_equal(p[0], (unsigned char)i);
    live[i].p = p;
    stamp(i, size + 1);
    assert_true(loam_classes_good_size(table, size + 1) <= loam_classes_usable_size(table, p));
}

static void traffic(struct loam_classes *table, uint64_t seed, int steps)
{
    for (int step = 0; step < steps; step++) {
        step_once(table, &seed);
        if (step % 16 == 0)
            assert_int_equal(loam_classes_check(table), 0);
    }
}

static void empty_out(struct loam_classes *table)
{
    for (size_t i = 0; i < LIVE; i++) {
        if (live[i].p)
            check_block(table, i);
        loam_classes_free(table, live[i].p);
        live[i].p = NULL;
    }
    assert_int_equal(loam_classes_check(table), 0);
    assert_int_equal(figures_of(table).live, 0);
    assert_int_equal(figures_of(table).large_blocks, 0);
}

static char fixed_room[16 * MIB];

static void holds_blocks(void **state)
{
    const struct loam_source *sources[] = {
        NULL, loam_source_os(), &counted_source, loam_source_fixed(fixed_room, sizeof fixed_room)};
    struct loam_classes_options options = {.struct_bytes = sizeof options};
    uint64_t seed = unit_seed();

    (void)state;
    for (size_t s = 0; s < 4; s++)
        for (size_t limit = 0; limit <= 4 * MIB; limit += 2 * MIB) {
            struct loam_classes *table;

            options.source = sources[s];
            options.limit_bytes = limit;
            table = loam_classes_create(&options);
            assert_non_null(table);
            traffic(table, seed + s, 4000);
            sum_of(table, 1);
            empty_out(table);
            loam_classes_trim(table);
            assert_int_equal(figures_of(table).slabs, 0);
            traffic(table, seed, 1000);
            if (limit)
                assert_true(figures_of(table).peak_bytes <= limit);
            memset(live, 0, sizeof live);
            loam_classes_reset(table);
            assert_int_equal(loam_classes_check(table), 0);
            assert_int_equal(figures_of(table).slabs + figures_of(table).large_blocks + figures_of(table).live, 0);
            traffic(table, seed, 500);
            memset(live, 0, sizeof live);
            loam_classes_destroy(table);
        }
    assert_int_equal(counted.out_bytes, 0);
    assert_int_equal(loam_source_used_bytes(sources[3]), 0);
    loam_classes_destroy(NULL);
    assert_int_equal(lm_heap_check(), 0);
}

static void sizes_follow_options(void **state)
{
    static const double factors[] = {1.05, 1.25, 1.5, 2, 4};

    (void)state;
    for (size_t f = 0; f < 5; f++)
        for (size_t max = 8; max <= 1 * MIB; max *= 8) {
            struct loam_classes_options options = {
                .struct_bytes = sizeof options, .factor = factors[f], .max_bytes = max, .source = &counted_source};
            struct loam_classes *table = loam_classes_create(&options);
            size_t last = 0;

            assert_non_null(table);
            for (size_t size = 0; size <= max; size += size / 50 + 1) {
                size_t good = loam_classes_good_size(table, size);
                void *p = loam_classes_alloc(table, size);

                assert_true(good >= size && good >= last);
                assert_int_equal(loam_classes_usable_size(table, p), good);
                assert_true(size < 64 || (double)good <= (double)size * factors[f] * 1.34 + 16);
                assert_int_equal(figures_of(table).large_blocks, 0);
                loam_classes_free(table, p);
                last = good;
            }
            assert_non_null(loam_classes_alloc(table, max + 1));
            assert_int_equal(figures_of(table).large_blocks, 1);
            sum_of(table, 1);
            assert_int_equal(loam_classes_check(table), 0);
            loam_classes_destroy(table);
        }
    assert_int_equal(counted.out_bytes, 0);
}

static void bad_arguments(void **state)
{
    const struct loam_classes_options good = {.struct_bytes = sizeof good};
    struct loam_classes_options bad[] = {good, good, good, good, good, good, good, good, good};
    struct loam_classes_figures figures = {.struct_bytes = 0};
    struct loam_classes *table;

    (void)state;
    bad[0].struct_bytes--;
    bad[1].min_bytes = 100;
    bad[1].max_bytes = 50;
    bad[2].factor = 1.001;
    bad[3].factor = -2;
    bad[4].slab_bytes = 100 * KIB;
    bad[5].slab_bytes = 64 * KIB; /* no room for a block of 64 KiB and its cookie */
    bad[6].max_bytes = (size_t)1 << 40;
    bad[7].factor = 1.02;
    bad[7].max_bytes = 16 * MIB; /* more classes than there can be */
    bad[8].factor = 0.0 / 0.0;
    for (int i = 0; i < 9; i++) {
        errno = 0;
        assert_null(loam_classes_create(&bad[i]));
        assert_int_equal(errno, EINVAL);
    }
    table = loam_classes_create(NULL);
    assert_int_equal(loam_classes_stats(table, &figures), -1);
    assert_null(loam_classes_alloc(table, SIZE_MAX));
    assert_int_equal(errno, ENOMEM);
    assert_null(loam_classes_alloc(table, PTRDIFF_MAX));
    assert_int_equal(loam_classes_good_size(table, SIZE_MAX), SIZE_MAX);
    assert_int_equal(loam_classes_usable_size(table, NULL), 0);
    assert_null(loam_classes_realloc(table, loam_classes_alloc(table, 10), 0));
    assert_int_equal(figures_of(table).live, 0);
    loam_classes_destroy(table);
}

static void large_blocks(void **state)
{
    struct loam_classes_options options = {
        .struct_bytes = sizeof options, .limit_bytes = 8 * MIB, .source = &counted_source};
    struct loam_classes *table = loam_classes_create(&options);
    unsigned char *p = loam_classes_alloc(table, 100 * KIB), *q;
    size_t before = figures_of(table).held_bytes;

    (void)state;
    memset(p, 7, 100 * KIB);
    p = loam_classes_realloc(table, p, 2 * MIB);
    for (int i = 0; i < 100 * KIB; i++)
        assert_int_equal(p[i], 7);
    assert_true(figures_of(table).held_bytes >= before + MIB);
    assert_null(loam_classes_realloc(table, p, 9 * MIB));
    assert_null(loam_classes_alloc(table, 7 * MIB));
    assert_int_equal(loam_classes_check(table), 0);
    p = loam_classes_realloc(table, p, 1000); /* into a slab, and out again */
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], 7);
    assert_int_equal(figures_of(table).large_bytes, 0);
    p = loam_classes_realloc(table, p, 70 * KIB);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], 7);
    while ((q = loam_classes_alloc(table, 200 * KIB)) != NULL)
        q[200 * KIB - 1] = 1;
    assert_true(figures_of(table).held_bytes <= 8 * MIB && figures_of(table).held_bytes > 7 * MIB);
    assert_int_equal(loam_classes_check(table), 0);
    loam_classes_destroy(table);
    assert_int_equal(counted.out_bytes, 0);
    assert_int_equal(lm_heap_check(), 0);
}

/* -- slabs that move -- */

enum { MOST = 40000 };
static void *held[MOST];
static int held_count;

static void fill_with(struct loam_classes *table, size_t size)
{
    void *p;

    for (held_count = 0; held_count < MOST && (p = loam_classes_alloc(table, size)) != NULL;)
        held[held_count++] = memset(p, 1, size);
    assert_true(held_count < MOST);
}

static struct loam_classes *budgeted(struct loam_classes_options options)
{
    options.struct_bytes = sizeof options;
    options.limit_bytes = MIB;
    options.max_bytes = 4 * KIB;
    options.slab_bytes = 16 * KIB;
    options.source = &counted_source;
    return loam_classes_create(&options);
}

/* A class that peaked gives back what it no longer uses; without a hook, only that. */
static void empty_slabs_move(void **state)
{
    struct loam_classes *table = budgeted((struct loam_classes_options){.name = "moves"});
    size_t slabs;

    (void)state;
    fill_with(table, 100);
    slabs = sum_of(table, 100).found.slabs;
    assert_true(slabs > 50);
    assert_null(loam_classes_alloc(table, 3000));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(sum_of(table, 3000).found.refused, 1);
    for (int i = 0; i < held_count; i++)
        loam_classes_free(table, held[i]);
    fill_with(table, 3000);
    assert_int_equal(sum_of(table, 3000).found.slabs, slabs);
    assert_int_equal(sum_of(table, 3000).found.moved_in, slabs);
    assert_int_equal(sum_of(table, 100).found.moved_out, slabs);
    assert_int_equal(sum_of(table, 100).found.slabs, 0);
    assert_true(figures_of(table).held_bytes <= MIB && figures_of(table).held_bytes == counted.out_bytes);
    assert_string_equal(figures_of(table).name, "moves");
    for (int i = 0; i < held_count; i++)
        if (i % 2)
            loam_classes_free(table, held[i]);
    assert_null(loam_classes_alloc(table, 100)); /* no slab is empty */
    assert_int_equal(loam_classes_check(table), 0);
    loam_classes_limit(table, 2 * MIB);
    assert_non_null(loam_classes_alloc(table, 100));
    loam_classes_limit(table, 0);
    assert_int_equal(figures_of(table).limit_bytes, SIZE_MAX);
    loam_classes_destroy(table);
}

/* A store that knows its blocks, and frees those of a slab when it is asked to. */
static struct {
    void *block[MOST];
    size_t calls, blocks, pinned, allocated;
    bool refuses;
} store;

static void drop(void *block, size_t bytes, void *arg)
{
    struct loam_classes *table = arg;

    assert_true(bytes >= loam_classes_good_size(table, bytes));
    assert_int_equal(loam_classes_usable_size(table, block), bytes);
    if (*(unsigned char *)block == 0xff) {
        store.pinned++;
        return;
    }
    store.blocks++;
    loam_classes_free(table, block);
}

static void evict(struct loam_classes *table, struct loam_classes_slab *slab, void *arg)
{
    void *p;

    assert_ptr_equal(arg, &store);
    store.calls++;
    assert_true(loam_classes_slab_live(table, slab) > 0);
    if (store.refuses)
        return;
    p = loam_classes_alloc(table, 100); /* never calls the hook again, and never gives from the slab */
    store.allocated += p != NULL;
    loam_classes_slab_each(table, slab, drop, table);
    loam_classes_free(table, p);
    assert_int_equal(loam_classes_check(table), 0);
}

static void hook_empties_slabs(void **state)
{
    struct loam_classes *table = budgeted((struct loam_classes_options){.evict = evict, .arg = &store});
    size_t peaked, n = 0;

    (void)state;
    memset(&store, 0, sizeof store);
    for (int i = 0; i < 20000; i++) /* twice the budget: evicts from its own class */
        assert_non_null(memset(loam_classes_alloc(table, 100), 1, 100));
    peaked = sum_of(table, 100).found.slabs;
    assert_true(peaked > 50 && store.calls > 50);
    assert_int_equal(figures_of(table).moved, 0);
    assert_int_equal(figures_of(table).evictions, store.calls);
    assert_int_equal(sum_of(table, 1).evicted, store.blocks);
    while (sum_of(table, 3000).found.slabs < peaked && n++ < 2000)
        assert_non_null(memset(loam_classes_alloc(table, 3000), 1, 3000));
    assert_int_equal(sum_of(table, 3000).found.slabs, peaked); /* every one that the other had */
    assert_true(n <= peaked * 5);
    assert_true(figures_of(table).held_bytes <= MIB);
    /* Both in turn: both keep their share. */
    for (int i = 0; i < 6000; i++)
        assert_non_null(memset(loam_classes_alloc(table, i % 31 ? 100 : 3000), 1, 100));
    assert_true(sum_of(table, 100).found.slabs > peaked / 4 && sum_of(table, 3000).found.slabs > peaked / 4);
    assert_int_equal(loam_classes_check(table), 0);
    loam_classes_destroy(table);
}

static void slabs_that_stay(void **state)
{
    struct loam_classes *table = budgeted((struct loam_classes_options){.evict = evict, .arg = &store});
    unsigned char *p;

    (void)state;
    memset(&store, 0, sizeof store);
    store.refuses = true;
    fill_with(table, 100);
    assert_int_equal(store.calls, 8);
    assert_null(loam_classes_alloc(table, 3000));
    assert_int_equal(store.calls, 16);
    assert_int_equal(loam_classes_check(table), 0);
    store.refuses = false;
    for (int i = 0; i < 8; i++)
        *(unsigned char *)held[i * 100] = 0xff; /* some cannot be freed: their slabs stay, others move */
    p = loam_classes_alloc(table, 3000);
    assert_non_null(p);
    assert_int_equal(loam_classes_check(table), 0);
    assert_int_equal(sum_of(table, 1).evicted, store.blocks);
    /* What is resized is never in the slab that is emptied for it. */
    for (int i = 0; i < 200; i++) {
        unsigned char *q = loam_classes_alloc(table, 1000);

        assert_non_null(q);
        memset(q, i & 0x7f, 1000);
        q = loam_classes_realloc(table, q, 3500);
        assert_non_null(q);
        assert_true(q[0] == (i & 0x7f) && q[999] == (i & 0x7f));
    }
    assert_int_equal(loam_classes_check(table), 0);
    /* Large blocks get what slabs hold. */
    p = loam_classes_alloc(table, 300 * KIB);
    assert_non_null(p);
    assert_true(figures_of(table).held_bytes <= MIB);
    loam_classes_destroy(table);
    assert_int_equal(counted.out_bytes, 0);
}

/* -- failing sources -- */

static void survives_refusals(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (size_t every = 1; every < 15; every++) {
        struct loam_classes_options options = {.struct_bytes = sizeof options,
            .source = &counted_source,
            .limit_bytes = every % 2 ? 0 : 3 * MIB,
            .evict = NULL};
        struct loam_classes *table;

        counted.calls = 0;
        counted.fail_every = every;
        lm_fake_fail_every(LM_OS_COMMIT, every);
        table = loam_classes_create(&options);
        assert_int_equal(table != NULL, every > 1);
        if (table) {
            traffic(table, seed + every, 2000);
            empty_out(table);
        }
        counted.fail_every = 0;
        lm_fake_reset();
        loam_classes_destroy(table);
        assert_int_equal(counted.out_bytes, 0);
    }
    assert_int_equal(lm_heap_check(), 0);
}

/* -- threads -- */

enum { THREADS = 4, SLOTS = 2000 };
static unsigned char *slot[SLOTS];
static struct loam_classes *common;

static void drop_shared(void *block, size_t bytes, void *arg)
{
    (void)bytes;
    (void)arg;
    for (int i = 0; i < SLOTS; i++) {
        unsigned char *seen = block;

        if (__atomic_compare_exchange_n(&slot[i], &seen, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            loam_classes_free(common, block);
            return;
        }
    } /* in some thread's hands just now */
}

static void evict_shared(struct loam_classes *table, struct loam_classes_slab *slab, void *arg)
{
    loam_classes_slab_each(table, slab, drop_shared, arg);
}

static void *passes_on(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;

    for (int i = 0; i < 6000; i++) {
        size_t size = 1 + unit_below(&seed, i / 1000 % 2 ? 200 : 3000);
        unsigned char *fresh = loam_classes_alloc(common, size), *old;

        if (!fresh)
            continue;
        memset(fresh, (int)size, size);
        old = __atomic_exchange_n(&slot[unit_below(&seed, SLOTS)], fresh, __ATOMIC_ACQ_REL);
        loam_classes_free(common, old);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct loam_classes_options options = {.struct_bytes = sizeof options,
        .max_bytes = 4 * KIB,
        .slab_bytes = 64 * KIB,
        .limit_bytes = 2 * MIB,
        .source = loam_source_os(),
        .locked = 1,
        .evict = evict_shared};
    pthread_t thread[THREADS];

    (void)state;
    common = loam_classes_create(&options);
    assert_non_null(common);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, passes_on, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(loam_classes_check(common), 0);
    assert_true(figures_of(common).evictions > 0);
    for (int i = 0; i < SLOTS; i++)
        loam_classes_free(common, slot[i]);
    assert_int_equal(figures_of(common).live, 0);
    loam_classes_destroy(common);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(holds_blocks), cmocka_unit_test(sizes_follow_options),
        cmocka_unit_test(bad_arguments), cmocka_unit_test(large_blocks), cmocka_unit_test(empty_slabs_move),
        cmocka_unit_test(hook_empties_slabs), cmocka_unit_test(slabs_that_stay), cmocka_unit_test(survives_refusals),
        cmocka_unit_test(many_threads)};

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
