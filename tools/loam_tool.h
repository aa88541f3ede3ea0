/* loam_tool.h: what the subcommands of loam share. */
#ifndef LOAM_TOOL_H
#define LOAM_TOOL_H

#include "base/base.h"

enum { EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

int tool_run(int argc, char **argv);
int tool_config(int argc, char **argv);

/* Complains about an unknown option, naming the nearest good one; returns EXIT_USAGE. */
int tool_bad_option(const char *command, const char *word, const char *const *options, size_t count);

/* elf.c: why a program cannot be preloaded, as text for "cannot preload: ...", or NULL when it can. For a script
 * its interpreter is judged. `path` is of the file to be executed. */
const char *tool_why_not_preloadable(const char *path);

#endif
