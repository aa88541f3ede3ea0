/* work_shape.c: heaps whose size goes up and down: what a heap keeps when its program has little left in it, and what
 * holes cost. Ramps, peaks and plateaus are the shapes that Wilson, Johnstone, Neely and Boles describe (1995). */
#include "work.h"
#include <time.h>

enum { HELD = 400000 };
static void *held[HELD];

/* Most of a heap is freed at random and filled again with other sizes. */
static void peak_trough(long percent)
{
    uint64_t seed = 4;

    for (long round = 0, total = work_of(8, percent); round < total; round++) {
        for (int i = 0; i < HELD; i++)
            if (!held[i])
                held[i] = touch(16 + (size_t)(round * 37 % 200) + next_random(&seed) % 64);
        for (int i = 0; i < HELD; i++)
            if (next_random(&seed) % 10 != 0) {
                free(held[i]);
                held[i] = NULL;
            }
    }
}

/* A plateau whose sizes drift: what is freed is never quite what is asked for next. */
static void plateau(long percent)
{
    uint64_t seed = 11;
    long total = work_of(3000000, percent);

    for (long i = 0; i < total; i++) {
        size_t slot = next_random(&seed) % (HELD / 4), drift = (size_t)(i * 400 / total);

        free(held[slot]);
        held[slot] = touch(16 + drift + next_random(&seed) % (16 + drift));
    }
}

/* Ramps: every phase keeps a twentieth of what it made, of a size of its own, among what it threw away. */
static void ramp(long percent)
{
    uint64_t seed = 12;
    size_t kept = 0;

    for (long phase = 0, total = work_of(20, percent); phase < total; phase++) {
        enum { PHASE = 100000 };
        static void *young[PHASE];
        size_t size = 24 + (size_t)(phase * 56 % 900);

        for (int i = 0; i < PHASE; i++)
            young[i] = touch(size + next_random(&seed) % 32);
        for (int i = 0; i < PHASE; i++)
            if (next_random(&seed) % 20 == 0 && kept < HELD)
                held[kept++] = young[i];
            else
                free(young[i]);
    }
}

/* -- what is given back ---------------------------------------------------------------------------------------------- */

static void pause_ms(long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&wait, NULL);
}

/* Churn, then all but every `keep`-th block is freed and a second passes; the part of what was freed that is no longer
 * resident. Calm: not one call in that second; else one a hundredth of a second. */
static void give_back(long percent, int keep, int calm)
{
    uint64_t seed = 13;
    size_t freed = 0;
    int count = (int)work_of(HELD, percent);
    long peak;

    for (long i = 0, total = 2L * count; i < total; i++) {
        size_t slot = (size_t)(i < count ? (uint64_t)i : next_random(&seed) % (uint64_t)count);

        free(held[slot]);
        held[slot] = touch(mixed(&seed));
    }
    peak = resident_kib();
    seed = 14;
    for (int i = 0; i < count; i++)
        if (!keep || i % keep != 0) {
            free(held[i]);
            held[i] = NULL;
            freed++;
        }
    for (long i = work_of(100, percent); i-- > 0;) {
        pause_ms(10);
        if (!calm)
            free(touch(100));
    }
    figure("resident_kib_at_peak", (double)peak);
    figure("resident_kib_after", (double)resident_kib());
    figure("returned", (double)(peak - resident_kib()) / ((double)peak * (double)freed / (double)count));
}

static void idle_calm(long percent)
{
    give_back(percent, 0, 1);
}

static void idle_stirring(long percent)
{
    give_back(percent, 0, 0);
}

static void idle_holes(long percent)
{
    give_back(percent, 50, 0);
}

const struct workload shape_workloads[] = {
    {"peak-trough", "nine in ten of 400,000 blocks freed at random and made anew in other sizes", peak_trough},
    {"plateau", "100,000 alive, random lifetimes, sizes that drift upwards", plateau},
    {"ramp", "phases of a size each; one block in twenty stays", ramp},
    {"idle-calm", "churn, all freed, then 1 s without a call: what was returned", idle_calm},
    {"idle-stirring", "the same with a call each 10 ms", idle_stirring},
    {"idle-holes", "the same, one block in fifty stays", idle_holes}, {NULL, NULL, NULL}};
