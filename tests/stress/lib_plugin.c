/* A shared object that allocates when it is loaded, used and unloaded. */
#include <stdlib.h>
#include <string.h>

static char *kept;

__attribute__((constructor)) static void loaded(void)
{
    kept = malloc(1000);
    memset(kept, 1, 1000);
}

__attribute__((destructor)) static void unloaded(void)
{
    free(kept);
    free(malloc(10));
}

void *plugin_allocate(size_t size);
void *plugin_allocate(size_t size)
{
    return malloc(size);
}
