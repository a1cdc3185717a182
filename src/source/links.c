/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns two rtnetlink sockets: one asks, one listens. Never changes an interface. One thread at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <net/if_arp.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "source/links.h"

struct clv_links {
	struct mnl_socket *ask, *news;
	uint32_t seq;
	bool lost; /* news, since clv_links_lost() */
};

struct link_reader {
	void (*each)(void *ctx, const struct clv_link *l);
	void (*event)(void *ctx, const struct clv_link *l, bool gone);
	void *ctx;
	int count;
};

bool clv_link_is_pod(const struct clv_link *l)
{
	return l->peer_nsid >= 0 && (!strcmp(l->kind, "veth") || !strcmp(l->kind, "netkit"));
}

bool clv_link_is_l3(const struct clv_link *l)
{
	return l->arphrd != ARPHRD_ETHER && l->arphrd != ARPHRD_LOOPBACK;
}

/* ---- messages --------------------------------------------------------------------------------------- */

static void link_text(char *to, size_t size, const struct nlattr *a)
{
	if (mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		snprintf(to, size, "%s", mnl_attr_get_str(a));
}

static int link_info_attr(const struct nlattr *a, void *data)
{
	struct clv_link *l = data;

	if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
		link_text(l->kind, sizeof(l->kind), a);
	return MNL_CB_OK;
}

static int link_attr(const struct nlattr *a, void *data)
{
	struct clv_link *l = data;

	switch (mnl_attr_get_type(a)) {
	case IFLA_IFNAME:
		link_text(l->name, sizeof(l->name), a);
		break;
	case IFLA_LINK:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->peer_ifindex = mnl_attr_get_u32(a);
		break;
	case IFLA_LINK_NETNSID:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->peer_nsid = (int32_t)mnl_attr_get_u32(a);
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(a, link_info_attr, l);
		break;
	}
	return MNL_CB_OK;
}

static int link_message(const struct nlmsghdr *h, void *data)
{
	struct link_reader *r = data;

	if (h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK)
		return MNL_CB_OK;
	if (mnl_nlmsg_get_payload_len(h) < sizeof(struct ifinfomsg))
		return MNL_CB_OK;

	const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
	struct clv_link l = {
		.ifindex = (uint32_t)info->ifi_index,
		.arphrd = info->ifi_type,
		.up = info->ifi_flags & IFF_UP,
		.peer_nsid = -1,
	};

	if (info->ifi_family != AF_UNSPEC) /* a bridge tells about its ports in the same group */
		return MNL_CB_OK;
	mnl_attr_parse(h, sizeof(*info), link_attr, &l);
	r->count++;
	if (r->each)
		r->each(r->ctx, &l);
	else
		r->event(r->ctx, &l, h->nlmsg_type == RTM_DELLINK);
	return MNL_CB_OK;
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

static int links_socket(struct mnl_socket **out, unsigned groups, int flags)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);

	if (!s)
		return -errno;
	if (mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) < 0) {
		int err = -errno;

		mnl_socket_close(s);
		return err;
	}
	*out = s;
	return 0;
}

int clv_links_open(struct clv_links **out)
{
	struct clv_links *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return -ENOMEM;

	int err = links_socket(&ls->ask, 0, 0);

	if (!err)
		err = links_socket(&ls->news, RTMGRP_LINK, SOCK_NONBLOCK);
	if (err) {
		clv_links_close(ls);
		return err;
	}
	ls->seq = (uint32_t)time(NULL);
	*out = ls;
	return 0;
}

void clv_links_close(struct clv_links *ls)
{
	if (!ls)
		return;
	if (ls->ask)
		mnl_socket_close(ls->ask);
	if (ls->news)
		mnl_socket_close(ls->news);
	free(ls);
}

/* An error, an acknowledgement, or the end of a dump, which may be an error, too: -errno or 0 comes first in each. */
static int end_message(const struct nlmsghdr *h, void *data)
{
	int err = 0;

	(void)data;
	if (mnl_nlmsg_get_payload_len(h) >= sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(h), sizeof(err));
	errno = -err;
	return err < 0 ? MNL_CB_ERROR : MNL_CB_STOP;
}

/* Sends `h` and hands every answer to `fn`. Returns 0 or -errno. */
static int links_ask(struct clv_links *ls, struct nlmsghdr *h, mnl_cb_t fn, void *data)
{
	static const size_t size = 32768;
	static mnl_cb_t control[] = {[NLMSG_ERROR] = end_message, [NLMSG_DONE] = end_message};
	char *buf = malloc(size);
	unsigned port = mnl_socket_get_portid(ls->ask);
	int run = MNL_CB_OK;

	if (!buf)
		return -ENOMEM;
	h->nlmsg_seq = ++ls->seq;
	if (mnl_socket_sendto(ls->ask, h, h->nlmsg_len) < 0)
		run = MNL_CB_ERROR;
	while (run > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(ls->ask, buf, size);

		run = n < 0 ? MNL_CB_ERROR
			    : mnl_cb_run2(buf, (size_t)n, h->nlmsg_seq, port, fn, data, control,
					  sizeof(control) / sizeof(*control));
	}

	int err = run < 0 ? -errno : 0;

	free(buf);
	return err;
}

/* ---- listing ---------------------------------------------------------------------------------------- */

static int links_dump(struct clv_links *ls, struct link_reader *r)
{
	char buf[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = RTM_GETLINK;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(h, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS); /* they are most of the work */
	return links_ask(ls, h, link_message, r);
}

int clv_links_list(struct clv_links *ls, void (*fn)(void *ctx, const struct clv_link *l), void *ctx)
{
	struct link_reader r = {.each = fn, .ctx = ctx};
	int err;

	/* The kernel says EINTR when the list changed under the dump: some may be missing, so once more. */
	for (int tries = 0; tries < 5; tries++) {
		err = links_dump(ls, &r);
		if (err != -EINTR)
			break;
	}
	return err;
}

static void link_copy(void *ctx, const struct clv_link *l)
{
	*(struct clv_link *)ctx = *l;
}

int clv_links_find(struct clv_links *ls, const char *name, struct clv_link *out)
{
	char buf[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct clv_link found = {0};
	struct link_reader r = {.each = link_copy, .ctx = &found};

	if (!*name || strlen(name) >= IF_NAMESIZE)
		return -ENODEV;
	h->nlmsg_type = RTM_GETLINK;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);

	int err = links_ask(ls, h, link_message, &r);

	if (!err && r.count)
		*out = found;
	return err ? err : r.count ? 0 : -ENODEV;
}

/* ---- news ------------------------------------------------------------------------------------------- */

int clv_links_fd(const struct clv_links *ls)
{
	return mnl_socket_get_fd(ls->news);
}

struct retell {
	void (*fn)(void *ctx, const struct clv_link *l, bool gone);
	void *ctx;
	int count;
};

static void link_retell(void *ctx, const struct clv_link *l)
{
	struct retell *r = ctx;

	r->count++;
	r->fn(r->ctx, l, false);
}

int clv_links_poll(struct clv_links *ls, void (*fn)(void *ctx, const struct clv_link *l, bool gone), void *ctx)
{
	char buf[16384];
	struct link_reader r = {.event = fn, .ctx = ctx};
	struct retell again = {.fn = fn, .ctx = ctx};
	bool lost = false;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(ls->news, buf, sizeof(buf));

		if (n >= 0)
			mnl_cb_run(buf, (size_t)n, 0, 0, link_message, &r);
		else if (errno == ENOBUFS)
			lost = true;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			return -errno;
	}

	ls->lost |= lost;
	int err = lost ? clv_links_list(ls, link_retell, &again) : 0;

	return err ? err : r.count + again.count;
}

bool clv_links_lost(struct clv_links *ls)
{
	bool lost = ls->lost;

	ls->lost = false;
	return lost;
}

/* ---- namespaces ------------------------------------------------------------------------------------- */

static int open_in(const char *format, const char *name)
{
	char path[256];

	if ((size_t)snprintf(path, sizeof(path), format, name) >= sizeof(path))
		return -ENAMETOOLONG;

	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int clv_links_netns_open(const char *text)
{
	static const char *const places[] = {"/run/netns/%s", "/var/run/docker/netns/%s"};

	if (!*text)
		return -ENOENT;
	if (strchr(text, '/'))
		return open_in("%s", text);
	/* A namespace may well be named 42, but rarely where a process 42 is meant. */
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		int fd = open_in(places[i], text);

		if (fd != -ENOENT)
			return fd;
	}
	if (strspn(text, "0123456789") == strlen(text))
		return open_in("/proc/%s/ns/net", text);
	return -ENOENT;
}

static int nsid_attr(const struct nlattr *a, void *data)
{
	if (mnl_attr_get_type(a) == NETNSA_NSID && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		*(int32_t *)data = (int32_t)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int nsid_message(const struct nlmsghdr *h, void *data)
{
	if (h->nlmsg_type == RTM_NEWNSID)
		mnl_attr_parse(h, sizeof(struct rtgenmsg), nsid_attr, data);
	return MNL_CB_OK;
}

int clv_links_netns_id(struct clv_links *ls, int netns_fd, int32_t *nsid)
{
	char buf[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	int32_t id = NETNSA_NSID_NOT_ASSIGNED;

	h->nlmsg_type = RTM_GETNSID;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_nlmsg_put_extra_header(h, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(h, NETNSA_FD, (uint32_t)netns_fd);

	int err = links_ask(ls, h, nsid_message, &id);

	if (err)
		return err;
	if (id == NETNSA_NSID_NOT_ASSIGNED)
		return -ENOENT;
	*nsid = id;
	return 0;
}

/* ---- addresses -------------------------------------------------------------------------------------- */

struct addr_reader {
	int32_t nsid;
	void (*fn)(void *ctx, const struct clv_addr *addr);
	void *ctx;
};

/* Of one message. */
struct addr_found {
	int family;
	int32_t nsid;
	bool local; /* IFA_LOCAL was there: IFA_ADDRESS is the other end's */
	bool any;
	struct clv_addr addr;
};

static int addr_attr(const struct nlattr *a, void *data)
{
	struct addr_found *f = data;
	unsigned type = mnl_attr_get_type(a), len = mnl_attr_get_payload_len(a);

	if (type == IFA_TARGET_NETNSID && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		f->nsid = (int32_t)mnl_attr_get_u32(a);
	if (type != IFA_LOCAL && (type != IFA_ADDRESS || f->local))
		return MNL_CB_OK;
	if (f->family == AF_INET && len == 4)
		f->addr = clv_addr_v4(mnl_attr_get_payload(a));
	else if (f->family == AF_INET6 && len == 16)
		f->addr = clv_addr_v6(mnl_attr_get_payload(a));
	else
		return MNL_CB_OK;
	f->any = true;
	f->local |= type == IFA_LOCAL;
	return MNL_CB_OK;
}

static int addr_message(const struct nlmsghdr *h, void *data)
{
	const struct addr_reader *r = data;

	if (h->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(h) < sizeof(struct ifaddrmsg))
		return MNL_CB_OK;

	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	struct addr_found f = {.family = m->ifa_family, .nsid = -1};

	if (m->ifa_scope != RT_SCOPE_UNIVERSE)
		return MNL_CB_OK;
	mnl_attr_parse(h, sizeof(*m), addr_attr, &f);
	if (f.any && f.nsid == r->nsid)
		r->fn(r->ctx, &f.addr);
	return MNL_CB_OK;
}

int clv_links_addresses(struct clv_links *ls, int32_t nsid, void (*fn)(void *ctx, const struct clv_addr *addr),
			void *ctx)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct addr_reader r = {.nsid = nsid, .fn = fn, .ctx = ctx};
	int on = 1, err = 0;

	/* Without it the kernel does not read what a dump asks for, and lists our own addresses. */
	if (mnl_socket_setsockopt(ls->ask, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(families) && !err; i++) {
		char buf[256];
		struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

		h->nlmsg_type = RTM_GETADDR;
		h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		((struct ifaddrmsg *)mnl_nlmsg_put_extra_header(h, sizeof(struct ifaddrmsg)))->ifa_family = families[i];
		mnl_attr_put_u32(h, IFA_TARGET_NETNSID, (uint32_t)nsid);
		err = links_ask(ls, h, addr_message, &r);
	}
	return err == -EINTR ? 0 : err; /* EINTR: an address came or went meanwhile */
}
