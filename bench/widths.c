/* widths.c: what a store costs by its width: until a load of the same word has it, and on its way into the cache when
 * the next one goes to another line. Nanoseconds each; of many slices the quickest.
 *
 * usage: widths */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { TIMES = 100000, SLICES = 200, LINE = 64 };

static union {
    volatile uint8_t u8[2 * LINE];
    volatile uint16_t u16[LINE];
    volatile uint32_t u32[LINE / 2];
    volatile uint64_t u64[LINE / 4];
} words __attribute__((aligned(LINE)));

/* Stored, loaded, stored again: each waits for the one before; and a store to each of two lines in turn. */
#define WIDTH(type, member) \
    static void chain_##member(void) \
    { \
        for (int i = 0; i < TIMES; i++) \
            words.member[1] = words.member[1]; \
    } \
    static void lines_##member(void) \
    { \
        for (int i = 0; i < TIMES / 2; i++) { \
            words.member[1] = 1; \
            words.member[1 + LINE / sizeof(type)] = 1; \
        } \
    }
WIDTH(uint8_t, u8)
WIDTH(uint16_t, u16)
WIDTH(uint32_t, u32)
WIDTH(uint64_t, u64)

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double quickest(void (*run)(void))
{
    double best = 1e9;

    for (int i = 0; i < SLICES; i++) {
        double start = seconds_now(), took;

        run();
        took = (seconds_now() - start) / TIMES * 1e9;
        if (took < best)
            best = took;
    }
    return best;
}

int main(void)
{
    static const struct {
        int bits;
        void (*chain)(void), (*lines)(void);
    } widths[] = {
        {8, chain_u8, lines_u8}, {16, chain_u16, lines_u16}, {32, chain_u32, lines_u32}, {64, chain_u64, lines_u64}};

    printf("bits   store and load   store, line by line\n");
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        printf("%4d   %14.2f   %19.2f\n", widths[i].bits, quickest(widths[i].chain), quickest(widths[i].lines));
    return 0;
}
