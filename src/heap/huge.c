/* huge.c: blocks with a mapping of their own, and their registry.
 *
 * The registry is an open hash table of addresses, at most half full, in memory mapped for it; a block is found
 * only by its exact start. A block that was grown by realloc has address space to spare (mapped > bytes), so
 * that a block growing by small steps costs few calls; the spare is not touched and costs no memory.
 *
 * A kernel that is out of mappings (vm.max_map_count), or a filter of system calls, may refuse to unmap. The block then
 * stays in the table as a dead one, its memory returned, and is tried again whenever another block goes and when the
 * heap is trimmed; or it serves the next request that it fits.
 *
 * Invariant: every entry is a live mapping of `mapped` bytes, all of them loam's; between an entry's home slot
 * and its place no slot is empty; huge_count is the entries and the promises (huge_promise, huge_find), so that what
 * was promised can be entered whatever the kernel refuses by then. Lock: LM_RANK_HUGE guards the table; the mapping itself
 * belongs to the block's owner. A block leaves the table before it is unmapped, so that a second free finds nothing. */
#include "heap/room.h"

#include <errno.h>

struct huge_block {
    uintptr_t start; /* 0: empty */
    size_t bytes;    /* usable; 0: dead, the kernel would not unmap it yet */
    size_t mapped;
    bool soiled;    /* dead, and the kernel would not take its memory either */
    bool uncharged; /* it came from an arena, and the kernel does not weigh what it maps against what memory there is */
};

enum { HUGE_FIRST_SLOTS = 128, HUGE_LATELY = 16 };

struct lm_lock lm_huge_lock = LM_LOCK_INIT(LM_RANK_HUGE);

static struct huge_block *huge_table;
static size_t huge_slots, huge_count, huge_bytes;
static uint64_t huge_dead;
static LM_APART struct huge_block huge_lately[HUGE_LATELY]; /* freed blocks, only for reports */
static unsigned huge_lately_next;

static size_t huge_home(uintptr_t start)
{
    return (size_t)((start >> 12) * 0x9e3779b97f4a7c15u >> 20) & (huge_slots - 1);
}

/* The slot that holds a start, or the empty one where it would go. */
static struct huge_block *huge_slot(uintptr_t start)
{
    size_t i = huge_home(start);

    while (huge_table[i].start && huge_table[i].start != start)
        i = (i + 1) & (huge_slots - 1);
    return &huge_table[i];
}

/* Makes room for one more entry. */
static bool huge_reserve(void)
{
    struct huge_block *old = huge_table;
    size_t old_slots = huge_slots, bytes;

    if (old && (huge_count + 1) * 2 <= huge_slots)
        return true;
    huge_slots = old ? old_slots * 2 : HUGE_FIRST_SLOTS;
    bytes = lm_align_up(huge_slots * sizeof *old, lm_os_page_size());
    huge_table = lm_os_map(bytes, lm_os_page_size());
    if (!huge_table) {
        huge_table = old;
        huge_slots = old_slots;
        return old && huge_count + 1 < huge_slots; /* fuller than it should be, but it finds its entries */
    }
    for (size_t i = 0; old && i < old_slots; i++)
        if (old[i].start)
            *huge_slot(old[i].start) = old[i];
    bytes = lm_align_up(old_slots * sizeof *old, lm_os_page_size());
    if (old && !lm_os_unmap(old, bytes)) {
        *huge_slot((uintptr_t)old) = (struct huge_block){.start = (uintptr_t)old, .mapped = bytes, .soiled = true};
        huge_count++;
        huge_dead++;
    }
    return true;
}

/* Promises room for an entry; false: there is none. */
static bool huge_promise(void)
{
    bool done;

    lm_lock_take(&lm_huge_lock);
    done = huge_reserve();
    huge_count += done;
    lm_lock_release(&lm_huge_lock);
    return done;
}

static void huge_forgo(void)
{
    lm_lock_take(&lm_huge_lock);
    huge_count--;
    lm_lock_release(&lm_huge_lock);
}

/* Enters what room was promised for. */
static void huge_insert(struct huge_block block)
{
    lm_lock_take(&lm_huge_lock);
    *huge_slot(block.start) = block;
    huge_bytes += block.bytes;
    huge_dead += block.bytes == 0;
    lm_lock_release(&lm_huge_lock);
}

/* Empties a slot and closes the gap: entries behind it that it may not cut off from their home move up. */
static void huge_vacate(struct huge_block *slot)
{
    size_t hole = (size_t)(slot - huge_table);

    for (size_t i = (hole + 1) & (huge_slots - 1); huge_table[i].start; i = (i + 1) & (huge_slots - 1)) {
        size_t home = huge_home(huge_table[i].start);

        if (((i - home) & (huge_slots - 1)) >= ((i - hole) & (huge_slots - 1))) {
            huge_table[hole] = huge_table[i];
            hole = i;
        }
    }
    huge_table[hole].start = 0;
}

/* Looks a live block up; takes it out of the table as well when `take`, with room promised for its return. */
static bool huge_find(uintptr_t start, struct huge_block *out, bool take)
{
    struct huge_block *slot;
    bool found = false;

    lm_lock_take(&lm_huge_lock);
    if (huge_table && (slot = huge_slot(start))->start == start && slot->bytes) {
        found = true;
        *out = *slot;
        if (take) {
            huge_bytes -= slot->bytes;
            huge_vacate(slot);
        }
    }
    lm_lock_release(&lm_huge_lock);
    return found;
}

/* Tries again to unmap dead blocks. */
void lm_huge_bury(void)
{
    if (!__atomic_load_n(&huge_dead, __ATOMIC_RELAXED)) /* a hint; the lock decides */
        return;
    lm_lock_take(&lm_huge_lock);
    for (size_t i = 0; i < huge_slots && huge_dead; i++) {
        struct huge_block *slot = &huge_table[i];

        if (!slot->start || slot->bytes)
            continue;
        if (!lm_os_unmap((void *)slot->start, slot->mapped))
            break;
        huge_vacate(slot);
        huge_count--;
        huge_dead--;
        i--; /* another entry may have moved here */
    }
    lm_lock_release(&lm_huge_lock);
}

/* Takes a dead block that holds a request without being twice as large, zeroed; room for its return is promised. */
static bool huge_revive(size_t bytes, size_t align, struct huge_block *out)
{
    bool found = false;

    if (!__atomic_load_n(&huge_dead, __ATOMIC_RELAXED))
        return false;
    lm_lock_take(&lm_huge_lock);
    for (size_t i = 0; i < huge_slots && !found; i++) {
        struct huge_block *slot = &huge_table[i];

        if (!slot->start || slot->bytes || slot->start & (align - 1) || slot->mapped < bytes ||
            slot->mapped / 2 > bytes)
            continue;
        *out = *slot;
        huge_vacate(slot);
        huge_dead--;
        found = true;
    }
    lm_lock_release(&lm_huge_lock);
    if (found && out->soiled)
        __builtin_memset((void *)out->start, 0, bytes);
    return found;
}

/* Whether a block gets huge pages, of at least so many bytes: asked for early, they are wanted everywhere; late, only where the
 * heap is sure to fill them. */
static bool huge_is_wanted(size_t bytes, size_t least)
{
    return lm_config.huge_bytes && lm_config.huge_bytes <= lm_config.large_bytes && bytes >= least;
}

enum {
    GROWN_LEAST = 4 * LM_HUGE_PAGE, /* of a block that grew */
    STEP_MOST = 1 << 30,
};

/* More than there is memory for: the kernel is to say whether the process may have that, and does where it charges for it. */
static bool huge_is_too_much(const struct huge_block *block, size_t bytes)
{
    return block->uncharged && bytes > lm_os_memory_limit();
}

/* Address space for a block that has grown: an eighth more, or twice what it grew by, at most as much as it has or a gibibyte, so that
 * one that grows by a half is remapped at every other step. Where it is to have huge pages, whole ones, for the kernel then places it at the beginning of one;
 * the last may stay partly empty, which is little of 8 MiB. */
static size_t huge_spare(size_t from, size_t bytes)
{
    size_t spare = lm_max(bytes / 8, lm_min(2 * (bytes - from), lm_min(bytes, STEP_MOST)));
    size_t mapped = bytes + lm_align_up(spare, lm_os_page_size());

    if (huge_is_wanted(bytes, GROWN_LEAST))
        mapped = lm_align_up(mapped, LM_HUGE_PAGE);
    return mapped - bytes;
}

/* Memory for a block, with address space to spare if that can be had. */
static bool huge_map(struct huge_block *block, size_t bytes, size_t spare, size_t align)
{
    if (!huge_promise())
        return false;
    block->mapped = bytes + spare;
    block->start = (uintptr_t)lm_os_map(block->mapped, align);
    if (!block->start && spare) {
        block->mapped = bytes;
        block->start = (uintptr_t)lm_os_map(bytes, align);
    }
    if (!block->start)
        huge_forgo();
    return block->start != 0;
}

void *lm_huge_malloc(size_t bytes, size_t from, size_t align)
{
    struct huge_block block = {0};
    bool in_huge_pages = huge_is_wanted(bytes, LM_HUGE_PAGE);

    align = lm_max(align, in_huge_pages ? LM_HUGE_PAGE : lm_os_page_size());
    if (!huge_revive(bytes, align, &block) && !huge_map(&block, bytes, from ? huge_spare(from, bytes) : 0, align)) {
        errno = ENOMEM;
        return NULL;
    }
    block.soiled = false;
    if (in_huge_pages)
        lm_os_advise_huge((void *)block.start, bytes);
    block.bytes = bytes;
    huge_insert(block);
    return (void *)block.start;
}

void *lm_huge_take(struct lm_span *span, size_t bytes)
{
    size_t from = span->large.bytes;
    struct huge_block block = {.bytes = bytes, .mapped = bytes + huge_spare(from, bytes), .uncharged = true};

    if (huge_is_wanted(bytes, LM_HUGE_PAGE) || huge_is_too_much(&block, bytes) || !huge_promise())
        return NULL;
    block.start = (uintptr_t)lm_span_move(span, block.mapped);
    if (!block.start) {
        huge_forgo();
        return NULL;
    }
    huge_insert(block);
    return (void *)block.start;
}

bool lm_huge_free(void *p)
{
    struct huge_block block;

    if (!huge_find((uintptr_t)p, &block, true))
        return false;
    if (lm_config.stats)
        lm_count_free(block.bytes);
    lm_lock_take(&lm_huge_lock);
    huge_lately[huge_lately_next++ % HUGE_LATELY] = block;
    lm_lock_release(&lm_huge_lock);
    if (lm_os_unmap(p, block.mapped)) {
        huge_forgo();
        lm_huge_bury();
        return true;
    }
    block.soiled = !lm_os_purge(p, block.mapped);
    block.bytes = 0;
    huge_insert(block);
    return true;
}

size_t lm_huge_usable(const void *p)
{
    struct huge_block block;

    return huge_find((uintptr_t)p, &block, false) ? block.bytes : 0;
}

void *lm_huge_resize(void *p, size_t size)
{
    size_t bytes = lm_align_up(size, lm_os_page_size()), spare;
    struct huge_block block;
    void *q = p;

    if (!huge_find((uintptr_t)p, &block, true))
        return NULL;
    if (huge_is_too_much(&block, bytes)) {
        huge_insert(block);
        return NULL;
    }
    if (bytes > block.mapped) {
        spare = huge_spare(block.bytes, bytes);
        q = lm_os_remap(p, block.mapped, bytes + spare, true);
        if (!q && (spare = 0, q = lm_os_remap(p, block.mapped, bytes, true)) == NULL) {
            huge_insert(block);
            errno = ENOMEM;
            return NULL;
        }
        block.mapped = bytes + spare;
        if (huge_is_wanted(bytes, GROWN_LEAST))
            lm_os_advise_huge(q, block.mapped);
    } else if (bytes < block.bytes) {
        if (lm_os_remap(p, block.mapped, bytes, false))
            block.mapped = bytes;
        else
            bytes = block.bytes; /* it stays as it was, which is enough */
    }
    lm_count_resize(block.bytes, size, bytes);
    block.start = (uintptr_t)q;
    block.bytes = bytes;
    huge_insert(block);
    return q;
}

enum lm_huge_place lm_huge_place(const void *p, size_t *bytes)
{
    enum lm_huge_place place = LM_HUGE_OUTSIDE;

    *bytes = 0;
    lm_lock_take(&lm_huge_lock);
    for (unsigned i = 0; i < HUGE_LATELY; i++) /* the oldest of them first, so that the last word is the newest's */
        if (huge_lately[(huge_lately_next + i) % HUGE_LATELY].start == (uintptr_t)p) {
            place = LM_HUGE_FREED;
            *bytes = huge_lately[(huge_lately_next + i) % HUGE_LATELY].bytes;
        }
    for (size_t i = 0; i < huge_slots; i++)
        if (huge_table[i].start && (uintptr_t)p - huge_table[i].start < huge_table[i].mapped) {
            place = huge_table[i].bytes ? LM_HUGE_INSIDE : LM_HUGE_FREED;
            *bytes = lm_max(*bytes, huge_table[i].bytes);
        }
    lm_lock_release(&lm_huge_lock);
    return place;
}

void lm_huge_stats(struct lm_heap_stats *out)
{
    lm_lock_take(&lm_huge_lock);
    out->huge_blocks = huge_count - huge_dead;
    out->huge_bytes = huge_bytes;
    lm_lock_release(&lm_huge_lock);
}
