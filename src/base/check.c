/* check.c: the one way to die. */
#include "base/check.h"
#include "base/print.h"

#include <stdlib.h>
#include <unistd.h>

void lm_die(const char *format, ...)
{
    char buffer[1024];
    struct lm_text text = {buffer, sizeof buffer, 0};
    va_list args;

    va_start(args, format);
    lm_text_vadd(&text, format, args);
    va_end(args);
    lm_print(STDERR_FILENO, "%s", buffer);
    abort();
}
