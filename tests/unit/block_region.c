/* The region: layouts, fits, resizing in place, every kind of damage, images at another address, repair. */
#include "block/region.h"
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 16, LIVE = 200, STEPS = 6000 };

static _Alignas(4096) char room[ROOM], other[ROOM];

static struct loam_region_options options_of(enum loam_fit fit, size_t align)
{
    return (struct loam_region_options){
        .struct_bytes = sizeof(struct loam_region_options), .fit = fit, .align_bytes = align, .return_errors = 1};
}

static struct loam_region *region_in(void *memory, size_t bytes, enum loam_fit fit, size_t align)
{
    struct loam_region_options options = options_of(fit, align);
    struct loam_region *region = loam_region_create(memory, bytes, &options);

    assert_non_null(region);
    return region;
}

#define SOUND(region) assert_int_equal(loam_region_check(region, NULL), LOAM_REGION_SOUND)

/* Every fit and alignment, checked after every step, with the bytes of every live block. */
static void survives_random_use(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        struct loam_region *region = region_in(room + kind, ROOM - 16, (enum loam_fit)(kind / 2), kind % 2 ? 8 : 16);
        struct loam_region_figures figures = {.struct_bytes = sizeof figures};
        unsigned char *p[LIVE] = {NULL};
        size_t size[LIVE] = {0};

        for (int step = 0; step < STEPS; step++) {
            size_t i = unit_below(&seed, LIVE), want = unit_below(&seed, unit_below(&seed, 8) ? 200 : 4000);
            size_t align = (size_t)8 << unit_below(&seed, 8);
            unsigned char *q;

            for (size_t j = 0; p[i] && j < size[i]; j++)
                assert_int_equal(p[i][j], (unsigned char)(i + j));
            if (p[i] && unit_below(&seed, 2)) {
                assert_int_equal(loam_region_free(region, p[i]), 0);
                p[i] = NULL;
            } else {
                bool aligned = !p[i] && unit_below(&seed, 3) == 0;

                errno = 0;
                q = aligned ? loam_region_aligned_alloc(region, align, want)
                            : loam_region_realloc(region, p[i], want + !want);
                if (!q) {
                    assert_int_equal(errno, ENOMEM);
                    continue;
                }
                assert_int_equal((uintptr_t)q % (aligned ? align : kind % 2 ? 8 : 16), 0);
                assert_true(loam_region_usable_size(region, q) >= want);
                for (size_t j = 0; p[i] && j < size[i] && j < want; j++)
                    assert_int_equal(q[j], (unsigned char)(i + j));
                p[i] = q;
                size[i] = want;
                for (size_t j = 0; j < want; j++)
                    q[j] = (unsigned char)(i + j);
            }
            SOUND(region);
        }
        for (int i = 0; i < LIVE; i++)
            assert_int_equal(loam_region_free(region, p[i]), 0);
        assert_int_equal(loam_region_figures(region, &figures), 0);
        assert_int_equal(figures.live_blocks, 0);
        assert_int_equal(figures.free_blocks, 1); /* all merged again */
        assert_int_equal(figures.used_bytes, 0);
        assert_int_equal(figures.fragmentation, 0);
        assert_true(figures.peak_bytes > 0);
    }
}

static void limits(void **state)
{
    struct loam_region_options options = options_of(LOAM_FIT_GOOD, 16);
    size_t many = (size_t)64 << 30;
    void *big = mmap(NULL, many + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)state;
    for (int fit = 0; fit < 4; fit++) {
        struct loam_region *region = region_in(room + 5, 1024, (enum loam_fit)fit, 16);
        char *p = loam_region_alloc(region, 300);

        assert_non_null(p);
        assert_true(p > room && p + 300 < room + 5 + 1024);
        SOUND(region);
    }
    assert_null(loam_region_create(room, 1023, NULL));
    assert_int_equal(errno, EINVAL);
    assert_null(loam_region_create(NULL, 4096, NULL));
    options.align_bytes = 32;
    assert_null(loam_region_create(room, ROOM, &options));
    options = options_of((enum loam_fit)4, 16);
    assert_null(loam_region_create(room, ROOM, &options));
    options.struct_bytes = 3;
    assert_null(loam_region_create(room, ROOM, &options));
    if (big != MAP_FAILED) { /* a machine may refuse so much address space */
        for (int fit = 0; fit < 4; fit++) {
            struct loam_region *region = region_in(big, many, (enum loam_fit)fit, 16);
            char *half = loam_region_alloc(region, many / 2), *rest = loam_region_alloc(region, many / 2 - (1 << 20));

            assert_non_null(half);
            assert_non_null(rest);
            assert_null(loam_region_alloc(region, many / 2));
            assert_int_equal(errno, ENOMEM);
            assert_int_equal(loam_region_free(region, half), 0);
            assert_non_null(loam_region_alloc(region, 100));
            SOUND(region);
        }
        assert_null(loam_region_create(big, many + 4096, NULL));
        munmap(big, many + 4096);
    }
}

static void refuses_sizes(void **state)
{
    struct loam_region *region = region_in(room, ROOM, LOAM_FIT_GOOD, 16);
    void *p = loam_region_alloc(region, 10);
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 8, SIZE_MAX / 2, (size_t)1 << 36, ROOM};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        errno = 0;
        assert_null(loam_region_alloc(region, sizes[i]));
        assert_int_equal(errno, ENOMEM);
        assert_null(loam_region_realloc(region, p, sizes[i]));
        assert_null(loam_region_aligned_alloc(region, 4096, sizes[i]));
        assert_null(loam_region_calloc(region, 2, sizes[i]));
    }
    assert_null(loam_region_aligned_alloc(region, 3, 10));
    assert_int_equal(errno, EINVAL);
    assert_null(loam_region_aligned_alloc(region, (size_t)1 << 62, 10));
    assert_int_equal(errno, ENOMEM);
    assert_non_null(loam_region_alloc(region, 0));
    errno = 7;
    assert_int_equal(loam_region_free(region, p), 0);
    assert_int_equal(errno, 7);
    assert_int_equal(loam_region_free(region, NULL), 0);
    SOUND(region);
}

/* Three free blocks of 6, 4 and 5 hundred bytes: which one does each fit take? */
static void fits_differ(void **state)
{
    static const int wanted[] = {1, 0, 2, 1}; /* of 380 bytes: GOOD, FIRST, NEXT, BEST */

    (void)state;
    for (int fit = 0; fit < 4; fit++) {
        struct loam_region *region = region_in(room, ROOM, (enum loam_fit)fit, 16);
        void *hole[3];
        static const size_t sizes[] = {600, 400, 500};

        assert_non_null(loam_region_alloc(region, 32));
        for (int i = 0; i < 3; i++) {
            hole[i] = loam_region_alloc(region, sizes[i]);
            assert_non_null(loam_region_alloc(region, 32)); /* keeps the holes apart */
        }
        while (loam_region_alloc(region, 1000))
            ;
        while (loam_region_alloc(region, 16))
            ;
        for (int i = 0; i < 3; i++)
            assert_int_equal(loam_region_free(region, hole[i]), 0);
        if (fit == LOAM_FIT_NEXT) { /* the last one taken ends behind the second hole */
            void *p = loam_region_alloc(region, 600), *q = loam_region_alloc(region, 400);

            assert_ptr_equal(p, hole[0]);
            assert_ptr_equal(q, hole[1]);
            loam_region_free(region, p);
            loam_region_free(region, q);
        }
        assert_ptr_equal(loam_region_alloc(region, 380), hole[wanted[fit]]);
        SOUND(region);
    }
}

static void resizes_in_place(void **state)
{
    (void)state;
    for (int fit = 0; fit < 4; fit++) {
        struct loam_region *region = region_in(room, ROOM, (enum loam_fit)fit, 16);
        char *a = loam_region_alloc(region, 1000), *b = loam_region_alloc(region, 1000), *c, *moved;

        c = loam_region_alloc(region, 1000);
        memset(b, 'b', 1000);
        assert_ptr_equal(loam_region_realloc(region, b, 100), b); /* shorter */
        assert_ptr_equal(loam_region_realloc(region, b, 900), b); /* longer again */
        loam_region_free(region, a);
        moved = loam_region_realloc(region, b, 1500); /* down over what is free before it */
        assert_ptr_equal(moved, a);
        for (int i = 0; i < 100; i++)
            assert_int_equal(moved[i], 'b');
        assert_int_equal(loam_region_free(region, b), -1); /* there is no block any more */
        assert_int_equal(errno, EINVAL);
        loam_region_free(region, c);
        assert_ptr_equal(loam_region_realloc(region, moved, 4000), moved); /* up over what is free behind it */
        assert_null(loam_region_realloc(region, moved, 0));
        SOUND(region);
    }
}

static void misuse_is_named(void **state)
{
    struct loam_region *region = region_in(room, ROOM, LOAM_FIT_GOOD, 16);
    char *a = loam_region_alloc(region, 100), *b = loam_region_alloc(region, 100), *keep = loam_region_alloc(region, 9);
    char *const wrong[] = {a, b, b + 16, keep + 1, keep + 16, keep - 16, room, room + ROOM, other, (char *)8};
    char before[ROOM];

    (void)state;
    loam_region_free(region, a);
    loam_region_free(region, b); /* merges with a: both tags are gone or free */
    memcpy(before, room, ROOM);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        errno = 0;
        assert_int_equal(loam_region_free(region, wrong[i]), -1);
        assert_int_equal(errno, EINVAL);
        assert_null(loam_region_realloc(region, wrong[i], 50));
        assert_int_equal(errno, EINVAL);
        assert_int_equal(loam_region_usable_size(region, wrong[i]), 0);
        assert_int_equal(loam_region_set_root(region, wrong[i]), -1);
        if (i < 3) /* the others have no number */
            assert_null(loam_region_block(region, (uint64_t)(wrong[i] - room) / 16));
    }
    assert_memory_equal(room, before, ROOM); /* nothing was written */
}

/* Any one byte of any tag, footer or link changed: check() finds it, and no operation follows it. */
static void every_changed_byte_is_found(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        struct loam_region *region = region_in(room, 4096, (enum loam_fit)(kind / 2), kind % 2 ? 8 : 16);
        void *p[20];
        struct loam_region_fault fault;

        for (int i = 0; i < 20; i++)
            p[i] = loam_region_alloc(region, 10 + (size_t)i * 3);
        for (int i = 0; i < 20; i += 3)
            loam_region_free(region, p[i]);
        SOUND(region);
        for (uint32_t unit = region->first; unit <= region->end;
             unit += lm_region_units(lm_region_view(region), unit) + !lm_region_units(lm_region_view(region), unit))
            for (int byte = 0; byte < 8; byte++) {
                unsigned char *at = (unsigned char *)lm_region_tag(lm_region_view(region), unit) + byte, was = *at;

                *at = (unsigned char)(was ^ (1 + unit_below(&seed, 255)));
                assert_int_equal(loam_region_check(region, &fault), LOAM_REGION_BAD_TAG);
                assert_ptr_equal(fault.block, lm_region_at(lm_region_view(region), unit));
                assert_non_null(fault.reason);
                if (unit < region->end) {
                    assert_int_equal(loam_region_free(region, lm_region_at(lm_region_view(region), unit)), -1);
                    assert_int_equal(errno, EUCLEAN);
                }
                *at = was;
            }
        SOUND(region);
    }
}

/* A mark never fits a tag of which up to two bits, or three bytes side by side, are other ones; whatever key and place. */
static void marks_are_exact(void **state)
{
    struct loam_region head = {.key = 0};
    uint64_t seed = unit_seed();

    (void)state;
    for (int round = 0; round < 300; round++) {
        uint32_t unit = (uint32_t)unit_random(&seed);
        uint64_t word = lm_region_word((uint32_t)unit_random(&seed), (unsigned)unit_below(&seed, 8)), tag;
        struct lm_region_view v;

        head.key = unit_random(&seed) << 16 ^ unit_random(&seed);
        head.grain_log2 = round % 2 ? LM_REGION_GRAIN8 : LM_REGION_GRAIN16;
        v = lm_region_view(&head);
        tag = lm_region_sign(v, unit, word);
        assert_int_equal(lm_region_unsign(v, unit, tag), word);
        assert_true(lm_region_is_signed(word));
        for (int a = 0; a < 64; a++)
            for (int b = a; b < 64; b++)
                assert_false(lm_region_is_signed(
                    lm_region_unsign(v, unit, tag ^ (uint64_t)1 << a ^ (a == b ? 0 : (uint64_t)1 << b))));
        for (int byte = 0; byte <= 40; byte += 8)
            for (int n = 0; n < 1000; n++) /* up to three bytes */
                assert_false(
                    lm_region_is_signed(lm_region_unsign(v, unit, tag ^ (1 + unit_below(&seed, 0xffffff)) << byte)));
        for (int byte = 0; byte < 64; byte += 8)
            for (uint64_t change = 1; change < 256; change++)
                assert_false(lm_region_is_signed(lm_region_unsign(v, unit, tag ^ change << byte)));
        for (int bit = 0; bit < 32; bit++) /* the same tag, copied elsewhere */
            assert_false(lm_region_is_signed(lm_region_unsign(v, unit ^ (uint32_t)1 << bit, tag)));
        for (uint32_t away = 1; away < 100000; away++)
            assert_false(lm_region_is_signed(lm_region_unsign(v, unit + away, tag)));
    }
}

/* Random bytes anywhere: whatever is called, nothing outside the region is touched and nothing hangs. */
static void random_damage_is_contained(void **state)
{
    uint64_t seed = unit_seed();
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = 4 * page;
    char *guarded = mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
         *memory = guarded + page;

    (void)state;
    mprotect(memory, bytes, PROT_READ | PROT_WRITE);
    for (int round = 0; round < 800; round++) {
        struct loam_region_options options = options_of((enum loam_fit)(round % 4), round % 8 < 4 ? 8 : 16);
        struct loam_region *region = loam_region_create(memory, bytes, &options);
        void *p[40];

        for (int i = 0; i < 40; i++)
            p[i] = loam_region_alloc(region, unit_below(&seed, 400));
        for (int i = 0; i < 40; i += 2)
            loam_region_free(region, p[i]);
        for (uint64_t n = 1 + unit_below(&seed, 20); n; n--)
            memory[unit_below(&seed, unit_below(&seed, 2) ? bytes : 300)] = (char)unit_random(&seed);
        region->return_errors = LM_REGION_ERRORS; /* without it, to end the process is right */
        for (int i = 0; i < 40; i++) {
            loam_region_free(region, p[i]);
            p[i] = loam_region_realloc(region, unit_below(&seed, 2) ? p[i] : NULL, unit_below(&seed, 900));
        }
        loam_region_check(region, NULL);
        options.sole = 1;
        region = loam_region_open(memory, bytes, &options);
        if (region)
            SOUND(region);
    }
    munmap(guarded, bytes + 2 * page);
}

/* What the region does about misuse stands in the region too: no damage to one byte of it makes an error fatal. */
static void errors_stay_errors(void **state)
{
    struct loam_region *region = region_in(room, 4096, LOAM_FIT_GOOD, 16);
    unsigned char *flag = (unsigned char *)&region->return_errors;
    void *p = loam_region_alloc(region, 100);

    (void)state;
    assert_int_equal(loam_region_free(region, p), 0);
    for (size_t byte = 0; byte < sizeof region->return_errors; byte++)
        for (unsigned value = 0; value < 256; value++) {
            unsigned char was = flag[byte];

            flag[byte] = (unsigned char)value;
            assert_int_equal(loam_region_free(region, p), -1);
            assert_int_equal(errno, EINVAL);
            flag[byte] = was;
        }
    SOUND(region);
}

static int count_live(void *block, size_t bytes, int is_live, void *arg)
{
    (void)block;
    (void)bytes;
    *(int *)arg += is_live;
    return 0;
}

static int stop_at_once(void *block, size_t bytes, int is_live, void *arg)
{
    (void)block;
    (void)bytes;
    (void)is_live;
    (void)arg;
    return 42;
}

static void opens_elsewhere(void **state)
{
    (void)state;
    for (int lock = 0; lock < 3; lock++)
        for (int fit = 0; fit < 4; fit++) {
            struct loam_region_options options = options_of((enum loam_fit)fit, 16);
            struct loam_region *region, *there;
            char *p, *q;
            uint64_t number;
            int live = 0;

            options.lock = (enum loam_region_lock)lock;
            region = loam_region_create(room, ROOM, &options);
            assert_null(loam_region_root(region));
            for (int i = 0; i < 30; i++)
                assert_non_null(loam_region_alloc(region, (size_t)i * 9));
            p = loam_region_alloc(region, 100);
            strcpy(p, "found again");
            assert_int_equal(loam_region_set_root(region, p), 0);
            number = loam_region_number(region, p);
            memcpy(other, room, ROOM);
            options.sole = 1;
            there = loam_region_open(other, ROOM, &options);
            assert_non_null(there);
            q = loam_region_root(there);
            assert_ptr_equal(q, other + (p - room));
            assert_ptr_equal(loam_region_block(there, number), q);
            assert_string_equal(q, "found again");
            assert_int_equal(loam_region_walk(there, count_live, &live), 0);
            assert_int_equal(live, 31);
            assert_int_equal(loam_region_walk(there, stop_at_once, NULL), 42);
            assert_int_equal(loam_region_free(there, q), 0);
            assert_null(loam_region_root(there));
            SOUND(there);
            assert_non_null(loam_region_open(other, ROOM, NULL)); /* as it is, by a second user */
            assert_null(loam_region_open(other, ROOM / 2, &options));
            assert_int_equal(errno, EINVAL);
            other[0] ^= 1;
            assert_null(loam_region_open(other, ROOM, &options));
            assert_int_equal(errno, EINVAL);
            other[0] ^= 1;
            other[20] ^= 1; /* the key */
            assert_null(loam_region_open(other, ROOM, &options));
            assert_int_equal(errno, EUCLEAN);
        }
}

/* What is stale after a kill, all of it at once: the lengths alone say what is right. */
static void is_rebuilt_from_lengths(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct loam_region_options options = options_of((enum loam_fit)(round % 4), round % 8 < 4 ? 8 : 16);
        struct loam_region *region = loam_region_create(room, ROOM, &options);
        struct loam_region_figures before = {.struct_bytes = sizeof before}, after = before;
        void *p[100];

        for (int i = 0; i < 100; i++)
            p[i] = loam_region_alloc(region, unit_below(&seed, 500));
        for (int i = 0; i < 100; i++)
            if (unit_below(&seed, 2))
                loam_region_free(region, p[i]);
        loam_region_figures(region, &before);
        for (uint32_t unit = region->first; unit < region->end; unit += lm_region_units(lm_region_view(region), unit)) {
            unsigned used = lm_region_flags(lm_region_read(lm_region_view(region), unit)) & LM_REGION_USED;

            if (!used)
                memset(lm_region_at(lm_region_view(region), unit), (int)unit_random(&seed),
                    lm_region_payload_bytes(lm_region_view(region), lm_region_units(lm_region_view(region), unit)));
            lm_region_write(lm_region_view(region), unit, lm_region_units(lm_region_view(region), unit),
                used | (unsigned)(unit_below(&seed, 2) ? LM_REGION_PREV_FREE : 0));
        }
        region->top = (uint32_t)unit_random(&seed);
        if (region->bins) {
            region->map[round % LM_REGION_LEVELS] = unit_random(&seed);
            region->head[unit_below(&seed, region->bins)] = (uint32_t)unit_random(&seed);
        }
        region->used_units = (uint32_t)unit_random(&seed);
        assert_int_not_equal(loam_region_check(region, NULL), LOAM_REGION_SOUND);
        assert_null(loam_region_open(room, ROOM, NULL));
        assert_int_equal(errno, EUCLEAN);
        options.sole = 1;
        assert_ptr_equal(loam_region_open(room, ROOM, &options), region);
        SOUND(region);
        loam_region_figures(region, &after);
        assert_int_equal(after.used_bytes, before.used_bytes);
        assert_int_equal(after.live_blocks, before.live_blocks);
        assert_int_equal(after.largest_free_bytes, before.largest_free_bytes);
    }
}

/* A child dies inside with the tags damaged: nobody can go on, and everybody is told. */
static void a_broken_region_says_so(void **state)
{
    struct loam_region_options options = options_of(LOAM_FIT_GOOD, 16);
    void *memory = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct loam_region *region;
    char *p;
    pid_t child;

    (void)state;
    if (unit_is_emulated())
        skip();
    options.lock = LOAM_REGION_PROCESSES;
    region = loam_region_create(memory, ROOM, &options);
    p = loam_region_alloc(region, 100);
    child = fork();
    if (child == 0) {
        lm_region_lock(region);
        memset(p, 'x', 120); /* over the next tag */
        _exit(0);
    }
    waitpid(child, NULL, 0);
    for (int i = 0; i < 2; i++) {
        errno = 0;
        assert_null(loam_region_alloc(region, 10));
        assert_int_equal(errno, ENOTRECOVERABLE);
        assert_int_equal(loam_region_free(region, p), -1);
        assert_int_equal(errno, ENOTRECOVERABLE);
    }
    assert_int_equal(loam_region_check(region, NULL), LOAM_REGION_BAD_TAG);
    assert_null(loam_region_open(memory, ROOM, NULL));
    assert_int_equal(errno, ENOTRECOVERABLE);
    munmap(memory, ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(survives_random_use), cmocka_unit_test(limits),
        cmocka_unit_test(refuses_sizes), cmocka_unit_test(fits_differ), cmocka_unit_test(resizes_in_place),
        cmocka_unit_test(misuse_is_named), cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(marks_are_exact), cmocka_unit_test(random_damage_is_contained),
        cmocka_unit_test(errors_stay_errors), cmocka_unit_test(opens_elsewhere),
        cmocka_unit_test(is_rebuilt_from_lengths), cmocka_unit_test(a_broken_region_says_so)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
