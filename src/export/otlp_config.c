/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exporter's configuration from OTEL_* variables and URLs. Owns nothing, connects to nothing, opens no file.
 * The main thread, before others start.
 */
#include "export/otlp_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/curl.h"
#include "base/log.h"

#define MS           1000000ull
#define S            1000000000ull
#define GRPC_PORT    "4317"
#define HTTP_DEFAULT "http://localhost:4318"
#define GRPC_DEFAULT "http://localhost:" GRPC_PORT
/* No sensible delay or interval is longer. */
#define LONGEST_MS 86400000u

static const char *const signal_variable[] = {"TRACES", "METRICS"};
static const char *const signal_path[] = {"v1/traces", "v1/metrics"};

void clv_otlp_config_init(struct clv_otlp_config *c)
{
	*c = (struct clv_otlp_config){
		.queue_bytes = 8u << 20,
		.memory_bytes = 16u << 20,
		.max_batch = 512,
		.delay_ns = 5 * S,
		.spool_bytes = 256u << 20,
		.metric_interval_ns = 60 * S,
	};
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		c->target[i].timeout_ns = 10 * S;
}

bool clv_otlp_config_active(const struct clv_otlp_config *c, enum clv_export_signal signal)
{
	const struct clv_otlp_target *t = &c->target[signal];

	return t->wanted && !t->none && !c->disabled;
}

/* ---- variables ------------------------------------------------------------------------------------------- */

/* NULL when not set or empty. */
static const char *env_get(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

/* The signal's own OTEL_EXPORTER_OTLP_*, else the general one. */
static const char *env_otlp(enum clv_export_signal signal, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_%s_%s", signal_variable[signal], what);
	const char *v = env_get(name);
	if (v)
		return v;
	snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_%s", what);
	return env_get(name);
}

static bool env_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (!text)
		return false;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno || *end || *text == '-' || v < min || v > max) {
		clv_warn("%s=%.64s is ignored: it should be a number from %llu to %llu", name, text,
			 (unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*out = v;
	return true;
}

static void env_ms(const char *name, const char *text, uint64_t min, uint64_t *out_ns)
{
	uint64_t ms;

	if (env_number(name, text, min, LONGEST_MS, &ms))
		*out_ns = ms * MS;
}

static bool env_true(const char *name, const char *text)
{
	if (text && strcasecmp(text, "true") == 0)
		return true;
	if (text && strcasecmp(text, "false") != 0)
		clv_warn("%s=%.64s is ignored: it should be true or false", name, text);
	return false;
}

static int env_path(const char *what, const char *text, char out[PATH_MAX], char *why, size_t size)
{
	if (!text)
		return 0;
	if (strlen(text) >= PATH_MAX) {
		snprintf(why, size, "OTEL_EXPORTER_OTLP_%s is too long", what);
		return -EINVAL;
	}
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

/* ---- headers --------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* A field name is a token (RFC 9110 section 5.1). */
static bool header_name_ok(struct clv_slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] <= ' ' || name.data[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", name.data[i]))
			return false;
	return name.len != 0;
}

/* Percent-decodes; false: it is no text that a header may have. */
static bool header_value(struct clv_slice v, char **at, const char *end)
{
	for (size_t i = 0; i < v.len; i++) {
		char c = (char)v.data[i];

		if (c == '%' && i + 2 < v.len && hex_digit((char)v.data[i + 1]) >= 0 &&
		    hex_digit((char)v.data[i + 2]) >= 0) {
			c = (char)(hex_digit((char)v.data[i + 1]) << 4 | hex_digit((char)v.data[i + 2]));
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7f || *at == end)
			return false;
		*(*at)++ = c;
	}
	return true;
}

static bool header_add(struct clv_otlp_target *t, struct clv_slice name, struct clv_slice value)
{
	const char *end = t->headers + sizeof(t->headers) - 1;
	char *at = t->headers;

	if (t->header_count) {
		const char *last = t->header[t->header_count - 1];

		at += (last - t->headers) + (ptrdiff_t)strlen(last) + 1;
	}
	if (t->header_count == CLV_OTLP_HEADERS || !header_name_ok(name) || (size_t)(end - at) < name.len + 2 ||
	    at > end)
		return false;
	char *begin = at;
	memcpy(at, name.data, name.len);
	at += name.len;
	*at++ = ':';
	*at++ = ' ';
	if (!header_value(value, &at, end))
		return false;
	*at = '\0';
	t->header[t->header_count++] = begin;
	return true;
}

int clv_otlp_config_headers(struct clv_otlp_target *t, const char *text, char *why, size_t size)
{
	struct clv_slice rest = clv_slice_str(text);

	while (rest.len) {
		size_t comma = clv_slice_find(rest, 0, ',');
		struct clv_slice member = clv_slice_trim(clv_slice_head(rest, comma));
		size_t equals = clv_slice_find(member, 0, '=');

		rest = clv_slice_from(rest, comma + 1);
		if (member.len == 0)
			continue;
		/* What follows a semicolon are properties of Baggage, which mean nothing here. */
		struct clv_slice value = clv_slice_from(member, equals + 1);
		value = clv_slice_trim(clv_slice_head(value, clv_slice_find(value, 0, ';')));
		if (equals == member.len || !header_add(t, clv_slice_trim(clv_slice_head(member, equals)), value)) {
			/* Its text can be a secret: one without a name, or "Authorization: Basic ...=". */
			snprintf(why, size,
				 "cannot use a header: each should be NAME=VALUE, %d at most, here it is number %u",
				 CLV_OTLP_HEADERS, t->header_count + 1);
			return -EINVAL;
		}
	}
	return 0;
}

/* ---- URLs ------------------------------------------------------------------------------------------------ */

static bool url_part(CURLU *u, CURLUPart part, char *out, size_t size, unsigned flags)
{
	char *text = NULL;
	bool ok = curl_url_get(u, part, &text, flags) == CURLUE_OK && strlen(text) < size;

	if (ok)
		memcpy(out, text, strlen(text) + 1);
	curl_free(text);
	return ok;
}

/* `append`: what comes after the path, or NULL. Fills url and shown. False: no memory or too long. */
static bool url_compose(CURLU *u, struct clv_otlp_target *t, const char *append)
{
	bool grpc = t->protocol == CLV_OTLP_GRPC;
	char path[CLV_OTLP_URL_MAX];
	bool ok = true;

	if (grpc) {
		char port[8];

		ok = curl_url_set(u, CURLUPART_PATH, "/", 0) == CURLUE_OK;
		ok &= curl_url_set(u, CURLUPART_QUERY, NULL, 0) == CURLUE_OK;
		if (ok && !url_part(u, CURLUPART_PORT, port, sizeof(port), 0))
			ok = curl_url_set(u, CURLUPART_PORT, GRPC_PORT, 0) == CURLUE_OK;
	} else if (append) {
		if (!url_part(u, CURLUPART_PATH, path, sizeof(path), 0))
			return false;
		size_t len = strlen(path);
		bool slash = len && path[len - 1] == '/';
		int n = snprintf(path + len, sizeof(path) - len, "%s%s", slash ? "" : "/", append);
		if (n < 0 || (size_t)n >= sizeof(path) - len)
			return false;
		ok = curl_url_set(u, CURLUPART_PATH, path, 0) == CURLUE_OK;
	}
	ok = ok && curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
	     url_part(u, CURLUPART_URL, t->url, sizeof(t->url), 0);
	if (!ok)
		return false;
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	curl_url_set(u, CURLUPART_QUERY, NULL, 0); /* may hold a key */
	return url_part(u, CURLUPART_URL, t->shown, sizeof(t->shown), 0);
}

/* A scheme of ours, or none: what curl understands, and what it says of the protocol. False: unknown. */
static bool url_scheme(struct clv_otlp_target *t, const char *text, char out[CLV_OTLP_URL_MAX])
{
	static const struct {
		const char *ours, *curl;
		bool grpc;
	} schemes[] = {
		{"http://", "http://", false},
		{"https://", "https://", false},
		{"grpc://", "http://", true},
		{"grpcs://", "https://", true},
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		size_t len = strlen(schemes[i].ours);

		if (strncasecmp(text, schemes[i].ours, len) != 0)
			continue;
		if (schemes[i].grpc)
			t->protocol = CLV_OTLP_GRPC;
		return snprintf(out, CLV_OTLP_URL_MAX, "%s%s", schemes[i].curl, text + len) < CLV_OTLP_URL_MAX;
	}
	if (strstr(text, "://") || t->protocol != CLV_OTLP_GRPC)
		return false;
	return snprintf(out, CLV_OTLP_URL_MAX, "%s%s", t->insecure ? "http://" : "https://", text) < CLV_OTLP_URL_MAX;
}

/* What of a URL that is no good may be shown: nothing up to the last @, where user and password stand. */
static const char *url_host(const char *text)
{
	const char *at = strrchr(text, '@');

	return at ? at + 1 : text;
}

static int url_set(struct clv_otlp_target *t, const char *text, const char *append, char *why, size_t size)
{
	char whole[CLV_OTLP_URL_MAX];

	if (!url_scheme(t, text, whole)) {
		snprintf(why, size, "cannot send to \"%.256s\": it should be like http://HOST:4318 or grpc://HOST:4317",
			 url_host(text));
		return -EINVAL;
	}
	if (t->protocol == CLV_OTLP_UNSET)
		t->protocol = CLV_OTLP_HTTP;
	const char *trouble;
	if (clv_curl_load(&trouble)) {
		snprintf(why, size, "cannot send to a collector without libcurl: %s", trouble);
		return -EINVAL;
	}
	CURLU *u = curl_url();
	if (!u)
		return -ENOMEM;
	CURLUcode code = curl_url_set(u, CURLUPART_URL, whole, 0);
	bool ok = code == CURLUE_OK && url_compose(u, t, append);
	curl_url_cleanup(u);
	if (!ok) {
		snprintf(why, size, "cannot send to \"%.256s\": %s", url_host(text),
			 code == CURLUE_OK ? "too long" : curl_url_strerror(code));
		return -EINVAL;
	}
	t->wanted = true;
	return 0;
}

int clv_otlp_config_url(struct clv_otlp_config *c, const char *url, char *why, size_t size)
{
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++) {
		int err = url_set(&c->target[i], url, signal_path[i], why, size);

		if (err)
			return err;
	}
	c->disabled = false;
	return 0;
}

int clv_otlp_config_signal_url(struct clv_otlp_config *c, enum clv_export_signal signal, const char *url, char *why,
			       size_t size)
{
	c->disabled = false;
	return url_set(&c->target[signal], url, NULL, why, size);
}

/* ---- all of the environment ------------------------------------------------------------------------------ */

static void env_protocol(struct clv_otlp_target *t, const char *text)
{
	if (!text)
		return;
	if (strcmp(text, "grpc") == 0)
		t->protocol = CLV_OTLP_GRPC;
	else if (strcmp(text, "http/protobuf") == 0)
		t->protocol = CLV_OTLP_HTTP;
	else if (strcmp(text, "http/json") == 0)
		t->protocol = CLV_OTLP_HTTP_JSON;
	else
		clv_warn("OTEL_EXPORTER_OTLP_PROTOCOL=%.64s is ignored: it should be grpc, http/protobuf or http/json",
			 text);
}

/* A list of exporters; ours is "otlp". */
static void env_exporter(struct clv_otlp_target *t, enum clv_export_signal signal)
{
	char name[64];

	snprintf(name, sizeof(name), "OTEL_%s_EXPORTER", signal_variable[signal]);
	const char *text = env_get(name);
	if (!text)
		return;
	struct clv_slice rest = clv_slice_str(text);
	bool otlp = false;
	while (rest.len) {
		size_t comma = clv_slice_find(rest, 0, ',');

		otlp |= clv_slice_eq(clv_slice_trim(clv_slice_head(rest, comma)), clv_slice_str("otlp"));
		rest = clv_slice_from(rest, comma + 1);
	}
	t->wanted |= otlp;
	t->none = !otlp;
}

static int env_target(struct clv_otlp_config *c, enum clv_export_signal signal, char *why, size_t size)
{
	struct clv_otlp_target *t = &c->target[signal];
	const char *text, *own;
	char name[64];

	env_exporter(t, signal);
	env_protocol(t, env_otlp(signal, "PROTOCOL"));
	t->insecure = env_true("OTEL_EXPORTER_OTLP_INSECURE", env_otlp(signal, "INSECURE"));
	env_ms("OTEL_EXPORTER_OTLP_TIMEOUT", env_otlp(signal, "TIMEOUT"), 1, &t->timeout_ns);
	if ((text = env_otlp(signal, "COMPRESSION"))) {
		t->gzip = strcmp(text, "gzip") == 0;
		if (!t->gzip && strcmp(text, "none") != 0)
			clv_warn("OTEL_EXPORTER_OTLP_COMPRESSION=%.64s is ignored: it should be gzip or none", text);
	}
	int err = env_path("CERTIFICATE", env_otlp(signal, "CERTIFICATE"), t->ca, why, size);
	if (!err)
		err = env_path("CLIENT_CERTIFICATE", env_otlp(signal, "CLIENT_CERTIFICATE"), t->certificate, why, size);
	if (!err)
		err = env_path("CLIENT_KEY", env_otlp(signal, "CLIENT_KEY"), t->key, why, size);
	if (!err && (text = env_otlp(signal, "HEADERS")))
		err = clv_otlp_config_headers(t, text, why, size);
	if (err)
		return err;
	snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_%s_ENDPOINT", signal_variable[signal]);
	own = env_get(name);
	text = own ? own : env_get("OTEL_EXPORTER_OTLP_ENDPOINT");
	if (!text && t->wanted)
		text = t->protocol == CLV_OTLP_GRPC ? GRPC_DEFAULT : HTTP_DEFAULT;
	return text ? url_set(t, text, own ? NULL : signal_path[signal], why, size) : 0;
}

int clv_otlp_config_env(struct clv_otlp_config *c, char *why, size_t size)
{
	uint64_t n;

	c->disabled = env_true("OTEL_SDK_DISABLED", env_get("OTEL_SDK_DISABLED"));
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++) {
		int err = env_target(c, (enum clv_export_signal)i, why, size);

		if (err)
			return err;
	}
	env_number("OTEL_BSP_MAX_QUEUE_SIZE", env_get("OTEL_BSP_MAX_QUEUE_SIZE"), 1, UINT32_MAX, &c->max_queue);
	if (env_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", env_get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), 1, 65536, &n))
		c->max_batch = (uint32_t)n;
	env_ms("OTEL_BSP_SCHEDULE_DELAY", env_get("OTEL_BSP_SCHEDULE_DELAY"), 0, &c->delay_ns);
	env_ms("OTEL_METRIC_EXPORT_INTERVAL", env_get("OTEL_METRIC_EXPORT_INTERVAL"), 1, &c->metric_interval_ns);
	/* No export of spans takes longer than this in all; here that is a request's time. */
	uint64_t export_ns = 30 * S;
	env_ms("OTEL_BSP_EXPORT_TIMEOUT", env_get("OTEL_BSP_EXPORT_TIMEOUT"), 1, &export_ns);
	if (c->target[CLV_EXPORT_TRACES].timeout_ns > export_ns)
		c->target[CLV_EXPORT_TRACES].timeout_ns = export_ns;
	return 0;
}
