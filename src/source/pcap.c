/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns an open capture file: input.c's bytes, libpcap's reading of the file formats, decode.c's of the frames, and
 * the counts of what became of them. Never captures live and never seeks. One thread.
 */
#include "source/pcap.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/input.h"

/* No packet that is read is longer, whatever the file says: libpcap's own limit for these link types. */
#define FRAME_MOST 262144u
/* What stands before a packet in the usual format. */
#define RECORD_BYTES 16u

#define PCAP_FIGURES(X)                                                          \
	X(packets, 0, "frames in the file")                                      \
	X(bytes, 0, "bytes of those frames on the wire")                         \
	X(records, 0, "TCP segments read from it")                               \
	X(record_bytes, 0, "captured bytes of those segments, headers included") \
	X(payload_bytes, 0, "payload bytes of those segments")                   \
	X(cut_bytes, 0, "payload bytes that were not captured (snaplen)")        \
	X(udp, 0, "UDP datagrams")                                               \
	X(other_l4, 0, "packets of other transports")                            \
	X(not_ip, 0, "frames that are not IP")                                   \
	X(drop_fragments, 1, "IP fragments other than the first")                \
	X(drop_malformed, 1, "packets whose headers do not parse")

enum pcap_figure {
#define X(name, drop, text) COUNT_##name,
	PCAP_FIGURES(X)
#undef X
		PCAP_COUNTS
};
_Static_assert(PCAP_COUNTS == CLV_BATCH_COUNTS, "a batch counts what the file's figures are");

struct clv_pcap {
	struct clv_source source; /* first: a source points here */
	FILE *stream;             /* owned by libpcap; under `direct` it is left alone */
	struct clv_input *input;  /* owned by that stream */
	pcap_t *pcap;
	uint32_t longest; /* no packet is longer in the file: what is, libpcap cuts or refuses */
	int link_type;
	enum clv_decode_side side;
	uint32_t tick_ns; /* of the usual format, in this machine's byte order: of its timestamps */
	bool direct;      /* such a file, and nothing was odd so far: the stream and libpcap have no part in it */
	int ended;        /* 0, or what poll() returns from now on */
	uint64_t frames;  /* read */

	/* With `direct`: bytes that were read and not looked at. They lie in the last room, or in the stream's buffer.
	 */
	struct clv_slice rest;
	bool roomless; /* that is, they must be moved before packets of them are handed out */

	uint64_t count[PCAP_COUNTS];

	/* Of poll() only. */
	struct clv_batch *batch;
	uint8_t *room;

	char *path;
	char error[PCAP_ERRBUF_SIZE + 512]; /* empty: none */
};

static void pcap_count(struct clv_batch *b, enum clv_decoded d)
{
	static const enum pcap_figure figures[] = {
		[CLV_DECODED_TCP] = COUNT_records,
		[CLV_DECODED_UDP] = COUNT_udp,
		[CLV_DECODED_OTHER_L4] = COUNT_other_l4,
		[CLV_DECODED_NOT_IP] = COUNT_not_ip,
		[CLV_DECODED_FRAGMENT] = COUNT_drop_fragments,
		[CLV_DECODED_MALFORMED] = COUNT_drop_malformed,
	};

	b->counts[figures[d]]++;
}

/* One frame more in a batch. `h`: its time is in nanoseconds. */
static void pcap_frame(struct clv_pcap *p, struct clv_batch *b, const struct pcap_pkthdr *h, const uint8_t *data)
{
	struct clv_frame f = {
		.link_type = p->link_type,
		.side = p->side,
		.wire_len = h->len,
		.cap = clv_slice(data, h->caplen),
	};
	struct clv_packet *packet = &b->packet[b->count];
	enum clv_decoded d = clv_decode(&f, packet);

	b->frames++;
	b->counts[COUNT_bytes] += h->len;
	pcap_count(b, d);
	if (d != CLV_DECODED_TCP && d != CLV_DECODED_UDP)
		return;
	b->count++;
	b->counts[COUNT_record_bytes] += h->caplen;
	b->counts[COUNT_payload_bytes] += packet->payload.len;
	b->counts[COUNT_cut_bytes] += packet->len - packet->payload.len;
	packet->ts_ns = (uint64_t)h->ts.tv_sec * 1000000000u + (uint64_t)h->ts.tv_usec;
}

/* ---- the usual format, without libpcap --------------------------------------------------------------------------- */

struct record {
	int32_t sec, ticks;
	uint32_t caplen, len;
};

/* What stands before the packet that lies first in the rest. False: that is not there whole yet. */
static bool pcap_record(const struct clv_pcap *p, struct record *r)
{
	_Static_assert(sizeof(*r) == RECORD_BYTES, "as in the file");
	if (!p->rest.data || p->rest.len < RECORD_BYTES) /* the first says it to analyzers */
		return false;
	memcpy(r, p->rest.data, RECORD_BYTES);
	return true;
}

/* Hands the rest to libpcap, which says what is wrong with it, or makes the best of it; and all that follows. */
static void pcap_give_up(struct clv_pcap *p)
{
	if (clv_input_unread(p->input, p->rest))
		p->ended = -ENOMEM;
	p->direct = false;
}

/* Frames as far as they are there whole. */
static void pcap_take(struct clv_pcap *p, struct clv_batch *b)
{
	struct record r;

	while (b->frames < CLV_BATCH_FRAMES && pcap_record(p, &r)) {
		if (r.caplen > p->longest) {
			pcap_give_up(p);
			return;
		}
		if (r.caplen > p->rest.len - RECORD_BYTES)
			return;
		struct pcap_pkthdr h = {
			.ts = {.tv_sec = r.sec, .tv_usec = (suseconds_t)r.ticks * p->tick_ns},
			.caplen = r.caplen,
			.len = r.len,
		};

		pcap_frame(p, b, &h, p->rest.data + RECORD_BYTES);
		p->rest = clv_slice_from(p->rest, RECORD_BYTES + r.caplen);
	}
}

static void pcap_move(struct clv_pcap *p, struct clv_batch *b, uint8_t *room)
{
	if (p->rest.len)
		memmove(room, p->rest.data, p->rest.len);
	p->rest.data = room;
	p->roomless = false;
	b->moved = true;
}

/* Reads behind the rest, which lies at the beginning of the room. */
static void pcap_fill(struct clv_pcap *p, uint8_t *room)
{
	size_t fill = CLV_ROOM_FILL_BYTES;
	struct record r;

	if (pcap_record(p, &r) && RECORD_BYTES + r.caplen > fill)
		fill = RECORD_BYTES + r.caplen;
	size_t n = clv_input_read(p->input, room + p->rest.len, fill - p->rest.len);
	p->rest.len += n;
	if (!n)
		pcap_give_up(p);
}

static void pcap_read_direct(struct clv_pcap *p, struct clv_batch *b, uint8_t *room, int timeout_ms)
{
	if (p->roomless)
		pcap_move(p, b, room);
	pcap_take(p, b);
	while (p->direct && !b->frames) {
		if (!clv_input_ready(p->input, timeout_ms))
			return;
		if (!b->moved)
			pcap_move(p, b, room);
		pcap_fill(p, room);
		if (p->direct)
			pcap_take(p, b);
	}
}

/* ---- any other, as libpcap reads it ------------------------------------------------------------------------------ */

static const char *pcap_name(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* libpcap has no more. Says why, and whether what came before the end is all there was to have. */
static int pcap_end(struct clv_pcap *p, uint64_t frames, int r)
{
	int err = 0;
	const char *why = clv_input_error(p->input, &err);

	if (!why && r == PCAP_ERROR) {
		why = pcap_geterr(p->pcap);
		err = clv_input_ended(p->input) ? 0 : -EBADMSG;
	}
	if (why)
		snprintf(p->error, sizeof(p->error), "%s: %s after packet %llu: %s", pcap_name(p->path),
			 err ? "unreadable" : "cut short", (unsigned long long)frames, why);
	return err ? err : CLV_SOURCE_END;
}

static void pcap_read_stream(struct clv_pcap *p, struct clv_batch *b, uint8_t *room, int timeout_ms)
{
	size_t used = 0;

	while (b->frames < CLV_BATCH_FRAMES && used < CLV_ROOM_FILL_BYTES && !p->ended) {
		struct pcap_pkthdr *h;
		const uint8_t *data;

		if (!clv_input_ready(p->input, b->frames ? 0 : timeout_ms))
			return;
		int r = pcap_next_ex(p->pcap, &h, &data);
		if (r == 1) {
			struct pcap_pkthdr cut = *h;

			cut.caplen = cut.caplen < FRAME_MOST ? cut.caplen : FRAME_MOST;
			memcpy(room + used, data, cut.caplen);
			pcap_frame(p, b, &cut, room + used);
			used += cut.caplen;
			b->moved = true;
		} else {
			p->ended = pcap_end(p, p->frames + b->frames, r);
		}
	}
}

/* ---- a source ---------------------------------------------------------------------------------------------------- */

static int pcap_source_read(struct clv_source *s, struct clv_batch *b, uint8_t *room, int timeout_ms)
{
	struct clv_pcap *p = (struct clv_pcap *)s;

	b->frames = b->count = 0;
	b->moved = false;
	memset(b->counts, 0, sizeof(b->counts));
	if (p->direct)
		pcap_read_direct(p, b, room, timeout_ms);
	if (!p->direct && !b->frames && !p->ended)
		pcap_read_stream(p, b, room, timeout_ms);
	p->frames += b->frames;
	b->counts[COUNT_packets] = b->frames;
	b->counts[COUNT_records] += b->counts[COUNT_udp];
	return b->frames ? (int)b->frames : p->ended;
}

static void pcap_source_taken(struct clv_source *s, const struct clv_batch *b)
{
	struct clv_pcap *p = (struct clv_pcap *)s;

	for (size_t i = 0; i < PCAP_COUNTS; i++)
		p->count[i] += b->counts[i];
}

static int pcap_source_poll(struct clv_source *s, clv_packet_fn fn, void *ctx, int timeout_ms)
{
	struct clv_pcap *p = (struct clv_pcap *)s;
	if (!p->batch)
		p->batch = aligned_alloc(alignof(struct clv_batch), sizeof(*p->batch));
	struct clv_batch *b = p->batch;
	p->room = p->room ? p->room : malloc(CLV_ROOM_BYTES);
	if (!b || !p->room)
		return -ENOMEM;
	int n = pcap_source_read(s, b, p->room, timeout_ms);
	for (unsigned i = 0; i < b->count; i++)
		fn(ctx, &b->packet[i]);
	pcap_source_taken(s, b);
	return n < 0 ? n : (int)b->count;
}

static void pcap_source_close(struct clv_source *s)
{
	struct clv_pcap *p = (struct clv_pcap *)s;

	if (p->pcap)
		pcap_close(p->pcap);
	free(p->batch);
	free(p->room);
	free(p->path);
	free(p);
}

static const struct clv_source_ops pcap_ops = {
	.poll = pcap_source_poll,
	.read = pcap_source_read,
	.taken = pcap_source_taken,
	.close = pcap_source_close,
};

/* Is it pcap in this machine's byte order? Then how long a tick of its timestamps is, else 0. */
static uint32_t pcap_tick_ns(FILE *stream)
{
	const uint32_t micro = 0xa1b2c3d4, nano = 0xa1b23c4d;
	uint32_t magic = 0;
	int first = getc(stream); /* fills the buffer */

	if (first == EOF)
		return 0;
	ungetc(first, stream);
	if (clv_input_peek(stream).len >= sizeof(magic))
		memcpy(&magic, clv_input_peek(stream).data, sizeof(magic));
	return magic == micro ? 1000 : magic == nano ? 1 : 0;
}

/* Older ones have the two lengths the other way round, some of them. */
static void pcap_start_direct(struct clv_pcap *p, uint32_t tick_ns)
{
	uint32_t snapshot = (uint32_t)pcap_snapshot(p->pcap);

	if (!tick_ns || pcap_major_version(p->pcap) != PCAP_VERSION_MAJOR ||
	    pcap_minor_version(p->pcap) != PCAP_VERSION_MINOR)
		return;
	p->tick_ns = tick_ns;
	p->longest = snapshot < FRAME_MOST ? snapshot : FRAME_MOST;
	p->direct = p->roomless = true;
	p->rest = clv_input_buffered(p->stream);
}

/* Each failure says for people what it was; `why` has room for what libpcap says. */
static int pcap_start(struct clv_pcap *p, char why[PCAP_ERRBUF_SIZE])
{
	FILE *stream;
	int err = clv_input_open(p->path, &p->input, &stream);

	if (err) {
		snprintf(why, PCAP_ERRBUF_SIZE, "%s",
			 err == -ENODATA   ? "is empty"
			 : err == -ENOTSUP ? "compressed with something other than gzip: decompress it first (zstdcat, "
					     "xzcat, ...) and read - from a pipe"
					   : strerror(-err));
		return err == -ENODATA ? -EINVAL : err;
	}
	uint32_t tick_ns = pcap_tick_ns(stream);
	p->pcap = pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, why);
	if (!p->pcap) {
		const char *input_why = clv_input_error(p->input, &err);

		if (input_why)
			snprintf(why, PCAP_ERRBUF_SIZE, "%s", input_why);
		else if (strstr(why, "unknown file format"))
			snprintf(why, PCAP_ERRBUF_SIZE, "is neither pcap nor pcapng");
		fclose(stream);
		return err ? err : -EINVAL;
	}
	p->stream = stream;
	p->link_type = pcap_datalink(p->pcap);
	if (!clv_decode_knows(p->link_type)) {
		const char *name = pcap_datalink_val_to_name(p->link_type);

		snprintf(why, PCAP_ERRBUF_SIZE,
			 "link type %s (%d) is not read; Ethernet, loopback, raw IP, SLL and SLL2 are",
			 name ? name : "unknown", p->link_type);
		return -ENOTSUP;
	}
	pcap_start_direct(p, tick_ns);
	return 0;
}

int clv_pcap_open(const struct clv_pcap_config *config, struct clv_source **out, char *err, size_t err_len)
{
	char why[PCAP_ERRBUF_SIZE] = "out of memory";
	struct clv_pcap *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (p) {
		p->source.ops = &pcap_ops;
		p->side = config->side;
		p->path = strdup(config->path);
		if (p->path)
			r = pcap_start(p, why);
	}
	if (r) {
		snprintf(err, err_len, "%s: %s", pcap_name(config->path), why);
		if (p)
			pcap_source_close(&p->source);
		return r;
	}
	*out = &p->source;
	return 0;
}

const char *clv_pcap_error(const struct clv_source *s)
{
	const struct clv_pcap *p = (const struct clv_pcap *)s;

	return p->error[0] ? p->error : NULL;
}

size_t clv_pcap_figures(const struct clv_source *s, struct clv_figure out[CLV_PCAP_FIGURES])
{
	const struct clv_pcap *p = (const struct clv_pcap *)s;
	size_t n = 0;

#define X(id, is_drop, words) \
	out[n++] = (struct clv_figure){.name = #id, .text = (words), .drop = (is_drop), .value = p->count[COUNT_##id]};
	PCAP_FIGURES(X)
#undef X
	return n;
}
