/* run.c: `loam run`: preloads loam into a program, waits for it, and reports what its memory cost.
 *
 * The figures come by a shared file (front/report.h) that the program's loam claims and updates; time, peak
 * resident memory and page faults from the kernel, of the program and the children it waited for. */
#include "front/options.h"
#include "front/report.h"
#include "loam_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char usage[] =
    "usage: loam run [-p POLICY] [-c CONF] [--report FILE] [--fast] [--] PROGRAM [ARGUMENT...]\n"
    "\n"
    "Runs a program with loam as its malloc, and at its end reports on stderr, in six lines, what its memory\n"
    "cost: time; peak and live bytes; bytes lost to rounding; memory asked of and returned to the OS; page\n"
    "faults; misuse of the heap that was seen. Exits as the program did.\n"
    "\n"
    "  -p POLICY       what to lean to: balanced, speed, lean, single, steady; the same as -c policy:POLICY\n"
    "  -c CONF         options, as in LOAM_CONF: \"key:value,key:value\"; `loam config` lists them\n"
    "  --report FILE   writes the report there instead of to stderr, with a line more for each thread: bytes of its\n"
    "                  slabs (held), of free blocks in them (cached), of slabs got from and given to other threads\n"
    "  --fast          does not count calls: the program runs at full speed, and the report says less\n"
    "\n"
    "The figures are the program's own; of its children only time, memory and faults are counted.\n"
    "A statically linked or set-user-ID program cannot be preloaded, and is refused.\n"
    "LOAM_LIBRARY may name the libloam-malloc.so to use.\n";

struct run {
    const char *policy, *conf, *report_path;
    bool fast;
    char **program;      /* and its arguments, NULL at the end */
    char file[PATH_MAX]; /* of the figures */
    struct lm_report *figures;
};

static struct run run;
static volatile pid_t run_child;

/* -- finding things ----------------------------------------------------------------------------------- */

/* The program's file: itself when it has a slash, else the first in PATH. */
static bool run_find_program(const char *name, char out[PATH_MAX])
{
    const char *path = getenv("PATH");

    if (strchr(name, '/')) {
        snprintf(out, PATH_MAX, "%s", name);
        return access(out, F_OK) == 0;
    }
    for (path = path ? path : "/usr/bin:/bin"; *path; path += *path == ':') {
        int length = (int)strcspn(path, ":");

        snprintf(out, PATH_MAX, "%.*s/%s", length ? length : 1, length ? path : ".", name);
        if (access(out, X_OK) == 0)
            return true;
        path += length;
    }
    return false;
}

/* libloam-malloc.so: LOAM_LIBRARY, beside the command, or where it is installed. */
static bool run_find_library(char out[PATH_MAX])
{
    static const char *const places[] = {
        "", "../lib/", "../lib64/", "../lib/x86_64-linux-gnu/", "../lib/aarch64-linux-gnu/"};
    char self[PATH_MAX - 64];
    const char *chosen = getenv("LOAM_LIBRARY");
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    if (chosen && *chosen)
        return realpath(chosen, out) != NULL;
    if (length <= 0)
        return false;
    self[length] = '\0';
    *(strrchr(self, '/') + 1) = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(out, PATH_MAX, "%s%slibloam-malloc.so", self, places[i]);
        if (access(out, R_OK) == 0)
            return true;
    }
    return false;
}

/* Sets a variable to first + separator + what it was. */
static void run_extend_environment(const char *name, const char *first, char separator, bool in_front)
{
    const char *old = getenv(name);
    size_t bytes = strlen(first) + (old ? strlen(old) : 0) + 2;
    char *joined = malloc(bytes);

    if (!joined) {
        perror("loam run");
        exit(EXIT_CANNOT_RUN);
    }
    if (old && *old)
        snprintf(joined, bytes, "%s%c%s", in_front ? first : old, separator, in_front ? old : first);
    else
        snprintf(joined, bytes, "%s", first);
    setenv(name, joined, 1);
    free(joined);
}

/* -- the file of figures ------------------------------------------------------------------------------- */

static bool run_make_file(void)
{
    const char *folder = getenv("TMPDIR");
    int fd;

    snprintf(run.file, sizeof run.file, "%s/loam-report-XXXXXX", folder && *folder ? folder : P_tmpdir);
    fd = mkostemp(run.file, O_CLOEXEC);
    if (fd < 0)
        return false;
    if (ftruncate(fd, sizeof *run.figures) == 0)
        run.figures = mmap(NULL, sizeof *run.figures, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (!run.figures || run.figures == MAP_FAILED) {
        unlink(run.file);
        return false;
    }
    memcpy(run.figures->magic, LM_REPORT_MAGIC, sizeof run.figures->magic);
    run.figures->version = LM_REPORT_VERSION;
    run.figures->bytes = sizeof *run.figures;
    setenv("LOAM_REPORT", run.file, 1);
    return true;
}

/* -- the child ------------------------------------------------------------------------------------------ */

static void run_forward(int signal)
{
    if (run_child > 0)
        kill(run_child, signal);
}

static void run_catch_signals(void)
{
    static const int passed_on[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = run_forward, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        sigaction(passed_on[i], &action, NULL);
    signal(SIGINT, SIG_IGN); /* the terminal sends these to the program as well */
    signal(SIGQUIT, SIG_IGN);
}

static int run_spawn(const char *path)
{
    posix_spawnattr_t attributes;
    sigset_t usual;
    pid_t child;
    int error;

    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGQUIT);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    run_catch_signals();
    error = posix_spawn(&child, path, NULL, &attributes, run.program, environ);
    posix_spawnattr_destroy(&attributes);
    run_child = error ? 0 : child;
    return error;
}

/* -- the report ------------------------------------------------------------------------------------------- */

static double run_seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* "1.5 MiB" in one of a few buffers, for printf. */
static const char *run_bytes(uint64_t bytes)
{
    static char buffers[8][32];
    static unsigned next;
    struct lm_text text = {buffers[next++ % 8], 32, 0};

    lm_text_add(&text, "%B", (size_t)bytes);
    return text.at;
}

static void run_report(FILE *out, double seconds, const struct rusage *usage_of)
{
    const struct lm_report *f = run.figures;
    const struct lm_counts *c = &f->counts;
    uint64_t waste = c->rounded_bytes - c->requested_bytes, calls = 0;

    for (int i = 0; i < LM_OS_CALLS; i++)
        calls += f->os[i].calls;
    fprintf(out, "loam: time       %.3f s (user %.3f, system %.3f)\n", seconds, run_seconds(usage_of->ru_utime),
        run_seconds(usage_of->ru_stime));
    if (f->state == LM_REPORT_NEW)
        fprintf(out, "loam: heap       no figures: the program never started loam\n");
    else if (run.fast)
        fprintf(out, "loam: heap       not counted (--fast); peak resident memory %s\n",
            run_bytes((uint64_t)usage_of->ru_maxrss * 1024));
    else
        fprintf(out,
            "loam: heap       peak %s, live at the end %s, in %llu allocations and %llu frees; peak resident "
            "memory %s\n",
            run_bytes(c->peak_bytes), run_bytes(c->live_bytes), (unsigned long long)c->allocations,
            (unsigned long long)c->frees, run_bytes((uint64_t)usage_of->ru_maxrss * 1024));
    if (run.fast || f->state == LM_REPORT_NEW)
        fprintf(out, "loam: rounding   not counted\n");
    else
        fprintf(out, "loam: rounding   %s of %s asked for (%.1f %%)\n", run_bytes(waste), run_bytes(c->requested_bytes),
            c->requested_bytes ? 100.0 * (double)waste / (double)c->requested_bytes : 0.0);
    if (f->state == LM_REPORT_FINISHED || f->state == LM_REPORT_ABORTED)
        fprintf(out, "loam: OS         asked for %s, returned %s, in %llu calls\n",
            run_bytes(f->os[LM_OS_COMMIT].bytes + f->os[LM_OS_MAP].bytes + f->os[LM_OS_REMAP].bytes),
            run_bytes(f->os[LM_OS_PURGE].bytes + f->os[LM_OS_UNMAP].bytes), (unsigned long long)calls);
    else
        fprintf(out, "loam: OS         unknown: the program did not end by exit\n");
    fprintf(out, "loam: faults     %ld minor, %ld major\n", usage_of->ru_minflt, usage_of->ru_majflt);
    fprintf(out, "loam: misuse     %s\n", f->misuse[0] ? f->misuse : "none seen");
}

static int run_by_held(const void *a, const void *b)
{
    const struct lm_claim *x = a, *y = b;

    return (x->held_bytes < y->held_bytes) - (x->held_bytes > y->held_bytes);
}

/* A line for each thread, the one that held most first. */
static void run_report_threads(FILE *out)
{
    struct lm_report *f = run.figures;
    size_t kept = 0;

    if (f->state == LM_REPORT_NEW)
        return;
    qsort(f->thread, LM_REPORT_THREADS, sizeof f->thread[0], run_by_held);
    for (size_t i = 0; i < LM_REPORT_THREADS; i++)
        kept += f->thread[i].thread != 0;
    fprintf(out, "loam: threads    %u had heaps of their own", f->threads);
    if (kept < f->threads)
        fprintf(out, "; the %zu that held most:", kept);
    fprintf(out, "\n");
    for (size_t i = 0; i < LM_REPORT_THREADS; i++) {
        const struct lm_claim *c = &f->thread[i];

        if (c->thread)
            fprintf(out, "loam: thread     %u: held %s, cached %s, stolen %s, given %s%s\n", c->thread,
                run_bytes(c->held_bytes), run_bytes(c->cached_bytes), run_bytes(c->stolen_bytes),
                run_bytes(c->given_bytes), c->ended ? ", when it ended" : "");
    }
}

static int run_finish(int status, double seconds, const struct rusage *usage_of)
{
    FILE *out = run.report_path ? fopen(run.report_path, "w") : stderr;

    if (!out) {
        fprintf(stderr, "loam run: cannot write the report to %s: %s\n", run.report_path, strerror(errno));
        out = stderr;
    }
    run_report(out, seconds, usage_of);
    if (run.report_path)
        run_report_threads(out);
    if (out != stderr && fclose(out) != 0)
        fprintf(stderr, "loam run: cannot write the report to %s: %s\n", run.report_path, strerror(errno));
    unlink(run.file);
    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    /* end as the program did, but leave the core to it */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
    return 128 + WTERMSIG(status);
}

/* -- the command ------------------------------------------------------------------------------------------ */

/* Reads the arguments; 0, or the status to exit with (-1 for success). */
static int run_arguments(int argc, char **argv)
{
    static const char *const options[] = {"-p", "-c", "--report", "--fast", "--help"};
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        bool has_next = i + 1 < argc;

        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return -1;
        } else if (strcmp(argv[i], "--fast") == 0) {
            run.fast = true;
        } else if (strcmp(argv[i], "-c") == 0 && has_next) {
            run.conf = argv[++i];
            if (lm_options_parse(run.conf, LM_FROM_COMMAND, false) > 0)
                return EXIT_USAGE; /* said once, here, instead of by every process of the program */
        } else if (strcmp(argv[i], "-p") == 0 && has_next) {
            run.policy = argv[++i];
        } else if (strcmp(argv[i], "--report") == 0 && has_next) {
            run.report_path = argv[++i];
        } else if (strcmp(argv[i], "-p") == 0 || strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--report") == 0) {
            fprintf(stderr, "loam run: %s needs a value\n", argv[i]);
            return EXIT_USAGE;
        } else {
            return tool_bad_option("run", argv[i], options, 5);
        }
    }
    if (i >= argc) {
        fprintf(stderr, "loam run: which program? See `loam run --help`\n");
        return EXIT_USAGE;
    }
    run.program = argv + i;
    return 0;
}

int tool_run(int argc, char **argv)
{
    char path[PATH_MAX], library[PATH_MAX], policy[64];
    const char *why;
    struct timespec start, end;
    struct rusage usage_of;
    int status = run_arguments(argc, argv), error;

    if (status)
        return status < 0 ? 0 : status;
    snprintf(policy, sizeof policy, "policy:%s", run.policy ? run.policy : "balanced");
    if (lm_options_parse(policy, LM_FROM_COMMAND, false) != 0) /* says which there are */
        return EXIT_USAGE;
    if (!run_find_program(run.program[0], path)) {
        fprintf(stderr, "loam run: %s: not found\n", run.program[0]);
        return EXIT_NOT_FOUND;
    }
    why = tool_why_not_preloadable(path);
    if (why) {
        fprintf(stderr, "loam run: cannot preload %s: %s\n", path, why);
        return EXIT_CANNOT_RUN;
    }
    if (!run_find_library(library)) {
        fprintf(stderr, "loam run: libloam-malloc.so not found; LOAM_LIBRARY may name it\n");
        return EXIT_CANNOT_RUN;
    }
    if (!run_make_file()) {
        fprintf(stderr, "loam run: cannot make a file for the figures: %s\n", strerror(errno));
        return EXIT_CANNOT_RUN;
    }
    run_extend_environment("LD_PRELOAD", library, ':', true);
    if (!run.fast)
        run_extend_environment("LOAM_CONF", "stats:1", ',', false);
    if (run.policy)
        run_extend_environment("LOAM_CONF", policy, ',', false);
    if (run.conf)
        run_extend_environment("LOAM_CONF", run.conf, ',', false);
    clock_gettime(CLOCK_MONOTONIC, &start);
    error = run_spawn(path);
    if (error) {
        fprintf(stderr, "loam run: %s: %s\n", path, strerror(error));
        unlink(run.file);
        return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
    }
    while (wait4(run_child, &status, 0, &usage_of) < 0 && errno == EINTR)
        ;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return run_finish(
        status, (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9, &usage_of);
}
