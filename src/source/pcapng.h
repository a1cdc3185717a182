/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes packets to a pcapng file that any tool reads, and that clovisor reads back as the very same packets:
 * the spans of `clovisor read FILE` are those of the live run.
 *
 * A frame is Linux "cooked" v2 (SLL2) with IP and TCP or UDP headers made anew. Its interface index is the packet's
 * place of capture; what has no place in a frame (side, holes, retransmissions) rides in an experimental TCP option, of
 * a datagram in the link-layer address. The kernel's reference is not kept.
 *
 * One thread at a time.
 */
#ifndef CLV_SOURCE_PCAPNG_H
#define CLV_SOURCE_PCAPNG_H

#include "model/packet.h"

struct clv_pcapng;

/*
 * Creates or empties the file ("-": standard output) and writes its header. Returns 0 and the writer in *out, or
 * -errno.
 */
int clv_pcapng_open(const char *path, struct clv_pcapng **out);

/*
 * Appends a packet, buffered. Returns 0, or -errno once: at the first write that fails, after which packets are
 * only counted.
 */
int clv_pcapng_packet(struct clv_pcapng *w, const struct clv_packet *p);

/* Hands what is buffered to the system, for readers that follow the file. Returns as clv_pcapng_packet(). */
int clv_pcapng_flush(struct clv_pcapng *w);

/* Headers of a frame, all of them. */
#define CLV_PCAPNG_HEADERS_MAX (20u + 40u + 8u + 20u + 32u)
/* The frame of a packet, as the file holds it: fills `frame`, of CLV_PCAPNG_HEADERS_MAX and the payload's bytes, sets
 * what the frame had on the wire, and returns its length. */
size_t clv_pcapng_frame(const struct clv_packet *p, uint8_t *frame, uint32_t *wire_len);

/*
 * For decode: takes out of a segment's TCP options what clv_pcapng_packet() put there. Returns whether the option
 * was there, that is, whether clovisor wrote the frame; otherwise *p is untouched.
 */
bool clv_pcapng_restore(struct clv_slice tcp_options, struct clv_packet *p);

/*
 * Likewise of a datagram, from the link-layer address of its SLL2 header. What a tunnel carries in it was not looked
 * into live, so it is not when read back.
 */
bool clv_pcapng_restore_datagram(struct clv_slice address, struct clv_packet *p);

/* Packets that a failed write lost. */
uint64_t clv_pcapng_lost(const struct clv_pcapng *w);

/* Writes the rest, closes and frees. Returns 0, or the first -errno of the file's life. NULL is allowed. */
int clv_pcapng_close(struct clv_pcapng *w);

#endif
