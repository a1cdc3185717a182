/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics without packets: fills a registry with what test_metrics.py knows, and writes it out or serves it; or
 * measures what a span and a scrape cost.
 *
 *     metrics_driver text|openmetrics|otlp     to standard output
 *     metrics_driver serve ADDRESS [many]      prints the port, serves until standard input ends; its lines are what
 *                                              tell_health() takes
 *     metrics_driver bench
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "export/metrics_http.h"
#include "export/otlp_metrics.h"
#include "export/prometheus.h"

#define START_NS 1700000000000000000ull
#define MS       1000000ull

static struct clv_span span;

static void begin_span(const struct clv_resource *r, enum clv_span_kind kind, uint64_t took_ns)
{
	memset(&span, 0, sizeof(span));
	span.resource = r;
	span.kind = kind;
	span.start_ns = START_NS;
	span.end_ns = START_NS + took_ns;
	memset(span.trace_id, 0xab, sizeof(span.trace_id));
	memset(span.span_id, 0xcd, sizeof(span.span_id));
}

/* As many attributes as real spans have, in the order of http1_span.c. */
static void describe(const char *host, int64_t status)
{
	clv_span_str(&span, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_LIT("GET"));
	clv_span_str(&span, CLV_ATTR_URL_PATH, CLV_LIT("/users/1"));
	clv_span_str(&span, CLV_ATTR_URL_QUERY, CLV_LIT("a=b"));
	clv_span_str(&span, CLV_ATTR_URL_SCHEME, CLV_LIT("http"));
	clv_span_str(&span, CLV_ATTR_URL_FULL, CLV_LIT("http://shop/users/1"));
	clv_span_str(&span, CLV_ATTR_USER_AGENT_ORIGINAL, CLV_LIT("curl/7.88.1"));
	clv_span_str(&span, CLV_ATTR_SERVER_ADDRESS, clv_slice_str(host));
	clv_span_int(&span, CLV_ATTR_SERVER_PORT, 80);
	clv_span_str(&span, CLV_ATTR_CLIENT_ADDRESS, CLV_LIT("10.0.0.1"));
	clv_span_int(&span, CLV_ATTR_CLIENT_PORT, 40000);
	clv_span_str(&span, CLV_ATTR_NETWORK_PEER_ADDRESS, CLV_LIT("10.0.0.1"));
	clv_span_int(&span, CLV_ATTR_NETWORK_PEER_PORT, 40000);
	clv_span_str(&span, CLV_ATTR_NETWORK_TRANSPORT, CLV_LIT("tcp"));
	clv_span_str(&span, CLV_ATTR_NETWORK_TYPE, CLV_LIT("ipv4"));
	clv_span_str(&span, CLV_ATTR_NETWORK_PROTOCOL_VERSION, CLV_LIT("1.1"));
	if (!status)
		return;
	span.status_code = (int)status;
	clv_span_int(&span, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, status);
	if (status >= 500)
		clv_span_str(&span, CLV_ATTR_ERROR_TYPE, CLV_LIT("500"));
	clv_span_int(&span, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, 0);
	clv_span_int(&span, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, 1000);
	clv_span_int(&span, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE, 1);
	clv_span_bool(&span, CLV_ATTR_CLOVISOR_CONNECTION_REUSED, true);
}

static struct clv_metrics *new_registry(void)
{
	struct clv_metrics_config config = {.now_ns = START_NS};
	struct clv_metrics *m;

	if (clv_metrics_new(&config, &m))
		exit(1);
	return m;
}

static struct clv_resources *new_resources(void)
{
	static const struct clv_resource_attr pod[] = {
		{CLV_LIT("service.instance.id"), CLV_LIT("ns.shop-1.web")},
		{CLV_LIT("k8s.pod.name"), CLV_LIT("shop-1")},
		{CLV_LIT("k8s.pod.uid"), CLV_LIT("1-2-3")},
		{CLV_LIT("odd \"key\""), CLV_LIT("a\\b\"c\nd\xff")},
		{CLV_LIT("k8s_pod.name"), CLV_LIT("the same label again")},
	};
	struct clv_resources *rs;

	if (clv_resources_new(CLV_LIT("other"), NULL, 0, &rs) || clv_resources_set(rs, 1, CLV_LIT("shop"), pod, 5))
		exit(1);
	return rs;
}

static void tell(struct clv_metrics *m, const struct clv_resource *r, struct clv_event e)
{
	e.ts_ns = START_NS;
	clv_metrics_event(m, 0, r, &e);
}

/* test_metrics.py knows these numbers. */
static void fill(struct clv_metrics *m, struct clv_resources *rs)
{
	static const struct clv_figure figures[] = {
		{"packets", "", false, 1234},
		{"drop_gaps", "", true, 3},
		{"ring_full", "", true, 4},
		{"export_spans_sent", "", false, 7},
		{"engine_lag_ns", "", false, 1500000},
		{"nobody knows this", "", false, 9},
	};
	const struct clv_resource *shop = clv_resources_get(rs, 1), *other = clv_resources_get(rs, 0);

	for (int i = 0; i < 10; i++) { /* 10, 20, ... 100 ms */
		begin_span(shop, CLV_KIND_SERVER, (uint64_t)(i + 1) * 10 * MS);
		describe("shop", i < 9 ? 200 : 500);
		clv_metrics_span(m, 0, &span, i % 2 == 0);
	}
	begin_span(shop, CLV_KIND_SERVER, 1000 * MS);
	describe("shop", 0);
	clv_metrics_span(m, 0, &span, true);
	begin_span(other, CLV_KIND_CLIENT, 20000 * MS);
	describe("we\"ird\\host\n\xff", 404);
	clv_metrics_span(m, 0, &span, true);

	begin_span(shop, CLV_KIND_SERVER, 7 * MS);
	clv_span_str(&span, CLV_ATTR_RPC_SYSTEM_NAME, CLV_LIT("grpc"));
	clv_span_str(&span, CLV_ATTR_RPC_METHOD, CLV_LIT("shop.Cart/Add"));
	clv_span_str(&span, CLV_ATTR_RPC_RESPONSE_STATUS_CODE, CLV_LIT("OK"));
	clv_metrics_span(m, 0, &span, true);
	begin_span(shop, CLV_KIND_CLIENT, 7 * MS);
	clv_span_str(&span, CLV_ATTR_DB_SYSTEM_NAME, CLV_LIT("postgresql"));
	clv_span_str(&span, CLV_ATTR_DB_QUERY_SUMMARY, CLV_LIT("SELECT carts"));
	clv_metrics_span(m, 0, &span, true);
	begin_span(shop, CLV_KIND_CLIENT, 7 * MS);
	clv_span_str(&span, CLV_ATTR_DNS_QUESTION_NAME, CLV_LIT("db.example"));
	clv_metrics_span(m, 0, &span, true);

	tell(m, shop, (struct clv_event){.kind = CLV_EVENT_OPENED, .role = CLV_KIND_SERVER});
	tell(m, shop, (struct clv_event){.kind = CLV_EVENT_CONNECTED, .role = CLV_KIND_SERVER, .value = MS});
	tell(m, shop, (struct clv_event){.kind = CLV_EVENT_RTT, .role = CLV_KIND_SERVER, .value = 2 * MS});
	tell(m, shop, (struct clv_event){.kind = CLV_EVENT_RETRANSMITS, .role = CLV_KIND_SERVER, .value = 2});
	tell(m, shop,
	     (struct clv_event){.kind = CLV_EVENT_BYTES, .role = CLV_KIND_SERVER, .value = 500, .transmit = true});
	tell(m, shop,
	     (struct clv_event){.kind = CLV_EVENT_REQUEST, .role = CLV_KIND_SERVER, .method = CLV_LIT("BREW")});
	tell(m, shop, (struct clv_event){.kind = CLV_EVENT_REQUEST, .role = CLV_KIND_CLIENT, .protocol = "redis"});
	tell(m, shop, (struct clv_event){.kind = CLV_EVENT_DATAGRAM, .value = 60});
	clv_metrics_figures(m, figures, sizeof(figures) / sizeof(figures[0]), START_NS);
}

/* To the cap: more than 10,000 series. */
static void fill_many(struct clv_metrics *m, struct clv_resources *rs)
{
	char host[32];

	for (uint32_t net = 1; net <= 10; net++) {
		if (net > 1 && clv_resources_set(rs, net, CLV_LIT("many"), NULL, 0))
			exit(1);
		for (int i = 0; i < 1000; i++) {
			snprintf(host, sizeof(host), "host-%d", i);
			begin_span(clv_resources_get(rs, net), CLV_KIND_CLIENT, 3 * MS);
			describe(host, 200);
			clv_metrics_span(m, 0, &span, true);
		}
	}
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void bench_spans(struct clv_metrics *m, const struct clv_resource *r, enum clv_span_kind kind, bool kept)
{
	enum { ROUNDS = 2000000 };
	uint64_t best = UINT64_MAX;

	begin_span(r, kind, 3 * MS);
	describe("shop.example", 200);
	for (int try = 0; try < 5; try++) {
		uint64_t begin = clock_ns();

		for (int i = 0; i < ROUNDS; i++)
			clv_metrics_span(m, 0, &span, kept);
		uint64_t took = clock_ns() - begin;
		best = took < best ? took : best;
	}
	printf("%s span%s: %.1f ns\n", kind == CLV_KIND_SERVER ? "server" : "client", kept ? " with exemplars" : "",
	       (double)best / ROUNDS);
}

static void bench_events(struct clv_metrics *m, const struct clv_resource *r)
{
	enum { ROUNDS = 5000000 };
	struct clv_event e = {.kind = CLV_EVENT_BYTES, .value = 1, .ts_ns = START_NS};
	uint64_t begin = clock_ns();

	for (int i = 0; i < ROUNDS; i++)
		clv_metrics_event(m, 0, r, &e);
	printf("event of bytes: %.1f ns\n", (double)(clock_ns() - begin) / ROUNDS);
	e.method = CLV_LIT("GET");
	begin = clock_ns();
	for (int i = 0; i < ROUNDS; i++) {
		e.kind = i % 2 ? CLV_EVENT_REQUEST_END : CLV_EVENT_REQUEST;
		clv_metrics_event(m, 0, r, &e);
	}
	printf("event of a request: %.1f ns\n", (double)(clock_ns() - begin) / ROUNDS);
}

static void bench_scrape(struct clv_metrics *m, const char *name,
			 int (*write_it)(struct clv_metrics *, struct clv_grow *))
{
	uint64_t best = UINT64_MAX;
	size_t len = 0;

	for (int try = 0; try < 5; try++) {
		struct clv_grow out = {0};
		uint64_t begin = clock_ns();

		if (write_it(m, &out))
			exit(1);
		uint64_t took = clock_ns() - begin;
		best = took < best ? took : best;
		len = out.len;
		clv_grow_fini(&out);
	}
	printf("%s of %zu series: %.1f ms, %.1f MB\n", name, clv_metrics_series(m), (double)best / 1e6,
	       (double)len / 1e6);
}

static int write_text(struct clv_metrics *m, struct clv_grow *out)
{
	return clv_prometheus_write(m, CLV_PROMETHEUS_TEXT, out);
}

static int write_openmetrics(struct clv_metrics *m, struct clv_grow *out)
{
	return clv_prometheus_write(m, CLV_PROMETHEUS_OPENMETRICS, out);
}

static int write_otlp(struct clv_metrics *m, struct clv_grow *out)
{
	return clv_otlp_metrics(m, START_NS + 1000 * MS, out);
}

static void bench(struct clv_metrics *m, struct clv_resources *rs)
{
	const struct clv_resource *shop = clv_resources_get(rs, 1);

	for (int kind = CLV_KIND_SERVER; kind <= CLV_KIND_CLIENT; kind++)
		for (int kept = 0; kept < 2; kept++)
			bench_spans(m, shop, (enum clv_span_kind)kind, kept);
	bench_events(m, shop);
	fill_many(m, rs);
	bench_scrape(m, "text", write_text);
	bench_scrape(m, "OpenMetrics", write_openmetrics);
	bench_scrape(m, "OTLP", write_otlp);
}

/* "capture WHY", "kubernetes WHY", "silent SECONDS"; without words: it is well. */
static void tell_health(struct clv_health *h, char *line)
{
	char *word = strtok(line, " \n"), *rest = strtok(NULL, "\n");

	if (strcmp(word, "silent") == 0)
		clv_health_alive(h, clock_ns() - (rest ? strtoull(rest, NULL, 10) : 0) * 1000 * MS);
	else
		clv_health_wait(h, strcmp(word, "capture") == 0 ? CLV_HEALTH_CAPTURE : CLV_HEALTH_KUBERNETES, rest);
}

static int serve(struct clv_metrics *m, const char *address)
{
	struct clv_metrics_http *h;
	struct clv_health *health;
	char why[CLV_METRICS_HTTP_WHY], line[1024];

	if (clv_health_new(&health))
		return 1;
	if (clv_metrics_http_open(address, m, health, &h, why)) {
		clv_health_free(health);
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	printf("%u\n", clv_metrics_http_port(h));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		tell_health(health, line);
		printf("told\n");
		fflush(stdout);
	}
	clv_metrics_http_close(h);
	clv_health_free(health);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct clv_metrics *m = new_registry();
	struct clv_resources *rs = new_resources();
	struct clv_grow out = {0};
	int status = 0;

	if (strcmp(what, "bench") == 0) {
		bench(m, rs);
	} else {
		fill(m, rs);
		if (argc > 3)
			fill_many(m, rs);
		if (strcmp(what, "serve") == 0)
			status = serve(m, argv[2]);
		else
			status = strcmp(what, "text") == 0          ? write_text(m, &out)
				 : strcmp(what, "openmetrics") == 0 ? write_openmetrics(m, &out)
								    : write_otlp(m, &out);
	}
	if (out.len)
		fwrite(out.data, 1, out.len, stdout);
	clv_grow_fini(&out);
	clv_metrics_free(m);
	clv_resources_free(rs);
	return status != 0;
}
