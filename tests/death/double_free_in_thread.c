/* A block of one thread freed twice by another. */
// test: threads
#include "common_death.h"

#include <stdlib.h>

static void twice(void *p)
{
    free(malloc(1)); /* the thread has a heap by now, which takes memory that frees make */
    free(p);
    free(hide(p));
}

static void misuse(size_t size)
{
    void *p = malloc(size), *keep = malloc(size);

    in_thread(twice, p);
    free(keep);
}

int main(void)
{
    return death("double free", (size_t)1 << 40, misuse);
}
