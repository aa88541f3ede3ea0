/* A free block whose link is overwritten, found when the block would be handed out. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *p = malloc(size);

    free(p);
    memset(hide(p), 0x41, 8);
    for (int i = 0; i < 10000; i++)
        hide(malloc(size));
}

int main(void)
{
    return death("free list overwritten", 60000, misuse);
}
