/* report.h: the small shared file by which a process under `loam run` tells the command its figures.
 *
 * The command makes the file, of this layout with magic, version and bytes set, and names it in LOAM_REPORT. The
 * first process that finds `pid` zero, or its own (after exec), claims it. Counters are updated in place, so that
 * they survive a process that is killed; the rest is written when it exits. */
#ifndef LM_FRONT_REPORT_H
#define LM_FRONT_REPORT_H

#include "heap/heap.h"

#define LM_REPORT_MAGIC "loamrep"
enum { LM_REPORT_VERSION = 2, LM_REPORT_THREADS = 64 };
enum lm_report_state { LM_REPORT_NEW, LM_REPORT_RUNNING, LM_REPORT_FINISHED, LM_REPORT_ABORTED };

struct lm_report {
    char magic[8];
    uint32_t version, bytes;
    uint32_t pid;
    uint32_t state;
    struct lm_counts counts;
    struct lm_os_counter os[LM_OS_CALLS];
    char misuse[512]; /* the text of the report that aborted the process */
    uint32_t threads; /* atomic: that had heaps; of more than LM_REPORT_THREADS those that held most are kept */
    struct lm_claim thread[LM_REPORT_THREADS]; /* .thread 0: none. Those that ended as they did, others at the exit */
};

/* At start-up: claims the file that LOAM_REPORT names, if any. */
void lm_report_start(void);

/* In a fork's child: it has nothing more to tell. */
void lm_report_detach(void);

#endif
