/* calls.h: malloc and free as both families of names compile them: the common path inline, the rest a call. */
#ifndef LM_FRONT_CALLS_H
#define LM_FRONT_CALLS_H

#include "front/front.h"

LM_INLINE void *lm_call_malloc(size_t size)
{
    if (LM_LIKELY(size <= LM_DIRECT_MAX)) {
        void *p = lm_heap_pop_direct(size);

        if (LM_LIKELY(p))
            return p;
    }
    return lm_call_malloc_slow(size);
}

LM_INLINE void lm_call_free(void *p)
{
    if (LM_UNLIKELY(!lm_heap_push(p)))
        lm_call_free_slow(p);
}

#endif
