/* report.c: see report.h. The file is opened and closed by bare system calls: libc's are cancellation points, and this
 * happens inside the first malloc, with a lock held. */
#include "front/report.h"
#include "front/front.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct lm_report *report_file;
static struct lm_counts report_unread; /* where a fork's child counts */

/* Threads that end do this at the same time. */
static struct lm_lock report_lock = LM_LOCK_INIT(LM_RANK_META);

static void report_claim(const struct lm_claim *claim)
{
    struct lm_claim *place;

    if (!report_file)
        return;
    lm_lock_take(&report_lock);
    place = report_file->thread;
    for (size_t i = 1; i < LM_REPORT_THREADS && place->thread; i++) /* a free one, or that of the least */
        if (!report_file->thread[i].thread || report_file->thread[i].held_bytes < place->held_bytes)
            place = &report_file->thread[i];
    report_file->threads++;
    if (!place->thread || place->held_bytes < claim->held_bytes)
        *place = *claim;
    lm_lock_release(&report_lock);
}

static void report_write(enum lm_report_state state)
{
    if (!report_file)
        return;
    lm_os_counters(report_file->os);
    report_file->state = state;
}

static void report_misuse(const char *text)
{
    if (!report_file)
        return;
    strncpy(report_file->misuse, text, sizeof report_file->misuse - 1);
    report_write(LM_REPORT_ABORTED);
}

void lm_report_start(void)
{
    const char *path = lm_os_is_secure() ? NULL : lm_os_environment("LOAM_REPORT");
    struct lm_report *file;
    uint32_t pid, nobody = 0;
    int saved = errno, fd;

    if (!path || (fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC)) < 0) {
        errno = saved;
        return;
    }
    pid = (uint32_t)getpid();
    file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    errno = saved;
    if (file == MAP_FAILED)
        return;
    if (memcmp(file->magic, LM_REPORT_MAGIC, sizeof file->magic) != 0 || file->version != LM_REPORT_VERSION ||
        file->bytes != sizeof *file ||
        (!__atomic_compare_exchange_n(&file->pid, &nobody, pid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED) &&
            nobody != pid)) {
        munmap(file, sizeof *file);
        return;
    }
    memset(&file->counts, 0, sizeof file->counts);
    report_file = file;
    lm_counts = &file->counts;
    lm_misuse_hook = report_misuse;
    lm_claim_hook = report_claim;
    report_write(LM_REPORT_RUNNING);
}

void lm_report_detach(void)
{
    report_file = NULL;
    lm_claim_hook = NULL;
    lm_lock_reset(&report_lock);
    lm_counts = &report_unread;
}

__attribute__((destructor)) static void report_finish(void)
{
    static LM_APART struct lm_claim alive[LM_CLAIMS];
    size_t count = report_file ? lm_heap_claims(alive, LM_CLAIMS) : 0;

    for (size_t i = 0; i < count; i++)
        report_claim(&alive[i]);
    report_write(LM_REPORT_FINISHED);
}
