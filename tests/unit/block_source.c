/* Sources: alignment, exhaustion and return, for each kind. */
#include "block/block.h"
#include "os/fake.h"
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LIVE = 64, STEPS = 4000 };

static char room[(1 << 20) + 123];

/* Random maps and unmaps: aligned, inside no other, writable; everything comes back. */
static void exercise(const struct loam_source *source, size_t most)
{
    struct {
        char *p;
        size_t bytes;
    } live[LIVE] = {{NULL, 0}};
    uint64_t seed = unit_seed();

    for (int step = 0; step < STEPS; step++) {
        size_t i = unit_below(&seed, LIVE);

        if (live[i].p) {
            assert_int_equal(live[i].p[0], (char)i);
            assert_int_equal(live[i].p[live[i].bytes - 1], (char)i);
            lm_source_unmap(source, live[i].p, live[i].bytes);
            live[i].p = NULL;
            continue;
        }
        live[i].bytes = (1 + unit_below(&seed, most / LOAM_SOURCE_GRAIN)) * LOAM_SOURCE_GRAIN;
        size_t align = LOAM_SOURCE_GRAIN << unit_below(&seed, 6);

        errno = 0;
        live[i].p = lm_source_map(source, live[i].bytes, align);
        if (!live[i].p) {
            assert_int_equal(errno, ENOMEM);
            continue;
        }
        assert_int_equal((uintptr_t)live[i].p % align, 0);
        for (int j = 0; j < LIVE; j++)
            assert_true(j == (int)i || !live[j].p || live[j].p + live[j].bytes <= live[i].p ||
                live[i].p + live[i].bytes <= live[j].p);
        live[i].p[0] = live[i].p[live[i].bytes - 1] = (char)i;
        if (live[i].bytes > 2 * LOAM_SOURCE_GRAIN)
            lm_source_purge(source, live[i].p + LOAM_SOURCE_GRAIN, live[i].bytes - 2 * LOAM_SOURCE_GRAIN);
    }
    for (int i = 0; i < LIVE; i++)
        if (live[i].p)
            lm_source_unmap(source, live[i].p, live[i].bytes);
}

static void arena_is_the_default(void **state)
{
    (void)state;
    exercise(NULL, 1 << 20);
    assert_int_equal(lm_page_check(), 0);
    assert_null(lm_source_map(NULL, (size_t)1 << 50, LOAM_SOURCE_GRAIN));
    assert_int_equal(errno, ENOMEM);
}

static void os_and_huge(void **state)
{
    size_t before = lm_fake_mapped_bytes();

    (void)state;
    exercise(loam_source_os(), 1 << 20);
    exercise(loam_source_huge(), 1 << 20);
    assert_int_equal(lm_fake_mapped_bytes(), before);
    assert_null(loam_source_os()->map(NULL, SIZE_MAX & ~(size_t)4095, 4096));
    assert_int_equal(errno, ENOMEM);
    lm_fake_fail_from(LM_OS_MAP, 1);
    assert_null(lm_source_map(loam_source_os(), 4096, 4096));
    assert_null(lm_source_map(loam_source_huge(), 4096, 4096));
    assert_int_equal(errno, ENOMEM);
    lm_fake_reset();
}

static void fixed_stays_inside(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 100; shift += 33) {
        const struct loam_source *source = loam_source_fixed(room + shift, sizeof room - 2 * shift);
        char *p;
        size_t count = 0;

        assert_non_null(source);
        exercise(source, 64 << 10);
        assert_int_equal(loam_source_used_bytes(source), 0);
        while ((p = lm_source_map(source, 4096, 4096)) != NULL) {
            assert_true(p >= room + shift && p + 4096 <= room + sizeof room - shift);
            memset(p, 7, 4096);
            count++;
        }
        assert_int_equal(loam_source_used_bytes(source), count * 4096);
        assert_true(count >= 250); /* of 256 grains */
    }
    assert_null(loam_source_fixed(room, 4096));
    assert_int_equal(errno, EINVAL);
    assert_null(loam_source_fixed(NULL, 1 << 20));
}

static void shared_is_seen_by_others(void **state)
{
    const struct loam_source *source = loam_source_shared("test", 1 << 20);
    char *p, *there;
    int fd;

    (void)state;
    assert_non_null(source);
    exercise(source, 64 << 10);
    fd = loam_source_fd(source);
    there = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(there, MAP_FAILED);
    p = lm_source_map(source, 4096, 4096);
    memset(p, 42, 4096);
    assert_int_equal(there[(size_t)(p - (char *)lm_align_down((uintptr_t)source, 4096))], 42);
    munmap(there, 1 << 20);
    loam_source_close(source);
    assert_int_equal(close(fd), -1); /* already */
    assert_int_equal(loam_source_fd(loam_source_os()), -1);
    loam_source_close(loam_source_os());
    assert_null(loam_source_shared("big", SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arena_is_the_default), cmocka_unit_test(os_and_huge),
        cmocka_unit_test(fixed_stays_inside), cmocka_unit_test(shared_is_seen_by_others)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
