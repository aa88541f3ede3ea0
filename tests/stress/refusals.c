/* A kernel that refuses: seccomp makes mmap, munmap, madvise, mprotect and mremap fail with ENOMEM, one kind at a
 * time and all together; then limits on mappings, address space and locked memory. NULL with ENOMEM or success,
 * blocks keep their contents, and free keeps working. Each case runs in a child: a filter cannot be taken off. */
#include "common_stress.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD = 500 };
static unsigned char *held[HELD];
static size_t held_size[HELD];

static void traffic(uint64_t seed, int steps, int *refused)
{
    for (seed = seed * 2 + 1; steps > 0; steps--) {
        int i = (int)(next_random(&seed) % HELD);
        size_t size = any_size(&seed);
        unsigned char *p;

        errno = 0;
        if (!held[i]) {
            p = next_random(&seed) % 3 ? malloc(size) : calloc(1, size);
        } else if (next_random(&seed) % 3 == 0) {
            p = realloc(held[i], size);
        } else {
            NEED(held[i][0] == (unsigned char)i && held[i][held_size[i] - 1] == (unsigned char)i);
            errno = 3;
            free(held[i]);
            NEED(errno == 3);
            held[i] = NULL;
            continue;
        }
        if (!p) {
            NEED(errno == ENOMEM);
            ++*refused;
            NEED(!held[i] || held[i][held_size[i] - 1] == (unsigned char)i);
            continue;
        }
        held[i] = p;
        held_size[i] = size;
        p[0] = p[size - 1] = (unsigned char)i;
    }
}

static void refuse(const int *calls, int count)
{
    struct sock_filter filter[32];
    unsigned short n = 0;

    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, filter};
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

static const int kinds[] = {SYS_mmap, SYS_munmap, SYS_madvise, SYS_mprotect, SYS_mremap};

static void filtered(int which)
{
    refuse(which < 5 ? &kinds[which] : kinds, which < 5 ? 1 : 5);
}

static void out_of_mappings(int which)
{
    (void)which;
    /* every second page of a range differs in protection, so that each is a mapping of its own */
    for (int i = 0; i < 200000; i++)
        if (mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            return;
    _exit(77); /* this machine allows more than that */
}

static void out_of_addresses(int which)
{
    struct rlimit limit;

    (void)which;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = 1 << 20; /* below what is in use already */
    NEED(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void all_locked(int which)
{
    (void)which;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(77);
}

/* `least` requests at least must have failed. */
static void one_case(const char *name, void (*prepare)(int), int which, int least)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        int refused = 0;

        alarm(60);
        traffic(1, 3000, &refused);
        NEED(refused == 0);
        prepare(which);
        traffic(2, 20000, &refused);
        for (int i = 0; i < HELD; i++) {
            NEED(!held[i] || held[i][held_size[i] - 1] == (unsigned char)i);
            free(held[i]);
        }
        printf("%s %d: %d refused\n", name, which, refused);
        NEED(refused >= least); /* or nothing was put to the test */
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        printf("%s %d: not possible here\n", name, which);
    else
        NEED(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int which = 0; which <= 5; which++)
        one_case("seccomp", filtered, which, which == 0 || which == 5);
    one_case("mappings", out_of_mappings, 0, 0);
    one_case("addresses", out_of_addresses, 0, 1);
    one_case("locked", all_locked, 0, 0);
    return 0;
}
