/* name.c: the nearest name, by the optimal string alignment distance (Damerau 1964): insertions, deletions,
 * substitutions and transpositions of neighbours cost one each. */
#include "base/name.h"

enum { NAME_MAX_LENGTH = 63 };

static unsigned name_min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

static unsigned name_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned row[3][NAME_MAX_LENGTH + 1];
    unsigned *before = row[0], *above = row[1], *here = row[2];

    for (size_t j = 0; j <= b_length; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        here[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned change = a[i - 1] != b[j - 1];

            here[j] = name_min3(above[j] + 1, here[j - 1] + 1, above[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < here[j])
                here[j] = before[j - 2] + 1;
        }
        unsigned *oldest = before;

        before = above;
        above = here;
        here = oldest;
    }
    return above[b_length];
}

int lm_name_nearest(const char *word, size_t length, const char *const *names, size_t count)
{
    unsigned least = (unsigned)length / 3 + 2;
    int nearest = -1;

    if (length > NAME_MAX_LENGTH)
        return -1;
    for (size_t i = 0; i < count; i++) {
        size_t name_length = 0;
        unsigned distance;

        while (names[i][name_length])
            name_length++;
        if (name_length > NAME_MAX_LENGTH)
            continue;
        distance = name_distance(word, length, names[i], name_length);
        if (distance < least) {
            least = distance;
            nearest = (int)i;
        }
    }
    return nearest;
}
