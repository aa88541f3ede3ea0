/* fake.c: see fake.h. */
#include "os/fake.h"

#include <errno.h>

static struct {
    uint64_t calls, fail_nth, fail_from, fail_every;
} fake_kind[LM_OS_CALLS];

static size_t fake_limit = SIZE_MAX, fake_mapped, fake_page, fake_memory, fake_address;
static uint64_t fake_ms, fake_vectors;
static void *fake_held;
static int fake_vector_errno;
static bool fake_watched;
static bool (*fake_prove)(void);

void *__real_lm_os_reserve(size_t bytes, size_t align);
bool __real_lm_os_commit(void *p, size_t bytes);
void *__real_lm_os_map(size_t bytes, size_t align);
bool __real_lm_os_unmap(void *p, size_t bytes);
void *__real_lm_os_remap(void *p, size_t old_bytes, size_t new_bytes, bool may_move);
void *__real_lm_os_detach(void *p, size_t bytes);
bool __real_lm_os_purge(void *p, size_t bytes);
void __real_lm_os_advise_huge(void *p, size_t bytes);
bool __real_lm_os_populate(void *p, size_t bytes);
size_t __real_lm_os_page_size(void);
uint64_t __real_lm_os_clock_ms(void);
size_t __real_lm_os_memory_limit(void);
size_t __real_lm_os_address_limit(void);
bool __real_lm_rseq_prove(void);
bool __real_lm_os_is_watched(void);

void *__wrap_lm_os_reserve(size_t bytes, size_t align);
bool __wrap_lm_os_commit(void *p, size_t bytes);
void *__wrap_lm_os_map(size_t bytes, size_t align);
bool __wrap_lm_os_unmap(void *p, size_t bytes);
void *__wrap_lm_os_remap(void *p, size_t old_bytes, size_t new_bytes, bool may_move);
void *__wrap_lm_os_detach(void *p, size_t bytes);
bool __wrap_lm_os_purge(void *p, size_t bytes);
size_t __wrap_lm_os_purge_vector(const struct lm_os_range *ranges, size_t count);
bool __wrap_lm_os_is_watched(void);
void __wrap_lm_os_advise_huge(void *p, size_t bytes);
bool __wrap_lm_os_populate(void *p, size_t bytes);
size_t __wrap_lm_os_page_size(void);
uint64_t __wrap_lm_os_clock_ms(void);
size_t __wrap_lm_os_memory_limit(void);
size_t __wrap_lm_os_address_limit(void);
bool __wrap_lm_rseq_prove(void);

void lm_fake_reset(void)
{
    for (int i = 0; i < LM_OS_CALLS; i++)
        fake_kind[i].calls = fake_kind[i].fail_nth = fake_kind[i].fail_from = fake_kind[i].fail_every = 0;
    fake_limit = SIZE_MAX;
    fake_page = fake_memory = fake_address = 0;
    fake_ms = fake_vectors = 0;
    fake_held = NULL;
    fake_vector_errno = 0;
    fake_watched = false;
    fake_prove = NULL;
}

void lm_fake_fail_nth(enum lm_os_call kind, uint64_t n)
{
    fake_kind[kind].fail_nth = n ? fake_kind[kind].calls + n : 0;
}

void lm_fake_fail_from(enum lm_os_call kind, uint64_t n)
{
    fake_kind[kind].fail_from = n ? fake_kind[kind].calls + n : 0;
}

void lm_fake_fail_every(enum lm_os_call kind, uint64_t n)
{
    fake_kind[kind].fail_every = n;
}

void lm_fake_limit_bytes(size_t bytes)
{
    fake_limit = bytes;
}

void lm_fake_page_size(size_t bytes)
{
    fake_page = bytes;
}

void lm_fake_clock(uint64_t ms)
{
    fake_ms = ms;
}

void lm_fake_memory_limit(size_t bytes)
{
    fake_memory = bytes;
}

void lm_fake_address_limit(size_t bytes)
{
    fake_address = bytes;
}

void lm_fake_prove(bool (*first)(void))
{
    fake_prove = first;
}

void lm_fake_hold(void *p)
{
    fake_held = p;
}

void lm_fake_refuse_vectors(int error)
{
    fake_vector_errno = error;
}

void lm_fake_watch(void)
{
    fake_watched = true;
}

uint64_t lm_fake_vectors(void)
{
    return fake_vectors;
}

uint64_t lm_fake_calls(enum lm_os_call kind)
{
    return fake_kind[kind].calls;
}

size_t lm_fake_mapped_bytes(void)
{
    return fake_mapped;
}

/* True when this call is to fail; `more` is what it would map. */
static bool fake_fails(enum lm_os_call kind, size_t more)
{
    uint64_t n =
        __atomic_add_fetch(&fake_kind[kind].calls, 1, __ATOMIC_RELAXED); /* some calls are made without a lock */
    bool fails = n == fake_kind[kind].fail_nth || (fake_kind[kind].fail_from && n >= fake_kind[kind].fail_from) ||
        (fake_kind[kind].fail_every && n % fake_kind[kind].fail_every == 0) ||
        (more && (more > fake_limit || fake_mapped > fake_limit - more));

    if (fails)
        errno = ENOMEM;
    return fails;
}

void *__wrap_lm_os_reserve(size_t bytes, size_t align)
{
    void *p = fake_fails(LM_OS_RESERVE, bytes) ? NULL : __real_lm_os_reserve(bytes, align);

    fake_mapped += p ? bytes : 0;
    return p;
}

bool __wrap_lm_os_commit(void *p, size_t bytes)
{
    return !fake_fails(LM_OS_COMMIT, 0) && __real_lm_os_commit(p, bytes);
}

void *__wrap_lm_os_map(size_t bytes, size_t align)
{
    void *p = fake_fails(LM_OS_MAP, bytes) ? NULL : __real_lm_os_map(bytes, align);

    fake_mapped += p ? bytes : 0;
    return p;
}

bool __wrap_lm_os_unmap(void *p, size_t bytes)
{
    bool done = !fake_fails(LM_OS_UNMAP, 0) && __real_lm_os_unmap(p, bytes);

    fake_mapped -= done ? bytes : 0;
    return done;
}

void *__wrap_lm_os_remap(void *p, size_t old_bytes, size_t new_bytes, bool may_move)
{
    void *q = NULL;

    if (!fake_fails(LM_OS_REMAP, new_bytes > old_bytes ? new_bytes - old_bytes : 0))
        q = __real_lm_os_remap(p, old_bytes, new_bytes, may_move);
    if (q)
        fake_mapped += new_bytes - old_bytes;
    return q;
}

/* Where it is really not to be tried, as under an emulator, it is not, whatever the fake says of that. */
void *__wrap_lm_os_detach(void *p, size_t bytes)
{
    void *q = NULL;

    if (__real_lm_os_is_watched())
        errno = ENOSYS;
    else if (!fake_fails(LM_OS_REMAP, bytes))
        q = __real_lm_os_detach(p, bytes);
    fake_mapped += q ? bytes : 0;
    return q;
}

static bool fake_is_held(const struct lm_os_range *range)
{
    return (size_t)((char *)fake_held - (char *)range->start) < range->bytes;
}

bool __wrap_lm_os_purge(void *p, size_t bytes)
{
    if (fake_fails(LM_OS_PURGE, 0))
        return false;
    if (fake_is_held(&(struct lm_os_range){p, bytes})) {
        errno = EINVAL;
        return false;
    }
    return __real_lm_os_purge(p, bytes);
}

/* By single calls, whatever this kernel has. */
size_t __wrap_lm_os_purge_vector(const struct lm_os_range *ranges, size_t count)
{
    size_t bytes = 0, i = 0;

    fake_vectors++;
    if (fake_vector_errno) {
        errno = fake_vector_errno;
        return 0;
    }
    if (fake_fails(LM_OS_PURGE, 0))
        return 0;
    for (; i < count && !fake_is_held(&ranges[i]) && __real_lm_os_purge(ranges[i].start, ranges[i].bytes); i++)
        bytes += ranges[i].bytes;
    if (i < count)
        errno = EINVAL; /* heard when it is the first */
    return bytes;
}

bool __wrap_lm_os_is_watched(void)
{
    return fake_watched;
}

/* Advice has no errno of its own to tell: whoever gives it goes on without. */
void __wrap_lm_os_advise_huge(void *p, size_t bytes)
{
    int saved = errno;

    if (!fake_fails(LM_OS_ADVISE, 0))
        __real_lm_os_advise_huge(p, bytes);
    errno = saved;
}

bool __wrap_lm_os_populate(void *p, size_t bytes)
{
    int saved = errno;
    bool done = !fake_fails(LM_OS_ADVISE, 0) && __real_lm_os_populate(p, bytes);

    errno = saved;
    return done;
}

size_t __wrap_lm_os_page_size(void)
{
    return fake_page ? fake_page : __real_lm_os_page_size();
}

uint64_t __wrap_lm_os_clock_ms(void)
{
    return fake_ms ? fake_ms : __real_lm_os_clock_ms();
}

size_t __wrap_lm_os_memory_limit(void)
{
    return fake_memory ? fake_memory : __real_lm_os_memory_limit();
}

size_t __wrap_lm_os_address_limit(void)
{
    return fake_address ? fake_address : __real_lm_os_address_limit();
}

bool __wrap_lm_rseq_prove(void)
{
    return (!fake_prove || fake_prove()) && __real_lm_rseq_prove();
}
