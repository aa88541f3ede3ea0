// test: own
/* Every report about a block says how large the block is, or was: small, medium, large or huge, freed twice or hit inside. */
#include "common_death.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static char wanted[64];

static void twice(size_t size)
{
    void *p = malloc(size);

    free(p);
    free(hide(p));
}

static void inside(size_t size)
{
    char *p = malloc(size);

    free(hide(p + 16));
}

int main(void)
{
    int failures = 0;

    for (int i = 0; i < death_size_count; i++) {
        void *p = malloc(death_sizes[i]);
        size_t usable = malloc_usable_size(p);

        free(p);
        snprintf(wanted, sizeof wanted, " (in a slab of %zu-byte blocks)", usable);
        if (death_sizes[i] > 60000)
            snprintf(wanted, sizeof wanted, " (in a block of %zu bytes)", usable);
        if (death_sizes[i] > 16)
            failures += death_of(wanted, death_sizes[i], inside);
        if (death_sizes[i] > 60000)
            snprintf(wanted, sizeof wanted, " (was a block of %zu bytes)", usable);
        failures += death_of(wanted, death_sizes[i], twice);
    }
    return failures != 0;
}
