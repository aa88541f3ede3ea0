/* room_store.h: memory of a source, counted and limited, and the headers of slabs, which stand away from them.
 *
 *   home    | owner's structure | ... | header | header | ... |      mapped by the owner
 *   chunk   | struct store_chunk | header | header | ...      |      mapped here, when the home's rest is used up
 *
 * All headers of a store are of one size, so a freed one serves the next slab; chunks go back with lm_store_clear.
 * What a user writes beyond an object never reaches a header, because there are no objects in these pieces.
 *
 * Invariant (lm_store_check): held_bytes is the home, the chunks, and what is mapped out, and not above the limit;
 * every free header lies in the home or a chunk. Locks: the owner's. */
#ifndef LM_BLOCK_ROOM_STORE_H
#define LM_BLOCK_ROOM_STORE_H

#include "block/block.h"

struct lm_store {
    const struct loam_source *source;
    size_t grain; /* what is mapped is a multiple of it */
    size_t limit_bytes;
    size_t held_bytes, peak_bytes; /* taken from the source, the home included */
    size_t header_bytes;
    void *free_headers;     /* linked by their first word */
    char *bump, *bump_end;  /* headers never used yet */
    char *home, *home_room; /* the first of the home that headers may use */
    size_t home_bytes;
    struct lm_list chunks;
};

/* What a source is best asked for: whole granules of loam's arena, whole huge pages, few mappings. */
size_t lm_store_grain(const struct loam_source *source);

/* A store in a mapping of at least home_bytes, of which the caller keeps the first `kept_bytes`, which hold the store
 * itself. NULL with ENOMEM. limit_bytes: SIZE_MAX for none. */
void *lm_store_home(const struct loam_source *source, size_t home_bytes, size_t limit_bytes);
void lm_store_init(struct lm_store *store, void *home, size_t kept_bytes, size_t header_bytes);

/* Memory of at least `bytes` (lm_store_round of them), aligned to `align`; NULL with ENOMEM when the source or the limit
 * refuses. */
void *lm_store_map(struct lm_store *store, size_t bytes, size_t align);
void lm_store_unmap(struct lm_store *store, void *p, size_t bytes);

/* True when the limit allows so many bytes more. */
LM_INLINE bool lm_store_allows(const struct lm_store *store, size_t bytes)
{
    return store->held_bytes <= store->limit_bytes && bytes <= store->limit_bytes - store->held_bytes;
}

/* Counts memory that came from elsewhere but is under the limit too. */
void lm_store_charge(struct lm_store *store, size_t bytes);

LM_INLINE size_t lm_store_round(const struct lm_store *store, size_t bytes)
{
    return lm_align_up(bytes, store->grain);
}

/* A header, with any contents, aligned to a cache line; NULL with ENOMEM. */
void *lm_store_header(struct lm_store *store);
void lm_store_free_header(struct lm_store *store, void *header);

/* Gives all headers and chunks back; the home stays. */
void lm_store_clear(struct lm_store *store);

/* Gives the home back, and with it the structure that holds the store; all else has been given back. */
void lm_store_close(struct lm_store *store);

/* 0, or the line of the broken invariant; mapped_bytes is what the owner has mapped and charged now. */
int lm_store_check(const struct lm_store *store, size_t mapped_bytes);

#endif
