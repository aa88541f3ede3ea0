// test: own
/* A second thread in a process that was promised to stay single: refused whichever call it makes first. */
#include "common_death.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

const char *loam_conf = "policy:single";

enum { ALLOCATES, FREES, RESIZES, ALIGNS, CALLS };
static int call;
static void *block;

static void use(void *arg)
{
    size_t size = *(size_t *)arg;

    if (call == ALLOCATES)
        block = malloc(size);
    else if (call == FREES)
        free(block);
    else if (call == RESIZES)
        block = realloc(block, 3 * size);
    else
        block = memalign(64, size);
}

static void misuse(size_t size)
{
    block = malloc(size);
    in_thread(use, &size);
}

int main(void)
{
    int failures = 0;

    for (call = 0; call < CALLS; call++)
        failures += death("second thread", (size_t)1 << 40, misuse);
    return failures != 0;
}
