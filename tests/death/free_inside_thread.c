/* A pointer into a block, from another thread. */
// test: threads
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    size = size < 24 ? 24 : size; /* the smallest block that has an inside */
    char *p = malloc(size);

    in_thread(free, hide(p + (size > 65536 ? 65536 : 16)));
}

int main(void)
{
    return death("invalid free: inside a block", (size_t)1 << 40, misuse);
}
