/* realloc of a freed block. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *p = malloc(size), *keep = malloc(size);

    free(p);
    p = realloc(hide(p), size + 100);
    free(keep);
}

int main(void)
{
    return death("invalid realloc: ", 300000, misuse);
}
