/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns records into packets and verdicts into control words. Owns nothing but its mapping of the ring buffer, and
 * how far that and the CPUs' rings were read; never looks into a payload. Runs on its worker's thread, of which there
 * may be several, each with a reader of its own.
 *
 * The reader is woken rarely on purpose: while traffic flows it sleeps for a while between drains, and the
 * kernel wakes it early only when room runs out, or something is urgent. After some empty drains it asks for one
 * wake-up and blocks.
 */
#include "source/reader.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/*
 * Each drain begins with cold caches, which costs a fifth of a millisecond, and stands in the way of those that run
 * then. So there are few of them, as long as what comes between two finds room in the CPUs' rings, which stay in the
 * cache, and is not seen late: after 8 steps, 4, 2 or each. Twice as long a time takes a quarter off what a request
 * costs, at some thousand a second.
 *
 * All workers drain at the same moments, multiples of the time on CLOCK_MONOTONIC: while one works, a client on another
 * processor mostly waits for a server on this one, or the other way round, so that is when the others disturb least.
 */
#define CLV_STEP_MS     10
#define CLV_STEPS_MOST  8
#define CLV_DRAIN_BYTES (512u << 10)
/* Who may wait for less does not wait for its turn. */
#define CLV_PATIENT_MS 20

/* Drains without a record after which the reader blocks. */
#define CLV_IDLE_DRAINS 3
/* The lease is renewed by poll(), so poll() never waits for longer. */
#define CLV_POLL_MAX_MS 1000
/* A drain ends here, so that a flood cannot keep poll() from returning. */
#define CLV_DRAIN_RECORDS 65536
#define NS_PER_MS         1000000ull
#define NS_PER_S          1000000000ull

/* Between a hook's look at the clock and its reservation there may be a virtual machine's pause. */
#define CLV_SETTLE_NS (100ull * 1000 * 1000)

/* While it is held: how long until somebody looks again. */
#define CLV_HELD_MS 2

/* ---- records to packets ----------------------------------------------------------------------------- */

static bool record_valid(const struct clv_rec *rec, size_t size)
{
	return size >= sizeof(*rec) && rec->cap <= size - sizeof(*rec) &&
	       (rec->cap <= rec->len || rec->flags & CLV_REC_PIECES);
}

/* Each piece of a packet is delivered as a packet, with what was left out before it. */
static void deliver_pieces(struct clv_reader *r, struct clv_packet *p)
{
	struct clv_slice rest = p->payload;
	uint8_t tcp_flags = p->tcp_flags;

	while (rest.len >= sizeof(struct clv_piece)) {
		const struct clv_piece *piece = (const void *)rest.data;
		size_t size = sizeof(*piece) + ((size_t)piece->len + 3) / 4 * 4;

		if (size > rest.len) {
			r->bad_records++;
			return;
		}
		rest = clv_slice_from(rest, size);
		p->seq = piece->seq;
		p->len = piece->len;
		p->payload = clv_slice(piece->data, piece->len);
		p->tcp_flags = rest.len ? tcp_flags & (uint8_t)~CLV_TCP_FIN : tcp_flags;
		r->fn(r->ctx, p);
		if (rest.len >= sizeof(*piece)) {
			p->hole_seq = piece->seq + piece->len;
			p->hole_len = ((const struct clv_piece *)(const void *)rest.data)->seq - p->hole_seq;
		}
		p->retransmits = 0;
		p->rtt_ns = 0;
	}
}

/* Those that the stack carries as one are delivered one by one. */
static void deliver_datagrams(struct clv_reader *r, struct clv_packet *p)
{
	uint32_t each = p->seq && p->seq < p->len ? p->seq : p->len;
	struct clv_slice rest = p->payload;

	p->transport = CLV_TRANSPORT_UDP;
	p->seq = p->ack = 0;
	uint32_t left = p->len;
	do {
		p->len = left < each ? left : each;
		p->payload = clv_slice_head(rest, p->len);
		rest = clv_slice_from(rest, p->len);
		left -= p->len;
		r->fn(r->ctx, p);
	} while (left);
}

static void add_totals(const struct clv_reader *r, const struct clv_rec *rec, enum clv_hook hook, struct clv_packet *p)
{
	if (!r->kernel->counts || !rec->gen || rec->slot >= r->kernel->slots)
		return;

	const struct clv_count *c = &r->kernel->counts[rec->slot].dir[hook];
	uint64_t packets = __atomic_load_n(&c->packets, __ATOMIC_RELAXED);

	if (packets >> CLV_COUNT_BITS != rec->gen)
		return;
	p->total_packets = packets & ((1ull << CLV_COUNT_BITS) - 1);
	p->total_bytes = __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
}

static void record_deliver(struct clv_reader *r, const struct clv_rec *rec)
{
	enum clv_hook hook = rec->flags & CLV_REC_EGRESS ? CLV_HOOK_EGRESS : CLV_HOOK_INGRESS;
	struct clv_packet p = {
		.ts_ns = rec->ts_ns + r->kernel->unix_offset_ns,
		.src.addr = clv_addr_v6(rec->saddr),
		.src.port = rec->sport,
		.dst.addr = clv_addr_v6(rec->daddr),
		.dst.port = rec->dport,
		.net = rec->net,
		.seq = rec->seq,
		.ack = rec->ack,
		.len = rec->len,
		.payload = clv_slice(rec->data, rec->cap),
		.hole_seq = rec->hole_seq,
		.hole_len = rec->hole_len,
		.retransmits = rec->retransmits,
		.rtt_ns = clv_rtt_unpack(rec->rtt) * 1000ull,
		.tcp_flags = rec->tcp_flags,
		.side = clv_sides_get(&r->kernel->sides, rec->net, hook),
		.sought = rec->flags & CLV_REC_SOUGHT,
		.probe = rec->flags & CLV_REC_PROBE,
		.walked = rec->flags & CLV_REC_WALKED,
		.last = rec->flags & CLV_REC_LAST,
		.kernel = {.slot = rec->slot, .gen = rec->gen, .hook = hook},
	};

	add_totals(r, rec, hook, &p);
	if (rec->flags & CLV_REC_UDP)
		deliver_datagrams(r, &p);
	else if (rec->flags & CLV_REC_PIECES)
		deliver_pieces(r, &p);
	else
		r->fn(r->ctx, &p);
}

/* Tells of records before their turn, if anybody wants to know. */
static void reader_tell_ahead(struct clv_reader *r)
{
	const struct clv_merged *next;

	while (r->ahead < CLV_SOURCE_AHEAD && (next = clv_merge_at(&r->merge, r->ahead + 1))) {
		const struct clv_rec *rec = next->rec;

		r->ahead++;
		if (!record_valid(rec, next->bytes))
			continue;
		const struct clv_packet p = {
			.src = {.addr = clv_addr_v6(rec->saddr), .port = rec->sport},
			.dst = {.addr = clv_addr_v6(rec->daddr), .port = rec->dport},
			.net = rec->net,
			.transport = rec->flags & CLV_REC_UDP ? CLV_TRANSPORT_UDP : CLV_TRANSPORT_TCP,
			.len = rec->len,
			.tcp_flags = rec->tcp_flags,
			.side = clv_sides_get(&r->kernel->sides, rec->net,
					      rec->flags & CLV_REC_EGRESS ? CLV_HOOK_EGRESS : CLV_HOOK_INGRESS),
		};

		r->source.ahead(r->source.ahead_ctx, &p);
	}
	r->ahead -= r->ahead > 0;
}

/* Of what was written until `until_ns`, as much as is to be read now. Was that all there is? */
static bool reader_read(struct clv_reader *r, uint64_t until_ns)
{
	const struct clv_merged *next;
	bool more = true;

	r->ahead = 0;
	clv_merge_begin(&r->merge, until_ns);
	while (more && (next = clv_merge_at(&r->merge, 0))) {
		if (r->source.ahead)
			reader_tell_ahead(r);
		if (record_valid(next->rec, next->bytes))
			record_deliver(r, next->rec);
		else
			r->bad_records++;
		r->bytes += next->bytes;
		clv_merge_pass(&r->merge);
		more = ++r->delivered != CLV_DRAIN_RECORDS &&
		       !(r->leave_bytes && clv_merge_unread(&r->merge) < r->leave_bytes);
	}
	clv_merge_end(&r->merge);
	return more;
}

/* ---- the source ------------------------------------------------------------------------------------- */

/* Any worker's sign of life is good for all. */
static void reader_renew_lease(struct clv_reader *r, uint64_t now_ns)
{
	__atomic_store_n(&r->kernel->shared->lease_ns, now_ns + CLV_LEASE_NS, __ATOMIC_RELAXED);
}

/* Returns the number of records. */
static int reader_drain(struct clv_reader *r)
{
	uint64_t before;
	uint32_t read;

	r->delivered = 0;
	r->bytes = 0;
	r->apart_ns = clv_clock_ns() - r->began_ns;
	r->began_ns += r->apart_ns;
	do { /* until nothing has come meanwhile: a window may have become short, and nobody was to be woken for it */
		read = r->delivered;
		before = clv_clock_ns();
		reader_renew_lease(r, before);
		r->cut = !reader_read(r, before);
	} while (!r->cut && r->delivered != read);
	r->wake->wake_armed = r->held ? CLV_URGENT_NOW : CLV_URGENT_SOON;
	if (!r->cut && !r->merge.ring.busy)
		r->settled_ns = before;
	if (r->delivered) {
		r->idle_drains = 0;
		r->wake->want_wake = 0;
		r->asked = false;
	} else {
		r->idle_drains++;
	}
	return (int)r->delivered;
}

/* True when one of the caller's descriptors has something. */
static bool reader_wait_ns(struct clv_reader *r, uint64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	struct epoll_event events[4];
	/* Linux has it since 5.11, glibc a function of that name only since 2.35. */
	int n = (int)syscall(SYS_epoll_pwait2, r->epoll_fd, events, 4, &t, NULL, 0);

	if (n < 0 &&
	    (errno == ENOSYS || errno == EPERM)) /* a container's filter of system calls may be older than it */
		n = epoll_wait(r->epoll_fd, events, 4, (int)((ns + NS_PER_MS - 1) / NS_PER_MS));
	bool called = n < 0;

	for (int i = 0; i < n; i++) {
		called |= events[i].data.u64 != 0;
		r->source.calm &= events[i].data.u64 != 0;
	}
	return called;
}

static bool reader_wait(struct clv_reader *r, int ms)
{
	return reader_wait_ns(r, (uint64_t)ms * NS_PER_MS);
}

/* If as much comes as did before the last drain: how many steps make little enough of it for one. */
static unsigned reader_steps(const struct clv_reader *r)
{
	uint64_t each = r->bytes * CLV_STEP_MS * NS_PER_MS / (r->apart_ns + 1);
	unsigned steps = CLV_STEPS_MOST;

	while (steps > 1 && steps * each > r->drain_bytes)
		steps /= 2;
	return steps;
}

/* Until it is time for the next drain, but at most so long. */
static bool reader_wait_for_turn(struct clv_reader *r, int most_ms)
{
	unsigned steps = reader_steps(r);
	const uint64_t period_ns = steps * CLV_STEP_MS * NS_PER_MS, most_ns = (uint64_t)most_ms * NS_PER_MS;

	r->source.calm = steps == CLV_STEPS_MOST;
	uint64_t ns = period_ns - clv_clock_ns() % period_ns;

	return reader_wait_ns(r, ns < most_ns ? ns : most_ns);
}

static int min_int(int a, int b)
{
	return a < b ? a : b;
}

/* Nothing is lost when the records stay: there is room for more, and the kernel did not say that a window is short. */
static bool reader_can_keep(const struct clv_reader *r)
{
	return r->wake->wake_armed && clv_merge_unread(&r->merge) < r->keep_bytes;
}

/* Held, and not all can stay: so much is read that others have room, or all, for the sake of a window. */
static uint32_t reader_leave_bytes(const struct clv_reader *r)
{
	uint64_t unread = clv_merge_unread(&r->merge), step = r->wake_bytes / 8;
	bool short_of_room = unread >= r->keep_bytes || clv_ringbuf_unread(&r->merge.ring) >= r->wake_bytes;

	return short_of_room && unread > step ? (uint32_t)(unread - step) : 0;
}

/* Held: what can stay does. */
static int reader_poll_held(struct clv_reader *r, int ms)
{
	reader_renew_lease(r, clv_clock_ns());
	if (reader_can_keep(r))
		reader_wait(r, min_int(ms, CLV_HELD_MS));
	if (reader_can_keep(r))
		return 0;
	r->leave_bytes = reader_leave_bytes(r);
	return reader_drain(r);
}

static int reader_poll(struct clv_source *s, clv_packet_fn fn, void *ctx, int timeout_ms)
{
	struct clv_reader *r = (struct clv_reader *)s;
	int left = timeout_ms < 0 ? CLV_POLL_MAX_MS : min_int(timeout_ms, CLV_POLL_MAX_MS);
	int first = r->cut ? 0 : min_int(left, CLV_PATIENT_MS);
	const uint64_t until_ns = clv_clock_ns() + (uint64_t)left * NS_PER_MS;
	bool block = r->idle_drains >= CLV_IDLE_DRAINS;

	r->fn = fn;
	r->ctx = ctx;
	s->calm = false;
	if (r->held)
		return reader_poll_held(r, left);
	r->leave_bytes = 0;
	/*
	 * A record may be between its look at want_wake and its submission: hence the drain before the wait, and
	 * the short wait with a drain behind it before the long one; once, as long as nobody has taken it back.
	 */
	if (block) {
		r->asked &= r->wake->want_wake;
		r->wake->want_wake = 1;
		atomic_thread_fence(memory_order_seq_cst);
		int n = reader_drain(r);

		if (n)
			return n;
	}
	if (block && r->asked) {
		reader_wait(r, left);
		return reader_drain(r);
	}
	bool called = first == CLV_PATIENT_MS ? reader_wait_for_turn(r, left) : reader_wait(r, first);
	int n = reader_drain(r);

	uint64_t now_ns = clv_clock_ns();
	if (n || called || !block || now_ns >= until_ns)
		return n;
	r->asked = true;
	reader_wait_ns(r, until_ns - now_ns);
	return reader_drain(r);
}

/* Does it keep its own bounds? */
static bool framing_sound(const struct clv_framing *f)
{
	return f->header_bytes <= CLV_SHAPE_HEADER && f->length_bytes && f->length_bytes <= 4 &&
	       f->length_at + f->length_bytes <= f->header_bytes && f->type_at < f->header_bytes &&
	       f->keep_bytes >= f->header_bytes;
}

static uint8_t shape_find(const struct clv_kernel *k, const struct clv_shape *shape)
{
	uint8_t count = atomic_load_explicit(&k->shape_count, memory_order_acquire);

	for (uint8_t i = 1; i < count; i++)
		if (memcmp(&k->shapes[i], shape, sizeof(*shape)) == 0)
			return i;
	return 0;
}

/* 0: there are too many. Another worker may have been faster. */
static uint8_t shape_add(struct clv_kernel *k, const struct clv_shape *shape)
{
	pthread_mutex_lock(&k->shapes_lock);
	uint8_t i = shape_find(k, shape);

	if (!i && k->shape_count < CLV_SHAPES) {
		i = k->shape_count;
		k->shapes[i] = *shape;
		atomic_store_explicit(&k->shape_count, i + 1, memory_order_release);
	}
	pthread_mutex_unlock(&k->shapes_lock);
	return i;
}

/* Which of the kernel's shapes it is; a new one is told. 0: none, or there are too many. */
static uint8_t shape_index(struct clv_kernel *k, const struct clv_framing *f)
{
	struct clv_shape shape = {0};

	if (!f || !framing_sound(f))
		return 0;
	shape.header_bytes = f->header_bytes;
	shape.length_at = f->length_at;
	shape.length_bytes = f->length_bytes;
	shape.little_endian = f->little_endian;
	shape.length_adds = f->length_adds;
	shape.type_at = f->type_at;
	shape.keep_bytes = f->keep_bytes;
	memcpy(shape.whole, f->whole, sizeof(shape.whole));
	uint8_t i = shape_find(k, &shape);

	return i ? i : shape_add(k, &shape);
}

static void reader_verdict(struct clv_source *s, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct clv_reader *r = (struct clv_reader *)s;

	if (!ref->gen || ref->slot >= r->kernel->slots || ref->hook > CLV_HOOK_EGRESS)
		return;

	struct clv_ctl_dir *d = &r->kernel->ctl[ref->slot].dir[ref->hook];
	uint16_t flags = CLV_WORD_VALID;

	if (v->kind == CLV_VERDICT_SKIP) {
		flags |= (uint16_t)(shape_index(r->kernel, v->framing) << CLV_WORD_SHAPE_SHIFT);
		flags |= v->alone ? CLV_WORD_ALONE : 0;
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

static void reader_hold(struct clv_source *s, bool hold)
{
	struct clv_reader *r = (struct clv_reader *)s;

	r->held = hold;
	r->leave_bytes = hold ? r->keep_bytes : 0;
	r->cut |= !hold; /* what waits does not wait longer */
	r->wake->wake_armed = hold ? CLV_URGENT_NOW : CLV_URGENT_SOON;
}

static uint64_t reader_now_ns(struct clv_source *s)
{
	struct clv_reader *r = (struct clv_reader *)s;

	return r->settled_ns + r->kernel->unix_offset_ns - CLV_SETTLE_NS;
}

static int reader_urgent_fd(const struct clv_source *s)
{
	return ((const struct clv_reader *)s)->ring_fd;
}

static const struct clv_source_ops reader_ops = {
	.urgent_fd = reader_urgent_fd,
	.poll = reader_poll,
	.verdict = reader_verdict,
	.now_ns = reader_now_ns,
	.hold = reader_hold,
};

/* ---- start and end ----------------------------------------------------------------------------------- */

int clv_reader_wake_on(struct clv_reader *r, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1};

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

int clv_reader_open(struct clv_reader *r, struct clv_kernel *kernel, uint32_t worker, int fd, uint32_t ring_bytes,
		    uint32_t wake_bytes)
{
	/* Edge-triggered: data in the ring are no reason to wake up, only the kernel's asking is. */
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	size_t stride = kernel->cpu_ring_stride;
	void *cpu_rings = stride ? (uint8_t *)kernel->cpu_rings + worker * kernel->cpus * stride : NULL;

	r->source.ops = &reader_ops;
	r->kernel = kernel;
	r->wake = &kernel->shared->wake[worker];
	r->ring_fd = fd;
	r->wake_bytes = wake_bytes;
	r->keep_bytes = wake_bytes + kernel->cpus * kernel->cpu_ring_bytes;
	r->drain_bytes = r->keep_bytes / 4 < CLV_DRAIN_BYTES ? r->keep_bytes / 4 : CLV_DRAIN_BYTES;
	int err = clv_merge_open(&r->merge, cpu_rings, kernel->cpus, stride, kernel->cpu_ring_bytes);

	if (!err)
		err = clv_ringbuf_open(&r->merge.ring, fd, ring_bytes, sizeof(struct clv_rec) + CLV_REC_MAX_CAP);
	if (err)
		return err;
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->epoll_fd < 0 || epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e))
		return -errno;
	r->began_ns = r->settled_ns = clv_clock_ns();
	r->wake->wake_armed = CLV_URGENT_SOON;
	return 0;
}

void clv_reader_close(struct clv_reader *r)
{
	clv_merge_close(&r->merge);
	if (r->epoll_fd >= 0)
		close(r->epoll_fd);
}
