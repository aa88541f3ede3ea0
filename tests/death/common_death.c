#include "common_death.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

const size_t death_sizes[] = {1, 16, 24, 48, 100, 1000, 1025, 5000, 8192, 20000, 60000, 65537, 300000, 64u << 20};
const int death_size_count = sizeof death_sizes / sizeof death_sizes[0];

void *hide(void *p)
{
    void *volatile hidden = p;

    return hidden;
}

struct call {
    void (*body)(void *);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct call *call = arg;

    call->body(call->arg);
    return NULL;
}

void in_thread(void (*body)(void *), void *arg)
{
    struct call call = {body, arg};
    pthread_t thread;

    pthread_create(&thread, NULL, thread_main, &call);
    pthread_join(thread, NULL);
}

static void nothing(void *arg)
{
    (void)arg;
}

void in_thread_again(void)
{
    in_thread(nothing, NULL);
}

int death_of(const char *text, size_t size, void (*misuse)(size_t))
{
    int err[2], out[2], status;
    char said[4096] = "", printed[16];
    size_t length = 0;
    ssize_t n;
    pid_t child;

    if (pipe(err) != 0 || pipe(out) != 0)
        return 1;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        alarm(20);
        dup2(err[1], STDERR_FILENO);
        dup2(out[1], STDOUT_FILENO);
        misuse(size);
        _exit(0);
    }
    close(err[1]);
    close(out[1]);
    while ((n = read(err[0], said + length, sizeof said - 1 - length)) > 0)
        length += (size_t)n;
    n = read(out[0], printed, sizeof printed);
    close(err[0]);
    close(out[0]);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        printf("size %zu: not aborted (status %x): %s\n", size, status, said);
    else if (!strstr(said, text))
        printf("size %zu: the report lacks \"%s\": %s\n", size, text, said);
    else if (strncmp(said, "loam: ", 6) != 0 || strchr(said, '\n') != said + length - 1)
        printf("size %zu: not one line by loam: %s\n", size, said);
    else if (n > 0)
        printf("size %zu: printed to stdout\n", size);
    else
        return 0;
    return 1;
}

int death(const char *text, size_t most, void (*misuse)(size_t))
{
    int failures = 0;

    for (int i = 0; i < death_size_count && death_sizes[i] <= most; i++)
        failures += death_of(text, death_sizes[i], misuse);
    printf("%s: %d failures\n", text, failures);
    return failures != 0;
}
