/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns which header fields may leave, and how they are kept between a response and its span. Never allocates.
 * Engine thread.
 */
#include "trace/fields.h"

#include <errno.h>

/* What stands before a name and its value when packed. */
#define PACK_BYTES 4

#define REDACTED CLV_LIT("REDACTED")

/* RFC 9110 section 5.6.2. */
static bool capture_is_token(uint8_t c)
{
	return (uint8_t)(clv_ascii_lower(c) - 'a') < 26 || (uint8_t)(c - '0') < 10 ||
	       (c && memchr("!#$%&'*+-.^_`|~", c, 15));
}

/* Names whose values are credentials, or are made of them. */
static bool capture_is_secret(struct clv_slice name)
{
	static const struct clv_slice list[] = {
		CLV_LIT("authorization"),
		CLV_LIT("proxy-authorization"),
		CLV_LIT("cookie"),
		CLV_LIT("set-cookie"),
		CLV_LIT("cookie2"),
		CLV_LIT("set-cookie2"),
		CLV_LIT("authentication-info"),
		CLV_LIT("proxy-authentication-info"),
	};
	/* The many of one kind: x-api-key, apikey, x-auth-token, x-csrf-token, x-amz-security-token, client-secret...
	 */
	static const struct clv_slice parts[] = {
		CLV_LIT("api-key"),    CLV_LIT("apikey"),     CLV_LIT("api_key"),  CLV_LIT("token"),
		CLV_LIT("secret"),     CLV_LIT("passwd"),     CLV_LIT("password"), CLV_LIT("x-auth"),
		CLV_LIT("credential"), CLV_LIT("session"),    CLV_LIT("jwt"),      CLV_LIT("signature"),
		CLV_LIT("auth-key"),   CLV_LIT("access-key"),
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (clv_slice_eq(name, list[i]))
			return true;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (memmem(name.data, name.len, parts[i].data, parts[i].len))
			return true;
	return false;
}

static struct clv_slice capture_name(const struct clv_capture_name *n)
{
	return clv_slice(n->text, n->len);
}

int clv_capture_add(struct clv_capture_list *list, const char *name)
{
	struct clv_capture_name n = {0};
	size_t len = strlen(name);

	if (!len)
		return -EINVAL;
	if (len > CLV_CAPTURE_NAME_BYTES)
		return -E2BIG;
	for (size_t i = 0; i < len; i++) {
		if (!capture_is_token((uint8_t)name[i]))
			return -EINVAL;
		n.text[i] = (char)clv_ascii_lower((uint8_t)name[i]);
	}
	n.len = (uint8_t)len;
	n.secret = capture_is_secret(capture_name(&n));
	for (uint16_t i = 0; i < list->count; i++)
		if (clv_slice_eq(capture_name(&list->name[i]), capture_name(&n)))
			return 0;
	if (list->count == CLV_CAPTURE_NAMES)
		return -E2BIG;
	list->name[list->count++] = n;
	return 0;
}

/* What was found so far. */
struct gathering {
	const struct clv_capture_list *list;
	struct clv_span_header *out;
	size_t count, room;
	uint64_t dropped;
	bool response;
};

/* Where a field of list->name[at] goes: behind all of names that come no later in the list. */
static size_t gathering_place(const struct gathering *g, const struct clv_capture_name *at)
{
	size_t i = g->count;

	/* The names are the list's own, so their places in memory are their order. */
	while (i && (const uint8_t *)g->out[i - 1].name.data > (const uint8_t *)at->text)
		i--;
	return i;
}

static void gathering_field(void *ctx, struct clv_slice name, struct clv_slice value)
{
	struct gathering *g = ctx;
	const struct clv_capture_name *n = g->list->name, *end = n + g->list->count;

	while (n < end && !clv_slice_eq_nocase(name, capture_name(n)))
		n++;
	if (n == end)
		return;
	if (g->count == g->room) {
		g->dropped++;
		return;
	}
	size_t place = gathering_place(g, n);
	memmove(&g->out[place + 1], &g->out[place], (g->count - place) * sizeof(g->out[0]));
	g->out[place] = (struct clv_span_header){
		.name = capture_name(n),
		.value = n->secret ? REDACTED : value,
		.response = g->response,
	};
	g->count++;
}

size_t clv_capture_gather(const struct clv_capture_list *list, const struct clv_proto *proto, struct clv_slice head,
			  bool response, struct clv_span_header *out, size_t room, uint64_t *dropped)
{
	struct gathering g = {.list = list, .out = out, .room = room, .response = response};

	proto->fields(head, gathering_field, &g);
	*dropped += g.dropped;
	return g.count;
}

size_t clv_capture_packed(const struct clv_span_header *h, size_t *count)
{
	size_t bytes = 0, n = 0;

	for (; n < *count; n++) {
		size_t more = PACK_BYTES + h[n].name.len + h[n].value.len;

		if (h[n].value.len > UINT16_MAX || bytes + more > CLV_CAPTURE_BYTES)
			break;
		bytes += more;
	}
	*count = n;
	return bytes;
}

static uint8_t *pack_put(uint8_t *out, struct clv_slice s)
{
	if (s.len)
		memcpy(out, s.data, s.len);
	return out + s.len;
}

void clv_capture_pack(const struct clv_span_header *h, size_t count, uint8_t *out)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t len[2] = {(uint16_t)h[i].name.len, (uint16_t)h[i].value.len};

		memcpy(out, len, sizeof(len));
		out = pack_put(out + sizeof(len), h[i].name);
		out = pack_put(out, h[i].value);
	}
}

size_t clv_capture_unpack(struct clv_slice packed, struct clv_span_header *out, size_t room, uint64_t *dropped)
{
	size_t n = 0;

	while (packed.len >= PACK_BYTES) {
		uint16_t len[2];

		memcpy(len, packed.data, sizeof(len));
		if (n < room)
			out[n++] = (struct clv_span_header){
				.name = clv_slice_sub(packed, PACK_BYTES, len[0]),
				.value = clv_slice_sub(packed, PACK_BYTES + len[0], len[1]),
				.response = true,
			};
		else
			++*dropped;
		packed = clv_slice_from(packed, PACK_BYTES + (size_t)len[0] + len[1]);
	}
	return n;
}
