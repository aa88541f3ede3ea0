#include "common_model.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 256, ROUND = 20000, SHRINK_SECONDS = 20 };

struct shadow {
    unsigned char *p;
    size_t size, align;
    unsigned char stamp;
    int left, right; /* the tree of live blocks by address: a treap, -1 for none */
    uint32_t priority;
};

static struct shadow *shadow; /* SLOTS of them, mapped */
static int root;

/* -- live blocks by address -------------------------------------------------------------------------------- */

static int treap_merge(int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    if (shadow[a].priority > shadow[b].priority) {
        shadow[a].right = treap_merge(shadow[a].right, b);
        return a;
    }
    shadow[b].left = treap_merge(a, shadow[b].left);
    return b;
}

/* Splits by address: those below p go left. */
static void treap_split(int node, const unsigned char *p, int *left, int *right)
{
    if (node < 0) {
        *left = *right = -1;
    } else if (shadow[node].p < p) {
        treap_split(shadow[node].right, p, &shadow[node].right, right);
        *left = node;
    } else {
        treap_split(shadow[node].left, p, left, &shadow[node].left);
        *right = node;
    }
}

static int treap_end(int node, bool last)
{
    while (node >= 0 && (last ? shadow[node].right : shadow[node].left) >= 0)
        node = last ? shadow[node].right : shadow[node].left;
    return node;
}

/* Inserts a slot; false when its block overlaps a live one. */
static bool shadow_insert(int slot)
{
    struct shadow *s = &shadow[slot];
    int left, right, before, behind;
    bool fits;

    s->left = s->right = -1;
    treap_split(root, s->p, &left, &right);
    before = treap_end(left, true);
    behind = treap_end(right, false);
    fits = (before < 0 || shadow[before].p + shadow[before].size <= s->p) &&
        (behind < 0 || s->p + (s->size ? s->size : 1) <= shadow[behind].p);
    root = treap_merge(treap_merge(left, slot), right);
    return fits;
}

static void shadow_remove(int slot)
{
    int left, middle, right;

    treap_split(root, shadow[slot].p, &left, &right);
    treap_split(right, shadow[slot].p + 1, &middle, &right);
    root = treap_merge(left, right);
}

/* -- contents ---------------------------------------------------------------------------------------------- */

static size_t stride(size_t size)
{
    return size < 4096 ? 1 : 61 + size / 512;
}

static unsigned char expected(unsigned char stamp, size_t i)
{
    return (unsigned char)(stamp + i * 31);
}

static void fill(struct shadow *s)
{
    size_t step = stride(s->size);

    for (size_t i = 0; i < s->size; i += step)
        s->p[i] = expected(s->stamp, i);
    if (s->size)
        s->p[s->size - 1] = expected(s->stamp, s->size - 1);
}

/* True when the first `size` bytes are as filled in for a block of `was` bytes. */
static bool intact(const unsigned char *p, size_t size, size_t was, unsigned char stamp)
{
    size_t step = stride(was);

    for (size_t i = 0; i < size; i += step)
        if (p[i] != expected(stamp, i))
            return false;
    return size < was || size == 0 || p[size - 1] == expected(stamp, size - 1);
}

/* -- operations ----------------------------------------------------------------------------------------------- */

/* A size from two bytes: mostly small; at powers of two and beside them; sometimes large. */
static size_t size_of(const struct model_op *op, size_t most)
{
    unsigned scale = op->size % 32, fine = op->more;
    size_t size;

    if (scale < 14)
        size = (size_t)(op->size / 32) * 40 + fine % 40;
    else if (scale < 20)
        size = ((size_t)1 << (fine % 14)) + (size_t)(op->size / 64) - 1;
    else if (scale < 30)
        size = fine * 17 + (size_t)(op->size / 32) * 600;
    else if (scale < 31)
        size = fine * 1021;
    else
        size = (size_t)fine * fine * (op->size > 250 ? 1000 : 16);
    return size < most ? size : most;
}

static bool placed_well(const struct shadow *s, const struct model_target *target)
{
    return s->p && (uintptr_t)s->p % s->align == 0 && (!target->usable || target->usable(s->p) >= s->size);
}

static const char *do_allocate(const struct model_target *target, const struct model_op *op)
{
    struct shadow *s = &shadow[op->slot];

    s->size = size_of(op, target->most);
    s->align = 16;
    s->stamp = (unsigned char)(op->more ^ op->size ^ op->slot);
    s->priority = (uint32_t)op->slot * 2654435761u;
    if (op->what % 8 < 4 || (op->what % 8 >= 6 && !target->aligned)) {
        s->p = target->malloc(s->size);
    } else if (op->what % 8 < 6) {
        s->p = target->calloc(1 + op->what / 8 % 3, s->size);
        for (size_t i = 0; s->p && i < s->size; i += stride(s->size))
            if (s->p[i])
                return "calloc gave a byte that is not zero";
    } else {
        s->align = (size_t)16 << op->what / 8 % 12;
        s->p = target->aligned(s->align, s->size);
    }
    if (!placed_well(s, target))
        return "a block is missing, misaligned, or less usable than asked for";
    if (!shadow_insert(op->slot))
        return "a block overlaps a live one";
    fill(s);
    return NULL;
}

static const char *do_resize(const struct model_target *target, const struct model_op *op)
{
    struct shadow *s = &shadow[op->slot];
    size_t was = s->size, size = size_of(op, target->most);

    if (size == 0)
        size = 1;
    shadow_remove(op->slot);
    s->p = target->realloc(s->p, size);
    s->size = size;
    s->align = 16;
    if (!placed_well(s, target))
        return "a resized block is missing, misaligned, or less usable than asked for";
    if (!intact(s->p, size < was ? size : was, was, s->stamp))
        return "realloc lost contents";
    if (!shadow_insert(op->slot))
        return "a resized block overlaps a live one";
    fill(s);
    return NULL;
}

static const char *do_one(const struct model_target *target, const struct model_op *op)
{
    struct shadow *s = &shadow[op->slot];

    if (!s->p)
        return do_allocate(target, op);
    if (!intact(s->p, s->size, s->size, s->stamp))
        return "a live block was written to";
    if (op->what % 4 == 0)
        return do_resize(target, op);
    shadow_remove(op->slot);
    target->free(s->p);
    s->p = NULL;
    return NULL;
}

const char *model_run(const struct model_target *target, const struct model_op *ops, size_t count, size_t *at)
{
    const char *wrong = NULL;

    if (!shadow) {
        shadow = mmap(NULL, SLOTS * sizeof *shadow, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (shadow == MAP_FAILED)
            return "no memory for the shadow";
    }
    memset(shadow, 0, SLOTS * sizeof *shadow);
    root = -1;
    for (*at = 0; *at < count && !wrong; ++*at) {
        wrong = do_one(target, &ops[*at]);
        if (!wrong && target->check && *at % 512 == 0 && target->check() != 0)
            wrong = "the allocator's own invariants are broken";
    }
    for (int i = 0; i < SLOTS; i++) {
        if (!shadow[i].p || wrong)
            continue;
        if (!intact(shadow[i].p, shadow[i].size, shadow[i].size, shadow[i].stamp))
            wrong = "a live block was written to";
        target->free(shadow[i].p);
    }
    return wrong;
}

static uint64_t mix(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* In phases of random length: all slots, or few; slots at random, upwards (first in, first out) or up and down. */
void model_generate(uint64_t seed, struct model_op *ops, size_t count)
{
    unsigned slots = SLOTS, order = 0, slot = 0, left = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t r = mix(&seed);

        if (left-- == 0) {
            left = (unsigned)(r >> 32) % 2000;
            slots = 1 + (unsigned)(r >> 44) % SLOTS;
            order = (unsigned)(r >> 60) % 3;
        }
        slot = order == 0 ? (unsigned)(r >> 24) % slots : order == 1 ? (slot + 1) % slots : (slot + slots - 1) % slots;
        ops[i] = (struct model_op){(uint8_t)r, (uint8_t)slot, (uint8_t)(r >> 8), (uint8_t)(r >> 16)};
    }
}

/* -- rounds in children, and shrinking ---------------------------------------------------------------------- */

/* What a round in a child found: 0 nothing, else a description in `found`. */
static int try_in_child(
    const struct model_target *target, const struct model_op *ops, size_t count, bool quiet, char found[200])
{
    int ends[2], status;
    ssize_t n;
    pid_t child;

    if (pipe(ends) != 0)
        abort();
    fflush(NULL);
    child = fork();
    if (child == 0) {
        size_t at;
        const char *wrong;
        char text[200];

        alarm(120);
        if (quiet)
            close(STDERR_FILENO);
        wrong = model_run(target, ops, count, &at);
        if (wrong) {
            int length = snprintf(text, sizeof text, "%s, at operation %zu", wrong, at - 1);

            if (write(ends[1], text, (size_t)length) < 0)
                _exit(2);
        }
        _exit(wrong != NULL);
    }
    close(ends[1]);
    n = read(ends[0], found, 199);
    found[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        snprintf(found, 200, "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Delta debugging (Zeller 2002): leaves out ever smaller parts while the rest still fails. */
static size_t shrink(const struct model_target *target, struct model_op *ops, size_t count)
{
    static struct model_op without[ROUND];
    char found[200];
    time_t end = time(NULL) + SHRINK_SECONDS;

    for (size_t part = count / 2; part && time(NULL) < end;) {
        bool smaller = false;

        for (size_t from = 0; from + part <= count && time(NULL) < end;) {
            memcpy(without, ops, from * sizeof *ops);
            memcpy(without + from, ops + from + part, (count - from - part) * sizeof *ops);
            if (try_in_child(target, without, count - part, true, found)) {
                count -= part;
                memcpy(ops, without, count * sizeof *ops);
                smaller = true;
            } else {
                from += part;
            }
        }
        if (!smaller)
            part /= 2;
    }
    return count;
}

static int report(const struct model_target *target, struct model_op *ops, uint64_t seed, const char *found)
{
    char again[200];
    size_t count;

    printf("%s: seed %llu: %s\nshrinking...\n", target->name, (unsigned long long)seed, found);
    count = shrink(target, ops, ROUND);
    try_in_child(target, ops, count, false, again);
    printf("%zu operations remain: %s\n", count, again);
    for (size_t i = 0; i < count && i < 40; i++)
        printf("  slot %3u: op %3u, size %zu\n", ops[i].slot, ops[i].what, size_of(&ops[i], target->most));
    return 1;
}

int model_main(int argc, char **argv, const struct model_target *target, size_t steps)
{
    static struct model_op ops[ROUND];
    uint64_t seed = (uint64_t)time(NULL);
    char found[200];
    size_t rounds;
    bool given = false;

    if (getenv("LOAM_CHECK_SHORT"))
        steps /= 10;
    else if (getenv("LOAM_CHECK_ALL"))
        steps *= 10;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 0);
            given = true;
        } else if (strcmp(argv[i], "--steps") == 0) {
            steps = strtoull(argv[i + 1], NULL, 0);
        } else {
            fprintf(stderr, "usage: %s [--seed N] [--steps N]\n", argv[0]);
            return 2;
        }
    }
    rounds = steps / ROUND + 1;
    printf("%s: %zu rounds of %d operations from --seed %llu%s\n", target->name, rounds, ROUND,
        (unsigned long long)seed, given ? "" : " (the time)");
    for (size_t round = 0; round < rounds; round++) {
        model_generate(seed + round, ops, ROUND);
        if (try_in_child(target, ops, ROUND, false, found))
            return report(target, ops, seed + round, found);
    }
    puts("nothing wrong");
    return 0;
}
