/* realloc of a pointer into a block. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    size = size < 24 ? 24 : size; /* the smallest block that has an inside */
    char *p = malloc(size);

    p = realloc(hide(p + (size > 65536 ? 65536 : 16)), 10);
}

int main(void)
{
    return death("invalid realloc: inside a block", (size_t)1 << 40, misuse);
}
