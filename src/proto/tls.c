/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS: who is asked for, and what was agreed on, as far as both say so in the clear. Reports no messages and never
 * looks at anything behind the hellos. Engine thread.
 *
 * On the wire (RFC 8446 sections 5.1, 4.1.2, 4.1.3): records of a type (22: handshake), a version (3, 0..4), a 16-bit
 * length, and so many bytes. The handshake messages in them have a type (1: ClientHello, 2: ServerHello) and a 24-bit
 * length, and may be cut anywhere into records. Both hellos: version, 32 random bytes, session id (8-bit length); the
 * client's then cipher suites (16-bit length) and compressions (8-bit length), the server's one of each (3 bytes); then
 * extensions: a 16-bit length of all, and of each its type, a 16-bit length, and its data.
 */
#include "proto/tls.h"

#include "engine/limits.h"

enum { RECORD_HANDSHAKE = 22, RECORD_DATA = 23, CLIENT_HELLO = 1, SERVER_HELLO = 2 };
enum { EXTENSION_NAME = 0, EXTENSION_ALPN = 16, EXTENSION_VERSIONS = 43 };

#define RECORD_HEAD     5u
#define MESSAGE_HEAD    4u
#define RECORD_MOST     16384u /* of plaintext */
#define RECORD_SEALED   (RECORD_MOST + 256u)
#define HELLO_LEAST     38u /* version, random, an empty session id, one suite and compression */
#define SESSION_ID_MOST 32u
#define NOTE_BYTES      256u
/* A hello that is spread over more of the stream, in ever smaller records, is read as far as this. */
#define SPREAD_BYTES (2 * CLV_TLS_HELLO_BYTES)

struct tls_state {
	bool done[2]; /* its hello was read, or will not be: by enum clv_dir */
};

/* ---- numbers -------------------------------------------------------------------------------------------------------
 */

static uint32_t tls_u16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t tls_u24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | tls_u16(p + 1);
}

/* Takes `n` bytes off the front. False when there are fewer: nothing is taken. */
static bool tls_take(struct clv_slice *s, size_t n, struct clv_slice *out)
{
	if (s->len < n)
		return false;
	*out = clv_slice_head(*s, n);
	*s = clv_slice_from(*s, n);
	return true;
}

/* Takes a length of `bytes` (1 or 2) bytes and what it counts. False when not all of that is there. */
static bool tls_vector(struct clv_slice *s, unsigned bytes, struct clv_slice *out)
{
	struct clv_slice rest = *s, length;

	if (!tls_take(&rest, bytes, &length) ||
	    !tls_take(&rest, bytes == 1 ? length.data[0] : tls_u16(length.data), out))
		return false;
	*s = rest;
	return true;
}

/* ---- what hellos say ------------------------------------------------------------------------------------------------
 */

/* RFC 8701: values that mean nothing, so that servers learn to ignore what they do not know. */
static bool tls_is_grease(uint32_t v)
{
	return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

/* As OpenTelemetry has tls.protocol.version; empty: none that is known. */
static struct clv_slice tls_version_text(uint32_t version)
{
	static const struct clv_slice texts[] = {CLV_LIT("3"), CLV_LIT("1.0"), CLV_LIT("1.1"), CLV_LIT("1.2"),
						 CLV_LIT("1.3")};

	if (version >> 8 == 0x7f) /* a draft of it */
		return texts[4];
	return version >= 0x0300 && version <= 0x0304 ? texts[version & 0xff] : clv_slice(NULL, 0);
}

static void tls_name(struct clv_slice data, struct clv_sink *sink)
{
	struct clv_slice list, type, name;

	if (!tls_vector(&data, 2, &list))
		return;
	while (tls_take(&list, 1, &type) && tls_vector(&list, 2, &name))
		if (type.data[0] == 0 && name.len) { /* host_name */
			sink->note(sink, CLV_NOTE_SERVER_NAME, name);
			return;
		}
}

/* The names between commas. What does not fit is left out, whole. */
static void tls_alpn(struct clv_slice data, enum clv_note note, struct clv_sink *sink)
{
	struct clv_slice list, name;
	uint8_t text[NOTE_BYTES];
	size_t len = 0;

	if (!tls_vector(&data, 2, &list))
		return;
	while (tls_vector(&list, 1, &name)) {
		bool fits = name.len && len + name.len + 1 <= sizeof(text);

		if (!fits || (name.len == 2 && tls_is_grease(tls_u16(name.data))))
			continue;
		if (len)
			text[len++] = ',';
		memcpy(text + len, name.data, name.len);
		len += name.len;
	}
	if (len)
		sink->note(sink, note, clv_slice(text, len));
}

/* The highest of those offered; 0: none. */
static uint32_t tls_versions(struct clv_slice data)
{
	struct clv_slice list, v;
	uint32_t most = 0;

	if (!tls_vector(&data, 1, &list))
		return 0;
	while (tls_take(&list, 2, &v)) {
		uint32_t version = tls_u16(v.data);

		version = version >> 8 == 0x7f ? 0x0304 : version;
		if (!tls_is_grease(version) && version > most)
			most = version;
	}
	return most;
}

/* The extensions that are there, whole; returns the version that they name, or `version`. */
static uint32_t tls_extensions(struct clv_slice all, bool client, uint32_t version, struct clv_sink *sink)
{
	struct clv_slice type, data;

	while (tls_take(&all, 2, &type) && tls_vector(&all, 2, &data)) {
		uint32_t named = 0;

		switch (tls_u16(type.data)) {
		case EXTENSION_NAME:
			if (client)
				tls_name(data, sink);
			break;
		case EXTENSION_ALPN:
			tls_alpn(data, client ? CLV_NOTE_ALPN_OFFERED : CLV_NOTE_ALPN, sink);
			break;
		case EXTENSION_VERSIONS:
			if (client)
				named = tls_versions(data);
			else if (data.len == 2)
				named = tls_u16(data.data);
			break;
		default:
			break;
		}
		version = named ? named : version;
	}
	return version;
}

/* `m`: a hello from its type on, as far as it is there. */
static void tls_hello(struct clv_slice m, bool client, struct clv_sink *sink)
{
	struct clv_slice head, fixed, skipped, all;

	if (!tls_take(&m, MESSAGE_HEAD, &head) || !tls_take(&m, 34, &fixed))
		return;
	uint32_t version = tls_u16(fixed.data);
	bool there = tls_vector(&m, 1, &skipped) &&
		     (client ? tls_vector(&m, 2, &skipped) && tls_vector(&m, 1, &skipped) : tls_take(&m, 3, &skipped));

	if (there && tls_take(&m, 2, &skipped)) {
		all = clv_slice_head(m, tls_u16(skipped.data));
		version = tls_extensions(all, client, version, sink);
	}
	struct clv_slice text = tls_version_text(version);
	if (text.len)
		sink->note(sink, client ? CLV_NOTE_VERSION_OFFERED : CLV_NOTE_VERSION, text);
}

/* ---- where hellos are -----------------------------------------------------------------------------------------------
 */

enum tls_found { TLS_NONE, TLS_MORE, TLS_ALL };

struct tls_gather {
	uint8_t bytes[CLV_TLS_HELLO_BYTES]; /* of the message, without the records' heads */
	uint32_t len;
	uint32_t used; /* of the input */
	uint32_t need; /* with TLS_MORE: of the input */
};

/* How long the message is whose first bytes are gathered; at least a head. */
static uint32_t tls_message_bytes(const struct tls_gather *g)
{
	return g->len < MESSAGE_HEAD ? MESSAGE_HEAD : MESSAGE_HEAD + tls_u24(g->bytes + 1);
}

/* Puts together the message of `type` that begins the input, as far as it is there. */
static enum tls_found tls_gather(struct tls_gather *g, struct clv_slice in, uint8_t type)
{
	uint32_t at = 0;

	g->len = 0;
	for (;;) {
		if (in.len < at + RECORD_HEAD) {
			g->need = at + RECORD_HEAD;
			return TLS_MORE;
		}
		const uint8_t *head = in.data + at;
		uint32_t len = tls_u16(head + 3), from = 0;
		if (head[0] != RECORD_HANDSHAKE || head[1] != 3 || !len || len > RECORD_MOST)
			return TLS_NONE;
		at += RECORD_HEAD;
		uint32_t there = in.len - at < len ? (uint32_t)(in.len - at) : len;
		while (from < there && g->len < tls_message_bytes(g)) {
			uint32_t n = tls_message_bytes(g) - g->len;

			n = n < there - from ? n : there - from;
			n = n < sizeof(g->bytes) - g->len ? n : (uint32_t)(sizeof(g->bytes) - g->len);
			memcpy(g->bytes + g->len, in.data + at + from, n);
			g->len += n;
			from += n;
			if (g->bytes[0] != type)
				return TLS_NONE;
			if (g->len == sizeof(g->bytes))
				break;
		}
		g->used = at + from;
		if (g->len == sizeof(g->bytes) || at > SPREAD_BYTES ||
		    (g->len >= MESSAGE_HEAD && g->len == tls_message_bytes(g)))
			return TLS_ALL;
		if (there < len) {
			uint32_t wanted = tls_message_bytes(g) - g->len;

			g->need = at + (from + wanted < len ? from + wanted : len);
			return TLS_MORE;
		}
		at += len;
	}
}

/* ---- the parser -----------------------------------------------------------------------------------------------------
 */

/*
 * The first bytes of a hello, so far as they are there. A ClientHello stands alone in its records; of a ServerHello
 * only the beginning is known.
 */
static enum clv_match tls_probe_hello(struct clv_slice in, bool client)
{
	static const uint8_t least[] = {RECORD_HANDSHAKE, 3, 0}, most[] = {RECORD_HANDSHAKE, 3, 4};
	const uint8_t *p = in.data;

	for (size_t i = 0; i < in.len && i < sizeof(least); i++)
		if (p[i] < least[i] || p[i] > most[i])
			return CLV_MATCH_NO;
	if (in.len > 5 && p[5] != (client ? CLIENT_HELLO : SERVER_HELLO))
		return CLV_MATCH_NO;
	if (in.len < 11)
		return CLV_MATCH_MAYBE;
	uint32_t record = tls_u16(p + 3), message = tls_u24(p + 6);
	if (record < 6 || record > RECORD_MOST || message < HELLO_LEAST || message > 4 * CLV_TLS_HELLO_BYTES ||
	    p[9] != 3 || p[10] > 4)
		return CLV_MATCH_NO;
	if (client && record > message + MESSAGE_HEAD)
		return CLV_MATCH_NO;
	if (record >= 39 && in.len > 43 && p[43] > SESSION_ID_MOST)
		return CLV_MATCH_NO;
	return record < 39 || in.len > 43 ? CLV_MATCH_YES : CLV_MATCH_MAYBE;
}

/* Sealed records, one behind the other, of one version. */
static enum clv_match tls_probe_data(struct clv_slice in)
{
	unsigned records = 0, version = 0;

	while (in.len >= RECORD_HEAD) {
		uint32_t len = tls_u16(in.data + 3);

		if (in.data[0] != RECORD_DATA || in.data[1] != 3 || !in.data[2] || in.data[2] > 3 || len < 17 ||
		    len > RECORD_SEALED || (records && in.data[2] != version))
			return CLV_MATCH_NO;
		version = in.data[2];
		in = clv_slice_from(in, RECORD_HEAD + len);
		records++;
	}
	return records ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
}

static enum clv_match tls_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	enum clv_match hello = in.len ? tls_probe_hello(in, dir == CLV_TO_SERVER) : CLV_MATCH_MAYBE;

	if (hello == CLV_MATCH_NO && where == CLV_WHERE_PACKET)
		return tls_probe_data(in);
	return hello;
}

static void tls_open(void *st, const struct clv_conn_info *conn)
{
}

/*
 * The client's hello is read, then its bytes are passed over until the server's is read, too: from there on nobody can
 * read on.
 */
static struct clv_fed tls_feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct tls_state *s = st;
	bool client = dir == CLV_TO_SERVER;
	struct tls_gather g;

	if (s->done[dir])
		return (struct clv_fed){.v = client ? CLV_FED_OK : CLV_FED_OPAQUE,
					.skip = client ? CLV_SKIP_TO_FIN : 0};
	enum tls_found found = tls_gather(&g, in, client ? CLIENT_HELLO : SERVER_HELLO);
	if (found == TLS_MORE)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = g.need};
	s->done[dir] = true;
	if (found == TLS_NONE)
		return (struct clv_fed){.v = CLV_FED_OPAQUE};
	tls_hello(clv_slice(g.bytes, g.len), client, sink);
	if (client)
		return (struct clv_fed){.v = CLV_FED_OK, .used = g.used, .skip = CLV_SKIP_TO_FIN};
	return (struct clv_fed){.v = CLV_FED_OPAQUE, .used = g.used};
}

/* What is there of a hello may still say whom it is for. */
static void tls_gap(void *st, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct tls_state *s = st;
	bool client = dir == CLV_TO_SERVER;
	struct tls_gather g;

	(void)lost;
	if (!s->done[dir] && tls_gather(&g, rest, client ? CLIENT_HELLO : SERVER_HELLO) != TLS_NONE)
		tls_hello(clv_slice(g.bytes, g.len), client, sink);
	s->done[dir] = true;
}

/* Wherever it is: feed() passes over it. */
static ptrdiff_t tls_resync(void *st, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct tls_state *s = st;

	if (!in.len)
		return -1;
	s->done[dir] |= !at_packet || tls_probe_hello(in, dir == CLV_TO_SERVER) == CLV_MATCH_NO;
	return 0;
}

static void tls_fin(void *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	tls_gap(st, dir, rest, 0, sink);
}

const struct clv_proto clv_tls = {
	.name = "tls",
	.ports = {443, 8443, 6443, 993, 995, 465, 636, 853},
	.state_size = sizeof(struct tls_state),
	.probe = tls_probe,
	.open = tls_open,
	.feed = tls_feed,
	.gap = tls_gap,
	.resync = tls_resync,
	.fin = tls_fin,
};
