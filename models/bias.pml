/* bias.pml: the lock that leans to one thread, heap/bias.h, with the stores of every thread in a buffer of its own, as on
 * x86: what a thread has stored is seen by itself at once, by others in order and some time later.
 *
 * Each thread enters a few times: as the holder without the lock (announce, look again, be in), or else with it (unseat
 * the holder, have all buffers written out by the barrier, wait until the one that was unseated is out). Whoever leaves the
 * lock may become the holder. A section lasts until the store that ends it is seen, for so do the stores within.
 *
 * There is never more than one thread in a section. */
#define THREADS 3
#define NOBODY 0
#define HOLDER 100 /* a variable; others are `inside` of a thread */

chan buffer[THREADS + 1] = [3] of { byte, byte };
byte holder, lock;         /* 0: nobody, else a thread */
byte inside[THREADS + 1];  /* 1: announced, 2: and in */
byte believed[THREADS + 1], pending[THREADS + 1]; /* what a thread's own buffer says of holder; 255: nothing */
byte in, who;              /* threads in a section, and which */

#ifdef MUTANT_ONE_WORD
#define WORD(t) 0 /* one announcement for the lean instead of one for each thread */
#else
#define WORD(t) t
#endif
#define SEEN(me) (believed[me] != 255 -> believed[me] : holder)

inline section_begins(me)
{
    assert(in == 0 || who == me);
    in++;
    who = me
}

inline section_ends(me)
{
    assert(in > 0 && who == me);
    in--
}

/* The oldest store of a thread's buffer is seen by all. */
inline write_out(t)
{
    buffer[t]?variable, value;
    if
    :: variable == HOLDER ->
        holder = value;
        pending[t]--;
        if
        :: pending[t] == 0 -> believed[t] = 255
        :: else
        fi
    :: else ->
        if
        :: value == 2 -> inside[variable] = 0; section_ends(t) /* it was in */
        :: else -> inside[variable] = value
        fi
    fi
}

/* Buffers are written out at any time. */
active proctype memory()
{
    byte variable, value;

end_memory:
    do
    :: atomic { nempty(buffer[1]) -> write_out(1) }
    :: atomic { nempty(buffer[2]) -> write_out(2) }
    :: atomic { nempty(buffer[3]) -> write_out(3) }
    od
}

inline barrier()
{
    atomic {
        do
        :: nempty(buffer[1]) -> write_out(1)
        :: nempty(buffer[2]) -> write_out(2)
        :: nempty(buffer[3]) -> write_out(3)
        :: empty(buffer[1]) && empty(buffer[2]) && empty(buffer[3]) -> break
        od
    }
}

proctype thread(byte me)
{
    byte rounds, unseated, variable, value;

    do
    :: rounds == ROUNDS -> break
    :: else ->
        if
        :: SEEN(me) == me ->
            atomic { nfull(buffer[me]); buffer[me]!WORD(me), 1 }
#ifndef MUTANT_NO_SECOND_LOOK
            if
            :: atomic { SEEN(me) == me -> section_begins(me) }
                atomic { nfull(buffer[me]); buffer[me]!WORD(me), 2 }
                goto served
            :: atomic { SEEN(me) != me -> nfull(buffer[me]); buffer[me]!WORD(me), 0 }
            fi
#else
            section_begins(me);
            atomic { nfull(buffer[me]); buffer[me]!WORD(me), 2 }
            goto served
#endif
        :: SEEN(me) != me
        fi;
        atomic { lock == NOBODY && empty(buffer[me]) -> lock = me }
        unseated = holder;
        if
        :: unseated == NOBODY
        :: else ->
            atomic { nfull(buffer[me]); buffer[me]!HOLDER, NOBODY; pending[me]++; believed[me] = NOBODY }
            if
            :: unseated == me
            :: else ->
#ifndef MUTANT_NO_BARRIER
                barrier();
#endif
#ifndef MUTANT_NO_WAIT
                inside[WORD(unseated)] == 0;
#endif
                skip
            fi
        fi;
        atomic { section_begins(me) }
        atomic { section_ends(me) }
        if
        :: atomic { nfull(buffer[me]); buffer[me]!HOLDER, me; pending[me]++; believed[me] = me }
        :: skip
        fi;
        atomic { empty(buffer[me]) -> lock = NOBODY }
served:
        rounds++;
        unseated = 0
    od
}

init
{
    atomic {
        believed[1] = 255;
        believed[2] = 255;
        believed[3] = 255;
        run thread(1);
        run thread(2);
        run thread(3)
    }
}
