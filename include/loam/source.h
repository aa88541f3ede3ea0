/* <loam/source.h>: where the pages of building blocks come from.
 *
 * Every block takes a source; NULL stands for loam's own arena, which the blocks then share with malloc: freed pages
 * are kept for a moment and used again by whoever comes next. The functions below make the other common ones, and a
 * program may fill in a structure of its own.
 *
 * All sources here are thread safe. A source must outlive the blocks that sit on it. */
#ifndef LOAM_SOURCE_H
#define LOAM_SOURCE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a block asks a source for is a multiple of it, in bytes. */
#define LOAM_SOURCE_GRAIN ((size_t)4096)

/* The hooks. They are called with a block's lock held when it has one, so they must not call that block again.
 *
 * map     `bytes` of readable and writable memory aligned to `align` (a power of two, at least LOAM_SOURCE_GRAIN), with
 *         any contents; NULL with errno set when there is none
 * unmap   gives exactly what one map returned back; NULL: memory is never given back
 * purge   the contents of a part of a mapping, LOAM_SOURCE_GRAIN-aligned, are no longer needed, and its memory may be
 *         returned meanwhile; it stays usable, with any contents; NULL: nothing to do */
struct loam_source {
    void *(*map)(void *ctx, size_t bytes, size_t align);
    void (*unmap)(void *ctx, void *p, size_t bytes);
    void (*purge)(void *ctx, void *p, size_t bytes);
    void *ctx;
};

/* Pages straight from the operating system, a mapping for each request. One for the whole process. */
const struct loam_source *loam_source_os(void);

/* The same, in whole 2 MiB pages as far as the operating system grants them: fewer misses of the TLB, more memory for
 * what is only partly used. Requests are rounded up to 2 MiB. */
const struct loam_source *loam_source_huge(void);

/* The caller's own memory: a static array, the stack, device memory. The source keeps its own few bytes (about 1/400)
 * at the head of it and needs no freeing. Neither `memory` nor `bytes` need be aligned. Best fit by a buddy. NULL with
 * EINVAL when the memory is too small for one grain. */
const struct loam_source *loam_source_fixed(void *memory, size_t bytes);

/* Memory that may be shared with other processes: a memfd of `bytes`, mapped here; a child after fork sees it at the
 * same place, another process maps loam_source_fd. The bookkeeping is this process's own: only it may allocate. NULL
 * with the errno of memfd_create, ftruncate or mmap. */
const struct loam_source *loam_source_shared(const char *name, size_t bytes);

/* The file descriptor behind a shared source; -1 with EINVAL for any other. */
int loam_source_fd(const struct loam_source *source);

/* Bytes of a fixed or shared source that are mapped out now; 0 for any other. */
size_t loam_source_used_bytes(const struct loam_source *source);

/* Unmaps a shared source and closes its descriptor; for any other source, nothing. */
void loam_source_close(const struct loam_source *source);

#ifdef __cplusplus
}
#endif
#endif
