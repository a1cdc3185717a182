/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP protobuf to OTLP/JSON, by tables of the messages. Owns the text it makes, which grows as needed; trusts
 * nothing in the message. Runs on the exporter's thread.
 *
 * JSON has each key once, with all elements of a repeated field in one array, while protobuf may scatter them. So a
 * message is walked once to check it and see what it has, then once for each field that it has.
 */
#include "export/otlp_json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "export/json.h"
#include "export/protobuf.h"
#include "export/utf8.h"

/* ---- the messages of opentelemetry-proto 1.11 ---- */

enum kind {
	KIND_MESSAGE,
	KIND_STRING,
	KIND_ID,     /* bytes, in hex */
	KIND_BASE64, /* other bytes */
	KIND_BOOL,
	KIND_UINT32,
	KIND_ENUM,
	KIND_INT64,
	KIND_FIXED32,
	KIND_FIXED64,
	KIND_SFIXED64,
	KIND_DOUBLE,
};

/* How often a field may stand; one of a message's ONEOF fields at a time (no message here has two oneofs). */
enum label { ONCE, REPEATED, ONEOF };

struct message;
struct field {
	const char *name;
	uint8_t number, kind, label;
	const struct message *type; /* of KIND_MESSAGE */
};

/* Fields in the order of the JSON text. */
#define FIELDS_MAX 16
struct message {
	struct field field[FIELDS_MAX]; /* ends with the first that has no name, or with all */
};

/* Values may be lists of values. */
static const struct message array_value, list_value;

static const struct message any_value = {{
	{"stringValue", 1, KIND_STRING, ONEOF, NULL},
	{"boolValue", 2, KIND_BOOL, ONEOF, NULL},
	{"intValue", 3, KIND_INT64, ONEOF, NULL},
	{"doubleValue", 4, KIND_DOUBLE, ONEOF, NULL},
	{"arrayValue", 5, KIND_MESSAGE, ONEOF, &array_value},
	{"kvlistValue", 6, KIND_MESSAGE, ONEOF, &list_value},
	{"bytesValue", 7, KIND_BASE64, ONEOF, NULL},
}};
static const struct message key_value = {{
	{"key", 1, KIND_STRING, ONCE, NULL},
	{"value", 2, KIND_MESSAGE, ONCE, &any_value},
}};
static const struct message array_value = {{
	{"values", 1, KIND_MESSAGE, REPEATED, &any_value},
}};
static const struct message list_value = {{
	{"values", 1, KIND_MESSAGE, REPEATED, &key_value},
}};
static const struct message entity_ref = {{
	{"schemaUrl", 1, KIND_STRING, ONCE, NULL},
	{"type", 2, KIND_STRING, ONCE, NULL},
	{"idKeys", 3, KIND_STRING, REPEATED, NULL},
	{"descriptionKeys", 4, KIND_STRING, REPEATED, NULL},
}};
static const struct message resource = {{
	{"attributes", 1, KIND_MESSAGE, REPEATED, &key_value},
	{"droppedAttributesCount", 2, KIND_UINT32, ONCE, NULL},
	{"entityRefs", 3, KIND_MESSAGE, REPEATED, &entity_ref},
}};
static const struct message scope = {{
	{"name", 1, KIND_STRING, ONCE, NULL},
	{"version", 2, KIND_STRING, ONCE, NULL},
	{"attributes", 3, KIND_MESSAGE, REPEATED, &key_value},
	{"droppedAttributesCount", 4, KIND_UINT32, ONCE, NULL},
}};

static const struct message event = {{
	{"timeUnixNano", 1, KIND_FIXED64, ONCE, NULL},
	{"name", 2, KIND_STRING, ONCE, NULL},
	{"attributes", 3, KIND_MESSAGE, REPEATED, &key_value},
	{"droppedAttributesCount", 4, KIND_UINT32, ONCE, NULL},
}};
static const struct message span_link = {{
	{"traceId", 1, KIND_ID, ONCE, NULL},
	{"spanId", 2, KIND_ID, ONCE, NULL},
	{"traceState", 3, KIND_STRING, ONCE, NULL},
	{"attributes", 4, KIND_MESSAGE, REPEATED, &key_value},
	{"droppedAttributesCount", 5, KIND_UINT32, ONCE, NULL},
	{"flags", 6, KIND_FIXED32, ONCE, NULL},
}};
static const struct message status = {{
	{"message", 2, KIND_STRING, ONCE, NULL},
	{"code", 3, KIND_ENUM, ONCE, NULL},
}};
static const struct message span = {{
	{"traceId", 1, KIND_ID, ONCE, NULL},
	{"spanId", 2, KIND_ID, ONCE, NULL},
	{"traceState", 3, KIND_STRING, ONCE, NULL},
	{"parentSpanId", 4, KIND_ID, ONCE, NULL},
	{"flags", 16, KIND_FIXED32, ONCE, NULL},
	{"name", 5, KIND_STRING, ONCE, NULL},
	{"kind", 6, KIND_ENUM, ONCE, NULL},
	{"startTimeUnixNano", 7, KIND_FIXED64, ONCE, NULL},
	{"endTimeUnixNano", 8, KIND_FIXED64, ONCE, NULL},
	{"attributes", 9, KIND_MESSAGE, REPEATED, &key_value},
	{"droppedAttributesCount", 10, KIND_UINT32, ONCE, NULL},
	{"events", 11, KIND_MESSAGE, REPEATED, &event},
	{"droppedEventsCount", 12, KIND_UINT32, ONCE, NULL},
	{"links", 13, KIND_MESSAGE, REPEATED, &span_link},
	{"droppedLinksCount", 14, KIND_UINT32, ONCE, NULL},
	{"status", 15, KIND_MESSAGE, ONCE, &status},
}};
static const struct message scope_spans = {{
	{"scope", 1, KIND_MESSAGE, ONCE, &scope},
	{"spans", 2, KIND_MESSAGE, REPEATED, &span},
	{"schemaUrl", 3, KIND_STRING, ONCE, NULL},
}};
static const struct message resource_spans = {{
	{"resource", 1, KIND_MESSAGE, ONCE, &resource},
	{"scopeSpans", 2, KIND_MESSAGE, REPEATED, &scope_spans},
	{"schemaUrl", 3, KIND_STRING, ONCE, NULL},
}};
static const struct message traces_request = {{
	{"resourceSpans", 1, KIND_MESSAGE, REPEATED, &resource_spans},
}};

static const struct message exemplar = {{
	{"filteredAttributes", 7, KIND_MESSAGE, REPEATED, &key_value},
	{"timeUnixNano", 2, KIND_FIXED64, ONCE, NULL},
	{"asDouble", 3, KIND_DOUBLE, ONEOF, NULL},
	{"asInt", 6, KIND_SFIXED64, ONEOF, NULL},
	{"spanId", 4, KIND_ID, ONCE, NULL},
	{"traceId", 5, KIND_ID, ONCE, NULL},
}};
static const struct message number_point = {{
	{"attributes", 7, KIND_MESSAGE, REPEATED, &key_value},
	{"startTimeUnixNano", 2, KIND_FIXED64, ONCE, NULL},
	{"timeUnixNano", 3, KIND_FIXED64, ONCE, NULL},
	{"asDouble", 4, KIND_DOUBLE, ONEOF, NULL},
	{"asInt", 6, KIND_SFIXED64, ONEOF, NULL},
	{"exemplars", 5, KIND_MESSAGE, REPEATED, &exemplar},
	{"flags", 8, KIND_UINT32, ONCE, NULL},
}};
static const struct message histogram_point = {{
	{"attributes", 9, KIND_MESSAGE, REPEATED, &key_value},
	{"startTimeUnixNano", 2, KIND_FIXED64, ONCE, NULL},
	{"timeUnixNano", 3, KIND_FIXED64, ONCE, NULL},
	{"count", 4, KIND_FIXED64, ONCE, NULL},
	{"sum", 5, KIND_DOUBLE, ONCE, NULL},
	{"bucketCounts", 6, KIND_FIXED64, REPEATED, NULL},
	{"explicitBounds", 7, KIND_DOUBLE, REPEATED, NULL},
	{"exemplars", 8, KIND_MESSAGE, REPEATED, &exemplar},
	{"flags", 10, KIND_UINT32, ONCE, NULL},
	{"min", 11, KIND_DOUBLE, ONCE, NULL},
	{"max", 12, KIND_DOUBLE, ONCE, NULL},
}};
static const struct message gauge = {{
	{"dataPoints", 1, KIND_MESSAGE, REPEATED, &number_point},
}};
static const struct message sum = {{
	{"dataPoints", 1, KIND_MESSAGE, REPEATED, &number_point},
	{"aggregationTemporality", 2, KIND_ENUM, ONCE, NULL},
	{"isMonotonic", 3, KIND_BOOL, ONCE, NULL},
}};
static const struct message histogram = {{
	{"dataPoints", 1, KIND_MESSAGE, REPEATED, &histogram_point},
	{"aggregationTemporality", 2, KIND_ENUM, ONCE, NULL},
}};
static const struct message metric = {{
	{"name", 1, KIND_STRING, ONCE, NULL},
	{"description", 2, KIND_STRING, ONCE, NULL},
	{"unit", 3, KIND_STRING, ONCE, NULL},
	{"gauge", 5, KIND_MESSAGE, ONEOF, &gauge},
	{"sum", 7, KIND_MESSAGE, ONEOF, &sum},
	{"histogram", 9, KIND_MESSAGE, ONEOF, &histogram},
	{"metadata", 12, KIND_MESSAGE, REPEATED, &key_value},
}};
static const struct message scope_metrics = {{
	{"scope", 1, KIND_MESSAGE, ONCE, &scope},
	{"metrics", 2, KIND_MESSAGE, REPEATED, &metric},
	{"schemaUrl", 3, KIND_STRING, ONCE, NULL},
}};
static const struct message resource_metrics = {{
	{"resource", 1, KIND_MESSAGE, ONCE, &resource},
	{"scopeMetrics", 2, KIND_MESSAGE, REPEATED, &scope_metrics},
	{"schemaUrl", 3, KIND_STRING, ONCE, NULL},
}};
static const struct message metrics_request = {{
	{"resourceMetrics", 1, KIND_MESSAGE, REPEATED, &resource_metrics},
}};

/* ---- reading protobuf ---- */

/* A varint at the front of `in`, which then begins behind it. */
static int read_varint(struct clv_slice *in, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < in->len && i < PROTOBUF_VARINT_MAX; i++) {
		v |= (uint64_t)(in->data[i] & 0x7f) << 7 * i;
		if (in->data[i] < 0x80) {
			*in = clv_slice_from(*in, i + 1);
			*out = v;
			return 0;
		}
	}
	return -EBADMSG;
}

static int read_fixed(struct clv_slice *in, size_t size, uint64_t *out)
{
	uint64_t v = 0;

	if (in->len < size)
		return -EBADMSG;
	memcpy(&v, in->data, size); /* little endian, see protobuf.h */
	*in = clv_slice_from(*in, size);
	*out = v;
	return 0;
}

/* What a field carries: a number or bytes, by its wire type. */
struct value {
	uint32_t number;
	enum protobuf_wire wire;
	uint64_t u;
	struct clv_slice bytes;
};

/* The field at the front of `in`, which must not be empty and then begins behind it. */
static int read_field(struct clv_slice *in, struct value *v)
{
	uint64_t tag;
	int err = read_varint(in, &tag);

	if (err)
		return err;
	if (tag >> 3 == 0 || tag >> 32)
		return -EBADMSG;
	*v = (struct value){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
	switch (v->wire) {
	case PROTOBUF_VARINT:
		return read_varint(in, &v->u);
	case PROTOBUF_FIXED64:
		return read_fixed(in, sizeof(uint64_t), &v->u);
	case PROTOBUF_FIXED32:
		return read_fixed(in, sizeof(uint32_t), &v->u);
	case PROTOBUF_BYTES:
		err = read_varint(in, &v->u);
		if (err || v->u > in->len)
			return -EBADMSG;
		v->bytes = clv_slice_head(*in, v->u);
		*in = clv_slice_from(*in, v->u);
		return 0;
	default:
		return -EBADMSG; /* groups, which no version of OTLP has had */
	}
}

static enum protobuf_wire kind_wire(enum kind kind)
{
	switch (kind) {
	case KIND_FIXED32:
		return PROTOBUF_FIXED32;
	case KIND_FIXED64:
	case KIND_SFIXED64:
	case KIND_DOUBLE:
		return PROTOBUF_FIXED64;
	case KIND_BOOL:
	case KIND_UINT32:
	case KIND_ENUM:
	case KIND_INT64:
		return PROTOBUF_VARINT;
	default:
		return PROTOBUF_BYTES;
	}
}

/* Repeated numbers may also come packed: all in one field. */
static bool is_packed(const struct field *f, const struct value *v)
{
	return f->label == REPEATED && v->wire == PROTOBUF_BYTES && kind_wire(f->kind) != PROTOBUF_BYTES;
}

/* Which fields a message has, and where, for those that count once, the one that counts ends up. */
struct census {
	uint32_t has;                    /* bits, as in message.field */
	struct clv_slice at[FIELDS_MAX]; /* from the last one of each field on */
};

static int message_census(const struct message *m, struct clv_slice in, struct census *c)
{
	uint32_t oneof = 0;

	c->has = 0;
	while (in.len) {
		struct clv_slice at = in;
		struct value v;
		int err = read_field(&in, &v);

		if (err)
			return err;
		for (uint32_t i = 0; i < FIELDS_MAX && m->field[i].name; i++) {
			const struct field *f = &m->field[i];

			if (f->number != v.number)
				continue;
			if (v.wire != kind_wire(f->kind) && !is_packed(f, &v))
				return -EBADMSG;
			if (f->label == ONEOF) {
				c->has &= ~oneof;
				oneof = 1u << i;
			}
			c->has |= 1u << i;
			c->at[i] = at;
		}
	}
	return 0;
}

/* ---- writing JSON ---- */

/* The first growth; it doubles from there. */
#define ROOM_MIN 4096u

/* Makes room for `more` bytes at the end. */
static int json_room(struct clv_otlp_json *j, size_t more)
{
	if (more <= j->cap - j->len)
		return 0;
	if (more > CLV_OTLP_JSON_MAX || j->len + more > CLV_OTLP_JSON_MAX)
		return -E2BIG;
	size_t cap = j->cap ? j->cap : ROOM_MIN;
	while (cap < j->len + more)
		cap *= 2;
	char *data = realloc(j->data, cap);

	if (!data)
		return -ENOMEM;
	j->data = data;
	j->cap = cap;
	return 0;
}

static int json_put(struct clv_otlp_json *j, const char *text, size_t len)
{
	int err = json_room(j, len);

	if (err)
		return err;
	memcpy(j->data + j->len, text, len);
	j->len += len;
	return 0;
}

static int json_char(struct clv_otlp_json *j, char c)
{
	return json_put(j, &c, 1);
}

/* The longest number, with quotes: a double of 17 digits, sign, point and exponent, or a 64-bit integer. */
#define NUMBER_MAX 32

static int json_number(struct clv_otlp_json *j, const char *format, uint64_t v)
{
	char text[NUMBER_MAX];

	return json_put(j, text, (size_t)snprintf(text, sizeof(text), format, v));
}

/* The shortest form that reads back the same. */
static int json_double(struct clv_otlp_json *j, uint64_t bits)
{
	char text[NUMBER_MAX];
	double d;

	memcpy(&d, &bits, sizeof(d));
	if (isnan(d))
		return json_put(j, "\"NaN\"", 5);
	if (isinf(d))
		return d > 0 ? json_put(j, "\"Infinity\"", 10) : json_put(j, "\"-Infinity\"", 11);
	if (d == 0) /* many read -0 as an integer, which has no sign */
		return signbit(d) ? json_put(j, "-0.0", 4) : json_put(j, "0", 1);
	for (int digits = 15;; digits++) {
		int len = snprintf(text, sizeof(text), "%.*g", digits, d);

		if (digits == 17 || strtod(text, NULL) == d)
			return json_put(j, text, (size_t)len);
	}
}

static int json_string(struct clv_otlp_json *j, struct clv_slice s)
{
	int err = s.len > CLV_OTLP_JSON_MAX / 6 ? -E2BIG : json_room(j, 6 * s.len + 2);

	if (err)
		return err;
	char *begin = j->data + j->len, *end;

	*begin = '"';
	end = clv_json_quote(begin + 1, s);
	if (!end)
		return -EBADMSG;
	*end++ = '"';
	j->len += (size_t)(end - begin);
	return 0;
}

static int json_id(struct clv_otlp_json *j, struct clv_slice s)
{
	int err = s.len > CLV_OTLP_JSON_MAX / 2 ? -E2BIG : json_room(j, 2 * s.len + 2);

	if (err)
		return err;
	char *end = j->data + j->len;

	*end++ = '"';
	for (size_t i = 0; i < s.len; i++)
		end = utf8_hex(end, s.data[i]);
	*end++ = '"';
	j->len = (size_t)(end - j->data);
	return 0;
}

static int json_base64(struct clv_otlp_json *j, struct clv_slice s)
{
	int err = s.len > CLV_OTLP_JSON_MAX / 2 ? -E2BIG : json_room(j, CLV_BASE64_ENCODED(s.len) + 2);

	if (err)
		return err;
	char *end = j->data + j->len;

	*end++ = '"';
	end = clv_base64_encode(end, s);
	*end++ = '"';
	j->len = (size_t)(end - j->data);
	return 0;
}

/* ---- one into the other ---- */

static int json_message(struct clv_otlp_json *j, const struct message *m, struct clv_slice in, unsigned depth);

static int json_value(struct clv_otlp_json *j, const struct field *f, const struct value *v, unsigned depth)
{
	switch ((enum kind)f->kind) {
	case KIND_MESSAGE:
		return json_message(j, f->type, v->bytes, depth + 1);
	case KIND_STRING:
		return json_string(j, v->bytes);
	case KIND_ID:
		return json_id(j, v->bytes);
	case KIND_BASE64:
		return json_base64(j, v->bytes);
	case KIND_BOOL:
		return v->u ? json_put(j, "true", 4) : json_put(j, "false", 5);
	case KIND_UINT32:
	case KIND_FIXED32:
		return json_number(j, "%" PRIu64, (uint32_t)v->u);
	case KIND_ENUM:
		return json_number(j, "%" PRId64, (uint64_t)(int64_t)(int32_t)v->u);
	case KIND_INT64:
	case KIND_SFIXED64:
		return json_number(j, "\"%" PRId64 "\"", v->u);
	case KIND_FIXED64:
		return json_number(j, "\"%" PRIu64 "\"", v->u);
	case KIND_DOUBLE:
		return json_double(j, v->u);
	}
	return -EBADMSG;
}

/* The elements of a packed field, a comma behind each. */
static int json_packed(struct clv_otlp_json *j, const struct field *f, struct clv_slice in)
{
	enum protobuf_wire wire = kind_wire(f->kind);
	int err = 0;

	while (in.len && !err) {
		struct value v = {.wire = wire};

		err = wire == PROTOBUF_VARINT ? read_varint(&in, &v.u)
					      : read_fixed(&in, wire == PROTOBUF_FIXED32 ? 4 : 8, &v.u);
		if (!err)
			err = json_value(j, f, &v, 0);
		if (!err)
			err = json_char(j, ',');
	}
	return err;
}

/* All elements of a repeated field of the message `in`. */
static int json_array(struct clv_otlp_json *j, const struct field *f, struct clv_slice in, unsigned depth)
{
	int err = json_char(j, '[');

	while (in.len && !err) {
		struct value v;

		err = read_field(&in, &v);
		if (err || v.number != f->number)
			continue;
		if (is_packed(f, &v)) {
			err = json_packed(j, f, v.bytes);
			continue;
		}
		err = json_value(j, f, &v, depth);
		if (!err)
			err = json_char(j, ',');
	}
	if (err)
		return err;
	if (j->data[j->len - 1] == ',')
		j->len--;
	return json_char(j, ']');
}

static int json_field(struct clv_otlp_json *j, const struct field *f, struct clv_slice in, struct clv_slice last,
		      unsigned depth)
{
	struct value v;
	int err = json_char(j, '"');

	if (!err)
		err = json_put(j, f->name, strlen(f->name));
	if (!err)
		err = json_put(j, "\":", 2);
	if (err)
		return err;
	if (f->label == REPEATED)
		return json_array(j, f, in, depth);
	err = read_field(&last, &v);
	return err ? err : json_value(j, f, &v, depth);
}

static int json_message(struct clv_otlp_json *j, const struct message *m, struct clv_slice in, unsigned depth)
{
	struct census c;
	int err = depth < CLV_OTLP_JSON_DEPTH ? message_census(m, in, &c) : -EBADMSG;

	if (!err)
		err = json_char(j, '{');
	if (err)
		return err;
	for (uint32_t i = 0; i < FIELDS_MAX && !err; i++) {
		if (!(c.has & 1u << i))
			continue;
		err = json_field(j, &m->field[i], in, c.at[i], depth);
		if (!err)
			err = json_char(j, ',');
	}
	if (err)
		return err;
	if (j->data[j->len - 1] == ',')
		j->len--;
	return json_char(j, '}');
}

static int otlp_json(struct clv_otlp_json *j, const struct message *m, struct clv_slice request)
{
	j->len = 0;
	int err = json_message(j, m, request, 0);

	if (err)
		j->len = 0;
	return err;
}

int clv_otlp_json_traces(struct clv_otlp_json *j, struct clv_slice request)
{
	return otlp_json(j, &traces_request, request);
}

int clv_otlp_json_metrics(struct clv_otlp_json *j, struct clv_slice request)
{
	return otlp_json(j, &metrics_request, request);
}

void clv_otlp_json_fini(struct clv_otlp_json *j)
{
	free(j->data);
	*j = (struct clv_otlp_json){0};
}
