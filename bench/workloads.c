/* workloads.c: what `bench/run` times: allocation-bound work by the names of the literature. The runner takes time,
 * peak memory and page faults from outside. usage: workloads [NAME [PERCENT]]; without a name, lists them. */
#include "work.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct workload *const tables[] = {single_workloads, shape_workloads, thread_workloads, sharing_workloads};

void run_threads(unsigned count, void *(*body)(void *number))
{
    pthread_t *threads = malloc(count * sizeof *threads);
    pthread_attr_t attributes;

    if (!threads || pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, 256 << 10) != 0)
        abort();
    for (uintptr_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], &attributes, body, (void *)i) != 0)
            abort();
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_attr_destroy(&attributes);
    free(threads);
}

void figure(const char *name, double value)
{
    char line[128];
    int length = snprintf(line, sizeof line, "figure %s %.6g\n", name, value);

    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        abort();
}

int main(int argc, char **argv)
{
    long percent = argc > 2 ? atol(argv[2]) : 100;

    if (percent < 1 || argc > 3)
        return 2;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct workload *w = tables[t]; w->name; w++)
            if (argc == 1) {
                printf("%-18s %s\n", w->name, w->about);
            } else if (strcmp(argv[1], w->name) == 0) {
                w->run(percent);
                return 0;
            }
    return argc > 1 ? 2 : 0;
}
