/* The header of another block of the same size stands before a block. */
#include "common_death.h"

#include <loam/classes.h>
#include <stdint.h>
#include <string.h>

static void misuse(size_t size)
{
    struct loam_classes *table = loam_classes_create(NULL);
    char *p = loam_classes_alloc(table, size), *other = loam_classes_alloc(table, size);

    memcpy((char *)hide(p) - 8, (char *)hide(other) - 8, 8);
    p = loam_classes_realloc(table, p, 1 + size);
    loam_classes_free(table, p);
    loam_classes_free(table, other);
}

int main(void)
{
    return death("header damaged, forged or copied", 300000, misuse);
}
