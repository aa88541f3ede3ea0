/* A key-value store under a budget of 4 MiB on class tables. It keeps no list of recently used entries: when memory is
 * short the table picks a slab, and the store forgets what lies there. First the store is filled with small values, then
 * only large ones are written: the small ones' slabs go over to them. */
#include <loam/classes.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    BUCKETS = 4096,
    KIB = 1 << 10,
    MIB = 1 << 20,
    SMALL = 64,
    LARGE = 6000,
    SMALL_COUNT = 60000,
    LARGE_COUNT = 2000
};

struct entry {
    struct entry *next;
    uint32_t key, bytes;
    unsigned char value[];
};

static struct entry *bucket[BUCKETS];
static struct loam_classes *table;
static size_t evicted;

static struct entry **place_of(uint32_t key)
{
    struct entry **place = &bucket[key * 2654435761u % BUCKETS];

    while (*place && (*place)->key != key)
        place = &(*place)->next;
    return place;
}

static void forget(struct entry **place)
{
    struct entry *entry = *place;

    *place = entry->next;
    loam_classes_free(table, entry);
}

/* A block of the slab that the table wants: an entry of ours. */
static void evict_one(void *block, size_t bytes, void *arg)
{
    (void)bytes;
    (void)arg;
    forget(place_of(((struct entry *)block)->key));
    evicted++;
}

static void evict(struct loam_classes *classes, struct loam_classes_slab *slab, void *arg)
{
    loam_classes_slab_each(classes, slab, evict_one, arg);
}

static int put(uint32_t key, uint32_t bytes)
{
    struct entry *entry = loam_classes_alloc(table, sizeof *entry + bytes), **place;

    if (!entry)
        return 0;
    entry->key = key;
    entry->bytes = bytes;
    memset(entry->value, (int)key, bytes);
    place = place_of(key); /* found after the allocation, which may have evicted what stood there */
    if (*place)
        forget(place);
    place = place_of(key);
    entry->next = *place;
    *place = entry;
    return 1;
}

/* How many of the keys are still there, all of them with the right value. */
static size_t count(uint32_t from, uint32_t to)
{
    size_t found = 0;

    for (uint32_t key = from; key < to; key++) {
        const struct entry *entry = *place_of(key);

        if (entry && (entry->value[0] != (unsigned char)key || entry->value[entry->bytes - 1] != (unsigned char)key))
            return 0;
        found += entry != NULL;
    }
    return found;
}

int main(void)
{
    struct loam_classes_options options = {
        .struct_bytes = sizeof options, .name = "store", .max_bytes = 16 * KIB, .limit_bytes = 4 * MIB, .evict = evict};
    struct loam_classes_figures figures = {.struct_bytes = sizeof figures};
    size_t stored = 0, small, large;

    table = loam_classes_create(&options);
    if (!table)
        return 1;
    for (uint32_t key = 0; key < SMALL_COUNT; key++)
        stored += (size_t)put(key, SMALL);
    small = count(0, SMALL_COUNT);
    printf("%zu small values written, %zu there, %zu evicted\n", stored, small, evicted);
    for (uint32_t key = SMALL_COUNT; key < SMALL_COUNT + LARGE_COUNT; key++)
        stored += (size_t)put(key, LARGE);
    large = count(SMALL_COUNT, SMALL_COUNT + LARGE_COUNT);
    loam_classes_stats(table, &figures);
    printf("%d large values written, %zu there (%zu KiB) and %zu small ones; %llu slabs moved, %zu KiB held at most\n",
        LARGE_COUNT, large, large * LARGE / KIB, count(0, SMALL_COUNT), (unsigned long long)figures.moved,
        figures.peak_bytes / KIB);
    loam_classes_destroy(table);
    return !(stored == SMALL_COUNT + LARGE_COUNT && small > 30000 && large * LARGE > 3 * MIB && figures.moved > 30 &&
        figures.peak_bytes <= 4 * MIB);
}
