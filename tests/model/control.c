/* The driver itself: four allocators, each wrong in its own way, must all be found out, and a right one must not. */
#include "common_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEAP = 512 << 20 };
static unsigned char *heap;
static size_t used;
static int fault; /* which allocator is being played */
enum { RIGHT, OVERLAPS, FORGETS, UNCLEAN, MISALIGNED, FAULTS };

/* Bumps and never frees; a header holds the size. */
static void *take(size_t align, size_t size)
{
    size_t at = (used + 16 + align - 1) & ~(align - 1);

    if (at + size > HEAP)
        return NULL;
    memcpy(heap + at - 16, &size, sizeof size);
    used = at + size - (fault == OVERLAPS && size > 8 ? 8 : 0);
    return heap + at + (fault == MISALIGNED && size > 100 ? 8 : 0);
}

static size_t size_of(void *p)
{
    size_t size;

    memcpy(&size, (unsigned char *)p - 16 - (fault == MISALIGNED && (size_t)p % 16 ? 8 : 0), sizeof size);
    return size;
}

static void *toy_malloc(size_t size)
{
    return take(16, size);
}

static void *toy_calloc(size_t count, size_t size)
{
    unsigned char *p = take(16, count * size);

    if (p && fault == UNCLEAN && size)
        p[0] = 1;
    return p;
}

static void *toy_realloc(void *p, size_t size)
{
    unsigned char *q = take(16, size);
    size_t was = size_of(p);

    if (q && was)
        memcpy(q, p, (was < size ? was : size) - (fault == FORGETS));
    return q;
}

static void *toy_aligned(size_t align, size_t size)
{
    return take(align, size);
}

static void toy_free(void *p)
{
    (void)p;
}

int main(void)
{
    static const struct model_target toy = {
        "toy", toy_malloc, toy_calloc, toy_realloc, toy_aligned, toy_free, size_of, NULL, 5000};
    static struct model_op ops[5000];
    int failures = 0;

    heap = mmap(NULL, HEAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (fault = RIGHT; fault < FAULTS; fault++) {
        size_t at;
        const char *wrong;

        used = 0;
        memset(heap, 0, 64 << 20);
        model_generate(7, ops, 5000);
        wrong = model_run(&toy, ops, 5000, &at);
        printf("allocator %d: %s\n", fault, wrong ? wrong : "nothing wrong");
        failures += !wrong != (fault == RIGHT);
    }
    return failures;
}
