/* common_death.h: what the death tests share. Each program is one misuse; it runs the misuse for every kind of
 * block, each in a child that must abort with the report that the source's `death:` line names. */
#ifndef LOAM_TEST_DEATH_H
#define LOAM_TEST_DEATH_H

#include <stddef.h>

/* Every kind of block: small, medium, large, huge. */
extern const size_t death_sizes[];
extern const int death_size_count;

/* Hides a pointer from the compiler's own knowledge of malloc. */
void *hide(void *p);

/* Calls body(size) in a thread of its own and waits for it. */
void in_thread(void (*body)(void *), void *arg);

/* Has what a thread needs be there already (its stack, which is used again), so that the next one is not made of memory that was
 * just freed, which ends what can be known about the block that was there. */
void in_thread_again(void);

/* Runs misuse(size) in a child for every size not above `most`; prints a line and fails unless each child aborts
 * with `text` on stderr, in one line, and nothing on stdout. */
int death(const char *text, size_t most, void (*misuse)(size_t size));

/* The same for one size; the number of failures. */
int death_of(const char *text, size_t size, void (*misuse)(size_t size));

#endif
