/* What a program writes to blocks that it has freed, or beyond a block into a free neighbour, cannot mislead the heap:
 * free blocks hold nothing of its. Every block handed out afterwards is whole, and nobody else's. (A block that waits in
 * a CPU's list does hold a mark: with cache:cpu such a write is found, and this test does not apply.) */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 3000 };

static unsigned char *block[BLOCKS];

/* Fills each block with its number and finds every number again. */
static void use_all(size_t size)
{
    for (int i = 0; i < BLOCKS; i++)
        memset(block[i], i & 0xff, size);
    for (int i = 0; i < BLOCKS; i++)
        CHECK(block[i][0] == (i & 0xff) && memcmp(block[i], block[i] + 1, size - 1) == 0);
}

static void scribble(size_t size, int fill)
{
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(size);
        CHECK(block[i]);
    }
    use_all(size);
    for (int i = 0; i < BLOCKS; i += 2)
        free(block[i]);
    for (int i = 0; i < BLOCKS; i += 2)
        memset(block[i], fill, size);
    for (int i = 0; i < BLOCKS; i += 2)
        block[i] = malloc(size);
    use_all(size);
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
}

int main(void)
{
    static const size_t sizes[] = {16, 32, 48, 64, 100, 256, 1000, 4096};
    const char *conf = getenv("LOAM_CONF");

    if (conf && strstr(conf, "cache:cpu"))
        return 77;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int fill = 0; fill < 256; fill += 85)
            scribble(sizes[i], fill);
    return check_failures != 0;
}
