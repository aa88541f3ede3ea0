/* classes_move.c: where a class gets its next slab from: its own, the source, another class; see classes_inner.h, and
 * <loam/classes.h> for the order and its reasons.
 *
 * While the hook runs the lock is free and the slab is LEAVING: in no list, so nobody allocates from it or empties it a
 * second time, and frees into it only count. Two threads may have a hook at work on two slabs. */
#include "block/classes_inner.h"

#include <errno.h>

enum {
    MOVE_TRIES = 8,  /* slabs whose eviction was refused, before a request fails */
    MOVE_LOOK = 8,   /* slabs that are looked at in each class for one that is little used */
    MOVE_LITTLE = 4, /* little used: one in so many blocks live, at most */
};

void lm_classes_return(struct loam_classes *table, struct lm_tray *tray)
{
    lm_shelf_remove(tray);
    lm_list_remove(&tray->order);
    lm_index_remove(&table->index, (uintptr_t)lm_classes_slab_start(tray));
    lm_store_unmap(&table->store, lm_classes_slab_start(tray), table->slab_bytes);
    lm_store_free_header(&table->store, tray);
}

static void move_settle(struct loam_classes *table, struct classes_class *class, struct lm_tray *tray, char *memory)
{
    lm_shelf_add(&class->shelf, tray, memory + CLASSES_COOKIE_BYTES);
    lm_list_push_back(&table->age, &tray->order);
}

/* A slab from the source; false with ENOMEM. */
static bool move_map(struct loam_classes *table, struct classes_class *class)
{
    struct lm_tray *tray = lm_store_header(&table->store);
    char *memory = tray ? lm_store_map(&table->store, table->slab_bytes, table->slab_bytes) : NULL;

    if (!memory || !lm_index_insert(&table->index, (uintptr_t)memory, tray)) {
        int saved = errno;

        if (memory)
            lm_store_unmap(&table->store, memory, table->slab_bytes);
        if (tray)
            lm_store_free_header(&table->store, tray);
        errno = saved;
        return false;
    }
    move_settle(table, class, tray, memory);
    return true;
}

struct lm_tray *lm_classes_find_empty(struct loam_classes *table)
{
    struct lm_shelf *most = NULL;

    for (unsigned i = 0; i < table->count; i++) {
        struct lm_shelf *shelf = &table->class[i].shelf;

        if (shelf->current && lm_tray_count(shelf->current) == 0)
            lm_shelf_retire(shelf);
        if (shelf->empties && (!most || shelf->empties > most->empties))
            most = shelf;
    }
    return most ? LM_CONTAINER(most->empty.prev, struct lm_tray, list) : NULL;
}

/* Cuts an EMPTY or LEAVING slab anew for a class. */
static void move_to(struct loam_classes *table, struct classes_class *class, struct lm_tray *tray)
{
    struct classes_class *from = lm_classes_class_of(tray);
    char *memory = lm_classes_slab_start(tray);

    lm_shelf_remove(tray);
    lm_list_remove(&tray->order);
    move_settle(table, class, tray, memory);
    if (from != class) {
        from->moved_out++;
        class->moved_in++;
        table->moved++;
    }
}

/* A slab of which little is live, or NULL. */
static struct lm_tray *move_choose_little(struct loam_classes *table, const struct lm_tray *keep)
{
    struct lm_tray *least = NULL;
    size_t least_bytes = SIZE_MAX;

    for (unsigned i = 0; i < table->count; i++) {
        struct lm_shelf *shelf = &table->class[i].shelf;
        struct lm_list *link = shelf->open.next;

        for (unsigned look = 0; look < MOVE_LOOK && link != &shelf->open; look++, link = link->next) {
            struct lm_tray *tray = LM_CONTAINER(link, struct lm_tray, list);
            size_t bytes = tray->live * shelf->stride;

            if (tray != keep && tray->live <= tray->cells / MOVE_LITTLE && bytes < least_bytes) {
                least = tray;
                least_bytes = bytes;
            }
        }
    }
    return least;
}

/* The slab to evict from, or NULL; `refusals` is how many the request met with. */
static struct lm_tray *move_choose(struct loam_classes *table, const struct lm_tray *keep, int refusals)
{
    /* A slab that the user cannot empty, though little of it is live, must not be asked for over and over. */
    struct lm_tray *tray = refusals == 0 ? move_choose_little(table, keep) : NULL;

    if (tray)
        return tray;
    for (struct lm_list *link = table->age.next; link != &table->age; link = link->next) {
        tray = LM_CONTAINER(link, struct lm_tray, order);
        if (tray != keep)
            return tray;
    }
    return NULL;
}

/* True when the calling thread is in a hook of this table. */
static bool move_is_nested(const struct loam_classes *table)
{
    uint64_t thread = lm_os_thread_id();

    for (const struct classes_move *move = table->moves; move; move = move->next)
        if (move->thread == thread)
            return true;
    return false;
}

/* Has the user empty one slab. True when it is: it is LEAVING then, and the caller's. Else it is back in its class. */
static bool move_evict(struct loam_classes *table, struct lm_tray *tray)
{
    struct classes_class *class = lm_classes_class_of(tray);
    struct classes_move move = {table->moves, lm_os_thread_id()}, **link = &table->moves;
    uint32_t live;

    if (tray->state == LM_TRAY_CURRENT)
        lm_shelf_retire(&class->shelf);
    lm_tray_leave(tray);
    lm_list_remove(&tray->order);
    live = tray->live;
    table->moves = &move;
    table->evictions++;
    lm_block_leave(&table->lock);
    table->evict(table, (struct loam_classes_slab *)(void *)tray, table->arg);
    lm_block_enter(&table->lock);
    while (*link != &move)
        link = &(*link)->next;
    *link = move.next;
    class->evicted += live - tray->live;
    if (tray->live == 0)
        return true;
    lm_tray_return(tray);
    lm_list_push_back(&table->age, &tray->order);
    return false;
}

/* A slab that the caller may have, EMPTY or LEAVING; NULL: there is none, or what was asked for was refused, which
 * *refusals counts up to MOVE_TRIES. */
static struct lm_tray *move_find(struct loam_classes *table, const struct lm_tray *keep, int *refusals)
{
    struct lm_tray *tray = lm_classes_find_empty(table);

    if (tray)
        return tray;
    tray = table->evict && !move_is_nested(table) ? move_choose(table, keep, *refusals) : NULL;
    if (!tray)
        *refusals = MOVE_TRIES;
    else if (!move_evict(table, tray))
        ++*refusals;
    else
        return tray;
    return NULL;
}

bool lm_classes_refill(struct loam_classes *table, struct classes_class *class, const struct lm_tray *keep)
{
    struct lm_tray *tray;
    int refusals = 0, saved;

    while (!lm_shelf_advance(&class->shelf)) {
        if (move_map(table, class))
            continue;
        saved = errno;
        tray = refusals < MOVE_TRIES ? move_find(table, keep, &refusals) : NULL;
        if (tray) {
            move_to(table, class, tray);
        } else if (refusals == MOVE_TRIES) {
            class->refused++;
            errno = saved;
            return false;
        } /* else what was freed elsewhere meanwhile may do */
    }
    tray = class->shelf.current;
    lm_list_remove(&tray->order);
    lm_list_push_back(&table->age, &tray->order);
    return true;
}

bool lm_classes_make_room(struct loam_classes *table, size_t bytes, const struct lm_tray *keep)
{
    int refusals = bytes > table->store.limit_bytes ? MOVE_TRIES : 0;

    while (!lm_store_allows(&table->store, bytes)) {
        struct lm_tray *tray = refusals < MOVE_TRIES ? move_find(table, keep, &refusals) : NULL;

        if (tray) {
            lm_classes_return(table, tray);
        } else if (refusals == MOVE_TRIES) {
            errno = ENOMEM;
            return false;
        }
    }
    return true;
}
