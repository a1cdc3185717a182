/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns all series. Never looks at a clock, never formats a number, never lets the writer wait for a reader.
 *
 * A set is what one measurement feeds: labels, and a series for each family of its class (a request's duration and its
 * two body sizes have the same labels). It is found by its key, a run of bytes that the labels are made from. Sets are
 * published in slots; a set that is in a slot stays valid for as long as somebody holds `reading`.
 *
 * Each writer has a shard of each set that it has fed, with cells of its own: what is told is the sum. So writers share
 * nothing that any of them writes, but when a set or a shard is new: that takes the lock `adding`.
 */
#include "export/metrics.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/hash.h"
#include "export/metrics_names.h"
#include "export/queue.h"
#include "export/utf8.h"

/* ---- families --------------------------------------------------------------------------------------------------- */

enum family {
#define X(id, name, unit, type, divisor, bounds, help) id,
	FAMILIES(X)
#undef X
		FAMILY_COUNT
};

static const struct clv_metric_family families[FAMILY_COUNT] = {
#define X(id, name, unit, type, divisor, bounds, help) {name, unit, help, CLV_METRIC_##type, divisor},
	FAMILIES(X)
#undef X
};

static const uint8_t family_bounds[FAMILY_COUNT] = {
#define X(id, name, unit, type, divisor, bounds, help) bounds,
	FAMILIES(X)
#undef X
};

/* SERVER stands before CLIENT, as in enum clv_span_kind. Own families are classes of one. */
enum set_class {
	SET_SERVER,
	SET_CLIENT,
	SET_RPC_SERVER,
	SET_RPC_CLIENT,
	SET_DB_SERVER,
	SET_DB_CLIENT,
	SET_DNS_SERVER,
	SET_DNS_CLIENT,
	SET_SERVER_ACTIVE,
	SET_CLIENT_ACTIVE,
	SET_OTHER_SERVER_ACTIVE,
	SET_OTHER_CLIENT_ACTIVE,
	SET_TCP,
	SET_TCP_IO,
	SET_UDP_IO,
	SET_OWN
};
#define CLASS_COUNT (SET_OWN + FAMILY_COUNT - DROPPED)

static enum family class_first(unsigned class)
{
	static const uint8_t first[] = {
		[SET_SERVER] = SERVER_DURATION,
		[SET_CLIENT] = CLIENT_DURATION,
		[SET_RPC_SERVER] = RPC_SERVER,
		[SET_RPC_CLIENT] = RPC_CLIENT,
		[SET_DB_SERVER] = DB_SERVER,
		[SET_DB_CLIENT] = DB_CLIENT,
		[SET_DNS_SERVER] = DNS_SERVER,
		[SET_DNS_CLIENT] = DNS_CLIENT,
		[SET_SERVER_ACTIVE] = SERVER_ACTIVE,
		[SET_CLIENT_ACTIVE] = CLIENT_ACTIVE,
		[SET_OTHER_SERVER_ACTIVE] = OTHER_SERVER_ACTIVE,
		[SET_OTHER_CLIENT_ACTIVE] = OTHER_CLIENT_ACTIVE,
		[SET_TCP] = TCP_OPENED,
		[SET_TCP_IO] = TCP_IO,
		[SET_UDP_IO] = UDP_IO,
	};

	return class < SET_OWN ? first[class] : DROPPED + (class - SET_OWN);
}

static unsigned class_size(unsigned class)
{
	return class + 1 < CLASS_COUNT ? class_first(class + 1) - class_first(class) : 1;
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

enum label {
#define X(id, name) LABEL_##id,
	LABELS(X)
#undef X
		LABEL_COUNT
};

static const char *const label_names[LABEL_COUNT] = {
#define X(id, name) name,
	LABELS(X)
#undef X
};

enum { IS_INTEGER = 0x80 }; /* beside a label's number in a key */

/* Resource and class, then of each label: its number, the value's length and the value. */
struct key {
	uint32_t len;
	bool overflow;
	uint8_t class;
	uint8_t bytes[8 + CLV_METRICS_LABELS * (2 + CLV_METRICS_VALUE)];
};

static void key_begin(struct key *k, uint32_t resource_id, unsigned class)
{
	k->overflow = false;
	k->class = (uint8_t) class;
	k->bytes[0] = (uint8_t) class;
	memcpy(k->bytes + 1, &resource_id, sizeof(resource_id));
	k->len = 5;
}

static void key_int(struct key *k, enum label label, int64_t value)
{
	uint8_t *p = k->bytes + k->len;

	p[0] = (uint8_t)(label | IS_INTEGER);
	p[1] = sizeof(value);
	memcpy(p + 2, &value, sizeof(value));
	k->len += 2 + sizeof(value);
}

/* What is no valid UTF-8, and what terminals take as a command, becomes \xNN. Returns the length, at most max. */
static size_t text_clean(uint8_t *out, size_t max, struct clv_slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len;) {
		uint32_t point = 0;
		size_t len = utf8_decode(s.data + i, s.len - i, &point);
		bool good = len && !utf8_is_control(point);
		size_t room = good ? len : 4;

		if (room > max - n)
			break;
		if (good) {
			memcpy(out + n, s.data + i, len);
		} else {
			memcpy(out + n, "\\x", 2);
			utf8_hex((char *)out + n + 2, s.data[i]);
		}
		n += room;
		i += good ? len : 1;
	}
	return n;
}

static bool text_is_plain(struct clv_slice s)
{
	uint8_t odd = 0;

	for (size_t i = 0; i < s.len; i++)
		odd |= (uint8_t)(s.data[i] - 0x20) >= 0x5f;
	return !odd;
}

static void key_text(struct key *k, enum label label, struct clv_slice s)
{
	uint8_t *p = k->bytes + k->len;

	p[0] = (uint8_t)label;
	if (s.len <= CLV_METRICS_VALUE && text_is_plain(s)) {
		p[1] = (uint8_t)s.len;
		if (s.len)
			memcpy(p + 2, s.data, s.len);
	} else {
		p[1] = (uint8_t)text_clean(p + 2, CLV_METRICS_VALUE, s);
	}
	k->len += 2u + p[1];
}

static void key_overflow(struct key *k, uint32_t resource_id)
{
	key_begin(k, resource_id, k->class);
	key_text(k, LABEL_OVERFLOW, CLV_LIT("true"));
	k->overflow = true;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

/* One measurement and its span. A small seqlock: odd while it is written. */
struct exemplar {
	_Atomic uint32_t sequence;
	_Atomic uint64_t word[5]; /* trace id (2), span id, value, time */
};

/* Of one writer. */
struct series {
	_Atomic uint64_t value;     /* of histograms: the sum */
	struct exemplar *exemplars; /* one a bucket; NULL: no histogram */
	_Atomic uint64_t bucket[];
};

/* A resource as long as there are series of it. */
struct owner {
	struct owner *next; /* in its bucket */
	uint32_t id, count;
	uint64_t gone_ns; /* 0: it is there */
	/* It is gone, and another one is now known by the same name: its series would be told twice. */
	atomic_bool replaced;
	uint32_t sets[CLASS_COUNT];
	uint32_t sets_in_all;
	struct clv_resource_attr attr[];
};

/* What one writer has put into a set. Series by family, as many as the largest class has; their cells follow. */
struct shard {
	const struct set *set;
	struct series *series[TCP_IO - TCP_OPENED];
};

struct set {
	uint64_t hash;
	struct owner *owner;
	uint64_t start_ns;
	uint32_t slot;
	uint32_t key_len;
	uint8_t class, label_count;
	uint8_t *key;
	_Atomic(struct shard *) shard[CLV_METRICS_WRITERS];
	struct clv_metric_label labels[];
};

/* Where the events of one resource and role go, found without a key. */
struct tcp_sets {
	uint32_t resource_id;
	uint8_t role;
	struct shard *tcp, *io[2];
};
#define TCP_CACHE 256u

struct writer {
	unsigned number;
	struct tcp_sets tcp[TCP_CACHE];
};

struct bounds {
	uint32_t count;
	uint64_t limit[CLV_METRICS_BOUNDS]; /* as values are stored */
	double shown[CLV_METRICS_BOUNDS];
};

#define OWNER_BUCKETS 256u
#define CACHE_LINE    64u

struct clv_metrics {
	/* Fixed. */
	struct bounds bounds[BOUND_KINDS];
	size_t max_series, slot_count;
	uint64_t seed;
	uint64_t begin_ns;
	uint8_t label_of[CLV_ATTR_COUNT]; /* LABEL_COUNT: none */
	struct clv_resource *own;

	/* The writers'. Sets are added under the lock; they go, as owners do, while there is only one writer. */
	struct writer writer[CLV_METRICS_WRITERS];
	_Atomic(struct set *) *table; /* open addressing */
	size_t table_mask;
	pthread_mutex_t adding; /* for all that follows, too */
	uint32_t *free_slots;
	size_t free_count;
	size_t series; /* of all sets but overflow's own */
	uint64_t overflowed;
	atomic_uint_fast64_t no_memory;
	struct owner *owners[OWNER_BUCKETS];

	/* Shared. */
	pthread_mutex_t reading;
	_Atomic(struct set *) *slots;
};

/* ---- values: each cell has one writer
 * ------------------------------------------------------------------------------------------ */

static uint64_t cell_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static void cell_set(_Atomic uint64_t *c, uint64_t v)
{
	atomic_store_explicit(c, v, memory_order_relaxed);
}

static void cell_add(_Atomic uint64_t *c, uint64_t v)
{
	cell_set(c, cell_get(c) + v);
}

static void exemplar_set(struct exemplar *x, const struct clv_span *span, uint64_t value)
{
	uint64_t id[3];
	uint32_t sequence = atomic_load_explicit(&x->sequence, memory_order_relaxed);

	memcpy(id, span->trace_id, 16);
	memcpy(id + 2, span->span_id, 8);
	atomic_store_explicit(&x->sequence, sequence + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (int i = 0; i < 3; i++)
		cell_set(&x->word[i], id[i]);
	cell_set(&x->word[3], value);
	cell_set(&x->word[4], span->end_ns);
	atomic_store_explicit(&x->sequence, sequence + 2, memory_order_release);
}

/* Leaves *out without an exemplar when the writer is at it. */
static void exemplar_get(const struct exemplar *x, struct clv_metric_exemplar *out)
{
	uint64_t word[5];

	memset(out, 0, sizeof(*out));
	for (int tries = 0; tries < 8; tries++) {
		uint32_t before = atomic_load_explicit(&x->sequence, memory_order_acquire);

		for (int i = 0; i < 5; i++)
			word[i] = cell_get(&x->word[i]);
		atomic_thread_fence(memory_order_acquire);
		if (before & 1 || atomic_load_explicit(&x->sequence, memory_order_relaxed) != before)
			continue;
		memcpy(out->trace_id, word, 16);
		memcpy(out->span_id, word + 2, 8);
		out->value = word[3];
		out->ts_ns = word[4];
		return;
	}
}

static const struct bounds *bounds_of(const struct clv_metrics *m, enum family f)
{
	return &m->bounds[family_bounds[f]];
}

/* The first bucket whose bound is not below the value (bounds are inclusive). */
static uint32_t bucket_of(const struct bounds *b, uint64_t value)
{
	uint32_t i = 0;

	while (i < b->count && value > b->limit[i])
		i++;
	return i;
}

static void observe(const struct clv_metrics *m, struct shard *s, enum family f, uint64_t value,
		    const struct clv_span *from)
{
	struct series *x = s->series[f - class_first(s->set->class)];
	uint32_t i = bucket_of(bounds_of(m, f), value);

	cell_add(&x->value, value);
	cell_add(&x->bucket[i], 1);
	if (from)
		exemplar_set(&x->exemplars[i], from, value);
}

static _Atomic uint64_t *cell_of(struct shard *s, enum family f)
{
	return &s->series[f - class_first(s->set->class)]->value;
}

/* ---- resources --------------------------------------------------------------------------------------------------- */

static bool attrs_have(const struct clv_resource_attr *attr, uint32_t count, struct clv_slice key)
{
	for (uint32_t i = 0; i < count; i++)
		if (clv_slice_eq(attr[i].key, key))
			return true;
	return false;
}

bool clv_metrics_identifies(const struct clv_resource_attr *attr, uint32_t count, struct clv_slice key)
{
	static const struct clv_slice name = CLV_LIT(".name"), instance = CLV_LIT("service.instance.id"),
				      pod = CLV_LIT("k8s.pod.name");

	/* Several may have one service.name. */
	if (clv_slice_eq(key, CLV_LIT("network.interface.name")))
		return !attrs_have(attr, count, instance) && !attrs_have(attr, count, pod);
	return clv_slice_eq(key, CLV_LIT("service.name")) || clv_slice_eq(key, CLV_LIT("service.namespace")) ||
	       clv_slice_eq(key, instance) ||
	       (clv_slice_starts(key, CLV_LIT("k8s.")) && key.len > name.len &&
		clv_slice_eq(clv_slice_from(key, key.len - name.len), name));
}

static struct owner *owner_find(const struct clv_metrics *m, uint32_t id)
{
	struct owner *o = m->owners[id % OWNER_BUCKETS];

	while (o && o->id != id)
		o = o->next;
	return o;
}

static struct owner *owner_get(struct clv_metrics *m, const struct clv_resource *r)
{
	struct owner *o = owner_find(m, r->id);
	uint32_t count = r->count;

	if (o)
		return o;
	size_t room = 4 * r->used; /* each byte may become \xNN */
	o = calloc(1, sizeof(*o) + count * sizeof(o->attr[0]) + room);
	if (!o)
		return NULL;
	uint8_t *text = (uint8_t *)(o->attr + count);
	o->id = r->id;
	o->count = count;
	for (uint32_t i = 0; i < count; i++) {
		const struct clv_slice from[2] = {r->attr[i].key, r->attr[i].value};

		for (int j = 0; j < 2; j++) {
			size_t len = text_clean(text, 4 * from[j].len, from[j]);

			*(j ? &o->attr[i].value : &o->attr[i].key) = clv_slice(text, len);
			text += len;
		}
	}
	o->next = m->owners[o->id % OWNER_BUCKETS];
	m->owners[o->id % OWNER_BUCKETS] = o;
	return o;
}

/* Has `o` every attribute that identifies `other`? */
static bool owner_covers(const struct owner *o, const struct owner *other)
{
	for (uint32_t i = 0; i < other->count; i++) {
		const struct clv_resource_attr *a = &other->attr[i];
		uint32_t j = 0;

		if (!clv_metrics_identifies(other->attr, other->count, a->key))
			continue;
		while (j < o->count &&
		       !(clv_slice_eq(o->attr[j].key, a->key) && clv_slice_eq(o->attr[j].value, a->value)))
			j++;
		if (j == o->count)
			return false;
	}
	return true;
}

/* Of two that are known by the same name, as a pod and its successor, only the one that is there is told. */
static void owner_replace(struct clv_metrics *m, const struct owner *o)
{
	for (size_t i = 0; i < OWNER_BUCKETS; i++)
		for (struct owner *old = m->owners[i]; old; old = old->next)
			if (old != o && old->gone_ns && !o->gone_ns && owner_covers(o, old) && owner_covers(old, o))
				atomic_store_explicit(&old->replaced, true, memory_order_relaxed);
}

static void owner_drop(struct clv_metrics *m, struct owner *o)
{
	struct owner **link = &m->owners[o->id % OWNER_BUCKETS];

	while (*link != o)
		link = &(*link)->next;
	*link = o->next;
	free(o);
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static uint32_t bucket_count(const struct clv_metrics *m, enum family f)
{
	return families[f].type == CLV_METRIC_HISTOGRAM ? bounds_of(m, f)->count + 1 : 0;
}

static size_t series_bytes(const struct clv_metrics *m, enum family f)
{
	return sizeof(struct series) + bucket_count(m, f) * (sizeof(_Atomic uint64_t) + sizeof(struct exemplar));
}

/* Reads a key's labels, with their values in the key itself, and integers as digits in `digits`. */
static void set_read_labels(struct set *s, char *digits)
{
	for (uint32_t at = 5; at < s->key_len;) {
		const uint8_t *p = s->key + at;
		struct clv_metric_label *l = &s->labels[s->label_count++];

		l->key = label_names[p[0] & ~IS_INTEGER];
		l->integer = p[0] & IS_INTEGER;
		l->boolean = p[0] == LABEL_OVERFLOW;
		l->text = clv_slice(p + 2, p[1]);
		if (l->integer) {
			memcpy(&l->number, p + 2, sizeof(l->number));
			uint64_t v = l->number < 0 ? 0 : (uint64_t)l->number;
			char *end = digits + 20, *d = end;
			do
				*--d = (char)('0' + v % 10);
			while (v /= 10);
			l->text = clv_slice(d, (size_t)(end - d));
			digits = end;
		}
		at += 2u + p[1];
	}
}

static uint32_t key_labels(const struct key *k)
{
	uint32_t n = 0;

	for (uint32_t at = 5; at < k->len; at += 2u + k->bytes[at + 1])
		n++;
	return n;
}

static struct shard *shard_of(const struct set *s, unsigned writer)
{
	return atomic_load_explicit(&s->shard[writer], memory_order_acquire);
}

/* The writer's, which is made if there is none yet; NULL: no memory. On cache lines of its own. */
static struct shard *shard_get(const struct clv_metrics *m, struct set *s, unsigned writer)
{
	enum family first = class_first(s->class);
	size_t size = sizeof(struct shard);
	struct shard *x = shard_of(s, writer);

	if (x)
		return x;
	for (unsigned i = 0; i < class_size(s->class); i++)
		size += series_bytes(m, first + i);
	size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	x = aligned_alloc(CACHE_LINE, size);
	if (!x)
		return NULL;
	memset(x, 0, size);
	x->set = s;
	char *at = (char *)(x + 1);
	for (unsigned i = 0; i < class_size(s->class); i++) {
		uint32_t buckets = bucket_count(m, first + i);

		x->series[i] = (struct series *)at;
		if (buckets)
			x->series[i]->exemplars = (struct exemplar *)(x->series[i]->bucket + buckets);
		at += series_bytes(m, first + i);
	}
	atomic_store_explicit(&s->shard[writer], x, memory_order_release);
	return x;
}

static void set_free(struct set *s)
{
	for (unsigned i = 0; s && i < CLV_METRICS_WRITERS; i++)
		free(shard_of(s, i));
	free(s);
}

static struct set *set_new(const struct key *k, uint64_t hash, uint64_t start_ns)
{
	uint32_t labels = key_labels(k);
	size_t size = sizeof(struct set) + labels * (sizeof(struct clv_metric_label) + 24);

	assert(labels <= CLV_METRICS_LABELS);
	struct set *s = calloc(1, size + k->len);
	if (!s)
		return NULL;
	s->hash = hash;
	s->start_ns = start_ns;
	s->class = k->class;
	char *digits = (char *)(s->labels + labels);
	s->key = (uint8_t *)digits + labels * 24;
	s->key_len = k->len;
	memcpy(s->key, k->bytes, k->len);
	set_read_labels(s, digits);
	return s;
}

/* Where the key stands in the table, or would stand. */
static _Atomic(struct set *) *table_place(const struct clv_metrics *m, const uint8_t *key, uint32_t len, uint64_t hash,
					  struct set **found)
{
	size_t i = hash & m->table_mask;

	for (;; i = (i + 1) & m->table_mask) {
		struct set *s = atomic_load_explicit(&m->table[i], memory_order_acquire);

		if (!s || (s->hash == hash && s->key_len == len && memcmp(s->key, key, len) == 0)) {
			*found = s; /* another thread may put one there at any time */
			return &m->table[i];
		}
	}
}

static _Atomic(struct set *) *table_find(const struct clv_metrics *m, const uint8_t *key, uint32_t len, uint64_t hash)
{
	struct set *found;

	return table_place(m, key, len, hash, &found);
}

static void table_rebuild(struct clv_metrics *m)
{
	for (size_t i = 0; i <= m->table_mask; i++)
		atomic_store_explicit(&m->table[i], NULL, memory_order_relaxed);
	for (size_t i = 0; i < m->slot_count; i++) {
		struct set *s = atomic_load_explicit(&m->slots[i], memory_order_relaxed);

		if (s)
			atomic_store_explicit(table_find(m, s->key, s->key_len, s->hash), s, memory_order_relaxed);
	}
}

/* Is there room for another set, which is not the one for what overflows everywhere? */
static bool set_fits(const struct clv_metrics *m, const struct owner *o, const struct key *k)
{
	if (m->series + class_size(k->class) > m->max_series || !m->free_count)
		return false;
	return k->overflow || o->sets[k->class] + 1 < CLV_METRICS_SERIES_EACH;
}

static struct set *set_find(const struct clv_metrics *m, const struct key *k, uint64_t *hash)
{
	struct set *found;

	*hash = clv_hash(k->bytes, k->len, m->seed);
	table_place(m, k->bytes, k->len, *hash, &found);
	return found;
}

static struct set *set_add(struct clv_metrics *m, struct owner *o, const struct key *k, uint64_t hash,
			   uint64_t start_ns)
{
	struct set *s = m->free_count ? set_new(k, hash, start_ns) : NULL;

	if (!s)
		return NULL;
	s->owner = o;
	s->slot = m->free_slots[--m->free_count];
	o->sets[k->class]++;
	if (!o->sets_in_all++)
		owner_replace(m, o);
	if (!(k->overflow && o->id == m->own->id))
		m->series += class_size(k->class);
	atomic_store_explicit(table_find(m, k->bytes, k->len, hash), s, memory_order_release);
	atomic_store_explicit(&m->slots[s->slot], s, memory_order_release);
	return s;
}

/*
 * The set of this key, or the one that takes its place: the resource's own overflow, or everybody's. NULL only without
 * memory. Rewrites the key when there is no room for it. The lock is held.
 */
static struct set *set_make(struct clv_metrics *m, const struct clv_resource *r, struct key *k, uint64_t start_ns)
{
	uint64_t hash;
	struct set *s = set_find(m, k, &hash);

	if (s) /* another writer's, or since now */
		return s;
	struct owner *o = owner_get(m, r);
	if (!o)
		return NULL;
	if (set_fits(m, o, k) && (s = set_add(m, o, k, hash, start_ns)))
		return s;
	m->overflowed++;
	key_overflow(k, r->id);
	s = set_find(m, k, &hash);
	if (!s && set_fits(m, o, k))
		s = set_add(m, o, k, hash, start_ns);
	if (!o->sets_in_all)
		owner_drop(m, o);
	if (s || !(o = owner_get(m, m->own)))
		return s;
	key_overflow(k, o->id);
	s = set_find(m, k, &hash);
	return s ? s : set_add(m, o, k, hash, start_ns);
}

/* This writer's shard of set_make()'s. */
static struct shard *set_get(struct clv_metrics *m, const struct writer *w, const struct clv_resource *r, struct key *k,
			     uint64_t start_ns)
{
	uint64_t hash;
	struct set *s = set_find(m, k, &hash);
	struct shard *x = s ? shard_of(s, w->number) : NULL;

	if (x)
		return x;
	pthread_mutex_lock(&m->adding);
	s = set_make(m, r, k, start_ns);
	x = s ? shard_get(m, s, w->number) : NULL;
	pthread_mutex_unlock(&m->adding);
	return x;
}

static void count_lost(struct clv_metrics *m)
{
	atomic_fetch_add_explicit(&m->no_memory, 1, memory_order_relaxed);
}

/* ---- spans ------------------------------------------------------------------------------------------------------- */

static const struct clv_slice other_method = CLV_LIT("_OTHER");

static void key_attr(struct key *k, enum label label, const struct clv_attr *a)
{
	if (!a)
		return;
	if (a->type == CLV_TYPE_INT)
		key_int(k, label, a->i);
	else if (a->type == CLV_TYPE_STRING)
		key_text(k, label, a->s);
}

static uint64_t attr_bytes(const struct clv_attr *a)
{
	return a->i < 0 ? 0 : (uint64_t)a->i;
}

/* The attributes of a span that are measured or become labels, found in one pass. */
struct picked {
	const struct clv_attr *label[LABEL_COUNT + 1];
	const struct clv_attr *request_size, *response_size;
};

static void pick(const struct clv_metrics *m, const struct clv_span *span, struct picked *p)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i < span->attr_count; i++) {
		const struct clv_attr *a = &span->attr[i];

		if (a->key >= CLV_ATTR_COUNT) /* a plugin's own */
			continue;
		p->label[m->label_of[a->key]] = a;
		if (a->key == CLV_ATTR_HTTP_REQUEST_BODY_SIZE)
			p->request_size = a;
		else if (a->key == CLV_ATTR_HTTP_RESPONSE_BODY_SIZE)
			p->response_size = a;
	}
}

#define BIT(l) (1u << LABEL_##l)
_Static_assert(LABEL_COUNT <= 32, "labels are bits of 32");

/*
 * How spans are measured. A span is of the first kind whose mark it has. Its server classes stand before those of
 * clients, which know in addition whom they asked.
 */
static const struct measure {
	uint8_t mark;  /* enum label */
	uint8_t class; /* enum set_class, of servers */
	bool http;     /* body sizes; active and unpaired ones are counted by method */
	uint32_t labels;
} measures[] = {
	{LABEL_RPC_SYSTEM, SET_RPC_SERVER, false,
	 BIT(RPC_SYSTEM) | BIT(RPC_METHOD) | BIT(RPC_STATUS) | BIT(ERROR_TYPE)},
	{LABEL_DB_SYSTEM, SET_DB_SERVER, false,
	 BIT(DB_SYSTEM) | BIT(DB_NAMESPACE) | BIT(DB_OPERATION) | BIT(DB_COLLECTION) | BIT(DB_PROCEDURE) |
		 BIT(DB_SUMMARY) | BIT(DB_STATUS) | BIT(ERROR_TYPE)},
	{LABEL_DNS_NAME, SET_DNS_SERVER, false, BIT(DNS_NAME) | BIT(ERROR_TYPE)},
	{LABEL_METHOD, SET_SERVER, true,
	 BIT(METHOD) | BIT(ROUTE) | BIT(TEMPLATE) | BIT(STATUS) | BIT(ERROR_TYPE) | BIT(SCHEME) | BIT(VERSION)},
};
#define CLIENT_LABELS (BIT(ADDRESS) | BIT(PORT))

static const struct measure *measure_of(const struct picked *p)
{
	for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]); i++)
		if (p->label[measures[i].mark])
			return &measures[i];
	return NULL;
}

static struct clv_slice protocol_of(const char *name)
{
	return name ? clv_slice_str(name) : CLV_LIT("_OTHER");
}

/* Nobody knows how long it took, or whether it was answered at all. */
static void count_unpaired(struct clv_metrics *m, const struct writer *w, const struct clv_span *span,
			   const struct picked *p, bool http)
{
	static const uint8_t unpaired[2][2] = {{OTHER_SERVER_UNPAIRED, OTHER_CLIENT_UNPAIRED},
					       {SERVER_UNPAIRED, CLIENT_UNPAIRED}};
	struct key k;

	key_begin(&k, span->resource->id, (http ? SET_SERVER_ACTIVE : SET_OTHER_SERVER_ACTIVE) + span->kind);
	if (http) {
		key_attr(&k, LABEL_METHOD, p->label[LABEL_METHOD]);
		key_attr(&k, LABEL_SCHEME, p->label[LABEL_SCHEME]);
	} else {
		key_text(&k, LABEL_PROTOCOL, protocol_of(span->protocol));
	}
	struct shard *s = set_get(m, w, span->resource, &k, span->start_ns);
	if (s)
		cell_add(cell_of(s, unpaired[http][span->kind]), 1);
	else
		count_lost(m);
}

/* A WebSocket is answered at its beginning, and its span ends with the connection. */
static uint64_t span_took_ns(const struct clv_span *span)
{
	bool answered = span->protocol && strcmp(span->protocol, "websocket") == 0 && span->first_ns > span->start_ns;

	return (answered ? span->first_ns : span->end_ns) - span->start_ns;
}

void clv_metrics_span(struct clv_metrics *m, unsigned writer, const struct clv_span *span, bool kept)
{
	const struct writer *w = &m->writer[writer];
	const struct measure *how;
	struct picked p;
	struct key k;

	pick(m, span, &p);
	how = measure_of(&p);
	if (!how)
		return;
	bool answered = how->http ? p.label[LABEL_STATUS] != NULL : !(span->flags & CLV_SPAN_UNPAIRED);
	if (!answered && !p.label[LABEL_ERROR_TYPE]) {
		count_unpaired(m, w, span, &p, how->http);
		return;
	}
	key_begin(&k, span->resource->id, how->class + (unsigned)span->kind);
	uint32_t labels = how->labels | (span->kind == CLV_KIND_CLIENT ? CLIENT_LABELS : 0);
	for (; labels; labels &= labels - 1) {
		enum label l = (enum label)__builtin_ctz(labels);

		key_attr(&k, l, p.label[l]);
	}
	struct shard *s = set_get(m, w, span->resource, &k, span->start_ns);
	if (!s) {
		count_lost(m);
		return;
	}
	enum family first = class_first(k.class);
	const struct clv_span *from = kept ? span : NULL;
	observe(m, s, first, span_took_ns(span), from);
	if (how->http && p.request_size)
		observe(m, s, first + 1, attr_bytes(p.request_size), from);
	if (how->http && p.response_size)
		observe(m, s, first + 2, attr_bytes(p.response_size), from);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* RFC 9110, PATCH and QUERY, as spans have it; case-sensitive. */
static struct clv_slice known_method(struct clv_slice m)
{
	static const struct clv_slice known[] = {
		CLV_LIT("GET"),     CLV_LIT("POST"),    CLV_LIT("PUT"),   CLV_LIT("DELETE"), CLV_LIT("HEAD"),
		CLV_LIT("OPTIONS"), CLV_LIT("CONNECT"), CLV_LIT("PATCH"), CLV_LIT("TRACE"),  CLV_LIT("QUERY"),
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (clv_slice_eq(m, known[i]))
			return m;
	return other_method;
}

static void count_active(struct clv_metrics *m, const struct writer *w, const struct clv_resource *r,
			 const struct clv_event *e)
{
	bool http = !e->protocol || strncmp(e->protocol, "http", 4) == 0;
	struct key k;

	key_begin(&k, r->id, (http ? SET_SERVER_ACTIVE : SET_OTHER_SERVER_ACTIVE) + e->role);
	if (http) {
		key_text(&k, LABEL_METHOD, known_method(e->method));
		key_text(&k, LABEL_SCHEME, CLV_LIT("http"));
	} else {
		key_text(&k, LABEL_PROTOCOL, protocol_of(e->protocol));
	}
	struct shard *s = set_get(m, w, r, &k, e->ts_ns);
	if (!s) {
		count_lost(m);
		return;
	}
	_Atomic uint64_t *active = cell_of(s, class_first(s->set->class));
	if (e->kind == CLV_EVENT_REQUEST)
		cell_add(active, 1);
	else if (cell_get(active)) /* 0: it began under another resource, or in the overflow */
		cell_add(active, UINT64_MAX);
}

static struct clv_slice role_name(enum clv_span_kind role)
{
	return role == CLV_KIND_SERVER ? CLV_LIT("server") : CLV_LIT("client");
}

/* Fills a place of the cache. False without memory; then it stays empty. */
static bool tcp_fill(struct clv_metrics *m, const struct writer *w, struct tcp_sets *t, const struct clv_resource *r,
		     const struct clv_event *e)
{
	struct key k;

	t->tcp = NULL;
	key_begin(&k, r->id, SET_TCP);
	key_text(&k, LABEL_ROLE, role_name(e->role));
	struct shard *tcp = set_get(m, w, r, &k, e->ts_ns);
	for (int transmit = 0; transmit < 2; transmit++) {
		key_begin(&k, r->id, SET_TCP_IO);
		key_text(&k, LABEL_DIRECTION, transmit ? CLV_LIT("transmit") : CLV_LIT("receive"));
		key_text(&k, LABEL_ROLE, role_name(e->role));
		t->io[transmit] = set_get(m, w, r, &k, e->ts_ns);
	}
	if (!tcp || !t->io[0] || !t->io[1])
		return false;
	t->resource_id = r->id;
	t->role = (uint8_t)e->role;
	t->tcp = tcp;
	return true;
}

static void count_tcp(const struct clv_metrics *m, struct shard *s, const struct clv_event *e)
{
	switch (e->kind) {
	case CLV_EVENT_OPENED:
		cell_add(cell_of(s, TCP_OPENED), 1);
		break;
	case CLV_EVENT_CLOSED:
		cell_add(cell_of(s, TCP_CLOSED), 1);
		break;
	case CLV_EVENT_RESET:
		cell_add(cell_of(s, TCP_RESET), 1);
		break;
	case CLV_EVENT_FAILED:
		cell_add(cell_of(s, TCP_FAILED), 1);
		break;
	case CLV_EVENT_RETRANSMITS:
		cell_add(cell_of(s, TCP_RETRANSMITS), e->value);
		break;
	case CLV_EVENT_CONNECTED:
		observe(m, s, TCP_CONNECT, e->value, NULL);
		break;
	case CLV_EVENT_RTT:
		observe(m, s, TCP_RTT, e->value, NULL);
		break;
	default:
		break;
	}
}

static void count_datagram(struct clv_metrics *m, const struct writer *w, const struct clv_resource *r,
			   const struct clv_event *e)
{
	struct key k;

	key_begin(&k, r->id, SET_UDP_IO);
	key_text(&k, LABEL_DIRECTION, e->transmit ? CLV_LIT("transmit") : CLV_LIT("receive"));
	struct shard *s = set_get(m, w, r, &k, e->ts_ns);
	if (!s) {
		count_lost(m);
		return;
	}
	cell_add(cell_of(s, UDP_IO), e->value);
	cell_add(cell_of(s, UDP_DATAGRAMS), 1);
}

void clv_metrics_event(struct clv_metrics *m, unsigned writer, const struct clv_resource *r, const struct clv_event *e)
{
	struct writer *w = &m->writer[writer];
	struct tcp_sets *t = &w->tcp[(r->id * 2 + (unsigned)e->role) % TCP_CACHE];

	if (e->kind == CLV_EVENT_REQUEST || e->kind == CLV_EVENT_REQUEST_END) {
		count_active(m, w, r, e);
		return;
	}
	if (e->kind == CLV_EVENT_DATAGRAM) {
		count_datagram(m, w, r, e);
		return;
	}
	if ((!t->tcp || t->resource_id != r->id || t->role != e->role) && !tcp_fill(m, w, t, r, e)) {
		count_lost(m);
		return;
	}
	if (e->kind == CLV_EVENT_BYTES)
		cell_add(cell_of(t->io[e->transmit], TCP_IO), e->value);
	else
		count_tcp(m, t->tcp, e);
}

/* ---- clovisor's own ---------------------------------------------------------------------------------------------- */

/* By the first writer, whoever calls. */
static void own_set(struct clv_metrics *m, enum family f, enum label label, const char *text, uint64_t value)
{
	const struct writer *w = &m->writer[0];
	struct key k;

	key_begin(&k, m->own->id, SET_OWN + (f - DROPPED));
	if (text)
		key_text(&k, label, clv_slice_str(text));
	struct shard *s = set_get(m, w, m->own, &k, m->begin_ns);
	if (!s)
		count_lost(m);
	else if (s->set->label_count == (text ? 1 : 0) && (!text || !s->set->labels[0].boolean))
		cell_set(cell_of(s, f), value);
}

static void own_figure(struct clv_metrics *m, const struct clv_figure *f)
{
	static const struct {
		const char *name;
		uint8_t family, label;
		const char *text;
	} known[] = {
		{"packets", PACKETS, 0, NULL},
		{"bytes", PACKET_BYTES, 0, NULL},
		{"records", RECORDS, 0, NULL},
		{"record_bytes", RECORD_BYTES, 0, NULL},
		{"spans", SPANS, 0, NULL},
		{"connections_active", CONNECTIONS_ACTIVE, 0, NULL},
		{"memory_used", MEMORY_USED, 0, NULL},
		{"export_spans_sent", EXPORT_SPANS, LABEL_RESULT, "sent"},
		{"export_spans_rejected", EXPORT_SPANS, LABEL_RESULT, "rejected"},
		{"export_spans_dropped", EXPORT_SPANS, LABEL_RESULT, "dropped"},
		{"export_requests_ok", EXPORT_REQUESTS, LABEL_RESULT, "ok"},
		{"export_requests_retried", EXPORT_REQUESTS, LABEL_RESULT, "retried"},
		{"export_requests_failed", EXPORT_REQUESTS, LABEL_RESULT, "failed"},
		{"export_queue_used", EXPORT_QUEUE_USED, 0, NULL},
		{"engine_lag_ns", ENGINE_LAG, 0, NULL},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(f->name, known[i].name) == 0) {
			own_set(m, known[i].family, known[i].label, known[i].text, f->value);
			return;
		}
	/* With or without the prefix that the code gives it. */
	if (f->drop && strcmp(f->name, "metrics_overflow") != 0) /* which is metric_overflow below */
		own_set(m, DROPPED, LABEL_REASON, strncmp(f->name, "drop_", 5) ? f->name : f->name + 5, f->value);
}

void clv_metrics_figures(struct clv_metrics *m, const struct clv_figure *figures, size_t n, uint64_t now_ns)
{
	(void)now_ns;
	for (size_t i = 0; i < n; i++)
		own_figure(m, &figures[i]);
	own_set(m, DROPPED, LABEL_REASON, "metric_overflow", m->overflowed);
	own_set(m, DROPPED, LABEL_REASON, "metric_memory", atomic_load_explicit(&m->no_memory, memory_order_relaxed));
	own_set(m, METRIC_SERIES, 0, NULL, m->series);
}

/* ---- what is gone ------------------------------------------------------------------------------------------------ */

/* Whatever was under way is nobody's any more: its end will be told of another resource. */
static void active_end(struct clv_metrics *m, const struct owner *o)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct set *s = atomic_load_explicit(&m->slots[i], memory_order_relaxed);

		if (!s || s->owner != o || s->class < SET_SERVER_ACTIVE || s->class > SET_OTHER_CLIENT_ACTIVE)
			continue;
		for (unsigned w = 0; w < CLV_METRICS_WRITERS; w++)
			if (shard_of(s, w))
				cell_set(cell_of(shard_of(s, w), class_first(s->class)), 0);
	}
}

void clv_metrics_gone(struct clv_metrics *m, uint32_t resource_id, uint64_t now_ns)
{
	struct owner *o = owner_find(m, resource_id);

	if (!o || o->id == m->own->id)
		return;
	o->gone_ns = now_ns;
	active_end(m, o);
	for (size_t i = 0; i < OWNER_BUCKETS; i++)
		for (const struct owner *other = m->owners[i]; other; other = other->next)
			if (other != o && !other->gone_ns && owner_covers(o, other) && owner_covers(other, o))
				atomic_store_explicit(&o->replaced, true, memory_order_relaxed);
}

static bool owner_is_over(const struct owner *o, uint64_t now_ns)
{
	return atomic_load_explicit(&o->replaced, memory_order_relaxed) ||
	       (o->gone_ns && now_ns > o->gone_ns && now_ns - o->gone_ns > CLV_METRICS_LINGER_NS);
}

static void set_drop(struct clv_metrics *m, struct set *s)
{
	atomic_store_explicit(&m->slots[s->slot], NULL, memory_order_relaxed);
	m->free_slots[m->free_count++] = s->slot;
	m->series -= class_size(s->class);
	set_free(s);
}

static void drop_sets_of(struct clv_metrics *m, const struct owner *o)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct set *s = atomic_load_explicit(&m->slots[i], memory_order_relaxed);

		if (s && s->owner == o)
			set_drop(m, s);
	}
}

void clv_metrics_sweep(struct clv_metrics *m, uint64_t now_ns)
{
	bool any = false;

	for (size_t i = 0; i < OWNER_BUCKETS && !any; i++)
		for (const struct owner *o = m->owners[i]; o; o = o->next)
			any |= owner_is_over(o, now_ns);
	if (!any || pthread_mutex_trylock(&m->reading))
		return;
	for (size_t i = 0; i < OWNER_BUCKETS; i++)
		for (struct owner *o = m->owners[i], *next; o; o = next) {
			next = o->next;
			if (!owner_is_over(o, now_ns))
				continue;
			drop_sets_of(m, o);
			owner_drop(m, o);
		}
	table_rebuild(m);
	for (unsigned i = 0; i < CLV_METRICS_WRITERS; i++)
		memset(m->writer[i].tcp, 0, sizeof(m->writer[i].tcp));
	pthread_mutex_unlock(&m->reading);
}

uint64_t clv_metrics_overflowed(const struct clv_metrics *m)
{
	return m->overflowed;
}

size_t clv_metrics_series(const struct clv_metrics *m)
{
	return m->series;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct shown {
	const struct set *set;
	uint8_t family;
};

static int shown_before(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static uint64_t shown_key(const struct shown *s, enum clv_metrics_order order)
{
	uint64_t id = s->set->owner->id, family = s->family;

	return order == CLV_METRICS_BY_FAMILY ? family << 32 | id : id << 8 | family;
}

/* Sets within a family and resource by slot, so that the order of two scrapes is the same. */
static int by_family(const void *x, const void *y)
{
	const struct shown *a = x, *b = y;
	int c = shown_before(shown_key(a, CLV_METRICS_BY_FAMILY), shown_key(b, CLV_METRICS_BY_FAMILY));

	return c ? c : shown_before(a->set->slot, b->set->slot);
}

static int by_resource(const void *x, const void *y)
{
	const struct shown *a = x, *b = y;
	int c = shown_before(shown_key(a, CLV_METRICS_BY_RESOURCE), shown_key(b, CLV_METRICS_BY_RESOURCE));

	return c ? c : shown_before(a->set->slot, b->set->slot);
}

/* What one writer has put in, beside what others have. */
static void point_add(const struct series *x, struct clv_metric_point *p)
{
	struct clv_metric_exemplar exemplar;

	p->value += (int64_t)cell_get(&x->value);
	for (uint32_t i = 0; x->exemplars && i <= p->bound_count; i++) {
		uint64_t n = cell_get(&x->bucket[i]);

		p->bucket[i] += n;
		p->count += n;
		exemplar_get(&x->exemplars[i], &exemplar);
		if (exemplar.ts_ns > p->exemplar[i].ts_ns)
			p->exemplar[i] = exemplar;
	}
}

static void point_read(const struct clv_metrics *m, const struct shown *s, struct clv_metric_point *p)
{
	const struct set *set = s->set;
	bool histogram = families[s->family].type == CLV_METRIC_HISTOGRAM;

	memset(p, 0, sizeof(*p));
	p->family = &families[s->family];
	p->resource = set->owner->attr;
	p->resource_count = set->owner->count;
	p->resource_id = set->owner->id;
	p->labels = set->labels;
	p->label_count = set->label_count;
	p->start_ns = set->start_ns;
	p->bounds = histogram ? bounds_of(m, s->family)->shown : NULL;
	p->bound_count = histogram ? bounds_of(m, s->family)->count : 0;
	for (unsigned i = 0; i < CLV_METRICS_WRITERS; i++) {
		const struct shard *x = shard_of(set, i);

		if (x)
			point_add(x->series[s->family - class_first(set->class)], p);
	}
	p->sum = histogram ? (uint64_t)p->value : 0;
}

/* What there is now; sets that come later wait for the next visit. */
static size_t shown_collect(const struct clv_metrics *m, struct shown *out)
{
	size_t n = 0;

	for (size_t i = 0; i < m->slot_count; i++) {
		const struct set *s = atomic_load_explicit(&m->slots[i], memory_order_acquire);

		if (s && atomic_load_explicit(&s->owner->replaced, memory_order_relaxed))
			continue;
		for (unsigned j = 0; s && j < class_size(s->class); j++)
			out[n++] = (struct shown){.set = s, .family = (uint8_t)(class_first(s->class) + j)};
	}
	return n;
}

static size_t shown_most(const struct clv_metrics *m)
{
	return m->max_series + FAMILY_COUNT;
}

int clv_metrics_visit(struct clv_metrics *m, enum clv_metrics_order order,
		      void (*fn)(void *ctx, const struct clv_metric_point *point), void *ctx)
{
	struct shown *shown = malloc(shown_most(m) * sizeof(*shown));
	struct clv_metric_point *p = malloc(sizeof(*p));

	if (!shown || !p) {
		free(shown);
		free(p);
		return -ENOMEM;
	}
	pthread_mutex_lock(&m->reading);
	size_t n = shown_collect(m, shown);
	qsort(shown, n, sizeof(*shown), order == CLV_METRICS_BY_FAMILY ? by_family : by_resource);
	for (size_t i = 0; i < n; i++) {
		point_read(m, &shown[i], p);
		if (p->count || p->family->type != CLV_METRIC_HISTOGRAM)
			fn(ctx, p);
	}
	pthread_mutex_unlock(&m->reading);
	free(shown);
	free(p);
	return 0;
}

/* ---- lifecycle --------------------------------------------------------------------------------------------------- */

/* http-metrics.md: the advised bounds of both durations. */
static const double request_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};
/* database-metrics.md, likewise. */
static const double db_bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10};
/* Ours: from one host's bridge to the far side of the world. */
static const double tcp_bounds[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
				    0.025,   0.05,   0.1,     0.25,   0.5,   1,      2.5,   5};
static const double size_bounds[] = {0,      64,      256,     1024,     4096,     16384,    65536,
				     262144, 1048576, 4194304, 16777216, 67108864, 268435456};

static int bounds_set(struct bounds *b, const double *bounds, size_t count, double divisor)
{
	if (count > CLV_METRICS_BOUNDS)
		return -EINVAL;
	b->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		/* Not "<=", which NaN would pass. */
		if (!(bounds[i] >= 0 && bounds[i] < 1e9) || (i && !(bounds[i] > bounds[i - 1])))
			return -EINVAL;
		b->shown[i] = bounds[i];
		b->limit[i] = (uint64_t)(bounds[i] * divisor + 0.5);
	}
	return 0;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int metrics_set_bounds(struct clv_metrics *m, const struct clv_metrics_config *c)
{
	bool own = c->bounds != NULL;

	bounds_set(&m->bounds[TCP_BOUNDS], tcp_bounds, COUNT(tcp_bounds), NS);
	bounds_set(&m->bounds[SIZE_BOUNDS], size_bounds, COUNT(size_bounds), 1);
	int err = bounds_set(&m->bounds[DB_BOUNDS], own ? c->bounds : db_bounds,
			     own ? c->bound_count : COUNT(db_bounds), NS);
	return err ? err
		   : bounds_set(&m->bounds[REQUEST_BOUNDS], own ? c->bounds : request_bounds,
				own ? c->bound_count : COUNT(request_bounds), NS);
}

/* Which attributes of spans are labels. By name: those of routes are set by others. */
static void metrics_set_labels(struct clv_metrics *m)
{
	for (int key = 0; key < CLV_ATTR_COUNT; key++) {
		uint8_t l = 0;

		while (l < LABEL_COUNT && strcmp(label_names[l], clv_attr_name((enum clv_attr_key)key)) != 0)
			l++;
		m->label_of[key] = l;
	}
}

static int metrics_set_own(struct clv_metrics *m, const struct clv_resource *own)
{
	struct clv_resources *rs = NULL;

	m->own = malloc(sizeof(*m->own));
	if (!m->own)
		return -ENOMEM;
	if (!own) {
		int err = clv_resources_new(CLV_LIT("clovisor"), NULL, 0, &rs);

		if (err)
			return err;
		own = clv_resources_get(rs, 0);
	}
	*m->own = *own;
	for (uint32_t i = 0; i < own->count; i++) {
		m->own->attr[i].key.data = (uint8_t *)m->own->text + ((const char *)own->attr[i].key.data - own->text);
		m->own->attr[i].value.data =
			(uint8_t *)m->own->text + ((const char *)own->attr[i].value.data - own->text);
	}
	clv_resources_free(rs);
	return 0;
}

static int metrics_set_room(struct clv_metrics *m, size_t max_series)
{
	size_t table = 64;

	m->max_series = max_series ? max_series : CLV_METRICS_SERIES;
	m->slot_count = m->max_series + CLASS_COUNT;
	while (table < 2 * m->slot_count)
		table *= 2;
	m->table_mask = table - 1;
	m->table = calloc(table, sizeof(m->table[0]));
	m->slots = calloc(m->slot_count, sizeof(*m->slots));
	m->free_slots = calloc(m->slot_count, sizeof(*m->free_slots));
	if (!m->table || !m->slots || !m->free_slots)
		return -ENOMEM;
	while (m->free_count < m->slot_count) {
		m->free_slots[m->free_count] = (uint32_t)(m->slot_count - 1 - m->free_count);
		m->free_count++;
	}
	return 0;
}

int clv_metrics_new(const struct clv_metrics_config *config, struct clv_metrics **out)
{
	struct clv_metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	pthread_mutex_init(&m->reading, NULL);
	clv_queue_lock_init(&m->adding);
	for (unsigned i = 0; i < CLV_METRICS_WRITERS; i++)
		m->writer[i].number = i;
	m->begin_ns = config->now_ns;
	if (getrandom(&m->seed, sizeof(m->seed), 0) != sizeof(m->seed))
		m->seed = (uint64_t)(uintptr_t)m;
	metrics_set_labels(m);
	int err = metrics_set_bounds(m, config);
	if (!err)
		err = metrics_set_own(m, config->own);
	if (!err)
		err = metrics_set_room(m, config->max_series);
	if (err) {
		clv_metrics_free(m);
		return err;
	}
	*out = m;
	return 0;
}

void clv_metrics_free(struct clv_metrics *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->slots && i < m->slot_count; i++)
		set_free(atomic_load_explicit(&m->slots[i], memory_order_relaxed));
	for (size_t i = 0; i < OWNER_BUCKETS; i++)
		for (struct owner *o = m->owners[i], *next; o; o = next) {
			next = o->next;
			free(o);
		}
	free(m->table);
	free(m->slots);
	free(m->free_slots);
	free(m->own);
	pthread_mutex_destroy(&m->reading);
	pthread_mutex_destroy(&m->adding);
	free(m);
}
