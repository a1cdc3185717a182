/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network interfaces of this namespace, as rtnetlink tells: listing, news of them, and which of them lead
 * into another namespace. Needs no privilege, except to read another process's namespace.
 */
#ifndef CLV_SOURCE_LINKS_H
#define CLV_SOURCE_LINKS_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct clv_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	char kind[16];     /* "veth", "bridge", ...; empty for hardware */
	uint16_t arphrd;   /* ARPHRD_* */
	bool up;           /* administratively */
	int32_t peer_nsid; /* the namespace its peer lives in, by this namespace's numbering; -1: in this one, or none
			    */
	uint32_t peer_ifindex; /* in that namespace; 0: none */
};

/* Does it lead into another namespace: a veth (or netkit) whose peer is not here? */
bool clv_link_is_pod(const struct clv_link *l);
/* Do its packets come without an Ethernet header? */
bool clv_link_is_l3(const struct clv_link *l);

struct clv_links;

/* Opens and subscribes, so that nothing is missed between a list and the first poll. Returns 0 or -errno. */
int clv_links_open(struct clv_links **out);
/* NULL is allowed. */
void clv_links_close(struct clv_links *ls);

/* Every link there is. Returns 0 or -errno. */
int clv_links_list(struct clv_links *ls, void (*fn)(void *ctx, const struct clv_link *l), void *ctx);
/* By name. Returns 0, -ENODEV, or -errno. */
int clv_links_find(struct clv_links *ls, const char *name, struct clv_link *out);

/* Readable when there is news (for clv_ring_wake_on()). Borrowed. */
int clv_links_fd(const struct clv_links *ls);
/*
 * Delivers the news without blocking: links that appeared or changed, and those that are gone. Links may be told
 * of more than once; when the kernel lost some news, all links are told of again. Returns how many, or -errno.
 */
int clv_links_poll(struct clv_links *ls, void (*fn)(void *ctx, const struct clv_link *l, bool gone), void *ctx);
/* Since this was last asked, did the kernel lose some? Then links may be gone that nobody was told of. */
bool clv_links_lost(struct clv_links *ls);

/*
 * Opens the namespace named by `text`: a name under /run/netns (or /var/run/docker/netns), a process id, or a
 * path. Returns a descriptor that the caller closes, or -errno.
 */
int clv_links_netns_open(const char *text);
/*
 * That namespace's number here: those links lead into it whose peer_nsid equals it. Numbers are given lazily, so
 * list the links first. Returns 0; -ENOENT when it has none, which means that no link leads there; or -errno.
 */
int clv_links_netns_id(struct clv_links *ls, int netns_fd, int32_t *nsid);
/*
 * Every address of the namespace with that number that is good beyond its link. Returns 0; -EACCES without
 * CAP_NET_ADMIN there, -ENOPROTOOPT before Linux 4.20, -EINVAL when there is no such namespace any more; or -errno.
 */
int clv_links_addresses(struct clv_links *ls, int32_t nsid, void (*fn)(void *ctx, const struct clv_addr *addr),
			void *ctx);

#endif
