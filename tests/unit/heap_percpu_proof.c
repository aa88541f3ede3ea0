/* While it is not known yet whether restartable sequences work, CPUs serve without them; and when they turn out not to
 * work, threads have heaps of their own again. Each case in a process of its own, for it is found out once. */
#include "heap/heap.h"
#include "os/fake.h"
#include "child.h"
#include "cpus.h"
#include "unit.h"

#include <string.h>
#include <sys/wait.h>

enum { THREADS = 12, BLOCKS = 300 };

static pthread_barrier_t all_begin, all_have, all_freed, proof_begins, proof_ends;
static unsigned char *block[THREADS][BLOCKS];
static bool works; /* what the proof will say */

static void make_blocks(unsigned me)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t size = 1 + (i * 37 + me * 11) % 3000;

        block[me][i] = lm_heap_malloc(size, NULL);
        NEED(block[me][i]);
        memset(block[me][i], (int)me, size);
    }
}

static void free_blocks(unsigned of)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        NEED(block[of][i][0] == of);
        lm_heap_free(block[of][i]);
        block[of][i] = NULL;
    }
}

/* Each frees what its neighbour allocated, and then allocates again, which the main thread frees. */
static void *work(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;

    pthread_barrier_wait(&all_begin);
    make_blocks(me);
    pthread_barrier_wait(&all_have);
    free_blocks((me + 1) % THREADS);
    pthread_barrier_wait(&all_have);
    make_blocks(me);
    pthread_barrier_wait(&all_freed);
    pthread_barrier_wait(&all_freed);
    lm_heap_free(lm_heap_malloc(50, NULL));
    return NULL;
}

/* The proof lasts until the others have done their work. */
static bool prove_late(void)
{
    pthread_barrier_wait(&proof_begins);
    pthread_barrier_wait(&proof_ends);
    return works;
}

static bool prove_at_once(void)
{
    return true;
}

/* The first thread that allocates has the proof made. */
static void *allocate_first(void *arg)
{
    lm_heap_free(lm_heap_malloc(1, NULL));
    return arg;
}

/* In the child of a fork that came while a thread of the parent was at the proof. */
static int go_on_without_it(void)
{
    lm_percpu_fork_reset();
    lm_fake_prove(prove_at_once);
    lm_heap_after_fork();
    NEED(lm_percpu_on);
    NEED(lm_heap_check() == 0);
    for (unsigned i = 0; i < THREADS; i++)
        free_blocks(i);
    lm_heap_trim(0);
    return lm_heap_check() ? 2 : 0;
}

static void fork_meanwhile(void)
{
    int status;
    pid_t child;

    lm_percpu_fork_take();
    child = fork();
    if (child == 0)
        _exit(go_on_without_it());
    lm_percpu_fork_release();
    NEED(waitpid(child, &status, 0) == child && status == 0);
}

static void served_meanwhile(void)
{
    pthread_t thread[THREADS], prover;
    struct lm_heap_stats stats;
    size_t blocks, bytes;

    pthread_barrier_init(&all_begin, NULL, THREADS + 1);
    pthread_barrier_init(&all_have, NULL, THREADS);
    pthread_barrier_init(&all_freed, NULL, THREADS + 1);
    pthread_barrier_init(&proof_begins, NULL, 2);
    pthread_barrier_init(&proof_ends, NULL, 2);
    lm_fake_prove(prove_late);
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&thread[i], NULL, work, (void *)i) == 0);
    NEED(pthread_create(&prover, NULL, allocate_first, NULL) == 0);
    pthread_barrier_wait(&proof_begins);
    NEED(lm_percpu_on);
    pthread_barrier_wait(&all_begin);
    pthread_barrier_wait(&all_freed);
    NEED(lm_heap_check() == 0);
    lm_percpu_cached(&blocks, &bytes);
    NEED(blocks == 0); /* the lists are nobody's yet */
    lm_heap_stats(&stats);
    NEED(stats.heaps == 0);
    lm_percpu_drain();
    NEED(lm_heap_check() == 0);
    fork_meanwhile();
    pthread_barrier_wait(&proof_ends);
    pthread_join(prover, NULL);
    NEED(lm_percpu_on == works);
    NEED(lm_heap_check() == 0);
    pthread_barrier_wait(&all_freed);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < THREADS; i++)
        free_blocks(i);
    lm_heap_trim(0);
    NEED(lm_heap_check() == 0);
    lm_heap_stats(&stats);
    NEED(stats.small_live_bytes == 0 && stats.slabs == 0);
}

static void until_it_is_proved(void **state)
{
    (void)state;
    works = true;
    in_child(served_meanwhile);
}

static void until_it_is_refuted(void **state)
{
    (void)state;
    works = false;
    in_child(served_meanwhile);
}

static int start(void **state)
{
    int status;
    pid_t child;

    (void)state;
    lm_fake_reset();
    cpus_start(LM_CACHE_CPU);
    child = fork();
    if (child == 0)
        _exit(allocate_first(NULL) != NULL || !lm_percpu_on);
    waitpid(child, &status, 0);
    if (status) {
        printf("sequences cannot be used here\n");
        exit(0);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(until_it_is_proved),
        cmocka_unit_test(until_it_is_refuted),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
