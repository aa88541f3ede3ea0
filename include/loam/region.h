/* <loam/region.h>: a heap inside memory that the caller gives: a static array, the stack, a shared mapping, a mapped
 * file, device RAM.
 *
 * Everything the region knows stands in that memory, and nothing in it is an address: the same bytes, mapped elsewhere
 * or tomorrow, are the same heap (loam_region_open). A live block costs 8 bytes, its tag; a free one costs nothing.
 * The smallest has 8 usable bytes (GOOD with align_bytes 16), else 24.
 * Free neighbours are always merged (boundary tags, Knuth 1973). Every tag carries a mark made from its place, its
 * contents and the region's own key, and nothing is followed or written before the marks around it have been
 * checked: a double free, a pointer that is not a block, and a block whose end was overrun are refused exactly.
 *
 * Which free block a request takes is the fit:
 *   LOAM_FIT_GOOD   the smallest class of sizes (32 to a doubling) that is sure to fit, after a look at a few blocks of
 *                   the class below. Every operation is O(1) (two-level segregated fit, Masmano et al. 2004), so it is
 *                   the one for real time
 *   LOAM_FIT_FIRST  the lowest address that fits, LOAM_FIT_NEXT the first behind the last one taken, LOAM_FIT_BEST the
 *                   smallest, of these the lowest. O(log n) expected, in a tree (Stephenson 1983) of the free blocks
 *                   balanced by chance (Seidel & Aragon 1996)
 *
 * Limits: 1 KiB to 64 GiB (32 GiB with align_bytes 8).
 *
 * Threads and processes: see enum loam_region_lock. Without a lock one thread at a time may use a region.
 *
 * Misuse and damage end the process with a report (abort), or, with return_errors, fail with errno EINVAL (a pointer
 * that is no live block) or EUCLEAN (damage), with nothing changed. Which of the two stands in the region itself, for all
 * its users: damage to one byte does not change it, damage to several may. */
#ifndef LOAM_REGION_H
#define LOAM_REGION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_region;

enum loam_fit { LOAM_FIT_GOOD, LOAM_FIT_FIRST, LOAM_FIT_NEXT, LOAM_FIT_BEST };

enum loam_region_lock {
    LOAM_REGION_UNLOCKED, /* the caller sees to it; the only choice for memory without atomics, as of devices */
    LOAM_REGION_THREADS,  /* threads of one process; a fork while another thread is inside wedges the child's copy */
    /* Processes that share the memory. The lock is robust: when one is killed inside, the next one to come rebuilds
     * the free blocks from the tags and goes on; what the dead one had allocated stays allocated. If the tags
     * themselves are damaged, everything fails with ENOTRECOVERABLE from then on. The mutex is the C library's and cannot
     * be proved: who is let near a region whose head was written to may hang, unless it is opened as `sole`. */
    LOAM_REGION_PROCESSES
};

/* All fields may be 0. */
struct loam_region_options {
    size_t struct_bytes; /* sizeof(struct loam_region_options) */
    enum loam_fit fit;
    enum loam_region_lock lock;
    size_t align_bytes; /* of every block: 16 (or 0), or 8, which rounds sizes above 24 bytes up less */
    int return_errors;  /* misuse and damage are returned instead of reported and fatal; for all users of the region */
    /* For loam_region_open: nobody else has the region open (a file after a crash). Locks are made anew, and free
     * blocks that do not fit together are rebuilt from the tags. */
    int sole;
};

/* Makes a region of `bytes` at `memory`, whatever is there; options may be NULL. What it returns is in `memory`, and
 * needs no freeing. Neither address nor size need be aligned. NULL with EINVAL: too small or too large, or an option
 * that is none; or with what pthread_mutex_init said. */
struct loam_region *loam_region_create(void *memory, size_t bytes, const struct loam_region_options *options);

/* Finds the region that was created in these bytes, perhaps by another process and at another address (equal to the
 * first one's in its lowest 4 bits, and for aligned blocks to stay aligned, in as many as they need). Everything in it
 * is checked before anything is believed: O(blocks). The options' fit, lock and align_bytes are the image's own;
 * NULL leaves return_errors as it is. NULL with EINVAL: there is no region of this version and machine, or it does not fit
 * into `bytes`; EUCLEAN: it is damaged; ENOTRECOVERABLE: it was damaged when a process was killed inside.
 * Processes that have a region open must trust each other: what is written to it later is not checked like this. */
struct loam_region *loam_region_open(void *memory, size_t bytes, const struct loam_region_options *options);

/* `size` bytes, not initialised. NULL with ENOMEM when no free block fits; with GOOD, also when the only ones that do
 * stand behind many that do not in the list of their class. */
void *loam_region_alloc(struct loam_region *region, size_t size);
void *loam_region_calloc(struct loam_region *region, size_t count, size_t size); /* zeroed */

/* Aligned to `align` bytes, a power of two (else EINVAL). */
void *loam_region_aligned_alloc(struct loam_region *region, size_t align, size_t size);

/* Resizes a block: in place when what is free behind it suffices, else down over what is free before it, else by
 * moving it. NULL block: as loam_region_alloc; size 0: frees it, and NULL. NULL with ENOMEM leaves it as it was. The new
 * block is aligned to align_bytes. */
void *loam_region_realloc(struct loam_region *region, void *block, size_t size);

/* 0; or, with return_errors, -1. NULL is allowed. Keeps errno when it succeeds. */
int loam_region_free(struct loam_region *region, void *block);

/* Bytes that may be used at a live block; 0 for NULL, or with return_errors for what is none. */
size_t loam_region_usable_size(struct loam_region *region, const void *block);

/* -- finding things again at another address ------------------------------------------------------------------ */

/* The number of a live block (or NULL: 0) that means the same wherever the region is mapped, and back. A number that is
 * no live block's gives NULL with EINVAL, whatever return_errors says, so that numbers from an untrusted place are
 * safe. */
uint64_t loam_region_number(struct loam_region *region, const void *block);
void *loam_region_block(struct loam_region *region, uint64_t number);

/* One block (or NULL) that the region remembers, from which its users find all others. 0, or -1 as loam_region_free. */
int loam_region_set_root(struct loam_region *region, void *block);
void *loam_region_root(struct loam_region *region);

/* -- looking at it -------------------------------------------------------------------------------------------------- */

/* Calls visit for each block in the order of addresses, live or free, with its usable bytes, until visit returns not 0,
 * which is then returned. -1 with EUCLEAN where the walk meets a damaged block. The lock is held: visit must not call
 * the region. */
int loam_region_walk(
    struct loam_region *region, int (*visit)(void *block, size_t bytes, int is_live, void *arg), void *arg);

struct loam_region_figures {
    size_t struct_bytes; /* set by the caller to sizeof(struct loam_region_figures) */
    size_t total_bytes;  /* for blocks, tags included */
    size_t used_bytes;   /* in live blocks, tags included */
    size_t peak_bytes;   /* the most of it so far */
    size_t live_blocks, free_blocks;
    size_t largest_free_bytes; /* usable */
    unsigned fragmentation;    /* in thousandths: what part of the free bytes is not in the largest free block */
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows, or EUCLEAN. O(blocks). */
int loam_region_figures(struct loam_region *region, struct loam_region_figures *out);

enum loam_region_damage {
    LOAM_REGION_SOUND,
    LOAM_REGION_BAD_HEADER,    /* the region's own head */
    LOAM_REGION_BAD_TAG,       /* a block's tag was overwritten, as by an overrun of the block before it */
    LOAM_REGION_BAD_NEIGHBOUR, /* a tag does not agree with the block before it */
    LOAM_REGION_BAD_FOOTER,    /* the length at the end of a free block */
    LOAM_REGION_BAD_LINK,      /* the links in a free block, or to it */
    LOAM_REGION_BAD_COUNT      /* the region's counts do not agree with its blocks */
};

struct loam_region_fault {
    enum loam_region_damage damage;
    void *block;        /* the first damaged block; NULL for the head */
    const char *reason; /* in words */
};

/* Proves every tag, the counts, every free block: 0, or what is wrong first, tags before links, each in the order of
 * addresses, and in *fault (when not NULL) where. Never aborts. O(blocks). */
enum loam_region_damage loam_region_check(struct loam_region *region, struct loam_region_fault *fault);

#ifdef __cplusplus
}
#endif
#endif
