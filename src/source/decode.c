/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns nothing: a pure function from a captured frame to a TCP segment or UDP datagram. Never reads behind the captured
 * bytes, never allocates, never logs; any thread.
 *
 * Two lengths go along: the bytes that were captured and those that were on the wire. Headers must have been
 * captured; the payload need not.
 */
#include "source/decode.h"
#include "source/pcapng.h"

enum {
	ETHERTYPE_IP4 = 0x0800,
	ETHERTYPE_IP6 = 0x86dd,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_QINQ = 0x88a8,
	ETHERTYPE_QINQ_OLD = 0x9100,
	ETHERTYPE_MPLS = 0x8847,
	ETHERTYPE_PPPOE = 0x8864,
	ETHERTYPE_PPP = 0x880b,     /* in GRE (RFC 2637) */
	ETHERTYPE_TEB = 0x6558,     /* in GRE: an Ethernet frame (RFC 7637) */
	ETHERTYPE_ERSPAN = 0x88be,  /* in GRE: the same, mirrored; types I and II */
	ETHERTYPE_ERSPAN3 = 0x22eb, /* type III */
	ETHERTYPE_MIN = 0x0600,     /* what is smaller is a length: IEEE 802.3 */
};

enum {
	PROTO_HOP_BY_HOP = 0,
	PROTO_IP4 = 4,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_IP6 = 41,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_GRE = 47,
	PROTO_AUTH = 51,
	PROTO_DEST_OPTIONS = 60,
	PROTO_MOBILITY = 135,
};

/* No segment is longer, whatever a jumbo length claims: BIG TCP stops at 512 KiB. */
#define SEGMENT_MAX (16u << 20)

enum { SLL_BYTES = 16, SLL2_BYTES = 20, SLL_OUTGOING = 4 };

/* Tunnels within tunnels are followed this far. */
enum { TUNNELS_MAX = 2, VXLAN_PORT = 4789, VXLAN_GPE_PORT = 4790 };

/* What is left of a frame, and what was found in it so far. cap.len <= wire, always. */
struct rest {
	struct clv_slice cap;
	uint32_t wire;
	struct clv_slice tcp_options;
	struct clv_packet *out;
	int tunnels; /* entered so far */
};

static enum clv_decoded decode_ip(struct rest *r);
static enum clv_decoded decode_ethernet(struct rest *r);
static enum clv_decoded decode_ethertype(uint16_t type, struct rest *r);

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* Steps over a header; false when it was not captured whole. */
static bool rest_drop(struct rest *r, uint32_t len)
{
	if (len > r->cap.len)
		return false;
	r->cap.data += len;
	r->cap.len -= len;
	r->wire -= len;
	return true;
}

/* An inner header says how long the rest is: cuts off padding, and believes a length beyond the frame. */
static void rest_limit(struct rest *r, uint32_t len)
{
	r->cap = clv_slice_head(r->cap, len);
	r->wire = len;
}

static enum clv_decoded decode_tcp(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (r->cap.len < 20)
		return CLV_DECODED_MALFORMED;

	uint32_t header = (h[12] >> 4) * 4u;

	if (header < 20 || header > r->wire || r->wire > SEGMENT_MAX)
		return CLV_DECODED_MALFORMED;
	r->out->src.port = be16(h);
	r->out->dst.port = be16(h + 2);
	r->out->seq = be32(h + 4);
	r->out->ack = be32(h + 8);
	r->out->tcp_flags = h[13];
	r->out->len = r->wire - header;
	size_t captured = header < r->cap.len ? header : r->cap.len;

	r->tcp_options = clv_slice(h + 20, captured - 20);
	r->out->payload = clv_slice(h + captured, r->cap.len - captured);
	return CLV_DECODED_TCP;
}

/* RFC 768. Its length is believed as far as the packet goes; 0 is what jumbograms have (RFC 2675). */
static enum clv_decoded decode_datagram(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (r->cap.len < 8)
		return CLV_DECODED_MALFORMED;

	uint32_t len = be16(h + 4) ? be16(h + 4) : r->wire;

	if (len < 8)
		return CLV_DECODED_MALFORMED;
	r->out->transport = CLV_TRANSPORT_UDP;
	r->out->src.port = be16(h);
	r->out->dst.port = be16(h + 2);
	r->out->len = len - 8;
	r->out->payload = clv_slice_sub(r->cap, 8, len - 8);
	return CLV_DECODED_UDP;
}

/* UDP, VXLAN (RFC 7348 section 5) or VXLAN-GPE, which may name what follows; then Ethernet or IP. */
static enum clv_decoded decode_udp(struct rest *r)
{
	enum { KEY_VALID = 0x08, PROTOCOL_VALID = 0x04, PROTOCOL_ETHERNET = 3 };
	const uint8_t *h = r->cap.data;

	if (r->cap.len < 16 || (be16(h + 2) != VXLAN_PORT && be16(h + 2) != VXLAN_GPE_PORT) || !(h[8] & KEY_VALID) ||
	    r->tunnels == TUNNELS_MAX)
		return decode_datagram(r);
	r->tunnels++;
	rest_drop(r, 16);
	return h[8] & PROTOCOL_VALID && h[11] != PROTOCOL_ETHERNET ? decode_ip(r) : decode_ethernet(r);
}

/* PPP (RFC 1661 section 2): address and control, and the first byte of the protocol's number, may be left out. */
static enum clv_decoded decode_ppp(struct rest *r)
{
	if (r->cap.len >= 2 && r->cap.data[0] == 0xff && r->cap.data[1] == 0x03)
		rest_drop(r, 2);
	if (r->cap.len < 2)
		return CLV_DECODED_MALFORMED;
	bool brief = r->cap.data[0] & 1;
	uint16_t protocol = brief ? r->cap.data[0] : be16(r->cap.data);

	rest_drop(r, brief ? 1 : 2);
	return protocol == 0x0021 || protocol == 0x0057 ? decode_ip(r) : CLV_DECODED_NOT_IP;
}

/* GRE as PPTP has it (RFC 2637 section 4.1): with a key, and PPP in it. */
static enum clv_decoded decode_pptp(struct rest *r)
{
	const uint8_t *h = r->cap.data;
	bool sequence = h[0] & 0x10, ack = h[1] & 0x80;

	if (be16(h + 2) != ETHERTYPE_PPP || !(h[0] & 0x20) || !sequence) /* without a number there is no payload */
		return CLV_DECODED_OTHER_L4;
	return rest_drop(r, 12 + (ack ? 4 : 0)) ? decode_ppp(r) : CLV_DECODED_MALFORMED;
}

/* GRE (RFC 2784, 2890) and what is in it: IP, Ethernet, or a mirrored frame. */
static enum clv_decoded decode_gre(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (r->cap.len < 4 || (h[1] & 7) > 1 || r->tunnels++ == TUNNELS_MAX)
		return CLV_DECODED_OTHER_L4;
	if (h[1] & 7)
		return decode_pptp(r);
	uint32_t header = 4 + (h[0] & 0x80 ? 4 : 0) + (h[0] & 0x20 ? 4 : 0) + (h[0] & 0x10 ? 4 : 0);
	uint16_t type = be16(h + 2);

	if (type == ETHERTYPE_ERSPAN && h[0] & 0x10) /* type I has no sequence number and no header */
		header += 8;
	else if (type == ETHERTYPE_ERSPAN3)
		header += 12;
	if (!rest_drop(r, header))
		return CLV_DECODED_MALFORMED;
	if (type == ETHERTYPE_ERSPAN || type == ETHERTYPE_ERSPAN3 || type == ETHERTYPE_TEB)
		return decode_ethernet(r);
	return decode_ethertype(type, r);
}

static enum clv_decoded decode_l4(uint8_t proto, struct rest *r)
{
	switch (proto) {
	case PROTO_TCP:
		return decode_tcp(r);
	case PROTO_UDP:
		return decode_udp(r);
	case PROTO_GRE:
		return decode_gre(r);
	case PROTO_IP4: /* RFC 2003, RFC 4213, RFC 2473 */
	case PROTO_IP6:
		return r->tunnels++ == TUNNELS_MAX ? CLV_DECODED_OTHER_L4 : decode_ip(r);
	default:
		return CLV_DECODED_OTHER_L4;
	}
}

static enum clv_decoded decode_ip4(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (r->cap.len < 20)
		return CLV_DECODED_MALFORMED;

	uint32_t header = (h[0] & 0x0f) * 4u;
	/* 0: segmentation was left to the interface (TSO, BIG TCP), so only the frame knows. */
	uint32_t total = be16(h + 2) ? be16(h + 2) : r->wire;

	if (header < 20 || total < header)
		return CLV_DECODED_MALFORMED;
	if (be16(h + 6) & 0x1fff)
		return CLV_DECODED_FRAGMENT;
	r->out->src.addr = clv_addr_v4(h + 12);
	r->out->dst.addr = clv_addr_v4(h + 16);
	rest_limit(r, total);
	if (!rest_drop(r, header))
		return CLV_DECODED_MALFORMED;
	return decode_l4(h[9], r);
}

/* The jumbo payload option (RFC 2675) of a hop-by-hop header; 0 when there is none. */
static uint32_t ip6_jumbo_len(struct clv_slice s)
{
	if (s.len < 8)
		return 0;
	s = clv_slice_head(s, (s.data[1] + 1) * 8u);
	for (size_t at = 2; at + 2 <= s.len;
	     at += s.data[at] ? 2u + s.data[at + 1] : 1) /* type 0: one byte of padding */
		if (s.data[at] == 0xc2 && s.data[at + 1] == 4 && at + 6 <= s.len)
			return be32(s.data + at + 2);
	return 0;
}

static bool ip6_is_extension(uint8_t proto)
{
	return proto == PROTO_HOP_BY_HOP || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT || proto == PROTO_AUTH ||
	       proto == PROTO_DEST_OPTIONS || proto == PROTO_MOBILITY;
}

static uint32_t ip6_extension_len(uint8_t proto, uint8_t len)
{
	if (proto == PROTO_FRAGMENT)
		return 8;
	return proto == PROTO_AUTH ? (len + 2u) * 4 : (len + 1u) * 8;
}

static enum clv_decoded decode_ip6(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (!rest_drop(r, 40))
		return CLV_DECODED_MALFORMED;

	uint8_t proto = h[6];
	uint32_t len = be16(h + 4);

	r->out->src.addr = clv_addr_v6(h + 8);
	r->out->dst.addr = clv_addr_v6(h + 24);
	if (!len && proto == PROTO_HOP_BY_HOP)
		len = ip6_jumbo_len(r->cap);
	rest_limit(r, len ? len : r->wire); /* 0: as in IPv4 */

	/* Ends: each round takes 8 captured bytes at least. */
	while (ip6_is_extension(proto)) {
		h = r->cap.data;
		if (r->cap.len < 8)
			return CLV_DECODED_MALFORMED;
		if (proto == PROTO_FRAGMENT && be16(h + 2) & 0xfff8)
			return CLV_DECODED_FRAGMENT;
		if (!rest_drop(r, ip6_extension_len(proto, h[1])))
			return CLV_DECODED_MALFORMED;
		proto = h[0];
	}
	return decode_l4(proto, r);
}

static enum clv_decoded decode_ip(struct rest *r)
{
	if (!r->cap.data || !r->cap.len) /* the first says it to analyzers */
		return CLV_DECODED_MALFORMED;
	switch (r->cap.data[0] >> 4) {
	case 4:
		return decode_ip4(r);
	case 6:
		return decode_ip6(r);
	default:
		return CLV_DECODED_MALFORMED;
	}
}

/* IEEE 802.2 LLC with SNAP (RFC 1042): AA AA 03, no organisation, then an EtherType. 0 when it is not that. */
static uint16_t decode_snap(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (r->cap.len < 8 || memcmp(h, "\xaa\xaa\x03\0\0", 6) != 0)
		return 0;
	rest_drop(r, 8);
	return be16(h + 6);
}

/* A PPPoE session's header and the PPP protocol behind it (RFC 2516, RFC 1661), as an EtherType; 0: not IP. */
static uint16_t decode_pppoe(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (!rest_drop(r, 8))
		return 0;
	return be16(h + 6) == 0x0021 ? ETHERTYPE_IP4 : be16(h + 6) == 0x0057 ? ETHERTYPE_IP6 : 0;
}

/* Steps over a label stack (RFC 3032); what follows is IP as its first four bits say. */
static enum clv_decoded decode_mpls(struct rest *r)
{
	const uint8_t *h;

	do {
		h = r->cap.data;
		if (!rest_drop(r, 4))
			return CLV_DECODED_MALFORMED;
	} while (!(h[2] & 1));
	return r->cap.len && (r->cap.data[0] >> 4 == 4 || r->cap.data[0] >> 4 == 6) ? decode_ip(r) : CLV_DECODED_NOT_IP;
}

/* From behind an EtherType on: VLAN tags and the like, then IP. */
static enum clv_decoded decode_ethertype(uint16_t type, struct rest *r)
{
	while (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || type == ETHERTYPE_QINQ_OLD) {
		const uint8_t *tag = r->cap.data;

		if (!rest_drop(r, 4))
			return CLV_DECODED_MALFORMED;
		type = be16(tag + 2);
	}
	if (type < ETHERTYPE_MIN)
		type = decode_snap(r);
	if (type == ETHERTYPE_PPPOE)
		type = decode_pppoe(r);
	if (type == ETHERTYPE_MPLS)
		return decode_mpls(r);
	if (type != ETHERTYPE_IP4 && type != ETHERTYPE_IP6)
		return CLV_DECODED_NOT_IP;
	return decode_ip(r);
}

static enum clv_decoded decode_ethernet(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (!rest_drop(r, 14))
		return CLV_DECODED_MALFORMED;
	return decode_ethertype(be16(h + 12), r);
}

/*
 * Four bytes of address family. BSD's are in the byte order of the capturing machine, and no family
 * needs 16 bits: AF_INET is 2 everywhere, AF_INET6 is 10 (Linux), 24 (NetBSD, OpenBSD), 28 (FreeBSD), 30 (macOS).
 */
static enum clv_decoded decode_family(struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (!rest_drop(r, 4))
		return CLV_DECODED_MALFORMED;
	switch (h[0] | h[3]) { /* one of them is 0 */
	case 2:
	case 10:
	case 24:
	case 28:
	case 30:
		return decode_ip(r);
	default:
		return CLV_DECODED_NOT_IP;
	}
}

static uint8_t side_of(enum clv_decode_side side, uint8_t packet_type)
{
	bool sent = packet_type == SLL_OUTGOING;

	if (side == CLV_DECODE_SIDE_AUTO)
		return CLV_SIDE_UNKNOWN;
	return sent == (side == CLV_DECODE_SIDE_HOST) ? CLV_SIDE_OUT : CLV_SIDE_IN;
}

static enum clv_decoded decode_sll(const struct clv_frame *f, struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (!rest_drop(r, SLL_BYTES))
		return CLV_DECODED_MALFORMED;
	r->out->side = side_of(f->side, h[1]);
	return decode_ethertype(be16(h + 14), r);
}

/* The link type that clovisor itself writes. */
static enum clv_decoded decode_sll2(const struct clv_frame *f, struct rest *r)
{
	const uint8_t *h = r->cap.data;

	if (!rest_drop(r, SLL2_BYTES))
		return CLV_DECODED_MALFORMED;
	r->out->side = side_of(f->side, h[10]);

	/* Only a datagram has it, and goes into no tunnel. */
	bool own = clv_pcapng_restore_datagram(clv_slice(h + 12, h[11]), r->out);
	if (own)
		r->tunnels = TUNNELS_MAX;
	enum clv_decoded d = decode_ethertype(be16(h), r);

	if (own || (d == CLV_DECODED_TCP && clv_pcapng_restore(r->tcp_options, r->out)))
		r->out->net = be32(h + 4);
	return d;
}

bool clv_decode_knows(int link_type)
{
	switch (link_type) {
	case CLV_LINK_NULL:
	case CLV_LINK_ETHERNET:
	case CLV_LINK_RAW:
	case CLV_LINK_RAW_BSD:
	case CLV_LINK_RAW_FILE:
	case CLV_LINK_LOOP:
	case CLV_LINK_SLL:
	case CLV_LINK_IPV4:
	case CLV_LINK_IPV6:
	case CLV_LINK_SLL2:
		return true;
	default:
		return false;
	}
}

/*
 * By far the most frames: Ethernet, IPv4 without options and TCP, all headers captured. Comes to what the functions
 * above would. False: it is another one, *out is untouched.
 */
static inline bool decode_usual(const struct clv_frame *f, struct clv_packet *out)
{
	if (f->link_type != CLV_LINK_ETHERNET || f->cap.len < 54)
		return false;
	const uint8_t *ip = f->cap.data + 14, *tcp = ip + 20;

	if (be16(ip - 2) != ETHERTYPE_IP4 || ip[0] != 0x45 || ip[9] != PROTO_TCP || be16(ip + 6) & 0x1fff)
		return false;
	uint32_t total = be16(ip + 2), before = 20 + (tcp[12] >> 4) * 4u;

	if (before < 40 || total < before || f->cap.len - 14 < before)
		return false;
	*out = (struct clv_packet){
		.src = {clv_addr_v4(ip + 12), be16(tcp)},
		.dst = {clv_addr_v4(ip + 16), be16(tcp + 2)},
		.seq = be32(tcp + 4),
		.ack = be32(tcp + 8),
		.tcp_flags = tcp[13],
		.side = CLV_SIDE_UNKNOWN,
		.len = total - before,
		.payload = clv_slice_sub(f->cap, 14 + before, total - before),
	};
	return true;
}

enum clv_decoded clv_decode(const struct clv_frame *f, struct clv_packet *out)
{
	if (decode_usual(f, out))
		return CLV_DECODED_TCP;
	/* Some writers leave wire_len 0. */
	uint32_t wire = f->wire_len > f->cap.len ? f->wire_len : (uint32_t)f->cap.len;
	struct rest r = {.cap = f->cap, .wire = wire, .out = out};

	*out = (struct clv_packet){.side = CLV_SIDE_UNKNOWN};
	switch (f->link_type) {
	case CLV_LINK_ETHERNET:
		return decode_ethernet(&r);
	case CLV_LINK_SLL:
		return decode_sll(f, &r);
	case CLV_LINK_SLL2:
		return decode_sll2(f, &r);
	case CLV_LINK_NULL:
	case CLV_LINK_LOOP:
		return decode_family(&r);
	default:
		return decode_ip(&r);
	}
}
