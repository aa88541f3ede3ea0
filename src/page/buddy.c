/* buddy.c: see buddy.h. */
#include "page/buddy.h"

size_t lm_buddy_meta_bytes(uint32_t units)
{
    return (size_t)units * (sizeof(struct lm_buddy_links) + 1);
}

void lm_buddy_init(struct lm_buddy *buddy, uint32_t units, void *meta)
{
    *buddy = (struct lm_buddy){.units = units, .links = meta};
    buddy->state = (uint8_t *)(buddy->links + units);
}

static void buddy_insert(struct lm_buddy *buddy, uint32_t unit, unsigned order)
{
    uint32_t head = buddy->head[order];

    buddy->state[unit] = (uint8_t)(order + 1);
    buddy->links[unit] = (struct lm_buddy_links){.next = head};
    if (head)
        buddy->links[head - 1].prev = unit + 1;
    buddy->head[order] = unit + 1;
    buddy->orders |= (uint32_t)1 << order;
    buddy->free_units += (uint32_t)1 << order;
}

static void buddy_remove(struct lm_buddy *buddy, uint32_t unit, unsigned order)
{
    struct lm_buddy_links links = buddy->links[unit];

    buddy->state[unit] = 0;
    if (links.next)
        buddy->links[links.next - 1].prev = links.prev;
    if (links.prev)
        buddy->links[links.prev - 1].next = links.next;
    else
        buddy->head[order] = links.next;
    if (!buddy->head[order])
        buddy->orders &= ~((uint32_t)1 << order);
    buddy->free_units -= (uint32_t)1 << order;
}

/* Frees one aligned block, merged as far up as its buddies are free. */
static void buddy_free_block(struct lm_buddy *buddy, uint32_t unit, unsigned order)
{
    while (order + 1 < LM_BUDDY_ORDERS) {
        uint32_t other = unit ^ (uint32_t)1 << order;

        if (other >= buddy->units || buddy->state[other] != order + 1)
            break;
        buddy_remove(buddy, other, order);
        unit &= ~((uint32_t)1 << order);
        order++;
    }
    buddy_insert(buddy, unit, order);
}

void lm_buddy_free(struct lm_buddy *buddy, uint32_t first, uint32_t units)
{
    while (units) {
        unsigned order = lm_log2_floor(units);

        if (first)
            order = (unsigned)lm_min(order, lm_lowest_bit(first));
        LM_ASSERT(!lm_buddy_is_free(buddy, first));
        buddy_free_block(buddy, first, order);
        first += (uint32_t)1 << order;
        units -= (uint32_t)1 << order;
    }
}

uint32_t lm_buddy_alloc(struct lm_buddy *buddy, uint32_t units)
{
    uint32_t fitting, unit, length;
    unsigned order;

    if (units == 0 || units > buddy->units)
        return LM_BUDDY_NONE;
    fitting = buddy->orders >> lm_log2_ceil(units) << lm_log2_ceil(units);
    if (!fitting)
        return LM_BUDDY_NONE;
    order = lm_lowest_bit(fitting);
    unit = buddy->head[order] - 1;
    length = (uint32_t)1 << order;
    buddy_remove(buddy, unit, order);
    /* the tail's blocks have no free buddies: their buddies lie within what is taken or within the tail */
    if (length > units)
        lm_buddy_free(buddy, unit + units, length - units);
    return unit;
}

uint32_t lm_buddy_alloc_aligned(struct lm_buddy *buddy, uint32_t units, uint32_t align, uint32_t phase)
{
    uint32_t first, skip, taken;

    phase &= align - 1;
    if (units == 0 || units > buddy->units || align - 1 > buddy->units)
        return LM_BUDDY_NONE;
    taken = phase ? units + align - 1 : (uint32_t)lm_max(units, align); /* a block is a multiple of its length */
    first = lm_buddy_alloc(buddy, taken);
    if (first == LM_BUDDY_NONE)
        return LM_BUDDY_NONE;
    skip = -(first + phase) & (align - 1);
    lm_buddy_free(buddy, first, skip);
    lm_buddy_free(buddy, first + skip + units, taken - skip - units);
    return first + skip;
}

void lm_buddy_know(struct lm_buddy *buddy, uint32_t first, uint32_t units)
{
    LM_ASSERT(units && buddy->state[first] == 0);
    buddy->state[first] = LM_BUDDY_LIVE;
    buddy->links[first].next = units;
}

uint32_t lm_buddy_known(const struct lm_buddy *buddy, uint32_t first)
{
    return buddy->state[first] == LM_BUDDY_LIVE ? buddy->links[first].next : 0;
}

void lm_buddy_forget(struct lm_buddy *buddy, uint32_t first)
{
    LM_ASSERT(buddy->state[first] == LM_BUDDY_LIVE);
    buddy->state[first] = 0;
}

/* The start of the free block that holds the unit, or LM_BUDDY_NONE. */
static uint32_t buddy_block_of(const struct lm_buddy *buddy, uint32_t unit)
{
    for (unsigned order = 0; order < LM_BUDDY_ORDERS; order++) {
        uint32_t start = unit >> order << order;

        if (buddy->state[start] == order + 1)
            return start;
    }
    return LM_BUDDY_NONE;
}

bool lm_buddy_is_free(const struct lm_buddy *buddy, uint32_t unit)
{
    return buddy_block_of(buddy, unit) != LM_BUDDY_NONE;
}

bool lm_buddy_claim(struct lm_buddy *buddy, uint32_t first, uint32_t units)
{
    uint32_t end = first + units;

    if (units == 0 || end < first || end > buddy->units)
        return false;
    for (uint32_t unit = first; unit < end;) {
        uint32_t start = buddy_block_of(buddy, unit);

        if (start == LM_BUDDY_NONE)
            return false;
        unit = start + ((uint32_t)1 << (buddy->state[start] - 1));
    }
    for (uint32_t unit = first; unit < end;) {
        uint32_t start = buddy_block_of(buddy, unit);
        unsigned order = buddy->state[start] - 1u;
        uint32_t block_end = start + ((uint32_t)1 << order);

        buddy_remove(buddy, start, order);
        if (start < first)
            lm_buddy_free(buddy, start, first - start);
        if (block_end > end)
            lm_buddy_free(buddy, end, block_end - end);
        unit = block_end;
    }
    return true;
}

uint32_t lm_buddy_largest(const struct lm_buddy *buddy)
{
    return buddy->orders ? (uint32_t)1 << lm_log2_floor(buddy->orders) : 0;
}

int lm_buddy_check(const struct lm_buddy *buddy)
{
    uint32_t sum = 0;

    for (unsigned order = 0; order < LM_BUDDY_ORDERS; order++) {
        uint32_t before = 0, length = (uint32_t)1 << order;

        if (!buddy->head[order] != !(buddy->orders >> order & 1))
            return __LINE__;
        for (uint32_t at = buddy->head[order]; at; at = buddy->links[at - 1].next) {
            uint32_t unit = at - 1, other = unit ^ length;

            if (unit & (length - 1) || unit >= buddy->units || buddy->units - unit < length)
                return __LINE__;
            if (buddy->state[unit] != order + 1 || buddy->links[unit].prev != before)
                return __LINE__;
            if (order + 1 < LM_BUDDY_ORDERS && other < buddy->units && buddy->state[other] == order + 1)
                return __LINE__; /* should have merged */
            before = at;
            sum += length;
        }
    }
    return sum != buddy->free_units ? __LINE__ : 0;
}

int lm_buddy_check_known(const struct lm_buddy *buddy)
{
    int broken = lm_buddy_check(buddy);
    uint32_t unit = 0, free_units = 0;

    while (!broken && unit < buddy->units) {
        uint32_t known = lm_buddy_known(buddy, unit), units = known;

        if (!known) {
            if (buddy->state[unit] == 0 || buddy->state[unit] > LM_BUDDY_ORDERS)
                return __LINE__; /* neither free nor known */
            units = (uint32_t)1 << (buddy->state[unit] - 1);
            free_units += units;
        }
        if (units > buddy->units - unit)
            return __LINE__;
        for (uint32_t inside = unit + 1; inside < unit + units; inside++)
            if (buddy->state[inside])
                return __LINE__;
        unit += units;
    }
    return broken ? broken : free_units != buddy->free_units ? __LINE__ : 0;
}
