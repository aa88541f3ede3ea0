// test: own
/* Policy steady: within the reserve no call of the family makes a system call (any but those for the test's own end kill
 * the process by seccomp) or a page fault (getrusage counts them). And as a control: beyond the reserve it dies. */
#include "common_stress.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

const char *loam_conf = "policy:steady,reserve:64M";

enum { SLOTS = 1500, MOST_BYTES = 12 << 20 };

static void *slot[SLOTS];
static size_t slot_bytes[SLOTS];

static long faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* From here on only what is needed to measure and to end. */
static void forbid_calls(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(getrusage),
        ALLOW(write),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};

    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    NEED(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static size_t size_of(uint64_t *seed)
{
    uint64_t r = next_random(seed);

    return r % 400 == 0 ? (r >> 20) % (1 << 20) : r % 16 == 0 ? (r >> 20) % 40000 : (r >> 20) % 1200;
}

static void work(uint64_t seed, int steps)
{
    size_t live = 0;

    for (int i = 0; i < steps; i++) {
        size_t n = next_random(&seed) % SLOTS, size = size_of(&seed);
        unsigned how = next_random(&seed) % 8;

        if (slot[n] && how == 0 && live + size < MOST_BYTES) {
            slot[n] = realloc(slot[n], size + 1);
        } else {
            free(slot[n]);
            if (live - slot_bytes[n] + size > MOST_BYTES)
                size = 0;
            slot[n] = how == 1 ? memalign((size_t)16 << next_random(&seed) % 9, size)
                : how == 2     ? calloc(1, size)
                               : malloc(size);
        }
        NEED(slot[n]);
        memset(slot[n], 1, size);
        live += size - slot_bytes[n];
        slot_bytes[n] = size;
    }
    for (int n = 0; n < SLOTS; n++) {
        free(slot[n]);
        slot[n] = NULL;
        slot_bytes[n] = 0;
    }
}

/* How the program ends with an argument. Spawned, not forked: fork would have every page of the reserve copied. */
static int end_of(char *self, char *argument)
{
    char *argv[] = {self, argument, NULL};
    int status;
    pid_t child;

    NEED(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ) == 0);
    NEED(waitpid(child, &status, 0) == child);
    return status;
}

static void beyond(void)
{
    forbid_calls();
    for (int i = 0; i < 200; i++)
        NEED(malloc(1 << 20));
}

/* Works within the reserve; 1 and told when there was a page fault. */
static int within(void)
{
    static const char done[] = "no system call and no page fault\n", faulted[] = "a page fault\n";
    long before;
    bool none;

    work(5, 1000);  /* the test's own pages */
    malloc_trim(0); /* takes nothing of the reserve away */
    forbid_calls();
    before = faults();
    work(7, in_full() ? 20000000 : 2000000);
    none = faults() == before;
    /* stdio would make other calls */
    NEED(write(STDOUT_FILENO, none ? done : faulted, (none ? sizeof done : sizeof faulted) - 1) > 0);
    _exit(!none);
}

int main(int argc, char **argv)
{
    int status;

    if (argc > 1 && strcmp(argv[1], "beyond") == 0)
        beyond();
    else if (argc > 1)
        within();
    if (argc > 1)
        return 0;
    status = end_of(argv[0], "beyond");
    NEED(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    /* a kernel short of memory takes a page of the program's own now and then: one process of three must see none go */
    for (int i = 0; i < 3; i++) {
        status = end_of(argv[0], "within");
        NEED(WIFEXITED(status));
        if (WEXITSTATUS(status) == 0)
            return 0;
    }
    return 1;
}
