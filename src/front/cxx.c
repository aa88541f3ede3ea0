/* cxx.c: C++ operators new and delete, in C, under their mangled names, so that C programs need no libstdc++.
 *
 * On failure the new-handler is called until it gives up or memory is there; then std::bad_alloc is thrown by the C++
 * runtime's own function for that. Both are weak: found when the process has a C++ runtime loaded at start; one
 * that was loaded later, out of the global scope, is found through the caller. Compiled with -fexceptions: the
 * exception passes through these frames. */
#include "front/calls.h"

#include <dlfcn.h>
#include <errno.h>

typedef void (*cxx_new_handler)(void);
extern cxx_new_handler _ZSt15get_new_handlerv(void) __attribute__((weak)); /* std::get_new_handler() */
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));          /* libstdc++ */
extern void _ZNSt3__117__throw_bad_allocEv(void) __attribute__((weak));    /* libc++ */

/* A function of the C++ runtime that the caller's library depends on. */
static LM_COLD void *cxx_find(const char *name, const void *caller)
{
    Dl_info info;
    void *library, *found = NULL;

    if (dladdr(caller, &info) && (library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD)) != NULL) {
        found = dlsym(library, name);
        dlclose(library);
    }
    return found;
}

/* memcpy: C has no cast from an object pointer to a function pointer */
#define CXX_FUNCTION(out, pointer) \
    do { \
        void *from_ = (pointer); \
        __builtin_memcpy(&(out), &from_, sizeof from_); \
    } while (0)

_Noreturn static LM_COLD void cxx_throw(const void *caller)
{
    void (*thrower)(void) = _ZSt17__throw_bad_allocv;

    if (!thrower)
        thrower = _ZNSt3__117__throw_bad_allocEv;
    if (!thrower)
        CXX_FUNCTION(thrower, cxx_find("_ZSt17__throw_bad_allocv", caller));
    if (!thrower)
        CXX_FUNCTION(thrower, cxx_find("_ZNSt3__117__throw_bad_allocEv", caller));
    if (thrower)
        thrower();
    lm_die("loam: operator new: out of memory, and no C++ runtime to throw std::bad_alloc\n");
}

/* Asks the new-handler; false when there is none. */
static bool cxx_handle(const void *caller)
{
    cxx_new_handler (*get)(void) = _ZSt15get_new_handlerv;
    cxx_new_handler handler;

    if (!get)
        CXX_FUNCTION(get, cxx_find("_ZSt15get_new_handlerv", caller));
    handler = get ? get() : NULL;
    if (!handler)
        return false;
    handler();
    return true;
}

static LM_COLD void *cxx_new_slow(size_t size, size_t align, const void *caller)
{
    void *p;

    while (!(p = align ? lm_call_aligned(align, size) : lm_call_malloc_slow(size)))
        if (!cxx_handle(caller))
            cxx_throw(caller);
    return p;
}

/* The nothrow forms must ask the new-handler too, and catch what it throws, which C cannot. The C++ runtime's own
 * forms can: they call the throwing form, which is ours, and turn an exception into NULL. */
static LM_COLD void *cxx_nothrow_slow(size_t size, size_t align, bool array)
{
    void *(*plain)(size_t, const void *);
    void *(*aligned)(size_t, size_t, const void *);
    void *p;

    p = align ? lm_call_aligned(align, size) : lm_call_malloc_slow(size);
    if (p)
        return p;
    if (align) {
        CXX_FUNCTION(aligned,
            dlsym(RTLD_NEXT, array ? "_ZnamSt11align_val_tRKSt9nothrow_t" : "_ZnwmSt11align_val_tRKSt9nothrow_t"));
        return aligned ? aligned(size, align, NULL) : NULL;
    }
    CXX_FUNCTION(plain, dlsym(RTLD_NEXT, array ? "_ZnamRKSt9nothrow_t" : "_ZnwmRKSt9nothrow_t"));
    return plain ? plain(size, NULL) : NULL;
}

#define CXX_NEW(name) \
    LM_PUBLIC void *name(size_t size); \
    void *name(size_t size) \
    { \
        if (LM_LIKELY(size <= LM_DIRECT_MAX)) { \
            void *p = lm_heap_pop_direct(size); \
            if (LM_LIKELY(p)) \
                return p; \
        } \
        return cxx_new_slow(size, 0, __builtin_return_address(0)); \
    }
#define CXX_NEW_NOTHROW(name, array) \
    LM_PUBLIC void *name(size_t size, const void *tag); \
    void *name(size_t size, const void *tag) \
    { \
        void *p = size <= LM_DIRECT_MAX ? lm_heap_pop_direct(size) : NULL; \
        (void)tag; \
        return LM_LIKELY(p) ? p : cxx_nothrow_slow(size, 0, array); \
    }
#define CXX_NEW_ALIGNED(name) \
    LM_PUBLIC void *name(size_t size, size_t align); \
    void *name(size_t size, size_t align) \
    { \
        return cxx_new_slow(size, align, __builtin_return_address(0)); \
    }
#define CXX_NEW_ALIGNED_NOTHROW(name, array) \
    LM_PUBLIC void *name(size_t size, size_t align, const void *tag); \
    void *name(size_t size, size_t align, const void *tag) \
    { \
        (void)tag; \
        return cxx_nothrow_slow(size, align, array); \
    }
#define CXX_DELETE(name, ...) \
    LM_PUBLIC void name(void *p __VA_ARGS__); \
    void name(void *p __VA_ARGS__) \
    { \
        lm_call_free(p); \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"

CXX_NEW(_Znwm)                              /* new */
CXX_NEW(_Znam)                              /* new[] */
CXX_NEW_NOTHROW(_ZnwmRKSt9nothrow_t, false) /* new (nothrow) */
CXX_NEW_NOTHROW(_ZnamRKSt9nothrow_t, true)  /* new[] (nothrow) */
CXX_NEW_ALIGNED(_ZnwmSt11align_val_t)       /* new (align) */
CXX_NEW_ALIGNED(_ZnamSt11align_val_t)       /* new[] (align) */
CXX_NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t, false)
CXX_NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t, true)
CXX_DELETE(_ZdlPv)                 /* delete */
CXX_DELETE(_ZdaPv)                 /* delete[] */
CXX_DELETE(_ZdlPvm, , size_t size) /* sized */
CXX_DELETE(_ZdaPvm, , size_t size)
CXX_DELETE(_ZdlPvRKSt9nothrow_t, , const void *tag) /* after a constructor threw */
CXX_DELETE(_ZdaPvRKSt9nothrow_t, , const void *tag)
CXX_DELETE(_ZdlPvSt11align_val_t, , size_t align)
CXX_DELETE(_ZdaPvSt11align_val_t, , size_t align)
CXX_DELETE(_ZdlPvmSt11align_val_t, , size_t size, size_t align)
CXX_DELETE(_ZdaPvmSt11align_val_t, , size_t size, size_t align)
CXX_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, , size_t align, const void *tag)
CXX_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, , size_t align, const void *tag)

#pragma GCC diagnostic pop
