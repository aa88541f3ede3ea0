/* fake.h: an operating system that fails on demand, for tests.
 *
 * The linker's --wrap puts these between the floors above and os/linux.c, so that the real calls still do the work
 * when nothing is to fail. For one thread at a time. */
#ifndef LM_OS_FAKE_H
#define LM_OS_FAKE_H

#include "os/os.h"

/* No failures, no limits, real clock and page size; counts from zero. Mapped bytes are kept. */
void lm_fake_reset(void);

/* The n-th call of the kind from now on (1 is the next) fails with ENOMEM; 0: none. */
void lm_fake_fail_nth(enum lm_os_call kind, uint64_t n);

/* That call and every later one. */
void lm_fake_fail_from(enum lm_os_call kind, uint64_t n);

/* Every n-th call. */
void lm_fake_fail_every(enum lm_os_call kind, uint64_t n);

/* reserve, map and the growth of remap fail when more than so many bytes would be mapped in all. */
void lm_fake_limit_bytes(size_t bytes);

void lm_fake_page_size(size_t bytes); /* 16 KiB, 64 KiB: multiples of the real one */
void lm_fake_clock(uint64_t ms);      /* the clock stands still at this */
void lm_fake_memory_limit(size_t bytes);
void lm_fake_address_limit(size_t bytes);

/* Restartable sequences are refuted when `first`, which may wait, returns false; NULL: proved by themselves. */
void lm_fake_prove(bool (*first)(void));

void lm_fake_hold(void *p); /* what holds this address is refused to a purge, as if it were locked; NULL: nothing */
void lm_fake_refuse_vectors(int error); /* purges of many ranges fail so, as on an older kernel; 0: they do not */
void lm_fake_watch(void);               /* a filter of system calls, or an emulator, seems to be there */

uint64_t lm_fake_vectors(void);               /* purges of many ranges that were tried since the reset */
uint64_t lm_fake_calls(enum lm_os_call kind); /* made since the reset, failed ones included */
size_t lm_fake_mapped_bytes(void);            /* reserved and mapped, not unmapped: shows leaks of address space */

#endif
