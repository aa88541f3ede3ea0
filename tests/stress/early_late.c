/* Allocation at unusual times: before main, in an IFUNC resolver's company, in constructors, at exit, after the TLS
 * destructors' last round; and from libraries that come and go. */
#include "common_stress.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void *from_preinit, *from_constructor;

#if defined(__x86_64__) && !defined(__clang__)
static int chosen(void)
{
    return 42;
}

static int (*resolve(void))(void)
{
    return chosen;
}

int picked(void) __attribute__((ifunc("resolve")));
#else
int picked(void);
int picked(void)
{
    return 42;
}
#endif

static void preinit(void)
{
    from_preinit = malloc(100);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void constructor(void)
{
    from_constructor = calloc(10, 100);
    free(malloc(70000));
}

static void at_exit(void)
{
    char *p = malloc(5000);

    NEED(p);
    memset(p, 1, 5000);
    free(p);
    free(from_constructor);
}

static pthread_key_t key;
static void *late_block;

static void last_round(void *arg)
{
    uintptr_t round = (uintptr_t)arg;

    if (round < 4) {
        pthread_setspecific(key, (void *)(round + 1));
        return;
    }
    /* all other destructors have had their last call */
    late_block = malloc(333);
    NEED(late_block);
    memset(late_block, 3, 333);
    free(malloc(64));
    free(calloc(1, 20000));
    free(malloc(200000));
}

static void *late_thread(void *arg)
{
    free(malloc(10));
    pthread_setspecific(key, (void *)1);
    return arg;
}

static void plugins(const char *self)
{
    char path[PATH_MAX], folder[PATH_MAX];
    void *kept[100];

    snprintf(folder, sizeof folder, "%s", self);
    snprintf(path, sizeof path, "%s/lib_plugin.so", dirname(folder));
    for (int i = 0; i < 500; i++) {
        int flags = RTLD_NOW | (i % 2 ? RTLD_DEEPBIND : 0);
        void *plugin = dlopen(path, flags);
        void *(*allocate)(size_t);
        void *symbol;

        NEED(plugin);
        symbol = dlsym(plugin, "plugin_allocate");
        memcpy(&allocate, &symbol, sizeof allocate);
        NEED(allocate);
        free(i >= 100 ? kept[i % 100] : NULL);
        kept[i % 100] = allocate(100 + (size_t)i);
        if (i % 2 == 0)
            NEED(malloc_usable_size(kept[i % 100]) >= 100);
        dlclose(plugin);
    }
    for (int i = 0; i < 100; i++)
        free(kept[i]);
}

int main(int argc, char **argv)
{
    pthread_t thread;

    (void)argc;
    alarm(100);
    NEED(picked() == 42 && from_preinit && from_constructor);
    free(from_preinit);
    atexit(at_exit);
    NEED(pthread_key_create(&key, last_round) == 0);
    for (int i = 0; i < 200; i++) {
        NEED(pthread_create(&thread, NULL, late_thread, NULL) == 0);
        pthread_join(thread, NULL);
        free(late_block);
    }
    plugins(argv[0]);
    puts("early and late");
    return 0;
}
