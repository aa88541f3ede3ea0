/* Restartable sequences: what one does alone, and that none is ever seen half done, whatever interrupts it: signals,
 * preemption, migration, a fence from another thread, fork. */
#include "os/os.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 64, SLOT = sizeof(struct lm_rseq_slot), MOST_CPUS = 8192, THREADS = 6 };

/* Two lists: 0 is owned by the CPU's structure, 1 by nobody in particular. */
struct cpu {
    struct lm_rseq_list list[2];
    struct lm_rseq_slot slot[2 * SLOTS];
};

static struct lm_rseq_cpu *table[MOST_CPUS];
static struct cpu *cpus; /* one for each index, untouched but for those in use */
static struct cpu stopped;
static uint32_t limit;

static struct lm_rseq_cpu *as_lists(struct cpu *cpu)
{
    return (struct lm_rseq_cpu *)(void *)cpu;
}

static void cpu_reset(struct cpu *cpu)
{
    for (unsigned i = 0; i < 2; i++) {
        cpu->list[i].owner = i ? NULL : cpu;
        cpu->list[i].begin = cpu->list[i].top = (uint32_t)offsetof(struct cpu, slot[i * SLOTS]);
        cpu->list[i].end = cpu->list[i].begin + SLOTS * SLOT;
    }
}

static int start(void **state)
{
    static int usable = -1;

    (void)state;
    limit = lm_rseq_limit();
    if (usable < 0) {
        usable = limit <= MOST_CPUS && lm_rseq_find(table, limit, as_lists(&stopped)) && lm_rseq_prove();
        cpus = mmap(NULL, limit * sizeof *cpus, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(cpus, MAP_FAILED);
        printf("sequences can%s be used here\n", usable ? "" : "not");
    }
    for (uint32_t i = 0; usable && i < limit; i++) {
        cpu_reset(&cpus[i]);
        table[i] = as_lists(&cpus[i]);
    }
    return 0;
}

static bool usable(void)
{
    return lm_rseq.limit && table[0] == as_lists(&cpus[0]);
}

static size_t offset(unsigned list)
{
    return list * sizeof(struct lm_rseq_list);
}

/* What belongs to a token, and must come with it. */
static void *more_of(void *token)
{
    return (void *)((uintptr_t)token + 100000);
}

static struct lm_rseq_slot pair_of(void *token)
{
    return (struct lm_rseq_slot){token, more_of(token)};
}

static enum lm_rseq_result push(unsigned list, const void *owner, void *token)
{
    return lm_rseq_push(lm_rseq_area(), offset(list), owner, pair_of(token));
}

static void *pop(unsigned list)
{
    struct lm_rseq_slot slot = lm_rseq_pop(lm_rseq_area(), offset(list));

    if (slot.object && slot.more != more_of(slot.object))
        abort(); /* in any thread, and in handlers */
    return slot.object;
}

static struct lm_rseq_slot *slot_at(struct cpu *cpu, uint32_t at)
{
    return (struct lm_rseq_slot *)(void *)((char *)cpu + at);
}

/* Everything on the lists of all CPUs; each is added to seen[]. */
static size_t collect(unsigned *seen, const char *base, size_t tokens)
{
    size_t count = 0;

    for (uint32_t c = 0; c < limit; c++)
        for (unsigned l = 0; l < 2; l++) {
            const struct lm_rseq_list *list = &cpus[c].list[l];

            assert_in_range(list->top, list->begin, list->end);
            for (uint32_t at = list->begin; at < list->top; at += SLOT) {
                const struct lm_rseq_slot *slot = slot_at(&cpus[c], at);
                size_t token = (size_t)((const char *)slot->object - base);

                assert_in_range(token, 0, tokens - 1);
                assert_ptr_equal(slot->more, more_of(slot->object));
                seen[token]++;
                count++;
            }
        }
    return count;
}

static void pushes_and_pops(void **state)
{
    struct lm_rseq_area *area = lm_rseq_area();
    uint64_t seed = unit_seed();
    static char token[SLOTS];
    struct cpu one;
    size_t held = 0;

    (void)state;
    if (!usable())
        skip();
    cpu_reset(&one);
    for (uint32_t i = 0; i < limit; i++)
        table[i] = as_lists(&one);
    for (int step = 0; step < 100000; step++) {
        if (unit_below(&seed, 2)) {
            enum lm_rseq_result result = push(0, &one, &token[held % SLOTS]);

            assert_int_equal(result, held == SLOTS ? LM_RSEQ_MISSED : LM_RSEQ_DONE);
            held += result == LM_RSEQ_DONE;
        } else {
            void *p = pop(0);

            assert_ptr_equal(p, held ? &token[held - 1] : NULL);
            held -= p != NULL;
        }
        assert_int_equal(one.list[0].top, one.list[0].begin + held * SLOT);
        assert_int_equal(one.list[1].top, one.list[1].begin);
        assert_int_equal(area->cs, 0);
    }
}

/* What sequences do while nobody interrupts them, which needs no kernel that has them: so on every machine of these kinds. */
static void alone_they_are_a_stack(void **state)
{
    static struct lm_rseq_area area;
    static struct cpu mine;
    static char token[SLOTS + 1];
    struct lm_rseq_cpu *one[2] = {NULL, as_lists(&mine)};
    struct lm_rseq trial = {.table = one, .limit = 2, .index = offsetof(struct lm_rseq_area, mm_cid)};
    uint64_t seed = unit_seed();
    unsigned held[2] = {0, 0};

    (void)state;
#if !defined(__x86_64__) && !defined(__aarch64__)
    skip();
#endif
    cpu_reset(&mine);
    area.mm_cid = 1;
    for (int step = 0; step < 100000; step++) {
        unsigned l = (unsigned)unit_below(&seed, 2);
        struct lm_rseq_slot slot = pair_of(&token[held[l]]);

        if (unit_below(&seed, 2)) {
            enum lm_rseq_result result = lm_rseq_push_of(&trial, &area, offset(l), l ? NULL : &mine, slot);

            assert_int_equal(result, held[l] == SLOTS ? LM_RSEQ_MISSED : LM_RSEQ_DONE);
            held[l] += result == LM_RSEQ_DONE;
        } else {
            slot = lm_rseq_pop_of(&trial, &area, offset(l));
            assert_ptr_equal(slot.object, held[l] ? &token[held[l] - 1] : NULL);
            if (slot.object)
                assert_ptr_equal(slot.more, more_of(slot.object));
            held[l] -= slot.object != NULL;
        }
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(mine.list[i].top, mine.list[i].begin + held[i] * SLOT);
        assert_int_equal(area.cs, 0);
    }
    assert_int_equal(lm_rseq_push_of(&trial, &area, offset(0), &area, pair_of(token)), LM_RSEQ_FOREIGN);
    area.mm_cid = 2; /* beyond the table */
    assert_int_equal(lm_rseq_push_of(&trial, &area, offset(1), NULL, pair_of(token)), LM_RSEQ_MISSED);
    assert_null(lm_rseq_pop_of(&trial, &area, offset(1)).object);
    assert_int_equal(area.cs, 0);
}

static void refuses_other_owners(void **state)
{
    char token;

    (void)state;
    if (!usable())
        skip();
    assert_int_equal(push(0, &token, &token), LM_RSEQ_FOREIGN);
    assert_int_equal(push(0, NULL, &token), LM_RSEQ_FOREIGN);
    assert_int_equal(push(1, NULL, &token), LM_RSEQ_DONE);
    for (uint32_t i = 0; i < limit; i++)
        table[i] = as_lists(&stopped);
    assert_null(pop(1));
    assert_int_equal(push(1, NULL, &token), LM_RSEQ_MISSED);
}

/* -- tokens that many threads push and pop must neither vanish nor double ------------------------------------------ */

enum { TOKENS = 400 };
static char token_base[TOKENS];
static bool stop;   /* atomic */
static bool broken; /* the negative control: steps that can be seen half done */
static uint64_t storm_seed;

LM_RACY static void *step_pop(unsigned list)
{
    struct cpu *cpu;
    void *p;

    if (!broken)
        return pop(list);
    cpu = &cpus[0];
    if (cpu->list[list].top == cpu->list[list].begin)
        return NULL;
    p = slot_at(cpu, cpu->list[list].top - SLOT)->object;
    sched_yield();
    if (cpu->list[list].top > cpu->list[list].begin)
        cpu->list[list].top -= SLOT;
    return p;
}

LM_RACY static bool step_push(unsigned list, void *p)
{
    struct cpu *cpu;

    if (!broken)
        return push(list, list ? NULL : &cpus[lm_rseq_index(lm_rseq_area())], p) == LM_RSEQ_DONE;
    cpu = &cpus[0];
    if (cpu->list[list].top == cpu->list[list].end)
        return false;
    *slot_at(cpu, cpu->list[list].top) = pair_of(p);
    sched_yield();
    if (cpu->list[list].top < cpu->list[list].end)
        cpu->list[list].top += SLOT;
    return true;
}

struct hands {
    void *token[TOKENS];
    size_t count;
    uint64_t seed;
    pthread_t thread;
};

static void move(struct hands *hands)
{
    unsigned list = unit_below(&hands->seed, 2) != 0;

    if (hands->count && unit_below(&hands->seed, 2)) {
        if (step_push(list, hands->token[hands->count - 1]))
            hands->count--;
    } else if (hands->count < TOKENS) {
        void *p = step_pop(list);

        if (p)
            hands->token[hands->count++] = p;
    }
}

static __thread struct hands *in_handler;

static void on_signal(int signal)
{
    (void)signal;
    if (in_handler) /* a handler runs sequences of its own, inside whatever it interrupted */
        for (int i = 0; i < 3; i++)
            move(in_handler);
}

static void *storm(void *arg)
{
    struct hands *hands = arg, mine = {.seed = hands->seed ^ 0x5555};

    in_handler = &mine;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        move(hands);
        if (i % 1024 == 0) {
            cpu_set_t one;

            CPU_ZERO(&one);
            CPU_SET((i / 1024 + (unsigned)hands->seed) % lm_os_cpu_count(), &one);
            sched_setaffinity(0, sizeof one, &one);
        }
        if (unit_below(&hands->seed, 64) == 0)
            sched_yield();
    }
    in_handler = NULL;
    for (size_t i = 0; i < mine.count && hands->count < TOKENS; i++)
        hands->token[hands->count++] = mine.token[i];
    return NULL;
}

/* Takes all lists away, moves their tokens about, and gives them back. */
static size_t drain(void)
{
    struct hands out = {.count = 0};

    for (uint32_t i = 0; i < limit; i++)
        __atomic_store_n(&table[i], as_lists(&stopped), __ATOMIC_RELAXED);
    assert_true(lm_rseq_fence());
    for (uint32_t c = 0; c < limit; c++)
        for (unsigned l = 0; l < 2; l++)
            while (cpus[c].list[l].top > cpus[c].list[l].begin && out.count < TOKENS) {
                cpus[c].list[l].top -= SLOT;
                out.token[out.count++] = slot_at(&cpus[c], cpus[c].list[l].top)->object;
            }
    for (size_t i = 0; i < out.count; i++) /* all on one CPU's lists, where there is room */
        for (uint32_t c = 0;; c++) {
            struct lm_rseq_list *list = &cpus[c].list[i % 2];

            if (list->top < list->end) {
                *slot_at(&cpus[c], list->top) = pair_of(out.token[i]);
                list->top += SLOT;
                break;
            }
        }
    for (uint32_t i = 0; i < limit; i++)
        __atomic_store_n(&table[i], as_lists(&cpus[i]), __ATOMIC_RELEASE);
    return out.count;
}

/* In a child: no list has what another has too, nor half a step. */
static void look_from_child(void)
{
    static unsigned seen[TOKENS];

    collect(seen, token_base, TOKENS);
    for (int i = 0; i < TOKENS; i++)
        if (seen[i] > 1)
            _exit(1);
    _exit(0);
}

/* Tokens that are not in exactly one place in the end. */
static int run_storm(int rounds)
{
    static struct hands hands[THREADS];
    static unsigned seen[TOKENS];
    struct itimerval every = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    size_t drained = 0;
    int wrong = 0, status;

    memset(hands, 0, sizeof hands);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < TOKENS; i++)
        hands[i % THREADS].token[hands[i % THREADS].count++] = &token_base[i];
    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < THREADS; i++) {
        hands[i].seed = storm_seed + 2 * (uint64_t)i;
        assert_int_equal(pthread_create(&hands[i].thread, NULL, storm, &hands[i]), 0);
    }
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < THREADS; k++)
            pthread_kill(hands[k].thread, SIGALRM);
        if (broken) {
            usleep(500);
            continue;
        }
        drained += drain();
        if (i % 16 == 0) {
            pid_t child = fork();

            if (child == 0)
                look_from_child();
            while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
            assert_int_equal(status, 0);
        }
    }
    setitimer(ITIMER_REAL, &never, NULL);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(hands[i].thread, NULL);
    collect(seen, token_base, TOKENS);
    for (int i = 0; i < THREADS; i++)
        for (size_t k = 0; k < hands[i].count; k++)
            seen[(char *)hands[i].token[k] - token_base]++;
    for (int i = 0; i < TOKENS; i++)
        wrong += seen[i] != 1;
    printf("%d rounds, %zu tokens drained, %d wrong\n", rounds, drained, wrong);
    return wrong;
}

static void nothing_is_seen_half_done(void **state)
{
    (void)state;
    if (!usable())
        skip();
    storm_seed = unit_seed();
    assert_int_equal(run_storm(getenv("LOAM_CHECK_ALL") ? 20000 : 1500), 0);
}

static void the_storm_finds_what_is_not_restartable(void **state)
{
    int wrong;

    (void)state;
    if (!usable())
        skip();
    broken = true;
    wrong = run_storm(200);
    broken = false;
    assert_int_not_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_they_are_a_stack),
        cmocka_unit_test_setup(pushes_and_pops, start),
        cmocka_unit_test_setup(refuses_other_owners, start),
        cmocka_unit_test_setup(nothing_is_seen_half_done, start),
        cmocka_unit_test_setup(the_storm_finds_what_is_not_restartable, start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
