/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the file being written and one buffer in front of it. Never formats text and never allocates per packet;
 * an error of the disk never ends the capture. One thread at a time.
 *
 * The file (draft-ietf-opsawg-pcapng): a section header, one interface of link type SLL2 with nanoseconds, then
 * an enhanced packet block a packet, in this machine's byte order:
 *
 *   block    type, length | interface 0 | time high, low | captured, original length | frame | padding | length
 *   frame    SLL2 (20) | IPv4 (20), or IPv6 (40, and 8 of jumbo length past 64 KiB) | TCP (20) | option | payload
 *            SLL2 (20) | IPv4 or IPv6 likewise | UDP (8) | payload
 *   option   kind 254, length | "CL" | version 1 | bits | hole_seq, hole_len (4, 4) | retransmits (2) |
 *            total_packets, total_bytes (8, 8) | end (0)
 *
 * The option is RFC 6994's experimental one. `bits`: side (2; 3: out, and the last of it), sought, probe, whether a
 * hole and retransmissions follow, walked, and whether totals follow. Lengths past 64 KiB: the IP header says 0 or
 * jumbo, the original length says it all.
 *
 * UDP has no options: there the link-layer address of SLL2, of which there is none, is "CL" | version 1 | bits.
 */
#include "source/pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINKTYPE_SLL2 = 276 };
enum { PROTO_TCP = 6, PROTO_UDP = 17 };
enum { ADDRESS_BYTES = 4, ADDRESS_ROOM = 8 };
enum { OPT_KIND = 254, OPT_VERSION = 1, OPT_MIN = 6, OPT_HOLE = 8, OPT_RETRANSMITS = 2, OPT_TOTALS = 16 };
enum { SIDE_LAST = 3 };
enum {
	BIT_SIDE = 0x03,
	BIT_SOUGHT = 0x04,
	BIT_PROBE = 0x08,
	BIT_HOLE = 0x10,
	BIT_RETRANSMITS = 0x20,
	BIT_WALKED = 0x40,
	BIT_TOTALS = 0x80
};

/* Readers refuse frames past 256 KiB, so a longer payload is cut; its length stays true. */
#define PAYLOAD_MAX (262144u - CLV_PCAPNG_HEADERS_MAX)
#define BLOCK_BYTES 32u /* of an enhanced packet block, around its frame */
/* Two of the largest blocks, some hundreds of usual ones: a write(2) is rare either way. */
#define BUFFER_BYTES (512u * 1024u)

struct clv_pcapng {
	int fd;
	int err; /* the first, 0 before; afterwards nothing is written */
	bool err_told;
	uint64_t lost;
	uint32_t buffered; /* packets in the buffer */
	size_t len;
	uint8_t buf[BUFFER_BYTES];
};

/* ---- bytes ------------------------------------------------------------------------------------------ */

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	if (len)
		memcpy(p, data, len);
	return p + len;
}

static uint8_t *put_native32(uint8_t *p, uint32_t v)
{
	return put(p, &v, sizeof(v));
}

static uint8_t *put_native16(uint8_t *p, uint16_t v)
{
	return put(p, &v, sizeof(v));
}

static uint8_t *put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put_be32(uint8_t *p, uint32_t v)
{
	return put_be16(put_be16(p, (uint16_t)(v >> 16)), (uint16_t)v);
}

static uint8_t *put_be64(uint8_t *p, uint64_t v)
{
	return put_be32(put_be32(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The Internet checksum's sum (RFC 1071) in memory's byte order; `len` is even but in the last piece. */
static uint64_t sum_add(uint64_t sum, const uint8_t *p, size_t len)
{
	uint32_t word = 0;

	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&word, p, 4);
		sum += word;
	}
	word = 0;
	if (len)
		memcpy(&word, p, len);
	return sum + word;
}

static void sum_put(uint8_t *p, uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	put_native16(p, (uint16_t)~sum);
}

/* ---- the file --------------------------------------------------------------------------------------- */

static int file_write(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Writes the buffer out; after the first error only counts what it held. */
static void pcapng_drain(struct clv_pcapng *w)
{
	if (!w->err)
		w->err = file_write(w->fd, w->buf, w->len);
	if (w->err)
		w->lost += w->buffered;
	w->buffered = 0;
	w->len = 0;
}

/* The error, once. */
static int pcapng_tell(struct clv_pcapng *w)
{
	if (w->err_told)
		return 0;
	w->err_told = w->err != 0;
	return w->err;
}

static uint8_t *put_option(uint8_t *p, uint16_t code, const void *data, uint16_t len)
{
	static const uint8_t zeros[4];

	p = put_native16(put_native16(p, code), len);
	return put(put(p, data, len), zeros, (4 - len % 4u) % 4);
}

/* A block: its type, a body that ends at `end`, and its length at both ends. Returns behind it. */
static uint8_t *block_close(uint8_t *block, uint32_t type, uint8_t *end)
{
	uint32_t len = (uint32_t)(end - block) + 4;

	put_native32(put_native32(block, type), len);
	return put_native32(end, len);
}

static void pcapng_header(struct clv_pcapng *w)
{
	static const char app[] = "clovisor " CLV_VERSION;
	static const uint8_t unknown_len[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nanoseconds = 9;
	uint8_t *block = w->buf, *p = block + 8;

	p = put_native32(p, 0x1a2b3c4d); /* tells the byte order */
	p = put_native16(put_native16(p, 1), 0);
	p = put(p, unknown_len, sizeof(unknown_len));
	p = put_option(p, 4, app, sizeof(app) - 1); /* shb_userappl */
	p = put_option(p, 0, NULL, 0);
	block = block_close(block, 0x0a0d0d0a, p);

	p = put_native16(put_native16(block + 8, LINKTYPE_SLL2), 0);
	p = put_native32(p, 0);                /* no snaplen */
	p = put_option(p, 9, &nanoseconds, 1); /* if_tsresol */
	p = put_option(p, 0, NULL, 0);
	w->len = (size_t)(block_close(block, 1, p) - w->buf);
}

/* ---- a frame ---------------------------------------------------------------------------------------- */

static bool is_datagram(const struct clv_packet *pk)
{
	return pk->transport == CLV_TRANSPORT_UDP;
}

static uint8_t *put_sll2(uint8_t *p, const struct clv_packet *pk, bool v4)
{
	p = put_be16(p, v4 ? 0x0800 : 0x86dd);
	p = put_be16(p, 0);
	p = put_be32(p, pk->net);
	p = put_be16(p, 0xfffe);                 /* ARPHRD_NONE: no hardware address */
	*p++ = pk->side == CLV_SIDE_OUT ? 4 : 0; /* sent by us, or to us */
	if (!is_datagram(pk)) {
		*p++ = 0;
		return put(p, (const uint8_t[ADDRESS_ROOM]){0}, ADDRESS_ROOM);
	}
	*p++ = ADDRESS_BYTES;
	return put(p, (const uint8_t[ADDRESS_ROOM]){'C', 'L', OPT_VERSION, pk->side & BIT_SIDE}, ADDRESS_ROOM);
}

static uint8_t protocol_of(const struct clv_packet *pk)
{
	return is_datagram(pk) ? PROTO_UDP : PROTO_TCP;
}

static uint8_t *put_ip4(uint8_t *h, const struct clv_packet *pk, uint32_t l4_len)
{
	uint32_t total = 20 + l4_len;
	uint8_t *p = h;

	*p++ = 0x45;
	*p++ = 0;
	p = put_be16(p, total <= 0xffff ? (uint16_t)total : 0);
	p = put_be32(p, 0x00004000); /* id 0, don't fragment */
	*p++ = 64;
	*p++ = protocol_of(pk);
	p = put_be16(p, 0);
	p = put(p, pk->src.addr.b + 12, 4);
	p = put(p, pk->dst.addr.b + 12, 4);
	sum_put(h + 10, sum_add(0, h, 20));
	return p;
}

static uint8_t *put_ip6(uint8_t *p, const struct clv_packet *pk, uint32_t l4_len)
{
	bool jumbo = l4_len > 0xffff;

	p = put_be32(p, 0x60000000);
	p = put_be16(p, jumbo ? 0 : (uint16_t)l4_len);
	*p++ = jumbo ? 0 : protocol_of(pk);
	*p++ = 64;
	p = put(p, pk->src.addr.b, 16);
	p = put(p, pk->dst.addr.b, 16);
	if (jumbo) { /* RFC 2675: a hop-by-hop header with one option */
		p = put(p, (const uint8_t[4]){protocol_of(pk), 0, 0xc2, 4}, 4);
		p = put_be32(p, l4_len + 8);
	}
	return p;
}

static uint8_t *put_own_option(uint8_t *start, const struct clv_packet *pk)
{
	uint8_t *p = start + OPT_MIN;
	uint8_t bits = pk->last && pk->side == CLV_SIDE_OUT ? SIDE_LAST : pk->side & BIT_SIDE;

	if (pk->sought)
		bits |= BIT_SOUGHT;
	if (pk->probe)
		bits |= BIT_PROBE;
	if (pk->walked)
		bits |= BIT_WALKED;
	if (pk->hole_seq || pk->hole_len) {
		bits |= BIT_HOLE;
		p = put_be32(put_be32(p, pk->hole_seq), pk->hole_len);
	}
	if (pk->retransmits) {
		bits |= BIT_RETRANSMITS;
		p = put_be16(p, pk->retransmits);
	}
	if (pk->total_packets) {
		bits |= BIT_TOTALS;
		p = put_be64(put_be64(p, pk->total_packets), pk->total_bytes);
	}
	put(start, (const uint8_t[OPT_MIN]){OPT_KIND, (uint8_t)(p - start), 'C', 'L', OPT_VERSION, bits}, OPT_MIN);
	while ((p - start) % 4)
		*p++ = 0;
	return p;
}

static uint8_t *put_tcp(uint8_t *h, const struct clv_packet *pk)
{
	uint8_t *p = h;

	p = put_be16(put_be16(p, pk->src.port), pk->dst.port);
	p = put_be32(put_be32(p, pk->seq), pk->ack);
	p += 1; /* header length: below */
	*p++ = pk->tcp_flags;
	p = put_be32(put_be16(p, 0xffff), 0); /* window; checksum and urgent pointer */
	p = put_own_option(p, pk);
	h[12] = (uint8_t)((p - h) / 4 << 4);
	return p;
}

static uint8_t *put_udp(uint8_t *h, const struct clv_packet *pk)
{
	uint32_t len = 8 + pk->len;
	uint8_t *p = put_be16(put_be16(h, pk->src.port), pk->dst.port);

	return put_be16(put_be16(p, len <= 0xffff ? (uint16_t)len : 0), 0);
}

/* Tools verify it, at `at` of the header, where a segment or datagram is complete; else it stays 0. */
static void put_checksum(uint8_t *l4, size_t header, size_t at, const struct clv_packet *pk, bool v4)
{
	size_t from = v4 ? 12 : 0;
	uint8_t rest[8];
	uint64_t sum;

	if (pk->payload.len != pk->len)
		return;
	put_be32(put_be32(rest, (uint32_t)header + pk->len), protocol_of(pk));
	sum = sum_add(0, rest, sizeof(rest));
	sum = sum_add(sum, pk->src.addr.b + from, 16 - from);
	sum = sum_add(sum, pk->dst.addr.b + from, 16 - from);
	sum = sum_add(sum, l4, header);
	sum_put(l4 + at, sum_add(sum, pk->payload.data, pk->payload.len));
	if (is_datagram(pk) && !l4[at] && !l4[at + 1]) /* 0 says that there is none (RFC 768) */
		l4[at] = l4[at + 1] = 0xff;
}

static size_t payload_len(const struct clv_packet *pk)
{
	return pk->payload.len < PAYLOAD_MAX ? pk->payload.len : PAYLOAD_MAX;
}

size_t clv_pcapng_frame(const struct clv_packet *pk, uint8_t *frame, uint32_t *wire_len)
{
	bool v4 = clv_addr_is_v4(&pk->src.addr) && clv_addr_is_v4(&pk->dst.addr);
	uint8_t l4[20 + OPT_MIN + OPT_HOLE + OPT_RETRANSMITS + OPT_TOTALS];
	size_t header = (size_t)((is_datagram(pk) ? put_udp(l4, pk) : put_tcp(l4, pk)) - l4);
	uint32_t l4_len = (uint32_t)header + pk->len;
	uint8_t *p = put_sll2(frame, pk, v4);

	put_checksum(l4, header, is_datagram(pk) ? 6 : 16, pk, v4);
	p = v4 ? put_ip4(p, pk, l4_len) : put_ip6(p, pk, l4_len);
	p = put(p, l4, header);
	*wire_len = (uint32_t)(p - frame) + pk->len;
	return (size_t)(put(p, pk->payload.data, payload_len(pk)) - frame);
}

/* An enhanced packet block; there is room for it. */
static void put_packet(struct clv_pcapng *w, const struct clv_packet *pk)
{
	uint8_t *block = w->buf + w->len, *frame = block + 28;
	uint32_t wire_len;
	uint32_t cap_len = (uint32_t)clv_pcapng_frame(pk, frame, &wire_len);
	uint8_t *p = put_native32(block + 8, 0); /* interface */

	p = put_native32(p, (uint32_t)(pk->ts_ns >> 32));
	p = put_native32(p, (uint32_t)pk->ts_ns);
	p = put_native32(p, cap_len);
	put_native32(p, wire_len);
	p = put(frame + cap_len, (const uint8_t[3]){0}, (4 - cap_len % 4) % 4);
	w->len = (size_t)(block_close(block, 6, p) - w->buf);
	w->buffered++;
}

/* ---- what others call ------------------------------------------------------------------------------- */

int clv_pcapng_open(const char *path, struct clv_pcapng **out)
{
	struct clv_pcapng *w = malloc(sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	memset(w, 0, offsetof(struct clv_pcapng, buf));
	w->fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
				       : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (w->fd < 0) {
		err = -errno;
		free(w);
		return err;
	}
	pcapng_header(w);
	pcapng_drain(w); /* at once: a place that can't be written shows before the capture begins */
	if (w->err) {
		err = w->err;
		w->err_told = true;
		clv_pcapng_close(w);
		return err;
	}
	*out = w;
	return 0;
}

int clv_pcapng_packet(struct clv_pcapng *w, const struct clv_packet *p)
{
	if (BUFFER_BYTES - w->len < BLOCK_BYTES + 3 + CLV_PCAPNG_HEADERS_MAX + payload_len(p))
		pcapng_drain(w);
	if (w->err)
		w->lost++;
	else
		put_packet(w, p);
	return pcapng_tell(w);
}

int clv_pcapng_flush(struct clv_pcapng *w)
{
	pcapng_drain(w);
	return pcapng_tell(w);
}

uint64_t clv_pcapng_lost(const struct clv_pcapng *w)
{
	return w->lost;
}

int clv_pcapng_close(struct clv_pcapng *w)
{
	int err;

	if (!w)
		return 0;
	pcapng_drain(w);
	err = w->err;
	if (close(w->fd) < 0 && !err) /* NFS tells of a full disk here */
		err = -errno;
	free(w);
	return err;
}

/* ---- reading it back -------------------------------------------------------------------------------- */

/* The option's bytes from its version on; empty when it is not there. */
static struct clv_slice find_own_option(struct clv_slice s)
{
	while (s.len >= 2 && s.data[0] != 0) {
		size_t len = s.data[0] == 1 ? 1 : s.data[1];

		if (len == 0 || len > s.len)
			break;
		if (s.data[0] == OPT_KIND && len >= OPT_MIN && s.data[2] == 'C' && s.data[3] == 'L')
			return clv_slice_sub(s, 4, len - 4);
		s = clv_slice_from(s, len);
	}
	return clv_slice(NULL, 0);
}

bool clv_pcapng_restore(struct clv_slice tcp_options, struct clv_packet *p)
{
	struct clv_slice o = find_own_option(tcp_options);

	if (!o.len || o.data[0] != OPT_VERSION)
		return false;

	uint8_t bits = o.data[1];
	const uint8_t *at = o.data + 2;
	size_t len = 2u + (bits & BIT_HOLE ? OPT_HOLE : 0) + (bits & BIT_RETRANSMITS ? OPT_RETRANSMITS : 0) +
		     (bits & BIT_TOTALS ? OPT_TOTALS : 0);

	if (o.len != len)
		return false;
	p->last = (bits & BIT_SIDE) == SIDE_LAST;
	p->side = p->last ? CLV_SIDE_OUT : bits & BIT_SIDE;
	p->sought = bits & BIT_SOUGHT;
	p->probe = bits & BIT_PROBE;
	p->walked = bits & BIT_WALKED;
	if (bits & BIT_HOLE) {
		p->hole_seq = be32(at);
		p->hole_len = be32(at + 4);
		at += OPT_HOLE;
	}
	if (bits & BIT_RETRANSMITS) {
		p->retransmits = (uint16_t)(at[0] << 8 | at[1]);
		at += OPT_RETRANSMITS;
	}
	if (bits & BIT_TOTALS) {
		p->total_packets = (uint64_t)be32(at) << 32 | be32(at + 4);
		p->total_bytes = (uint64_t)be32(at + 8) << 32 | be32(at + 12);
	}
	return true;
}

bool clv_pcapng_restore_datagram(struct clv_slice address, struct clv_packet *p)
{
	if (address.len != ADDRESS_BYTES || memcmp(address.data, (const uint8_t[]){'C', 'L', OPT_VERSION}, 3) != 0 ||
	    address.data[3] > CLV_SIDE_OUT)
		return false;
	p->side = address.data[3];
	return true;
}
