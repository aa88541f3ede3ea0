/* dlopen.c: libraries loaded with RTLD_DEEPBIND, in processes that have loam preloaded.
 *
 * Such a library finds the C library's free before loam's, while the C library's own strdup and getline find loam's
 * malloc first: the first string it frees ends the process. No allocator can see that coming in free, so the flag is
 * taken off at the source. The call to the real dlopen is in tail position, which leaves it the caller's return
 * address: that is how it knows whose RUNPATH to search. Only in libloam-malloc.so. */
#include "base/base.h"

#include <dlfcn.h>

#ifndef RTLD_DEEPBIND /* musl has none */
#define RTLD_DEEPBIND 0
#endif

typedef void *(*dlopen_function)(const char *path, int flags);

LM_PUBLIC void *dlopen(const char *path, int flags)
{
    static dlopen_function next;
    dlopen_function real = __atomic_load_n(&next, __ATOMIC_RELAXED);

    if (LM_UNLIKELY(!real)) {
        void *found = dlsym(RTLD_NEXT, "dlopen");

        __builtin_memcpy(&real, &found, sizeof real);
        if (!real)
            return NULL;
        __atomic_store_n(&next, real, __ATOMIC_RELAXED); /* whoever races stores the same */
    }
    return real(path, flags & ~RTLD_DEEPBIND);
}
