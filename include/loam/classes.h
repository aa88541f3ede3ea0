/* <loam/classes.h>: a table of pools by size, under a byte budget, for stores and caches.
 *
 * Requests are rounded up to one of some tens of sizes, the classes; each class takes its blocks from slabs, all of one
 * size. Requests above the largest class go to loam's general heap. All of it counts against the budget: slabs, large
 * blocks, and the table's own bookkeeping.
 *
 * Every block has a header of 8 bytes before it, the cookie, which names table and class, keyed by a secret and by the
 * block's address. A block whose cookie was damaged (by a write before the block or beyond its neighbour), forged or
 * copied from elsewhere is refused when it is freed or resized, with a one-line report and abort; so is an address that
 * is not a live block of this very table, before anything there is read. Nothing that stands in or beside blocks is ever
 * followed.
 *
 * Slabs move. When the budget is used up (or the source has no more), a class in need takes a slab in this order:
 *   1. an empty one, from the class that has the most of them;
 *   2. with an evict hook, a slab of which at most a quarter is live: the one with the fewest live bytes of those that
 *      the classes freed into last;
 *   3. with an evict hook, the slab that nothing was allocated from for the longest time (as noted whenever a class turns
 *      to another 64 blocks), in whatever class, the needy one included.
 * The fairness of 3: all slabs live equally long, so a class holds slabs in proportion to what is written into it, and one
 * that peaked and went quiet gives all of them up, without anybody keeping a list of recently used objects. A slab whose
 * objects the hook does not all free stays where it is and counts as just used; after the first such refusal a request
 * goes by 3 alone, and after the eighth it fails. Without a hook only empty slabs move.
 *
 * A table is for one thread at a time unless it was created with `locked`. fork: as for pools. */
#ifndef LOAM_CLASSES_H
#define LOAM_CLASSES_H

#include <stddef.h>
#include <stdint.h>

#include <loam/source.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_classes;
struct loam_classes_slab;

/* All fields but struct_bytes may be 0. */
struct loam_classes_options {
    size_t struct_bytes; /* sizeof(struct loam_classes_options) */
    const char *name;    /* for statistics; the first 31 bytes are copied */
    size_t min_bytes;    /* smallest class; 0: 8 */
    size_t max_bytes;    /* largest, at most 16 MiB; 0: 64 KiB */
    double factor;       /* from a class to the next, 1.02 to 4; 0: 1.25; at most 255 classes */
    size_t limit_bytes;  /* the budget; 0: none */
    /* A power of two, at least 4 KiB and enough for a block of max_bytes, at most 1 GiB; 0: four blocks of max_bytes and
     * more, or less when the budget is less than 64 such slabs. */
    size_t slab_bytes;
    const struct loam_source *source; /* of slabs and bookkeeping; NULL: loam's own arena */
    /* Asks to free the live blocks of a slab, which loam_classes_slab_each walks; nothing is allocated from it meanwhile.
     * Called by the thread that allocates, without the table's lock. It may free other blocks too, but not the one that is
     * being resized; allocations by it are served from what is there, and never call it again. It must not reset
     * or destroy the table. */
    void (*evict)(struct loam_classes *classes, struct loam_classes_slab *slab, void *arg);
    void *arg;
    int locked; /* not 0: all functions but reset and destroy are thread safe */
};

/* A new table; options may be NULL. NULL with EINVAL when they contradict each other or struct_bytes is none that this
 * version knows; NULL with ENOMEM (or what the source said) when there is no memory. */
struct loam_classes *loam_classes_create(const struct loam_classes_options *options);

/* Frees everything. NULL is allowed. */
void loam_classes_destroy(struct loam_classes *classes);

/* Frees all blocks; the table stays. */
void loam_classes_reset(struct loam_classes *classes);

/* A block of at least `size` bytes, aligned to 16, contents unspecified. NULL with ENOMEM (or what the source said) when
 * the budget is used up and nothing can be moved. */
void *loam_classes_alloc(struct loam_classes *classes, size_t size);

/* Frees a live block of the table, anything else aborts; NULL is allowed; errno is kept. */
void loam_classes_free(struct loam_classes *classes, void *block);

/* Resizes a block, in place while it stays in its class; contents are kept up to the smaller size. A NULL block is
 * allocated; size 0 frees and returns NULL. On NULL with ENOMEM the block is as it was. */
void *loam_classes_realloc(struct loam_classes *classes, void *block, size_t size);

/* Bytes that may be used at a block, at least those asked for; 0 for NULL; aborts when it is none. */
size_t loam_classes_usable_size(struct loam_classes *classes, const void *block);

/* What a request of `size` bytes is given; asking for it at once wastes nothing. */
size_t loam_classes_good_size(struct loam_classes *classes, size_t size);

/* Calls visit for every live block of a slab, in order of address, from an evict hook; visit may free any block. `bytes`
 * is the usable size. */
void loam_classes_slab_each(struct loam_classes *classes, struct loam_classes_slab *slab,
    void (*visit)(void *block, size_t bytes, void *arg), void *arg);

/* Live blocks of a slab. */
size_t loam_classes_slab_live(struct loam_classes *classes, struct loam_classes_slab *slab);

/* Gives empty slabs back to the source; the bytes returned. */
size_t loam_classes_trim(struct loam_classes *classes);

/* Changes the budget (0: none). What is already held above it stays, but nothing new is taken until it is below. */
void loam_classes_limit(struct loam_classes *classes, size_t limit_bytes);

/* Figures of the whole table. */
struct loam_classes_figures {
    size_t struct_bytes; /* set by the caller to sizeof(struct loam_classes_figures) */
    char name[32];
    size_t limit_bytes; /* SIZE_MAX: none */
    size_t held_bytes;  /* from the source and the general heap, all bookkeeping included */
    size_t peak_bytes;  /* the most so far */
    size_t live_bytes;  /* usable, of blocks in slabs */
    size_t live;        /* such blocks */
    size_t classes, slabs, empty_slabs, slab_bytes;
    size_t large_blocks, large_bytes; /* above the largest class, as the general heap rounds them */
    uint64_t moved;                   /* slabs, from one class to another */
    uint64_t evictions;               /* calls of the hook */
    uint64_t refused;                 /* requests that failed */
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows. */
int loam_classes_stats(struct loam_classes *classes, struct loam_classes_figures *out);

/* Figures of one class. */
struct loam_classes_class {
    size_t block_bytes; /* usable */
    size_t slab_blocks; /* blocks in a slab */
    size_t slabs, empty_slabs;
    size_t live, free;            /* blocks */
    uint64_t allocations;         /* so far */
    uint64_t moved_in, moved_out; /* slabs, from other classes and to them */
    uint64_t evicted;             /* blocks that the hook freed from its slabs */
    uint64_t refused;             /* requests that failed */
};

/* Calls visit with the figures of every class, smallest first; the lock is held meanwhile. */
void loam_classes_each(
    struct loam_classes *classes, void (*visit)(const struct loam_classes_class *figures, void *arg), void *arg);

/* Walks the table's structures and the cookies of all live blocks: 0, or a number that says what is broken. For tests. */
int loam_classes_check(struct loam_classes *classes);

#ifdef __cplusplus
}
#endif
#endif
