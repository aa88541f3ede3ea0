/* twice.pml: two threads free one object at the very same time, so that each may find it live before it sees the other's
 * store to its link (src/slab/slab.h). Whatever comes of it, no list is followed beyond a link that is not of its kind,
 * and somebody dies with a report: the object stands in two chains, or in a chain and in the list. (An object may have been
 * handed out twice by then, if the owner's list leads back to it; the list then ends at that object.) Only when the
 * object has been handed out again before the second free's store is that a free like any other.
 *
 * Object 1 is freed twice; object 2 is in thread 1's bucket when BEFORE is 1; objects 3 and 4 are in the owner's list.
 *
 *   OWNER    1: the owner is one of the two; 0: two other threads
 *   BEFORE   1: a bucket is not empty
 */
#define OUT 97
#define SENT 100
#define OBJECTS 4

byte link[OBJECTS + 1];
byte head, remote, length; /* of the slab; length is in one word with remote */
byte stopped;
bit died, again;

/* lm_slab_die_twice, or the report of a free that finds its block free */
#define DIE died = 1; goto over

/* lm_heap_push, of object 1 */
inline push()
{
    if
    :: link[1] != OUT -> DIE
    :: else
    fi;
    link[1] = head;
    head = 1
}

/* lm_slab_pop, of a list that is not empty */
inline pop()
{
    assert(head <= OBJECTS); /* else it reads what is not a link */
    n = head;
    head = link[n];
    d_step {
        link[n] = OUT;
        again = again || (n == 1 && stopped < 2 - OWNER);
        n = 0
    }
}

/* lm_slab_collect */
inline collect()
{
    d_step { n = remote; remote = 0; left = length; length = 0 }
    first = head;
    do
    :: n ->
#ifndef MUTANT_UNPROVED
        if
        :: link[n] < SENT -> DIE
        :: else
        fi;
#endif
        next = (link[n] >= SENT -> link[n] - SENT : 0);
        link[n] = first;
        first = n;
        n = next;
        left--
    :: else -> break
    od;
#ifndef MUTANT_UNCOUNTED
    if
    :: left -> DIE
    :: else
    fi;
#endif
    head = first;
    next = 0; first = 0; left = 0
}

#ifdef MUTANT_FOLLOWED
#define TORN 0
#else
#define TORN (head >= OUT)
#endif

proctype owner()
{
    byte n, next, first, left;
#if OWNER
    push();
#endif
    do
    :: TORN -> DIE
    :: head && !TORN -> pop()
    :: remote -> collect()
    :: stopped == 2 - OWNER && remote == 0 && head == 0 -> break
    od;
over:
    assert(died || again)
}

/* lm_heap_free_foreign and lm_slab_push_remote, from a bucket whose only object so far is `before` */
proctype other(byte before)
{
    byte seen, seen_length, tail;
    bit done;

    if
    :: link[1] != OUT -> DIE
    :: else
    fi;
    link[1] = SENT + before;
    tail = (before -> before : 1);
    if
    :: link[tail] != SENT -> DIE
    :: else
    fi;
    d_step { seen = remote; seen_length = length }
    do
    :: link[tail] = SENT + seen;
       d_step {
           done = remote == seen && length == seen_length;
           if
           :: done -> remote = 1; length = length + 1 + (before > 0)
           :: else -> seen = remote; seen_length = length
           fi
       }
       if
       :: done -> break
       :: else
       fi
    od;
over:
    stopped++
}

init
{
    atomic {
        link[1] = OUT;
        link[2] = (BEFORE -> SENT : OUT);
        link[3] = 4;
        head = 3;
        run owner();
        run other(BEFORE * 2);
#if !OWNER
        run other(0)
#endif
    }
}
