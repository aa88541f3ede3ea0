/* move.c: memory moved out of a mapping into one of its own, without a copy.
 *
 * mremap with MREMAP_DONTUNMAP (Linux 5.7) moves page tables, and leaves the place that it moves from mapped and empty, so that nobody else's
 * mapping can come to lie there meanwhile. An emulator may take that place for unmapped; so it is not tried where
 * lm_os_is_watched.
 *
 *   UNKNOWN ──> MOVES ──> COPIES    the kernel does not know this, or a filter forbids it
 *      └──────────────────> COPIES
 *
 * No locks. Who races at UNKNOWN finds the same. */
#include "os/os.h"

#include <errno.h>
#include <string.h>

enum { UNKNOWN, MOVES, COPIES };

static uint8_t move_way; /* atomic */

static bool move_is_possible(void)
{
    uint8_t way = __atomic_load_n(&move_way, __ATOMIC_RELAXED);

    if (LM_UNLIKELY(way == UNKNOWN)) {
        way = lm_os_is_watched() ? COPIES : MOVES;
        __atomic_store_n(&move_way, way, __ATOMIC_RELAXED);
    }
    return way == MOVES;
}

static void *move_out(void *p, size_t bytes, size_t new_bytes)
{
    void *q = lm_os_detach(p, bytes), *larger;

    if (!q) {
        if (errno == ENOSYS || errno == EPERM)
            __atomic_store_n(&move_way, COPIES, __ATOMIC_RELAXED);
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
    void *q = move_is_possible() ? move_out(p, bytes, new_bytes) : NULL;

    errno = saved;
    return q;
}
