/* The link of a block that another thread freed is overwritten. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *p = malloc(size);

    in_thread(free, p);
    memset(hide(p), 0x41, 16);
    for (int i = 0; i < 10000; i++)
        hide(malloc(size));
    malloc_trim(0); /* it may lie in the cache of a CPU that nobody runs on any more */
}

int main(void)
{
    return death("free list overwritten", 60000, misuse);
}
