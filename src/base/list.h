/* list.h: the intrusive, circular, doubly linked list.
 *
 * Invariant: n->next->prev == n and n->prev->next == n for every node; an empty list is a head that
 * points to itself. No locks: the owner of the head synchronises. */
#ifndef LM_BASE_LIST_H
#define LM_BASE_LIST_H

#include "base/bits.h"

struct lm_list {
    struct lm_list *next, *prev;
};

/* The structure of type `type` whose member `member` is the node `n`. */
#define LM_CONTAINER(n, type, member) ((type *)(void *)(((char *)(n)) - offsetof(type, member)))

LM_INLINE void lm_list_init(struct lm_list *head)
{
    head->next = head->prev = head;
}

LM_INLINE bool lm_list_empty(const struct lm_list *head)
{
    return head->next == head;
}

LM_INLINE void lm_list_insert_after(struct lm_list *where, struct lm_list *n)
{
    n->next = where->next;
    n->prev = where;
    where->next->prev = n;
    where->next = n;
}

LM_INLINE void lm_list_push_front(struct lm_list *head, struct lm_list *n)
{
    lm_list_insert_after(head, n);
}

LM_INLINE void lm_list_push_back(struct lm_list *head, struct lm_list *n)
{
    lm_list_insert_after(head->prev, n);
}

/* Takes n out and leaves it as an empty list of its own. */
LM_INLINE void lm_list_remove(struct lm_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    lm_list_init(n);
}

/* The first node, taken out, or NULL. */
LM_INLINE struct lm_list *lm_list_pop_front(struct lm_list *head)
{
    struct lm_list *n = head->next;

    if (n == head)
        return NULL;
    lm_list_remove(n);
    return n;
}

#endif
