/* <loam/pool.h>: pools: objects of one size, that can be walked, and dropped all at once.
 *
 * A pool takes memory by the batch and hands out objects of one size. An object costs one bit beyond its own bytes,
 * whatever its size, and that bit stands elsewhere: nothing is written into free objects or beside live ones, an object
 * of one byte takes one byte, and what a program writes beyond an object cannot mislead the pool. The bit also makes
 * misuse exact: an address that is not a live object of this very pool is refused before anything is written, with a
 * one-line report on stderr and abort.
 *
 * Of the objects that were freed last (15 or more, up to 1,023 and keep_bytes), the last is handed out first, while it is in the processor's cache. Then
 * batches with free objects are used before new ones, the one that was last freed into first, and in it the lowest
 * address of every 64. Walks go by address within a batch, and through batches in the order in which they were made.
 *
 * A pool is for one thread at a time unless it was created with `locked`. fork: the child has its own copy of every pool;
 * one that another thread was inside of at the fork must not be used there. Not for signal handlers. */
#ifndef LOAM_POOL_H
#define LOAM_POOL_H

#include <stddef.h>
#include <stdint.h>

#include <loam/source.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_pool;

/* All fields but struct_bytes and object_bytes may be 0. */
struct loam_pool_options {
    size_t struct_bytes; /* sizeof(struct loam_pool_options) */
    const char *name;    /* for statistics; the first 31 bytes are copied */
    size_t object_bytes; /* 1 to 1 GiB; rounded up to a multiple of the alignment */
    /* A power of two up to 1 GiB; 0: the largest that divides object_bytes, at most 16. */
    size_t align;
    /* Objects that the pool grows by at least; 0: 64, or as many as 16 MiB hold. At most 1 GiB of them. A batch is filled
     * up to whole grains of its source, which are 64 KiB for loam's own arena and for the operating system, 2 MiB for
     * huge pages, else LOAM_SOURCE_GRAIN. */
    size_t batch;
    const struct loam_source *source; /* of all its memory; NULL: loam's own arena */
    size_t limit_bytes;               /* taken from the source at most; 0: no limit */
    size_t keep_bytes;                /* in empty batches, kept; 0: 1 MiB; one always is, and those of the last freed */
    /* Called for every object before it is handed out; anything but 0 makes that allocation fail with the errno that it
     * sets. destruct is called before an object is freed, and for every live one by reset and destroy. Both are called
     * without the pool's lock, and may use the pool; destruct must not free the object itself. */
    int (*construct)(void *object, void *arg);
    void (*destruct)(void *object, void *arg);
    void *arg;
    int locked; /* not 0: all functions but reset and destroy are thread safe */
};

/* A new pool of objects of one size; align as in the options. NULL with EINVAL when a size or an alignment cannot be, or
 * struct_bytes is none that this version knows; NULL with ENOMEM (or what the source said) when there is no memory. */
struct loam_pool *loam_pool_create(size_t object_bytes, size_t align, const struct loam_source *source);
struct loam_pool *loam_pool_create_with(const struct loam_pool_options *options);

/* Destructs what is live and gives all memory back. NULL is allowed. */
void loam_pool_destroy(struct loam_pool *pool);

/* Destructs and drops all live objects and gives the memory of all batches back; the pool stays. */
void loam_pool_reset(struct loam_pool *pool);

/* An object, contents unspecified unless there is a constructor. NULL with ENOMEM (or what the source or the constructor
 * said). */
void *loam_pool_alloc(struct loam_pool *pool);

/* Frees a live object of the pool, anything else aborts; NULL is allowed; errno is kept. */
void loam_pool_free(struct loam_pool *pool, void *object);

/* The same two, inline in the caller: for where a call counts. A program that uses them is bound to the layout below, as it
 * is to that of the options. */
static inline void *loam_pool_alloc_inline(struct loam_pool *pool);
static inline void loam_pool_free_inline(struct loam_pool *pool, void *object);

/* Up to `count` objects into out[0..]; how many were made, fewer with ENOMEM. Takes the lock once, and whole words of
 * bits. The objects come in rising addresses as far as a batch has them. */
size_t loam_pool_alloc_batch(struct loam_pool *pool, size_t count, void **out);

/* Frees `count` objects; NULLs among them are allowed. */
void loam_pool_free_batch(struct loam_pool *pool, size_t count, void **objects);

/* Makes room, so that the next `objects` allocations need nothing of the source. 0, or -1 with ENOMEM; what was added
 * until then stays. */
int loam_pool_reserve(struct loam_pool *pool, size_t objects);

/* Gives empty batches back to the source; the bytes returned. */
size_t loam_pool_trim(struct loam_pool *pool);

/* 1 when p is a live object of the pool; 0 for everything else, whatever it is. */
int loam_pool_owns(struct loam_pool *pool, const void *p);

/* Calls visit for every live object, by address within a batch, batches in the order in which they were made. Without
 * `locked`, visit may free any object and allocate; what is freed before its turn is not visited, what is allocated may
 * be. With it, the lock is held and visit must not use the pool. Never may it reset or destroy it. */
void loam_pool_each(struct loam_pool *pool, void (*visit)(void *object, void *arg), void *arg);

/* Frees every live object for which `dead` says not 0, in the order of loam_pool_each and under the same rules, which then
 * also bind the destructor; how many were freed. */
size_t loam_pool_free_if(struct loam_pool *pool, int (*dead)(void *object, void *arg), void *arg);

struct loam_pool_figures {
    size_t struct_bytes; /* set by the caller to sizeof(struct loam_pool_figures) */
    char name[32];
    size_t object_bytes;  /* as rounded up */
    size_t batch;         /* objects in a batch, as filled up */
    size_t batch_bytes;   /* mapped for one */
    size_t live, free;    /* objects; counted by a walk over the bits */
    size_t batches;       /* now */
    size_t empty_batches; /* of them without a live object */
    size_t held_bytes;    /* taken from the source, all bookkeeping included */
    size_t peak_bytes;    /* the most so far */
    uint64_t grown;       /* batches taken from the source so far, and given back to it */
    uint64_t returned;
    uint64_t refused; /* allocations that failed for want of memory */
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows. */
int loam_pool_stats(struct loam_pool *pool, struct loam_pool_figures *out);

/* Walks the pool's structures: 0, or a number that says which invariant is broken. For tests. */
int loam_pool_check(struct loam_pool *pool);

/* -- for the inline functions alone -------------------------------------------------------------------------------- */

/* An object that was freed lately, and where its bit is: 8 times the address of the bitmap, and the number of the bit. */
struct loam_pool_recent {
    void *object;
    uintptr_t place;
};

/* Where the object of an address would be. */
struct loam_pool_entry {
    uintptr_t first;
    void *tray; /* whose bits begin 64 bytes behind it */
};

/* The head of a pool. */
struct loam_pool_head {
    struct loam_pool_recent *top;            /* the place behind the last of the recent ones */
    struct loam_pool_recent *bottom, *limit; /* they go back to their batches when top comes to limit */
    uint64_t *word;                          /* the bits of 64 objects */
    char *base;                              /* the first of them */
    size_t stride;
    const struct loam_pool_entry *entry;
    size_t mask;        /* of bytes into the index */
    size_t cells_bytes; /* of a batch, of which all objects are made; 0: all is done by the functions below */
    uint64_t magic;
    unsigned shift; /* of an address, to bytes into the index */
};

void *loam_pool_alloc_slow(struct loam_pool *pool);
void loam_pool_free_slow(struct loam_pool *pool, void *object);
void loam_pool_free_full(struct loam_pool *pool);

static inline void *loam_pool_alloc_inline(struct loam_pool *pool)
{
    struct loam_pool_head *head = (struct loam_pool_head *)(void *)pool;
    struct loam_pool_recent *top = head->top;
    uint64_t *word = head->word, bits;

    if (__builtin_expect(top != head->bottom, 1)) {
        uintptr_t place = top[-1].place;

        head->top = top - 1;
        *(uint64_t *)(place >> 6 << 3) ^= (uint64_t)1 << place % 64;
        return top[-1].object;
    }
    bits = *word;
    if (__builtin_expect(!bits, 0))
        return loam_pool_alloc_slow(pool);
    *word = bits & (bits - 1);
    return head->base + (size_t)__builtin_ctzll(bits) * head->stride;
}

static inline void loam_pool_free_inline(struct loam_pool *pool, void *object)
{
    struct loam_pool_head *head = (struct loam_pool_head *)(void *)pool;
    const struct loam_pool_entry *entry = (const struct loam_pool_entry *)(const void *)((const char *)head->entry +
        ((uintptr_t)object >> head->shift & head->mask));
    size_t offset = (uintptr_t)object - entry->first, cell;
    struct loam_pool_recent *top;
    uint64_t *bits, bit;
    __extension__ unsigned __int128 product;

    if (__builtin_expect(offset >= head->cells_bytes, 0)) {
        loam_pool_free_slow(pool, object);
        return;
    }
    product = (__extension__(unsigned __int128)(2 * offset)) * head->magic;
    cell = (size_t)(product >> 64);
    bits = (uint64_t *)(void *)((char *)entry->tray + 64);
    bit = (uint64_t)1 << cell % 64;
    if (__builtin_expect((uint64_t)product >= head->magic, 0) || __builtin_expect((bits[cell / 64] & bit) != 0, 0)) {
        loam_pool_free_slow(pool, object);
        return;
    }
    bits[cell / 64] |= bit;
    top = head->top;
    top->object = object;
    top->place = (uintptr_t)bits * 8 + cell;
    head->top = top + 1;
    if (__builtin_expect(top + 1 == head->limit, 0))
        loam_pool_free_full(pool);
}

#ifdef __cplusplus
}
#endif
#endif
