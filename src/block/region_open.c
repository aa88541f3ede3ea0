/* region_open.c: making a region, opening an image, the locks, and repair; see region.h.
 *
 * Head, index and mutex stand at the start of the memory; where the first block begins follows from the fit, the lock, the
 * grain and the length alone, so that an image that says otherwise is none.
 *
 * Locks: LOAM_REGION_THREADS is a lock of loam's, LOAM_REGION_PROCESSES a robust mutex. Who gets the mutex of a dead
 * owner rebuilds the region before anything else. Fork: the child of a process inside LOAM_REGION_THREADS memory that is
 * not shared has a copy with the lock as it was; that is the user's to avoid, for the memory is. */
#include "block/region_bins.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { REGION_ALIGN = 16, REGION_LEAST_BYTES = 1024 };
#define REGION_SALT 0x72656769u

/* -- layout --------------------------------------------------------------------------------------------------------- */

/* What an image must share with this process: sizes, byte order, and whose mutex it is. */
static uint32_t region_machine(void)
{
    const uint16_t order = 1;
    uint32_t gnu = confstr(_CS_GNU_LIBC_VERSION, NULL, 0) > 0;

    return (uint32_t)sizeof(pthread_mutex_t) | (uint32_t)sizeof(void *) << 8 |
        (uint32_t) * (const uint8_t *)&order << 16 | gnu << 17;
}

static enum lm_region_way region_way_of(const struct loam_region *head)
{
    if (lm_region_is_tree(head) || head->lock != LOAM_REGION_UNLOCKED)
        return LM_REGION_ANY;
    return head->grain_log2 == LM_REGION_GRAIN16 ? LM_REGION_GOOD16 : LM_REGION_GOOD8;
}

/* Fills in way, bins, mutex_offset and first from fit, lock, grain_log2 and end. False: no room for a block. */
static bool region_lay_out(struct loam_region *head)
{
    size_t grain = (size_t)1 << head->grain_log2, bytes;

    head->way = (uint8_t)region_way_of(head);
    head->bins = (uint16_t)(lm_region_is_tree(head) ? 0 : lm_region_bin_of(head->end) + 1);
    bytes = lm_region_is_tree(head) ? offsetof(struct loam_region, map) : offsetof(struct loam_region, head);
    bytes = lm_align_up(bytes + head->bins * sizeof head->head[0], REGION_ALIGN);
    head->mutex_offset = 0;
    if (head->lock == LOAM_REGION_PROCESSES) {
        head->mutex_offset = (uint16_t)bytes;
        bytes += sizeof(pthread_mutex_t);
    }
    bytes = lm_align_up(bytes + LM_REGION_TAG_BYTES, grain);
    head->first = (uint32_t)(bytes >> head->grain_log2);
    return head->first < head->end && head->end - head->first >= lm_region_least(head);
}

static pthread_mutex_t *region_mutex(struct loam_region *region)
{
    return (void *)((char *)region + region->mutex_offset);
}

static int region_make_locks(struct loam_region *region)
{
    pthread_mutexattr_t attributes;
    int failed;

    region->threads = (struct lm_lock)LM_LOCK_INIT(LM_RANK_BLOCK);
    region->broken = 0;
    if (region->lock != LOAM_REGION_PROCESSES)
        return 0;
    failed = pthread_mutexattr_init(&attributes);
    if (failed)
        return failed;
    if (!(failed = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED)) &&
        !(failed = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST)))
        failed = pthread_mutex_init(region_mutex(region), &attributes);
    pthread_mutexattr_destroy(&attributes);
    return failed;
}

/* The part of the memory that a region can be in; false when there is none. */
static bool region_fit_into(void **memory, size_t *bytes)
{
    size_t skip = -(uintptr_t)*memory & (REGION_ALIGN - 1);

    if (!*memory || *bytes < REGION_LEAST_BYTES || (uintptr_t)*memory + *bytes < *bytes)
        return false;
    *memory = (char *)*memory + skip;
    *bytes -= skip;
    return true;
}

static bool options_are_known(const struct loam_region_options *options)
{
    return options->struct_bytes == sizeof *options && (unsigned)options->fit <= LOAM_FIT_BEST &&
        (unsigned)options->lock <= LOAM_REGION_PROCESSES &&
        (options->align_bytes == 0 || options->align_bytes == 8 || options->align_bytes == 16);
}

/* -- making and opening ------------------------------------------------------------------------------------------ */

static const struct loam_region_options region_defaults = {.struct_bytes = sizeof region_defaults};

LM_PUBLIC struct loam_region *loam_region_create(void *memory, size_t bytes, const struct loam_region_options *options)
{
    struct loam_region head = {.magic = 0}, *region;
    int failed;

    if (!options)
        options = &region_defaults;
    if (!options_are_known(options) || !region_fit_into(&memory, &bytes)) {
        errno = EINVAL;
        return NULL;
    }
    head.version = LM_REGION_VERSION;
    head.machine = region_machine();
    head.fit = (uint8_t)options->fit;
    head.lock = (uint8_t)options->lock;
    head.grain_log2 = options->align_bytes == 8 ? LM_REGION_GRAIN8 : LM_REGION_GRAIN16;
    head.end = (uint32_t)lm_min(bytes >> head.grain_log2, UINT32_MAX - 1);
    if (bytes >> head.grain_log2 > (size_t)UINT32_MAX + 1 || !region_lay_out(&head)) {
        errno = EINVAL;
        return NULL;
    }
    head.key = lm_os_random(REGION_SALT ^ (uintptr_t)memory) ^ lm_os_clock_ms();
    head.seal = lm_region_seal(&head);
    head.return_errors = options->return_errors ? LM_REGION_ERRORS : 0;
    region = memory;
    memset(region, 0, lm_region_at(lm_region_view(&head), head.first) - (char *)&head);
    *region = head;
    failed = region_make_locks(region);
    if (failed) {
        errno = failed;
        return NULL;
    }
    lm_region_write(lm_region_view(region), region->end, 0,
        LM_REGION_USED | lm_region_behind(lm_region_view(region), region->end - region->first));
    lm_region_write(lm_region_view(region), region->first, region->end - region->first, 0);
    lm_region_index_clear(region);
    lm_region_index_insert(region, region->first, region->end - region->first);
    __atomic_store_n(&region->magic, LM_REGION_MAGIC, __ATOMIC_RELEASE); /* last: half a region is none */
    return region;
}

/* 0, or the errno that says why this is no region that can be used here. */
static int region_judge_head(const struct loam_region *region, size_t bytes)
{
    struct loam_region head = *region;

    if (region->magic != LM_REGION_MAGIC || region->version != LM_REGION_VERSION || region->machine != region_machine())
        return EINVAL;
    if (region->seal != lm_region_seal(region) || region->fit > LOAM_FIT_BEST || region->lock > LOAM_REGION_PROCESSES ||
        region->grain_log2 < LM_REGION_GRAIN8 || region->grain_log2 > LM_REGION_GRAIN16 || region->end == 0)
        return EUCLEAN;
    if (!region_lay_out(&head) || lm_region_seal(&head) != region->seal)
        return EUCLEAN;
    return (size_t)region->end << region->grain_log2 <= bytes ? 0 : EINVAL;
}

LM_PUBLIC struct loam_region *loam_region_open(void *memory, size_t bytes, const struct loam_region_options *options)
{
    struct loam_region *region;
    int failed = EINVAL;

    if ((!options || options_are_known(options)) && region_fit_into(&memory, &bytes))
        failed = region_judge_head(memory, bytes);
    region = memory;
    if (!failed && options && options->sole)
        failed = region_make_locks(region);
    else if (!failed && region->threads.rank != LM_RANK_BLOCK)
        failed = EUCLEAN;
    if (!failed && region->lock != LOAM_REGION_UNLOCKED && !lm_region_lock(region))
        failed = errno;
    if (failed) {
        errno = failed;
        return NULL;
    }
    if (lm_region_inspect(region, NULL) != LOAM_REGION_SOUND &&
        !(options && options->sole && lm_region_rebuild(region) &&
            lm_region_inspect(region, NULL) == LOAM_REGION_SOUND))
        failed = EUCLEAN;
    if (!failed && options)
        region->return_errors = options->return_errors ? LM_REGION_ERRORS : 0;
    if (region->lock != LOAM_REGION_UNLOCKED)
        lm_region_unlock(region);
    if (failed)
        errno = failed;
    return failed ? NULL : region;
}

/* -- locks ------------------------------------------------------------------------------------------------------------ */

bool lm_region_lock(struct loam_region *region)
{
    int failed;

    if (region->lock == LOAM_REGION_THREADS) {
        lm_lock_take(&region->threads);
        return true;
    }
    failed = pthread_mutex_lock(region_mutex(region));
    if (failed == EOWNERDEAD) {
        failed = 0;
        if (region->broken || !lm_region_rebuild(region)) {
            region->broken = 1;
            failed = ENOTRECOVERABLE; /* for everybody: unlocked without being made consistent */
        } else {
            pthread_mutex_consistent(region_mutex(region));
        }
        if (failed)
            pthread_mutex_unlock(region_mutex(region));
    }
    if (failed)
        errno = failed;
    return failed == 0;
}

void lm_region_unlock(struct loam_region *region)
{
    if (region->lock == LOAM_REGION_THREADS)
        lm_lock_release(&region->threads);
    else
        pthread_mutex_unlock(region_mutex(region));
}

/* -- repair ------------------------------------------------------------------------------------------------------------ */

/* True when every tag is signed and their lengths lead from the first to the end. */
static bool region_chain_is_whole(const struct loam_region *region)
{
    uint32_t unit = region->first;

    while (unit < region->end) {
        uint64_t word = lm_region_read(lm_region_view(region), unit);
        uint32_t units = lm_region_length(word);

        if (!lm_region_is_signed(word) || units < lm_region_least(region) || units > region->end - unit)
            return false;
        unit += units;
    }
    return lm_region_is_signed(lm_region_read(lm_region_view(region), unit)) &&
        lm_region_units(lm_region_view(region), unit) == 0;
}

/* The end of the free blocks that stand side by side from `unit` on; their tags but the first are wiped. */
static uint32_t region_join_free(struct loam_region *region, uint32_t unit)
{
    uint32_t end = unit;

    while (end < region->end && !lm_region_is_used(lm_region_read(lm_region_view(region), end)))
        end += lm_region_units(lm_region_view(region), end);
    for (uint32_t at = unit + lm_region_units(lm_region_view(region), unit), next; at < end; at = next) {
        next = at + lm_region_units(lm_region_view(region), at);
        lm_region_write(lm_region_view(region), unit, next - unit, 0); /* before the wipe: the chain stays whole */
        lm_region_write(lm_region_view(region), at, 0, 0);
    }
    lm_region_write(lm_region_view(region), unit, end - unit, 0);
    return end;
}

bool lm_region_rebuild(struct loam_region *region)
{
    uint32_t unit = region->first, used_units = 0, next;
    bool is_block = false;
    unsigned before = 0;

    if (lm_region_seal(region) != region->seal || !region_chain_is_whole(region))
        return false;
    lm_region_index_clear(region);
    for (; unit < region->end; unit = next) {
        uint64_t word = lm_region_read(lm_region_view(region), unit);

        next = unit + lm_region_length(word);
        is_block = is_block || unit == region->sliding;
        if (lm_region_is_used(word)) {
            lm_region_tell(lm_region_view(region), unit, word, before);
            before = 0;
            used_units += next - unit;
        } else {
            next = region_join_free(region, unit);
            before = lm_region_behind(lm_region_view(region), next - unit);
            lm_region_index_insert(region, unit, next - unit);
        }
    }
    lm_region_write(lm_region_view(region), region->end, 0, LM_REGION_USED | before);
    if (!is_block && region->sliding > region->first && region->sliding < region->end)
        lm_region_write(lm_region_view(region), region->sliding, 0, 0);
    region->sliding = 0;
    region->used_units = used_units;
    region->peak_units = (uint32_t)lm_max(region->peak_units, used_units);
    return true;
}
