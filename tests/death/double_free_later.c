/* A block freed twice, with other frees of its class between. */
#include "common_death.h"

#include <stdlib.h>
#include <string.h>
#include <malloc.h>

static void misuse(size_t size)
{
    void *others[50], *p = malloc(size);
    int count = size > 1 << 20 ? 3 : 50;

    for (int i = 0; i < count; i++)
        others[i] = malloc(size);
    void *last = malloc(size);
    free(p);
    for (int i = 0; i < count; i++)
        free(others[i]);
    free(hide(p));
    free(last);
}

int main(void)
{
    return death("double free", 60000, misuse);
}
