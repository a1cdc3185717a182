/* SPDX-License-Identifier: Apache-2.0 */
/* What is written to a pcapng file comes back as the same packets, and other tools find sound frames in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "source/pcap.h"
#include "source/pcapng.h"

static char path[] = P_tmpdir "/clovisor-test-XXXXXX";

static int make_path(void **state)
{
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);

	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int drop_path(void **state)
{
	return unlink(path);
}

/* ---- packets ----------------------------------------------------------------------------------------- */

#define PACKETS 3000

static uint8_t bytes[300000];

/* RFC 7348: its header, Ethernet, IPv4, UDP. */
static const uint8_t vxlan[8 + 14 + 20 + 8] = {8, [20] = 8, 0, [22] = 0x45, [25] = 28, [31] = 17, [47] = 8};

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

static struct clv_endpoint random_endpoint(bool v4)
{
	struct clv_endpoint e = {.port = (uint16_t)rnd()};

	for (size_t i = 0; i < sizeof(e.addr.b); i++)
		e.addr.b[i] = (uint8_t)rnd();
	if (v4)
		e.addr = clv_addr_v4(e.addr.b);
	return e;
}

/* Mostly small, sometimes a super-packet, now and then past what 16 bits can say. */
static uint32_t random_len(void)
{
	switch (rnd() % 8) {
	case 0:
		return 0;
	case 1:
		return rnd() % 70000;
	case 2:
		return 65400 + rnd() % 160;
	default:
		return rnd() % 1461;
	}
}

static struct clv_packet random_packet(void)
{
	bool v4 = rnd() % 2;
	struct clv_packet p = {
		.ts_ns = 1700000000000000000u + ((uint64_t)rnd() << 20) + rnd(),
		.src = random_endpoint(v4),
		.dst = random_endpoint(v4),
		.net = rnd() % 3 ? rnd() : 0,
		.seq = rnd(),
		.ack = rnd(),
		.len = random_len(),
		.tcp_flags = (uint8_t)rnd(),
		.side = (uint8_t)(rnd() % 3),
		.sought = rnd() % 2,
		.probe = rnd() % 2,
		.walked = rnd() % 2,
		.retransmits = rnd() % 2 ? (uint16_t)rnd() : 0,
		.total_packets = rnd() % 2 ? rnd() | 1ull << 33 : 0,
	};

	p.total_bytes = p.total_packets * 3;
	p.last = p.side == CLV_SIDE_OUT && rnd() % 2;
	if (rnd() % 3 == 0) {
		p.hole_seq = rnd();
		p.hole_len = rnd() % 100000;
	}
	p.payload = clv_slice(bytes + rnd() % 1000, rnd() % 3 ? p.len : rnd() % (p.len + 1));
	return p;
}

/* Sometimes to a port of tunnels, with what looks like one in it: live, nobody looks into them. */
static struct clv_packet random_datagram(void)
{
	struct clv_packet r = random_packet(), p = {
						       .ts_ns = r.ts_ns,
						       .src = r.src,
						       .dst = r.dst,
						       .net = r.net,
						       .side = r.side,
						       .len = r.len % 65508,
						       .transport = CLV_TRANSPORT_UDP,
					       };

	p.payload = clv_slice_head(r.payload, p.len);
	if (rnd() % 4 == 0) {
		p.dst.port = 4789;
		p.payload.data = vxlan;
		p.len = (uint32_t)(p.payload.len = sizeof(vxlan));
	}
	return p;
}

/* ---- reading back ------------------------------------------------------------------------------------ */

struct expectation {
	const struct clv_packet *packets;
	size_t count, seen;
};

static void check_packet(void *ctx, const struct clv_packet *got)
{
	struct expectation *e = ctx;

	assert_true(e->seen < e->count);

	const struct clv_packet *p = &e->packets[e->seen++];

	assert_int_equal(got->ts_ns, p->ts_ns);
	assert_memory_equal(&got->src.addr, &p->src.addr, sizeof(p->src.addr));
	assert_memory_equal(&got->dst.addr, &p->dst.addr, sizeof(p->dst.addr));
	assert_int_equal(got->src.port, p->src.port);
	assert_int_equal(got->dst.port, p->dst.port);
	assert_int_equal(got->net, p->net);
	assert_int_equal(got->transport, p->transport);
	assert_int_equal(got->seq, p->seq);
	assert_int_equal(got->ack, p->ack);
	assert_int_equal(got->len, p->len);
	assert_int_equal(got->payload.len, p->payload.len);
	assert_memory_equal(got->payload.data, p->payload.data, p->payload.len);
	assert_int_equal(got->hole_seq, p->hole_seq);
	assert_int_equal(got->hole_len, p->hole_len);
	assert_int_equal(got->retransmits, p->retransmits);
	assert_int_equal(got->total_packets, p->total_packets);
	assert_int_equal(got->total_bytes, p->total_bytes);
	assert_int_equal(got->tcp_flags, p->tcp_flags);
	assert_int_equal(got->side, p->side);
	assert_int_equal(got->last, p->last);
	assert_int_equal(got->sought, p->sought);
	assert_int_equal(got->probe, p->probe);
	assert_int_equal(got->walked, p->walked);
}

static int read_back(const struct clv_packet *packets, size_t count, size_t *seen)
{
	struct clv_pcap_config config = {.path = path, .side = CLV_DECODE_SIDE_POD}; /* the file knows better */
	struct expectation e = {.packets = packets, .count = count};
	struct clv_source *s;
	char err[512];
	int r;

	assert_int_equal(clv_pcap_open(&config, &s, err, sizeof(err)), 0);
	do
		r = s->ops->poll(s, check_packet, &e, 0);
	while (r >= 0);
	s->ops->close(s);
	*seen = e.seen;
	return r;
}

static void test_round_trip(void **state)
{
	struct clv_packet *packets = calloc(PACKETS, sizeof(*packets));
	struct clv_pcapng *w;
	size_t seen;

	assert_non_null(packets);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rnd();
	assert_int_equal(clv_pcapng_open(path, &w), 0);
	for (size_t i = 0; i < PACKETS; i++) {
		packets[i] = i % 4 ? random_packet() : random_datagram();
		assert_int_equal(clv_pcapng_packet(w, &packets[i]), 0);
	}
	assert_int_equal(clv_pcapng_lost(w), 0);
	assert_int_equal(clv_pcapng_close(w), 0);
	assert_int_equal(read_back(packets, PACKETS, &seen), CLV_SOURCE_END);
	assert_int_equal(seen, PACKETS);
	free(packets);
}

/* A packet is in the file once it was flushed, while the capture goes on. */
static void test_flush(void **state)
{
	struct clv_packet p = random_packet();
	struct clv_pcapng *w;
	size_t seen;

	assert_int_equal(clv_pcapng_open(path, &w), 0);
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	assert_int_equal(clv_pcapng_flush(w), 0);
	assert_int_equal(read_back(&p, 1, &seen), CLV_SOURCE_END);
	assert_int_equal(seen, 1);
	assert_int_equal(clv_pcapng_close(w), 0);
}

/* No reader takes a frame past 256 KiB: the payload is cut, its length stays true. */
static void test_largest_payload(void **state)
{
	struct clv_packet p = random_packet(), cut;
	struct clv_pcapng *w;
	size_t seen;

	p.len = sizeof(bytes);
	p.payload = clv_slice(bytes, sizeof(bytes));
	cut = p;
	cut.payload.len = 262144 - 120;
	assert_int_equal(clv_pcapng_open(path, &w), 0);
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	assert_int_equal(clv_pcapng_close(w), 0);
	assert_int_equal(read_back((const struct clv_packet[]){cut, cut}, 2, &seen), CLV_SOURCE_END);
	assert_int_equal(seen, 2);
}

/* ---- what other tools see ---------------------------------------------------------------------------- */

static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static bool sums_up(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static void test_checksums(void **state)
{
	static uint8_t payload[] = "an odd number of bytes.";
	struct clv_packet p = random_packet();
	char err[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *h;
	const uint8_t *f;
	struct clv_pcapng *w;

	p.len = sizeof(payload) - 1;
	p.payload = clv_slice(payload, p.len);
	assert_int_equal(clv_pcapng_open(path, &w), 0);
	p.src = random_endpoint(true);
	p.dst = random_endpoint(true);
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	p.src = random_endpoint(false);
	p.dst = random_endpoint(false);
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	p.transport = CLV_TRANSPORT_UDP;
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	p.src = random_endpoint(true);
	p.dst = random_endpoint(true);
	assert_int_equal(clv_pcapng_packet(w, &p), 0);
	assert_int_equal(clv_pcapng_close(w), 0);

	pcap_t *pcap = pcap_open_offline(path, err);

	assert_non_null(pcap);
	assert_int_equal(pcap_datalink(pcap), DLT_LINUX_SLL2);
	assert_int_equal(pcap_next_ex(pcap, &h, &f), 1);
	assert_true(sums_up(sum16(0, f + 20, 20)));
	assert_true(sums_up(sum16(6 + h->caplen - 40, f + 20 + 12, h->caplen - 32)));
	assert_int_equal(pcap_next_ex(pcap, &h, &f), 1);
	assert_true(sums_up(sum16(6 + h->caplen - 60, f + 20 + 8, h->caplen - 28)));
	assert_int_equal(pcap_next_ex(pcap, &h, &f), 1);
	assert_true(f[66] | f[67]);
	assert_true(sums_up(sum16(17 + h->caplen - 60, f + 20 + 8, h->caplen - 28)));
	assert_int_equal(pcap_next_ex(pcap, &h, &f), 1);
	assert_true(sums_up(sum16(0, f + 20, 20)));
	assert_true(sums_up(sum16(17 + h->caplen - 40, f + 20 + 12, h->caplen - 32)));
	pcap_close(pcap);
}

/* ---- a disk that is full ----------------------------------------------------------------------------- */

static void test_full_at_open(void **state)
{
	struct clv_pcapng *w = (struct clv_pcapng *)path;

	assert_int_equal(clv_pcapng_open("/dev/full", &w), -ENOSPC);
	assert_int_equal(clv_pcapng_open("/nonexistent/file", &w), -ENOENT);
	assert_ptr_equal(w, path);
}

static void test_full_on_the_way(void **state)
{
	struct rlimit old, small;
	struct clv_packet p = random_packet();
	struct clv_pcapng *w;
	int told = 0, r;
	size_t seen;

	p.len = 1000;
	p.payload = clv_slice(bytes, 1000);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
	assert_int_equal(clv_pcapng_open(path, &w), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 3000; i++)
		if ((r = clv_pcapng_packet(w, &p)) != 0) {
			assert_int_equal(r, -EFBIG);
			told++;
		}
	assert_int_equal(told, 1);
	assert_in_range(clv_pcapng_lost(w), 1500, 2600);
	assert_int_equal(clv_pcapng_close(w), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);

	struct clv_packet *same = calloc(3000, sizeof(*same));

	assert_non_null(same);
	for (int i = 0; i < 3000; i++)
		same[i] = p;
	assert_int_equal(read_back(same, 3000, &seen), CLV_SOURCE_END); /* cut short, but sound before */
	assert_in_range(seen, 800, 1000);
	free(same);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, make_path, drop_path),
		cmocka_unit_test_setup_teardown(test_flush, make_path, drop_path),
		cmocka_unit_test_setup_teardown(test_largest_payload, make_path, drop_path),
		cmocka_unit_test_setup_teardown(test_checksums, make_path, drop_path),
		cmocka_unit_test(test_full_at_open),
		cmocka_unit_test_setup_teardown(test_full_on_the_way, make_path, drop_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
