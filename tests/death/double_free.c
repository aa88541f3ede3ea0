/* A block freed twice, at once. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *p = malloc(size);

    free(p);
    free(hide(p));
}

int main(void)
{
    return death("double free", (size_t)1 << 40, misuse);
}
