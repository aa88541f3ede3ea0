/* common_model.h: drives an allocator through random requests beside a shadow heap that knows what must be true.
 *
 * A run is a list of operations, each four bytes, made from a seed or given by a fuzzer. The shadow knows every live
 * block: its place, which must overlap no other; its size and alignment; and its contents, a pattern that is checked
 * when the block is resized or freed and now and then. The shadow lives in memory of its own. */
#ifndef LOAM_TEST_MODEL_H
#define LOAM_TEST_MODEL_H

#include <stddef.h>
#include <stdint.h>

struct model_target {
    const char *name;
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned)(size_t align, size_t size); /* NULL: malloc is asked instead, for 16 */
    void (*free)(void *);
    size_t (*usable)(void *);
    int (*check)(void); /* invariants of the allocator itself; may be NULL */
    size_t most;        /* largest request */
};

struct model_op {
    uint8_t what, slot, size, more;
};

/* Runs the operations; NULL, or what was found to be wrong (static text), with the index of the operation in *at. */
const char *model_run(const struct model_target *target, const struct model_op *ops, size_t count, size_t *at);

/* The operations that a seed stands for. */
void model_generate(uint64_t seed, struct model_op *ops, size_t count);

/* A test program's main: --seed N, --steps N (LOAM_CHECK_ALL: tenfold; LOAM_CHECK_SHORT: a tenth), --rounds. Runs each round in a child, so that a
 * crash is a finding too, and shrinks what it finds to a short list of operations. Returns the exit status. */
int model_main(int argc, char **argv, const struct model_target *target, size_t steps);

#endif
