/* SPDX-License-Identifier: Apache-2.0 */
/* Where pods are captured, as they, their processes and their interfaces come and go. The host is made up: what podnet
 * and rtnetlink would tell is in tables here. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/pods.h"
#include "wire/record.h"

#define MS 1000000ull

/* ---- a host ------------------------------------------------------------------------------------------------------ */

static struct {
	struct clv_podnet_container container[16];
	size_t containers;
	struct clv_link link[16];
	size_t links;
	struct clv_addr address; /* of namespace address_nsid; -1: nobody's */
	int32_t address_nsid;
	const char *trouble;
	int scan_err, list_err;
	unsigned scans, scan_ms; /* so long a scan takes */
} host;

int clv_podnet_scan(struct clv_podnet *p)
{
	host.scans++;
	usleep(host.scan_ms * 1000);
	return host.scan_err ? host.scan_err : (int)host.containers;
}

const struct clv_podnet_container *clv_podnet_containers(const struct clv_podnet *p, size_t *count)
{
	*count = host.containers;
	return host.container;
}

const struct clv_podnet_container *clv_podnet_find(const struct clv_podnet *p, const char *uid, const char *const *ids,
						   size_t id_count)
{
	for (size_t i = 0; i < host.containers; i++) {
		const struct clv_podnet_container *c = &host.container[i];

		if (*uid && strcmp(c->name.pod_uid, uid) == 0)
			return c;
		for (size_t k = 0; k < id_count; k++)
			if (strcmp(c->name.container, ids[k]) == 0)
				return c;
	}
	return NULL;
}

int clv_podnet_find_address(struct clv_podnet *p, const struct clv_addr *addr, int32_t *nsid)
{
	if (host.address_nsid < 0 || memcmp(addr, &host.address, sizeof(*addr)) != 0)
		return -ENOENT;
	*nsid = host.address_nsid;
	return 0;
}

const char *clv_podnet_trouble(const struct clv_podnet *p)
{
	return host.trouble;
}

int clv_links_list(struct clv_links *ls, void (*fn)(void *ctx, const struct clv_link *l), void *ctx)
{
	for (size_t i = 0; i < host.links; i++)
		fn(ctx, &host.link[i]);
	return host.list_err;
}

static struct clv_podnet_container *host_runs(const char *uid, const char *id, int32_t nsid)
{
	struct clv_podnet_container *c = &host.container[host.containers++];

	*c = (struct clv_podnet_container){.pid = 100, .netns = 5000, .nsid = nsid, .cgroup = "kubepods/podX"};
	c->cgroup_inode = 70 + host.containers;
	snprintf(c->name.pod_uid, sizeof(c->name.pod_uid), "%s", uid);
	snprintf(c->name.container, sizeof(c->name.container), "%s", id);
	return c;
}

static struct clv_link host_links(uint32_t ifindex, const char *name, int32_t nsid)
{
	struct clv_link l = {.ifindex = ifindex, .kind = "veth", .up = true, .peer_nsid = nsid, .peer_ifindex = 2};

	snprintf(l.name, sizeof(l.name), "%s", name);
	host.link[host.links++] = l;
	return l;
}

/* ---- who asks ------------------------------------------------------------------------------------------------------
 */

static struct {
	struct clv_pods *pods;
	struct clv_select *select;
	const struct clv_kube_pod *object;
	uint64_t now_ns;
	char log[512]; /* "+12 " entered, "-12 " left, "=12 " named; cgroups are c0, c1, ... */
	bool refuse;   /* what is asked for cannot be */
} us;

static void note(char what, uint32_t net)
{
	size_t n = strlen(us.log);

	snprintf(us.log + n, sizeof(us.log) - n, net & CLV_NET_CGROUP ? "%cc%u " : "%c%u ", what,
		 net & ~CLV_NET_CGROUP);
}

static const struct clv_kube_pod *on_object(void *ctx, const char *key)
{
	return us.object && strcmp(us.object->head.uid, key) == 0 ? us.object : NULL;
}

static bool on_enter(void *ctx, const struct clv_agent_pod *pod, const struct clv_pod_place *place)
{
	assert_true(place->link ? place->net == place->link->ifindex : place->cgroup && place->net & CLV_NET_CGROUP);
	if (us.refuse)
		return false;
	note('+', place->net);
	return true;
}

static void on_name(void *ctx, const struct clv_agent_pod *pod, uint32_t net)
{
	note('=', net);
}

static void on_leave(void *ctx, const struct clv_agent_pod *pod, uint32_t net)
{
	note('-', net);
}

/* What was done since this was last asked. */
static void assert_done(const char *what)
{
	assert_string_equal(us.log, what);
	*us.log = '\0';
}

static void pass(unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 10) {
		us.now_ns += 10 * MS;
		clv_pods_service(us.pods, us.now_ns);
	}
}

static struct clv_select *select_of(const char *namespace)
{
	struct clv_select *s;
	char why[CLV_KUBE_SELECTOR_WHY];

	assert_int_equal(
		clv_select_new(&(struct clv_select_config){.namespaces = &namespace, .namespace_count = 1}, &s, why),
		0);
	return s;
}

static void start(enum clv_pod_capture capture)
{
	const struct clv_pods_config config = {
		.capture = capture,
		.object = on_object,
		.enter = on_enter,
		.name = on_name,
		.leave = on_leave,
	};

	memset(&host, 0, sizeof(host));
	host.address_nsid = -1;
	host.trouble = "";
	memset(&us, 0, sizeof(us));
	us.now_ns = 1000 * MS;
	assert_int_equal(clv_pods_new(&config, &us.pods), 0);
	us.select = select_of("shop");
	clv_pods_select(us.pods, us.select);
}

static int end(void **state)
{
	clv_pods_free(us.pods);
	clv_select_free(us.select);
	us.pods = NULL;
	us.select = NULL;
	return 0;
}

static struct clv_kube_pod pod_named(const char *uid, const char *namespace)
{
	return (struct clv_kube_pod){
		.head = {.kind = CLV_KUBE_POD, .uid = uid, .namespace = namespace, .name = uid},
		.phase = CLV_KUBE_RUNNING,
	};
}

static void tell(const struct clv_kube_pod *pod)
{
	us.object = pod;
	clv_pods_pod(us.pods, pod, false);
}

static void assert_pod(const char *key, enum clv_pod_state state, const char *why)
{
	const struct clv_agent_pod *p = clv_pods_find(us.pods, key);

	assert_non_null(p);
	assert_int_equal(p->state, state);
	if (!why)
		assert_null(p->why);
	else if (!p->why || !strstr(p->why, why))
		fail_msg("why is \"%s\", not \"%s\"", p->why ? p->why : "(null)", why);
}

/* ---- selection -----------------------------------------------------------------------------------------------------
 */

static void test_not_selected(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "other");

	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	tell(&pod);
	pass(3000);
	assert_done("");
	assert_int_equal(host.scans, 0); /* nothing is sought */
	assert_pod("u1", CLV_POD_NOT_SELECTED, "its namespace is not watched");
	assert_true(clv_pods_settled(us.pods));
}

static void test_found_at_once(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host_links(11, "veth11", 6);
	host_links(12, "veth12", 7);
	tell(&pod);
	assert_false(clv_pods_settled(us.pods));
	pass(50);
	assert_done("+12 ");
	assert_pod("u1", CLV_POD_PLACED, NULL);
	assert_string_equal(clv_pods_at(us.pods, 12)->label, "shop/u1");
	assert_null(clv_pods_at(us.pods, 11));

	/* Told again: it may be called something else, but is where it was. */
	tell(&pod);
	pass(50);
	assert_done("=12 ");

	clv_pods_pod(us.pods, &pod, true);
	assert_done("-12 ");
	assert_null(clv_pods_find(us.pods, "u1"));
	clv_pods_pod(us.pods, &pod, true);
	assert_done("");
}

static void test_found_by_container(void **state)
{
	/* A static pod's cgroup has a hash where others have the API's uid. */
	const struct clv_kube_container container[] = {{.name = "a", .id = ""}, {.name = "b", .id = "c2"}};
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_AUTO);
	host_runs("hash", "c2", 7);
	host_links(12, "veth12", 7);
	pod.container = container;
	pod.container_count = 2;
	tell(&pod);
	pass(50);
	assert_done("+12 ");
}

static void test_found_later(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	tell(&pod);
	pass(10000);
	assert_done("");
	assert_pod("u1", CLV_POD_SOUGHT, "none of its containers runs yet");
	assert_in_range(host.scans, 10, 25); /* ever more seldom */

	const struct clv_link l = host_links(12, "veth12", 7);
	host_runs("u1", "c1", 7);
	clv_pods_link(us.pods, &l, false); /* this is news */
	pass(50);
	assert_done("+12 ");
}

static void test_news_is_looked_at_soon(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	tell(&pod);
	pass(10000);
	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	tell(&pod); /* its status has changed */
	pass(50);
	assert_done("+12 ");

	/* But not for every piece of news. */
	host.scans = 0;
	const struct clv_kube_pod other = pod_named("u2", "shop");
	for (unsigned i = 0; i < 1000; i++) {
		tell(&other);
		us.now_ns += MS;
		clv_pods_service(us.pods, us.now_ns);
	}
	assert_in_range(host.scans, 10, 60);
}

/* On a host where it takes long, looking does not keep the thread from all else. */
static void test_news_of_a_large_host(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host.scan_ms = 5;
	for (unsigned i = 0; i < 1000; i++) {
		tell(&pod);
		us.now_ns += MS;
		clv_pods_service(us.pods, us.now_ns);
	}
	assert_in_range(host.scans, 2, 20);
}

static void test_other_rules(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");
	struct clv_select *was = us.select;

	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	assert_done("+12 ");

	us.select = select_of("other");
	clv_pods_select(us.pods, us.select);
	tell(&pod);
	assert_done("-12 ");
	assert_pod("u1", CLV_POD_NOT_SELECTED, "namespace");
	clv_select_free(us.select);
	us.select = was;
	clv_pods_select(us.pods, us.select);
	tell(&pod);
	pass(50);
	assert_done("+12 ");
}

static void test_ended(void **state)
{
	start(CLV_POD_AUTO);
	struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	assert_done("+12 ");
	pod.phase = CLV_KUBE_SUCCEEDED;
	tell(&pod);
	assert_done("-12 ");
	assert_pod("u1", CLV_POD_NOT_SELECTED, "it has ended");
}

/* ---- interfaces ----------------------------------------------------------------------------------------------------
 */

static void test_several_interfaces(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	host_links(13, "net1", 7);
	tell(&pod);
	pass(50);
	assert_done("+12 +13 ");

	/* Multus adds another. It is told of more than once. */
	const struct clv_link late = host_links(14, "net2", 7);
	clv_pods_link(us.pods, &late, false);
	clv_pods_link(us.pods, &late, false);
	assert_done("+14 ");

	/* One of several goes. */
	const struct clv_link first = host.link[0];
	clv_pods_link(us.pods, &first, true);
	pass(100);
	assert_done("");
	assert_pod("u1", CLV_POD_PLACED, NULL);
	clv_pods_pod(us.pods, &pod, true);
	assert_done("-13 -14 ");
}

static void test_too_many_interfaces(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	for (uint32_t i = 0; i < CLV_POD_PLACES + 2; i++)
		host_links(20 + i, "veth", 7);
	tell(&pod);
	pass(50);
	assert_int_equal(clv_pods_find(us.pods, "u1")->place_count, CLV_POD_PLACES);
}

static void test_link_gone(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	const struct clv_link l = host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	assert_done("+12 ");

	/* Its sandbox is made anew. */
	host.containers = host.links = 0;
	clv_pods_link(us.pods, &l, true);
	assert_done(""); /* nobody needs to leave what is gone */
	assert_pod("u1", CLV_POD_SOUGHT, "its network went away");
	pass(500);
	host_runs("u1", "c2", 8);
	const struct clv_link other = host_links(15, "veth15", 8);
	clv_pods_link(us.pods, &other, false);
	pass(50);
	assert_done("+15 ");
}

static void test_deleted(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_AUTO);
	host_runs("u1", "c1", 7);
	const struct clv_link l = host_links(12, "veth12", 7);
	pod.deleting = true; /* it may take its time to end */
	tell(&pod);
	pass(50);
	assert_done("+12 ");

	host.containers = host.links = 0;
	clv_pods_link(us.pods, &l, true);
	assert_pod("u1", CLV_POD_NOWHERE, "it is being deleted");
	host.scans = 0;
	tell(&pod);
	const struct clv_link other = host_links(13, "veth13", 9);
	clv_pods_link(us.pods, &other, false);
	pass(3000);
	assert_int_equal(host.scans, 0); /* it is not sought any more */
	clv_pods_pod(us.pods, &pod, true);
	assert_done("");
}

static void test_no_link(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", -1);
	host_links(12, "veth12", -1); /* leads nowhere else */
	tell(&pod);
	pass(1500);
	assert_done("");
	assert_pod("u1", CLV_POD_SOUGHT, "no interface leads into its network namespace yet");
	tell(&pod); /* news do not make it wait longer */
	pass(1600);
	assert_done("+c0 ");
	assert_true(clv_pods_find(us.pods, "u1")->cgroup);

	/* An interface that comes now is none of its places: no packet is seen twice. */
	host.container[0].nsid = 7;
	const struct clv_link l = host_links(13, "veth13", 7);
	clv_pods_link(us.pods, &l, false);
	pass(3000);
	assert_done("");

	clv_pods_lost(us.pods, CLV_NET_CGROUP); /* its cgroup is made anew */
	pass(100);
	assert_done("+13 ");
	assert_false(clv_pods_find(us.pods, "u1")->cgroup);
}

static void test_interfaces_alone(void **state)
{
	start(CLV_POD_INTERFACE);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", -1);
	tell(&pod);
	pass(4000);
	assert_done("");
	assert_pod("u1", CLV_POD_NOWHERE, "no interface of this host leads to it");
	assert_true(clv_pods_settled(us.pods));

	/* One that comes late is found nevertheless. */
	host.container[0].nsid = 7;
	const struct clv_link l = host_links(12, "veth12", 7);
	clv_pods_link(us.pods, &l, false);
	pass(100);
	assert_done("+12 ");
}

static void test_trouble_with_links(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host.list_err = -EINTR; /* some may be missing */
	tell(&pod);
	pass(5000);
	assert_done(""); /* not its cgroup: it is not known that no interface leads to it */
	host_links(12, "veth12", 7);
	pass(1100);
	assert_done("+12 "); /* what is there is taken */
}

static void test_trouble_with_processes(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	host.scan_err = -EMFILE;
	tell(&pod);
	pass(3000);
	assert_done("");
	host.scan_err = 0;
	pass(1100);
	assert_done("+12 ");
}

/* ---- cgroups -------------------------------------------------------------------------------------------------------
 */

static void test_host_network(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_AUTO);
	host_runs("u1", "c1", -1)->host_network = true;
	pod.host_network = true;
	tell(&pod);
	pass(50);
	assert_done("+c0 ");
	clv_pods_pod(us.pods, &pod, true);
	assert_done("-c0 ");

	/* A number is not used again. */
	tell(&pod);
	pass(50);
	assert_done("+c1 ");
}

static void test_host_network_unseen(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_AUTO);
	host_runs("u1", "c1", -1)->netns = 0;
	pod.host_network = true;
	tell(&pod);
	pass(50);
	assert_done("+c0 ");
}

static void test_host_network_by_interfaces(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_INTERFACE);
	host_runs("u1", "c1", -1)->host_network = true;
	pod.host_network = true;
	tell(&pod);
	pass(50);
	assert_done("");
	assert_pod("u1", CLV_POD_NOWHERE, "it has the host's network");
}

static void test_being_made(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", -1)->host_network = true; /* as yet */
	tell(&pod);
	pass(5000);
	assert_done("");
	assert_pod("u1", CLV_POD_SOUGHT, "its network is being made");
	host.containers = 0;
	host_runs("u1", "c1", 7);
	const struct clv_link l = host_links(12, "veth12", 7);
	clv_pods_link(us.pods, &l, false);
	pass(50);
	assert_done("+12 ");
}

static void test_cgroups_alone(void **state)
{
	start(CLV_POD_CGROUP);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	const struct clv_link l = host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	clv_pods_link(us.pods, &l, false);
	pass(50);
	assert_done("+c0 ");
}

static void test_no_cgroup(void **state)
{
	start(CLV_POD_CGROUP);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7)->cgroup = "";
	tell(&pod);
	pass(50);
	assert_done("");
	assert_pod("u1", CLV_POD_NOWHERE, "no cgroup v2 of it is visible");
}

static void test_redirected(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host_links(12, "lxc12", 7);
	host_links(3, "cilium_host", -1);
	tell(&pod);
	pass(50);
	assert_done("+c0 ");
}

static void test_refused(void **state)
{
	start(CLV_POD_CGROUP);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	us.refuse = true;
	host_runs("u1", "c1", 7);
	tell(&pod);
	pass(50);
	assert_pod("u1", CLV_POD_NOWHERE, "its cgroup could not be attached to");
	us.refuse = false;
	tell(&pod);
	pass(50);
	assert_done("+c1 ");
}

static void test_failed(void **state)
{
	start(CLV_POD_AUTO);
	const struct clv_kube_pod pod = pod_named("u1", "shop");

	host_runs("u1", "c1", 7);
	host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	assert_done("+12 ");
	clv_pods_failed(us.pods, 12);
	assert_pod("u1", CLV_POD_NOWHERE, "the log says why");
	pass(3000);
	assert_done("");
	tell(&pod); /* with its next news */
	pass(50);
	assert_done("-12 +12 ");
	assert_pod("u1", CLV_POD_PLACED, NULL);

	clv_pods_failed(us.pods, 12);
	pass(59000);
	assert_done("");
	pass(2000); /* or without, after a minute */
	assert_done("-12 +12 ");
	clv_pods_failed(us.pods, 12);
	pass(119000);
	assert_done("");
	pass(2000); /* then two */
	assert_done("-12 +12 ");
	assert_pod("u1", CLV_POD_PLACED, NULL);
}

/* ---- by address ----------------------------------------------------------------------------------------------------
 */

static void has_address(struct clv_kube_pod *pod, int32_t nsid)
{
	assert_int_equal(clv_addr_parse("10.244.1.7", &host.address), 0);
	host.address_nsid = nsid;
	pod->ip = &host.address;
	pod->ip_count = 1;
}

static void test_by_address(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_AUTO);
	host.trouble = "hostPID is missing";
	has_address(&pod, -1);
	host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	assert_pod("u1", CLV_POD_SOUGHT, "hostPID is missing");
	host.address_nsid = 7;
	pass(1000);
	assert_done("+12 ");
}

static void test_by_address_without_ptrace(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	start(CLV_POD_AUTO);
	host_runs("u1", "c1", -1)->netns = 0;
	has_address(&pod, 7);
	host_links(12, "veth12", 7);
	tell(&pod);
	pass(50);
	assert_done("+12 ");
}

static void test_not_by_address(void **state)
{
	struct clv_kube_pod pod = pod_named("u1", "shop");

	/* The node's address is not the pod's own. */
	start(CLV_POD_AUTO);
	has_address(&pod, 7);
	host_links(12, "veth12", 7);
	pod.host_network = true;
	tell(&pod);
	pass(3000);
	assert_done("");
	end(state);

	/* Its interface sees half of its packets. */
	start(CLV_POD_AUTO);
	pod.host_network = false;
	has_address(&pod, 7);
	host_links(12, "lxc12", 7);
	host_links(3, "cilium_host", -1);
	host.trouble = "hostPID is missing";
	tell(&pod);
	pass(3000);
	assert_done("");
	assert_pod("u1", CLV_POD_SOUGHT, "hostPID is missing");
}

/* ---- without a cluster ---------------------------------------------------------------------------------------------
 */

static void on_name_of(void *ctx, const struct clv_podnet_container *c, char name[256])
{
	snprintf(name, 256, "name-%.200s", c->name.container);
}

static void scan(void)
{
	clv_pods_containers(us.pods, "self", on_name_of, NULL);
	pass(50);
}

static void test_lone_containers(void **state)
{
	start(CLV_POD_AUTO);
	host_runs("", "self", 5);
	host_runs("", "c1", 7);
	host_links(11, "veth11", 5);
	host_links(12, "veth12", 7);
	scan();
	assert_done("+12 ");
	assert_string_equal(clv_pods_find(us.pods, "c1")->label, "name-c1");
	assert_null(clv_pods_find(us.pods, "self"));
	scan();
	assert_done("");

	host_runs("", "c2", 8);
	host_links(13, "veth13", 8);
	scan();
	assert_done("+13 ");
	host.containers = 2; /* self and c1 */
	scan();
	assert_done("-13 ");
	assert_null(clv_pods_find(us.pods, "c2"));
}

static void test_lone_on_the_host(void **state)
{
	start(CLV_POD_AUTO);
	host_runs("", "c1", -1)->host_network = true; /* being made, or for good: time tells */
	scan();
	pass(1500);
	assert_done("");
	pass(1600);
	assert_done("+c0 ");
}

static void test_lone_that_share(void **state)
{
	start(CLV_POD_AUTO);
	host_runs("", "c1", 7);
	host_runs("", "c2", 7);
	host_links(12, "veth12", 7);
	scan();
	pass(3000);
	assert_done("+12 "); /* and not at the other one's cgroup, too */
	assert_pod("c2", CLV_POD_NOWHERE, "its network is that of another container");

	host.container[0] = host.container[1];
	host.containers = 1;
	scan();
	pass(100);
	assert_done("-12 +12 ");
	assert_pod("c2", CLV_POD_PLACED, NULL);
}

static void test_lone_that_share_a_cgroup(void **state)
{
	start(CLV_POD_CGROUP);
	host_runs("", "c1", 7);
	host_runs("", "c2", 7)->cgroup_inode = host.container[0].cgroup_inode;
	scan();
	pass(100);
	assert_done("+c0 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_not_selected, end),
		cmocka_unit_test_teardown(test_found_at_once, end),
		cmocka_unit_test_teardown(test_found_by_container, end),
		cmocka_unit_test_teardown(test_found_later, end),
		cmocka_unit_test_teardown(test_news_is_looked_at_soon, end),
		cmocka_unit_test_teardown(test_other_rules, end),
		cmocka_unit_test_teardown(test_ended, end),
		cmocka_unit_test_teardown(test_several_interfaces, end),
		cmocka_unit_test_teardown(test_too_many_interfaces, end),
		cmocka_unit_test_teardown(test_link_gone, end),
		cmocka_unit_test_teardown(test_deleted, end),
		cmocka_unit_test_teardown(test_no_link, end),
		cmocka_unit_test_teardown(test_interfaces_alone, end),
		cmocka_unit_test_teardown(test_trouble_with_links, end),
		cmocka_unit_test_teardown(test_trouble_with_processes, end),
		cmocka_unit_test_teardown(test_host_network, end),
		cmocka_unit_test_teardown(test_host_network_unseen, end),
		cmocka_unit_test_teardown(test_host_network_by_interfaces, end),
		cmocka_unit_test_teardown(test_being_made, end),
		cmocka_unit_test_teardown(test_cgroups_alone, end),
		cmocka_unit_test_teardown(test_no_cgroup, end),
		cmocka_unit_test_teardown(test_redirected, end),
		cmocka_unit_test_teardown(test_refused, end),
		cmocka_unit_test_teardown(test_failed, end),
		cmocka_unit_test_teardown(test_by_address, end),
		cmocka_unit_test_teardown(test_by_address_without_ptrace, end),
		cmocka_unit_test_teardown(test_not_by_address, end),
		cmocka_unit_test_teardown(test_news_of_a_large_host, end),
		cmocka_unit_test_teardown(test_lone_containers, end),
		cmocka_unit_test_teardown(test_lone_on_the_host, end),
		cmocka_unit_test_teardown(test_lone_that_share, end),
		cmocka_unit_test_teardown(test_lone_that_share_a_cgroup, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
