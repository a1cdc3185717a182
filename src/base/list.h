/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked ring with a head. A node that is in no list points to itself (init). */
#ifndef CLV_BASE_LIST_H
#define CLV_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct clv_node {
	struct clv_node *prev, *next;
};

static inline void clv_list_init(struct clv_node *n)
{
	n->prev = n->next = n;
}

static inline bool clv_list_empty(const struct clv_node *head)
{
	return head->next == head;
}

static inline void clv_list_insert_before(struct clv_node *at, struct clv_node *n)
{
	n->prev = at->prev;
	n->next = at;
	at->prev->next = n;
	at->prev = n;
}

static inline void clv_list_append(struct clv_node *head, struct clv_node *n)
{
	clv_list_insert_before(head, n);
}

/* The node is not used any more. */
static inline void clv_list_unlink(struct clv_node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
}

static inline void clv_list_remove(struct clv_node *n)
{
	clv_list_unlink(n);
	clv_list_init(n);
}

/* To the end: what is used moves there, so that the front is the least recently used. */
static inline void clv_list_touch(struct clv_node *head, struct clv_node *n)
{
	clv_list_unlink(n);
	clv_list_append(head, n);
}

/* The struct that holds node `n` as member `m`. */
#define clv_list_entry(n, type, m) ((type *)(void *)((char *)(n)-offsetof(type, m)))

/* The first entry, or NULL when the list is empty. */
#define clv_list_first(head, type, m) (clv_list_empty(head) ? NULL : clv_list_entry((head)->next, type, m))

#endif
