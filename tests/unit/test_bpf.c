/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF programs, packet by packet, through BPF_PROG_TEST_RUN: nothing is attached anywhere. Packets are built
 * here, records come back through the real ring buffer and the real source. Needs root; skips without.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "source/ring.h"

#define IFINDEX     1 /* TEST_RUN's packets are on lo */
#define LEN(a)      (sizeof(a) / sizeof(*(a)))
#define MAX_PACKETS 64

enum { F = CLV_TCP_FIN, S = CLV_TCP_SYN, R = CLV_TCP_RST, A = CLV_TCP_ACK };

/* ---- a segment, and the frame around it ------------------------------------------------------------- */

struct seg {
	uint32_t seq, len;
	uint8_t flags;
	bool reply; /* from the server; seen by the egress hook, the pod being the client */
	const void *data;
	/* what is around it */
	bool v6, bare;                /* bare: no Ethernet header */
	uint8_t vlans, ip_options;    /* tags; bytes of IPv4 options */
	uint8_t tcp_options;          /* bytes */
	const uint8_t *extensions;    /* IPv6: complete headers, chained by the test */
	uint8_t extensions_len, next; /* next: the first of them */
	uint16_t fragment;            /* IPv4: flags and offset */
	uint16_t padding;             /* behind the packet */
	int32_t length_error;         /* added to the IP length */
	uint16_t client_port;         /* 0: 40000 */
	uint16_t ether_type;          /* 0: what fits */
	uint8_t protocol;             /* 0: TCP, or UDP */
	bool udp;
	int32_t udp_length_error; /* added to the length in its header */
	uint32_t gso;             /* of so many bytes each: what the stack carries as one */
	bool long_packet;         /* IP length 0, as packets beyond 64 KiB have */
	uint32_t ack;             /* 0: in a reply the end of what was asked last, otherwise 7 */
	uint32_t cut;             /* so many bytes at the end of the frame are missing */
};

static uint8_t *put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, v >> 16), v & 0xffff);
}

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	if (len)
		memcpy(p, data, len);
	return p + len;
}

static uint8_t *fill(uint8_t *p, uint8_t c, size_t len)
{
	memset(p, c, len);
	return p + len;
}

static uint8_t *put_ethernet(uint8_t *p, const struct seg *s)
{
	p = fill(p, 2, 12);
	for (int i = 0; i < s->vlans; i++) {
		p = put16(p, i + 1 < s->vlans ? 0x88a8 : 0x8100);
		p = put16(p, 100u + (unsigned)i);
	}
	return put16(p, s->ether_type ? s->ether_type : s->v6 ? 0x86dd : 0x0800);
}

static uint8_t *put_address(uint8_t *p, bool v6, bool server)
{
	if (v6)
		p = put(p, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
	else
		p = put(p, "\x0a\x4d\x00", 3);
	*p = server ? 2 : 1;
	return p + 1;
}

static uint8_t *put_ip(uint8_t *p, const struct seg *s, uint32_t l4_len)
{
	uint8_t protocol = s->protocol ? s->protocol : s->udp ? 17 : 6;

	if (s->v6) {
		uint32_t len = l4_len + s->extensions_len + (uint32_t)s->length_error;

		p = put32(p, 0x60000000);
		p = put16(p, s->long_packet ? 0 : len);
		*p++ = s->extensions_len ? s->next : protocol;
		*p++ = 64;
		p = put_address(put_address(p, true, s->reply), true, !s->reply);
		return put(p, s->extensions, s->extensions_len);
	}
	*p++ = (uint8_t)(0x45 + s->ip_options / 4);
	*p++ = 0;
	p = put16(p, s->long_packet ? 0 : 20u + s->ip_options + l4_len + (uint32_t)s->length_error);
	p = put32(p, s->fragment);
	*p++ = 64;
	*p++ = protocol;
	p = put16(p, 0);
	p = put_address(put_address(p, false, s->reply), false, !s->reply);
	return fill(p, 1, s->ip_options);
}

static size_t build(uint8_t *frame, const struct seg *s)
{
	uint16_t client = s->client_port ? s->client_port : 40000;
	uint8_t *p = s->bare ? frame : put_ethernet(frame, s);

	p = put_ip(p, s, s->udp ? 8u + s->len : 20u + s->tcp_options + s->len);
	p = put16(put16(p, s->reply ? 80 : client), s->reply ? client : 80);
	if (s->udp) {
		p = put16(put16(p, 8u + s->len + (uint32_t)s->udp_length_error), 0);
	} else {
		p = put32(put32(p, s->seq), s->ack ? s->ack : 7);
		*p++ = (uint8_t)((5 + s->tcp_options / 4) << 4);
		*p++ = s->flags ? s->flags : A;
		p = put32(put16(p, 1000), 0);
		p = fill(p, 1, s->tcp_options);
	}
	p = s->data ? put(p, s->data, s->len) : fill(p, 'x', s->len);
	p = fill(p, 0xee, s->padding);
	return (size_t)(p - frame) - s->cut;
}

/* ---- the programs, and what comes out of them ------------------------------------------------------- */

struct got {
	struct clv_packet p;
	uint8_t data[8192];
};

static struct clv_ring *ring;
static bool with_spare;
static struct got got[MAX_PACKETS];
static size_t got_count;

static void on_packet(void *ctx, const struct clv_packet *p)
{
	struct got *g = &got[got_count];

	assert_true(got_count < MAX_PACKETS);
	assert_true(p->payload.len <= sizeof(g->data));
	g->p = *p;
	memcpy(g->data, p->payload.data, p->payload.len);
	g->p.payload.data = g->data;
	got_count++;
}

static void drain(void)
{
	struct clv_source *s = clv_ring_source(ring, 0);

	assert_true(s->ops->poll(s, on_packet, NULL, 0) >= 0);
}

static void add_payload(void *ctx, const struct clv_packet *p)
{
	*(uint32_t *)ctx += (uint32_t)p->payload.len;
}

/* Without looking closer. */
static void drain_only(uint32_t *payload_bytes)
{
	struct clv_source *s = clv_ring_source(ring, 0);

	assert_true(s->ops->poll(s, add_payload, payload_bytes, 0) >= 0);
}

static void run_frame(const uint8_t *frame, size_t len, enum clv_hook hook, bool bare, uint32_t gso_size)
{
	struct __sk_buff ctx = {.gso_size = gso_size, .gso_segs = gso_size ? 2 : 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int fd = clv_ring_prog_fd(ring, hook, bare ? CLV_LAYER_IP : CLV_LAYER_ETHERNET);

	if (bare) /* the program may have been loaded just now, which may take longer than a lease */
		drain();
	int err = bpf_prog_test_run_opts(fd, &opts);

	if (err == -EINVAL && len < 14 + 40) /* TEST_RUN wants the network header that the EtherType promises */
		return;
	assert_int_equal(err, 0);
	assert_int_equal((int)opts.retval, -1); /* whatever it was: next */
	drain();
}

/* Sends one segment from the pod's point of view: requests leave it (ingress), replies enter it. */
static struct got *send_seg(struct seg s)
{
	static uint32_t asked[1 << 16]; /* by client_port */
	uint8_t frame[4096];

	if (!s.reply)
		asked[s.client_port] = s.seq + s.len + !!(s.flags & S);
	else if (!s.ack)
		s.ack = asked[s.client_port];
	size_t len = build(frame, &s);

	got_count = 0;
	run_frame(frame, len, s.reply ? CLV_HOOK_EGRESS : CLV_HOOK_INGRESS, s.bare,
		  s.gso           ? s.gso
		  : s.long_packet ? 1448
				  : 0);
	return got;
}

#define send(...) send_seg((struct seg){__VA_ARGS__})

static uint64_t figure(const char *name)
{
	struct clv_figure f[CLV_RING_FIGURES];
	size_t n = clv_ring_figures(ring, f);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(f[i].name, name))
			return f[i].value;
	fail_msg("no figure %s", name);
	return 0;
}

static void tell(const struct clv_packet *p, struct clv_kverdict v)
{
	struct clv_source *s = clv_ring_source(ring, 0);

	s->ops->verdict(s, &p->kernel, &v);
}

#define tell(p, ...) tell((p), (struct clv_kverdict){__VA_ARGS__})

static void open_ring(struct clv_ring_config c)
{
	c.ring_bytes = c.ring_bytes ? c.ring_bytes : 1 << 20;
	c.max_flows = c.max_flows ? c.max_flows : 256;
	c.strict_window = !with_spare;
	assert_int_equal(clv_ring_open(&c, &ring), 0);
	assert_int_equal(clv_ring_set_link(ring, IFINDEX, CLV_VIEW_POD), 0);
}

static void close_ring(void)
{
	clv_ring_close(ring);
}

static int set_up(void **state)
{
	open_ring((struct clv_ring_config){0});
	return 0;
}

static int tear_down(void **state)
{
	close_ring();
	return 0;
}

/* One payload record and nothing else, with all of its bytes. */
static void assert_copied(const struct got *g, uint32_t seq, uint32_t len)
{
	assert_int_equal(got_count, 1);
	assert_int_equal(g->p.seq, seq);
	assert_int_equal(g->p.len, len);
	assert_int_equal(g->p.payload.len, len);
	assert_int_equal(g->p.hole_len, 0);
}

/* One record without payload that reports a hole (or none). */
static void assert_bare(const struct got *g, uint32_t seq, uint32_t hole_seq, uint32_t hole_len)
{
	assert_int_equal(got_count, 1);
	assert_int_equal(g->p.seq, seq);
	assert_int_equal(g->p.len, 0);
	assert_int_equal(g->p.hole_len, hole_len);
	if (hole_len)
		assert_int_equal(g->p.hole_seq, hole_seq);
}

/* Likewise of the i-th one. */
static void assert_bare_after(size_t i, uint32_t seq, uint32_t hole_len)
{
	assert_true(i < got_count);
	assert_int_equal(got[i].p.seq, seq);
	assert_int_equal(got[i].p.len, 0);
	assert_int_equal(got[i].p.hole_len, hole_len);
}

/*
 * Before the record of this packet there is one of what was left out of earlier ones, up to `end`. Returns the other,
 * as if it had come alone.
 */
static struct got *behind_earlier(uint32_t end, uint32_t hole_len)
{
	assert_int_equal(got_count, 2);
	assert_bare_after(0, end, hole_len);
	assert_int_equal(got[0].p.hole_seq, end - hole_len);
	assert_int_equal(got[0].p.tcp_flags, got[1].p.tcp_flags & A);
	assert_true(got[0].p.ts_ns <= got[1].p.ts_ns);
	got[0] = got[1];
	got_count = 1;
	return got;
}

/* ---- headers ---------------------------------------------------------------------------------------- */

static void plain_segment(void **state)
{
	const struct got *g = send(.seq = 1000, .len = 11, .data = "hello world");

	assert_copied(g, 1000, 11);
	assert_memory_equal(g->data, "hello world", 11);
	assert_int_equal(g->p.src.port, 40000);
	assert_int_equal(g->p.dst.port, 80);
	assert_memory_equal(g->p.src.addr.b, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x4d\x00\x01", 16);
	assert_memory_equal(g->p.dst.addr.b, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x4d\x00\x02", 16);
	assert_int_equal(g->p.side, CLV_SIDE_OUT);
	assert_int_equal(g->p.net, IFINDEX);
	assert_int_equal(g->p.ack, 7);
	assert_true(g->p.kernel.gen != 0);
	assert_true(g->p.ts_ns > 1600000000ull * 1000000000);

	struct clv_kernel_ref ref = g->p.kernel;

	g = send(.seq = 5, .len = 3, .reply = true, .data = "abc");
	assert_copied(g, 5, 3);
	assert_int_equal(g->p.side, CLV_SIDE_IN);
	assert_int_equal(g->p.kernel.slot, ref.slot); /* one flow, both directions */
	assert_int_equal(g->p.kernel.gen, ref.gen);
	assert_int_equal(g->p.kernel.hook, CLV_HOOK_EGRESS);
}

static void host_view(void **state)
{
	assert_int_equal(clv_ring_set_link(ring, IFINDEX, CLV_VIEW_HOST), 0);
	assert_int_equal(send(.seq = 1, .len = 1)->p.side, CLV_SIDE_IN);
	assert_int_equal(send(.seq = 1, .len = 1, .reply = true)->p.side, CLV_SIDE_OUT);
	assert_int_equal(clv_ring_set_link(ring, IFINDEX, CLV_VIEW_POD), 0);
	assert_int_equal(send(.seq = 2, .len = 1)->p.side, CLV_SIDE_OUT);
}

static void ethernet_padding(void **state)
{
	assert_copied(send(.seq = 1, .len = 2, .padding = 30), 1, 2);
	send(.seq = 3, .len = 0, .padding = 6);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("pure_acks"), 1);
}

static void vlan_tags(void **state)
{
	uint32_t seq = 1;

	for (uint8_t tags = 1; tags <= 3; tags++, seq += 9)
		assert_copied(send(.seq = seq, .len = 9, .vlans = tags), seq, 9);
	assert_copied(send(.seq = 1, .len = 9, .vlans = 2, .v6 = true), 1, 9);
	send(.seq = seq, .len = 9, .vlans = 4);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("not_ip"), 1);
}

static void ip_and_tcp_options(void **state)
{
	assert_copied(send(.seq = 1, .len = 9, .ip_options = 40), 1, 9);
	assert_copied(send(.seq = 10, .len = 9, .tcp_options = 40), 10, 9);
	assert_copied(send(.seq = 19, .len = 9, .ip_options = 4, .tcp_options = 12, .vlans = 2), 19, 9);
}

static void fragments(void **state)
{
	assert_copied(send(.seq = 1, .len = 16, .fragment = 0x2000), 1, 16);
	send(.seq = 17, .len = 16, .fragment = 0x2002);
	assert_int_equal(got_count, 0);
	send(.seq = 17, .len = 16, .fragment = 0x0002);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("fragments"), 2);
	assert_copied(send(.seq = 1, .len = 16, .fragment = 0x4000, .client_port = 9), 1, 16); /* don't fragment */
}

static void ipv6(void **state)
{
	const struct got *g = send(.seq = 1, .len = 9, .v6 = true);

	assert_copied(g, 1, 9);
	assert_memory_equal(g->p.src.addr.b, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
}

static void ipv6_extensions(void **state)
{
	/* hop-by-hop, routing, destination options (16 bytes), authentication (24 bytes), then TCP */
	static const uint8_t chain[] = {43,      0, 1, 4,  0, 0, 0, 0, /**/ 60, 0, 0, 0, 0, 0, 0, 0,
					/**/ 51, 1, 1, 12, 0, 0, 0, 0, 0,       0, 0, 0, 0, 0, 0, 0,
					/**/ 6,  4, 0, 0,  0, 0, 0, 0, 0,       0, 0, 0, 0, 0, 0, 0,
					0,       0, 0, 0,  0, 0, 0, 0};
	static const uint8_t first_fragment[] = {6, 0, 0, 1, 0, 0, 0, 9}, later_fragment[] = {6, 0, 0, 9, 0, 0, 0, 9};
	uint8_t endless[9 * 8] = {0};

	assert_copied(send(.seq = 1, .len = 9, .v6 = true, .extensions = chain, .extensions_len = sizeof(chain)), 1, 9);
	assert_copied(
		send(.seq = 10, .len = 9, .v6 = true, .next = 44, .extensions = first_fragment, .extensions_len = 8),
		10, 9);
	send(.seq = 19, .len = 9, .v6 = true, .next = 44, .extensions = later_fragment, .extensions_len = 8);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("fragments"), 1);
	send(.seq = 19, .len = 9, .v6 = true, .extensions = endless, .extensions_len = sizeof(endless));
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("other_l4"), 1);
}

static void bare_packets(void **state)
{
	assert_copied(send(.seq = 1, .len = 9, .bare = true), 1, 9);
	assert_copied(send(.seq = 1, .len = 9, .bare = true, .v6 = true), 1, 9);
	assert_copied(send(.seq = 4, .len = 9, .bare = true, .reply = true), 4, 9);
}

static void lengths_of_zero(void **state)
{
	assert_copied(send(.seq = 1, .len = 1000, .long_packet = true), 1, 1000);
	assert_copied(send(.seq = 1, .len = 1000, .long_packet = true, .v6 = true), 1, 1000);
}

static void malformed(void **state)
{
	uint8_t frame[4096];
	struct seg good = {.seq = 1, .len = 9, .ip_options = 8, .tcp_options = 8, .vlans = 1};
	struct seg good6 = {.seq = 1, .len = 9, .v6 = true};
	size_t len = build(frame, &good), headers = len - 9;

	got_count = 0;
	for (size_t cut = 14; cut < len; cut++)
		run_frame(frame, cut, CLV_HOOK_INGRESS, false, 0);
	len = build(frame, &good6);
	for (size_t cut = 14; cut < len; cut++)
		run_frame(frame, cut, CLV_HOOK_INGRESS, false, 0);
	send(.seq = 1, .len = 9, .length_error = 1);
	send(.seq = 1, .len = 9, .length_error = -25); /* within the TCP header */
	send(.seq = 1, .len = 9, .length_error = -45); /* within the IP header */
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("records"), 0);
	assert_true(figure("malformed") > headers);

	/* Every byte of the headers wrong, every value that could matter: it has to survive. */
	len = build(frame, &good);
	for (size_t at = 12; at < headers; at++) {
		for (int bit = 0; bit < 8; bit++) {
			got_count = 0;
			frame[at] ^= (uint8_t)(1 << bit);
			run_frame(frame, len, CLV_HOOK_INGRESS, false, 0);
			frame[at] ^= (uint8_t)(1 << bit);
		}
	}
	assert_int_equal(figure("bad_records"), 0);
}

static void other_traffic(void **state)
{
	send(.len = 9, .protocol = 1);
	send(.len = 9, .protocol = 132);
	send(.len = 9, .v6 = true, .protocol = 58);
	send(.len = 9, .ether_type = 0x0806);
	send(.len = 9, .ether_type = 40);
	assert_int_equal(figure("other_l4"), 3);
	assert_int_equal(figure("not_ip"), 2);
	assert_int_equal(figure("packets"), 5);
	assert_int_equal(figure("records"), 0);
}

/* ---- connections ------------------------------------------------------------------------------------ */

static void handshake_and_end(void **state)
{
	const struct got *g = send(.seq = 99, .flags = S);

	assert_bare(g, 99, 0, 0);
	assert_int_equal(g->p.tcp_flags, S);

	uint16_t gen = g->p.kernel.gen;

	g = send(.seq = 499, .flags = S | A, .reply = true);
	assert_bare(g, 499, 0, 0);
	assert_int_equal(g->p.kernel.gen, gen);
	assert_copied(send(.seq = 100, .len = 10), 100, 10);
	assert_copied(send(.seq = 500, .len = 20, .reply = true), 500, 20);
	g = send(.seq = 520, .flags = F | A, .reply = true);
	assert_bare(g, 520, 0, 0);
	assert_int_equal(g->p.tcp_flags, F | A);
	g = send(.seq = 110, .len = 5, .flags = F | A);
	assert_copied(g, 110, 5);
	assert_int_equal(g->p.tcp_flags, F | A);
	g = send(.seq = 110, .len = 5, .flags = F | A); /* again: the bytes were seen, the FIN is told */
	assert_bare(g, 115, 0, 0);
	assert_int_equal(g->p.tcp_flags, F | A);
	assert_int_equal(g->p.retransmits, 1);
	g = send(.seq = 521, .flags = R, .reply = true, .len = 7);
	assert_bare(g, 521, 0, 0);
	assert_int_equal(g->p.tcp_flags, R);
}

static void syn_with_data(void **state)
{
	const struct got *g = send(.seq = 99, .flags = S, .len = 10);

	assert_copied(g, 99, 10);
	assert_copied(send(.seq = 110, .len = 5), 110, 5);
	send(.seq = 100, .len = 10);
	assert_int_equal(got_count, 0);
}

static void repeated_syn(void **state)
{
	uint16_t gen = send(.seq = 99, .flags = S)->p.kernel.gen;
	const struct got *g = send(.seq = 99, .flags = S);

	assert_bare(g, 99, 0, 0);
	assert_int_equal(g->p.kernel.gen, gen);
	assert_copied(send(.seq = 100, .len = 10), 100, 10);
	send(.seq = 99, .flags = S); /* late, from the network's depths */
	send(.seq = 100, .len = 10);
	assert_int_equal(got_count, 0);
}

static void port_reuse(void **state)
{
	const struct got *g = send(.seq = 99, .flags = S);
	struct clv_packet old = g->p;

	send(.seq = 499, .flags = S | A, .reply = true);
	send(.seq = 100, .len = 10);
	send(.seq = 500, .len = 10, .reply = true);
	tell(&old, .kind = CLV_VERDICT_IGNORE);
	send(.seq = 110, .len = 10);
	assert_int_equal(got_count, 0);

	g = send(.seq = 50, .flags = S); /* the same ports, a new connection: below all that was seen */
	assert_bare(g, 50, 0, 0);
	assert_int_equal(g->p.kernel.slot, old.kernel.slot);
	assert_true(g->p.kernel.gen != old.kernel.gen);
	assert_copied(send(.seq = 51, .len = 10), 51, 10);
	tell(&old, .kind = CLV_VERDICT_IGNORE); /* a verdict that comes too late */
	assert_copied(send(.seq = 61, .len = 10), 61, 10);
	assert_bare(send(.seq = 200, .flags = S | A, .reply = true), 200, 0, 0);
	assert_copied(send(.seq = 201, .len = 10, .reply = true), 201, 10);
}

static void stray_endings(void **state)
{
	const struct got *g = send(.seq = 7, .flags = R | A);

	assert_bare(g, 7, 0, 0);
	assert_int_equal(g->p.kernel.gen, 0);
	assert_int_equal(figure("flow_evicted"), 0);
}

/* Flows in one set of the kernel's table: bpf/maps.h. */
enum { WAYS = 8 };

static void eviction(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.max_flows = WAYS});
	for (uint16_t i = 1; i <= WAYS; i++)
		assert_copied(send(.seq = 1, .len = 5, .client_port = i), 1, 5);
	assert_int_equal(figure("flow_evicted"), 0);
	for (uint16_t i = 1; i <= WAYS; i++)
		assert_copied(send(.seq = 6, .len = 5, .client_port = i), 6, 5);
	send(.seq = 11, .client_port = 3, .flags = R);

	uint32_t slot = got->p.kernel.slot;

	assert_copied(send(.seq = 1, .len = 5, .client_port = WAYS + 1), 1, 5);
	assert_int_equal(got->p.kernel.slot, slot); /* the one that is over goes first, and is no loss */
	assert_int_equal(figure("flow_evicted"), 0);
	assert_copied(send(.seq = 1, .len = 5, .client_port = WAYS + 2), 1, 5);
	assert_int_equal(figure("flow_evicted"), 1);
}

static void many_flows(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.max_flows = 65536});
	for (uint16_t i = 0; i < 1000; i++) /* consecutive ports, as a kernel hands them out */
		assert_copied(send(.seq = 1, .len = 5, .client_port = 32768 + 2 * i), 1, 5);
	assert_int_equal(figure("flow_evicted"), 0);
	for (uint16_t i = 0; i < 1000; i++)
		assert_copied(send(.seq = 6, .len = 5, .client_port = 32768 + 2 * i), 6, 5);
	send(.seq = 1, .len = 5, .client_port = 32768);
	assert_int_equal(got_count, 0);
}

/* ---- what is new, and what is not ------------------------------------------------------------------- */

static void duplicates(void **state)
{
	send(.seq = 99, .flags = S);
	send(.seq = 100, .len = 100);
	for (int i = 0; i < 3; i++) {
		send(.seq = 100, .len = 100);
		assert_int_equal(got_count, 0);
	}
	send(.seq = 199, .len = 1); /* a keep-alive probe */
	assert_int_equal(got_count, 0);
	assert_copied(send(.seq = 200, .len = 10), 200, 10);
	assert_int_equal(got->p.retransmits, 4);
	assert_copied(send(.seq = 210, .len = 10), 210, 10);
	assert_int_equal(got->p.retransmits, 0);
	assert_copied(send(.seq = 150, .len = 80), 220, 10); /* only its new end */
	assert_int_equal(figure("retransmits"), 4);
}

static void reordering(void **state)
{
	send(.seq = 99, .flags = S);
	assert_copied(send(.seq = 200, .len = 100), 200, 100);
	assert_copied(send(.seq = 400, .len = 100), 400, 100);
	assert_copied(send(.seq = 100, .len = 50), 100, 50);
	assert_copied(send(.seq = 150, .len = 50), 150, 50);
	send(.seq = 100, .len = 100);
	assert_int_equal(got_count, 0);
	assert_copied(send(.seq = 340, .len = 20), 340, 20); /* the middle of a hole */
	assert_copied(send(.seq = 300, .len = 40), 300, 40);
	send(.seq = 340, .len = 20);
	assert_int_equal(got_count, 0);
	assert_copied(send(.seq = 360, .len = 40), 360, 40);
	send(.seq = 100, .len = 400);
	assert_int_equal(got_count, 0);
}

static void many_holes(void **state)
{
	send(.seq = 0, .flags = S);
	for (uint32_t i = 1; i <= 20; i++)
		assert_copied(send(.seq = i * 200 + 1, .len = 100), i * 200 + 1, 100);
	for (uint32_t i = 0; i <= 19; i++) /* none of those that were missing is taken for seen */
		assert_copied(send(.seq = i * 200 + 101, .len = 100), i * 200 + 101, 100);
}

static void joined_midstream(void **state)
{
	assert_copied(send(.seq = 5000, .len = 100), 5000, 100);
	assert_copied(send(.seq = 4900, .len = 100), 4900, 100); /* it was only late */
	assert_copied(send(.seq = 5100, .len = 100), 5100, 100);
	send(.seq = 4900, .len = 300);
	assert_int_equal(got_count, 0);
}

static void wrap_around(void **state)
{
	send(.seq = 0xffffff00, .flags = S);
	assert_copied(send(.seq = 0xffffff01, .len = 200), 0xffffff01, 200);
	assert_copied(send(.seq = 0xffffffc9, .len = 200), 0xffffffc9, 200);
	assert_copied(send(.seq = 0x200, .len = 200), 0x200, 200);
	send(.seq = 0xffffff01, .len = 400);
	assert_int_equal(got_count, 0);
	assert_copied(send(.seq = 0x91, .len = 0x16f), 0x91, 0x16f);
}

static void absurd_jump(void **state)
{
	send(.seq = 99, .flags = S);
	assert_copied(send(.seq = 0x70000000, .len = 10), 0x70000000, 10);
	assert_copied(send(.seq = 100, .len = 10), 100, 10);
	assert_copied(send(.seq = 110, .len = 10), 110, 10);
}

/* ---- leaving out ------------------------------------------------------------------------------------ */

static struct clv_packet start(void)
{
	return send(.seq = 99, .flags = S)->p;
}

static void window(void **state)
{
	struct clv_packet p = start();

	assert_copied(send(.seq = 100, .len = 50), 100, 50);
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 200);
	send(.seq = 150, .len = 100);
	assert_int_equal(got_count, 1);
	assert_int_equal(got->p.len, 100);
	assert_int_equal(got->p.payload.len, 50);
	assert_bare(send(.seq = 250, .len = 100), 350, 250, 100); /* the first beyond says so, */
	for (uint32_t i = 0; i < 100; i++) {                      /* then every 256 KiB */
		send(.seq = 350 + i * 3000, .len = 3000);
		assert_int_equal(got_count, i == 87);
	}
	assert_int_equal(figure("window_bytes"), 50 + 100 + 300000);
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 400000);
	send(.seq = 300350, .len = 10);
	assert_copied(behind_earlier(300350, 36000), 300350, 10);
	send(.seq = 260, .len = 10); /* seen, though not copied */
	assert_int_equal(got_count, 0);
}

static void default_window(void **state)
{
	uint32_t copied = 0;

	start();
	for (uint32_t i = 0; i < 40; i++)
		copied += (uint32_t)send(.seq = 100 + i * 2000, .len = 2000)->p.payload.len * (got_count == 1);
	assert_int_equal(copied, CLV_WINDOW_BYTES);
	send(.seq = 80100, .flags = F | A);
	assert_bare(behind_earlier(80100, 12000), 80100, 0, 0);
	assert_int_equal(got->p.tcp_flags, F | A);
}

/* What was left out, and told only later, has the time at which it passed. */
static void left_out_when(void **state)
{
	const uint64_t pause_ns = 30000000, coarse_ns = 1 << 12;
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 200);
	send(.seq = 100, .len = 200);
	assert_bare(send(.seq = 300, .len = 100), 400, 300, 100);
	uint64_t told_ns = got->p.ts_ns;
	send(.seq = 400, .len = 100); /* the last of a body, for example */
	assert_int_equal(got_count, 0);
	usleep(pause_ns / 1000);
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 10000);
	send(.seq = 500, .len = 50);
	assert_int_equal(got_count, 2);
	assert_true(got[0].p.ts_ns + coarse_ns >= told_ns && got[0].p.ts_ns + pause_ns <= got[1].p.ts_ns + coarse_ns);
	assert_copied(behind_earlier(500, 100), 500, 50);
}

/* How much of 4 MB is copied, from sequence number 100 on, that a reader always has at once? */
static uint32_t copied_of_4_mb(uint16_t client_port)
{
	uint32_t copied = 0;

	for (uint32_t i = 0; i < 2000; i++) {
		send(.seq = 100 + i * 2000, .len = 2000, .client_port = client_port);
		copied += got_count ? (uint32_t)got->p.payload.len : 0;
	}
	return copied;
}

/*
 * A ring with room to spare takes more than a window's, but not of bodies whose lengths the kernel reads; one that is
 * half full does not.
 */
static void window_with_spare(void **state)
{
	uint32_t copied = 0;

	close_ring();
	with_spare = true;
	open_ring((struct clv_ring_config){0});
	with_spare = false;
	start();
	assert_int_equal(copied_of_4_mb(0), CLV_WINDOW_BYTES + CLV_WINDOW_SPARE_BYTES);
	for (int seek = 0; seek < 2; seek++) {
		struct clv_packet p = send(.seq = 99, .flags = S, .client_port = (uint16_t)(8 + seek))->p;

		tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 100 + 500000, .seek = seek);
		assert_int_equal(copied_of_4_mb((uint16_t)(8 + seek)), 500000 + (seek ? 0 : CLV_WINDOW_SPARE_BYTES));
	}

	struct seg s = {.seq = 1, .len = 3000, .client_port = 7};
	uint8_t frame[4096];

	got_count = 0;
	for (uint32_t i = 0; i < 200; i++, s.seq += s.len) { /* nobody reads */
		size_t len = build(frame, &s);
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len);

		assert_int_equal(
			bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &opts), 0);
	}
	drain_only(&copied);
	assert_in_range(copied, (1 << 20) / 2 * 2 / 3, (1 << 20) / 2 + 4096);
}

static void stale_window(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 100u - (1u << 31) + 5); /* "ahead", by half the space */
	assert_bare(send(.seq = 100, .len = 50), 150, 100, 50);
}

static void skipping(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 1000);
	send(.seq = 100, .len = 400);
	assert_int_equal(got_count, 0);
	send(.seq = 500, .len = 300);
	assert_int_equal(got_count, 0);
	send(.seq = 800, .len = 300); /* crosses its end */
	assert_int_equal(got_count, 1);
	assert_int_equal(got->p.seq, 1000);
	assert_int_equal(got->p.len, 100);
	assert_int_equal(got->p.payload.len, 100);
	assert_int_equal(got->p.hole_seq, 100);
	assert_int_equal(got->p.hole_len, 900);
	assert_int_equal(figure("skipped_bytes"), 900);
	assert_copied(send(.seq = 1100, .len = 100), 1100, 100);

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 1300);
	assert_bare(send(.seq = 1200, .len = 100), 1300, 1200, 100); /* reaches it: the end has a time */
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 1200);             /* long past */
	assert_copied(send(.seq = 1300, .len = 10), 1300, 10);
}

/* What overtakes something in the middle of a skip is nothing to tell, and neither is what was overtaken. */
static void skip_with_reordering(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 10000);
	send(.seq = 100, .len = 100);
	assert_int_equal(got_count, 0);
	send(.seq = 300, .len = 100); /* after a gap */
	assert_int_equal(got_count, 0);
	send(.seq = 250, .len = 50); /* a part of it, */
	assert_int_equal(got_count, 0);
	send(.seq = 200, .len = 50); /* the rest, */
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("retransmits"), 0);
	send(.seq = 200, .len = 100); /* and once more */
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("retransmits"), 1);
	send(.seq = 500, .len = 100);
	send(.seq = 450, .len = 200); /* fills the second half of the next one, and goes on */
	send(.seq = 400, .len = 50);
	assert_int_equal(got_count, 0);
	assert_bare(send(.seq = 650, .len = 100, .flags = F | A), 750, 100, 650);
	assert_int_equal(got->p.tcp_flags, F | A);
}

/* What is missing when something has to be told is told apart. */
static void skip_with_losses(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 10000);
	send(.seq = 100, .len = 100);
	send(.seq = 300, .len = 100);
	send(.seq = 500, .len = 100);
	assert_int_equal(got_count, 0);
	send(.seq = 600, .len = 100, .flags = F | A);
	assert_int_equal(got_count, 3);
	assert_int_equal(got[0].p.hole_seq, 100);
	assert_int_equal(got[0].p.hole_len, 100);
	assert_int_equal(got[0].p.tcp_flags, A); /* of the segment that made it told: no FIN */
	assert_int_equal(got[1].p.hole_seq, 300);
	assert_int_equal(got[1].p.hole_len, 100);
	assert_int_equal(got[2].p.hole_seq, 500);
	assert_int_equal(got[2].p.hole_len, 200);
	assert_int_equal(got[2].p.seq, 700);
	assert_int_equal(got[2].p.tcp_flags, F | A);
	assert_bare(send(.seq = 200, .len = 100), 300, 200, 100); /* a fill */
	send(.seq = 200, .len = 100);
	assert_int_equal(got_count, 0);
	assert_bare(send(.seq = 400, .len = 100), 500, 400, 100);
	assert_bare(send(.seq = 800, .len = 100, .flags = F | A), 900, 800, 100); /* what it lacks is not left out */
	assert_bare(send(.seq = 700, .len = 100), 800, 700, 100);
}

/* The end of a skip while something is missing: it is not over before that has come. */
static void skip_ends_with_losses(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 500);
	send(.seq = 200, .len = 100); /* the beginning is missing */
	assert_int_equal(got_count, 0);
	send(.seq = 300, .len = 200);
	assert_int_equal(got_count, 1);
	assert_int_equal(got->p.hole_seq, 200);
	assert_int_equal(got->p.hole_len, 300);
	assert_bare(send(.seq = 100, .len = 100), 200, 100, 100);
	assert_copied(send(.seq = 500, .len = 10), 500, 10);

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 1000);
	send(.seq = 510, .len = 90);
	send(.seq = 700, .len = 100);
	assert_int_equal(got_count, 0);
	send(.seq = 800, .len = 300); /* crosses the end */
	assert_int_equal(got_count, 2);
	assert_int_equal(got[0].p.hole_seq, 510);
	assert_int_equal(got[0].p.hole_len, 90);
	assert_int_equal(got[1].p.hole_seq, 700);
	assert_int_equal(got[1].p.hole_len, 300);
	assert_int_equal(got[1].p.seq, 1000);
	assert_int_equal(got[1].p.payload.len, 100);
	assert_bare(send(.seq = 600, .len = 100), 700, 600, 100);
}

/* More holes than there is room for: those are told as they come. */
static void skip_with_many_losses(void **state)
{
	struct clv_packet p = start();
	uint32_t told = 0;

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 10000);
	for (uint32_t at = 200; at < 2000; at += 200) {
		send(.seq = at, .len = 100);
		for (unsigned i = 0; i < got_count; i++)
			told += got[i].p.hole_len;
	}
	send(.seq = 2000, .len = 100, .flags = F | A);
	for (unsigned i = 0; i < got_count; i++)
		told += got[i].p.hole_len;
	assert_int_equal(told, 10 * 100);
}

static void skip_progress(void **state)
{
	struct clv_packet p = start();
	unsigned told = 0;

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 100 + (1u << 30));
	for (uint32_t at = 0; at < 40u << 20; at += 3000) {
		send(.seq = 100 + at, .len = 3000);
		told += (unsigned)got_count;
	}
	assert_int_equal(told, 2);
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 101 + (1u << 30) + (42u << 20)); /* farther than believed */
	send(.seq = 100 + (40u << 20) + 3000, .len = 10);
	assert_int_equal(got->p.payload.len, 0);
}

static void reset_reports_what_was_left_out(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 10000);
	send(.seq = 100, .len = 100);
	send(.seq = 200, .flags = R | A);
	assert_bare(behind_earlier(200, 100), 200, 0, 0);
	assert_int_equal(got->p.tcp_flags, R | A);
}

static void ignore(void **state)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_IGNORE);
	send(.seq = 100, .len = 100);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("ignored"), 1);
	assert_copied(send(.seq = 1, .len = 10, .reply = true), 1, 10); /* the other direction is not meant */
	assert_bare(send(.seq = 200, .len = 10, .flags = F | A), 210, 0, 0);
	assert_bare(send(.seq = 211, .flags = R), 211, 0, 0);
}

static void probe_mode(void **state)
{
	struct clv_packet p = start(), q = send(.seq = 499, .flags = S | A, .reply = true)->p;

	send(.seq = 100, .len = 10);
	tell(&p, .kind = CLV_VERDICT_PROBE);
	tell(&q, .kind = CLV_VERDICT_PROBE);
	send(.seq = 110, .len = 10);
	assert_int_equal(got_count, 0);
	send(.seq = 500, .len = 2000, .reply = true);
	assert_int_equal(got_count, 1);
	assert_true(got->p.probe);
	assert_int_equal(got->p.len, 2000);
	assert_int_equal(got->p.payload.len, CLV_PROBE_BYTES);
	send(.seq = 2500, .len = 2000, .reply = true);
	assert_int_equal(got_count, 0);
	send(.seq = 120, .len = 10);
	assert_int_equal(got_count, 1);
	assert_int_equal(got->p.hole_len, 0);
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 130 + CLV_WINDOW_BYTES);
	assert_copied(send(.seq = 130, .len = 10), 130, 10);
	assert_false(got->p.probe);
}

static void snaplen_cuts(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.snaplen = 64});
	send(.seq = 1, .len = 1000);
	assert_int_equal(got->p.len, 1000);
	assert_int_equal(got->p.payload.len, 64);
	send(.seq = 1001, .len = 10);
	assert_int_equal(got->p.hole_len, 0); /* what a record says in len is not said again */
}

static void port_filter(void **state)
{
	static const uint16_t ports[] = {443, 40001};

	close_ring();
	open_ring((struct clv_ring_config){.ports = ports, .port_count = 2});
	send(.seq = 1, .len = 10);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("unwanted"), 1);
	assert_copied(send(.seq = 1, .len = 10, .client_port = 40001), 1, 10);
	assert_copied(send(.seq = 1, .len = 10, .client_port = 40001, .reply = true), 1, 10);
}

/* Wherever the ports stand, the same is counted; an acknowledgement is a packet of its port as any other. */
static void port_filter_counts(void **state)
{
	static const uint16_t ports[] = {443, 40001};
	static const struct seg packets[] = {
		{.len = 10},
		{.len = 10, .reply = true},
		{.len = 0},
		{.len = 10, .vlans = 1},
		{.len = 10, .ip_options = 8},
		{.len = 10, .bare = true},
		{.len = 10, .v6 = true},
		{.len = 10, .v6 = true, .bare = true},
		{.len = 10, .v6 = true, .extensions = (const uint8_t *)"\6\0\1\4\0\0\0\0", .extensions_len = 8},
	};
	uint64_t bytes = 0;

	close_ring();
	open_ring((struct clv_ring_config){.ports = ports, .port_count = 2});
	for (size_t i = 0; i < LEN(packets); i++) {
		const struct seg *s = &packets[i];

		send_seg(*s);
		assert_int_equal(got_count, 0);
		bytes += (s->v6 ? 40u : 20u) + s->ip_options + s->extensions_len + 20u + s->len;
		assert_int_equal(figure("unwanted"), i + 1);
		assert_int_equal(figure("packets"), i + 1);
		assert_int_equal(figure("bytes"), bytes);
	}
	assert_int_equal(figure("pure_acks"), 0);
	assert_int_equal(figure("udp"), 0);
	send(.udp = true, .len = 10);
	assert_int_equal(figure("udp"), 1);
	assert_int_equal(figure("unwanted"), LEN(packets) + 1);
	send(.len = 100, .fragment = 0x2001); /* whose ports are not here */
	assert_int_equal(figure("fragments"), 1);
	send(.len = 10, .client_port = 40001, .fragment = 0x2000); /* the first one has them */
	assert_int_equal(figure("unwanted"), LEN(packets) + 1);
}

/* On this CPU from now on, if there is one of that number. */
static void go_to_cpu(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/*
 * Nobody reads; then the packets of all CPUs come in the order in which they passed: those in the rings of the CPUs,
 * those that are too long for them, and those for which they had no room.
 */
static void rings_of_cpus(void **state)
{
	cpu_set_t before;
	uint8_t frame[4096];
	uint32_t seq = 100, read = seq;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	close_ring();
	open_ring((struct clv_ring_config){.ring_bytes = 1 << 20});
	start();
	for (uint32_t i = 1; i <= 40 * 25; i++) {
		struct seg s = {.seq = seq, .len = i % 10 ? i % 60 + 1 : 3000};
		size_t len = build(frame, &s);

		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len);
		go_to_cpu(i / 3 % 2); /* there may be one only */
		assert_int_equal(
			bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &opts), 0);
		seq += s.len;
		if (i % 40)
			continue;
		got_count = 0;
		drain();
		assert_int_equal(got_count, 40);
		for (size_t n = 0; n < got_count; n++) {
			assert_int_equal(got[n].p.seq, read);
			assert_int_equal(got[n].p.payload.len, got[n].p.len);
			read += got[n].p.len;
		}
		tell(&got[0].p, .kind = CLV_VERDICT_WINDOW, .seq = seq + (1 << 19));
	}
	sched_setaffinity(0, sizeof(before), &before);
	assert_int_equal(read, seq);

	/* More than a CPU's ring has room for: the rest went into the ring buffer. */
	close_ring();
	open_ring((struct clv_ring_config){.ring_bytes = 1 << 20});
	struct seg s = {.seq = 1, .len = 400, .flags = 0x02};
	size_t len = build(frame, &s);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len, .repeat = 2030);
	uint32_t bytes = 0;

	assert_int_equal(bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &opts),
			 0);
	drain_only(&bytes);
	assert_int_equal(bytes, 2030 * 400);
	assert_int_equal(figure("records"), 2030);
	assert_int_equal(figure("ring_full"), 0);
}

static void full_ring(void **state)
{
	uint8_t frame[4096];
	struct seg s = {.seq = 100, .len = 3000};
	size_t len;

	close_ring();
	open_ring((struct clv_ring_config){.ring_bytes = 4096});
	start();
	len = build(frame, &s);
	/* Two without a drain between them: the second does not fit. */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len);
	for (int i = 0; i < 2; i++) {
		frame[41] = (uint8_t)(i ? 0x1c : 0x64); /* seq 100, then 3100 */
		frame[40] = (uint8_t)(i ? 0x0c : 0x00);
		assert_int_equal(
			bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &opts), 0);
	}
	assert_int_equal(figure("ring_full"), 2); /* even one needs 4096 and a header of 8 */
	send(.seq = 6100, .len = 100);
	assert_copied(got, 6100, 100);
	assert_copied(send(.seq = 3100, .len = 100), 3100, 100); /* not seen, as far as anybody knows */
	assert_copied(send(.seq = 200, .len = 100), 200, 100);
}

/* The programs' map whose name ends so; the caller closes it. */
static int find_map(const char *end)
{
	uint32_t maps[32];
	struct bpf_prog_info info = {.nr_map_ids = 32, .map_ids = (uintptr_t)maps};
	uint32_t len = sizeof(info);

	assert_int_equal(
		bpf_obj_get_info_by_fd(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &info, &len), 0);
	for (uint32_t i = 0; i < info.nr_map_ids; i++) {
		struct bpf_map_info map = {0};
		int fd = bpf_map_get_fd_by_id(maps[i]);

		len = sizeof(map);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &map, &len), 0);
		size_t at = strlen(map.name) - strlen(end);
		if (strlen(map.name) >= strlen(end) && strcmp(map.name + at, end) == 0)
			return fd;
		close(fd);
	}
	fail_msg("no map %s", end);
	return -1;
}

/* The lease stands at the start of the object's .bss. */
static void set_lease(uint64_t lease_ns)
{
	struct clv_shared shared = {.lease_ns = lease_ns};
	uint32_t zero = 0;
	int fd = find_map(".bss");

	assert_int_equal(bpf_map_update_elem(fd, &zero, &shared, 0), 0);
	close(fd);
}

/* All flows' directions were last used so much earlier, as far as they know. Where that stands: bpf/maps.h. */
static void age_flows(uint32_t jiffies)
{
	enum { SET = 64 + WAYS * 192, FLOW = 192, TAGS = 64, DIRS = 64, DIR = 64, LAST = 20 };
	uint8_t set[SET];
	int fd = find_map("flows");

	for (uint32_t i = 0; bpf_map_lookup_elem(fd, &i, set) == 0; i++) {
		for (int way = 0; way < WAYS; way++)
			for (int d = 0; d < 2; d++) {
				uint8_t *at = set + TAGS + way * FLOW + DIRS + d * DIR + LAST;
				uint32_t last;

				memcpy(&last, at, sizeof(last));
				last -= jiffies;
				memcpy(at, &last, sizeof(last));
			}
		assert_int_equal(bpf_map_update_elem(fd, &i, set, 0), 0);
	}
	close(fd);
}

static void lease(void **state)
{
	set_lease(1);
	send(.seq = 1, .len = 10); /* which drains, and so renews */
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("lease_expired"), 1);
	assert_copied(send(.seq = 1, .len = 10), 1, 10);
}

static void port_filter_lease(void **state)
{
	static const uint16_t ports[] = {443};

	close_ring();
	open_ring((struct clv_ring_config){.ports = ports, .port_count = 1});
	set_lease(1);
	send(.seq = 1, .len = 10);
	assert_int_equal(figure("lease_expired"), 1);
	assert_int_equal(figure("unwanted"), 0);
	send(.seq = 1, .len = 10);
	assert_int_equal(figure("unwanted"), 1);
}

static void idle_reader_is_woken(void **state)
{
	struct clv_source *s = clv_ring_source(ring, 0);

	for (int i = 0; i < 5; i++)
		assert_int_equal(s->ops->poll(s, on_packet, NULL, 20), 0);
	assert_copied(send(.seq = 1, .len = 10), 1, 10);
	assert_true(s->ops->now_ns(s) + 1000000000 > got->p.ts_ns);
}

/* ---- Content-Length ---------------------------------------------------------------------------------- */

#define HEAD_START "HTTP/1.1 200 OK\r\nServer: x\r\n"

/* Sends one request and one response of which `text` is all that is there. Did the kernel skip the body? */
static bool sought(const char *request, const char *text)
{
	static uint16_t port;
	uint64_t before = figure("sought");
	struct clv_packet asker, p;

	port++;
	asker = send(.seq = 99, .flags = S, .client_port = port)->p;
	p = send(.seq = 499, .flags = S | A, .reply = true, .client_port = port)->p;
	tell(&asker, .kind = CLV_VERDICT_SKIP, .seq = 100, .alone = true);
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 500);
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 500 + CLV_WINDOW_BYTES, .seek = true);
	send(.seq = 100, .len = (uint32_t)strlen(request), .data = request, .client_port = port);
	send(.seq = 500, .len = (uint32_t)strlen(text), .data = text, .reply = true, .client_port = port);
	assert_int_equal(got_count, 1);
	assert_int_equal(got->p.sought, figure("sought") > before);
	return got->p.sought;
}

static void seek_finds(void **state)
{
	static const char head[] = HEAD_START "Content-Length: 100000\r\n\r\n";
	uint32_t len = sizeof(head) - 1, end = 500 + len + 100000;

	assert_true(sought("GET / HTTP/1.1\r\n\r\n", head));
	assert_int_equal(got->p.payload.len, len);
	for (uint32_t at = 500 + len; at < end; at += 2500) {
		send(.seq = at, .len = 2500, .reply = true, .client_port = 1);
		assert_int_equal(got_count, at + 2500 == end);
	}
	assert_bare(got, end, 500 + len, 100000);
	assert_int_equal(got->p.kernel.hook, CLV_HOOK_EGRESS);
	/* User space has not said a word since: what follows the body is let through all the same. */
	assert_copied(send(.seq = end, .len = len, .data = head, .reply = true, .client_port = 1), end, len);
}

static void seek_finds_with_body(void **state)
{
	assert_true(sought("GET / HTTP/1.1\r\n\r\n", HEAD_START "content-LENGTH:\t 40000 \r\n\r\nbody"));
	assert_int_equal(got->p.payload.len, strlen(HEAD_START) + 27);
	assert_int_equal(got->p.len, got->p.payload.len + 4);
	assert_true(sought("POST / HTTP/1.1\r\nX: y\r\n\r\n", "HTTP/1.0 404 x\nContent-Length: 40000\n\n"));
}

/* Of the programs' maps the one with this name: all its bytes, on every CPU. */
static void scratch_fill(const char *name, uint8_t byte)
{
	uint32_t ids[32], zero = 0;
	struct bpf_prog_info prog = {.nr_map_ids = LEN(ids), .map_ids = (uintptr_t)ids};
	uint32_t len = sizeof(prog);

	assert_int_equal(
		bpf_obj_get_info_by_fd(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &prog, &len), 0);
	for (uint32_t i = 0; i < prog.nr_map_ids; i++) {
		struct bpf_map_info map = {0};
		int fd = bpf_map_get_fd_by_id(ids[i]);

		len = sizeof(map);
		assert_true(fd >= 0);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &map, &len), 0);
		if (!strcmp(map.name, name)) {
			size_t bytes = (size_t)libbpf_num_possible_cpus() * ((map.value_size + 7) / 8 * 8);
			void *values = malloc(bytes);

			assert_non_null(values);
			memset(values, byte, bytes);
			assert_int_equal(bpf_map_update_elem(fd, &zero, values, BPF_ANY), 0);
			free(values);
			close(fd);
			return;
		}
		close(fd);
	}
	fail_msg("no map %s", name);
}

/* A process that sends can be interrupted in the middle: what it works on is not touched. */
static void seek_not_when_interrupting(void **state)
{
	static const char head[] = HEAD_START "Content-Length: 100000\r\n\r\n";

	scratch_fill("seek_state", 0xff);
	assert_false(sought("GET / HTTP/1.1\r\n\r\n", head));
	scratch_fill("seek_state", 0);
	assert_true(sought("GET / HTTP/1.1\r\n\r\n", head));
	assert_true(sought("GET / HTTP/1.1\r\n\r\n", head));
}

static void seek_leaves_alone(void **state)
{
	static const char *const heads[] = {
		HEAD_START "Content-Length: 32768\r\n\r\n", /* not worth it */
		HEAD_START "Content-Length: 100000\r\n",    /* not over */
		HEAD_START "Content-Length: 100000\r\nContent-Length: 100000\r\n\r\n",
		HEAD_START "Content-Length: 100000, 100000\r\n\r\n",
		HEAD_START "Content-Length: 1000 00\r\n\r\n",
		HEAD_START "Content-Length: +100000\r\n\r\n",
		HEAD_START "Content-Length: 0x40000\r\n\r\n",
		HEAD_START "Content-Length: 9999999999999999999999\r\n\r\n",
		HEAD_START "Content-Length:\r\n\r\n",
		HEAD_START "Content-Length: 100000\r\nTransfer-Encoding: chunked\r\n\r\n",
		HEAD_START "TRANSFER-encoding: chunked\r\nContent-Length: 100000\r\n\r\n",
		HEAD_START "X: a\r\n Content-Length: 100000\r\n\r\n",
		HEAD_START "X-Content-Length: 100000\r\n\r\n",
		HEAD_START "Content-Length: 100000\rX\r\n\r\n",
		"HTTP/1.1 204 No\r\nContent-Length: 100000\r\n\r\n",
		"HTTP/1.1 304 No\r\nContent-Length: 100000\r\n\r\n",
		"HTTP/1.1 100 No\r\nContent-Length: 100000\r\n\r\n",
		"HTTP/2.0 200 OK\r\nContent-Length: 100000\r\n\r\n",
		"XHTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
	};
	char far[1000];

	for (size_t i = 0; i < LEN(heads); i++)
		if (sought("GET / HTTP/1.1\r\n\r\n", heads[i]))
			fail_msg("skipped after: %s", heads[i]);
	snprintf(far, sizeof(far), HEAD_START "X: %0600d\r\nContent-Length: 100000\r\n\r\n", 0);
	assert_false(sought("GET / HTTP/1.1\r\n\r\n", far));
	assert_false(sought("HEAD / HTTP/1.1\r\n\r\n", HEAD_START "Content-Length: 100000\r\n\r\n"));
	assert_true(sought("GET / HTTP/1.1\r\n\r\n", HEAD_START "Content-Length: 100000\r\n\r\n"));
}

/* Which request is it that is answered? In doubt, nothing is skipped. */
static void seek_not_when_pipelined(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 100000\r\n\r\n";
	uint32_t get_len = sizeof(get) - 1, len = sizeof(head) - 1, at = 500 + len + 100000;

	assert_false(sought("GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n", head));
	assert_false(sought("GET / HTTP/1.1\r\nX: y\r\n", head));
	assert_false(sought("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", head));

	assert_true(sought(get, head));
	struct clv_packet p = got->p;

	send(.seq = 100 + get_len, .len = get_len, .data = get, .client_port = p.dst.port); /* before the body's end */
	send(.seq = 500 + len, .len = 3000, .reply = true, .client_port = p.dst.port);
	for (uint32_t i = 3000; i < 100000; i += 1000)
		send(.seq = 500 + len + i, .len = 1000, .reply = true, .client_port = p.dst.port);
	assert_bare(got, at, 500 + len, 100000);
	send(.seq = at, .len = len, .data = head, .reply = true, .client_port = p.dst.port);
	assert_false(got->p.sought);
}

/* The end of a body of 100,000 bytes behind a head at 500 of `head_len`, all but its first `seen` bytes. */
static uint32_t finish_body(uint16_t port, uint32_t head_len, uint32_t seen)
{
	uint32_t end = 500 + head_len + 100000;

	for (uint32_t at = 500 + head_len + seen; at < end; at += 1000)
		send(.seq = at, .len = end - at < 1000 ? end - at : 1000, .reply = true, .client_port = port);
	return end;
}

/*
 * A HEAD in the packet of the first request, or behind it, waits for its answer when the first body is over. Then that
 * is answered, whatever was asked meanwhile: until user space says that no other waits.
 */
static void seek_not_while_another_waits(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", both[] = "GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n";
	static const char head[] = HEAD_START "Content-Length: 100000\r\n\r\n", *const rest = both + sizeof(get) - 1;
	const uint32_t len = sizeof(head) - 1, get_len = sizeof(get) - 1, both_len = sizeof(both) - 1;
	char first[2500] = {0};

	memcpy(first, head, len);
	close_ring();
	open_ring((struct clv_ring_config){.seek_first = true});
	for (int n = 0; n < 6; n++) {
		bool in_one = n & 1, asks_again = n & 2, told = n & 4;
		uint16_t port = (uint16_t)(7000 + n);
		uint32_t ask = 100 + both_len;
		struct clv_packet asker = send(.seq = 99, .flags = S, .client_port = port)->p, p;

		send(.seq = 499, .flags = S | A, .reply = true, .client_port = port);
		send(.seq = 100, .len = in_one ? both_len : get_len, .data = both, .client_port = port);
		p = send(.seq = 500, .len = sizeof(first), .data = first, .reply = true, .client_port = port)->p;
		assert_true(p.sought);
		tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 500 + CLV_WINDOW_BYTES, .seek = true);
		if (!in_one)
			send(.seq = 100 + get_len, .len = both_len - get_len, .data = rest, .client_port = port);
		uint32_t at = finish_body(port, len, sizeof(first) - len);

		if (told)
			tell(&asker, .kind = CLV_VERDICT_SKIP, .seq = ask, .alone = true);
		if (asks_again || told)
			send(.seq = ask, .len = get_len, .data = get, .client_port = port);
		assert_int_equal(
			send(.seq = at, .len = len, .data = head, .reply = true, .client_port = port)->p.sought, told);
	}
}

/* The server has had more than this hook saw, or less than what was asked last. A FIN is nothing to be answered. */
static void seek_not_for_what_was_not_seen(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 100000\r\n\r\n";
	static const int more[] = {0, 1, 2, 30, -1};

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		const uint32_t end = 100 + sizeof(get) - 1;
		const uint16_t port = (uint16_t)(7100 + i);
		struct clv_packet asker = send(.seq = 99, .flags = S, .client_port = port)->p, p;

		p = send(.seq = 499, .flags = S | A, .reply = true, .client_port = port)->p;
		tell(&asker, .kind = CLV_VERDICT_SKIP, .seq = 100, .alone = true);
		tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 500);
		tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 500 + CLV_WINDOW_BYTES, .seek = true);
		send(.seq = 100, .len = sizeof(get) - 1, .data = get, .client_port = port);
		send(.seq = 500, .len = sizeof(head) - 1, .data = head, .reply = true, .client_port = port,
		     .ack = end + (uint32_t)more[i]);
		assert_int_equal(got->p.sought, more[i] == 0 || more[i] == 1);
	}
}

/* One after the other: each body's end lets the next response be read. */
static void seek_again_and_again(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 50000\r\n\r\n";
	uint32_t get_len = sizeof(get) - 1, len = sizeof(head) - 1, ask = 100 + get_len, at = 500;
	struct clv_packet p;

	assert_true(sought(get, head));
	p = got->p;
	for (int n = 0; n < 5; n++, ask += get_len) {
		for (uint32_t i = 0; i < 50000; i += 2500)
			send(.seq = at + len + i, .len = 2500, .reply = true, .client_port = p.dst.port);
		at += len + 50000;
		assert_int_equal(got_count, 1);
		tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = at + CLV_WINDOW_BYTES, .seek = true);
		send(.seq = ask, .len = get_len, .data = get, .client_port = p.dst.port);
		send(.seq = at, .len = len, .data = head, .reply = true, .client_port = p.dst.port);
		assert_true(got->p.sought);
	}
}

/* Who talked is noted from then on when somebody asks: what was before is not known, so the first answer is not sought.
 */
static void seek_not_before_turns_are_noted(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 50000\r\n\r\n";
	uint32_t get_len = sizeof(get) - 1, len = sizeof(head) - 1, ask = 100, at = 500;
	struct clv_packet asker, p;

	asker = send(.seq = 99, .flags = S)->p;
	p = send(.seq = 499, .flags = S | A, .reply = true)->p;
	send(.seq = ask, .len = get_len, .data = get);
	ask += get_len;
	send(.seq = at, .len = 20, .reply = true);
	at += 20;
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = at + CLV_WINDOW_BYTES, .seek = true);
	for (int n = 0; n < 2; n++, ask += get_len, at += len + 50000) {
		tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at);
		tell(&asker, .kind = CLV_VERDICT_SKIP, .seq = ask, .alone = true);
		send(.seq = ask, .len = get_len, .data = get);
		send(.seq = at, .len = len, .data = head, .reply = true);
		assert_int_equal(got->p.sought, n > 0);
		for (uint32_t i = 0; i < 50000; i += 2500)
			send(.seq = at + len + i, .len = 2500, .reply = true);
	}
}

static void seek_only_by_privilege(void **state)
{
	static const char head[] = HEAD_START "Content-Length: 100000\r\n\r\n";

	send(.seq = 100, .len = 16, .data = "GET / HTTP/1.1\r\n");
	send(.seq = 500, .len = sizeof(head) - 1, .data = head, .reply = true);
	assert_false(got->p.sought);
}

static void seek_not_after_a_gap(void **state)
{
	static const char head[] = HEAD_START "Content-Length: 100000\r\n\r\n";
	struct clv_packet p;

	send(.seq = 99, .flags = S);
	p = send(.seq = 499, .flags = S | A, .reply = true)->p;
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = 500 + CLV_WINDOW_BYTES, .seek = true);
	send(.seq = 100, .len = 16, .data = "GET / HTTP/1.1\r\n");
	send(.seq = 600, .len = sizeof(head) - 1, .data = head, .reply = true);
	assert_false(got->p.sought);
	send(.seq = 600 + sizeof(head) - 1, .len = sizeof(head) - 1, .data = head, .reply = true);
	assert_false(got->p.sought); /* the hole is still open */
}

/* What a race of two processors, or a loss, has left behind does not matter once the body is over. */
static void seek_after_a_loss_in_a_body(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 50000\r\n\r\n";
	uint32_t get_len = sizeof(get) - 1, len = sizeof(head) - 1, at = 500 + len + 50000;
	struct clv_packet p;

	assert_true(sought(get, head));
	p = got->p;
	send(.seq = at - 1000, .len = 1000, .reply = true, .client_port = p.dst.port);
	assert_int_equal(got->p.hole_len, 1000);
	tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = at + CLV_WINDOW_BYTES, .seek = true);
	send(.seq = 100 + get_len, .len = get_len, .data = get, .client_port = p.dst.port);
	send(.seq = at, .len = len, .data = head, .reply = true, .client_port = p.dst.port);
	assert_true(got->p.sought);
}

/* A connection's first request and the first packet of its answer, `len` bytes that begin with a head. */
static bool sought_first(const char *request, const char *head, uint32_t len)
{
	static uint16_t port = 5000;
	char data[4000] = {0};

	port++;
	memcpy(data, head, strlen(head));
	send(.seq = 99, .flags = S, .client_port = port);
	send(.seq = 499, .flags = S | A, .reply = true, .client_port = port);
	send(.seq = 100, .len = (uint32_t)strlen(request), .data = request, .client_port = port);
	send(.seq = 500, .len = len, .data = data, .reply = true, .client_port = port);
	return got->p.sought;
}

static void seek_first_answer(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 50000\r\n\r\n";
	const uint32_t len = sizeof(head) - 1;

	assert_false(sought_first(get, head, 3000));
	close_ring();
	open_ring((struct clv_ring_config){.seek_first = true});
	assert_true(sought_first(get, head, 3000));
	assert_int_equal(got->p.len, 3000);
	assert_int_equal(got->p.payload.len, len);
	uint16_t port = got->p.dst.port;
	uint32_t end = 500 + len + 50000;
	for (uint32_t at = 3500; at < end - 10; at += 1000)
		send(.seq = at, .len = end - 10 - at < 1000 ? end - 10 - at : 1000, .reply = true, .client_port = port);
	assert_int_equal(got_count, 0);
	assert_bare(send(.seq = end - 10, .len = 10, .reply = true, .client_port = port), end, 3500, end - 3500);
	/* It was not asked to go on. */
	send(.seq = 100 + sizeof(get) - 1, .len = sizeof(get) - 1, .data = get, .client_port = port);
	send(.seq = end, .len = len, .data = head, .reply = true, .client_port = port);
	assert_false(got->p.sought);

	assert_true(sought_first("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", head, 3000));
	assert_true(sought_first("GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n", head, 3000));
	assert_false(sought_first(get, head, len)); /* too short to be worth a look */
	assert_false(sought_first("HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", head, 3000));
	assert_false(sought_first("CONNECT x:1 HTTP/1.1\r\n\r\n", head, 3000));
	assert_false(sought_first("GE", head, 3000));
	assert_false(sought_first(get, "HTTP/1.1 304 No\r\nContent-Length: 50000\r\n\r\n", 3000));
	assert_false(sought_first(get, HEAD_START "Content-Length: 32768\r\n\r\n", 3000));
}

/* Only where both directions are known from their beginnings, and in the order of the two. */
static void seek_first_answer_alone(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = HEAD_START "Content-Length: 50000\r\n\r\n";
	uint32_t get_len = sizeof(get) - 1;
	char data[3000] = {0};

	close_ring();
	open_ring((struct clv_ring_config){.seek_first = true});
	memcpy(data, head, sizeof(head) - 1);
	send(.seq = 100, .len = get_len, .data = get, .client_port = 1); /* no SYN */
	send(.seq = 500, .len = 3000, .data = data, .reply = true, .client_port = 1);
	assert_false(got->p.sought);

	send(.seq = 99, .flags = S, .client_port = 2);
	send(.seq = 499, .flags = S | A, .reply = true, .client_port = 2);
	send(.seq = 500, .len = 3000, .data = data, .reply = true, .client_port = 2); /* nobody asked */
	assert_false(got->p.sought);

	send(.seq = 99, .flags = S, .client_port = 3);
	send(.seq = 499, .flags = S | A, .reply = true, .client_port = 3);
	send(.seq = 100, .len = get_len, .data = get, .client_port = 3);
	send(.seq = 100 + get_len, .len = get_len, .data = get, .client_port = 3); /* a second packet */
	send(.seq = 500, .len = 3000, .data = data, .reply = true, .client_port = 3);
	assert_false(got->p.sought);

	send(.seq = 99, .flags = S, .client_port = 4);
	send(.seq = 499, .flags = S | A, .reply = true, .client_port = 4);
	send(.seq = 100, .len = get_len, .data = get, .client_port = 4);
	send(.seq = 600, .len = 3000, .data = data, .reply = true, .client_port = 4); /* not its beginning */
	assert_false(got->p.sought);
}

/* ---- datagrams -------------------------------------------------------------------------------------- */

/* One datagram and nothing else: so long, and so much of it. */
static void assert_datagram(const struct got *g, uint32_t len, uint32_t cap)
{
	assert_int_equal(got_count, 1);
	assert_int_equal(g->p.transport, CLV_TRANSPORT_UDP);
	assert_int_equal(g->p.len, len);
	assert_int_equal(g->p.payload.len, cap);
	assert_int_equal(g->p.seq | g->p.ack | g->p.hole_seq | g->p.hole_len | g->p.tcp_flags, 0);
}

static void udp_plain(void **state)
{
	const struct got *g = send(.udp = true, .len = 11, .data = "hello world");

	assert_datagram(g, 11, 11);
	assert_memory_equal(g->data, "hello world", 11);
	assert_int_equal(g->p.src.port, 40000);
	assert_int_equal(g->p.dst.port, 80);
	assert_memory_equal(g->p.src.addr.b, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x4d\x00\x01", 16);
	assert_int_equal(g->p.side, CLV_SIDE_OUT);
	assert_int_equal(g->p.net, IFINDEX);
	assert_true(g->p.kernel.gen != 0);

	struct clv_kernel_ref ref = g->p.kernel;

	g = send(.udp = true, .len = 11, .data = "hello world"); /* there is no such thing as a duplicate */
	assert_datagram(g, 11, 11);
	g = send(.udp = true, .len = 3, .reply = true, .data = "abc");
	assert_datagram(g, 3, 3);
	assert_int_equal(g->p.side, CLV_SIDE_IN);
	assert_int_equal(g->p.kernel.slot, ref.slot);
	assert_int_equal(g->p.kernel.gen, ref.gen);
	assert_int_equal(g->p.kernel.hook, CLV_HOOK_EGRESS);
	g = send(.seq = 1, .len = 4); /* the same endpoints, another flow */
	assert_copied(g, 1, 4);
	assert_int_equal(g->p.transport, CLV_TRANSPORT_TCP);
	assert_true(g->p.kernel.slot != ref.slot || g->p.kernel.gen != ref.gen);
	assert_int_equal(figure("udp"), 3);
}

static void udp_headers(void **state)
{
	static const uint8_t chain[] = {60, 0, 1, 4, 0, 0, 0, 0, /**/ 17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	assert_datagram(send(.udp = true, .len = 9, .vlans = 2), 9, 9);
	assert_datagram(send(.udp = true, .len = 9, .ip_options = 40), 9, 9);
	assert_datagram(send(.udp = true, .len = 2, .padding = 30), 2, 2);
	assert_datagram(send(.udp = true, .len = 9, .v6 = true), 9, 9);
	assert_memory_equal(got->p.src.addr.b, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	assert_datagram(send(.udp = true, .len = 9, .v6 = true, .next = 43, .extensions = chain,
			     .extensions_len = sizeof(chain)),
			9, 9);
	assert_datagram(send(.udp = true, .len = 9, .bare = true), 9, 9);
	assert_datagram(send(.udp = true, .len = 9, .bare = true, .v6 = true, .reply = true), 9, 9);
	send(.udp = true, .len = 0); /* nobody can read anything in it */
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("udp"), 8);
	assert_int_equal(figure("malformed"), 0);
}

static void udp_lengths(void **state)
{
	assert_datagram(send(.udp = true, .len = 20, .udp_length_error = -5), 15, 15); /* bytes behind it are not its */
	assert_datagram(send(.udp = true, .len = 20, .udp_length_error = 7), 27, 20);
	assert_datagram(send(.udp = true, .len = 20, .udp_length_error = -28), 20, 20); /* 0 */
	send(.udp = true, .len = 20, .udp_length_error = -21);                          /* within its header */
	assert_int_equal(got_count, 0);
	send(.udp = true, .len = 20, .length_error = -21); /* the packet ends within it */
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("malformed"), 2);
	close_ring();
	open_ring((struct clv_ring_config){.snaplen = 64});
	assert_datagram(send(.udp = true, .len = 1000), 1000, 64);
}

static void udp_fragments(void **state)
{
	static const uint8_t first6[] = {17, 0, 0, 1, 0, 0, 0, 9}, later6[] = {17, 0, 0, 9, 0, 0, 0, 9};

	assert_datagram(send(.udp = true, .len = 64, .fragment = 0x2000, .udp_length_error = 1000), 1064, 64);
	send(.udp = true, .len = 64, .fragment = 0x2009);
	assert_int_equal(got_count, 0);
	assert_datagram(send(.udp = true, .len = 64, .v6 = true, .next = 44, .extensions = first6, .extensions_len = 8,
			     .udp_length_error = 500),
			564, 64);
	send(.udp = true, .len = 64, .v6 = true, .next = 44, .extensions = later6, .extensions_len = 8);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("fragments"), 2);
}

/* What the stack carries as one (QUIC does that much) comes up as what it is. */
static void udp_in_batches(void **state)
{
	send(.udp = true, .len = 2500, .gso = 1000);
	assert_int_equal(got_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(got[i].p.transport, CLV_TRANSPORT_UDP);
		assert_int_equal(got[i].p.len, i < 2 ? 1000 : 500);
		assert_int_equal(got[i].p.payload.len, got[i].p.len);
		assert_int_equal(got[i].p.seq, 0);
	}
	assert_datagram(send(.udp = true, .len = 1000, .gso = 1000), 1000, 1000);
	close_ring();
	open_ring((struct clv_ring_config){.snaplen = 1200});
	send(.udp = true, .len = 2500, .gso = 1000);
	assert_int_equal(got_count, 3);
	assert_int_equal(got[1].p.payload.len, 200);
	assert_int_equal(got[2].p.payload.len, 0);
	assert_int_equal(got[2].p.len, 500);
}

static void udp_ignored(void **state)
{
	struct clv_packet p = send(.udp = true, .len = 10)->p, q = send(.udp = true, .len = 10, .reply = true)->p;

	tell(&p, .kind = CLV_VERDICT_IGNORE);
	send(.udp = true, .len = 10);
	assert_int_equal(got_count, 0);
	assert_datagram(send(.udp = true, .len = 10, .reply = true), 10, 10); /* the other direction is not meant */
	tell(&q, .kind = CLV_VERDICT_IGNORE);
	send(.udp = true, .len = 10, .reply = true);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("ignored"), 2);
	assert_datagram(send(.udp = true, .len = 10, .client_port = 7), 10, 10);
	assert_copied(send(.seq = 1, .len = 10), 1, 10); /* nor is TCP between the same ports */
}

/* After a long silence it is another flow, whatever was said of the one before. */
static void udp_silent(void **state)
{
	for (int reply = 0; reply < 2; reply++) {
		struct clv_packet p = send(.udp = true, .len = 10)->p,
				  q = send(.udp = true, .len = 10, .reply = true)->p;
		struct clv_packet other = send(.seq = 1, .len = 10)->p;

		tell(&p, .kind = CLV_VERDICT_IGNORE);
		tell(&q, .kind = CLV_VERDICT_IGNORE);
		tell(&other, .kind = CLV_VERDICT_IGNORE);
		age_flows(CLV_DATAGRAM_SILENCE / 2);
		send(.udp = true, .len = 10, .reply = reply);
		assert_int_equal(got_count, 0);
		age_flows(CLV_DATAGRAM_SILENCE / 2); /* one way it spoke in between, which is enough */
		send(.udp = true, .len = 10, .reply = !reply);
		assert_int_equal(got_count, 0);
		age_flows(CLV_DATAGRAM_SILENCE);
		assert_datagram(send(.udp = true, .len = 10, .reply = reply), 10, 10);
		assert_int_not_equal(got->p.kernel.gen, p.kernel.gen);
		assert_datagram(send(.udp = true, .len = 10, .reply = !reply), 10, 10);
		send(.seq = 11, .len = 10); /* a connection ends when it says so */
		assert_int_equal(got_count, 0);
	}
}

static void udp_port_filter(void **state)
{
	static const uint16_t ports[] = {53, 40001};

	close_ring();
	open_ring((struct clv_ring_config){.ports = ports, .port_count = 2});
	send(.udp = true, .len = 10);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("unwanted"), 1);
	assert_datagram(send(.udp = true, .len = 10, .client_port = 40001), 10, 10);
	assert_datagram(send(.udp = true, .len = 10, .client_port = 40001, .reply = true), 10, 10);
}

/* A sender that nobody paces gets so much of the ring in a while, and no more. */
static void udp_is_bounded(void **state)
{
	uint32_t sent = 0, copied = 0;
	uint64_t lost;

	do {
		send(.udp = true, .len = 2000);
		sent += 2000;
		copied += got_count ? 2000 : 0;
		lost = figure("window_bytes");
		assert_true(sent < 100u << 20);
	} while (!lost); /* a period that is fast enough: the others' bytes do not count */
	assert_int_equal(copied + lost, sent);
	assert_true(copied >= CLV_WINDOW_BYTES / 2000 * 2000);
	usleep(200000); /* more than a period at any HZ */
	assert_datagram(send(.udp = true, .len = 2000), 2000, 2000);
	assert_datagram(send(.udp = true, .len = 2000, .client_port = 5), 2000, 2000);
}

/* Datagrams of ever new ports, as resolvers send them, take no connection's place but one. */
static void udp_evictions(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.max_flows = WAYS});
	for (uint16_t i = 1; i < WAYS; i++)
		assert_copied(send(.seq = 1, .len = 5, .client_port = i), 1, 5);
	for (uint16_t i = 1; i <= 50; i++)
		assert_datagram(send(.udp = true, .len = 5, .client_port = i), 5, 5);
	assert_int_equal(figure("flow_evicted"), 0);
	for (uint16_t i = 1; i < WAYS; i++) { /* they are still known */
		send(.seq = 1, .len = 5, .client_port = i);
		assert_int_equal(got_count, 0);
	}
	assert_copied(send(.seq = 1, .len = 5, .client_port = WAYS), 1, 5);
	assert_int_equal(figure("flow_evicted"), 0);
	assert_datagram(send(.udp = true, .len = 5), 5, 5);
	assert_int_equal(figure("flow_evicted"), 1);
}

/* Every bit of the headers wrong: it has to survive. */
static void udp_malformed(void **state)
{
	struct seg good = {.udp = true, .len = 9, .ip_options = 8, .vlans = 1};
	uint8_t frame[4096];
	size_t len = build(frame, &good);

	for (size_t at = 12; at < len - 9; at++) {
		for (int bit = 0; bit < 8; bit++) {
			got_count = 0;
			frame[at] ^= (uint8_t)(1 << bit);
			run_frame(frame, len, CLV_HOOK_INGRESS, false, 0);
			frame[at] ^= (uint8_t)(1 << bit);
		}
	}
	got_count = 0;
	for (size_t cut = 14; cut < len; cut++)
		run_frame(frame, cut, CLV_HOOK_INGRESS, false, 0);
	assert_int_equal(got_count, 0);
	assert_int_equal(figure("bad_records"), 0);
}

/* ---- what a flow has carried ------------------------------------------------------------------------ */

static void open_counting(void)
{
	close_ring();
	open_ring((struct clv_ring_config){.count_flows = true});
}

static void assert_totals(const struct got *g, uint64_t packets, uint64_t bytes)
{
	assert_int_equal(got_count, 1);
	assert_int_equal(g->p.total_packets, packets);
	assert_int_equal(g->p.total_bytes, bytes);
}

static void counts_of_a_connection(void **state)
{
	struct clv_packet p;

	open_counting();
	assert_totals(send(.seq = 99, .flags = S), 1, 40);
	assert_totals(send(.seq = 499, .flags = S | A, .reply = true), 1, 40);
	p = send(.seq = 100, .len = 10, .vlans = 1, .padding = 7)->p; /* Ethernet does not count */
	assert_totals(got, 2, 40 + 50);
	send(.seq = 110); /* pure acknowledgements do, and what is seen again */
	send(.seq = 100, .len = 10, .tcp_options = 12, .ip_options = 4);
	assert_int_equal(got_count, 0);
	assert_totals(send(.seq = 110, .len = 5), 5, 40 + 50 + 40 + 66 + 45);
	tell(&p, .kind = CLV_VERDICT_IGNORE);
	send(.seq = 115, .len = 100);
	assert_int_equal(got_count, 0);
	assert_totals(send(.seq = 215, .flags = F | A), 7, 40 + 50 + 40 + 66 + 45 + 140 + 40);
	assert_totals(send(.seq = 500, .len = 1, .reply = true), 2, 40 + 41);
	assert_totals(send(.seq = 5000, .flags = S), 1, 40); /* the ports again, another connection */
	send(.seq = 5001, .len = 2000, .long_packet = true); /* two segments that the stack carries as one */
	assert_totals(got, 3, 40 + 2000 + 2 * 40);
	send(.seq = 1, .client_port = 9); /* nothing begins with an acknowledgement */
	assert_copied(send(.seq = 1, .len = 1, .client_port = 9), 1, 1);
	assert_int_equal(got->p.total_packets, 1);
}

/* Of a flow that is ignored user space is reminded now and then. */
static void counts_of_what_is_ignored(void **state)
{
	uint64_t packets = 1;
	struct clv_packet p, q;

	open_counting();
	p = send(.udp = true, .len = 10)->p;
	assert_totals(got, 1, 38);
	q = send(.seq = 1, .len = 10)->p;
	tell(&p, .kind = CLV_VERDICT_IGNORE);
	tell(&q, .kind = CLV_VERDICT_IGNORE);
	do {
		usleep(1000);
		send(.udp = true, .len = 10);
		packets++;
	} while (!got_count && packets < 60000);
	assert_datagram(got, 0, 0);
	assert_totals(got, packets, packets * 38);
	send(.seq = 11, .len = 10); /* its time has come as well */
	assert_bare(got, 21, 0, 0);
	assert_totals(got, 2, 100);
	send(.seq = 21, .len = 10);
	assert_true(got_count == 0 || got->p.total_packets == 3);
}

static void counts_not_unless_asked(void **state)
{
	send(.seq = 1, .len = 10);
	assert_totals(got, 0, 0);
}

/* ---- frames that the kernel walks over --------------------------------------------------------------- */

/* As HTTP/2's: three bytes of length, type, flags, stream. Of type 0 ten bytes are read, of others all. */
static const struct clv_framing frames_h2 = {
	.header_bytes = 9,
	.length_bytes = 3,
	.length_adds = 9,
	.type_at = 3,
	.keep_bytes = 10,
	.whole = {~1u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u},
};
/* As PostgreSQL's: type, then four bytes of length, which count themselves. Of 'D' the count of columns is read. */
static const struct clv_framing frames_pg = {
	.header_bytes = 5,
	.length_at = 1,
	.length_bytes = 4,
	.length_adds = 1,
	.keep_bytes = 7,
	.whole = {~0u, ~0u, ~(1u << ('D' - 64)), ~0u, ~0u, ~0u, ~0u, ~0u},
};
/* As MySQL's: three bytes of length, the other way round. */
static const struct clv_framing frames_my = {
	.header_bytes = 4,
	.length_bytes = 3,
	.little_endian = true,
	.length_adds = 4,
	.type_at = 3,
	.keep_bytes = 5,
};

static uint8_t *put_frame(uint8_t *p, uint8_t type, uint32_t len)
{
	*p++ = (uint8_t)(len >> 16);
	p = put32(put16(p, len & 0xffff), (uint32_t)type << 24 | 0xaabb);
	return fill(put(p, "\0\x01", 2), 'p', len);
}

/* A connection whose frames begin at 100. */
static struct clv_packet start_walk(const struct clv_framing *f)
{
	struct clv_packet p = start();

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 100, .framing = f);
	return p;
}

/* The i-th packet that came: so many bytes at `seq`, all of them there, behind a hole of `hole` bytes. */
static void assert_piece(size_t i, uint32_t seq, uint32_t len, uint32_t hole)
{
	const struct clv_packet *p = &got[i].p;

	assert_true(i < got_count);
	assert_int_equal(p->seq, seq);
	assert_int_equal(p->len, len);
	assert_int_equal(p->payload.len, len);
	assert_int_equal(p->hole_len, hole);
	if (hole)
		assert_int_equal(p->hole_seq, seq - hole);
	assert_true(p->walked);
}

static void walk_keeps_headers(void **state)
{
	uint8_t b[8192], *at = b;
	uint32_t len;

	start_walk(&frames_h2);
	at = put_frame(put_frame(put_frame(at, 1, 50), 0, 1000), 0, 1000);
	len = (uint32_t)(at - b);
	send(.seq = 100, .len = len - 300, .data = b);
	assert_int_equal(got_count, 2);
	assert_piece(0, 100, 59 + 10, 0);
	assert_memory_equal(got[0].data, b, 69);
	assert_piece(1, 100 + 59 + 1009, 10, 999);
	assert_memory_equal(got[1].data, b + 59 + 1009, 10);
	assert_int_equal(figure("records"), 2); /* the SYN's, and one of both pieces */
	assert_int_equal(figure("walked"), 3);
	assert_int_equal(figure("skipped_bytes"), 999 + 699);

	send(.seq = 100 + len - 300, .len = 300, .data = b + len - 300); /* the end of a frame has a time */
	assert_bare(got, 100 + len, 100 + len - 999, 999);
	assert_true(got->p.walked);
	at = put_frame(put_frame(b, 0, 500), 4, 12);
	send(.seq = 100 + len, .len = (uint32_t)(at - b), .data = b, .flags = F | A);
	assert_int_equal(got_count, 2);
	assert_piece(0, 100 + len, 10, 0);
	assert_piece(1, 100 + len + 509, 21, 499);
	assert_int_equal(got[0].p.tcp_flags, A);
	assert_int_equal(got[1].p.tcp_flags, F | A);
}

static void walk_fin_behind_a_hole(void **state)
{
	uint8_t b[4096];

	start_walk(&frames_h2);
	put_frame(b, 0, 2000);
	send(.seq = 100, .len = 1000, .data = b, .flags = F | A);
	assert_int_equal(got_count, 2);
	assert_piece(0, 100, 10, 0);
	assert_int_equal(got[0].p.tcp_flags, A);
	assert_int_equal(got[1].p.seq, 1100);
	assert_int_equal(got[1].p.hole_len, 990);
	assert_int_equal(got[1].p.tcp_flags, F | A);
}

static void walk_not_when_interrupting(void **state)
{
	struct clv_packet p = start_walk(&frames_h2);
	uint8_t b[4096];

	put_frame(b, 0, 2000);
	scratch_fill("walk_state", 0xff);
	assert_copied(send(.seq = 100, .len = 1000, .data = b), 100, 1000);
	assert_memory_equal(got[0].data, b, 1000);
	scratch_fill("walk_state", 0);
	assert_copied(send(.seq = 1100, .len = 1009, .data = b + 1000), 1100, 1009);
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 2109, .framing = &frames_h2); /* user space begins anew */
	send(.seq = 2109, .len = 1000, .data = b);
	assert_piece(0, 2109, 10, 0);
}

/* Wherever the packets are cut, within a header too. */
static void walk_over_packet_borders(void **state)
{
	uint8_t b[4096];
	uint32_t len = (uint32_t)(put_frame(put_frame(put_frame(b, 0, 700), 0, 600), 1, 20) - b);

	for (uint32_t cut = 1; cut < 740; cut++) {
		uint16_t port = (uint16_t)(1 + cut);
		struct clv_packet p = send(.seq = 99, .flags = S, .client_port = port)->p;
		uint32_t copied = 0, holes = 0, from = 0;

		tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 100, .framing = &frames_h2);
		for (uint32_t to = cut; from<len; from = to, to = cut> 300 || to > 25 ? len : to + cut) {
			send(.seq = 100 + from, .len = to - from, .data = b + from, .client_port = port);
			for (size_t i = 0; i < got_count; i++) {
				assert_memory_equal(got[i].data, b + got[i].p.seq - 100, got[i].p.payload.len);
				assert_int_equal(got[i].p.payload.len, got[i].p.len);
				assert_true(got[i].p.walked);
				copied += got[i].p.len;
				holes += got[i].p.hole_len;
			}
		}
		if (copied != 10 + 10 + 29 || holes != 699 + 599)
			fail_msg("cut at %u: %u copied, %u left out", cut, copied, holes);
	}
}

static void walk_other_shapes(void **state)
{
	uint8_t b[4096] = {0}, *at = b;
	struct clv_packet p = start_walk(&frames_pg);

	at = put32(put(at, "D", 1), 1000);
	b[1000] = 7;
	put32(put(b + 1001, "C", 1), 14);
	send(.seq = 100, .len = 1016, .data = b);
	assert_int_equal(got_count, 2);
	assert_piece(0, 100, 7, 0);
	assert_piece(1, 1101, 15, 994);

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 1116, .framing = &frames_my);
	put(b, "\xf4\x01\0\0", 4);
	put(b + 504, "\x01\0\0\0", 4);
	send(.seq = 1116, .len = 509, .data = b);
	assert_int_equal(got_count, 2);
	assert_piece(0, 1116, 5, 0);
	assert_piece(1, 1620, 5, 499);
}

/* A grant counts at its place only, and not after user space took it back. */
static void walk_begins_and_ends(void **state)
{
	uint8_t b[4096];
	struct clv_packet p = start();
	uint32_t len = (uint32_t)(put_frame(b, 0, 1000) - b), at = 100;

	assert_copied(send(.seq = at, .len = len, .data = b), at, len);
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at, .framing = &frames_h2); /* passed */
	at += len;
	assert_copied(send(.seq = at, .len = len, .data = b), at, len);
	assert_false(got->p.walked);
	at += len;
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at + 100, .framing = &frames_h2); /* behind what is being skipped */
	send(.seq = at, .len = 50);
	assert_int_equal(got_count, 0);
	send(.seq = at + 50, .len = 50);
	assert_bare(got, at + 100, at, 100);
	at += 100;
	send(.seq = at, .len = len, .data = b);
	assert_int_equal(got_count, 2);
	assert_piece(0, at, 10, 0);
	at += len;
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at - 5); /* withdrawn */
	assert_copied(send(.seq = at, .len = len, .data = b), at, len);
	assert_false(got->p.walked);
	at += len;

	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at, .framing = &frames_h2);
	send(.seq = at, .len = 500, .data = b);
	assert_piece(0, at, 10, 0);
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at + 600, .framing = &frames_h2); /* user space knows better */
	send(.seq = at + 500, .len = 100);
	assert_bare(got, at + 600, at + 10, 590);
	send(.seq = at + 600, .len = len, .data = b);
	assert_int_equal(got_count, 2);
	assert_piece(0, at + 600, 10, 0);
}

/* What is too long for a piece, or more than there is room for: from there on the packet is copied, the walk goes on.
 */
static void walk_copies_long_pieces(void **state)
{
	uint8_t b[4096];
	uint32_t len = (uint32_t)(put_frame(put_frame(put_frame(put_frame(b, 0, 300), 1, 1100), 0, 300), 0, 900) - b);

	start_walk(&frames_h2);
	send(.seq = 100, .len = len - 600, .data = b);
	assert_int_equal(got_count, 2);
	assert_piece(0, 100, 10, 0);
	assert_piece(1, 100 + 309, len - 600 - 309, 299);
	assert_memory_equal(got[1].data, b + 309, len - 600 - 309);
	send(.seq = 100 + len - 600, .len = 600);
	assert_bare(got, 100 + len, 100 + len - 600, 600);
	assert_true(got->p.walked);
	put_frame(b, 1, 1600);
	send(.seq = 100 + len, .len = 1609, .data = b); /* alone, it needs no piece */
	assert_int_equal(got_count, 1);
	assert_piece(0, 100 + len, 1609, 0);
}

static void walk_copies_what_is_short(void **state)
{
	uint8_t b[4096], *at = b;
	uint32_t len;

	start_walk(&frames_h2);
	for (int i = 0; i < 20; i++)
		at = put_frame(at, 0, 100);
	len = (uint32_t)(at - b);
	send(.seq = 100, .len = len, .data = b);
	assert_int_equal(got_count, 1);
	assert_piece(0, 100, len, 0);
	for (at = b; at < b + 1000;) /* more of them in a packet than it looks at */
		at = put_frame(at, 0, 1);
	send(.seq = 100 + len, .len = 1000, .data = b);
	assert_copied(got, 100 + len, 1000);
	assert_false(got->p.walked);
}

static void walk_ends_where_it_cannot_go_on(void **state)
{
	uint8_t b[4096];
	uint32_t len = (uint32_t)(put_frame(b, 0, 1000) - b);
	struct clv_packet p;

	start_walk(&frames_h2);
	send(.seq = 100, .len = 500, .data = b);
	send(.seq = 700, .len = 100); /* after a gap */
	assert_copied(behind_earlier(600, 490), 700, 100);
	assert_false(got->p.walked);
	assert_copied(send(.seq = 600, .len = 100), 600, 100);

	p = send(.seq = 99, .flags = S, .client_port = 2)->p;
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 100, .framing = &frames_pg);
	fill(b, 0, 20); /* a length that is shorter than itself */
	send(.seq = 100, .len = len, .data = b, .client_port = 2);
	assert_copied(got, 100, len);
	assert_false(got->p.walked);

	p = send(.seq = 99, .flags = S, .client_port = 3)->p;
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 100, .framing = &frames_pg);
	fill(b, 0xff, 20); /* one beyond all that is believed */
	send(.seq = 100, .len = len, .data = b, .client_port = 3);
	assert_copied(got, 100, len);

	/* Seen again, in part: it goes on. */
	put_frame(put_frame(b, 0, 1000), 0, 500);
	p = send(.seq = 99, .flags = S, .client_port = 4)->p;
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = 100, .framing = &frames_h2);
	send(.seq = 100, .len = 700, .data = b, .client_port = 4);
	send(.seq = 100, .len = 700, .data = b, .client_port = 4);
	assert_int_equal(got_count, 0);
	send(.seq = 600, .len = 1018, .data = b + 500, .client_port = 4);
	assert_int_equal(got_count, 2);
	assert_piece(0, 1109, 10, 999);
	assert_int_equal(got[0].p.retransmits, 1);
	assert_bare_after(1, 1618, 499);
}

static void walk_bad_shapes(void **state)
{
	struct clv_framing bad[] = {frames_h2, frames_h2, frames_h2, frames_h2, frames_h2};
	uint8_t b[4096];
	uint32_t len = (uint32_t)(put_frame(b, 0, 1000) - b), at = 100;
	struct clv_packet p = start();

	bad[0].header_bytes = 17;
	bad[1].length_bytes = 5;
	bad[2].length_at = 7;
	bad[3].type_at = 9;
	bad[4].keep_bytes = 8;
	for (size_t i = 0; i < LEN(bad); i++, at += len) {
		tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at, .framing = &bad[i]);
		assert_copied(send(.seq = at, .len = len, .data = b), at, len);
	}
	for (uint16_t i = 0; i < 2 * CLV_SHAPES; i++, at += len) { /* more than there is room for */
		struct clv_framing f = frames_h2;

		f.keep_bytes = (uint16_t)(10 + i);
		tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at, .framing = &f);
		send(.seq = at, .len = len, .data = b);
		assert_int_equal(got->p.payload.len, i < CLV_SHAPES - 1 ? 10u + i : len);
	}
	tell(&p, .kind = CLV_VERDICT_SKIP, .seq = at, .framing = &frames_h2); /* the known ones are still known */
	send(.seq = at, .len = len, .data = b);
	assert_int_equal(got->p.payload.len, 10);
}

/* However much passes that nobody reads, the window of what is read stays open; and it does close. */
static void walk_and_window(void **state)
{
	uint8_t b[4096];
	uint32_t len = (uint32_t)(put_frame(b, 0, 3000) - b), at = 100, i;

	start_walk(&frames_h2);
	for (i = 0; i < 3000; i++, at += len) { /* user space says nothing */
		send(.seq = at, .len = len, .data = b);
		assert_piece(0, at, 10, 0);
	}
	assert_int_equal(figure("window_bytes"), 0);
	put_frame(b, 1, 3000);
	for (i = 0; i < 100 && got->p.walked; i++, at += len)
		send(.seq = at, .len = len, .data = b);
	assert_in_range(i, 10, CLV_WINDOW_BYTES / len + 2);
	assert_true(figure("window_bytes") > 0);
}

static void walk_loses_a_record(void **state)
{
	uint8_t b[4096], frame[4096];
	uint32_t len = (uint32_t)(put_frame(put_frame(b, 0, 1000), 0, 1000) - b), at = 100;

	close_ring();
	open_ring((struct clv_ring_config){.ring_bytes = 4096});
	start_walk(&frames_h2);
	for (int i = 0; i < 25; i++, at += len) { /* nobody reads */
		struct seg s = {.seq = at, .len = len, .data = b};
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)build(frame, &s));

		assert_int_equal(
			bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &opts), 0);
	}
	assert_true(figure("ring_full") > 0);
	got_count = 0;
	drain();
	assert_true(got_count > 4 && got[0].p.walked);
	send(.seq = at, .len = 300, .data = b); /* something is missing: it is not trusted any more */
	assert_copied(behind_earlier(got->p.seq, got->p.hole_len), at, 300);
	assert_false(got->p.walked);
}

/* ---- the truth rule ---------------------------------------------------------------------------------- */

/*
 * Random segments of one stream, reordered, repeated, overlapping, lost and sent again, under random verdicts. A
 * byte may be left out only if at some time when a segment brought it, it was to be skipped or beyond the window.
 * Each byte must come as a copy or be reported as left out.
 */
#define STREAM 120000u

struct model {
	uint32_t isn;
	uint8_t stream[STREAM], may_leave[STREAM], offered[STREAM];
	uint16_t copied[STREAM], holes[STREAM];
	uint32_t skip, window; /* offsets in the stream; skip 0: none */
	uint32_t next;
};

static struct model m;
static uint32_t rng;

static uint32_t random_below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng % n;
}

static void model_collect(void)
{
	for (size_t i = 0; i < got_count; i++) {
		const struct clv_packet *p = &got[i].p;
		uint32_t at = p->seq - m.isn - 1;

		if (p->tcp_flags & S)
			continue;
		for (uint32_t k = 0; k < p->len; k++) {
			assert_true(at + k < STREAM);
			if (k < p->payload.len) {
				assert_int_equal(p->payload.data[k], m.stream[at + k]);
				m.copied[at + k]++;
			} else {
				m.holes[at + k]++;
			}
		}
		for (uint32_t k = 0; k < p->hole_len; k++) {
			uint32_t hole = p->hole_seq - m.isn - 1 + k;

			assert_true(hole < STREAM);
			m.holes[hole]++;
		}
	}
}

static void model_send(uint32_t at, uint32_t len, uint8_t flags)
{
	for (uint32_t k = at; k < at + len; k++) {
		m.offered[k] = 1;
		if (k < m.skip || k >= m.window)
			m.may_leave[k] = 1;
	}
	if (at + len > m.next)
		m.next = at + len;
	if (m.skip && at >= m.skip)
		m.skip = 0; /* once passed it is spent */
	send_seg((struct seg){.seq = m.isn + 1 + at, .len = len, .data = m.stream + at, .flags = flags});
	model_collect();
}

static void model_verdict(const struct clv_packet *p)
{
	switch (random_below(3)) {
	case 0:
		m.skip = m.next + random_below(6000);
		tell(p, .kind = CLV_VERDICT_SKIP, .seq = m.isn + 1 + m.skip);
		break;
	case 1:
		m.window = m.next + random_below(4000);
		tell(p, .kind = CLV_VERDICT_WINDOW, .seq = m.isn + 1 + m.window);
		break;
	default:
		m.window = m.next + CLV_WINDOW_BYTES;
		tell(p, .kind = CLV_VERDICT_WINDOW, .seq = m.isn + 1 + m.window);
	}
}

static void truth_told(uint32_t seed, bool once)
{
	for (uint32_t i = 0; i < STREAM; i++) {
		if (!m.copied[i] && !m.may_leave[i])
			fail_msg("seed %u: byte %u was not copied and could not be left out", seed, i);
		if (!m.copied[i] && !m.holes[i])
			fail_msg("seed %u: byte %u was left out in silence", seed, i);
		if (once && m.copied[i] + m.holes[i] != 1)
			fail_msg("seed %u: byte %u told %u times", seed, i, m.copied[i] + m.holes[i]);
	}
}

static void truth_run(uint32_t seed, unsigned disorder, bool verdicts)
{
	uint32_t at = 0, held_at[8], held_len[8], held = 0;

	memset(&m, 0, sizeof(m));
	rng = seed * 2654435761u + 1;
	m.isn = seed % 2 ? 0u - random_below(STREAM) : random_below(UINT32_MAX);
	m.window = CLV_WINDOW_BYTES;
	for (uint32_t i = 0; i < STREAM; i++)
		m.stream[i] = (uint8_t)random_below(256);

	struct clv_packet p = send(.seq = m.isn, .flags = S)->p;

	while (at < STREAM || held) {
		uint32_t len = 1 + random_below(random_below(4) ? 1400 : 40);

		if (!verdicts && at + CLV_WINDOW_BYTES / 2 > m.window) {
			m.window = at + CLV_WINDOW_BYTES;
			tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = m.isn + 1 + m.window);
		} else if (verdicts && !random_below(12)) {
			model_verdict(&p);
		}
		if (held && (held == LEN(held_at) || at >= STREAM || !random_below(4))) {
			uint32_t i = random_below(held); /* what was lost or late comes now, maybe with more */

			model_send(held_at[i], held_len[i], A);
			held_at[i] = held_at[--held];
			held_len[i] = held_len[held];
			continue;
		}
		if (at >= STREAM)
			continue;
		if (len > STREAM - at)
			len = STREAM - at;
		if (random_below(100) < disorder) {
			held_at[held] = at;
			held_len[held++] = len;
		} else {
			uint32_t from = random_below(20) ? at : at - random_below(at < 500 ? at + 1 : 500);

			model_send(from, at + len - from, A);
			if (!random_below(15))
				model_send(from, at + len - from, A);
		}
		at += len;
	}
	send(.seq = m.isn + 1 + STREAM, .flags = F | A);
	model_collect();
	truth_told(seed, !disorder);
}

static void truth_in_order(void **state)
{
	for (uint32_t seed = 1; seed <= 20; seed++)
		truth_run(seed, 0, seed % 2);
}

static void truth_in_disorder(void **state)
{
	for (uint32_t seed = 100; seed < 160; seed++)
		truth_run(seed, 2 + seed % 30, seed % 3 != 0);
}

/*
 * The same for frames of any length, cut anywhere, under grants that come in time or too late, or are taken back: what
 * is left out is data that nobody reads.
 */
static void model_frames(uint32_t *begins, size_t room)
{
	uint32_t at = 0, count = 0;

	while (count + 1 < room) {
		uint32_t len = random_below(3) ? random_below(3000) : random_below(40);
		bool data = random_below(3);

		if (at + 9 + len > STREAM)
			break;
		begins[count++] = at;
		put_frame(m.stream + at, !data, len);
		for (uint32_t i = 0; i < len; i++)
			m.stream[at + 9 + i] = (uint8_t)random_below(256);
		for (uint32_t i = 10; data && i < 9 + len; i++)
			m.may_leave[at + i] = 1;
		at += 9 + len;
	}
	memset(m.stream + at, 0xff, STREAM - at); /* what is there of one more */
	begins[count] = STREAM;
}

/* Where the next frame at or behind `at` begins, if nobody reads what is before it; else STREAM. */
static uint32_t model_boundary(const uint32_t *begins, uint32_t at)
{
	size_t i = 0;

	while (begins[i] < at)
		i++;
	for (uint32_t k = at; k < begins[i]; k++)
		if (!m.may_leave[k])
			return STREAM;
	return begins[i];
}

static void model_grant(const struct clv_packet *p, const uint32_t *begins)
{
	uint32_t lag = random_below(3) ? 0 : random_below(2000), from = m.next > lag ? m.next - lag : 0;
	uint32_t boundary = from < STREAM ? model_boundary(begins, from) : STREAM;

	if (boundary < STREAM)
		tell(p, .kind = CLV_VERDICT_SKIP, .seq = m.isn + 1 + boundary, .framing = &frames_h2);
}

static void truth_walk(uint32_t seed, unsigned disorder)
{
	static uint32_t begins[STREAM / 9 + 2];
	uint32_t at = 0, late_at = 0, late_len = 0;

	memset(&m, 0, sizeof(m));
	rng = seed * 2654435761u + 1;
	m.isn = seed % 2 ? 0u - random_below(STREAM) : random_below(UINT32_MAX);
	m.window = UINT32_MAX;
	model_frames(begins, LEN(begins));

	struct clv_packet p = send(.seq = m.isn, .flags = S)->p;

	while (at < STREAM) {
		uint32_t len = 1 + random_below(random_below(4) ? 2900 : 40);
		uint32_t from = random_below(20) ? at : at - random_below(at < 100 ? at + 1 : 100);

		tell(&p, .kind = CLV_VERDICT_WINDOW, .seq = m.isn + 1 + m.next + CLV_WINDOW_BYTES);
		if (!random_below(3) && !late_len) /* user space is no further than its first hole */
			model_grant(&p, begins);
		else if (!random_below(40))
			tell(&p, .kind = CLV_VERDICT_SKIP, .seq = m.isn + 1 + (late_len ? late_at : m.next));
		if (late_len && !random_below(4)) {
			model_send(late_at, late_len, A);
			late_len = 0;
		}
		len = len > STREAM - at ? STREAM - at : len;
		if (!late_len && random_below(100) < disorder) {
			late_at = at;
			late_len = len;
		} else if (at + len - from < 3000) {
			model_send(from, at + len - from, A);
		} else {
			model_send(at, len, A);
		}
		at += len;
	}
	if (late_len)
		model_send(late_at, late_len, A);
	send(.seq = m.isn + 1 + STREAM, .flags = F | A);
	model_collect();
	truth_told(seed, !disorder);
}

static void truth_walking(void **state)
{
	for (uint32_t seed = 1; seed <= 90; seed++)
		truth_walk(seed, seed % 3 ? 0 : 1 + seed % 20);
	assert_true(figure("walked") > 1000);
	assert_true(figure("skipped_bytes") > 60u * STREAM / 3);
}

/* ---- round trips ------------------------------------------------------------------------------------ */

static void open_measuring(void)
{
	close_ring();
	open_ring((struct clv_ring_config){.measure = true});
}

static void rtt_packs(void **state)
{
	for (uint32_t us = 1; us < 134000000; us += 1 + us / 100) {
		uint32_t back = clv_rtt_unpack(clv_rtt_pack(us));

		assert_true(back <= us && us - back <= us / 2048);
	}
	assert_int_equal(clv_rtt_pack(0), 0);
	assert_int_equal(clv_rtt_unpack(clv_rtt_pack(UINT32_MAX)), 0xfffu << 15);
}

/* Data, a segment that only acknowledges them and that nobody else sees, and the sample rides on the next data. */
static void rtt_by_pure_ack(void **state)
{
	open_measuring();
	assert_int_equal(send(.seq = 1000, .len = 10)->p.rtt_ns, 0);
	usleep(2000);
	send(.seq = 5, .ack = 1009, .reply = true); /* not all of it */
	assert_int_equal(send(.seq = 1010, .len = 10)->p.rtt_ns, 0);
	send(.seq = 5, .ack = 1010, .reply = true);
	assert_int_equal(got_count, 0);
	const struct got *g = send(.seq = 1020, .len = 10);
	assert_true(g->p.rtt_ns >= 2000000 && g->p.rtt_ns < 60000000000);
	assert_int_equal(send(.seq = 1030, .len = 10)->p.rtt_ns, 0); /* told once */
	send(.seq = 5, .ack = 1040, .reply = true);
	assert_true(send(.seq = 1040, .len = 10)->p.rtt_ns >
		    0); /* of 1030: 1020 carried a sample, so it was not timed */
}

static void rtt_by_data_and_handshake(void **state)
{
	open_measuring();
	send(.seq = 99, .flags = S);
	send(.seq = 499, .ack = 100, .flags = S | A, .reply = true);
	assert_true(send(.seq = 100, .ack = 500, .len = 10)->p.rtt_ns > 0);
	const struct got *g = send(.seq = 500, .ack = 110, .len = 10, .reply = true);
	assert_true(g->p.rtt_ns > 0); /* of its SYN-ACK, by the client's data */
	g = send(.seq = 110, .ack = 510, .flags = F | A);
	assert_int_equal(got_count, 1);
	assert_int_equal(g->p.rtt_ns, 0); /* the first data carried a sample, so they were not timed */
}

static void rtt_not_of_what_is_sent_again(void **state)
{
	open_measuring();
	send(.seq = 1000, .len = 10);
	send(.seq = 1000, .len = 10);
	send(.seq = 5, .ack = 1010, .reply = true);
	assert_int_equal(send(.seq = 1010, .len = 10)->p.rtt_ns, 0);
	send(.seq = 1030, .len = 10);
	send(.seq = 1020, .len = 10); /* fills the gap */
	send(.seq = 5, .ack = 1040, .reply = true);
	assert_int_equal(send(.seq = 1040, .len = 10)->p.rtt_ns, 0);
}

static void rtt_not_unless_asked(void **state)
{
	send(.seq = 1000, .len = 10);
	send(.seq = 5, .ack = 1010, .reply = true);
	assert_int_equal(send(.seq = 1010, .len = 10)->p.rtt_ns, 0);
	assert_int_equal(figure("pure_acks"), 1);
}

/* A connection that nobody reads: how much passed is told with its end. */
static void ignored_bytes_are_counted(void **state)
{
	open_measuring();
	struct clv_packet p = send(.seq = 1000, .len = 10)->p;

	tell(&p, .kind = CLV_VERDICT_IGNORE);
	send(.seq = 1010, .len = 100);
	send(.seq = 1110, .len = 100);
	send(.seq = 1010, .len = 100);
	assert_int_equal(got_count, 0);
	const struct got *g = send(.seq = 1210, .len = 5, .flags = F | A);
	assert_bare(g, 1215, 1010, 205);
	assert_int_equal(g->p.retransmits, 1);
	assert_int_equal(figure("ignored"), 4);
}

/* ---- the ring buffer ---------------------------------------------------------------------------------- */

/* Records of all sizes, wherever they come to lie: also across the end, where the ring's beginning follows. */
static void ring_goes_round(void **state)
{
	enum { RING = 128 << 10 };
	uint8_t data[3000];
	uint64_t before;

	close_ring();
	open_ring((struct clv_ring_config){.ring_bytes = RING});
	before = figure("record_bytes");
	for (uint32_t i = 0, seq = 1; figure("record_bytes") - before < 5 * RING; i++) {
		uint32_t len = 1 + i * 37 % (uint32_t)sizeof(data);

		memset(data, (int)('a' + i % 26), len);
		data[len - 1] = '.';
		assert_copied(send(.seq = seq, .len = len, .data = data), seq, len);
		assert_memory_equal(got->data, data, len);
		seq += len;
		tell(&got->p, .kind = CLV_VERDICT_WINDOW, .seq = seq + CLV_WINDOW_BYTES);
	}
	assert_int_equal(figure("ring_full"), 0);
	assert_int_equal(figure("bad_records"), 0);
}

/* What is read is given back at the end of a drain, however little it is. */
static void ring_is_given_back(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.ring_bytes = 4096});
	for (uint32_t i = 0; i < 30; i++)
		assert_copied(send(.seq = 1 + i * 2000, .len = 2000), 1 + i * 2000, 2000);
	assert_int_equal(figure("ring_full"), 0);
}

/* ---- several workers --------------------------------------------------------------------------------- */

#define WORKERS 4

/* Runs one packet. Whose is it? One worker's, and nobody else's. */
static uint32_t worker_of(struct seg s, enum clv_hook hook)
{
	uint8_t frame[4096];
	uint32_t worker = WORKERS;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)build(frame, &s));

	assert_int_equal(bpf_prog_test_run_opts(clv_ring_prog_fd(ring, hook, CLV_LAYER_ETHERNET), &opts), 0);
	got_count = 0;
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct clv_source *source = clv_ring_source(ring, i);
		size_t before = got_count;

		assert_true(source->ops->poll(source, on_packet, NULL, 0) >= 0);
		if (got_count != before)
			worker = i;
	}
	assert_int_equal(got_count, 1);
	return worker;
}

/* Both directions, also where what goes in here comes out: at the other end of a cable. */
static uint32_t worker_of_connection(uint16_t port, bool udp, bool v6)
{
	uint32_t worker = WORKERS;

	for (int i = 0; i < 4; i++) {
		struct seg s = {.seq = 1, .len = 10, .client_port = port, .udp = udp, .v6 = v6, .reply = i & 1};
		uint32_t now = worker_of(s, i == 0 || i == 3 ? CLV_HOOK_INGRESS : CLV_HOOK_EGRESS);

		if (i > 0)
			assert_int_equal(now, worker);
		worker = now;
	}
	return worker;
}

static void workers_have_connections(void **state)
{
	uint32_t count[WORKERS] = {0}, apart = 0;

	close_ring();
	open_ring((struct clv_ring_config){.workers = WORKERS, .max_flows = 4096});
	for (uint16_t port = 1000; port < 1200; port++) {
		uint32_t tcp = worker_of_connection(port, false, port & 1);

		count[tcp]++;
		apart += tcp != worker_of_connection(port, true, port & 1);
	}
	assert_int_equal(figure("records"), 200 * 2 * 4);
	assert_int_equal(figure("ring_full"), 0);
	for (uint32_t i = 0; i < WORKERS; i++) /* in turns, over IPv4, whose ports are even here, and over IPv6 */
		assert_int_equal(count[i], 200 / WORKERS);
	assert_in_range(apart, 75, 200);
}

/* Without reading anything. */
static void run_only(struct seg s)
{
	uint8_t frame[4096];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)build(frame, &s));

	assert_int_equal(bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET), &opts),
			 0);
}

/* One that is full leaves the others alone. */
static void workers_have_rings(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.workers = WORKERS, .ring_bytes = WORKERS * 8192});
	uint32_t full = worker_of((struct seg){.seq = 1, .len = 10, .client_port = 1}, CLV_HOOK_INGRESS);
	uint16_t other = 2;

	while (worker_of((struct seg){.seq = 1, .len = 10, .client_port = other}, CLV_HOOK_INGRESS) == full)
		other++;
	for (uint32_t i = 0; i < 100 && !figure("ring_full"); i++)
		run_only((struct seg){.seq = 11 + i * 1000, .len = 1000, .client_port = 1});
	assert_int_equal(figure("ring_full"), 1);
	run_only((struct seg){.seq = 11, .len = 1000, .client_port = other});
	assert_int_equal(figure("ring_full"), 1);
}

/* Each of those of its own. */
static void workers_tell_verdicts(void **state)
{
	close_ring();
	open_ring((struct clv_ring_config){.workers = WORKERS});
	for (uint16_t port = 1; port <= 20; port++) {
		struct seg s = {.seq = 1, .len = 10, .client_port = port};
		struct clv_source *source = clv_ring_source(ring, worker_of(s, CLV_HOOK_INGRESS));
		struct clv_kverdict v = {.kind = CLV_VERDICT_IGNORE};

		source->ops->verdict(source, &got->p.kernel, &v);
		s.seq = 11;
		run_only(s);
		assert_int_equal(figure("ignored"), port);
	}
}

static void workers_too_many(void **state)
{
	struct clv_ring_config c = {.workers = CLV_RING_WORKERS + 1};
	struct clv_ring *none = NULL;

	assert_int_equal(clv_ring_open(&c, &none), -EINVAL);
	assert_null(none);
}

/* One argument: only tests that match, as in 'udp_*'. */
int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(plain_segment),
		T(host_view),
		T(ethernet_padding),
		T(vlan_tags),
		T(ip_and_tcp_options),
		T(fragments),
		T(ipv6),
		T(ipv6_extensions),
		T(bare_packets),
		T(lengths_of_zero),
		T(malformed),
		T(other_traffic),
		T(handshake_and_end),
		T(syn_with_data),
		T(repeated_syn),
		T(port_reuse),
		T(stray_endings),
		T(eviction),
		T(many_flows),
		T(duplicates),
		T(reordering),
		T(many_holes),
		T(joined_midstream),
		T(wrap_around),
		T(absurd_jump),
		T(window),
		T(default_window),
		T(left_out_when),
		T(window_with_spare),
		T(stale_window),
		T(skipping),
		T(skip_with_reordering),
		T(skip_with_losses),
		T(skip_ends_with_losses),
		T(skip_with_many_losses),
		T(skip_progress),
		T(reset_reports_what_was_left_out),
		T(ignore),
		T(probe_mode),
		T(snaplen_cuts),
		T(port_filter),
		T(port_filter_counts),
		T(port_filter_lease),
		T(rings_of_cpus),
		T(full_ring),
		T(lease),
		T(idle_reader_is_woken),
		T(seek_finds),
		T(seek_finds_with_body),
		T(seek_not_when_interrupting),
		T(seek_leaves_alone),
		T(seek_not_when_pipelined),
		T(seek_not_while_another_waits),
		T(seek_not_for_what_was_not_seen),
		T(seek_again_and_again),
		T(seek_not_before_turns_are_noted),
		T(seek_only_by_privilege),
		T(seek_not_after_a_gap),
		T(seek_after_a_loss_in_a_body),
		T(seek_first_answer),
		T(seek_first_answer_alone),
		T(counts_of_a_connection),
		T(counts_of_what_is_ignored),
		T(counts_not_unless_asked),
		T(walk_keeps_headers),
		T(walk_fin_behind_a_hole),
		T(walk_not_when_interrupting),
		T(walk_over_packet_borders),
		T(walk_other_shapes),
		T(walk_begins_and_ends),
		T(walk_copies_long_pieces),
		T(walk_copies_what_is_short),
		T(walk_ends_where_it_cannot_go_on),
		T(walk_bad_shapes),
		T(walk_and_window),
		T(walk_loses_a_record),
		T(rtt_packs),
		T(rtt_by_pure_ack),
		T(rtt_by_data_and_handshake),
		T(rtt_not_of_what_is_sent_again),
		T(rtt_not_unless_asked),
		T(ignored_bytes_are_counted),
		T(udp_plain),
		T(udp_headers),
		T(udp_lengths),
		T(udp_fragments),
		T(udp_in_batches),
		T(udp_ignored),
		T(udp_silent),
		T(udp_port_filter),
		T(udp_is_bounded),
		T(udp_evictions),
		T(udp_malformed),
		T(truth_in_order),
		T(truth_in_disorder),
		T(truth_walking),
		T(ring_goes_round),
		T(ring_is_given_back),
		T(workers_have_connections),
		T(workers_have_rings),
		T(workers_tell_verdicts),
		T(workers_too_many),
	};
	struct clv_ring_config c = {.ring_bytes = 4096, .max_flows = 4};
	int err = clv_ring_open(&c, &ring);

	if (err) {
		fprintf(stderr, "skipped: the BPF programs do not load here: %s\n", strerror(-err));
		return 77;
	}
	close_ring();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
