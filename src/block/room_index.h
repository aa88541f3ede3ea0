/* room_index.h: from an address to what stands there, for addresses that may be anything.
 *
 * A hash table with open addressing and linear probing: the key, shifted down, says where to look first. A pool's keys
 * are addresses of aligned slabs, which come mostly in a row, so that almost every search ends where it begins, without
 * multiplication. Keys are multiples of 2^shift. A free place has value NULL and a key that nobody looks for there first,
 * so that a caller may compare keys, or take distances from them, without asking whether the place is free. At most half of the places are used. Removal moves later entries back instead of
 * leaving tombstones (Knuth, TAOCP 3, 6.4, algorithm R).
 *
 * Invariant (lm_index_check): every entry is found by its key, and `used` counts them. Locks: the owner's. The table is
 * in its store's memory; the first one is given by the owner. */
#ifndef LM_BLOCK_ROOM_INDEX_H
#define LM_BLOCK_ROOM_INDEX_H

#include "block/room_store.h"

struct lm_index_entry {
    uintptr_t key;
    void *value;
};

struct lm_index {
    struct lm_index_entry *entry;
    size_t mask; /* places - 1 */
    unsigned shift;
    size_t used;
    struct lm_store *store;
    struct lm_index_entry *first; /* the owner's own table */
    size_t first_mask;
};

/* Starts with the owner's own table of `places`, a power of two of at least 2. */
void lm_index_init(
    struct lm_index *index, struct lm_store *store, struct lm_index_entry *first, size_t places, unsigned shift);

/* Forgets everything, and gives back all but the first table. */
void lm_index_clear(struct lm_index *index);

/* The value of a key that is not where it is looked for first. */
void *lm_index_probe(const struct lm_index *index, uintptr_t key);

/* The value of a key, or NULL. */
LM_INLINE void *lm_index_find(const struct lm_index *index, uintptr_t key)
{
    const struct lm_index_entry *entry = &index->entry[key >> index->shift & index->mask];

    return LM_LIKELY(entry->key == key) ? entry->value : lm_index_probe(index, key);
}

/* Enters a key that is not there. False with ENOMEM. */
bool lm_index_insert(struct lm_index *index, uintptr_t key, void *value);

/* Removes a key that is there. */
void lm_index_remove(struct lm_index *index, uintptr_t key);

/* Bytes mapped for the table now. */
size_t lm_index_mapped_bytes(const struct lm_index *index);

/* 0, or the line of the broken invariant. */
int lm_index_check(const struct lm_index *index);

#endif
