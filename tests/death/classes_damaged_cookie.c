/* One bit of the header before a block has changed. */
#include "common_death.h"

#include <loam/classes.h>
#include <stdint.h>
#include <string.h>

static void misuse(size_t size)
{
    struct loam_classes *table = loam_classes_create(NULL);
    char *p = loam_classes_alloc(table, size), *other = loam_classes_alloc(table, size);

    ((char *)hide(p))[-3] ^= 4;
    loam_classes_free(table, p);
    loam_classes_free(table, other);
}

int main(void)
{
    return death("header damaged, forged or copied", 300000, misuse);
}
