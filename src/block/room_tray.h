/* room_tray.h: trays and shelves: slabs of equal cells with one bit a cell and nothing in the cells themselves.
 *
 * A tray is a slab of memory cut into cells and a header that stands elsewhere (room_store.h); a shelf is all trays of
 * one cell size. Pools are made of one shelf, class tables of one a class.
 *
 *   tray->first                             header  | struct lm_tray | word 0 | word 1 | ... | summary 0 | ...
 *   | cell 0 | cell 1 | ... | cell cells-1 |          bit n%64 of word n/64: cell n is free
 *                                                     bit g%64 of summary g/64: word g has a free cell
 *
 * The shelf allocates from its current word: the lowest bit that is set names the cell. Nobody counts there. When the
 * word is 0 the summary of the current tray names the next word, and when that has none, the next tray is taken.
 * A cell is found by its address alone: with M = ceil(2^63 / stride), the 128-bit product of twice the offset and M has
 * the cell's number above, and a low half below M exactly when the offset is a multiple of the stride (Lemire, Kaser,
 * Kurz 2019; for twice the offset and the stride below 2^32).
 *
 * States, and what `live` means in each:
 *
 *   CURRENT  the shelf allocates from it; `live` means nothing, it begins at LM_TRAY_IDLE and only falls
 *   FULL     no cell is free; live == cells
 *   OPEN     some are; live is exact, because a tray stops being CURRENT only when it is full or counted
 *   EMPTY    all are; live == 0
 *   LEAVING  somebody empties it; in no list, never allocated from; live is exact
 *
 * Invariants (lm_shelf_check): the above; a summary bit is set exactly when its word is not 0, but for the current word,
 * whose bit is 0; bits of cells that do not exist are 0. Locks: the owner's. */
#ifndef LM_BLOCK_ROOM_TRAY_H
#define LM_BLOCK_ROOM_TRAY_H

#include "block/block.h"

enum lm_tray_state { LM_TRAY_CURRENT, LM_TRAY_FULL, LM_TRAY_OPEN, LM_TRAY_EMPTY, LM_TRAY_LEAVING };

#define LM_TRAY_IDLE UINT32_MAX
#define LM_TRAY_MAX_BYTES ((size_t)1 << 31)

struct lm_tray {
    char *first; /* cell 0 */
    struct lm_shelf *shelf;
    uint32_t cells;
    uint32_t live;
    uint32_t hint;        /* no summary word below it has a bit */
    uint32_t state;       /* enum lm_tray_state */
    struct lm_list list;  /* of its state */
    struct lm_list order; /* the owner's own */
    uint64_t bits[];      /* words, then the summary */
};

_Static_assert(sizeof(struct lm_tray) == 64, "a tray's header is a line, before the bits");

struct lm_shelf {
    uint64_t *word; /* the free cells of the current group of 64; never NULL */
    char *base;     /* its cell 0 */
    size_t stride;
    uint64_t magic;
    struct lm_tray *current; /* or NULL */
    uint32_t cells;          /* of a tray */
    uint32_t trays, empties;
    struct lm_list open, full, empty;
};

/* The word of a shelf with nothing current: no cell is free. */
extern const uint64_t lm_tray_no_word LM_HIDDEN;
#define LM_TRAY_NO_WORD ((uint64_t *)&lm_tray_no_word)

LM_INLINE uint32_t lm_tray_groups(uint32_t cells)
{
    return (cells + 63) / 64;
}

/* Bytes of a tray's header. */
LM_INLINE size_t lm_tray_header_bytes(uint32_t cells)
{
    uint32_t groups = lm_tray_groups(cells);

    return sizeof(struct lm_tray) + 8 * ((size_t)groups + lm_tray_groups(groups));
}

/* A shelf without trays; cells * stride is below LM_TRAY_MAX_BYTES. */
void lm_shelf_init(struct lm_shelf *shelf, size_t stride, uint32_t cells);

/* Puts an empty tray on the shelf, with cell 0 at `first`; the tray's `order` is left alone. */
void lm_shelf_add(struct lm_shelf *shelf, struct lm_tray *tray, char *first);

/* Takes a tray off its shelf: EMPTY or LEAVING, or any other that the owner has done with. */
void lm_shelf_remove(struct lm_tray *tray);

/* A cell from the current word, or NULL. */
LM_INLINE void *lm_shelf_take(struct lm_shelf *shelf)
{
    uint64_t bits = *shelf->word;

    if (LM_UNLIKELY(!bits))
        return NULL;
    *shelf->word = bits & (bits - 1);
    return shelf->base + lm_lowest_bit(bits) * shelf->stride;
}

/* Makes another word current when that one is used up, and only then. False: no tray has a free cell. */
bool lm_shelf_advance(struct lm_shelf *shelf);

/* Makes no tray current: the one that was is counted and goes where it belongs. */
void lm_shelf_retire(struct lm_shelf *shelf);

/* Takes a tray that is not current out of its list, to be emptied (LEAVING), and puts it back. */
void lm_tray_leave(struct lm_tray *tray);
void lm_tray_return(struct lm_tray *tray);

/* The cell that begins at p, which may be anything; false: none does. */
LM_INLINE bool lm_tray_find(const struct lm_tray *tray, uint64_t magic, const void *p, size_t *cell)
{
    unsigned __int128 product = (unsigned __int128)(2 * ((uintptr_t)p - (uintptr_t)tray->first)) * magic;

    *cell = (size_t)(product >> 64);
    return LM_LIKELY((uint64_t)product < magic) && LM_LIKELY(*cell < tray->cells);
}

LM_INLINE bool lm_tray_is_free(const struct lm_tray *tray, size_t cell)
{
    return tray->bits[cell / 64] >> cell % 64 & 1;
}

/* What lm_tray_put leaves for later. */
void lm_tray_open(struct lm_tray *tray, size_t group);
bool lm_tray_drained(struct lm_tray *tray);

/* Frees a live cell; true when the tray has become EMPTY by it. */
LM_INLINE bool lm_tray_put(struct lm_tray *tray, size_t cell)
{
    uint64_t *word = &tray->bits[cell / 64], old = *word;

    *word = old | (uint64_t)1 << cell % 64;
    if (LM_UNLIKELY(!old))
        lm_tray_open(tray, cell / 64);
    return LM_UNLIKELY(--tray->live == 0) && lm_tray_drained(tray);
}

/* Live cells, counted. */
uint32_t lm_tray_count(const struct lm_tray *tray);

/* The first live cell from `from` on; tray->cells when there is none. */
size_t lm_tray_next_live(const struct lm_tray *tray, size_t from);

LM_INLINE void *lm_tray_cell(const struct lm_tray *tray, size_t cell)
{
    return tray->first + cell * tray->shelf->stride;
}

/* 0, or the line of the broken invariant. */
int lm_shelf_check(const struct lm_shelf *shelf);

#endif
