/* libFuzzer feeds memory images to the region: the input's first bytes choose operations, the rest is the image or is laid
 * over a sound one. The image stands between pages that cannot be touched, so that one byte outside it is a crash. */
#include "block/region.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 72, MOST = 4 * 4096, HELD = 16 };

static char *room; /* MOST bytes with a guard on each side */

static void make_room(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *all = mmap(NULL, MOST + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (all == MAP_FAILED || mprotect(all + page, MOST, PROT_READ | PROT_WRITE) != 0)
        abort();
    room = all + page;
}

static int visit(void *block, size_t bytes, int is_live, void *arg)
{
    char *p = block;

    if (p < room || p + bytes > room + MOST)
        abort();
    if (is_live && *(void **)arg == NULL)
        *(void **)arg = block;
    return 0;
}

/* A sound region with some holes, that the input then damages. */
static void make_sound(uint8_t kind, char *memory, size_t bytes)
{
    struct loam_region_options options = {.struct_bytes = sizeof options,
        .fit = (enum loam_fit)(kind & 3),
        .align_bytes = kind & 4 ? 8 : 16,
        .lock = kind & 8 ? LOAM_REGION_PROCESSES : LOAM_REGION_UNLOCKED,
        .return_errors = 1};
    struct loam_region *region = loam_region_create(memory, bytes, &options);
    void *p[HELD];

    if (!region)
        return;
    for (size_t i = 0; i < HELD; i++)
        p[i] = loam_region_alloc(region, i * kind % 500);
    for (size_t i = 0; i < HELD; i += 2)
        loam_region_free(region, p[i]);
    loam_region_set_root(region, p[1]);
}

/* Two bytes an operation. Pointers are real ones, or any at all inside the image. */
static void operate(struct loam_region *region, const uint8_t *ops, char *memory, size_t bytes)
{
    void *p[HELD] = {NULL};

    loam_region_walk(region, visit, &p[0]);
    p[1] = loam_region_root(region);
    for (size_t i = 0; i + 1 < HEAD - 8; i += 2) {
        void **one = &p[ops[i] % HELD];
        size_t size = (size_t)ops[i + 1] * 7;

        switch (ops[i] / HELD) {
        case 0 ... 3:
            *one = loam_region_alloc(region, size);
            break;
        case 4 ... 6:
            loam_region_free(region, *one);
            break;
        case 7 ... 9:
            *one = loam_region_realloc(region, *one, size);
            break;
        case 10:
            *one = loam_region_aligned_alloc(region, (size_t)8 << ops[i + 1] % 8, size);
            break;
        case 11:
            loam_region_free(region, memory + size * 9 % bytes);
            break;
        case 12:
            *one = loam_region_block(region, size);
            break;
        case 13: /* damage on the way; not to the C library's mutex, which nobody can prove */
            if (region->lock == LOAM_REGION_UNLOCKED)
                memory[(size * 131 + ops[i]) % bytes] ^= (char)ops[i + 1];
            break;
        default:
            loam_region_usable_size(region, *one);
        }
        if (*one && ((char *)*one < memory || (char *)*one >= memory + bytes))
            abort();
    }
    loam_region_check(region, NULL);
}

/* What somebody does who knows the key: seals the head as it now is, and signs tags of his own. */
static void forge(char *memory, size_t bytes, const uint8_t *data, size_t size)
{
    struct loam_region *region = (void *)(memory + (-(uintptr_t)memory & 15));

    region->seal = lm_region_seal(region);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint32_t unit = (uint32_t)(data[i] | data[i + 1] << 8), units = (uint32_t)(data[i + 2] | data[i + 3] << 8);

        if (region->grain_log2 < 3 || region->grain_log2 > 4 || (size_t)unit << region->grain_log2 > bytes - 16 ||
            unit < 3)
            continue;
        if (data[i + 5] & 1)
            units |= (uint32_t)data[i + 6] << 24;
        lm_region_write(lm_region_view(region), unit, units, data[i + 4] & LM_REGION_FLAGS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loam_region_options options = {.struct_bytes = sizeof options, .return_errors = 1, .sole = 1};
    struct loam_region *region;
    size_t bytes = MOST;
    char *memory;

    if (size < HEAD)
        return 0;
    if (!room)
        make_room();
    bytes = 1024 + (size_t)(data[0] | data[1] << 8) % (MOST - 1024);
    memory = room + (data[2] & 1 ? MOST - bytes : 0); /* against either guard */
    memset(room, 0, MOST);
    if (data[2] & 2)
        make_sound(data[3], memory, bytes);
    for (size_t i = HEAD; i < size && i - HEAD < bytes; i++)
        memory[i - HEAD] ^= (char)data[i];
    if (data[2] & 4)
        forge(memory, bytes, data + 8, data[2] & 8 ? HEAD - 8 : 0);
    region = loam_region_open(memory, bytes, &options);
    if (!region)
        return 0;
    if (loam_region_check(region, NULL) != LOAM_REGION_SOUND)
        abort(); /* an image that is not sound was believed */
    operate(region, data + 8, memory, bytes);
    return 0;
}
