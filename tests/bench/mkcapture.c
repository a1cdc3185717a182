/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a capture of known traffic, as seen at a server's interface: connections that all live at the same time and
 * take turns at random, from a fixed seed, so the same options always make the same file.
 *
 *     mkcapture OUT.pcap [--packets N] [--flows N] [--kind KIND] [--seed N]
 *
 * KIND: small (HTTP/1.1, keep-alive; the default), short (a connection for each request), http2, redis, dns. Each
 * connection asks at least once, and ends properly, so there may be more packets than asked for. Prints how many
 * packets and requests it made. Every checksum is right.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "talkers.h"

enum { ETHERNET = 14, IP = 20, TCP = 20, UDP = 8, MSS = 1448, PORTS = 28000, MAX_FLOWS = 1000000 };
enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16 };
#define BEGIN_S  1793607300 /* 2026-11-02 08:15:00 UTC */
#define USEC     1000000
#define ACK_RARE 32 /* of a busy keep-alive connection, one response of so many gets an ACK of its own */

static const uint8_t syn_options[] = {2, 4, MSS >> 8, MSS & 255, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7};

enum step { CONNECT, ACCEPT, CONFIRM, REQUEST, ACK_REQUEST, RESPONSE, ACK_RESPONSE, CLOSE, CLOSED, LAST_ACK, DONE };

/* A connection, and its successors with `short`. Side 0 is the client. */
struct flow {
	enum step step;
	struct talk talk;
	uint32_t seq[2];
	uint16_t id[2];
};

static struct {
	const struct talker *talker;
	uint64_t packets_wanted;
	unsigned flows_wanted;
	uint64_t random;
	pcap_dumper_t *out;
	uint64_t clock_us, packets, requests, bytes;
	unsigned connections;
	struct flow *flow;
	unsigned *live, live_count; /* numbers of flows that are not done */
} m = {.packets_wanted = 1000000, .flows_wanted = 32, .random = 88172645463325252u};

/* xorshift64* */
static uint64_t draw(void)
{
	m.random ^= m.random >> 12;
	m.random ^= m.random << 25;
	m.random ^= m.random >> 27;
	return m.random * 2685821657736338717u;
}

static void put(uint8_t *p, uint32_t v, int bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> bytes * 8);
}

/* The ones' complement sum of RFC 1071, to be folded by fold(). */
static uint32_t sum(uint32_t s, const uint8_t *p, size_t len)
{
	for (; len > 1; p += 2, len -= 2)
		s += (uint32_t)(p[0] << 8 | p[1]);
	return len ? s + (uint32_t)(p[0] << 8) : s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static void address(const struct flow *f, int side, uint8_t ip[4], uint8_t port[2])
{
	unsigned n = f->talk.connection;

	put(ip, side ? 0x0a600014 : 0x0af40000 + n / PORTS + 2, 4); /* 10.96.0.20; 10.244.0.2 and up */
	put(port, side ? m.talker->port : 32768 + n % PORTS, 2);
}

static void write_frame(const uint8_t *frame, size_t len)
{
	struct pcap_pkthdr h = {.caplen = (bpf_u_int32)len, .len = (bpf_u_int32)len};

	m.clock_us += 2 + draw() % 7;
	h.ts.tv_sec = BEGIN_S + (time_t)(m.clock_us / USEC);
	h.ts.tv_usec = (suseconds_t)(m.clock_us % USEC);
	pcap_dump((u_char *)m.out, &h, frame);
	m.packets++;
	m.bytes += len;
}

/* Puts Ethernet and IP before `l4_len` bytes of layer 4 whose checksum stands at `check`, and writes all of it. */
static void send_l4(struct flow *f, int side, uint8_t protocol, uint8_t *frame, size_t l4_len, size_t check)
{
	uint8_t *ip = frame + ETHERNET, *l4 = ip + IP;

	memcpy(frame, side ? "\2\0\0\0\0\2\2\0\0\0\0\1\x08" : "\2\0\0\0\0\1\2\0\0\0\0\2\x08", 14);
	memset(ip, 0, IP);
	ip[0] = 0x45;
	put(ip + 2, (uint32_t)(IP + l4_len), 2);
	put(ip + 4, f->id[side]++, 2);
	ip[6] = 0x40; /* don't fragment */
	ip[8] = 64;
	ip[9] = protocol;
	address(f, side, ip + 12, l4);
	address(f, !side, ip + 16, l4 + 2);
	put(ip + 10, fold(sum(0, ip, IP)), 2);
	put(l4 + check, 0, 2);
	put(l4 + check, fold(sum(sum(protocol + (uint32_t)l4_len, ip + 12, 8), l4, l4_len)), 2);
	write_frame(frame, ETHERNET + IP + l4_len);
}

/* The payload stands already behind the headers, whose length is `head` without options of a SYN. */
static void send_tcp(struct flow *f, int side, uint8_t flags, uint8_t *frame, size_t payload)
{
	uint8_t *tcp = frame + ETHERNET + IP;
	size_t head = flags & SYN ? TCP + sizeof(syn_options) : TCP + 12;

	put(tcp + 4, f->seq[side], 4);
	put(tcp + 8, flags & ACK ? f->seq[!side] : 0, 4);
	tcp[12] = (uint8_t)(head / 4 << 4);
	tcp[13] = flags;
	put(tcp + 14, 502, 2);
	put(tcp + 16, 0, 4);
	if (flags & SYN) {
		memcpy(tcp + TCP, syn_options, sizeof(syn_options));
	} else { /* the times of day in milliseconds, as Linux sends them */
		put(tcp + TCP, 0x0101080a, 4);
		put(tcp + TCP + 4, (uint32_t)(m.clock_us / 1000), 4);
		put(tcp + TCP + 8, (uint32_t)(m.clock_us / 1000), 4);
	}
	f->seq[side] += (uint32_t)payload + !!(flags & (SYN | FIN));
	send_l4(f, side, 6, frame, head + payload, 16);
}

static void send_flags(struct flow *f, int side, uint8_t flags)
{
	uint8_t frame[ETHERNET + IP + TCP + sizeof(syn_options)];

	send_tcp(f, side, flags, frame, 0);
}

static void send_message(struct flow *f, int side)
{
	size_t head = m.talker->datagrams ? UDP : TCP + 12;
	uint8_t frame[ETHERNET + IP + TCP + 12 + TALK_BYTES], *l4 = frame + ETHERNET + IP;
	size_t len = (side ? m.talker->response : m.talker->request)(&f->talk, l4 + head);

	if (!m.talker->datagrams) {
		send_tcp(f, side, PSH | ACK, frame, len);
		return;
	}
	put(l4 + 4, (uint32_t)(UDP + len), 2);
	send_l4(f, side, 17, frame, UDP + len, 6);
}

static void flow_begin(struct flow *f)
{
	f->talk.connection = m.connections++;
	f->talk.exchange = 0;
	f->seq[0] = (uint32_t)draw();
	f->seq[1] = (uint32_t)draw();
	f->step = m.talker->datagrams ? REQUEST : CONNECT;
}

/* Is it time to come to an end? What is left to say by those that live is little. */
static bool enough(void)
{
	return m.packets + 4 * (uint64_t)m.live_count >= m.packets_wanted;
}

static void flow_request(struct flow *f)
{
	f->talk.random = draw();
	f->talk.last = m.talker->per_connection && f->talk.exchange + 1 == m.talker->per_connection;
	send_message(f, 0);
	m.requests++;
	f->step = m.talker->per_connection && !m.talker->datagrams ? ACK_REQUEST : RESPONSE;
}

static void flow_response(struct flow *f)
{
	bool last = f->talk.last;

	send_message(f, 1);
	f->talk.exchange++;
	if (m.talker->datagrams)
		f->step = DONE;
	else if (last || enough())
		f->step = CLOSE;
	else
		f->step = draw() % ACK_RARE ? REQUEST : ACK_RESPONSE;
}

/* With `short` the server closes, otherwise the client does. */
static void flow_close(struct flow *f)
{
	int side = f->talk.last;

	if (f->step == CLOSE)
		send_flags(f, side, FIN | ACK);
	else if (f->step == CLOSED)
		send_flags(f, !side, FIN | ACK);
	else
		send_flags(f, side, ACK);
	f->step++;
}

/* The next packet of a flow; false when that was its last. */
static bool flow_step(struct flow *f)
{
	switch (f->step) {
	case CONNECT:
		send_flags(f, 0, SYN);
		f->step = ACCEPT;
		break;
	case ACCEPT:
		send_flags(f, 1, SYN | ACK);
		f->step = CONFIRM;
		break;
	case CONFIRM:
		send_flags(f, 0, ACK);
		f->step = REQUEST;
		break;
	case REQUEST:
		flow_request(f);
		break;
	case ACK_REQUEST:
		send_flags(f, 1, ACK);
		f->step = RESPONSE;
		break;
	case RESPONSE:
		flow_response(f);
		break;
	case ACK_RESPONSE:
		send_flags(f, 0, ACK);
		f->step = REQUEST;
		break;
	case CLOSE:
	case CLOSED:
	case LAST_ACK:
		flow_close(f);
		break;
	case DONE:
		break;
	}
	if (f->step != DONE)
		return true;
	if (!m.talker->per_connection || enough())
		return false;
	flow_begin(f);
	return true;
}

static int make(void)
{
	m.flow = calloc(m.flows_wanted, sizeof(*m.flow));
	m.live = calloc(m.flows_wanted, sizeof(*m.live));
	if (!m.flow || !m.live)
		return -ENOMEM;
	m.live_count = m.flows_wanted;
	for (unsigned i = 0; i < m.flows_wanted; i++) {
		m.live[i] = i;
		flow_begin(&m.flow[i]);
	}
	while (m.live_count) {
		unsigned i = (unsigned)(draw() % m.live_count);

		if (!flow_step(&m.flow[m.live[i]]))
			m.live[i] = m.live[--m.live_count];
	}
	free(m.flow);
	free(m.live);
	return 0;
}

/* A number from 1 on; 0 if it is none. */
static uint64_t number(const char *text, uint64_t most)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	return *text == '-' || *end || n > most ? 0 : n;
}

/* Returns the file to write, or NULL. */
static const char *options(int argc, char **argv)
{
	static const struct option known[] = {
		{"packets", required_argument, NULL, 'p'},
		{"flows", required_argument, NULL, 'f'},
		{"kind", required_argument, NULL, 'k'},
		{"seed", required_argument, NULL, 's'},
		{0},
	};
	int c;

	m.talker = talker_find("small");
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'p')
			m.packets_wanted = number(optarg, UINT64_MAX);
		else if (c == 'f')
			m.flows_wanted = (unsigned)number(optarg, MAX_FLOWS);
		else if (c == 'k')
			m.talker = talker_find(optarg);
		else if (c == 's')
			m.random = number(optarg, UINT64_MAX);
		else
			return NULL;
	}
	bool good = m.packets_wanted && m.flows_wanted && m.talker && m.random;
	return good && optind + 1 == argc ? argv[optind] : NULL;
}

int main(int argc, char **argv)
{
	const char *path = options(argc, argv);

	if (!path) {
		fprintf(stderr,
			"usage: mkcapture OUT.pcap [--packets N] [--flows N] [--kind KIND] [--seed N]\nkinds: %s\n",
			talker_kinds());
		return 2;
	}
	pcap_t *format = pcap_open_dead(DLT_EN10MB, 65535);
	m.out = format ? pcap_dump_open(format, path) : NULL;
	if (!m.out) {
		fprintf(stderr, "mkcapture: %s\n", format ? pcap_geterr(format) : strerror(errno));
		return 1;
	}
	int err = make();
	if (!err && (pcap_dump_flush(m.out) || ferror(pcap_dump_file(m.out))))
		err = -EIO;
	pcap_dump_close(m.out);
	pcap_close(format);
	if (err) {
		fprintf(stderr, "mkcapture: %s: %s\n", path, strerror(-err));
		return 1;
	}
	printf("packets %" PRIu64 " requests %" PRIu64 " bytes %" PRIu64 "\n", m.packets, m.requests, m.bytes);
	return 0;
}
