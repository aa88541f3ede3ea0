/* blocks_record.c: a library to preload that writes down every call of malloc and its family, for bench/blocks_traces.h.
 *
 * LOAM_TRACE names the files, to which the process's id is added. A file is a mapping that grows as it is written to: a
 * header, then records in the order in which the calls returned. A child that forks and does not exec is not recorded. */
#include "blocks_traces.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The C library's own, which it exports for such as this. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static struct trace_file *volatile recording;

static void record_stop(void)
{
    recording = NULL;
}

__attribute__((constructor)) static void record_start(void)
{
    const char *prefix = getenv("LOAM_TRACE");
    char path[4096];
    void *file;
    int fd;

    if (!prefix)
        return;
    snprintf(path, sizeof path, "%s.%d", prefix, (int)getpid());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, TRACE_FILE_BYTES) != 0)
        return;
    file = mmap(NULL, TRACE_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        return;
    recording = file;
    pthread_atfork(NULL, NULL, record_stop);
}

static void record_one(uint64_t was, uint64_t p, uint64_t size)
{
    struct trace_file *file = recording;
    uint64_t i;

    if (!file)
        return;
    i = __atomic_fetch_add(&file->count, 1, __ATOMIC_RELAXED); /* pairs with nothing: read when the program has ended */
    if (i < TRACE_FILE_RECORDS)
        file->records[i] = (struct trace_record){was, p, size};
}

void *malloc(size_t size)
{
    void *p = __libc_malloc(size);

    if (p)
        record_one(0, (uint64_t)p, size);
    return p;
}

void *calloc(size_t count, size_t size)
{
    void *p = __libc_calloc(count, size);

    if (p)
        record_one(0, (uint64_t)p, count * size);
    return p;
}

void *realloc(void *was, size_t size)
{
    void *p = __libc_realloc(was, size);

    if (p || size == 0)
        record_one((uint64_t)was, (uint64_t)p, size);
    return p;
}

void *memalign(size_t align, size_t size)
{
    void *p = __libc_memalign(align, size);

    if (p)
        record_one(0, (uint64_t)p, size);
    return p;
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    void *p = memalign(align, size);

    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    if (p)
        record_one((uint64_t)p, 0, 0);
    __libc_free(p);
}
