/* A block of a full slab, one of many, freed twice. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    enum { MANY = 9000 };
    static void *held[MANY];

    for (int i = 0; i < MANY; i++)
        held[i] = malloc(size);
    free(held[10]);
    free(hide(held[10]));
}

int main(void)
{
    return death("double free", 8192, misuse);
}
