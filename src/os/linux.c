/* linux.c: pages, threads, time and chance, by the system calls of Linux. See os.h for the contract.
 *
 * Counters are relaxed atomics, touched only beside a system call. */
#include "os/os.h"

#include <errno.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440 /* on every architecture */
#endif

/* The kernel's numbers, here because musl's compiler wrapper sees no kernel headers. Private: never between processes. */
enum { OS_MYSELF = -10001 }; /* PIDFD_SELF_THREAD_GROUP */
enum { OS_WAIT = 0 | 128, OS_WAKE = 1 | 128 };
enum { OS_BARRIER = 1 << 3, OS_BARRIER_REGISTER = 1 << 4 }; /* MEMBARRIER_CMD_[REGISTER_]PRIVATE_EXPEDITED */
enum { OS_STORES_MS = 10 };                                 /* longer than any store waits to be seen */
enum { OS_MOST_CPUS = 8192 }; /* the largest NR_CPUS of x86-64; a mask too short for the kernel is an error */

static struct lm_os_counter os_counter[LM_OS_CALLS];

static void os_count(enum lm_os_call call, bool done, size_t bytes)
{
    lm_count_add(done ? &os_counter[call].calls : &os_counter[call].failed, 1);
    if (done)
        lm_count_add(&os_counter[call].bytes, bytes);
}

void lm_os_counters(struct lm_os_counter out[LM_OS_CALLS])
{
    for (int i = 0; i < LM_OS_CALLS; i++) {
        out[i].calls = __atomic_load_n(&os_counter[i].calls, __ATOMIC_RELAXED);
        out[i].failed = __atomic_load_n(&os_counter[i].failed, __ATOMIC_RELAXED);
        out[i].bytes = __atomic_load_n(&os_counter[i].bytes, __ATOMIC_RELAXED);
    }
}

size_t lm_os_page_size(void)
{
    static size_t cached;
    size_t bytes = __atomic_load_n(&cached, __ATOMIC_RELAXED);

    if (bytes)
        return bytes;
    bytes = getauxval(AT_PAGESZ);
    __atomic_store_n(&cached, bytes, __ATOMIC_RELAXED); /* whoever races stores the same */
    return bytes;
}

/* An aligned mapping: as it comes when it happens to be aligned; else a larger one whose ends are given back.
 * At max_map_count an end may refuse to go, for a new mapping may have merged with its neighbours; then all of it
 * goes back, which leaves no more mappings than there were and so is not refused. Where even that is (a filter of
 * system calls), the mapping is used with its ends, and the first try, which may have to be given back, is not made
 * again: what is lost is address space that was never touched, once. */
static void *os_map_aligned(size_t bytes, size_t align, int protection, int flags)
{
    static bool never_back; /* atomic; a hint */
    int saved = errno;
    size_t head, tail;
    char *p;

    if (align <= lm_os_page_size() || !__atomic_load_n(&never_back, __ATOMIC_RELAXED)) {
        p = mmap(NULL, bytes, protection, flags, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        if (((uintptr_t)p & (align - 1)) == 0)
            return p;
        if (munmap(p, bytes) != 0)
            __atomic_store_n(&never_back, true, __ATOMIC_RELAXED);
    }
    if (bytes + align < bytes) {
        errno = ENOMEM;
        return NULL;
    }
    p = mmap(NULL, bytes + align, protection, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    head = (size_t)(-(uintptr_t)p & (align - 1));
    tail = align - head;
    if (((head && munmap(p, head) != 0) || (tail && munmap(p + head + bytes, tail) != 0)) &&
        munmap(p, bytes + align) == 0) { /* holes in it do not matter */
        errno = ENOMEM;
        return NULL;
    }
    errno = saved;
    return p + head;
}

void *lm_os_reserve(size_t bytes, size_t align)
{
    void *p = os_map_aligned(bytes, align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

    os_count(LM_OS_RESERVE, p, bytes);
    return p;
}

bool lm_os_commit(void *p, size_t bytes)
{
    bool done = mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0;

    os_count(LM_OS_COMMIT, done, bytes);
    return done;
}

void *lm_os_map(size_t bytes, size_t align)
{
    void *p = os_map_aligned(bytes, align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);

    os_count(LM_OS_MAP, p, bytes);
    return p;
}

bool lm_os_unmap(void *p, size_t bytes)
{
    bool done = munmap(p, bytes) == 0;

    os_count(LM_OS_UNMAP, done, bytes);
    return done;
}

void *lm_os_remap(void *p, size_t old_bytes, size_t new_bytes, bool may_move)
{
    void *q = mremap(p, old_bytes, new_bytes, may_move ? MREMAP_MAYMOVE : 0);
    bool done = q != MAP_FAILED;

    os_count(LM_OS_REMAP, done, new_bytes > old_bytes ? new_bytes - old_bytes : old_bytes - new_bytes);
    return done ? q : NULL;
}

void *lm_os_detach(void *p, size_t bytes)
{
    /* advice that changes no contents, and is refused where pages are locked */
    bool loose = madvise(p, lm_os_page_size(), MADV_COLD) == 0;
    void *q;

    os_count(LM_OS_ADVISE, loose, 0);
    if (!loose) {
        errno = EAGAIN;
        return NULL;
    }
    q = mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    os_count(LM_OS_REMAP, q != MAP_FAILED, 0);
    if (q != MAP_FAILED)
        return q;
    if (errno == EINVAL)
        errno = ENOSYS;
    return NULL;
}

bool lm_os_purge(void *p, size_t bytes)
{
    bool done = madvise(p, bytes, MADV_DONTNEED) == 0;

    os_count(LM_OS_PURGE, done, bytes);
    return done;
}

_Static_assert(sizeof(struct lm_os_range) == sizeof(struct iovec) &&
        offsetof(struct lm_os_range, start) == offsetof(struct iovec, iov_base) &&
        offsetof(struct lm_os_range, bytes) == offsetof(struct iovec, iov_len),
    "the kernel reads ranges as they are");

size_t lm_os_purge_vector(const struct lm_os_range *ranges, size_t count)
{
    long bytes = syscall(SYS_process_madvise, OS_MYSELF, ranges, count, MADV_DONTNEED, 0);

    os_count(LM_OS_PURGE, bytes > 0, (size_t)bytes);
    return bytes > 0 ? (size_t)bytes : 0;
}

void lm_os_advise_huge(void *p, size_t bytes)
{
    int saved = errno;

    os_count(LM_OS_ADVISE, madvise(p, bytes, MADV_HUGEPAGE) == 0, bytes);
    errno = saved;
}

bool lm_os_populate(void *p, size_t bytes)
{
    static bool unknown; /* atomic; a hint: the kernel is older than 5.14 */
    int saved = errno;
    bool done;

    if (__atomic_load_n(&unknown, __ATOMIC_RELAXED))
        return false;
    done = madvise(p, bytes, MADV_POPULATE_WRITE) == 0;
    if (!done && errno == EINVAL)
        __atomic_store_n(&unknown, true, __ATOMIC_RELAXED);
    os_count(LM_OS_ADVISE, done, bytes);
    errno = saved;
    return done;
}

bool lm_os_lock(void *p, size_t bytes)
{
    int saved = errno;
    bool done = mlock(p, bytes) == 0;

    os_count(LM_OS_ADVISE, done, bytes);
    errno = saved;
    return done;
}

unsigned lm_os_cpu(void)
{
    int cpu = sched_getcpu();

    return cpu < 0 ? 0 : (unsigned)cpu;
}

unsigned lm_os_cpu_count(void)
{
    unsigned long mask[OS_MOST_CPUS / (8 * sizeof(unsigned long))];
    int saved = errno;
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    unsigned count = 0;

    for (long i = 0; i < bytes / (long)sizeof mask[0]; i++)
        for (unsigned long word = mask[i]; word; word &= word - 1)
            count++;
    errno = saved;
    return count ? count : 1;
}

uint64_t lm_os_thread_id(void)
{
    return (uint64_t)syscall(SYS_gettid);
}

void lm_os_yield(void)
{
    sched_yield();
}

bool lm_os_has_barrier(void)
{
    int saved = errno;
    long commands = syscall(SYS_membarrier, 0, 0, 0);

    errno = saved;
    return commands > 0 && commands & OS_BARRIER;
}

void lm_os_barrier(void)
{
    int saved = errno;
    bool done = syscall(SYS_membarrier, OS_BARRIER, 0, 0) == 0;

    if (!done && errno == EPERM && syscall(SYS_membarrier, OS_BARRIER_REGISTER, 0, 0) == 0)
        done = syscall(SYS_membarrier, OS_BARRIER, 0, 0) == 0;
    if (!done) { /* forbidden since it was asked for: by then every CPU has written out what it had stored before */
        uint64_t start = lm_os_clock_ms();

        while (lm_os_clock_ms() - start < OS_STORES_MS)
            sched_yield();
    }
    errno = saved;
}

uint64_t lm_os_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every input bit moves every output bit. */
static uint64_t os_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t lm_os_random(uint64_t salt)
{
    const unsigned char *from_kernel = (const unsigned char *)getauxval(AT_RANDOM); /* 16 bytes */
    uint64_t seed[2] = {0, 0};
    int saved = errno;

    if (from_kernel)
        __builtin_memcpy(seed, from_kernel, sizeof seed);
    else if (getrandom(seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed[0] = (uintptr_t)&salt ^ lm_os_clock_ms(); /* where the stack lies is all that is left */
    errno = saved;
    return os_mix(seed[0] ^ os_mix(seed[1] + salt));
}

void lm_os_wait(uint32_t *word, uint32_t seen)
{
    int saved = errno;

    syscall(SYS_futex, word, OS_WAIT, seen, NULL, NULL, 0);
    errno = saved;
}

void lm_os_wake(uint32_t *word, unsigned count)
{
    int saved = errno;

    syscall(SYS_futex, word, OS_WAKE, count, NULL, NULL, 0);
    errno = saved;
}
