/* A pointer to static data. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    static _Alignas(16) char data[256];

    (void)size;
    free(malloc(1));
    free(hide(data));
}

int main(void)
{
    return death("invalid free: not a block of this heap", 16, misuse);
}
