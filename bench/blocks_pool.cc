// blocks_pool: races pools and class tables against malloc and its kin.
//
//   bench-blocks_pool [--rounds N] [--scale N] [pool|classes|recovery] [memslab=LIBRARY.so]
//
// Every contestant runs once a round, in an order shuffled anew, after one round that does not count; printed are
// medians in nanoseconds a pair of one allocation and one free, and the ratio to libc's malloc. Each object's first word
// is written when it is allocated and read when it is freed.
//
//   lifo     1,000 objects allocated, then freed last first
//   fifo     1,000 live objects, the oldest replaced
//   random   10,000 live objects, any one replaced
//
// A memslab library is skywind3000/memslab's imemslab.c compiled as a shared object; it is loaded, never linked.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <memory_resource>
#include <random>
#include <string>
#include <vector>

#include <loam/classes.h>
#include <loam/loam.h>
#include <loam/pool.h>

namespace
{

struct memslab_names {
    void (*init)(int page_shift, int page_malloc, size_t *sizes);
    void *(*malloc)(size_t);
    void (*free)(void *);
    bool present;
} memslab;

int rounds = 9, scale = 1;
volatile uintptr_t sink;

// -- lifetimes; `get` and `put` are inlined, so that each contestant's call is direct --

template <class Get, class Put> size_t lifo(Get get, Put put, uint32_t *)
{
    enum { LIVE = 1000, TIMES = 300 };
    static void *p[LIVE];
    uintptr_t sum = 0;

    for (int i = 0; i < TIMES * scale; i++) {
        for (int j = 0; j < LIVE; j++)
            *(uintptr_t *)(p[j] = get()) = (uintptr_t)j;
        for (int j = LIVE; j-- > 0;) {
            sum += *(uintptr_t *)p[j];
            put(p[j]);
        }
    }
    sink = sum;
    return (size_t)LIVE * TIMES * scale;
}

template <class Get, class Put, int LIVE, bool RANDOM> size_t replace(Get get, Put put, uint32_t *random)
{
    enum { TIMES = 300000 };
    static void *p[LIVE];
    uintptr_t sum = 0;
    uint32_t x = *random;

    for (int j = 0; j < LIVE; j++)
        *(uintptr_t *)(p[j] = get()) = (uintptr_t)j;
    for (int i = 0, j = 0; i < TIMES * scale; i++) {
        if (RANDOM) {
            x = x * 1664525 + 1013904223;
            j = (int)((uint64_t)x * LIVE >> 32);
        } else {
            j = j + 1 == LIVE ? 0 : j + 1;
        }
        sum += *(uintptr_t *)p[j];
        put(p[j]);
        *(uintptr_t *)(p[j] = get()) = (uintptr_t)i;
    }
    for (int j = 0; j < LIVE; j++)
        put(p[j]);
    sink = sum;
    *random = x;
    return (size_t)TIMES * scale;
}

struct contestant {
    std::string name;
    std::function<size_t(uint32_t *)> run;
    std::vector<double> ns;
};

using clock_type = std::chrono::steady_clock;

void race(const std::string &title, std::vector<contestant> &all)
{
    std::mt19937 order(1);

    for (int round = -1; round < rounds; round++) {
        std::vector<contestant *> shuffled;

        for (auto &one : all)
            shuffled.push_back(&one);
        std::shuffle(shuffled.begin(), shuffled.end(), order);
        uint32_t seed = (uint32_t)round + 12345;
        for (auto *one : shuffled) {
            uint32_t random = seed;
            auto start = clock_type::now();
            size_t pairs = one->run(&random);
            double ns = std::chrono::duration<double, std::nano>(clock_type::now() - start).count();

            if (round >= 0)
                one->ns.push_back(ns / (double)pairs);
        }
    }
    std::printf("%-14s", title.c_str());
    double base = 0;
    for (auto &one : all) {
        std::sort(one.ns.begin(), one.ns.end());
        double least = one.ns[0]; // the machine may have other work, which only ever adds

        if (base == 0)
            base = least;
        std::printf("  %6.2f %5.2f", least, base / least);
    }
    std::puts("");
    std::fflush(stdout);
}

void heading(const std::vector<std::string> &names)
{
    std::printf("%-14s", "");
    for (auto &name : names)
        std::printf("  %12s", name.c_str());
    std::printf("\n%-14s", "");
    for (size_t i = 0; i < names.size(); i++)
        std::printf("  %6s %5s", "ns", "x");
    std::puts("");
}

// One contestant for a lifetime: 0 lifo, 1 fifo, 2 random.
template <class Get, class Put> contestant entry(const std::string &name, int lifetime, Get get, Put put)
{
    if (lifetime == 0)
        return {name, [=](uint32_t *r) { return lifo(get, put, r); }, {}};
    if (lifetime == 1)
        return {name, [=](uint32_t *r) { return replace<Get, Put, 1000, false>(get, put, r); }, {}};
    return {name, [=](uint32_t *r) { return replace<Get, Put, 10000, true>(get, put, r); }, {}};
}

const char *const lifetimes[] = {"lifo", "fifo", "random"};

void race_pools()
{
    std::vector<std::string> names = {"libc", "loam_malloc", "loam_pool", "its inline", "pmr::unsync"};

    std::puts("pool: ns a pair, the least of the rounds, and how many times libc's speed");
    heading(names);
    for (int lifetime = 0; lifetime < 3; lifetime++)
        for (size_t size : {16, 32, 64, 128, 256, 512, 1024}) {
            loam_pool *pool = loam_pool_create(size, 0, nullptr);
            std::pmr::unsynchronized_pool_resource resource({0, 4096});
            std::vector<contestant> all = {
                entry(
                    "libc", lifetime, [=] { return malloc(size); }, [](void *p) { free(p); }),
                entry(
                    "loam_malloc", lifetime, [=] { return loam_malloc(size); }, [](void *p) { loam_free(p); }),
                entry(
                    "loam_pool", lifetime, [=] { return loam_pool_alloc(pool); },
                    [=](void *p) { loam_pool_free(pool, p); }),
                entry(
                    "inline", lifetime, [=] { return loam_pool_alloc_inline(pool); },
                    [=](void *p) { loam_pool_free_inline(pool, p); }),
                entry(
                    "pmr", lifetime, [&resource, size] { return resource.allocate(size, 16); },
                    [&resource, size](void *p) { resource.deallocate(p, size, 16); })};

            race(std::string(lifetimes[lifetime]) + " " + std::to_string(size), all);
            loam_pool_destroy(pool);
        }
}

// Sizes of 16 to 1,024 bytes in turn, without a random number in the timed loop's way.
struct mixed_sizes {
    std::vector<uint16_t> size;
    size_t at = 0;
    mixed_sizes()
    {
        std::mt19937 random(7);

        for (int i = 0; i < 4096; i++)
            size.push_back((uint16_t)(16u << random() % 6 | random() % 16));
    }
    size_t next()
    {
        return size[at++ & 4095];
    }
};

void race_classes()
{
    std::vector<std::string> names = {"libc", "loam_malloc", "loam_classes", "memslab"};
    mixed_sizes sizes;
    loam_classes *table = loam_classes_create(nullptr);

    if (!memslab.present)
        names.pop_back();
    std::puts("classes: ns a pair of 16 to 1,024 bytes, and how many times libc's speed");
    heading(names);
    for (int lifetime = 0; lifetime < 3; lifetime++) {
        std::vector<contestant> all = {
            entry(
                "libc", lifetime, [&] { return malloc(sizes.next()); }, [](void *p) { free(p); }),
            entry(
                "loam_malloc", lifetime, [&] { return loam_malloc(sizes.next()); }, [](void *p) { loam_free(p); }),
            entry(
                "loam_classes", lifetime, [&] { return loam_classes_alloc(table, sizes.next()); },
                [=](void *p) { loam_classes_free(table, p); })};
        if (memslab.present)
            all.push_back(entry(
                "memslab", lifetime, [&] { return memslab.malloc(sizes.next()); }, [](void *p) { memslab.free(p); }));
        race(lifetimes[lifetime], all);
    }
    loam_classes_destroy(table);
}

// -- recovery: a class that peaked, then went quiet; what does another get under the same budget? --

struct budget_store {
    loam_classes *table;
    size_t evicted;
};

void drop(void *block, size_t, void *arg)
{
    auto *store = (budget_store *)arg;

    store->evicted++;
    loam_classes_free(store->table, block);
}

void evict(loam_classes *table, loam_classes_slab *slab, void *arg)
{
    loam_classes_slab_each(table, slab, drop, arg);
}

struct found {
    size_t block_bytes, bytes;
};

void find(const loam_classes_class *figures, void *arg)
{
    auto *wanted = (found *)arg;

    if (figures->block_bytes >= wanted->block_bytes && !wanted->bytes)
        wanted->bytes = figures->live ? figures->live * figures->block_bytes : 1;
}

size_t bytes_of(loam_classes *table, size_t size)
{
    found wanted = {size, 0};

    loam_classes_each(table, find, &wanted);
    return wanted.bytes == 1 ? 0 : wanted.bytes;
}

void show_recovery(const char *how, bool hook, int keep_one_in)
{
    enum : size_t { BUDGET = 64u << 20, SMALL = 100, BIG = 3000 };
    budget_store store = {};
    loam_classes_options options = {};
    std::vector<void *> blocks;
    size_t second = 0;

    options.struct_bytes = sizeof options;
    options.limit_bytes = BUDGET;
    options.max_bytes = 8192;
    options.evict = hook ? evict : nullptr;
    options.arg = &store;
    store.table = loam_classes_create(&options);
    for (size_t bytes = 0; bytes < BUDGET + (hook ? BUDGET / 2 : 0); bytes += SMALL) {
        void *p = loam_classes_alloc(store.table, SMALL);

        if (!p)
            break;
        if (!hook)
            blocks.push_back(p);
    }
    size_t peak = bytes_of(store.table, SMALL);
    for (size_t i = 0; i < blocks.size(); i++)
        if (!keep_one_in || i % (size_t)keep_one_in)
            loam_classes_free(store.table, blocks[i]);
    auto start = clock_type::now();
    while (second < BUDGET && loam_classes_alloc(store.table, BIG))
        second += BIG;
    double ms = std::chrono::duration<double, std::milli>(clock_type::now() - start).count();
    loam_classes_figures figures = {};
    figures.struct_bytes = sizeof figures;
    loam_classes_stats(store.table, &figures);
    std::printf("%-44s first peaked at %5.1f MiB; second got %5.1f MiB; %4llu slabs moved, %6zu evicted, %6.2f ms\n",
        how, (double)peak / (1 << 20), (double)bytes_of(store.table, BIG) / (1 << 20),
        (unsigned long long)figures.moved, store.evicted, ms);
    loam_classes_destroy(store.table);
}

// memslab without a budget to move under: what its process holds after the same two phases.
size_t resident_bytes()
{
    unsigned long pages = 0, resident = 0;
    FILE *file = std::fopen("/proc/self/statm", "r");

    if (!file || std::fscanf(file, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (file)
        std::fclose(file);
    return resident * 4096;
}

void show_resident(const char *name, const std::function<void *(size_t)> &get, const std::function<void(void *)> &put)
{
    std::vector<void *> blocks;
    size_t before = resident_bytes(), peak, after;

    blocks.reserve(700000);
    for (int i = 0; i < 640000; i++)
        blocks.push_back(memset(get(100), 1, 100));
    peak = resident_bytes();
    for (void *p : blocks)
        put(p);
    blocks.clear();
    for (int i = 0; i < 21000; i++)
        blocks.push_back(memset(get(3000), 1, 3000));
    after = resident_bytes();
    for (void *p : blocks)
        put(p);
    std::printf(
        "%-14s resident %5.1f MiB after 61 MiB of 100 bytes, %5.1f MiB after those were freed for 60 MiB of 3,000\n",
        name, (double)(peak - before) / (1 << 20), (double)(after - before) / (1 << 20));
}

void race_recovery()
{
    std::puts("recovery: a budget of 64 MiB, filled with blocks of 100 bytes, then asked for blocks of 3,000");
    show_recovery("all freed", false, 0);
    show_recovery("all but one in 1,000 freed, no hook", false, 1000);
    show_recovery("none freed, no hook", false, 1);
    show_recovery("none freed, evict hook", true, 1);
    std::puts("without a budget:");
    show_resident("libc", malloc, free);
    loam_classes *table = loam_classes_create(nullptr);
    show_resident(
        "loam_classes", [=](size_t n) { return loam_classes_alloc(table, n); },
        [=](void *p) { loam_classes_free(table, p); });
    loam_classes_destroy(table);
    if (memslab.present)
        show_resident("memslab", memslab.malloc, memslab.free);
}

void load_memslab(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        std::fprintf(stderr, "blocks_pool: %s\n", dlerror());
        std::exit(2);
    }
    memslab.init = (void (*)(int, int, size_t *))dlsym(library, "ikmem_init");
    memslab.malloc = (void *(*)(size_t))dlsym(library, "ikmem_malloc");
    memslab.free = (void (*)(void *))dlsym(library, "ikmem_free");
    memslab.present = memslab.init && memslab.malloc && memslab.free;
    if (memslab.present)
        memslab.init(0, 0, nullptr);
}

} // namespace

int main(int argc, char **argv)
{
    std::string only;

    for (int i = 1; i < argc; i++) {
        if (!std::strcmp(argv[i], "--rounds") && i + 1 < argc)
            rounds = std::atoi(argv[++i]);
        else if (!std::strcmp(argv[i], "--scale") && i + 1 < argc)
            scale = std::atoi(argv[++i]);
        else if (!std::strncmp(argv[i], "memslab=", 8))
            load_memslab(argv[i] + 8);
        else if (argv[i][0] != '-')
            only = argv[i];
        else
            return std::fprintf(stderr,
                       "usage: blocks_pool [--rounds N] [--scale N] [pool|classes|recovery] "
                       "[memslab=LIBRARY.so]\n"),
                   2;
    }
    if (only.empty() || only == "pool")
        race_pools();
    if (only.empty() || only == "classes")
        race_classes();
    if (only.empty() || only == "recovery")
        race_recovery();
    return 0;
}
