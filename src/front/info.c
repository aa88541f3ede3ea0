/* info.c: glibc's windows into malloc, showing this heap: mallinfo, mallinfo2, malloc_stats, malloc_info,
 * mallopt. The structures are declared here, because other C libraries' <malloc.h> lack them. */
#include "front/front.h"
#include "front/options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

struct lm_mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct lm_mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

LM_PUBLIC struct lm_mallinfo mallinfo(void);
LM_PUBLIC struct lm_mallinfo2 mallinfo2(void);
LM_PUBLIC void malloc_stats(void);
LM_PUBLIC int malloc_info(int options, FILE *stream);
LM_PUBLIC int mallopt(int parameter, int value);

/* arena: bytes of memory but for huge blocks; ordblks: free chunks; hblks, hblkhd: huge blocks and their bytes;
 * uordblks: bytes handed out but for huge blocks; fordblks: the rest of arena; keepcost: what malloc_trim would
 * return. */
struct lm_mallinfo2 mallinfo2(void)
{
    struct lm_page_stats pages;
    struct lm_heap_stats heap;
    struct lm_mallinfo2 info = {0};

    lm_page_stats(&pages);
    lm_heap_stats(&heap);
    info.arena = pages.used_bytes + pages.dirty_bytes;
    info.ordblks = heap.free_objects;
    info.hblks = heap.huge_blocks;
    info.hblkhd = heap.huge_bytes;
    info.uordblks = heap.small_live_bytes + heap.large_bytes;
    info.fordblks = info.arena - info.uordblks;
    info.keepcost = pages.dirty_bytes;
    return info;
}

static int info_clamp(size_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value;
}

struct lm_mallinfo mallinfo(void)
{
    struct lm_mallinfo2 info = mallinfo2();

    return (struct lm_mallinfo){
        .arena = info_clamp(info.arena),
        .ordblks = info_clamp(info.ordblks),
        .hblks = info_clamp(info.hblks),
        .hblkhd = info_clamp(info.hblkhd),
        .uordblks = info_clamp(info.uordblks),
        .fordblks = info_clamp(info.fordblks),
        .keepcost = info_clamp(info.keepcost),
    };
}

void malloc_stats(void)
{
    struct lm_mallinfo2 info = mallinfo2();
    struct lm_heap_stats heap;

    lm_heap_stats(&heap);
    lm_print(STDERR_FILENO,
        "loam: %zu thread heaps, %zu slabs, %zu large blocks\n"
        "system bytes     = %12zu\n"
        "in use bytes     = %12zu\n"
        "huge blocks      = %12zu\n"
        "huge bytes       = %12zu\n",
        heap.heaps - heap.idle_heaps, heap.slabs, heap.large_blocks, info.arena + info.hblkhd,
        info.uordblks + info.hblkhd, info.hblks, info.hblkhd);
}

/* XML in the shape that readers of glibc's version 1 expect: totals, with this heap as its one heap. */
int malloc_info(int options, FILE *stream)
{
    struct lm_mallinfo2 info = mallinfo2();
    struct lm_page_stats pages;

    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    lm_page_stats(&pages);
    fprintf(stream,
        "<malloc version=\"1\">\n"
        "<heap nr=\"0\">\n<sizes>\n</sizes>\n"
        "<total type=\"fast\" count=\"%zu\" size=\"%zu\"/>\n"
        "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
        "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
        "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n</heap>\n",
        info.ordblks, info.fordblks - info.keepcost, info.keepcost, info.arena, pages.peak_bytes, pages.reserved_bytes,
        pages.writable_bytes);
    fprintf(stream,
        "<total type=\"fast\" count=\"%zu\" size=\"%zu\"/>\n"
        "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
        "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
        "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
        "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n</malloc>\n",
        info.ordblks, info.fordblks - info.keepcost, info.keepcost, info.hblks, info.hblkhd, info.arena + info.hblkhd,
        pages.peak_bytes + info.hblkhd, pages.reserved_bytes + info.hblkhd, pages.writable_bytes + info.hblkhd);
    return ferror(stream) ? -1 : 0;
}

/* glibc's parameters. Those with a meaning here set the option that is nearest; those about structures that loam does
 * not have are accepted and change nothing. 1, or 0 for a parameter or value that is none. */
int mallopt(int parameter, int value)
{
    enum {
        MXFAST = 1,
        TRIM_THRESHOLD = -1,
        TOP_PAD = -2,
        MMAP_THRESHOLD = -3,
        MMAP_MAX = -4,
        CHECK_ACTION = -5,
        PERTURB = -6,
        ARENA_TEST = -7,
        ARENA_MAX = -8
    };
    static const size_t all_bytes = (size_t)1 << 46, never_ms = (size_t)1 << 40;

    lm_start();
    switch (parameter) {
    case TRIM_THRESHOLD: /* freed bytes that are kept; -1: all, and for ever */
        lm_config.dirty_bytes = value < 0 ? all_bytes : lm_max((size_t)value, LM_GRANULE);
        if (value < 0)
            lm_config.purge_ms = never_ms;
        return 1;
    case MMAP_THRESHOLD: /* blocks from here on are mappings */
        if (value < 0)
            return 0;
        lm_config.large_bytes = lm_max((size_t)value, 2 * LM_GRANULE);
        return 1;
    case MMAP_MAX: /* 0: no block is a mapping of its own, as far as an arena has room for it */
        if (value == 0)
            lm_config.large_bytes = all_bytes;
        return 1;
    case MXFAST:
        return value >= 0 && value <= 160;
    case TOP_PAD:
    case CHECK_ACTION:
    case PERTURB:
    case ARENA_TEST:
    case ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}
