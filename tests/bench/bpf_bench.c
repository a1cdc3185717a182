/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one packet costs in the kernel, by BPF_PROG_TEST_RUN: no network, so hardly any noise. Prints one line a
 * case; nothing is asserted. Needs root. The cost of an empty loop of TEST_RUN itself is not subtracted.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/bpf.h>

#include <bpf/bpf.h>

#include "source/ring.h"

#define HEADERS 54 /* Ethernet, IPv4, TCP */
#define REPEAT  200000u

static struct clv_ring *ring;

static void put(uint8_t *p, uint32_t v, int bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> bytes * 8);
}

static size_t frame(uint8_t *f, uint32_t seq, uint8_t flags, uint32_t len)
{
	memset(f, 0, HEADERS);
	put(f + 12, 0x0800, 2);
	f[14] = 0x45;
	put(f + 16, 40 + len, 2);
	f[23] = 6;
	put(f + 26, 0x0a000001, 4);
	put(f + 30, 0x0a000002, 4);
	put(f + 34, 40000, 2);
	put(f + 36, 80, 2);
	put(f + 38, seq, 4);
	f[46] = 0x50;
	f[47] = flags;
	memset(f + HEADERS, 'x', len);
	return HEADERS + len;
}

static void ignore_packet(void *ctx, const struct clv_packet *p)
{
}

static void drain(void)
{
	clv_ring_source(ring)->ops->poll(clv_ring_source(ring), ignore_packet, NULL, 0);
}

/* Mean time of one run, as the kernel measures it. */
static unsigned run(const uint8_t *f, size_t len, unsigned repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f, .data_size_in = (uint32_t)len, .repeat = (int)repeat);

	if (bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, false), &opts)) {
		perror("BPF_PROG_TEST_RUN");
		exit(1);
	}
	drain();
	return opts.duration;
}

/* The best of some tries: what is slower was disturbed. */
static void report(const char *name, const uint8_t *f, size_t len, unsigned repeat)
{
	unsigned best = ~0u;

	for (int i = 0; i < 7; i++) {
		unsigned ns = run(f, len, repeat);

		best = ns < best ? ns : best;
	}
	printf("%-34s %5u ns\n", name, best);
}

/* What pure ACKs and data cost when round-trip times are measured. */
static void report_measuring(void)
{
	struct clv_ring_config config = {.ring_bytes = 64u << 20, .measure = true};
	uint8_t f[4096];
	size_t len;

	if (clv_ring_open(&config, &ring))
		exit(1);
	len = frame(f, 1, 0x10, 0);
	report("measuring: pure ACK, no flow", f, len, REPEAT);
	run(f, frame(f, 1, 0x02, 0), 1);
	len = frame(f, 2, 0x10, 0);
	report("measuring: pure ACK", f, len, REPEAT);
	len = frame(f, 2, 0x18, 400);
	run(f, len, 1);
	report("measuring: duplicate of 400 B", f, len, REPEAT);
	len = frame(f, 1, 0x02, 400);
	report("measuring: record of 400 B", f, len, 50000);
	clv_ring_source(ring)->ops->close(clv_ring_source(ring));
}

/*
 * The same bytes again and again are a duplicate, so a head that is copied each time needs the state renewed: a SYN
 * with payload is always sent whole, and takes the same way from the flow on.
 */
int main(void)
{
	static const uint16_t other_port = 9;
	struct clv_ring_config config = {.ring_bytes = 64u << 20};
	uint8_t f[4096];
	size_t len;
	int err = clv_ring_open(&config, &ring);

	if (err) {
		fprintf(stderr, "bpf_bench: %s\n", strerror(-err));
		return 1;
	}
	len = frame(f, 1, 0x10, 0);
	report("pure ACK", f, len, REPEAT);
	f[23] = 17;
	report("UDP", f, len, REPEAT);
	run(f, frame(f, 1, 0x02, 0), 1);
	len = frame(f, 2, 0x18, 400);
	run(f, len, 1);
	report("duplicate of 400 B", f, len, REPEAT);
	len = frame(f, 1, 0x02, 400);
	report("record of 400 B", f, len, 50000);
	len = frame(f, 1, 0x02, 1400);
	report("record of 1400 B", f, len, 20000);
	len = frame(f, 1, 0x02, 0);
	report("record without payload", f, len, 50000);
	len = frame(f, 1, 0x04, 0);
	clv_ring_source(ring)->ops->close(clv_ring_source(ring));

	config = (struct clv_ring_config){.ports = &other_port, .port_count = 1};
	if (clv_ring_open(&config, &ring))
		return 1;
	len = frame(f, 2, 0x18, 400);
	report("unwanted port", f, len, REPEAT);
	clv_ring_source(ring)->ops->close(clv_ring_source(ring));
	report_measuring();
	return 0;
}
