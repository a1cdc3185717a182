/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: what an API server, a kubeconfig and an exec plugin say. Any bytes, in any pieces, must give objects that
 * are whole, the same ones in each division, or an error.
 *
 * Input: a byte that says what it is, one that says in which pieces, and its text.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kube/exec.h"
#include "kube/kubeconfig.h"
#include "kube/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- objects ---------------------------------------------------------------------------------------------------- */

/* Each byte of a string is there. */
static uint64_t sum(const char *s)
{
	assert(s);
	size_t len = strlen(s);

	assert(len < CLV_KUBE_STRING_BYTES);
	return len;
}

static uint64_t sum_pairs(const struct clv_kube_pairs *p)
{
	uint64_t n = 0;

	assert(p->count <= CLV_KUBE_LIST_MAX);
	for (size_t i = 0; i < p->count; i++) {
		n += sum(p->pair[i].key) + sum(p->pair[i].value);
		assert(i == 0 || strcmp(p->pair[i - 1].key, p->pair[i].key) <= 0);
		assert(clv_kube_pairs_get(p, p->pair[i].key));
	}
	return n;
}

static uint64_t sum_addresses(const struct clv_addr *ip, size_t count)
{
	uint64_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += ip[i].b[0] + ip[i].b[15];
	return n;
}

static uint64_t sum_ports(const struct clv_kube_port *p, size_t count)
{
	uint64_t n = 0;

	for (size_t i = 0; i < count; i++) {
		assert(p[i].port);
		n += sum(p[i].name) + sum(p[i].target_name) + sum(p[i].app_protocol) + p[i].port + p[i].target;
	}
	return n;
}

static uint64_t sum_pod(const struct clv_kube_pod *p)
{
	uint64_t n = sum(p->node) + sum_pairs(&p->labels) + sum_pairs(&p->annotations);

	for (size_t i = 0; i < p->container_count; i++)
		n += sum(p->container[i].name) + sum(p->container[i].id);
	return n + sum_addresses(p->ip, p->ip_count) + sum_ports(p->port, p->port_count);
}

static uint64_t sum_slice(const struct clv_kube_endpointslice *s)
{
	uint64_t n = sum(s->service);

	for (size_t i = 0; i < s->endpoint_count; i++) {
		const struct clv_kube_endpoint *e = &s->endpoint[i];

		n += sum_addresses(e->ip, e->ip_count) + sum(e->node) + sum(e->pod) + sum(e->pod_uid);
	}
	return n;
}

static uint64_t sum_node(const struct clv_kube_node *o)
{
	uint64_t n = sum_addresses(o->ip, o->ip_count);

	for (size_t i = 0; i < o->range_count; i++) {
		assert(o->range[i].bits <= 128);
		n += sum_addresses(&o->range[i].addr, 1);
	}
	return n;
}

static uint64_t sum_object(const struct clv_kube_object *o)
{
	uint64_t n = sum(o->namespace) + sum(o->name) + sum(o->uid) + sum(o->owner.kind) + sum(o->owner.name) +
		     sum(o->owner.uid) + o->bytes;

	assert(*o->name);
	switch (o->kind) {
	case CLV_KUBE_POD:
		return n + sum_pod((const struct clv_kube_pod *)o);
	case CLV_KUBE_SERVICE:
		return n + sum_pairs(&((const struct clv_kube_service *)o)->selector) +
		       sum_addresses(((const struct clv_kube_service *)o)->ip,
				     ((const struct clv_kube_service *)o)->ip_count) +
		       sum_ports(((const struct clv_kube_service *)o)->port,
				 ((const struct clv_kube_service *)o)->port_count);
	case CLV_KUBE_ENDPOINTSLICE:
		return n + sum_slice((const struct clv_kube_endpointslice *)o);
	case CLV_KUBE_NODE:
		return n + sum_node((const struct clv_kube_node *)o);
	default:
		return n;
	}
}

/* ---- streams ---------------------------------------------------------------------------------------------------- */

struct told {
	uint64_t sum, count;
};

static int on_item(void *ctx, struct clv_kube_item *item)
{
	struct told *t = ctx;

	assert(!item->object == (item->type == CLV_KUBE_WATCH_BOOKMARK || item->type == CLV_KUBE_WATCH_ERROR));
	t->count++;
	t->sum += (uint64_t)item->code + strlen(item->message) + strlen(item->resource_version);
	if (item->object)
		t->sum += sum_object(item->object);
	clv_kube_object_free(item->object);
	return 0;
}

static struct told feed(enum clv_kube_kind kind, bool list, struct clv_slice text, size_t piece, int *err)
{
	struct clv_kube_cutter *c = clv_kube_cutter_new(kind, list);
	char version[CLV_KUBE_VERSION_BYTES], *next = NULL;
	struct told t = {0};

	assert(c);
	*err = 0;
	for (size_t at = 0; at < text.len && !*err; at += piece)
		*err = clv_kube_cutter_feed(c, clv_slice_sub(text, at, piece), on_item, &t);
	assert(*err == 0 || *err == -EBADMSG);
	int end = clv_kube_cutter_end(c, version, &next);
	assert(end == 0 || end == -EBADMSG);
	if (!end)
		t.sum += strlen(version) + strlen(next);
	free(next);
	t.sum += clv_kube_cutter_skipped(c);
	clv_kube_cutter_free(c);
	return t;
}

static void fuzz_stream(enum clv_kube_kind kind, bool list, struct clv_slice text, size_t piece)
{
	int err, whole_err;
	struct told whole = feed(kind, list, text, text.len + 1, &whole_err);
	struct told pieces = feed(kind, list, text, piece, &err);

	assert(err == whole_err && whole.sum == pieces.sum && whole.count == pieces.count);
}

/* ---- the others ------------------------------------------------------------------------------------------------- */

static void fuzz_kubeconfig(struct clv_slice text)
{
	struct clv_kubeconfig *k = clv_kubeconfig_new();
	char why[CLV_KUBE_WHY] = "";

	assert(k);
	int err = clv_kubeconfig_add(k, "/etc/kube/config", text, why);
	if (!err)
		err = clv_kubeconfig_resolve(k, NULL, why);
	assert(err ? *why : k->server != NULL);
	for (size_t i = 0; !err && k->exec.command && k->exec.env[i]; i++)
		assert(strchr(k->exec.env[i], '='));
	clv_kubeconfig_free(k);
}

static void fuzz_plugin(struct clv_slice text)
{
	struct clv_kube_exec_credential c = {0};
	char why[CLV_KUBE_WHY] = "";

	if (clv_kube_exec_parse("client.authentication.k8s.io/v1", text, &c, why))
		assert(*why);
	else
		assert(c.token || (c.cert && c.key));
	clv_kube_exec_clear(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	enum clv_kube_kind kind = (enum clv_kube_kind)(data[0] % CLV_KUBE_KINDS);
	struct clv_slice text = clv_slice(data + 2, size - 2);

	switch (data[0] / 8 % 5) {
	case 0:
		fuzz_kubeconfig(text);
		break;
	case 1:
		fuzz_plugin(text);
		break;
	case 2:
		clv_kube_object_free(clv_kube_parse(kind, text));
		break;
	case 3:
		fuzz_stream(kind, true, text, data[1] + 1u);
		break;
	default:
		fuzz_stream(kind, false, text, data[1] + 1u);
		break;
	}
	return 0;
}
