/* room_tray.c: see room_tray.h. */
#include "block/room_tray.h"

const uint64_t lm_tray_no_word;

static uint64_t *tray_summary(const struct lm_tray *tray)
{
    return (uint64_t *)&tray->bits[lm_tray_groups(tray->cells)];
}

void lm_shelf_init(struct lm_shelf *shelf, size_t stride, uint32_t cells)
{
    *shelf = (struct lm_shelf){
        .word = LM_TRAY_NO_WORD,
        .stride = stride,
        .magic = (((uint64_t)1 << 63) - 1) / stride + 1,
        .cells = cells,
    };
    lm_list_init(&shelf->open);
    lm_list_init(&shelf->full);
    lm_list_init(&shelf->empty);
}

/* Sets the first n bits of a bitmap. */
static void tray_set_bits(uint64_t *bits, uint32_t n)
{
    for (uint32_t i = 0; i < n / 64; i++)
        bits[i] = UINT64_MAX;
    if (n % 64)
        bits[n / 64] = ((uint64_t)1 << n % 64) - 1;
}

static struct lm_list *tray_list(struct lm_shelf *shelf, enum lm_tray_state state)
{
    return state == LM_TRAY_FULL ? &shelf->full : state == LM_TRAY_OPEN ? &shelf->open : &shelf->empty;
}

/* Gives a tray that stands in no list a state with one. Full trays queue up behind each other; the one that opened
 * last is used next, while its lines are in the cache. */
static void tray_settle(struct lm_tray *tray, enum lm_tray_state state)
{
    tray->state = state;
    if (state == LM_TRAY_FULL)
        lm_list_push_back(&tray->shelf->full, &tray->list);
    else
        lm_list_push_front(tray_list(tray->shelf, state), &tray->list);
    tray->shelf->empties += state == LM_TRAY_EMPTY;
}

static void tray_unsettle(struct lm_tray *tray)
{
    lm_list_remove(&tray->list);
    tray->shelf->empties -= tray->state == LM_TRAY_EMPTY;
}

void lm_shelf_add(struct lm_shelf *shelf, struct lm_tray *tray, char *first)
{
    tray->first = first;
    tray->shelf = shelf;
    tray->cells = shelf->cells;
    tray->live = 0;
    tray->hint = 0;
    tray_set_bits(tray->bits, tray->cells);
    tray_set_bits(tray_summary(tray), lm_tray_groups(tray->cells));
    lm_list_init(&tray->list);
    tray_settle(tray, LM_TRAY_EMPTY);
    shelf->trays++;
}

void lm_shelf_remove(struct lm_tray *tray)
{
    struct lm_shelf *shelf = tray->shelf;

    if (tray == shelf->current) {
        shelf->current = NULL;
        shelf->word = LM_TRAY_NO_WORD;
    }
    tray_unsettle(tray);
    shelf->trays--;
}

/* Makes the lowest group of the current tray that has a free cell the current one. */
static bool shelf_enter_group(struct lm_shelf *shelf, struct lm_tray *tray)
{
    uint64_t *summary = tray_summary(tray);
    uint32_t words = lm_tray_groups(lm_tray_groups(tray->cells)), i = tray->hint;

    while (i < words && !summary[i])
        i++;
    tray->hint = i;
    if (i == words)
        return false;
    uint32_t group = i * 64 + lm_lowest_bit(summary[i]);

    summary[i] &= summary[i] - 1;
    shelf->word = &tray->bits[group];
    shelf->base = tray->first + (size_t)group * 64 * shelf->stride;
    return true;
}

bool lm_shelf_advance(struct lm_shelf *shelf)
{
    struct lm_tray *tray = shelf->current;
    struct lm_list *next;

    if (*shelf->word)
        return true;
    if (tray) {
        if (shelf_enter_group(shelf, tray))
            return true;
        tray->live = tray->cells;
        tray_settle(tray, LM_TRAY_FULL);
        shelf->current = NULL;
        shelf->word = LM_TRAY_NO_WORD;
    }
    next = !lm_list_empty(&shelf->open) ? shelf->open.next : shelf->empty.next;
    if (next == &shelf->empty)
        return false;
    tray = LM_CONTAINER(next, struct lm_tray, list);
    tray_unsettle(tray);
    tray->state = LM_TRAY_CURRENT;
    tray->live = LM_TRAY_IDLE;
    shelf->current = tray;
    return shelf_enter_group(shelf, tray);
}

void lm_shelf_retire(struct lm_shelf *shelf)
{
    struct lm_tray *tray = shelf->current;
    uint32_t group;

    if (!tray)
        return;
    group = (uint32_t)(shelf->word - tray->bits);
    if (*shelf->word) {
        tray_summary(tray)[group / 64] |= (uint64_t)1 << group % 64;
        tray->hint = (uint32_t)lm_min(tray->hint, group / 64);
    }
    tray->live = lm_tray_count(tray);
    shelf->current = NULL;
    shelf->word = LM_TRAY_NO_WORD;
    lm_tray_return(tray);
}

void lm_tray_leave(struct lm_tray *tray)
{
    LM_ASSERT(tray->state != LM_TRAY_CURRENT && tray->state != LM_TRAY_LEAVING);
    tray_unsettle(tray);
    tray->state = LM_TRAY_LEAVING;
}

void lm_tray_return(struct lm_tray *tray)
{
    tray_settle(tray, tray->live == 0 ? LM_TRAY_EMPTY : tray->live == tray->cells ? LM_TRAY_FULL : LM_TRAY_OPEN);
}

/* A group that had no free cell has one. */
void lm_tray_open(struct lm_tray *tray, size_t group)
{
    if (&tray->bits[group] == tray->shelf->word)
        return;
    tray_summary(tray)[group / 64] |= (uint64_t)1 << group % 64;
    if (tray->hint > group / 64)
        tray->hint = (uint32_t)(group / 64);
    if (tray->state == LM_TRAY_FULL) {
        tray_unsettle(tray);
        tray_settle(tray, LM_TRAY_OPEN);
    }
}

/* A tray's count has come down to 0. */
bool lm_tray_drained(struct lm_tray *tray)
{
    if (tray->state == LM_TRAY_CURRENT)
        tray->live = LM_TRAY_IDLE; /* begins again */
    if (tray->state != LM_TRAY_OPEN)
        return false;
    tray_unsettle(tray);
    tray_settle(tray, LM_TRAY_EMPTY);
    return true;
}

uint32_t lm_tray_count(const struct lm_tray *tray)
{
    uint32_t free = 0;

    for (uint32_t i = 0; i < lm_tray_groups(tray->cells); i++)
        free += (uint32_t)__builtin_popcountll(tray->bits[i]);
    return tray->cells - free;
}

size_t lm_tray_next_live(const struct lm_tray *tray, size_t from)
{
    while (from < tray->cells) {
        uint64_t live = ~tray->bits[from / 64] >> from % 64;

        if (live)
            return lm_min(from + lm_lowest_bit(live), tray->cells);
        from = (from / 64 + 1) * 64;
    }
    return tray->cells;
}

static int tray_check(const struct lm_tray *tray)
{
    const struct lm_shelf *shelf = tray->shelf;
    uint32_t groups = lm_tray_groups(tray->cells), words = lm_tray_groups(groups);
    const uint64_t *summary = tray_summary(tray);

    for (uint32_t i = 0; i < words * 64; i++) {
        bool open = summary[i / 64] >> i % 64 & 1;
        bool free = i < groups && tray->bits[i] && &tray->bits[i] != shelf->word;

        if (open != free || (open && i / 64 < tray->hint))
            return __LINE__;
    }
    if (tray->cells % 64 && tray->bits[groups - 1] >> tray->cells % 64)
        return __LINE__;
    if (tray->cells != shelf->cells)
        return __LINE__;
    if (tray->state != LM_TRAY_CURRENT && tray->live != lm_tray_count(tray))
        return __LINE__;
    return 0;
}

static int shelf_check_list(const struct lm_shelf *shelf, const struct lm_list *list, uint32_t state, uint32_t *count)
{
    for (const struct lm_list *link = list->next; link != list; link = link->next, ++*count) {
        const struct lm_tray *tray = LM_CONTAINER(link, struct lm_tray, list);
        int line = tray->shelf == shelf ? tray_check(tray) : __LINE__;

        if (line)
            return line;
        if (link->next->prev != link || tray->state != state)
            return __LINE__;
        if ((state == LM_TRAY_EMPTY) != (tray->live == 0) || (state == LM_TRAY_FULL) != (tray->live == tray->cells))
            return __LINE__;
    }
    return 0;
}

int lm_shelf_check(const struct lm_shelf *shelf)
{
    uint32_t count = 0, empties = 0;
    int line = shelf_check_list(shelf, &shelf->open, LM_TRAY_OPEN, &count);

    if (!line)
        line = shelf_check_list(shelf, &shelf->full, LM_TRAY_FULL, &count);
    if (!line)
        line = shelf_check_list(shelf, &shelf->empty, LM_TRAY_EMPTY, &empties);
    if (line)
        return line;
    if (empties != shelf->empties || count + empties + (shelf->current != NULL) > shelf->trays)
        return __LINE__;
    if (!shelf->current)
        return shelf->word == LM_TRAY_NO_WORD ? 0 : __LINE__;
    if (shelf->current->state != LM_TRAY_CURRENT || shelf->current->shelf != shelf)
        return __LINE__;
    uint32_t group = (uint32_t)(shelf->word - shelf->current->bits);

    if (shelf->word < shelf->current->bits || group >= lm_tray_groups(shelf->cells) ||
        shelf->base != shelf->current->first + (size_t)group * 64 * shelf->stride)
        return __LINE__;
    return tray_check(shelf->current);
}
