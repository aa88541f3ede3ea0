/* config.c: the values that options set, at their defaults. */
#include "base/config.h"

struct lm_config lm_config = {
    .arena_bytes = (size_t)64 << 30,
    .slab_max_bytes = (size_t)64 << 10,
    .classes = 8,
    .carve_bytes = 4096,
    .large_bytes = (size_t)32 << 20,
    .remap_bytes = (size_t)256 << 10,
    .huge_bytes = (size_t)64 << 20,
    .purge_ms = 200,
    .dirty_bytes = 0,
    .guard_bytes = (size_t)16 << 20,
    .spare_percent = 40,
    .prefault_bytes = 64 << 10,
    .remote_batch = 128,
    .holes = true,
    .cache = 2, /* auto */
    .cache_threads = 8,
    .lists = LM_LISTS_MUTEX,
    .stats = false,
};
