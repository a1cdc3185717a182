/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds spans. Owns nothing, allocates nothing, guesses nothing that it was not asked to. What must not leave is
 * replaced in the last step; where there is no room for that, REDACTED stands for all of it. Engine thread only.
 */
#include "trace/report.h"

#include "base/apart.h"
#include "base/buf.h"
#include "model/packet.h"
#include "trace/ids.h"

#define REDACTED CLV_LIT("REDACTED")

/* ---- ids and context ------------------------------------------------------------------------------------------- */

static void set_ids(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	struct clv_slice head = x->raw_hash ? clv_slice(&x->raw_hash, sizeof(x->raw_hash)) : clv_exchange_head(x);
	uint32_t response_seq = x->response.ts_ns ? (uint32_t)x->response.pos : x->request.ack_seq;

	/* The caller's span, by whoever sees that side; where no sides are known, or both, nobody else does. */
	span->has_parent = r->kind == CLV_KIND_SERVER && r->side_known && !r->both_ends;
	clv_ids_derive(span, (uint32_t)x->request.pos, response_seq, head);
}

static void take_field(void *ctx, struct clv_slice name, struct clv_slice value)
{
	clv_context_take(ctx, name, value);
}

/*
 * The application's own ids take the place of the derived ones; without a parent among them ours stays. `f`: where
 * they are from; NULL: no tracestate is with them.
 */
static void take_context(const struct clv_context_fields *f, const struct clv_context *c, struct clv_span *span)
{
	span->trace_flags = c->flags;
	span->parent_sampled = c->decision;
	if (!c->has_trace)
		return;
	span->remote = true;
	memcpy(span->trace_id, c->trace_id, sizeof(span->trace_id));
	if (c->has_parent) {
		memcpy(span->parent_id, c->parent_id, sizeof(span->parent_id));
		span->has_parent = true;
	}
	if (f && c->w3c && f->tracestates) {
		char *room = clv_span_scratch(span, CLV_TRACESTATE_BYTES);

		if (room)
			span->tracestate = clv_context_tracestate(f, room);
	}
}

/* All that the request's fields say. */
static __attribute__((noinline)) void read_context(const struct clv_report *r, struct clv_slice head,
						   struct clv_span *span)
{
	struct clv_context_fields f;
	struct clv_context c;

	memset(&f, 0, sizeof(f));
	r->proto->fields(head, take_field, &f);
	if (clv_context_read(&f, &r->rules->propagators, &c))
		take_context(&f, &c, span);
	struct clv_slice id = clv_context_request_id(&f);
	if (!id.len)
		return;
	clv_span_str(span, CLV_ATTR_CLOVISOR_REQUEST_ID, id);
	if (span->parent_sampled == CLV_UNDECIDED)
		span->parent_sampled = clv_context_request_decision(id);
}

static void set_context(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	const struct clv_propagators *p = &r->rules->propagators;
	struct clv_context c;

	if (!x->context || !r->proto->fields || (p->chosen && !p->count))
		return;
	if (!span->traceparent.len)
		read_context(r, clv_exchange_head(x), span);
	else if (clv_propagators_want(p, CLV_PROPAGATOR_W3C) && clv_context_parse(span->traceparent, &c))
		take_context(NULL, &c, span);
}

/* ---- times and what is missing --------------------------------------------------------------------------------- */

static void set_times(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	span->start_ns = x->request.ts_ns;
	span->first_ns = x->response.ts_ns;
	if (x->response_end_ns)
		span->end_ns = x->response_end_ns;
	else if (x->response_seen_ns)
		span->end_ns = x->response_seen_ns;
	else if (r->error && !x->cancelled)
		span->end_ns = r->closed_ns;
	else
		span->end_ns = x->request_end_ns;
	if (span->end_ns < span->start_ns)
		span->end_ns = span->start_ns;
}

static void set_missing(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	bool answered = x->response.ts_ns != 0, ended = x->response_end_ns != 0;

	span->flags = x->flags;
	if (r->open)
		return;
	if (x->cancelled || (x->oneway && !x->open[CLV_TO_SERVER]))
		return;
	if (!answered && !r->error && !x->oneway)
		span->flags |= CLV_SPAN_UNPAIRED;
	bool cut = ((answered || x->oneway) && !ended) || x->open[CLV_TO_SERVER];
	if (cut && !r->error && !(x->flags & CLV_SPAN_GAP))
		span->flags |= CLV_SPAN_TRUNCATED;
	if (!ended && r->error) {
		span->status = CLV_STATUS_ERROR;
		if (!clv_span_get(span, CLV_ATTR_ERROR_TYPE))
			clv_span_str(span, CLV_ATTR_ERROR_TYPE, clv_slice_str(r->error));
	}
}

static void set_observed(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	static const struct {
		enum clv_span_flag flag;
		enum clv_attr_key key;
	} missing[] = {
		{CLV_SPAN_TRUNCATED, CLV_ATTR_CLOVISOR_TRUNCATED},
		{CLV_SPAN_GAP, CLV_ATTR_CLOVISOR_GAP},
		{CLV_SPAN_MIDSTREAM, CLV_ATTR_CLOVISOR_MIDSTREAM},
		{CLV_SPAN_UNPAIRED, CLV_ATTR_CLOVISOR_UNPAIRED},
	};

	if (span->first_ns)
		clv_span_int(span, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE,
			     span->first_ns > span->start_ns ? (int64_t)(span->first_ns - span->start_ns) : 0);
	/* The first request seen of a connection joined midstream may have had others before it. */
	if (r->transport == CLV_TRANSPORT_TCP && (span->flags & CLV_SPAN_REUSED || !(span->flags & CLV_SPAN_MIDSTREAM)))
		clv_span_bool(span, CLV_ATTR_CLOVISOR_CONNECTION_REUSED, span->flags & CLV_SPAN_REUSED);
	if (x->cancelled)
		clv_span_bool(span, CLV_ATTR_CLOVISOR_CANCELLED, true);
	if (r->retransmits > x->retransmits_before)
		clv_span_int(span, CLV_ATTR_CLOVISOR_RETRANSMITS, (int64_t)(r->retransmits - x->retransmits_before));
	if (!(span->flags & ~(uint32_t)CLV_SPAN_REUSED)) /* nothing, as nearly always */
		return;
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		if (span->flags & missing[i].flag)
			clv_span_bool(span, missing[i].key, true);
}

/* ---- captured fields ------------------------------------------------------------------------------------------- */

/* A value without its line folds (RFC 9112 section 5.2: each is as good as a space). */
static struct clv_slice unfold(struct clv_span *span, struct clv_slice value)
{
	if (clv_slice_find(value, 0, '\n') == value.len)
		return value;
	char *text = clv_span_scratch(span, value.len);
	for (size_t i = 0; text && i < value.len; i++)
		text[i] = value.data[i] == '\r' || value.data[i] == '\n' ? ' ' : (char)value.data[i];
	return clv_slice(text, text ? value.len : 0);
}

static void set_headers(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	const struct clv_capture *c = r->rules->capture;
	size_t n = 0;

	if (c && c->request.count && r->proto->fields)
		n = clv_capture_gather(&c->request, r->proto, clv_exchange_head(x), false, span->header,
				       CLV_SPAN_HEADERS, r->counts.headers_dropped);
	if (x->kept)
		n += clv_capture_unpack(clv_slice(x->kept, x->kept_len), span->header + n, CLV_SPAN_HEADERS - n,
					r->counts.headers_dropped);
	span->header_count = (uint16_t)n;
	for (size_t i = 0; i < n; i++)
		span->header[i].value = unfold(span, span->header[i].value);
}

/* ---- what may leave -------------------------------------------------------------------------------------------- */

static struct clv_attr *get(struct clv_span *span, enum clv_attr_key key)
{
	return (struct clv_attr *)clv_span_get(span, key);
}

static struct clv_slice text_of(const struct clv_attr *a)
{
	return a ? a->s : clv_slice(NULL, 0);
}

/* A copy that lives as long as the span; without room for it nothing is told. */
static struct clv_slice keep(const struct clv_report *r, struct clv_span *span, struct clv_slice value)
{
	char *text = clv_span_scratch(span, value.len);

	if (!text) {
		++*r->counts.redacted_whole;
		return REDACTED;
	}
	memcpy(text, value.data, value.len);
	return clv_slice(text, value.len);
}

static struct clv_slice redacted(const struct clv_report *r, struct clv_span *span, struct clv_slice value)
{
	struct clv_slice shown = clv_redact_apply(r->rules->redact, value, r->counts.redacted_whole);

	return shown.data == value.data ? value : keep(r, span, shown);
}

/* A path and a query, before and after. */
struct parts {
	struct clv_slice path, query, shown_path, shown_query;
};

/*
 * A URL that ends in the path and the query: with what is shown of these in their place, and then redacted itself. So
 * a pattern that is anchored to the path's beginning holds in the URL, too.
 */
static struct clv_slice redacted_url(const struct clv_report *r, struct clv_span *span, struct clv_slice url,
				     const struct parts *p)
{
	size_t mark = clv_slice_find(url, 0, '?'), tail = url.len - mark;

	if (p->shown_path.data == p->path.data && p->shown_query.data == p->query.data)
		return redacted(r, span, url);
	/* The path ends at the first question mark; what is before it is scheme and authority. */
	if (p->path.len > mark || !clv_slice_eq(clv_slice_sub(url, mark - p->path.len, p->path.len), p->path) ||
	    (tail > 1 && !clv_slice_eq(clv_slice_from(url, mark + 1), p->query)))
		return REDACTED;
	size_t cap = url.len + p->shown_path.len + p->shown_query.len;
	struct clv_buf b = clv_buf(clv_span_scratch(span, cap), cap);
	if (!b.data) {
		++*r->counts.redacted_whole;
		return REDACTED;
	}
	clv_buf_put(&b, url.data, mark - p->path.len);
	clv_buf_slice(&b, p->shown_path);
	clv_buf_put(&b, "?", tail > 0);
	if (tail > 1)
		clv_buf_slice(&b, p->shown_query);
	return redacted(r, span, clv_slice(b.data, b.len));
}

static void redact_attr(const struct clv_report *r, struct clv_span *span, struct clv_attr *a)
{
	if (a)
		a->s = redacted(r, span, a->s);
}

/* It may be among what the span has in common with others, and is not any more when it changes. */
static void redact_user_agent(const struct clv_report *r, struct clv_span *span)
{
	struct clv_attr *a = get(span, CLV_ATTR_USER_AGENT_ORIGINAL);
	const uint8_t *was = text_of(a).data;

	redact_attr(r, span, a);
	if (text_of(a).data != was)
		span->common = NULL;
}

/* Each of the strings by itself; without room for all of them, none. */
static void redact_strs(const struct clv_report *r, struct clv_span *span, struct clv_attr *a)
{
	struct clv_slice rest = text_of(a);
	struct clv_buf b = clv_buf(a ? clv_span_scratch(span, 2 * rest.len) : NULL, 2 * rest.len);

	if (!rest.len)
		return;
	b.cut = !b.data;
	while (rest.len && !b.cut) {
		size_t len = clv_slice_find(rest, 0, '\0');

		clv_buf_slice(&b,
			      clv_redact_apply(r->rules->redact, clv_slice_head(rest, len), r->counts.redacted_whole));
		clv_buf_char(&b, '\0');
		rest = clv_slice_from(rest, len + 1);
	}
	*r->counts.redacted_whole += b.cut;
	a->s = b.cut ? CLV_LIT("REDACTED\0") : clv_slice(b.data, b.len);
}

static void redact_span(const struct clv_report *r, struct clv_span *span)
{
	struct clv_attr *path = get(span, CLV_ATTR_URL_PATH), *query = get(span, CLV_ATTR_URL_QUERY);
	struct clv_attr *full = get(span, CLV_ATTR_URL_FULL);
	struct parts p = {.path = text_of(path), .query = text_of(query)};
	bool same = full && full->s.data == span->target.data;

	redact_attr(r, span, path);
	redact_attr(r, span, query);
	p.shown_path = text_of(path);
	p.shown_query = text_of(query);
	if (full)
		full->s = redacted_url(r, span, full->s, &p);
	span->target = same ? full->s : redacted_url(r, span, span->target, &p);
	redact_user_agent(r, span);
	redact_attr(r, span, get(span, CLV_ATTR_DNS_QUESTION_NAME));
	redact_strs(r, span, get(span, CLV_ATTR_DNS_ANSWERS));
	/* Nobody here knows what a plugin's own attributes hold. */
	for (uint16_t i = 0; i < span->attr_count; i++)
		if (span->attr[i].key >= CLV_ATTR_COUNT && span->attr[i].type == CLV_TYPE_STRING)
			redact_attr(r, span, &span->attr[i]);
	for (uint16_t i = 0; i < span->header_count; i++)
		span->header[i].value = redacted(r, span, span->header[i].value);
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

/*
 * http.route is what a server's own configuration says (here the user's word for it); what a client asks for, and what
 * is guessed, is url.template.
 */
static struct clv_slice set_route(const struct clv_report *r, struct clv_span *span)
{
	const struct clv_head_rules *rules = r->rules;
	struct clv_slice path = text_of(clv_span_get(span, CLV_ATTR_URL_PATH)), found = {0};
	enum clv_attr_key key = CLV_ATTR_URL_TEMPLATE;

	if (rules->routes)
		found = clv_routes_match(rules->routes, path);
	if (found.len) {
		key = span->kind == CLV_KIND_SERVER ? CLV_ATTR_HTTP_ROUTE : CLV_ATTR_URL_TEMPLATE;
	} else if (rules->guess_templates) {
		char *room = clv_span_scratch(span, CLV_TEMPLATE_BYTES);

		if (room)
			found = clv_route_guess(path, room);
		/* Its words are the path's. */
		if (found.len && rules->redact)
			found = redacted(r, span, found);
	}
	if (found.len)
		clv_span_str(span, key, found);
	return found;
}

/* "METHOD ROUTE" */
static void set_name(struct clv_span *span, struct clv_slice route)
{
	size_t cap = span->name.len + 1 + route.len;
	struct clv_buf b;

	if (!route.len)
		return;
	b = clv_buf(clv_span_scratch(span, cap), cap);
	if (!b.data)
		return;
	clv_buf_slice(&b, span->name);
	clv_buf_char(&b, ' ');
	clv_buf_slice(&b, route);
	span->name = clv_slice(b.data, b.len);
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

/*
 * All but the arrays, which counts bound; in pieces that compilers clear by registers, one by one. Where a sanitizer
 * asks whether the span is NULL, GCC 12 goes on with what follows if it is, and warns of that.
 */
static inline __attribute__((no_sanitize("undefined"))) void clear(struct clv_span *span)
{
	enum { ALL = offsetof(struct clv_span, attr), PIECE = 64, REST = ALL % PIECE };

	static_assert(ALL / PIECE < 16, "as far as the loop is unrolled");
#pragma GCC unroll 16
	for (size_t i = 0; i < ALL / PIECE; i++)
		memset((char *)span + i * PIECE, 0, PIECE);
	memset((char *)span + ALL - REST, 0, REST);
}

void clv_report_span(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	clear(span);
	span->scratch_used = 0;
	span->overflow = r->overflow;
	span->overflow_used = 0;
	span->commons = r->commons;
	span->kind = r->kind;
	span->protocol = r->proto->name;
	span->side_known = r->side_known;
	span->net = r->net;
	span->transport = r->transport;
	span->client = r->client;
	span->server = r->server;
	span->bytes = x->request_body_bytes + x->response_body_bytes;
	set_ids(r, x, span);
	set_times(r, x, span);

	struct clv_pair pair = {
		.request_head = clv_exchange_head(x),
		.request = clv_exchange_facts(x),
		.response = x->response.ts_ns ? x->response_facts : NULL,
		.kept = clv_slice(x->answer, x->answer_len),
		.request_body_bytes = x->request_body_bytes,
		.response_body_bytes = x->response_body_bytes,
		.request_ended = x->request_end_ns != 0,
		.response_ended = x->response_end_ns != 0,
	};
	r->proto->describe(&pair, span);
	set_missing(r, x, span);
	set_observed(r, x, span);
	set_context(r, x, span);
	set_headers(r, x, span);
	if (r->rules->routes || r->rules->guess_templates) /* on the path as it was sent */
		set_name(span, set_route(r, span));
	if (r->rules->redact)
		redact_span(r, span);
}
