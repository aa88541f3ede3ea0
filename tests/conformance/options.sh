#!/usr/bin/env bash
# A mistyped option is reported once by a process, whatever it forks and however many threads it has, with the nearest good
# name; good options are honoured in silence.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/program.c" <<'END'
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef CONF
const char *loam_conf = CONF;
#endif
static void *use(void *arg)
{
    void *volatile p = malloc(100);
    free(p);
    return arg;
}
int main(void)
{
    pthread_t thread[4];
    use(NULL);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, use, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    if (fork() == 0)
        _exit(use(NULL) != NULL);
    wait(NULL);
    return 0;
}
END
gcc -w -o "$work/plain" "$work/program.c" -pthread
gcc -w -DCONF='"largee:1M"' -o "$work/own" "$work/program.c" -rdynamic -pthread

says() { # options, program, what it must say
    local said
    said=$(LOAM_CONF=$1 LD_PRELOAD=$LOAM_BUILD/libloam-malloc.so "$2" 2>&1)
    [ "$said" = "$3" ] || { echo "with \"$1\" $2 said: $said"; exit 1; }
}

says "" "$work/plain" ""
says "purge_ms:5,large:2M" "$work/plain" ""
says "purge_sm:5" "$work/plain" 'loam: LOAM_CONF: unknown option "purge_sm"; did you mean "purge_ms"?'
says "large:12q" "$work/plain" 'loam: LOAM_CONF: option large: bad value "12q"; it takes a size from 128k to 64G, such as 32M'
says "" "$work/own" 'loam: loam_conf: unknown option "largee"; did you mean "large"?'
says "purge_sm:5" "$work/own" 'loam: loam_conf: unknown option "largee"; did you mean "large"?
loam: LOAM_CONF: unknown option "purge_sm"; did you mean "purge_ms"?'
echo "each said once"
