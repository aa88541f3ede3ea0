/* <loam/loam.h>: the general heap under loam's own names.
 *
 * The same heap that libloam-malloc puts under malloc; a program that links libloam gets it beside the C
 * library's. Blocks of these functions are freed by loam_free only (under libloam-malloc, free is the same).
 * All functions are thread safe. Sizes are bytes. A misuse of the heap (a block freed twice, a pointer that is no
 * block) aborts the process with a report on stderr. */
#ifndef LOAM_LOAM_H
#define LOAM_LOAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A block of at least `size` bytes, aligned to 16, contents unspecified. malloc(0) is a block of its own. NULL with
 * ENOMEM when there is no memory or size is above PTRDIFF_MAX. */
void *loam_malloc(size_t size);

/* A zeroed block of count * size bytes; NULL with ENOMEM also when the product overflows. */
void *loam_calloc(size_t count, size_t size);

/* Resizes a block, moving it when it must; contents are kept up to the smaller size. realloc(NULL, n) is
 * malloc(n); realloc(p, 0) frees p and returns NULL, as in glibc. On NULL with ENOMEM the block is as it was. */
void *loam_realloc(void *block, size_t size);

/* A block aligned to `align`, a power of two (else NULL with EINVAL); sizes need not be multiples. */
void *loam_aligned_alloc(size_t align, size_t size);

/* Frees a block; NULL is allowed; errno is kept. */
void loam_free(void *block);

/* The same; `size` is what the block was asked for with. */
void loam_free_sized(void *block, size_t size);

/* Bytes that may be used at a block, at least those asked for; 0 for NULL. */
size_t loam_usable_size(const void *block);

/* What a request for `size` bytes is given: asking for it at once wastes nothing. SIZE_MAX when it cannot be. */
size_t loam_good_size(size_t size);

/* Up to `count` blocks of `size` bytes into out[0..]; how many were made (fewer with ENOMEM). */
size_t loam_malloc_batch(size_t size, size_t count, void **out);

/* Frees `count` blocks; NULLs among them are allowed. */
void loam_free_batch(size_t count, void **blocks);

/* Returns cached memory to the operating system, but for keep_bytes; the bytes returned. Also a good call for a
 * program that goes idle. Object caches are reaped first (their destructors are called). */
size_t loam_trim(size_t keep_bytes);

/* Options, as in LOAM_CONF: "key:value,key:value". 0, or -1 with EINVAL after reporting each fault on stderr; what is
 * right is honoured all the same. Some options only count before the first allocation. */
int loam_configure(const char *conf);

/* A snapshot; the figures of other threads' slabs may be a moment old. */
struct loam_stats {
    size_t struct_bytes;    /* set by the caller to sizeof(struct loam_stats) */
    size_t reserved_bytes;  /* address space of the arenas */
    size_t committed_bytes; /* memory in use by blocks, caches and bookkeeping, at most */
    size_t dirty_bytes;     /* of it freed and not yet returned to the OS */
    size_t live_small_bytes, live_large_bytes, live_huge_bytes; /* handed out, as rounded up */
    size_t free_small_bytes;                                    /* free objects in slabs */
    size_t slabs, large_blocks, huge_blocks, threads;
    uint64_t os_calls;     /* made for memory, all kinds */
    uint64_t mapped_bytes; /* asked of the OS and returned to it, by all calls so far */
    uint64_t returned_bytes;
};

/* 0, or -1 with EINVAL when struct_bytes is none that this version knows. */
int loam_stats(struct loam_stats *out);

#ifdef __cplusplus
}
#endif
#endif
