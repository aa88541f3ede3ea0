/* init.c: start-up and fork.
 *
 * Whatever comes first starts loam: a malloc from the loader, from an IFUNC resolver, from another library's
 * constructor, or loam's own constructor. Nothing here allocates.
 *
 * Fork: prepare takes every lock in rank order, so that no structure is half changed in the child; the parent
 * releases them in reverse; the child resets them and makes the vanished threads' slabs orphans. */
#include "block/block.h"
#include "front/front.h"
#include "front/options.h"
#include "front/report.h"

#include <pthread.h>
#include <unistd.h>

bool lm_started;
static struct lm_lock init_lock = LM_LOCK_INIT(LM_RANK_OPTIONS);

/* Policy steady: nothing that malloc and free touch is faulted in later: neither the reserve nor the library itself. */
static void init_reserve(void)
{
    /* the linker's, of this very library or program */
    extern const char __ehdr_start[] LM_HIDDEN __attribute__((weak)), _end[] LM_HIDDEN;
    static size_t done_bytes;
    size_t page = lm_os_page_size();
    char *image = (char *)lm_align_down((uintptr_t)__ehdr_start, page);

    if (lm_config.reserve_bytes <= done_bytes)
        return;
    done_bytes = lm_config.reserve_bytes;
    if (!lm_page_reserve(lm_config.reserve_bytes))
        lm_print(STDERR_FILENO,
            "loam: reserve: not all of %B could be locked in memory; RLIMIT_MEMLOCK may be too small\n",
            lm_config.reserve_bytes);
    else if (image)
        lm_os_lock(image, lm_align_up((size_t)(_end - image), page));
}

void lm_start_apply(void)
{
    lm_heap_configure();
    init_reserve();
    lm_scavenger_start();
}

void lm_start_slow(void)
{
    lm_lock_take(&init_lock);
    if (!lm_started) {
        lm_options_start();
        lm_report_start();
        lm_heap_start();
        lm_start_apply();
        __atomic_store_n(&lm_started, true, __ATOMIC_RELEASE); /* pairs with lm_start */
    }
    lm_lock_release(&init_lock);
}

/* In rank order, after those of object caches, private heaps and CPUs. */
static struct lm_lock *const fork_locks[] = {
    &init_lock, &lm_heaps_lock, &lm_orphans_lock, &lm_huge_lock, &lm_page_lock, &lm_meta_lock};
enum { FORK_LOCKS = sizeof fork_locks / sizeof fork_locks[0] };
static __thread bool fork_took __attribute__((tls_model("initial-exec")));

static void fork_prepare(void)
{
    /* A signal handler that forks may have interrupted this very thread inside a lock, or with mail in its hands. Waiting for the others
     * could then deadlock, so none is taken: the child of such a fork may only go on to exec anyway. */
    fork_took = !lm_remote_is_mine() && !lm_privates_fork_mine() && !lm_percpu_fork_mine() && !lm_caches_fork_mine();
    for (int i = 0; i < FORK_LOCKS; i++)
        if (lm_lock_is_mine(fork_locks[i]))
            fork_took = false;
    if (!fork_took)
        return;
    lm_caches_fork_take();
    lm_privates_fork_take();
    lm_percpu_fork_take();
    for (int i = 0; i < FORK_LOCKS; i++)
        lm_lock_take(fork_locks[i]);
}

static void fork_parent(void)
{
    if (!fork_took)
        return;
    for (int i = FORK_LOCKS; i-- > 0;)
        lm_lock_release(fork_locks[i]);
    lm_percpu_fork_release();
    lm_privates_fork_release();
    lm_caches_fork_release();
}

static void fork_child(void)
{
    for (int i = FORK_LOCKS; i-- > 0;)
        lm_lock_reset(fork_locks[i]);
    lm_percpu_fork_reset();
    lm_privates_fork_reset();
    lm_caches_fork_reset();
    lm_report_detach();
    lm_scavenger_after_fork();
    if (fork_took) {
        lm_heap_after_fork();
        lm_caches_after_fork();
    }
}

__attribute__((constructor)) static void init_process(void)
{
    lm_start();
    lm_scavenger_ready();
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}
