/* percpu.pml: a design, for heap/percpu.c to follow: a CPU's cache of objects, which its threads use by restartable
 * sequences and which another CPU's thread drains.
 *
 * Threads 0 and 1 run on CPU 0 and preempt each other: `running` says which one does. A sequence loads the stop flag,
 * the count and the top object, and ends in one committing store of the count; a thread that is preempted, or that the
 * barrier finds inside a sequence, starts again (the kernel sees to it). Thread 2, on another CPU, drains: it sets the
 * stop flag, runs the barrier (membarrier PRIVATE_EXPEDITED_RSEQ), then takes all objects, and clears the flag. A thread
 * that finds the flag set goes the slow road (here: a shared list).
 *
 * Put and get write the slot before they commit the count. No object is lost, and none is in two places. */
#define OBJECTS 2
#define CPU 3     /* where: in the CPU's cache */
#define COMMON 4  /* in the shared list */

byte slot[OBJECTS + 1], count; /* the CPU's cache */
bit stop;
byte running;            /* thread 0 or 1 */
bit inside[2], torn[2];  /* in a sequence; it must start again */
byte where[OBJECTS + 1]; /* a thread, CPU, COMMON */
byte done;

/* Each step of a sequence: only while the thread runs; a torn one goes back to its start. */
#define STEP(x) atomic { running == me -> if :: torn[me] -> inside[me] = 0; torn[me] = 0; goto again :: else -> x fi }

proctype user(byte me)
{
    byte o, n, rounds;
    bit getting;

again:
    do
    :: atomic { running == me && rounds == ROUNDS -> break }
    :: atomic { running == me && rounds < ROUNDS -> inside[me] = 1; torn[me] = 0; getting = (where[1] != me && where[2] != me) }
       if
       :: getting -> /* pop */
           STEP(n = (stop -> 0 : count));
           if
           :: n == 0 -> /* empty, or being drained: from the shared list */
               STEP(inside[me] = 0);
               atomic {
                   running == me;
                   if
                   :: where[1] == COMMON -> where[1] = me
                   :: where[2] == COMMON -> where[2] = me
                   :: else
                   fi
               }
           :: else ->
               STEP(o = slot[n]);
               STEP(count = n - 1; assert(where[o] == CPU); where[o] = me; inside[me] = 0)
           fi
       :: else -> /* push */
           o = (where[1] == me -> 1 : 2);
           STEP(n = (stop -> OBJECTS : count));
           if
           :: n == OBJECTS -> STEP(inside[me] = 0); atomic { running == me -> assert(where[o] == me); where[o] = COMMON }
           :: else ->
               STEP(slot[n + 1] = o);
               STEP(count = n + 1; assert(where[o] == me); where[o] = CPU; inside[me] = 0)
           fi
       fi;
       rounds++; o = 0; n = 0
    od;
    atomic { done++; running = 1 - me } /* it sleeps */
}

/* The kernel: preemption. A thread that is switched out inside a sequence is torn. */
active proctype kernel()
{
    do
    :: atomic { done == 0 -> torn[running] = inside[running]; running = 1 - running }
    :: done -> break
    od
}

proctype drainer()
{
    byte n, rounds;

    do
    :: rounds == ROUNDS -> break
    :: else ->
#ifndef MUTANT_NO_STOP
        stop = 1;
#endif
#ifndef MUTANT_NO_BARRIER
        atomic { torn[running] = inside[running] } /* who runs on the CPU restarts; who does not has been torn already */
#endif
        n = count;
        do
        :: n == 0 -> break
        :: else -> atomic { assert(where[slot[n]] == CPU); where[slot[n]] = COMMON } n--
        od;
        count = 0;
        stop = 0;
        rounds++
    od;
    done == 2;
    n = 1;
    do
    :: n <= count -> assert(where[slot[n]] == CPU); n++ /* the cache holds what is in it */
    :: else -> break
    od;
    assert((where[1] == CPU) + (where[2] == CPU) == count)
}

init { atomic { where[1] = 0; where[2] = COMMON; run user(0); run user(1); run drainer() } }
