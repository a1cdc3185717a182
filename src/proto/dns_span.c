/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS exchanges as spans. OpenTelemetry (v1.44) has dns.question.name and dns.answers, and no convention for spans;
 * what else there is to say is clovisor.dns.*. Strings live in the span. Never allocates. Engine thread, once per span.
 */
#include "proto/dns.h"

#include "proto/describe.h"

enum {
	/* Answers are told until one of these is reached; how many there were is told in any case. */
	ANSWERS_MAX = 32,
	ANSWERS_BYTES = 1024,
};

/* ---- names as text --------------------------------------------------------------------------------------------- */

/*
 * RFC 1035 section 5.1, RFC 4343 section 2.1: a dot or a backslash within a label behind a backslash, bytes that are no
 * visible ASCII as \DDD. Letters keep their case. The root is ".".
 */
static void dns_put_name(struct clv_buf *b, const struct clv_dns_name *name)
{
	if (name->len <= 1)
		clv_buf_char(b, '.');
	for (unsigned at = 0; at < name->len && name->wire[at]; at += 1u + name->wire[at]) {
		if (at)
			clv_buf_char(b, '.');
		for (unsigned i = 1; i <= name->wire[at]; i++) {
			uint8_t c = name->wire[at + i];
			char escaped[4] = {'\\', (char)('0' + c / 100), (char)('0' + c / 10 % 10),
					   (char)('0' + c % 10)};

			if (c <= ' ' || c > '~')
				clv_buf_put(b, escaped, sizeof(escaped));
			else if (c == '.' || c == '\\')
				clv_buf_put(b, (const char[]){'\\', (char)c}, 2);
			else
				clv_buf_char(b, (char)c);
		}
	}
}

/* A copy of what was written, in the span. */
static struct clv_slice dns_kept(struct clv_span *span, const struct clv_buf *b)
{
	struct clv_buf room = clv_describe_room(span, b->len);

	clv_buf_put(&room, b->data, b->len);
	return clv_describe_text(&room);
}

static struct clv_slice dns_question(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_dns_facts *f = pair->request;
	char text[CLV_DNS_NAME_TEXT];
	struct clv_buf b = clv_buf(text, sizeof(text));
	struct clv_dns_name name;
	size_t end = f->questions ? clv_dns_name(pair->request_head, CLV_DNS_HEADER_BYTES, &name) : 0;

	if (!end || end == CLV_DNS_CUT)
		return clv_slice(NULL, 0);
	dns_put_name(&b, &name);
	return dns_kept(span, &b);
}

/* ---- numbers as text ------------------------------------------------------------------------------------------- */

/* PREFIX and a number (RFC 3597 section 5; the same for others). */
static struct clv_slice dns_numbered(struct clv_span *span, struct clv_slice prefix, uint16_t n)
{
	struct clv_buf b = clv_describe_room(span, prefix.len + 5);

	clv_buf_slice(&b, prefix);
	clv_buf_u64(&b, n);
	return clv_describe_text(&b);
}

static struct clv_slice dns_type(struct clv_span *span, uint16_t type)
{
	struct clv_slice name = clv_dns_type_name(type);

	return name.len ? name : dns_numbered(span, CLV_LIT("TYPE"), type);
}

static struct clv_slice dns_class(struct clv_span *span, uint16_t class)
{
	switch (class) {
	case CLV_DNS_CH:
		return CLV_LIT("CH");
	case CLV_DNS_HS:
		return CLV_LIT("HS");
	case CLV_DNS_NONE:
		return CLV_LIT("NONE");
	case CLV_DNS_ANY:
		return CLV_LIT("ANY");
	default:
		return dns_numbered(span, CLV_LIT("CLASS"), class);
	}
}

/* What the question is of, if not a query's type. */
static struct clv_slice dns_opcode_name(uint8_t opcode)
{
	switch (opcode) {
	case CLV_DNS_IQUERY:
		return CLV_LIT("IQUERY");
	case CLV_DNS_STATUS:
		return CLV_LIT("STATUS");
	case CLV_DNS_NOTIFY:
		return CLV_LIT("NOTIFY");
	case CLV_DNS_UPDATE:
		return CLV_LIT("UPDATE");
	default:
		return clv_slice(NULL, 0);
	}
}

enum { RCODE_SERVFAIL = 2, RCODE_NOTIMP = 4 };

/* IANA's registry; 16 is BADVERS here, as OPT has it (in TSIG it is BADSIG). */
static struct clv_slice dns_rcode(struct clv_span *span, uint16_t rcode)
{
	static const char *const names[] = {
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",  "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
		"NXRRSET", "NOTAUTH", "NOTZONE",  "DSOTYPENI", NULL,      NULL,      NULL,       NULL,
		"BADVERS", "BADKEY",  "BADTIME",  "BADMODE",   "BADNAME", "BADALG",  "BADTRUNC", "BADCOOKIE",
	};

	if (rcode < sizeof(names) / sizeof(names[0]) && names[rcode])
		return clv_slice_str(names[rcode]);
	return dns_numbered(span, CLV_LIT("RCODE"), rcode);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

/* Where the name stands in the data of a record that leads to another name; -1: it leads to none. */
static int dns_target_at(uint16_t type)
{
	switch (type) {
	case CLV_DNS_NS:
	case CLV_DNS_CNAME:
	case CLV_DNS_PTR:
	case CLV_DNS_DNAME:
		return 0;
	case CLV_DNS_MX:
		return 2;
	case CLV_DNS_SRV:
		return 6;
	default:
		return -1;
	}
}

/* Address or target of a record, ended by a NUL; nothing for one that has neither. */
static void dns_put_answer(struct clv_buf *b, struct clv_slice msg, const struct clv_dns_record *rec)
{
	const uint8_t *data = msg.data + rec->data_at;
	int at = dns_target_at(rec->type);
	struct clv_dns_name name;
	struct clv_addr addr;
	char text[CLV_ADDR_TEXT];

	if (rec->type == CLV_DNS_A && rec->data_len == 4) {
		addr = clv_addr_v4(data);
		clv_buf_put(b, text, clv_addr_format(&addr, text));
	} else if (rec->type == CLV_DNS_AAAA && rec->data_len == 16) {
		addr = clv_addr_v6(data);
		clv_buf_put(b, text, clv_addr_format(&addr, text));
	} else if (at >= 0 && at < rec->data_len) {
		size_t end = clv_dns_name(clv_slice_head(msg, rec->data_at + rec->data_len), rec->data_at + (size_t)at,
					  &name);
		if (!end || end == CLV_DNS_CUT)
			return;
		dns_put_name(b, &name);
	} else {
		return;
	}
	clv_buf_char(b, '\0');
}

/* Of the records kept. */
static struct clv_slice dns_answers(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_dns_facts *f = pair->response;
	struct clv_slice msg = pair->kept;
	struct clv_dns_record rec;
	char text[ANSWERS_BYTES];
	struct clv_buf b = clv_buf(text, sizeof(text));
	size_t at = CLV_DNS_HEADER_BYTES;

	for (unsigned i = 0; i < f->questions; i++) {
		at = clv_dns_name(msg, at, NULL);
		if (!at || at == CLV_DNS_CUT)
			return clv_slice(NULL, 0);
		at += 4;
	}
	for (unsigned i = 0; i < f->answers && i < ANSWERS_MAX; i++) {
		size_t before = b.len;

		at = clv_dns_record(msg, at, &rec);
		if (!at || at == CLV_DNS_CUT)
			break;
		dns_put_answer(&b, msg, &rec);
		if (b.cut) {
			b.len = before;
			break;
		}
	}
	return dns_kept(span, &b);
}

/* ---- the span -------------------------------------------------------------------------------------------------- */

static bool dns_is_multicast(const struct clv_span *span)
{
	return clv_addr_is_multicast(&span->server.addr) || clv_addr_is_multicast(&span->client.addr);
}

/* What is asked of everybody nearby has names of its own. */
static const char *dns_protocol(const struct clv_span *span)
{
	if (!dns_is_multicast(span))
		return clv_dns.name;
	return span->server.port == CLV_DNS_LLMNR_PORT  ? "llmnr"
	       : span->server.port == CLV_DNS_MDNS_PORT ? "mdns"
							: "dns";
}

/*
 * For who asked, every answer but NOERROR is an error: the name is not found (host_not_found is OpenTelemetry's own
 * example), or was refused. The server did its work, unless it says that it could not.
 */
static void dns_describe_response(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_dns_facts *f = pair->response;

	if (!f)
		return;
	if (!(f->flags & CLV_DNS_RCODE_UNSURE)) {
		span->result = dns_rcode(span, f->rcode);
		span->status_code = f->rcode;
		clv_span_str(span, CLV_ATTR_CLOVISOR_DNS_RCODE, span->result);
		if (f->rcode &&
		    (span->kind == CLV_KIND_CLIENT || f->rcode == RCODE_SERVFAIL || f->rcode == RCODE_NOTIMP))
			clv_describe_error(span, span->result);
	}
	if (f->opcode == CLV_DNS_QUERY) {
		struct clv_slice answers = dns_answers(pair, span);

		clv_span_int(span, CLV_ATTR_CLOVISOR_DNS_ANSWER_COUNT, f->answers);
		if (answers.len)
			clv_span_strs(span, CLV_ATTR_DNS_ANSWERS, answers);
	}
	if (f->flags & CLV_DNS_TC)
		clv_span_bool(span, CLV_ATTR_CLOVISOR_DNS_TRUNCATED, true);
	if (f->flags & CLV_DNS_MALFORMED)
		clv_span_bool(span, CLV_ATTR_CLOVISOR_DNS_MALFORMED, true);
}

/* "DNS A", "DNS UPDATE"; of a type that nobody knows, or without a question, "DNS": anybody can ask for any. */
static void dns_name_span(const struct clv_dns_facts *f, struct clv_span *span)
{
	struct clv_slice what = f->opcode == CLV_DNS_QUERY ? clv_dns_type_name(f->type) : dns_opcode_name(f->opcode);
	struct clv_buf b = clv_describe_room(span, 4 + what.len);

	span->name = CLV_LIT("DNS");
	if (!what.len)
		return;
	clv_buf_lit(&b, "DNS ");
	clv_buf_slice(&b, what);
	if (!b.cut)
		span->name = clv_describe_text(&b);
}

void clv_dns_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_dns_facts *f = pair->request;
	struct clv_slice opcode = dns_opcode_name(f->opcode), type = {0};
	uint16_t class = f->class & CLV_DNS_CLASS_MASK;

	span->protocol = dns_protocol(span);
	dns_name_span(f, span);
	if (f->questions) {
		type = dns_type(span, f->type);
		span->target = dns_question(pair, span);
		clv_describe_str(span, CLV_ATTR_DNS_QUESTION_NAME, span->target);
		clv_describe_str(span, CLV_ATTR_CLOVISOR_DNS_TYPE, type);
		if (class != CLV_DNS_IN)
			clv_describe_str(span, CLV_ATTR_CLOVISOR_DNS_CLASS, dns_class(span, class));
	}
	if (f->questions > 1)
		clv_span_int(span, CLV_ATTR_CLOVISOR_DNS_QUESTION_COUNT, f->questions);
	clv_describe_str(span, CLV_ATTR_CLOVISOR_DNS_OPCODE, opcode);
	span->method = opcode.len ? opcode : type;
	dns_describe_response(pair, span);
	clv_describe_ends(span, clv_slice(NULL, 0));
	clv_span_str(span, CLV_ATTR_NETWORK_PROTOCOL_NAME, clv_slice_str(span->protocol));
}
