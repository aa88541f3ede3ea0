/* A block freed by another thread and then by its own. */
// test: threads
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *p = malloc(size), *keep = malloc(size);

    in_thread(free, p);
    free(hide(p));
    free(keep);
}

int main(void)
{
    return death("double free", (size_t)1 << 40, misuse);
}
