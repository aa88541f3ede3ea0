/* The cgroup search, on trees made for it. */
#include "os/limits.h"
#include "unit.h"

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/loam-limits-XXXXXX";

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

static void the_real_one_is_sane(void **state)
{
    (void)state;
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
        cmocka_unit_test(the_real_one_is_sane)};

    return mkdtemp(root) ? cmocka_run_group_tests(tests, NULL, remove_root) : 1;
}
