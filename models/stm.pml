/* stm.pml: src/base/stm.c. Threads 0 and 1 move one unit between two words, in opposite directions; thread 2 only
 * reads. Each word has its stripe. Every pair of words that a transaction holds, even one that will fail, must have the
 * same sum (opacity); no unit is lost; nobody waits for ever. A transaction that has failed TRIES times is alone.
 * A stripe is version * 2 + held. The transactions that each thread makes are counted by MOVES. */
#ifndef TRIES
#define TRIES 1
#endif
#define SUM 2

byte word[2], stripe[2], clock;
byte committing; bit alone; /* stm_gate */
byte stopped, moved[2];

inline enter_alone()
{
    atomic { !alone -> alone = 1 }
#ifndef MUTANT_IMPATIENT
    committing == 0;
#endif
    mine = 1
}

/* lm_stm_begin */
inline begin()
{
    failed = 0;
    if
    :: tries == TRIES && !mine -> enter_alone()
    :: else -> tries = (mine -> tries : tries + 1)
    fi;
    version = clock
}

/* lm_stm_read */
inline read(i, value)
{
    if
    :: failed -> value = 0
    :: else ->
        before = stripe[i];
        value = word[i];
        if
#ifdef MUTANT_NO_RECHECK
        :: before % 2 || before / 2 > version -> failed = 1
#else
        :: before % 2 || before / 2 > version || stripe[i] != before -> failed = 1
#endif
        :: else
        fi;
        before = 0
    fi
}

/* stm_hold_all, of one stripe */
inline hold(i)
{
    if
    :: good ->
        atomic {
            if
            :: stripe[i] % 2 -> good = 0
            :: else -> old[i] = stripe[i]; stripe[i] = stripe[i] + 1; held[i] = 1
            fi
        }
    :: else
    fi
}

/* stm_reads_stand, of one stripe that is the transaction's own */
#define STANDS(i) (old[i] / 2 <= version)

inline let_go(i)
{
    if
    :: held[i] -> atomic { stripe[i] = (good -> stamp * 2 : old[i]); held[i] = 0; old[i] = 0 }
    :: else
    fi
}

/* lm_stm_commit, of both words, the first of them `from` */
inline commit(from, to)
{
    good = !failed;
    assert(good || !mine); /* who is alone cannot fail */
    if
    :: good ->
        if
        :: mine
        :: else -> atomic { !alone -> committing++ }
        fi;
        hold(from);
        hold(to);
        if
        :: good ->
            atomic { clock++; stamp = clock }
#ifndef MUTANT_NO_VALIDATION
            good = stamp == version + 1 || (STANDS(0) && STANDS(1));
#endif
        :: else
        fi;
        if
        :: good ->
            word[from] = a - 1;
            assert(word[0] + word[1] <= SUM); /* both stripes are held */
            atomic { word[to] = b + 1; moved[to]++ }
        :: else
        fi;
        let_go(from);
        let_go(to);
        assert(good || !mine);
        if
        :: mine -> skip
        :: else -> committing--
        fi
    :: else
    fi
}

proctype mover(byte from; byte moves)
{
    byte version, a, b, before, stamp, tries, old[2];
    bit failed, mine, good, held[2];

    do
    :: moves == 0 -> break
    :: else ->
        begin();
        read(from, a);
        read(1 - from, b);
        assert(failed || a + b == SUM);
        if
        :: !failed && a == 0 -> good = 1 /* nothing to move: it only read */
        :: else -> commit(from, 1 - from)
        fi;
        if
        :: good ->
            if
            :: mine -> atomic { alone = 0; mine = 0 }
            :: else
            fi;
            tries = 0; moves--
        :: else
        fi;
        a = 0; b = 0; stamp = 0
    od;
    stopped++
}

proctype reader()
{
    byte version, a, b, before, tries;
    bit failed, mine;

    begin();
    read(0, a);
    read(1, b);
    assert(failed || a + b == SUM);
    if
    :: mine -> atomic { alone = 0; mine = 0 }
    :: else
    fi;
    stopped++;
    stopped == 3;
    assert(word[0] + moved[1] == 1 + moved[0] && word[0] + word[1] == SUM); /* no move is lost */
    assert(stripe[0] % 2 == 0 && stripe[1] % 2 == 0 && !alone && committing == 0)
}

init
{
    atomic {
        word[0] = 1; word[1] = 1;
        run mover(0, MOVES); run mover(1, MOVES); run reader()
    }
}
