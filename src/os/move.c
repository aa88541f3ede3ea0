/* move.c: memory moved out of a mapping into one of its own, without a copy.
 *
 * mremap with MREMAP_DONTUNMAP (Linux 5.7) moves page tables, and leaves the place that it moves from mapped and empty, so that nobody else's
 * mapping can come to lie there meanwhile. An emulator may take that place for unmapped; so whether it is tried is found out, once
 * (lm_os_may_try). No locks. */
#include "os/os.h"

#include <errno.h>
#include <string.h>

static uint8_t move_way; /* atomic */

static void *move_out(void *p, size_t bytes, size_t new_bytes)
{
    void *q = lm_os_detach(p, bytes), *larger;

    if (!q) {
        if (errno == ENOSYS || errno == EPERM)
            __atomic_store_n(&move_way, LM_OS_WITHOUT, __ATOMIC_RELAXED);
        return NULL;
    }
    larger = lm_os_remap(q, bytes, new_bytes, true);
    if (larger)
        return larger;
    memcpy(p, q, bytes);
    if (!lm_os_unmap(q, bytes))
        lm_os_purge(q, bytes); /* what is lost is address space */
    return NULL;
}

void *lm_os_move(void *p, size_t bytes, size_t new_bytes)
{
    int saved = errno;
    void *q = lm_os_may_try(&move_way) ? move_out(p, bytes, new_bytes) : NULL;

    errno = saved;
    return q;
}
