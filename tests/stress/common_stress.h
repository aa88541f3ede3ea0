/* common_stress.h: what the stress tests share. */
#ifndef LOAM_TEST_STRESS_H
#define LOAM_TEST_STRESS_H

#include "../need.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* True when the long form is asked for (LOAM_CHECK_ALL without LOAM_CHECK_SHORT). */
bool in_full(void);

/* What may be resident instead of so much: policy speed, chosen by LOAM_CONF, may cost 30 % more than the default. */
size_t at_the_price(size_t bytes);

/* Forks so often; each child calls body(arg), which must end it with status 0. */
void forks(int times, void (*body)(void *arg), void *arg);

/* Resident bytes of the process now, without malloc. */
size_t resident_bytes(void);

/* xorshift64* */
uint64_t next_random(uint64_t *state);

/* A size as programs ask for: mostly small, sometimes medium, rarely large or huge. */
extern bool any_size_is_huge; /* true: now and then it is tens of megabytes */
size_t any_size(uint64_t *state);

/* Allocates, resizes, checks and frees `steps` times in a private working set that is freed at the end. */
void churn(uint64_t seed, int steps);

#endif
