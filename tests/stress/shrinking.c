// test: own
/* What the default returns without a thread of its own and without being asked: a heap that shrinks for good, by the free
 * itself; free pages inside partly used slabs, when the heap would grow beyond its peak; and all of them when it is trimmed.
 * By resident bytes; each step in a process of its own. */
#include "common_stress.h"

#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 40000, BYTES = 1000, KEEP = 16 };
static char **block;

static void make(size_t bytes)
{
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(bytes);
        NEED(block[i]);
        memset(block[i], i | 1, bytes);
    }
}

/* Frees all but each `keep`-th; 0: all. */
static void thin(int keep)
{
    for (int i = 0; i < BLOCKS; i++)
        if (!keep || i % keep != 0)
            free(block[i]);
}

static void check_kept(size_t bytes)
{
    for (int i = 0; i < BLOCKS; i += KEEP)
        for (size_t k = 0; k < bytes; k++)
            NEED(block[i][k] == (char)(i | 1));
}

static void all_is_freed(void)
{
    size_t before = resident_bytes(), peak;

    make(BYTES);
    peak = resident_bytes();
    NEED(peak - before > (size_t)BLOCKS * BYTES);
    thin(0);
    printf("freed: %zu of %zu KiB are left\n", (resident_bytes() - before) >> 10, (peak - before) >> 10);
    NEED(resident_bytes() - before < (peak - before) * 3 / 10);
}

static void another_size_grows(void)
{
    size_t before = resident_bytes(), peak, more;
    char **first = block;

    make(BYTES);
    peak = resident_bytes() - before;
    thin(KEEP);
    block += BLOCKS;
    make(BYTES * 2 / 3);
    more = resident_bytes() - before;
    printf("other sizes: %zu KiB beside %zu\n", more >> 10, peak >> 10);
    NEED(more < peak * 5 / 4); /* 5/3 with all the old pages */
    block = first;
    check_kept(BYTES);
}

static void it_is_trimmed(void)
{
    size_t before = resident_bytes(), peak;

    make(BYTES);
    peak = resident_bytes() - before;
    thin(KEEP);
    NEED(malloc_trim(0));
    printf("trimmed: %zu of %zu KiB are left\n", (resident_bytes() - before) >> 10, peak >> 10);
    NEED(resident_bytes() - before < peak / 2); /* a quarter of the pages hold a block, and some the heap's own */
    check_kept(BYTES);
}

int main(void)
{
    static void (*const steps[])(void) = {all_is_freed, another_size_grows, it_is_trimmed};

    block = mmap(NULL, 2 * BLOCKS * sizeof *block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(block != MAP_FAILED);
    memset(block, 0, 2 * BLOCKS * sizeof *block);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        pid_t child = fork();
        int status;

        NEED(child >= 0);
        if (child == 0) {
            steps[i]();
            fflush(stdout);
            _exit(0);
        }
        NEED(waitpid(child, &status, 0) == child);
        NEED(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return 0;
}
