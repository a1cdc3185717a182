/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP segment or a UDP datagram as a source hands it to the engine: the only thing that crosses that border, live and
 * from a file alike. What it says can be written to a pcapng file and read back without loss (pcapng.h).
 */
#ifndef CLV_MODEL_PACKET_H
#define CLV_MODEL_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"
#include "clovisor/proto.h"

/* Seen from the observed endpoint (the pod, or this host): did the packet come in or go out? */
enum clv_side { CLV_SIDE_UNKNOWN, CLV_SIDE_IN, CLV_SIDE_OUT };

enum clv_transport { CLV_TRANSPORT_TCP, CLV_TRANSPORT_UDP };

enum clv_tcp_flag {
	CLV_TCP_FIN = 0x01,
	CLV_TCP_SYN = 0x02,
	CLV_TCP_RST = 0x04,
	CLV_TCP_PSH = 0x08,
	CLV_TCP_ACK = 0x10,
};

/* Where the kernel keeps this flow, so that a verdict finds it. gen 0: there is no kernel side (a file). */
struct clv_kernel_ref {
	uint32_t slot;
	uint16_t gen;
	uint8_t hook; /* enum clv_hook: which hook saw this direction */
};

/* A net from here on is a cgroup (wire/record.h). */
#define CLV_PACKET_CGROUP 0x80000000u

/* By lines of the cache, of which it takes two: what tells its flow and its place there comes first. */
struct clv_packet {
	uint64_t ts_ns; /* Unix time */
	struct clv_endpoint src, dst;
	uint32_t net; /* the place of capture, part of the flow's identity: an ifindex or a cgroup when live, 0 in
		       foreign files */
	uint32_t seq; /* of the payload's first byte; for a SYN, the SYN's own */
	uint32_t ack;
	uint32_t len;      /* payload bytes on the wire */
	uint8_t transport; /* enum clv_transport; of a datagram seq, ack, holes and flags are 0 */
	uint8_t tcp_flags; /* enum clv_tcp_flag */
	uint8_t side;      /* enum clv_side */
	bool sought;       /* the kernel skips the body behind this head on its own */

	struct clv_slice payload; /* the first ones of them, as far as captured; payload.len <= len */
	uint32_t hole_seq;        /* bytes of this direction that the kernel saw and left out on purpose, */
	uint32_t hole_len;        /*   not reported before; 0 in foreign files */
	/*
	 * What this direction has carried since the kernel knows the flow, ignored packets and pure acknowledgements
	 * too, bytes from the IP header on. As of now, which may be a little after this packet. 0: not known. Of a flow
	 * that is ignored, packets without payload come now and then to tell it.
	 */
	uint64_t total_packets, total_bytes;
	uint64_t rtt_ns; /* how long earlier data of this direction took to be acknowledged; 0: no new sample */
	struct clv_kernel_ref kernel;
	union {
		struct {
			uint16_t retransmits; /* segments of this direction seen again since its last packet, not
						 delivered */
			bool probe;           /* taken in probe mode: neighbours may be missing */
			bool walked; /* the kernel walks over the frames of this direction: holes are what they carry */
		};
		uint32_t rare; /* all of these at once: 0 of most packets */
	};
	bool last; /* of the observed endpoint's FIN: it reads no more, and what still comes will not be seen */
};

_Static_assert(sizeof(struct clv_packet) == 128, "a packet takes two lines of the cache");

/* What a consumer tells the kernel about one direction of one flow. */
enum clv_verdict_kind {
	CLV_VERDICT_WINDOW, /* copy payload up to sequence number `seq` in any case, and beyond it only while there is
			       room */
	CLV_VERDICT_SKIP,   /* leave out payload before sequence number `seq` (at most 2^30 ahead), see `framing` */
	CLV_VERDICT_IGNORE, /* no parser wants this direction */
	CLV_VERDICT_PROBE,  /* only first packets after a change of direction */
};

struct clv_kverdict {
	enum clv_verdict_kind kind;
	uint32_t seq;
	bool seek;  /* with WINDOW: let the kernel read Content-Length */
	bool alone; /* with SKIP: no request before `seq` waits for its answer, but one, whose answer is being skipped
		     */
	/*
	 * With SKIP: frames of this shape begin at `seq`; let the kernel walk over them, for as long as it misses
	 * nothing. NULL: it does not (any more). Stays as it is.
	 */
	const struct clv_framing *framing;
};

#endif
