/* percpu.c: see percpu.h. */
#include "heap/cpu.h"

#include <errno.h>

enum {
    FOREIGN_SLOTS = 256,
    FOREIGN_MAX = 1024,     /* bytes of a block in it */
    CLASS_SLOTS = 192,      /* of a class, at the most */
    CLASS_BYTES = 16 << 10, /* of blocks in a class's list, at the most, when that is one or more */
    FILL_BYTES = 4096,      /* of blocks that are put into a list at a time */
    BATCH = FOREIGN_SLOTS / 2 + 1,
};

bool lm_percpu_on;
__thread struct lm_rseq_area *lm_thread_area;

/* Read by every malloc and free while CPUs serve; atomic, written under lm_cpus_lock, the offsets before all else. */
static struct {
    size_t most;                             /* larger sizes, and 0, are not for lm_percpu_pop; 0: all are not */
    bool lists;                              /* CPUs serve, and lists are used */
    uint16_t offset[LM_DIRECT_MAX / 16 + 1]; /* of the list for a size of so many times 16 bytes */
} percpu_quick;

struct lm_lock lm_cpus_lock = LM_LOCK_INIT(LM_RANK_CPUS);
/* Atomic; written under lm_cpus_lock. From TRYING on there may be CPUs; lists are used when they are PROVED. */
static enum { UNTRIED, UNUSABLE, TRYING, PROVED, REFUTED } percpu_state;
static bool percpu_proving;        /* a thread is at it; as percpu_state */
struct lm_cpu **lm_cpu_table;      /* by index; entries atomic; NULL: not met yet */
static size_t percpu_threads_most; /* atomic; threads that the CPUs are not needed for */
/* What every CPU's table entry shows while it is stopped. */
struct lm_rseq_list lm_cpu_stopped[LM_CPU_LISTS] LM_APART;

unsigned lm_cpu_slots(unsigned list)
{
    if (list == LM_CPU_FOREIGN)
        return FOREIGN_SLOTS;
    if (lm_class_serving[list] != list)
        return 0;
    return (unsigned)lm_min(lm_max(CLASS_BYTES / lm_class[list].size, 1), CLASS_SLOTS);
}

static size_t list_offset(unsigned list)
{
    return list * sizeof(struct lm_rseq_list);
}

/* -- coming to be ----------------------------------------------------------------------------------------------- */

static struct lm_rseq_cpu *percpu_make_lists(const struct lm_heap *heap)
{
    uint32_t at = LM_CPU_LISTS * sizeof(struct lm_rseq_list);
    size_t slots = 0;
    struct lm_rseq_cpu *lists;

    for (unsigned i = 0; i < LM_CPU_LISTS; i++)
        slots += lm_cpu_slots(i);
    lists = lm_meta_alloc(at + slots * sizeof(struct lm_rseq_slot));
    if (!lists)
        return NULL;
    for (unsigned i = 0; i < LM_CPU_LISTS; i++) {
        struct lm_rseq_list *list = &lists->list[i];

        list->owner = i == LM_CPU_FOREIGN ? NULL : lm_heap_tag(heap);
        list->top = list->begin = at;
        at += lm_cpu_slots(i) * (uint32_t)sizeof(struct lm_rseq_slot);
        list->end = at;
    }
    return lists;
}

static struct lm_cpu *percpu_make(uint32_t index)
{
    struct lm_cpu *cpu;

    lm_lock_take(&lm_cpus_lock);
    cpu = lm_cpu_at(index);
    if (!cpu && (cpu = lm_meta_alloc(sizeof *cpu)) != NULL) {
        lm_heap_init(&cpu->heap, LM_TAG_CPU);
        cpu->lock = (struct lm_lock)LM_LOCK_INIT(LM_RANK_CPU);
        cpu->lists = percpu_make_lists(&cpu->heap);
        if (cpu->lists) {
            __atomic_store_n(&lm_cpu_table[index], cpu, __ATOMIC_RELEASE); /* pairs with lm_cpu_at */
            if (lm_percpu_is_proved())
                __atomic_store_n(&lm_rseq.table[index], cpu->lists, __ATOMIC_RELEASE);
        } else {
            cpu = NULL; /* some bookkeeping memory is lost, at a time when there is none anyway */
        }
    }
    lm_lock_release(&lm_cpus_lock);
    return cpu;
}

/* The CPU the caller runs on just now, or NULL: no memory. A thread that runs no sequences gets some CPU: what it does
 * under its lock is right on any. */
static struct lm_cpu *percpu_here(void)
{
    const struct lm_rseq_area *area = lm_rseq_area();
    uint32_t index = lm_rseq_registered(area) ? lm_rseq_index(area) : 0;
    struct lm_cpu *cpu = lm_cpu_at(index < lm_rseq.limit ? index : 0);

    return cpu ? cpu : percpu_make(index < lm_rseq.limit ? index : 0);
}

bool lm_percpu_is_used(void)
{
    return __atomic_load_n(&percpu_state, __ATOMIC_ACQUIRE) >= TRYING;
}

bool lm_percpu_is_proved(void)
{
    return __atomic_load_n(&percpu_state, __ATOMIC_RELAXED) == PROVED;
}

/* Finds what sequences need. Under lm_cpus_lock. */
static void percpu_find(void)
{
    uint32_t limit = lm_rseq_limit();
    struct lm_rseq_cpu **table = lm_meta_alloc(limit * sizeof *table);

    for (unsigned i = 0; i <= LM_DIRECT_MAX / 16; i++)
        percpu_quick.offset[i] = (uint16_t)list_offset(lm_class_for(i * (size_t)16));
    lm_cpu_table = lm_meta_alloc(limit * sizeof *lm_cpu_table);
    if (table && lm_cpu_table && lm_rseq_find(table, limit, (struct lm_rseq_cpu *)(void *)lm_cpu_stopped))
        __atomic_store_n(&percpu_state, TRYING, __ATOMIC_RELEASE); /* pairs with lm_percpu_is_used */
    else
        __atomic_store_n(&percpu_state, UNUSABLE, __ATOMIC_RELAXED);
}

/* Lets lists be used, or not any more. Under lm_cpus_lock. */
static void percpu_set_quick(bool on)
{
    bool lists = on && lm_percpu_is_proved();
    /* what counts calls, or must be told of them, is on the slow road */
    size_t most = lists && !lm_config.stats && !lm_scavenge_hook ? lm_config.slab_max_bytes : 0;

    __atomic_store_n(&percpu_quick.lists, lists, __ATOMIC_RELAXED);
    __atomic_store_n(&percpu_quick.most, most, __ATOMIC_RELEASE); /* pairs with lm_percpu_pop: the offsets are there */
}

/* Proves that sequences work, while others are served by CPUs without them: where many threads want to run it takes the time in
 * which each gets its turn. */
static void percpu_prove(void)
{
    bool proved = lm_rseq_prove();

    lm_lock_take(&lm_cpus_lock);
    __atomic_store_n(&percpu_proving, false, __ATOMIC_RELAXED);
    __atomic_store_n(&percpu_state, proved ? PROVED : REFUTED, __ATOMIC_RELEASE);
    if (proved)
        lm_cpu_resume();
    else
        __atomic_store_n(&lm_percpu_on, false, __ATOMIC_RELEASE);
    percpu_set_quick(lm_percpu_on);
    lm_lock_release(&lm_cpus_lock);
    if (!proved)
        lm_cpu_drain(true);
}

void lm_percpu_fork_retry(void)
{
    percpu_proving = false; /* whoever was at it is gone, and the next who asks begins anew */
}

/* -- blocks in and out of slabs, by the batch -------------------------------------------------------------------- */

/* What is put into a list: the block, and where its link is. */
static struct lm_rseq_slot percpu_slot(const struct lm_span *slab, uint64_t n, void *p)
{
    return (struct lm_rseq_slot){p, &slab->link[n]};
}

/* The slab and number of a block that comes out of a list; dies when it has been freed a second time. */
static uint64_t percpu_found(const void *p, struct lm_span **slab)
{
    uint64_t n;

    *slab = lm_cpu_slab_of(p);
    lm_slab_number(*slab, p, &n);
    if (LM_UNLIKELY(lm_slab_link(*slab, n) != LM_AWAY))
        lm_slab_die_twice(*slab, n);
    return n;
}

_Noreturn static LM_COLD void percpu_die(const void *p)
{
    struct lm_span *slab = lm_cpu_slab_of(p);
    uint64_t n;

    lm_slab_number(slab, p, &n);
    lm_slab_die_twice(slab, n);
}

/* A block goes back to its slab, or sets out for it. Under the CPU's lock. */
void lm_cpu_give(struct lm_cpu *cpu, const void *p)
{
    struct lm_span *slab;
    uint64_t n = percpu_found(p, &slab);

    if (lm_slab_owner(slab) != &cpu->heap) {
        lm_remote_gather(&cpu->heap, slab, n);
        return;
    }
    if (lm_links_free(slab->link, n, lm_slab_object(slab, n)))
        lm_heap_push_zero(slab);
}

/* Looks into the mailbox of one other CPU: it may be one that no thread runs on any more. */
static void percpu_care(void)
{
    static uint32_t next; /* atomic */

    for (uint32_t n = 0; n < lm_rseq.limit; n++) {
        uint32_t i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % lm_rseq.limit;
        struct lm_cpu *cpu = lm_cpu_at(i);

        if (!cpu || !__atomic_load_n(&cpu->heap.mailbox, __ATOMIC_RELAXED))
            continue;
        if (lm_lock_try(&cpu->lock)) {
            lm_remote_receive(&cpu->heap);
            lm_lock_release(&cpu->lock);
        }
        return;
    }
}

/* More fresh blocks than the one that is wanted, when they are there already and small. Under the CPU's lock. */
static unsigned percpu_take_more(struct lm_cpu *cpu, unsigned size_class, struct lm_rseq_slot *out)
{
    struct lm_span *slab = cpu->heap.current[size_class];
    unsigned most = (unsigned)lm_min(lm_cpu_slots(size_class) / 2, FILL_BYTES / lm_class[size_class].size), n = 0;
    void *p;

    for (uint64_t number; n + 1 < most && (p = lm_slab_pop(slab)) != NULL; n++) {
        lm_slab_number(slab, p, &number);
        lm_slab_send(slab, number, 0);
        out[n] = percpu_slot(slab, number, p);
    }
    return n;
}

/* The list of a class is empty: fills it from the slabs of the CPU. */
static void *percpu_fill(unsigned size_class, bool *zeroed)
{
    struct lm_rseq_slot more[BATCH];
    struct lm_cpu *cpu = percpu_here();
    struct lm_rseq_area *area = lm_rseq_area();
    unsigned n = 0, done = 0;
    uint16_t colour;
    void *p;

    if (!cpu)
        return lm_orphans_malloc(size_class);
    lm_lock_take(&cpu->lock);
    colour = cpu->heap.colour;
    p = lm_heap_take(&cpu->heap, size_class, zeroed);
    if (p && lm_rseq_registered(area) && lm_percpu_is_proved())
        n = percpu_take_more(cpu, size_class, more);
    colour ^= cpu->heap.colour;
    lm_lock_release(&cpu->lock);
    for (done = n; done > 0; done--) /* the first of the slab's list is the first to be handed out */
        if (lm_rseq_push(area, list_offset(size_class), lm_heap_tag(&cpu->heap), more[done - 1]) != LM_RSEQ_DONE)
            break;
    if (done) { /* the thread has been moved, or another filled the list */
        lm_lock_take(&cpu->lock);
        while (done > 0)
            lm_cpu_give(cpu, more[--done].object);
        lm_lock_release(&cpu->lock);
    }
    if (colour) /* it made a slab */
        percpu_care();
    return p;
}

/* True when the calling thread can run sequences, for lm_thread_area to say. */
static bool percpu_know_area(void)
{
    struct lm_rseq_area *area = lm_rseq_area();

    if (!lm_thread_area && lm_rseq_registered(area))
        lm_thread_area = area;
    return lm_thread_area != NULL;
}

/* The last block of the CPU's list at `list` bytes, or NULL. */
LM_INLINE void *percpu_pop(struct lm_rseq_area *area, size_t list)
{
    struct lm_rseq_slot slot = lm_rseq_pop(area, list);
    uint16_t *link = slot.more;

    if (LM_UNLIKELY(!slot.object))
        return NULL;
    if (LM_UNLIKELY(__atomic_load_n(link, __ATOMIC_RELAXED) != LM_AWAY))
        percpu_die(slot.object);
    __atomic_store_n(link, LM_LIVE, __ATOMIC_RELAXED); /* it is the caller's alone, as in lm_slab_set_link */
    return slot.object;
}

void *lm_percpu_pop(size_t size)
{
    struct lm_rseq_area *area = lm_thread_area;

    if (LM_UNLIKELY(!area || size - 1 >= __atomic_load_n(&percpu_quick.most, __ATOMIC_ACQUIRE)))
        return NULL;
    return percpu_pop(
        area, size <= LM_DIRECT_MAX ? percpu_quick.offset[(size + 15) / 16] : list_offset(lm_class_for(size)));
}

void *lm_percpu_malloc(unsigned size_class, bool *zeroed)
{
    void *p = NULL;

    if (percpu_know_area() && lm_percpu_is_proved())
        p = percpu_pop(lm_thread_area, list_offset(size_class));
    if (!p)
        p = percpu_fill(size_class, zeroed);
    if (!p && lm_heap_trim(0) > 0)
        p = percpu_fill(size_class, zeroed);
    return p;
}

/* A block, and the last ones of a list, go to their slabs. False, and nothing done: no memory. */
static bool percpu_flush(unsigned list, unsigned most, const void *p)
{
    struct lm_rseq_slot batch[BATCH];
    struct lm_rseq_area *area = lm_rseq_area();
    struct lm_cpu *cpu = percpu_here();
    unsigned n = 0;
    int saved = errno;

    if (!cpu)
        return false;
    while (n < most && (batch[n] = lm_rseq_pop(area, list_offset(list))).object != NULL)
        n++;
    lm_lock_take(&cpu->lock);
    lm_cpu_give(cpu, p);
    for (unsigned i = 0; i < n; i++)
        lm_cpu_give(cpu, batch[i].object);
    lm_lock_release(&cpu->lock);
    errno = saved;
    return true;
}

/* A block that is not in the list of its class. False, and nothing done, as percpu_flush. */
static bool percpu_free_else(struct lm_span *slab, uint64_t n, struct lm_rseq_slot slot, enum lm_rseq_result why)
{
    unsigned list = slab->size_class;

    lm_slab_send(slab, n, 0);
    if (why == LM_RSEQ_FOREIGN) {
        list = LM_CPU_FOREIGN;
        if (lm_slab_object_size(slab) > FOREIGN_MAX)
            return percpu_flush(list, 0, slot.object); /* a list of such blocks would hold too many bytes */
        if (lm_rseq_push(lm_thread_area, list_offset(list), NULL, slot) == LM_RSEQ_DONE)
            return true;
    }
    return percpu_flush(list, (lm_cpu_slots(list) + 1) / 2, slot.object);
}

/* Whether the block is in the list of its class, and why not: MISSED also when lists are not used. */
LM_INLINE enum lm_rseq_result percpu_push(struct lm_span *slab, uint64_t n, struct lm_rseq_slot slot)
{
    struct lm_rseq_area *area = lm_thread_area;
    const void *owner;

    if (LM_UNLIKELY(!area || !__atomic_load_n(&percpu_quick.lists, __ATOMIC_RELAXED)))
        return LM_RSEQ_MISSED;
    lm_slab_send(slab, n, 0);
    owner = __atomic_load_n(&slab->owner, __ATOMIC_RELAXED); /* a hint: what leaves the list is looked at again */
    return lm_rseq_push(area, list_offset(slab->size_class), owner, slot);
}

bool lm_percpu_free(struct lm_span *slab, uint64_t n, void *p)
{
    struct lm_rseq_slot slot = percpu_slot(slab, n, p);
    enum lm_rseq_result result;

    if (!__atomic_load_n(&lm_percpu_on, __ATOMIC_ACQUIRE) || !percpu_know_area())
        return false;
    result = percpu_push(slab, n, slot);
    return result == LM_RSEQ_DONE || percpu_free_else(slab, n, slot, result);
}

static LM_NOINLINE void percpu_free_rest(
    struct lm_span *slab, uint64_t n, struct lm_rseq_slot slot, enum lm_rseq_result why)
{
    bool on = lm_thread_area && __atomic_load_n(&lm_percpu_on, __ATOMIC_ACQUIRE);

    if (!on || !percpu_free_else(slab, n, slot, why))
        lm_remote_free(slab, n); /* which looks more closely */
}

void lm_homeless_free(struct lm_span *slab, uint64_t n, void *p)
{
    struct lm_rseq_slot slot = percpu_slot(slab, n, p);
    enum lm_rseq_result result = percpu_push(slab, n, slot);

    if (LM_UNLIKELY(result != LM_RSEQ_DONE))
        percpu_free_rest(slab, n, slot, result);
}

/* -- when ------------------------------------------------------------------------------------------------------- */

/* False: it is known that sequences cannot be used. */
static bool percpu_may_be(void)
{
    unsigned state = __atomic_load_n(&percpu_state, __ATOMIC_RELAXED);

    return state != UNUSABLE && state != REFUTED;
}

static bool percpu_lacks_proof(void)
{
    return __atomic_load_n(&percpu_state, __ATOMIC_RELAXED) == TRYING &&
        !__atomic_load_n(&percpu_proving, __ATOMIC_RELAXED);
}

void lm_percpu_decide(size_t threads)
{
    bool on = __atomic_load_n(&lm_percpu_on, __ATOMIC_RELAXED), want = lm_config.cache == LM_CACHE_CPU;
    bool prove = false;
    size_t most = __atomic_load_n(&percpu_threads_most, __ATOMIC_RELAXED);

    if (lm_config.cache == LM_CACHE_AUTO) {
        if (!most && threads > lm_config.cache_threads) { /* not before it matters: it is a call to the OS */
            most = lm_os_cpu_count() * lm_config.cache_threads;
            __atomic_store_n(&percpu_threads_most, most, __ATOMIC_RELAXED);
        }
        want = most && threads > (on ? most / 2 : most); /* apart, so that a thread that comes and goes moves nothing */
    }
    want = want && percpu_may_be();
    if ((want == on && !(want && percpu_lacks_proof())) || !lm_lock_try(&lm_cpus_lock))
        return; /* whoever holds the lock is at it, or the next thread will be */
    if (percpu_state == UNTRIED)
        percpu_find();
    want = want && percpu_may_be();
    prove = want && percpu_lacks_proof();
    if (prove)
        __atomic_store_n(&percpu_proving, true, __ATOMIC_RELAXED);
    on = __atomic_exchange_n(&lm_percpu_on, want, __ATOMIC_ACQ_REL);
    percpu_set_quick(want);
    lm_lock_release(&lm_cpus_lock);
    if (on && !want)
        lm_cpu_drain(true);
    if (prove)
        percpu_prove();
}
