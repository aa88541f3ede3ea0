/* measure.c: runs a command and writes what it cost: measure FILE COMMAND...
 *
 * One line: seconds, peak resident KiB, user and system seconds, minor and major faults, status as the shell counts
 * it. Small and linked statically on purpose: a child's peak starts with what its parent had when it forked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

int main(int argc, char **argv)
{
    double start = seconds_now(), end;
    struct rusage used;
    int status, out;
    pid_t child;

    if (argc < 3)
        return 2;
    child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    while (child > 0 && wait4(child, &status, 0, &used) != child)
        if (errno != EINTR)
            return 2;
    end = seconds_now();
    out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (child < 0 || out < 0)
        return 2;
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    dprintf(out, "%.6f %ld %.6f %.6f %ld %ld %d\n", end - start, used.ru_maxrss, seconds_of(used.ru_utime),
        seconds_of(used.ru_stime), used.ru_minflt, used.ru_majflt, status);
    return status;
}
