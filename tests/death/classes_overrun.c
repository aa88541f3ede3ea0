/* A block is written beyond its end, into the header of the next; the next is resized. */
#include "common_death.h"

#include <loam/classes.h>
#include <stdint.h>
#include <string.h>

static void misuse(size_t size)
{
    struct loam_classes *table = loam_classes_create(NULL);
    char *p = loam_classes_alloc(table, size), *other = loam_classes_alloc(table, size);

    size_t usable = loam_classes_usable_size(table, p);

    if (other < p)
        other = p;
    memset((char *)hide(other) - 8 - usable, 0x41, usable + 8); /* all of what stands before it */
    other = loam_classes_realloc(table, other, 3 * size + 100);
    loam_classes_free(table, other);
}

int main(void)
{
    return death("header damaged, forged or copied", 60000, misuse);
}
