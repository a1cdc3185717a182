/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: two heads of any bytes, with every rule about heads in force: trace context, routes, guesses, captured
 * fields, redaction. Once alone, where every slice must lie within what was given, and once through the engine, where
 * no secret may come out.
 *
 * Input: a byte of settings, then the request's bytes, a zero byte, the response's.
 */
#include <assert.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "export/json.h"
#include "proto/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum setting {
	SETTING_CLIENT = 1 << 0,
	SETTING_GUESS = 1 << 1,
	SETTING_ROUTES = 1 << 2,
	SETTING_REDACT = 1 << 3,
	SETTING_CAPTURE = 1 << 4,
	SETTING_ORDER = 1 << 5,
	SETTING_HEAD = 1 << 6, /* a good start line comes first */
};

/* What must not come out, in any value that redaction covers. */
#define SECRET CLV_LIT("zq")

static const char *const templates[] = {"/",           "/a/{b}",         "/a/b",      "/a/*",
					"/{x}/b/{y}/", "/{x}/b/{y}/{z}", "/s/{r...}", "/*/*/*"};
static const char *const patterns[] = {"zq", "^/a/[^/?]+", "(a+)+$", "(?<=x=)[0-9]*", "\\bb\\Kc"};

static struct clv_routes *routes;
static struct clv_redact *redact;
static struct clv_capture capture;
static struct clv_resources *resources;
static struct clv_json json;
static uint8_t settings;

static void prepare(void)
{
	static const char *const names[] = {"a", "x-b", "host", "authorization", "b3", "cookie"};
	char why[128];

	if (routes)
		return;
	if (clv_routes_new(templates, sizeof(templates) / sizeof(templates[0]), &routes, why, sizeof(why)) ||
	    clv_redact_new(patterns, sizeof(patterns) / sizeof(patterns[0]), &redact, why, sizeof(why)) ||
	    clv_resources_new(CLV_LIT("fuzz"), NULL, 0, &resources))
		abort();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (clv_capture_add(&capture.request, names[i]) || clv_capture_add(&capture.response, names[i]))
			abort();
}

/* ---- alone ----------------------------------------------------------------------------------------------------- */

struct walk {
	struct clv_slice head;
	struct clv_context_fields fields;
};

static void on_field(void *ctx, struct clv_slice name, struct clv_slice value)
{
	struct walk *w = ctx;
	const uint8_t *end = w->head.data + w->head.len;

	assert(name.len && name.data >= w->head.data && name.data + name.len <= end);
	assert(!value.len || (value.data >= w->head.data && value.data + value.len <= end));
	clv_context_take(&w->fields, name, value);
}

static bool is_zero(const uint8_t *id, size_t len)
{
	while (len)
		if (id[--len])
			return false;
	return true;
}

static void check_tracestate(struct clv_slice s)
{
	assert(s.len <= CLV_TRACESTATE_BYTES);
	for (size_t i = 0; i < s.len; i++)
		assert(s.data[i] >= 0x20 && s.data[i] <= 0x7e);
	assert(!s.len || (memchr(s.data, '=', s.len) && s.data[0] != ',' && s.data[s.len - 1] != ','));
}

static void alone(struct clv_slice head)
{
	struct walk w = {.head = head};
	struct clv_propagators p = {.chosen = settings & SETTING_ORDER, .count = 3, .order = {3, 2, 1}};
	struct clv_context c = {0};
	char *room = malloc(CLV_TRACESTATE_BYTES), *guess = malloc(CLV_TEMPLATE_BYTES);
	uint64_t whole = 0;

	assert(room && guess);
	clv_http1.fields(head, on_field, &w);
	if (clv_context_read(&w.fields, &p, &c)) {
		assert(!c.has_trace || !is_zero(c.trace_id, 16));
		assert(!c.has_parent || (c.has_trace && !is_zero(c.parent_id, 8)));
		assert(c.has_trace || c.decision != CLV_UNDECIDED);
		assert(!(c.flags & 1) == (c.decision != CLV_SAMPLED));
	}
	check_tracestate(clv_context_tracestate(&w.fields, room));
	assert(clv_route_guess(head, guess).len <= CLV_TEMPLATE_BYTES);
	clv_routes_match(routes, head);
	struct clv_slice shown = clv_redact_apply(redact, head, &whole);
	assert(shown.len <= CLV_REDACT_BYTES && !(shown.len && memmem(shown.data, shown.len, "zq", 2)));
	free(room);
	free(guess);
}

/* ---- through the engine ---------------------------------------------------------------------------------------- */

static void check_secret(struct clv_slice s)
{
	assert(!(settings & SETTING_REDACT) || !s.len || !memmem(s.data, s.len, SECRET.data, SECRET.len));
}

static void on_span(void *ctx, struct clv_span *s)
{
	static const enum clv_attr_key covered[] = {CLV_ATTR_URL_PATH, CLV_ATTR_URL_QUERY, CLV_ATTR_URL_FULL,
						    CLV_ATTR_URL_TEMPLATE, CLV_ATTR_USER_AGENT_ORIGINAL};

	s->resource = clv_resources_get(resources, s->net);
	assert(s->header_count <= CLV_SPAN_HEADERS && s->attr_count <= CLV_SPAN_ATTRS && s->name.len);
	assert(!is_zero(s->trace_id, 16) && (!s->has_parent || !is_zero(s->parent_id, 8)));
	check_tracestate(s->tracestate);
	assert(!s->tracestate.len || s->remote);
	for (size_t i = 0; i < sizeof(covered) / sizeof(covered[0]); i++) {
		const struct clv_attr *a = clv_span_get(s, covered[i]);

		if (a)
			check_secret(a->s);
	}
	check_secret(s->target);
	for (size_t i = 0; i < s->header_count; i++) {
		const struct clv_span_header *h = &s->header[i];

		check_secret(h->value);
		if (clv_slice_eq(h->name, CLV_LIT("authorization")) || clv_slice_eq(h->name, CLV_LIT("cookie")))
			assert(clv_slice_eq(h->value, CLV_LIT("REDACTED")));
	}
	size_t bound = clv_json_bound(&json, s);
	char *line = malloc(bound);
	size_t len = line ? clv_json_write(&json, s, line) : 0;
	assert(len && len <= bound && line[len - 1] == '\n');
	free(line);
}

static void send(struct clv_engine *e, uint32_t seq[2], int from_server, uint8_t flags, struct clv_slice bytes)
{
	static uint64_t now_ns = 1700000000000000000;
	const struct clv_endpoint end[2] = {{clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), 40000},
					    {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), 80}};
	struct clv_packet p = {
		.ts_ns = now_ns += 1000,
		.src = end[from_server],
		.dst = end[!from_server],
		.seq = seq[from_server],
		.ack = seq[!from_server],
		.len = (uint32_t)bytes.len,
		.payload = bytes,
		.tcp_flags = flags,
		.side = from_server == (settings & SETTING_CLIENT) ? CLV_SIDE_IN : CLV_SIDE_OUT,
	};

	clv_engine_packet(e, &p);
	seq[from_server] += p.len + !!(flags & (CLV_TCP_SYN | CLV_TCP_FIN));
}

static void through(struct clv_slice request, struct clv_slice response)
{
	struct clv_engine_config config = {
		.on_span = on_span,
		.rules = {.guess_templates = settings & SETTING_GUESS,
			  .routes = settings & SETTING_ROUTES ? routes : NULL,
			  .redact = settings & SETTING_REDACT ? redact : NULL,
			  .capture = settings & SETTING_CAPTURE ? &capture : NULL},
	};
	uint32_t seq[2] = {1000, 2000};
	struct clv_engine *e;

	if (clv_engine_new(&config, &e))
		abort();
	send(e, seq, 0, CLV_TCP_SYN, (struct clv_slice){0});
	send(e, seq, 1, CLV_TCP_SYN | CLV_TCP_ACK, (struct clv_slice){0});
	if (settings & SETTING_HEAD)
		send(e, seq, 0, CLV_TCP_ACK, CLV_LIT("GET /a/zq?x=1 HTTP/1.1\r\nHost: h\r\n"));
	send(e, seq, 0, CLV_TCP_ACK, request);
	if (settings & SETTING_HEAD)
		send(e, seq, 1, CLV_TCP_ACK, CLV_LIT("HTTP/1.1 200 OK\r\nx-b: zq\r\n"));
	send(e, seq, 1, CLV_TCP_ACK, response);
	send(e, seq, 1, CLV_TCP_ACK | CLV_TCP_FIN, (struct clv_slice){0});
	send(e, seq, 0, CLV_TCP_ACK | CLV_TCP_FIN, (struct clv_slice){0});
	clv_engine_flush(e);
	clv_engine_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	prepare();
	if (!size)
		return 0;
	settings = data[0];
	struct clv_slice in = clv_slice(data + 1, size - 1);
	size_t zero = clv_slice_find(in, 0, '\0');

	alone(in);
	through(clv_slice_head(in, zero), clv_slice_from(in, zero + 1));
	return 0;
}
