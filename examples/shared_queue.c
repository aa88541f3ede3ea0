/* A queue between two processes in one shared region: the producer allocates messages of any length, the consumer, which
 * maps the same memory at another address, frees them. Links are numbers, for addresses mean nothing to the other. */
#include <loam/region.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 1 << 20, MESSAGES = 20000 };

struct message {
    uint64_t next; /* a block's number in the region; 0: the last */
    size_t length;
    char text[];
};

/* The region's root: all else is found from here. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t head, tail;
};

static int put(struct loam_region *region, struct queue *queue, const char *text)
{
    struct message *message, *last;
    size_t length = strlen(text);

    for (int i = 0; !(message = loam_region_alloc(region, sizeof *message + length + 1)); i++) {
        if (i == 20000)
            return 0; /* nobody consumes */
        usleep(1000); /* full: the consumer will free some */
    }
    message->next = 0;
    message->length = length;
    memcpy(message->text, text, length + 1);
    pthread_mutex_lock(&queue->lock);
    last = loam_region_block(region, queue->tail);
    queue->tail = loam_region_number(region, message);
    if (last)
        last->next = queue->tail;
    else
        queue->head = queue->tail;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return 1;
}

static struct message *take(struct loam_region *region, struct queue *queue)
{
    struct message *message;

    pthread_mutex_lock(&queue->lock);
    while (!queue->head)
        pthread_cond_wait(&queue->changed, &queue->lock);
    message = loam_region_block(region, queue->head);
    queue->head = message->next;
    if (!queue->head)
        queue->tail = 0;
    pthread_mutex_unlock(&queue->lock);
    return message;
}

/* Receives everything, at its own address; 0 when all of it was right. */
static int consume(int fd)
{
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), expected[300];
    struct loam_region *region = memory == MAP_FAILED ? NULL : loam_region_open(memory, BYTES, NULL);
    struct queue *queue = region ? loam_region_root(region) : NULL;

    if (!queue)
        return 1;
    for (int i = 0; i < MESSAGES; i++) {
        struct message *message = take(region, queue);

        snprintf(expected, sizeof expected, "message %d %*s", i, i % 250, "");
        if (message->length != strlen(expected) || strcmp(message->text, expected) != 0)
            return 1;
        loam_region_free(region, message);
    }
    return loam_region_check(region, NULL) != LOAM_REGION_SOUND;
}

int main(void)
{
    struct loam_region_options options = {.struct_bytes = sizeof options, .lock = LOAM_REGION_PROCESSES};
    struct loam_region_figures figures = {.struct_bytes = sizeof figures};
    int fd = memfd_create("queue", 0), status;
    pthread_mutexattr_t shared;
    pthread_condattr_t shared_too;
    struct loam_region *region;
    struct queue *queue;
    char *memory, text[300];
    pid_t consumer;

    if (fd < 0 || ftruncate(fd, BYTES) != 0)
        return 1;
    memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    region = memory == MAP_FAILED ? NULL : loam_region_create(memory, BYTES, &options);
    queue = region ? loam_region_calloc(region, 1, sizeof *queue) : NULL;
    if (!queue || loam_region_set_root(region, queue) != 0)
        return 1;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&queue->lock, &shared);
    pthread_condattr_init(&shared_too);
    pthread_condattr_setpshared(&shared_too, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&queue->changed, &shared_too);
    consumer = fork();
    if (consumer == 0)
        _exit(consume(fd));
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof text, "message %d %*s", i, i % 250, "");
        if (!put(region, queue, text)) {
            kill(consumer, SIGKILL);
            return 1;
        }
    }
    waitpid(consumer, &status, 0);
    loam_region_figures(region, &figures);
    printf("%d messages, at most %zu bytes of them at once; %zu block left, the queue itself\n", MESSAGES,
        figures.peak_bytes, figures.live_blocks);
    return status != 0 || figures.live_blocks != 1;
}
