/* print.c: see print.h.
 *
 * Writes by the bare system call: libc's write is a cancellation point, and what is printed may be printed in the
 * middle of malloc. */
#include "base/print.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DIGITS = 24, PRINT_BUFFER = 1024 };

static void text_put(struct lm_text *text, char c)
{
    if (text->length + 1 < text->capacity)
        text->at[text->length++] = c;
}

/* One conversion's flags. */
struct text_format {
    unsigned width;
    bool zero, left;
    unsigned longs; /* how many l; z counts as two */
};

static void text_put_padded(struct lm_text *text, const char *s, size_t length, const struct text_format *format)
{
    size_t pad = format->width > length ? format->width - length : 0;

    for (size_t i = 0; i < pad && !format->left; i++)
        text_put(text, format->zero ? '0' : ' ');
    for (size_t i = 0; i < length; i++)
        text_put(text, s[i]);
    for (size_t i = 0; i < pad && format->left; i++)
        text_put(text, ' ');
}

static void text_put_number(
    struct lm_text *text, uint64_t value, unsigned base, const char *prefix, const struct text_format *format)
{
    struct text_format rest = *format;
    char digits[DIGITS + 4];
    size_t at = sizeof digits, prefix_length = 0;

    do
        digits[--at] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (prefix[prefix_length])
        prefix_length++;
    if (rest.zero && !rest.left) { /* zeros stand between the sign and the digits */
        for (size_t i = 0; i < prefix_length; i++)
            text_put(text, prefix[i]);
        rest.width -= (unsigned)lm_min(rest.width, prefix_length);
        prefix_length = 0;
    }
    while (prefix_length)
        digits[--at] = prefix[--prefix_length];
    text_put_padded(text, digits + at, sizeof digits - at, &rest);
}

/* "1.5 MiB": bytes for people, one decimal above a KiB, rounded down. */
static void text_put_bytes(struct lm_text *text, uint64_t bytes, const struct text_format *format)
{
    char buffer[32];
    struct lm_text part = {buffer, sizeof buffer, 0};
    unsigned unit = 0;
    uint64_t rest = 0;

    for (; bytes >= 1024; bytes /= 1024, unit++)
        rest = bytes % 1024;
    if (unit == 0)
        lm_text_add(&part, "%llu B", (unsigned long long)bytes);
    else
        lm_text_add(&part, "%llu.%u %ciB", (unsigned long long)bytes, (unsigned)(rest * 10 / 1024), "KMGTPE"[unit - 1]);
    text_put_padded(text, buffer, part.length, format);
}

static uint64_t text_unsigned(va_list *args, unsigned longs)
{
    return longs ? va_arg(*args, unsigned long long) : va_arg(*args, unsigned);
}

static void text_convert(struct lm_text *text, char conversion, const struct text_format *format, va_list *args)
{
    const char *s;
    long long value;
    size_t length = 0;
    char c;

    switch (conversion) {
    case 's':
        s = va_arg(*args, const char *);
        s = s ? s : "(null)";
        while (s[length])
            length++;
        text_put_padded(text, s, length, format);
        break;
    case 'c':
        c = (char)va_arg(*args, int);
        text_put_padded(text, &c, 1, format);
        break;
    case 'd':
        value = format->longs ? va_arg(*args, long long) : va_arg(*args, int);
        text_put_number(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0 ? "-" : "", format);
        break;
    case 'u':
        text_put_number(text, text_unsigned(args, format->longs), 10, "", format);
        break;
    case 'x':
        text_put_number(text, text_unsigned(args, format->longs), 16, "", format);
        break;
    case 'p':
        text_put_number(text, (uintptr_t)va_arg(*args, void *), 16, "0x", format);
        break;
    case 'B':
        text_put_bytes(text, va_arg(*args, size_t), format);
        break;
    default:
        text_put(text, conversion);
    }
}

void lm_text_vadd(struct lm_text *text, const char *f, va_list args)
{
    va_list copy;

    va_copy(copy, args);
    for (; *f; f++) {
        struct text_format format = {0};

        if (*f != '%') {
            text_put(text, *f);
            continue;
        }
        for (f++; *f == '0' || *f == '-'; f++)
            *(*f == '0' ? &format.zero : &format.left) = true;
        for (; *f >= '0' && *f <= '9'; f++)
            format.width = format.width * 10 + (unsigned)(*f - '0');
        for (; *f == 'l' || *f == 'z'; f++)
            format.longs++;
        if (!*f)
            break;
        text_convert(text, *f, &format, &copy);
    }
    va_end(copy);
    text->at[text->length] = '\0';
}

void lm_text_add(struct lm_text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lm_text_vadd(text, format, args);
    va_end(args);
}

void lm_print(int fd, const char *format, ...)
{
    char buffer[PRINT_BUFFER];
    struct lm_text text = {buffer, sizeof buffer, 0};
    int saved = errno;
    va_list args;

    va_start(args, format);
    lm_text_vadd(&text, format, args);
    va_end(args);
    for (size_t done = 0; done < text.length;) {
        long n = syscall(SYS_write, fd, buffer + done, text.length - done);

        if (n == 0 || (n < 0 && errno != EINTR))
            break; /* nobody is left to tell */
        done += n > 0 ? (size_t)n : 0;
    }
    errno = saved;
}
