/* stm.h: a small word-based software transactional memory: TL2 (Dice, Shalev, Shavit, "Transactional Locking II",
 * DISC 2006).
 *
 *   clock ──────────────┐ a transaction reads it at its start: its version
 *   lock[hash(address)] ┴ version << 1 | held        LM_STM_LOCKS stripes, in a static table
 *
 * Reads see a word only when its stripe is free and not newer than the transaction, before and after the load, so
 * that no transaction, not even one that will fail, ever computes with words that never stood together (opacity).
 * Writes are kept in the descriptor; commit takes the written stripes, advances the clock, proves that what was
 * read is still of its version, stores, and releases the stripes with the new version.
 *
 * Invariant (lm_stm_check, when nobody is in a transaction): no stripe is held, and none is newer than the clock.
 *
 * After LM_STM_TRIES failures a transaction runs irrevocably: it holds the fallback word, at which every other
 * commit waits, so its reads stay true and its commit cannot fail. Progress: some transaction always commits, and
 * each one does after a bounded number of its own failures and a wait.
 *
 * Use, for words that are accessed by transactions only, or that are private to their thread:
 *
 *     struct lm_stm tx;
 *
 *     lm_stm_start(&tx);
 *     do {
 *         lm_stm_begin(&tx);
 *         x = lm_stm_read(&tx, &word);
 *         if (lm_stm_ok(&tx)) ... follow x ...
 *         lm_stm_write(&tx, &other, x + 1);
 *     } while (!lm_stm_commit(&tx));
 *
 * A read that fails returns 0 and every later one too; lm_stm_ok tells, and need be asked only before a value is
 * followed as an address or bounds a loop. At most LM_STM_READS and LM_STM_WRITES words; more abort the process.
 *
 * No memory is freed under a reader by the transaction itself: words must stay readable, as descriptors do. Locks:
 * none of loam's may be taken inside. Signals: a handler that interrupts a transaction must not start one on the same
 * stripes. Fork: the caller must know that no other thread is between begin and commit, or call lm_stm_reset in the
 * child, which is sound only for words that the child makes anew. */
#ifndef LM_BASE_STM_H
#define LM_BASE_STM_H

#include "base/bits.h"

enum {
    LM_STM_LOCKS = 1024, /* stripes; a power of two */
    LM_STM_READS = 64,   /* words of a transaction */
    LM_STM_WRITES = 16,
    LM_STM_TRIES = 16 /* before it runs irrevocably */
};

struct lm_stm_write {
    uintptr_t *word;
    uintptr_t value;
};

struct lm_stm {
    uint64_t version; /* of the clock, when it began */
    unsigned reads, writes;
    unsigned tries;
    bool failed;
    bool alone;                   /* irrevocable: it holds the fallback */
    uint64_t *read[LM_STM_READS]; /* stripes */
    struct lm_stm_write write[LM_STM_WRITES];
};

void lm_stm_start(struct lm_stm *tx); /* once, before the first try */
void lm_stm_begin(struct lm_stm *tx);
uintptr_t lm_stm_read(struct lm_stm *tx, uintptr_t *word);
void lm_stm_write(struct lm_stm *tx, uintptr_t *word, uintptr_t value);

/* True: all writes happened at once. False: none did; begin again. */
bool lm_stm_commit(struct lm_stm *tx);

/* Gives the transaction up; nothing happened. */
void lm_stm_abort(struct lm_stm *tx);

LM_INLINE bool lm_stm_ok(const struct lm_stm *tx)
{
    return !tx->failed;
}

/* 0, or the line of the broken invariant; nobody may be in a transaction. */
int lm_stm_check(void);

void lm_stm_reset(void); /* in the child of a fork */

#endif
