/* classes_life.c: creating and dropping class tables, slabs seen from a hook, figures and the check; see
 * classes_inner.h. */
#include "block/classes_inner.h"

#include <errno.h>
#include <string.h>

enum {
    CLASSES_MIN_DEFAULT = 8,
    CLASSES_MAX_DEFAULT = 64 << 10,
    CLASSES_SLABS_IN_LIMIT = 64,
    CLASSES_BLOCKS_IN_SLAB = 4
};
#define CLASSES_MAX_MOST ((size_t)16 << 20)
#define CLASSES_SLAB_LEAST ((size_t)4 << 10)
#define CLASSES_SLAB_MOST ((size_t)1 << 30)
#define CLASSES_FACTOR_DEFAULT 1.25
#define CLASSES_FACTOR_LEAST 1.02
#define CLASSES_FACTOR_MOST 4.0

/* Bytes of a block with its cookie, rounded so that every block is aligned. */
static size_t classes_stride(size_t size)
{
    return lm_align_up(size + CLASSES_COOKIE_BYTES, CLASSES_GRAIN);
}

/* Blocks in a slab, in which the first cookie is preceded by an idle word. */
static uint32_t classes_cells(size_t slab_bytes, size_t stride)
{
    return (uint32_t)((slab_bytes - CLASSES_COOKIE_BYTES) / stride);
}

/* A slab that holds a block of the largest class, and several unless the budget is small. */
static size_t classes_slab_bytes(const struct loam_classes_options *options, size_t max_bytes)
{
    size_t least = lm_max(classes_stride(max_bytes) + CLASSES_COOKIE_BYTES, CLASSES_SLAB_LEAST), slab;

    least = (size_t)1 << lm_log2_ceil(lm_max(least, lm_store_grain(options->source)));
    slab = (size_t)1 << lm_log2_ceil(lm_max(CLASSES_BLOCKS_IN_SLAB * max_bytes, least));
    while (options->limit_bytes && slab > least && slab > options->limit_bytes / CLASSES_SLABS_IN_LIMIT)
        slab /= 2;
    return slab;
}

struct classes_plan {
    size_t min_bytes, max_bytes, slab_bytes;
    double factor;
};

/* Fills in the defaults; false when the options contradict each other. */
static bool classes_plan(const struct loam_classes_options *options, struct classes_plan *plan)
{
    if (options->struct_bytes != sizeof *options)
        return false;
    plan->min_bytes = options->min_bytes ? options->min_bytes : CLASSES_MIN_DEFAULT;
    plan->max_bytes = options->max_bytes ? options->max_bytes : lm_max(CLASSES_MAX_DEFAULT, plan->min_bytes);
    plan->factor = options->factor != 0 ? options->factor : CLASSES_FACTOR_DEFAULT;
    if (plan->max_bytes > CLASSES_MAX_MOST || plan->min_bytes > plan->max_bytes)
        return false;
    if (!(plan->factor >= CLASSES_FACTOR_LEAST && plan->factor <= CLASSES_FACTOR_MOST))
        return false;
    plan->slab_bytes = options->slab_bytes ? options->slab_bytes : classes_slab_bytes(options, plan->max_bytes);
    return lm_is_power2(plan->slab_bytes) && plan->slab_bytes >= CLASSES_SLAB_LEAST &&
        plan->slab_bytes <= CLASSES_SLAB_MOST && plan->slab_bytes % lm_store_grain(options->source) == 0 &&
        classes_cells(plan->slab_bytes, classes_stride(plan->max_bytes)) > 0;
}

/* The next class: as large as the slab allows for as many blocks. At the end, the largest class. */
static size_t classes_stretch(const struct classes_plan *plan, size_t stride)
{
    uint32_t cells = classes_cells(plan->slab_bytes, stride);

    return lm_align_down((plan->slab_bytes - CLASSES_COOKIE_BYTES) / cells, CLASSES_GRAIN);
}

/* The strides of all classes, smallest first; how many, or 0: too many. */
static unsigned classes_strides(const struct classes_plan *plan, size_t stride[CLASSES_MOST])
{
    size_t last = classes_stride(plan->max_bytes), next = classes_stride(plan->min_bytes);
    unsigned count = 0;

    while (count < CLASSES_MOST - 1 && next < last) {
        stride[count] = classes_stretch(plan, next);
        if (stride[count] >= last)
            break;
        next = lm_max((size_t)((double)stride[count] * plan->factor), stride[count] + CLASSES_GRAIN);
        next = lm_align_up(next, CLASSES_GRAIN);
        count++;
    }
    if (next < last && count == CLASSES_MOST - 1)
        return 0;
    stride[count++] = classes_stretch(plan, last);
    return count;
}

static void classes_build(struct loam_classes *table, const size_t *stride, size_t map_bytes)
{
    unsigned class = 0;

    for (unsigned i = 0; i < table->count; i++)
        lm_shelf_init(&table->class[i].shelf, stride[i], classes_cells(table->slab_bytes, stride[i]));
    for (size_t i = 0; i < map_bytes; i++) {
        while (i * CLASSES_GRAIN > stride[class])
            class ++;
        table->class_of[i] = (uint8_t) class;
    }
}

static void classes_fill(struct loam_classes *table, const struct loam_classes_options *options)
{
    table->lock = (struct lm_block_lock)LM_BLOCK_LOCK_INIT(options->locked != 0);
    table->evict = options->evict;
    table->arg = options->arg;
    table->key[0] = lm_os_random((uintptr_t)table);
    table->key[1] = lm_os_random(~(uintptr_t)table) | 1;
    if (options->name)
        strncpy(table->name, options->name, sizeof table->name - 1);
    lm_index_init(
        &table->index, &table->store, table->first_index, CLASSES_INDEX_PLACES, lm_log2_floor(table->slab_bytes));
    lm_index_init(&table->large, &table->store, table->first_large, CLASSES_INDEX_PLACES, 0);
    lm_list_init(&table->age);
}

LM_PUBLIC struct loam_classes *loam_classes_create(const struct loam_classes_options *options)
{
    static const struct loam_classes_options none = {.struct_bytes = sizeof none};
    struct classes_plan plan;
    size_t stride[CLASSES_MOST], map_bytes, kept;
    struct loam_classes *table;
    struct lm_store *home, store;
    unsigned count;

    if (!options)
        options = &none;
    if (!classes_plan(options, &plan) || (count = classes_strides(&plan, stride)) == 0) {
        errno = EINVAL;
        return NULL;
    }
    map_bytes = classes_stride(plan.max_bytes) / CLASSES_GRAIN + 1;
    kept = offsetof(struct loam_classes, class) + count * sizeof table->class[0];
    home = lm_store_home(
        options->source, kept + map_bytes, options->limit_bytes ? options->limit_bytes : CLASSES_NO_LIMIT);
    if (!home)
        return NULL;
    store = *home;
    table = (struct loam_classes *)(void *)home;
    memset(table, 0, kept);
    table->store = store;
    table->count = count;
    table->max_bytes = plan.max_bytes;
    table->slab_bytes = plan.slab_bytes;
    table->class_of = (uint8_t *)table + kept;
    classes_build(table, stride, map_bytes);
    lm_store_init(&table->store, table, kept + map_bytes, lm_tray_header_bytes(table->class[0].shelf.cells));
    classes_fill(table, options);
    return table;
}

static void classes_drop_large(struct loam_classes *table)
{
    for (size_t i = 0; i <= table->large.mask; i++)
        if (table->large.entry[i].value)
            lm_heap_free(table->large.entry[i].value);
    table->store.held_bytes -= table->large_bytes;
    table->large_bytes = 0;
    lm_index_clear(&table->large);
}

LM_PUBLIC void loam_classes_reset(struct loam_classes *table)
{
    struct lm_list *link;

    while ((link = lm_list_pop_front(&table->age)) != NULL) {
        struct lm_tray *tray = LM_CONTAINER(link, struct lm_tray, order);

        lm_store_unmap(&table->store, lm_classes_slab_start(tray), table->slab_bytes);
    }
    for (unsigned i = 0; i < table->count; i++) {
        struct classes_class *class = &table->class[i];

        lm_shelf_init(&class->shelf, class->shelf.stride, class->shelf.cells);
        class->live = 0;
    }
    classes_drop_large(table);
    lm_index_clear(&table->index);
    lm_store_clear(&table->store);
}

LM_PUBLIC void loam_classes_destroy(struct loam_classes *table)
{
    if (!table)
        return;
    loam_classes_reset(table);
    lm_store_close(&table->store);
}

LM_PUBLIC size_t loam_classes_trim(struct loam_classes *table)
{
    struct lm_tray *tray;
    size_t bytes = 0;

    lm_block_enter(&table->lock);
    for (; (tray = lm_classes_find_empty(table)) != NULL; bytes += table->slab_bytes)
        lm_classes_return(table, tray);
    lm_block_leave(&table->lock);
    return bytes;
}

LM_PUBLIC void loam_classes_limit(struct loam_classes *table, size_t limit_bytes)
{
    lm_block_enter(&table->lock);
    table->store.limit_bytes = limit_bytes ? limit_bytes : CLASSES_NO_LIMIT;
    lm_block_leave(&table->lock);
}

/* -- slabs, seen from a hook ---------------------------------------------------------------------------------------- */

static struct lm_tray *classes_slab(struct loam_classes_slab *slab)
{
    return (struct lm_tray *)(void *)slab;
}

LM_PUBLIC void loam_classes_slab_each(struct loam_classes *table, struct loam_classes_slab *slab,
    void (*visit)(void *block, size_t bytes, void *arg), void *arg)
{
    struct lm_tray *tray = classes_slab(slab);
    size_t cell = 0, bytes = lm_classes_usable(lm_classes_class_of(tray));

    for (;; cell++) {
        lm_block_enter(&table->lock);
        cell = lm_tray_next_live(tray, cell);
        lm_block_leave(&table->lock);
        if (cell == tray->cells)
            return;
        visit((char *)lm_tray_cell(tray, cell) + CLASSES_COOKIE_BYTES, bytes, arg);
    }
}

LM_PUBLIC size_t loam_classes_slab_live(struct loam_classes *table, struct loam_classes_slab *slab)
{
    size_t live;

    lm_block_enter(&table->lock);
    live = classes_slab(slab)->live;
    lm_block_leave(&table->lock);
    return live;
}

/* -- figures ------------------------------------------------------------------------------------------------------------ */

LM_PUBLIC int loam_classes_stats(struct loam_classes *table, struct loam_classes_figures *out)
{
    if (out->struct_bytes != sizeof *out) {
        errno = EINVAL;
        return -1;
    }
    lm_block_enter(&table->lock);
    *out = (struct loam_classes_figures){
        .struct_bytes = sizeof *out,
        .limit_bytes = table->store.limit_bytes,
        .held_bytes = table->store.held_bytes,
        .peak_bytes = table->store.peak_bytes,
        .classes = table->count,
        .slabs = table->index.used,
        .slab_bytes = table->slab_bytes,
        .large_blocks = table->large.used,
        .large_bytes = table->large_bytes,
        .moved = table->moved,
        .evictions = table->evictions,
        .refused = table->refused,
    };
    for (unsigned i = 0; i < table->count; i++) {
        out->live += table->class[i].live;
        out->live_bytes += table->class[i].live * lm_classes_usable(&table->class[i]);
        out->empty_slabs += table->class[i].shelf.empties;
    }
    memcpy(out->name, table->name, sizeof out->name);
    lm_block_leave(&table->lock);
    return 0;
}

LM_PUBLIC void loam_classes_each(
    struct loam_classes *table, void (*visit)(const struct loam_classes_class *figures, void *arg), void *arg)
{
    lm_block_enter(&table->lock);
    for (unsigned i = 0; i < table->count; i++) {
        const struct classes_class *class = &table->class[i];
        const struct loam_classes_class figures = {
            .block_bytes = lm_classes_usable(class),
            .slab_blocks = class->shelf.cells,
            .slabs = class->shelf.trays,
            .empty_slabs = class->shelf.empties,
            .live = class->live,
            .free = (size_t) class->shelf.trays * class->shelf.cells - class->live,
            .allocations = class->allocations,
            .moved_in = class->moved_in,
            .moved_out = class->moved_out,
            .evicted = class->evicted,
            .refused = class->refused,
        };

        visit(&figures, arg);
    }
    lm_block_leave(&table->lock);
}

/* -- the check ------------------------------------------------------------------------------------------------------------ */

static int classes_check_cookies(const struct loam_classes *table, const struct lm_tray *tray)
{
    unsigned class = lm_classes_number(table, lm_classes_class_of(tray));

    for (size_t cell = 0; (cell = lm_tray_next_live(tray, cell)) < tray->cells; cell++) {
        const char *block = (const char *)lm_tray_cell(tray, cell) + CLASSES_COOKIE_BYTES;

        if (*lm_classes_cookie_at(block) != lm_classes_cookie(table, block, class))
            return __LINE__;
    }
    return 0;
}

static int classes_check_slabs(const struct loam_classes *table, size_t *slabs)
{
    size_t live = 0, counted = 0;
    int line = 0;

    for (const struct lm_list *link = table->age.next; !line && link != &table->age; link = link->next) {
        struct lm_tray *tray = LM_CONTAINER(link, struct lm_tray, order);

        if (link->next->prev != link || lm_index_find(&table->index, (uintptr_t)lm_classes_slab_start(tray)) != tray)
            return __LINE__;
        line = classes_check_cookies(table, tray);
        live += lm_tray_count(tray);
        ++*slabs;
    }
    for (unsigned i = 0; !line && i < table->count; i++) {
        line = lm_shelf_check(&table->class[i].shelf);
        counted += table->class[i].live;
    }
    if (!line && table->moves)
        return 0; /* some slabs are leaving */
    return line ? line : live != counted || *slabs != table->index.used ? __LINE__ : 0;
}

static int classes_check_large(const struct loam_classes *table)
{
    size_t bytes = 0;

    for (size_t i = 0; i <= table->large.mask; i++) {
        const struct classes_large *large = table->large.entry[i].value;

        if (!large)
            continue;
        if (table->large.entry[i].key != lm_classes_large_key(large + 1) ||
            large->cookie != lm_classes_cookie(table, large + 1, CLASSES_LARGE))
            return __LINE__;
        bytes += lm_heap_usable(large);
    }
    return bytes == table->large_bytes ? lm_index_check(&table->large) : __LINE__;
}

LM_PUBLIC int loam_classes_check(struct loam_classes *table)
{
    size_t slabs = 0;
    int line;

    lm_block_enter(&table->lock);
    line = lm_index_check(&table->index);
    if (!line)
        line = classes_check_slabs(table, &slabs);
    if (!line)
        line = classes_check_large(table);
    if (!line)
        line = lm_store_check(&table->store,
            table->index.used * table->slab_bytes + table->large_bytes + lm_index_mapped_bytes(&table->index) +
                lm_index_mapped_bytes(&table->large));
    lm_block_leave(&table->lock);
    return line;
}
