/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules about heads through the whole engine and out as JSON: context, routes, captured fields, redaction, and
 * other rules while a request waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/buf.h"
#include "engine/engine.h"
#include "export/json.h"

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"
#define OK     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct clv_engine *engine;
static struct clv_resources *resources;
static struct clv_json json;
static uint32_t seq[2];
static uint64_t now_ns;
static bool client_side;

/* The last span. */
static json_t *seen;
static unsigned spans;
static char target[256], tracestate[CLV_TRACESTATE_BYTES + 1];
static struct clv_span last; /* its slices are gone */

static void on_span(void *ctx, struct clv_span *s)
{
	s->resource = clv_resources_get(resources, s->net);
	size_t bound = clv_json_bound(&json, s);
	char *line = malloc(bound);
	size_t len = clv_json_write(&json, s, line);

	assert_true(len <= bound);
	json_decref(seen);
	seen = json_loadb(line, len, 0, NULL);
	free(line);
	assert_non_null(seen);
	assert_true(s->target.len < sizeof(target));
	memcpy(target, s->target.data, s->target.len);
	target[s->target.len] = '\0';
	memcpy(tracestate, s->tracestate.data ? s->tracestate.data : (const uint8_t *)"", s->tracestate.len);
	tracestate[s->tracestate.len] = '\0';
	last = *s;
	spans++;
}

static void send(int from_server, uint8_t flags, const char *text)
{
	struct clv_endpoint end[2] = {{clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), 40000},
				      {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), 80}};
	struct clv_packet p = {
		.ts_ns = now_ns += 1000,
		.src = end[from_server],
		.dst = end[!from_server],
		.seq = seq[from_server],
		.ack = seq[!from_server],
		.len = (uint32_t)strlen(text),
		.payload = clv_slice_str(text),
		.tcp_flags = flags,
		.side = from_server == client_side ? CLV_SIDE_IN : CLV_SIDE_OUT,
	};

	clv_engine_packet(engine, &p);
	seq[from_server] += p.len + !!(flags & CLV_TCP_SYN);
}

static void open_with(const struct clv_head_rules *rules, bool client)
{
	struct clv_engine_config config = {.on_span = on_span, .rules = *rules};

	client_side = client;
	now_ns = 1700000000000000000;
	seq[0] = 1000, seq[1] = 2000;
	spans = 0;
	assert_int_equal(clv_engine_new(&config, &engine), 0);
	send(0, CLV_TCP_SYN, "");
	send(1, CLV_TCP_SYN | CLV_TCP_ACK, "");
	send(0, CLV_TCP_ACK, "");
}

static void done(void)
{
	clv_engine_free(engine);
	json_decref(seen);
	seen = NULL;
}

static void exchange(const char *request, const char *response)
{
	unsigned before = spans;

	send(0, CLV_TCP_ACK, request);
	send(1, CLV_TCP_ACK, response);
	assert_int_equal(spans, before + 1);
}

static const char *top(const char *key)
{
	const char *s = json_string_value(json_object_get(seen, key));

	return s ? s : "";
}

static const char *attr(const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(seen, "attributes"), key));

	return s ? s : "";
}

/* The array of a captured field, joined by '|'; "" when it is not there. */
static const char *header(const char *key)
{
	static char out[1024];
	const json_t *array = json_object_get(json_object_get(seen, "attributes"), key);
	struct clv_buf b = clv_buf(out, sizeof(out) - 1);

	for (size_t i = 0; i < json_array_size(array); i++) {
		clv_buf_put(&b, "|", i > 0);
		clv_buf_slice(&b, clv_slice_str(json_string_value(json_array_get(array, i))));
	}
	out[b.len] = '\0';
	return out;
}

/* ---- context --------------------------------------------------------------------------------------------------- */

static void context(void **state)
{
	for (int client = 0; client < 2; client++) {
		open_with(&(struct clv_head_rules){0}, client);
		exchange("GET /a HTTP/1.1\r\ntracestate: a=1\r\nTraceparent: 00-" TRACE "-" PARENT
			 "-03\r\nTracestate: b=2\r\nX-Request-Id: 3f2504e0-4f89-41d3-9a0c-0305e82c3301\r\n\r\n",
			 OK);
		assert_string_equal(top("trace_id"), TRACE);
		assert_string_equal(top("parent_span_id"), PARENT);
		assert_string_equal(attr("clovisor.request_id"), "3f2504e0-4f89-41d3-9a0c-0305e82c3301");
		assert_string_equal(tracestate, "a=1,b=2");
		assert_true(last.remote);
		assert_int_equal(last.trace_flags, 3);
		assert_int_equal(last.parent_sampled, CLV_SAMPLED);
		done();
	}
}

static void context_without_ids(void **state)
{
	char derived[33], parent[17];

	open_with(&(struct clv_head_rules){0}, false);
	exchange("GET /a HTTP/1.1\r\nb3: 0\r\nx-request-id: not-for-others\r\n\r\n", OK);
	assert_false(last.remote);
	assert_int_equal(last.parent_sampled, CLV_NOT_SAMPLED);
	assert_true(last.has_parent);
	assert_string_equal(attr("clovisor.request_id"), "");
	/* Nothing is said: what is derived stays. */
	exchange("GET /a HTTP/1.1\r\ntraceparent: 00-" TRACE "-" PARENT "-01-\r\ntracestate: a=1\r\n\r\n", OK);
	assert_false(last.remote);
	assert_int_equal(last.parent_sampled, CLV_UNDECIDED);
	assert_string_equal(tracestate, "");
	/* The trace alone: its parent is whoever called, as seen from there. */
	exchange("GET /b HTTP/1.1\r\nX-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793\r\n\r\n", OK);
	assert_true(last.remote && last.has_parent);
	assert_string_equal(top("trace_id"), "5759e988bd862e3fe1be46a994272793");
	snprintf(derived, sizeof(derived), "%s", top("trace_id"));
	snprintf(parent, sizeof(parent), "%s", top("parent_span_id"));
	done();
	open_with(&(struct clv_head_rules){0}, true);
	seq[0] = 1001; /* the third exchange again, from the client's side */
	exchange("GET /a HTTP/1.1\r\nb3: 0\r\nx-request-id: not-for-others\r\n\r\n", OK);
	exchange("GET /a HTTP/1.1\r\ntraceparent: 00-" TRACE "-" PARENT "-01-\r\ntracestate: a=1\r\n\r\n", OK);
	exchange("GET /b HTTP/1.1\r\nX-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793\r\n\r\n", OK);
	assert_string_equal(top("trace_id"), derived);
	assert_string_equal(top("span_id"), parent);
	assert_false(last.has_parent);
	done();
}

/* Envoy's word on sampling counts when nobody else says anything. */
static void context_envoy(void **state)
{
	open_with(&(struct clv_head_rules){0}, false);
	exchange("GET /a HTTP/1.1\r\nx-request-id: 3f2504e0-4f89-91d3-9a0c-0305e82c3301\r\n\r\n", OK);
	assert_int_equal(last.parent_sampled, CLV_SAMPLED);
	exchange("GET /a HTTP/1.1\r\nx-request-id: 3f2504e0-4f89-91d3-9a0c-0305e82c3301\r\nb3: 0\r\n\r\n", OK);
	assert_int_equal(last.parent_sampled, CLV_NOT_SAMPLED);
	done();
}

/* A head that came often, but for its traceparent, says what it said the first time. */
static void context_again(void **state)
{
	struct clv_head_rules without = {0};

	assert_int_equal(clv_propagators_parse("b3", &without.propagators, NULL), 0);
	for (int chosen = 0; chosen < 2; chosen++) {
		open_with(chosen ? &without : &(struct clv_head_rules){0}, false);
		for (unsigned i = 0; i < 100; i++) {
			char request[256], trace[33], parent[17];

			snprintf(trace, sizeof(trace), "%032x", i + 1);
			snprintf(parent, sizeof(parent), "%016x", i + 4711);
			snprintf(request, sizeof(request),
				 "GET /%u HTTP/1.1\r\nHost: a\r\ntraceparent: %02x-%s-%s-%02x\r\n\r\n", i,
				 i % 16 == 15 ? 0xff : 0, trace, parent, i % 2);
			exchange(request, OK);
			bool good = !chosen && i % 16 != 15; /* there is no version ff */
			assert_int_equal(last.remote, good);
			assert_int_equal(last.parent_sampled, !good   ? CLV_UNDECIDED
							      : i % 2 ? CLV_SAMPLED
								      : CLV_NOT_SAMPLED);
			assert_int_equal(strcmp(top("trace_id"), trace) == 0, good);
			assert_int_equal(strcmp(top("parent_span_id"), parent) == 0, good);
			assert_true(last.has_parent);
		}
		done();
	}
}

static void context_chosen(void **state)
{
	struct clv_head_rules rules = {0};
	static const char both[] = "GET /a HTTP/1.1\r\ntraceparent: 00-" TRACE "-" PARENT
				   "-01\r\ntracestate: a=1\r\nuber-trace-id: abc:def:0:1\r\n\r\n";

	assert_int_equal(clv_propagators_parse("jaeger,tracecontext", &rules.propagators, NULL), 0);
	open_with(&rules, false);
	exchange(both, OK);
	assert_string_equal(top("trace_id"), "00000000000000000000000000000abc");
	assert_string_equal(tracestate, ""); /* it belongs to the traceparent */
	assert_int_equal(clv_propagators_parse("none", &rules.propagators, NULL), 0);
	clv_engine_set_rules(engine, &rules);
	exchange(both, OK);
	assert_false(last.remote);
	done();
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

static void routes(void **state)
{
	static const char *const t[] = {"/users/{id}", "/static/*"};
	struct clv_routes *r;
	char why[128];

	assert_int_equal(clv_routes_new(t, 2, &r, why, sizeof(why)), 0);
	struct clv_head_rules rules = {.routes = r};
	open_with(&rules, false);
	exchange("GET /users/42?x=1 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(top("name"), "GET /users/{id}");
	assert_string_equal(attr("http.route"), "/users/{id}");
	assert_string_equal(attr("url.template"), "");
	exchange("BREW http://h/static/pot HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(top("name"), "HTTP /static/*");
	exchange("GET /other/42 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(top("name"), "GET");
	assert_string_equal(attr("http.route"), "");
	/* A guess is no route, whoever makes it. */
	rules.guess_templates = true;
	clv_engine_set_rules(engine, &rules);
	exchange("GET /other/42 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(top("name"), "GET /other/{id}");
	assert_string_equal(attr("http.route"), "");
	assert_string_equal(attr("url.template"), "/other/{id}");
	exchange("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(top("name"), "OPTIONS");
	done();
	open_with(&rules, true);
	exchange("GET /users/42 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(top("name"), "GET /users/{id}");
	assert_string_equal(attr("http.route"), "");
	assert_string_equal(attr("url.template"), "/users/{id}");
	done();
	clv_routes_free(r);
}

/* ---- captured fields ------------------------------------------------------------------------------------------- */

static void captured(void **state)
{
	struct clv_capture capture = {0};
	struct clv_head_rules rules = {.capture = &capture};

	assert_int_equal(clv_capture_add(&capture.request, "X-Tenant"), 0);
	assert_int_equal(clv_capture_add(&capture.request, "Authorization"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "Set-Cookie"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "Server"), 0);
	open_with(&rules, false);
	exchange("GET / HTTP/1.1\r\nX-Tenant: a\r\nAuthorization: Basic czNjcmV0\r\nx-tenant: b \r\n\tc\r\nX-Other: "
		 "d\r\n\r\n",
		 "HTTP/1.1 200 OK\r\nServer: nginx\r\nX-Tenant: no\r\nSet-Cookie: sid=1\r\nContent-Length: 0\r\n\r\n");
	assert_string_equal(header("http.request.header.x-tenant"), "a|b   \tc");
	assert_string_equal(header("http.request.header.authorization"), "REDACTED");
	assert_string_equal(header("http.request.header.x-other"), "");
	assert_string_equal(header("http.response.header.server"), "nginx");
	assert_string_equal(header("http.response.header.set-cookie"), "REDACTED");
	assert_string_equal(header("http.response.header.x-tenant"), "");
	assert_int_equal(last.header_count, 5);
	/* The list may be gone when the span is made: what was kept is there. */
	send(0, CLV_TCP_ACK, "GET / HTTP/1.1\r\nX-Tenant: a\r\n\r\n");
	send(1, CLV_TCP_ACK, "HTTP/1.1 200 OK\r\nServer: apache\r\nContent-Length: 1\r\n\r\n");
	clv_engine_set_rules(engine, &(struct clv_head_rules){0});
	memset(&capture, 0, sizeof(capture));
	send(1, CLV_TCP_ACK, "x");
	assert_string_equal(header("http.response.header.server"), "apache");
	assert_string_equal(header("http.request.header.x-tenant"), "");
	exchange("GET / HTTP/1.1\r\nX-Tenant: a\r\n\r\n", OK);
	assert_int_equal(last.header_count, 0);
	done();
}

static void captured_bounds(void **state)
{
	static char request[16384], response[65536];
	struct clv_capture capture = {0};
	struct clv_head_rules rules = {.capture = &capture};
	struct clv_buf b = clv_buf(request, sizeof(request) - 1), big = clv_buf(response, sizeof(response) - 1);

	assert_int_equal(clv_capture_add(&capture.request, "a"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "b"), 0);
	clv_buf_lit(&b, "GET / HTTP/1.1\r\n");
	for (unsigned i = 0; i < CLV_SPAN_HEADERS; i++)
		clv_buf_printf(&b, "a: %u\r\n", i);
	clv_buf_lit(&b, "\r\n");
	clv_buf_lit(&big, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nb: ");
	memset(response + big.len, 'x', CLV_CAPTURE_BYTES);
	big.len += CLV_CAPTURE_BYTES;
	clv_buf_lit(&big, "\r\nb: y\r\n\r\n");
	open_with(&rules, false);
	exchange(request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nb: 1\r\nb: 2\r\n\r\n");
	assert_int_equal(last.header_count, CLV_SPAN_HEADERS);
	assert_int_equal(clv_engine_stats(engine)->drop_headers, 2);
	exchange("GET / HTTP/1.1\r\n\r\n", response); /* the first is too long, and the second would stand for it */
	assert_int_equal(last.header_count, 0);
	assert_int_equal(clv_engine_stats(engine)->drop_headers, 4);
	done();
}

/* ---- redaction ------------------------------------------------------------------------------------------------- */

static struct clv_redact *patterns(const char *const *p, size_t count)
{
	struct clv_redact *r;
	char why[128];

	assert_int_equal(clv_redact_new(p, count, &r, why, sizeof(why)), 0);
	return r;
}

static void redacts(void **state)
{
	static const char *const p[] = {"^/users/[^/]+", "(?<=card=)[0-9]+", "curl/[0-9.]+", "secret[0-9]*", "^b"};
	struct clv_capture capture = {0};
	struct clv_head_rules rules = {.capture = &capture, .redact = patterns(p, 5)};
	static const char request[] = "GET http://u:p@h/users/carol/x?card=4711&sig=1&secret9 HTTP/1.1\r\nHost: h\r\n"
				      "User-Agent: curl/8.0 bot\r\nX-Note: my secret12\r\n\r\n";

	assert_int_equal(clv_capture_add(&capture.request, "X-Note"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "X-Back"), 0);
	for (int client = 0; client < 2; client++) {
		open_with(&rules, client);
		exchange(request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Back: bsecret\r\n\r\n");
		assert_string_equal(attr("url.path"), "REDACTED/x");
		assert_string_equal(attr("url.query"), "card=REDACTED&sig=REDACTED&REDACTED");
		assert_string_equal(attr("url.full"),
				    "http://REDACTED:REDACTED@hREDACTED/x?card=REDACTED&sig=REDACTED&REDACTED");
		assert_string_equal(target, attr("url.full"));
		assert_string_equal(attr("user_agent.original"), "REDACTED bot");
		assert_string_equal(header("http.request.header.x-note"), "my REDACTED");
		assert_string_equal(header("http.response.header.x-back"), "REDACTEDREDACTED");
		exchange("GET /users/dave?card=1 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
		assert_string_equal(target, "REDACTED?card=REDACTED");
		assert_string_equal(attr("url.full"), client ? "http://hREDACTED?card=REDACTED" : "");
		exchange("GET /plain?sig=1 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
		assert_string_equal(target, "/plain?sig=REDACTED");
		assert_string_equal(attr("url.path"), "/plain");
		/* A host that pretends to be the rest of the URL. */
		exchange("GET /users/eve?card=1 HTTP/1.1\r\nHost: h/users/eve?card=1\r\n\r\n", OK);
		assert_string_equal(attr("url.full"), client ? "REDACTED" : "");
		exchange("OPTIONS * HTTP/1.1\r\nHost: secret\r\n\r\n", OK);
		assert_string_equal(target, "*");
		assert_string_equal(attr("url.full"), client ? "http://REDACTED" : "");
		done();
	}
	clv_redact_free(rules.redact);
}

/* Templates are found on what was asked for; a guess must not tell what the path may not. */
static void redacts_guesses(void **state)
{
	static const char *const p[] = {"carol"}, *const t[] = {"/known/carol/{x}"};
	struct clv_head_rules rules = {.guess_templates = true, .redact = patterns(p, 1)};
	struct clv_routes *r;
	char why[128];

	assert_int_equal(clv_routes_new(t, 1, &r, why, sizeof(why)), 0);
	rules.routes = r;
	open_with(&rules, false);
	exchange("GET /users/carol/42 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(attr("url.template"), "/users/REDACTED/{id}");
	assert_string_equal(top("name"), "GET /users/REDACTED/{id}");
	exchange("GET /known/carol/42 HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(attr("http.route"), "/known/carol/{x}");
	done();
	clv_routes_free(r);
	clv_redact_free(rules.redact);
}

static void redacts_in_doubt(void **state)
{
	static const char *const p[] = {"(a+)+$"};
	struct clv_head_rules rules = {.redact = patterns(p, 1)};

	open_with(&rules, true);
	exchange("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab HTTP/1.1\r\nHost: h\r\n\r\n", OK);
	assert_string_equal(attr("url.path"), "REDACTED");
	assert_null(strstr(attr("url.full"), "aaaa"));
	assert_null(strstr(target, "aaaa"));
	assert_true(clv_engine_stats(engine)->redacted_whole >= 1);
	done();
	clv_redact_free(rules.redact);
}

static int setup(void **state)
{
	return clv_resources_new(CLV_LIT("test"), NULL, 0, &resources);
}

static int teardown(void **state)
{
	clv_resources_free(resources);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(context),          cmocka_unit_test(context_without_ids),
		cmocka_unit_test(context_envoy),    cmocka_unit_test(context_again),
		cmocka_unit_test(context_chosen),   cmocka_unit_test(routes),
		cmocka_unit_test(captured),         cmocka_unit_test(captured_bounds),
		cmocka_unit_test(redacts),          cmocka_unit_test(redacts_guesses),
		cmocka_unit_test(redacts_in_doubt),
	};

	return cmocka_run_group_tests_name("rules", tests, setup, teardown);
}
