/* Every block on every source while the operating system refuses now this, now that: what fails says ENOMEM and changes
 * nothing, what is handed out is whole, and in the end everything is back. */
#include "block/block.h"
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <loam/buddy.h>
#include <loam/cache.h>
#include <loam/classes.h>
#include <loam/heap.h>
#include <loam/pool.h>
#include <string.h>

enum { LIVE = 200, STEPS = 1500, OBJECT_BYTES = 3000, MIB = 1 << 20 };

/* -- blocks -------------------------------------------------------------------------------------------------------- */

struct kind {
    const char *name;
    void *(*create)(const struct loam_source *source);
    void *(*alloc)(void *block, size_t size); /* at least size bytes, which is OBJECT_BYTES at the most */
    void (*free)(void *block, void *p);
    int (*check)(void *block);
    void (*destroy)(void *block);
};

static void *pool_create(const struct loam_source *source)
{
    return loam_pool_create(OBJECT_BYTES, 8, source);
}

static void *pool_alloc(void *block, size_t size)
{
    (void)size;
    return loam_pool_alloc(block);
}

static void pool_free(void *block, void *p)
{
    loam_pool_free(block, p);
}

static int pool_check(void *block)
{
    return loam_pool_check(block);
}

static void pool_destroy(void *block)
{
    loam_pool_destroy(block);
}

static void *classes_create(const struct loam_source *source)
{
    struct loam_classes_options options = {.struct_bytes = sizeof options, .source = source};

    return loam_classes_create(&options);
}

static void *classes_alloc(void *block, size_t size)
{
    return loam_classes_alloc(block, size);
}

static void classes_free(void *block, void *p)
{
    loam_classes_free(block, p);
}

static int classes_check(void *block)
{
    return loam_classes_check(block);
}

static void classes_destroy(void *block)
{
    loam_classes_destroy(block);
}

static void *cache_create(const struct loam_source *source)
{
    struct loam_cache_options options = {
        .struct_bytes = sizeof options, .name = "faulty", .size_bytes = OBJECT_BYTES, .source = source};

    return loam_cache_create_with(&options);
}

static void *cache_alloc(void *block, size_t size)
{
    (void)size;
    return loam_cache_alloc(block);
}

static void cache_free(void *block, void *p)
{
    loam_cache_free(block, p);
}

static int cache_check(void *block)
{
    return loam_cache_check(block);
}

static void cache_destroy(void *block)
{
    loam_cache_destroy(block);
}

static void *heap_create(const struct loam_source *source)
{
    struct loam_heap_options options = {.struct_bytes = sizeof options, .source = source};

    return loam_heap_create(&options);
}

static void *heap_alloc(void *block, size_t size)
{
    return loam_heap_malloc(block, size);
}

static void heap_free(void *block, void *p)
{
    (void)block;
    lm_heap_free(p);
}

static int heap_check(void *block)
{
    return loam_heap_check(block);
}

static void heap_destroy(void *block)
{
    loam_heap_destroy(block);
}

/* The buddy hands out addresses of memory that is nobody else's. */
static char managed[MIB];

static void *buddy_create(const struct loam_source *source)
{
    struct loam_buddy_options options = {.struct_bytes = sizeof options,
        .base = (uintptr_t)managed,
        .bytes = sizeof managed,
        .min_block = 1,
        .meta = source};

    return loam_buddy_create(&options);
}

static void *buddy_alloc(void *block, size_t size)
{
    uintptr_t address = loam_buddy_alloc(block, size);

    return address == LOAM_BUDDY_NONE ? NULL : (void *)address;
}

static void buddy_free(void *block, void *p)
{
    loam_buddy_free(block, (uintptr_t)p);
}

static int buddy_check(void *block)
{
    return loam_buddy_check(block);
}

static void buddy_destroy(void *block)
{
    loam_buddy_destroy(block);
}

static const struct kind kinds[] = {
    {"pool", pool_create, pool_alloc, pool_free, pool_check, pool_destroy},
    {"classes", classes_create, classes_alloc, classes_free, classes_check, classes_destroy},
    {"cache", cache_create, cache_alloc, cache_free, cache_check, cache_destroy},
    {"heap", heap_create, heap_alloc, heap_free, heap_check, heap_destroy},
    {"buddy", buddy_create, buddy_alloc, buddy_free, buddy_check, buddy_destroy},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* -- sources ------------------------------------------------------------------------------------------------------- */

static char room[24 * MIB];

static const struct loam_source *arena(void)
{
    return NULL;
}

static const struct loam_source *fixed(void)
{
    return loam_source_fixed(room, sizeof room);
}

static const struct loam_source *shared(void)
{
    return loam_source_shared("faults", sizeof room);
}

static const struct loam_source *(*const sources[])(void) = {arena, loam_source_os, loam_source_huge, fixed, shared};
enum { SOURCES = sizeof sources / sizeof sources[0] };

/* -- faults -------------------------------------------------------------------------------------------------------- */

/* How many requests were refused. */
static int exercise(const struct kind *kind, void *block, uint64_t *seed)
{
    unsigned char *live[LIVE] = {NULL};
    size_t size[LIVE];
    int refused = 0;

    for (int step = 0; step < STEPS; step++) {
        size_t i = unit_below(seed, LIVE);

        if (live[i]) {
            assert_true(live[i][0] == (unsigned char)i && live[i][size[i] - 1] == (unsigned char)i);
            kind->free(block, live[i]);
            live[i] = NULL;
            continue;
        }
        size[i] = 1 + unit_below(seed, OBJECT_BYTES);
        errno = 0;
        live[i] = kind->alloc(block, size[i]);
        if (live[i]) {
            live[i][0] = live[i][size[i] - 1] = (unsigned char)i;
        } else {
            assert_int_equal(errno, ENOMEM);
            refused++;
        }
        if (step % 100 == 0)
            assert_int_equal(kind->check(block), 0);
    }
    assert_int_equal(kind->check(block), 0);
    for (int i = 0; i < LIVE; i++)
        if (live[i])
            kind->free(block, live[i]);
    assert_int_equal(kind->check(block), 0);
    return refused;
}

static void survives_every_refusal(void **state)
{
    uint64_t seed = unit_seed();
    int made = 0;

    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int s = 0; s < SOURCES; s++)
            for (unsigned n = 1; n <= 8; n++) {
                const struct loam_source *source = sources[s]();
                void *block;

                assert_true(source || s == 0);
                lm_fake_fail_every(LM_OS_MAP, n);
                lm_fake_fail_every(LM_OS_COMMIT, 9 - n);
                lm_fake_fail_every(LM_OS_UNMAP, n % 3 + 1);
                lm_fake_fail_every(LM_OS_PURGE, 2);
                errno = 0;
                block = kinds[k].create(source);
                if (block) {
                    made++;
                    exercise(&kinds[k], block, &seed);
                    kinds[k].destroy(block);
                } else {
                    assert_int_equal(errno, ENOMEM);
                }
                lm_fake_reset();
                lm_heap_trim(0);
                assert_int_equal(lm_page_check(), 0);
                assert_int_equal(loam_source_used_bytes(source), 0);
                loam_source_close(source);
            }
    assert_true(made > KINDS * SOURCES); /* it was not all refused at once */
}

/* From some moment on there is nothing any more; then there is again. */
static void goes_on_after_a_drought(void **state)
{
    uint64_t seed = unit_seed();

    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int s = 0; s < SOURCES; s++) {
            const struct loam_source *source = sources[s]();
            void *block = kinds[k].create(source);

            assert_non_null(block);
            for (int round = 0; round < 3; round++) {
                exercise(&kinds[k], block, &seed);
                lm_fake_fail_from(LM_OS_MAP, 1);
                lm_fake_fail_from(LM_OS_COMMIT, 1);
                exercise(&kinds[k], block, &seed);
                lm_fake_reset();
                assert_int_equal(exercise(&kinds[k], block, &seed), 0);
            }
            kinds[k].destroy(block);
            assert_int_equal(lm_page_check(), 0);
            assert_int_equal(loam_source_used_bytes(source), 0);
            loam_source_close(source);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_every_refusal), cmocka_unit_test(goes_on_after_a_drought)};

    lm_heap_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
