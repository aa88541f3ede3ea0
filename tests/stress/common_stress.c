#include "common_stress.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool in_full(void)
{
    return getenv("LOAM_CHECK_ALL") && !getenv("LOAM_CHECK_SHORT");
}

size_t at_the_price(size_t bytes)
{
    const char *conf = getenv("LOAM_CONF");

    return conf && strstr(conf, "policy:speed") ? bytes + bytes * 3 / 10 : bytes;
}

size_t resident_bytes(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    unsigned long total, resident;

    close(fd);
    NEED(n > 0 && sscanf(text, "%lu %lu", &total, &resident) == 2);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u >> 16;
}

bool any_size_is_huge = true;

size_t any_size(uint64_t *state)
{
    uint64_t r = next_random(state) % 1000;

    if (r < 900)
        return 1 + next_random(state) % 500;
    if (r < 980)
        return 1 + next_random(state) % 9000;
    if (r < 995)
        return 1 + next_random(state) % 70000;
    return 1 + next_random(state) % (r < 999 || !any_size_is_huge ? 500000 : 40000000);
}

void churn(uint64_t seed, int steps)
{
    enum { HELD = 300 };
    unsigned char *p[HELD] = {NULL};
    size_t size[HELD] = {0};

    for (seed = seed * 2 + 1; steps > 0; steps--) {
        int i = (int)(next_random(&seed) % HELD);

        if (p[i]) {
            NEED(p[i][0] == (unsigned char)i && p[i][size[i] - 1] == (unsigned char)i);
            if (next_random(&seed) % 8 == 0) {
                size_t n = any_size(&seed);
                unsigned char *q = realloc(p[i], n);

                NEED(q && q[0] == (unsigned char)i);
                p[i] = q;
                size[i] = n;
                q[n - 1] = (unsigned char)i;
                continue;
            }
            free(p[i]);
            p[i] = NULL;
        } else {
            size[i] = any_size(&seed);
            p[i] = next_random(&seed) % 4 ? malloc(size[i]) : calloc(1, size[i]);
            NEED(p[i]);
            p[i][0] = p[i][size[i] - 1] = (unsigned char)i;
        }
    }
    for (int i = 0; i < HELD; i++)
        free(p[i]);
}

void forks(int times, void (*body)(void *arg), void *arg)
{
    for (int i = 0; i < times; i++) {
        pid_t child = fork();
        int status;

        NEED(child >= 0);
        if (child == 0) {
            body(arg);
            _exit(1);
        }
        NEED(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}
