/* The cgroup search, on trees made for it. */
#include "os/limits.h"
#include "unit.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = P_tmpdir "/loam-limits-XXXXXX";

static void make(const char *path, const char *content)
{
    char full[512];
    FILE *file;

    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + sizeof root; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    file = fopen(full, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static size_t limit_of(const char *cgroup)
{
    char proc[512], mount[512];

    make("cgroup", cgroup);
    snprintf(proc, sizeof proc, "%s/cgroup", root);
    snprintf(mount, sizeof mount, "%s/fs", root);
    return lm_limits_cgroup(proc, mount);
}

static void takes_the_least_of_ancestors(void **state)
{
    (void)state;
    make("fs/a/memory.max", "200\n");
    make("fs/a/b/memory.max", "max\n");
    make("fs/a/b/c/memory.max", "300\n");
    assert_int_equal(limit_of("0::/a/b/c\n"), 200);
    make("fs/a/b/memory.high", "150\n");
    assert_int_equal(limit_of("0::/a/b/c\n"), 150);
    assert_int_equal(limit_of("0::/a\n"), 200);
}

static void reads_version_1(void **state)
{
    (void)state;
    make("fs/memory/x/memory.limit_in_bytes", "4096\n");
    make("fs/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit_of("9:cpu,cpuacct:/x\n4:hugetlb,memory:/x\n"), 4096);
    assert_int_equal(limit_of("4:memoryless:/x\n"), SIZE_MAX);
}

static void survives_nonsense(void **state)
{
    (void)state;
    assert_int_equal(limit_of(""), SIZE_MAX);
    assert_int_equal(limit_of("::::\nnothing\n0::\n"), SIZE_MAX);
    make("fs/n/memory.max", "99999999999999999999999\n");
    assert_int_equal(limit_of("0::/n"), SIZE_MAX);
    assert_int_equal(lm_limits_cgroup("/nonexistent", "/nonexistent"), SIZE_MAX);
}

static void climbs_from_folders_that_are_not_there(void **state)
{
    (void)state;
    make("fs/memory/memory.limit_in_bytes", "8192\n"); /* a container: the path is the host's, the mount its own */
    assert_int_equal(limit_of("4:memory:/docker/0123456789\n"), 8192);
    make("fs/gone/memory.max", "700\n");
    assert_int_equal(limit_of("0::/gone/away (deleted)\n"), 700);
}

/* Runs before anything else has asked, so that the files are read. */
static void *limit_cancelled(void *bytes)
{
    pthread_cancel(pthread_self());
    *(volatile size_t *)bytes = lm_os_memory_limit();
    return NULL;
}

static void is_no_cancellation_point(void **state)
{
    pthread_t thread;
    size_t bytes = 0;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, limit_cancelled, &bytes), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_not_equal(bytes, 0);
}

static void the_real_one_is_sane(void **state)
{
    (void)state;
    errno = EDOM;
    assert_int_equal(lm_os_memory_limit(), lm_os_memory_limit());
    assert_true(lm_os_address_limit() > (size_t)1 << 20);
    assert_true(lm_os_cpu_count() >= 1);
    assert_int_equal(errno, EDOM);
    assert_true(lm_os_memory_limit() > (size_t)1 << 20);
    assert_true(lm_os_page_size() >= 4096);
    assert_true(lm_os_cpu_count() >= 1);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_the_least_of_ancestors),
        cmocka_unit_test(reads_version_1), cmocka_unit_test(survives_nonsense),
        cmocka_unit_test(climbs_from_folders_that_are_not_there), cmocka_unit_test(is_no_cancellation_point),
        cmocka_unit_test(the_real_one_is_sane)};

    return mkdtemp(root) ? cmocka_run_group_tests(tests, NULL, remove_root) : 1;
}
