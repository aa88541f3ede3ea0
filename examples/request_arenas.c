/* Request arenas on private heaps: a small server answers queries of three tenants, each with a share of the memory.
 * What a request allocates is never freed by itself: its heap goes with it. A tenant that asks for too much is refused,
 * and the others do not notice. */
#include <loam/heap.h>
#include <loam/loam.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { TENANTS = 3, REQUESTS = 300, KIB = 1 << 10 };

struct tenant {
    struct loam_heap *heap;
    size_t words; /* in a request */
    int served, refused;
    unsigned long checksum;
};

struct word {
    struct word *next;
    size_t length;
    char text[];
};

/* Splits a query into a list of words and adds up their lengths; false when the tenant's memory is used up. */
static int answer(struct loam_heap *arena, const char *query, unsigned long *sum)
{
    struct word *list = NULL;

    while (*query) {
        size_t length = strcspn(query, " ");
        struct word *word = loam_heap_malloc(arena, sizeof *word + length + 1);

        if (!word)
            return 0;
        word->length = length;
        memcpy(word->text, query, length);
        word->text[length] = '\0';
        word->next = list;
        list = word;
        query += length + (query[length] == ' ');
    }
    for (; list; list = list->next)
        *sum += strlen(list->text) == list->length ? list->length : 0;
    return 1;
}

static void *serve(void *arg)
{
    struct tenant *tenant = arg;
    struct loam_heap_options options = {.struct_bytes = sizeof options, .parent = tenant->heap};

    for (int i = 0; i < REQUESTS; i++) {
        struct loam_heap *arena = loam_heap_create(&options);
        char *query = arena ? loam_heap_calloc(arena, tenant->words * 6 + 1, 1) : NULL;

        for (size_t w = 0; query && w < tenant->words; w++)
            memcpy(query + w * 6, "words ", 6);
        if (query && answer(arena, query, &tenant->checksum))
            tenant->served++;
        else
            tenant->refused++;
        loam_heap_destroy(arena); /* query, words and all */
    }
    return NULL;
}

int main(void)
{
    struct loam_heap_options options = {.struct_bytes = sizeof options, .name = "server", .quota_bytes = 1024 * KIB};
    struct loam_heap *server = loam_heap_create(&options);
    struct tenant tenants[TENANTS] = {{.words = 10}, {.words = 1000}, {.words = 100000}}; /* the last is a hog */
    struct loam_heap_figures figures = {.struct_bytes = sizeof figures};
    pthread_t threads[TENANTS];

    for (int i = 0; i < TENANTS; i++) {
        options = (struct loam_heap_options){.struct_bytes = sizeof options,
            .name = "tenant",
            .parent = server,
            .quota_bytes = 512 * KIB,
            .share_bytes = 256 * KIB};
        tenants[i].heap = loam_heap_create(&options);
        if (!tenants[i].heap || pthread_create(&threads[i], NULL, serve, &tenants[i]) != 0)
            return 1;
    }
    for (int i = 0; i < TENANTS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < TENANTS; i++) {
        loam_heap_stats(tenants[i].heap, &figures);
        printf("tenant %d: %d served, %d refused, peak %zu KiB\n", i, tenants[i].served, tenants[i].refused,
            figures.peak_bytes / KIB);
    }
    loam_heap_stats(server, &figures);
    loam_heap_destroy(server);
    return !(figures.used_bytes == 0 && tenants[0].served == REQUESTS && tenants[1].served == REQUESTS &&
        tenants[2].refused == REQUESTS && tenants[0].checksum == 5ul * 10 * REQUESTS &&
        tenants[1].checksum == 5ul * 1000 * REQUESTS);
}
