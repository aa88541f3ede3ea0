/* stm.c: TL2, see stm.h. */
#include "base/stm.h"
#include "base/check.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { STM_HELD = 1 };                /* in a stripe; the rest is its version */
#define STM_ALONE ((uint32_t)1 << 31) /* in stm_gate; the rest counts transactions that are committing */
enum { STM_SPINS = 64 };

static uint64_t stm_clock __attribute__((aligned(LM_CACHE_LINE)));
static uint32_t stm_gate __attribute__((aligned(LM_CACHE_LINE)));
static uint64_t stm_stripe[LM_STM_LOCKS] __attribute__((aligned(LM_CACHE_LINE))) LM_APART;

static uint64_t *stm_stripe_of(const uintptr_t *word)
{
    return &stm_stripe[((uintptr_t)word / sizeof *word * 0x9e3779b97f4a7c15u >> 40) % LM_STM_LOCKS];
}

static void stm_wait(unsigned *spins)
{
    if (++*spins % STM_SPINS == 0)
        syscall(SYS_sched_yield); /* the one waited for may have been preempted */
}

/* -- the gate: many commit, or one is alone --------------------------------------------------------------------- */

static void stm_enter(void)
{
    uint32_t seen = __atomic_load_n(&stm_gate, __ATOMIC_RELAXED);
    unsigned spins = 0;

    for (;;) {
        if (seen & STM_ALONE) {
            stm_wait(&spins);
            seen = __atomic_load_n(&stm_gate, __ATOMIC_RELAXED);
            /* acquire: pairs with the release in stm_leave_alone */
        } else if (__atomic_compare_exchange_n(&stm_gate, &seen, seen + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return;
        }
    }
}

static void stm_leave(void)
{
    __atomic_fetch_sub(&stm_gate, 1, __ATOMIC_RELEASE); /* pairs with stm_enter_alone */
}

static void stm_enter_alone(void)
{
    unsigned spins = 0;

    while (__atomic_fetch_or(&stm_gate, STM_ALONE, __ATOMIC_ACQUIRE) & STM_ALONE) /* another is alone */
        stm_wait(&spins);
    while (__atomic_load_n(&stm_gate, __ATOMIC_ACQUIRE) != STM_ALONE) /* pairs with stm_leave */
        stm_wait(&spins);
}

static void stm_leave_alone(void)
{
    __atomic_store_n(&stm_gate, 0, __ATOMIC_RELEASE); /* pairs with stm_enter */
}

/* -- a transaction -------------------------------------------------------------------------------------------- */

void lm_stm_start(struct lm_stm *tx)
{
    tx->tries = 0;
    tx->alone = false;
}

void lm_stm_begin(struct lm_stm *tx)
{
    tx->reads = tx->writes = 0;
    tx->failed = false;
    if (tx->tries++ >= LM_STM_TRIES && !tx->alone) {
        stm_enter_alone();
        tx->alone = true;
    }
    tx->version = __atomic_load_n(&stm_clock, __ATOMIC_ACQUIRE); /* pairs with the advance in lm_stm_commit */
}

static struct lm_stm_write *stm_find_write(struct lm_stm *tx, const uintptr_t *word)
{
    for (unsigned i = 0; i < tx->writes; i++)
        if (tx->write[i].word == word)
            return &tx->write[i];
    return NULL;
}

/* The word of a transaction that will fail may be its node's new owner's to write, without one; what was read is then
 * thrown away. Acquire: pairs with the store in lm_stm_commit, so that whoever sees its value sees the stripe held. */
LM_RACY static uintptr_t stm_load(const uintptr_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

uintptr_t lm_stm_read(struct lm_stm *tx, uintptr_t *word)
{
    uint64_t *stripe = stm_stripe_of(word), before;
    struct lm_stm_write *write = stm_find_write(tx, word);
    uintptr_t value;

    if (tx->failed)
        return 0;
    if (write)
        return write->value;
    if (tx->reads == LM_STM_READS)
        lm_die("loam: a transaction reads more than %d words\n", (int)LM_STM_READS);
    before = __atomic_load_n(stripe, __ATOMIC_ACQUIRE); /* pairs with the release of the stripe */
    value = stm_load(word);
    if (before & STM_HELD || before >> 1 > tx->version || __atomic_load_n(stripe, __ATOMIC_RELAXED) != before) {
        tx->failed = true;
        return 0;
    }
    tx->read[tx->reads++] = stripe;
    return value;
}

void lm_stm_write(struct lm_stm *tx, uintptr_t *word, uintptr_t value)
{
    struct lm_stm_write *write = stm_find_write(tx, word);

    if (!write && tx->writes == LM_STM_WRITES)
        lm_die("loam: a transaction writes more than %d words\n", (int)LM_STM_WRITES);
    if (!write) {
        write = &tx->write[tx->writes++];
        write->word = word;
    }
    write->value = value;
}

/* The stripes that a committing transaction holds, with what they held before. */
struct stm_held {
    uint64_t *stripe[LM_STM_WRITES], before[LM_STM_WRITES];
    unsigned count;
};

static int stm_holds(const struct stm_held *held, const uint64_t *stripe)
{
    for (unsigned i = 0; i < held->count; i++)
        if (held->stripe[i] == stripe)
            return (int)i;
    return -1;
}

static bool stm_hold_all(struct lm_stm *tx, struct stm_held *held)
{
    for (unsigned i = 0; i < tx->writes; i++) {
        uint64_t *stripe = stm_stripe_of(tx->write[i].word), seen;

        if (stm_holds(held, stripe) >= 0)
            continue;
        seen = __atomic_load_n(stripe, __ATOMIC_RELAXED);
        /* tried once: waiting for each other would deadlock. Acquire: pairs with the release of the stripe */
        if (seen & STM_HELD ||
            !__atomic_compare_exchange_n(stripe, &seen, seen | STM_HELD, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return false;
        held->stripe[held->count] = stripe;
        held->before[held->count++] = seen;
    }
    return true;
}

/* True when every word read still has the value that was read. */
static bool stm_reads_stand(const struct lm_stm *tx, const struct stm_held *held)
{
    for (unsigned i = 0; i < tx->reads; i++) {
        int mine = stm_holds(held, tx->read[i]);
        uint64_t seen = mine >= 0 ? held->before[mine] : __atomic_load_n(tx->read[i], __ATOMIC_ACQUIRE);

        if (seen & STM_HELD || seen >> 1 > tx->version)
            return false;
    }
    return true;
}

static bool stm_publish(struct lm_stm *tx)
{
    struct stm_held held = {.count = 0};
    uint64_t version = 0;
    bool good = stm_hold_all(tx, &held);

    if (good) {
        version = __atomic_add_fetch(&stm_clock, 1, __ATOMIC_ACQ_REL); /* pairs with lm_stm_begin */
        good = version == tx->version + 1 || stm_reads_stand(tx, &held);
    }
    for (unsigned i = 0; good && i < tx->writes; i++) /* release: pairs with the load in lm_stm_read */
        __atomic_store_n(tx->write[i].word, tx->write[i].value, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < held.count; i++) /* release: pairs with the first load in lm_stm_read */
        __atomic_store_n(held.stripe[i], good ? version << 1 : held.before[i], __ATOMIC_RELEASE);
    return good;
}

static void stm_end(struct lm_stm *tx)
{
    if (tx->alone)
        stm_leave_alone();
    lm_stm_start(tx);
}

bool lm_stm_commit(struct lm_stm *tx)
{
    bool good;

    if (tx->failed) {
        LM_ASSERT(!tx->alone);
        return false;
    }
    if (tx->writes == 0) {
        good = true; /* each read was of the version when it was made */
    } else if (tx->alone) {
        good = stm_publish(tx);
    } else {
        stm_enter();
        good = stm_publish(tx);
        stm_leave();
    }
    LM_ASSERT(good || !tx->alone);
    if (good)
        stm_end(tx);
    return good;
}

void lm_stm_abort(struct lm_stm *tx)
{
    stm_end(tx);
}

int lm_stm_check(void)
{
    uint64_t clock = __atomic_load_n(&stm_clock, __ATOMIC_ACQUIRE);

    if (__atomic_load_n(&stm_gate, __ATOMIC_ACQUIRE) != 0)
        return __LINE__;
    for (unsigned i = 0; i < LM_STM_LOCKS; i++) {
        uint64_t seen = __atomic_load_n(&stm_stripe[i], __ATOMIC_ACQUIRE);

        if (seen & STM_HELD)
            return __LINE__;
        if (seen >> 1 > clock)
            return __LINE__;
    }
    return 0;
}

void lm_stm_reset(void)
{
    if (!stm_gate && !stm_clock)
        return; /* nobody has ever committed: the stripes are not touched, which a child would pay for with pages */
    for (unsigned i = 0; i < LM_STM_LOCKS; i++)
        stm_stripe[i] &= ~(uint64_t)STM_HELD;
    stm_gate = 0;
}
