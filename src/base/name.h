/* name.h: the nearest name, for mistyped options. */
#ifndef LM_BASE_NAME_H
#define LM_BASE_NAME_H

#include "base/bits.h"

/* The index of the name nearest to `word` (Damerau-Levenshtein distance with adjacent transpositions, at
 * most a third of the word's length plus one), or -1 when none is near. `word` need not end in NUL;
 * names longer than 63 bytes are never near. */
int lm_name_nearest(const char *word, size_t length, const char *const *names, size_t count);

#endif
