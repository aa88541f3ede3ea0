/* print.h: formatting into a fixed buffer, without malloc, locale or stdio.
 *
 * Formats: %s %c %d %u %x %p %%, with l/ll/z length, a width, a leading 0 or -, and %B for a size_t shown
 * as bytes for people ("1.5 MiB"). What does not fit is cut; the buffer always ends in NUL. */
#ifndef LM_BASE_PRINT_H
#define LM_BASE_PRINT_H

#include "base/bits.h"
#include <stdarg.h>

struct lm_text {
    char *at;        /* the buffer */
    size_t capacity; /* its bytes, at least 1 */
    size_t length;   /* bytes written, without the NUL; always < capacity */
};

/* Appends. Returns nothing: text that is cut is still text. */
void lm_text_add(struct lm_text *text, const char *format, ...);
void lm_text_vadd(struct lm_text *text, const char *format, va_list args);

/* Formats and writes at once to a file descriptor, through a buffer of 1 KiB on the stack, restarting
 * after EINTR and keeping errno. Async-signal-safe. */
void lm_print(int fd, const char *format, ...);

#endif
