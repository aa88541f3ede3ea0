/* A write beyond a block into its free neighbour, found when that is handed out. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    size_t usable = (size + 15) / 16 * 16;
    char *p = malloc(usable), *q = malloc(usable);

    if (q != p + usable) { /* the neighbour must be one for this misuse to mean anything */
        char *t = p;

        p = q;
        q = t;
    }
    free(q);
    memset(hide(p), 0x42, usable + 16);
    for (int i = 0; i < 10000; i++)
        hide(malloc(usable));
}

int main(void)
{
    return death("free list overwritten", 100, misuse);
}
