/* A message router on a pool: producers hand in messages, the router queues them by destination, and what expires in a
 * queue is found by a walk over all live messages. At the end everything is dropped at once. */
#include <loam/pool.h>

#include <stdio.h>
#include <string.h>

enum { QUEUES = 8, ROUNDS = 200, MESSAGES = 500, LIFE = 3 };

struct message {
    struct message *next;
    unsigned destination, born;
    char text[40];
};

struct router {
    struct loam_pool *pool;
    struct message *first[QUEUES], **last[QUEUES];
    unsigned now, delivered, expired;
};

static int receive(struct router *router, unsigned destination, unsigned number)
{
    struct message *message = loam_pool_alloc(router->pool);

    if (!message)
        return 0;
    message->next = NULL;
    message->destination = destination;
    message->born = router->now;
    snprintf(message->text, sizeof message->text, "message %u", number);
    *router->last[destination] = message;
    router->last[destination] = &message->next;
    return 1;
}

/* Delivers up to `most` messages of a queue; the oldest come first, and have already expired or not. */
static void deliver(struct router *router, unsigned destination, int most)
{
    struct message *message;

    while (most-- > 0 && (message = router->first[destination]) != NULL) {
        router->first[destination] = message->next;
        if (!message->next)
            router->last[destination] = &router->first[destination];
        router->delivered += strncmp(message->text, "message ", 8) == 0;
        loam_pool_free(router->pool, message);
    }
}

static int is_stuck(void *object, void *arg)
{
    const struct message *message = object;
    const struct router *router = arg;

    return message->destination == QUEUES - 1 && router->now - message->born >= LIFE;
}

/* The last queue's reader has died: what waits there too long is dropped by one walk, and the queue rebuilt from the rest,
 * which the walk meets in any order. */
static void requeue(void *object, void *arg)
{
    struct message *message = object;
    struct router *router = arg;

    if (message->destination != QUEUES - 1)
        return;
    message->next = NULL;
    *router->last[QUEUES - 1] = message;
    router->last[QUEUES - 1] = &message->next;
}

static void expire(struct router *router)
{
    router->expired += (unsigned)loam_pool_free_if(router->pool, is_stuck, router);
    router->first[QUEUES - 1] = NULL;
    router->last[QUEUES - 1] = &router->first[QUEUES - 1];
    loam_pool_each(router->pool, requeue, router);
}

int main(void)
{
    struct router router = {.pool = loam_pool_create(sizeof(struct message), 0, NULL)};
    struct loam_pool_figures figures = {.struct_bytes = sizeof figures};
    unsigned received = 0;

    if (!router.pool)
        return 1;
    for (int i = 0; i < QUEUES; i++)
        router.last[i] = &router.first[i];
    for (; router.now < ROUNDS; router.now++) {
        for (unsigned i = 0; i < MESSAGES; i++)
            received += (unsigned)receive(&router, i % QUEUES, i);
        for (unsigned i = 0; i < QUEUES - 1; i++)
            deliver(&router, i, MESSAGES);
        expire(&router);
    }
    loam_pool_stats(router.pool, &figures);
    printf("%u received, %u delivered, %u expired, %zu waiting; %zu batches of %zu, %zu KiB held at most\n", received,
        router.delivered, router.expired, figures.live, figures.batches, figures.batch, figures.peak_bytes / 1024);
    loam_pool_destroy(router.pool); /* and what waits with it */
    return !(received == ROUNDS * MESSAGES && router.delivered + router.expired + figures.live == received &&
        figures.live == LIFE * (MESSAGES / QUEUES));
}
