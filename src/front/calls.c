/* calls.c: the family's slow roads and semantics, shared by both families of names. */
#include "front/calls.h"

#include <errno.h>
#include <string.h>

void *lm_call_malloc_slow(size_t size)
{
    void *p = lm_heap_self == &lm_heap_none ? lm_percpu_pop(size) : lm_heap_pop_larger(size);

    if (LM_LIKELY(p))
        return p;
    lm_start();
    return lm_heap_malloc(size, NULL);
}

void lm_call_free_slow(void *p)
{
    lm_heap_free(p);
}

void *lm_call_calloc(size_t count, size_t size)
{
    size_t bytes;
    bool zeroed = false;
    void *p;

    if (LM_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    p = lm_heap_pop(bytes);
    if (!p) {
        lm_start();
        p = lm_heap_malloc(bytes, &zeroed);
    }
    if (p && !zeroed)
        memset(p, 0, bytes);
    return p;
}

void *lm_call_realloc(void *p, size_t size)
{
    if (!p)
        return lm_call_malloc_slow(size);
    if (size == 0) { /* as glibc does; the C standard leaves it open */
        lm_heap_free(p);
        return NULL;
    }
    return lm_heap_realloc(p, size);
}

void *lm_call_aligned(size_t align, size_t size)
{
    if (align <= 16) /* as every block is */
        return lm_call_malloc(size);
    lm_start();
    return lm_heap_malloc_aligned(size, align);
}
