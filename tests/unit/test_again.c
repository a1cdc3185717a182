/* SPDX-License-Identifier: Apache-2.0 */
/* model/again.c and HTTP/2's describe(): a span says the same, whether one like it came before or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "model/common.h"
#include "model/packet.h"
#include "proto/describe.h"
#include "proto/http2.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct clv_commons commons;
static uint32_t luck;

static uint32_t pick(uint32_t of)
{
	luck = luck * 1664525 + 1013904223;
	return (luck >> 8) % of;
}

/* ---- exchanges --------------------------------------------------------------------------------------------------- */

/* In memory of its own, so that whoever keeps what is borrowed is caught. */
struct made {
	struct clv_pair pair;
	struct clv_http2_facts *request, *response;
	char *head;
};

static struct clv_http1_field field(const char *head, const char *value)
{
	const char *at = strstr(head, value);

	return (struct clv_http1_field){.at = (uint16_t)(at - head), .len = (uint16_t)strlen(value)};
}

static void make(struct made *m, const char *target, const char *agent, unsigned status, uint8_t kind)
{
	char text[2048];
	int len = snprintf(text, sizeof(text), "GET %s HTTP/2.0\r\nhost: shop:81\r\nuser-agent: %s\r\n\r\n", target,
			   agent);

	m->head = malloc((size_t)len);
	m->request = calloc(1, sizeof(*m->request));
	m->response = calloc(1, sizeof(*m->response));
	memcpy(m->head, text, (size_t)len);
	m->request->http = (struct clv_http1_facts){
		.method = CLV_HTTP1_METHOD_GET,
		.method_len = 3,
		.target = field(text, target),
		.host = field(text, "shop:81"),
		.user_agent = field(text, agent),
	};
	m->request->kind = m->response->kind = kind;
	m->response->http.status = (uint16_t)status;
	if (kind == CLV_HTTP2_GRPC) {
		m->response->flags = CLV_HTTP2_STATUS;
		m->response->grpc_status = (uint8_t)(status % 17);
		m->response->messages = 1;
		m->response->bytes = status;
	}
	m->pair = (struct clv_pair){
		.request_head = clv_slice(m->head, (size_t)len), .request = m->request, .response = m->response};
}

static void drop(struct made *m)
{
	free(m->head);
	free(m->request);
	free(m->response);
}

static void make_any(struct made *m)
{
	static const char *const targets[] = {"/", "/a",        "/b",       "/pkg.Shop/Buy", "/a?b=c", "/a?sig=secret",
					      "*", "/abcdefgh", "/abcdefgi"};
	static const char *const agents[] = {"ua", "other", "ub"};
	static const unsigned statuses[] = {200, 200, 200, 201, 404, 500};
	static char longest[1000];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	make(m, pick(20) ? targets[pick(COUNT(targets))] : longest, agents[pick(10) ? 0 : pick(COUNT(agents))],
	     statuses[pick(COUNT(statuses))], pick(3) ? CLV_HTTP2_PLAIN : CLV_HTTP2_GRPC);
	m->pair.request_ended = pick(8);
	m->pair.response_ended = pick(8);
	if (!pick(16))
		m->request->flags |= CLV_HTTP2_HTTPS;
	if (!pick(16))
		m->response->flags |= CLV_HTTP2_RESET | (pick(2) ? CLV_HTTP2_RESET_BY_CLIENT : 0);
	if (!pick(16))
		m->request->timeout_ns = pick(3);
	if (!pick(16))
		m->pair.response = NULL;
}

/* ---- spans ------------------------------------------------------------------------------------------------------- */

static void begin(struct clv_span *s, uint32_t clients)
{
	const uint8_t client[] = {10, 1, 0, (uint8_t)pick(clients)}, server[] = {10, 96, 0, (uint8_t)pick(2)};

	memset(s, 0, offsetof(struct clv_span, attr));
	s->scratch_used = 0;
	s->overflow = NULL;
	s->overflow_used = 0;
	memset(s->scratch, 0xee, sizeof(s->scratch)); /* nothing is left of the span before */
	s->protocol = "http2";
	s->kind = pick(3) ? CLV_KIND_SERVER : CLV_KIND_CLIENT;
	s->transport = CLV_TRANSPORT_TCP;
	s->client = (struct clv_endpoint){.addr = clv_addr_v4(client), .port = (uint16_t)pick(UINT16_MAX)};
	s->server = (struct clv_endpoint){.addr = clv_addr_v4(server), .port = (uint16_t)(80 + pick(2))};
}

static void same_text(struct clv_slice a, struct clv_slice b)
{
	assert_int_equal(a.len, b.len);
	assert_true(clv_slice_eq(a, b));
}

static void same_span(const struct clv_span *a, const struct clv_span *b)
{
	assert_string_equal(a->protocol, b->protocol);
	same_text(a->name, b->name);
	same_text(a->method, b->method);
	same_text(a->target, b->target);
	same_text(a->result, b->result);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->status_code, b->status_code);
	assert_int_equal(a->attr_count, b->attr_count);
	for (unsigned i = 0; i < a->attr_count; i++) {
		assert_int_equal(a->attr[i].key, b->attr[i].key);
		assert_int_equal(a->attr[i].type, b->attr[i].type);
		if (a->attr[i].type == CLV_TYPE_STRING)
			same_text(a->attr[i].s, b->attr[i].s);
		else
			assert_int_equal(a->attr[i].i, b->attr[i].i);
	}
}

/* Was the span described from what is kept? */
static bool is_kept(const struct clv_span *s)
{
	const uint8_t *p = s->target.data, *all = (const uint8_t *)&commons.whole;

	return p >= all && p < all + sizeof(commons.whole);
}

/* Describes it twice, once without anything that was kept. Returns whether the other was described from that. */
static bool describe(struct made *m, uint32_t clients)
{
	static struct clv_span with, without;

	begin(&with, clients);
	memcpy(&without, &with, offsetof(struct clv_span, attr));
	without.scratch_used = 0;
	without.overflow = NULL;
	without.overflow_used = 0;
	with.commons = &commons;
	clv_http2_describe(&m->pair, &with);
	clv_http2_describe(&m->pair, &without);
	same_span(&with, &without);
	if (with.common) {
		assert_ptr_equal(with.common_at->s.data, with.common->attr[0].s.data);
		assert_in_range(with.common_at - with.attr, 0, with.attr_count - with.common->count);
	}
	bool kept = is_kept(&with);
	drop(m);
	return kept;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void test_nothing_else_is_said(void **state)
{
	uint32_t like = 1;
	unsigned kept = 0;

	for (uint32_t clients = 1; clients <= 200; clients += 40) { /* of many, what they stand on is pushed out */
		memset(&commons, 0, sizeof(commons));
		for (unsigned i = 0; i < 20000; i++) {
			struct made m;

			if (pick(16)) /* mostly one that is like the one before */
				luck = like;
			like = luck;
			make_any(&m);
			m.pair.request_body_bytes = i;
			m.pair.response_body_bytes = 2 * i;
			if (i % 8 == 0) /* between other ends */
				luck += i * 2654435761u;
			kept += describe(&m, clients);
			luck += i * 2654435761u;
		}
	}
	assert_in_range(kept, 1000, 90000);
}

/* The same exchange, from another port. Returns whether it was described from what is kept. */
static bool once_more(unsigned i)
{
	static struct clv_span s;
	struct made m;

	luck = 1; /* the same ends */
	begin(&s, 1);
	s.kind = CLV_KIND_SERVER;
	s.client.port = (uint16_t)(1000 + i);
	s.commons = &commons;
	make(&m, "/a", "ua", 200, CLV_HTTP2_PLAIN);
	m.pair.request_ended = m.pair.response_ended = true;
	m.pair.response_body_bytes = i;
	clv_http2_describe(&m.pair, &s);
	same_text(clv_span_get(&s, CLV_ATTR_CLIENT_ADDRESS)->s, CLV_LIT("10.1.0.0"));
	same_text(clv_span_get(&s, CLV_ATTR_USER_AGENT_ORIGINAL)->s, CLV_LIT("ua"));
	assert_int_equal(clv_span_get(&s, CLV_ATTR_CLIENT_PORT)->i, 1000 + i);
	assert_int_equal(clv_span_get(&s, CLV_ATTR_NETWORK_PEER_PORT)->i, 1000 + i);
	assert_int_equal(clv_span_get(&s, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE)->i, i);
	assert_int_equal(clv_span_get(&s, CLV_ATTR_HTTP_REQUEST_BODY_SIZE)->i, 0);
	drop(&m);
	return is_kept(&s);
}

static void test_kept_when_it_comes_again(void **state)
{
	unsigned kept = 0;

	memset(&commons, 0, sizeof(commons));
	for (unsigned i = 0; i < 10; i++)
		kept += once_more(i);
	assert_in_range(kept, 5, 8);
}

/* What others have in common takes the places of all that is kept there. */
static void test_what_it_stands_on_goes(void **state)
{
	static struct clv_span s;

	memset(&commons, 0, sizeof(commons));
	for (unsigned i = 0; i < 10; i++)
		once_more(i);
	for (unsigned i = 0; i < 8000; i++) {
		begin(&s, 1);
		s.kind = CLV_KIND_SERVER;
		s.client.addr = clv_addr_v4((const uint8_t[]){10, 2, (uint8_t)(i >> 10), (uint8_t)(i >> 2)});
		s.commons = &commons;
		clv_describe_ends(&s, CLV_LIT("elsewhere"));
	}
	assert_false(once_more(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_else_is_said),
		cmocka_unit_test(test_kept_when_it_comes_again),
		cmocka_unit_test(test_what_it_stands_on_goes),
	};

	return cmocka_run_group_tests_name("again", tests, NULL, NULL);
}
