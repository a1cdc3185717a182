/* SPDX-License-Identifier: Apache-2.0 */
/* Frames built by hand against what decode.h promises. Every frame is decoded from a block of exactly its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "source/decode.h"

/* ---- frames ------------------------------------------------------------------------------------------ */

struct frame {
	uint8_t b[512];
	size_t len;
};

static void add(struct frame *f, const void *data, size_t len)
{
	assert_true(len <= sizeof(f->b) - f->len);
	memcpy(f->b + f->len, data, len);
	f->len += len;
}

#define ADD(f, ...) add(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void add_ethernet(struct frame *f, uint16_t type)
{
	ADD(f, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, (uint8_t)(type >> 8), (uint8_t)type);
}

/* 10.0.0.1 to 10.0.0.2 */
static void add_ip4(struct frame *f, uint8_t proto, uint16_t total, uint16_t fragment)
{
	ADD(f, 0x45, 0, (uint8_t)(total >> 8), (uint8_t)total, 0, 1, (uint8_t)(fragment >> 8), (uint8_t)fragment, 64,
	    proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
}

/* fd00::1 to fd00::2 */
static void add_ip6(struct frame *f, uint8_t next, uint16_t len)
{
	ADD(f, 0x60, 0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len, next, 64);
	ADD(f, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
	ADD(f, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
}

/* Port 40000 to 80, seq 0x01020304, ack 0x05060708, PSH ACK. */
static void add_tcp(struct frame *f, const char *payload)
{
	ADD(f, 0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0);
	add(f, payload, strlen(payload));
}

/* The captured bytes go into a block of their own, so that a sanitizer sees any read behind them. */
static enum clv_decoded decode_cut(int link_type, const struct frame *f, size_t cap, enum clv_decode_side side,
				   struct clv_packet *out)
{
	static uint8_t *block;

	free(block);
	block = malloc(cap ? cap : 1);
	memcpy(block, f->b, cap);

	struct clv_frame in = {
		.link_type = link_type, .side = side, .wire_len = (uint32_t)f->len, .cap = clv_slice(block, cap)};

	return clv_decode(&in, out);
}

static enum clv_decoded decode(int link_type, const struct frame *f, struct clv_packet *out)
{
	return decode_cut(link_type, f, f->len, CLV_DECODE_SIDE_AUTO, out);
}

static void check_packet(const struct clv_packet *p, bool v4, const char *payload)
{
	struct clv_addr a4 = clv_addr_v4((const uint8_t[]){10, 0, 0, 1});
	struct clv_addr a6 = clv_addr_v6((const uint8_t[16]){0xfd, [15] = 1});

	assert_memory_equal(&p->src.addr, v4 ? &a4 : &a6, sizeof(a4));
	assert_int_equal(p->dst.addr.b[15], 2);
	assert_int_equal(p->src.port, 40000);
	assert_int_equal(p->dst.port, 80);
	assert_int_equal(p->seq, 0x01020304);
	assert_int_equal(p->ack, 0x05060708);
	assert_int_equal(p->tcp_flags, CLV_TCP_PSH | CLV_TCP_ACK);
	assert_int_equal(p->len, strlen(payload));
	assert_int_equal(p->payload.len, strlen(payload));
	assert_memory_equal(p->payload.data, payload, strlen(payload));
	assert_int_equal(p->net, 0);
	assert_int_equal(p->hole_len, 0);
	assert_int_equal(p->kernel.gen, 0);
}

static void check_tcp(int link_type, const struct frame *f, bool v4, const char *payload)
{
	struct clv_packet p;

	assert_int_equal(decode(link_type, f, &p), CLV_DECODED_TCP);
	check_packet(&p, v4, payload);
}

static void check_other(int link_type, const struct frame *f, enum clv_decoded expected)
{
	struct clv_packet p;

	assert_int_equal(decode(link_type, f, &p), expected);
}

/* ---- link layers ------------------------------------------------------------------------------------- */

static void test_ethernet(void **state)
{
	struct frame f = {.len = 0};

	add_ethernet(&f, 0x0800);
	add_ip4(&f, 6, 42, 0x4000);
	add_tcp(&f, "hi");
	check_tcp(CLV_LINK_ETHERNET, &f, true, "hi");
	ADD(&f, 0, 0, 0, 0); /* padding to 60 bytes is no payload */
	check_tcp(CLV_LINK_ETHERNET, &f, true, "hi");
}

static void test_vlan(void **state)
{
	static const uint16_t outer[] = {0x8100, 0x88a8, 0x9100};

	for (size_t i = 0; i < 3; i++) {
		struct frame f = {.len = 0};

		add_ethernet(&f, outer[i]);
		ADD(&f, 0, 7, 0x81, 0x00, 0, 8, 0x86, 0xdd);
		add_ip6(&f, 6, 22);
		add_tcp(&f, "hi");
		check_tcp(CLV_LINK_ETHERNET, &f, false, "hi");
	}
}

static void test_raw(void **state)
{
	static const int v4[] = {CLV_LINK_RAW, CLV_LINK_RAW_BSD, CLV_LINK_RAW_FILE, CLV_LINK_IPV4};
	static const int v6[] = {CLV_LINK_RAW, CLV_LINK_RAW_BSD, CLV_LINK_RAW_FILE, CLV_LINK_IPV6};
	struct frame four = {.len = 0}, six = {.len = 0};

	add_ip4(&four, 6, 41, 0);
	add_tcp(&four, "x");
	add_ip6(&six, 6, 21);
	add_tcp(&six, "x");
	for (size_t i = 0; i < 4; i++) {
		check_tcp(v4[i], &four, true, "x");
		check_tcp(v6[i], &six, false, "x");
	}
}

static void test_loopback(void **state)
{
	static const uint8_t families[] = {10, 24, 28, 30};
	struct clv_packet p;

	for (size_t i = 0; i < 4; i++) {
		struct frame little = {.len = 0}, big = {.len = 0};

		ADD(&little, families[i], 0, 0, 0);
		ADD(&big, 0, 0, 0, families[i]);
		add_ip6(&little, 6, 21);
		add_ip6(&big, 6, 21);
		add_tcp(&little, "x");
		add_tcp(&big, "x");
		check_tcp(CLV_LINK_NULL, &little, false, "x");
		check_tcp(CLV_LINK_NULL, &big, false, "x");
		check_tcp(CLV_LINK_LOOP, &big, false, "x");
	}

	struct frame appletalk = {.len = 0};

	ADD(&appletalk, 16, 0, 0, 0, 1, 2, 3, 4);
	assert_int_equal(decode(CLV_LINK_NULL, &appletalk, &p), CLV_DECODED_NOT_IP);
}

/* side as told by packet type 0 (to us) and 4 (sent by us) */
static void check_sides(int link_type, struct frame *f, size_t type_at)
{
	static const struct {
		enum clv_decode_side told;
		uint8_t type, expected;
	} rows[] = {
		{CLV_DECODE_SIDE_AUTO, 0, CLV_SIDE_UNKNOWN}, {CLV_DECODE_SIDE_AUTO, 4, CLV_SIDE_UNKNOWN},
		{CLV_DECODE_SIDE_HOST, 0, CLV_SIDE_IN},      {CLV_DECODE_SIDE_HOST, 4, CLV_SIDE_OUT},
		{CLV_DECODE_SIDE_POD, 0, CLV_SIDE_OUT},      {CLV_DECODE_SIDE_POD, 4, CLV_SIDE_IN},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct clv_packet p;

		f->b[type_at] = rows[i].type;
		assert_int_equal(decode_cut(link_type, f, f->len, rows[i].told, &p), CLV_DECODED_TCP);
		check_packet(&p, true, "x");
		assert_int_equal(p.side, rows[i].expected);
	}
}

static void test_sll(void **state)
{
	struct frame one = {.len = 0}, two = {.len = 0};

	ADD(&one, 0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00);
	add_ip4(&one, 6, 41, 0);
	add_tcp(&one, "x");
	check_sides(CLV_LINK_SLL, &one, 1);
	ADD(&two, 0x08, 0x00, 0, 0, 0, 0, 0, 9, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0);
	add_ip4(&two, 6, 41, 0);
	add_tcp(&two, "x");
	check_sides(CLV_LINK_SLL2, &two, 10); /* also: the interface is no net, the file is not ours */
}

static void test_not_ip(void **state)
{
	struct frame arp = {.len = 0}, llc = {.len = 0}, udp = {.len = 0}, icmp = {.len = 0};

	add_ethernet(&arp, 0x0806);
	check_other(CLV_LINK_ETHERNET, &arp, CLV_DECODED_NOT_IP);
	add_ethernet(&llc, 38);
	check_other(CLV_LINK_ETHERNET, &llc, CLV_DECODED_NOT_IP);
	add_ip4(&udp, 17, 20, 0);
	check_other(CLV_LINK_RAW, &udp, CLV_DECODED_MALFORMED);
	add_ip6(&icmp, 58, 0);
	check_other(CLV_LINK_RAW, &icmp, CLV_DECODED_OTHER_L4);
}

/* ---- IP ---------------------------------------------------------------------------------------------- */

static void test_ip4_options(void **state)
{
	struct frame f = {.len = 0};

	add_ip4(&f, 6, 50, 0);
	f.b[0] = 0x47;
	ADD(&f, 0x94, 4, 0, 0, 1, 1, 1, 0);
	add_tcp(&f, "hi");
	check_tcp(CLV_LINK_RAW, &f, true, "hi");
}

static void test_ip4_fragments(void **state)
{
	struct frame first = {.len = 0}, later = {.len = 0};

	add_ip4(&first, 6, 44, 0x2000);
	add_tcp(&first, "four");
	check_tcp(CLV_LINK_RAW, &first, true, "four");
	add_ip4(&later, 6, 44, 0x2001);
	add_tcp(&later, "four");
	check_other(CLV_LINK_RAW, &later, CLV_DECODED_FRAGMENT);
}

static void test_length_left_to_the_interface(void **state)
{
	struct frame four = {.len = 0}, six = {.len = 0};

	add_ethernet(&four, 0x0800);
	add_ip4(&four, 6, 0, 0);
	add_tcp(&four, "a super-packet");
	check_tcp(CLV_LINK_ETHERNET, &four, true, "a super-packet");
	add_ip6(&six, 6, 0);
	add_tcp(&six, "a super-packet");
	check_tcp(CLV_LINK_RAW, &six, false, "a super-packet");
}

static void test_ip6_jumbo(void **state)
{
	struct frame f = {.len = 0};
	struct clv_packet p;

	add_ip6(&f, 0, 0);
	ADD(&f, 6, 0, 0xc2, 4, 0, 1, 0x11, 0x70); /* 70000 bytes: 8 here, 20 of TCP */
	add_tcp(&f, "hi");
	assert_int_equal(decode(CLV_LINK_RAW, &f, &p), CLV_DECODED_TCP);
	assert_int_equal(p.len, 70000 - 28);
	assert_int_equal(p.payload.len, 2);

	f.b[44] = 0x7f; /* no segment is that long */
	assert_int_equal(decode(CLV_LINK_RAW, &f, &p), CLV_DECODED_MALFORMED);
}

static void test_ip6_extensions(void **state)
{
	struct frame f = {.len = 0};

	add_ip6(&f, 0, 8 + 16 + 8 + 16 + 8 + 22);
	ADD(&f, 60, 0, 1, 4, 0, 0, 0, 0);                          /* hop by hop */
	ADD(&f, 43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* destination */
	ADD(&f, 51, 0, 0, 0, 0, 0, 0, 0);                          /* routing */
	ADD(&f, 44, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9);  /* authentication: in words of 4 */
	ADD(&f, 6, 0, 0, 0, 0, 0, 0, 7);                           /* a fragment that is the whole */
	add_tcp(&f, "hi");
	check_tcp(CLV_LINK_RAW, &f, false, "hi");
	f.b[40 + 8 + 16 + 8 + 16 + 3] = 1; /* more fragments follow: still the first */
	check_tcp(CLV_LINK_RAW, &f, false, "hi");
	f.b[40 + 8 + 16 + 8 + 16 + 3] = 8;
	check_other(CLV_LINK_RAW, &f, CLV_DECODED_FRAGMENT);
}

/* ---- what does not fit ------------------------------------------------------------------------------- */

static void test_snaplen(void **state)
{
	struct frame f = {.len = 0};
	struct clv_packet p;

	add_ethernet(&f, 0x0800);
	add_ip4(&f, 6, 46, 0);
	add_tcp(&f, "abcdef");
	for (size_t cap = 0; cap <= f.len; cap++) {
		enum clv_decoded d = decode_cut(CLV_LINK_ETHERNET, &f, cap, CLV_DECODE_SIDE_AUTO, &p);

		if (cap < 14 + 40) {
			assert_int_equal(d, CLV_DECODED_MALFORMED);
			continue;
		}
		assert_int_equal(d, CLV_DECODED_TCP);
		assert_int_equal(p.len, 6);
		assert_int_equal(p.payload.len, cap - 54);
	}
}

/* TCP options that the snaplen cut off cost nothing: the payload's length is known all the same. */
static void test_snaplen_in_tcp_options(void **state)
{
	struct frame f = {.len = 0};
	struct clv_packet p;

	add_ip4(&f, 6, 60, 0);
	add_tcp(&f, "");
	f.b[32] = 0x80;
	ADD(&f, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 'h', 'e', 'y', '!', 'h', 'e', 'y', '!');
	assert_int_equal(decode_cut(CLV_LINK_RAW, &f, 45, CLV_DECODE_SIDE_AUTO, &p), CLV_DECODED_TCP);
	assert_int_equal(p.len, 8);
	assert_int_equal(p.payload.len, 0);
}

static void check_malformed(size_t at, uint8_t value)
{
	struct frame f = {.len = 0};

	add_ip4(&f, 6, 42, 0);
	add_tcp(&f, "hi");
	f.b[at] = value;
	check_other(CLV_LINK_RAW, &f, CLV_DECODED_MALFORMED);
}

static void test_malformed(void **state)
{
	struct frame empty = {.len = 0};

	check_malformed(0, 0x44);  /* IPv4 header of 16 bytes */
	check_malformed(0, 0x4f);  /* ...of 60, longer than the packet */
	check_malformed(0, 0x55);  /* IPv5 */
	check_malformed(3, 19);    /* total length below the header's */
	check_malformed(3, 39);    /* TCP header cut by the IP length */
	check_malformed(32, 0x40); /* TCP header of 16 bytes */
	check_malformed(32, 0xf0); /* ...of 60 */
	check_other(CLV_LINK_RAW, &empty, CLV_DECODED_MALFORMED);
	check_other(CLV_LINK_ETHERNET, &empty, CLV_DECODED_MALFORMED);
	check_other(CLV_LINK_NULL, &empty, CLV_DECODED_MALFORMED);
	check_other(CLV_LINK_SLL2, &empty, CLV_DECODED_MALFORMED);
}

/* A frame that is shorter than its IP header says: the rest was on the wire, but is not here. */
static void test_ip_longer_than_frame(void **state)
{
	struct frame f = {.len = 0};
	struct clv_packet p;

	add_ip4(&f, 6, 1040, 0);
	add_tcp(&f, "hi");
	assert_int_equal(decode(CLV_LINK_RAW, &f, &p), CLV_DECODED_TCP);
	assert_int_equal(p.len, 1000);
	assert_int_equal(p.payload.len, 2);
}

/* clovisor's TCP option means something in clovisor's files only. */
/* Outer headers of the tunnels that are looked into, each around the same Ethernet frame or IP packet. */
static void add_tunnel_udp(struct frame *f, uint16_t port)
{
	uint8_t udp[8] = {0x12, 0xb5, (uint8_t)(port >> 8), (uint8_t)port};
	static const uint8_t vxlan[8] = {0x08};

	add_ethernet(f, 0x0800);
	add_ip4(f, 17, 0, 0);
	add(f, udp, sizeof(udp));
	add(f, vxlan, sizeof(vxlan));
}

static void add_inner(struct frame *f, bool ethernet)
{
	if (ethernet)
		add_ethernet(f, 0x0800);
	add_ip4(f, 6, 20 + 20 + 5, 0);
	add_tcp(f, "hello");
}

static void test_tunnels(void **state)
{
	static const uint8_t gre_ip[4] = {0, 0, 0x08, 0x00}, gre_keyed[8] = {0x20, 0, 0x08, 0x00};
	static const uint8_t erspan[16] = {0x10, 0, 0x88, 0xbe}, gre_teb[4] = {0, 0, 0x65, 0x58};
	static const struct {
		const uint8_t *header;
		size_t len;
		bool ethernet;
	} gre[] = {{gre_ip, 4, false}, {gre_keyed, 8, false}, {erspan, 16, true}, {gre_teb, 4, true}};

	for (size_t i = 0; i < sizeof(gre) / sizeof(gre[0]); i++) {
		struct frame f = {0};
		add_ethernet(&f, 0x0800);
		add_ip4(&f, 47, 0, 0);
		add(&f, gre[i].header, gre[i].len);
		add_inner(&f, gre[i].ethernet);
		check_tcp(CLV_LINK_ETHERNET, &f, true, "hello");
	}
	for (uint16_t port = 4789; port <= 4790; port++) {
		struct frame f = {0};
		add_tunnel_udp(&f, port);
		add_inner(&f, true);
		check_tcp(CLV_LINK_ETHERNET, &f, true, "hello");
	}
	/* IP in IP; PPTP, with and without PPP's address, control and the protocol's first byte */
	struct frame ip = {0};
	add_ethernet(&ip, 0x0800);
	add_ip4(&ip, 4, 0, 0);
	add_inner(&ip, false);
	check_tcp(CLV_LINK_ETHERNET, &ip, true, "hello");
	static const struct clv_slice pptp[] = {CLV_LIT("\x30\x81\x88\x0b\0\0\0\0\0\0\0\1\0\0\0\1\xff\3\0\x21"),
						CLV_LIT("\x30\x01\x88\x0b\0\0\0\0\0\0\0\1\x21")};
	for (int i = 0; i < 2; i++) {
		struct frame f = {0};
		add_ethernet(&f, 0x0800);
		add_ip4(&f, 47, 0, 0);
		add(&f, pptp[i].data, pptp[i].len);
		add_inner(&f, false);
		check_tcp(CLV_LINK_ETHERNET, &f, true, "hello");
	}
	struct frame deep = {0}, dns = {0};
	for (int i = 0; i < 3; i++)
		add_tunnel_udp(&deep, 4789);
	add_inner(&deep, true);
	check_other(CLV_LINK_ETHERNET, &deep, CLV_DECODED_UDP);
	add_tunnel_udp(&dns, 53);
	add_inner(&dns, true);
	check_other(CLV_LINK_ETHERNET, &dns, CLV_DECODED_UDP);
}

/* IEEE 802.3 with SNAP, PPPoE, MPLS: other ways from Ethernet to IP. */
static void test_shims(void **state)
{
	static const uint8_t snap[8] = {0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00};
	static const uint8_t pppoe[8] = {0x11, 0, 0, 1, 0, 47, 0x00, 0x21};
	static const uint8_t mpls[8] = {0, 1, 0, 64, 0, 2, 1, 64};
	static const struct {
		uint16_t type;
		const uint8_t *shim;
	} shims[] = {{53, snap}, {0x8864, pppoe}, {0x8847, mpls}};

	for (size_t i = 0; i < sizeof(shims) / sizeof(shims[0]); i++) {
		struct frame f = {0};
		add_ethernet(&f, shims[i].type);
		add(&f, shims[i].shim, 8);
		add_inner(&f, false);
		check_tcp(CLV_LINK_ETHERNET, &f, true, "hello");
	}
}

static void test_foreign_option(void **state)
{
	struct frame f = {.len = 0};
	struct clv_packet p;

	add_ip4(&f, 6, 50, 0);
	add_tcp(&f, "");
	f.b[32] = 0x70;
	ADD(&f, 254, 6, 'C', 'L', 1, CLV_SIDE_OUT, 0, 0, 'h', 'i');
	assert_int_equal(decode(CLV_LINK_RAW, &f, &p), CLV_DECODED_TCP);
	assert_int_equal(p.side, CLV_SIDE_UNKNOWN);
	check_packet(&p, true, "hi");
}

/* The frame that most are has a way of its own, which must come to the same as behind another link header. */
static void test_usual_as_any_other(void **state)
{
	struct frame usual = {0}, other = {.len = 2}; /* SLL: two bytes more before the type */
	uint64_t random = 88172645463325252u;
	unsigned segments = 0;

	for (struct frame *f = &usual; f; f = f == &usual ? &other : NULL) {
		add_ethernet(f, 0x0800);
		add_ip4(f, 6, 0, 0);
		add_tcp(f, "GET / HTTP/1.1\r\n\r\n");
	}
	for (unsigned i = 0; i < 200000; i++) {
		struct frame a = usual, b = other;
		struct clv_packet p, q;
		uint8_t payload[sizeof(a.b)];

		for (unsigned n = 0; n < 1 + i % 3; n++) {
			random ^= random << 13, random ^= random >> 7, random ^= random << 17;
			size_t at = 14 + random % 40; /* somewhere in IP's header or TCP's; the lengths, mostly */

			at = random >> 32 & 1 ? 16 + (random >> 33 & 1) : at;
			a.b[at] = b.b[at + 2] = (uint8_t)(random >> 40) % (at == 16 ? 2 : 256);
		}
		size_t cap = 14 + (random >> 48) % (a.len - 13);
		enum clv_decoded d = decode_cut(CLV_LINK_ETHERNET, &a, cap, CLV_DECODE_SIDE_AUTO, &p);

		if (d == CLV_DECODED_TCP && p.payload.len)
			memcpy(payload, p.payload.data, p.payload.len);
		assert_int_equal(d, decode_cut(CLV_LINK_SLL, &b, cap + 2, CLV_DECODE_SIDE_AUTO, &q));
		if (d != CLV_DECODED_TCP)
			continue;
		segments++;
		assert_int_equal(p.payload.len, q.payload.len);
		assert_memory_equal(payload, q.payload.data, q.payload.len);
		assert_memory_equal(&p.src, &q.src, sizeof(p.src));
		assert_memory_equal(&p.dst, &q.dst, sizeof(p.dst));
		assert_int_equal(p.seq, q.seq);
		assert_int_equal(p.ack, q.ack);
		assert_int_equal(p.len, q.len);
		assert_int_equal(p.transport, q.transport);
		assert_int_equal(p.tcp_flags, q.tcp_flags);
		assert_int_equal(p.side, q.side);
		assert_false(p.net || p.hole_len || p.total_packets || p.rtt_ns || p.retransmits || p.kernel.gen);
		assert_false(p.sought || p.probe || p.walked || p.last);
	}
	assert_true(segments > 1000);
}

static void test_random_bytes(void **state)
{
	static const int links[] = {CLV_LINK_ETHERNET, CLV_LINK_RAW, CLV_LINK_NULL, CLV_LINK_SLL, CLV_LINK_SLL2};
	uint32_t x = 1;

	for (int i = 0; i < 20000; i++) {
		struct frame f = {.len = (size_t)(i % 120)};
		struct clv_packet p;

		for (size_t k = 0; k < f.len; k++) {
			x = x * 1664525 + 1013904223;
			f.b[k] = (uint8_t)(x >> 24);
		}
		if (f.len > 20)
			f.b[0] = i & 1 ? 0x45 : 0x60;
		if (decode(links[i % 5], &f, &p) == CLV_DECODED_TCP)
			assert_true(p.payload.len <= p.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ethernet),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_shims),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_sll),
		cmocka_unit_test(test_not_ip),
		cmocka_unit_test(test_ip4_options),
		cmocka_unit_test(test_ip4_fragments),
		cmocka_unit_test(test_length_left_to_the_interface),
		cmocka_unit_test(test_ip6_jumbo),
		cmocka_unit_test(test_ip6_extensions),
		cmocka_unit_test(test_snaplen),
		cmocka_unit_test(test_snaplen_in_tcp_options),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_ip_longer_than_frame),
		cmocka_unit_test(test_foreign_option),
		cmocka_unit_test(test_usual_as_any_other),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
