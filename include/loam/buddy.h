/* <loam/buddy.h>: a buddy allocator of ranges of numbers, which need not be memory: device memory, file extents, ports,
 * identifiers. All bookkeeping is out of line; nothing at the addresses is ever touched.
 *
 * A range is counted in units of min_block. A request takes the smallest free block of 2^k units that holds it and gives
 * the tail beyond the request back at once, so that sizes need not be powers of two; freed ranges merge with their free
 * buddies (Knuth 1973; Peterson & Norman 1977). The start of a range of at most 2^k units is a multiple of 2^k units from
 * `base`. Every call takes O(log^2 n) at most, n being the number of units, but for those marked O(n).
 *
 * Starts and lengths of live ranges are known, so that a free of anything else, twice, or inside a range is always
 * refused: it ends the process with a report (abort), or, with return_errors, fails with EINVAL and nothing changed.
 *
 * Limits: 2^26 units, 9 bytes of bookkeeping each. Thread safe with `locked`, else one thread at a time. */
#ifndef LOAM_BUDDY_H
#define LOAM_BUDDY_H

#include <stddef.h>
#include <stdint.h>

#include <loam/source.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_buddy;

/* What is returned instead of an address when there is none. */
#define LOAM_BUDDY_NONE UINTPTR_MAX

struct loam_buddy_options {
    size_t struct_bytes;            /* sizeof(struct loam_buddy_options) */
    uintptr_t base;                 /* the first address, a multiple of min_block */
    size_t bytes;                   /* of the range; a rest below min_block is not used */
    size_t min_block;               /* the unit, a power of two; 1 is allowed */
    const struct loam_source *meta; /* of the bookkeeping; NULL: loam's own heap */
    int locked;                     /* many threads may call at once */
    int return_errors;              /* misuse fails with EINVAL instead of ending the process */
};

/* A buddy with everything free. NULL with EINVAL when an option is none, there are no or more than 2^26 units, or the
 * range ends beyond UINTPTR_MAX; NULL with ENOMEM (or what the source said) when there is no memory. */
struct loam_buddy *loam_buddy_create(const struct loam_buddy_options *options);

/* Forgets the buddy and what is live in it. NULL is allowed. */
void loam_buddy_destroy(struct loam_buddy *buddy);

/* The start of `bytes` (rounded up to units; 0 counts as 1). LOAM_BUDDY_NONE with ENOMEM when no free block holds them. */
uintptr_t loam_buddy_alloc(struct loam_buddy *buddy, size_t bytes);

/* The same at a multiple of `align`, a power of two (else EINVAL). */
uintptr_t loam_buddy_alloc_aligned(struct loam_buddy *buddy, size_t align, size_t bytes);

/* Takes exactly that range, when all of it is free: 0; else -1 with EBUSY; EINVAL when it is not within the buddy's or does
 * not begin at a unit. It is freed like any other. */
int loam_buddy_claim(struct loam_buddy *buddy, uintptr_t address, size_t bytes);

/* Frees a live range. 0, or with return_errors -1 with EINVAL. Keeps errno when it succeeds. */
int loam_buddy_free(struct loam_buddy *buddy, uintptr_t address);

/* Makes a live range longer or shorter where it stands: 0; -1 with ENOMEM, and nothing changed, when what is behind it is
 * not free; misuse as loam_buddy_free. */
int loam_buddy_resize(struct loam_buddy *buddy, uintptr_t address, size_t bytes);

/* Bytes of the live range that starts there; 0: none does. */
size_t loam_buddy_size(struct loam_buddy *buddy, uintptr_t address);

/* Calls visit for each live range in the order of addresses until it returns not 0, which is then returned. With the
 * lock held: visit must not call the buddy. O(n). */
int loam_buddy_walk(struct loam_buddy *buddy, int (*visit)(uintptr_t address, size_t bytes, void *arg), void *arg);

struct loam_buddy_figures {
    size_t struct_bytes; /* set by the caller to sizeof(struct loam_buddy_figures) */
    size_t total_bytes, used_bytes, peak_bytes;
    size_t live_ranges;
    size_t largest_free_bytes; /* the largest request that is sure to succeed */
    size_t meta_bytes;
    unsigned fragmentation; /* in thousandths: what part of the free bytes is not in the largest free block */
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows. */
int loam_buddy_figures(struct loam_buddy *buddy, struct loam_buddy_figures *out);

/* Walks all bookkeeping: 0, or a number that says which invariant is broken. O(n). */
int loam_buddy_check(struct loam_buddy *buddy);

#ifdef __cplusplus
}
#endif
#endif
