/* Processes in one shared region, of which one after the other is killed at any moment, often inside: the others go on, and
 * the region is sound whenever it is looked at. */
// test: timeout=1800
#include "common_stress.h"

#include <errno.h>
#include <loam/region.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 3, BYTES = 16 << 20, HELD = 100 };

/* Works until killed. What it holds when that happens stays allocated: a small working set, so that it lasts. */
static void work(int fd, uint64_t seed)
{
    void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct loam_region *region = loam_region_open(memory, BYTES, NULL);
    unsigned char *p[HELD] = {NULL};
    size_t size[HELD];

    NEED(region);
    for (;;) {
        size_t i = next_random(&seed) % HELD;

        if (p[i])
            NEED(p[i][0] == (unsigned char)i && p[i][size[i] - 1] == (unsigned char)i);
        if (p[i] && next_random(&seed) % 3) {
            NEED(loam_region_free(region, p[i]) == 0);
            p[i] = NULL;
            continue;
        }
        size[i] = 1 + next_random(&seed) % 300;
        unsigned char *q = loam_region_realloc(region, p[i], size[i]);

        NEED(q || errno == ENOMEM);
        if (q) {
            p[i] = q;
            q[0] = q[size[i] - 1] = (unsigned char)i;
        } else {
            size[i] = p[i] ? loam_region_usable_size(region, p[i]) : 0;
            if (p[i])
                p[i][size[i] - 1] = (unsigned char)i;
        }
    }
}

int main(void)
{
    uint64_t seed = (uint64_t)time(NULL) * 2 + 1;
    int kills = in_full() ? 3000 : 200;

    printf("seed %llu\n", (unsigned long long)seed);
    for (int fit = LOAM_FIT_GOOD; fit <= LOAM_FIT_BEST; fit++) {
        struct loam_region_options options = {
            .struct_bytes = sizeof options, .fit = (enum loam_fit)fit, .lock = LOAM_REGION_PROCESSES};
        int fd = memfd_create("region", 0);
        struct loam_region_fault fault;
        struct loam_region *region;
        pid_t child[PROCESSES];
        void *memory;

        NEED(fd >= 0 && ftruncate(fd, BYTES) == 0);
        memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        region = loam_region_create(memory, BYTES, &options);
        NEED(region);
        for (int i = 0; i < PROCESSES + kills; i++) {
            int at = i % PROCESSES, status;

            if (i >= PROCESSES) {
                usleep((unsigned)(next_random(&seed) % 2000));
                kill(child[at], SIGKILL);
                NEED(waitpid(child[at], &status, 0) == child[at] && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                if (loam_region_check(region, &fault) != LOAM_REGION_SOUND) {
                    fprintf(stderr, "after kill %d, fit %d: %s\n", i, fit, fault.reason);
                    abort();
                }
            }
            if (i >= kills)
                continue;
            child[at] = fork();
            if (child[at] == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                work(fd, seed + (uint64_t)i * 2);
                _exit(1);
            }
        }
        munmap(memory, BYTES);
        close(fd);
    }
    return 0;
}
