/* libFuzzer feeds the model's interpreter: every four bytes are an operation on loam's own names, beside the shadow. */
#include "../model/common_model.h"

#include <loam/loam.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t usable(void *p)
{
    return loam_usable_size(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct model_target target = {
        "loam_malloc", loam_malloc, loam_calloc, loam_realloc, loam_aligned_alloc, loam_free, usable, NULL, 8u << 20};
    size_t at;
    const char *wrong = model_run(&target, (const struct model_op *)(const void *)data, size / 4, &at);

    if (wrong) {
        fprintf(stderr, "operation %zu: %s\n", at, wrong);
        abort();
    }
    return 0;
}
