/* Class tables under the shadow: on loam's own arena, and on a source under a budget that large blocks press on. */
// test: timeout=1200
#include "common_model.h"

#include <loam/classes.h>
#include <string.h>

static struct loam_classes *table;

static void *table_malloc(size_t size)
{
    return loam_classes_alloc(table, size);
}

static void *table_calloc(size_t count, size_t size)
{
    void *p = loam_classes_alloc(table, count * size);

    return p ? memset(p, 0, count * size) : NULL;
}

static void *table_realloc(void *p, size_t size)
{
    return loam_classes_realloc(table, p, size);
}

static void table_free(void *p)
{
    loam_classes_free(table, p);
}

static size_t table_usable(void *p)
{
    return loam_classes_usable_size(table, p);
}

static int table_check(void)
{
    return loam_classes_check(table);
}

int main(int argc, char **argv)
{
    static const struct model_target target = {"class table", table_malloc, table_calloc, table_realloc, NULL,
        table_free, table_usable, table_check, 8u << 20};
    static const struct model_target small = {"class table under a budget", table_malloc, table_calloc, table_realloc,
        NULL, table_free, table_usable, table_check, 20000};
    struct loam_classes_options options = {.struct_bytes = sizeof options, .limit_bytes = 16u << 20, .locked = 1};
    int status;

    table = loam_classes_create(NULL);
    status = model_main(argc, argv, &target, 200000);
    options.source = loam_source_os();
    table = loam_classes_create(&options);
    return status || model_main(argc, argv, &small, 100000);
}
