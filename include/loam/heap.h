/* <loam/heap.h>: private heaps: general heaps of their own, for a request, a tenant, a plug-in, a phase.
 *
 * A private heap allocates like malloc, from memory that it shares with nobody, and gives everything back at once.
 * loam_free, loam_realloc and loam_usable_size work on its blocks as on any (under libloam-malloc, free and realloc
 * do too), from any thread.
 *
 * Quotas. A heap may have a quota, in bytes of blocks as they are rounded up (loam_good_size), and a parent, whose
 * quota it then uses as well: what a heap uses counts for all its ancestors. A child may be promised a share of its
 * parent's quota. What it does not use of its share its siblings may borrow; as soon as it is refused something below
 * its share, siblings that are above theirs are refused everything until it has been served, and their reclaim hooks
 * are called.
 *
 * All functions are thread safe, but that nobody may use a heap, a block of it or a descendant while it is reset or
 * destroyed. fork: the child has its own copy of every heap. */
#ifndef LOAM_HEAP_H
#define LOAM_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include <loam/source.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_heap;

/* What a heap may lean to by itself; what else the process's policy sets is everybody's. */
enum loam_heap_policy {
    LOAM_HEAP_BALANCED,
    LOAM_HEAP_LEAN, /* free pages inside its slabs are returned, each time about as much as an eighth of it was freed */
    LOAM_HEAP_SINGLE, /* no lock: the caller sees to it that one thread at a time uses the heap and frees its blocks */
    LOAM_HEAP_STEADY, /* reserve_bytes, taken and locked in memory when it is made, is all that it has: no system call later */
};

/* All fields may be 0. */
struct loam_heap_options {
    size_t struct_bytes;              /* sizeof(struct loam_heap_options) */
    const char *name;                 /* for statistics; the first 31 bytes are copied */
    struct loam_heap *parent;         /* the heap's quota is also taken from this one's */
    size_t quota_bytes;               /* at most; 0: no limit but the parent's */
    size_t share_bytes;               /* of the parent's quota, that the heap can always have; 0: none */
    const struct loam_source *source; /* of its memory, in pieces of 1 MiB and more; NULL: loam's own arena */
    /* Asks to free about `bytes`, because a sibling wants its share back. Called by the thread that allocates from the
     * sibling, with no lock held; it may free blocks of any heap, but must not create or destroy one. */
    void (*reclaim)(struct loam_heap *heap, size_t bytes, void *arg);
    void *arg;
    enum loam_heap_policy policy;
    size_t reserve_bytes; /* of policy steady alone, which needs it and takes no source; about 1/64 is bookkeeping */
};

/* A new heap; options may be NULL. NULL with EINVAL when struct_bytes is none that this version knows, the policy is
 * none or lacks what it needs, or the shares of the parent's children would exceed its quota; NULL with ENOMEM when there is no memory. */
struct loam_heap *loam_heap_create(const struct loam_heap_options *options);

/* Gives back every block of the heap and destroys it, and all its descendants. NULL is allowed. */
void loam_heap_destroy(struct loam_heap *heap);

/* Gives back every block of the heap and of its descendants, which all stay. For what comes next each heap keeps up to
 * 2 MiB of memory, unless it leans to memory or has a source of its own; loam_trim returns it. */
void loam_heap_reset(struct loam_heap *heap);

/* As loam_malloc, loam_calloc and loam_aligned_alloc, in the heap. NULL with ENOMEM when there is no memory or a quota
 * is reached. */
void *loam_heap_malloc(struct loam_heap *heap, size_t size);
void *loam_heap_calloc(struct loam_heap *heap, size_t count, size_t size);
void *loam_heap_aligned_alloc(struct loam_heap *heap, size_t align, size_t size);

/* As loam_realloc; a NULL block is made in the heap, any other stays in the heap that it is in. */
void *loam_heap_realloc(struct loam_heap *heap, void *block, size_t size);

/* The private heap that a block belongs to; NULL: it is the general heap's, or NULL. */
struct loam_heap *loam_heap_of(const void *block);

/* Changes quota (0: none) and share. 0, or -1 with EINVAL when the heap's children were promised more than the quota, or
 * the parent cannot cover the share. What is already used above a smaller quota stays. */
int loam_heap_limit(struct loam_heap *heap, size_t quota_bytes, size_t share_bytes);

struct loam_heap_figures {
    size_t struct_bytes; /* set by the caller to sizeof(struct loam_heap_figures) */
    char name[32];
    size_t quota_bytes; /* SIZE_MAX: none */
    size_t share_bytes;
    size_t used_bytes; /* in blocks of the heap and its descendants; about right while others are at work, exact else */
    size_t peak_bytes; /* the most so far; of a heap with children, up to 64 KiB a child too much */
    size_t held_bytes; /* memory behind the heap's own blocks, and up to 448 KiB taken ahead for the next */
    size_t slabs, large_blocks;
    uint64_t refused; /* requests that a quota refused, its own or an ancestor's */
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows. */
int loam_heap_stats(struct loam_heap *heap, struct loam_heap_figures *out);

/* Walks the heap's structures: 0, or a number that says which invariant is broken. For tests; nobody may use the heap
 * meanwhile. */
int loam_heap_check(struct loam_heap *heap);

#ifdef __cplusplus
}
#endif
#endif
