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
    report_write(LM_REPORT_RUNNING);
}

void lm_report_detach(void)
{
    report_file = NULL;
    lm_counts = &report_unread;
}

__attribute__((destructor)) static void report_finish(void)
{
    report_write(LM_REPORT_FINISHED);
}
