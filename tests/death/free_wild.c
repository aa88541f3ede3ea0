/* Pointers that nobody gave out: into the untouched part of the arena, and nowhere. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    char *p = malloc(100);

    free(hide(size == 1 ? p + ((size_t)20 << 30) : (void *)0x10));
}

int main(void)
{
    return death("invalid free: not a block of this heap", 16, misuse);
}
