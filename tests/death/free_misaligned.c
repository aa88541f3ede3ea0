/* A pointer that is not aligned to 16. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    char *p = malloc(size);

    free(hide(p + 8));
}

int main(void)
{
    return death("invalid free: misaligned pointer", (size_t)1 << 40, misuse);
}
