/* The malloc family keeps the rules of C, POSIX and glibc 2.36. */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

static volatile size_t huge = SIZE_MAX; /* volatile: the compiler warns of impossible sizes */

static const size_t sizes[] = {0, 1, 8, 15, 16, 17, 100, 128, 129, 1000, 1024, 1025, 4096, 8192, 8193, 20000, 65536,
    65537, 131072, 1000000, 33554432, 33554433, 70000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* True when the test runs under the policy. */
static int leans_to(const char *policy)
{
    const char *conf = getenv("LOAM_CONF");

    return conf && strstr(conf, policy);
}

static void basics(void)
{
    void *a = malloc(0), *b = malloc(0);

    CHECK(a && b && a != b);
    free(a);
    free(b);
    free(NULL);
    for (int i = 0; i < SIZES; i++) {
        char *p = malloc(sizes[i]);

        CHECK(p && (uintptr_t)p % 16 == 0);
        CHECK(malloc_usable_size(p) >= sizes[i]);
        memset(p, 0x5a, malloc_usable_size(p)); /* all of it may be written */
        free(p);
    }
    for (size_t n = 1; n <= 5000; n++) {
        void *p = malloc(n);

        CHECK((uintptr_t)p % 16 == 0 && malloc_usable_size(p) >= n);
        free(p);
    }
    CHECK(malloc_usable_size(NULL) == 0);
}

/* Writing up to the usable size harms no neighbour. */
static void usable_to_the_end(void)
{
    enum { N = 200 };
    unsigned char *p[N];

    for (int i = 0; i < SIZES - 4; i++) {
        for (int k = 0; k < N; k++) {
            p[k] = malloc(sizes[i]);
            memset(p[k], k, malloc_usable_size(p[k]));
        }
        for (int k = 0; k < N; k++) {
            size_t n = malloc_usable_size(p[k]);

            CHECK(n == 0 || (p[k][0] == k && p[k][n - 1] == k && p[k][n / 2] == k));
            free(p[k]);
        }
    }
}

static void calloc_is_zero(void)
{
    for (int round = 0; round < 3; round++)
        for (int i = 1; i < SIZES; i++) {
            unsigned char *p[8];

            for (int k = 0; k < 8; k++) {
                p[k] = calloc(1, sizes[i]);
                CHECK(p[k]);
                for (size_t b = 0; b < sizes[i]; b++)
                    if (p[k][b]) {
                        CHECK(!"calloc gave a byte that is not zero");
                        break;
                    }
                memset(p[k], 0xff, malloc_usable_size(p[k]));
                if (sizes[i] > 1000000)
                    free(p[k]);
            }
            for (int k = 0; k < 8 && sizes[i] <= 1000000; k++)
                free(p[k]);
        }
    errno = 0;
    CHECK(!calloc(huge / 2, 3) && errno == ENOMEM);
    errno = 0;
    CHECK(!calloc(huge, huge) && errno == ENOMEM);
    void *p = calloc(0, 5);
    CHECK(p);
    free(p);
}

static void impossible_sizes(void)
{
    const size_t bad[] = {huge, (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX - 10};
    void *kept = malloc(10), *out = &out;

    for (int i = 0; i < 3; i++) {
        errno = 0;
        CHECK(!malloc(bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!calloc(1, bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!realloc(kept, bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!realloc(NULL, bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!memalign(64, bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!aligned_alloc(4096, bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!valloc(bad[i]) && errno == ENOMEM);
        errno = 0;
        CHECK(!pvalloc(bad[i]) && errno == ENOMEM);
        errno = 33;
        CHECK(posix_memalign(&out, 64, bad[i]) == ENOMEM && errno == 33 && out == &out);
    }
    errno = 0;
    CHECK(!reallocarray(kept, huge / 2, 4) && errno == ENOMEM);
    free(kept);
}

static void realloc_rules(void)
{
    for (int from = 0; from < SIZES; from++)
        for (int to = 1; to < SIZES; to++) {
            size_t a = sizes[from], b = sizes[to], both = a < b ? a : b;
            unsigned char *p = malloc(a), *q;

            for (size_t i = 0; i < a; i += 1 + a / 64)
                p[i] = (unsigned char)(i * 7 + 1);
            q = realloc(p, b);
            CHECK(q && (uintptr_t)q % 16 == 0 && malloc_usable_size(q) >= b);
            for (size_t i = 0; i < both; i += 1 + a / 64)
                if (q[i] != (unsigned char)(i * 7 + 1)) {
                    CHECK(!"realloc lost a byte");
                    break;
                }
            q[0] = q[b - 1] = 1;
            free(q);
        }
    errno = 5;
    CHECK(realloc(malloc(10), 0) == NULL && errno == 5); /* frees, as glibc does */
    char *p = realloc(NULL, 20);
    CHECK(p);
    p = reallocarray(p, 10, 10);
    CHECK(p && malloc_usable_size(p) >= 100);
    CHECK(reallocarray(p, 0, 10) == NULL); /* freed, as by realloc(p, 0) */
    /* growth by small steps, through every kind of block */
    p = NULL;
    for (size_t n = 1; n < 100u << 20; n += n / 3 + 1) {
        p = realloc(p, n);
        CHECK(p && (n < 2 || p[(n - 1) / 4] == 0 || p[(n - 1) / 4] == 3));
        memset(p, 3, n);
    }
    for (size_t n = 60u << 20; n > 10; n /= 2) {
        p = realloc(p, n);
        CHECK(p && p[0] == 3 && p[n - 1] == 3);
    }
    free(p);
}

static void alignments(void)
{
    for (size_t align = 1; align <= (size_t)1 << 30; align *= 2)
        for (int i = 0; i < SIZES - 3; i++) {
            void *p = NULL;

            if (align > 65536 && i % 5)
                continue;
            p = memalign(align, sizes[i]);
            CHECK(p && (uintptr_t)p % align == 0 && (uintptr_t)p % 16 == 0);
            CHECK(malloc_usable_size(p) >= sizes[i]);
            if (p && sizes[i])
                memset(p, 1, sizes[i]);
            p = realloc(p, sizes[i] + 1);
            CHECK(p && (!sizes[i] || ((char *)p)[sizes[i] - 1] == 1));
            free(p);
            p = aligned_alloc(align, sizes[i]);
            CHECK(p && (uintptr_t)p % align == 0);
            free(p);
            if (align < sizeof(void *))
                continue;
            CHECK(posix_memalign(&p, align, sizes[i]) == 0 && (uintptr_t)p % align == 0);
            free_aligned_sized(p, align, sizes[i]);
        }
    void *p = &p;
    const volatile size_t odd[] = {0, 24}; /* out of the compiler's sight, which knows better */
    errno = 44;
    CHECK(posix_memalign(&p, odd[0], 8) == EINVAL && posix_memalign(&p, odd[1], 8) == EINVAL);
    CHECK(posix_memalign(&p, 4, 8) == EINVAL && p == &p && errno == 44);
    p = memalign(odd[1], 100); /* rounded up to 32 */
    CHECK(p && (uintptr_t)p % 32 == 0);
    free(p);
    errno = 0;
    CHECK(!memalign(((size_t)1 << 63) + 1, 8) && errno == EINVAL);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    p = valloc(10);
    CHECK(p && (uintptr_t)p % page == 0);
    free(p);
    p = pvalloc(1);
    CHECK(p && (uintptr_t)p % page == 0 && malloc_usable_size(p) >= page);
    free(p);
}

static void free_keeps_errno(void)
{
    for (int i = 0; i < SIZES; i++) {
        void *p = malloc(sizes[i]);

        errno = 77;
        free(p);
        CHECK(errno == 77);
        p = malloc(sizes[i]);
        free_sized(p, sizes[i]);
        CHECK(errno == 77);
    }
}

static void windows(void)
{
    struct mallinfo2 before = mallinfo2(), during, after;
    void *small[1000], *huge_block = malloc(100u << 20);
    char *text = NULL;
    size_t length = 0;
    FILE *stream;

    for (int i = 0; i < 1000; i++)
        small[i] = malloc(2000);
    during = mallinfo2();
    CHECK(during.uordblks >= before.uordblks + 1000 * 2000);
    if (leans_to("steady")) /* whose mappings are all made at the start */
        CHECK(during.hblks == before.hblks && during.uordblks >= before.uordblks + (100u << 20));
    else
        CHECK(during.hblks == before.hblks + 1 && during.hblkhd >= before.hblkhd + (100u << 20));
    CHECK(during.arena >= during.uordblks && during.fordblks == during.arena - during.uordblks);
    for (int i = 0; i < 1000; i++)
        free(small[i]);
    free(huge_block);
    after = mallinfo2();
    CHECK(after.uordblks < during.uordblks - 1000 * 1900 && after.hblks == before.hblks);
    stream = open_memstream(&text, &length);
    CHECK(malloc_info(0, stream) == 0 && malloc_info(1, stream) == -1);
    fclose(stream);
    CHECK(strncmp(text, "<malloc version=\"1\">", 20) == 0 && strstr(text, "</malloc>"));
    free(text);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1 && mallopt(M_ARENA_MAX, 2) == 1 && mallopt(12345, 1) == 0);
    huge_block = malloc(8u << 20);
    CHECK(mallinfo2().hblks == before.hblks + 1);
    free(huge_block);
    void *big = malloc(10u << 20);
    memset(big, 1, 10u << 20);
    free(big);
    for (int i = 0; i < 1000; i++)
        small[i] = malloc(8000);
    for (int i = 0; i < 1000; i++)
        free(small[i]);
    CHECK(malloc_trim(0) == 1 || leans_to("lean")); /* which has returned it already */
    CHECK(malloc_trim(0) == 0);
}

static size_t resident_kib(void)
{
    unsigned long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");

    CHECK(file && fscanf(file, "%lu %lu", &total, &resident) == 2);
    fclose(file);
    return resident * ((size_t)sysconf(_SC_PAGESIZE) >> 10);
}

/* What mallopt promises comes true; after it the process is not as it was. */
static void parameters(void)
{
    enum { BIG = 48 << 20 };
    size_t mappings = mallinfo2().hblks, full;
    char *p;

    for (int parameter = M_ARENA_MAX; parameter <= M_TRIM_THRESHOLD; parameter++)
        CHECK(parameter == M_MMAP_MAX || parameter == M_MMAP_THRESHOLD || mallopt(parameter, 1 << 20) == 1);
    CHECK(mallopt(M_MXFAST, 64) == 1 && mallopt(M_MXFAST, 161) == 0 && mallopt(M_MXFAST, -1) == 0);
    CHECK(mallopt(M_MMAP_THRESHOLD, -1) == 0 && mallopt(2, 1) == 0 && mallopt(-9, 1) == 0);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    p = malloc(BIG);
    CHECK(p && mallinfo2().hblks == mappings + 1);
    free(p);
    CHECK(mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, -1) == 1);
    p = malloc(BIG);
    CHECK(p && mallinfo2().hblks == mappings);
    memset(p, 1, BIG);
    full = resident_kib();
    free(p);
    usleep(300000); /* longer than purge_ms */
    free(malloc(1 << 20));
    CHECK(resident_kib() > full - (BIG >> 11)); /* kept */
    CHECK(mallinfo2().keepcost >= BIG && malloc_trim(0) == 1);
    CHECK(resident_kib() < full - (BIG >> 11) && mallinfo2().keepcost == 0);
}

int main(void)
{
    basics();
    usable_to_the_end();
    calloc_is_zero();
    impossible_sizes();
    realloc_rules();
    alignments();
    free_keeps_errno();
    windows();
    parameters();
    printf("%d failures\n", check_failures);
    return check_failures != 0;
}
