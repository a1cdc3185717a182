/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the loaded BPF object and its maps; turns records into packets and verdicts into control words. Never
 * attaches anything, never looks into a payload. Runs on the thread that polls, except where ring.h says so.
 *
 * The reader is woken rarely on purpose: while traffic flows it sleeps CLV_DRAIN_MS between drains, and the
 * kernel wakes it early only when room runs out. After some empty drains it asks for one wake-up and blocks.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/log.h"
#include "source/ring.h"
#include "capture.skel.h"

#define CLV_DRAIN_MS 10
/* Drains without a record after which the reader blocks. */
#define CLV_IDLE_DRAINS 3
/* The lease is renewed by poll(), so poll() never takes longer. */
#define CLV_POLL_MAX_MS 1000
/* A drain ends here, so that a flood cannot keep poll() from returning. */
#define CLV_DRAIN_RECORDS 65536
/* Between a hook's look at the clock and its reservation there may be a virtual machine's pause. */
#define CLV_SETTLE_NS (100ull * 1000 * 1000)

#define CLV_WAYS 4 /* bpf/maps.h */

#define LINK_SLOTS (2 * CLV_RING_LINKS)

enum { DRAIN_CUT = -ECANCELED };

/* One word, so that the reader needs no lock: ifindex in the upper half, below it what is known. */
#define LINK_LIVE 1ull
#define LINK_POD  2ull

struct clv_ring {
	struct clv_source source;
	struct capture *bpf;
	struct ring_buffer *rb;
	volatile struct clv_shared *shared;
	struct clv_ctl *ctl;
	size_t ctl_bytes;
	uint32_t slots;
	int epoll_fd;
	uint64_t unix_offset_ns; /* CLOCK_MONOTONIC to Unix time, fixed */
	uint64_t settled_ns;     /* CLOCK_MONOTONIC before the last complete drain */
	unsigned idle_drains;
	bool cut; /* the last drain left something */

	/* the drain that is running */
	clv_packet_fn fn;
	void *ctx;
	uint32_t delivered;

	_Atomic uint64_t bad_records;
	pthread_mutex_t links_lock; /* writers only */
	uint32_t link_count;
	_Atomic uint64_t links[LINK_SLOTS];
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* The distance of the two clocks, from the try with the least time between its two looks. */
static uint64_t unix_offset(void)
{
	uint64_t best = UINT64_MAX, offset = 0;

	for (int i = 0; i < 16; i++) {
		uint64_t before = clock_ns(CLOCK_MONOTONIC), unix_ns = clock_ns(CLOCK_REALTIME);
		uint64_t took = clock_ns(CLOCK_MONOTONIC) - before;

		if (took < best) {
			best = took;
			offset = unix_ns - (before + took / 2);
		}
	}
	return offset;
}

/* ---- interfaces ------------------------------------------------------------------------------------- */

static _Atomic uint64_t *link_slot(struct clv_ring *r, uint32_t ifindex)
{
	_Atomic uint64_t *free = NULL;

	for (uint32_t i = 0; i < LINK_SLOTS; i++) {
		_Atomic uint64_t *slot = &r->links[(ifindex + i) % LINK_SLOTS];
		uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);

		if (word >> 32 == ifindex)
			return slot;
		if (!free && !(word & LINK_LIVE))
			free = slot;
		if (!word)
			break;
	}
	return free;
}

int clv_ring_set_link(struct clv_ring *r, uint32_t ifindex, enum clv_viewpoint view)
{
	int err = -ENOSPC;

	pthread_mutex_lock(&r->links_lock);
	_Atomic uint64_t *slot = link_slot(r, ifindex);
	bool live = slot && *slot >> 32 == ifindex && *slot & LINK_LIVE;

	if (slot && (live || r->link_count < CLV_RING_LINKS)) {
		r->link_count += !live;
		*slot = (uint64_t)ifindex << 32 | LINK_LIVE | (view == CLV_VIEW_POD ? LINK_POD : 0);
		err = 0;
	}
	pthread_mutex_unlock(&r->links_lock);
	return err;
}

/* What is known stays until the slot is needed: records may still be on their way. */
void clv_ring_forget_link(struct clv_ring *r, uint32_t ifindex)
{
	pthread_mutex_lock(&r->links_lock);
	_Atomic uint64_t *slot = link_slot(r, ifindex);

	if (slot && *slot >> 32 == ifindex && *slot & LINK_LIVE) {
		*slot &= ~LINK_LIVE;
		r->link_count--;
	}
	pthread_mutex_unlock(&r->links_lock);
}

static enum clv_side link_side(struct clv_ring *r, uint32_t ifindex, enum clv_hook hook)
{
	for (uint32_t i = 0; i < LINK_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&r->links[(ifindex + i) % LINK_SLOTS], memory_order_relaxed);

		if (word >> 32 == ifindex)
			return !(word & LINK_POD) == (hook == CLV_HOOK_INGRESS) ? CLV_SIDE_IN : CLV_SIDE_OUT;
		if (!word)
			break;
	}
	return CLV_SIDE_UNKNOWN;
}

/* ---- records to packets ----------------------------------------------------------------------------- */

static bool record_valid(const struct clv_rec *rec, size_t size)
{
	return size >= sizeof(*rec) && rec->cap <= size - sizeof(*rec) && rec->cap <= rec->len;
}

static void record_deliver(struct clv_ring *r, const struct clv_rec *rec)
{
	enum clv_hook hook = rec->flags & CLV_REC_EGRESS ? CLV_HOOK_EGRESS : CLV_HOOK_INGRESS;
	struct clv_packet p = {
		.ts_ns = rec->ts_ns + r->unix_offset_ns,
		.src.addr = clv_addr_v6(rec->saddr),
		.src.port = rec->sport,
		.dst.addr = clv_addr_v6(rec->daddr),
		.dst.port = rec->dport,
		.net = rec->ifindex,
		.seq = rec->seq,
		.ack = rec->ack,
		.len = rec->len,
		.payload = clv_slice(rec->data, rec->cap),
		.hole_seq = rec->hole_seq,
		.hole_len = rec->hole_len,
		.retransmits = rec->retransmits,
		.rtt_ns = clv_rtt_unpack(rec->rtt) * 1000ull,
		.tcp_flags = rec->tcp_flags,
		.side = link_side(r, rec->ifindex, hook),
		.sought = rec->flags & CLV_REC_SOUGHT,
		.probe = rec->flags & CLV_REC_PROBE,
		.kernel = {.slot = rec->slot, .gen = rec->gen, .hook = hook},
	};

	r->fn(r->ctx, &p);
}

/* The record counts as read, also when the drain ends with it. */
static int on_record(void *ctx, void *data, size_t size)
{
	struct clv_ring *r = ctx;

	if (record_valid(data, size))
		record_deliver(r, data);
	else
		r->bad_records++;
	return ++r->delivered == CLV_DRAIN_RECORDS ? DRAIN_CUT : 0;
}

/* ---- the source ------------------------------------------------------------------------------------- */

/* Returns the number of records, or -errno. */
static int ring_drain(struct clv_ring *r)
{
	uint64_t before = clock_ns(CLOCK_MONOTONIC);

	r->shared->lease_ns = before + CLV_LEASE_NS;
	r->delivered = 0;
	int n = ring_buffer__consume(r->rb);

	r->shared->wake_armed = 1;
	r->cut = n == DRAIN_CUT;
	if (n < 0 && !r->cut)
		return n;
	if (!r->cut)
		r->settled_ns = before;
	if (r->delivered) {
		r->idle_drains = 0;
		r->shared->want_wake = 0;
	} else {
		r->idle_drains++;
	}
	return (int)r->delivered;
}

/* True when one of the caller's descriptors has something. */
static bool ring_wait(struct clv_ring *r, int ms)
{
	struct epoll_event events[4];
	int n = epoll_wait(r->epoll_fd, events, 4, ms);

	for (int i = 0; i < n; i++)
		if (events[i].data.u64)
			return true;
	return n < 0;
}

static int min_int(int a, int b)
{
	return a < b ? a : b;
}

static int ring_poll(struct clv_source *s, clv_packet_fn fn, void *ctx, int timeout_ms)
{
	struct clv_ring *r = (struct clv_ring *)s;
	int left = timeout_ms < 0 ? CLV_POLL_MAX_MS : min_int(timeout_ms, CLV_POLL_MAX_MS);
	int first = r->cut ? 0 : min_int(left, CLV_DRAIN_MS);
	bool block = r->idle_drains >= CLV_IDLE_DRAINS;

	r->fn = fn;
	r->ctx = ctx;
	/*
	 * A record may be between its look at want_wake and its submission: hence the drain before the wait, and
	 * the short wait with a drain behind it before the long one.
	 */
	if (block) {
		r->shared->want_wake = 1;
		atomic_thread_fence(memory_order_seq_cst);
		int n = ring_drain(r);

		if (n)
			return n;
	}
	bool called = ring_wait(r, first);
	int n = ring_drain(r);

	if (n || called || !block || left == first)
		return n;
	ring_wait(r, left - first);
	return ring_drain(r);
}

static void ring_verdict(struct clv_source *s, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct clv_ring *r = (struct clv_ring *)s;

	if (!ref->gen || ref->slot >= r->slots || ref->hook > CLV_HOOK_EGRESS)
		return;

	struct clv_ctl_dir *d = &r->ctl[ref->slot].dir[ref->hook];
	uint16_t flags = CLV_WORD_VALID;

	if (v->kind == CLV_VERDICT_SKIP) {
		__atomic_store_n(&d->skip, clv_word_make(v->seq, ref->gen, flags), __ATOMIC_RELEASE);
		return;
	}
	if (v->kind == CLV_VERDICT_IGNORE)
		flags |= CLV_WORD_IGNORE;
	else if (v->kind == CLV_VERDICT_PROBE)
		flags |= CLV_WORD_PROBE;
	else if (v->seek)
		flags |= CLV_WORD_SEEK;
	__atomic_store_n(&d->window, clv_word_make(v->seq, ref->gen, flags), __ATOMIC_RELEASE);
}

static uint64_t ring_now_ns(struct clv_source *s)
{
	struct clv_ring *r = (struct clv_ring *)s;

	return r->settled_ns + r->unix_offset_ns - CLV_SETTLE_NS;
}

static void ring_close(struct clv_source *s)
{
	struct clv_ring *r = (struct clv_ring *)s;

	if (r->bpf && r->bpf->bss)
		r->bpf->bss->shared.lease_ns = 0;
	if (r->ctl)
		munmap(r->ctl, r->ctl_bytes);
	ring_buffer__free(r->rb);
	if (r->epoll_fd >= 0)
		close(r->epoll_fd);
	capture__destroy(r->bpf);
	pthread_mutex_destroy(&r->links_lock);
	free(r);
}

static const struct clv_source_ops ring_ops = {
	.poll = ring_poll,
	.verdict = ring_verdict,
	.now_ns = ring_now_ns,
	.close = ring_close,
};

struct clv_source *clv_ring_source(struct clv_ring *r)
{
	return &r->source;
}

int clv_ring_wake_on(struct clv_ring *r, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1};

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

int clv_ring_prog_fd(struct clv_ring *r, enum clv_hook hook, bool l3)
{
	const struct bpf_program *in = l3 ? r->bpf->progs.clovisor_in_l3 : r->bpf->progs.clovisor_in;
	const struct bpf_program *out = l3 ? r->bpf->progs.clovisor_out_l3 : r->bpf->progs.clovisor_out;

	return bpf_program__fd(hook == CLV_HOOK_INGRESS ? in : out);
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static int ring_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char line[1024];

	if (level == LIBBPF_DEBUG || clv_log_max < CLV_LOG_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	clv_debug("%s", line);
	return 0;
}

void clv_ring_hush_libbpf(void)
{
	libbpf_set_print(ring_print);
}

/* The power of two at or above v (at most 2^30), 0 when there is none. */
static uint32_t round_up_power(uint32_t v)
{
	uint32_t p = 1;

	while (p < v && p < 1u << 30)
		p <<= 1;
	return p < v ? 0 : p;
}

static int ring_configure(struct clv_ring *r, const struct clv_ring_config *c)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	uint32_t bytes = round_up_power(c->ring_bytes ? c->ring_bytes : CLV_RING_BYTES);
	uint32_t flows = round_up_power(c->max_flows ? c->max_flows : CLV_RING_FLOWS);
	struct capture__rodata *knobs = r->bpf->rodata;

	if (!bytes || !flows || flows > 1u << 22)
		return -EINVAL;
	bytes = bytes < page ? page : bytes;
	flows = flows < CLV_WAYS ? CLV_WAYS : flows;
	r->slots = flows;
	knobs->set_mask = flows / CLV_WAYS - 1;
	knobs->snaplen = c->snaplen && c->snaplen < CLV_REC_MAX_CAP ? c->snaplen : CLV_REC_MAX_CAP;
	knobs->wake_bytes = bytes / 4;
	knobs->spare_bytes = c->strict_window ? 0 : CLV_WINDOW_SPARE_BYTES;
	knobs->measure = c->measure;
	knobs->ports_filtered = c->port_count > 0;
	for (size_t i = 0; i < c->port_count; i++)
		knobs->wanted_ports[c->ports[i] / 64] |= 1ull << c->ports[i] % 64;
	if (getrandom((void *)&knobs->hash_seed, sizeof(knobs->hash_seed), 0) != sizeof(knobs->hash_seed))
		return -EIO;
	if (bpf_map__set_max_entries(r->bpf->maps.flows, flows / CLV_WAYS) ||
	    bpf_map__set_max_entries(r->bpf->maps.ctl, flows) || bpf_map__set_max_entries(r->bpf->maps.ring, bytes))
		return -EINVAL;
	return 0;
}

static int ring_map_memory(struct clv_ring *r)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	/* Edge-triggered: data in the ring are no reason to wake up, only the kernel's asking is. */
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};

	r->ctl_bytes = (r->slots * sizeof(*r->ctl) + page - 1) / page * page;
	void *ctl = mmap(NULL, r->ctl_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(r->bpf->maps.ctl), 0);

	if (ctl == MAP_FAILED)
		return -errno;
	r->ctl = ctl;
	r->shared = &r->bpf->bss->shared;
	r->rb = ring_buffer__new(bpf_map__fd(r->bpf->maps.ring), on_record, r, NULL);
	if (!r->rb)
		return -errno;
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->epoll_fd < 0 || epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, bpf_map__fd(r->bpf->maps.ring), &e))
		return -errno;
	return 0;
}

static int ring_load(struct clv_ring *r, const struct clv_ring_config *config)
{
	clv_ring_hush_libbpf();
	r->bpf = capture__open();
	if (!r->bpf)
		return -errno;

	int err = ring_configure(r, config);

	if (!err)
		err = capture__load(r->bpf);
	return err ? err : ring_map_memory(r);
}

int clv_ring_open(const struct clv_ring_config *config, struct clv_ring **out)
{
	struct clv_ring *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->source.ops = &ring_ops;
	r->epoll_fd = -1;
	pthread_mutex_init(&r->links_lock, NULL);

	int err = ring_load(r, config);

	if (err) {
		ring_close(&r->source);
		return err;
	}
	r->unix_offset_ns = unix_offset();
	r->settled_ns = clock_ns(CLOCK_MONOTONIC);
	r->shared->lease_ns = r->settled_ns + CLV_LEASE_NS;
	r->shared->wake_armed = 1;
	*out = r;
	return 0;
}

/* ---- figures ---------------------------------------------------------------------------------------- */

/* Sums the per-CPU structs, which consist of 64-bit counts only. */
static int stats_sum(struct clv_ring *r, struct clv_kstats *sum)
{
	enum { COUNTS = sizeof(*sum) / sizeof(uint64_t) };
	int cpus = libbpf_num_possible_cpus();
	uint32_t zero = 0;

	if (cpus < 0)
		return cpus;

	uint64_t *per_cpu = calloc((size_t)cpus * COUNTS, sizeof(uint64_t));
	int err = per_cpu ? bpf_map_lookup_elem(bpf_map__fd(r->bpf->maps.stats), &zero, per_cpu) : -ENOMEM;

	for (size_t i = 0; !err && i < (size_t)cpus * COUNTS; i++)
		((uint64_t *)sum)[i % COUNTS] += per_cpu[i];
	free(per_cpu);
	return err;
}

size_t clv_ring_figures(struct clv_ring *r, struct clv_figure out[CLV_RING_FIGURES])
{
	struct clv_kstats sum = {0};
	size_t n = 0;

	stats_sum(r, &sum);
#define X(field, dropped, words)                                                           \
	out[n++] = (struct clv_figure){.name = &#field[dropped ? sizeof("drop_") - 1 : 0], \
				       .text = words,                                      \
				       .drop = dropped,                                    \
				       .value = sum.field};
	CLV_KSTATS(X)
#undef X
	out[n++] = (struct clv_figure){
		.name = "bad_records", .text = "records that made no sense", .drop = true, .value = r->bad_records};
	return n;
}

_Static_assert(sizeof(struct clv_kstats) / sizeof(uint64_t) + 1 <= CLV_RING_FIGURES, "room for every count");
