/* record.c: preloaded into a program, writes what it asks of malloc to a trace (trace.h).
 *
 *   LD_PRELOAD=libbench-record.so LOAM_TRACE=FOLDER/NAME [LOAM_TRACE_EVENTS=N] PROGRAM...
 *
 * Each process that runs a program writes FOLDER/NAME.PID.PROGRAM; a child that only forked writes nothing. The
 * first N events are kept (4,000,000). Blocks come from the C library's own malloc, by the names that glibc gives it
 * for this; a block that is older than the recorder is left out, also when it is freed.
 *
 * One lock guards everything; it is not held while the C library works. So that no other thread can be seen to
 * receive an address before it was seen to be freed, a block is forgotten before it is freed and known after it was
 * made: the order of events is one that could have happened. */
#include "trace.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum { BUFFER_BYTES = 1 << 16, NOT_KNOWN = -1 };

struct known {
    void *block; /* NULL: never used; its own address: was removed */
    uint32_t slot;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool recording; /* changed under the lock; read without it only to save the lock */
static int file = -1;
static pid_t owner; /* a child of vfork has our memory and is not us */
static struct trace_header header;
static struct trace_slots slots;
static uint8_t buffer[BUFFER_BYTES], *at = buffer;
static uint64_t events_left = 4000000;
static struct known *table;                       /* open addressing, a power of two */
static size_t table_room, table_used, table_live; /* used: live, and removed */
static unsigned threads, last_thread;
static __thread unsigned thread_number; /* from 1; 0: not seen yet */

/* -- blocks known ---------------------------------------------------------------------------------------------- */

static struct known *place_of(struct known *in, size_t room, const void *block)
{
    size_t i = ((uintptr_t)block >> 4) * 0x9E3779B97F4A7C15u >> 20 & (room - 1);
    struct known *hole = NULL;

    for (;; i = (i + 1) & (room - 1)) {
        if (in[i].block == block)
            return &in[i];
        if (in[i].block == &in[i] && !hole)
            hole = &in[i];
        if (!in[i].block)
            return hole ? hole : &in[i];
    }
}

static bool table_grow(void)
{
    size_t room = 4096;
    struct known *bigger;

    while (room < table_live * 4) /* as large as before when it was full of what was removed */
        room *= 2;
    bigger = mmap(NULL, room * sizeof *bigger, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bigger == MAP_FAILED)
        return false;
    for (size_t i = 0; i < table_room; i++)
        if (table[i].block && table[i].block != &table[i])
            *place_of(bigger, room, table[i].block) = table[i];
    if (table)
        munmap(table, table_room * sizeof *table);
    table = bigger;
    table_room = room;
    table_used = table_live;
    return true;
}

static bool remember(void *block, uint32_t slot)
{
    struct known *place;

    if (table_used * 2 >= table_room && !table_grow())
        return false;
    place = place_of(table, table_room, block);
    table_used += !place->block;
    table_live++;
    *place = (struct known){block, slot};
    return true;
}

/* The block's slot, and the block is no longer known; or NOT_KNOWN. */
static int64_t forget(const void *block)
{
    struct known *place = table ? place_of(table, table_room, block) : NULL;

    if (!place || place->block != block)
        return NOT_KNOWN;
    place->block = place;
    table_live--;
    return place->slot;
}

/* -- the file ---------------------------------------------------------------------------------------------------- */

static void flush(void)
{
    size_t length = (size_t)(at - buffer), done = 0;

    while (done < length) {
        ssize_t n = write(file, buffer + done, length - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) { /* the disk is full: what is there stays without counts */
            recording = false;
            break;
        }
        done += (size_t)n;
    }
    header.bytes += done;
    at = buffer;
}

/* With the lock held; the header's counts make the file whole. */
static void finish(void)
{
    if (!recording)
        return;
    flush();
    if (recording && pwrite(file, &header, sizeof header, 0) != sizeof header)
        dprintf(STDERR_FILENO, "record: the counts were not written\n");
    recording = false;
    close(file);
}

/* With the lock held: room for one more event, and its thread named. */
static bool ready(void)
{
    if (!recording)
        return false;
    if (at + 2 * TRACE_EVENT_MOST > buffer + BUFFER_BYTES)
        flush();
    if (events_left == 0)
        finish();
    if (!recording)
        return false;
    if (!thread_number)
        thread_number = ++threads;
    if (thread_number != last_thread) {
        at = trace_put_head(at, TRACE_THREAD, thread_number - 1);
        header.counts[TRACE_THREAD]++;
        last_thread = thread_number;
    }
    events_left--;
    return true;
}

/* -- events -------------------------------------------------------------------------------------------------------- */

static void *made(enum trace_op op, void *block, size_t size, size_t align)
{
    int saved = errno;

    if (!block || !__atomic_load_n(&recording, __ATOMIC_RELAXED))
        return block;
    pthread_mutex_lock(&lock);
    if (ready()) {
        if (remember(block, trace_slot_take(&slots))) {
            at = trace_put_head(at, op, size);
            if (op == TRACE_ALIGNED)
                at = trace_put_number(at, (uint64_t)__builtin_ctzl(align));
            header.counts[op]++;
        } else
            finish();
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return block;
}

void *malloc(size_t size)
{
    return made(TRACE_MALLOC, __libc_malloc(size), size, 0);
}

void *calloc(size_t count, size_t size)
{
    return made(TRACE_CALLOC, __libc_calloc(count, size), count * size, 0);
}

void free(void *block)
{
    int saved = errno;

    if (block && __atomic_load_n(&recording, __ATOMIC_RELAXED)) {
        pthread_mutex_lock(&lock);
        if (recording) {
            int64_t slot = forget(block);

            if (slot != NOT_KNOWN && ready()) {
                at = trace_put_head(at, TRACE_FREE, trace_fold(slot - (int64_t)slots.last));
                header.counts[TRACE_FREE]++;
                if (trace_slot_give(&slots, (uint32_t)slot) != 0)
                    finish();
            }
        }
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    __libc_free(block);
}

/* The old address may be another thread's before we are back, so it is forgotten first. */
void *realloc(void *old, size_t size)
{
    int64_t slot = NOT_KNOWN;
    void *block;

    if (!old)
        return malloc(size);
    if (size == 0) { /* glibc frees */
        free(old);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    if (recording)
        slot = forget(old);
    pthread_mutex_unlock(&lock);
    block = __libc_realloc(old, size);
    if (slot == NOT_KNOWN)
        return made(TRACE_MALLOC, block, size, 0);
    pthread_mutex_lock(&lock);
    if (recording && !remember(block ? block : old, (uint32_t)slot))
        finish();
    if (block && ready()) {
        at = trace_put_head(at, TRACE_REALLOC, size);
        at = trace_put_number(at, trace_fold(slot - (int64_t)slots.last));
        slots.last = (uint32_t)slot;
        header.counts[TRACE_REALLOC]++;
    }
    pthread_mutex_unlock(&lock);
    return block;
}

void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}

void *memalign(size_t align, size_t size)
{
    while (align & (align - 1)) /* glibc takes the next power of two */
        align += align & -align;
    return made(TRACE_ALIGNED, __libc_memalign(align, size), size, align ? align : 1);
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    int saved = errno;
    void *block;

    if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0)
        return EINVAL;
    block = memalign(align, size);
    errno = saved;
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

void *valloc(size_t size)
{
    return memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

void *pvalloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, (size + page - 1) & -page);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_child(void)
{
    if (recording)
        close(file); /* what is in the buffer is the parent's to write */
    recording = false;
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("LOAM_TRACE"), *most = getenv("LOAM_TRACE_EVENTS");
    char path[4096];
    int length =
        name ? snprintf(path, sizeof path, "%s.%ld.%s", name, (long)getpid(), program_invocation_short_name) : 0;

    if (length <= 0 || (size_t)length >= sizeof path)
        return;
    if (most)
        events_left = strtoull(most, NULL, 10);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    memcpy(header.magic, TRACE_MAGIC, sizeof header.magic);
    if (file < 0 || write(file, &header, sizeof header) != sizeof header) {
        dprintf(STDERR_FILENO, "record: cannot write %s\n", path);
        return;
    }
    owner = getpid();
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    __atomic_store_n(&recording, true, __ATOMIC_RELAXED);
}

__attribute__((destructor)) static void stop(void)
{
    pthread_mutex_lock(&lock);
    finish();
    pthread_mutex_unlock(&lock);
}

/* Programs that leave without their destructors. */
__attribute__((noreturn)) void _exit(int status)
{
    if (getpid() == owner)
        stop();
    for (;;)
        syscall(SYS_exit_group, status);
}

__attribute__((noreturn)) void _Exit(int status)
{
    _exit(status);
}
