/* adopt.pml: slabs change hands. Threads 0 and 1 allocate, for themselves, for each other and for thread 2, and free
 * through a bucket; they may end at any moment, which disowns their slabs, and start again with whichever heap is
 * idle, which adopts the slabs. Thread 2 has no heap: its frees travel meanwhile. When all have freed everything and
 * have ended, every slab must have been released, and no mailbox may hold any. */
#define HEAPS 2
#define FINE 0
#include "protocol.pml"

#ifndef MALLOCS
#define MALLOCS 3
#endif

byte stopped, asking;
byte left = MALLOCS; /* requests, of all threads */

proctype living(byte me)
{
    LOCALS;
    attach();
    do
    :: atomic {
           my && left -> left--;
           asking++;
           if
           :: t = me
           :: t = 1 - me
           :: t = 2
           fi
       }
       heap_malloc(t);
       t = 0;
       asking--
    :: atomic { choose_mine(me); t = o; o = 0 }
       if
       :: my && slab[SLAB_OF(t)].owner == my -> free_local(t)
       :: else ->
           ghost[t] = AWAY;
           if
           :: my -> bucket_free(t)
           :: else -> straight_free(t)
           fi
       fi;
       t = 0
    :: my -> detach()
    :: !my && left -> attach()
    :: !my && HOLDS_NOTHING(me) && left == 0 && asking == 0 -> break
    od;
    stopped++
}

proctype straight()
{
    LOCALS;
    do
    :: atomic { choose_mine(2); ghost[o] = AWAY; t = o; o = 0 } -> straight_free(t); t = 0
    :: HOLDS_NOTHING(2) && stopped == 2 -> break
    od;
    stopped++;
    d_step {
        s = 1;
        do
        :: s <= SLABS -> assert(slab[s].kind == SPAN_FREE); s++ /* nothing was lost */
        :: else -> break
        od;
        assert(mailbox[1] == CLOSED && mailbox[2] == CLOSED)
    }
}

init
{
    atomic {
        mailbox[1] = CLOSED; mailbox[2] = CLOSED;
        idle[1] = 1; idle[2] = 1;
        run living(0); run living(1); run straight()
    }
}
