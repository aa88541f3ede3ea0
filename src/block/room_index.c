/* room_index.c: see room_index.h. */
#include "block/room_index.h"

static size_t index_home(const struct lm_index *index, uintptr_t key)
{
    return key >> index->shift & index->mask;
}

/* What a free place holds: the key's first place is another one. */
static struct lm_index_entry index_free(const struct lm_index *index, size_t place)
{
    return (struct lm_index_entry){(uintptr_t)(place ^ 1) << index->shift, NULL};
}

void lm_index_init(
    struct lm_index *index, struct lm_store *store, struct lm_index_entry *first, size_t places, unsigned shift)
{
    *index = (struct lm_index){.store = store, .first = first, .first_mask = places - 1, .shift = shift};
    index->entry = first;
    index->mask = places - 1;
    lm_index_clear(index);
}

size_t lm_index_mapped_bytes(const struct lm_index *index)
{
    return index->entry == index->first ? 0 : lm_store_round(index->store, (index->mask + 1) * sizeof *index->entry);
}

static void index_wipe(struct lm_index *index)
{
    for (size_t i = 0; i <= index->mask; i++)
        index->entry[i] = index_free(index, i);
}

void lm_index_clear(struct lm_index *index)
{
    if (index->entry != index->first)
        lm_store_unmap(index->store, index->entry, (index->mask + 1) * sizeof *index->entry);
    index->entry = index->first;
    index->mask = index->first_mask;
    index->used = 0;
    index_wipe(index);
}

/* Where a key stands, or the free place where its search ends. */
static size_t index_place(const struct lm_index *index, uintptr_t key)
{
    size_t i = index_home(index, key);

    while (index->entry[i].value && index->entry[i].key != key)
        i = (i + 1) & index->mask;
    return i;
}

void *lm_index_probe(const struct lm_index *index, uintptr_t key)
{
    return index->entry[index_place(index, key)].value;
}

static bool index_grow(struct lm_index *index)
{
    size_t places = 2 * (index->mask + 1), old_mask = index->mask;
    struct lm_index_entry *old = index->entry, *fresh;

    while (2 * places * sizeof *fresh <= index->store->grain)
        places *= 2; /* the source gives no less */
    fresh = lm_store_map(index->store, places * sizeof *fresh, LOAM_SOURCE_GRAIN);
    if (!fresh)
        return false;
    index->entry = fresh;
    index->mask = places - 1;
    index_wipe(index);
    for (size_t i = 0; i <= old_mask; i++)
        if (old[i].value)
            index->entry[index_place(index, old[i].key)] = old[i];
    if (old != index->first)
        lm_store_unmap(index->store, old, (old_mask + 1) * sizeof *old);
    return true;
}

bool lm_index_insert(struct lm_index *index, uintptr_t key, void *value)
{
    if (2 * (index->used + 1) > index->mask + 1 && !index_grow(index))
        return false;
    index->entry[index_place(index, key)] = (struct lm_index_entry){key, value};
    index->used++;
    return true;
}

void lm_index_remove(struct lm_index *index, uintptr_t key)
{
    size_t hole = index_place(index, key), mask = index->mask;

    LM_ASSERT(index->entry[hole].key == key);
    /* An entry behind the hole moves into it unless its search begins behind the hole. */
    for (size_t i = (hole + 1) & mask; index->entry[i].value; i = (i + 1) & mask)
        if (((i - index_home(index, index->entry[i].key)) & mask) >= ((i - hole) & mask)) {
            index->entry[hole] = index->entry[i];
            hole = i;
        }
    index->entry[hole] = index_free(index, hole);
    index->used--;
}

int lm_index_check(const struct lm_index *index)
{
    size_t used = 0;

    for (size_t i = 0; i <= index->mask; i++) {
        if (!index->entry[i].value) {
            if (index->entry[i].key != index_free(index, i).key)
                return __LINE__;
            continue;
        }
        used++;
        if (index_place(index, index->entry[i].key) != i)
            return __LINE__;
    }
    return used != index->used || 2 * used > index->mask + 1 ? __LINE__ : 0;
}
