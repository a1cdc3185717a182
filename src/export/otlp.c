/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exporter. Owns queue, store, sender and the thread that drives them; never looks into an encoded span, never
 * writes to the wire or the disk itself.
 *
 * On the engine's thread: clv_otlp_span() and clv_otlp_tick(), up to the queue. All else on the exporter's thread:
 *
 *     queue -> records -> chunk -> store -> requests -> sender -> answer: settled, or sent again later
 *
 * A chunk is what one hand-over brought, with the resources that its spans name. A request is some chunks whole; it
 * keeps them until it is settled, outside the store, so what it holds is bounded by CLV_OTLP_FLIGHTS of them.
 */
#include "export/otlp.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "export/otlp_batch.h"
#include "export/otlp_encode.h"
#include "export/otlp_send.h"
#include "export/queue.h"
#include "export/store.h"

#define NS_PER_MS 1000000ull
/* The longest sleep of the thread; figures are as old at most. */
#define POLL_MS 500u
/* While the queue is held up because the store is full. */
#define FULL_MS 20u
/* How long the sender may take to let go, once all is said. */
#define LEAVE_NS 2000000000ull
#define REFS_MIN 8u

struct request {
	struct request *next;
	enum clv_export_signal signal;
	char *body;
	size_t len;
	uint32_t spans;
	uint64_t began_ns;
	size_t refs, ref_cap;
	struct clv_store_ref *ref;
};

/* A resource as the queue brought it. */
struct slot {
	uint32_t id, cap, len;
	uint64_t chunk; /* the last chunk that has it */
	char *data;
};

/* What is known of the collector of one signal. */
struct peer {
	unsigned flights;
	unsigned failures; /* in a row */
	uint64_t failed_ns, retry_ns;
	bool said;             /* that it fails; then it is said when it does not any more */
	uint64_t said_ns;      /* 0: never */
	uint64_t partial_ns;   /* when partial success was last spoken of; 0: never */
	struct request *again; /* to be sent again */
};

struct clv_otlp {
	struct clv_otlp_config config;
	struct clv_queue *queue;
	pthread_t thread;
	atomic_uint_fast64_t figure[CLV_OTLP_FIGURE_COUNT];
	atomic_uint_fast64_t flush_by_ns; /* set before the queue is closed */
	atomic_uint_fast64_t taken;       /* spans that the exporter's thread has had from the queue */

	/* The engine's thread; of several, whichever puts. */
	uint32_t announced[CLV_OTLP_SLOTS];
	pthread_mutex_t put;
	bool flushed;

	/* The exporter's thread. */
	struct clv_store *store;
	struct clv_sender *sender;
	struct clv_otlp_batch *batch;
	struct slot slot[CLV_OTLP_SLOTS];
	char *chunk;
	size_t chunk_bytes; /* a chunk is no longer, unless a single span is */
	size_t chunk_len, chunk_cap;
	uint32_t chunk_spans;
	uint64_t chunk_number;
	struct peer peer[CLV_EXPORT_SIGNALS];
	uint64_t out_spans;               /* in requests */
	uint64_t kept_spans;              /* were in requests, and are left in the spool for the next run */
	uint64_t flush_ns, flush_spans;   /* when what waits is sent, full batch or not; how much of that is left */
	uint64_t metrics_ns;              /* when the next are collected */
	uint64_t progress_ns;             /* when the collector last settled something */
	bool closing, over, said_dropped; /* no more spans come; nothing more can be done */
	uint32_t random;

	/* Both, at the end. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool settled, released, gone; /* figures are final; nobody wakes the sender; the thread is about to return */
};

/* One thread writes each figure. */
static void otlp_add(struct clv_otlp *o, enum clv_otlp_figure which, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&o->figure[which], memory_order_relaxed);

	atomic_store_explicit(&o->figure[which], v + n, memory_order_relaxed);
}

static void otlp_set(struct clv_otlp *o, enum clv_otlp_figure which, uint64_t n)
{
	atomic_store_explicit(&o->figure[which], n, memory_order_relaxed);
}

uint64_t clv_otlp_figure(struct clv_otlp *o, enum clv_otlp_figure which)
{
	return atomic_load_explicit(&o->figure[which], memory_order_relaxed);
}

void clv_otlp_figures(struct clv_otlp *o, struct clv_figure out[CLV_OTLP_FIGURE_COUNT])
{
	static const struct clv_figure figures[] = {
#define X(name, drop, text) {#name, text, drop, 0},
		CLV_OTLP_FIGURES(X)
#undef X
	};

	for (int i = 0; i < CLV_OTLP_FIGURE_COUNT; i++) {
		out[i] = figures[i];
		out[i].value = clv_otlp_figure(o, (enum clv_otlp_figure)i);
	}
}

/* ---- the engine's thread --------------------------------------------------------------------------------- */

/* Of a record with a resource, and with a span: the most it takes, and how much of that it took in the end. */
static size_t record_resource_bound(const struct clv_resource *r)
{
	return sizeof(struct clv_otlp_record) + clv_otlp_resource_bound(r);
}

static size_t record_resource(const struct clv_resource *r, char *room)
{
	struct clv_otlp_record head = {.type = CLV_OTLP_RECORD_RESOURCE, .resource = r->id};

	head.len = (uint32_t)clv_otlp_resource_write(r, room + sizeof(head));
	memcpy(room, &head, sizeof(head));
	return sizeof(head) + head.len;
}

static size_t record_span_bound(const struct clv_span *span)
{
	return sizeof(struct clv_otlp_record) + clv_otlp_span_bound(span);
}

static size_t record_span(const struct clv_span *span, char *room)
{
	struct clv_otlp_record head = {.type = CLV_OTLP_RECORD_SPAN, .resource = span->resource->id};

	head.len = (uint32_t)clv_otlp_span_write(span, room + sizeof(head));
	memcpy(room, &head, sizeof(head));
	return sizeof(head) + head.len;
}

static bool otlp_announce(struct clv_otlp *o, const struct clv_resource *r)
{
	char *room = clv_queue_room(o->queue, record_resource_bound(r));

	if (!room)
		return false;
	clv_queue_commit(o->queue, record_resource(r, room));
	o->announced[r->id % CLV_OTLP_SLOTS] = r->id;
	return true;
}

void clv_otlp_span(struct clv_otlp *o, const struct clv_span *span)
{
	const struct clv_resource *r = span->resource;
	char *room = NULL;

	otlp_add(o, CLV_OTLP_export_queued, 1);
	if (o->announced[r->id % CLV_OTLP_SLOTS] == r->id || otlp_announce(o, r))
		room = clv_queue_room(o->queue, record_span_bound(span));
	if (room)
		clv_queue_commit(o->queue, record_span(span, room));
	else
		otlp_add(o, CLV_OTLP_drop_export_queue_full, 1);
}

/* The parcel's spans are the exporter's from here on, be it that they are lost. */
static void otlp_put(struct clv_otlp *o, struct clv_otlp_parcel *p)
{
	if (!p->parcel.len)
		return;
	otlp_add(o, CLV_OTLP_export_queued, p->parcel.count);
	if (!clv_queue_put(o->queue, clv_parcel_get(&p->parcel)))
		otlp_add(o, CLV_OTLP_drop_export_queue_full, p->parcel.count);
	clv_parcel_clear(&p->parcel);
	memset(p->announced, 0, sizeof(p->announced));
}

void clv_otlp_put(struct clv_otlp *o, struct clv_otlp_parcel *p, bool *pressed)
{
	pthread_mutex_lock(&o->put);
	otlp_put(o, p);
	clv_queue_tick(o->queue);
	*pressed = clv_queue_pressed(o->queue);
	pthread_mutex_unlock(&o->put);
}

/* A span for which there was no memory. */
static void otlp_lose(struct clv_otlp *o)
{
	pthread_mutex_lock(&o->put);
	otlp_add(o, CLV_OTLP_export_queued, 1);
	otlp_add(o, CLV_OTLP_drop_export_queue_full, 1);
	pthread_mutex_unlock(&o->put);
}

void clv_otlp_collect(struct clv_otlp *o, struct clv_otlp_parcel *p, const struct clv_span *span)
{
	const struct clv_resource *r = span->resource;
	size_t bytes = record_resource_bound(r) + record_span_bound(span);
	bool pressed;

	if (clv_parcel_full(&p->parcel, bytes))
		clv_otlp_put(o, p, &pressed);
	char *room = clv_parcel_room(&p->parcel, bytes), *end = room;
	if (!room) {
		otlp_lose(o);
		return;
	}
	if (p->announced[r->id % CLV_OTLP_SLOTS] != r->id)
		end += record_resource(r, end);
	p->announced[r->id % CLV_OTLP_SLOTS] = r->id;
	end += record_span(span, end);
	clv_parcel_commit(&p->parcel, (size_t)(end - room), 1);
}

void clv_otlp_tick(struct clv_otlp *o)
{
	clv_queue_tick(o->queue);
}

bool clv_otlp_pressed(struct clv_otlp *o)
{
	return clv_queue_pressed(o->queue);
}

static void otlp_wake(void *ctx)
{
	struct clv_otlp *o = ctx;

	clv_sender_wake(o->sender);
}

/* ---- figures that the store keeps ------------------------------------------------------------------------ */

static void otlp_publish(struct clv_otlp *o)
{
	const struct clv_store_figures *f = clv_store_figures(o->store);
	uint64_t given =
		clv_otlp_figure(o, CLV_OTLP_export_queued) - clv_otlp_figure(o, CLV_OTLP_drop_export_queue_full);
	uint64_t queued = given - atomic_load_explicit(&o->taken, memory_order_relaxed);

	/* The engine's two figures are not read in one go. */
	if ((int64_t)queued < 0)
		queued = 0;
	otlp_set(o, CLV_OTLP_export_waiting, queued + f->waiting_spans + o->out_spans + o->kept_spans);
	otlp_set(o, CLV_OTLP_export_queue_bytes, clv_queue_used(o->queue) + f->waiting_bytes);
	otlp_set(o, CLV_OTLP_export_recovered, f->found_spans);
	otlp_set(o, CLV_OTLP_export_spooled, f->spooled_spans);
	otlp_set(o, CLV_OTLP_drop_export_budget, f->evicted_spans);
	otlp_set(o, CLV_OTLP_drop_export_damaged, f->damaged_spans);
	otlp_set(o, CLV_OTLP_spool_damaged, f->damaged_places);
}

/* Once for each time that the collector fails. */
static void otlp_say_dropped(struct clv_otlp *o, uint64_t before)
{
	if (o->said_dropped || clv_store_figures(o->store)->evicted_spans == before)
		return;
	o->said_dropped = true;
	clv_warn("too many spans wait for %s: the oldest are dropped from now on%s",
		 o->config.target[CLV_EXPORT_TRACES].shown, *o->config.spool ? "" : "; --spool keeps more of them");
}

/* ---- from the queue to the store ------------------------------------------------------------------------- */

static bool chunk_append(struct clv_otlp *o, const struct clv_otlp_record *head, const void *data)
{
	size_t len = o->chunk_len + sizeof(*head) + head->len;

	if (len > o->chunk_cap) {
		size_t cap = len + CLV_OTLP_CHUNK_BYTES / 4;
		char *p = realloc(o->chunk, cap);

		if (!p)
			return false;
		o->chunk = p;
		o->chunk_cap = cap;
	}
	memcpy(o->chunk + o->chunk_len, head, sizeof(*head));
	if (head->len)
		memcpy(o->chunk + o->chunk_len + sizeof(*head), data, head->len);
	o->chunk_len = len;
	return true;
}

static void chunk_end(struct clv_otlp *o)
{
	uint64_t before = clv_store_figures(o->store)->evicted_spans;

	if (o->chunk_spans)
		clv_store_put(o->store, clv_slice(o->chunk, o->chunk_len), o->chunk_spans, clv_clock_ns());
	otlp_say_dropped(o, before);
	o->chunk_len = o->chunk_spans = 0;
	o->chunk_number++;
}

static void otlp_on_resource(struct clv_otlp *o, const struct clv_otlp_record *head, struct clv_slice data)
{
	struct slot *s = &o->slot[head->resource % CLV_OTLP_SLOTS];

	if (s->id == head->resource) /* told again: it never changes */
		return;
	*s = (struct slot){.data = s->data, .cap = s->cap};
	if (head->len > s->cap) {
		char *p = realloc(s->data, head->len);

		if (!p)
			return; /* its spans are counted as lost */
		s->data = p;
		s->cap = head->len;
	}
	memcpy(s->data, data.data, head->len);
	s->len = head->len;
	s->id = head->resource;
}

/* The next span begins another chunk. */
static bool chunk_is_full(const struct clv_otlp *o, const struct clv_otlp_record *head)
{
	return o->chunk_spans &&
	       (o->chunk_spans >= o->config.max_batch || o->chunk_len + sizeof(*head) + head->len > o->chunk_bytes);
}

/* Into the chunk, which is not full, after its resource. False: no memory. */
static bool otlp_on_span(struct clv_otlp *o, const struct clv_otlp_record *head, struct clv_slice data)
{
	struct slot *s = &o->slot[head->resource % CLV_OTLP_SLOTS];

	if (s->id != head->resource)
		return false;
	if (s->chunk != o->chunk_number) {
		struct clv_otlp_record resource = {.len = s->len, .type = CLV_OTLP_RECORD_RESOURCE, .resource = s->id};

		if (!chunk_append(o, &resource, s->data))
			return false;
		s->chunk = o->chunk_number;
	}
	if (!chunk_append(o, head, data.data))
		return false;
	o->chunk_spans++;
	return true;
}

/* Whether the engine is held up rather than losing spans: for a while. */
static bool otlp_holds_up(struct clv_otlp *o, uint64_t now_ns)
{
	return o->config.wait && !o->closing && !clv_store_fits(o->store, o->chunk_bytes, o->config.max_batch) &&
	       clv_store_figures(o->store)->waiting_spans && now_ns - o->progress_ns < CLV_OTLP_PATIENCE_NS;
}

/* Takes what was handed over. Returns false when some of it must stay in the queue for now. */
static bool otlp_drain(struct clv_otlp *o, uint64_t now_ns)
{
	struct clv_slice all = clv_queue_peek(o->queue, false), next = all, rest = all, data;
	struct clv_otlp_record head;
	bool held = otlp_holds_up(o, now_ns);
	uint64_t spans = 0;

	for (; !held && clv_otlp_record_next(&next, &head, &data); rest = next) {
		if (head.type == CLV_OTLP_RECORD_RESOURCE) {
			otlp_on_resource(o, &head, data);
			continue;
		}
		if (chunk_is_full(o, &head)) {
			chunk_end(o);
			held = otlp_holds_up(o, now_ns);
			if (held)
				break;
		}
		spans++;
		if (!otlp_on_span(o, &head, data))
			otlp_add(o, CLV_OTLP_drop_export_closed, 1);
	}
	chunk_end(o);
	if (all.len != rest.len)
		clv_queue_take(o->queue, all.len - rest.len);
	atomic_fetch_add_explicit(&o->taken, spans, memory_order_relaxed);
	return !held;
}

/* ---- requests -------------------------------------------------------------------------------------------- */

static void request_free(struct request *r)
{
	free(r->body);
	free(r->ref);
	free(r);
}

static struct request *request_new(enum clv_export_signal signal)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r)
		r->signal = signal;
	return r;
}

static int request_ref(struct request *r, struct clv_store_ref ref)
{
	if (r->refs == r->ref_cap) {
		size_t cap = r->ref_cap ? 2 * r->ref_cap : REFS_MIN;
		struct clv_store_ref *p = realloc(r->ref, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		r->ref = p;
		r->ref_cap = cap;
	}
	r->ref[r->refs++] = ref;
	return 0;
}

static void request_ack(struct clv_otlp *o, struct request *r)
{
	for (size_t i = 0; i < r->refs; i++)
		clv_store_ack(o->store, r->ref[i]);
	o->out_spans -= r->spans;
}

/* Its spans are left to the next run, or lost. */
static void request_give_up(struct clv_otlp *o, struct request *r)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < r->refs; i++)
		if (clv_store_keep(o->store, r->ref[i]))
			o->kept_spans += r->ref[i].spans;
		else
			lost += r->ref[i].spans;
	o->out_spans -= r->spans;
	otlp_add(o, CLV_OTLP_drop_export_closed, lost);
	if (r->signal == CLV_EXPORT_METRICS)
		otlp_add(o, CLV_OTLP_drop_export_metrics, 1);
}

/* Takes whole chunks from the store, as many as fit. */
static int request_fill(struct clv_otlp *o, struct request *r)
{
	struct clv_slice chunk;
	uint32_t spans;
	int err = 0;

	clv_otlp_batch_clear(o->batch);
	while (!err && clv_store_peek(o->store, &chunk, &spans)) {
		struct clv_store_ref ref;

		if (r->refs && (r->spans + spans > o->config.max_batch ||
				clv_otlp_batch_bytes(o->batch) + chunk.len > CLV_OTLP_REQUEST_BYTES))
			break;
		err = clv_otlp_batch_add(o->batch, chunk);
		if (err)
			break; /* it stays where it is */
		clv_store_take(o->store, &ref);
		r->spans += spans;
		o->out_spans += spans;
		err = request_ref(r, ref);
		if (err) { /* nobody would ever settle it */
			clv_store_ack(o->store, ref);
			r->spans -= spans;
			o->out_spans -= spans;
			otlp_add(o, CLV_OTLP_drop_export_closed, spans);
		}
	}
	return r->refs ? 0 : err;
}

/* A request with spans that wait; NULL: none, or no memory. */
static struct request *otlp_spans_request(struct clv_otlp *o)
{
	struct request *r = request_new(CLV_EXPORT_TRACES);
	struct clv_slice message;
	uint32_t found = 0;

	if (!r)
		return NULL;
	int err = request_fill(o, r);
	if (!err && r->refs) {
		err = clv_otlp_batch_build(o->batch, &message, &found);
		if (!err)
			err = clv_otlp_pack(&o->config, CLV_EXPORT_TRACES, message, &r->body, &r->len);
	}
	if (!err && r->refs)
		return r;
	if (err)
		clv_debug("export: cannot build a request: %s", strerror(-err));
	if (r->refs)
		request_give_up(o, r);
	request_free(r);
	return NULL;
}

static bool otlp_spans_due(struct clv_otlp *o, uint64_t now_ns)
{
	uint64_t waiting = clv_store_figures(o->store)->waiting_spans;

	if (waiting == 0) {
		o->flush_ns = 0;
		o->flush_spans = 0;
		return false;
	}
	if (o->flush_ns == 0)
		o->flush_ns = now_ns + o->config.delay_ns;
	if (now_ns >= o->flush_ns) {
		o->flush_spans = waiting;
		o->flush_ns = now_ns + o->config.delay_ns;
	}
	return o->closing || o->flush_spans || waiting >= o->config.max_batch;
}

static struct request *otlp_next(struct clv_otlp *o, enum clv_export_signal signal, uint64_t now_ns)
{
	struct request *r = o->peer[signal].again;

	if (r) {
		o->peer[signal].again = r->next;
		return r;
	}
	if (signal != CLV_EXPORT_TRACES || !otlp_spans_due(o, now_ns))
		return NULL;
	r = otlp_spans_request(o);
	if (r)
		o->flush_spans -= r->spans < o->flush_spans ? r->spans : o->flush_spans;
	return r;
}

static void request_again(struct peer *p, struct request *r)
{
	r->next = p->again;
	p->again = r;
}

/* One at a time to a collector that has failed: that is enough to see whether it is back. */
static void otlp_send(struct clv_otlp *o, enum clv_export_signal signal, uint64_t now_ns)
{
	struct peer *p = &o->peer[signal];
	unsigned most = signal == CLV_EXPORT_METRICS || p->failures ? 1 : CLV_OTLP_FLIGHTS;
	struct request *r;

	while (p->flights < most && (p->failures == 0 || now_ns >= p->retry_ns) && (r = otlp_next(o, signal, now_ns))) {
		r->began_ns = now_ns;
		if (clv_sender_begin(o->sender, signal, clv_slice(r->body, r->len), r)) {
			request_again(p, r);
			return;
		}
		p->flights++;
	}
}

/* ---- answers --------------------------------------------------------------------------------------------- */

static uint32_t otlp_random(struct clv_otlp *o)
{
	o->random ^= o->random << 13;
	o->random ^= o->random >> 17;
	o->random ^= o->random << 5;
	return o->random;
}

/* Half as long again each time, give or take a fifth, so that many do not come back at once. */
static uint64_t otlp_backoff_ns(struct clv_otlp *o, unsigned failures)
{
	uint64_t ns = CLV_OTLP_BACKOFF_NS;

	for (unsigned i = 1; i < failures && ns < CLV_OTLP_BACKOFF_MAX_NS; i++)
		ns += ns / 2;
	if (ns > CLV_OTLP_BACKOFF_MAX_NS)
		ns = CLV_OTLP_BACKOFF_MAX_NS;
	return ns - ns / 5 + ns / 1000 * (otlp_random(o) % 400);
}

static void peer_say_failure(struct clv_otlp *o, const struct request *r, const struct clv_otlp_answer *a,
			     const char *hint, uint64_t now_ns)
{
	struct peer *p = &o->peer[r->signal];
	const char *shown = o->config.target[r->signal].shown;
	const char *what = r->signal == CLV_EXPORT_TRACES ? "spans" : "metrics";

	if (p->said || (p->said_ns && now_ns - p->said_ns < CLV_OTLP_QUIET_NS))
		return;
	p->said = true;
	p->said_ns = now_ns;
	if (a->verdict == CLV_OTLP_REFUSED)
		clv_warn("%s refuses %s, which are lost: %s%s%s", shown, what, a->message, hint ? "; " : "",
			 hint ? hint : "");
	else
		clv_warn("cannot send %s to %s: %s%s%s; trying again", what, shown, a->message, hint ? "; " : "",
			 hint ? hint : "");
}

static void peer_recovered(struct clv_otlp *o, enum clv_export_signal signal, uint64_t now_ns)
{
	struct peer *p = &o->peer[signal];

	p->failures = 0;
	if (!p->said)
		return;
	p->said = false;
	o->said_dropped = false;
	clv_info("%s takes %s again, after %llu s", o->config.target[signal].shown,
		 signal == CLV_EXPORT_TRACES ? "spans" : "metrics",
		 (unsigned long long)((now_ns - p->said_ns) / 1000000000));
}

static void otlp_delivered(struct clv_otlp *o, struct request *r, const struct clv_otlp_answer *a, uint64_t now_ns)
{
	struct peer *p = &o->peer[r->signal];
	uint64_t rejected = a->rejected < r->spans ? a->rejected : r->spans;

	otlp_add(o, CLV_OTLP_export_requests, 1);
	otlp_add(o, CLV_OTLP_export_sent, r->spans - rejected);
	otlp_add(o, CLV_OTLP_export_rejected, rejected);
	peer_recovered(o, r->signal, now_ns);
	request_ack(o, r);
	if (!(a->rejected || *a->message || a->strange) ||
	    (p->partial_ns && now_ns - p->partial_ns < CLV_OTLP_QUIET_NS))
		return;
	p->partial_ns = now_ns;
	if (a->strange)
		clv_warn("%s answers with success, but not as OTLP; taken for success",
			 o->config.target[r->signal].shown);
	else
		clv_warn("%s took a request but rejected %llu: %s", o->config.target[r->signal].shown,
			 (unsigned long long)a->rejected, *a->message ? a->message : "it does not say why");
}

static void otlp_refused(struct clv_otlp *o, struct request *r)
{
	otlp_add(o, CLV_OTLP_export_failed, 1);
	otlp_add(o, CLV_OTLP_drop_export_refused, r->spans);
	if (r->signal == CLV_EXPORT_METRICS)
		otlp_add(o, CLV_OTLP_drop_export_metrics, 1);
	request_ack(o, r);
}

/* It waits for its turn. Metrics do not when there are newer ones. */
static void otlp_failed(struct clv_otlp *o, struct request *r, const struct clv_otlp_answer *a, uint64_t now_ns)
{
	struct peer *p = &o->peer[r->signal];

	otlp_add(o, CLV_OTLP_export_retries, 1);
	/* Those that were on their way together fail together, which counts once. */
	if (p->failures == 0 || r->began_ns >= p->failed_ns) {
		p->failures++;
		p->failed_ns = now_ns;
		uint64_t wait_ns = otlp_backoff_ns(o, p->failures);
		p->retry_ns = now_ns + (a->wait_ns > wait_ns ? a->wait_ns : wait_ns);
	} else if (a->wait_ns && now_ns + a->wait_ns > p->retry_ns) {
		p->retry_ns = now_ns + a->wait_ns;
	}
	if (a->wait_ns == 0 && o->closing && *o->config.spool && r->signal == CLV_EXPORT_TRACES)
		o->over = true; /* the next run has better chances */
	if (r->signal == CLV_EXPORT_METRICS && p->again) {
		otlp_add(o, CLV_OTLP_drop_export_metrics, 1);
		request_free(r);
		return;
	}
	request_again(p, r);
}

static void otlp_on_answer(void *ctx, void *request, const struct clv_otlp_answer *a, const char *hint)
{
	struct clv_otlp *o = ctx;
	struct request *r = request;
	uint64_t now_ns = clv_clock_ns();

	o->peer[r->signal].flights--;
	if (a->verdict != CLV_OTLP_DELIVERED)
		peer_say_failure(o, r, a, hint, now_ns);
	if (a->verdict == CLV_OTLP_RETRY) {
		otlp_failed(o, r, a, now_ns);
		return;
	}
	o->progress_ns = now_ns;
	if (a->verdict == CLV_OTLP_DELIVERED)
		otlp_delivered(o, r, a, now_ns);
	else
		otlp_refused(o, r);
	request_free(r);
}

/* ---- metrics --------------------------------------------------------------------------------------------- */

/* The newest take the place of those that could not be sent yet. */
static void otlp_collect(struct clv_otlp *o)
{
	struct peer *p = &o->peer[CLV_EXPORT_METRICS];
	char *data = NULL;
	size_t len = 0;
	int err = o->config.collect(o->config.collect_ctx, &data, &len);
	struct request *r = !err && len ? request_new(CLV_EXPORT_METRICS) : NULL;

	if (r)
		err = clv_otlp_pack(&o->config, CLV_EXPORT_METRICS, clv_slice(data, len), &r->body, &r->len);
	free(data);
	if (err) {
		otlp_add(o, CLV_OTLP_drop_export_metrics, 1);
		clv_debug("export: cannot collect metrics: %s", strerror(-err));
		if (r)
			request_free(r);
		return;
	}
	if (!r)
		return;
	if (p->again) {
		otlp_add(o, CLV_OTLP_drop_export_metrics, 1);
		request_free(p->again);
		p->again = NULL;
	}
	request_again(p, r);
}

static void otlp_metrics(struct clv_otlp *o, uint64_t now_ns)
{
	if (!o->config.collect || !clv_otlp_config_active(&o->config, CLV_EXPORT_METRICS))
		return;
	if (now_ns >= o->metrics_ns) {
		o->metrics_ns = now_ns + o->config.metric_interval_ns;
		otlp_collect(o);
	}
	otlp_send(o, CLV_EXPORT_METRICS, now_ns);
}

/* ---- the thread ------------------------------------------------------------------------------------------ */

/* All that can be done before the end has been done. */
static bool otlp_is_over(struct clv_otlp *o, uint64_t now_ns)
{
	if (!o->closing)
		return false;
	if (o->over || now_ns >= atomic_load(&o->flush_by_ns))
		return true;
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		if (o->peer[i].flights || o->peer[i].again)
			return false;
	return clv_store_figures(o->store)->waiting_spans == 0;
}

static void otlp_earlier(uint64_t *at_ns, uint64_t other_ns)
{
	if (other_ns && other_ns < *at_ns)
		*at_ns = other_ns;
}

/* How long there is nothing to do unless something happens. */
static unsigned otlp_sleep_ms(struct clv_otlp *o, bool drained, uint64_t now_ns)
{
	uint64_t at_ns = now_ns + (drained ? POLL_MS : FULL_MS) * NS_PER_MS;

	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		if (o->peer[i].failures && o->peer[i].retry_ns > now_ns)
			otlp_earlier(&at_ns, o->peer[i].retry_ns);
	if (o->flush_ns > now_ns)
		otlp_earlier(&at_ns, o->flush_ns);
	if (o->metrics_ns > now_ns && o->config.collect)
		otlp_earlier(&at_ns, o->metrics_ns);
	if (o->closing)
		otlp_earlier(&at_ns, atomic_load(&o->flush_by_ns));
	return at_ns <= now_ns ? 0 : (unsigned)((at_ns - now_ns) / NS_PER_MS + 1);
}

/* The last spans have come. Whatever is waited for is tried at once. */
static void otlp_begin_close(struct clv_otlp *o, uint64_t now_ns)
{
	o->closing = true;
	o->metrics_ns = now_ns;
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		o->peer[i].retry_ns = now_ns;
}

static void otlp_say(struct clv_otlp *o, bool *what)
{
	pthread_mutex_lock(&o->lock);
	*what = true;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

/* The figures become final. */
static void otlp_settle(struct clv_otlp *o)
{
	otlp_drain(o, clv_clock_ns());
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++) {
		struct request *r, *next;

		for (r = o->peer[i].again; r; r = next) {
			next = r->next;
			request_give_up(o, r);
			request_free(r);
		}
	}
	otlp_add(o, CLV_OTLP_drop_export_closed, clv_store_abandon(o->store));
	otlp_publish(o);
	otlp_say(o, &o->settled);
}

/* Requests that are still on their way come back as failed. */
static void otlp_give_up(void *ctx, void *request, const struct clv_otlp_answer *a, const char *hint)
{
	struct clv_otlp *o = ctx;
	struct request *r = request;

	(void)a, (void)hint;
	o->peer[r->signal].flights--;
	request_again(&o->peer[r->signal], r);
}

/* Runs as everybody else: the engine's thread, which started it, may run before others. */
static void otlp_calm_down(void)
{
	static const struct sched_param normal;

	sched_setscheduler(0, SCHED_OTHER, &normal);
	if (getpriority(PRIO_PROCESS, 0) < 0 && setpriority(PRIO_PROCESS, 0, 0))
		clv_debug("export: cannot lower the priority: %s", strerror(errno));
}

static void *otlp_run(void *arg)
{
	struct clv_otlp *o = arg;
	uint64_t now_ns = clv_clock_ns();

	otlp_calm_down();
	o->progress_ns = now_ns;
	o->metrics_ns = now_ns + o->config.metric_interval_ns;
	o->flush_spans = clv_store_figures(o->store)->waiting_spans; /* of earlier runs: at once */
	while (!otlp_is_over(o, now_ns)) {
		/* Asked first: then what is taken after is all. */
		bool last = clv_queue_closed(o->queue), drained = otlp_drain(o, now_ns);

		if (last && drained && !o->closing)
			otlp_begin_close(o, now_ns);
		if (last && now_ns >= atomic_load(&o->flush_by_ns))
			o->closing = true;
		otlp_send(o, CLV_EXPORT_TRACES, now_ns);
		otlp_metrics(o, now_ns);
		otlp_publish(o);
		clv_sender_poll(o->sender, otlp_sleep_ms(o, drained, now_ns));
		now_ns = clv_clock_ns();
	}
	clv_sender_abort(o->sender, otlp_give_up);
	otlp_settle(o);
	clv_queue_end(o->queue, 0);
	clv_store_close(o->store);
	pthread_mutex_lock(&o->lock);
	while (!o->released)
		pthread_cond_wait(&o->changed, &o->lock);
	pthread_mutex_unlock(&o->lock);
	clv_sender_free(o->sender);
	otlp_say(o, &o->gone);
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

static void otlp_free(struct clv_otlp *o)
{
	clv_queue_free(o->queue);
	clv_otlp_batch_free(o->batch);
	for (int i = 0; i < CLV_OTLP_SLOTS; i++)
		free(o->slot[i].data);
	free(o->chunk);
	pthread_mutex_destroy(&o->put);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->changed);
	free(o);
}

static int otlp_open_store(struct clv_otlp *o, char *why, size_t size)
{
	const struct clv_store_config config = {
		.spool_dir = *o->config.spool ? o->config.spool : NULL,
		.spool_bytes = o->config.spool_bytes,
		.memory_bytes = o->config.memory_bytes,
		.max_spans = o->config.max_queue,
	};
	int err = clv_store_open(&config, &o->store);

	if (err == -EBUSY)
		snprintf(why, size, "another clovisor uses the spool %s", o->config.spool);
	else if (err)
		snprintf(why, size, "cannot use the spool %s: %s", o->config.spool, strerror(-err));
	return err;
}

static void otlp_init_lock(struct clv_otlp *o)
{
	pthread_condattr_t attr;

	clv_queue_lock_init(&o->put);
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->changed, &attr);
	pthread_condattr_destroy(&attr);
}

int clv_otlp_open(const struct clv_otlp_config *config, char *why, size_t size, struct clv_otlp **out)
{
	struct clv_otlp *o = calloc(1, sizeof(*o));

	if (!o) {
		snprintf(why, size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	const struct clv_queue_config queue = {
		.bytes = config->queue_bytes, .wait = config->wait, .stop = config->stop, .wake = otlp_wake, .ctx = o};
	o->config = *config;
	/* The fields' text was copied with the rest. */
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		for (uint32_t j = 0; j < config->target[i].header_count; j++)
			o->config.target[i].header[j] =
				o->config.target[i].headers + (config->target[i].header[j] - config->target[i].headers);
	/* A chunk that never fits would be lost with a collector that takes everything. */
	o->chunk_bytes =
		config->memory_bytes / 4 < CLV_OTLP_CHUNK_BYTES ? config->memory_bytes / 4 : CLV_OTLP_CHUNK_BYTES;
	if (config->max_queue && config->max_queue < config->max_batch)
		o->config.max_batch = (uint32_t)config->max_queue;
	o->random = (uint32_t)clv_clock_ns() | 1;
	o->chunk_number = 1;
	otlp_init_lock(o);
	int err = otlp_open_store(o, why, size);
	if (err) {
		otlp_free(o);
		return err;
	}
	for (int i = 0; !err && i < CLV_EXPORT_SIGNALS; i++)
		if (config->target[i].protocol == CLV_OTLP_HTTP_JSON && !config->json)
			err = -ENOTSUP;
	if (!err)
		err = clv_queue_new(&queue, &o->queue);
	if (!err)
		err = clv_otlp_batch_new(&o->batch);
	if (!err)
		err = clv_sender_new(&o->config, otlp_on_answer, o, &o->sender);
	if (!err) {
		otlp_publish(o);
		err = clv_thread_start(&o->thread, "otlp", otlp_run, o);
	}
	if (err) {
		snprintf(why, size, "cannot start the exporter: %s", strerror(-err));
		clv_sender_free(o->sender);
		clv_store_close(o->store);
		otlp_free(o);
		return err;
	}
	*out = o;
	return 0;
}

/* Until *what is true, or that time has come. */
static bool otlp_wait(struct clv_otlp *o, const bool *what, uint64_t until_ns)
{
	struct timespec t = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};
	int err = 0;

	pthread_mutex_lock(&o->lock);
	while (!*what && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&o->changed, &o->lock, &t);
	bool is = *what;
	pthread_mutex_unlock(&o->lock);
	return is;
}

void clv_otlp_flush(struct clv_otlp *o, uint64_t patience_ns)
{
	uint64_t by_ns = clv_clock_ns() + patience_ns;

	if (o->flushed)
		return;
	o->flushed = true;
	atomic_store(&o->flush_by_ns, by_ns);
	clv_queue_close(o->queue);
	otlp_say(o, &o->released);
	if (!otlp_wait(o, &o->settled, by_ns + LEAVE_NS))
		clv_warn("the exporter does not end; its figures may be wrong");
	uint64_t left = clv_otlp_figure(o, CLV_OTLP_export_waiting);
	uint64_t lost = clv_otlp_figure(o, CLV_OTLP_drop_export_closed);
	if (left && *o->config.spool)
		clv_info("%llu spans remain in %s for the next run", (unsigned long long)left, o->config.spool);
	if (lost)
		clv_warn("%llu spans are lost: %s did not take them in time", (unsigned long long)lost,
			 o->config.target[CLV_EXPORT_TRACES].shown);
}

void clv_otlp_close(struct clv_otlp *o)
{
	if (!o)
		return;
	clv_otlp_flush(o, CLV_OTLP_FLUSH_NS);
	/* A name that nobody resolves can hold the sender up: then the thread and what it uses are left behind. */
	if (!otlp_wait(o, &o->gone, clv_clock_ns() + LEAVE_NS)) {
		pthread_detach(o->thread);
		return;
	}
	pthread_join(o->thread, NULL);
	otlp_free(o);
}
