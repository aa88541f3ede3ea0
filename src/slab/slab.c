/* slab.c: making, carving, collecting, checking and releasing slabs. */
#include "slab/slab.h"

#include <errno.h>

uintptr_t lm_secret;

enum { SLAB_ZEROED = 2 }; /* span flag: fresh objects read as zero */

struct lm_span *lm_slab_create(unsigned size_class, unsigned colour, void *owner)
{
    return lm_slab_create_in(0, size_class, colour, owner);
}

struct lm_span *lm_slab_create_in(uint32_t group, unsigned size_class, unsigned colour, void *owner)
{
    const struct lm_class *class = &lm_class[size_class];
    bool zeroed = false;
    struct lm_span *slab = group ? lm_span_alloc_in(group, class->granules, 1, LM_SLAB_CURRENT)
                                 : lm_span_alloc(class->granules, 1, LM_SLAB_CURRENT, &zeroed);

    if (!slab)
        return NULL;
    if (zeroed)
        lm_span_prefault(slab, class->granules * LM_GRANULE);
    for (uint32_t i = 1; i < class->granules; i++) {
        lm_span_set_kind(&slab[i], LM_CONT); /* neighbours look at it when they are freed */
        slab[i].granules = i;
        slab[i].holes = 0;
    }
    slab->magic = class->magic;
    slab->first = (char *)lm_span_start(slab) + colour % class->colours * class->colour_step;
    slab->countdown = LM_COUNT_IDLE;
    slab->capacity = class->capacity;
    slab->size_class = (uint8_t)size_class;
    slab->flags = zeroed ? SLAB_ZEROED : 0;
    /* last: from here on the common path of `owner` recognises the slab */
    __atomic_store_n(&slab->owner, owner, __ATOMIC_RELEASE);
    return slab;
}

bool lm_slab_carve(struct lm_span *slab)
{
    size_t size = lm_slab_object_size(slab), step = lm_max(lm_os_page_size(), lm_config.carve_bytes);
    char *from = slab->first + slab->carved * size;
    char *step_end = (char *)lm_align_down((uintptr_t)from, step) + step;
    size_t count = lm_min(((size_t)(step_end - from) + size - 1) / size, (size_t)slab->capacity - slab->carved);
    struct lm_object *object = (struct lm_object *)(void *)from;

    if (count == 0)
        return false;
    for (size_t i = 1; i < count; i++) {
        struct lm_object *next = (struct lm_object *)(void *)((char *)object + size);

        lm_object_link(object, next);
        object = next;
    }
    lm_object_link(object, NULL);
    /* the list last: a fork in another thread may see the slab at any moment of this */
    __atomic_store_n(&slab->carved, (uint16_t)(slab->carved + count), __ATOMIC_RELAXED);
    __atomic_store_n(&slab->free, from, __ATOMIC_RELEASE);
    return true;
}

void *lm_slab_carve_one(struct lm_span *slab, bool *zeroed)
{
    struct lm_object *object;

    if (slab->carved == slab->capacity)
        return NULL;
    object = (struct lm_object *)(void *)(slab->first + slab->carved * lm_slab_object_size(slab));
    *zeroed = slab->flags & SLAB_ZEROED;
    if (!*zeroed)
        object->mark = 0; /* the memory may have been a slab of this class before, with its marks */
    __atomic_store_n(&slab->carved, (uint16_t)(slab->carved + 1), __ATOMIC_RELAXED);
    return object;
}

void lm_slab_die_overwritten(const struct lm_span *slab, const void *object)
{
    lm_die("loam: free list overwritten: %p, a free block of %zu bytes, was written to after it was freed. "
           "Run the program again under valgrind or an address sanitizer to find the writer.\n",
        object, lm_slab_object_size(slab));
}

/* Dies unless the object is free and its link intact. */
static void slab_prove(const struct lm_span *slab, const struct lm_object *object)
{
    if (LOAM_HARDENING && LM_UNLIKELY(!lm_object_is_marked(object)))
        lm_slab_die_overwritten(slab, object);
}

unsigned lm_slab_collect(struct lm_span *slab, bool delivered)
{
    /* acquire: pairs with the release in lm_slab_push_remote, so that the pushed links are seen */
    uintptr_t word = lm_word_and(&slab->remote, delivered ? (uintptr_t)0 : (uintptr_t)LM_MAILED);
    struct lm_object *head = (struct lm_object *)(word & ~(uintptr_t)LM_MAILED), *object = head;
    unsigned count = 1;

    if (!head)
        return 0;
    for (;; count++) {
        slab_prove(slab, object);
        if (!object->next)
            break;
        object = object->next;
    }
    lm_object_link(object, slab->free);
    slab->free = head;
    return count;
}

bool lm_slab_push_remote(struct lm_span *slab, struct lm_object *head, struct lm_object *tail)
{
    uintptr_t seen = __atomic_load_n(&slab->remote, __ATOMIC_RELAXED);

    do
        lm_object_link(tail, (struct lm_object *)(seen & ~(uintptr_t)LM_MAILED));
    while (!__atomic_compare_exchange_n(
        &slab->remote, &seen, (uintptr_t)head | LM_MAILED, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return !(seen & LM_MAILED);
}

LM_RACY unsigned lm_slab_count_free(const struct lm_span *slab)
{
    const char *start = lm_span_start(slab);
    size_t bytes = (size_t)slab->granules * LM_GRANULE;
    unsigned count = 0;

    for (const struct lm_object *object = slab->free;
         object && (size_t)((const char *)object - start) < bytes && count < slab->capacity; object = object->next) {
        if (LOAM_HARDENING && !lm_object_is_marked(object))
            break;
        count++;
    }
    return count;
}

bool lm_slab_list_has(const struct lm_span *slab, const void *wanted)
{
    for (const struct lm_object *object = slab->free; object; object = object->next) {
        if (object == wanted)
            return true;
        slab_prove(slab, object);
    }
    return false;
}

int lm_slab_check(const struct lm_span *slab)
{
    size_t size = lm_slab_object_size(slab);
    unsigned count = 0;

    if (slab->carved > slab->capacity || slab->capacity != lm_class[slab->size_class].capacity)
        return __LINE__;
    for (const struct lm_object *object = slab->free; object; object = object->next, count++) {
        if (!lm_slab_on_boundary(slab, object))
            return __LINE__;
        if ((size_t)((const char *)object - slab->first) >= slab->carved * size)
            return __LINE__;
        if (LOAM_HARDENING && !lm_object_is_marked(object))
            return __LINE__;
        if (count == slab->carved)
            return __LINE__; /* a ring */
    }
    if (slab->kind == LM_SLAB_PARTIAL && (unsigned)slab->countdown + count + lm_slab_absent(slab) != slab->carved)
        return __LINE__;
    if (slab->kind == LM_SLAB_FULL && (slab->carved != slab->capacity || slab->countdown == 0))
        return __LINE__;
    return 0;
}
