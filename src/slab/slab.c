/* slab.c: making, carving, collecting, checking and releasing slabs. */
#include "slab/slab.h"

#include <errno.h>

uintptr_t lm_secret;

/* The parts of the annex's word `remote`. */
#define REMOTE_BUCKET ((uint64_t)1 << 48)
#define REMOTE_BUCKETS (~(uint64_t)0 << 48)

static struct lm_object *remote_list(uint64_t word)
{
    return (struct lm_object *)(uintptr_t)(word & ~REMOTE_BUCKETS & ~(uint64_t)LM_MAILED);
}

static size_t slab_annex_bytes(unsigned size_class)
{
    return sizeof(struct lm_annex) + (lm_class[size_class].capacity + 1u) * sizeof(uint16_t);
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

    __builtin_memset(annex, 0, sizeof *annex + (carved + 1u) * sizeof(uint16_t));
    piece->bytes = slab_annex_bytes(size_class);
    return piece;
}

/* Makes a slab of a span, but for its owner. */
static void slab_make(struct lm_span *slab, struct lm_annex *annex, unsigned size_class, unsigned colour, bool zeroed)
{
    const struct lm_class *class = &lm_class[size_class];

    if (zeroed)
        lm_span_prefault(slab, class->granules * LM_GRANULE);
    for (uint32_t i = 1; i < class->granules; i++) {
        lm_span_set_kind(&slab[i], LM_CONT); /* neighbours look at it when they are freed */
        slab[i].granules = i;
    }
    slab->magic = class->magic;
    slab->origin = (char *)lm_span_start(slab) + colour % class->colours * class->colour_step - class->size;
    slab->object_bytes = class->size;
    slab->countdown = LM_COUNT_IDLE;
    slab->size_class = (uint8_t)size_class;
    slab->flags = zeroed ? LM_SLAB_ZEROED : 0;
    /* release: whoever finds the annex, in a fork's child, finds how long it is */
    __atomic_store_n(&slab->link, annex->link, __ATOMIC_RELEASE);
}

struct lm_span *lm_slab_create_in(uint32_t group, unsigned size_class, unsigned colour, void *owner)
{
    const struct lm_class *class = &lm_class[size_class];
    struct lm_annex *annex = slab_take_annex(size_class);
    struct lm_span *slab = NULL;
    bool zeroed = false;

    if (annex)
        slab = group ? lm_span_alloc_in(group, class->granules, 1, LM_SLAB_CURRENT)
                     : lm_span_alloc(class->granules, 1, LM_SLAB_CURRENT, &zeroed);
    if (!slab) {
        if (annex)
            lm_meta_give(slab_clean_annex(annex, size_class, 0));
        errno = ENOMEM;
        return NULL;
    }
    slab_make(slab, annex, size_class, colour, zeroed);
    /* last: from here on the common path of `owner` recognises the slab */
    __atomic_store_n(&slab->owner, owner, __ATOMIC_RELEASE);
    return slab;
}

struct lm_span *lm_slab_create_at(struct lm_span *span, unsigned size_class, unsigned colour, bool zeroed)
{
    struct lm_annex *annex = slab_take_annex(size_class);

    if (!annex) {
        errno = ENOMEM;
        return NULL;
    }
    LM_ASSERT(span->kind == LM_BLOCK && span->granules == lm_class[size_class].granules);
    slab_make(span, annex, size_class, colour, zeroed);
    lm_span_set_kind(span, LM_SLAB_CURRENT);
    return span;
}

void lm_slab_free(struct lm_span *slab)
{
    struct lm_meta_piece *piece = lm_slab_strip(slab);

    lm_span_free(slab);
    lm_meta_give(piece);
}

struct lm_meta_piece *lm_slab_strip(struct lm_span *slab)
{
    return slab_clean_annex(lm_slab_annex(slab), slab->size_class, slab->carved);
}

bool lm_slab_carve(struct lm_span *slab, unsigned most)
{
    size_t size = lm_slab_object_size(slab), step = lm_max(lm_os_page_size(), lm_config.carve_bytes);
    char *from = slab->origin + (slab->carved + (size_t)1) * size;
    char *step_end = (char *)lm_align_down((uintptr_t)from, step) + step;
    unsigned first = slab->carved + 1u, left = lm_slab_capacity(slab) - slab->carved;
    unsigned last = slab->carved + (unsigned)lm_min(((size_t)(step_end - from) + size - 1) / size, lm_min(left, most));

    if (left == 0)
        return false;
    for (unsigned n = first; n < last; n++)
        lm_slab_set_link(slab, n, (uint16_t)(n + 1));
    __atomic_store_n(&slab->carved, (uint16_t)last, __ATOMIC_RELEASE); /* pairs with lm_slab_count_free */
    slab->head = (uint16_t)first;
    return true;
}

void *lm_slab_carve_one(struct lm_span *slab, bool *zeroed)
{
    unsigned n = slab->carved + 1u;

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
    slab->head = 0;
    slab->countdown = LM_COUNT_IDLE;
    slab->flags = 0;
    __atomic_store_n(&slab->carved, 0, __ATOMIC_RELEASE);
}

void lm_slab_rebuild(struct lm_span *slab)
{
    slab->head = 0;
    for (unsigned n = slab->carved; n > 0; n--)
        if (lm_slab_link(slab, n) != LM_LIVE)
            lm_slab_push(slab, n);
}

void lm_slab_die_overwritten(const struct lm_span *slab, const void *object)
{
    lm_die("loam: free list overwritten: %p, a free block of %zu bytes, was written to after it was freed. "
           "Run the program again under valgrind or an address sanitizer to find the writer.\n",
        object, lm_slab_object_size(slab));
}

_Noreturn static LM_COLD void slab_die_twice(const struct lm_span *slab, const void *object)
{
    lm_die("loam: double free: %p (in a slab of %zu-byte blocks), by two threads. "
           "Run the program again under valgrind or an address sanitizer to find the place.\n",
        object, lm_slab_object_size(slab));
}

unsigned lm_slab_collect(struct lm_span *slab, bool delivered)
{
    uint64_t *remote = &lm_slab_annex(slab)->remote;
    struct lm_object *object, *next;
    unsigned count = 0;

    if (!delivered && !remote_list(__atomic_load_n(remote, __ATOMIC_RELAXED)))
        return 0;
    /* acquire: pairs with the release in lm_slab_push_remote, so that the pushed links are seen */
    object = remote_list(lm_word_and(remote, delivered ? REMOTE_BUCKETS : REMOTE_BUCKETS | LM_MAILED));
    for (; object; object = next, count++) {
        if (!lm_object_is_marked(object))
            lm_slab_die_overwritten(slab, object);
        if (lm_slab_is_free(slab, object))
            slab_die_twice(slab, object);
        next = object->next;
        object->mark = 0; /* when the block is handed out again, nothing shall look like a mark */
        lm_slab_put(slab, object);
    }
    return count;
}

void lm_slab_open_bucket(struct lm_span *slab)
{
    lm_count_add(&lm_slab_annex(slab)->remote, REMOTE_BUCKET);
}

void lm_slab_close_bucket(struct lm_span *slab)
{
    lm_count_add(&lm_slab_annex(slab)->remote, 0 - REMOTE_BUCKET);
}

void lm_slab_forget_buckets(struct lm_span *slab)
{
    lm_slab_annex(slab)->remote &= ~REMOTE_BUCKETS;
}

bool lm_slab_push_remote(struct lm_span *slab, struct lm_object *head, struct lm_object *tail, bool bucket)
{
    uint64_t *remote = &lm_slab_annex(slab)->remote, seen = __atomic_load_n(remote, __ATOMIC_RELAXED), word;

    do {
        lm_object_link(tail, remote_list(seen));
        word = (seen & REMOTE_BUCKETS) - (bucket ? REMOTE_BUCKET : 0) + ((uintptr_t)head | LM_MAILED);
    } while (!__atomic_compare_exchange_n(remote, &seen, word, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return !(seen & LM_MAILED);
}

unsigned lm_slab_list_length(const struct lm_span *slab)
{
    unsigned count = 0;

    for (uint32_t n = slab->head; n; n = lm_slab_link(slab, n))
        count++;
    return count;
}

unsigned lm_slab_count_free(const struct lm_span *slab)
{
    unsigned count = 0, carved = __atomic_load_n(&slab->carved, __ATOMIC_ACQUIRE); /* the annex is there, too */

    for (unsigned n = 1; n <= carved; n++)
        count += lm_slab_link(slab, n) != LM_LIVE;
    return count;
}

int lm_slab_check(const struct lm_span *slab)
{
    const struct lm_class *class = &lm_class[slab->size_class];
    unsigned count = 0, free_objects = lm_slab_count_free(slab);

    if (slab->carved > class->capacity || slab->object_bytes != class->size)
        return __LINE__;
    for (uint32_t n = slab->head; n; n = lm_slab_link(slab, n), count++)
        if (n > slab->carved || count == free_objects || lm_slab_link(slab, n) == LM_LIVE)
            return __LINE__;
    if (count != free_objects || lm_slab_link(slab, 0) == LM_LIVE)
        return __LINE__;
    for (uint32_t n = slab->carved + 1u; n <= class->capacity; n++)
        if (lm_slab_link(slab, n) == LM_LIVE)
            return __LINE__;
    if (slab->kind == LM_SLAB_PARTIAL && (unsigned)slab->countdown + count != slab->carved)
        return __LINE__;
    if (slab->kind == LM_SLAB_FULL && (slab->carved != class->capacity || slab->countdown == 0))
        return __LINE__;
    return 0;
}
