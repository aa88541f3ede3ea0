/* A pointer into the stack. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    char local[256];

    (void)size;
    free(hide((void *)(((size_t)local + 15) & ~(size_t)15)));
}

int main(void)
{
    return death("invalid free: not a block of this heap", 16, misuse);
}
