/* percpu.h: caches and slabs that belong to CPUs instead of threads (config cache).
 *
 *   percpu.c   one CPU: making it, its lists filled and emptied; when CPUs serve
 *   cpus.c     all of them: draining, counting, checking, fork
 *
 *   a CPU      struct lm_heap: slabs, under a lock
 *              lists:  own blocks of class 0 | of class 1 | ... | other CPUs' blocks, on their way
 *
 * A thread that is served by CPUs has no heap of its own, so that the common path misses. On the slow road it pops from and
 * pushes onto its CPU's lists by restartable sequences (os/rseq.h); they are filled from and emptied into the CPU's
 * slabs by the batch, under the lock. A CPU's class lists take blocks of its own slabs only: the sequence that
 * pushes compares the slab's owner with the list's. Blocks of other owners go into the one foreign list, and from there
 * by buckets and mailboxes as between threads (remote.c). So no CPU is handed out a block of a page that another
 * allocates from.
 *
 * When threads are served by CPUs: always (cache:cpu), never (cache:thread), or while there are more than cache_threads
 * threads for each CPU (cache:auto). Nobody is stopped when that changes: a thread sees it at its next slow road, and
 * either disowns its heap or gets one.
 *
 * Sequences are proved to work before the first use, which may take a while; until then the lists are stopped, so that every
 * block goes through the slabs, under the lock.
 *
 * Draining takes a CPU's lists away (stopped lists are full and empty at once) and fences before it looks at them.
 *
 * Invariant (lm_percpu_check): every block in a list is away, with no object behind it, and in a class list has that
 * class. Blocks in lists count as live in their slabs.
 *
 * Locks: LM_RANK_CPUS guards the table of CPUs and draining; LM_RANK_CPU, one a CPU, its slabs and buckets; both are taken
 * by fork. Signals: the sequences are safe, the rest is as the heap. Metadata: lm_meta_alloc, never freed. */
#ifndef LM_HEAP_PERCPU_H
#define LM_HEAP_PERCPU_H

#include "heap/heap.h"

enum lm_cache { LM_CACHE_THREAD, LM_CACHE_CPU, LM_CACHE_AUTO }; /* config cache */

/* Atomic: threads are served by CPUs now. */
extern bool lm_percpu_on LM_HIDDEN;

/* Chooses whether threads are served by CPUs, for `threads` live ones. */
void lm_percpu_decide(size_t threads);

/* Where the calling thread's sequences are noted, once it is known that it runs any; NULL before. */
extern __thread struct lm_rseq_area *lm_thread_area __attribute__((tls_model("initial-exec")));

/* A block of at least size bytes from the CPU's list, or NULL: the slow road is to be asked. */
void *lm_percpu_pop(size_t size);

/* A block of the class, or NULL: no memory. Only while lm_percpu_on. */
void *lm_percpu_malloc(unsigned size_class, bool *zeroed);

/* Frees object n of a slab, at p, which is proved to be live and of no private heap. False, and nothing done: threads are not
 * served by CPUs, or this one cannot be. Keeps errno. */
bool lm_percpu_free(struct lm_span *slab, uint64_t n, void *p);

/* The same for a thread without a heap, which is done in any case. */
void lm_homeless_free(struct lm_span *slab, uint64_t n, void *p);

/* Empties every CPU's lists into the slabs and delivers what is on its way. */
void lm_percpu_drain(void);

/* Blocks in the lists and their bytes, as far as can be seen while they change. */
void lm_percpu_cached(size_t *blocks, size_t *bytes);

/* 0, or the line of the invariant that is broken. */
int lm_percpu_check(void);

/* Fork: all the locks, in and out; `mine` is true when the caller is inside one. */
bool lm_percpu_fork_mine(void);
void lm_percpu_fork_take(void);
void lm_percpu_fork_release(void);
void lm_percpu_fork_reset(void);
void lm_percpu_fork_mail(void); /* empties the mailboxes; whoever calls finds the slabs that were in them */

/* True once the CPUs can be used, whether they are or not. */
bool lm_percpu_is_used(void);

#endif
