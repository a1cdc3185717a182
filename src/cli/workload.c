/* SPDX-License-Identifier: Apache-2.0 */
/* Names of workloads and the resources made of them. Owns nothing; never asks the system. Main thread. */
#include "cli/workload.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"

/* A namespace is known by the last part of its path, but a process's by nothing that lasts. */
static struct clv_slice workload_netns_name(struct clv_slice text)
{
	const uint8_t *slash = text.len ? memrchr(text.data, '/', text.len) : NULL;
	struct clv_slice name = slash ? clv_slice_from(text, (size_t)(slash - text.data) + 1) : text;

	if (clv_slice_starts(text, CLV_LIT("/proc/")))
		return clv_slice(NULL, 0);
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] < '0' || name.data[i] > '9')
			return name;
	return clv_slice(NULL, 0);
}

/* A cgroup, by the last part of its path. */
static struct clv_slice workload_cgroup_name(struct clv_slice path)
{
	while (path.len && path.data[path.len - 1] == '/')
		path.len--;
	const uint8_t *slash = path.len ? memrchr(path.data, '/', path.len) : NULL;

	return slash ? clv_slice_from(path, (size_t)(slash - path.data) + 1) : path;
}

struct clv_slice clv_workload_service(const struct clv_service_rule *rules, size_t count,
				      const struct clv_workload_place *place)
{
	struct clv_slice netns = workload_netns_name(place->netns);
	struct clv_slice cgroup = workload_cgroup_name(place->cgroup);

	for (size_t i = 0; i < count; i++)
		if (rules[i].place.len &&
		    (clv_slice_eq(rules[i].place, place->interface) || clv_slice_eq(rules[i].place, place->netns) ||
		     clv_slice_eq(rules[i].place, place->cgroup)))
			return rules[i].name;
	for (size_t i = 0; i < count; i++)
		if (!rules[i].place.len)
			return rules[i].name;
	if (netns.len)
		return netns;
	if (cgroup.len)
		return cgroup;
	if (place->pod && place->interface.len)
		return place->interface;
	return CLV_LIT(CLV_SERVICE_UNKNOWN);
}

size_t clv_workload_rules(const struct clv_options *o, struct clv_service_rule rules[CLV_SERVICE_RULES])
{
	size_t count = 0;

	for (; count < o->services.count; count++)
		rules[count] = (struct clv_service_rule){clv_slice_str(o->services.item[count].name),
							 clv_slice_str(o->services.item[count].value)};
	if (o->given[CLV_SET_SERVICE].origin != CLV_FROM_DEFAULT)
		rules[count++] = (struct clv_service_rule){{0}, clv_slice_str(o->service)};
	return count;
}

static int hex_digit(uint8_t c)
{
	c = clv_ascii_lower(c);
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Appends `s` without its percent-encoding. */
static bool common_decode(struct clv_buf *b, struct clv_slice s, struct clv_slice *out)
{
	size_t from = b->len;

	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] != '%') {
			clv_buf_char(b, (char)s.data[i]);
			continue;
		}
		int high = i + 2 < s.len ? hex_digit(s.data[i + 1]) : -1,
		    low = high < 0 ? -1 : hex_digit(s.data[i + 2]);
		if (low < 0)
			return false;
		clv_buf_char(b, (char)(high << 4 | low));
		i += 2;
	}
	*out = clv_slice(b->data + from, b->len - from);
	return !b->cut && out->len;
}

int clv_workload_common(struct clv_workload_common *c, const char *text)
{
	struct clv_slice rest = text ? clv_slice_str(text) : clv_slice(NULL, 0);
	struct clv_buf b = clv_buf(c->text, sizeof(c->text));

	c->count = 0;
	while (rest.len) {
		size_t comma = clv_slice_find(rest, 0, ',');
		struct clv_slice pair = clv_slice_trim(clv_slice_head(rest, comma));
		size_t equals = clv_slice_find(pair, 0, '=');
		struct clv_resource_attr a;

		rest = clv_slice_from(rest, comma + 1);
		if (!pair.len)
			continue;
		if (c->count == sizeof(c->attr) / sizeof(*c->attr) || equals == pair.len ||
		    !common_decode(&b, clv_slice_trim(clv_slice_head(pair, equals)), &a.key) ||
		    !common_decode(&b, clv_slice_trim(clv_slice_from(pair, equals + 1)), &a.value)) {
			c->count = 0;
			return -EINVAL;
		}
		if (!clv_slice_eq(a.key, CLV_LIT("service.name")))
			c->attr[c->count++] = a;
	}
	return 0;
}

static bool workload_is(const struct clv_resource *r, struct clv_slice service, const struct clv_resource_attr *more,
			size_t count)
{
	if (r->count != count + 1 || !clv_slice_eq(r->attr[0].value, service))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!clv_slice_eq(r->attr[i + 1].key, more[i].key) ||
		    !clv_slice_eq(r->attr[i + 1].value, more[i].value))
			return false;
	return true;
}

static bool workload_has(const struct clv_resource_attr *attr, size_t count, struct clv_slice key)
{
	for (size_t i = 0; i < count; i++)
		if (clv_slice_eq(attr[i].key, key))
			return true;
	return false;
}

int clv_workload_set_attrs(struct clv_resources *rs, uint32_t net, struct clv_slice service,
			   const struct clv_resource_attr *attrs, size_t count,
			   const struct clv_workload_common *common)
{
	struct clv_resource_attr attr[CLV_RESOURCE_ATTRS - 1]; /* and service.name */
	size_t n = 0;

	for (size_t i = 0; i < count + common->count && n < sizeof(attr) / sizeof(*attr); i++) {
		const struct clv_resource_attr *a = i < count ? &attrs[i] : &common->attr[i - count];

		if (!workload_has(attr, n, a->key))
			attr[n++] = *a;
	}
	if (workload_is(clv_resources_get(rs, net), service, attr, n))
		return 0; /* what is counted of it goes on */
	return clv_resources_set(rs, net, service, attr, n);
}

int clv_workload_set(struct clv_resources *rs, uint32_t net, struct clv_slice service,
		     const struct clv_workload_place *place, const struct clv_workload_common *common)
{
	const struct clv_resource_attr interface = {CLV_LIT("network.interface.name"), place->interface};

	return clv_workload_set_attrs(rs, net, service, &interface, place->interface.len != 0, common);
}

const struct clv_workload_common *clv_workload_environment(void)
{
	static struct clv_workload_common common;
	static bool read;

	if (!read && clv_workload_common(&common, getenv("OTEL_RESOURCE_ATTRIBUTES")))
		clv_warn("OTEL_RESOURCE_ATTRIBUTES is ignored: it should be KEY=VALUE,KEY=VALUE, percent-encoded");
	read = true;
	return &common;
}

int clv_workload_resources(const struct clv_options *o, struct clv_resources **out)
{
	const struct clv_workload_common *common = clv_workload_environment();
	const struct clv_workload_place nowhere = {0};
	struct clv_service_rule rules[CLV_SERVICE_RULES];
	struct clv_slice service = clv_workload_service(rules, clv_workload_rules(o, rules), &nowhere);

	return clv_resources_new(service, common->attr, common->count, out);
}
