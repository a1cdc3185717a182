/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of functions that a plugin's describe() calls. Owns nothing, allocates nothing; never lets a span have more
 * attributes than it has room for. Engine thread.
 */
#include "plugin/host.h"

#include "model/span.h"
#include "proto/describe.h"

/* The engine's own come behind those of describe(): times, what is missing, a route, an error's type. */
_Static_assert(CLV_ATTRS_MAX + 12 + CLV_SPAN_PEER_ATTRS <= CLV_SPAN_ATTRS, "a plugin leaves room for what others say");

/* The key to set, or -1: it is left out, and that is counted. */
static int host_key(struct clv_span *span, const char *name, unsigned more)
{
	int key = span->attr_count + more <= CLV_ATTRS_MAX ? clv_attr_key(name) : -1;

	if (key < 0)
		span->attrs_dropped++;
	return key;
}

static void host_str(struct clv_span *span, const char *name, struct clv_slice value)
{
	int key = value.len ? host_key(span, name, 1) : -1;

	if (key >= 0)
		clv_span_str(span, (enum clv_attr_key)key, value);
}

static void host_int(struct clv_span *span, const char *name, int64_t value)
{
	int key = host_key(span, name, 1);

	if (key >= 0)
		clv_span_int(span, (enum clv_attr_key)key, value);
}

static void host_bool(struct clv_span *span, const char *name, bool value)
{
	int key = host_key(span, name, 1);

	if (key >= 0)
		clv_span_bool(span, (enum clv_attr_key)key, value);
}

static void host_strs(struct clv_span *span, const char *name, struct clv_slice values)
{
	bool whole = !values.len || !values.data[values.len - 1];
	int key = whole ? host_key(span, name, 1) : -1;

	if (key >= 0)
		clv_span_strs(span, (enum clv_attr_key)key, values);
	else if (!whole)
		span->attrs_dropped++;
}

static void host_text(struct clv_span *span, enum clv_span_text which, struct clv_slice value)
{
	switch (which) {
	case CLV_SPAN_NAME:
		span->name = value;
		break;
	case CLV_SPAN_METHOD:
		span->method = value;
		break;
	case CLV_SPAN_TARGET:
		span->target = value;
		break;
	case CLV_SPAN_RESULT:
		span->result = value;
		break;
	}
}

static void host_status(struct clv_span *span, int code)
{
	span->status_code = code;
}

static void host_error(struct clv_span *span, struct clv_slice type)
{
	span->status = CLV_STATUS_ERROR;
	host_str(span, clv_attr_name(CLV_ATTR_ERROR_TYPE), type);
}

/* As many attributes as clv_describe_ends() sets. */
#define ENDS 8

static void host_ends(struct clv_span *span, struct clv_slice server)
{
	if (span->attr_count + ENDS > CLV_ATTRS_MAX)
		span->attrs_dropped = (uint16_t)(span->attrs_dropped + ENDS);
	else
		clv_describe_ends(span, server);
}

static bool host_is_server(const struct clv_span *span)
{
	return span->kind == CLV_KIND_SERVER;
}

static char *host_room(struct clv_span *span, size_t size)
{
	return clv_span_scratch(span, size);
}

static struct clv_slice host_number(struct clv_span *span, uint64_t n)
{
	return clv_describe_number(span, n);
}

const struct clv_host clv_plugin_host = {
	.abi = CLV_PROTO_ABI,
	.size = sizeof(struct clv_host),
	.set_str = host_str,
	.set_int = host_int,
	.set_bool = host_bool,
	.set_strs = host_strs,
	.set_text = host_text,
	.set_status = host_status,
	.set_error = host_error,
	.set_ends = host_ends,
	.is_server = host_is_server,
	.room = host_room,
	.number = host_number,
};
