/* malloc_usable_size of what is no block. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    static _Alignas(16) char data[64];

    (void)size;
    malloc_usable_size(hide(data));
}

int main(void)
{
    return death("invalid malloc_usable_size: not a block of this heap", 16, misuse);
}
