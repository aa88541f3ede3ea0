/* A block freed by its thread and again by another. */
// test: threads
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *p, *keep;

    in_thread_again();
    p = malloc(size);
    keep = malloc(size);
    free(p);
    in_thread(free, hide(p));
    free(keep);
}

int main(void)
{
    return death("double free", (size_t)1 << 40, misuse);
}
