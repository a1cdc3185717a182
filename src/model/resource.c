/* SPDX-License-Identifier: Apache-2.0 */
/* The table of resources by place of capture. Owns their text. Engine thread. */
#include "model/resource.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct place {
	uint32_t net;
	struct clv_resource *resource;
};

struct clv_resources {
	struct clv_resource *fallback;
	struct place *places; /* ordered by net */
	size_t count, cap;
	void (*gone)(void *ctx, uint32_t id);
	void *ctx;
};

/* Copies `s` into the resource's own text. False without room. */
static bool resource_put(struct clv_resource *r, struct clv_slice s, struct clv_slice *out)
{
	if (s.len > sizeof(r->text) - r->used)
		return false;
	*out = clv_slice(r->text + r->used, s.len);
	if (s.len)
		memcpy(r->text + r->used, s.data, s.len);
	r->used += s.len;
	return true;
}

static bool resource_add(struct clv_resource *r, struct clv_slice key, struct clv_slice value)
{
	struct clv_resource_attr *a = &r->attr[r->count];

	if (r->count == CLV_RESOURCE_ATTRS || !resource_put(r, key, &a->key) || !resource_put(r, value, &a->value))
		return false;
	r->count++;
	return true;
}

static int resource_new(struct clv_slice service, const struct clv_resource_attr *more, size_t count,
			struct clv_resource **out)
{
	static atomic_uint last_id;
	struct clv_resource *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	bool fits = resource_add(r, CLV_LIT("service.name"), service);
	for (size_t i = 0; i < count && fits; i++)
		fits = resource_add(r, more[i].key, more[i].value);
	if (!fits) {
		free(r);
		return -E2BIG;
	}
	r->id = atomic_fetch_add(&last_id, 1) + 1;
	*out = r;
	return 0;
}

int clv_resources_new(struct clv_slice service, const struct clv_resource_attr *more, size_t count,
		      struct clv_resources **out)
{
	struct clv_resources *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return -ENOMEM;
	int err = resource_new(service, more, count, &rs->fallback);
	if (err) {
		free(rs);
		return err;
	}
	*out = rs;
	return 0;
}

void clv_resources_free(struct clv_resources *rs)
{
	if (!rs)
		return;
	for (size_t i = 0; i < rs->count; i++)
		free(rs->places[i].resource);
	free(rs->places);
	free(rs->fallback);
	free(rs);
}

/* Where `net` stands, or would stand. */
static size_t resources_find(const struct clv_resources *rs, uint32_t net)
{
	size_t low = 0, high = rs->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rs->places[middle].net < net)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool resources_has(const struct clv_resources *rs, size_t at, uint32_t net)
{
	return at < rs->count && rs->places[at].net == net;
}

void clv_resources_watch(struct clv_resources *rs, void (*gone)(void *ctx, uint32_t id), void *ctx)
{
	rs->gone = gone;
	rs->ctx = ctx;
}

static void resources_drop(struct clv_resources *rs, struct clv_resource *r)
{
	if (rs->gone)
		rs->gone(rs->ctx, r->id);
	free(r);
}

static int resources_insert(struct clv_resources *rs, size_t at, struct place place)
{
	if (rs->count == rs->cap) {
		size_t cap = rs->cap ? 2 * rs->cap : 16;
		struct place *p = reallocarray(rs->places, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		rs->places = p;
		rs->cap = cap;
	}
	memmove(rs->places + at + 1, rs->places + at, (rs->count - at) * sizeof(*rs->places));
	rs->places[at] = place;
	rs->count++;
	return 0;
}

int clv_resources_set(struct clv_resources *rs, uint32_t net, struct clv_slice service,
		      const struct clv_resource_attr *more, size_t count)
{
	struct clv_resource *r;
	int err = resource_new(service, more, count, &r);

	if (err)
		return err;
	size_t at = resources_find(rs, net);
	if (resources_has(rs, at, net)) {
		resources_drop(rs, rs->places[at].resource);
		rs->places[at].resource = r;
		return 0;
	}
	err = resources_insert(rs, at, (struct place){.net = net, .resource = r});
	if (err)
		free(r);
	return err;
}

void clv_resources_remove(struct clv_resources *rs, uint32_t net)
{
	size_t at = resources_find(rs, net);

	if (!resources_has(rs, at, net))
		return;
	resources_drop(rs, rs->places[at].resource);
	rs->count--;
	memmove(rs->places + at, rs->places + at + 1, (rs->count - at) * sizeof(*rs->places));
}

const struct clv_resource *clv_resources_get(const struct clv_resources *rs, uint32_t net)
{
	size_t at = resources_find(rs, net);

	return resources_has(rs, at, net) ? rs->places[at].resource : rs->fallback;
}

struct clv_slice clv_resource_value(const struct clv_resource *r, struct clv_slice key)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (clv_slice_eq(r->attr[i].key, key))
			return r->attr[i].value;
	return clv_slice(NULL, 0);
}
