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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNS 4
/* Bounds the time of a run, not what it can find. */
#define OPS_MAX 400

enum setting {
	SETTING_SMALL = 1 << 0,  /* a budget that runs out */
	SETTING_KERNEL = 1 << 1, /* live, there is somebody to tell verdicts */
	SETTING_SIDE = 1 << 2,
	SETTING_PORTS = 1 << 3,
};

static const char *const fragments[] = {
	"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
	"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HEAD /d HTTP/1.1\r\nHost: h\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
	"CONNECT e:443 HTTP/1.1\r\nHost: e:443\r\n\r\n",
	"GET /f HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"PUT /g HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
	"GET /h?sig=1 HTTP/1.0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
	"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\nuntil the end",
	"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
	"0\r\n\r\n",
	"\r\n",
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

static void on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	assert(ref->gen == 1 && ref->slot < CONNS && ref->hook < 2);
	assert(v->kind <= CLV_VERDICT_PROBE);
}

/* ---- what goes in ------------------------------------------------------------------------------------ */

static struct clv_packet packet(const struct run *r, unsigned conn, unsigned dir)
{
	struct clv_endpoint client = {clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), (uint16_t)(40000 + conn)};
	struct clv_endpoint server = {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), (uint16_t)(conn & 1 ? 8080 : 80)};
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
		p.payload = clv_slice_str(fragments[take(r) % FRAGMENTS]);
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
	deliver(r, conn, dir, &p);
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
	bool comparable = run(&live, data, size, true);

	if (run(&file, data, size, false) && comparable)
		assert(live.spans == file.spans && live.sum == file.sum);
	return 0;
}
