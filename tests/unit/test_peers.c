/* SPDX-License-Identifier: Apache-2.0 */
/* What a span says of its peer, and spans that wait for a name: for how long, how many, what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/peers.h"
#include "kube_text.h"

#define MS 1000000ull

struct world {
	struct clv_cluster *cluster;
	struct clv_resources *resources;
	struct clv_peers *peers;
	size_t count;    /* spans that came out */
	char last[1024]; /* the last one's name and attributes of its peer */
	char order[8192];
	char service[64]; /* its resource's */
};

static void on_span(void *ctx, struct clv_span *span)
{
	struct world *w = ctx;
	const struct clv_resource *r = span->resource ? span->resource : clv_resources_get(w->resources, span->net);
	size_t used =
		(size_t)snprintf(w->last, sizeof(w->last), "%.*s", (int)span->name.len, (const char *)span->name.data);

	for (unsigned i = 0; i < span->attr_count; i++) {
		const char *name = clv_attr_name((enum clv_attr_key)span->attr[i].key);

		if (strstr(name, "peer."))
			used += (size_t)snprintf(w->last + used, sizeof(w->last) - used, " %s=%.*s", name,
						 (int)span->attr[i].s.len, (const char *)span->attr[i].s.data);
	}
	snprintf(w->service, sizeof(w->service), "%.*s", (int)r->attr[0].value.len,
		 (const char *)r->attr[0].value.data);
	used = strlen(w->order);
	snprintf(w->order + used, sizeof(w->order) - used, "%.*s ", (int)span->name.len, (const char *)span->name.data);
	w->count++;
}

static void on_gone(void *ctx, uint32_t id)
{
	struct world *w = ctx;

	clv_peers_gone(w->peers, id);
}

static void say(struct world *w, enum clv_kube_event_type type, enum clv_kube_kind kind, const char *text)
{
	struct clv_kube_event event = {.type = type, .kind = kind, .object = text ? kube_object(kind, text) : NULL};

	clv_cluster_event(w->cluster, &event);
}

static const char *const node = "{'metadata': {'name': 'node1'}, 'spec': {'podCIDRs': ['10.244.1.0/24']},"
				" 'status': {'addresses': [{'type': 'InternalIP', 'address': '192.168.7.1'}]}}";
static const char *const pod =
	"{'metadata': {'name': 'db-0', 'namespace': 'shop', 'uid': 'u', 'ownerReferences': [{'kind': 'StatefulSet',"
	" 'name': 'db', 'uid': 's', 'controller': true}]}, 'spec': {'nodeName': 'node1'}, 'status': {'phase': "
	"'Running',"
	" 'podIP': '10.244.1.9'}}";
static const char *const service = "{'metadata': {'name': 'web', 'namespace': 'shop'}, 'spec': {'clusterIP': "
				   "'10.96.0.10', 'ports': [{'port': 80}]}}";

static void begin(struct world *w)
{
	struct clv_peers_config config = {.wait_ns = 500 * MS, .emit = on_span, .ctx = w};

	*w = (struct world){0};
	assert_int_equal(clv_cluster_new(&(struct clv_cluster_config){.node = "node1"}, &w->cluster), 0);
	assert_int_equal(clv_resources_new(CLV_LIT("nobody"), NULL, 0, &w->resources), 0);
	assert_int_equal(clv_resources_set(w->resources, 1, CLV_LIT("shop"), NULL, 0), 0);
	config.cluster = w->cluster;
	config.resources = w->resources;
	assert_int_equal(clv_peers_new(&config, &w->peers), 0);
	clv_resources_watch(w->resources, on_gone, w);
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++)
		say(w, CLV_KUBE_LISTED, (enum clv_kube_kind)kind, NULL);
	say(w, CLV_KUBE_SET, CLV_KUBE_NODE, node);
	clv_peers_tick(w->peers, 1000 * MS);
}

static void end(struct world *w)
{
	clv_peers_free(w->peers);
	clv_resources_free(w->resources);
	clv_cluster_free(w->cluster);
}

/* A span of that name whose peer, client or server, has this address; its strings are gone after the call. */
static void span_from(struct world *w, enum clv_span_kind kind, const char *name, const char *peer, uint16_t port)
{
	static struct clv_span s;
	char *own = strdup(name);

	memset(&s, 0, sizeof(s));
	s.kind = kind;
	s.net = 1;
	s.name = clv_slice_str(own);
	s.client.addr = s.server.addr = ip("10.244.1.2");
	if (kind == CLV_KIND_CLIENT)
		s.server = (struct clv_endpoint){ip(peer), port};
	else
		s.client = (struct clv_endpoint){ip(peer), port};
	clv_span_int(&s, CLV_ATTR_SERVER_PORT, 80);
	clv_peers_span(w->peers, &s);
	memset(own, '#', strlen(own));
	free(own);
}

static uint64_t figure(const struct world *w, const char *name)
{
	struct clv_figure figures[CLV_PEERS_FIGURES];
	size_t n = clv_peers_figures(w->peers, figures);

	for (size_t i = 0; i < n; i++)
		if (strcmp(figures[i].name, name) == 0)
			return figures[i].value;
	fail_msg("no figure %s", name);
	return 0;
}

static void test_what_is_known_goes_out_at_once(void **state)
{
	struct world w;

	begin(&w);
	say(&w, CLV_KUBE_SET, CLV_KUBE_POD, pod);
	say(&w, CLV_KUBE_SET, CLV_KUBE_SERVICE, service);
	span_from(&w, CLV_KIND_SERVER, "a", "10.244.1.9", 40000);
	assert_string_equal(w.last, "a clovisor.peer.kind=pod service.peer.name=db service.peer.namespace=shop"
				    " clovisor.peer.k8s.namespace.name=shop clovisor.peer.k8s.pod.name=db-0"
				    " clovisor.peer.k8s.node.name=node1 clovisor.peer.k8s.workload.kind=StatefulSet"
				    " clovisor.peer.k8s.workload.name=db");
	span_from(&w, CLV_KIND_CLIENT, "b", "10.96.0.10", 80);
	assert_string_equal(w.last, "b clovisor.peer.kind=service service.peer.name=web service.peer.namespace=shop"
				    " clovisor.peer.k8s.namespace.name=shop clovisor.peer.k8s.service.name=web");
	span_from(&w, CLV_KIND_SERVER, "c", "10.244.1.1", 40000);
	assert_string_equal(w.last, "c clovisor.peer.kind=node clovisor.peer.k8s.node.name=node1");
	span_from(&w, CLV_KIND_CLIENT, "d", "8.8.8.8", 443);
	assert_string_equal(w.last, "d clovisor.peer.kind=external");
	span_from(&w, CLV_KIND_CLIENT, "e", "127.0.0.6", 80);
	assert_string_equal(w.last, "e");
	span_from(&w, CLV_KIND_CLIENT, "f", "::1", 80);
	assert_string_equal(w.last, "f");
	assert_int_equal(w.count, 6);
	assert_int_equal(figure(&w, "kube_waited"), 0);
	assert_int_equal(figure(&w, "kube_unnamed"), 0);
	end(&w);
}

static void test_a_name_comes_late(void **state)
{
	struct world w;

	begin(&w);
	span_from(&w, CLV_KIND_CLIENT, "late", "10.244.1.9", 5432);
	span_from(&w, CLV_KIND_CLIENT, "other", "8.8.8.8", 443); /* it need not wait for others */
	assert_string_equal(w.order, "other ");
	assert_int_equal(figure(&w, "kube_waiting"), 1);
	clv_peers_tick(w.peers, 1300 * MS);
	assert_int_equal(w.count, 1);
	say(&w, CLV_KUBE_SET, CLV_KUBE_POD, pod);
	assert_int_equal(w.count, 1);
	clv_peers_tick(w.peers, 1310 * MS);
	assert_string_equal(w.order, "other late ");
	assert_non_null(strstr(w.last, "clovisor.peer.k8s.pod.name=db-0"));
	assert_string_equal(w.service, "shop");
	assert_int_equal(figure(&w, "kube_waiting"), 0);
	assert_int_equal(figure(&w, "kube_waited"), 1);
	assert_int_equal(figure(&w, "kube_unnamed"), 0);
	end(&w);
}

static void test_a_name_does_not_come(void **state)
{
	struct world w;

	begin(&w);
	span_from(&w, CLV_KIND_CLIENT, "a", "10.244.1.9", 5432);
	clv_peers_tick(w.peers, 1200 * MS);
	span_from(&w, CLV_KIND_CLIENT, "b", "10.244.1.9", 5432);
	clv_peers_tick(w.peers, 1499 * MS);
	assert_int_equal(w.count, 0);
	clv_peers_tick(w.peers, 1500 * MS);
	assert_string_equal(w.order, "a ");
	assert_string_equal(w.last, "a clovisor.peer.kind=unknown clovisor.peer.k8s.node.name=node1");
	span_from(&w, CLV_KIND_CLIENT, "c", "10.244.1.9", 5432); /* in vain once: not again */
	assert_string_equal(w.order, "a c ");
	span_from(&w, CLV_KIND_CLIENT, "d", "10.244.1.10", 5432);
	assert_int_equal(w.count, 2);
	clv_peers_tick(w.peers, 2000 * MS);
	assert_string_equal(w.order, "a c b d ");
	assert_int_equal(figure(&w, "kube_unnamed"), 4);
	/* Its name, when it comes, counts at once; later it may be waited for again. */
	say(&w, CLV_KUBE_SET, CLV_KUBE_POD, pod);
	span_from(&w, CLV_KIND_CLIENT, "e", "10.244.1.9", 5432);
	assert_non_null(strstr(w.last, "e clovisor.peer.kind=pod"));
	say(&w, CLV_KUBE_GONE, CLV_KUBE_POD, pod);
	clv_peers_tick(w.peers, 2000 * MS + CLV_PEERS_VAIN_NS);
	span_from(&w, CLV_KIND_CLIENT, "f", "10.244.1.9", 5432);
	assert_int_equal(w.count, 5);
	assert_int_equal(figure(&w, "kube_waiting"), 1);
	clv_peers_flush(w.peers);
	assert_int_equal(w.count, 6);
	end(&w);
}

static void test_many_names_do_not_come(void **state)
{
	struct world w;
	char addr[CLV_ADDR_TEXT];

	begin(&w);
	say(&w, CLV_KUBE_SET, CLV_KUBE_NODE,
	    "{'metadata': {'name': 'node2'}, 'spec': {'podCIDRs': ['10.250.0.0/16']}}");
	for (int i = 0; i < 2000; i++) {
		if (i == 1000)
			clv_peers_tick(w.peers, 1500 * MS);
		snprintf(addr, sizeof(addr), "10.250.%d.%d", i % 1000 / 250, i % 250 + 2);
		span_from(&w, CLV_KIND_SERVER, "", addr, 40000);
	}
	assert_in_range(figure(&w, "kube_waited"), 1000, 1250);
	assert_in_range(w.count, 1750, 2000);
	end(&w);
}

static void test_a_resource_goes(void **state)
{
	struct world w;

	begin(&w);
	span_from(&w, CLV_KIND_CLIENT, "a", "10.244.1.9", 5432);
	assert_int_equal(clv_resources_set(w.resources, 2, CLV_LIT("bank"), NULL, 0), 0);
	assert_int_equal(w.count, 0);
	assert_int_equal(clv_resources_set(w.resources, 1, CLV_LIT("shop2"), NULL, 0), 0); /* another takes its place */
	assert_string_equal(w.order, "a ");
	assert_string_equal(w.service, "shop");
	span_from(&w, CLV_KIND_CLIENT, "b", "10.244.1.10", 5432);
	clv_resources_remove(w.resources, 2);
	assert_int_equal(w.count, 1);
	clv_resources_remove(w.resources, 1);
	assert_string_equal(w.order, "a b ");
	assert_string_equal(w.service, "shop2");
	end(&w);
}

static void test_bounded(void **state)
{
	static char text[CLV_PEERS_BYTES / 1024];
	struct world w;

	begin(&w);
	for (unsigned i = 0; i < CLV_PEERS_WAITING + 3; i++)
		span_from(&w, CLV_KIND_CLIENT, i < 3 ? "first" : "x", "10.244.1.9", 5432);
	assert_string_equal(w.order, "first first first ");
	assert_int_equal(figure(&w, "kube_waiting"), CLV_PEERS_WAITING);
	assert_int_equal(figure(&w, "kube_hurried"), 3);
	memset(text, 'n', sizeof(text) - 1);
	for (unsigned i = 0; i < CLV_PEERS_WAITING; i++)
		span_from(&w, CLV_KIND_CLIENT, text, "10.244.1.9", 5432);
	assert_in_range(figure(&w, "kube_waiting"), 500, 1024);
	clv_peers_flush(w.peers);
	assert_int_equal(w.count, 2 * CLV_PEERS_WAITING + 3); /* none is lost */
	span_from(&w, CLV_KIND_CLIENT, "x", "10.244.1.9", 5432);
	end(&w); /* with one that waits */
	clv_peers_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_known_goes_out_at_once),
		cmocka_unit_test(test_a_name_comes_late),
		cmocka_unit_test(test_a_name_does_not_come),
		cmocka_unit_test(test_many_names_do_not_come),
		cmocka_unit_test(test_a_resource_goes),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
