/* What threads owe each other: a heap that grows gets a partial slab of one that has several; claims add up. */
#include "heap/room.h"
#include "lists.h"
#include "unit.h"

#include <pthread.h>
#include <semaphore.h>
#include <string.h>

enum { SIZE = 1024, BLOCKS = 2000, THREADS = 4, STEPS = 40000, SLOTS = 64 };

static void *block[BLOCKS];
static sem_t go, done;
static void (*job)(void);

static void *worker(void *arg)
{
    for (;;) {
        sem_wait(&go);
        if (!job)
            return arg;
        job();
        sem_post(&done);
    }
}

static void in_worker(void (*what)(void))
{
    job = what;
    sem_post(&go);
    if (what)
        sem_wait(&done);
}

static unsigned of_heap(const struct lm_heap *heap)
{
    unsigned count = 0;

    for (lm_span_id id = heap->lists.partial[lm_class_of(SIZE)]; id; id = lm_span_at(id)->next)
        count++;
    return count;
}

static struct lm_heap *greedy;
static unsigned greedy_partial;
static void *mine[BLOCKS];
static unsigned made;

static void take_much(void)
{
    for (int i = 0; i < BLOCKS; i++)
        block[i] = lm_heap_malloc(SIZE, NULL);
    greedy = lm_heap_mine();
}

/* Three of four blocks: every slab of the thread becomes partial. */
static void leave_a_quarter(void)
{
    for (int i = 0; i < BLOCKS; i++)
        if (i % 4) {
            lm_heap_free(block[i]);
            block[i] = NULL;
        }
    greedy_partial = of_heap(greedy);
}

/* A free that looks up: the last of a slab that is full again. */
static void stir(void)
{
    struct lm_span *current = lm_heap_mine()->current[lm_class_of(SIZE)];
    void *filled[256];
    int count = 0;

    while (count < 256 && lm_heap_mine()->current[lm_class_of(SIZE)] == current)
        filled[count++] = lm_heap_malloc(SIZE, NULL);
    while (count)
        lm_heap_free(filled[--count]);
    greedy_partial = of_heap(lm_heap_mine());
}

static void free_the_rest(void)
{
    for (int i = 0; i < BLOCKS; i++)
        if (block[i])
            lm_heap_free(block[i]);
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
}

/* Until this thread's heap has to grow by a slab, or has been given one. */
static void grow(void)
{
    struct lm_span *was = lm_heap_mine()->current[lm_class_of(SIZE)];

    do
        mine[made++] = lm_heap_malloc(SIZE, NULL);
    while (made < BLOCKS && lm_heap_mine()->current[lm_class_of(SIZE)] == was);
}

static void who_grows_gets_what_others_leave(void **state)
{
    pthread_t thread;
    struct lm_span *slab;
    uint64_t given, stolen, slab_bytes = lm_class[lm_class_of(SIZE)].granules * LM_GRANULE;

    (void)state;
    sem_init(&go, 0, 0);
    sem_init(&done, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, worker, NULL), 0);
    mine[made++] = lm_heap_malloc(SIZE, NULL);
    in_worker(take_much);
    in_worker(leave_a_quarter);
    assert_true(greedy_partial > 10);
    in_worker(stir); /* whatever tests before this one have wanted is given now */
    given = greedy->given_bytes;
    in_worker(stir);
    assert_int_equal(greedy->given_bytes, given); /* nobody wants any */
    do {                                          /* and now somebody does, when the orphans are used up */
        stolen = lm_heap_mine()->stolen_bytes;
        grow();
    } while (lm_heap_mine()->stolen_bytes != stolen);
    in_worker(stir);
    assert_int_equal(greedy->given_bytes - given, slab_bytes);
    assert_int_equal(lm_heap_check(), 0);
    grow();
    slab = lm_block_span(mine[made - 1], "free");
    assert_ptr_equal(lm_slab_owner(slab), lm_heap_mine());
    assert_int_equal(lm_heap_mine()->stolen_bytes - stolen, slab_bytes);
    assert_true(lm_slab_capacity(slab) > lm_slab_count_free(slab) + 1); /* others' blocks are in it */
    in_worker(stir);
    in_worker(stir);
    assert_int_equal(greedy->given_bytes - given, slab_bytes); /* one for each want, and no more */
    while (made)
        lm_heap_free(mine[--made]);
    in_worker(free_the_rest);
    in_worker(NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    lm_heap_trim(0);
    assert_int_equal(lm_heap_check(), 0);
}

/* Of two partial slabs one stays. */
static void the_last_stays(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, worker, NULL), 0);
    in_worker(take_much);
    in_worker(leave_a_quarter);
    for (int i = 0; i < 200; i++) {
        grow();
        in_worker(stir);
        if (made > BLOCKS - 200)
            break;
    }
    assert_true(greedy_partial >= 1);
    assert_int_equal(lm_heap_check(), 0);
    while (made)
        lm_heap_free(mine[--made]);
    in_worker(free_the_rest);
    in_worker(NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static struct lm_claim told;

static void tell(const struct lm_claim *claim)
{
    told = *claim;
}

static void *hold_a_megabyte(void *arg)
{
    struct lm_claim claims[LM_CLAIMS];
    size_t count;
    bool found = false;

    for (int i = 0; i < 1024; i++)
        block[i] = lm_heap_malloc(SIZE, NULL);
    for (int i = 0; i < 1024; i += 2)
        lm_heap_free(block[i]);
    count = lm_heap_claims(claims, LM_CLAIMS);
    for (size_t i = 0; i < count; i++)
        found |= claims[i].thread == (uint32_t)lm_os_thread_id() && claims[i].held_bytes >= 1 << 20 &&
            claims[i].cached_bytes >= 512 << 10 && claims[i].cached_bytes < claims[i].held_bytes && !claims[i].ended;
    *(bool *)arg = found;
    return NULL;
}

static void claims_add_up(void **state)
{
    struct lm_claim one;
    pthread_t thread;
    bool found = false;

    (void)state;
    lm_claim_hook = tell;
    assert_int_equal(pthread_create(&thread, NULL, hold_a_megabyte, &found), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    lm_claim_hook = NULL;
    assert_true(found);
    assert_true(told.ended && told.held_bytes >= 1 << 20 && told.cached_bytes >= 512 << 10);
    assert_true(told.held_bytes - told.cached_bytes < 1 << 20);
    assert_int_equal(lm_heap_claims(&one, 1), 1); /* this thread's, or another's that has a heap */
    assert_int_equal(lm_heap_claims(&one, 0), 0);
    for (int i = 1; i < 1024; i += 2)
        lm_heap_free(block[i]);
    memset(block, 0, sizeof block);
    assert_int_equal(lm_heap_check(), 0);
}

/* Greedy and modest at once, sizes that several want: nothing is lost, and nothing is handed out twice. */
static void *slot[SLOTS];

static void *trade(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 2654435761u + 1;

    for (int i = 0; i < STEPS; i++) {
        uint64_t r = unit_random(&seed);
        size_t size = 16 + r / 64 % 6 * 160;
        uintptr_t *p = r % 5 < 3 ? lm_heap_malloc(size, NULL) : NULL;

        if (p)
            *p = (uintptr_t)p;
        p = __atomic_exchange_n(&slot[r / 4096 % SLOTS], p, __ATOMIC_ACQ_REL);
        if (p && *p != (uintptr_t)p)
            return "a block was written to";
        lm_heap_free(p);
        if (r / 65536 % 4096 == 0 && lm_heap_check_slabs(lm_heap_mine()))
            return "a slab is not as it should be";
    }
    return NULL;
}

static void many_trade(void **state)
{
    pthread_t thread[THREADS];
    void *fault;

    (void)state;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, trade, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &fault), 0);
        assert_null(fault);
    }
    for (int i = 0; i < SLOTS; i++)
        lm_heap_free(slot[i]);
    memset(slot, 0, sizeof slot);
    assert_int_equal(lm_heap_check(), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_grows_gets_what_others_leave),
        cmocka_unit_test(the_last_stays),
        cmocka_unit_test(claims_add_up),
        cmocka_unit_test(many_trade),
    };

    lm_heap_start();
    return lists_run_group_tests(tests);
}
