/* buddy.h: a binary buddy over units 0..n-1, which places spans of granules and serves the public buddy.
 *
 * A free range is kept as blocks of 2^order units at multiples of 2^order (Knuth, TAOCP vol. 1, 2.5; Peterson and
 * Norman 1977). A request takes the smallest block that holds it, splits off right halves, and gives the tail
 * beyond the request back at once; a freed range falls into such blocks, each of which merges with its buddy
 * while that is free.
 *
 *   state[unit]   0: nothing starts here; order + 1: a free block of 2^order units; LIVE: a range whose length is known
 *   next, prev    of the free blocks of one order, by unit + 1; 0 ends a list
 *   next          of a live range whose length is known: its units
 *
 * Invariant (lm_buddy_check): a free block is aligned to its length, within the units, in its order's list, and
 * its buddy of the same order is not free. Metadata is touched only where free blocks start, so a small heap
 * touches few pages of it; zero-filled memory means that nothing is free. No locks. */
#ifndef LM_PAGE_BUDDY_H
#define LM_PAGE_BUDDY_H

#include "base/base.h"

enum { LM_BUDDY_ORDERS = 27, LM_BUDDY_LIVE = 255 };
#define LM_BUDDY_NONE UINT32_MAX
#define LM_BUDDY_MAX_UNITS ((uint32_t)1 << (LM_BUDDY_ORDERS - 1))

struct lm_buddy_links {
    uint32_t next, prev;
};

struct lm_buddy {
    uint32_t units, free_units;
    uint32_t orders; /* bit k: there is a free block of order k */
    uint32_t head[LM_BUDDY_ORDERS];
    struct lm_buddy_links *links;
    uint8_t *state;
};

/* Bytes of metadata for so many units. */
size_t lm_buddy_meta_bytes(uint32_t units);

/* With nothing free yet. `meta` is zero-filled and of lm_buddy_meta_bytes(units), aligned to 8; units <=
 * LM_BUDDY_MAX_UNITS. */
void lm_buddy_init(struct lm_buddy *buddy, uint32_t units, void *meta);

/* The first of `units` consecutive units, or LM_BUDDY_NONE. O(log n). */
uint32_t lm_buddy_alloc(struct lm_buddy *buddy, uint32_t units);

/* The same with (unit + phase) a multiple of `align`, a power of two. */
uint32_t lm_buddy_alloc_aligned(struct lm_buddy *buddy, uint32_t units, uint32_t align, uint32_t phase);

/* For users that want ranges known by their start: remembers the length of a range that is taken, tells it (0: no
 * known range starts there), forgets it (before the range is freed). O(1). */
void lm_buddy_know(struct lm_buddy *buddy, uint32_t first, uint32_t units);
uint32_t lm_buddy_known(const struct lm_buddy *buddy, uint32_t first);
void lm_buddy_forget(struct lm_buddy *buddy, uint32_t first);

/* Makes any range free; it must lie within the units and none of it may be free. O(log^2 n). */
void lm_buddy_free(struct lm_buddy *buddy, uint32_t first, uint32_t units);

/* Takes exactly the range; false, with nothing changed, unless all of it is free. */
bool lm_buddy_claim(struct lm_buddy *buddy, uint32_t first, uint32_t units);

/* True when the unit lies in a free block. O(log n). */
bool lm_buddy_is_free(const struct lm_buddy *buddy, uint32_t unit);

/* Units of the largest free block. */
uint32_t lm_buddy_largest(const struct lm_buddy *buddy);

/* 0, or the number of the line whose invariant is broken. */
int lm_buddy_check(const struct lm_buddy *buddy);

/* The same, when every range that is taken is known: free blocks and known ranges then cover all units. O(units). */
int lm_buddy_check_known(const struct lm_buddy *buddy);

#endif
