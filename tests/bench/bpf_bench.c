/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one packet costs in the kernel, by BPF_PROG_TEST_RUN: no network, so hardly any noise. Prints one line a
 * case: the time of a run, and how much of it is more than an empty program took, in turns with it, which is what
 * TEST_RUN itself costs. Nothing is asserted. Needs root.
 *
 * bpf_bench --count: instead, how large each program is and what the verifier had to walk through, for
 * tests/bench/count.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/bpf.h>

#include <bpf/bpf.h>

#include "source/ring.h"

#define HEADERS 54 /* Ethernet, IPv4, TCP */
#define REPEAT  100000u
#define ROUNDS  15

static struct clv_ring *ring;
static enum clv_layer layer = CLV_LAYER_ETHERNET;

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
	clv_ring_source(ring, 0)->ops->poll(clv_ring_source(ring, 0), ignore_packet, NULL, 0);
}

/* Mean time of one run, as the kernel measures it. */
static unsigned run_program(int fd, const uint8_t *f, size_t len, unsigned repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f, .data_size_in = (uint32_t)len, .repeat = (int)repeat);

	if (bpf_prog_test_run_opts(fd, &opts)) {
		perror("BPF_PROG_TEST_RUN");
		exit(1);
	}
	return opts.duration;
}

static unsigned run(const uint8_t *f, size_t len, unsigned repeat)
{
	unsigned ns = run_program(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, layer), f, len, repeat);

	drain();
	return ns;
}

/* A program that lets every packet pass. */
static int load_empty(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(layer == CLV_LAYER_CGROUP ? BPF_PROG_TYPE_CGROUP_SKB : BPF_PROG_TYPE_SCHED_CLS, "empty",
			       "GPL", insns, 2, NULL);

	if (fd < 0) {
		perror("cannot load a program");
		exit(1);
	}
	return fd;
}

/* The best of some tries: what is slower was disturbed. */
static void report(const char *name, const uint8_t *f, size_t len, unsigned repeat)
{
	unsigned best = ~0u, best_empty = ~0u;
	int empty = load_empty();

	for (int i = 0; i < ROUNDS; i++) {
		unsigned ns = run(f, len, repeat), ns_empty = run_program(empty, f, len, REPEAT);

		best = ns < best ? ns : best;
		best_empty = ns_empty < best_empty ? ns_empty : best_empty;
	}
	close(empty);
	printf("%-34s %5u ns, %5u more than nothing\n", name, best, best - best_empty);
}

static void tell_ignore(void *ctx, const struct clv_packet *p)
{
	struct clv_kverdict v = {.kind = CLV_VERDICT_IGNORE};

	clv_ring_source(ring, 0)->ops->verdict(clv_ring_source(ring, 0), &p->kernel, &v);
}

/* Most of a run's are beyond the flow's budget; one at a time shows what a record costs, and much of TEST_RUN itself.
 */
static void report_datagrams(uint8_t *f)
{
	size_t len =
		frame(f, (8 + 112) << 16, 0, 100); /* where UDP's length stands in the place of TCP's sequence number */

	f[23] = 17;
	report("UDP of 112 B, 512 in a row", f, len, 512);
	report("UDP of 112 B, mostly beyond budget", f, len, REPEAT);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f, .data_size_in = (uint32_t)len, .repeat = 1);
	usleep(200000);
	bpf_prog_test_run_opts(clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, layer), &opts);
	clv_ring_source(ring, 0)->ops->poll(clv_ring_source(ring, 0), tell_ignore, NULL, 0);
	report("UDP, ignored", f, len, REPEAT);
}

/* What pure ACKs and data cost when round-trip times are measured, and when packets are counted as well. */
static void report_measuring(bool count)
{
	struct clv_ring_config config = {.ring_bytes = 64u << 20, .measure = true, .count_flows = count};
	uint8_t f[4096];
	size_t len;

	if (clv_ring_open(&config, &ring))
		exit(1);
	len = frame(f, 1, 0x10, 0);
	report(count ? "counting: pure ACK, no flow" : "measuring: pure ACK, no flow", f, len, REPEAT);
	run(f, frame(f, 1, 0x02, 0), 1);
	len = frame(f, 2, 0x10, 0);
	report(count ? "counting: pure ACK" : "measuring: pure ACK", f, len, REPEAT);
	len = frame(f, 2, 0x18, 400);
	run(f, len, 1);
	report(count ? "counting: duplicate of 400 B" : "measuring: duplicate of 400 B", f, len, REPEAT);
	len = frame(f, 1, 0x02, 400);
	report(count ? "counting: record of 400 B" : "measuring: record of 400 B", f, len, 50000);
	clv_ring_close(ring);
}

/* The programs of a cgroup: TEST_RUN takes the Ethernet header off for them, so the same frames do. */
static void report_cgroup(void)
{
	struct clv_ring_config config = {.ring_bytes = 64u << 20, .cgroups = true, .net_untold = CLV_NET_CGROUP};
	uint8_t f[4096];
	size_t len;

	if (clv_ring_open(&config, &ring))
		exit(1);
	layer = CLV_LAYER_CGROUP;
	len = frame(f, 1, 0x10, 0);
	report("cgroup: pure ACK", f, len, REPEAT);
	run(f, frame(f, 1, 0x02, 0), 1);
	len = frame(f, 2, 0x18, 400);
	run(f, len, 1);
	report("cgroup: duplicate of 400 B", f, len, REPEAT);
	len = frame(f, 1, 0x02, 400);
	report("cgroup: record of 400 B", f, len, 50000);
	clv_ring_close(ring);
	layer = CLV_LAYER_ETHERNET;
}

static int count_program(const char *name, enum clv_hook hook, enum clv_layer at)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int fd = clv_ring_prog_fd(ring, hook, at);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size)) {
		perror(name);
		return 1;
	}
	printf("%s xlated %u jited %u verified %u\n", name, info.xlated_prog_len, info.jited_prog_len,
	       info.verified_insns);
	return 0;
}

static int count_programs(void)
{
	struct clv_ring_config config = {.ring_bytes = 1u << 20, .cgroups = true, .net_untold = CLV_NET_CGROUP};
	int err = clv_ring_open(&config, &ring);

	if (err) {
		fprintf(stderr, "bpf_bench: %s\n", strerror(-err));
		return 1;
	}
	err = count_program("clovisor_in", CLV_HOOK_INGRESS, CLV_LAYER_ETHERNET) ||
	      count_program("clovisor_out", CLV_HOOK_EGRESS, CLV_LAYER_ETHERNET) ||
	      count_program("clovisor_in_cg", CLV_HOOK_INGRESS, CLV_LAYER_CGROUP) ||
	      count_program("clovisor_out_cg", CLV_HOOK_EGRESS, CLV_LAYER_CGROUP);
	clv_ring_close(ring);
	return err;
}

/*
 * The same bytes again and again are a duplicate, so a head that is copied each time needs the state renewed: a SYN
 * with payload is always sent whole, and takes the same way from the flow on.
 */
int main(int argc, char **argv)
{
	static const uint16_t other_port = 9;
	struct clv_ring_config config = {.ring_bytes = 64u << 20};
	uint8_t f[4096];
	size_t len;

	if (argc > 1 && strcmp(argv[1], "--count") == 0)
		return count_programs();
	int err = clv_ring_open(&config, &ring);
	if (err) {
		fprintf(stderr, "bpf_bench: %s\n", strerror(-err));
		return 1;
	}
	len = frame(f, 1, 0x10, 0);
	report("pure ACK", f, len, REPEAT);
	report_datagrams(f);
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
	clv_ring_close(ring);

	config = (struct clv_ring_config){.ports = &other_port, .port_count = 1};
	if (clv_ring_open(&config, &ring))
		return 1;
	len = frame(f, 2, 0x18, 400);
	report("unwanted port", f, len, REPEAT);
	clv_ring_close(ring);
	report_measuring(false);
	report_measuring(true);
	report_cgroup();
	return 0;
}
