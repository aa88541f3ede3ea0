/* A large block of a class table freed twice. */
#include "common_death.h"

#include <loam/classes.h>
#include <stdint.h>
#include <string.h>

static void misuse(size_t size)
{
    struct loam_classes *table = loam_classes_create(NULL);
    char *p = loam_classes_alloc(table, size), *other = loam_classes_alloc(table, size);

    p = loam_classes_realloc(table, p, size + 70000);
    loam_classes_free(table, p);
    loam_classes_free(table, hide(p));
    loam_classes_free(table, other);
}

int main(void)
{
    return death("not a block of this table", 300000, misuse);
}
