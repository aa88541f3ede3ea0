/* loam: the command. Each subcommand is a file: run.c, config.c. */
#include "loam_tool.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "loam - a memory allocator that explains itself\n"
                            "\n"
                            "usage: loam run [-c CONF] [--report FILE] [--fast] [--] PROGRAM [ARGUMENT...]\n"
                            "       loam config [-c CONF] [--man]\n"
                            "       loam --help | --version\n"
                            "\n"
                            "  run     runs a program on loam and reports what its memory cost\n"
                            "  config  lists every option with its value, default and origin\n"
                            "\n"
                            "`loam run --help` and `loam config --help` say more; so does `man loam`.\n";

static const char *const commands[] = {"run", "config"};

int main(int argc, char **argv)
{
    int nearest;

    if (argc < 2) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return fputs(usage, stdout) < 0;
    if (strcmp(argv[1], "--version") == 0)
        return printf("loam %s\n", LOAM_VERSION) < 0;
    if (strcmp(argv[1], "run") == 0)
        return tool_run(argc - 1, argv + 1);
    if (strcmp(argv[1], "config") == 0)
        return tool_config(argc - 1, argv + 1);
    nearest = lm_name_nearest(argv[1], strlen(argv[1]), commands, 2);
    fprintf(stderr, "loam: there is no command \"%s\"", argv[1]);
    fprintf(stderr, nearest >= 0 ? "; did you mean \"%s\"?\n" : "; see `loam --help`\n",
        nearest >= 0 ? commands[nearest] : "");
    return EXIT_USAGE;
}

int tool_bad_option(const char *command, const char *word, const char *const *options, size_t count)
{
    int nearest = lm_name_nearest(word, strlen(word), options, count);

    fprintf(stderr, "loam %s: there is no option \"%s\"", command, word);
    if (nearest >= 0)
        fprintf(stderr, "; did you mean \"%s\"?\n", options[nearest]);
    else
        fprintf(stderr, "; see `loam %s --help`\n", command);
    return EXIT_USAGE;
}
