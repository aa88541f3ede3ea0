/* Memory for several slabs at once: a heap that has grown takes it by few calls, hands all of it out, and gives it back when it is
 * trimmed, when its thread ends, and in a fork's child, whose threads are gone. */
// test: threads
#include "child.h"
#include "heap/room.h"
#include "os/fake.h"

#include <string.h>

enum { SIZE = 256, OBJECTS = LM_GRANULE / SIZE, SLABS = 600 };

static char *block[SLABS * OBJECTS];

/* Takes blocks of so many slabs' worth, each written; every block has the memory to itself. */
static void take(size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        block[i] = lm_heap_malloc(SIZE, NULL);
        assert_non_null(block[i]);
        memset(block[i], (int)i | 1, SIZE);
    }
}

static void give(size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        for (size_t b = 0; b < SIZE; b += 64)
            assert_int_equal((unsigned char)block[i][b], (i | 1) & 0xff);
        lm_heap_free(block[i]);
    }
}

static void count_unmade(struct lm_span *span, void *arg)
{
    if (span->kind == LM_SLAB_CURRENT && !span->link)
        *(size_t *)arg += span->granules;
}

/* Granules of all runs that are not used up. */
static size_t in_runs(void)
{
    size_t granules = 0;

    lm_page_each(count_unmade, &granules);
    return granules;
}

static void grows_by_few_calls(void)
{
    size_t most = 0;
    uint64_t calls;

    lm_fake_reset();
    for (int i = 0; i < SLABS; i++) {
        take((size_t)i * OBJECTS, OBJECTS);
        most = lm_max(most, in_runs());
        if (i % 16 == 0)
            assert_int_equal(lm_heap_check(), 0);
    }
    calls = lm_fake_calls(LM_OS_ADVISE);
    assert_true(calls < SLABS / 2); /* of which the first hundred or so are each for a slab */
    assert_true(most >= 3 && most < 8);
    assert_true(lm_heap_mine()->ahead || lm_heap_mine()->made >= SLABS);
    give(0, SLABS * OBJECTS);
    lm_heap_trim(0);
    assert_int_equal(in_runs(), 0);
    assert_int_equal(lm_heap_check(), 0);
}

/* Half of a heap, in all its slabs' sizes: a run that is too short for a slab of several granules goes back. */
static void serves_all_classes(void)
{
    static char *mixed[4000];
    uint64_t seed = unit_seed();

    take(0, SLABS / 2 * OBJECTS);
    for (int i = 0; i < 4000; i++) {
        size_t size = 1 + unit_below(&seed, 16 << 10);

        mixed[i] = lm_heap_malloc(size, NULL);
        assert_non_null(mixed[i]);
        memset(mixed[i], 0xee, size);
        if (i % 256 == 0)
            assert_int_equal(lm_heap_check(), 0);
    }
    for (int i = 0; i < 4000; i++)
        lm_heap_free(mixed[i]);
    give(0, SLABS / 2 * OBJECTS);
    lm_heap_trim(0);
    assert_int_equal(in_runs(), 0);
    assert_int_equal(lm_heap_check(), 0);
}

/* Takes one block after the other until a run has been made and is not used up; how many. */
static size_t take_until_run(void)
{
    size_t count = 0;

    while (!lm_heap_mine() || !lm_heap_mine()->ahead) {
        assert_true(count < SLABS * OBJECTS);
        take(count++, 1);
    }
    return count;
}

static int ready[2], done[2];

static void *thread_with_a_run(void *arg)
{
    size_t *count = arg;
    char byte = 0;

    *count = take_until_run();
    if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
        abort();
    return NULL;
}

/* What the child of a fork does, whose parent had another thread: nothing of that thread's run is lost. */
static void child_of_two(void)
{
    lm_lock_reset(&lm_page_lock);
    lm_heap_after_fork();
    NEED(in_runs() == 0 && lm_heap_check() == 0 && !(lm_heap_mine() && lm_heap_mine()->ahead));
}

static void goes_with_its_thread(void)
{
    pthread_t thread;
    size_t count, before;
    char byte = 0;

    lm_heap_free(lm_heap_malloc(1, NULL)); /* the main thread's heap */
    lm_heap_trim(0);
    before = lm_page_used();
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    assert_int_equal(pthread_create(&thread, NULL, thread_with_a_run, &count), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(in_runs() > 0);
    in_child(child_of_two); /* the thread waits, and holds no lock */
    assert_int_equal(write(done[1], &byte, 1), 1);
    pthread_join(thread, NULL);
    assert_int_equal(in_runs(), 0);
    give(0, count);
    lm_heap_trim(0);
    assert_true(lm_page_used() <= before + 1); /* bookkeeping for a heap more */
    assert_int_equal(lm_heap_check(), 0);
}

/* Memory that is refused costs nothing but the run. */
static void does_without(void)
{
    lm_fake_reset();
    lm_fake_fail_from(LM_OS_ADVISE, 1);
    take(0, SLABS / 2 * OBJECTS);
    assert_int_equal(lm_heap_check(), 0);
    give(0, SLABS / 2 * OBJECTS);
    lm_fake_reset();
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
}

static char *inside_run;

static void free_in_run(void)
{
    lm_heap_free(inside_run);
}

static void measure_in_run(void)
{
    lm_heap_usable(inside_run);
}

/* What is no slab yet is no block: freed or measured, it is reported. */
static void is_no_block(void)
{
    char *run;

    take_until_run();
    run = lm_span_start(lm_span_at(lm_heap_mine()->ahead));
    for (size_t offset = 0; offset < 2 * LM_GRANULE; offset += LM_GRANULE / 4) {
        inside_run = run + offset;
        aborts_in_child(free_in_run);
        aborts_in_child(measure_in_run);
    }
}

static void runs(void **state)
{
    (void)state;
    in_child(grows_by_few_calls); /* each in a process whose peak nothing has raised yet */
    in_child(serves_all_classes);
    in_child(goes_with_its_thread);
    in_child(does_without);
    in_child(is_no_block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs)};

    lm_heap_start();
    lm_heap_configure();
    lm_config.prefault_bytes = 64 << 10;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
