/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where DNS messages begin and end (RFC 1035 section 4), over UDP and TCP, and what question an answer belongs to.
 * Names and answers become text in dns_span.c. Allocates nothing, keeps no byte of a message. Engine thread.
 *
 *     over TCP: length (2 bytes)                                        RFC 1035 section 4.2.2, RFC 7766
 *     id (2) | QR opcode (4 bits) AA TC RD | RA Z AD CD rcode (4 bits) | QDCOUNT ANCOUNT NSCOUNT ARCOUNT (2 each)
 *     questions:  name, type (2), class (2)
 *     records:    name, type (2), class (2), ttl (4), length (2), data; of EDNS' OPT the ttl's first byte belongs to
 *                 the response code (RFC 6891 section 6.1.3)
 *     a name:     labels, each a length (0..63) and so many bytes; 0 ends it, a pointer (11xxxxxx xxxxxxxx) goes on
 *                 with a name that stands before (RFC 1035 section 4.1.4)
 *
 * An answer is one to a question only if it has its id and repeats it (RFC 5452 section 9.1): clv_msg.id is made from
 * both. Answers that repeat no question, as some errors and later messages of a transfer do, belong to the newest one
 * of their id; state remembers a few.
 */
#include "proto/dns.h"

#include "base/hash.h"

enum {
	PREFIX_BYTES = 2,
	/* mDNS asks for more than one thing at a time, but in one datagram. */
	QUESTIONS_MAX = 64,
	QUESTION_BYTES_MIN = 5, /* the root's name, type, class */
	RECORD_BYTES_MIN = 11,
	ASKED_MAX = 16,
	/* Of a message that long the first records are enough to know what it is. */
	DETECT_BYTES = 1024,
};

/* A question that was asked: what its id becomes. */
struct dns_asked {
	uint64_t key;
	uint16_t type;
	bool used;
};

/* A zone's transfer (RFC 5936, RFC 1995): an answer of many messages, which begins and ends with the same SOA. */
struct dns_transfer {
	struct clv_dns_facts facts; /* of the first message, and all answers so far */
	uint64_t key;
	uint32_t serial; /* of the first SOA */
	uint8_t newest;  /* SOAs of that serial, the first included */
	bool active, incremental;
	bool last; /* the newest record is such a SOA */
};

struct dns_state {
	bool datagram, multicast;
	uint8_t next; /* of asked[] */
	struct dns_asked asked[ASKED_MAX];
	struct dns_transfer transfer;
};

/* ---- names and records ----------------------------------------------------------------------------------------- */

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* Pointers in one name: it has no more labels. */
#define DNS_HOPS 127u

size_t clv_dns_name(struct clv_slice msg, size_t at, struct clv_dns_name *name)
{
	size_t next = 0, before = at, used = 0;
	unsigned hops = 0;

	/* Ends: labels are at most CLV_DNS_NAME_BYTES together, and each pointer leads further back. */
	for (;;) {
		if (at >= msg.len)
			return next ? 0 : CLV_DNS_CUT;
		const uint8_t *p = msg.data + at;
		if (*p >= 0xc0) {
			if (at + 1 == msg.len)
				return next ? 0 : CLV_DNS_CUT;
			if (!next)
				next = at + 2;
			at = be16(p) & 0x3fff;
			if (at < CLV_DNS_HEADER_BYTES || at >= before || ++hops > DNS_HOPS)
				return 0;
			before = at;
			continue;
		}
		size_t len = 1u + *p;
		if (*p > 63 || len > CLV_DNS_NAME_BYTES - used)
			return 0;
		if (len > msg.len - at)
			return next ? 0 : CLV_DNS_CUT;
		if (name)
			memcpy(name->wire + used, p, len);
		used += len;
		at += len;
		if (len == 1)
			break;
	}
	if (name)
		name->len = (uint8_t)used;
	return next ? next : at;
}

size_t clv_dns_record(struct clv_slice msg, size_t at, struct clv_dns_record *rec)
{
	enum { FIXED_BYTES = 10 };

	at = clv_dns_name(msg, at, NULL);
	if (!at || at == CLV_DNS_CUT)
		return at;
	if (msg.len - at < FIXED_BYTES)
		return CLV_DNS_CUT;
	const uint8_t *p = msg.data + at;

	*rec = (struct clv_dns_record){
		.type = be16(p),
		.class = be16(p + 2),
		.ttl = be32(p + 4),
		.data_len = be16(p + 8),
		.data_at = at + FIXED_BYTES,
	};
	return rec->data_len > msg.len - rec->data_at ? CLV_DNS_CUT : rec->data_at + rec->data_len;
}

/* IANA's registry of types, without those that nobody ever used. */
struct clv_slice clv_dns_type_name(uint16_t type)
{
	static const char *const low[] = {
		[1] = "A",           [2] = "NS",        [3] = "MD",       [4] = "MF",          [5] = "CNAME",
		[6] = "SOA",         [7] = "MB",        [8] = "MG",       [9] = "MR",          [10] = "NULL",
		[11] = "WKS",        [12] = "PTR",      [13] = "HINFO",   [14] = "MINFO",      [15] = "MX",
		[16] = "TXT",        [17] = "RP",       [18] = "AFSDB",   [19] = "X25",        [20] = "ISDN",
		[21] = "RT",         [22] = "NSAP",     [24] = "SIG",     [25] = "KEY",        [26] = "PX",
		[27] = "GPOS",       [28] = "AAAA",     [29] = "LOC",     [30] = "NXT",        [31] = "EID",
		[32] = "NIMLOC",     [33] = "SRV",      [34] = "ATMA",    [35] = "NAPTR",      [36] = "KX",
		[37] = "CERT",       [38] = "A6",       [39] = "DNAME",   [40] = "SINK",       [41] = "OPT",
		[42] = "APL",        [43] = "DS",       [44] = "SSHFP",   [46] = "RRSIG",      [45] = "IPSECKEY",
		[47] = "NSEC",       [48] = "DNSKEY",   [49] = "DHCID",   [50] = "NSEC3",      [52] = "TLSA",
		[51] = "NSEC3PARAM", [53] = "SMIMEA",   [55] = "HIP",     [56] = "NINFO",      [57] = "RKEY",
		[58] = "TALINK",     [59] = "CDS",      [60] = "CDNSKEY", [61] = "OPENPGPKEY", [62] = "CSYNC",
		[63] = "ZONEMD",     [64] = "SVCB",     [65] = "HTTPS",   [66] = "DSYNC",      [67] = "HHIT",
		[68] = "BRID",       [99] = "SPF",      [104] = "NID",    [105] = "L32",       [106] = "L64",
		[107] = "LP",        [108] = "EUI48",   [109] = "EUI64",  [128] = "NXNAME",    [249] = "TKEY",
		[250] = "TSIG",      [251] = "IXFR",    [252] = "AXFR",   [253] = "MAILB",     [254] = "MAILA",
		[255] = "ANY",       [256] = "URI",     [257] = "CAA",    [258] = "AVC",       [259] = "DOA",
		[260] = "AMTRELAY",  [261] = "RESINFO", [262] = "WALLET",
	};

	if (type == 32768)
		return CLV_LIT("TA");
	if (type == 32769)
		return CLV_LIT("DLV");
	if (type >= sizeof(low) / sizeof(low[0]) || !low[type])
		return clv_slice(NULL, 0);
	return clv_slice_str(low[type]);
}

/* ---- a message ------------------------------------------------------------------------------------------------- */

enum dns_form {
	DNS_FOREIGN, /* this is no DNS message */
	DNS_CUT,     /* it may be one; its questions are not all there */
	DNS_ASKED,   /* the questions are there; records are cut, or wrong */
	DNS_WHOLE,
};

struct dns_message {
	struct clv_dns_facts facts;
	uint64_t key; /* as clv_msg.id; 0 without a question */
	uint16_t records[3];
	bool response;
	bool torn;  /* the first question can be read, another one cannot */
	bool cut;   /* the bytes ended before the records did */
	bool plain; /* nothing but what resolvers and servers usually say */
};

static uint8_t dns_opcode(const uint8_t *h)
{
	return h[2] >> 3 & 15;
}

/*
 * NetBIOS' name service (RFC 1002) has the same header; its names are 16 bytes as 32 letters from A to P. Some may be
 * damaged: of what is no such name half of the letters, at most, are.
 */
static bool dns_is_netbios(const struct clv_dns_name *name)
{
	enum { NETBIOS_LABEL = 32, ENOUGH = 24 };
	int letters = 0;

	if (name->wire[0] != NETBIOS_LABEL)
		return false;
	for (int i = 1; i <= NETBIOS_LABEL; i++)
		letters += name->wire[i] >= 'A' && name->wire[i] <= 'P';
	return letters >= ENOUGH;
}

static bool dns_is_printable(const struct clv_dns_name *name)
{
	for (unsigned at = 0; at < name->len; at += 1u + name->wire[at])
		for (unsigned i = 1; i <= name->wire[at]; i++)
			if (name->wire[at + i] <= ' ' || name->wire[at + i] > '~')
				return false;
	return true;
}

static bool dns_is_class(uint16_t class)
{
	class &= CLV_DNS_CLASS_MASK;
	return class == CLV_DNS_IN || class == CLV_DNS_CH || class == CLV_DNS_HS || class == CLV_DNS_NONE ||
	       class == CLV_DNS_ANY;
}

/* An id that the answer has as well: letters have no case in names, and servers may change it (RFC 4343). */
static uint64_t dns_key(const struct clv_dns_facts *f, const struct clv_dns_name *name)
{
	uint8_t low[CLV_DNS_NAME_BYTES];

	for (unsigned i = 0; i < name->len; i++) /* lengths are below 'A' */
		low[i] = clv_ascii_lower(name->wire[i]);
	uint64_t seed = (uint64_t)f->opcode << 32 | (uint32_t)f->type << 16 | (f->class & CLV_DNS_CLASS_MASK);
	return (uint64_t)f->id << 48 | clv_hash(low, name->len, seed) >> 16;
}

/* The first bytes of a header: soon enough to leave others alone. */
static bool dns_may_begin(struct clv_slice msg)
{
	if (msg.len > 2 && (dns_opcode(msg.data) == 3 || dns_opcode(msg.data) > CLV_DNS_DSO))
		return false;
	return msg.len < 6 || be16(msg.data + 4) <= QUESTIONS_MAX;
}

/* Header fields that no implementation sets so. `plain` is decided as far as the header goes. */
static bool dns_read_header(struct clv_slice msg, struct dns_message *m)
{
	enum { Z = 0x40, RA = 0x80, RCODE_MAX = 11 };
	const uint8_t *h = msg.data;
	struct clv_dns_facts *f = &m->facts;

	m->response = h[2] & 0x80;
	f->id = be16(h);
	f->opcode = dns_opcode(h);
	f->flags = h[2] & 2 ? CLV_DNS_TC : 0;
	f->rcode = h[3] & 15;
	f->questions = be16(h + 4);
	f->answers = be16(h + 6);
	for (int i = 0; i < 3; i++)
		m->records[i] = be16(h + 6 + 2 * i);
	if (!dns_may_begin(msg))
		return false;
	/* Who asks nothing must have something else to say: a cookie (RFC 7873 section 5.4), an error, records. */
	if (!f->questions && f->opcode != CLV_DNS_DSO && !m->records[0] && !m->records[2] && !(m->response && f->rcode))
		return false;
	m->plain = f->questions == 1 && !(h[3] & Z);
	if (m->response)
		m->plain &= f->rcode <= RCODE_MAX;
	else
		m->plain &= !(h[3] & RA) && !f->rcode && !(f->flags & CLV_DNS_TC);
	if (!m->response && f->opcode != CLV_DNS_UPDATE) /* NOTIFY may tell the SOA, IXFR what one has */
		m->plain &= m->records[0] <= (f->opcode == CLV_DNS_NOTIFY) && m->records[1] <= 1 && m->records[2] <= 2;
	return true;
}

/* Returns the offset behind the questions, 0 or CLV_DNS_CUT. */
static size_t dns_read_questions(struct clv_slice msg, struct dns_message *m)
{
	struct clv_dns_facts *f = &m->facts;
	struct clv_dns_name name;
	size_t at = CLV_DNS_HEADER_BYTES;

	for (unsigned i = 0; i < f->questions; i++) {
		at = clv_dns_name(msg, at, &name);
		m->torn = i && !at;
		if (m->torn)
			return CLV_DNS_HEADER_BYTES;
		if (!at || at == CLV_DNS_CUT)
			return at;
		if (msg.len - at < 4)
			return CLV_DNS_CUT;
		uint16_t type = be16(msg.data + at), class = be16(msg.data + at + 2);
		at += 4;
		if (!type || !dns_is_class(class) || dns_is_netbios(&name))
			return 0;
		m->plain &= clv_dns_type_name(type).len && dns_is_printable(&name);
		if (i)
			continue;
		f->type = type;
		f->class = class;
		m->key = dns_key(f, &name);
	}
	return at;
}

static bool dns_fits(const struct clv_dns_record *rec)
{
	if (rec->type == CLV_DNS_OPT)
		return true;
	if (rec->class == CLV_DNS_IN && rec->type == CLV_DNS_A)
		return rec->data_len == 4;
	if (rec->class == CLV_DNS_IN && rec->type == CLV_DNS_AAAA)
		return rec->data_len == 16;
	return dns_is_class(rec->class);
}

/* What has no question begins with the name of its first record. */
static bool dns_answers_netbios(struct clv_slice msg, size_t at)
{
	struct clv_dns_name name;
	size_t next = clv_dns_name(msg, at, &name);

	return next && next != CLV_DNS_CUT && dns_is_netbios(&name);
}

/* Returns the offset behind the records, 0 or CLV_DNS_CUT. */
static size_t dns_read_records(struct clv_slice msg, size_t at, struct dns_message *m)
{
	uint32_t count = (uint32_t)m->records[0] + m->records[1] + m->records[2];
	struct clv_dns_record rec;

	while (count--) {
		at = clv_dns_record(msg, at, &rec);
		if (!at || at == CLV_DNS_CUT)
			return at;
		m->plain &= dns_fits(&rec);
		if (m->response && rec.type == CLV_DNS_OPT)
			m->facts.rcode |= (uint16_t)(rec.ttl >> 24 << 4);
	}
	return at;
}

/* Reads what is there of a message; of a DNS_FOREIGN one nothing is said in *m. */
static enum dns_form dns_read(struct clv_slice msg, struct dns_message *m)
{
	*m = (struct dns_message){0};
	if (msg.len < CLV_DNS_HEADER_BYTES)
		return dns_may_begin(msg) ? DNS_CUT : DNS_FOREIGN;
	if (!dns_read_header(msg, m))
		return DNS_FOREIGN;
	size_t at = dns_read_questions(msg, m);
	if (!at)
		return DNS_FOREIGN;
	if (at == CLV_DNS_CUT)
		return DNS_CUT;
	if (m->torn) {
		m->plain = false;
		return DNS_ASKED;
	}
	if (m->facts.opcode == CLV_DNS_DSO) { /* what follows are no records */
		m->plain = false;
		return DNS_WHOLE;
	}
	if (!m->facts.questions && dns_answers_netbios(msg, at))
		return DNS_FOREIGN;
	at = dns_read_records(msg, at, m);
	m->cut = at == CLV_DNS_CUT;
	if (at && !m->cut) {
		m->plain &= at == msg.len;
		return DNS_WHOLE;
	}
	m->plain &= m->cut;
	return DNS_ASKED;
}

/* ---- telling --------------------------------------------------------------------------------------------------- */

/* A message and its place in the slice that is being read. */
struct dns_place {
	struct clv_slice msg; /* without the length before it */
	uint32_t at, end;     /* with it */
	bool lost;            /* something of it was not captured */
};

static struct clv_slice dns_method(const struct clv_dns_facts *f)
{
	switch (f->opcode) {
	case CLV_DNS_QUERY:
		break;
	case CLV_DNS_NOTIFY:
		return CLV_LIT("NOTIFY");
	case CLV_DNS_UPDATE:
		return CLV_LIT("UPDATE");
	default:
		return CLV_LIT("_OTHER");
	}
	struct clv_slice name = clv_dns_type_name(f->type);
	return name.len ? name : CLV_LIT("_OTHER");
}

static void dns_remember(struct dns_state *s, const struct dns_message *m)
{
	s->asked[s->next] = (struct dns_asked){.key = m->key, .type = m->facts.type, .used = true};
	s->next = (s->next + 1) % ASKED_MAX;
}

/* The newest question of that id that is still remembered. */
static const struct dns_asked *dns_recall(const struct dns_state *s, uint16_t id)
{
	for (unsigned back = 1; back <= ASKED_MAX; back++) {
		const struct dns_asked *a = &s->asked[(s->next + ASKED_MAX - back) % ASKED_MAX];

		if (a->used && a->key >> 48 == id)
			return a;
	}
	return NULL;
}

static struct clv_msg dns_msg(const struct dns_message *m, const struct dns_place *p)
{
	return (struct clv_msg){
		.role = m->response ? CLV_RESPONSE : CLV_REQUEST,
		.flags = p->lost ? CLV_MSG_TRUNCATED : 0,
		.id = m->key,
		.at = p->at,
		.head = p->msg,
		.facts = &m->facts,
		.facts_size = sizeof(m->facts),
	};
}

static void dns_tell_request(struct dns_state *s, struct dns_message *m, const struct dns_place *p,
			     struct clv_sink *sink)
{
	if (!m->facts.questions)
		m->key = (uint64_t)m->facts.id << 48;
	struct clv_msg msg = dns_msg(m, p);

	msg.method = dns_method(&m->facts);
	if (s->multicast) /* whoever answers does so from an address of its own, or to everybody */
		msg.flags |= CLV_MSG_ONEWAY;
	else
		dns_remember(s, m);
	sink->head(sink, CLV_TO_SERVER, &msg);
	sink->end(sink, CLV_TO_SERVER, &(struct clv_end){.id = m->key, .at = p->end});
}

/* The serial number of a SOA record. */
static uint32_t dns_serial(struct clv_slice msg, const struct clv_dns_record *rec)
{
	enum { FIXED_BYTES = 20 };

	return rec->data_len < FIXED_BYTES ? 0 : be32(msg.data + rec->data_at + rec->data_len - FIXED_BYTES);
}

/* Offset of the first record of a message that is DNS_WHOLE. */
static size_t dns_behind_questions(struct clv_slice msg, const struct dns_message *m)
{
	size_t at = CLV_DNS_HEADER_BYTES;

	for (unsigned i = 0; i < m->facts.questions; i++)
		at = clv_dns_name(msg, at, NULL) + 4;
	return at;
}

static void dns_transfer_record(struct dns_transfer *t, uint32_t n, struct clv_slice msg,
				const struct clv_dns_record *rec)
{
	uint32_t serial = rec->type == CLV_DNS_SOA ? dns_serial(msg, rec) : 0;

	if (n == 0)
		t->serial = serial;
	else if (n == 1)
		t->incremental = rec->type == CLV_DNS_SOA && serial != t->serial;
	t->last = rec->type == CLV_DNS_SOA && serial == t->serial;
	if (t->last && t->newest < UINT8_MAX)
		t->newest++;
}

/*
 * Counts the answers of one message of a transfer. True: it was the last one. What is incremental has the newest SOA at
 * its beginning, where the last additions begin, and at its end; else only the first and the last.
 */
static bool dns_transfer_is_over(struct dns_transfer *t, struct clv_slice msg, const struct dns_message *m)
{
	struct clv_dns_record rec;
	size_t at = dns_behind_questions(msg, m);

	for (unsigned i = 0; i < m->records[0]; i++) {
		at = clv_dns_record(msg, at, &rec);
		if (!at || at == CLV_DNS_CUT)
			return true;
		dns_transfer_record(t, t->facts.answers++, msg, &rec);
	}
	if (t->facts.type == CLV_DNS_IXFR && t->facts.answers <= 1) /* nothing is new */
		return true;
	return t->last && t->newest >= (t->incremental ? 3 : 2);
}

static void dns_transfer_end(struct dns_state *s, const struct dns_place *p, struct clv_sink *sink)
{
	struct dns_transfer *t = &s->transfer;

	t->active = false;
	sink->end(sink, CLV_TO_CLIENT,
		  &(struct clv_end){.id = t->key, .at = p->end, .facts = &t->facts, .facts_size = sizeof(t->facts)});
}

static bool dns_is_transfer(const struct dns_state *s, const struct dns_message *m)
{
	return !s->datagram && !m->facts.rcode && (m->facts.type == CLV_DNS_AXFR || m->facts.type == CLV_DNS_IXFR);
}

/* A transfer begins with a SOA; what does not is a later message of one whose beginning was lost. */
static bool dns_transfer_begins(struct clv_slice msg, const struct dns_message *m)
{
	struct clv_dns_record rec;
	size_t at = dns_behind_questions(msg, m);

	at = m->records[0] ? clv_dns_record(msg, at, &rec) : 0;
	return at && at != CLV_DNS_CUT && rec.type == CLV_DNS_SOA;
}

/* One more message of the transfer that is under way. */
static void dns_tell_more(struct dns_state *s, const struct dns_message *m, const struct dns_place *p,
			  struct clv_sink *sink)
{
	struct dns_transfer *t = &s->transfer;

	sink->body(sink, CLV_TO_CLIENT, t->key, p->end - p->at);
	if (p->lost) /* what follows may still be its end */
		return;
	if (m->facts.rcode)
		t->facts.rcode = m->facts.rcode;
	if (m->facts.rcode || m->facts.flags & CLV_DNS_MALFORMED || dns_transfer_is_over(t, p->msg, m))
		dns_transfer_end(s, p, sink);
}

static void dns_tell_response(struct dns_state *s, struct dns_message *m, const struct dns_place *p,
			      struct clv_sink *sink)
{
	const struct dns_asked *asked = m->facts.questions ? NULL : dns_recall(s, m->facts.id);

	if (!s->datagram && !m->facts.questions && m->records[0]) { /* nothing but a transfer goes on like this */
		if (s->transfer.active && s->transfer.facts.id == m->facts.id)
			dns_tell_more(s, m, p, sink);
		return;
	}
	if (asked) {
		m->key = asked->key;
		m->facts.type = asked->type;
	} else if (!m->key) {
		m->key = (uint64_t)m->facts.id << 48;
	}
	if (s->transfer.active && s->transfer.key == m->key) {
		dns_tell_more(s, m, p, sink);
		return;
	}
	bool first = dns_is_transfer(s, m) && !(m->facts.flags & CLV_DNS_MALFORMED);
	if (first && !dns_transfer_begins(p->msg, m))
		return;
	first &= !p->lost;
	if (first) {
		s->transfer = (struct dns_transfer){.facts = m->facts, .key = m->key, .active = true};
		s->transfer.facts.answers = 0;
	}
	struct clv_msg msg = dns_msg(m, p);
	msg.keep = p->msg;
	sink->head(sink, CLV_TO_CLIENT, &msg);
	if (!first)
		sink->end(sink, CLV_TO_CLIENT, &(struct clv_end){.id = m->key, .at = p->end});
	else if (dns_transfer_is_over(&s->transfer, p->msg, m))
		dns_transfer_end(s, p, sink);
}

static void dns_tell(struct dns_state *s, enum dns_form form, struct dns_message *m, const struct dns_place *p,
		     struct clv_sink *sink)
{
	enum { RCODE_BADVERS = 16, RCODE_BADCOOKIE = 23, LOW_BITS = 15 };
	uint16_t low = m->facts.rcode;

	if (m->facts.opcode == CLV_DNS_DSO) /* a session's, not a question */
		return;
	if (form == DNS_ASKED && !(p->lost && m->cut))
		m->facts.flags |= CLV_DNS_MALFORMED;
	if (form != DNS_WHOLE && p->lost && m->records[2] && !m->records[0] &&
	    (low == (RCODE_BADVERS & LOW_BITS) || low == (RCODE_BADCOOKIE & LOW_BITS)))
		m->facts.flags |= CLV_DNS_RCODE_UNSURE;
	if (m->response)
		dns_tell_response(s, m, p, sink);
	else
		dns_tell_request(s, m, p, sink);
}

/* ---- the parser ------------------------------------------------------------------------------------------------ */

static bool dns_goes(const struct dns_message *m, enum clv_dir dir)
{
	return m->response == (dir == CLV_TO_CLIENT);
}

static enum clv_match dns_probe_datagram(enum clv_dir dir, struct clv_slice in)
{
	struct dns_message m;
	enum dns_form form = dns_read(in, &m);

	if (form == DNS_FOREIGN || form == DNS_CUT || !dns_goes(&m, dir))
		return CLV_MATCH_NO;
	return form == DNS_WHOLE && m.plain ? CLV_MATCH_YES : CLV_MATCH_LIKELY;
}

/* Is there room for what the header counts? */
static bool dns_has_room(const struct dns_message *m, uint32_t total)
{
	uint32_t records = (uint32_t)m->records[0] + m->records[1] + m->records[2];

	return (uint32_t)m->facts.questions * QUESTION_BYTES_MIN + records * RECORD_BYTES_MIN <=
	       total - CLV_DNS_HEADER_BYTES;
}

/* *plain: as far as can be seen, it is what everybody sends. */
static enum clv_match dns_match_stream(enum clv_dir dir, struct clv_slice in, bool *plain)
{
	struct dns_message m;

	*plain = false;
	if (in.len < PREFIX_BYTES)
		return CLV_MATCH_MAYBE;
	uint32_t total = be16(in.data);
	struct clv_slice msg = clv_slice_sub(in, PREFIX_BYTES, total);
	enum dns_form form = dns_read(msg, &m);

	if (total < CLV_DNS_HEADER_BYTES || form == DNS_FOREIGN)
		return CLV_MATCH_NO;
	if (msg.len < CLV_DNS_HEADER_BYTES)
		return CLV_MATCH_MAYBE;
	if (!dns_goes(&m, dir) || (msg.len == total && form == DNS_CUT) || !dns_has_room(&m, total))
		return CLV_MATCH_NO;
	*plain = m.plain;
	if (msg.len == total)
		return form == DNS_WHOLE && *plain ? CLV_MATCH_YES : CLV_MATCH_LIKELY;
	if (form == DNS_WHOLE || (form == DNS_ASKED && !m.cut))
		return CLV_MATCH_LIKELY;
	if (form == DNS_ASKED && in.len >= DETECT_BYTES)
		return *plain ? CLV_MATCH_YES : CLV_MATCH_LIKELY;
	return CLV_MATCH_MAYBE;
}

static enum clv_match dns_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	if (where == CLV_WHERE_DATAGRAM)
		return dns_probe_datagram(dir, in);
	bool plain;
	enum clv_match match = dns_match_stream(dir, in, &plain);
	/* The middle of a message, read as one, often looks like an odd one. */
	return match == CLV_MATCH_LIKELY && where == CLV_WHERE_PACKET ? CLV_MATCH_NO : match;
}

static void dns_open(void *state, const struct clv_conn_info *conn)
{
	struct dns_state *s = state;

	s->datagram = conn->datagram;
	s->multicast = conn->multicast;
}

static struct clv_fed dns_feed_datagram(struct dns_state *s, enum clv_dir dir, struct clv_slice in,
					struct clv_sink *sink)
{
	struct dns_message m;
	enum dns_form form = dns_read(in, &m);

	if (form == DNS_FOREIGN || form == DNS_CUT || (!s->multicast && !dns_goes(&m, dir)))
		return (struct clv_fed){.v = CLV_FED_BAD};
	dns_tell(s, form, &m, &(struct dns_place){.msg = in, .end = (uint32_t)in.len}, sink);
	return (struct clv_fed){.v = CLV_FED_OK, .used = (uint32_t)in.len};
}

static struct clv_fed dns_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct dns_state *s = state;
	struct dns_message m;

	if (s->datagram)
		return dns_feed_datagram(s, dir, in, sink);
	if (in.len < PREFIX_BYTES)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = PREFIX_BYTES};
	uint32_t total = be16(in.data);
	struct clv_slice msg = clv_slice_sub(in, PREFIX_BYTES, total);
	enum dns_form form = dns_read(msg, &m);
	bool other_way = msg.len >= CLV_DNS_HEADER_BYTES && !dns_goes(&m, dir) && m.facts.opcode != CLV_DNS_DSO;

	if (total < CLV_DNS_HEADER_BYTES || form == DNS_FOREIGN || other_way)
		return (struct clv_fed){.v = CLV_FED_BAD};
	if (msg.len < total)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = PREFIX_BYTES + total};
	if (form == DNS_CUT)
		return (struct clv_fed){.v = CLV_FED_BAD};
	dns_tell(s, form, &m, &(struct dns_place){.msg = msg, .end = PREFIX_BYTES + total}, sink);
	return (struct clv_fed){.v = CLV_FED_OK, .used = PREFIX_BYTES + total};
}

/*
 * Of a message that was cut its question must be there: without it nobody knows what it is about.
 */
static void dns_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct dns_state *s = state;
	struct dns_message m;
	uint32_t prefix = s->datagram ? 0 : PREFIX_BYTES;
	struct clv_slice msg = clv_slice_from(rest, prefix);
	enum dns_form form = dns_read(msg, &m);

	if (form == DNS_FOREIGN || form == DNS_CUT || (!s->multicast && !dns_goes(&m, dir)))
		return;
	dns_tell(s, form, &m, &(struct dns_place){.msg = msg, .end = (uint32_t)rest.len, .lost = true}, sink);
}

static ptrdiff_t dns_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	enum { TELLING_BYTES = PREFIX_BYTES + CLV_DNS_HEADER_BYTES };

	for (size_t at = 0; at < in.len; at++) {
		struct clv_slice here = clv_slice_from(in, at);
		bool plain = true;
		enum clv_match match = here.len < TELLING_BYTES ? CLV_MATCH_MAYBE : dns_match_stream(dir, here, &plain);

		if (match == CLV_MATCH_YES)
			return (ptrdiff_t)at;
		if (match == CLV_MATCH_MAYBE && plain)
			return -1 - (ptrdiff_t)here.len;
	}
	return -1;
}

static void dns_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

const struct clv_proto clv_dns = {
	.name = "dns",
	.ports = {CLV_DNS_PORT, CLV_DNS_MDNS_PORT, CLV_DNS_LLMNR_PORT},
	.caps = CLV_CAP_BY_ID | CLV_CAP_DATAGRAM,
	.state_size = sizeof(struct dns_state),
	.probe = dns_probe,
	.open = dns_open,
	.feed = dns_feed,
	.gap = dns_gap,
	.resync = dns_resync,
	.fin = dns_fin,
	.describe = clv_dns_describe,
};
