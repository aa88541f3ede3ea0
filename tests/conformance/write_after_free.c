/* What a program writes to blocks that it has freed, or beyond a block into a free neighbour, cannot mislead the heap:
 * free blocks hold nothing of its, also while they travel home from another thread or wait in a CPU's list. Every block
 * handed out afterwards is whole, and nobody else's. */
#include "check.h"

#include <malloc.h>
#include <pthread.h>
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

static void *free_half(void *arg)
{
    for (int i = 0; i < BLOCKS; i += 2)
        free(block[i]);
    return arg;
}

/* `others`: another thread frees, and what it freed is written to before it is home. */
static void scribble(size_t size, int fill, int others)
{
    pthread_t thread;

    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(size);
        CHECK(block[i]);
    }
    use_all(size);
    if (!others)
        free_half(NULL);
    else if (pthread_create(&thread, NULL, free_half, NULL) != 0 || pthread_join(thread, NULL) != 0)
        CHECK(0);
    for (int i = 0; i < BLOCKS; i += 2)
        memset(block[i], fill, size);
    for (int i = 0; i < BLOCKS; i += 2)
        block[i] = malloc(size);
    use_all(size);
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    if (others)
        malloc_trim(0);
}

int main(void)
{
    static const size_t sizes[] = {16, 32, 48, 64, 100, 256, 1000, 4096};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int fill = 0; fill < 256; fill += 85)
            for (int others = 0; others < 2; others++)
                scribble(sizes[i], fill, others);
    return check_failures != 0;
}
