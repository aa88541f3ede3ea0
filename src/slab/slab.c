/* slab.c: making, carving, collecting, checking and releasing slabs. */
#include "slab/slab.h"

#include <errno.h>

/* The parts of the annex's word `remote`. */
#define REMOTE_ONE ((uint32_t)1 << 17)

static uint32_t remote_head(uint32_t word)
{
    return word >> 1 & 0xffff;
}

static uint32_t remote_count(uint32_t word)
{
    return word / REMOTE_ONE;
}

static size_t slab_annex_bytes(unsigned size_class)
{
    return offsetof(struct lm_annex, link) + (lm_class[size_class].capacity + 1u) * sizeof(uint16_t);
}

/* Memory for a slab. Of several granules often only an object or two is ever used; so the first of its class takes no
 * pages that are there already, for they would stay. */
static struct lm_span *slab_span(uint32_t group, unsigned size_class, bool *zeroed)
{
    static bool known[LM_CLASSES]; /* atomic; two that are first at once are both first */
    uint32_t granules = lm_class[size_class].granules;

    if (group)
        return lm_span_alloc_in(group, granules, 1, LM_SLAB_CURRENT);
    if (granules == 1 || __atomic_load_n(&known[size_class], __ATOMIC_RELAXED))
        return lm_span_alloc(granules, 1, LM_SLAB_CURRENT, zeroed);
    __atomic_store_n(&known[size_class], true, __ATOMIC_RELAXED);
    return lm_span_alloc_sparse(granules, LM_SLAB_CURRENT, zeroed);
}

struct lm_span *lm_slab_create(unsigned size_class, unsigned colour, void *owner)
{
    return lm_slab_create_in(0, size_class, colour, owner);
}

/* An annex of all zeros. */
static struct lm_annex *slab_take_annex(unsigned size_class)
{
    return lm_meta_take(slab_annex_bytes(size_class));
}

/* Makes it so again: no link beyond the objects that were carved was ever written. */
static struct lm_meta_piece *slab_clean_annex(struct lm_annex *annex, unsigned size_class, unsigned carved)
{
    struct lm_meta_piece *piece = (struct lm_meta_piece *)(void *)annex;

    __builtin_memset(annex, 0, offsetof(struct lm_annex, link) + (carved + 1u) * sizeof(uint16_t));
    piece->bytes = slab_annex_bytes(size_class);
    return piece;
}

/* Makes a slab of a span. */
static void slab_make(
    struct lm_span *slab, struct lm_annex *annex, unsigned size_class, unsigned colour, bool zeroed, void *owner)
{
    const struct lm_class *class = &lm_class[size_class];

    for (uint32_t i = 1; i < class->granules; i++) {
        lm_span_set_kind(&slab[i], LM_CONT); /* neighbours look at it when they are freed */
        slab[i].granules = i;
    }
    slab->magic = class->magic;
    slab->origin = (char *)lm_span_start(slab) + colour % class->colours * class->colour_step - class->size;
    slab->object_bytes = class->size;
    annex->origin = slab->origin;
    annex->object_bytes = class->size;
    annex->countdown = LM_COUNT_IDLE;
    slab->size_class = (uint8_t)size_class;
    slab->flags = zeroed ? LM_SLAB_ZEROED : 0;
    /* release: whoever finds the annex, in a fork's child, finds how long it is */
    __atomic_store_n(&slab->link, annex->link, __ATOMIC_RELEASE);
    lm_span_set_kind(slab, LM_SLAB_CURRENT);
    /* last: from here on the common path of `owner` recognises the slab */
    __atomic_store_n(&slab->owner, owner, __ATOMIC_RELEASE);
}

struct lm_span *lm_slab_create_in(uint32_t group, unsigned size_class, unsigned colour, void *owner)
{
    struct lm_annex *annex = slab_take_annex(size_class);
    struct lm_span *slab = NULL;
    bool zeroed = false;

    if (annex)
        slab = slab_span(group, size_class, &zeroed);
    if (!slab) {
        if (annex)
            lm_meta_give(slab_clean_annex(annex, size_class, 0));
        errno = ENOMEM;
        return NULL;
    }
    slab_make(slab, annex, size_class, colour, zeroed, owner);
    return slab;
}

struct lm_span *lm_slab_create_at(struct lm_span *span, unsigned size_class, unsigned colour, bool zeroed, void *owner)
{
    struct lm_annex *annex = slab_take_annex(size_class);

    if (!annex) {
        lm_span_free(span);
        errno = ENOMEM;
        return NULL;
    }
    LM_ASSERT(!span->link && span->granules == lm_class[size_class].granules);
    slab_make(span, annex, size_class, colour, zeroed, owner);
    return span;
}

void lm_slab_free_all(lm_span_id first)
{
    struct lm_annex *annexes = NULL, *annex;
    struct lm_meta_piece *pieces = NULL, *piece;

    for (lm_span_id id = first; id; id = lm_span_at(id)->next) {
        const struct lm_span *span = lm_span_at(id);

        if (span->kind < LM_SLAB_CURRENT)
            continue;
        annex = lm_slab_annex(span);
        annex->parting = annexes;
        annex->parting_class = span->size_class;
        annex->parting_carved = span->carved;
        annexes = annex;
    }
    /* before that: whoever walks all slabs, or a fork's child, must find none with a cleaned annex */
    lm_span_free_all(first);
    while ((annex = annexes) != NULL) {
        annexes = annex->parting;
        piece = slab_clean_annex(annex, annex->parting_class, annex->parting_carved);
        piece->next = pieces;
        pieces = piece;
    }
    lm_meta_give(pieces);
}

void lm_slab_free(struct lm_span *slab)
{
    __atomic_store_n(&slab->next, 0, __ATOMIC_RELAXED); /* who pops it from a pile may still read it (base/pile.h) */
    lm_slab_free_all(lm_span_id_of(slab));
}

/* How much is carved at a time: a power of two. */
static size_t slab_step(const struct lm_span *slab)
{
    size_t step = lm_max(lm_os_page_size(), lm_config.carve_bytes);

    if (slab->flags & LM_SLAB_AHEAD && lm_config.prefault_bytes > step)
        step = (size_t)1 << lm_log2_floor(lm_config.prefault_bytes);
    return step;
}

/* Has the kernel give all pages of a step at once, instead of one by one as they are touched. */
static void slab_populate(const struct lm_span *slab, const char *from, const char *step_end)
{
    char *start = lm_span_start(slab), *first = (char *)lm_align_up((uintptr_t)from, lm_os_page_size());
    size_t room = (size_t)(start + slab->granules * LM_GRANULE - first);
    size_t bytes = first < step_end ? lm_min((size_t)(step_end - first), room) : 0;

    if (bytes > lm_os_page_size())
        lm_os_populate(first, bytes);
}

/* Makes `head` the first of the list, 0: none. */
static void slab_set_head(struct lm_span *slab, uint32_t head)
{
    struct lm_annex *annex = lm_slab_annex(slab);

    annex->head = head;
    annex->ready = lm_slab_object(slab, head);
}

bool lm_slab_carve(struct lm_span *slab, unsigned most)
{
    size_t size = lm_slab_object_size(slab), step = slab_step(slab);
    char *from = slab->origin + (slab->carved + (size_t)1) * size;
    char *step_end = (char *)lm_align_down((uintptr_t)from, step) + step;
    unsigned first = slab->carved + 1u, left = lm_slab_capacity(slab) - slab->carved;
    unsigned last = slab->carved + (unsigned)lm_min(((size_t)(step_end - from) + size - 1) / size, lm_min(left, most));

    if (LM_UNLIKELY(lm_slab_annex(slab)->head))
        lm_slab_die_twice(slab, 0);
    if (left == 0)
        return false;
    if (slab->flags & LM_SLAB_AHEAD)
        slab_populate(slab, from, step_end);
    for (unsigned n = first; n < last; n++)
        lm_slab_set_link(slab, n, (uint16_t)(n + 1));
    __atomic_store_n(&slab->carved, (uint16_t)last, __ATOMIC_RELEASE); /* pairs with lm_slab_count_free */
    slab_set_head(slab, first);
    return true;
}

void *lm_slab_carve_one(struct lm_span *slab, bool *zeroed)
{
    unsigned n = slab->carved + 1u;

    if (LM_UNLIKELY(lm_slab_annex(slab)->head))
        lm_slab_die_twice(slab, 0);
    if (n > lm_slab_capacity(slab))
        return NULL;
    *zeroed = slab->flags & LM_SLAB_ZEROED;
    __atomic_store_n(&slab->carved, (uint16_t)n, __ATOMIC_RELEASE);
    lm_slab_set_link(slab, n, LM_LIVE);
    return lm_slab_object(slab, n);
}

void lm_slab_renew(struct lm_span *slab)
{
    __builtin_memset(slab->link, 0, (slab->carved + 1u) * sizeof slab->link[0]);
    lm_slab_annex(slab)->head = 0;
    lm_slab_unlook(slab);
    lm_slab_annex(slab)->countdown = LM_COUNT_IDLE;
    slab->flags = 0;
    __atomic_store_n(&slab->carved, 0, __ATOMIC_RELEASE);
}

void lm_slab_rebuild(struct lm_span *slab)
{
    lm_slab_annex(slab)->head = 0;
    for (unsigned n = slab->carved; n > 0; n--)
        if (lm_slab_is_home(slab, n))
            lm_slab_push(slab, n, lm_slab_object(slab, n));
}

void lm_slab_die_twice(const struct lm_span *slab, uint64_t n)
{
    static const char advice[] = "Run the program again under valgrind or an address sanitizer to find the place.";
    size_t size = lm_slab_object_size(slab);

    if (n == 0)
        lm_die("loam: double free: of a %zu-byte block, by two threads. %s\n", size, advice);
    lm_die("loam: double free: %p (in a slab of %zu-byte blocks), by two threads. %s\n",
        lm_slab_object(slab, (uint32_t)n), size, advice);
}

unsigned lm_slab_collect(struct lm_span *slab, bool delivered)
{
    uint32_t *remote = &lm_slab_annex(slab)->remote, word, head = lm_slab_annex(slab)->head, n;
    unsigned count = 0;

    if (!delivered && __atomic_load_n(remote, __ATOMIC_RELAXED) <= LM_MAILED)
        return 0;
    /* acquire: pairs with the release in lm_slab_push_remote, so that the chain's links are seen; release: with its acquire, so
     * that whoever takes the mailed bit next writes mail_next after it was read here */
    word = delivered ? __atomic_exchange_n(remote, 0, __ATOMIC_ACQ_REL)
                     : __atomic_fetch_and(remote, LM_MAILED, __ATOMIC_ACQ_REL);
    for (n = remote_head(word); n; count++) {
        uint32_t next = lm_slab_link(slab, n) ^ LM_AWAY;

        if (LM_UNLIKELY(next >= (LM_LIVE ^ LM_AWAY))) /* live, or at home */
            lm_slab_die_twice(slab, n);
        lm_slab_set_link(slab, n, (uint16_t)head);
        head = n;
        n = next;
    }
    if (LM_UNLIKELY(count != remote_count(word))) /* it led into another's chain, or out of one's own */
        lm_slab_die_twice(slab, 0);
    slab_set_head(slab, head);
    return count;
}

bool lm_slab_push_remote(struct lm_span *slab, uint32_t head, uint32_t tail, uint32_t count)
{
    uint32_t *remote = &lm_slab_annex(slab)->remote, seen = __atomic_load_n(remote, __ATOMIC_RELAXED), word;

    if (LM_UNLIKELY(lm_slab_link(slab, tail) != LM_AWAY)) /* freed meanwhile, or taken: it is in another list too */
        lm_slab_die_twice(slab, tail);
    do {
        lm_slab_send(slab, tail, remote_head(seen));
        word = (remote_count(seen) + count) * REMOTE_ONE | head << 1 | LM_MAILED;
    } while (!__atomic_compare_exchange_n(remote, &seen, word, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return !(seen & LM_MAILED);
}

unsigned lm_slab_list_length(const struct lm_span *slab)
{
    unsigned count = 0;

    for (uint32_t n = lm_slab_annex(slab)->head; n && n < LM_AWAY; n = lm_slab_link(slab, n))
        count++;
    return count;
}

unsigned lm_slab_count_free(const struct lm_span *slab)
{
    unsigned count = 0, carved = __atomic_load_n(&slab->carved, __ATOMIC_ACQUIRE); /* the annex is there, too */

    for (unsigned n = 1; n <= carved; n++)
        count += lm_slab_is_home(slab, n);
    return count;
}

/* Others may be pushing: what is in the list stays there, and in its order. */
static int slab_check_remote(const struct lm_span *slab)
{
    uint32_t word = __atomic_load_n(&lm_slab_annex(slab)->remote, __ATOMIC_ACQUIRE), count = 0;

    for (uint32_t n = remote_head(word); n; n = lm_slab_link(slab, n) ^ LM_AWAY, count++)
        if (n > slab->carved || count == remote_count(word) || lm_slab_is_home(slab, n) ||
            lm_slab_link(slab, n) == LM_LIVE)
            return __LINE__;
    return count == remote_count(word) ? 0 : __LINE__;
}

int lm_slab_check(const struct lm_span *slab)
{
    const struct lm_class *class = &lm_class[slab->size_class];
    const struct lm_annex *annex = lm_slab_annex(slab);
    unsigned count = 0, free_objects = lm_slab_count_free(slab);

    if (slab->carved > class->capacity || slab->object_bytes != class->size)
        return __LINE__;
    for (uint32_t n = annex->head; n; n = lm_slab_link(slab, n), count++)
        if (n > slab->carved || count == free_objects || !lm_slab_is_home(slab, n))
            return __LINE__;
    if (count != free_objects || !lm_slab_is_home(slab, 0))
        return __LINE__;
    for (uint32_t n = slab->carved + 1u; n <= class->capacity; n++)
        if (!lm_slab_is_home(slab, n))
            return __LINE__;
    if (annex->origin != slab->origin || annex->object_bytes != slab->object_bytes)
        return __LINE__;
    if (annex->head && annex->ready != lm_slab_object(slab, annex->head))
        return __LINE__;
    if (slab->kind == LM_SLAB_PARTIAL && annex->countdown + count != slab->carved)
        return __LINE__;
    if (slab->kind == LM_SLAB_FULL && (slab->carved != class->capacity || annex->countdown == 0))
        return __LINE__;
    return slab_check_remote(slab);
}
