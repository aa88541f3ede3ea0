/* source.c: where a block's pages come from; see <loam/source.h>.
 *
 * A fixed source stands at the head of the memory that it hands out, and a buddy places requests in the rest:
 *
 *   memory                                                        memory + bytes
 *   | pad | struct fixed_source | buddy's metadata | pad | unit 0 | unit 1 | ... | pad |
 *                                                        ^ base, aligned to a grain
 *
 * Invariant: free units are those of the buddy (lm_buddy_check); used_units + free_units == units. A shared source is
 * a fixed one in a mapping of its own. Locks: a fixed source's own, rank LM_RANK_SOURCE, under a block's. */
#include "block/block.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIXED_NO_FD = -1 };
#define HUGE_PAGE ((size_t)2 << 20)

struct fixed_source {
    struct loam_source source;
    struct lm_lock lock;
    struct lm_buddy buddy;
    char *base;
    void *mapping; /* of a shared source */
    size_t mapping_bytes;
    int fd;
};

/* -- loam's own arena ------------------------------------------------------------------------------------- */

static uint32_t source_granules(size_t bytes)
{
    return (uint32_t)(lm_align_up(bytes, LM_GRANULE) >> LM_GRANULE_SHIFT);
}

static void *source_map_arena(size_t bytes, size_t align)
{
    struct lm_span *span;
    bool zeroed;

    if (bytes >= (size_t)LM_MAX_GRANULES << LM_GRANULE_SHIFT || align >= (size_t)LM_MAX_GRANULES << LM_GRANULE_SHIFT) {
        errno = ENOMEM;
        return NULL;
    }
    span = lm_span_alloc(source_granules(bytes), source_granules(align), LM_BLOCK, &zeroed);
    return span ? lm_span_start(span) : NULL;
}

void *lm_source_map(const struct loam_source *source, size_t bytes, size_t align)
{
    LM_ASSERT(bytes && bytes % LOAM_SOURCE_GRAIN == 0 && lm_is_power2(align) && align >= LOAM_SOURCE_GRAIN);
    return source ? source->map(source->ctx, bytes, align) : source_map_arena(bytes, align);
}

void lm_source_unmap(const struct loam_source *source, void *p, size_t bytes)
{
    if (!source)
        lm_span_free(lm_span_of(p));
    else if (source->unmap)
        source->unmap(source->ctx, p, bytes);
}

void lm_source_purge(const struct loam_source *source, void *p, size_t bytes)
{
    size_t page = lm_os_page_size();
    uintptr_t start = lm_align_up((uintptr_t)p, page), end = lm_align_down((uintptr_t)p + bytes, page);

    if (source && source->purge)
        source->purge(source->ctx, p, bytes);
    else if (!source && start < end)
        lm_os_purge((void *)start, end - start); /* refused: the contents may be anything, which is allowed */
}

/* -- the operating system ----------------------------------------------------------------------------------- */

static void *source_os_map(void *ctx, size_t bytes, size_t align)
{
    size_t page = lm_os_page_size(), whole = lm_align_up(bytes, page);

    (void)ctx;
    if (whole < bytes) {
        errno = ENOMEM;
        return NULL;
    }
    return lm_os_map(whole, lm_max(align, page));
}

static void source_os_unmap(void *ctx, void *p, size_t bytes)
{
    size_t whole = lm_align_up(bytes, lm_os_page_size());

    (void)ctx;
    if (!lm_os_unmap(p, whole)) /* too many mappings to split one: the memory at least goes back */
        lm_os_purge(p, whole);
}

static void source_os_purge(void *ctx, void *p, size_t bytes)
{
    size_t page = lm_os_page_size();
    uintptr_t start = lm_align_up((uintptr_t)p, page), end = lm_align_down((uintptr_t)p + bytes, page);

    (void)ctx;
    if (start < end)
        lm_os_purge((void *)start, end - start);
}

static void *source_huge_map(void *ctx, size_t bytes, size_t align)
{
    size_t whole = lm_align_up(bytes, HUGE_PAGE);
    void *p;

    (void)ctx;
    if (whole < bytes) {
        errno = ENOMEM;
        return NULL;
    }
    p = lm_os_map(whole, lm_max(align, HUGE_PAGE));
    if (p)
        lm_os_advise_huge(p, whole);
    return p;
}

static void source_huge_unmap(void *ctx, void *p, size_t bytes)
{
    source_os_unmap(ctx, p, lm_align_up(bytes, HUGE_PAGE));
}

/* Only whole huge pages: to return a part would split one. */
static void source_huge_purge(void *ctx, void *p, size_t bytes)
{
    uintptr_t start = lm_align_up((uintptr_t)p, HUGE_PAGE), end = lm_align_down((uintptr_t)p + bytes, HUGE_PAGE);

    if (start < end)
        source_os_purge(ctx, (void *)start, end - start);
}

LM_PUBLIC const struct loam_source *loam_source_os(void)
{
    static const struct loam_source os = {source_os_map, source_os_unmap, source_os_purge, NULL};

    return &os;
}

LM_PUBLIC const struct loam_source *loam_source_huge(void)
{
    static const struct loam_source huge = {source_huge_map, source_huge_unmap, source_huge_purge, NULL};

    return &huge;
}

/* -- the caller's memory -------------------------------------------------------------------------------------- */

static void *fixed_map(void *ctx, size_t bytes, size_t align)
{
    struct fixed_source *fixed = ctx;
    size_t units = bytes / LOAM_SOURCE_GRAIN, step = align / LOAM_SOURCE_GRAIN;
    uint32_t phase = (uint32_t)((uintptr_t)fixed->base / LOAM_SOURCE_GRAIN & (step - 1)), first = LM_BUDDY_NONE;

    lm_lock_take(&fixed->lock);
    if (units <= fixed->buddy.units && step <= fixed->buddy.units)
        first = lm_buddy_alloc_aligned(&fixed->buddy, (uint32_t)units, (uint32_t)step, phase);
    lm_lock_release(&fixed->lock);
    if (first != LM_BUDDY_NONE)
        return fixed->base + (size_t)first * LOAM_SOURCE_GRAIN;
    errno = ENOMEM;
    return NULL;
}

static void fixed_unmap(void *ctx, void *p, size_t bytes)
{
    struct fixed_source *fixed = ctx;
    uint32_t first = (uint32_t)((size_t)((char *)p - fixed->base) / LOAM_SOURCE_GRAIN);

    lm_lock_take(&fixed->lock);
    lm_buddy_free(&fixed->buddy, first, (uint32_t)(bytes / LOAM_SOURCE_GRAIN));
    lm_lock_release(&fixed->lock);
}

/* Of shared memory the file keeps its pages whatever the mapping says, unless a hole is made. */
static void shared_purge(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    madvise(p, bytes, MADV_REMOVE); /* refused: the memory stays, which is allowed */
}

LM_PUBLIC const struct loam_source *loam_source_fixed(void *memory, size_t bytes)
{
    char *end = (char *)memory + bytes;
    struct fixed_source *fixed = (void *)lm_align_up((uintptr_t)memory, LM_CACHE_LINE);
    size_t most = lm_min(bytes / LOAM_SOURCE_GRAIN, LM_BUDDY_MAX_UNITS), head, units;
    void *meta = fixed + 1;

    head = sizeof *fixed + 2 * LM_CACHE_LINE + lm_buddy_meta_bytes((uint32_t)most) + LOAM_SOURCE_GRAIN;
    units = bytes > head ? (bytes - head) / LOAM_SOURCE_GRAIN : 0;
    if (!memory || units == 0) {
        errno = EINVAL;
        return NULL;
    }
    units = lm_min(units, most);
    *fixed = (struct fixed_source){
        .source = {fixed_map, fixed_unmap, NULL, fixed},
        .lock = LM_LOCK_INIT(LM_RANK_SOURCE),
        .base = (char *)lm_align_down((uintptr_t)end, LOAM_SOURCE_GRAIN) - units * LOAM_SOURCE_GRAIN,
        .fd = FIXED_NO_FD,
    };
    memset(meta, 0, lm_buddy_meta_bytes((uint32_t)units));
    lm_buddy_init(&fixed->buddy, (uint32_t)units, meta);
    lm_buddy_free(&fixed->buddy, 0, (uint32_t)units);
    return &fixed->source;
}

/* The fixed source that `source` is, or NULL. */
static struct fixed_source *source_fixed(const struct loam_source *source)
{
    return source && source->map == fixed_map ? source->ctx : NULL;
}

LM_PUBLIC const struct loam_source *loam_source_shared(const char *name, size_t bytes)
{
    size_t whole = lm_align_up(bytes, lm_os_page_size());
    int fd = memfd_create(name ? name : "loam", MFD_CLOEXEC), saved;
    const struct loam_source *source = NULL;
    void *memory;

    if (fd < 0)
        return NULL;
    if (whole < bytes || ftruncate(fd, (off_t)whole) != 0) {
        saved = whole < bytes ? ENOMEM : errno;
    } else if ((memory = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
        saved = errno;
    } else if (!(source = loam_source_fixed(memory, whole))) {
        saved = errno;
        munmap(memory, whole);
    } else {
        struct fixed_source *fixed = source_fixed(source);

        fixed->source.purge = shared_purge;
        fixed->mapping = memory;
        fixed->mapping_bytes = whole;
        fixed->fd = fd;
        return source;
    }
    close(fd);
    errno = saved;
    return NULL;
}

LM_PUBLIC int loam_source_fd(const struct loam_source *source)
{
    const struct fixed_source *fixed = source_fixed(source);

    if (fixed && fixed->fd != FIXED_NO_FD)
        return fixed->fd;
    errno = EINVAL;
    return -1;
}

LM_PUBLIC size_t loam_source_used_bytes(const struct loam_source *source)
{
    struct fixed_source *fixed = source_fixed(source);
    size_t units;

    if (!fixed)
        return 0;
    lm_lock_take(&fixed->lock);
    units = fixed->buddy.units - fixed->buddy.free_units;
    lm_lock_release(&fixed->lock);
    return units * LOAM_SOURCE_GRAIN;
}

LM_PUBLIC void loam_source_close(const struct loam_source *source)
{
    struct fixed_source *fixed = source_fixed(source);

    if (fixed && fixed->fd != FIXED_NO_FD) {
        int fd = fixed->fd;

        munmap(fixed->mapping, fixed->mapping_bytes); /* the structure stands in it */
        close(fd);
    }
}

/* -- misuse ------------------------------------------------------------------------------------------------------ */

void lm_block_misuse(const char *block, const char *fault, const void *p)
{
    char buffer[800];
    struct lm_text text = {buffer, sizeof buffer, 0};

    lm_text_add(&text, "loam: %s: %s: %p", block, fault, p);
    lm_text_add(&text, ". Run the program again under valgrind or an address sanitizer to find the place.");
    if (lm_misuse_hook)
        lm_misuse_hook(buffer);
    lm_die("%s\n", buffer);
}
