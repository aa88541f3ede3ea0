/* bump.c: preloaded, an allocator that only ever moves a pointer and never takes anything back: no list, no lock, no
 * header. Not a malloc to live with, but malloc cannot be shorter; bench/limits measures the others against it.
 *
 *   chunk of a thread   | block | block | block | ->            | the next chunk is mapped when this one is full
 *
 * realloc must know how long a block is, so its size stands in the 16 bytes before it. */
#include "family.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <malloc.h>
#include <stdlib.h>

enum { CHUNK = 64 << 20, GRAIN = 16 };

static __thread char *at, *end;

__attribute__((noinline)) static void *take_chunk(size_t size)
{
    size_t length = size + GRAIN > CHUNK ? size + GRAIN : CHUNK;
    char *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (size > PTRDIFF_MAX - CHUNK || p == MAP_FAILED) {
        errno = ENOMEM;
        return NULL;
    }
    if (length == CHUNK) {
        at = p + size + GRAIN;
        end = p + length;
    }
    *(size_t *)(void *)p = size;
    return p + GRAIN;
}

void *malloc(size_t size)
{
    size_t whole = ((size + GRAIN - 1) & -(size_t)GRAIN) + GRAIN;
    char *p = at;

    if (__builtin_expect(whole > (size_t)(end - p) || size > PTRDIFF_MAX - CHUNK, 0))
        return take_chunk((size + GRAIN - 1) & -(size_t)GRAIN);
    at = p + whole;
    *(size_t *)(void *)p = size;
    return p + GRAIN;
}

void free(void *p)
{
    (void)p;
}

/* Never used before, so zero. */
void *calloc(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return malloc(bytes);
}

void *realloc(void *old, size_t size)
{
    size_t before = old ? ((size_t *)old)[-2] : 0;
    void *p;

    if (old && size <= before)
        return old;
    p = malloc(size);
    if (p && old)
        memcpy(p, old, before);
    return p;
}

void *memalign(size_t align, size_t size)
{
    char *p = size > PTRDIFF_MAX - align ? NULL : malloc(size + align);
    char *aligned = p + (-(uintptr_t)p & (align - 1));

    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    if (aligned != p)
        ((size_t *)(void *)aligned)[-2] = size;
    return aligned;
}

size_t malloc_usable_size(void *p)
{
    return p ? ((size_t *)p)[-2] : 0;
}
