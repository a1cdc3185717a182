/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads collectors' answers. Owns nothing, allocates nothing, never trusts a length. Any thread.
 */
#include "export/otlp_answer.h"

#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/curl.h"
#include "export/protobuf.h"

#define GRPC_FRAME 5u
#define NS         1000000000ull

/* grpc/doc/statuscodes.md */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

static const char *grpc_name(int status)
{
	static const char *const names[] = {
		"OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED",
	};

	return status >= 0 && (size_t)status < sizeof(names) / sizeof(*names) ? names[status] : "unknown status";
}

void clv_otlp_printable(char *out, size_t size, struct clv_slice text)
{
	size_t n = text.len < size - 1 ? text.len : size - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = text.data[i] >= ' ' && text.data[i] < 0x7f ? (char)text.data[i] : '?';
	out[n] = '\0';
}

/* ---- protobuf, reading ----------------------------------------------------------------------------------- */

struct field {
	uint32_t number;
	enum protobuf_wire wire;
	uint64_t value;         /* VARINT, FIXED64, FIXED32 */
	struct clv_slice bytes; /* BYTES; cut when the message is */
};

static bool read_varint(struct clv_slice *s, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < PROTOBUF_VARINT_MAX && i < s->len; i++) {
		v |= (uint64_t)(s->data[i] & 0x7f) << (7 * i);
		if (!(s->data[i] & 0x80)) {
			*out = v;
			*s = clv_slice_from(*s, i + 1);
			return true;
		}
	}
	return false;
}

/* The next field; false: no more, or no protobuf (then s->len is not 0). */
static bool read_field(struct clv_slice *s, struct field *f)
{
	struct clv_slice rest = *s;
	uint64_t tag;

	if (!read_varint(&rest, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return false;
	*f = (struct field){.number = (uint32_t)(tag >> 3), .wire = (enum protobuf_wire)(tag & 7)};
	size_t fixed = f->wire == PROTOBUF_FIXED64 ? 8 : 4;
	switch (f->wire) {
	case PROTOBUF_VARINT:
		if (!read_varint(&rest, &f->value))
			return false;
		break;
	case PROTOBUF_FIXED64:
	case PROTOBUF_FIXED32:
		if (rest.len < fixed)
			return false;
		memcpy(&f->value, rest.data, fixed);
		rest = clv_slice_from(rest, fixed);
		break;
	case PROTOBUF_BYTES: {
		uint64_t len;

		if (!read_varint(&rest, &len))
			return false;
		f->bytes = clv_slice_head(rest, len < rest.len ? (size_t)len : rest.len);
		rest = clv_slice_from(rest, f->bytes.len);
		break;
	}
	default:
		return false;
	}
	*s = rest;
	return true;
}

/* Export{Trace,Metrics}ServiceResponse: partial_success = 1 { rejected = 1, error_message = 2 }. */
static void read_response(struct clv_slice s, struct clv_otlp_answer *a)
{
	struct field f, g;

	while (read_field(&s, &f)) {
		if (f.number != 1 || f.wire != PROTOBUF_BYTES)
			continue;
		while (read_field(&f.bytes, &g)) {
			if (g.number == 1 && g.wire == PROTOBUF_VARINT)
				a->rejected = (int64_t)g.value > 0 ? g.value : 0;
			else if (g.number == 2 && g.wire == PROTOBUF_BYTES)
				clv_otlp_printable(a->message, sizeof(a->message), g.bytes);
		}
		a->strange |= f.bytes.len != 0;
	}
	a->strange |= s.len != 0;
}

/* google.rpc.Status { message = 2, details = 3 }: what it says to people. */
static bool read_status_message(struct clv_slice s, char *out, size_t size)
{
	struct field f;

	while (read_field(&s, &f)) {
		if (f.number == 2 && f.wire == PROTOBUF_BYTES && f.bytes.len) {
			clv_otlp_printable(out, size, f.bytes);
			return true;
		}
	}
	return false;
}

/* google.protobuf.Duration { seconds = 1, nanos = 2 }, bounded. */
static uint64_t read_duration(struct clv_slice s)
{
	uint64_t seconds = 0, nanos = 0;
	struct field f;

	while (read_field(&s, &f)) {
		if (f.wire == PROTOBUF_VARINT && f.number == 1)
			seconds = f.value;
		else if (f.wire == PROTOBUF_VARINT && f.number == 2)
			nanos = f.value;
	}
	if ((int64_t)seconds < 0 || (int64_t)nanos < 0)
		return 0;
	if (seconds >= CLV_OTLP_WAIT_MAX_NS / NS || nanos >= NS)
		return CLV_OTLP_WAIT_MAX_NS;
	return seconds * NS + nanos;
}

/* Any { type_url = 1, value = 2 } with google.rpc.RetryInfo { retry_delay = 1 }. */
static bool read_retry_info(struct clv_slice any, uint64_t *wait_ns)
{
	struct clv_slice suffix = clv_slice_str("/google.rpc.RetryInfo"), type = {0}, value = {0};
	struct field f;

	while (read_field(&any, &f)) {
		if (f.wire == PROTOBUF_BYTES && f.number == 1)
			type = f.bytes;
		else if (f.wire == PROTOBUF_BYTES && f.number == 2)
			value = f.bytes;
	}
	if (type.len < suffix.len || !clv_slice_eq(clv_slice_from(type, type.len - suffix.len), suffix))
		return false;
	*wait_ns = 0;
	while (read_field(&value, &f))
		if (f.wire == PROTOBUF_BYTES && f.number == 1)
			*wait_ns = read_duration(f.bytes);
	return true;
}

static bool read_details(struct clv_slice s, uint64_t *wait_ns)
{
	struct field f;

	while (read_field(&s, &f))
		if (f.number == 3 && f.wire == PROTOBUF_BYTES && read_retry_info(f.bytes, wait_ns))
			return true;
	return false;
}

/* ---- fields of the head ---------------------------------------------------------------------------------- */

/* Digits only; false: it is something else. What is too large becomes `max`. */
static bool decimal(struct clv_slice s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		v = v * 10 + (s.data[i] - '0');
		if (v > max)
			v = max;
	}
	*out = v;
	return s.len != 0;
}

/* Retry-After (RFC 9110 section 10.2.3): seconds or a date. */
static void field_retry_after(struct clv_otlp_fields *f, struct clv_slice value, int64_t now_s)
{
	uint64_t seconds;
	char date[64];

	if (!decimal(value, CLV_OTLP_WAIT_MAX_NS / NS, &seconds)) {
		clv_otlp_printable(date, sizeof(date), value);
		const char *why;
		time_t at = clv_curl_load(&why) ? (time_t)-1 : curl_getdate(date, NULL);
		if (at == (time_t)-1)
			return;
		seconds = at > now_s ? (uint64_t)(at - now_s) : 0;
	}
	if (seconds > CLV_OTLP_WAIT_MAX_NS / NS)
		seconds = CLV_OTLP_WAIT_MAX_NS / NS;
	f->has_retry_after = true;
	f->retry_after_ns = seconds * NS;
}

void clv_otlp_field(struct clv_otlp_fields *f, struct clv_slice line, int64_t now_s)
{
	size_t colon = clv_slice_find(line, 0, ':');
	struct clv_slice name = clv_slice_head(line, colon), value = clv_slice_from(line, colon + 1);
	uint64_t n;

	while (value.len && (value.data[value.len - 1] == '\r' || value.data[value.len - 1] == '\n'))
		value.len--;
	value = clv_slice_trim(value);
	if (clv_slice_eq_nocase(name, clv_slice_str("grpc-status"))) {
		if (decimal(value, 1000, &n))
			f->grpc_status = (int)n;
	} else if (clv_slice_eq_nocase(name, clv_slice_str("grpc-message"))) {
		clv_otlp_printable(f->grpc_message, sizeof(f->grpc_message), value);
		f->has_grpc_message = value.len != 0;
	} else if (clv_slice_eq_nocase(name, clv_slice_str("grpc-status-details-bin"))) {
		if (!clv_base64_decode(value, f->details, sizeof(f->details), &f->details_len))
			f->details_len = 0;
	} else if (clv_slice_eq_nocase(name, clv_slice_str("retry-after"))) {
		field_retry_after(f, value, now_s);
	} else if (clv_slice_eq_nocase(name, clv_slice_str("content-type"))) {
		f->json = clv_slice_eq_nocase(clv_slice_head(value, 16), clv_slice_str("application/json"));
		f->protobuf = clv_slice_eq_nocase(clv_slice_head(value, 22), clv_slice_str("application/x-protobuf")) ||
			      clv_slice_eq_nocase(clv_slice_head(value, 16), clv_slice_str("application/grpc"));
	}
}

/* ---- HTTP ------------------------------------------------------------------------------------------------ */

/* The text after "key": in JSON; enough for answers, which have each key once. */
static struct clv_slice json_after(struct clv_slice s, const char *key)
{
	const uint8_t *p = s.len ? memmem(s.data, s.len, key, strlen(key)) : NULL;

	if (!p)
		return clv_slice(NULL, 0);
	struct clv_slice rest = clv_slice_from(s, (size_t)(p - s.data) + strlen(key));
	while (rest.len && strchr(" \t\r\n:\"", rest.data[0]) && rest.data[0])
		rest = clv_slice_from(rest, 1);
	return rest;
}

static void read_json(struct clv_slice s, struct clv_otlp_answer *a)
{
	struct clv_slice rejected = json_after(s, "\"rejectedSpans\""), text = json_after(s, "\"errorMessage\"");
	size_t digits = 0;

	if (!rejected.len)
		rejected = json_after(s, "\"rejectedDataPoints\"");
	while (digits < rejected.len && rejected.data[digits] >= '0' && rejected.data[digits] <= '9')
		digits++;
	decimal(clv_slice_head(rejected, digits), INT64_MAX / 16, &a->rejected);
	clv_otlp_printable(a->message, sizeof(a->message), clv_slice_head(text, clv_slice_find(text, 0, '"')));
	a->strange = s.len && s.data[0] != '{';
}

static void http_message(const struct clv_otlp_fields *f, long status, struct clv_slice body, struct clv_otlp_answer *a)
{
	char text[CLV_OTLP_MESSAGE - 16] = "";

	if (f->protobuf)
		read_status_message(body, text, sizeof(text));
	else
		clv_otlp_printable(text, sizeof(text), clv_slice_head(body, sizeof(text) - 1));
	snprintf(a->message, sizeof(a->message), "HTTP %ld%s%s", status, *text ? ": " : "", text);
}

void clv_otlp_answer_http(const struct clv_otlp_fields *f, long status, struct clv_slice body, bool whole,
			  struct clv_otlp_answer *a)
{
	*a = (struct clv_otlp_answer){0};
	if (status >= 200 && status < 300) {
		a->verdict = CLV_OTLP_DELIVERED;
		if (f->json)
			read_json(body, a);
		else if (f->protobuf)
			read_response(body, a);
		else
			a->strange = body.len != 0;
		a->strange |= !whole;
		return;
	}
	bool retry = status == 429 || (status >= 502 && status <= 504);
	a->verdict = retry ? CLV_OTLP_RETRY : CLV_OTLP_REFUSED;
	if (retry && f->has_retry_after)
		a->wait_ns = f->retry_after_ns;
	http_message(f, status, body, a);
}

/* ---- gRPC ------------------------------------------------------------------------------------------------ */

/* http-grpc-status-mapping.md: for answers that come from something that is no gRPC. */
static int grpc_from_http(long status)
{
	switch (status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

static bool grpc_retryable(int status, bool has_retry_info)
{
	switch (status) {
	case GRPC_CANCELLED:
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_ABORTED:
	case GRPC_OUT_OF_RANGE:
	case GRPC_UNAVAILABLE:
	case GRPC_DATA_LOSS:
		return true;
	case GRPC_RESOURCE_EXHAUSTED:
		return has_retry_info;
	default:
		return false;
	}
}

void clv_otlp_answer_grpc(const struct clv_otlp_fields *f, long status, struct clv_slice body, bool whole,
			  struct clv_otlp_answer *a)
{
	int code = f->grpc_status >= 0 ? f->grpc_status : grpc_from_http(status);

	*a = (struct clv_otlp_answer){0};
	if (code == GRPC_OK) {
		a->verdict = CLV_OTLP_DELIVERED;
		a->strange = !whole || (body.len && (body.len < GRPC_FRAME || body.data[0] != 0));
		if (!a->strange)
			read_response(clv_slice_from(body, GRPC_FRAME), a);
		return;
	}
	bool info = read_details(clv_slice(f->details, f->details_len), &a->wait_ns);
	a->verdict = grpc_retryable(code, info) ? CLV_OTLP_RETRY : CLV_OTLP_REFUSED;
	if (f->grpc_status < 0)
		snprintf(a->message, sizeof(a->message), "HTTP %ld without a gRPC status", status);
	else
		snprintf(a->message, sizeof(a->message), "gRPC %s%s%.160s", grpc_name(code),
			 f->has_grpc_message ? ": " : "", f->grpc_message);
}
