/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods for tests without kubelet, many and fast: processes in cgroups that are named as kubelet names them, with a
 * network that is made as CNI's ptp plugin makes it, and a web server. Runs in the node's network namespace as root.
 * Commands on stdin, a line each, and for each a line on stdout: "ok", or "error: ...".
 *
 *     hostpods [CGROUP...]       the directories, one a hierarchy, in which "kubepods" stands
 *     make UID SANDBOX CONTAINER IFNAME ADDR     UID: the pod's; the others: ids of its containers, the name of the
 *                                                node's interface, the pod's address
 *     remove UID                 as kubelet does: processes, interface, cgroups
 *
 * Everything it made is gone with it, but for the cgroups.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POD_PORT 8080
#define PODS     1024
#define PATH     512

struct pod {
	char uid[64], container[2][80], ifname[IF_NAMESIZE];
	pid_t pid[2];
	int listener; /* -1: there is no such pod */
};

static struct pod pods[PODS];
static char **tops; /* of the hierarchies */
static int top_count, node_ns, epoll_fd;

static void die(const char *what)
{
	fprintf(stderr, "hostpods: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- cgroups ------------------------------------------------------------------------------------------------------
 */

static const char *group_path(const char *top, const char *uid, const char *container)
{
	static char path[PATH];

	snprintf(path, sizeof(path), "%s/kubepods/burstable/pod%s%s%s", top, uid, *container ? "/" : "", container);
	return path;
}

static int group_make(const char *uid, const char *container)
{
	for (int i = 0; i < top_count; i++)
		if (mkdir(group_path(tops[i], uid, container), 0755) && errno != EEXIST)
			return -errno;
	return 0;
}

static void group_join(const char *uid, const char *container)
{
	for (int i = 0; i < top_count; i++) {
		char path[PATH + 16];

		snprintf(path, sizeof(path), "%s/cgroup.procs", group_path(tops[i], uid, container));
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			die(path);
		close(fd);
	}
}

/* A process that was killed may be in it for a moment. */
static void group_remove(const char *uid, const char *container)
{
	for (int i = 0; i < top_count; i++)
		for (int tries = 0; rmdir(group_path(tops[i], uid, container)) && errno == EBUSY && tries < 200;
		     tries++)
			usleep(1000);
}

static void groups_prepare(void)
{
	static const char *const below[] = {"/kubepods", "/kubepods/burstable"};

	for (int i = 0; i < top_count; i++)
		for (size_t k = 0; k < 2; k++) {
			char path[PATH];

			snprintf(path, sizeof(path), "%s%s", tops[i], below[k]);
			if (mkdir(path, 0755) && errno != EEXIST)
				die(path);
		}
}

/* ---- rtnetlink ----------------------------------------------------------------------------------------------------
 */

struct question {
	char room[1024];
	struct nlmsghdr *h;
};

static void *ask(struct question *q, uint16_t type, uint16_t flags, size_t size)
{
	q->h = mnl_nlmsg_put_header(q->room);
	q->h->nlmsg_type = type;
	q->h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	q->h->nlmsg_seq = 1;
	return mnl_nlmsg_put_extra_header(q->h, size);
}

static int answer(struct mnl_socket *s, struct question *q)
{
	char room[8192];
	ssize_t n = mnl_socket_sendto(s, q->h, q->h->nlmsg_len);

	if (n >= 0)
		n = mnl_socket_recvfrom(s, room, sizeof(room));
	if (n >= 0 && mnl_cb_run(room, (size_t)n, 1, mnl_socket_get_portid(s), NULL, NULL) >= 0)
		return 0;
	return -errno;
}

/* eth0 here, its peer in the node's namespace. */
static int veth_make(struct mnl_socket *s, const char *ifname)
{
	struct question q;

	ask(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(q.h, IFLA_IFNAME, "eth0");
	struct nlattr *info = mnl_attr_nest_start(q.h, IFLA_LINKINFO);
	mnl_attr_put_strz(q.h, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(q.h, IFLA_INFO_DATA);
	struct nlattr *peer = mnl_attr_nest_start(q.h, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(q.h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(q.h, IFLA_IFNAME, ifname);
	mnl_attr_put_u32(q.h, IFLA_NET_NS_FD, (uint32_t)node_ns);
	mnl_attr_nest_end(q.h, peer);
	mnl_attr_nest_end(q.h, data);
	mnl_attr_nest_end(q.h, info);
	return answer(s, &q);
}

static int link_up(struct mnl_socket *s, const char *ifname)
{
	struct question q;
	struct ifinfomsg *m = ask(&q, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_index = (int)if_nametoindex(ifname);
	m->ifi_flags = m->ifi_change = IFF_UP;
	return answer(s, &q);
}

static int link_remove(struct mnl_socket *s, const char *ifname)
{
	struct question q;
	struct ifinfomsg *m = ask(&q, RTM_DELLINK, 0, sizeof(*m));

	m->ifi_index = (int)if_nametoindex(ifname);
	return m->ifi_index ? answer(s, &q) : 0;
}

static int address_add(struct mnl_socket *s, const char *ifname, struct in_addr addr)
{
	struct question q;
	struct ifaddrmsg *m = ask(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m));

	m->ifa_family = AF_INET;
	m->ifa_prefixlen = 32;
	m->ifa_index = if_nametoindex(ifname);
	mnl_attr_put_u32(q.h, IFA_LOCAL, addr.s_addr);
	mnl_attr_put_u32(q.h, IFA_ADDRESS, addr.s_addr);
	return answer(s, &q);
}

/* NULL: every address. Whoever has it is at the other end. */
static int route_add(struct mnl_socket *s, const char *ifname, const struct in_addr *to)
{
	struct question q;
	struct rtmsg *m = ask(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->rtm_family = AF_INET;
	m->rtm_dst_len = to ? 32 : 0;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_LINK;
	m->rtm_type = RTN_UNICAST;
	if (to)
		mnl_attr_put_u32(q.h, RTA_DST, to->s_addr);
	mnl_attr_put_u32(q.h, RTA_OIF, if_nametoindex(ifname));
	return answer(s, &q);
}

static struct mnl_socket *netlink_open(void)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		die("netlink");
	return s;
}

static int network_make_inside(const char *ifname, struct in_addr addr)
{
	struct mnl_socket *s = netlink_open();
	int err = link_up(s, "lo");

	if (!err)
		err = veth_make(s, ifname);
	if (!err)
		err = address_add(s, "eth0", addr);
	if (!err)
		err = link_up(s, "eth0");
	if (!err)
		err = route_add(s, "eth0", NULL);
	mnl_socket_close(s);
	return err;
}

static int network_make_outside(const char *ifname, struct in_addr addr)
{
	struct mnl_socket *s = netlink_open();
	int err = link_up(s, ifname);

	if (!err)
		err = route_add(s, ifname, &addr);
	mnl_socket_close(s);
	return err;
}

static void network_remove(const char *ifname)
{
	struct mnl_socket *s = netlink_open();

	link_remove(s, ifname);
	mnl_socket_close(s);
}

/* ---- the web server -----------------------------------------------------------------------------------------------
 */

static int server_open(uint16_t port)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	const int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) || listen(fd, 128) ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static bool is_listener(int fd)
{
	for (size_t i = 0; i < PODS; i++)
		if (pods[i].listener == fd)
			return true;
	return false;
}

static void server_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	if (fd >= 0)
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

/* Requests come in one piece, one a connection or one after the other. */
static void server_answer(int fd)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
	char room[4096];
	ssize_t n = read(fd, room, sizeof(room));

	if (n > 0 && write(fd, ok, sizeof(ok) - 1) > 0)
		return;
	if (n >= 0 || errno != EAGAIN)
		close(fd);
}

/* ---- pods ---------------------------------------------------------------------------------------------------------
 */

static struct pod *pod_find(const char *uid)
{
	for (size_t i = 0; i < PODS; i++)
		if (pods[i].listener >= 0 && !strcmp(pods[i].uid, uid))
			return &pods[i];
	return NULL;
}

static struct pod *pod_new(const char *uid, const char *sandbox, const char *container, const char *ifname)
{
	struct pod *p = pods;

	while (p < pods + PODS && p->listener >= 0)
		p++;
	if (p == pods + PODS)
		return NULL;
	*p = (struct pod){.listener = -1};
	snprintf(p->uid, sizeof(p->uid), "%s", uid);
	snprintf(p->container[0], sizeof(p->container[0]), "%s", sandbox);
	snprintf(p->container[1], sizeof(p->container[1]), "%s", container);
	snprintf(p->ifname, sizeof(p->ifname), "%s", ifname);
	return p;
}

/* A process that does nothing, in its cgroup, and in namespace `ns`; -1: in one of its own. */
static pid_t process_start(const struct pod *p, int which, int ns)
{
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		group_join(p->uid, p->container[which]);
		if (ns < 0 ? unshare(CLONE_NEWNET) : setns(ns, CLONE_NEWNET))
			die("network namespace");
		if (write(ready[1], "r", 1) != 1)
			die("pipe");
		close_range(0, ~0u, 0);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (pid < 0 || read(ready[0], &byte, 1) != 1)
		die("process");
	close(ready[0]);
	return pid;
}

static int namespace_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

/* Its network, and its server in it. Returns 0 or -errno. */
static int pod_connect(struct pod *p, int ns, struct in_addr addr)
{
	int err, listener = -1;

	if (setns(ns, CLONE_NEWNET))
		die("setns");
	err = network_make_inside(p->ifname, addr);
	if (!err)
		listener = server_open(POD_PORT);
	if (setns(node_ns, CLONE_NEWNET))
		die("setns");
	if (err || listener < 0)
		return err ? err : listener;
	p->listener = listener;
	return network_make_outside(p->ifname, addr);
}

static int pod_make_groups(const struct pod *p)
{
	int err = group_make(p->uid, "");

	for (int i = 0; !err && i < 2; i++)
		err = group_make(p->uid, p->container[i]);
	return err;
}

static int pod_make(const char *uid, const char *sandbox, const char *container, const char *ifname, const char *text)
{
	struct pod *p = pod_new(uid, sandbox, container, ifname);
	struct in_addr addr;

	if (!p || inet_pton(AF_INET, text, &addr) != 1)
		return -EINVAL;
	int err = pod_make_groups(p);
	if (err)
		return err;
	p->pid[0] = process_start(p, 0, -1);
	int ns = namespace_of(p->pid[0]);
	err = pod_connect(p, ns, addr);
	p->pid[1] = process_start(p, 1, ns);
	close(ns);
	return err;
}

static int pod_remove(const char *uid)
{
	struct pod *p = pod_find(uid);

	if (!p)
		return -ENOENT;
	for (int i = 1; i >= 0; i--) {
		kill(p->pid[i], SIGKILL);
		waitpid(p->pid[i], NULL, 0);
	}
	network_remove(p->ifname);
	close(p->listener);
	p->listener = -1;
	for (int i = 0; i < 2; i++)
		group_remove(uid, p->container[i]);
	group_remove(uid, "");
	return 0;
}

/* ---- commands -----------------------------------------------------------------------------------------------------
 */

static int command_run(char *line)
{
	char *word[6] = {0};
	int n = 0;

	for (char *w = strtok(line, " \n"); w && n < 6; w = strtok(NULL, " \n"))
		word[n++] = w;
	if (n == 6 && !strcmp(word[0], "make"))
		return pod_make(word[1], word[2], word[3], word[4], word[5]);
	if (n == 2 && !strcmp(word[0], "remove"))
		return pod_remove(word[1]);
	return -EINVAL;
}

/* The lines that have come. */
static void commands_read(void)
{
	static char room[16384];
	static size_t len;
	ssize_t n = read(0, room + len, sizeof(room) - 1 - len);

	if (n <= 0)
		exit(0);
	len += (size_t)n;
	for (char *end; (end = memchr(room, '\n', len));) {
		size_t line = (size_t)(end + 1 - room);

		*end = '\0';
		int err = command_run(room);
		if (err)
			printf("error: %s\n", strerror(-err));
		else
			puts("ok");
		fflush(stdout);
		len -= line;
		memmove(room, room + line, len);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = 0};

	tops = argv + 1;
	top_count = argc - 1;
	for (size_t i = 0; i < PODS; i++)
		pods[i].listener = -1;
	signal(SIGPIPE, SIG_IGN);
	node_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (node_ns < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &e))
		die("start");
	groups_prepare();
	for (;;) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == 0)
				commands_read();
			else if (is_listener(events[i].data.fd))
				server_accept(events[i].data.fd);
			else
				server_answer(events[i].data.fd);
		}
	}
}
