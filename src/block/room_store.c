/* room_store.c: see room_store.h. */
#include "block/room_store.h"

#include <errno.h>

#define STORE_CHUNK ((size_t)16 << 10)   /* of headers, unless one is larger */
#define STORE_MAPPING ((size_t)64 << 10) /* of the operating system: fewer calls, and few mappings to count */
#define STORE_HUGE ((size_t)2 << 20)

struct store_chunk {
    struct lm_list link;
    size_t bytes;
} __attribute__((aligned(LM_CACHE_LINE)));

size_t lm_store_grain(const struct loam_source *source)
{
    if (!source)
        return LM_GRANULE;
    if (source == loam_source_os())
        return lm_max(STORE_MAPPING, lm_os_page_size());
    return source == loam_source_huge() ? STORE_HUGE : LOAM_SOURCE_GRAIN;
}

/* A source of the user's own may break its promise. */
static void *store_ask(const struct loam_source *source, size_t bytes, size_t align)
{
    void *p = lm_source_map(source, bytes, align);

    if (p && (uintptr_t)p & (align - 1)) {
        lm_source_unmap(source, p, bytes);
        errno = EINVAL;
        return NULL;
    }
    return p;
}

void *lm_store_home(const struct loam_source *source, size_t home_bytes, size_t limit_bytes)
{
    size_t grain = lm_store_grain(source), bytes = lm_align_up(home_bytes, grain);
    struct lm_store *store;

    if (bytes > limit_bytes || bytes < home_bytes) {
        errno = ENOMEM;
        return NULL;
    }
    store = store_ask(source, bytes, LOAM_SOURCE_GRAIN);
    if (!store)
        return NULL;
    *store = (struct lm_store){
        .source = source,
        .grain = grain,
        .limit_bytes = limit_bytes,
        .held_bytes = bytes,
        .peak_bytes = bytes,
        .home = (char *)store,
        .home_bytes = bytes,
    };
    return store;
}

void lm_store_init(struct lm_store *store, void *home, size_t kept_bytes, size_t header_bytes)
{
    store->home_room = (char *)home + lm_align_up(kept_bytes, LM_CACHE_LINE);
    store->header_bytes = lm_align_up(header_bytes, LM_CACHE_LINE);
    store->bump = store->home_room;
    store->bump_end = store->home + store->home_bytes;
    store->free_headers = NULL;
    lm_list_init(&store->chunks);
}

void lm_store_charge(struct lm_store *store, size_t bytes)
{
    store->held_bytes += bytes;
    store->peak_bytes = lm_max(store->peak_bytes, store->held_bytes);
}

void *lm_store_map(struct lm_store *store, size_t bytes, size_t align)
{
    size_t whole = lm_store_round(store, bytes);
    void *p;

    if (whole < bytes || !lm_store_allows(store, whole)) {
        errno = ENOMEM;
        return NULL;
    }
    p = store_ask(store->source, whole, align);
    if (p)
        lm_store_charge(store, whole);
    return p;
}

void lm_store_unmap(struct lm_store *store, void *p, size_t bytes)
{
    size_t whole = lm_store_round(store, bytes);

    lm_source_unmap(store->source, p, whole);
    store->held_bytes -= whole;
}

static bool store_grow(struct lm_store *store)
{
    size_t bytes = lm_store_round(store, sizeof(struct store_chunk) + lm_max(store->header_bytes, STORE_CHUNK));
    struct store_chunk *chunk = lm_store_map(store, bytes, LOAM_SOURCE_GRAIN);

    if (!chunk)
        return false;
    chunk->bytes = bytes;
    lm_list_push_back(&store->chunks, &chunk->link);
    store->bump = (char *)(chunk + 1);
    store->bump_end = (char *)chunk + bytes;
    return true;
}

void *lm_store_header(struct lm_store *store)
{
    void *header = store->free_headers;

    if (header) {
        store->free_headers = *(void **)header;
        return header;
    }
    if ((size_t)(store->bump_end - store->bump) < store->header_bytes && !store_grow(store))
        return NULL;
    header = store->bump;
    store->bump += store->header_bytes;
    return header;
}

void lm_store_free_header(struct lm_store *store, void *header)
{
    *(void **)header = store->free_headers;
    store->free_headers = header;
}

void lm_store_clear(struct lm_store *store)
{
    struct lm_list *link;

    while ((link = lm_list_pop_front(&store->chunks)) != NULL) {
        struct store_chunk *chunk = LM_CONTAINER(link, struct store_chunk, link);

        lm_store_unmap(store, chunk, chunk->bytes);
    }
    store->free_headers = NULL;
    store->bump = store->home_room;
    store->bump_end = store->home + store->home_bytes;
}

void lm_store_close(struct lm_store *store)
{
    struct lm_store last = *store; /* it stands in what is given back */

    lm_source_unmap(last.source, last.home, last.home_bytes);
}

static bool store_holds(const struct lm_store *store, const char *header)
{
    if (header >= store->home_room && header < store->home + store->home_bytes)
        return true;
    for (const struct lm_list *link = store->chunks.next; link != &store->chunks; link = link->next) {
        const struct store_chunk *chunk = LM_CONTAINER(link, struct store_chunk, link);

        if (header >= (const char *)(chunk + 1) && header < (const char *)chunk + chunk->bytes)
            return true;
    }
    return false;
}

int lm_store_check(const struct lm_store *store, size_t mapped_bytes)
{
    size_t bytes = store->home_bytes + mapped_bytes;

    for (const struct lm_list *link = store->chunks.next; link != &store->chunks; link = link->next) {
        if (link->next->prev != link)
            return __LINE__;
        bytes += LM_CONTAINER(link, struct store_chunk, link)->bytes;
    }
    if (bytes != store->held_bytes || store->held_bytes > store->peak_bytes)
        return __LINE__;
    for (void *header = store->free_headers; header; header = *(void **)header)
        if (!store_holds(store, header))
            return __LINE__;
    return 0;
}
