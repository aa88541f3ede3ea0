/* shelf.pml: orphans without a lock: heap/shelf.c over base/pile.c, one Promela step for each atomic one. One slab (or
 * two, of which one pads the shelf) whose blocks PUSHERS threads free by pushes and deliveries, while others take slabs
 * off: one adopts, one sweeps. Whatever they do in whichever order, a slab is at no time in two threads' hands, its list
 * is changed by one, no note is left twice, no block is lost, and when all have ended an orphan without live blocks has
 * been released, but for those that the counter of empties still knows.
 *
 * The mailed bit and the remote list are one word, as in the code; `live` is the countdown of a PARTIAL slab, FULL is
 * live == PER. */
#define NIL 0
#define CLAIMED 1
#define MAIL 2
#define OFF 4
#define HEAP 8

#ifndef SLABS
#define SLABS 2
#endif
#define PER 2
#define PUSHERS 2

typedef Slab {
    byte owner;          /* 0, or CLAIMED and notes, or HEAP */
    byte remote;         /* blocks */
    bit mailed;
    byte live;           /* blocks that are out or in the remote list */
    bit filled;
    bit gone;            /* released */
    byte next;
    byte hands;          /* ghost: threads that have it in their hands, off the shelf */
    byte at;             /* ghost: threads that change its list */
}
Slab slab[SLABS + 1];
byte top, removals;      /* of the pile */
byte empties;
byte out[SLABS + 1];     /* ghost: blocks that are live */
byte ended;

#define THREAD byte s, seen, note, next, freed, id; bit off, bare, part, filled

/* -- base/pile.c ---------------------------------------------------------------------------------------------------- */

inline pile_push(x)
{
    do
    :: seen = top;
       slab[x].next = seen;
       atomic {
           if
           :: top == seen -> slab[x].hands--; top = x; seen = 0; break
           :: else
           fi
       }
    od
}

/* Into s; 0: empty. */
inline pile_pop()
{
    do
    :: atomic { s = top; seen = removals }
       if
       :: s == 0 -> break
       :: else
       fi;
       next = slab[s].next; /* it may be another's by now */
       atomic {
           if
#ifdef MUTANT_UNCOUNTED
           :: top == s ->
#else
           :: top == s && removals == seen ->
#endif
               top = next;
               removals = (removals + 1) % 16;
               assert(slab[s].hands == 0 && !slab[s].gone);
               slab[s].hands++;
               break
           :: else
           fi
       }
    od;
    seen = 0; next = 0
}

/* -- heap/shelf.c --------------------------------------------------------------------------------------------------- */

/* Sets note to 0 when the claim is won, to what was left, or to HEAP: no orphan. */
inline claim(x, what)
{
    atomic {
        if
        :: slab[x].owner == HEAP -> note = HEAP
        :: slab[x].owner == NIL -> assert(slab[x].at == 0); slab[x].owner = CLAIMED; slab[x].at++; note = 0
        :: else ->
            assert((slab[x].owner & what) == 0);
            slab[x].owner = slab[x].owner | what;
            note = what;
            if
            :: what == OFF -> slab[x].hands-- /* the holder's now */
            :: else
            fi
        fi
    }
}

/* lm_slab_collect and what becomes of the counts; full turns to part with one block, and is then in hand. */
inline collect(x)
{
    atomic {
        assert(slab[x].at == 1);
        freed = slab[x].remote;
        slab[x].remote = 0;
        slab[x].mailed = 0
    }
    if
    :: freed && slab[x].filled -> slab[x].filled = 0; off = 1
    :: else
    fi;
    slab[x].live = slab[x].live - freed;
    freed = 0
}

/* shelf_finish, with `off` set by the caller. */
inline finish(x)
{
    do
    :: atomic { bare = !slab[x].filled && slab[x].live == 0 && !slab[x].mailed; part = !slab[x].filled }
       if
       :: off && bare ->
           atomic {
               assert(out[x] == 0 && !slab[x].mailed && slab[x].remote == 0);
               assert(slab[x].owner == CLAIMED && slab[x].at == 1 && !slab[x].gone);
               slab[x].gone = 1; slab[x].owner = NIL; slab[x].at--; slab[x].hands--
           }
           part = 0; bare = 0;
           break
       :: else
       fi;
       atomic {
           if
           :: slab[x].owner == CLAIMED -> slab[x].owner = NIL; slab[x].at--; note = 0
           :: else -> note = slab[x].owner - CLAIMED
           fi
       }
       if
       :: note == 0 -> break
       :: else
       fi;
       atomic {
#ifdef MUTANT_NOTES_DROPPED
           slab[x].owner = CLAIMED;
#else
           slab[x].owner = slab[x].owner - note;
#endif
           if
           :: note & OFF -> slab[x].hands++
           :: else
           fi
       }
       if
       :: note & MAIL -> collect(x)
       :: else
       fi;
#ifndef MUTANT_OFF_IGNORED
       if
       :: note & OFF -> off = 1
       :: else
       fi
#endif
    od;
    if
    :: off && part ->
        pile_push(x);
#ifndef MUTANT_NO_SECOND_LOOK
        if
        :: slab[x].live == 0 && !slab[x].mailed -> empties++
        :: else
        fi
#endif
    :: !(off && part) && bare -> empties++
    :: else
    fi;
    off = 0; bare = 0; part = 0; note = 0
}

/* lm_pile_take: all are in the taker's hands from here on; id is the first. */
inline pile_take()
{
    d_step {
        id = top;
        top = 0;
        removals = (removals + (id != 0)) % 16;
        s = id;
        do
        :: s -> assert(slab[s].hands == 0 && !slab[s].gone); slab[s].hands++; s = slab[s].next
        :: else -> break
        od
    }
}

/* shelf_sweep_if_due, with a threshold of one: a shelf of so few is always due. */
inline sweep()
{
    do
    :: empties == 0 -> break
    :: else ->
        empties = 0;
        pile_take();
        do
        :: id == 0 -> break
        :: else ->
            s = id;
#ifdef MUTANT_NEXT_LATE
            claim(s, OFF);
            id = slab[s].next;
#else
            id = slab[s].next;
            claim(s, OFF);
#endif
            assert(note != HEAP);
            if
            :: note == 0 -> off = 1; finish(s)
            :: else
            fi
        od
    od;
    s = 0; note = 0
}

/* lm_shelves_receive, in lm_remote_deliver: a heap's mailbox is none of this model's business. */
inline receive(x)
{
    claim(x, MAIL);
    if
    :: note == 0 ->
        off = slab[x].filled;
        if
        :: off -> slab[x].hands++
        :: else
        fi;
        filled = off;
        collect(x);
        if
        :: filled && slab[x].filled -> off = 0; slab[x].hands-- /* not enough came home */
        :: else
        fi;
        filled = 0;
        finish(x)
    :: else
    fi;
    note = 0;
    sweep()
}

/* A thread that frees one block of each slab. */
proctype freeing()
{
    THREAD;
    byte mine = SLABS;
    do
    :: mine == 0 -> break
    :: else ->
        atomic {
            assert(!slab[mine].gone);
            out[mine]--;
            slab[mine].remote++;
            freed = !slab[mine].mailed;
            slab[mine].mailed = 1
        }
        if
        :: freed -> freed = 0; receive(mine)
        :: else
        fi;
        mine--
    od;
    ended++
}

/* One that adopts a slab, or takes the fuller of two, and may end, or that puts it back. */
proctype taking()
{
    THREAD;
    pile_pop();
    if
    :: s ->
        claim(s, OFF);
        assert(note != HEAP);
        if
        :: note == 0 ->
            if
            :: off = 1; finish(s) /* the less full of two goes back */
            :: do /* lm_shelves_take: the owner is exchanged for a heap */
               :: atomic {
                      if
                      :: slab[s].owner == CLAIMED -> slab[s].owner = HEAP; slab[s].at--; slab[s].hands--; note = 0
                      :: else -> note = slab[s].owner - CLAIMED
                      fi
                  }
                  if
                  :: note == 0 -> break
                  :: else -> assert(note == MAIL); slab[s].owner = CLAIMED; collect(s)
                  fi
               od;
               if
               :: atomic { /* the thread ends: lm_shelves_add */
                      slab[s].mailed == 0 && slab[s].remote == 0 ->
                      slab[s].owner = CLAIMED; slab[s].at++; slab[s].hands++
                  }
                  off = 1; finish(s)
               :: true
               fi
            fi
        :: else
        fi
    :: else
    fi;
    note = 0; off = 0;
    sweep();
    ended++
}

#define RELEASED(x) (slab[x].gone || slab[x].owner == HEAP || out[x])

init
{
    byte x;
    atomic {
        x = SLABS;
        do
        :: x ->
            out[x] = PUSHERS;
            slab[x].live = PUSHERS;
#ifdef FULL
            slab[x].filled = x == 1;
#endif
            if
            :: !slab[x].filled -> slab[x].next = top; top = x
            :: else
            fi;
            x--
        :: else -> break
        od;
        run freeing(); run freeing(); run taking();
#ifdef TWO
        run taking()
#endif
    }
#ifdef TWO
    ended == 4;
#else
    ended == 3;
#endif
    d_step {
        x = SLABS;
        do
        :: x -> assert(RELEASED(x)); x--
        :: else -> break
        od
    }
}
