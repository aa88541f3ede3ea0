/* A pointer into the middle of a block of a class table. */
#include "common_death.h"

#include <loam/classes.h>
#include <stdint.h>
#include <string.h>

static void misuse(size_t size)
{
    struct loam_classes *table = loam_classes_create(NULL);
    char *p = loam_classes_alloc(table, size), *other = loam_classes_alloc(table, size);

    loam_classes_free(table, hide(p + 8));
    loam_classes_free(table, other);
}

int main(void)
{
    return death("not the start of a block", 60000, misuse);
}
