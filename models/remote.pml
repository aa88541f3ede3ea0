/* remote.pml: frees from other threads. Thread 0 allocates, for itself and for two others; thread 1 frees through its
 * bucket, thread 2 has no heap and frees straight to the slab. Thread 0 may stop allocating at any moment; when all
 * have freed everything, every slab must have been released. */
#define HEAPS 2
#define FINE 0
#include "protocol.pml"

#ifndef MALLOCS
#define MALLOCS 200 /* no bound: it never comes down */
#endif

bit enough;
byte left = MALLOCS; /* requests */
byte stopped;

proctype owning()
{
    LOCALS;
    my = 1;
    do
    :: atomic {
           left -> left = left - (MALLOCS < 200);
           if
           :: t = 0
           :: t = 1
           :: t = 2
           fi
       }
       heap_malloc(t);
       t = 0
    :: atomic { choose_mine(0); t = o; o = 0 } -> free_local(t); t = 0
    :: left -> receive(1); s = 0; release_current() /* lm_heap_trim */
    :: enough = 1; break
    od;
    do
    :: atomic { choose_mine(0); t = o; o = 0 } -> free_local(t); t = 0
    :: HOLDS_NOTHING(0) -> break
    od;
    stopped == 2; /* threads 1 and 2 hold nothing any more */
    receive(1);
    s = current[1];
    if
    :: s -> collect(s, 0)
    :: else
    fi;
    release_current();
    d_step {
        s = 1;
        do
        :: s <= SLABS -> assert(slab[s].kind == SPAN_FREE); s++ /* nothing was lost */
        :: else -> break
        od
    }
}

proctype bucketing()
{
    LOCALS;
    do
    :: atomic { choose_mine(1); ghost[o] = AWAY; t = o; o = 0 } -> bucket_free(t); t = 0
    :: bucket_slab -> bucket_send()
    :: enough && bucket_slab == 0 && HOLDS_NOTHING(1) -> break
    od;
    stopped++
}

proctype straight()
{
    LOCALS;
    do
    :: atomic { choose_mine(2); ghost[o] = AWAY; t = o; o = 0 } -> straight_free(t); t = 0
    :: enough && HOLDS_NOTHING(2) -> break
    od;
    stopped++
}

init { atomic { mailbox[2] = CLOSED; run owning(); run bucketing(); run straight() } }
