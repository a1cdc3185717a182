/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: bytes as a frame of some link type. What decodes as TCP must be sound, and must come back the same
 * when it is written as clovisor writes frames and decoded again.
 *
 * Input: link type, side, two bytes that the frame had more on the wire, the frame.
 */
#include <assert.h>
#include <stdlib.h>

#include "source/decode.h"
#include "source/pcapng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int links[] = {
	CLV_LINK_NULL, CLV_LINK_ETHERNET, CLV_LINK_RAW,  CLV_LINK_RAW_BSD, CLV_LINK_RAW_FILE,
	CLV_LINK_LOOP, CLV_LINK_SLL,      CLV_LINK_IPV4, CLV_LINK_IPV6,    CLV_LINK_SLL2,
};

static void check_same(const struct clv_packet *a, const struct clv_packet *b)
{
	assert(memcmp(&a->src.addr, &b->src.addr, sizeof(a->src.addr)) == 0 && a->src.port == b->src.port);
	assert(memcmp(&a->dst.addr, &b->dst.addr, sizeof(a->dst.addr)) == 0 && a->dst.port == b->dst.port);
	assert(a->net == b->net && a->seq == b->seq && a->ack == b->ack && a->len == b->len);
	assert(a->hole_seq == b->hole_seq && a->hole_len == b->hole_len && a->retransmits == b->retransmits);
	assert(a->tcp_flags == b->tcp_flags && a->side == b->side && a->sought == b->sought && a->probe == b->probe);
	assert(clv_slice_eq(a->payload, b->payload));
}

static void check_round_trip(const struct clv_packet *p)
{
	uint8_t *frame = malloc(CLV_PCAPNG_HEADERS_MAX + p->payload.len);
	struct clv_frame f = {.link_type = CLV_LINK_SLL2};
	struct clv_packet again;

	assert(frame);
	f.cap = clv_slice(frame, clv_pcapng_frame(p, frame, &f.wire_len));
	assert(clv_decode(&f, &again) == CLV_DECODED_TCP);
	check_same(p, &again);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct clv_packet p;

	if (size < 4)
		return 0;

	struct clv_frame f = {
		.link_type = links[data[0] % (sizeof(links) / sizeof(links[0]))],
		.side = data[1] % 3,
		.wire_len = (uint32_t)(size - 4) + data[2] * 256u + data[3],
		.cap = clv_slice(data + 4, size - 4),
	};

	if (clv_decode(&f, &p) != CLV_DECODED_TCP)
		return 0;
	assert(p.payload.len <= p.len && p.payload.len <= f.cap.len);
	assert(p.payload.len == 0 || (p.payload.data >= f.cap.data && p.payload.data + p.payload.len <= data + size));
	assert(p.side <= CLV_SIDE_OUT);
	check_round_trip(&p);
	return 0;
}
