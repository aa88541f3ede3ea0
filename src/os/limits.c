/* limits.c: how much memory the process may use, and what its environment says.
 *
 * /proc/self/cgroup has lines "0::/path" (v2) and "7:memory:/path" (v1, controllers separated by commas); the
 * limit files stand in the folder of that path below the mount point, and every ancestor's folder may hold a
 * stricter one. Read into the stack, by bare system calls: libc's open, read and close are cancellation points, and a
 * thread that is cancelled in the middle of free would take loam's locks with it. */
#include "os/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { LIMITS_PATH = 1024, LIMITS_FILE = 4096 };

extern char **environ;

/* The start of a file, NUL-terminated; false when there is none. */
static bool limits_read(const char *path, char *out, size_t capacity)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    long n = 0;

    if (fd < 0)
        return false;
    while (length + 1 < capacity) {
        n = syscall(SYS_read, fd, out + length, capacity - 1 - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        length += (size_t)n;
    }
    syscall(SYS_close, fd);
    out[length] = '\0';
    return n >= 0;
}

/* A limit file's number, SIZE_MAX for "max", for none and for nonsense. */
static size_t limits_number(const char *folder, const char *file)
{
    char path[LIMITS_PATH], content[64];
    struct lm_text text = {path, sizeof path, 0};
    size_t value = 0;
    const char *c = content;

    lm_text_add(&text, "%s/%s", folder, file);
    if (!limits_read(path, content, sizeof content) || *c < '0' || *c > '9')
        return SIZE_MAX;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (size_t)(*c - '0'), &value))
            return SIZE_MAX;
    return value;
}

/* The least of the files' limits in the folder root + below and in all folders above it down to the root. */
static size_t limits_climb(const char *root, const char *below, const char *const files[2])
{
    char folder[LIMITS_PATH];
    struct lm_text text = {folder, sizeof folder, 0};
    size_t least = SIZE_MAX, root_length;

    lm_text_add(&text, "%s", root);
    root_length = text.length;
    lm_text_add(&text, "%s", below);
    for (;;) {
        char *slash;

        for (int i = 0; i < 2 && files[i]; i++)
            least = lm_min(least, limits_number(folder, files[i]));
        slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < root_length)
            return least;
        *slash = '\0';
    }
}

/* True when the comma-separated list names the controller. */
static bool limits_lists(const char *list, size_t length, const char *controller)
{
    size_t want = strlen(controller);

    while (length >= want) {
        const char *comma = memchr(list, ',', length);
        size_t item = comma ? (size_t)(comma - list) : length;

        if (item == want && memcmp(list, controller, want) == 0)
            return true;
        if (!comma)
            return false;
        length -= item + 1;
        list += item + 1;
    }
    return false;
}

size_t lm_limits_cgroup(const char *proc_cgroup, const char *mount)
{
    static const char *const v2[2] = {"memory.max", "memory.high"};
    static const char *const v1[2] = {"memory.limit_in_bytes", NULL};
    char file[LIMITS_FILE], memory_mount[LIMITS_PATH];
    struct lm_text text = {memory_mount, sizeof memory_mount, 0};
    size_t least = SIZE_MAX;

    if (!limits_read(proc_cgroup, file, sizeof file))
        return SIZE_MAX;
    lm_text_add(&text, "%s/memory", mount);
    for (char *line = file, *end; *line; line = end) {
        char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        else
            end = line + strlen(line);
        if (!second || second >= end)
            continue;
        if (second == first + 1)
            least = lm_min(least, limits_climb(mount, second + 1, v2));
        else if (limits_lists(first + 1, (size_t)(second - first - 1), "memory"))
            least = lm_min(least, limits_climb(memory_mount, second + 1, v1));
    }
    return least;
}

size_t lm_os_memory_limit(void)
{
    static size_t cached;
    size_t bytes = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    int saved = errno;
    struct sysinfo info;

    if (bytes)
        return bytes;
    bytes = lm_limits_cgroup("/proc/self/cgroup", "/sys/fs/cgroup");
    if (sysinfo(&info) == 0)
        bytes = lm_min(bytes, (size_t)info.totalram * info.mem_unit);
    bytes = lm_max(bytes, 1); /* a limit of 0 is legal, and must not be read again at each call */
    __atomic_store_n(&cached, bytes, __ATOMIC_RELAXED); /* whoever races stores the same */
    errno = saved;
    return bytes;
}

size_t lm_os_address_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}

/* Only kernels map a vDSO, emulators do not. */
bool lm_os_is_watched(void)
{
    static const char key[] = "\nSeccomp:\t";
    char file[LIMITS_FILE];
    int saved = errno;
    const char *value;

    if (!getauxval(AT_SYSINFO_EHDR))
        return true;
    value = limits_read("/proc/self/status", file, sizeof file) ? strstr(file, key) : NULL;
    errno = saved;
    return !value || value[sizeof key - 1] != '0';
}

bool lm_os_is_secure(void)
{
    return getauxval(AT_SECURE) != 0;
}

const char *lm_os_environment(const char *name)
{
    size_t length = strlen(name);

    for (char **entry = environ; entry && *entry; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            return *entry + length + 1;
    return NULL;
}
