/* lock.pml: the futex lock with tickets of base/lock.c, one step for each atomic one and for the two halves of a futex call:
 * looking at the word and falling asleep are one step in the kernel, and so is waking. Patience is PATIENCE.
 *
 * No two threads hold it; nobody sleeps for ever (that would be an invalid end state); and who has drawn a ticket sees
 * at most one hold begin for each thread that waits already. */
#define FREE 0
#define HELD 1
#define WAITED 2
#ifndef THREADS
#define THREADS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef PATIENCE
#define PATIENCE 1
#endif
#define TICKETS 4
#define NONE 99
#define ANYBODY 98

/* the word */
byte state, drawn, served;
#define IS(s, d, v) (state == s && drawn == d && served == v)

byte asleep[THREADS]; /* 0, or the set it sleeps in: ANYBODY, or its ticket + 1 */
byte order[THREADS], sleepers; /* the kernel wakes the one first that fell asleep first */
byte holders;
byte passed[THREADS], mayPass[THREADS]; /* ghost: holds that began since the ticket was drawn; who may go first */
bit ticketed[THREADS];

#define ME (_pid - 1)

inline look() { d_step { s = state; d = drawn; v = served } }

/* ghost */
inline begin_hold()
{
    holders++;
    assert(holders == 1);
    i = 0;
    do
    :: i < THREADS -> if :: ticketed[i] && i != ME -> passed[i]++; assert(passed[i] <= mayPass[i]) :: else fi; i++
    :: else -> break
    od;
    i = 0;
    ticketed[ME] = 0
}

/* lock_wait_changed */
inline wait_changed(set)
{
    if
    :: s == HELD ->
        d_step {
            if
            :: IS(HELD, d, v) -> state = WAITED; s = WAITED
            :: else -> s = NONE
            fi
        }
    :: else
    fi;
    if
    :: s != NONE ->
        d_step {
            if
            :: IS(s, d, v) -> asleep[ME] = set; sleepers++; order[ME] = sleepers
            :: else
            fi
        }
        asleep[ME] == 0
    :: else
    fi;
    look()
}

inline wake_one(set)
{
    d_step {
        i = 0; w = NONE;
        do
        :: i < THREADS ->
            if
            :: asleep[i] == set && (w == NONE || order[i] < order[w]) -> w = i
            :: else
            fi;
            i++
        :: else -> break
        od;
        if
        :: w != NONE ->
            i = 0;
            do
            :: i < THREADS -> order[i] = order[i] - (order[i] > order[w]); i++
            :: else -> break
            od;
            asleep[w] = 0; order[w] = 0; sleepers--
        :: else
        fi;
        i = 0; w = 0
    }
}

inline release()
{
    holders--;
    d_step {
        was = state; d = drawn; v = served;
        state = FREE
    }
    if
    :: was == WAITED ->
#ifdef MUTANT_WAKE_ANYBODY
        wake_one(ANYBODY)
#else
        if
        :: d != v -> wake_one(v + 1)
        :: else -> wake_one(ANYBODY)
        fi
#endif
    :: else
    fi
}

proctype thread()
{
    byte s, d, v, was, i, w, tries, ticket, rounds = ROUNDS;
    bit got;

    do
    :: rounds == 0 -> break
    :: else ->
        rounds--;
        /* lock_grab */
        d_step {
#ifdef MUTANT_BARGE
            got = state == FREE;
#else
            got = IS(FREE, 0, 0);
#endif
            if
            :: got -> state = HELD; begin_hold()
            :: else
            fi
        }
        if
        :: got
        :: else ->
            /* lock_wait_anyhow */
            tries = 0;
            look();
            do
            :: tries > PATIENCE || got -> break
            :: else ->
                if
                :: s == FREE && d == 0 && v == 0 ->
                    d_step {
                        if
                        :: IS(FREE, 0, 0) -> state = WAITED; got = 1; begin_hold()
                        :: else -> s = state; d = drawn; v = served
                        fi
                    }
                :: else -> wait_changed(ANYBODY); tries++
                fi
            od;
            if
            :: got
            :: else ->
                skip;
                d_step { /* lock_draw; there are fewer threads than tickets */
                    ticket = drawn;
                    drawn = (drawn + 1) % TICKETS;
                    ticketed[ME] = 1;
                    passed[ME] = 0;
                    /* earlier tickets, and who holds it has begun already */
                    mayPass[ME] = (ticket + TICKETS - served) % TICKETS
                }
                /* lock_wait_in_turn */
                look();
                do
                :: got -> break
                :: else ->
                    if
                    :: s == FREE && v == ticket ->
                        d_step {
                            if
                            :: IS(FREE, d, v) ->
                                state = WAITED;
                                served = (served + 1) % TICKETS;
                                if
#ifndef MUTANT_NO_RESET
                                :: served == drawn -> served = 0; drawn = 0
#endif
                                :: else
                                fi;
                                got = 1;
                                begin_hold()
                            :: else -> s = state; d = drawn; v = served
                            fi
                        }
                    :: else -> wait_changed(ticket + 1)
                    fi
                od
            fi
        fi;
        skip;
        d_step { got = 0; tries = 0; ticket = 0; s = 0; d = 0; v = 0 }
        release();
        d_step { was = 0; d = 0; v = 0 }
    od
}

init
{
    atomic {
        byte i;
        do
        :: i < THREADS -> run thread(); i++
        :: else -> break
        od
    }
}
