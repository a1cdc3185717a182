/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture at cgroups: the programs by BPF_PROG_TEST_RUN, and attached to cgroups made for the test, whose processes
 * talk over the loopback of a network namespace of their own. Needs root and cgroup v2; skips without.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <bpf/bpf.h>

#include "source/attach.h"
#include "source/cgroup.h"
#include "source/ring.h"

#define NET      (CLV_NET_CGROUP + 5)
#define PORT     7777
#define SECONDS  20
#define PACKETS  64
#define ETHERNET 14

static struct clv_ring *ring;
static struct clv_attach *attach;
static struct clv_packet got[PACKETS];
static size_t got_count;
static struct clv_attach_event event;
static unsigned events;
static char top[4096], path[4200];

/* ---- the ring --------------------------------------------------------------------------------------------------- */

static void on_packet(void *ctx, const struct clv_packet *p)
{
	assert_true(got_count < PACKETS);
	got[got_count++] = *p;
}

static void drain(void)
{
	struct clv_source *s = clv_ring_source(ring, 0);

	assert_true(s->ops->poll(s, on_packet, NULL, 0) >= 0);
}

static void open_ring(uint32_t net_untold, bool cgroups)
{
	struct clv_ring_config c = {
		.ring_bytes = 1 << 20, .max_flows = 256, .cgroups = cgroups, .net_untold = net_untold};

	assert_int_equal(clv_ring_open(&c, &ring), 0);
	got_count = 0;
}

static void close_ring(void)
{
	clv_ring_close(ring);
	ring = NULL;
}

static uint64_t figure(const char *name)
{
	struct clv_figure f[CLV_RING_FIGURES];
	size_t n = clv_ring_figures(ring, f);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(f[i].name, name))
			return f[i].value;
	fail_msg("no figure %s", name);
	return 0;
}

/* ---- the programs ------------------------------------------------------------------------------------------------ */

static void put(uint8_t *p, uint32_t v, int bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> bytes * 8);
}

/* A segment of 4 bytes from 10.0.0.1:40000 to 10.0.0.2:80, or back; TEST_RUN takes the Ethernet header off. */
static size_t frame(uint8_t *f, bool v6, bool back, uint8_t flags)
{
	size_t ip = v6 ? 40 : 20, l4 = ETHERNET + ip;

	memset(f, 0, 128);
	put(f + 12, v6 ? 0x86dd : 0x0800, 2);
	f[ETHERNET] = v6 ? 0x60 : 0x45;
	if (v6) {
		put(f + ETHERNET + 4, 24, 2);
		f[ETHERNET + 6] = 6;
		f[ETHERNET + 23] = back ? 2 : 1;
		f[ETHERNET + 39] = back ? 1 : 2;
	} else {
		put(f + ETHERNET + 2, 44, 2);
		f[ETHERNET + 9] = 6;
		put(f + ETHERNET + 12, back ? 0x0a000002 : 0x0a000001, 4);
		put(f + ETHERNET + 16, back ? 0x0a000001 : 0x0a000002, 4);
	}
	put(f + l4, back ? 80 : 40000, 2);
	put(f + l4 + 2, back ? 40000 : 80, 2);
	put(f + l4 + 4, 100, 4);
	f[l4 + 12] = 0x50;
	f[l4 + 13] = flags;
	memcpy(f + l4 + 20, "data", 4);
	return l4 + 24;
}

/* Whatever it is: allowed. */
static void run(const uint8_t *f, size_t len, enum clv_hook hook)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f, .data_size_in = (uint32_t)len);

	assert_int_equal(bpf_prog_test_run_opts(clv_ring_prog_fd(ring, hook, CLV_LAYER_CGROUP), &opts), 0);
	assert_int_equal(opts.retval, 1);
	drain();
}

static void segments(void **state)
{
	uint8_t f[128];

	for (int v6 = 0; v6 < 2; v6++) {
		open_ring(NET, true);
		assert_int_equal(clv_ring_set_link(ring, NET, CLV_VIEW_HOST), 0);
		run(f, frame(f, v6, false, CLV_TCP_ACK), CLV_HOOK_INGRESS);
		run(f, frame(f, v6, true, CLV_TCP_ACK), CLV_HOOK_EGRESS);
		assert_int_equal(got_count, 2);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(got[i].net, NET);
			assert_int_equal(got[i].side, i ? CLV_SIDE_OUT : CLV_SIDE_IN);
			assert_int_equal(got[i].src.port, i ? 80 : 40000);
			assert_int_equal(got[i].len, 4);
			assert_int_equal(clv_addr_is_v4(&got[i].src.addr), !v6);
		}
		assert_int_equal(got[0].kernel.slot, got[1].kernel.slot);
		close_ring();
	}
}

/* A listener's SYN-ACK, seen without the SYN: its address may have been translated. */
static void syn_ack(void **state)
{
	uint8_t f[128];

	open_ring(NET, true);
	run(f, frame(f, false, true, CLV_TCP_SYN | CLV_TCP_ACK), CLV_HOOK_EGRESS);
	assert_int_equal(got_count, 0);
	run(f, frame(f, false, true, CLV_TCP_SYN | CLV_TCP_ACK), CLV_HOOK_INGRESS);
	assert_int_equal(got_count, 1);
	close_ring();

	open_ring(NET, true);
	run(f, frame(f, false, false, CLV_TCP_SYN), CLV_HOOK_INGRESS);
	run(f, frame(f, false, true, CLV_TCP_SYN | CLV_TCP_ACK), CLV_HOOK_EGRESS);
	assert_int_equal(got_count, 2);
	close_ring();
}

static void not_told(void **state)
{
	uint8_t f[128];

	open_ring(0, true);
	run(f, frame(f, false, false, CLV_TCP_ACK), CLV_HOOK_INGRESS);
	run(f, frame(f, false, false, CLV_TCP_ACK), CLV_HOOK_EGRESS);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("packets"), 0);
	close_ring();
}

static void nonsense(void **state)
{
	uint8_t f[128];
	size_t len;

	open_ring(NET, true);
	len = frame(f, false, false, CLV_TCP_ACK);
	f[ETHERNET] = 0x4f; /* longer options than there are bytes */
	f[ETHERNET + 3] = 44;
	run(f, len, CLV_HOOK_INGRESS);
	f[ETHERNET] = 0x75;
	run(f, len, CLV_HOOK_EGRESS);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("malformed") + figure("not_ip"), 2);
	close_ring();
}

static void not_loaded(void **state)
{
	open_ring(0, false);
	assert_int_equal(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_CGROUP), -EOPNOTSUPP);
	assert_true(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_IP) >= 0);
	close_ring();
}

static void numbers(void **state)
{
	open_ring(0, false);
	assert_int_equal(clv_ring_set_link(ring, 0, CLV_VIEW_HOST), -EINVAL);
	assert_int_equal(clv_ring_set_link(ring, CLV_NET_FREE | 3, CLV_VIEW_HOST), -EINVAL);
	for (uint32_t i = 0; i < CLV_RING_LINKS; i++)
		assert_int_equal(clv_ring_set_link(ring, i % 2 ? CLV_NET_CGROUP + i : i + 1, CLV_VIEW_POD), 0);
	assert_int_equal(clv_ring_set_link(ring, CLV_NET_CGROUP + CLV_RING_LINKS, CLV_VIEW_POD), -ENOSPC);
	clv_ring_forget_link(ring, CLV_NET_CGROUP + 1);
	assert_int_equal(clv_ring_set_link(ring, CLV_NET_CGROUP + CLV_RING_LINKS, CLV_VIEW_POD), 0);
	close_ring();
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

static void find(void **state)
{
	char mount[4096], found[4200];
	uint64_t id;

	assert_int_equal(clv_cgroup_mount(mount, sizeof(mount)), 0);
	assert_int_equal(clv_cgroup_mount(mount, 3), -ENAMETOOLONG);
	assert_int_equal(clv_cgroup_mount(mount, sizeof(mount)), 0);
	assert_int_equal(strncmp(top, mount, strlen(mount)), 0);
	assert_int_equal(clv_cgroup_find(path, found, sizeof(found)), 0);
	assert_string_equal(found, path);
	assert_int_equal(clv_cgroup_find(path + strlen(mount), found, sizeof(found)), 0); /* begins with a slash */
	assert_string_equal(found, path);
	assert_int_equal(clv_cgroup_find(path + strlen(mount) + 1, found, sizeof(found)), 0);
	assert_string_equal(found, path);
	assert_int_equal(clv_cgroup_find("/", found, sizeof(found)), 0);
	assert_int_equal(strncmp(found, mount, strlen(mount)), 0);
	assert_int_equal(clv_cgroup_find("clvt-nothing", found, sizeof(found)), -ENOENT);
	assert_int_equal(clv_cgroup_find("/tmp", found, sizeof(found)), -EINVAL);
	assert_int_equal(clv_cgroup_open("/tmp", &id), -EINVAL);
	assert_int_equal(clv_cgroup_open("/dev/null", &id), -ENOTDIR);
	assert_int_equal(clv_cgroup_find(path, found, 8), -ENAMETOOLONG);
}

/* ---- attached ---------------------------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct clv_attach_event *e)
{
	event = *e;
	events++;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The next event. */
static const struct clv_attach_event *wait_event(void)
{
	struct pollfd fd = {.fd = clv_attach_fd(attach), .events = POLLIN};
	double end = now() + SECONDS;

	events = 0;
	while (!events && now() < end) {
		poll(&fd, 1, 100);
		clv_attach_poll(attach, on_event, NULL);
	}
	assert_int_equal(events, 1);
	return &event;
}

static enum clv_attach_outcome add(const char *cgroup, uint32_t net)
{
	char lent[4200];
	struct clv_attach_request request = {.net = net, .mode = CLV_ATTACH_CGROUP, .cgroup = lent};

	snprintf(lent, sizeof(lent), "%s", cgroup);
	assert_int_equal(clv_attach_add(attach, &request), 0);
	memset(lent, 'x', sizeof(lent) - 1); /* copied */
	return wait_event()->outcome;
}

static void add_must_fail(const char *cgroup, uint32_t net, int error)
{
	assert_int_equal(add(cgroup, net), CLV_ATTACH_FAILED);
	assert_int_equal(event.error, error);
}

/* How many programs there are on the test's cgroup. */
static unsigned attached(void)
{
	static const enum bpf_attach_type types[] = {BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS};
	unsigned sum = 0;
	uint64_t id;
	int fd = clv_cgroup_open(path, &id);

	assert_true(fd >= 0);
	for (int i = 0; i < 2; i++) {
		uint32_t progs[16], flags, count = 16;

		assert_int_equal(bpf_prog_query(fd, types[i], 0, &flags, progs, &count), 0);
		sum += count;
	}
	close(fd);
	return sum;
}

/* A process of the cgroup sends itself a datagram, and gives up its life. */
static void talk(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
		char procs[4300], c;
		FILE *f;
		int s;

		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
		f = fopen(procs, "we");
		if (!f || fputs("0", f) < 0 || fclose(f))
			_exit(1);
		s = socket(AF_INET, SOCK_DGRAM, 0);
		if (bind(s, (struct sockaddr *)&a, sizeof(a)) ||
		    sendto(s, "?", 1, 0, (struct sockaddr *)&a, sizeof(a)) != 1 || recv(s, &c, 1, 0) != 1)
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	drain();
}

static void by_hand(void **state)
{
	assert_int_equal(add(path, NET), CLV_ATTACH_DONE);
	assert_int_equal(event.used, CLV_ATTACH_CGROUP);
	assert_string_equal(event.request.cgroup ? "said" : "", "said");
	assert_int_equal(attached(), 2);
	assert_int_equal(add(path, NET), CLV_ATTACH_DONE); /* already was */
	assert_int_equal(attached(), 2);
	talk();
	assert_int_equal(got_count, 2);
	assert_int_equal(got[0].net, NET);
	assert_int_equal(got[0].side, CLV_SIDE_OUT);
	assert_int_equal(got[1].net, NET);
	assert_int_equal(got[1].side, CLV_SIDE_IN);
	assert_int_equal(got[1].dst.port, PORT);

	assert_int_equal(clv_attach_remove(attach, NET), 0);
	assert_int_equal(wait_event()->outcome, CLV_ATTACH_GONE);
	assert_null(event.request.cgroup);
	assert_int_equal(attached(), 0);
	talk();
	assert_int_equal(got_count, 2);
	/* Again, by another number. */
	assert_int_equal(add(path, NET + 1), CLV_ATTACH_DONE);
	talk();
	assert_int_equal(got_count, 4);
	assert_int_equal(got[3].net, NET + 1);
}

/* A pod's cgroup holds its containers': their processes count. */
static void in_a_child(void **state)
{
	assert_int_equal(add(top, NET), CLV_ATTACH_DONE);
	talk();
	assert_int_equal(got_count, 2);
	assert_int_equal(got[0].net, NET);
	/* Both asked for: seen at both. */
	assert_int_equal(add(path, NET + 1), CLV_ATTACH_DONE);
	talk();
	assert_int_equal(got_count, 6);
}

static void removed(void **state)
{
	assert_int_equal(add(path, NET), CLV_ATTACH_DONE);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(wait_event()->outcome, CLV_ATTACH_GONE);
	assert_int_equal(event.request.net, NET);
	assert_int_equal(clv_attach_pending(attach), 0);
	/* One of the same name is another one. */
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(attached(), 0);
	assert_int_equal(add(path, NET), CLV_ATTACH_DONE);
	talk();
	assert_int_equal(got_count, 2);
}

/* Somebody else's directory beside it goes: no news. */
static void sibling_removed(void **state)
{
	char other[4200];

	snprintf(other, sizeof(other), "%s/other", top);
	assert_int_equal(mkdir(other, 0755), 0);
	assert_int_equal(add(path, NET), CLV_ATTACH_DONE);
	assert_int_equal(rmdir(other), 0);
	assert_int_equal(clv_attach_remove(attach, NET), 0);
	assert_int_equal(wait_event()->outcome, CLV_ATTACH_GONE);
	assert_int_equal(clv_attach_poll(attach, on_event, NULL), 0);
}

static void refused(void **state)
{
	add_must_fail("/tmp", NET, -EINVAL);
	add_must_fail("/nowhere", NET, -ENOENT);
	add_must_fail(path, 1, -EINVAL);
	add_must_fail(path, CLV_NET_CGROUP | CLV_NET_FREE, -EINVAL);

	struct clv_attach_request request = {.net = NET, .mode = CLV_ATTACH_CLSACT};

	assert_int_equal(clv_attach_add(attach, &request), 0); /* no interface has such a number */
	assert_int_equal(wait_event()->outcome, CLV_ATTACH_FAILED);
	assert_int_equal(event.error, -EINVAL);
	assert_int_equal(attached(), 0);
}

/* Closing takes everything off. */
static void closed(void **state)
{
	assert_int_equal(add(path, NET), CLV_ATTACH_DONE);
	clv_attach_close(attach);
	assert_int_equal(attached(), 0);
	assert_int_equal(clv_attach_open(ring, &attach), 0);
}

static void without_programs(void **state)
{
	clv_attach_close(attach);
	close_ring();
	open_ring(0, false);
	assert_int_equal(clv_attach_open(ring, &attach), 0);
	add_must_fail(path, NET, -EOPNOTSUPP);
	assert_int_equal(attached(), 0);
}

/* ---- the bench --------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
	mkdir(path, 0755);
	open_ring(0, true);
	return clv_attach_open(ring, &attach);
}

static int tear_down(void **state)
{
	clv_attach_close(attach);
	close_ring();
	return 0;
}

static void loopback_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ioctl(s, SIOCSIFFLAGS, &r);
	close(s);
}

/* What is missing for these tests; NULL: nothing. */
static const char *prepare(void)
{
	struct clv_ring_config c = {.ring_bytes = 4096, .max_flows = 4, .cgroups = true};

	if (unshare(CLONE_NEWNET))
		return "no network namespace can be made";
	loopback_up();
	if (clv_ring_open(&c, &ring))
		return "the BPF programs for cgroups do not load here";
	close_ring();
	if (clv_cgroup_mount(top, sizeof(top) - 64))
		return "cgroup v2 is not mounted";
	snprintf(top + strlen(top), 64, "/clvt-unit-%d", getpid());
	snprintf(path, sizeof(path), "%s/pod", top);
	if (mkdir(top, 0755) || mkdir(path, 0755))
		return "no cgroup can be made";
	return NULL;
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments),
		cmocka_unit_test(syn_ack),
		cmocka_unit_test(not_told),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(not_loaded),
		cmocka_unit_test(numbers),
		cmocka_unit_test(find),
		T(by_hand),
		T(in_a_child),
		T(removed),
		T(sibling_removed),
		T(refused),
		T(closed),
		T(without_programs),
	};
	const char *missing = prepare();

	if (missing) {
		fprintf(stderr, "skipped: %s: %s\n", missing, strerror(errno));
		rmdir(top);
		return 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	rmdir(path);
	rmdir(top);
	return failed;
}
