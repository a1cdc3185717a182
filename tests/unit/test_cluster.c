/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the cluster: whose address, what a pod's telemetry is called, what its ports speak, when who is
 * told. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/cluster.h"
#include "kube_text.h"
#include "proto/proto.h"

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* What the cluster's owner was told, one after another: "+web-1 " is set, "-web-1 " gone. */
static char told[4096];

static void on_pod(void *ctx, const struct clv_kube_pod *pod, bool gone)
{
	size_t used = strlen(told);

	snprintf(told + used, sizeof(told) - used, "%c%s ", gone ? '-' : '+', pod->head.name);
}

static struct clv_cluster *new_cluster(const struct clv_cluster_config *with)
{
	struct clv_cluster_config config = with ? *with : (struct clv_cluster_config){.node = "node1"};
	struct clv_cluster *c;

	told[0] = '\0';
	config.pod = on_pod;
	assert_int_equal(clv_cluster_new(&config, &c), 0);
	return c;
}

static void say(struct clv_cluster *c, enum clv_kube_event_type type, enum clv_kube_kind kind)
{
	struct clv_kube_event event = {.type = type, .kind = kind, .why = "because"};

	clv_cluster_event(c, &event);
}

static void set(struct clv_cluster *c, enum clv_kube_kind kind, const char *text)
{
	struct clv_kube_event event = {.type = CLV_KUBE_SET, .kind = kind, .object = kube_object(kind, text)};

	clv_cluster_event(c, &event);
	assert_null(event.object);
}

static void gone(struct clv_cluster *c, enum clv_kube_kind kind, const char *text)
{
	struct clv_kube_event event = {.type = CLV_KUBE_GONE, .kind = kind, .object = kube_object(kind, text)};

	clv_cluster_event(c, &event);
}

/* All lists have been told, empty or as they are. */
static void sync_all(struct clv_cluster *c)
{
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++)
		say(c, CLV_KUBE_LISTED, (enum clv_kube_kind)kind);
}

/* A pod of a node: its metadata besides name, namespace "shop" and uid, its address. */
static const char *pod_text(const char *name, const char *uid, const char *node, const char *meta, const char *addr)
{
	static char text[4096];

	snprintf(text, sizeof(text),
		 "{'metadata': {'name': '%s', 'namespace': 'shop', 'uid': '%s'%s%s},"
		 " 'spec': {'nodeName': '%s', 'containers': [{'name': 'app'}]},"
		 " 'status': {'phase': 'Running', 'podIPs': [{'ip': '%s'}]}}",
		 name, uid, *meta ? ", " : "", meta, node, addr);
	return text;
}

static const char *const replicaset =
	"{'metadata': {'name': 'web-5d4f8c7b9', 'namespace': 'shop', 'uid': 'rs-1', 'ownerReferences':"
	" [{'kind': 'Deployment', 'name': 'web', 'uid': 'd-1', 'controller': true}]}}";
#define OWNER(kind, name, uid) \
	"'ownerReferences': [{'kind': '" kind "', 'name': '" name "', 'uid': '" uid "', 'controller': true}]"
#define BY_REPLICASET OWNER("ReplicaSet", "web-5d4f8c7b9", "rs-1")

/* "pod shop/web-1 node1 Deployment/web web": kind, namespace/pod, service, node, workload, service.name. */
static const char *peer(const struct clv_cluster *c, const char *addr, uint16_t port)
{
	static const char *const kinds[] = {"unknown", "pod", "service", "node", "external"};
	static char text[1024];
	struct clv_addr a = ip(addr);
	struct clv_peer p = clv_cluster_peer(c, &a, port);

#define S(s) (int)(s).len, (const char *)(s).data
	snprintf(text, sizeof(text), "%s ns=%.*s pod=%.*s svc=%.*s node=%.*s of=%.*s/%.*s name=%.*s/%.*s",
		 kinds[p.kind], S(p.namespace), S(p.pod), S(p.service), S(p.node), S(p.workload_kind), S(p.workload),
		 S(p.service_namespace), S(p.service_name));
#undef S
	return text;
}

/* ---- pods of this node ------------------------------------------------------------------------------------------- */

static void test_pods_are_told(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	set(c, CLV_KUBE_POD, pod_text("web-1", "u1", "node1", BY_REPLICASET, "10.244.1.2"));
	set(c, CLV_KUBE_POD, pod_text("web-2", "u2", "node2", BY_REPLICASET, "10.244.2.2")); /* another's */
	set(c, CLV_KUBE_POD, pod_text("web-1", "u1", "node1", BY_REPLICASET, "10.244.1.2"));
	assert_string_equal(told, "+web-1 +web-1 ");
	assert_non_null(clv_cluster_pod(c, "u1"));
	assert_null(clv_cluster_pod(c, "u2"));
	assert_null(clv_cluster_pod(c, "u3"));

	told[0] = '\0'; /* whose its ReplicaSet is: its names change */
	set(c, CLV_KUBE_REPLICASET, replicaset);
	assert_string_equal(told, "+web-1 ");
	set(c, CLV_KUBE_REPLICASET, replicaset); /* nothing new */
	assert_string_equal(told, "+web-1 ");

	told[0] = '\0'; /* the same name again, another pod */
	set(c, CLV_KUBE_POD, pod_text("web-1", "u9", "node1", "", "10.244.1.9"));
	assert_string_equal(told, "-web-1 +web-1 ");
	assert_null(clv_cluster_pod(c, "u1"));
	told[0] = '\0'; /* the end of the first one is told late */
	gone(c, CLV_KUBE_POD, pod_text("web-1", "u1", "node1", "", "10.244.1.2"));
	assert_string_equal(told, "");
	gone(c, CLV_KUBE_POD, pod_text("web-1", "u9", "node1", "", "10.244.1.2"));
	gone(c, CLV_KUBE_POD, pod_text("web-2", "u2", "node2", "", "10.244.2.2"));
	gone(c, CLV_KUBE_POD, pod_text("never", "u7", "node1", "", "10.244.2.2"));
	assert_string_equal(told, "-web-1 ");
	clv_cluster_free(c);
}

static void test_a_new_list_sweeps(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	say(c, CLV_KUBE_LISTING, CLV_KUBE_POD);
	set(c, CLV_KUBE_POD, pod_text("a", "ua", "node1", "", "10.244.1.2"));
	set(c, CLV_KUBE_POD, pod_text("b", "ub", "node1", "", "10.244.1.3"));
	set(c, CLV_KUBE_POD, pod_text("far", "uf", "node2", "", "10.244.2.3"));
	set(c, CLV_KUBE_SERVICE,
	    "{'metadata': {'name': 's', 'namespace': 'shop'}, 'spec': {'clusterIP': '10.96.0.9'}}");
	say(c, CLV_KUBE_LISTED, CLV_KUBE_POD);
	told[0] = '\0';
	say(c, CLV_KUBE_LISTING, CLV_KUBE_POD);
	say(c, CLV_KUBE_LISTING, CLV_KUBE_POD); /* it began anew */
	set(c, CLV_KUBE_POD, pod_text("b", "ub", "node1", "", "10.244.1.3"));
	assert_non_null(clv_cluster_pod(c, "ua")); /* until the end of the list */
	say(c, CLV_KUBE_LISTED, CLV_KUBE_POD);
	assert_string_equal(told, "+b -a ");
	assert_null(clv_cluster_pod(c, "ua"));
	assert_string_equal(peer(c, "10.244.2.3", 0), "unknown ns= pod= svc= node= of=/ name=/");
	assert_string_equal(peer(c, "10.96.0.9", 0), "service ns=shop pod= svc=s node= of=/ name=shop/s");
	clv_cluster_free(c);
}

static void count(void *ctx, const struct clv_kube_pod *pod)
{
	*(unsigned *)ctx += 1;
}

static void test_synced_and_in_trouble(void **state)
{
	struct clv_cluster *c = new_cluster(&(struct clv_cluster_config){
		.node = "node1", .kinds = 1u << CLV_KUBE_POD | 1u << CLV_KUBE_SERVICE | 1u << CLV_KUBE_NODE});
	struct clv_figure figures[CLV_CLUSTER_FIGURES];
	unsigned pods = 0;

	assert_false(clv_cluster_synced(c));
	say(c, CLV_KUBE_LISTED, CLV_KUBE_POD);
	say(c, CLV_KUBE_TROUBLE, CLV_KUBE_SERVICE);
	say(c, CLV_KUBE_DENIED, CLV_KUBE_NODE);
	assert_false(clv_cluster_synced(c));
	assert_string_equal(clv_cluster_trouble(c, CLV_KUBE_SERVICE), "because");
	assert_string_equal(clv_cluster_trouble(c, CLV_KUBE_POD), "");
	say(c, CLV_KUBE_WORKING, CLV_KUBE_SERVICE);
	say(c, CLV_KUBE_LISTED, CLV_KUBE_SERVICE);
	assert_string_equal(clv_cluster_trouble(c, CLV_KUBE_SERVICE), "");
	assert_string_equal(clv_cluster_trouble(c, CLV_KUBE_NODE), "because");
	assert_true(clv_cluster_synced(c));
	set(c, CLV_KUBE_POD, pod_text("a", "ua", "node1", "", "10.244.1.2"));
	set(c, CLV_KUBE_POD, pod_text("b", "ub", "node2", "", "10.244.2.2"));
	clv_cluster_pods(c, count, &pods);
	assert_int_equal(pods, 1);
	assert_true(clv_cluster_figures(c, figures) <= CLV_CLUSTER_FIGURES);
	assert_string_equal(figures[0].name, "kube_pods");
	assert_int_equal(figures[0].value, 1);
	clv_cluster_free(c);
	clv_cluster_free(NULL);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static const char *const web_service =
	"{'metadata': {'name': 'web', 'namespace': 'shop', 'uid': 's-1'}, 'spec': {'clusterIP': '10.96.0.10',"
	" 'clusterIPs': ['10.96.0.10', 'fd00:10:96::10'], 'externalIPs': ['192.168.7.1'], 'selector': {'app': 'web'},"
	" 'ports': [{'port': 80, 'targetPort': 8080}]}}";
static const char *const web_slice =
	"{'metadata': {'name': 'web-abc', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'web'}},"
	" 'endpoints': ["
	"{'addresses': ['10.244.2.2'], 'nodeName': 'node2', 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b9-aaaaa',"
	"  'uid': 'u2'}},"
	"{'addresses': ['10.244.1.2'], 'nodeName': 'node1', 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b9-bbbbb',"
	"  'uid': 'u1'}}]}";
static const char *const node1 = "{'metadata': {'name': 'node1'}, 'spec': {'podCIDRs': ['10.244.1.0/24']},"
				 " 'status': {'addresses': [{'type': 'InternalIP', 'address': '192.168.7.1'}]}}";

static void test_whose_address(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	set(c, CLV_KUBE_SERVICE, web_service);
	set(c, CLV_KUBE_ENDPOINTSLICE, web_slice);
	set(c, CLV_KUBE_NODE, node1);
	sync_all(c);

	/* Another node's pod: by its EndpointSlice alone, then by its ReplicaSet's name. */
	assert_string_equal(peer(c, "10.244.2.2", 8080),
			    "pod ns=shop pod=web-5d4f8c7b9-aaaaa svc=web node=node2 of=/ name=/");
	assert_string_equal(peer(c, "10.96.0.10", 80), "service ns=shop pod= svc=web node= of=/ name=shop/web");
	set(c, CLV_KUBE_REPLICASET, replicaset);
	assert_string_equal(peer(c, "10.244.2.2", 8080),
			    "pod ns=shop pod=web-5d4f8c7b9-aaaaa svc=web node=node2 of=Deployment/web name=shop/web");
	/* This node's pod: by itself. */
	set(c, CLV_KUBE_POD,
	    pod_text("web-5d4f8c7b9-bbbbb", "u1", "node1",
		     BY_REPLICASET ", 'annotations': {'resource.opentelemetry.io/service.name': 'shop-web'}",
		     "10.244.1.2"));
	assert_string_equal(
		peer(c, "10.244.1.2", 40000),
		"pod ns=shop pod=web-5d4f8c7b9-bbbbb svc=web node=node1 of=Deployment/web name=shop/shop-web");

	/* A Service's addresses; a port that is not its own makes no difference unless somebody else has it. */
	assert_string_equal(peer(c, "fd00:10:96::10", 80), "service ns=shop pod= svc=web node= of=/ name=shop/web");
	assert_string_equal(peer(c, "10.96.0.10", 81), "service ns=shop pod= svc=web node= of=/ name=shop/web");
	assert_string_equal(peer(c, "192.168.7.1", 80), "service ns=shop pod= svc=web node= of=/ name=shop/web");
	assert_string_equal(peer(c, "192.168.7.1", 0), "node ns= pod= svc= node=node1 of=/ name=/"); /* a client */
	assert_string_equal(peer(c, "192.168.7.1", 10250), "node ns= pod= svc= node=node1 of=/ name=/");

	/* Nobody's; the node's own in its range. */
	assert_string_equal(peer(c, "10.244.1.77", 80), "unknown ns= pod= svc= node=node1 of=/ name=/");
	assert_string_equal(peer(c, "10.244.1.0", 0), "node ns= pod= svc= node=node1 of=/ name=/");
	assert_string_equal(peer(c, "10.244.1.1", 0), "node ns= pod= svc= node=node1 of=/ name=/");
	assert_string_equal(peer(c, "10.244.2.1", 0), "unknown ns= pod= svc= node= of=/ name=/");
	assert_string_equal(peer(c, "192.168.7.2", 80), "external ns= pod= svc= node= of=/ name=/");
	assert_string_equal(peer(c, "8.8.8.8", 53), "external ns= pod= svc= node= of=/ name=/");
	clv_cluster_free(c);
}

static void test_a_services_name_is_that_of_those_behind_it(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	set(c, CLV_KUBE_SERVICE,
	    "{'metadata': {'name': 'front', 'namespace': 'shop'}, 'spec':"
	    " {'clusterIP': '10.96.0.10'}}");
	assert_string_equal(peer(c, "10.96.0.10", 0), "service ns=shop pod= svc=front node= of=/ name=shop/front");
	set(c, CLV_KUBE_ENDPOINTSLICE,
	    "{'metadata': {'name': 'front-1', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'front'}},"
	    " 'endpoints': [{'addresses': ['10.244.2.2'], 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b9-aaaaa'}},"
	    "               {'addresses': ['10.244.2.3'], 'targetRef': {'kind': 'Pod', 'name': 'other-0'}}]}");
	assert_string_equal(peer(c, "10.96.0.10", 0), "service ns=shop pod= svc=front node= of=/ name=shop/front");
	set(c, CLV_KUBE_REPLICASET, replicaset);
	assert_string_equal(peer(c, "10.96.0.10", 0), "service ns=shop pod= svc=front node= of=/ name=shop/web");
	/* They do not agree. */
	set(c, CLV_KUBE_POD, pod_text("other-0", "u5", "node1", OWNER("StatefulSet", "other", "st"), "10.244.2.3"));
	assert_string_equal(peer(c, "10.96.0.10", 0), "service ns=shop pod= svc=front node= of=/ name=shop/front");
	clv_cluster_free(c);
}

/* Of those on other nodes only one of each set is looked at: the others are called the same. */
static void test_a_services_name_by_pods_of_other_nodes(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	set(c, CLV_KUBE_SERVICE,
	    "{'metadata': {'name': 'front', 'namespace': 'shop'}, 'spec': {'clusterIP': '10.96.0.10'}}");
	set(c, CLV_KUBE_REPLICASET, replicaset);
	set(c, CLV_KUBE_REPLICASET,
	    "{'metadata': {'name': 'web-5d4f8c7b', 'namespace': 'shop', 'uid': 'rs2', " OWNER("Deployment", "next",
											      "d2") "}}");
	set(c, CLV_KUBE_ENDPOINTSLICE,
	    "{'metadata': {'name': 'front-1', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'front'}},"
	    " 'endpoints': ["
	    "  {'nodeName': 'node2', 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b9-aaaaa'}},"
	    "  {'nodeName': 'node2', 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b9-bbbbb'}}]}");
	assert_non_null(strstr(peer(c, "10.96.0.10", 0), "name=shop/web"));
	set(c, CLV_KUBE_ENDPOINTSLICE,
	    "{'metadata': {'name': 'front-2', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'front'}},"
	    " 'endpoints': ["
	    "  {'nodeName': 'node2', 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b9-ccccc'}},"
	    "  {'nodeName': 'node2', 'targetRef': {'kind': 'Pod', 'name': 'web-5d4f8c7b-ddddd'}}]}");
	assert_non_null(strstr(peer(c, "10.96.0.10", 0), "name=shop/front"));
	clv_cluster_free(c);
}

static void test_an_address_moves_to_another_pod(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	sync_all(c);
	set(c, CLV_KUBE_POD, pod_text("old", "u1", "node1", "", "10.244.1.2"));
	set(c, CLV_KUBE_POD, pod_text("new", "u2", "node1", "", "10.244.1.2"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "pod=new "));
	/* News of the one that is going does not give it the address back. */
	set(c, CLV_KUBE_POD, pod_text("old", "u1", "node1", "'labels': {'x': 'y'}", "10.244.1.2"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "pod=new "));
	set(c, CLV_KUBE_POD, pod_text("new", "u2", "node1", "'labels': {'x': 'y'}", "10.244.1.2"));
	gone(c, CLV_KUBE_POD, pod_text("old", "u1", "node1", "", "10.244.1.2"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "pod=new "));
	/* One of the same name is another one. */
	set(c, CLV_KUBE_POD, pod_text("old", "u3", "node1", "", "10.244.1.2"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "pod=old "));
	/* It has ended: its address is anybody's, but as long as nobody has it, it was its own. */
	set(c, CLV_KUBE_POD,
	    "{'metadata': {'name': 'old', 'namespace': 'shop', 'uid': 'u3'}, 'spec': {'nodeName':"
	    " 'node1'}, 'status': {'phase': 'Succeeded', 'podIP': '10.244.1.2'}}");
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "pod=new "));
	gone(c, CLV_KUBE_POD, pod_text("new", "u2", "node1", "", "10.244.1.2"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "pod=old "));
	/* Its address changes. */
	set(c, CLV_KUBE_POD, pod_text("old", "u3", "node1", "", "10.244.1.3"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "unknown"));
	assert_non_null(strstr(peer(c, "10.244.1.3", 0), "pod=old "));
	clv_cluster_free(c);
}

/* A StatefulSet's pod has the name of the one before it, which an EndpointSlice still has where it was. */
static void test_a_pod_moves_to_another_node(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	sync_all(c);
	set(c, CLV_KUBE_ENDPOINTSLICE,
	    "{'metadata': {'name': 'db-1', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'db'}},"
	    " 'endpoints': [{'addresses': ['10.244.2.9'], 'nodeName': 'node2',"
	    "                'targetRef': {'kind': 'Pod', 'name': 'db-0', 'uid': 'before'}}]}");
	set(c, CLV_KUBE_POD, pod_text("db-0", "now", "node1", "", "10.244.1.9"));
	assert_non_null(strstr(peer(c, "10.244.2.9", 0), "pod=db-0 svc=db node=node2 "));
	assert_non_null(strstr(peer(c, "10.244.1.9", 0), "pod=db-0 svc= node=node1 "));
	clv_cluster_free(c);
}

static void test_pods_of_a_nodes_network(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	sync_all(c);
	set(c, CLV_KUBE_NODE, node1);
	set(c, CLV_KUBE_POD,
	    "{'metadata': {'name': 'proxy', 'namespace': 'kube-system', 'uid': 'u1'}, 'spec': {'nodeName': 'node1',"
	    " 'hostNetwork': true, 'containers': [{'name': 'p', 'ports': [{'containerPort': 9100}]}]},"
	    " 'status': {'phase': 'Running', 'podIP': '192.168.7.1'}}");
	assert_string_equal(peer(c, "192.168.7.1", 9100),
			    "node ns=kube-system pod=proxy svc= node=node1 of=/ name=kube-system/proxy");
	assert_string_equal(peer(c, "192.168.7.1", 9101), "node ns= pod= svc= node=node1 of=/ name=/");
	assert_string_equal(peer(c, "192.168.7.1", 0), "node ns= pod= svc= node=node1 of=/ name=/");
	gone(c, CLV_KUBE_NODE, node1); /* the pod still says that it is a node's */
	assert_string_equal(peer(c, "192.168.7.1", 9101), "node ns= pod= svc= node=node1 of=/ name=/");
	assert_string_equal(peer(c, "192.168.7.2", 9101), "external ns= pod= svc= node= of=/ name=/");
	clv_cluster_free(c);
}

static void test_several_services_of_a_pod(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);
	char text[1024];

	sync_all(c);
	static const struct {
		const char *name, *ip;
		int target;
	} services[] = {{"all", "None", 8080}, {"metrics", "10.96.0.2", 9000}, {"web", "10.96.0.3", 8080}};
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++) {
		snprintf(text, sizeof(text),
			 "{'metadata': {'name': '%s', 'namespace': 'shop'}, 'spec': {'clusterIP': '%s',"
			 " 'ports': [{'port': 80, 'targetPort': %d}]}}",
			 services[i].name, services[i].ip, services[i].target);
		set(c, CLV_KUBE_SERVICE, text);
		snprintf(text, sizeof(text),
			 "{'metadata': {'name': '%s-1', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name':"
			 " '%s'}}, 'endpoints': [{'addresses': ['10.244.2.2'], 'targetRef': {'kind': 'Pod', 'name':"
			 " 'x-1', 'uid': 'u'}}]}",
			 services[i].name, services[i].name);
		set(c, CLV_KUBE_ENDPOINTSLICE, text);
	}
	assert_non_null(strstr(peer(c, "10.244.2.2", 8080), "svc=web "));
	assert_non_null(strstr(peer(c, "10.244.2.2", 9000), "svc=metrics "));
	assert_non_null(strstr(peer(c, "10.244.2.2", 0), "svc=metrics ")); /* not the headless one, then by name */
	clv_cluster_free(c);
}

static void test_an_endpoint_outside(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	sync_all(c);
	set(c, CLV_KUBE_ENDPOINTSLICE,
	    "{'metadata': {'name': 'db-1', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'db'}},"
	    " 'endpoints': [{'addresses': ['192.168.9.9']}]}");
	assert_string_equal(peer(c, "192.168.9.9", 5432), "external ns=shop pod= svc=db node= of=/ name=/");
	clv_cluster_free(c);
}

/* No endpoint has so many addresses, but whoever may make EndpointSlices may say so. */
static void test_claims_are_bounded(void **state)
{
	static struct clv_addr ips[10000];
	static struct clv_kube_endpoint endpoints[10];
	struct clv_cluster *c = new_cluster(NULL);
	struct clv_figure figures[CLV_CLUSTER_FIGURES];

	for (uint16_t i = 0; i < 10000; i++)
		memcpy(ips[i].b, &i, sizeof(i));
	for (size_t i = 0; i < 10; i++)
		endpoints[i] = (struct clv_kube_endpoint){
			.ip_count = 1000, .ip = ips + 1000 * i, .node = "", .pod = "p", .pod_uid = "u"};
	for (int i = 0; i < 3; i++) { /* the same again: nothing more */
		struct clv_kube_endpointslice *slice = calloc(1, sizeof(*slice));

		*slice = (struct clv_kube_endpointslice){.head = {.kind = CLV_KUBE_ENDPOINTSLICE,
								  .bytes = sizeof(*slice),
								  .namespace = "shop",
								  .name = "s",
								  .uid = "",
								  .owner = {"", "", ""}},
							 .service = "s",
							 .endpoint_count = 10,
							 .endpoint = endpoints};
		struct clv_kube_event event = {
			.type = CLV_KUBE_SET, .kind = CLV_KUBE_ENDPOINTSLICE, .object = &slice->head};
		clv_cluster_event(c, &event);
	}
	clv_cluster_figures(c, figures);
	assert_string_equal(figures[4].name, "kube_addresses");
	assert_int_equal(figures[4].value, 4096);
	clv_cluster_free(c);
}

/* The same address a thousand times is one claim: who looks for it need not look at each. */
static void test_an_address_is_claimed_once(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);
	struct clv_figure figures[CLV_CLUSTER_FIGURES];
	char text[16000];
	size_t used = (size_t)snprintf(text, sizeof(text),
				       "{'metadata': {'name': 'a', 'namespace': 'shop'}, 'spec': "
				       "{'clusterIP': '10.96.0.9', 'ports': [{'port': 80}], "
				       "'externalIPs': ['10.96.0.9'");

	for (int i = 0; i < 500; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, ", '192.168.7.%d'", i % 2);
	snprintf(text + used, sizeof(text) - used, "]}}");
	for (int i = 0; i < 2; i++)
		set(c, CLV_KUBE_SERVICE, text);
	clv_cluster_figures(c, figures);
	assert_string_equal(figures[4].name, "kube_addresses");
	assert_int_equal(figures[4].value, 3);
	assert_non_null(strstr(peer(c, "192.168.7.1", 80), "svc=a "));
	clv_cluster_free(c);
}

static void test_ranges_of_nodes(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	sync_all(c);
	set(c, CLV_KUBE_NODE, "{'metadata': {'name': 'all'}, 'spec': {'podCIDRs': ['10.0.0.0/8', 'fd00::/47']}}");
	set(c, CLV_KUBE_NODE, "{'metadata': {'name': 'one'}, 'spec': {'podCIDRs': ['10.1.2.77/26', '10.9.9.9/32']}}");
	assert_non_null(strstr(peer(c, "10.1.2.65", 0), "node ns= pod= svc= node=one "));
	assert_non_null(strstr(peer(c, "10.1.2.77", 0), "unknown ns= pod= svc= node=one "));
	assert_non_null(strstr(peer(c, "10.1.2.127", 0), "node=one "));
	assert_non_null(strstr(peer(c, "10.1.2.128", 0), "node=all "));
	assert_non_null(strstr(peer(c, "10.9.9.9", 0), "unknown ns= pod= svc= node=one "));
	assert_non_null(strstr(peer(c, "fd00:0:1::1", 0), "node=all "));
	assert_non_null(strstr(peer(c, "fd00:0:2::1", 0), "external"));
	/* They change, and go. */
	set(c, CLV_KUBE_NODE, "{'metadata': {'name': 'one'}, 'spec': {'podCIDRs': ['10.1.3.0/24']}}");
	assert_non_null(strstr(peer(c, "10.1.2.65", 0), "node=all "));
	assert_non_null(strstr(peer(c, "10.1.3.65", 0), "node=one "));
	gone(c, CLV_KUBE_NODE, "{'metadata': {'name': 'one'}}");
	assert_non_null(strstr(peer(c, "10.1.3.65", 0), "node=all "));
	gone(c, CLV_KUBE_NODE, "{'metadata': {'name': 'all'}}");
	assert_non_null(strstr(peer(c, "10.1.3.65", 0), "unknown ns= pod= svc= node= "));
	clv_cluster_free(c);
}

static void test_strangers(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	assert_non_null(strstr(peer(c, "8.8.8.8", 0), "unknown")); /* nothing has been told yet */
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++)
		say(c, kind == CLV_KUBE_NODE ? CLV_KUBE_DENIED : CLV_KUBE_LISTED, (enum clv_kube_kind)kind);
	assert_non_null(strstr(peer(c, "8.8.8.8", 0), "external"));
	assert_non_null(strstr(peer(c, "10.1.2.3", 0), "unknown"));
	say(c, CLV_KUBE_LISTED, CLV_KUBE_NODE);
	assert_non_null(strstr(peer(c, "10.1.2.3", 0), "external"));
	set(c, CLV_KUBE_NODE, "{'metadata': {'name': 'n'}, 'spec': {'podCIDRs': ['10.1.2.0/24', 'fd00:1::/64']}}");
	assert_non_null(strstr(peer(c, "10.1.2.3", 0), "unknown"));
	assert_non_null(strstr(peer(c, "10.1.3.3", 0), "external"));
	assert_non_null(strstr(peer(c, "fd00:1::7", 0), "unknown"));
	/* No podCIDR: from the pods that are known, if their addresses are no node's. */
	set(c, CLV_KUBE_NODE,
	    "{'metadata': {'name': 'n'}, 'status': {'addresses': [{'type': 'InternalIP',"
	    " 'address': '192.168.0.1'}]}}");
	set(c, CLV_KUBE_ENDPOINTSLICE,
	    "{'metadata': {'name': 'a', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 'a'}}, "
	    "'endpoints':"
	    " [{'addresses': ['10.77.0.1'], 'targetRef': {'kind': 'Pod', 'name': 'a', 'uid': 'a'}},"
	    "  {'addresses': ['10.77.255.1'], 'targetRef': {'kind': 'Pod', 'name': 'b', 'uid': 'b'}},"
	    "  {'addresses': ['192.168.0.1'], 'targetRef': {'kind': 'Pod', 'name': 'c', 'uid': 'c'}}]}");
	assert_non_null(strstr(peer(c, "10.77.3.3", 0), "unknown"));
	assert_non_null(strstr(peer(c, "192.168.0.2", 0), "external"));
	assert_non_null(strstr(peer(c, "192.168.0.1", 0), "node "));
	clv_cluster_free(c);
}

static void test_addresses_of_this_host(void **state)
{
	const struct clv_addr local[] = {ip("172.17.0.1"), ip("10.0.1.77")};
	struct clv_cluster *c = new_cluster(NULL);
	uint64_t before = clv_cluster_generation(c);

	assert_int_equal(clv_cluster_set_local(c, local, 2), 0);
	assert_true(clv_cluster_generation(c) > before);
	before = clv_cluster_generation(c);
	assert_int_equal(clv_cluster_set_local(c, local, 2), 0);
	assert_int_equal(clv_cluster_generation(c), before); /* no news */
	assert_string_equal(peer(c, "10.0.1.77", 0), "node ns= pod= svc= node=node1 of=/ name=/");
	set(c, CLV_KUBE_POD, pod_text("p", "u", "node1", "", "10.0.1.77")); /* a pod that says so has it */
	assert_non_null(strstr(peer(c, "10.0.1.77", 0), "pod=p "));
	assert_int_equal(clv_cluster_set_local(c, NULL, 0), 0);
	assert_non_null(strstr(peer(c, "172.17.0.1", 0), "unknown "));
	clv_cluster_free(c);
}

/* ---- resources --------------------------------------------------------------------------------------------------- */

/* "service.name=web k8s.pod.name=..." in their order. */
static const char *resource(const struct clv_cluster *c, const char *uid)
{
	static char text[16384];
	static struct clv_cluster_resource r;
	size_t used;

	clv_cluster_resource(c, clv_cluster_pod(c, uid), &r);
	used = (size_t)snprintf(text, sizeof(text), "service.name=%.*s", (int)r.service.len,
				(const char *)r.service.data);
	for (size_t i = 0; i < r.count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %.*s=%.*s", (int)r.attr[i].key.len,
					 (const char *)r.attr[i].key.data, (int)r.attr[i].value.len,
					 (const char *)r.attr[i].value.data);
	assert_true(r.bytes <= CLV_CLUSTER_ATTR_BYTES);
	return text;
}

static void test_resource_of_a_deployments_pod(void **state)
{
	struct clv_cluster *c = new_cluster(&(struct clv_cluster_config){.node = "node1", .cluster_name = "east"});

	set(c, CLV_KUBE_REPLICASET, replicaset);
	set(c, CLV_KUBE_POD, pod_text("web-5d4f8c7b9-x", "u1", "node1", BY_REPLICASET, "10.244.1.2"));
	assert_string_equal(
		resource(c, "u1"),
		"service.name=web service.namespace=shop service.instance.id=shop.web-5d4f8c7b9-x.app"
		" k8s.cluster.name=east k8s.namespace.name=shop k8s.node.name=node1 k8s.pod.name=web-5d4f8c7b9-x"
		" k8s.pod.uid=u1 k8s.container.name=app k8s.replicaset.name=web-5d4f8c7b9 k8s.replicaset.uid=rs-1"
		" k8s.deployment.name=web k8s.deployment.uid=d-1");
	clv_cluster_free(c);
}

static void test_resource_by_owner(void **state)
{
	static const struct {
		const char *meta, *service, *has, *has_not;
	} cases[] = {
		/* ReplicaSets are not known here: the label tells, if it does. */
		{BY_REPLICASET ", 'labels': {'pod-template-hash': '5d4f8c7b9'}", "web", "k8s.deployment.name=web",
		 "deployment.uid"},
		{BY_REPLICASET, "web-5d4f8c7b9", "k8s.replicaset.uid=rs-1", "deployment"},
		{BY_REPLICASET ", 'labels': {'pod-template-hash': '4f8c7b9'}", "web-5d4f8c7b9", "replicaset",
		 "deployment"},
		{OWNER("StatefulSet", "db", "x"), "db", "k8s.statefulset.name=db k8s.statefulset.uid=x", "replicaset"},
		{OWNER("DaemonSet", "log", "x"), "log", "k8s.daemonset.name=log", "replicaset"},
		{OWNER("Job", "once", "x"), "once", "k8s.job.name=once k8s.job.uid=x", "cronjob"},
		{OWNER("Job", "backup-29384720", "x"), "backup", "k8s.cronjob.name=backup", "cronjob.uid"},
		{OWNER("Job", "backup-2938", "x"), "backup-2938", "k8s.job.name=backup-2938", "cronjob"},
		{OWNER("Job", "backup-2938472a", "x"), "backup-2938472a", "k8s.job.name", "cronjob"},
		{OWNER("Job", "-29384720", "x"), "-29384720", "k8s.job.name", "cronjob"},
		{OWNER("PgCluster", "pg", "x"), "pg", "k8s.pod.name=p", "cluster"},
		{OWNER("Node", "node1", "x"), "p", "k8s.pod.name=p", "job"},
		{"", "p", "k8s.pod.name=p", "job"},
		{OWNER("DaemonSet", "log", "x") ", 'labels': {'app.kubernetes.io/name': 'n'}", "log", "k8s.pod",
		 "version"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct clv_cluster *c = new_cluster(NULL);
		char service[300];

		set(c, CLV_KUBE_POD, pod_text("p", "u1", "node1", cases[i].meta, "10.244.1.2"));
		const char *text = resource(c, "u1");
		snprintf(service, sizeof(service), "service.name=%s ", cases[i].service);
		if (strncmp(text, service, strlen(service)) != 0 || !strstr(text, cases[i].has) ||
		    strstr(text, cases[i].has_not))
			fail_msg("%s: %s", cases[i].meta, text);
		clv_cluster_free(c);
	}
}

static void test_a_rollouts_pod(void **state)
{
	struct clv_cluster *c = new_cluster(NULL);

	set(c, CLV_KUBE_REPLICASET,
	    "{'metadata': {'name': 'web-5d4f8c7b9', 'namespace': 'shop', 'uid': 'rs-1', " OWNER("Rollout", "shop-web",
												"r") "}}");
	set(c, CLV_KUBE_POD, pod_text("p", "u1", "node1", BY_REPLICASET, "10.244.1.2"));
	assert_non_null(strstr(resource(c, "u1"), "service.name=shop-web "));
	/* Of that name, but another one. */
	set(c, CLV_KUBE_REPLICASET,
	    "{'metadata': {'name': 'web-5d4f8c7b9', 'namespace': 'shop', 'uid': 'rs-2', " OWNER("Rollout", "shop-web",
												"r") "}}");
	assert_non_null(strstr(resource(c, "u1"), "service.name=web-5d4f8c7b9 "));
	clv_cluster_free(c);
}

static void test_resource_by_annotations_and_labels(void **state)
{
	static const char *const meta =
		OWNER("DaemonSet", "log",
		      "x") ", 'labels': {'app.kubernetes.io/name': 'n', 'app.kubernetes.io/instance': 'i',"
			   " 'app.kubernetes.io/version': '1'}";
	static const char *const more =
		", 'annotations': {'resource.opentelemetry.io/service.name': 'a', "
		"'resource.opentelemetry.io/service.namespace':"
		" 'b', 'resource.opentelemetry.io/service.version': '2', "
		"'resource.opentelemetry.io/service.instance.id': 'me',"
		" 'resource.opentelemetry.io/team': 'red', 'resource.opentelemetry.io/k8s.pod.name': 'liar',"
		" 'resource.opentelemetry.io/': 'x', 'clovisor.io/trace': 'true', 'resource.opentelemetry.io/empty': "
		"''}";
	struct clv_cluster *c =
		new_cluster(&(struct clv_cluster_config){.node = "node1", .labels_name_services = true});
	char text[2048];

	set(c, CLV_KUBE_POD, pod_text("p", "u1", "node1", meta, "10.244.1.2"));
	assert_non_null(strstr(resource(c, "u1"), "service.name=i service.namespace=shop "));
	assert_non_null(strstr(resource(c, "u1"), " service.version=1 "));
	snprintf(text, sizeof(text), "%s%s", meta, more);
	set(c, CLV_KUBE_POD, pod_text("p", "u1", "node1", text, "10.244.1.2"));
	assert_non_null(strstr(resource(c, "u1"),
			       "service.name=a service.namespace=b service.instance.id=me service.version=2 "));
	assert_non_null(strstr(resource(c, "u1"), " team=red"));
	assert_non_null(strstr(resource(c, "u1"), " k8s.pod.name=p "));
	assert_null(strstr(resource(c, "u1"), "liar"));
	assert_null(strstr(resource(c, "u1"), "empty"));
	assert_null(strstr(resource(c, "u1"), "trace"));
	assert_non_null(strstr(peer(c, "10.244.1.2", 0), "name=b/a"));
	clv_cluster_free(c);
}

/* More than fits is left out, and counted. */
static void test_resource_is_bounded(void **state)
{
	static struct clv_cluster_resource r;
	static char meta[16000], value[600];
	struct clv_cluster *c = new_cluster(NULL);
	size_t used = (size_t)snprintf(meta, sizeof(meta), "'annotations': {");

	memset(value, 'v', sizeof(value) - 1);
	for (int i = 0; i < 20; i++)
		used += (size_t)snprintf(meta + used, sizeof(meta) - used, "%s'resource.opentelemetry.io/k%d': '%s'",
					 i ? ", " : "", i, value);
	snprintf(meta + used, sizeof(meta) - used, "}");
	static char text[16300];
	snprintf(text, sizeof(text), "{'metadata': {'name': 'p', 'uid': 'u1', %s}, 'spec': {'nodeName': 'node1'}}",
		 meta);
	set(c, CLV_KUBE_POD, text);
	clv_cluster_resource(c, clv_cluster_pod(c, "u1"), &r);
	assert_true(r.bytes <= CLV_CLUSTER_ATTR_BYTES);
	assert_true(r.left_out > 10);
	clv_cluster_free(c);
}

/* ---- protocols --------------------------------------------------------------------------------------------------- */

static const char *protocol(const char *port, const char *service_port)
{
	struct clv_cluster *c = new_cluster(NULL);
	char text[1024];

	snprintf(text, sizeof(text),
		 "{'metadata': {'name': 'p', 'namespace': 'shop', 'uid': 'u1', 'labels': {'app': 'web', 'x': 'y'}}, "
		 "'spec':"
		 " {'nodeName': 'node1', 'containers': [{'name': 'a', 'ports': [{'containerPort': 8080, 'name': '%s'},"
		 " {'containerPort': 53, 'protocol': 'UDP', 'name': 'dns'}]}]}}",
		 port);
	set(c, CLV_KUBE_POD, text);
	snprintf(text, sizeof(text),
		 "{'metadata': {'name': 's', 'namespace': 'shop'}, 'spec': {'clusterIP': '10.96.0.1', 'selector':"
		 " {'app': 'web'}, 'ports': [{'port': 7, 'targetPort': 7, 'name': 'redis'}, %s]}}",
		 service_port);
	if (*service_port)
		set(c, CLV_KUBE_SERVICE, text);
	const char *found = clv_cluster_protocol(c, clv_cluster_pod(c, "u1"), 8080);
	assert_null(clv_cluster_protocol(c, clv_cluster_pod(c, "u1"), 8081));
	assert_string_equal(clv_cluster_protocol(c, clv_cluster_pod(c, "u1"), 53), "dns");
	if (found)
		assert_non_null(clv_proto_find(found));
	clv_cluster_free(c);
	return found ? found : "";
}

static void test_protocols(void **state)
{
	static const struct {
		const char *port, *service_port, *protocol;
	} cases[] = {
		{"http", "", "http"},
		{"HTTP-web", "", "http"},
		{"httpx", "", ""},
		{"http2-x", "", "http2"},
		{"grpc", "", "http2"},
		{"grpc-web", "", ""},
		{"grpc-web-x", "", ""},
		{"https", "", "tls"},
		{"tcp-redis", "", ""},
		{"redis", "", "redis"},
		{"mysql-main", "", "mysql"},
		{"postgres", "", "postgresql"},
		{"", "", ""},
		{"web", "{'port': 80, 'targetPort': 'web', 'name': 'http-web'}", "http"},
		{"web", "{'port': 80, 'targetPort': 8080, 'name': 'grpc'}", "http2"},
		{"web", "{'port': 80, 'targetPort': 8081, 'name': 'x'}", ""},
		{"web", "{'port': 8080, 'name': 'mysql'}", "mysql"},
		{"http", "{'port': 80, 'targetPort': 8080, 'name': 'grpc'}", "http2"}, /* the Service's word is first */
		{"http", "{'port': 80, 'targetPort': 8080, 'name': 'x'}", "http"},
		{"web", "{'port': 80, 'targetPort': 8080, 'name': 'http', 'appProtocol': 'kubernetes.io/h2c'}",
		 "http2"},
		{"web", "{'port': 80, 'targetPort': 8080, 'name': 'http', 'appProtocol': 'kubernetes.io/wss'}", "tls"},
		{"web", "{'port': 80, 'targetPort': 8080, 'appProtocol': 'https'}", "tls"},
		{"web", "{'port': 80, 'targetPort': 8080, 'name': 'http', 'appProtocol': 'example.com/own'}", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *found = protocol(cases[i].port, cases[i].service_port);

		if (strcmp(found, cases[i].protocol) != 0)
			fail_msg("\"%s\", %s: \"%s\"", cases[i].port, cases[i].service_port, found);
	}
}

/* ---- size -------------------------------------------------------------------------------------------------------- */

enum { NODES = 100, PODS = 5000, SERVICES = 500, BEHIND = PODS / SERVICES, OWN = PODS / NODES, PER_SET = 10 };

static void tell_services(struct clv_cluster *c)
{
	static char text[16000];

	for (int s = 0; s < SERVICES; s++) {
		snprintf(text, sizeof(text),
			 "{'metadata': {'name': 'service-%d', 'namespace': 'team-%d', 'uid': '%036d'}, 'spec': "
			 "{'clusterIP':"
			 " '10.96.%d.%d', 'selector': {'app.kubernetes.io/name': 'workload-%d'}, 'ports': [{'port': 80,"
			 " 'targetPort': 'http', 'name': 'http'}, {'port': 9090, 'targetPort': 9090, 'name': "
			 "'metrics'}]}}",
			 s, s % 40, s, s / 250, s % 250 + 1, s);
		set(c, CLV_KUBE_SERVICE, text);
		size_t used = (size_t)snprintf(
			text, sizeof(text),
			"{'metadata': {'name': 'service-%d-xyz12', 'namespace': 'team-%d', 'uid': '%036d',"
			" 'labels': {'kubernetes.io/service-name': 'service-%d'}}, 'endpoints': [",
			s, s % 40, SERVICES + s, s);
		for (int i = 0; i < BEHIND; i++) {
			int pod = s * BEHIND + i;

			used += (size_t)snprintf(
				text + used, sizeof(text) - used,
				"%s{'addresses': ['10.244.%d.%d'], 'nodeName': 'worker-%d.example.internal', "
				"'targetRef':"
				" {'kind': 'Pod', 'name': 'workload-%d-5d4f8c7b9-ab%03d', 'uid': '%036d'}}",
				i ? ", " : "", pod / 250, pod % 250 + 1, pod % NODES, s, i, pod);
		}
		snprintf(text + used, sizeof(text) - used, "]}");
		set(c, CLV_KUBE_ENDPOINTSLICE, text);
		for (int old = 0; old < PER_SET; old++) { /* a Deployment keeps ten that it had before */
			snprintf(text, sizeof(text),
				 "{'metadata': {'name': 'workload-%d-5d4f8c7b%d', 'namespace': 'team-%d', 'uid': "
				 "'%036d', " OWNER("Deployment", "workload-name",
						   "00000000-0000-0000-0000-000000000000") "}}",
				 s, old, s % 40, s * 100 + old);
			set(c, CLV_KUBE_REPLICASET, text);
		}
	}
}

static void tell_pods(struct clv_cluster *c, int from, int count)
{
	static char text[4096];

	for (int pod = from; pod < from + count; pod++) {
		snprintf(
			text, sizeof(text),
			"{'metadata': {'name': 'workload-%d-5d4f8c7b9-ab%03d', 'namespace': 'team-%d', 'uid': '%036d', "
			"'labels':"
			" {'app.kubernetes.io/name': 'workload-%d', 'app.kubernetes.io/instance': 'workload', 'team': "
			"'blue',"
			" 'app.kubernetes.io/part-of': 'the-shop', 'pod-template-hash': '5d4f8c7b9'}, " OWNER(
				"ReplicaSet", "workload-5d4f8c7b9",
				"00000000-0000-0000-0000-000000000000") "},"
									" 'spec': {'nodeName': "
									"'worker-%d.example.internal', 'containers': "
									"[{'name': 'app', 'ports':"
									" [{'containerPort': 8080, 'name': 'http'}, "
									"{'containerPort': 9090, 'name': 'metrics'}]}],"
									" 'initContainers': [{'name': 'init'}]}, "
									"'status': {'phase': 'Running', 'podIPs': "
									"[{'ip':"
									" '10.244.%d.%d'}], 'containerStatuses': "
									"[{'name': 'app', 'state': {'running': {}}, "
									"'containerID':"
									" 'containerd://%064d'}], "
									"'initContainerStatuses': [{'name': 'init', "
									"'containerID':"
									" 'containerd://%064d'}]}}",
			pod / BEHIND, pod % BEHIND, pod / BEHIND % 40, pod, pod / BEHIND, pod % NODES, pod / 250,
			pod % 250 + 1, pod, pod);
		set(c, CLV_KUBE_POD, text);
	}
}

/* All that malloc() gave, its own overhead included, in KiB. */
static size_t heap_kib(void)
{
	return mallinfo2().uordblks / 1024;
}

static uint64_t figure(const struct clv_cluster *c, const char *name)
{
	struct clv_figure figures[CLV_CLUSTER_FIGURES];
	size_t n = clv_cluster_figures(c, figures);

	for (size_t i = 0; i < n; i++)
		if (strcmp(figures[i].name, name) == 0)
			return figures[i].value;
	fail_msg("no figure %s", name);
	return 0;
}

static void test_a_cluster_of_5000_pods_is_small(void **state)
{
	size_t before = heap_kib();
	struct clv_cluster *c = new_cluster(&(struct clv_cluster_config){.node = "worker-7.example.internal"});

	tell_services(c);
	tell_pods(c, 0, OWN); /* of this node, nearly all of them */
	size_t kib = heap_kib() - before;
	print_message("pods of one node: %zu KiB, by its own count %zu\n", kib, (size_t)figure(c, "kube_bytes") / 1024);
	assert_true(kib < 4 * 1024);
	tell_pods(c, 0, PODS);
	kib = heap_kib() - before;
	print_message("all pods: %zu KiB, by its own count %zu\n", kib, (size_t)figure(c, "kube_bytes") / 1024);
	assert_true(kib < 10 * 1024);
	assert_true(figure(c, "kube_addresses") >= PODS + SERVICES);
	for (int round = 0; round < 3; round++)
		tell_pods(c, 0, PODS); /* news of them takes nothing */
	assert_true(heap_kib() - before < kib + 64);
	clv_cluster_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pods_are_told),
		cmocka_unit_test(test_a_new_list_sweeps),
		cmocka_unit_test(test_synced_and_in_trouble),
		cmocka_unit_test(test_whose_address),
		cmocka_unit_test(test_a_services_name_is_that_of_those_behind_it),
		cmocka_unit_test(test_a_services_name_by_pods_of_other_nodes),
		cmocka_unit_test(test_an_address_moves_to_another_pod),
		cmocka_unit_test(test_a_pod_moves_to_another_node),
		cmocka_unit_test(test_pods_of_a_nodes_network),
		cmocka_unit_test(test_several_services_of_a_pod),
		cmocka_unit_test(test_an_endpoint_outside),
		cmocka_unit_test(test_claims_are_bounded),
		cmocka_unit_test(test_an_address_is_claimed_once),
		cmocka_unit_test(test_ranges_of_nodes),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_addresses_of_this_host),
		cmocka_unit_test(test_resource_of_a_deployments_pod),
		cmocka_unit_test(test_resource_by_owner),
		cmocka_unit_test(test_a_rollouts_pod),
		cmocka_unit_test(test_resource_by_annotations_and_labels),
		cmocka_unit_test(test_resource_is_bounded),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_a_cluster_of_5000_pods_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
