/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a frame to a TCP segment or a UDP datagram: Ethernet with any VLAN tags, IPv4, IPv6 with its extension headers,
 * TCP or UDP. Network byte order ends here. What is neither is counted. The rules are those of src/source/decode.c.
 */
#ifndef CLV_BPF_PARSE_H
#define CLV_BPF_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>

#include "maps.h"

/*
 * Functions in these headers that are neither static nor inline are verified once, by themselves, instead of in
 * every state of every caller: a tenth of the time to load. The price is a check for NULL pointers.
 */

#define VLAN_TAGS       3
#define IPV6_EXTENSIONS 8
#define IP_OFFSET_MASK  0x1fff

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

struct segment {
	union ip_addr src, dst;
	__u32 seq, ack;
	__u32 ip;  /* the IP packet's offset in the skb, */
	__u32 off; /* and the payload's */
	__u32 len; /* of the payload */
	__u32 cap; /* of a datagram: how much of it is here; in a first fragment not all */
	__u16 sport, dport;
	__u8 flags;
	bool v6;
};

/*
 * Headers are nearly always linear; where they are not, the helper gathers them. Called aligned, the compiler reads
 * words instead of bytes; they are not, but where BPF runs in earnest, that does not matter.
 */
static __always_inline bool load(struct __sk_buff *skb, __u32 off, void *to, const __u32 len)
{
	void *from = (void *)(long)skb->data + off;

	if (likely(from + len <= (void *)(long)skb->data_end)) {
		__builtin_memcpy(to, __builtin_assume_aligned(from, 4), len);
		return true;
	}
	return bpf_skb_load_bytes(skb, off, to, len) == 0;
}

/* The network header's offset and its EtherType; tags that the device took off are not in the frame. */
static __always_inline bool parse_ethernet(struct __sk_buff *skb, __u32 *off, __be16 *proto)
{
	struct ethhdr eth;
	__be16 tag[2];

	if (!load(skb, 0, &eth, sizeof(eth)))
		return false;
	*off = sizeof(eth);
	*proto = eth.h_proto;
	for (int i = 0; i < VLAN_TAGS; i++) {
		if (likely(*proto != bpf_htons(ETH_P_8021Q) && *proto != bpf_htons(ETH_P_8021AD)))
			break;
		if (bpf_skb_load_bytes(skb, *off, tag, sizeof(tag)))
			return false;
		*off += sizeof(tag);
		*proto = tag[1];
	}
	return true;
}

enum l4 { L4_TCP, L4_UDP, L4_OTHER, L4_LATER_FRAGMENT, L4_MALFORMED };

static __always_inline enum l4 l4_of(__u8 proto)
{
	return proto == IPPROTO_TCP ? L4_TCP : proto == IPPROTO_UDP ? L4_UDP : L4_OTHER;
}

/*
 * Both set *off to the transport header and *end to the packet's end, both from the start of the skb. A length
 * of 0 is how packets above 64 KiB (BIG TCP, always segmented later) say "see the skb"; the frame may also be
 * longer than the packet, by Ethernet's padding.
 */
static __always_inline enum l4 parse_ipv4(struct __sk_buff *skb, __u32 *off, __u32 *end, struct segment *s)
{
	struct iphdr ip;

	if (unlikely(!load(skb, *off, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5))
		return L4_MALFORMED;
	__u32 total = bpf_ntohs(ip.tot_len);
	if (unlikely(!total) && skb->gso_size)
		total = skb->len - *off;
	*end = *off + total;
	if (unlikely(total < ip.ihl * 4u || *end > skb->len))
		return L4_MALFORMED;
	if (unlikely(ip.frag_off & bpf_htons(IP_OFFSET_MASK)))
		return L4_LATER_FRAGMENT;
	*off += ip.ihl * 4u;
	s->v6 = false;
	s->src.q[0] = s->dst.q[0] = 0;
	s->src.w[2] = s->dst.w[2] = bpf_htonl(0xffff);
	s->src.w[3] = ip.saddr;
	s->dst.w[3] = ip.daddr;
	return l4_of(ip.protocol);
}

/*
 * Walks the extension headers that may stand before TCP (RFC 8200 section 4). Returns the transport header's
 * offset, above L4_BITS bits of enum l4.
 */
#define L4_BITS 3

__noinline int parse_extensions(struct __sk_buff *skb, __u32 off, __u8 next)
{
	struct {
		__u8 next, len;
		__be16 frag_off;
	} ext;

	for (int i = 0; i < IPV6_EXTENSIONS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
			return off << L4_BITS | l4_of(next);
		if (bpf_skb_load_bytes(skb, off, &ext, sizeof(ext)))
			return L4_MALFORMED;
		if (next == IPPROTO_FRAGMENT && (ext.frag_off & bpf_htons(0xfff8)))
			return L4_LATER_FRAGMENT;
		off += next == IPPROTO_FRAGMENT ? 8 : next == IPPROTO_AH ? (ext.len + 2) * 4 : (ext.len + 1) * 8;
		next = ext.next;
	}
	return L4_OTHER;
}

static __always_inline enum l4 parse_ipv6(struct __sk_buff *skb, __u32 *off, __u32 *end, struct segment *s)
{
	struct ipv6hdr ip;

	if (!load(skb, *off, &ip, sizeof(ip)) || ip.version != 6)
		return L4_MALFORMED;
	*off += sizeof(ip);
	*end = *off + bpf_ntohs(ip.payload_len);
	if (!ip.payload_len && skb->gso_size)
		*end = skb->len;
	if (*end > skb->len)
		return L4_MALFORMED;
	s->v6 = true;
	__builtin_memcpy(&s->src, &ip.saddr, sizeof(s->src));
	__builtin_memcpy(&s->dst, &ip.daddr, sizeof(s->dst));
	if (ip.nexthdr == IPPROTO_TCP)
		return L4_TCP;

	__u32 found = parse_extensions(skb, *off, ip.nexthdr);

	*off = found >> L4_BITS & 0x7fff; /* cuts nothing off; the verifier wants to know */
	return found & ((1 << L4_BITS) - 1);
}

static __always_inline bool parse_tcp(struct __sk_buff *skb, __u32 off, __u32 end, struct segment *s)
{
	struct tcphdr tcp;

	if (unlikely(off + sizeof(tcp) > end || !load(skb, off, &tcp, sizeof(tcp)) || tcp.doff < 5))
		return false;
	s->off = off + tcp.doff * 4u;
	if (unlikely(s->off > end))
		return false;
	s->len = end - s->off;
	s->seq = bpf_ntohl(tcp.seq);
	s->ack = bpf_ntohl(tcp.ack_seq);
	s->sport = bpf_ntohs(tcp.source);
	s->dport = bpf_ntohs(tcp.dest);
	s->flags = ((__u8 *)&tcp)[13];
	return true;
}

/* RFC 768. Its length is believed, also beyond the packet: a first fragment. 0 is what jumbograms have (RFC 2675). */
static __always_inline bool parse_udp(struct __sk_buff *skb, __u32 off, __u32 end, struct segment *s)
{
	struct udphdr udp;

	if (off + sizeof(udp) > end || !load(skb, off, &udp, sizeof(udp)))
		return false;
	__u32 here = end - off, len = bpf_ntohs(udp.len);

	/* Datagrams that the stack carries as one may be longer than 16 bits can say. */
	if (!len || skb->gso_size)
		len = here;
	if (len < sizeof(udp))
		return false;
	s->off = off + sizeof(udp);
	s->len = len - sizeof(udp);
	s->cap = (len < here ? len : here) - sizeof(udp);
	s->seq = s->ack = s->flags = 0;
	s->sport = bpf_ntohs(udp.source);
	s->dport = bpf_ntohs(udp.dest);
	return true;
}

/* Without an Ethernet header the packet itself says what it is. */
static __always_inline bool parse_bare(struct __sk_buff *skb, __be16 *proto)
{
	__u8 version;

	if (!load(skb, 0, &version, sizeof(version)))
		return false;
	*proto = version >> 4 == 4 ? bpf_htons(ETH_P_IP) : version >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : 0;
	return true;
}

/* What tells whether a packet is wanted. */
struct glance {
	__be16 ports[2];
	__u8 protocol;
};

/*
 * Looks at no more than that, in place. False where it is not where it usually stands: a tag, an option, an extension,
 * a fragment, headers that are not linear. Then the packet has to be parsed.
 */
static __always_inline bool glance(struct __sk_buff *skb, bool ethernet, struct glance *g)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *net = data + (ethernet ? sizeof(struct ethhdr) : 0);
	struct iphdr *v4 = net;
	struct ipv6hdr *v6 = net;

	if ((void *)(v4 + 1) + sizeof(g->ports) > end)
		return false;
	if (*(__u8 *)net == 0x45) {
		if (v4->frag_off & bpf_htons(IP_OFFSET_MASK))
			return false;
		if (ethernet && ((struct ethhdr *)data)->h_proto != bpf_htons(ETH_P_IP))
			return false;
		g->protocol = v4->protocol;
		__builtin_memcpy(g->ports, __builtin_assume_aligned(v4 + 1, 4), sizeof(g->ports));
	} else {
		if (*(__u8 *)net >> 4 != 6 || (void *)(v6 + 1) + sizeof(g->ports) > end)
			return false;
		if (ethernet && ((struct ethhdr *)data)->h_proto != bpf_htons(ETH_P_IPV6))
			return false;
		g->protocol = v6->nexthdr;
		__builtin_memcpy(g->ports, __builtin_assume_aligned(v6 + 1, 4), sizeof(g->ports));
	}
	return g->protocol == IPPROTO_TCP || g->protocol == IPPROTO_UDP;
}

enum parsed { PARSED_NOTHING, PARSED_TCP, PARSED_UDP };

static __always_inline int parse_ip(struct __sk_buff *skb, __u32 off, __be16 proto, struct clv_kstats *st,
				    struct segment *s)
{
	__u32 end = 0;
	enum l4 l4;

	st->bytes += skb->len - off;
	s->ip = off;
	if (likely(proto == bpf_htons(ETH_P_IP))) {
		l4 = parse_ipv4(skb, &off, &end, s);
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		l4 = parse_ipv6(skb, &off, &end, s);
	} else {
		st->not_ip++;
		return PARSED_NOTHING;
	}
	if (likely(l4 == L4_TCP && parse_tcp(skb, off, end, s)))
		return PARSED_TCP;
	if (l4 == L4_UDP && parse_udp(skb, off, end, s))
		return PARSED_UDP;
	if (l4 == L4_OTHER)
		st->other_l4++;
	else if (l4 == L4_LATER_FRAGMENT)
		st->drop_fragments++;
	else
		st->drop_malformed++;
	return PARSED_NOTHING;
}

/* Both: enum parsed; with PARSED_NOTHING the reason is counted. */
__noinline int parse_frame(struct __sk_buff *skb, struct clv_kstats *st, struct segment *s)
{
	__be16 proto = 0;
	__u32 off = 0;

	if (!st || !s)
		return 0;
	if (likely(parse_ethernet(skb, &off, &proto)))
		return parse_ip(skb, off, proto, st, s);
	st->drop_malformed++;
	return 0;
}

__noinline int parse_packet(struct __sk_buff *skb, struct clv_kstats *st, struct segment *s)
{
	__be16 proto = 0;

	if (!st || !s)
		return 0;
	if (parse_bare(skb, &proto))
		return parse_ip(skb, 0, proto, st, s);
	st->drop_malformed++;
	return 0;
}

#endif
