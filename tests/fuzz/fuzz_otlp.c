/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: OTLP. Any bytes as the strings of a span must give protobuf that the transcoder takes, text that is valid
 * UTF-8 and gives the bytes back, and nothing past the bound; any bytes as a request must give valid JSON or an error.
 *
 * Input: a byte of settings; then a request of traces or metrics, or strings, each with its length before it.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "export/otlp_encode.h"
#include "export/otlp_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct clv_otlp_json out;

static json_t *parse(void)
{
	json_t *j = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

	assert(j);
	return j;
}

static void transcode(int (*write)(struct clv_otlp_json *j, struct clv_slice request), struct clv_slice request)
{
	if (write(&out, request))
		assert(out.len == 0);
	else
		json_decref(parse());
}

static unsigned digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* docs/output.md: \xNN is a byte, everything else itself. */
static void check_text(json_t *text, struct clv_slice want)
{
	const char *s = json_string_value(text);
	size_t len = json_string_length(text), n = 0;

	assert(s);
	for (size_t i = 0; i < len; i++, n++) {
		bool escape = s[i] == '\\' && i + 3 < len && s[i + 1] == 'x';

		assert(n < want.len);
		assert((uint8_t)(escape ? digit(s[i + 2]) << 4 | digit(s[i + 3]) : (unsigned char)s[i]) ==
		       want.data[n]);
		i += escape ? 3 : 0;
	}
	assert(n == want.len);
}

/* The first byte says how long. A copy of exactly that length, for AddressSanitizer. */
static struct clv_slice take(struct clv_slice *in)
{
	struct clv_slice s = clv_slice_sub(*in, 1, in->len ? in->data[0] : 0);
	uint8_t *copy = malloc(s.len ? s.len : 1);

	assert(copy);
	if (s.len)
		memcpy(copy, s.data, s.len);
	*in = clv_slice_from(*in, s.len + 1);
	return clv_slice(copy, s.len);
}

static void check_span(const struct clv_span *s)
{
	size_t bound = clv_otlp_span_bound(s);
	char *encoded = malloc(bound), *request = malloc(bound + CLV_OTLP_GROUP_BYTES + CLV_OTLP_SPAN_BYTES), *end;
	struct clv_otlp_group g;

	assert(encoded && request);
	size_t len = clv_otlp_span_write(s, encoded);
	assert(len <= bound);
	end = clv_otlp_group_begin(&g, request, clv_slice(NULL, 0));
	end = clv_otlp_group_span(end, clv_slice(encoded, len));
	end = clv_otlp_group_end(&g, end);
	assert(clv_otlp_json_traces(&out, clv_slice(request, (size_t)(end - request))) == 0);

	json_t *j = parse(), *scope, *span, *path, *header, *list;
	assert(json_unpack(j, "{s:[{s:[o]}]}", "resourceSpans", "scopeSpans", &scope) == 0);
	assert(json_unpack(scope, "{s:[o]}", "spans", &span) == 0);
	check_text(json_object_get(span, "name"), s->name);
	assert(json_unpack(span, "{s:[{s:{s:o}},o]}", "attributes", "value", "stringValue", &path, &header) == 0);
	check_text(path, s->attr[0].s);
	assert(json_unpack(header, "{s:{s:{s:o}}}", "value", "arrayValue", "values", &list) == 0);
	assert(json_array_size(list) == s->header_count);
	for (size_t i = 0; i < s->header_count; i++)
		check_text(json_object_get(json_array_get(list, i), "stringValue"), s->header[i].value);
	json_decref(j);
	free(request);
	free(encoded);
}

static void encode(struct clv_slice in)
{
	struct clv_slice name = take(&in), path = take(&in), state = take(&in), header = take(&in);
	struct clv_span s = {.name = name, .tracestate = state, .header_count = 2};

	clv_span_str(&s, CLV_ATTR_URL_PATH, path);
	s.header[0] = (struct clv_span_header){header, name, true};
	s.header[1] = (struct clv_span_header){header, path, true};
	check_span(&s);
	free((void *)name.data);
	free((void *)path.data);
	free((void *)state.data);
	free((void *)header.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct clv_slice in = clv_slice_from(clv_slice(data, size), 1);

	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		encode(in);
	else
		transcode(data[0] % 3 == 1 ? clv_otlp_json_traces : clv_otlp_json_metrics, in);
	return 0;
}
