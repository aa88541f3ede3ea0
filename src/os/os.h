/* os.h: all that loam asks of the operating system.
 *
 * Contract of the page functions: sizes are multiples of lm_os_page_size(), failures return NULL or false
 * with errno set by the kernel and leave everything as it was. All are thread safe and async-signal-safe,
 * none allocates; successful calls and their bytes are counted (lm_os_counters).
 * os/fake.h interposes on these functions in tests (linker --wrap), fails the n-th call of a kind and
 * limits the address space. */
#ifndef LM_OS_H
#define LM_OS_H

#include "base/base.h"

/* -- pages ------------------------------------------------------------------------------------------ */

/* The page size of the running kernel in bytes (4, 16 or 64 KiB), without a system call. */
size_t lm_os_page_size(void);

/* Address space without memory behind it: PROT_NONE, no swap reserved, aligned to `align` (a power of
 * two >= page size). NULL with ENOMEM when the space or a limit refuses it. */
void *lm_os_reserve(size_t bytes, size_t align);

/* Makes a part of a reserve readable and writable; fresh pages read as zero. */
bool lm_os_commit(void *p, size_t bytes);

/* Readable, writable, zeroed memory, aligned to `align`. */
void *lm_os_map(size_t bytes, size_t align);

/* Gives a reserve or mapping back, or a page-aligned part of one. false (ENOMEM) when the kernel cannot
 * split a mapping (vm.max_map_count): the range is then still mapped. */
bool lm_os_unmap(void *p, size_t bytes);

/* Grows or shrinks a mapping of lm_os_map with mremap, moving it when `may_move`. Returns its address or
 * NULL (it is then unchanged). New pages read as zero. */
void *lm_os_remap(void *p, size_t old_bytes, size_t new_bytes, bool may_move);

/* Moves the memory of a range inside a mapping into a mapping of its own, of new_bytes (more than `bytes`), without copying it
 * or faulting it in (move.c). The range stays mapped and reads as zero; the rest of the new mapping does, too. NULL, and nothing has
 * changed: the kernel does not do it, or will not now. Keeps errno. */
void *lm_os_move(void *p, size_t bytes, size_t new_bytes);

/* The same into a mapping of the same size; NULL: ENOSYS, the kernel does not know how; EAGAIN, the pages are locked, and all of the mapping
 * that they are in would not be any more; or another error of mremap. For move.c. */
void *lm_os_detach(void *p, size_t bytes);

/* Returns the memory behind a range now (MADV_DONTNEED); it stays mapped and reads as zero afterwards.
 * false when the kernel refused (locked pages): the contents are then unspecified. */
bool lm_os_purge(void *p, size_t bytes);

/* The same for many ranges, in order, by as few calls as the kernel and its filters allow (purge.c); how many of the first
 * were returned. Fewer than `count`: the range behind them was refused (its contents are unspecified, errno says why), and what
 * follows it was not tried. */
struct lm_os_range { /* laid out like struct iovec */
    void *start;
    size_t bytes;
};
size_t lm_os_purge_all(const struct lm_os_range *ranges, size_t count);

/* One call for up to LM_OS_RANGES of them: the bytes of the first ones that were returned; 0: none (errno: the first was refused,
 * or the kernel does not have this). For purge.c. */
enum { LM_OS_RANGES = 1024 };
size_t lm_os_purge_vector(const struct lm_os_range *ranges, size_t count);

/* Advice that may be ignored: back the range with huge pages; fault it in now for writing. */
void lm_os_advise_huge(void *p, size_t bytes);
bool lm_os_populate(void *p, size_t bytes);

/* Faults a range in and keeps it there (mlock); false: a limit forbids it, and some of it may be there. */
bool lm_os_lock(void *p, size_t bytes);

/* What a huge page covers at the least: on x86-64, and on aarch64 with pages of 4 KiB; elsewhere more, where advice for
 * a smaller range is ignored. */
#define LM_HUGE_PAGE ((size_t)2 << 20)

/* -- threads, time, chance --------------------------------------------------------------------------- */

unsigned lm_os_cpu(void);       /* the CPU the caller runs on just now */
unsigned lm_os_cpu_count(void); /* CPUs the process may run on, at least 1 */
uint64_t lm_os_thread_id(void); /* the kernel's id of the calling thread */
void lm_os_yield(void);

/* Has every CPU that runs a thread of the process pass a full memory barrier before it returns (membarrier), so that
 * stores and loads of theirs that are in order for the compiler are so for the caller as well. lm_os_has_barrier: the
 * kernel has it. */
bool lm_os_has_barrier(void);
void lm_os_barrier(void);

/* Milliseconds of a monotonic, coarse clock (a few ns a call, granularity 1-4 ms); never 0. */
uint64_t lm_os_clock_ms(void);

/* 64 random bits for secrets: from the auxiliary vector (AT_RANDOM) mixed with getrandom when that is
 * absent; no system call on the usual path. Differs from process to process, not from call to call: the
 * salt makes different secrets. */
uint64_t lm_os_random(uint64_t salt);

/* Waits while *word == seen; returns at once when it differs, and on spurious wake-ups. */
void lm_os_wait(uint32_t *word, uint32_t seen);
void lm_os_wake(uint32_t *word, unsigned count);

/* -- limits ------------------------------------------------------------------------------------------- */

/* The memory the process may use in bytes: the least of the physical memory and the limits of its cgroup
 * and all the ancestors (v1 memory.limit_in_bytes, v2 memory.max and memory.high). Reads files without
 * malloc or stdio; the first call costs a few system calls, later ones are free. */
size_t lm_os_memory_limit(void);

/* RLIMIT_AS in bytes, or SIZE_MAX. One system call. */
size_t lm_os_address_limit(void);

/* True when the process gained privileges at exec (AT_SECURE): the environment must not be believed. */
bool lm_os_is_secure(void);

/* True when somebody stands between the process and its kernel, or when that cannot be told: a filter of system calls (seccomp), which
 * may answer one that it does not know with death; an emulator (valgrind, qemu), which may print that it does not know it. A
 * few system calls. */
bool lm_os_is_watched(void);

/* Of a call that older kernels do not have, or that whoever stands in between may not know: whether it is tried. `way` is the caller's,
 * atomic, LM_OS_UNKNOWN at first; LM_OS_WITHOUT once it has been found not to serve. Who races at UNKNOWN finds the same. */
enum { LM_OS_UNKNOWN, LM_OS_WITH, LM_OS_WITHOUT };
LM_INLINE bool lm_os_may_try(uint8_t *way)
{
    uint8_t seen = __atomic_load_n(way, __ATOMIC_RELAXED);

    if (LM_UNLIKELY(seen == LM_OS_UNKNOWN)) {
        seen = lm_os_is_watched() ? LM_OS_WITHOUT : LM_OS_WITH;
        __atomic_store_n(way, seen, __ATOMIC_RELAXED); /* over a WITHOUT of this moment: one more refusal */
    }
    return seen == LM_OS_WITH;
}

/* The value of an environment variable, from the process's environ (usable before libc is set up), or
 * NULL. */
const char *lm_os_environment(const char *name);

/* -- what was asked ----------------------------------------------------------------------------------- */

enum lm_os_call {
    LM_OS_RESERVE,
    LM_OS_COMMIT,
    LM_OS_MAP,
    LM_OS_UNMAP,
    LM_OS_REMAP,
    LM_OS_PURGE,
    LM_OS_ADVISE,
    LM_OS_CALLS
};

struct lm_os_counter {
    uint64_t calls; /* that succeeded */
    uint64_t failed;
    uint64_t bytes; /* by calls that succeeded; for remap the growth or shrinkage */
};

/* A snapshot, each counter by itself exact. */
void lm_os_counters(struct lm_os_counter out[LM_OS_CALLS]);

/* -- restartable sequences ----------------------------------------------------------------------------- */

#include "os/rseq.h"

#endif
