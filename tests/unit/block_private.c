/* Private heaps: blocks, quotas and shares, sources, threads. */
#include "block/block.h"
#include "heap/room.h"
#include "os/fake.h"
#include "step.h"
#include "unit.h"

#include <errno.h>
#include <loam/heap.h>
#include <pthread.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20, LIVE = 300 };

static size_t used(struct loam_heap *heap)
{
    struct loam_heap_figures figures = {.struct_bytes = sizeof figures};

    assert_int_equal(loam_heap_stats(heap, &figures), 0);
    assert_true(figures.peak_bytes >= figures.used_bytes);
    return figures.used_bytes;
}

static size_t any_size(uint64_t *seed)
{
    static const size_t most[] = {64, 600, 9000, 70000, 400000};

    return unit_below(seed, most[unit_below(seed, 100) % 5]);
}

/* Random traffic with contents that are checked; everything may be refused, nothing may be damaged. */
static void traffic(struct loam_heap *heap, uint64_t seed, int steps, bool empty)
{
    struct {
        unsigned char *p;
        size_t size;
    } live[LIVE] = {{NULL, 0}};

    for (int step = 0; step < steps; step++) {
        size_t i = unit_below(&seed, LIVE), size = any_size(&seed);
        unsigned char *p;

        if (!live[i].p) {
            p = unit_below(&seed, 4) ? loam_heap_malloc(heap, size)
                                     : loam_heap_aligned_alloc(heap, (size_t)1 << unit_below(&seed, 18), size);
        } else if (unit_below(&seed, 3) == 0) {
            p = loam_heap_realloc(heap, live[i].p, size + 1);
            size++;
            if (p && live[i].size && size)
                assert_int_equal(p[0], (unsigned char)i);
        } else {
            if (live[i].size)
                assert_true(live[i].p[0] == (unsigned char)i && live[i].p[live[i].size - 1] == (unsigned char)i);
            lm_heap_free(live[i].p);
            live[i].p = NULL;
            continue;
        }
        if (!p) {
            assert_int_equal(errno, ENOMEM);
            continue;
        }
        assert_ptr_equal(loam_heap_of(p), heap);
        assert_true(lm_heap_usable(p) >= size);
        live[i].p = p;
        live[i].size = size;
        if (size)
            p[0] = p[size - 1] = (unsigned char)i;
    }
    for (int i = 0; empty && i < LIVE; i++)
        lm_heap_free(live[i].p);
}

static void holds_blocks(void **state)
{
    struct loam_heap *heap = loam_heap_create(NULL);
    uint64_t seed = unit_seed();

    (void)state;
    for (int round = 0; round < 5; round++) {
        traffic(heap, seed + (uint64_t)round, 5000, round % 2);
        assert_int_equal(loam_heap_check(heap), 0);
        if (round % 2)
            assert_int_equal(loam_heap_check(heap), 0);
    }
    assert_true(used(heap) > 0);
    loam_heap_reset(heap);
    assert_int_equal(used(heap), 0);
    assert_int_equal(loam_heap_check(heap), 0);
    traffic(heap, seed, 3000, true);
    assert_int_equal(used(heap), 0);
    assert_null(loam_heap_of(NULL));
    assert_null(loam_heap_of(lm_heap_malloc(10, NULL)));
    loam_heap_destroy(heap);
    loam_heap_destroy(NULL);
    assert_int_equal(lm_heap_check(), 0);
}

/* Destroying gives every byte back to the arena, whatever was live. */
static void destroys_at_once(void **state)
{
    struct lm_page_stats before, after;

    (void)state;
    loam_heap_destroy(loam_heap_create(NULL)); /* the first one's own memory stays for the next */
    lm_page_stats(&before);
    for (int round = 0; round < 20; round++) {
        struct loam_heap *heap = loam_heap_create(NULL);

        traffic(heap, (uint64_t)round * 2 + 1, 2000, false);
        loam_heap_destroy(heap);
    }
    lm_page_stats(&after);
    assert_int_equal(after.used_bytes, before.used_bytes);
    assert_int_equal(lm_heap_check(), 0);
}

static size_t held(struct loam_heap *heap)
{
    struct loam_heap_figures figures = {.struct_bytes = sizeof figures};

    assert_int_equal(loam_heap_stats(heap, &figures), 0);
    return figures.held_bytes;
}

/* A reset keeps a little, which serves the next blocks, and which a trim or a destruction gives back. */
static void resets_to_as_new(void **state)
{
    struct loam_heap *heap = loam_heap_create(NULL);
    struct lm_page_stats before, after;
    uint64_t seed = unit_seed();
    size_t kept;

    (void)state;
    lm_page_stats(&before);
    for (int round = 0; round < 10; round++) {
        traffic(heap, seed + (uint64_t)round, 3000, false);
        loam_heap_reset(heap);
        assert_int_equal(loam_heap_check(heap), 0);
        assert_int_equal(used(heap), 0);
        kept = held(heap);
        assert_true(kept > 0 && kept <= 2 * MIB);
        assert_non_null(loam_heap_malloc(heap, 64));
        assert_int_equal(held(heap), kept);
        assert_int_equal(lm_page_check(), 0);
    }
    loam_heap_reset(heap);
    lm_privates_release();
    assert_int_equal(held(heap), 0);
    traffic(heap, seed, 3000, false);
    lm_privates_release();
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_reset(heap);
    loam_heap_destroy(heap);
    lm_page_stats(&after);
    assert_int_equal(after.used_bytes, before.used_bytes);
}

static void keeps_its_quota(void **state)
{
    struct loam_heap_options options = {.struct_bytes = sizeof options, .quota_bytes = MIB, .name = "tenant"};
    struct loam_heap *heap = loam_heap_create(&options);
    struct loam_heap_figures figures = {.struct_bytes = sizeof figures};
    void *p[64], *q;
    int n = 0;

    (void)state;
    errno = 0;
    while (n < 64 && (p[n] = loam_heap_malloc(heap, 32 * KIB)) != NULL)
        n++;
    assert_int_equal(n, 32);
    assert_int_equal(errno, ENOMEM);
    assert_null(loam_heap_malloc(heap, 1));
    assert_null(loam_heap_realloc(heap, p[0], 100 * KIB));
    assert_int_equal(lm_heap_usable(p[0]), 32 * KIB);
    lm_heap_free(p[--n]);
    q = loam_heap_malloc(heap, 16 * KIB);
    assert_non_null(q);
    loam_heap_stats(heap, &figures);
    assert_string_equal(figures.name, "tenant");
    assert_int_equal(figures.quota_bytes, MIB);
    assert_int_equal(figures.used_bytes, MIB - 16 * KIB);
    assert_int_equal(figures.peak_bytes, MIB);
    assert_int_equal(figures.refused, 3);
    assert_int_equal(loam_heap_limit(heap, 2 * MIB, 0), 0);
    assert_non_null(loam_heap_malloc(heap, MIB));
    assert_null(loam_heap_calloc(heap, SIZE_MAX / 2, 3));
    assert_null(loam_heap_malloc(heap, SIZE_MAX));
    assert_null(loam_heap_aligned_alloc(heap, 3, 1));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_destroy(heap);
}

static void *asked_for; /* the borrower's block that the hook gives up */
static int asked;

static void give_up(struct loam_heap *heap, size_t bytes, void *arg)
{
    (void)bytes;
    assert_ptr_equal(arg, &asked);
    assert_ptr_equal(loam_heap_of(asked_for), heap);
    asked++;
    lm_heap_free(asked_for);
    asked_for = NULL;
}

static struct loam_heap *child_of(struct loam_heap *parent, size_t quota, size_t share, bool hook)
{
    struct loam_heap_options options = {
        .struct_bytes = sizeof options, .parent = parent, .quota_bytes = quota, .share_bytes = share};

    if (hook) {
        options.reclaim = give_up;
        options.arg = &asked;
    }
    return loam_heap_create(&options);
}

static void shares_are_lent_and_come_back(void **state)
{
    struct loam_heap *parent = child_of(NULL, MIB, 0, false);
    struct loam_heap *lender = child_of(parent, 0, 512 * KIB, false), *borrower = child_of(parent, 0, 256 * KIB, false);
    struct loam_heap *small = child_of(parent, 128 * KIB, 128 * KIB, false);
    void *p[16], *q;
    int n = 0;

    (void)state;
    assert_non_null(small);
    assert_null(child_of(parent, 0, 256 * KIB, false)); /* the shares would be more than there is */
    assert_int_equal(errno, EINVAL);
    assert_int_equal(loam_heap_limit(parent, 512 * KIB, 0), -1);
    assert_int_equal(loam_heap_limit(lender, 0, MIB), -1);
    while (n < 16 && (p[n] = loam_heap_malloc(borrower, 64 * KIB)) != NULL)
        n++;
    assert_int_equal(n, 16); /* all of it, while nobody else wants any */
    assert_null(loam_heap_malloc(lender, 64 * KIB));
    lm_heap_free(p[--n]);
    lm_heap_free(p[--n]);
    assert_null(loam_heap_malloc(borrower, 64 * KIB)); /* what came free is the lender's */
    q = loam_heap_malloc(lender, 64 * KIB);
    assert_non_null(q);
    p[n] = loam_heap_malloc(borrower, 64 * KIB); /* served: nobody wants any more */
    assert_non_null(p[n]);
    assert_non_null(p[0]);
    assert_null(loam_heap_malloc(small, 256 * KIB)); /* its own quota */
    assert_int_equal(used(parent), MIB);
    loam_heap_reset(borrower);
    assert_int_equal(used(parent), 64 * KIB);
    assert_int_equal(loam_heap_check(parent), 0);
    loam_heap_destroy(lender);
    assert_int_equal(used(parent), 0);
    loam_heap_destroy(parent); /* and the other two */
}

static void borrowers_are_asked(void **state)
{
    struct loam_heap *parent = child_of(NULL, MIB, 0, false);
    struct loam_heap *lender = child_of(parent, 0, 512 * KIB, false), *borrower = child_of(parent, 0, 0, true);

    (void)state;
    asked = 0;
    asked_for = loam_heap_malloc(borrower, MIB);
    assert_non_null(asked_for);
    assert_non_null(loam_heap_malloc(lender, 100 * KIB));
    assert_int_equal(asked, 1);
    assert_null(loam_heap_malloc(lender, MIB)); /* above its share: nobody is asked */
    assert_int_equal(asked, 1);
    loam_heap_destroy(parent);
}

/* What is charged ahead is no part of what is used, and refuses nobody. */
static void counts_to_the_byte(void **state)
{
    enum { SIZE = 48, MOST = MIB / SIZE };
    static void *p[MOST + 1];
    struct loam_heap *heap = child_of(NULL, MIB, 0, false);
    struct loam_heap_figures figures = {.struct_bytes = sizeof figures};
    int n = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        while ((p[n] = loam_heap_malloc(heap, SIZE)) != NULL) {
            n++;
            assert_int_equal(used(heap), n * SIZE);
            if (n % 997 == 0)
                assert_int_equal(loam_heap_check(heap), 0);
        }
        assert_int_equal(n, MOST);
        loam_heap_stats(heap, &figures);
        assert_int_equal(figures.peak_bytes, MOST * SIZE);
        assert_int_equal(figures.refused, round + 1);
        while (n > (round == 0 ? 1000 : 0))
            lm_heap_free(p[--n]);
        assert_int_equal(used(heap), n * SIZE);
        assert_int_equal(loam_heap_check(heap), 0);
    }
    loam_heap_destroy(heap);

    heap = loam_heap_create(NULL);
    for (n = 0; n < 2000; n++)
        p[n] = loam_heap_malloc(heap, SIZE);
    for (n = 0; n < 1500; n++)
        lm_heap_free(p[n]);
    for (n = 0; n < 1000; n++)
        p[n] = loam_heap_malloc(heap, SIZE);
    loam_heap_stats(heap, &figures);
    assert_int_equal(figures.used_bytes, 1500 * SIZE);
    assert_int_equal(figures.peak_bytes, 2000 * SIZE);
    loam_heap_destroy(heap);
}

static void credit_is_called_in(void **state)
{
    enum { SIZE = 64, MOST = MIB / SIZE };
    static void *p[MOST + 1];
    struct loam_heap *parent = child_of(NULL, MIB, 0, false);
    struct loam_heap *child[8], *greedy = child_of(parent, 0, 0, false);
    int n = 0;

    (void)state;
    for (int i = 0; i < 8; i++) {
        child[i] = child_of(parent, 0, 0, false);
        assert_non_null(loam_heap_malloc(child[i], SIZE)); /* and some is charged ahead */
    }
    assert_int_equal(used(parent), 8 * SIZE);
    while ((p[n] = loam_heap_malloc(greedy, SIZE)) != NULL)
        n++;
    assert_int_equal(n, MOST - 8);
    assert_int_equal(used(parent), MIB);
    assert_null(loam_heap_malloc(child[3], 1));
    lm_heap_free(p[--n]);
    assert_non_null(loam_heap_malloc(child[3], 1));
    for (int i = 0; i < 8; i++)
        assert_int_equal(loam_heap_check(child[i]), 0);
    assert_int_equal(loam_heap_check(greedy), 0);
    assert_int_equal(loam_heap_check(parent), 0);
    while (n > 0)
        lm_heap_free(p[--n]);
    assert_int_equal(used(greedy), 0);
    for (int i = 0; i < 100; i++)
        assert_non_null(loam_heap_malloc(greedy, SIZE));
    assert_int_equal(
        loam_heap_limit(greedy, (size_t)100 * SIZE, 0), 0); /* what was charged ahead is no way around it */
    assert_null(loam_heap_malloc(greedy, SIZE));
    loam_heap_destroy(parent);
}

/* The thread that a heap leans to, and others, in turns and at once. */
static void *takes_some(void *arg)
{
    struct loam_heap *heap = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&heap | 1;
    void *p[100];

    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 100; i++)
            p[i] = loam_heap_malloc(heap, unit_below(&seed, 300));
        for (int i = 0; i < 100; i++)
            lm_heap_free(p[i]);
    }
    return NULL;
}

static void leans_to_one_after_the_other(void **state)
{
    struct loam_heap *heap = loam_heap_create(NULL);
    pthread_t thread[3];

    (void)state;
    for (int round = 0; round < 20; round++) {
        takes_some(heap);
        for (int i = 0; i < 1 + round % 3; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, takes_some, heap), 0);
        if (round % 2)
            takes_some(heap);
        for (int i = 0; i < 1 + round % 3; i++)
            assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(used(heap), 0);
        assert_int_equal(loam_heap_check(heap), 0);
    }
    loam_heap_destroy(heap);
}

enum { TENANTS = 3, TENANT_QUOTA = 300 * KIB };

static size_t tenants_have; /* never more than is live */

static void *is_a_tenant(void *arg)
{
    struct loam_heap *heap = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&heap | 1;
    void *p[500] = {NULL};

    for (int step = 0; step < 30000; step++) {
        size_t i = unit_below(&seed, 500);

        __atomic_fetch_sub(&tenants_have, lm_heap_usable(p[i]), __ATOMIC_SEQ_CST);
        lm_heap_free(p[i]);
        p[i] = loam_heap_malloc(heap, unit_below(&seed, 1000));
        if (__atomic_add_fetch(&tenants_have, lm_heap_usable(p[i]), __ATOMIC_SEQ_CST) > TENANT_QUOTA)
            return "above the quota";
        if (step % 1000 == 0)
            used(heap);
    }
    return NULL;
}

/* A quota is kept by all below it together, whoever is refused. */
static void tenants_share_a_quota(void **state)
{
    struct loam_heap *parent = child_of(NULL, TENANT_QUOTA, 0, false), *child[TENANTS];
    struct loam_heap_figures figures = {.struct_bytes = sizeof figures};
    pthread_t thread[TENANTS];
    void *fault;
    uint64_t refused = 0;

    (void)state;
    for (int i = 0; i < TENANTS; i++) {
        child[i] = child_of(parent, 0, TENANT_QUOTA / TENANTS, false);
        assert_int_equal(pthread_create(&thread[i], NULL, is_a_tenant, child[i]), 0);
    }
    for (int i = 0; i < 200; i++)
        used(parent);
    for (int i = 0; i < TENANTS; i++) {
        assert_int_equal(pthread_join(thread[i], &fault), 0);
        assert_null(fault);
    }
    for (int i = 0; i < TENANTS; i++) {
        assert_int_equal(loam_heap_check(child[i]), 0);
        loam_heap_stats(child[i], &figures);
        refused += figures.refused;
    }
    assert_true(refused > 0); /* together they want more than twice as much */
    assert_int_equal(loam_heap_check(parent), 0);
    loam_heap_reset(parent);
    assert_int_equal(used(parent), 0);
    loam_heap_destroy(parent);
}

static char room[32 << 20];

static void sits_on_a_source(void **state)
{
    const struct loam_source *source = loam_source_fixed(room, sizeof room);
    struct loam_heap_options options = {.struct_bytes = sizeof options, .source = source};
    struct loam_heap *heap = loam_heap_create(&options), *other = loam_heap_create(&options);
    uint64_t seed = unit_seed();
    size_t before = lm_fake_mapped_bytes();
    char *p;

    (void)state;
    for (int round = 0; round < 10; round++) {
        traffic(heap, seed + (uint64_t)round, 500, true);
        traffic(other, seed, 200, true);
        assert_int_equal(loam_heap_check(heap), 0);
        loam_heap_reset(heap);
        for (size_t size = 1; size < MIB; size *= 3) {
            p = loam_heap_malloc(heap, size);
            assert_true(p >= room && p + size <= room + sizeof room);
        }
        assert_int_equal(loam_heap_check(heap), 0);
        assert_int_equal(lm_page_check(), 0);
        loam_heap_reset(heap);
    }
    assert_null(loam_heap_malloc(heap, sizeof room));
    assert_int_equal(errno, ENOMEM);
    loam_heap_destroy(heap);
    loam_heap_destroy(other);
    assert_int_equal(loam_source_used_bytes(source), 0);
    assert_true(lm_fake_mapped_bytes() <= before + (1 << 20)); /* the arena's own growth at most */

    options.source = loam_source_os();
    heap = loam_heap_create(&options);
    traffic(heap, seed, 2000, false);
    lm_fake_fail_from(LM_OS_MAP, 1);
    traffic(heap, seed, 20000, true);
    lm_fake_reset();
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_destroy(heap);
    assert_int_equal(lm_page_check(), 0);
}

static void survives_refusals(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 60; nth++) {
        struct loam_heap *heap;

        lm_fake_fail_every(LM_OS_COMMIT, nth % 7 + 1);
        lm_fake_fail_nth(LM_OS_RESERVE, nth);
        heap = loam_heap_create(NULL);
        if (heap) {
            traffic(heap, nth * 2 + 1, 300, nth % 2);
            assert_int_equal(loam_heap_check(heap), 0);
            loam_heap_destroy(heap);
        }
        lm_fake_reset();
    }
    assert_int_equal(lm_heap_check(), 0);
}

enum { THREADS = 4, SLOTS = 256 };
static void *slot[SLOTS];
static struct loam_heap *common_heap;

static void *passes_on(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2 + 1;

    for (int i = 0; i < 30000; i++) {
        void *fresh = loam_heap_malloc(common_heap, unit_below(&seed, 500));
        void *old = __atomic_exchange_n(&slot[unit_below(&seed, SLOTS)], fresh, __ATOMIC_ACQ_REL);

        lm_heap_free(old); /* mostly another thread's */
    }
    return NULL;
}

static void many_threads(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    common_heap = loam_heap_create(NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, passes_on, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(loam_heap_check(common_heap), 0);
    for (int i = 0; i < SLOTS; i++)
        lm_heap_free(slot[i]);
    assert_int_equal(used(common_heap), 0);
    loam_heap_destroy(common_heap);
}

/* A steady heap has what it was made with: no call to the OS later, and ENOMEM at the end of it. */
static void steady_asks_for_no_more(void **state)
{
    struct loam_heap_options options = {
        .struct_bytes = sizeof options, .policy = LOAM_HEAP_STEADY, .reserve_bytes = 32 << 20};
    struct loam_heap *heap = loam_heap_create(&options);
    uint64_t calls = 0, calls_after = 0;
    struct lm_os_counter os[LM_OS_CALLS];
    size_t got = 0, again = 0;

    (void)state;
    assert_non_null(heap);
    lm_os_counters(os);
    for (int i = 0; i < LM_OS_CALLS; i++)
        calls += os[i].calls + os[i].failed;
    for (size_t size = 1; loam_heap_malloc(heap, size); size = size * 7 % 60013)
        got += size;
    assert_int_equal(errno, ENOMEM);
    assert_true(got > 16 << 20);
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_reset(heap);
    for (size_t size = 1; loam_heap_malloc(heap, size); size = size * 7 % 60013)
        again += size;
    assert_true(again > 16 << 20);
    lm_os_counters(os);
    for (int i = 0; i < LM_OS_CALLS; i++)
        calls_after += os[i].calls + os[i].failed;
    assert_int_equal(calls, calls_after);
    loam_heap_destroy(heap);
    assert_int_equal(lm_page_check(), 0);
}

/* A lean heap returns pages that are free inside its slabs; the others' contents stay. */
static void lean_returns_holes(void **state)
{
    enum { COUNT = 8000, SIZE = 400 };
    static unsigned char *blocks[COUNT];
    struct loam_heap_options options = {.struct_bytes = sizeof options, .policy = LOAM_HEAP_LEAN};
    struct loam_heap *heap = loam_heap_create(&options);
    struct lm_os_counter before[LM_OS_CALLS], after[LM_OS_CALLS];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = loam_heap_malloc(heap, SIZE);
        memset(blocks[i], i, SIZE);
    }
    lm_os_counters(before);
    for (int i = 0; i < COUNT; i++)
        if (i % 64)
            lm_heap_free(blocks[i]);
    lm_os_counters(after);
    assert_true(after[LM_OS_PURGE].bytes - before[LM_OS_PURGE].bytes > COUNT * SIZE / 2);
    assert_int_equal(loam_heap_check(heap), 0);
    for (int i = 0; i < COUNT; i += 64)
        for (int k = 0; k < SIZE; k++)
            assert_int_equal(blocks[i][k], i & 0xff);
    for (int i = 0; i < COUNT; i++)
        if (i % 64) {
            blocks[i] = loam_heap_malloc(heap, SIZE);
            memset(blocks[i], 1, SIZE);
        }
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_destroy(heap);
}

static void policies_are_checked(void **state)
{
    struct loam_heap_options options = {.struct_bytes = sizeof options, .policy = LOAM_HEAP_STEADY};
    struct loam_heap *heap;

    (void)state;
    assert_null(loam_heap_create(&options)); /* without a reserve */
    assert_int_equal(errno, EINVAL);
    options.policy = LOAM_HEAP_LEAN;
    options.reserve_bytes = 1 << 20;
    assert_null(loam_heap_create(&options));
    options.policy = (enum loam_heap_policy)77;
    options.reserve_bytes = 0;
    assert_null(loam_heap_create(&options));
    options.policy = LOAM_HEAP_SINGLE;
    heap = loam_heap_create(&options);
    assert_non_null(heap);
    for (size_t size = 0; size < 100000; size += 777) {
        void *p = loam_heap_malloc(heap, size), *q = loam_heap_malloc(heap, size);

        assert_true(p && q);
        lm_heap_free(p);
    }
    assert_int_equal(loam_heap_check(heap), 0);
    loam_heap_destroy(heap);
}

/* -- what others see of slabs that go ---------------------------------------------------------------------------- */

enum { WALK_STRIDE = LOAM_DEBUG ? 41 : 13 }; /* of so many instructions one; all with LOAM_CHECK_ALL */

static size_t walked_size;                        /* of the objects of the slabs in question */
static unsigned walked_objects, walks, bad_walks; /* live in them at first */
static long walk_stride;

static void see_slab(struct lm_span *span, void *arg)
{
    unsigned live;

    if (span->kind < LM_SLAB_CURRENT || lm_slab_object_size(span) != walked_size)
        return;
    live = span->carved - lm_slab_count_free(span);
    *(unsigned *)arg += live;
    bad_walks += live == 0 || lm_slab_is_mailed(span);
}

/* As another thread that gathers figures while this one is stopped. */
static bool walk_here(long step)
{
    unsigned live = 0;

    if (step % walk_stride || lm_lock_is_mine(&lm_page_lock) || lm_lock_is_mine(&lm_meta_lock))
        return true;
    lm_page_each(see_slab, &live);
    walks++;
    return true;
}

/* Whoever walks all slabs while a heap is emptied finds each as it was or not at all. */
static void slabs_are_whole_while_they_go(void **state)
{
    struct loam_heap *heap = loam_heap_create(NULL);
    void *p = loam_heap_malloc(heap, 12000);

    (void)state;
    assert_non_null(p);
    walk_stride = getenv("LOAM_CHECK_ALL") ? 1 : WALK_STRIDE;
    walked_size = lm_slab_object_size(lm_block_span(p, "free"));
    walked_objects = walks = bad_walks = 0;
    for (int i = 1; i < 60; i++)
        assert_non_null(loam_heap_malloc(heap, 12000));
    lm_page_each(see_slab, &walked_objects);
    assert_int_equal(walked_objects, 60);
    if (!step_start(walk_here))
        print_message("no trap flag: no walk\n");
    STEP_ON();
    loam_heap_destroy(heap);
    STEP_OFF();
    printf("%u walks\n", walks);
    assert_int_equal(bad_walks, 0);
    assert_int_equal(lm_heap_check(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steady_asks_for_no_more), cmocka_unit_test(lean_returns_holes),
        cmocka_unit_test(policies_are_checked), cmocka_unit_test(holds_blocks), cmocka_unit_test(destroys_at_once),
        cmocka_unit_test(resets_to_as_new), cmocka_unit_test(keeps_its_quota),
        cmocka_unit_test(shares_are_lent_and_come_back), cmocka_unit_test(borrowers_are_asked),
        cmocka_unit_test(counts_to_the_byte), cmocka_unit_test(credit_is_called_in),
        cmocka_unit_test(leans_to_one_after_the_other), cmocka_unit_test(tenants_share_a_quota),
        cmocka_unit_test(sits_on_a_source), cmocka_unit_test(survives_refusals), cmocka_unit_test(many_threads),
        cmocka_unit_test(slabs_are_whole_while_they_go)};

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
