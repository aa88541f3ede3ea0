/* region_tree.c: the free blocks of a region in a treap (Seidel & Aragon 1996): a search tree whose shape is that of
 * random insertions, because a hash of each block's place decides who stands above whom.
 *
 *   FIRST, NEXT   ordered by address; each block knows the longest of its subtree, so the lowest address that fits is
 *                 found by one descent
 *   BEST          ordered by length, then address
 *
 * Invariant (lm_region_tree_inspect): order, priorities and maxima are right. Nothing is believed: a descent narrows the
 * interval in which the next block may stand, proves its mark, and has at most TREE_DEPTH steps, so that it ends and stays
 * inside whatever the links say. Insertion and removal follow only what tree_can_... has descended before. */
#include "block/region.h"

/* The expected depth of a treap of n blocks is below 3 ln n, 67 for 2^32; the chance of twice that is nil. */
enum { TREE_DEPTH = 128 };

struct tree_path {
    uint32_t at[TREE_DEPTH];
    unsigned depth;
};

static uint64_t tree_key(const struct loam_region *region, uint32_t unit, uint32_t units)
{
    return region->fit == LOAM_FIT_BEST ? (uint64_t)units << 32 | unit : unit;
}

static uint64_t tree_key_of(const struct loam_region *region, uint32_t unit)
{
    return tree_key(region, unit, lm_region_units(lm_region_view(region), unit));
}

static uint64_t tree_priority(const struct loam_region *region, uint32_t unit)
{
    uint64_t mixed = ((uint64_t)unit ^ region->key) * 0xd6e8feb86659fd93u;

    return (mixed ^ mixed >> 32) << 32 | unit;
}

static uint32_t tree_max(const struct loam_region *region, uint32_t unit)
{
    return unit ? lm_region_node(lm_region_view(region), unit)->max : 0;
}

static void tree_update(struct loam_region *region, uint32_t unit)
{
    struct lm_region_node *node = lm_region_node(lm_region_view(region), unit);
    size_t longest = lm_max(tree_max(region, node->left), tree_max(region, node->right));

    node->max = (uint32_t)lm_max(longest, lm_region_units(lm_region_view(region), unit));
}

static void tree_update_path(struct loam_region *region, const struct tree_path *path)
{
    for (unsigned i = path->depth; i--;)
        tree_update(region, path->at[i]);
}

/* -- proofs ------------------------------------------------------------------------------------------------------ */

/* An interval of keys, ends excluded, with room for -1 and 2^64. */
struct tree_span {
    uint64_t low, high;
    bool has_low, has_high;
    uint64_t priority; /* of the block above */
};

/* True when `unit` may stand there and its children's maxima can be read. */
static bool tree_is_sound(const struct loam_region *region, uint32_t unit, const struct tree_span *span)
{
    struct lm_region_node node;
    uint64_t key;

    if (!lm_region_is_free(lm_region_view(region), unit))
        return false;
    node = *lm_region_node(lm_region_view(region), unit);
    key = tree_key_of(region, unit);
    return (!span->has_low || key > span->low) && (!span->has_high || key < span->high) &&
        tree_priority(region, unit) < span->priority &&
        (!node.left || lm_region_is_free(lm_region_view(region), node.left)) &&
        (!node.right || lm_region_is_free(lm_region_view(region), node.right));
}

/* Steps to a child and narrows the span. */
static uint32_t tree_step(const struct loam_region *region, uint32_t unit, bool right, struct tree_span *span)
{
    uint64_t key = tree_key_of(region, unit);

    span->priority = tree_priority(region, unit);
    if (right) {
        span->low = key;
        span->has_low = true;
        return lm_region_node(lm_region_view(region), unit)->right;
    }
    span->high = key;
    span->has_high = true;
    return lm_region_node(lm_region_view(region), unit)->left;
}

/* Descends from `unit` towards a key, which need not be there: 1 found, 0 not there, -1 damaged. */
static int tree_descend(
    const struct loam_region *region, uint32_t *unit, uint64_t key, struct tree_span *span, unsigned *steps)
{
    while (*unit) {
        if ((*steps)++ >= TREE_DEPTH || !tree_is_sound(region, *unit, span))
            return -1;
        if (tree_key_of(region, *unit) == key)
            return 1;
        *unit = tree_step(region, *unit, tree_key_of(region, *unit) < key, span);
    }
    return 0;
}

bool lm_region_tree_can_insert(const struct loam_region *region, uint32_t unit, uint32_t units)
{
    struct tree_span span = {.priority = UINT64_MAX};
    uint64_t key = tree_key(region, unit, units);
    uint32_t at = region->top;
    unsigned steps = 0;

    /* Removing blocks only adds their subtrees' inner edges to the path of any key, and those have been descended when
     * their removal was proved. Found: the block itself, which grows or shrinks, and is removed before. */
    return tree_descend(region, &at, key, &span, &steps) >= 0;
}

bool lm_region_tree_can_remove(const struct loam_region *region, uint32_t unit, uint32_t units)
{
    struct tree_span span = {.priority = UINT64_MAX}, side;
    uint64_t key = tree_key(region, unit, units);
    uint32_t at = region->top;
    unsigned steps = 0;

    if (tree_descend(region, &at, key, &span, &steps) != 1)
        return false;
    for (int right = 0; right < 2; right++) { /* the inner edges of both subtrees, which will be merged */
        uint32_t edge;

        side = span;
        edge = tree_step(region, unit, right, &side);
        if (tree_descend(region, &edge, key, &side, &steps) != 0)
            return false;
    }
    return true;
}

/* -- changes ----------------------------------------------------------------------------------------------------- */

/* Splits a subtree by key: smaller ones to *left, greater ones to *right. */
static void tree_split(
    struct loam_region *region, uint32_t at, uint64_t key, uint32_t *sides[2], struct tree_path *path)
{
    while (at && path->depth < TREE_DEPTH) {
        struct lm_region_node *node = lm_region_node(lm_region_view(region), at);

        path->at[path->depth++] = at;
        if (tree_key_of(region, at) < key) {
            *sides[0] = at;
            sides[0] = &node->right;
            at = node->right;
        } else {
            *sides[1] = at;
            sides[1] = &node->left;
            at = node->left;
        }
    }
    *sides[0] = *sides[1] = 0;
}

void lm_region_tree_insert(struct loam_region *region, uint32_t unit)
{
    uint64_t key = tree_key_of(region, unit), priority = tree_priority(region, unit);
    struct lm_region_node *node = lm_region_node(lm_region_view(region), unit);
    struct tree_path path = {.depth = 0};
    uint32_t *link = &region->top, *sides[2] = {&node->left, &node->right}, below;

    while (*link && tree_priority(region, *link) > priority && path.depth < TREE_DEPTH - 1) {
        path.at[path.depth++] = *link;
        link = tree_key_of(region, *link) < key ? &lm_region_node(lm_region_view(region), *link)->right
                                                : &lm_region_node(lm_region_view(region), *link)->left;
    }
    below = *link;
    *link = unit;
    path.at[path.depth++] = unit;
    tree_split(region, below, key, sides, &path);
    tree_update_path(region, &path);
}

void lm_region_tree_remove(struct loam_region *region, uint32_t unit)
{
    uint64_t key = tree_key_of(region, unit);
    struct tree_path path = {.depth = 0};
    uint32_t *link = &region->top, left, right;

    while (*link != unit && path.depth < TREE_DEPTH) {
        path.at[path.depth++] = *link;
        link = tree_key_of(region, *link) < key ? &lm_region_node(lm_region_view(region), *link)->right
                                                : &lm_region_node(lm_region_view(region), *link)->left;
    }
    left = lm_region_node(lm_region_view(region), unit)->left;
    right = lm_region_node(lm_region_view(region), unit)->right;
    while (left && right && path.depth < TREE_DEPTH) {
        bool from_left = tree_priority(region, left) > tree_priority(region, right);
        uint32_t upper = from_left ? left : right;

        *link = upper;
        path.at[path.depth++] = upper;
        link = from_left ? &lm_region_node(lm_region_view(region), upper)->right
                         : &lm_region_node(lm_region_view(region), upper)->left;
        if (from_left)
            left = *link;
        else
            right = *link;
    }
    *link = left ? left : right;
    tree_update_path(region, &path);
}

/* -- finding ------------------------------------------------------------------------------------------------------- */

/* The lowest address in a subtree whose length suffices. */
static uint32_t tree_find_first(const struct loam_region *region, uint32_t at, uint32_t units, struct tree_span span)
{
    for (unsigned steps = 0; at && steps < TREE_DEPTH; steps++) {
        struct lm_region_node node;

        if (!tree_is_sound(region, at, &span))
            return LM_REGION_DAMAGED;
        node = *lm_region_node(lm_region_view(region), at);
        if (tree_max(region, node.left) >= units)
            at = tree_step(region, at, false, &span);
        else if (lm_region_units(lm_region_view(region), at) >= units)
            return at;
        else if (tree_max(region, node.right) >= units)
            at = tree_step(region, at, true, &span);
        else
            return steps ? LM_REGION_DAMAGED : 0; /* a maximum above it lied, or nothing fits */
    }
    return at ? LM_REGION_DAMAGED : 0;
}

/* The same among addresses not below `from`. */
static uint32_t tree_find_next(const struct loam_region *region, uint32_t units, uint32_t from)
{
    struct tree_path path = {.depth = 0}; /* the blocks not below `from` on the way down, the lowest last */
    struct tree_span span = {.priority = UINT64_MAX}, spans[TREE_DEPTH];
    uint32_t at = region->top;

    for (unsigned steps = 0; at; steps++) {
        if (steps >= TREE_DEPTH || !tree_is_sound(region, at, &span))
            return LM_REGION_DAMAGED;
        if (at >= from) {
            spans[path.depth] = span;
            path.at[path.depth++] = at;
        }
        at = tree_step(region, at, at < from, &span);
    }
    while (path.depth--) {
        at = path.at[path.depth];
        if (lm_region_units(lm_region_view(region), at) >= units)
            return at;
        if (tree_max(region, lm_region_node(lm_region_view(region), at)->right) >= units)
            return tree_find_first(region, lm_region_node(lm_region_view(region), at)->right, units,
                (tree_step(region, at, true, &spans[path.depth]), spans[path.depth]));
    }
    return 0;
}

/* The least key not below that of a block of `units` at 0. */
static uint32_t tree_find_best(const struct loam_region *region, uint32_t units)
{
    struct tree_span span = {.priority = UINT64_MAX};
    uint32_t at = region->top, found = 0;

    for (unsigned steps = 0; at; steps++) {
        bool fits;

        if (steps >= TREE_DEPTH || !tree_is_sound(region, at, &span))
            return LM_REGION_DAMAGED;
        fits = lm_region_units(lm_region_view(region), at) >= units;
        if (fits)
            found = at;
        at = tree_step(region, at, !fits, &span);
    }
    return found;
}

uint32_t lm_region_tree_find(const struct loam_region *region, uint32_t units)
{
    struct tree_span all = {.priority = UINT64_MAX};
    uint32_t found = 0;

    if (region->fit == LOAM_FIT_BEST)
        return tree_find_best(region, units);
    if (region->fit == LOAM_FIT_NEXT)
        found = tree_find_next(region, units, region->rover);
    return found ? found : tree_find_first(region, region->top, units, all);
}

/* -- inspection ---------------------------------------------------------------------------------------------------- */

/* In order, without recursion: from a key to the next greater one, by a descent each. */
static uint32_t tree_above(const struct loam_region *region, uint64_t key, bool from_start, uint32_t *damaged)
{
    struct tree_span span = {.priority = UINT64_MAX};
    uint32_t at = region->top, found = 0;

    for (unsigned steps = 0; at; steps++) {
        bool above;

        if (steps >= TREE_DEPTH || !tree_is_sound(region, at, &span)) {
            *damaged = at;
            return 0;
        }
        above = from_start || tree_key_of(region, at) > key;
        if (above)
            found = at;
        at = tree_step(region, at, !above, &span);
    }
    return found;
}

uint32_t lm_region_tree_inspect(const struct loam_region *region, uint32_t *count)
{
    uint32_t damaged = 0, at = tree_above(region, 0, true, &damaged);

    for (*count = 0; at; ++*count) {
        struct lm_region_node node = *lm_region_node(lm_region_view(region), at);
        size_t longest = lm_max(tree_max(region, node.left), tree_max(region, node.right));

        if (node.max != lm_max(longest, lm_region_units(lm_region_view(region), at)))
            return at;
        at = tree_above(region, tree_key_of(region, at), false, &damaged);
    }
    return damaged;
}
