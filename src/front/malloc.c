/* malloc.c: the malloc family by its usual names, with glibc's semantics. Thread safe; errno is ENOMEM after a
 * failure and untouched by free. */
#include "front/calls.h"

#include <errno.h>

LM_PUBLIC void *malloc(size_t size);
LM_PUBLIC void *calloc(size_t count, size_t size);
LM_PUBLIC void *realloc(void *p, size_t size);
LM_PUBLIC void *reallocarray(void *p, size_t count, size_t size);
LM_PUBLIC void free(void *p);
LM_PUBLIC void cfree(void *p);
LM_PUBLIC void free_sized(void *p, size_t size);
LM_PUBLIC void free_aligned_sized(void *p, size_t align, size_t size);
LM_PUBLIC int posix_memalign(void **out, size_t align, size_t size);
LM_PUBLIC void *aligned_alloc(size_t align, size_t size);
LM_PUBLIC void *memalign(size_t align, size_t size);
LM_PUBLIC void *valloc(size_t size);
LM_PUBLIC void *pvalloc(size_t size);
LM_PUBLIC size_t malloc_usable_size(void *p);
LM_PUBLIC int malloc_trim(size_t pad);

void *malloc(size_t size)
{
    return lm_call_malloc(size);
}

void free(void *p)
{
    lm_call_free(p);
}

void cfree(void *p)
{
    lm_call_free(p);
}

/* C23: the size is a promise that a checking policy may look at; here it is not needed. */
void free_sized(void *p, size_t size)
{
    (void)size;
    lm_call_free(p);
}

void free_aligned_sized(void *p, size_t align, size_t size)
{
    (void)align;
    (void)size;
    lm_call_free(p);
}

void *calloc(size_t count, size_t size)
{
    return lm_call_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return lm_call_realloc(p, size);
}

void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return lm_call_realloc(p, bytes);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    int saved = errno;
    void *p;

    if (!lm_is_power2(align) || align % sizeof(void *) != 0)
        return EINVAL;
    p = lm_call_aligned(align, size);
    errno = saved; /* reports by its value alone */
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

/* As glibc: an alignment that is no power of two is rounded up to one; one too large for that is refused. */
void *memalign(size_t align, size_t size)
{
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    if (align && !lm_is_power2(align))
        align = (size_t)1 << lm_log2_ceil(align);
    return lm_call_aligned(align, size);
}

/* In glibc 2.36 aligned_alloc is memalign. */
void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

void *valloc(size_t size)
{
    return lm_call_aligned(lm_os_page_size(), size);
}

void *pvalloc(size_t size)
{
    size_t page = lm_os_page_size();

    if (size > PTRDIFF_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return lm_call_aligned(page, lm_align_up(size, page));
}

size_t malloc_usable_size(void *p)
{
    return lm_heap_usable(p);
}

int malloc_trim(size_t pad)
{
    int saved = errno, released;

    lm_start();
    lm_privates_release();
    released = lm_heap_trim(pad) > 0;
    errno = saved;
    return released;
}
