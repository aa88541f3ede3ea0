/* limits.h: the cgroup search with its roots as parameters, for tests that bring a tree of their own. */
#ifndef LM_OS_LIMITS_H
#define LM_OS_LIMITS_H

#include "os/os.h"

/* The least limit of the process's cgroups and their ancestors in bytes, or SIZE_MAX. `proc_cgroup` is a file
 * like /proc/self/cgroup, `mount` a folder like /sys/fs/cgroup. */
size_t lm_limits_cgroup(const char *proc_cgroup, const char *mount);

#endif
