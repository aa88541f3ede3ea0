/* base: what every floor stands on, and which stands on nothing.
 *
 *   bits.h    powers of two, rounding, counting bits
 *   list.h    the intrusive, circular, doubly linked list
 *   lock.h    the futex lock, its ranks, and the set that fork takes
 *   stm.h     transactions over words (TL2)
 *   pile.h    stacks that threads share: by lock, lock-free, or by transactions
 *   print.h   formatting into a fixed buffer and writing it to a descriptor, without malloc
 *   single.h  plain steps instead of atomic ones while the process has one thread
 *   check.h   assertions of invariants, and the one way to die
 *   config.h  the values that options set
 *   name.h    the nearest name, for mistyped options
 *
 * Nothing here allocates, and nothing here calls anything that may. */
#ifndef LM_BASE_H
#define LM_BASE_H

#include "base/bits.h"
#include "base/check.h"
#include "base/config.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/name.h"
#include "base/pile.h"
#include "base/print.h"
#include "base/stm.h"
#include "base/single.h"

#endif
