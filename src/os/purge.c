/* purge.c: memory of many ranges returned by one call.
 *
 * process_madvise takes an array of ranges, and since about Linux 6.15 also this advice, and the caller itself for a process. So
 * whether it serves is found out, once, and from then on known to all threads:
 *
 *   UNKNOWN ──> WITH ──> WITHOUT    a range was refused that a call of its own was granted for: the kernel, or a filter that
 *      │                              was put on later, does not know this
 *      └───────────────> WITHOUT    a filter of system calls is there, or an emulator (lm_os_is_watched)
 *
 * A refused array is tried again range by range, so what the caller hears is exact in any case. Who races at UNKNOWN finds the
 * same. No locks, no atomic instruction (a process of one thread executes none). Fork: a child knows what its parent knew. */
#include "os/os.h"

#include <errno.h>

static uint8_t purge_way; /* atomic */

/* By one call: how many of the first ranges were returned; 0, and why: none. */
static size_t purge_by_vector(const struct lm_os_range *ranges, size_t count, int *error)
{
    size_t bytes, done = 0;

    errno = 0;
    bytes = lm_os_purge_vector(ranges, lm_min(count, LM_OS_RANGES));
    *error = bytes ? 0 : errno;
    for (; done < count && bytes >= ranges[done].bytes; done++)
        bytes -= ranges[done].bytes;
    return done;
}

/* True of an error that may mean the call's kind, and not what it was to return. */
static bool purge_may_be_unknown(int error)
{
    return error && error != ENOMEM && error != EAGAIN && error != EINTR;
}

size_t lm_os_purge_all(const struct lm_os_range *ranges, size_t count)
{
    int saved = errno, error = 0;
    size_t done = 0, some;

    for (; done < count; done += some) {
        some = count - done > 1 && lm_os_may_try(&purge_way) ? purge_by_vector(ranges + done, count - done, &error) : 0;
        if (some)
            continue;
        if (!lm_os_purge(ranges[done].start, ranges[done].bytes))
            return done;
        if (purge_may_be_unknown(error)) /* what it refused is granted when asked for so */
            __atomic_store_n(&purge_way, LM_OS_WITHOUT, __ATOMIC_RELAXED);
        error = 0;
        some = 1;
    }
    errno = saved;
    return done;
}
