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

/* Frames a poll() looks at before the caller has its turn. */
#define POLL_FRAMES 256

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

struct clv_pcap {
	struct clv_source source; /* first: a source points here */
	FILE *stream;             /* owned by libpcap */
	struct clv_input *input;  /* owned by that stream */
	pcap_t *pcap;
	uint32_t snapshot; /* no packet is longer in the file: what is, libpcap cuts */
	int link_type;
	enum clv_decode_side side;
	uint32_t tick_ns; /* of the usual format, in this machine's byte order: of its timestamps; 0: another format */
	int ended;        /* 0, or what poll() returns from now on */
	struct {
#define X(name, drop, text) uint64_t name;
		PCAP_FIGURES(X)
#undef X
	} count;
	char *path;
	char error[PCAP_ERRBUF_SIZE + 512]; /* empty: none */
};

static void pcap_count(struct clv_pcap *p, enum clv_decoded d)
{
	switch (d) {
	case CLV_DECODED_TCP:
		p->count.records++;
		break;
	case CLV_DECODED_UDP:
		p->count.records++;
		p->count.udp++;
		break;
	case CLV_DECODED_OTHER_L4:
		p->count.other_l4++;
		break;
	case CLV_DECODED_NOT_IP:
		p->count.not_ip++;
		break;
	case CLV_DECODED_FRAGMENT:
		p->count.drop_fragments++;
		break;
	case CLV_DECODED_MALFORMED:
		p->count.drop_malformed++;
		break;
	}
}

/* One frame. Was there a packet in it? */
static bool pcap_frame(struct clv_pcap *p, const struct pcap_pkthdr *h, const uint8_t *data, struct clv_packet *packet)
{
	struct clv_frame f = {
		.link_type = p->link_type,
		.side = p->side,
		.wire_len = h->len,
		.cap = clv_slice(data, h->caplen),
	};
	enum clv_decoded d = clv_decode(&f, packet);

	p->count.packets++;
	p->count.bytes += h->len;
	pcap_count(p, d);
	if (d != CLV_DECODED_TCP && d != CLV_DECODED_UDP)
		return false;
	p->count.record_bytes += h->caplen;
	p->count.payload_bytes += packet->payload.len;
	p->count.cut_bytes += packet->len - packet->payload.len;
	packet->ts_ns = (uint64_t)h->ts.tv_sec * 1000000000u + (uint64_t)h->ts.tv_usec; /* nanoseconds, as asked for */
	return true;
}

/*
 * A record of the usual format, where its packet lies whole in the stream's buffer: taken from there, without libpcap's
 * five calls and two copies. False: libpcap is to have a look, at the buffer's end and at whatever is odd.
 */
static bool pcap_take(struct clv_pcap *p, struct pcap_pkthdr *h, const uint8_t **data)
{
	struct clv_slice s = clv_input_peek(p->stream);
	struct {
		int32_t sec, ticks;
		uint32_t caplen, len;
	} r;

	if (!p->tick_ns || s.len < sizeof(r))
		return false;
	memcpy(&r, s.data, sizeof(r));
	if (r.caplen > s.len - sizeof(r) || r.caplen > p->snapshot)
		return false;
	h->ts.tv_sec = r.sec;
	h->ts.tv_usec = (suseconds_t)r.ticks * p->tick_ns;
	h->caplen = r.caplen;
	h->len = r.len;
	*data = s.data + sizeof(r);
	clv_input_take(p->stream, sizeof(r) + r.caplen);
	return true;
}

static const char *pcap_name(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* libpcap has no more. Says why, and whether what came before the end is all there was to have. */
static int pcap_end(struct clv_pcap *p, int r)
{
	int err = 0;
	const char *why = clv_input_error(p->input, &err);

	if (!why && r == PCAP_ERROR) {
		why = pcap_geterr(p->pcap);
		err = clv_input_ended(p->input) ? 0 : -EBADMSG;
	}
	if (why)
		snprintf(p->error, sizeof(p->error), "%s: %s after packet %llu: %s", pcap_name(p->path),
			 err ? "unreadable" : "cut short", (unsigned long long)p->count.packets, why);
	return err ? err : CLV_SOURCE_END;
}

/* Delivers what lies ready, at most so many frames. Returns the number of frames. */
static unsigned pcap_deliver(struct clv_pcap *p, unsigned most, clv_packet_fn fn, void *ctx, int *delivered)
{
	struct clv_packet packet;
	struct pcap_pkthdr h;
	const uint8_t *data;
	unsigned frames = 0;

	for (; frames < most && pcap_take(p, &h, &data); frames++)
		if (pcap_frame(p, &h, data, &packet)) {
			fn(ctx, &packet);
			++*delivered;
		}
	return frames;
}

/* The same, and tells of each packet before its turn. What is not delivered yet lies in the stream's buffer. */
static unsigned pcap_deliver_told(struct clv_pcap *p, unsigned most, clv_packet_fn fn, void *ctx, int *delivered)
{
	struct clv_packet ahead[CLV_SOURCE_AHEAD];
	unsigned frames = 0, told = 0, first = 0;
	struct pcap_pkthdr h;
	const uint8_t *data;

	for (; frames < most && pcap_take(p, &h, &data); frames++) {
		if (told - first == CLV_SOURCE_AHEAD)
			fn(ctx, &ahead[first++ % CLV_SOURCE_AHEAD]);
		struct clv_packet *packet = &ahead[told % CLV_SOURCE_AHEAD];

		if (pcap_frame(p, &h, data, packet)) {
			p->source.ahead(p->source.ahead_ctx, packet);
			told++;
		}
	}
	while (first != told)
		fn(ctx, &ahead[first++ % CLV_SOURCE_AHEAD]);
	*delivered += (int)told;
	return frames;
}

/* The frame that does not lie ready. Returns 1, or 0 when it has not come yet, or what libpcap says at the end. */
static int pcap_read(struct clv_pcap *p, struct clv_packet *packet, bool *is_packet, int timeout_ms)
{
	struct pcap_pkthdr *h;
	const uint8_t *data;

	if (!clv_input_ready(p->input, timeout_ms))
		return 0;
	int r = pcap_next_ex(p->pcap, &h, &data);
	if (r == 1)
		*is_packet = pcap_frame(p, h, data, packet);
	return r;
}

static int pcap_source_poll(struct clv_source *s, clv_packet_fn fn, void *ctx, int timeout_ms)
{
	struct clv_pcap *p = (struct clv_pcap *)s;
	struct clv_packet packet;
	unsigned frames = 0;
	int delivered = 0;

	while (!p->ended) {
		bool is_packet = false;

		frames += (s->ahead ? pcap_deliver_told : pcap_deliver)(p, POLL_FRAMES - frames, fn, ctx, &delivered);
		if (frames == POLL_FRAMES)
			break;
		int r = pcap_read(p, &packet, &is_packet, frames ? 0 : timeout_ms);
		if (!r)
			break;
		frames++;
		if (is_packet) {
			fn(ctx, &packet);
			delivered++;
		} else if (r != 1) {
			p->ended = pcap_end(p, r);
		}
	}
	return p->ended && !delivered ? p->ended : delivered;
}

static void pcap_source_close(struct clv_source *s)
{
	struct clv_pcap *p = (struct clv_pcap *)s;

	if (p->pcap)
		pcap_close(p->pcap);
	free(p->path);
	free(p);
}

static const struct clv_source_ops pcap_ops = {.poll = pcap_source_poll, .close = pcap_source_close};

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
	/* Older ones have the two lengths the other way round, some of them. */
	if (pcap_major_version(p->pcap) == PCAP_VERSION_MAJOR && pcap_minor_version(p->pcap) == PCAP_VERSION_MINOR)
		p->tick_ns = tick_ns;
	p->snapshot = (uint32_t)pcap_snapshot(p->pcap);
	p->stream = stream;
	p->link_type = pcap_datalink(p->pcap);
	if (!clv_decode_knows(p->link_type)) {
		const char *name = pcap_datalink_val_to_name(p->link_type);

		snprintf(why, PCAP_ERRBUF_SIZE,
			 "link type %s (%d) is not read; Ethernet, loopback, raw IP, SLL and SLL2 are",
			 name ? name : "unknown", p->link_type);
		return -ENOTSUP;
	}
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
	out[n++] = (struct clv_figure){.name = #id, .text = (words), .drop = (is_drop), .value = p->count.id};
	PCAP_FIGURES(X)
#undef X
	return n;
}
