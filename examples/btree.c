/* A B-tree of events by time whose nodes come from an object cache on 256 KiB of static memory. When that is used up the
 * cache calls the reclaim hook, which forgets the oldest events: the tree always holds as much of the recent past as fits.
 * Nodes keep their constructed state (empty, all links NULL) from one use to the next. */
#include <loam/cache.h>

#include <stdio.h>
#include <string.h>

enum { MOST = 31, HALF = MOST / 2, EVENTS = 200000, MEMORY = 256 << 10 };

struct node {
    int count; /* keys */
    unsigned long key[MOST], value[MOST];
    struct node *child[MOST + 1]; /* of a leaf all NULL */
};

struct tree {
    struct loam_cache *nodes;
    struct node *root;
    struct node *spare[32]; /* taken before the tree is changed, so that the hook finds it at rest */
    int spares, height;
    unsigned long forgotten; /* subtrees */
};

static int construct(void *object, void *arg)
{
    (void)arg;
    memset(object, 0, sizeof(struct node));
    return 0;
}

static void drop(struct tree *tree, struct node *node)
{
    for (int i = 0; i <= node->count; i++) {
        if (node->child[i])
            drop(tree, node->child[i]);
        node->child[i] = NULL;
    }
    node->count = 0; /* as constructed */
    loam_cache_free(tree->nodes, node);
}

/* Memory is short: forgets the root's leftmost subtree. What remains is a B-tree still. */
static void forget_oldest(void *arg)
{
    struct tree *tree = arg;
    struct node *root = tree->root;

    if (!root->child[0])
        return;
    drop(tree, root->child[0]);
    root->count--;
    memmove(root->key, root->key + 1, (size_t)root->count * sizeof root->key[0]);
    memmove(root->value, root->value + 1, (size_t)root->count * sizeof root->value[0]);
    memmove(root->child, root->child + 1, (size_t)(root->count + 1) * sizeof root->child[0]);
    root->child[root->count + 1] = NULL;
    tree->forgotten++;
    if (root->count == 0) {
        tree->root = root->child[0];
        tree->height--;
        root->child[0] = NULL;
        loam_cache_free(tree->nodes, root);
    }
}

/* Splits the full child i of a node that is not full; the new node takes the upper half. */
static void split(struct tree *tree, struct node *node, int i)
{
    struct node *left = node->child[i], *right = tree->spare[--tree->spares];
    size_t behind = (size_t)(node->count - i);

    right->count = left->count = HALF;
    memcpy(right->key, left->key + HALF + 1, sizeof left->key[0] * HALF);
    memcpy(right->value, left->value + HALF + 1, sizeof left->value[0] * HALF);
    memcpy(right->child, left->child + HALF + 1, sizeof left->child[0] * (HALF + 1));
    memset(left->child + HALF + 1, 0, sizeof left->child[0] * (HALF + 1));
    memmove(node->key + i + 1, node->key + i, behind * sizeof node->key[0]);
    memmove(node->value + i + 1, node->value + i, behind * sizeof node->value[0]);
    memmove(node->child + i + 2, node->child + i + 1, behind * sizeof node->child[0]);
    node->key[i] = left->key[HALF];
    node->value[i] = left->value[HALF];
    node->child[i + 1] = right;
    node->count++;
}

static int place(const struct node *node, unsigned long key)
{
    int i = 0;

    while (i < node->count && node->key[i] < key)
        i++;
    return i;
}

static int insert(struct tree *tree, unsigned long key, unsigned long value)
{
    struct node *node, *above;
    int i;

    while (tree->spares < tree->height + 2) { /* a split on each level, and a new root */
        struct node *spare = loam_cache_alloc(tree->nodes);

        if (!spare)
            return -1;
        tree->spare[tree->spares++] = spare;
    }
    if (tree->root->count == MOST) {
        above = tree->spare[--tree->spares];
        above->child[0] = tree->root;
        tree->root = above;
        tree->height++;
        split(tree, above, 0);
    }
    for (node = tree->root; node->child[0]; node = node->child[i]) {
        i = place(node, key);
        if (node->child[i]->count == MOST) {
            split(tree, node, i);
            i += node->key[i] < key;
        }
    }
    i = place(node, key);
    memmove(node->key + i + 1, node->key + i, (size_t)(node->count - i) * sizeof node->key[0]);
    memmove(node->value + i + 1, node->value + i, (size_t)(node->count - i) * sizeof node->value[0]);
    node->key[i] = key;
    node->value[i] = value;
    node->count++;
    return 0;
}

static const unsigned long *find(const struct tree *tree, unsigned long key)
{
    for (const struct node *node = tree->root; node;) {
        int i = place(node, key);

        if (i < node->count && node->key[i] == key)
            return &node->value[i];
        node = node->child[i];
    }
    return NULL;
}

/* Counts nodes and events in order; each key must be the one after the last. */
static int walk(const struct node *node, unsigned long *last, size_t *nodes)
{
    ++*nodes;
    for (int i = 0; i <= node->count; i++) {
        if (node->child[i] && !walk(node->child[i], last, nodes))
            return 0;
        if (i < node->count && *last != 0 && node->key[i] != *last + 1)
            return 0;
        if (i < node->count)
            *last = node->key[i];
    }
    return 1;
}

int main(void)
{
    static char memory[MEMORY];
    static struct tree tree;
    struct loam_cache_options options = {.struct_bytes = sizeof options,
        .name = "btree nodes",
        .size_bytes = sizeof(struct node),
        .construct = construct,
        .reclaim = forget_oldest,
        .arg = &tree,
        .source = loam_source_fixed(memory, sizeof memory)};
    struct loam_cache_figures figures = {.struct_bytes = sizeof figures};
    unsigned long last = 0, missing = 0;
    size_t nodes = 0;

    tree.nodes = loam_cache_create_with(&options);
    tree.root = tree.nodes ? loam_cache_alloc(tree.nodes) : NULL;
    if (!tree.root)
        return 1;
    for (unsigned long t = 1; t <= EVENTS; t++) /* every two events arrive in the wrong order */
        if (insert(&tree, ((t - 1) ^ 1) + 1, t * 7) != 0)
            return 1;
    for (unsigned long t = EVENTS - 1000; t <= EVENTS; t++)
        missing += !find(&tree, t);
    if (!walk(tree.root, &last, &nodes) || missing || last != EVENTS)
        return 1;
    loam_cache_stats(tree.nodes, &figures);
    printf("%d events by way of %zu KiB: %zu nodes live, %lu times the oldest were forgotten, %llu nodes constructed\n",
        EVENTS, figures.held_bytes >> 10, nodes, tree.forgotten, (unsigned long long)figures.constructed);
    if (figures.live_objects != nodes + (size_t)tree.spares || tree.forgotten == 0)
        return 1;
    drop(&tree, tree.root);
    while (tree.spares)
        loam_cache_free(tree.nodes, tree.spare[--tree.spares]);
    loam_cache_destroy(tree.nodes);
    return loam_source_used_bytes(options.source) != 0;
}
