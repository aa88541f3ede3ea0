/* libFuzzer feeds a class table with traffic and its memory with damage: cookies overwritten, copied and shifted, whole
 * slabs painted over, wild and stale pointers freed. Every misuse must be refused, with the table as it was; every block
 * that was not damaged must still be good. Refusals come back by a longjmp out of the report's hook.
 *
 * Four bytes an operation: what, slot, and two of size or place. */
#include "../need.h"
#include "block/block.h"

#include <loam/classes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64, COOKIE = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static jmp_buf refused;
static struct {
    unsigned char *p;
    size_t size;
} slot[SLOTS];
static struct loam_classes *table;

static void come_back(const char *text)
{
    (void)text;
    longjmp(refused, 1);
}

/* True when the table refuses to free p. */
static bool is_refused(void *p)
{
    if (setjmp(refused)) /* NOLINT: the frames between hold nothing */
        return true;
    loam_classes_free(table, p);
    return false;
}

static bool is_live(const void *p)
{
    for (int i = 0; i < SLOTS; i++)
        if (slot[i].p == p)
            return true;
    return false;
}

static void check_slot(unsigned i)
{
    if (slot[i].p && slot[i].size)
        NEED(slot[i].p[0] == (unsigned char)i && slot[i].p[slot[i].size - 1] == (unsigned char)i);
}

static void set_slot(unsigned i, unsigned char *p, size_t size)
{
    slot[i].p = p;
    slot[i].size = size;
    if (p && size)
        p[0] = p[size - 1] = (unsigned char)i;
}

static void evict_none(struct loam_classes *classes, struct loam_classes_slab *slab, void *arg)
{
    (void)arg;
    NEED(loam_classes_slab_live(classes, slab) > 0);
}

/* Damages the cookie of a live block, sees it refused, and mends it. */
static void damage(unsigned i, unsigned how, unsigned place)
{
    unsigned char saved[COOKIE], *cookie = slot[i].p - COOKIE;

    memcpy(saved, cookie, COOKIE);
    if (how % 3 == 0)
        cookie[place % COOKIE] ^= (unsigned char)(1 + place / COOKIE % 255);
    else if (how % 3 == 1 && slot[place % SLOTS].p && place % SLOTS != i)
        memcpy(cookie, slot[place % SLOTS].p - COOKIE, COOKIE);
    else
        memset(cookie, (int)place, COOKIE);
    if (memcmp(saved, cookie, COOKIE) != 0) {
        NEED(is_refused(slot[i].p));
        NEED(loam_classes_check(table) != 0);
    }
    memcpy(cookie, saved, COOKIE);
}

/* Paints over everything around a block of a slab that a writer could reach, then mends it. */
static void paint(unsigned i, unsigned colour)
{
    enum { AROUND = 4096 };
    static unsigned char saved[AROUND];
    unsigned char *page = (unsigned char *)((uintptr_t)slot[i].p & ~(uintptr_t)(AROUND - 1));

    memcpy(saved, page, AROUND);
    memset(page, (int)colour, AROUND);
    if ((uintptr_t)slot[i].p % AROUND >= COOKIE)
        NEED(is_refused(slot[i].p));
    for (unsigned offset = 0; offset < AROUND; offset += 24)
        if (offset >= COOKIE)
            NEED(is_refused(page + offset));
    memcpy(page, saved, AROUND);
}

static void step(const uint8_t *op)
{
    unsigned i = op[1] % SLOTS, more = (unsigned)op[2] << 8 | op[3];
    size_t size = op[0] & 0x80 ? more : more % 700;
    unsigned char *p = slot[i].p;

    check_slot(i);
    switch (op[0] % 8) {
    case 0:
    case 1:
        if (!p)
            set_slot(i, loam_classes_alloc(table, size), size);
        break;
    case 2:
        set_slot(i, NULL, 0);
        NEED(!is_refused(p));
        NEED(!p || is_refused(p)); /* at once again */
        break;
    case 3:
        if (p && (p = loam_classes_realloc(table, p, size + 1)) != NULL)
            set_slot(i, p, size + 1);
        break;
    case 4:
        if (p)
            damage(i, op[0] / 8, more);
        break;
    case 5:
        if (p && loam_classes_usable_size(table, p) <= 4000)
            paint(i, more);
        break;
    case 6: /* near a live block, or anywhere */
        p = p ? p + (int16_t)more : (unsigned char *)((uintptr_t)more << (op[0] / 8 % 48));
        if (p && !is_live(p))
            NEED(is_refused(p));
        break;
    default:
        loam_classes_trim(table);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loam_classes_options options = {.struct_bytes = sizeof options,
        .max_bytes = 4096,
        .slab_bytes = 64 << 10,
        .limit_bytes = 1 << 20,
        .evict = size % 2 ? evict_none : NULL};

    lm_misuse_hook = come_back;
    table = loam_classes_create(&options);
    for (; size >= 4; data += 4, size -= 4)
        step(data);
    NEED(loam_classes_check(table) == 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        check_slot(i);
        NEED(!is_refused(slot[i].p));
        set_slot(i, NULL, 0);
    }
    NEED(loam_classes_check(table) == 0);
    loam_classes_destroy(table);
    return 0;
}
