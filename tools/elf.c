/* elf.c: can this program be preloaded? The loader that honours LD_PRELOAD is named by the PT_INTERP header; a
 * program without one is static. A program that gains privileges makes the loader ignore LD_PRELOAD. */
#include "loam_tool.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *elf_judge(int fd, const ElfW(Ehdr) * header)
{
    ElfW(Phdr) segment;
    ElfW(Ehdr) own;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t n = self < 0 ? -1 : pread(self, &own, sizeof own, 0);

    if (self >= 0)
        close(self);
    if (header->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        (n == (ssize_t)sizeof own && header->e_machine != own.e_machine))
        return "it is built for another processor";
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (pread(fd, &segment, sizeof segment, (off_t)(header->e_phoff + i * sizeof segment)) !=
            (ssize_t)sizeof segment)
            return "its program headers cannot be read";
        if (segment.p_type == PT_INTERP)
            return NULL;
    }
    return "it is statically linked; link it with libloam-malloc.a instead";
}

static const char *elf_judge_file(const char *path, int depth);

/* A script: its interpreter decides. */
static const char *elf_judge_script(char *line, int depth)
{
    char *interpreter = line + 2 + strspn(line + 2, " \t");

    interpreter[strcspn(interpreter, " \t\r\n")] = '\0';
    if (depth > 4 || !*interpreter)
        return "its #! line names no program";
    return elf_judge_file(interpreter, depth + 1);
}

static const char *elf_judge_file(const char *path, int depth)
{
    struct stat status;
    char start[sizeof(ElfW(Ehdr)) + 256] = {0};
    ElfW(Ehdr) header;
    const char *why;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) /* executable but not readable: let the loader decide */
        return NULL;
    if (read(fd, start, sizeof start - 1) < 0 || fstat(fd, &status) != 0) {
        why = "it cannot be read";
    } else if (start[0] == '#' && start[1] == '!') {
        why = elf_judge_script(start, depth);
    } else if (memcmp(start, ELFMAG, SELFMAG) != 0) {
        why = NULL; /* the kernel knows best what this is */
    } else if (status.st_mode & (S_ISUID | S_ISGID)) {
        why = "it is set-user-ID or set-group-ID, and the loader ignores LD_PRELOAD for such programs";
    } else if (getxattr(path, "security.capability", NULL, 0) > 0) {
        why = "it has file capabilities, and the loader ignores LD_PRELOAD for such programs";
    } else {
        memcpy(&header, start, sizeof header);
        why = elf_judge(fd, &header);
    }
    close(fd);
    return why;
}

const char *tool_why_not_preloadable(const char *path)
{
    return elf_judge_file(path, 0);
}
