/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One captured frame to one TCP segment or UDP datagram: link layer, IPv4 or IPv6, TCP or UDP. The user-space
 * counterpart of bpf/parse.h, and by the same rules.
 *
 * Frames are hostile: nothing behind the captured bytes is read, and no length is believed that is not checked.
 */
#ifndef CLV_SOURCE_DECODE_H
#define CLV_SOURCE_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/packet.h"

/* Link types by their numbers in libpcap's API and in files, where the two agree on Linux (RAW: see decode.c). */
enum clv_link_type {
	CLV_LINK_NULL = 0, /* BSD loopback: address family in either byte order */
	CLV_LINK_ETHERNET = 1,
	CLV_LINK_RAW = 12,
	CLV_LINK_RAW_BSD = 14,
	CLV_LINK_RAW_FILE = 101,
	CLV_LINK_LOOP = 108, /* OpenBSD loopback: address family in network byte order */
	CLV_LINK_SLL = 113,
	CLV_LINK_IPV4 = 228,
	CLV_LINK_IPV6 = 229,
	CLV_LINK_SLL2 = 276,
};

bool clv_decode_knows(int link_type);

/* Whose "in" and "out" the packet types of SLL and SLL2 tell. Other link types do not tell. */
enum clv_decode_side {
	CLV_DECODE_SIDE_AUTO, /* unknown, but for files that clovisor wrote, which say it */
	CLV_DECODE_SIDE_HOST, /* the machine that captured: what it sent went out */
	CLV_DECODE_SIDE_POD,  /* a pod of it: what the machine sent came in */
};

struct clv_frame {
	int link_type; /* enum clv_link_type */
	enum clv_decode_side side;
	uint32_t wire_len;    /* bytes it had on the wire, from the link header on */
	struct clv_slice cap; /* the first ones of them, as captured */
};

enum clv_decoded {
	CLV_DECODED_TCP,
	CLV_DECODED_UDP, /* *out is set as for TCP */
	CLV_DECODED_OTHER_L4,
	CLV_DECODED_NOT_IP,
	CLV_DECODED_FRAGMENT,  /* not the first one: it has no TCP header */
	CLV_DECODED_MALFORMED, /* headers that contradict each other, or were not captured whole */
};

/*
 * Decodes `f`. With CLV_DECODED_TCP and CLV_DECODED_UDP every member of *out but ts_ns is set, the payload borrowed
 * from the frame; otherwise *out is undefined. A first fragment is delivered with the payload it has (of a datagram:
 * cut).
 *
 * Frames of files that clovisor wrote (pcapng.h) come out as the packets that went in: place of capture, side,
 * holes and all.
 */
enum clv_decoded clv_decode(const struct clv_frame *f, struct clv_packet *out);

#endif
