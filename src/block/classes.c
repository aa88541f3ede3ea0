/* classes.c: blocks of class tables: which class, cookies, large blocks; see <loam/classes.h> and classes_inner.h.
 *
 * An address is proved by the index, the tray's arithmetic and its bit before anything beside it is read; only then is
 * the cookie compared with what it must be, which is computed and never decoded. */
#include "block/classes_inner.h"

#include <errno.h>
#include <string.h>

/* -- proof ------------------------------------------------------------------------------------------------------ */

/* Where a block was found: in a tray, or, with tray NULL, as a large one. */
struct classes_place {
    struct lm_tray *tray;
    size_t cell;
    struct classes_large *large;
    size_t usable;
};

static _Noreturn LM_COLD void classes_misuse(struct loam_classes *table, const char *fault, const void *p)
{
    lm_block_leave(&table->lock);
    lm_block_misuse("classes", fault, p);
}

static struct lm_tray *classes_tray(const struct loam_classes *table, const void *block)
{
    return lm_index_find(&table->index, lm_classes_key(table, (uintptr_t)block - CLASSES_COOKIE_BYTES));
}

static void classes_prove_cookie(struct loam_classes *table, const void *block, unsigned class)
{
    if (LM_UNLIKELY(*lm_classes_cookie_at(block) != lm_classes_cookie(table, block, class)))
        classes_misuse(table, "header damaged, forged or copied", block);
}

/* Finds a live block of the table; aborts when it is none. */
static struct classes_place classes_find(struct loam_classes *table, const void *block)
{
    struct classes_place place = {.tray = classes_tray(table, block)};

    if (LM_LIKELY(place.tray != NULL)) {
        const struct classes_class *class = lm_classes_class_of(place.tray);

        if (!lm_tray_find(place.tray, class->shelf.magic, lm_classes_cookie_at(block), &place.cell))
            classes_misuse(table, "not the start of a block", block);
        if (lm_tray_is_free(place.tray, place.cell))
            classes_misuse(table, "double free, or never allocated", block);
        classes_prove_cookie(table, block, lm_classes_number(table, class));
        place.usable = lm_classes_usable(class);
        return place;
    }
    place.large = lm_index_find(&table->large, lm_classes_large_key(block));
    if (!place.large || (const void *)(place.large + 1) != block)
        classes_misuse(table, "not a block of this table", block);
    classes_prove_cookie(table, block, CLASSES_LARGE);
    place.usable = lm_heap_usable(place.large) - sizeof *place.large;
    if (place.usable != place.large->usable)
        classes_misuse(table, "header damaged, forged or copied", block);
    return place;
}

/* -- blocks in slabs ------------------------------------------------------------------------------------------------ */

static struct classes_class *classes_class(struct loam_classes *table, size_t size)
{
    return &table->class[table->class_of[(size + CLASSES_COOKIE_BYTES + CLASSES_GRAIN - 1) / CLASSES_GRAIN]];
}

static void *classes_take(struct loam_classes *table, size_t size, const struct lm_tray *keep)
{
    struct classes_class *class = classes_class(table, size);
    char *cell = lm_shelf_take(&class->shelf), *block;

    while (LM_UNLIKELY(!cell)) {
        if (!lm_classes_refill(table, class, keep)) {
            table->refused++;
            return NULL;
        }
        cell = lm_shelf_take(&class->shelf);
    }
    block = cell + CLASSES_COOKIE_BYTES;
    *lm_classes_cookie_at(block) = lm_classes_cookie(table, block, lm_classes_number(table, class));
    class->live++;
    class->allocations++;
    return block;
}

/* A table without a budget keeps one empty slab a class; under one, the budget says what it may keep. */
static void classes_put(struct loam_classes *table, struct lm_tray *tray, size_t cell)
{
    struct classes_class *class = lm_classes_class_of(tray);
    int saved;

    *(uint64_t *)lm_tray_cell(tray, cell) = 0;
    class->live--;
    if (!lm_tray_put(tray, cell))
        return;
    if (class->shelf.empties > 1 && table->store.limit_bytes == CLASSES_NO_LIMIT) {
        saved = errno;
        lm_classes_return(table, tray);
        errno = saved;
    }
}

/* -- large blocks, of the general heap ------------------------------------------------------------------------------- */

/* Signs a large block and enters it. False with ENOMEM. */
static bool classes_enter_large(struct loam_classes *table, struct classes_large *large)
{
    size_t bytes = lm_heap_usable(large);

    if (!lm_index_insert(&table->large, lm_classes_large_key(large + 1), large))
        return false;
    large->usable = bytes - sizeof *large;
    large->cookie = lm_classes_cookie(table, large + 1, CLASSES_LARGE);
    lm_store_charge(&table->store, bytes);
    table->large_bytes += bytes;
    return true;
}

static void classes_forget_large(struct loam_classes *table, struct classes_large *large, size_t usable)
{
    large->cookie = 0;
    lm_index_remove(&table->large, lm_classes_large_key(large + 1));
    table->store.held_bytes -= usable + sizeof *large;
    table->large_bytes -= usable + sizeof *large;
}

static void *classes_take_large(struct loam_classes *table, size_t size, const struct lm_tray *keep)
{
    struct classes_large *large = NULL;
    size_t whole = size + sizeof *large, bytes = whole > size ? lm_heap_good_size(whole) : SIZE_MAX;

    if (bytes == SIZE_MAX)
        errno = ENOMEM;
    else if (lm_classes_make_room(table, bytes, keep))
        large = lm_heap_malloc(whole, NULL);
    if (large && !classes_enter_large(table, large)) {
        lm_heap_free(large);
        large = NULL;
    }
    if (!large) {
        table->refused++;
        return NULL;
    }
    return large + 1;
}

/* In place or elsewhere in the general heap, without a copy when the pages can be moved; NULL with ENOMEM. */
static void *classes_resize_large(struct loam_classes *table, struct classes_place *place, size_t size)
{
    struct classes_large *large = place->large;
    size_t whole = size + sizeof *large, bytes = whole > size ? lm_heap_good_size(whole) : SIZE_MAX;
    size_t old = place->usable + sizeof *large;

    if (bytes == SIZE_MAX) {
        errno = ENOMEM;
        table->refused++;
        return NULL;
    }
    if (bytes > old && !lm_classes_make_room(table, bytes - old, NULL)) {
        table->refused++;
        return NULL;
    }
    *place = classes_find(table, large + 1); /* a hook may have done anything meanwhile */
    classes_forget_large(table, large, place->usable);
    struct classes_large *resized = lm_heap_realloc(large, whole);

    if (!resized)
        table->refused++;
    classes_enter_large(table, resized ? resized : large); /* the place that was left is still there */
    return resized ? resized + 1 : NULL;
}

/* -- the public face --------------------------------------------------------------------------------------------------- */

static void *classes_alloc_any(struct loam_classes *table, size_t size, const struct lm_tray *keep)
{
    return LM_LIKELY(size <= table->max_bytes) ? classes_take(table, size, keep)
                                               : classes_take_large(table, size, keep);
}

static void classes_free_found(struct loam_classes *table, const struct classes_place *place)
{
    if (place->tray) {
        classes_put(table, place->tray, place->cell);
    } else {
        classes_forget_large(table, place->large, place->usable);
        lm_heap_free(place->large);
    }
}

LM_PUBLIC void *loam_classes_alloc(struct loam_classes *table, size_t size)
{
    void *block;

    lm_block_enter(&table->lock);
    block = classes_alloc_any(table, size, NULL);
    lm_block_leave(&table->lock);
    return block;
}

LM_PUBLIC void loam_classes_free(struct loam_classes *table, void *block)
{
    struct classes_place place;

    if (!block)
        return;
    lm_block_enter(&table->lock);
    place = classes_find(table, block);
    classes_free_found(table, &place);
    lm_block_leave(&table->lock);
}

/* True when a block of that class, or a large one, is what a request of this size would be given. */
static bool classes_stays(struct loam_classes *table, const struct classes_place *place, size_t size)
{
    return place->tray && size <= table->max_bytes && lm_classes_class_of(place->tray) == classes_class(table, size);
}

static void *classes_resize(struct loam_classes *table, void *block, size_t size)
{
    struct classes_place place = classes_find(table, block);
    void *fresh;

    if (classes_stays(table, &place, size))
        return block;
    if (place.large && size > table->max_bytes)
        return classes_resize_large(table, &place, size);
    fresh = classes_alloc_any(table, size, place.tray);
    if (!fresh)
        return NULL;
    place = classes_find(table, block);
    memcpy(fresh, block, lm_min(size, place.usable));
    classes_free_found(table, &place);
    return fresh;
}

LM_PUBLIC void *loam_classes_realloc(struct loam_classes *table, void *block, size_t size)
{
    void *resized;

    if (!block)
        return loam_classes_alloc(table, size);
    if (size == 0) {
        loam_classes_free(table, block);
        return NULL;
    }
    lm_block_enter(&table->lock);
    resized = classes_resize(table, block, size);
    lm_block_leave(&table->lock);
    return resized;
}

LM_PUBLIC size_t loam_classes_usable_size(struct loam_classes *table, const void *block)
{
    size_t usable;

    if (!block)
        return 0;
    lm_block_enter(&table->lock);
    usable = classes_find(table, block).usable;
    lm_block_leave(&table->lock);
    return usable;
}

LM_PUBLIC size_t loam_classes_good_size(struct loam_classes *table, size_t size)
{
    size_t whole;

    if (size <= table->max_bytes)
        return lm_classes_usable(classes_class(table, size));
    whole = size + sizeof(struct classes_large);
    whole = whole > size ? lm_heap_good_size(whole) : SIZE_MAX;
    return whole == SIZE_MAX ? SIZE_MAX : whole - sizeof(struct classes_large);
}
