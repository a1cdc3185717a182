/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: what is counted where, its bounds, what is gone, and a reader beside the writer. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "export/metrics.h"
#include "export/prometheus.h"

#define MS       1000000ull
#define START_NS (1700000000ull * 1000 * MS)

static struct clv_metrics *m;
static struct clv_resources *rs;
static struct clv_span span;

static void open_with(struct clv_metrics_config config)
{
	config.now_ns = START_NS;
	assert_int_equal(clv_metrics_new(&config, &m), 0);
}

static int set_up(void **state)
{
	open_with((struct clv_metrics_config){0});
	assert_int_equal(clv_resources_new(CLV_LIT("shop"), NULL, 0, &rs), 0);
	return 0;
}

static int tear_down(void **state)
{
	clv_metrics_free(m);
	clv_resources_free(rs);
	return 0;
}

static void reopen(struct clv_metrics_config config)
{
	clv_metrics_free(m);
	open_with(config);
}

static const struct clv_resource *shop(void)
{
	return clv_resources_get(rs, 0);
}

static void begin_span(enum clv_span_kind kind, uint64_t took_ns, const char *host, int status)
{
	memset(&span, 0, sizeof(span));
	span.resource = shop();
	span.kind = kind;
	span.start_ns = START_NS;
	span.end_ns = START_NS + took_ns;
	memset(span.trace_id, 1, sizeof(span.trace_id));
	clv_span_str(&span, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_LIT("GET"));
	clv_span_str(&span, CLV_ATTR_URL_PATH, clv_slice_str(host));
	clv_span_str(&span, CLV_ATTR_URL_SCHEME, CLV_LIT("http"));
	clv_span_str(&span, CLV_ATTR_SERVER_ADDRESS, clv_slice_str(host));
	clv_span_int(&span, CLV_ATTR_SERVER_PORT, 80);
	if (status)
		clv_span_int(&span, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, status);
}

static void count(enum clv_span_kind kind, uint64_t took_ns, const char *host)
{
	begin_span(kind, took_ns, host, 200);
	clv_metrics_span(m, 0, &span, true);
}

static void event(enum clv_event_kind kind, const char *method)
{
	struct clv_event e = {.kind = kind, .ts_ns = START_NS, .value = 1, .method = clv_slice_str(method)};

	clv_metrics_event(m, 0, shop(), &e);
}

/* The series of one family: how many, their sum, and the last one. */
struct found {
	const char *name;
	unsigned points, overflows;
	uint64_t sum;
	struct clv_metric_point last;
	char label[8][64];
};

static void find_point(void *ctx, const struct clv_metric_point *p)
{
	struct found *f = ctx;

	if (strcmp(p->family->name, f->name) != 0)
		return;
	f->points++;
	f->sum += p->family->type == CLV_METRIC_HISTOGRAM ? p->count : (uint64_t)p->value;
	f->last = *p;
	for (uint32_t i = 0; i < p->label_count && i < 8; i++)
		snprintf(f->label[i], sizeof(f->label[i]), "%s=%.*s", p->labels[i].key, (int)p->labels[i].text.len,
			 (const char *)p->labels[i].text.data);
	f->overflows += p->label_count == 1 && p->labels[0].boolean;
}

static struct found find(const char *name)
{
	struct found f = {.name = name};

	assert_int_equal(clv_metrics_visit(m, CLV_METRICS_BY_FAMILY, find_point, &f), 0);
	return f;
}

#define SERVER "http.server.request.duration"
#define CLIENT "http.client.request.duration"

static void test_buckets_are_inclusive(void **state)
{
	static const uint64_t took[] = {0, 5 * MS, 5 * MS + 1, 10 * MS, 10000 * MS, 10000 * MS + 1};
	uint64_t sum = 0;

	for (size_t i = 0; i < 6; i++) {
		count(CLV_KIND_SERVER, took[i], "a");
		sum += took[i];
	}
	struct found f = find(SERVER);
	assert_int_equal(f.points, 1);
	assert_int_equal(f.last.count, 6);
	assert_int_equal(f.last.sum, sum);
	assert_int_equal(f.last.bound_count, 14);
	assert_int_equal(f.last.bucket[0], 2);
	assert_int_equal(f.last.bucket[1], 2);
	assert_int_equal(f.last.bucket[13], 1);
	assert_int_equal(f.last.bucket[14], 1);
	assert_int_equal(f.last.exemplar[0].value, 5 * MS);
	assert_int_equal(f.last.exemplar[0].trace_id[15], 1);
	assert_int_equal(f.last.exemplar[2].ts_ns, 0);
	assert_int_equal(f.last.start_ns, START_NS);
}

static void test_own_bounds(void **state)
{
	static const double bounds[] = {0.1, 0.2}, falling[] = {0.2, 0.1}, same[] = {0.1, 0.1};
	struct clv_metrics *other = NULL;

	reopen((struct clv_metrics_config){.bounds = bounds, .bound_count = 2});
	count(CLV_KIND_SERVER, 150 * MS, "a");
	struct found f = find(SERVER);
	assert_int_equal(f.last.bound_count, 2);
	assert_int_equal(f.last.bucket[1], 1);
	assert_int_equal(clv_metrics_new(&(struct clv_metrics_config){.bounds = falling, .bound_count = 2}, &other),
			 -EINVAL);
	assert_int_equal(clv_metrics_new(&(struct clv_metrics_config){.bounds = same, .bound_count = 2}, &other),
			 -EINVAL);
	assert_int_equal(clv_metrics_new(&(struct clv_metrics_config){.bounds = bounds, .bound_count = 33}, &other),
			 -EINVAL);
	assert_null(other);
}

/* The path is no label, the client's idea of a server is one for clients only. */
static void test_labels(void **state)
{
	count(CLV_KIND_SERVER, MS, "a");
	count(CLV_KIND_SERVER, MS, "b");
	count(CLV_KIND_CLIENT, MS, "a");
	count(CLV_KIND_CLIENT, MS, "b");
	struct found f = find(SERVER);
	assert_int_equal(f.points, 1);
	assert_int_equal(f.last.label_count, 3);
	assert_string_equal(f.label[0], "http.request.method=GET");
	assert_string_equal(f.label[1], "http.response.status_code=200");
	assert_string_equal(f.label[2], "url.scheme=http");
	f = find(CLIENT);
	assert_int_equal(f.points, 2);
	assert_string_equal(f.label[4], "server.port=80");
	assert_true(f.last.labels[4].integer);
	assert_int_equal(f.last.labels[4].number, 80);
}

/* Bytes that are no text become text before they are compared, so no two series can look alike. */
static void test_odd_text(void **state)
{
	static char longer[400];

	count(CLV_KIND_CLIENT, MS, "\xff");
	count(CLV_KIND_CLIENT, MS, "\\xff");
	struct found f = find(CLIENT);
	assert_int_equal(f.points, 1);
	assert_string_equal(f.label[3], "server.address=\\xff");
	memset(longer, 'x', sizeof(longer) - 1);
	count(CLV_KIND_CLIENT, MS, longer);
	longer[300] = 'y';
	count(CLV_KIND_CLIENT, MS, longer);
	f = find(CLIENT);
	assert_int_equal(f.points, 2);
	assert_int_equal(f.last.labels[3].text.len, CLV_METRICS_VALUE);
	count(CLV_KIND_CLIENT, MS, "\xc3\xa9");
	assert_string_equal(find(CLIENT).label[3], "server.address=\xc3\xa9");
}

static void test_what_has_no_duration(void **state)
{
	begin_span(CLV_KIND_SERVER, MS, "a", 0);
	clv_metrics_span(m, 0, &span, true);
	assert_int_equal(find(SERVER).points, 0);
	assert_int_equal(find("clovisor.http.server.unpaired").sum, 1);
	clv_span_str(&span, CLV_ATTR_ERROR_TYPE, CLV_LIT("connection_reset"));
	clv_metrics_span(m, 0, &span, true);
	assert_int_equal(find(SERVER).last.count, 1);
	assert_int_equal(find("http.server.response.body.size").points, 0);
	memset(&span, 0, sizeof(span)); /* of another protocol */
	span.resource = shop();
	clv_metrics_span(m, 0, &span, true);
	assert_int_equal(find(SERVER).sum, 1);
}

static void test_only_kept_spans_are_exemplars(void **state)
{
	begin_span(CLV_KIND_SERVER, MS, "a", 200);
	clv_metrics_span(m, 0, &span, false);
	struct found f = find(SERVER);
	assert_int_equal(f.last.bucket[0], 1);
	assert_int_equal(f.last.exemplar[0].ts_ns, 0);
}

static void test_active(void **state)
{
	event(CLV_EVENT_REQUEST, "GET");
	event(CLV_EVENT_REQUEST, "GET");
	event(CLV_EVENT_REQUEST, "get");
	event(CLV_EVENT_REQUEST_END, "GET");
	struct found f = find("http.server.active_requests");
	assert_int_equal(f.points, 2);
	assert_int_equal(f.sum, 2);
	assert_string_equal(f.label[0], "http.request.method=_OTHER");
	/* It began under a resource that is no more. */
	event(CLV_EVENT_REQUEST_END, "GET");
	event(CLV_EVENT_REQUEST_END, "GET");
	assert_int_equal(find("http.server.active_requests").sum, 1);
}

/* One metric of one resource: 1,999 series and the overflow. */
static void other_span(enum clv_span_kind kind, uint64_t took_ns, const char *protocol)
{
	memset(&span, 0, sizeof(span));
	span.resource = shop();
	span.kind = kind;
	span.protocol = protocol;
	span.start_ns = START_NS;
	span.end_ns = START_NS + took_ns;
	clv_span_str(&span, CLV_ATTR_SERVER_ADDRESS, CLV_LIT("there"));
	clv_span_int(&span, CLV_ATTR_SERVER_PORT, 5432);
}

static void call(enum clv_span_kind kind, const char *status, bool failed)
{
	other_span(kind, 7 * MS, "grpc");
	clv_span_str(&span, CLV_ATTR_RPC_SYSTEM_NAME, CLV_LIT("grpc"));
	clv_span_str(&span, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_LIT("POST")); /* the call is what counts */
	clv_span_str(&span, CLV_ATTR_RPC_METHOD, CLV_LIT("shop.Cart/Add"));
	clv_span_str(&span, CLV_ATTR_RPC_RESPONSE_STATUS_CODE, clv_slice_str(status));
	if (failed)
		clv_span_str(&span, CLV_ATTR_ERROR_TYPE, clv_slice_str(status));
	clv_metrics_span(m, 0, &span, true);
}

static void test_calls(void **state)
{
	call(CLV_KIND_SERVER, "OK", false);
	call(CLV_KIND_CLIENT, "OK", false);
	call(CLV_KIND_CLIENT, "UNAVAILABLE", true);
	struct found f = find("rpc.server.call.duration");
	assert_int_equal(f.points, 1);
	assert_int_equal(f.last.label_count, 3);
	assert_string_equal(f.label[0], "rpc.system.name=grpc");
	assert_string_equal(f.label[1], "rpc.method=shop.Cart/Add");
	assert_string_equal(f.label[2], "rpc.response.status_code=OK");
	assert_int_equal(f.last.bound_count, 14);
	f = find("rpc.client.call.duration");
	assert_int_equal(f.points, 2);
	assert_int_equal(f.last.label_count, 6);
	assert_string_equal(f.label[3], "error.type=UNAVAILABLE");
	assert_string_equal(f.label[4], "server.address=there");
	assert_int_equal(find(SERVER).points + find(CLIENT).points, 0);
}

/* Its text is no label, and a database's own view has a name of its own: the convention is for clients. */
static void test_databases(void **state)
{
	static const char *const names[] = {[CLV_KIND_SERVER] = "clovisor.db.server.operation.duration",
					    [CLV_KIND_CLIENT] = "db.client.operation.duration"};

	for (int kind = 0; kind < 2; kind++) {
		other_span((enum clv_span_kind)kind, 7 * MS, "postgresql");
		clv_span_str(&span, CLV_ATTR_DB_SYSTEM_NAME, CLV_LIT("postgresql"));
		clv_span_str(&span, CLV_ATTR_DB_NAMESPACE, CLV_LIT("shop"));
		clv_span_str(&span, CLV_ATTR_DB_QUERY_TEXT, CLV_LIT("SELECT * FROM carts WHERE id = ?"));
		clv_span_str(&span, CLV_ATTR_DB_QUERY_SUMMARY, CLV_LIT("SELECT carts"));
		clv_metrics_span(m, 0, &span, true);
		span.flags = CLV_SPAN_UNPAIRED;
		clv_metrics_span(m, 0, &span, true);
		struct found f = find(names[kind]);
		assert_int_equal(f.points, 1);
		assert_int_equal(f.last.count, 1);
		assert_int_equal(f.last.label_count, kind == CLV_KIND_CLIENT ? 5 : 3);
		assert_string_equal(f.label[0], "db.system.name=postgresql");
		assert_string_equal(f.label[1], "db.namespace=shop");
		assert_string_equal(f.label[2], "db.query.summary=SELECT carts");
		assert_int_equal(f.last.bound_count, 9);
		assert_int_equal(f.last.bucket[2], 1); /* up to 10 ms */
	}
	struct found f = find("clovisor.client.unpaired");
	assert_int_equal(f.sum, 1);
	assert_string_equal(f.label[0], "network.protocol.name=postgresql");
	assert_int_equal(find("clovisor.server.unpaired").sum, 1);
	assert_int_equal(find("clovisor.http.server.unpaired").points, 0);
}

static void test_lookups(void **state)
{
	other_span(CLV_KIND_CLIENT, 7 * MS, "dns");
	clv_span_str(&span, CLV_ATTR_DNS_QUESTION_NAME, CLV_LIT("shop.example"));
	clv_span_str(&span, CLV_ATTR_ERROR_TYPE, CLV_LIT("NXDOMAIN"));
	clv_metrics_span(m, 0, &span, true);
	struct found f = find("dns.lookup.duration");
	assert_int_equal(f.points, 1);
	assert_string_equal(f.label[0], "dns.question.name=shop.example");
	assert_string_equal(f.label[1], "error.type=NXDOMAIN");
	span.kind = CLV_KIND_SERVER;
	clv_metrics_span(m, 0, &span, true);
	assert_int_equal(find("dns.lookup.duration").sum, 1);
	assert_int_equal(find("clovisor.dns.server.lookup.duration").sum, 1);
}

/* What counts of a WebSocket is how long its request took, not how long it stayed. */
static void test_websockets(void **state)
{
	begin_span(CLV_KIND_SERVER, 100000 * MS, "a", 101);
	span.protocol = "websocket";
	span.first_ns = START_NS + 3 * MS;
	clv_metrics_span(m, 0, &span, true);
	assert_int_equal(find(SERVER).last.sum, 3 * MS);
}

static void other_event(enum clv_event_kind kind, const char *protocol)
{
	struct clv_event e = {
		.kind = kind, .ts_ns = START_NS, .value = 100, .method = CLV_LIT("GET"), .protocol = protocol};

	clv_metrics_event(m, 0, shop(), &e);
}

static void test_active_of_others(void **state)
{
	other_event(CLV_EVENT_REQUEST, "redis");
	other_event(CLV_EVENT_REQUEST, "redis");
	other_event(CLV_EVENT_REQUEST, "http2");
	other_event(CLV_EVENT_REQUEST_END, "redis");
	struct found f = find("clovisor.server.active_requests");
	assert_int_equal(f.sum, 1);
	assert_string_equal(f.label[0], "network.protocol.name=redis");
	assert_int_equal(find("http.server.active_requests").sum, 1);
	clv_metrics_gone(m, shop()->id, START_NS);
	assert_int_equal(find("clovisor.server.active_requests").sum, 0);
}

static void test_datagrams(void **state)
{
	other_event(CLV_EVENT_DATAGRAM, NULL);
	other_event(CLV_EVENT_DATAGRAM, NULL);
	assert_int_equal(find("clovisor.udp.io").sum, 200);
	struct found f = find("clovisor.udp.datagrams");
	assert_int_equal(f.sum, 2);
	assert_string_equal(f.label[0], "network.io.direction=receive");
}

static void test_limit_of_one_metric(void **state)
{
	char host[16];

	for (int i = 0; i < 3000; i++) {
		snprintf(host, sizeof(host), "h%d", i);
		count(CLV_KIND_CLIENT, MS, host);
	}
	count(CLV_KIND_CLIENT, MS, "h5");
	struct found f = find(CLIENT);
	assert_int_equal(f.points, CLV_METRICS_SERIES_EACH);
	assert_int_equal(f.overflows, 1);
	assert_int_equal(f.sum, 3001);
	assert_int_equal(clv_metrics_overflowed(m), 3000 - 1999);
	count(CLV_KIND_SERVER, MS, "a"); /* others have their room */
	assert_int_equal(find(SERVER).overflows, 0);
}

/* The cap of all: what does not fit goes to clovisor's own overflow, whatever resource it is of. */
static void test_limit_of_all(void **state)
{
	char host[16];

	reopen((struct clv_metrics_config){.max_series = 30});
	for (int i = 0; i < 100; i++) {
		snprintf(host, sizeof(host), "h%d", i);
		count(CLV_KIND_CLIENT, MS, host);
	}
	struct found f = find(CLIENT);
	assert_int_equal(f.points, 11);
	assert_int_equal(f.overflows, 1);
	assert_int_equal(f.sum, 100);
	assert_true(clv_metrics_series(m) <= 30);
	count(CLV_KIND_SERVER, MS, "a");
	event(CLV_EVENT_OPENED, "");
	event(CLV_EVENT_BYTES, "");
	event(CLV_EVENT_BYTES, "");
	assert_int_equal(find(SERVER).overflows, 1);
	assert_int_equal(find("clovisor.tcp.connections.opened").sum, 1);
	assert_int_equal(find("clovisor.tcp.io").sum, 2);
}

static void test_gone(void **state)
{
	assert_int_equal(clv_resources_set(rs, 0, CLV_LIT("new"), NULL, 0), 0);
	count(CLV_KIND_SERVER, MS, "a");
	event(CLV_EVENT_OPENED, "");
	size_t series = clv_metrics_series(m);
	clv_metrics_gone(m, shop()->id, START_NS);
	clv_metrics_gone(m, 4000000000, START_NS);
	clv_metrics_sweep(m, START_NS + CLV_METRICS_LINGER_NS);
	assert_int_equal(find(SERVER).points, 1);
	clv_metrics_sweep(m, START_NS + CLV_METRICS_LINGER_NS + 1);
	assert_int_equal(find(SERVER).points, 0);
	assert_int_equal(clv_metrics_series(m), 0);
	/* What comes all the same begins anew, with a start of its own. */
	begin_span(CLV_KIND_SERVER, MS, "a", 200);
	span.start_ns += MS;
	clv_metrics_span(m, 0, &span, true);
	event(CLV_EVENT_OPENED, "");
	assert_int_equal(clv_metrics_series(m), series);
	assert_int_equal(find(SERVER).last.count, 1);
	assert_int_equal(find(SERVER).last.start_ns, START_NS + MS);
	assert_int_equal(find("clovisor.tcp.connections.opened").sum, 1);
}

static void set_pod(uint32_t net, const char *interface)
{
	const struct clv_resource_attr attr = {CLV_LIT("network.interface.name"), clv_slice_str(interface)};

	assert_int_equal(clv_resources_set(rs, net, CLV_LIT("pod"), &attr, 1), 0);
}

static void count_at(uint32_t net)
{
	const struct clv_event begun = {.kind = CLV_EVENT_REQUEST, .ts_ns = START_NS, .method = CLV_LIT("GET")};

	begin_span(CLV_KIND_SERVER, MS, "a", 200);
	span.resource = clv_resources_get(rs, net);
	clv_metrics_span(m, 0, &span, true);
	clv_metrics_event(m, 0, span.resource, &begun);
}

/* A series that stands twice in a scrape makes Prometheus refuse one of them, or all. */
static void test_one_series_of_a_name(void **state)
{
	set_pod(1, "veth1");
	set_pod(2, "veth2");
	count_at(1);
	count_at(2);
	struct clv_grow text = {0};
	assert_int_equal(clv_prometheus_write(m, CLV_PROMETHEUS_TEXT, &text), 0);
	clv_grow_put(&text, "", 1);
	assert_non_null(strstr(text.data, "network_interface_name=\"veth1\"} 1\n"));
	assert_non_null(strstr(text.data, "network_interface_name=\"veth2\"} 1\n"));
	clv_grow_fini(&text);
	assert_int_equal(find(SERVER).points, 2);

	/* One that is gone lingers, and has nothing under way; its successor takes its place at once. */
	uint32_t old = clv_resources_get(rs, 1)->id;
	clv_metrics_gone(m, old, START_NS);
	assert_int_equal(find(SERVER).points, 2);
	assert_int_equal(find("http.server.active_requests").sum, 1);
	set_pod(1, "veth1");
	count_at(1);
	assert_int_equal(find(SERVER).points, 2);
	assert_int_equal(find(SERVER).sum, 2);
	size_t before = clv_metrics_series(m);
	clv_metrics_sweep(m, START_NS + 1);
	assert_true(clv_metrics_series(m) < before);
	assert_int_equal(find(SERVER).points, 2);

	/* The successor may also be there first. */
	old = clv_resources_get(rs, 2)->id;
	set_pod(2, "veth2");
	count_at(2);
	clv_metrics_gone(m, old, START_NS);
	assert_int_equal(find(SERVER).points, 2);
}

/* Room is used again, and the table still finds who stays. */
static void test_many_come_and_go(void **state)
{
	count(CLV_KIND_SERVER, MS, "a");
	reopen((struct clv_metrics_config){.max_series = 100});
	count(CLV_KIND_SERVER, MS, "a");
	for (uint64_t round = 0; round < 50; round++) {
		uint64_t now_ns = START_NS + round * 2 * CLV_METRICS_LINGER_NS;
		char host[16];

		assert_int_equal(clv_resources_set(rs, 1, CLV_LIT("pod"), NULL, 0), 0);
		for (int i = 0; i < 20; i++) {
			snprintf(host, sizeof(host), "h%d", i);
			begin_span(CLV_KIND_CLIENT, MS, host, 200);
			span.resource = clv_resources_get(rs, 1);
			clv_metrics_span(m, 0, &span, true);
		}
		clv_metrics_gone(m, clv_resources_get(rs, 1)->id, now_ns);
		clv_metrics_sweep(m, now_ns + 2 * CLV_METRICS_LINGER_NS);
		count(CLV_KIND_SERVER, MS, "a");
	}
	assert_int_equal(clv_metrics_overflowed(m), 0);
	assert_int_equal(find(SERVER).points, 1);
	assert_int_equal(find(SERVER).sum, 51);
	assert_int_equal(clv_metrics_series(m), 3);
}

static void test_figures(void **state)
{
	struct clv_figure f[] = {{"packets", "", false, 5},
				 {"drop_gaps", "", true, 2},
				 {"what", "", false, 9},
				 {"metrics_overflow", "", true, 4}}; /* which the registry tells itself */

	clv_metrics_figures(m, f, 4, START_NS);
	f[0].value = 8;
	clv_metrics_figures(m, f, 4, START_NS);
	assert_int_equal(find("clovisor.packets").sum, 8);
	assert_int_equal(find("clovisor.packets").last.start_ns, START_NS);
	assert_int_equal(find("clovisor.dropped").sum, 2); /* and what the registry itself dropped: nothing */
	assert_int_equal(find("clovisor.metric.series").points, 1);
}

static void test_names(void **state)
{
	static const struct {
		struct clv_metric_family family;
		const char *name;
	} cases[] = {
		{{.name = "http.server.request.duration", .unit = "s"}, "http_server_request_duration_seconds"},
		{{.name = "clovisor.packet.bytes", .unit = "By"}, "clovisor_packet_bytes"},
		{{.name = "clovisor.memory.used", .unit = "By"}, "clovisor_memory_used_bytes"},
		{{.name = "clovisor.packets", .unit = "{packet}"}, "clovisor_packets"},
		{{.name = "9..a", .unit = "1"}, "_9_a"},
		{{.name = "bytes", .unit = "By"}, "bytes"},
		{{.name = "s", .unit = "By"}, "s_bytes"},
	};
	char name[CLV_PROMETHEUS_NAME];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		clv_prometheus_name(&cases[i].family, name);
		assert_string_equal(name, cases[i].name);
	}
}

/* ---- a reader beside the writer -----------------------------------------------------------------------------------
 */

struct reader {
	atomic_bool stop;
	_Atomic uint64_t visits;
	uint64_t last, wrong;
};

static void check_point(void *ctx, const struct clv_metric_point *p)
{
	struct reader *r = ctx;

	if (strcmp(p->family->name, SERVER) != 0)
		return;
	for (uint32_t i = 0; i <= p->bound_count; i++) {
		const struct clv_metric_exemplar *x = &p->exemplar[i];
		/* The writer's ids are made of the value: a torn exemplar would show. */
		uint64_t id;

		memcpy(&id, x->trace_id, sizeof(id));
		if (x->ts_ns)
			r->wrong += id != x->value;
	}
	r->wrong += p->count < r->last; /* counters never go back */
	r->last = p->count;
}

static void *read_all(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop)) {
		if (clv_metrics_visit(m, CLV_METRICS_BY_RESOURCE, check_point, r))
			r->wrong++;
		r->visits++;
	}
	return NULL;
}

static void test_reader_beside_writer(void **state)
{
	struct reader r = {0};
	pthread_t thread;
	uint64_t sent = 0;
	char host[16];

	assert_int_equal(pthread_create(&thread, NULL, read_all, &r), 0);
	for (uint64_t i = 0; i < 20000 || atomic_load(&r.visits) < 50; i++) {
		begin_span(CLV_KIND_SERVER, i, "a", 200);
		memcpy(span.trace_id, &i, sizeof(i));
		clv_metrics_span(m, 0, &span, true);
		sent++;
		snprintf(host, sizeof(host), "h%u", (unsigned)(i % 500));
		assert_int_equal(clv_resources_set(rs, 1, CLV_LIT("pod"), NULL, 0), 0);
		begin_span(CLV_KIND_CLIENT, MS, host, 200);
		span.resource = clv_resources_get(rs, 1);
		clv_metrics_span(m, 0, &span, true);
		clv_metrics_gone(m, span.resource->id, START_NS);
		if (i % 64 == 0)
			clv_metrics_sweep(m, START_NS + 2 * CLV_METRICS_LINGER_NS);
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(find(SERVER).last.count, sent);
}

/* ---- several writers --------------------------------------------------------------------------------------------- */

#define WRITERS 4u
#define SERIES  50u
#define TURNS   2000u

/* Every one has the same series, which whoever comes first makes. */
static void *write_all(void *arg)
{
	const unsigned writer = *(unsigned *)arg;
	struct clv_event begun = {.kind = CLV_EVENT_REQUEST, .ts_ns = START_NS, .method = CLV_LIT("GET")}, over = begun;
	struct clv_event bytes = {.kind = CLV_EVENT_BYTES, .ts_ns = START_NS, .value = 3};
	struct clv_span mine = {0};
	char host[16];

	over.kind = CLV_EVENT_REQUEST_END;
	for (unsigned i = 0; i < TURNS; i++) {
		snprintf(host, sizeof(host), "h%u", i % SERIES);
		mine = (struct clv_span){.resource = shop(), .kind = CLV_KIND_CLIENT, .start_ns = START_NS};
		mine.end_ns = START_NS + MS + writer;
		mine.trace_id[0] = (uint8_t)(writer + 1);
		clv_span_str(&mine, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_LIT("GET"));
		clv_span_str(&mine, CLV_ATTR_SERVER_ADDRESS, clv_slice_str(host));
		clv_span_int(&mine, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, 200);
		clv_metrics_span(m, writer, &mine, true);
		clv_metrics_event(m, writer, shop(), &begun);
		clv_metrics_event(m, writer, shop(), &bytes);
		if (i) /* one is left */
			clv_metrics_event(m, writer, shop(), &over);
	}
	return NULL;
}

static void test_what_is_told_is_of_all_writers(void **state)
{
	struct reader r = {0};
	pthread_t reader, thread[WRITERS];
	unsigned number[WRITERS];

	assert_int_equal(pthread_create(&reader, NULL, read_all, &r), 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		number[i] = i * (CLV_METRICS_WRITERS - 1) / (WRITERS - 1);
		pthread_create(&thread[i], NULL, write_all, &number[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	atomic_store(&r.stop, true);
	pthread_join(reader, NULL);
	assert_int_equal(r.wrong, 0);
	struct found f = find("http.client.request.duration");
	assert_int_equal(f.points, SERIES);
	assert_int_equal(f.sum, WRITERS * TURNS);
	assert_int_equal(f.last.count, WRITERS * TURNS / SERIES);
	assert_int_equal(f.last.sum, (WRITERS * MS + number[0] + number[1] + number[2] + number[3]) * TURNS / SERIES);
	assert_int_equal(f.last.exemplar[0].trace_id[0], CLV_METRICS_WRITERS); /* of the last span */
	assert_int_equal(find("http.server.active_requests").sum, WRITERS);
	assert_int_equal(clv_metrics_overflowed(m), 0);
	clv_metrics_gone(m, shop()->id, START_NS);
	assert_int_equal(find("http.server.active_requests").sum, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_buckets_are_inclusive),
		T(test_own_bounds),
		T(test_labels),
		T(test_odd_text),
		T(test_what_has_no_duration),
		T(test_only_kept_spans_are_exemplars),
		T(test_active),
		T(test_calls),
		T(test_databases),
		T(test_lookups),
		T(test_websockets),
		T(test_active_of_others),
		T(test_datagrams),
		T(test_limit_of_one_metric),
		T(test_limit_of_all),
		T(test_gone),
		T(test_one_series_of_a_name),
		T(test_many_come_and_go),
		T(test_figures),
		T(test_names),
		T(test_reader_beside_writer),
		T(test_what_is_told_is_of_all_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
