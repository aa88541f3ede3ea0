/* lifo.c: preloaded, the shortest malloc that uses memory again: a bare list a size class and thread, last in first
 * out, and not one check. What is freed goes to the list of the thread that frees it; nothing returns to the OS.
 *
 *   block | class, 16 bytes | user's ...            free: user's first word is the next of the list
 *
 * Classes are those of loam in small (eight a doubling, 16-byte grain); above 32 KiB a class is a power of two. */
#include "family.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <malloc.h>
#include <stdlib.h>

enum { GRAIN = 16, CHUNK = 4 << 20, SMALL_MOST = 32 << 10, CLASSES = SMALL_MOST / GRAIN + 1 + 64 };

static __thread void *lists[CLASSES];
static __thread char *at, *end;

/* Sizes up to the class's next step share it. */
static inline size_t class_of(size_t size)
{
    size_t grains = (size + GRAIN - 1) / GRAIN;

    if (__builtin_expect(size > SMALL_MOST, 0))
        return (size_t)(SMALL_MOST / GRAIN + 64 - __builtin_clzl(size - 1) - 15);
    if (grains > 16) {
        unsigned shift = (unsigned)(63 - __builtin_clzl(grains - 1)) - 3;

        grains = (((grains - 1) >> shift) + 1) << shift;
    }
    return grains ? grains : 1;
}

static size_t class_bytes(size_t class)
{
    return class <= SMALL_MOST / GRAIN ? class * GRAIN : (size_t)1 << (class - SMALL_MOST / GRAIN + 15);
}

__attribute__((noinline)) static void *carve(size_t class)
{
    size_t whole = class_bytes(class) + GRAIN;
    char *p = at;

    if (whole > (size_t)(end - p)) {
        size_t length = whole > CHUNK ? whole : CHUNK;

        p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            errno = ENOMEM;
            return NULL;
        }
        if (length == CHUNK)
            end = p + length;
    }
    if (whole <= CHUNK)
        at = p + whole;
    *(size_t *)(void *)p = class;
    return p + GRAIN;
}

void *malloc(size_t size)
{
    size_t class;
    void **p;

    if (__builtin_expect(size > PTRDIFF_MAX / 4, 0)) {
        errno = ENOMEM;
        return NULL;
    }
    class = class_of(size);
    p = lists[class];
    if (__builtin_expect(!p, 0))
        return carve(class);
    lists[class] = *p;
    return p;
}

void free(void *p)
{
    size_t class;

    if (!p)
        return;
    class = ((size_t *)p)[-2];
    *(void **)p = lists[class];
    lists[class] = p;
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    p = malloc(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

size_t malloc_usable_size(void *p)
{
    return p ? class_bytes(((size_t *)p)[-2]) : 0;
}

void *realloc(void *old, size_t size)
{
    size_t before = malloc_usable_size(old);
    void *p;

    if (old && size <= before && size >= before / 2)
        return old;
    p = malloc(size);
    if (p && old) {
        memcpy(p, old, size < before ? size : before);
        free(old);
    }
    return p;
}

/* A part of a larger block, with all the bytes of its class after it, so that it can go to that class's list. */
void *memalign(size_t align, size_t size)
{
    size_t class;
    char *p, *aligned;

    if (align <= GRAIN)
        return malloc(size);
    class = size > PTRDIFF_MAX / 8 ? 0 : class_of(size);
    p = class && align <= PTRDIFF_MAX / 8 ? malloc(class_bytes(class) + align) : NULL;
    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    aligned = p + (-(uintptr_t)p & (align - 1));
    if (aligned != p)
        ((size_t *)(void *)aligned)[-2] = class;
    return aligned;
}
