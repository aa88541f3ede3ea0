/* fork.pml: what a child may believe. Threads 1 and 2 (with a heap, and without) are anywhere between two of their own
 * stores when thread 0 forks: it takes every lock in rank order, the others vanish, it makes the locks and the orphans
 * anew (lm_heap_after_fork) and goes on alone: it allocates all there is and frees all it holds.
 *
 * What was in a vanished thread's hands may be lost to the child, but nothing else, and nothing is handed out twice,
 * no list holds a slab that is not there, no slab stays mailed, and an empty slab is released. A parent's fork is the
 * locks alone.
 *
 *   FORKER   0: thread 0 has no heap when it forks; 1: it has
 *   TWO      thread 1 is not there, for a larger search of the rest
 */
#define HEAPS 3
#define FINE 1
#include "protocol.pml"

bit child;           /* the others are gone */
byte left = MALLOCS; /* requests, of all threads */
byte homeless;       /* lm_remote_homeless */
bit lost[OBJECTS + 1];

/* lm_remote_free of a thread without a heap, which is counted. */
inline homeless_free(object)
{
#ifndef MUTANT_ALONE
    homeless++;
#endif
    straight_free(object);
#ifndef MUTANT_ALONE
    homeless--
#else
    skip
#endif
}

proctype living() provided (!child)
{
    LOCALS;
    attach();
end:
    do
    :: atomic {
           my && left -> left--;
           if
           :: t = 0
           :: t = 1
           :: t = 2
           fi
       }
       heap_malloc(t);
       t = 0
    :: atomic { choose_mine(1); t = o; o = 0 }
       if
       :: my && slab[SLAB_OF(t)].owner == my -> free_local(t)
       :: my && slab[SLAB_OF(t)].owner != my -> ghost[t] = AWAY; bucket_free(t)
       :: else -> ghost[t] = AWAY; homeless_free(t)
       fi;
       t = 0
    :: my && bucket_slab -> bucket_send()
    :: my -> detach()
    :: !my && left -> attach()
    od
}

proctype straight() provided (!child)
{
    LOCALS;
end:
    do
    :: atomic { choose_mine(2); ghost[o] = AWAY; t = o; o = 0 } -> homeless_free(t); t = 0
    od
}

/* lm_orphans_check, and lm_heap_check of the child's heap */
inline check_all()
{
    s = SLABS;
    do
    :: s ->
        if
        :: slab[s].kind != SPAN_FREE ->
            count_free(s);
            assert(!slab[s].mailed || (my && place[s] == MAILBOX)); /* nobody is left who would deliver it */
            assert(slab[s].mailed || slab[s].remote == 0);
            assert(slab[s].owner == 0 || slab[s].owner == my);
            assert(slab[s].list == (slab[s].kind == CURRENT -> 0 : (slab[s].owner -> slab[s].owner : ORPHANS)));
            assert(slab[s].kind != PARTIAL || slab[s].remote || (slab[s].countdown + n == slab[s].carved && (slab[s].countdown || slab[s].mailed)));
            assert(slab[s].kind != CURRENT || current[my] == s)
        :: else
        fi;
        s--
    :: else -> break
    od;
    n = 0
}

/* Objects that nobody will ever free here: they were in the hands of threads that are gone. */
inline mourn()
{
    id = OBJECTS;
    do
    :: id ->
        s = SLAB_OF(id);
        if
        :: id < FIRST(s) + slab[s].carved && link[id] < OUT -> /* free, and found as such */
            assert(ghost[id] == HOME || ghost[id] == POPPED);
            ghost[id] = HOME
        :: else ->
            last = slab[s].remote;
            do
            :: last && last != id -> last = link[last] - SENT
            :: else -> break
            od;
            lost[id] = slab[s].kind != SPAN_FREE && last != id && ghost[id] != LIVE + 0
        fi;
        id--
    :: else -> break
    od;
    last = 0; s = 0
}

/* orphan_find, of one slab: true when it is to be made an orphan or to be delivered. */
#define FOUND(s) (slab[s].kind != SPAN_FREE && slab[s].made && !KEPT(s))
#ifdef MUTANT_UNMADE
#define UNMADE(s) 0
#else
#define UNMADE(s) (slab[s].kind != SPAN_FREE && !slab[s].made)
#endif
#ifdef MUTANT_NOBODYS
#define KEPT(s) (slab[s].owner == my && !slab[s].mailed)
#elif defined MUTANT_MAILED_KEPT
#define KEPT(s) (my && slab[s].owner == my)
#else
#define KEPT(s) (my && slab[s].owner == my && !slab[s].mailed)
#endif

/* lm_orphans_after_fork */
inline orphans_after_fork()
{
    s = SLABS;
    do /* orphans = (struct lm_lists){0} */
    :: s && slab[s].list == ORPHANS -> slab[s].list = 0; s--
    :: s && slab[s].list != ORPHANS -> s--
    :: else -> break
    od;
    if
    :: my -> mailbox[my] = 0
    :: else
    fi;
    s = SLABS;
    do
    :: s && FOUND(s) ->
        place[s] = (slab[s].mailed -> HANDS : NOWHERE); /* whoever held it */
        if
        :: my && slab[s].owner == my ->
            slab[s].mail_next = mailbox[my]; /* lm_remote_deliver, with nobody else there */
            mailbox[my] = s;
            place[s] = MAILBOX
        :: else ->
#ifndef MUTANT_LIST_BELIEVED
            d_step { /* lm_slab_rebuild */
                slab[s].free = 0;
                last = FIRST(s) + slab[s].carved;
                do
                :: last > FIRST(s) ->
                    last--;
                    if
#ifdef MUTANT_SENT_BELIEVED
                    :: link[last] != OUT ->
#else
                    :: link[last] < OUT ->
#endif
                        link[last] = slab[s].free;
                        slab[s].free = last
                    :: else
                    fi
                :: else -> break
                od;
                last = 0
            }
#endif
            collect(s, 1);
            slab[s].list = 0;
            count_free(s);
            live = slab[s].carved - n;
            n = 0;
            orphan_add(s, live);
            live = 0
        fi;
        s--
    :: s && UNMADE(s) -> span_free(s); s-- /* its thread was making it */
    :: s && !FOUND(s) && !UNMADE(s) -> s--
    :: else -> break
    od
}

/* lm_heap_after_fork */
inline heap_after_fork()
{
    n = homeless;
    s = HEAPS;
    do
    :: s -> n = n + (s != my && busy[s]); s--
    :: else -> break
    od;
    if
    :: n == 0
    :: else ->
        n = 0;
        orphans_after_fork();
        s = HEAPS;
        do
        :: s ->
            if
            :: s != my && busy[s] -> current[s] = 0; mailbox[s] = CLOSED; busy[s] = 0; idle[s] = 1
            :: else
            fi;
            s--
        :: else -> break
        od
    fi;
    homeless = 0; n = 0
}

proctype forking()
{
    LOCALS;
#if FORKER
    attach();
    do
    :: atomic { left -> left--; if :: t = 0 :: t = 1 :: t = 2 fi } heap_malloc(t); t = 0
    :: atomic { choose_mine(0); t = o; o = 0 } ->
        if
        :: slab[SLAB_OF(t)].owner == my -> free_local(t)
        :: else -> ghost[t] = AWAY; bucket_free(t)
        fi;
        t = 0
    :: break
    od;
#endif
    /* fork_prepare */
#ifdef MUTANT_RANKS
    TAKE(heaps_lock); TAKE(pages_lock); TAKE(orphans_lock);
#else
    TAKE(heaps_lock); TAKE(orphans_lock); TAKE(pages_lock);
#endif
    if
    :: RELEASE(pages_lock); RELEASE(orphans_lock); RELEASE(heaps_lock)
    :: d_step {
           child = 1;
           mourn();
           RELEASE(pages_lock); RELEASE(orphans_lock); RELEASE(heaps_lock);
           last = 0
       }
       atomic { heap_after_fork() }
       d_step { check_all(); s = 0 }
       d_step { /* no heap is in nobody's hands */
           s = HEAPS;
           do
           :: s -> assert(s == my || idle[s]); s--
           :: else -> break
           od;
           s = 0
       }
       /* all that is left is used: whatever a list says twice is handed out twice */
       atomic {
           if
           :: my == 0 -> attach()
           :: else
           fi;
           left = OBJECTS + 1
       }
       do
       :: left -> atomic { left--; heap_malloc(0) }
       :: else -> break
       od;
       t = OBJECTS;
       do
       :: t ->
           atomic {
               if
               :: ghost[t] != LIVE + 0 -> assert(ghost[t] == NOTHING || lost[t]) /* else it was lost on the way */
               :: ghost[t] == LIVE + 0 && slab[SLAB_OF(t)].owner == my -> free_local(t)
               :: else -> ghost[t] = AWAY; bucket_free(t)
               fi;
               t--
           }
       :: else -> break
       od;
       atomic {
           detach();
           check_all()
       }
       do /* the threads that are gone stand where they stood: that is no deadlock */
       :: t = 0
       od
    fi
}

init
{
    atomic {
        byte i;
        i = HEAPS;
        do
        :: i -> mailbox[i] = CLOSED; idle[i] = 1; i--
        :: else -> break
        od;
        run forking(); run straight();
#ifndef TWO
        run living()
#endif
    }
}
