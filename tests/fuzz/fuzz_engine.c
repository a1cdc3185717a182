/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: bytes as the doings of four connections, through the whole engine and out as JSON.
 *
 * The input is run twice: as live packets, with a kernel to tell verdicts and ticks of the clock, and as a file with
 * neither; the spans must be the same. On the way: every span is sound and every byte it borrows can be read, memory
 * stays within the budget, and verdicts go to directions that have a kernel side.
 *
 * Input: a byte of settings, then operations. An operation is a byte (connection 2 bits, direction 1, what 3,
 * "out of order" 1, "cut" 1) and what that needs.
 */
#include <assert.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "export/json.h"
#include "export/text.h"
#include "proto/http1_memo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNS 4
/* Bounds the time of a run, not what it can find. */
#define OPS_MAX 400

enum setting {
	SETTING_SMALL = 1 << 0,  /* a budget that runs out */
	SETTING_KERNEL = 1 << 1, /* live, there is somebody to tell verdicts */
	SETTING_SIDE = 1 << 2,
	SETTING_PORTS = 1 << 3,
	SETTING_UDP = 1 << 4, /* connections 2 and 3 are of datagrams */
};

static const struct clv_slice fragments[] = {
	CLV_LIT("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
	CLV_LIT("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
	CLV_LIT("POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
	CLV_LIT("HEAD /d HTTP/1.1\r\nHost: h\r\ntraceparent: "
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"),
	CLV_LIT("CONNECT e:443 HTTP/1.1\r\nHost: e:443\r\n\r\n"),
	CLV_LIT("GET /f HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
	CLV_LIT("PUT /g HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n"),
	CLV_LIT("GET /h?sig=1 HTTP/1.0\r\n\r\n"),
	CLV_LIT("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
	CLV_LIT("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
	CLV_LIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"),
	CLV_LIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"),
	CLV_LIT("HTTP/1.1 204 No Content\r\n\r\n"),
	CLV_LIT("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
	CLV_LIT("HTTP/1.1 100 Continue\r\n\r\n"),
	CLV_LIT("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
	CLV_LIT("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
	CLV_LIT("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
	CLV_LIT("0\r\n\r\n"),
	CLV_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
	CLV_LIT("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\144"),
	CLV_LIT("\0\0\0\4\1\0\0\0\0"),
	CLV_LIT("\0\0\xe\1\5\0\0\0\1\x82\x86\x84\x41\1h\x40\1a\3"
		"abc\xbe"),
	CLV_LIT("\0\0\x27\1\4\0\0\0\3\x83\x86\x44\4/a/b\x5f\x10"
		"application/grpc\x40\x0cgrpc-timeout"),
	CLV_LIT("\0\0\x17\1\4\0\0\0\5\x83\x86\x44\4/a/b\x5f\x10"
		"application/grpc"),
	CLV_LIT("\0\0\x1\1\4\0\0\0\1\x88"),
	CLV_LIT("\0\0\x12\1\4\0\0\0\5\x88\x5f\x10"
		"application/grpc"),
	CLV_LIT("\0\0\7\0\0\0\0\0\5\0\0\0\0\2ab"),
	CLV_LIT("\0\0\5\0\1\0\0\0\5\0\0\1\0\0"),
	CLV_LIT("\0\0\5\0\x9\0\0\0\1\2ab\0\0"),
	CLV_LIT("\0\x40\0\0\0\0\0\0\1xyz"),
	CLV_LIT("\0\0\xf\1\5\0\0\0\5\x40\xb"
		"grpc-status\1"
		"5"),
	CLV_LIT("\0\0\1\1\0\0\0\0\7\x82\0\0\2\x9\4\0\0\0\7\x84\x86"),
	CLV_LIT("\0\0\6\5\4\0\0\0\1\0\0\0\2\x82\x84"),
	CLV_LIT("\0\0\4\3\0\0\0\0\1\0\0\0\x8"),
	CLV_LIT("\0\0\x8\7\0\0\0\0\0\0\0\0\1\0\0\0\0"),
	CLV_LIT("\0\0\x8\6\0\0\0\0\0pingpong\0\0\x8\6\1\0\0\0\0pingpong"),
	CLV_LIT("\0\0\4\x8\0\0\0\0\0\0\0\1\0"),
	CLV_LIT("GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
	CLV_LIT("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
	CLV_LIT("\x81\x85\x01\x02\x03\x04igohn\x88\x82\1\1\1\1\2\xe9"),
	CLV_LIT("\x81\x05hello\x89"),
	CLV_LIT("\x88\x02\x03\xe8"),
	CLV_LIT("J\000\000\000\0128.0.36\000abcd12345678\000\337\367!\002\000\017\017\025\000\000\000\000\000"
		"\000\000\000\000\000123456789012\000mysql_native_password\000"),
	CLV_LIT("B\000\000\001\337\367\017\017\000\000\000\001!\000\000\000\000\000\000\000\000\000\000\000"
		"\000\000\000\000\000\000\000\000\000\000\000\000app\000\002xxshop\000mysql_native_password"
		"\000"),
	CLV_LIT("\007\000\000\002\000\001\000\002\000\000\000"),
	CLV_LIT("\036\000\000\000\003SELECT a FROM t WHERE b = 'c'"),
	CLV_LIT("\016\000\000\000\003\000\001use `other`"),
	CLV_LIT("\034\000\000\000\026SELECT a FROM t WHERE b = \077"),
	CLV_LIT("\012\000\000\000\027\001\000\000\000\000\001\000\000\000"),
	CLV_LIT("\012\000\000\000\027\377\377\377\377\000\001\000\000\000"),
	CLV_LIT("\005\000\000\000\031\001\000\000\000"),
	CLV_LIT("\001\000\000\000\016"),
	CLV_LIT("\011\000\000\000\034\001\000\000\000\001\000\000\000"),
	CLV_LIT("\377\377\377\000\003INSERT"),
	CLV_LIT("\014\000\000\000\022\004\000\000\000\000\000\001\000\000\000b"),
	CLV_LIT("\017\000\000\000\021app\000\002xxshop\000!\000"),
	CLV_LIT("\007\000\000\001\000\001\000\002\000\000\000"),
	CLV_LIT("\007\000\000\001\000\001\000\012\000\000\000"),
	CLV_LIT("\013\000\000\001\377z\004#42S02no"),
	CLV_LIT("\001\000\000\001\001\036\000\000\002\003def\004shop\001t\001t\001n\001n\014!\000\000\000\000"
		"\000\003\000\000\000\000\000\005\000\000\003\376\000\000\002\000\002\000\000\004\001x\005"
		"\000\000\005\376\000\000\002\000"),
	CLV_LIT("\001\000\000\001\001\036\000\000\002\003def\004shop\001t\001t\001n\001n\014!\000\000\000\000"
		"\000\003\000\000\000\000\000\002\000\000\003\001x\007\000\000\004\376\000\000\002\000\000"
		"\000"),
	CLV_LIT("\014\000\000\001\000\001\000\000\000\001\000\001\000\000\000\000\036\000\000\002\003def\004s"
		"hop\001t\001t\001n\001n\014!\000\000\000\000\000\003\000\000\000\000\000\005\000\000\003\376"
		"\000\000\002\000\036\000\000\004\003def\004shop\001t\001t\001n\001n\014!\000\000\000\000\000"
		"\003\000\000\000\000\000\005\000\000\005\376\000\000\002\000"),
	CLV_LIT("\007\000\000\001\373/tmp/x"),
	CLV_LIT("\004\000\000\0021,2\012\000\000\000\003"),
	CLV_LIT("\007\000\000\004\000\001\000\002\000\000\000"),
	CLV_LIT("\015\000\000\001\000\000\000\002@\000\000\000\004\001\002\001z"),
	CLV_LIT("\r\n"),
	CLV_LIT("\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\2bc\0\0\1\0\1"),
	CLV_LIT("\x12\x34\x81\x80\0\1\0\1\0\0\0\0\1a\2bc\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"),
	CLV_LIT("\x12\x34\x81\x83\0\1\0\0\0\0\0\1\1a\2bc\0\0\1\0\1\0\0\x29\4\xd0\1\0\0\0\0\0"),
	CLV_LIT("\0\x16\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\2bc\0\0\xfc\0\1"),
	CLV_LIT("\0\x37\x12\x34\x84\0\0\1\0\1\0\0\0\0\1a\2bc\0\0\xfc\0\1\xc0\x0c\0\6\0\1\0\0\0\1\0\x16\0\0"
		"\0\0\0\x2a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
	CLV_LIT("*2\r\n$3\r\nGET\r\n$3\r\na:1\r\n"),
	CLV_LIT("*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n"),
	CLV_LIT("*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n"),
	CLV_LIT("*1\r\n$11\r\nUNSUBSCRIBE\r\n"),
	CLV_LIT("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
	CLV_LIT("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5000\r\n"),
	CLV_LIT("CLIENT REPLY SKIP\r\nPING\r\n"),
	CLV_LIT("*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"),
	CLV_LIT("+OK\r\n"),
	CLV_LIT("-WRONGTYPE x\r\n"),
	CLV_LIT("$5000\r\n"),
	CLV_LIT("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
	CLV_LIT(">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"),
	CLV_LIT("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
	CLV_LIT("%1\r\n$1\r\na\r\n*?\r\n#t\r\n$?\r\n;1\r\na\r\n;0\r\n.\r\n"),
	CLV_LIT("\x00\x00\x00 \x00\x03\x00\x00user\x00joe\x00\x64\x61tabase\x00shop\x00\x00"),
	CLV_LIT("\x00\x00\x00\x08\x04\xd2\x16/"),
	CLV_LIT("\x00\x00\x00\x10\x04\xd2\x16.\x00\x00\x00\x01\x00\x00\x00\x02"),
	CLV_LIT("N"),
	CLV_LIT("R\x00\x00\x00\x08\x00\x00\x00\x00S\x00\x00\x00#standard_conforming_"
		"strings\x00on\x00Z\x00\x00\x00\x05I"),
	CLV_LIT("Q\x00\x00\x00%SELECT 'x' FROM t; DELETE FROM u\x00"),
	CLV_LIT("T\x00\x00\x00\x1a\x00\x01\x61\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		"\x00\x44\x00\x00\x00\x0c\x00\x01\x00\x00\x00\x02\x61\x62\x43\x00\x00\x00\x0dSELECT "
		"1\x00Z\x00\x00\x00\x05T"),
	CLV_LIT("P\x00\x00\x00\x19s\x00SELECT $1 FROM "
		"t\x00\x00\x00\x42\x00\x00\x00\x0d\x00s\x00\x00\x00\x00\x00\x00\x00\x44\x00\x00\x00\x06P\x00\x45\x00"
		"\x00\x00\x09\x00\x00\x00\x00\x00"),
	CLV_LIT("S\x00\x00\x00\x04"),
	CLV_LIT("P\x00\x00\x00\x0d\x00SELEC\x00\x00\x00S\x00\x00\x00\x04"),
	CLV_LIT("1\x00\x00\x00\x04\x32\x00\x00\x00\x04n\x00\x00\x00\x04\x43\x00\x00\x00\x0fINSERT 0 1\x00"),
	CLV_LIT("Z\x00\x00\x00\x05I"),
	CLV_LIT("E\x00\x00\x00\x13SERROR\x00\x43\x34\x32\x36\x30\x31\x00\x00"),
	CLV_LIT("E\x00\x00\x00\x1aSFATAL\x00VFATAL\x00\x43\x35\x37P01\x00\x00"),
	CLV_LIT("G\x00\x00\x00\x07\x00\x00\x00"),
	CLV_LIT("d\x00\x00\x00\x08\x61\x09\x62\x0a\x63\x00\x00\x00\x04"),
	CLV_LIT("d\x00\x00\x00\x07"),
	CLV_LIT("s\x00\x00\x00\x04\x33\x00\x00\x00\x04I\x00\x00\x00\x04"),
	CLV_LIT("C\x00\x00\x00\x07Ss\x00H\x00\x00\x00\x04X\x00\x00\x00\x04"),
	/* TLS: a client's hello, its records' heads, a server's hello, sealed records, an alert. */
	CLV_LIT("\x16\3\1\0\x42\1\0\0\x3e\3\3"
		"0123456789abcdef0123456789abcdef\0\0\2\x13\1\1\0\0\x13\0\0\0\x0f\0"
		"\x0d\0\0\x0amy.example"),
	CLV_LIT("\x16\3\1\0\x20\1\0\1\0\3\3"),
	CLV_LIT("\x16\3\3\0\x2e\2\0\0\x2a\3\3"
		"0123456789abcdef0123456789abcdef\0\x13\1\0\0\6\0\x2b\0\2\3\4"),
	CLV_LIT("\x17\3\3\0\x11"
		"0123456789abcdefg"),
	CLV_LIT("\x15\3\3\0\2\2\x28"),
	CLV_LIT("SSH-2.0-OpenSSH\r\n"),
};

#define FRAGMENTS (sizeof(fragments) / sizeof(fragments[0]))

struct run {
	const uint8_t *in;
	size_t left;
	bool live;
	uint8_t settings;
	struct clv_engine *engine;
	uint64_t now_ns;
	uint32_t next[CONNS][2];
	struct clv_json json;
	uint64_t spans;
	uint64_t sum; /* of the spans' hashes, whatever their order */
};

static uint8_t take(struct run *r)
{
	if (!r->left)
		return 0;
	r->left--;
	return *r->in++;
}

static struct clv_slice take_slice(struct run *r, size_t len)
{
	struct clv_slice s = clv_slice_head(clv_slice(r->in, r->left), len);

	r->in += s.len;
	r->left -= s.len;
	return s;
}

/* ---- what comes out ---------------------------------------------------------------------------------- */

static uint64_t hash(const char *p, size_t len)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)p[i]) * 1099511628211u;
	return h;
}

static void on_span(void *ctx, struct clv_span *s)
{
	static struct clv_resources *resources;
	struct run *r = ctx;

	if (!resources && clv_resources_new(CLV_LIT("fuzz"), NULL, 0, &resources))
		abort();
	s->resource = clv_resources_get(resources, s->net);
	char *line = malloc(clv_json_bound(&r->json, s));

	assert(line && s->start_ns <= s->end_ns && s->attr_count <= CLV_SPAN_ATTRS && s->name.len);
	assert(s->first_ns == 0 || s->first_ns <= s->end_ns);

	size_t len = clv_json_write(&r->json, s, line);

	assert(len <= clv_json_bound(&r->json, s) && line[len - 1] == '\n');
	r->sum += hash(line, len);
	r->spans++;
	free(line);
}

static void on_flow(void *ctx, struct clv_flow_record *record)
{
	static struct clv_resources *resources;
	static struct clv_text text = {.pair = 30};
	struct run *r = ctx;

	if (!resources && clv_resources_new(CLV_LIT("fuzz"), NULL, 0, &resources))
		abort();
	record->resource = clv_resources_get(resources, record->net);
	size_t json = clv_json_flow_bound(&r->json, record), plain = clv_text_flow_bound(record);
	char *line = malloc(json > plain ? json : plain);
	assert(line && record->start_ns <= record->end_ns && record->end < CLV_FLOW_END_COUNT);
	assert(clv_json_flow(&r->json, record, line) <= json);
	assert(clv_text_flow(&text, record, line) <= plain);
	free(line);
}

static void on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	assert(ref->gen == 1 && ref->slot < CONNS && ref->hook < 2);
	assert(v->kind <= CLV_VERDICT_PROBE);
}

/* ---- what goes in ------------------------------------------------------------------------------------ */

static bool is_udp(const struct run *r, unsigned conn)
{
	return r->settings & SETTING_UDP && conn & 2;
}

static struct clv_packet packet(const struct run *r, unsigned conn, unsigned dir)
{
	struct clv_endpoint client = {clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), (uint16_t)(40000 + conn)};
	struct clv_endpoint server = {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), (uint16_t)(conn & 1 ? 8080 : 80)};
	if (is_udp(r, conn))
		server.port = 53;
	struct clv_packet p = {
		.ts_ns = r->now_ns,
		.src = dir ? server : client,
		.dst = dir ? client : server,
		.seq = r->next[conn][dir],
		.ack = r->next[conn][!dir],
		.tcp_flags = CLV_TCP_ACK,
	};

	if (r->settings & SETTING_SIDE)
		p.side = (conn & 2) == dir * 2 ? CLV_SIDE_IN : CLV_SIDE_OUT;
	if (r->live && r->settings & SETTING_KERNEL)
		p.kernel = (struct clv_kernel_ref){.slot = conn, .gen = 1, .hook = (uint8_t)dir};
	return p;
}

/* Delivers the packet and moves its direction on. */
static void deliver(struct run *r, unsigned conn, unsigned dir, struct clv_packet *p)
{
	uint32_t end = p->seq + p->len + !!(p->tcp_flags & CLV_TCP_SYN) + !!(p->tcp_flags & CLV_TCP_FIN);

	clv_engine_packet(r->engine, p);
	if ((int32_t)(end - r->next[conn][dir]) > 0)
		r->next[conn][dir] = end;
}

static void operate(struct run *r)
{
	uint8_t op = take(r);
	unsigned conn = op & 3, dir = op >> 2 & 1;
	struct clv_packet p = packet(r, conn, dir);

	if (op & 0x40)
		p.seq += (uint32_t)(int8_t)take(r);
	switch (op >> 3 & 7) {
	case 0:
		p.payload = take_slice(r, take(r));
		break;
	case 1:
		p.payload = fragments[take(r) % FRAGMENTS];
		break;
	case 2: /* a handshake's half: a new sequence number */
		p.tcp_flags = CLV_TCP_SYN | (dir ? CLV_TCP_ACK : 0);
		p.seq = (uint32_t)take(r) << 24 | 0xfffff0u;
		r->next[conn][dir] = p.seq;
		p.payload = take_slice(r, take(r) & 15);
		break;
	case 3:
		p.tcp_flags |= CLV_TCP_FIN;
		break;
	case 4:
		p.tcp_flags |= take(r) & 1 ? CLV_TCP_RST : 0; /* else a pure ACK */
		break;
	case 5: /* what the kernel left out */
		p.hole_seq = p.seq;
		p.hole_len = take(r) * 500u;
		p.seq += p.hole_len;
		p.sought = take(r) & 1;
		p.probe = r->settings & SETTING_KERNEL && take(r) & 1;
		p.retransmits = take(r);
		break;
	case 6: /* a long piece of a body, of which little was captured */
		p.payload = take_slice(r, 4);
		p.len = take(r) * 300u;
		break;
	case 7: /* time passes */
		r->now_ns += (uint64_t)take(r) * 40000000u;
		if (r->live)
			clv_engine_tick(r->engine, r->now_ns);
		return;
	}
	if (p.len < p.payload.len)
		p.len = (uint32_t)p.payload.len;
	if (op & 0x80)
		p.payload = clv_slice_head(p.payload, take(r));
	if (is_udp(r, conn)) {
		p.transport = CLV_TRANSPORT_UDP;
		p.seq = p.ack = p.hole_seq = p.hole_len = 0;
		p.tcp_flags = 0;
		p.sought = p.probe = false;
		clv_engine_packet(r->engine, &p);
	} else {
		deliver(r, conn, dir, &p);
	}
	r->now_ns += 1000;
}

static void check(const struct run *r)
{
	const struct clv_engine_stats *s = clv_engine_stats(r->engine);
	size_t used, peak;

	clv_engine_memory(r->engine, &used, &peak, NULL);
	assert(used <= peak && peak <= (r->settings & SETTING_SMALL ? 256u << 10 : 64u << 20));
	assert(s->spans == r->spans && s->spans <= s->requests);
}

/* Returns false when memory ran out, which makes what was seen depend on when. */
static bool run(struct run *r, const uint8_t *data, size_t size, bool live)
{
	static const struct clv_port_rule ports[] = {{.port = 8080}};

	*r = (struct run){.in = data, .left = size, .live = live, .now_ns = 1700000000000000000u};
	r->settings = take(r);

	struct clv_engine_config config = {
		.memory_bytes = r->settings & SETTING_SMALL ? 256u << 10 : 64u << 20,
		.ports = ports,
		.port_count = r->settings & SETTING_PORTS ? 1 : 0,
		.on_span = on_span,
		.span_ctx = r,
		.on_flow = on_flow,
		.flow_ctx = r,
		.verdict = live && r->settings & SETTING_KERNEL ? on_verdict : NULL,
	};

	if (clv_engine_new(&config, &r->engine))
		abort();
	for (int n = 0; r->left && n < OPS_MAX; n++)
		operate(r);
	check(r);
	clv_engine_flush(r->engine);
	check(r);

	bool roomy = clv_engine_stats(r->engine)->drop_memory == 0;

	clv_engine_free(r->engine);
	return roomy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run live, file;

	clv_http1_memo_forget(); /* the second run knows heads from the first; neither those of other inputs */
	bool comparable = run(&live, data, size, true);

	if (run(&file, data, size, false) && comparable)
		assert(live.spans == file.spans && live.sum == file.sum);
	return 0;
}
