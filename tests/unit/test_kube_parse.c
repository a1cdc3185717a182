/* SPDX-License-Identifier: Apache-2.0 */
/* kube/parse.c and kube/cutter.c: objects with every odd field, and streams of them in any pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/parse.h"

/* ---- objects ---------------------------------------------------------------------------------------------------- */

/* In memory of just that length, for AddressSanitizer. */
static struct clv_kube_object *parse(enum clv_kube_kind kind, const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	struct clv_kube_object *object = clv_kube_parse(kind, clv_slice(copy, len));
	int err = errno;
	free(copy);
	errno = err;
	return object;
}

static void assert_addr(const struct clv_addr *addr, const char *want)
{
	char text[CLV_ADDR_TEXT];

	clv_addr_format(addr, text);
	assert_string_equal(text, want);
}

static const char *const whole_pod =
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web-0\",\"namespace\":\"shop\",\"uid\":\"u-"
	"1\","
	"\"labels\":{\"tier\":\"front\",\"app\":\"web\"},"
	"\"annotations\":{\"clovisor.io/trace\":\"true\",\"a\":\"b\",\"resource.opentelemetry.io/service.name\":\"w\"},"
	"\"ownerReferences\":[{\"kind\":\"X\",\"name\":\"x\",\"uid\":\"x\"},"
	"{\"kind\":\"StatefulSet\",\"name\":\"web\",\"uid\":\"u-2\",\"controller\":true}],"
	"\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},"
	"\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true,"
	"\"initContainers\":[{\"name\":\"sidecar\",\"ports\":[{\"containerPort\":15001,\"name\":\"proxy\"}]}],"
	"\"containers\":[{\"name\":\"app\",\"ports\":[{\"containerPort\":80,\"name\":\"http\",\"protocol\":\"TCP\"},"
	"{\"containerPort\":53,\"protocol\":\"UDP\"},{\"containerPort\":9,\"protocol\":\"SCTP\"},{\"containerPort\":0},"
	"{\"containerPort\":70000},{\"containerPort\":\"80\"}]},{\"name\":\"waits\"}],"
	"\"ephemeralContainers\":[{\"name\":\"debug\"}]},"
	"\"status\":{\"phase\":\"Running\",\"podIP\":\"10.1.1.1\",\"podIPs\":[{\"ip\":\"10.1.1.1\"},{\"ip\":\"fd00::"
	"1\"}],"
	"\"containerStatuses\":[{\"name\":\"app\",\"containerID\":\"containerd://abc\",\"state\":{\"running\":{}}},"
	"{\"name\":\"waits\",\"containerID\":\"\",\"state\":{\"waiting\":{}}}],"
	"\"initContainerStatuses\":[{\"name\":\"sidecar\",\"containerID\":\"cri-o://def\",\"state\":{\"running\":{}}}],"
	"\"ephemeralContainerStatuses\":[{\"name\":\"debug\",\"containerID\":\"docker://123\","
	"\"state\":{\"terminated\":{}}}]}}";

static void test_pod(void **state)
{
	struct clv_kube_pod *p = (struct clv_kube_pod *)parse(CLV_KUBE_POD, whole_pod);

	assert_non_null(p);
	assert_int_equal(p->head.kind, CLV_KUBE_POD);
	assert_string_equal(p->head.namespace, "shop");
	assert_string_equal(p->head.name, "web-0");
	assert_string_equal(p->head.uid, "u-1");
	assert_string_equal(p->head.owner.kind, "StatefulSet");
	assert_string_equal(p->head.owner.name, "web");
	assert_string_equal(p->head.owner.uid, "u-2");
	assert_string_equal(p->node, "n1");
	assert_true(p->host_network && p->deleting);
	assert_int_equal(p->phase, CLV_KUBE_RUNNING);
	assert_int_equal(p->labels.count, 2);
	assert_string_equal(p->labels.pair[0].key, "app"); /* sorted */
	assert_string_equal(clv_kube_pairs_get(&p->labels, "tier"), "front");
	assert_int_equal(p->annotations.count, 2);
	assert_string_equal(clv_kube_pairs_get(&p->annotations, "clovisor.io/trace"), "true");
	assert_null(clv_kube_pairs_get(&p->annotations, "a"));
	assert_int_equal(p->ip_count, 2);
	assert_addr(&p->ip[0], "10.1.1.1");
	assert_addr(&p->ip[1], "fd00::1");
	clv_kube_object_free(&p->head);
}

static void test_containers(void **state)
{
	struct clv_kube_pod *p = (struct clv_kube_pod *)parse(CLV_KUBE_POD, whole_pod);
	static const struct clv_kube_container want[] = {{.name = "app", .id = "abc", .main = true},
							 {.name = "waits", .id = "", .main = true},
							 {.name = "sidecar", .id = "def"},
							 {.name = "debug", .id = "123"}};

	assert_int_equal(p->container_count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(p->container[i].name, want[i].name);
		assert_string_equal(p->container[i].id, want[i].id);
		assert_int_equal(p->container[i].main, want[i].main);
	}
	assert_int_equal(p->port_count, 3);
	assert_int_equal(p->port[0].port, 80);
	assert_string_equal(p->port[0].name, "http");
	assert_false(p->port[0].udp);
	assert_int_equal(p->port[1].port, 53);
	assert_true(p->port[1].udp);
	assert_string_equal(p->port[1].name, "");
	assert_int_equal(p->port[2].port, 15001);
	clv_kube_object_free(&p->head);
}

/* What is known of a pod is kept by its uid: it must fit. */
static void test_a_uid_that_is_too_long(void **state)
{
	static const char x[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	char text[256];

	for (int len = CLV_KUBE_UID_BYTES; len <= CLV_KUBE_UID_BYTES + 1; len++) {
		snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"p\",\"uid\":\"%.*s\"}}", len, x);
		struct clv_kube_object *o = parse(CLV_KUBE_POD, text);

		assert_int_equal(o != NULL, len == CLV_KUBE_UID_BYTES);
		clv_kube_object_free(o);
	}
}

static void test_service(void **state)
{
	struct clv_kube_service *s = (struct clv_kube_service *)parse(
		CLV_KUBE_SERVICE,
		"{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},\"spec\":{\"clusterIP\":\"10.96.0.1\","
		"\"clusterIPs\":[\"10.96.0.1\",\"fd00::2\"],\"externalIPs\":[\"192.0.2.1\",\"nonsense\"],"
		"\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,\"targetPort\":\"http\",\"name\":\"web\","
		"\"appProtocol\":\"http\"},{\"port\":443,\"targetPort\":8443}]},"
		"\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.2\"},{\"hostname\":\"x\"}]}}}");

	assert_non_null(s);
	assert_false(s->headless);
	assert_int_equal(s->ip_count, 4);
	assert_addr(&s->ip[0], "10.96.0.1");
	assert_addr(&s->ip[1], "fd00::2");
	assert_addr(&s->ip[2], "192.0.2.1");
	assert_addr(&s->ip[3], "192.0.2.2");
	assert_string_equal(clv_kube_pairs_get(&s->selector, "app"), "web");
	assert_int_equal(s->port_count, 2);
	assert_int_equal(s->port[0].target, 0);
	assert_string_equal(s->port[0].target_name, "http");
	assert_string_equal(s->port[0].app_protocol, "http");
	assert_int_equal(s->port[1].target, 8443);
	assert_string_equal(s->port[1].target_name, "");
	clv_kube_object_free(&s->head);

	s = (struct clv_kube_service *)parse(
		CLV_KUBE_SERVICE,
		"{\"metadata\":{\"name\":\"web\"},\"spec\":{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]}}");
	assert_true(s->headless);
	assert_int_equal(s->ip_count, 0);
	clv_kube_object_free(&s->head);

	/* Nothing forwards these: they are somebody else's. */
	static const char *const without[] = {"\"clusterIP\":\"None\"", "\"type\":\"ClusterIP\"",
					      "\"type\":\"ExternalName\",\"clusterIP\":\"10.96.0.7\""};
	for (size_t i = 0; i < 3; i++) {
		char text[256];

		snprintf(text, sizeof(text),
			 "{\"metadata\":{\"name\":\"web\"},\"spec\":{%s,\"externalIPs\":[\"10.244.1.2\"]},"
			 "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.2\"}]}}}",
			 without[i]);
		s = (struct clv_kube_service *)parse(CLV_KUBE_SERVICE, text);
		assert_true(s->headless);
		assert_int_equal(s->ip_count, 0);
		clv_kube_object_free(&s->head);
	}

	/* Of a server that has no clusterIPs yet. */
	s = (struct clv_kube_service *)parse(
		CLV_KUBE_SERVICE, "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.96.0.9\"}}");
	assert_int_equal(s->ip_count, 1);
	clv_kube_object_free(&s->head);
}

static void test_endpointslice(void **state)
{
	struct clv_kube_endpointslice *s = (struct clv_kube_endpointslice *)parse(
		CLV_KUBE_ENDPOINTSLICE,
		"{\"metadata\":{\"name\":\"web-x\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},\"endpoints\":["
		"{\"addresses\":[\"10.1.1.1\",\"x\",null],\"nodeName\":\"n1\","
		"\"targetRef\":{\"kind\":\"Pod\",\"name\":\"web-0\",\"uid\":\"u-1\"}},"
		"{\"addresses\":[\"10.1.1.2\"],\"targetRef\":{\"kind\":\"Node\",\"name\":\"n2\",\"uid\":\"u-2\"}},null]"
		"}");

	assert_non_null(s);
	assert_string_equal(s->service, "web");
	assert_int_equal(s->endpoint_count, 3);
	assert_int_equal(s->endpoint[0].ip_count, 1);
	assert_addr(&s->endpoint[0].ip[0], "10.1.1.1");
	assert_string_equal(s->endpoint[0].node, "n1");
	assert_string_equal(s->endpoint[0].pod, "web-0");
	assert_string_equal(s->endpoint[0].pod_uid, "u-1");
	assert_string_equal(s->endpoint[1].pod, "");
	assert_int_equal(s->endpoint[2].ip_count, 0);
	clv_kube_object_free(&s->head);
}

static void test_replicaset(void **state)
{
	static const char *const texts[] = {
		"{\"kind\":\"PartialObjectMetadata\",\"metadata\":{\"name\":\"web-5\",\"ownerReferences\":["
		"{\"kind\":\"Deployment\",\"name\":\"web\",\"uid\":\"u\",\"controller\":true}]}}",
		"{\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"web-5\",\"ownerReferences\":["
		"{\"kind\":\"Deployment\",\"name\":\"web\",\"uid\":\"u\",\"controller\":true}]},\"spec\":{\"replicas\":"
		"1}}"};

	for (size_t i = 0; i < 2; i++) {
		struct clv_kube_object *o = parse(CLV_KUBE_REPLICASET, texts[i]);

		assert_non_null(o);
		assert_string_equal(o->owner.name, "web");
		clv_kube_object_free(o);
	}
}

static void test_node(void **state)
{
	struct clv_kube_node *n = (struct clv_kube_node *)parse(
		CLV_KUBE_NODE,
		"{\"metadata\":{\"name\":\"n1\",\"labels\":{\"topology.kubernetes.io/zone\":\"z\","
		"\"topology.kubernetes.io/region\":\"r\"}},\"spec\":{\"podCIDR\":\"10.244.1.0/24\","
		"\"podCIDRs\":[\"10.244.1.0/24\",\"fd00:1::/64\",\"10.0.0.0/33\",\"fd00::/129\",\"x/1\",\"10.0.0.0\",7,"
		"\"10.0.0.0/1x\",\"10.0.0.0/-1\"]},\"status\":{\"addresses\":["
		"{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"},{\"type\":\"Hostname\",\"address\":\"10.0.0.9\"},"
		"{\"type\":\"ExternalIP\",\"address\":\"192.0.2.1\"}]}}");

	assert_non_null(n);
	assert_int_equal(n->ip_count, 2);
	assert_addr(&n->ip[1], "192.0.2.1");
	assert_int_equal(n->range_count, 2);
	assert_addr(&n->range[0].addr, "10.244.1.0");
	assert_int_equal(n->range[0].bits, 120);
	assert_int_equal(n->range[1].bits, 64);
	clv_kube_object_free(&n->head);
}

/* A name is all it takes; everything else may be anything. */
static void test_odd_fields(void **state)
{
	static const char *const values[] = {"null", "true", "7",    "-1",   "1e300",  "\"x\"",    "\"\"",
					     "[]",   "{}",   "[[]]", "[{}]", "[null]", "{\"a\":1}"};
	static const char *const keys[] = {
		"labels",    "annotations",       "ownerReferences", "nodeName",   "containers",  "podIPs",
		"podIP",     "containerStatuses", "ports",           "clusterIPs", "externalIPs", "selector",
		"endpoints", "addresses",         "podCIDRs",        "podCIDR",    "phase",       "namespace",
		"uid",       "hostNetwork",       "loadBalancer"};
	char text[1024];

	for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
		for (size_t v = 0; v < sizeof(values) / sizeof(*values); v++)
			for (int kind = 0; kind < CLV_KUBE_KINDS; kind++) {
				snprintf(text, sizeof(text),
					 "{\"metadata\":{\"name\":\"a\",\"%s\":%s},\"spec\":{\"%s\":%s},\"status\":{\"%"
					 "s\":"
					 "%s},\"%s\":%s}",
					 keys[k], values[v], keys[k], values[v], keys[k], values[v], keys[k],
					 values[v]);
				struct clv_kube_object *o = parse((enum clv_kube_kind)kind, text);
				assert_non_null(o);
				assert_string_equal(o->name, "a");
				clv_kube_object_free(o);
			}
}

static void test_is_none(void **state)
{
	static const char *const texts[] = {"",
					    "{",
					    "[]",
					    "7",
					    "null",
					    "{}",
					    "{\"metadata\":null}",
					    "{\"metadata\":{}}",
					    "{\"metadata\":{\"name\":\"\"}}",
					    "{\"metadata\":{\"name\":7}}",
					    "{\"metadata\":{\"name\":\"a\"}} x",
					    "{\"metadata\":{\"name\":\"a\"}}{}",
					    "{\"kind\":\"Service\",\"metadata\":{\"name\":\"a\"}}",
					    "{\"metadata\":{\"name\":\"\xff\"}}",
					    "{\"metadata\":{\"name\":\"a\",}}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		errno = 0;
		assert_null(parse(CLV_KUBE_POD, texts[i]));
		assert_int_equal(errno, EBADMSG);
	}
}

static void test_duplicates_and_escapes(void **state)
{
	struct clv_kube_object *o = parse(
		CLV_KUBE_SERVICE,
		"{\"metadata\":{\"name\":\"a\",\"name\":\"b\\u00fc\\ud83d\\ude00\\\"\",\"namespace\":\"x\\u0000y\"}}");

	assert_non_null(o);
	assert_string_equal(o->name, "b\xc3\xbc\xf0\x9f\x98\x80\"");
	assert_string_equal(o->namespace, "x"); /* up to the NUL */
	clv_kube_object_free(o);
}

/* `count` times `part`, between `before` and `after`. */
static char *repeat(const char *before, const char *part, size_t count, const char *after)
{
	size_t len = strlen(part);
	char *text = malloc(strlen(before) + count * len + strlen(after) + 1), *to;

	assert_non_null(text);
	to = stpcpy(text, before);
	for (size_t i = 0; i < count; i++)
		to = stpcpy(to, part);
	strcpy(to, after);
	return text;
}

static void test_long_text(void **state)
{
	char *text = repeat("{\"metadata\":{\"name\":\"a\",\"annotations\":{\"clovisor.io/x\":\"", "\xc3\xbc", 1000,
			    "\"}}}");
	struct clv_kube_pod *p = (struct clv_kube_pod *)parse(CLV_KUBE_POD, text);

	assert_non_null(p);
	const char *value = clv_kube_pairs_get(&p->annotations, "clovisor.io/x");
	assert_int_equal(strlen(value), CLV_KUBE_STRING_BYTES - 2); /* no half of a character */
	clv_kube_object_free(&p->head);
	free(text);
}

static void test_long_lists(void **state)
{
	char *text = repeat("{\"metadata\":{\"name\":\"a\"},\"status\":{\"podIPs\":[{\"ip\":\"::1\"}",
			    ",{\"ip\":\"::1\"}", 5000, "]}}");
	struct clv_kube_pod *p = (struct clv_kube_pod *)parse(CLV_KUBE_POD, text);

	assert_non_null(p);
	assert_int_equal(p->ip_count, CLV_KUBE_LIST_MAX);
	clv_kube_object_free(&p->head);
	free(text);
}

static void test_too_long_or_deep(void **state)
{
	char *text = repeat("{\"metadata\":{\"name\":\"a\"},\"x\":\"", "0123456789abcdef", CLV_KUBE_OBJECT_BYTES / 16,
			    "\"}");

	assert_null(parse(CLV_KUBE_POD, text));
	free(text);
	char *close = repeat("", "]", 200, "}");
	text = repeat("{\"metadata\":{\"name\":\"a\"},\"x\":", "[", 200, close);
	assert_null(parse(CLV_KUBE_POD, text));
	free(text);
	free(close);
	text = repeat("{\"metadata\":{\"name\":\"a\"},\"x\":[0", ",0", CLV_KUBE_VALUES, "]}");
	assert_null(parse(CLV_KUBE_POD, text));
	free(text);
}

/* ---- streams ---------------------------------------------------------------------------------------------------- */

/* What a stream gave, as text: "+name@version", "-name@version", "=version", "!code message". */
struct seen {
	char text[4096];
	int fail_at; /* item() fails at this one; 0: never */
	int count;
};

static int on_item(void *ctx, struct clv_kube_item *item)
{
	static const char marks[] = {[CLV_KUBE_WATCH_ADDED] = '+', [CLV_KUBE_WATCH_DELETED] = '-'};
	struct seen *s = ctx;
	size_t len = strlen(s->text);
	char *to = s->text + len;
	size_t room = sizeof(s->text) - len;

	if (item->type == CLV_KUBE_WATCH_BOOKMARK)
		snprintf(to, room, "=%s ", item->resource_version);
	else if (item->type == CLV_KUBE_WATCH_ERROR)
		snprintf(to, room, "!%d %s ", item->code, item->message);
	else
		snprintf(to, room, "%c%s@%s ", marks[item->type], item->object->name, item->resource_version);
	clv_kube_object_free(item->object);
	return ++s->count == s->fail_at ? -EINTR : 0;
}

/* In pieces: of `piece` bytes each, or of random ones when it is 0. Returns the first error. */
static int feed(struct clv_kube_cutter *c, const char *text, size_t piece, unsigned *seed, struct seen *s)
{
	size_t len = strlen(text), n;
	int err = 0;

	for (size_t at = 0; at < len && !err; at += n) {
		n = piece ? piece : 1 + (size_t)rand_r(seed) % 64;
		n = n < len - at ? n : len - at;
		char *copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, text + at, n);
		err = clv_kube_cutter_feed(c, clv_slice(copy, n), on_item, s);
		free(copy);
	}
	return err;
}

/* The same in any pieces. */
static void assert_stream(bool list, const char *text, int want_err, const char *want, uint64_t skipped)
{
	unsigned seed = 1;

	for (size_t piece = 0; piece < 70; piece++) {
		struct clv_kube_cutter *c = clv_kube_cutter_new(CLV_KUBE_SERVICE, list);
		struct seen s = {0};

		assert_non_null(c);
		assert_int_equal(feed(c, text, piece, &seed, &s), want_err);
		assert_string_equal(s.text, want);
		assert_int_equal(clv_kube_cutter_skipped(c), skipped);
		clv_kube_cutter_free(c);
	}
}

#define OBJECT(name, version) "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}"

static void test_watch(void **state)
{
	assert_stream(
		false,
		"{\"type\":\"ADDED\",\"object\":" OBJECT(
			"a", "1") "}\n"
				  "{\"type\":\"MODIFIED\",\"object\":" OBJECT(
					  "b{\\\"}\\\\",
					  "2") "}"
					       "{\"type\":\"DELETED\",\"object\":" OBJECT(
						       "]\\n[", "3") "} \r\n\t"
								     "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{"
								     "\"resourceVersion\":\"4\"}}}\n"
								     "{\"type\":\"ERROR\",\"object\":{\"kind\":"
								     "\"Status\",\"code\":410,\"message\":\"gone\"}}\n"
								     "{\"type\":\"ADDED\",\"object\":",
		0, "+a@1 +b{\"}\\@2 -]\n[@3 =4 !410 gone ", 0);
}

static void test_watch_with_odd_lines(void **state)
{
	assert_stream(false,
		      "{\"type\":\"ADDED\",\"object\":{}}{\"type\":\"NEW\",\"object\":" OBJECT(
			      "a", "1") "}{}"
					"{\"type\":7}{\"a\":[}}{\"type\":\"ADDED\"}{\"type\":\"ERROR\"}"
					"{\"type\":\"ADDED\",\"object\":" OBJECT("b", "2") "}",
		      0, "!0  +b@2 ", 6);
	assert_stream(false, "{\"type\":\"BOOKMARK\"}x", -EBADMSG, "= ", 0);
	assert_stream(false, "[]", -EBADMSG, "", 0);
	assert_stream(false, "<html>", -EBADMSG, "", 0);
}

static void test_list(void **state)
{
	assert_stream(
		true,
		"{\"kind\":\"List\",\"x\":[{\"items\":[]},\"]\"],\"n\":-1.5e3,\"t\":true , \"items\" : [ " OBJECT(
			"a", "1") " ,\n" OBJECT("b", "2") "],\"y\":null,\"metadata\":{\"resourceVersion\":\"9\"}}\n",
		0, "+a@1 +b@2 ", 0);
	assert_stream(true, "{\"items\":null,\"metadata\":{}}", 0, "", 0);
	assert_stream(true, "{\"items\":[{},{\"a\":[}}," OBJECT("b", "2") "]}", 0, "+b@2 ", 2);
}

static void test_not_a_list(void **state)
{
	static const char *const texts[] = {"[]",
					    "x",
					    "{\"items\":{}}",
					    "{\"items\":[7]}",
					    "{\"items\":7}",
					    "{\"metadata\":[]}",
					    "{\"a\"}",
					    "{\"a\":}",
					    "{a:1}",
					    "{}{}",
					    "{\"items\":[]]"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_stream(true, texts[i], -EBADMSG, "", 0);
}

static int end_of(const char *text, char version[CLV_KUBE_VERSION_BYTES], char **next)
{
	struct clv_kube_cutter *c = clv_kube_cutter_new(CLV_KUBE_POD, true);
	struct seen s = {0};
	unsigned seed = 1;

	assert_non_null(c);
	int err = feed(c, text, 1, &seed, &s);
	if (!err)
		err = clv_kube_cutter_end(c, version, next);
	clv_kube_cutter_free(c);
	return err;
}

static void test_end_of_list(void **state)
{
	char version[CLV_KUBE_VERSION_BYTES], *next;

	assert_int_equal(
		end_of("{\"metadata\":{\"resourceVersion\":\"12\",\"continue\":\"abc\"},\"items\":[]}", version, &next),
		0);
	assert_string_equal(version, "12");
	assert_string_equal(next, "abc");
	free(next);
	assert_int_equal(end_of("{\"items\":[],\"metadata\":{\"resourceVersion\":\"13\"}}", version, &next), 0);
	assert_string_equal(version, "13");
	assert_string_equal(next, "");
	free(next);

	static const char *const texts[] = {"",
					    "{\"items\":[]",
					    "{\"items\":[]}",
					    "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[",
					    "{\"metadata\":{}}",
					    "{\"metadata\":{\"resourceVersion\":7}}",
					    "{\"kind\":\"Status\",\"metadata\":{},\"code\":500}"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(end_of(texts[i], version, &next), -EBADMSG);
}

static void test_long_tokens(void **state)
{
	char version[CLV_KUBE_VERSION_BYTES], *next;
	char *text = repeat("{\"metadata\":{\"resourceVersion\":\"", "1", CLV_KUBE_VERSION_BYTES, "\"}}");

	assert_int_equal(end_of(text, version, &next), -EBADMSG);
	free(text);
	text = repeat("{\"metadata\":{\"resourceVersion\":\"1\",\"continue\":\"", "1", CLV_KUBE_CONTINUE_BYTES, "\"}}");
	assert_int_equal(end_of(text, version, &next), -EBADMSG);
	free(text);
}

/* What is too long, or too deep, is passed over; its brackets count all the same. */
static void test_skips_what_is_too_much(void **state)
{
	char *close = repeat("", "}]", 150, "}," OBJECT("b", "2") "]}");
	char *deep = repeat("{\"items\":[{\"x\":", "[{\"a\":", 150, "7");
	char *text = malloc(strlen(deep) + strlen(close) + 1);

	assert_non_null(text);
	strcpy(stpcpy(text, deep), close);
	assert_stream(true, text, 0, "+b@2 ", 1);
	free(text);
	free(deep);
	free(close);

	text = repeat("{\"items\":[{\"x\":[0", ",0", CLV_KUBE_VALUES, "]}," OBJECT("b", "2") "]}");
	assert_stream(true, text, 0, "+b@2 ", 1);
	free(text);

	text = repeat("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"},\"x\":\"", "0123456789}{\\\"",
		      CLV_KUBE_OBJECT_BYTES / 14 + 100, "\"}}{\"type\":\"ADDED\",\"object\":" OBJECT("b", "2") "}");
	struct clv_kube_cutter *c = clv_kube_cutter_new(CLV_KUBE_SERVICE, false);
	struct seen s = {0};
	unsigned seed = 1;
	assert_int_equal(feed(c, text, 16384, &seed, &s), 0);
	assert_string_equal(s.text, "+b@2 ");
	assert_int_equal(clv_kube_cutter_skipped(c), 1);
	clv_kube_cutter_free(c);
	free(text);
}

static void test_receiver_ends_it(void **state)
{
	struct clv_kube_cutter *c = clv_kube_cutter_new(CLV_KUBE_SERVICE, true);
	struct seen s = {.fail_at = 2};
	unsigned seed = 1;

	assert_int_equal(
		feed(c, "{\"items\":[" OBJECT("a", "1") "," OBJECT("b", "2") "," OBJECT("c", "3"), 4096, &seed, &s),
		-EINTR);
	assert_int_equal(s.count, 2);
	assert_int_equal(clv_kube_cutter_feed(c, CLV_LIT("]}"), on_item, &s), -EBADMSG); /* no going on */
	clv_kube_cutter_free(c);
}

static void test_status(void **state)
{
	struct clv_kube_item item;

	assert_true(clv_kube_parse_status(
		CLV_LIT("{\"kind\":\"Status\",\"code\":403,\"message\":\"no\",\"metadata\":{}}"), &item));
	assert_int_equal(item.code, 403);
	assert_string_equal(item.message, "no");
	assert_false(clv_kube_parse_status(CLV_LIT("{\"kind\":\"Pod\"}"), &item));
	assert_false(clv_kube_parse_status(CLV_LIT("Unauthorized"), &item));
	assert_false(clv_kube_parse_status(CLV_LIT(""), &item));
	assert_true(clv_kube_parse_status(CLV_LIT("{\"kind\":\"Status\",\"code\":123456789,\"message\":[]}"), &item));
	assert_int_equal(item.code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pod),
		cmocka_unit_test(test_containers),
		cmocka_unit_test(test_a_uid_that_is_too_long),
		cmocka_unit_test(test_service),
		cmocka_unit_test(test_endpointslice),
		cmocka_unit_test(test_replicaset),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_odd_fields),
		cmocka_unit_test(test_is_none),
		cmocka_unit_test(test_duplicates_and_escapes),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_long_lists),
		cmocka_unit_test(test_too_long_or_deep),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_watch_with_odd_lines),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_not_a_list),
		cmocka_unit_test(test_end_of_list),
		cmocka_unit_test(test_long_tokens),
		cmocka_unit_test(test_skips_what_is_too_much),
		cmocka_unit_test(test_receiver_ends_it),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
