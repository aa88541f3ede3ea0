#include "slab/slab.h"
#include "unit.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int owner; /* any address will do */

static void classes_fit(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        const struct lm_class *class = &lm_class[c];
        size_t bytes = class->granules * LM_GRANULE;

        assert_int_equal(class->size % 16, 0);
        assert_true(class->capacity * class->size <= bytes);
        assert_true((size_t)(class->colours - 1) * class->colour_step + class->capacity * class->size <= bytes);
        if (c >= 8)
            assert_true(class->size - lm_class[c - 1].size <= lm_class[c - 1].size / 8);
        if (class->size > 8192)
            assert_true(class->capacity >= 8);
    }
    assert_int_equal(lm_class[LM_CLASSES - 1].size, LM_SLAB_MAX);
    for (size_t size = 0; size <= LM_SLAB_MAX; size++) {
        unsigned c = lm_class_of(size);

        assert_true(lm_class[c].size >= size);
        assert_true(c == 0 || lm_class[c - 1].size < size);
    }
}

/* Every address of a granule, for every class: the multiplication agrees with a division. */
static void boundaries_are_exact(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c++) {
        struct lm_span *slab = lm_slab_create(c, c, &owner);
        size_t size = lm_class[c].size;
        char *start = lm_span_start(slab);

        for (char *p = start; p < start + LM_GRANULE; p++) {
            char *first = lm_slab_object(slab, 1);
            bool starts = p >= first && (size_t)(p - first) % size == 0;
            uint64_t n;

            if ((lm_slab_number(slab, p, &n) && n != 0) != starts)
                fail_msg("size %zu, offset %td", size, p - start);
            if (starts)
                assert_ptr_equal(lm_slab_object(slab, (uint32_t)n), p);
        }
        assert_int_equal((uintptr_t)slab->origin % (size & -size), 0); /* natural alignment */
        lm_slab_free(slab);
    }
}

static void colours_differ(void **state)
{
    unsigned c = lm_class_of(1100);
    struct lm_span *a = lm_slab_create(c, 0, &owner), *b = lm_slab_create(c, 1, &owner);

    (void)state;
    assert_true(lm_class[c].colours > 1);
    assert_true(a->origin - (char *)lm_span_start(a) != b->origin - (char *)lm_span_start(b));
    lm_slab_free(a);
    lm_slab_free(b);
}

/* The next object: from the list, or carved. */
static void *take(struct lm_span *slab)
{
    void *p = lm_slab_pop(slab);
    bool zeroed;

    if (!p && lm_slab_object_size(slab) >= lm_os_page_size())
        p = lm_slab_carve_one(slab, &zeroed);
    else if (!p && lm_slab_carve(slab, UINT_MAX))
        p = lm_slab_pop(slab);
    return p;
}

/* Every object once, in the order of their addresses; and again when they have been put back. */
static void hands_out_all_once(void **state)
{
    (void)state;
    for (unsigned c = 0; c < LM_CLASSES; c += 7) {
        struct lm_span *slab = lm_slab_create(c, c, &owner);
        unsigned capacity = lm_class[c].capacity;

        for (int round = 0; round < 2; round++) {
            for (uint32_t n = 1; n <= capacity; n++) {
                void *p = take(slab);

                assert_ptr_equal(p, lm_slab_object(slab, n));
                assert_false(lm_slab_is_free(slab, p));
                assert_int_equal(lm_slab_check(slab), 0);
                assert_int_equal(lm_slab_count_free(slab), slab->carved - n);
            }
            assert_null(take(slab));
            for (uint32_t n = capacity; n >= 1; n--) {
                lm_slab_put(slab, lm_slab_object(slab, n));
                assert_true(lm_slab_is_free(slab, lm_slab_object(slab, n)));
            }
            assert_int_equal(lm_slab_check(slab), 0);
        }
        lm_slab_free(slab);
    }
}

/* Random takes and puts beside a table that knows what is live; a list that was lost is made anew from the links. */
static void takes_what_is_free(void **state)
{
    enum { SIZE_CLASS = 5, STEPS = 20000 };
    struct lm_span *slab = lm_slab_create(SIZE_CLASS, 1, &owner);
    unsigned capacity = lm_class[SIZE_CLASS].capacity, live = 0;
    static char is_live[4097];
    uint64_t seed = unit_seed(), n;

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        if (unit_below(&seed, 2) || live == 0) {
            char *p = take(slab);

            assert_true(!p == (live == capacity));
            if (p) {
                assert_true(lm_slab_number(slab, p, &n));
                assert_false(is_live[n]);
                is_live[n] = 1;
                live++;
            }
        } else {
            n = 1 + unit_below(&seed, capacity);
            assert_int_equal(lm_slab_is_free(slab, lm_slab_object(slab, (uint32_t)n)), !is_live[n]);
            if (is_live[n]) {
                lm_slab_put(slab, lm_slab_object(slab, (uint32_t)n));
                is_live[n] = 0;
                live--;
            }
        }
        if (unit_below(&seed, 50) == 0) {
            lm_slab_annex(slab)->head = 0;
            lm_slab_rebuild(slab);
        }
        assert_int_equal(lm_slab_count_free(slab), slab->carved - live);
        assert_int_equal(lm_slab_check(slab), 0);
    }
    lm_slab_free(slab);
}

/* Takes an object; its number. */
static uint32_t take_number(struct lm_span *slab)
{
    uint64_t n;

    assert_true(lm_slab_number(slab, take(slab), &n));
    return (uint32_t)n;
}

static void remote_lists_come_home(void **state)
{
    struct lm_span *slab = lm_slab_create(3, 0, &owner);
    uint32_t a = take_number(slab), b = take_number(slab), c = take_number(slab), live = take_number(slab);

    (void)state;
    memset(lm_slab_object(slab, a), 0x5a, lm_slab_object_size(slab));
    lm_slab_send(slab, a, 0);
    lm_slab_send(slab, b, a);
    lm_slab_send(slab, c, 0);
    assert_true(lm_slab_push_remote(slab, b, a, 2)); /* the first push takes the mailed bit */
    assert_false(lm_slab_push_remote(slab, c, c, 1));
    assert_true(lm_slab_is_mailed(slab));
    for (uint32_t n = a; n <= c; n++) { /* free for everybody, but not in the list */
        assert_true(lm_slab_is_free(slab, lm_slab_object(slab, n)));
        assert_false(lm_slab_is_home(slab, n));
    }
    assert_int_equal(lm_slab_count_free(slab), slab->carved - 4);
    assert_int_equal(lm_slab_check(slab), 0);
    assert_int_equal(lm_slab_collect(slab, false), 3);
    assert_true(lm_slab_is_mailed(slab)); /* still on its way */
    assert_int_equal(lm_slab_check(slab), 0);
    assert_int_equal(lm_slab_count_free(slab), slab->carved - 1);
    assert_true(lm_slab_is_home(slab, b));
    assert_false(lm_slab_is_free(slab, lm_slab_object(slab, live)));
    for (size_t i = 0; i < lm_slab_object_size(slab); i++)
        assert_int_equal(((char *)lm_slab_object(slab, a))[i], 0x5a); /* not touched on the way */
    assert_int_equal(lm_slab_collect(slab, true), 0);
    assert_false(lm_slab_is_mailed(slab));
    lm_slab_free(slab);
}

/* Chains of all lengths, pushed by turns, beside a table that knows where each object is. */
static void chains_are_counted(void **state)
{
    enum { SIZE_CLASS = 5, STEPS = 3000 };
    struct lm_span *slab = lm_slab_create(SIZE_CLASS, 1, &owner);
    uint64_t seed = unit_seed();
    unsigned away = 0, live = 0;

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        uint32_t head = 0, tail = 0, count = 0, length = (uint32_t)unit_below(&seed, 40);

        for (; length && (live < lm_slab_capacity(slab) - away); length--) {
            uint32_t n = take_number(slab);

            live++;
            if (unit_below(&seed, 4) == 0)
                continue; /* stays with whoever took it */
            lm_slab_send(slab, n, head);
            tail = tail ? tail : n;
            head = n;
            count++;
            live--;
            away++;
        }
        if (head)
            lm_slab_push_remote(slab, head, tail, count);
        assert_int_equal(lm_slab_check(slab), 0);
        if (unit_below(&seed, 3) == 0) {
            assert_int_equal(lm_slab_collect(slab, unit_below(&seed, 2)), away);
            away = 0;
        }
        assert_int_equal(lm_slab_count_free(slab), slab->carved - live - away);
        for (uint32_t n = 1; n <= slab->carved && unit_below(&seed, 2); n++)
            if (!lm_slab_is_free(slab, lm_slab_object(slab, n))) {
                lm_slab_push(slab, n, lm_slab_object(slab, n));
                live--;
            }
    }
    lm_slab_free(slab);
}

/* -- two threads free an object at the very same time: each has seen it live --------------------------------------- */

static void dies(void (*body)(struct lm_span *slab, uint32_t n))
{
    struct lm_span *slab = lm_slab_create(3, 0, &owner);
    int status = -1, err[2];
    char said[512] = "";
    pid_t child;

    assert_int_equal(pipe(err), 0);
    child = fork();
    if (child == 0) {
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        dup2(err[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        take(slab);
        body(slab, take_number(slab));
        _exit(0);
    }
    close(err[1]);
    assert_true(read(err[0], said, sizeof said - 1) > 0);
    close(err[0]);
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, "loam: double free"));
    assert_non_null(strstr(said, "by two threads"));
    lm_slab_free(slab);
}

/* The owner's free is the later store: the chain leads into its list. */
static void owner_is_later(struct lm_span *slab, uint32_t n)
{
    lm_slab_send(slab, n, 0);
    lm_slab_push_remote(slab, n, n, 1);
    lm_slab_push(slab, n, lm_slab_object(slab, n));
    lm_slab_collect(slab, true);
}

/* The same, and it has handed the object out again. */
static void owner_is_quick(struct lm_span *slab, uint32_t n)
{
    lm_slab_send(slab, n, 0);
    lm_slab_push_remote(slab, n, n, 1);
    lm_slab_push(slab, n, lm_slab_object(slab, n));
    lm_slab_pop(slab);
    lm_slab_collect(slab, true);
}

/* It finds out before it sends: the bucket's first object is at home. */
static void bucket_is_late(struct lm_span *slab, uint32_t n)
{
    lm_slab_send(slab, n, 0);
    lm_slab_push(slab, n, lm_slab_object(slab, n));
    lm_slab_push_remote(slab, n, n, 1);
}

/* The owner's store is the earlier: its list leads into the chain, and is not followed. */
static void owner_is_earlier(struct lm_span *slab, uint32_t n)
{
    lm_slab_push(slab, n, lm_slab_object(slab, n));
    lm_slab_send(slab, n, 0);
    for (int i = 0; i < 3; i++)
        take(slab);
}

/* Two others. */
static void both_are_others(struct lm_span *slab, uint32_t n)
{
    lm_slab_send(slab, n, 0);
    lm_slab_send(slab, n, 0);
    lm_slab_push_remote(slab, n, n, 1);
    lm_slab_collect(slab, true);
    lm_slab_push_remote(slab, n, n, 1);
}

/* Two others, one of which has freed another object before: the other's store cuts that off its chain. */
static void chain_is_cut(struct lm_span *slab, uint32_t n)
{
    uint32_t before = take_number(slab);

    lm_slab_send(slab, before, 0);
    lm_slab_send(slab, n, before);
    lm_slab_send(slab, n, 0);
    lm_slab_push_remote(slab, n, n, 1);
    lm_slab_push_remote(slab, n, before, 2);
    lm_slab_collect(slab, true);
}

static void frees_at_the_same_time_are_found(void **state)
{
    (void)state;
    dies(owner_is_later);
    dies(owner_is_quick);
    dies(bucket_is_late);
    dies(owner_is_earlier);
    dies(both_are_others);
    dies(chain_is_cut);
}

/* Pages of the slab that are there. */
static unsigned pages_there(const struct lm_span *slab)
{
    unsigned char there[LM_GRANULE / 4096];
    size_t page = lm_os_page_size(), pages = LM_GRANULE / page;
    unsigned count = 0;

    assert_int_equal(mincore(lm_span_start(slab), LM_GRANULE, there), 0);
    for (size_t i = 0; i < pages; i++)
        count += there[i] & 1;
    return count;
}

/* What is AHEAD has its pages before they are touched, a step at a time, and hands out the same objects as any. */
static void populates_ahead(void **state)
{
    size_t page = lm_os_page_size(), before = lm_config.prefault_bytes;
    unsigned c = lm_class_of(48), taken = 0, step = 4;
    struct lm_span *slab;
    bool zeroed, emulated = unit_is_emulated(); /* an emulator says that it did what it does not know */

    (void)state;
    lm_page_purge(0);
    slab = lm_slab_create(c, 0, &owner);
    assert_true(slab->flags & LM_SLAB_ZEROED);
    slab->flags |= LM_SLAB_AHEAD;
    lm_config.prefault_bytes = step * page;
    assert_int_equal(pages_there(slab), 0);
    while (lm_slab_carve(slab, UINT_MAX)) {
        size_t end = (size_t)((char *)lm_slab_object(slab, slab->carved) - (char *)lm_span_start(slab)) + 48;

        assert_true(end >= lm_min((taken ? (taken + step) : step) * page, slab->carved * (size_t)48));
        taken = lm_min(taken + step, (unsigned)(LM_GRANULE / page));
        if (!emulated && lm_os_populate(lm_span_start(slab), page)) /* the kernel knows how */
            assert_int_equal(pages_there(slab), taken);
        assert_int_equal(lm_slab_check(slab), 0);
        for (char *p; (p = lm_slab_pop(slab)) != NULL;)
            memset(p, 1, 48); /* the last may reach into the next step */
    }
    assert_int_equal(slab->carved, lm_class[c].capacity);
    assert_null(lm_slab_carve_one(slab, &zeroed));
    lm_config.prefault_bytes = before;
    lm_slab_free(slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(populates_ahead), cmocka_unit_test(classes_fit),
        cmocka_unit_test(boundaries_are_exact), cmocka_unit_test(colours_differ), cmocka_unit_test(hands_out_all_once),
        cmocka_unit_test(takes_what_is_free), cmocka_unit_test(remote_lists_come_home),
        cmocka_unit_test(chains_are_counted), cmocka_unit_test(frees_at_the_same_time_are_found)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
