/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in DNS, over TCP and UDP: questions of many types, several in flight and answered in any order, ids that meet
 * again, EDNS, names with pointers, errors that repeat no question, long answers, transfers of zones. The exchange's
 * number is in the name asked for ("xNUMBER.example"), and type, response code and first answer follow from it.
 */
#include "../talk.h"

#include "base/addr.h"
#include "model/span.h"
#include "proto/dns.h"

enum dns_kind {
	KIND_A,
	KIND_AAAA,
	KIND_CNAME, /* and the address of what it leads to */
	KIND_MX,
	KIND_SRV,
	KIND_TXT, /* nothing of it is told */
	KIND_ERROR,
	KIND_EXTENDED, /* a response code that needs EDNS */
	KIND_BARE,     /* an error that does not repeat the question */
	KIND_UPDATE,
	KIND_NOTIFY,
	KIND_COUNT,
	KIND_TRANSFER = KIND_COUNT, /* TCP only */
	KIND_INCREMENTAL,
};

struct dns_exchange {
	enum dns_kind kind;
	int id, request;
	uint16_t dns_id;
	bool edns;
};

struct dns_writer {
	uint8_t data[65536];
	uint32_t len;
};

static struct dns_writer out;

static uint16_t type_of(enum dns_kind kind)
{
	static const uint16_t types[] = {
		[KIND_A] = CLV_DNS_A,
		[KIND_AAAA] = CLV_DNS_AAAA,
		[KIND_CNAME] = CLV_DNS_A,
		[KIND_MX] = CLV_DNS_MX,
		[KIND_SRV] = CLV_DNS_SRV,
		[KIND_TXT] = 16,
		[KIND_ERROR] = CLV_DNS_PTR,
		[KIND_EXTENDED] = CLV_DNS_A,
		[KIND_BARE] = CLV_DNS_A,
		[KIND_UPDATE] = CLV_DNS_SOA,
		[KIND_NOTIFY] = CLV_DNS_SOA,
		[KIND_TRANSFER] = CLV_DNS_AXFR,
		[KIND_INCREMENTAL] = CLV_DNS_IXFR,
	};

	return types[kind];
}

static uint16_t rcode_of(enum dns_kind kind, int id)
{
	return kind == KIND_ERROR      ? 1 + (unsigned)id % 5
	       : kind == KIND_EXTENDED ? (id % 2 ? 16 : 23)
	       : kind == KIND_BARE     ? 1
				       : 0;
}

static uint64_t tag_of(uint16_t dns_id, enum clv_role role, uint16_t type, uint16_t rcode)
{
	return (uint64_t)role << 48 | (uint64_t)dns_id << 32 | (uint32_t)type << 16 | rcode;
}

/* A response that repeats no question has no type of its own; what was cut may lack the rest of its response code. */
static uint64_t dns_tag(const struct clv_msg *msg)
{
	const struct clv_dns_facts *f = msg->facts;

	return tag_of(f->id, msg->role, msg->role == CLV_REQUEST ? f->type : 0, f->rcode & 15);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static void put8(unsigned v)
{
	out.data[out.len++] = (uint8_t)v;
}

static void put16(unsigned v)
{
	put8(v >> 8);
	put8(v & 255);
}

static void put32(uint32_t v)
{
	put16(v >> 16);
	put16(v & 0xffff);
}

static void put_label(const char *text)
{
	put8((unsigned)strlen(text));
	memcpy(out.data + out.len, text, strlen(text));
	out.len += (uint32_t)strlen(text);
}

/* "xNUMBER.example" */
static void put_question_name(int id)
{
	char label[16];

	snprintf(label, sizeof(label), "x%d", id);
	put_label(label);
	put_label("example");
	put8(0);
}

/* The name that is asked for: a pointer to the question, most of the time. */
static void put_same_name(struct talk *t, int id)
{
	if (out.data[5] && talk_chance(&t->rng, 80))
		put16(0xc000 | CLV_DNS_HEADER_BYTES);
	else
		put_question_name(id);
}

static void put_header(const struct dns_exchange *x, bool response, unsigned rcode, unsigned questions)
{
	unsigned opcode = x->kind == KIND_UPDATE   ? CLV_DNS_UPDATE
			  : x->kind == KIND_NOTIFY ? CLV_DNS_NOTIFY
						   : CLV_DNS_QUERY;

	out.len = 0;
	put16(x->dns_id);
	put16((response ? 0x8180u : 0x0100u) | opcode << 11 | (rcode & 15));
	put16(questions);
	put16(0);
	put16(0);
	put16(0);
}

/* One more record in section 1 (answers) to 3. */
static void count(unsigned section)
{
	uint8_t *p = out.data + 4 + 2 * section;

	if (!++p[1])
		p[0]++;
}

static uint32_t begin_record(struct talk *t, const struct dns_exchange *x, unsigned section, uint16_t type)
{
	count(section);
	put_same_name(t, x->id);
	put16(type);
	put16(CLV_DNS_IN);
	put32(300);
	put16(0);
	return out.len;
}

static void end_record(uint32_t from)
{
	uint32_t len = out.len - from;

	out.data[from - 2] = (uint8_t)(len >> 8);
	out.data[from - 1] = (uint8_t)len;
}

static void put_opt(unsigned rcode)
{
	count(3);
	put8(0);
	put16(CLV_DNS_OPT);
	put16(1232);
	put8(rcode >> 4);
	put8(0);
	put16(0);
	put16(0);
}

static void put_address(struct talk *t, const struct dns_exchange *x, unsigned last)
{
	uint32_t from = begin_record(t, x, 1, x->kind == KIND_AAAA ? CLV_DNS_AAAA : CLV_DNS_A);

	if (x->kind == KIND_AAAA) {
		put32(0x20010db8);
		put32(0);
		put32((uint32_t)x->id);
	} else {
		put8(10);
		put16((unsigned)x->id);
		put8(last);
	}
	if (x->kind == KIND_AAAA)
		put32(last);
	end_record(from);
}

static void put_soa(struct talk *t, const struct dns_exchange *x, uint32_t serial)
{
	uint32_t from = begin_record(t, x, 1, CLV_DNS_SOA);

	put8(0);
	put8(0);
	for (int i = 0; i < 5; i++)
		put32(i ? 3600 : serial);
	end_record(from);
}

static void put_target(struct talk *t, const struct dns_exchange *x, uint16_t type)
{
	uint32_t from = begin_record(t, x, 1, type);

	for (int i = 0; i < (type == CLV_DNS_SRV ? 3 : type == CLV_DNS_MX ? 1 : 0); i++)
		put16(10);
	put_label("target");
	put_same_name(t, x->id);
	end_record(from);
}

static void put_text(struct talk *t, const struct dns_exchange *x, unsigned bytes)
{
	uint32_t from = begin_record(t, x, 1, 16);

	for (; bytes; bytes--) {
		put8(40);
		for (int i = 0; i < 40; i++)
			put8('a' + talk_below(&t->rng, 26));
	}
	end_record(from);
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

static void send(struct talk *t, enum clv_dir dir, bool stream)
{
	uint8_t prefix[] = {(uint8_t)(out.len >> 8), (uint8_t)out.len};

	if (stream)
		talk_put(t, dir, prefix, sizeof(prefix));
	talk_put(t, dir, out.data, out.len);
}

static void put_request(struct talk *t, struct dns_exchange *x, bool stream)
{
	x->request = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, x->id, -1);
	t->message[x->request].decoded = stream; /* its length is no part of the head */
	t->message[x->request].tag = tag_of(x->dns_id, CLV_REQUEST, type_of(x->kind), 0);
	put_header(x, false, 0, 1);
	put_question_name(x->id);
	put16(type_of(x->kind));
	put16(CLV_DNS_IN);
	if (x->kind == KIND_UPDATE) {
		uint32_t from = begin_record(t, x, 2, CLV_DNS_A);
		put32(0x0a000001);
		end_record(from);
	}
	if (x->edns)
		put_opt(0);
	send(t, CLV_TO_SERVER, stream);
	talk_head_ends(t, x->request);
	talk_ends(t, x->request);
}

static void put_answers(struct talk *t, const struct dns_exchange *x, bool stream)
{
	unsigned n = 1 + talk_below(&t->rng, 4);

	switch (x->kind) {
	case KIND_A:
	case KIND_AAAA:
		for (unsigned i = 0; i < n; i++)
			put_address(t, x, i + 1);
		break;
	case KIND_CNAME:
		put_target(t, x, CLV_DNS_CNAME);
		put_address(t, x, 1);
		break;
	case KIND_MX:
		put_target(t, x, CLV_DNS_MX);
		break;
	case KIND_SRV:
		put_target(t, x, CLV_DNS_SRV);
		break;
	case KIND_TXT:
		n = stream && talk_chance(&t->rng, 10) ? 40 : n;
		for (unsigned i = 0; i < n; i++)
			put_text(t, x, n < 40 ? 1 + talk_below(&t->rng, 3) : 1 + talk_below(&t->rng, 35));
		break;
	default:
		break;
	}
}

static int begin_response(struct talk *t, const struct dns_exchange *x, bool stream)
{
	int m = talk_begin(t, CLV_TO_CLIENT, CLV_RESPONSE, x->id, x->request);

	t->message[m].decoded = stream;
	t->message[m].tag = tag_of(x->dns_id, CLV_RESPONSE, 0, rcode_of(x->kind, x->id) & 15);
	return m;
}

static void put_question(const struct dns_exchange *x, bool repeated)
{
	put_header(x, true, rcode_of(x->kind, x->id), repeated);
	if (!repeated)
		return;
	put_question_name(x->id);
	put16(type_of(x->kind));
	put16(CLV_DNS_IN);
}

/* The zone in several messages; the later ones need not repeat the question. */
static void put_transfer(struct talk *t, struct dns_exchange *x)
{
	int m = begin_response(t, x, true), messages = 1 + (int)talk_below(&t->rng, 6);
	bool incremental = x->kind == KIND_INCREMENTAL;

	for (int i = 0; i < messages; i++) {
		put_question(x, !i || talk_chance(&t->rng, 50));
		if (!i) {
			put_soa(t, x, 1000);
			if (incremental)
				put_soa(t, x, 999);
		}
		for (unsigned n = 1 + talk_below(&t->rng, 40); n; n--)
			put_address(t, x, n);
		if (incremental && i == messages / 2) {
			put_soa(t, x, 1000);
			put_address(t, x, 7);
		}
		if (i == messages - 1)
			put_soa(t, x, 1000);
		uint32_t before = t->len[CLV_TO_CLIENT];
		send(t, CLV_TO_CLIENT, true);
		if (!i)
			talk_head_ends(t, m);
		else
			t->message[m].body_bytes += t->len[CLV_TO_CLIENT] - before;
		if (talk_chance(&t->rng, 50))
			talk_flush(t, CLV_TO_CLIENT);
	}
	talk_ends(t, m);
}

static void put_response(struct talk *t, struct dns_exchange *x, bool stream)
{
	uint16_t rcode = rcode_of(x->kind, x->id);

	if (x->kind >= KIND_COUNT) {
		put_transfer(t, x);
		return;
	}
	int m = begin_response(t, x, stream);
	put_question(x, x->kind != KIND_BARE);
	if (!rcode)
		put_answers(t, x, stream);
	if (x->edns)
		put_opt(rcode);
	send(t, CLV_TO_CLIENT, stream);
	talk_head_ends(t, m);
	talk_ends(t, m);
}

/* ---- a whole talk ---------------------------------------------------------------------------------------------- */

#define MOST 12

/* Those in flight have ids of few values; where no question is repeated the id must do. */
static uint16_t draw_id(struct talk *t, const struct dns_exchange *x, int i)
{
	uint16_t id = 0;

	for (bool again = true; again;) {
		id = (uint16_t)(x[i].kind == KIND_BARE ? talk_below(&t->rng, 65536) : 0x4000 + talk_below(&t->rng, 6));
		again = false;
		for (int k = 0; k < i; k++)
			again |= x[k].dns_id == id && (x[k].kind == KIND_BARE || x[i].kind == KIND_BARE);
	}
	return id;
}

static void round_of(struct talk *t, int first, int n, bool stream)
{
	struct dns_exchange x[MOST];
	int order[MOST];

	for (int i = 0; i < n; i++) {
		x[i] = (struct dns_exchange){.id = first + i, .kind = (enum dns_kind)talk_below(&t->rng, KIND_COUNT)};
		if (stream && n == 1 && talk_chance(&t->rng, 30))
			x[i].kind = talk_chance(&t->rng, 50) ? KIND_TRANSFER : KIND_INCREMENTAL;
		x[i].edns = x[i].kind == KIND_EXTENDED || talk_chance(&t->rng, 40);
		x[i].dns_id = draw_id(t, x, i);
		order[i] = i;
		put_request(t, &x[i], stream);
		if (!stream || talk_chance(&t->rng, 50))
			talk_flush(t, CLV_TO_SERVER);
	}
	talk_flush(t, CLV_TO_SERVER);
	for (int i = n - 1; i > 0; i--) {
		int k = (int)talk_below(&t->rng, (uint32_t)i + 1), swap = order[i];
		order[i] = order[k];
		order[k] = swap;
	}
	for (int i = 0; i < n; i++) {
		put_response(t, &x[order[i]], stream);
		if (!stream || talk_chance(&t->rng, 50))
			talk_flush(t, CLV_TO_CLIENT);
	}
	talk_flush(t, CLV_TO_CLIENT);
}

static void make(struct talk *t, bool stream)
{
	int id = (int)talk_below(&t->rng, 1000), end = id + 4 + (int)talk_below(&t->rng, 50);

	while (id < end) {
		int n = talk_chance(&t->rng, 40) ? 1 : 1 + (int)talk_below(&t->rng, MOST);
		round_of(t, id, n, stream);
		id += n;
	}
	t->fin[CLV_TO_CLIENT] = stream && talk_chance(&t->rng, 50);
}

static void dns_make_tcp(struct talk *t)
{
	make(t, true);
}

static void dns_make_udp(struct talk *t)
{
	make(t, false);
}

/* ---- spans ----------------------------------------------------------------------------------------------------- */

static bool first_answer_ok(const struct clv_span *s, int id)
{
	const struct clv_attr *a = clv_span_get(s, CLV_ATTR_DNS_ANSWERS);
	char address[2][40], target[40];

	if (!a)
		return true;
	snprintf(address[0], sizeof(address[0]), "10.%d.%d.1", id >> 8, id & 255);
	snprintf(address[1], sizeof(address[1]), "2001:db8::%x:0:1", (unsigned)id);
	snprintf(target, sizeof(target), "target.x%d.example", id);
	const char *first = (const char *)a->s.data;
	struct clv_addr said, wanted;
	if (clv_addr_parse(first, &said) == 0)
		return (clv_addr_parse(address[0], &wanted) == 0 && !memcmp(&said, &wanted, 15)) ||
		       (said.b[0] == 0x20 && (said.b[10] << 8 | said.b[11]) == id);
	return strcmp(first, target) == 0;
}

static int dns_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	int id = 0, index = -1;

	*ok = false;
	if (!span->target.len || span->target.data[0] != 'x')
		return -1;
	for (size_t i = 1; i < span->target.len && span->target.data[i] != '.'; i++)
		id = id * 10 + span->target.data[i] - '0';
	for (unsigned i = 0; i < t->messages && index < 0; i++)
		if (t->message[i].role == CLV_REQUEST && t->message[i].id == id)
			index = (int)i;
	if (index < 0)
		return -1;
	const struct talk_message *request = &t->message[index];
	uint16_t type = (uint16_t)(request->tag >> 16);
	struct clv_slice name = clv_dns_type_name(type);
	*ok = type == CLV_DNS_SOA ? span->method.len == 6 : clv_slice_eq(span->method, name);
	if (!span->first_ns)
		return index;
	if (request->answer < 0) {
		*ok = false;
		return index;
	}
	const struct talk_message *response = &t->message[request->answer];
	if (clv_span_get(span, CLV_ATTR_CLOVISOR_DNS_RCODE))
		*ok &= (uint64_t)(span->status_code & 15) == (response->tag & 15);
	if (!(span->flags & (CLV_SPAN_GAP | CLV_SPAN_TRUNCATED | CLV_SPAN_MIDSTREAM))) {
		*ok &= span->bytes == response->body_bytes;
		*ok &= (span->status_code == 0) == !(response->tag & 15) || span->status_code == 16;
	}
	*ok &= first_answer_ok(span, id);
	return index;
}

const struct talk_sample talk_dns_tcp = {
	.proto = "dns",
	.port = 53,
	.make = dns_make_tcp,
	.tag = dns_tag,
	.check = dns_check,
};

const struct talk_sample talk_dns_udp = {
	.proto = "dns",
	.port = 53,
	.datagram = true,
	.make = dns_make_udp,
	.tag = dns_tag,
	.check = dns_check,
};
