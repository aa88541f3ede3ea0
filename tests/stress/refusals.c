/* A kernel that refuses. A seccomp filter traps mmap, munmap, madvise, mprotect and mremap into a handler that refuses
 * them, one kind at a time and all together, or passes them on and counts what the kernel itself refuses: at the limits
 * of mappings, address space, data and locked memory.
 *
 * Each case proves that calls were refused; that a request then gives memory or NULL with ENOMEM; that blocks keep
 * their contents and free keeps errno; and that, once calls are granted again, the address space is what it was. Each
 * runs in a child: a filter cannot be taken off. */
// test: timeout=900
#include "common_stress.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { HELD = 300, KINDS = 5, CANNOT = 77 };
static const int kinds[KINDS] = {SYS_mmap, SYS_munmap, SYS_madvise, SYS_mprotect, SYS_mremap};
static const char *const names[KINDS] = {"mmap", "munmap", "madvise", "mprotect", "mremap"};

/* -- the filter ------------------------------------------------------------------------------------------------- */

/* In the upper half of the fifth argument: a call of the handler's own. That argument is unused, or a file descriptor of
 * which the kernel looks at the lower half, or an address, in mremap with MREMAP_FIXED, which is not used here. */
enum { PASS = 0x6c6f616d };

static unsigned refuse_mask, refuse_every = 1; /* every n-th call of the kinds in the mask */
static int refuse_errno = ENOMEM;
static unsigned seen, refused[KINDS]; /* by the handler or by the kernel */

#if defined(__x86_64__)
#define REGISTER(context, i) \
    ((context)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9}[i]])
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define REGISTER(context, i) ((context)->uc_mcontext.regs[i])
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#endif

static void trapped(int signal, siginfo_t *info, void *arg)
{
    ucontext_t *context = arg;
    int saved = errno, kind = 0;
    long result;

    (void)signal;
    while (kind < KINDS - 1 && kinds[kind] != info->si_syscall)
        kind++;
    if (refuse_mask >> kind & 1 && seen++ % refuse_every == 0) {
        result = -1;
        errno = refuse_errno;
    } else {
        result = syscall(info->si_syscall, REGISTER(context, 0), REGISTER(context, 1), REGISTER(context, 2),
            REGISTER(context, 3), (unsigned long)PASS << 32 | (REGISTER(context, 4) & 0xffffffff),
            REGISTER(context, 5));
    }
    if (result == -1)
        refused[kind]++;
    RESULT(context) = result == -1 ? -errno : result;
    errno = saved;
}

static void trap_calls(void)
{
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    struct sock_filter filter[2 * KINDS + 8];
    unsigned short n = 0;

    filter[n++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4]) + 4); /* little endian */
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, 2 * KINDS + 1, 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < KINDS; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)kinds[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, filter};
    NEED(sigaction(SIGSYS, &action, NULL) == 0);
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(CANNOT);
}

/* -- the work --------------------------------------------------------------------------------------------------- */

static unsigned char *held[HELD];
static size_t held_size[HELD];

static size_t a_size(uint64_t *seed)
{
    return next_random(seed) % 50 ? any_size(seed) : 34000000 + next_random(seed) % 4000000; /* a mapping of its own */
}

static bool is_whole(int i)
{
    return held[i][0] == (unsigned char)i && held[i][held_size[i] - 1] == (unsigned char)i;
}

static void release(int i)
{
    NEED(is_whole(i));
    errno = 3;
    free(held[i]);
    NEED(errno == 3);
    held[i] = NULL;
}

/* Returns the requests that failed. */
static int traffic(uint64_t seed, int steps)
{
    int failed = 0;

    for (seed = seed * 2 + 1; steps > 0; steps--) {
        int i = (int)(next_random(&seed) % HELD);
        size_t size = a_size(&seed);
        unsigned char *p;

        errno = 0;
        if (!held[i]) {
            bool zero = next_random(&seed) % 3 == 0;

            p = zero ? calloc(1, size) : malloc(size);
            for (size_t k = 0; p && zero && k < size; k += 1 + size / 64)
                NEED(p[k] == 0);
        } else if (next_random(&seed) % 3 == 0) {
            p = realloc(held[i], size);
            NEED(!p || p[0] == (unsigned char)i);
        } else {
            release(i);
            continue;
        }
        if (!p) {
            NEED(errno == ENOMEM);
            failed++;
            NEED(!held[i] || is_whole(i));
            continue;
        }
        held[i] = p;
        held_size[i] = size;
        p[0] = p[size - 1] = (unsigned char)i;
    }
    return failed;
}

static char *growing; /* a mapping of its own */

/* Asks for more than there ever was, so that the heap must grow. Returns the requests that failed. */
static int demand(void)
{
    enum { BLOCKS = 12, BYTES = 20 << 20, GROWN = 36 << 20 };
    char *block[BLOCKS];
    int failed = 0;

    for (size_t bytes = GROWN; bytes < 3 * (size_t)GROWN; bytes += bytes / 4) {
        char *p = realloc(growing, bytes);

        growing = p ? p : growing;
        NEED(growing[0] == 1);
    }
    for (int i = 0; i < BLOCKS; i++) {
        errno = 0;
        block[i] = malloc(BYTES);
        NEED(block[i] || errno == ENOMEM);
        failed += !block[i];
        if (block[i])
            block[i][0] = block[i][BYTES - 1] = 1;
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    return failed;
}

static void release_all(void)
{
    free(growing);
    growing = NULL;
    for (int i = 0; i < HELD; i++)
        if (held[i])
            release(i);
    malloc_trim(0);
}

static size_t address_bytes(void)
{
    char text[64] = "";
    int fd = (int)syscall(SYS_openat, -100, "/proc/self/statm", 0);
    ssize_t n = read(fd, text, sizeof text - 1);

    close(fd);
    NEED(n > 0);
    return strtoul(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* -- the cases -------------------------------------------------------------------------------------------------- */

struct a_case {
    const char *name;
    void (*prepare)(void), (*undo)(void);
    unsigned mask, every; /* kinds that the handler refuses */
    int error;
    unsigned expect; /* kinds of which some must have been refused */
    int fails;       /* requests that must have failed, at least */
};

static struct rlimit limit_before;
static int limit_kind;

static void limit_to_little(int kind)
{
    struct rlimit limit;

    limit_kind = kind;
    NEED(getrlimit(kind, &limit_before) == 0);
    limit = limit_before;
    limit.rlim_cur = 1 << 20; /* below what is in use already */
    NEED(setrlimit(kind, &limit) == 0);
}

static void limit_undo(void)
{
    NEED(setrlimit(limit_kind, &limit_before) == 0);
}

static void few_addresses(void)
{
    limit_to_little(RLIMIT_AS);
}

static void few_data(void)
{
    limit_to_little(RLIMIT_DATA);
}

enum { FILL = 200000 };
static void *fill[FILL];

static void no_mappings(void)
{
    unsigned before = refused[0];

    /* neighbours differ in protection, so that each is a mapping of its own */
    for (int i = 0; i < FILL; i++) {
        fill[i] = mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fill[i] == MAP_FAILED) {
            fill[i] = NULL;
            refused[0] = before;
            return;
        }
    }
    _exit(CANNOT); /* this machine allows more than that */
}

static void free_mappings(void)
{
    for (int i = 0; i < FILL && fill[i]; i++)
        munmap(fill[i], 4096);
}

static void lock_all(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(CANNOT);
}

/* Without privileges, at the limit of what may be locked: the kernel's errno is EAGAIN then. */
static void lock_little(void)
{
    limit_to_little(RLIMIT_MEMLOCK);
    if ((geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) || mlockall(MCL_FUTURE) != 0)
        _exit(CANNOT);
}

static void unlock_all(void)
{
    NEED(munlockall() == 0);
}

enum { MMAP = 1, MUNMAP = 2, MADVISE = 4, MPROTECT = 8, MREMAP = 16, ALL = 31 };
static const struct a_case cases[] = {
    {"mmap", NULL, NULL, MMAP, 1, ENOMEM, MMAP, 1},
    {"munmap", NULL, NULL, MUNMAP, 1, ENOMEM, MUNMAP, 0},
    {"madvise", NULL, NULL, MADVISE, 1, ENOMEM, MADVISE, 0},
    {"mprotect", NULL, NULL, MPROTECT, 1, ENOMEM, MPROTECT, 0},
    {"mremap", NULL, NULL, MREMAP, 1, ENOMEM, MREMAP, 0},
    {"all", NULL, NULL, ALL, 1, ENOMEM, ALL, 1},
    {"every third", NULL, NULL, ALL, 3, ENOMEM, ALL, 1},
    {"all but mmap", NULL, NULL, ALL & ~MMAP, 1, ENOMEM, ALL & ~MMAP, 0},
    {"all, not permitted", NULL, NULL, ALL, 1, EPERM, ALL, 1},
    {"mappings", no_mappings, free_mappings, 0, 1, 0, MMAP, 1},
    {"addresses", few_addresses, limit_undo, 0, 1, 0, MMAP, 1},
    {"data", few_data, limit_undo, 0, 1, 0, MMAP | MPROTECT, 1},
    {"locked", lock_all, unlock_all, 0, 1, 0, MADVISE, 0},
    {"locked, limited", lock_little, unlock_all, 0, 1, 0, MMAP, 1},
};

static void run_case(const struct a_case *c)
{
    bool usual = !getenv("LOAM_CONF"); /* other policies make other calls */
    size_t before, after;
    int failed;

    trap_calls();
    NEED(traffic(1, 4000) == 0);
    release_all();
    before = address_bytes();
    NEED(traffic(4, 4000) == 0); /* blocks of every kind are there */
    NEED(growing = malloc(34 << 20));
    growing[0] = 1;
    if (c->prepare)
        c->prepare();
    memset(refused, 0, sizeof refused);
    refuse_every = c->every;
    refuse_errno = c->error;
    refuse_mask = c->mask;
    failed = traffic(2, 20000) + demand();
    /* some blocks go while calls are refused, the rest when they no longer are */
    for (int i = 0; i < HELD; i += 2)
        if (held[i])
            release(i);
    malloc_trim(0);
    printf("%s: %d requests failed; refused", c->name, failed);
    for (int kind = 0; kind < KINDS; kind++) {
        printf(" %s %u", names[kind], refused[kind]);
        NEED(refused[kind] || !usual || !(c->expect >> kind & 1)); /* or nothing was put to the test */
    }
    NEED(failed >= c->fails || !usual);
    refuse_mask = 0;
    if (c->undo)
        c->undo();
    NEED(traffic(3, 3000) + demand() == 0);
    release_all();
    after = address_bytes();
    printf("; %zu KiB of addresses before, %zu after\n", before >> 10, after >> 10);
    /* a mapping that had to be aligned, and what stdio and the registry of mappings have taken */
    NEED(after <= before + (1 << 20) || !usual);
}

int main(void)
{
    int status;

    setvbuf(stdout, NULL, _IOLBF, 4096);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pid_t child = fork();

        if (child == 0) {
            alarm(300);
            run_case(&cases[i]);
            fflush(stdout);
            _exit(0);
        }
        NEED(waitpid(child, &status, 0) == child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
            printf("%s: not possible here\n", cases[i].name);
        else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fprintf(stderr, "%s: failed\n", cases[i].name), abort();
    }
    return 0;
}
