/* work_threads.c: several threads: servers that hand objects on, producers and consumers, private work, threads that
 * come and go, and many more threads than processors. */
#include "work.h"
#include <pthread.h>
#include <sched.h>

static long work; /* of each thread; set before the threads start */

/* -- larson: a server's threads, each serving on with the objects of the one before (Larson and Krishnan 1998) ------- */

enum { LARSON_SLOTS = 1000, LARSON_LANES = 2, LARSON_LIFE = 20000 };

struct lane {
    void *held[LARSON_SLOTS];
    uint64_t seed;
    long left;
};

static void *serve(void *arg)
{
    struct lane *lane = arg;

    for (long i = 0; i < LARSON_LIFE && lane->left > 0; i++, lane->left--) {
        size_t slot = next_random(&lane->seed) % LARSON_SLOTS;

        free(lane->held[slot]);
        lane->held[slot] = touch(10 + next_random(&lane->seed) % 490);
    }
    return NULL;
}

/* A lane's threads follow each other; what one leaves, the next frees. */
static void *serve_lane(void *number)
{
    static struct lane lanes[LARSON_LANES];
    struct lane *lane = &lanes[(uintptr_t)number];
    pthread_t server;

    lane->seed = (uintptr_t)number + 21;
    lane->left = work;
    while (lane->left > 0) {
        if (pthread_create(&server, NULL, serve, lane) != 0)
            abort();
        pthread_join(server, NULL);
    }
    return NULL;
}

static void larson(long percent)
{
    work = work_of(5000000, percent);
    run_threads(LARSON_LANES, serve_lane);
}

/* -- rings between two threads --------------------------------------------------------------------------------------- */

enum { RING = 1 << 11 };

struct ring {
    _Alignas(64) size_t head; /* released by the producer, acquired by the consumer */
    _Alignas(64) size_t tail; /* the other way round */
    void *slot[RING];
};

static int ring_put(struct ring *ring, void *p)
{
    size_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);

    if (head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) == RING)
        return 0;
    ring->slot[head % RING] = p;
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
    return 1;
}

static void *ring_get(struct ring *ring)
{
    size_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    void *p;

    if (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) == tail)
        return NULL;
    p = ring->slot[tail % RING];
    __atomic_store_n(&ring->tail, tail + 1, __ATOMIC_RELEASE);
    return p;
}

enum { ALL = 4 };
static struct ring rings[ALL][ALL];

static void *one_way(void *number)
{
    uint64_t seed = 5;

    for (long i = 0; i < work; i++)
        if (number) {
            void *p;

            while (!(p = ring_get(&rings[0][0])))
                sched_yield();
            free(p);
        } else {
            void *p = touch(16 + next_random(&seed) % 240);

            while (!ring_put(&rings[0][0], p))
                sched_yield();
        }
    return NULL;
}

static void producer_consumer(long percent)
{
    work = work_of(3000000, percent);
    run_threads(2, one_way);
}

/* Sends as many as it takes. */
static void *both_ways_thread(void *number)
{
    unsigned me = (unsigned)(uintptr_t)number;
    struct ring *out = &rings[me][!me], *in = &rings[!me][me];
    uint64_t seed = me + 31;
    long sent = 0, taken = 0;
    void *ready = NULL, *p;

    while (sent < work || taken < work) {
        if (!ready && sent < work)
            ready = touch(mixed(&seed));
        if (ready && ring_put(out, ready)) {
            ready = NULL;
            sent++;
        } else if (!(p = ring_get(in))) {
            sched_yield();
            continue;
        } else {
            free(p);
            taken++;
        }
    }
    return NULL;
}

static void both_ways(long percent)
{
    work = work_of(600000, percent);
    run_threads(2, both_ways_thread);
}

/* -- all to all ------------------------------------------------------------------------------------------------------ */

static unsigned finished;

static void take_all(unsigned me)
{
    for (unsigned from = 0; from < ALL; from++)
        free(ring_get(&rings[from][me]));
}

/* Who is done goes on taking until all are, so that nobody waits for a full ring for ever. */
static void *all_to_all_thread(void *number)
{
    unsigned me = (unsigned)(uintptr_t)number;
    uint64_t seed = me + 41;

    for (long i = 0; i < work; i++)
        for (unsigned other = 0; other < ALL; other++) {
            void *p = touch(mixed(&seed));

            while (!ring_put(&rings[me][other], p)) {
                take_all(me);
                sched_yield();
            }
            free(ring_get(&rings[other][me]));
        }
    __atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE); /* acquired by who waits below */
    while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < ALL) {
        take_all(me);
        sched_yield();
    }
    return NULL;
}

static void all_to_all(long percent)
{
    work = work_of(300000, percent);
    run_threads(ALL, all_to_all_thread);
}

static void *exchanged[4096];

static void *exchange_thread(void *number)
{
    uint64_t seed = (uintptr_t)number * 77 + 1;

    for (long i = 0; i < work; i++)
        free(__atomic_exchange_n(&exchanged[next_random(&seed) % 4096], touch(mixed(&seed)), __ATOMIC_ACQ_REL));
    return NULL;
}

static void exchange(long percent)
{
    work = work_of(2000000, percent);
    run_threads(2, exchange_thread);
}

/* -- private work ---------------------------------------------------------------------------------------------------- */

/* threadtest of Hoard (Berger and others 2000): each thread makes many small blocks and frees them. */
static void *threadtest_thread(void *number)
{
    enum { N = 50000 };
    void **p = touch(N * sizeof *p);

    (void)number;
    for (long round = 0; round < work; round++) {
        for (int i = 0; i < N; i++)
            p[i] = touch(8);
        for (int i = 0; i < N; i++)
            free(p[i]);
    }
    free(p);
    return NULL;
}

static void threadtest(long percent)
{
    work = work_of(150, percent);
    run_threads(2, threadtest_thread);
}

static void *short_thread(void *number)
{
    uint64_t seed = (uintptr_t)number + 1;
    void *p[200];

    for (int i = 0; i < 200; i++)
        p[i] = touch(mixed(&seed));
    for (int i = 0; i < 200; i++)
        free(p[i]);
    return NULL;
}

static void thread_churn(long percent)
{
    for (long i = work_of(3000, percent); i-- > 0;)
        run_threads(2, short_thread);
}

/* -- many threads ---------------------------------------------------------------------------------------------------- */

/* Each has 200 blocks of its own; one replacement in eight goes through a table that all share. They work in
 * turns of `work` and all live until the last is done. */
static pthread_barrier_t all_here;

static void *one_of_many(void *number)
{
    uint64_t seed = (uintptr_t)number * 13 + 1;
    void *held[200] = {NULL};

    for (int turn = 0; turn < 5; turn++) {
        for (long i = 0; i < work; i++) {
            uint64_t r = next_random(&seed);
            size_t slot = r % 200;

            free(held[slot]);
            held[slot] = touch(mixed(&seed));
            if (r >> 20 & 7)
                continue;
            held[slot] = __atomic_exchange_n(&exchanged[r >> 24 & 4095], held[slot], __ATOMIC_ACQ_REL);
        }
        pthread_barrier_wait(&all_here);
    }
    for (size_t i = 0; i < 200; i++)
        free(held[i]);
    return NULL;
}

static void many_threads(unsigned count, long total, long percent)
{
    work = work_of(total / count / 5, percent);
    if (pthread_barrier_init(&all_here, NULL, count) != 0)
        abort();
    run_threads(count, one_of_many);
    pthread_barrier_destroy(&all_here);
}

static void threads_64(long percent)
{
    many_threads(64, 4000000, percent);
}

static void threads_1000(long percent)
{
    many_threads(1000, 3000000, percent);
}

const struct workload thread_workloads[] = {
    {"larson", "two lanes of servers; each frees what the one before left", larson},
    {"producer-consumer", "one thread allocates, another frees", producer_consumer},
    {"both-ways", "two threads, each frees what the other allocates", both_ways},
    {"all-to-all", "four threads, each sends to all", all_to_all},
    {"exchange", "two threads swap blocks through a table", exchange},
    {"threadtest", "two threads with work of their own: 50,000 blocks of 8 bytes", threadtest},
    {"thread-churn", "threads that live for 200 blocks, two at a time", thread_churn},
    {"threads-64", "64 threads at once, one block in eight passed on", threads_64},
    {"threads-1000", "1,000 threads at once, one block in eight passed on", threads_1000}, {NULL, NULL, NULL}};
