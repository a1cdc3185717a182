/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender: libcurl's multi interface, one easy handle for each request on its way. Owns handles and connections;
 * never repeats a request, never keeps one. The exporter's thread.
 *
 * HTTP: POST with the message as body. gRPC (PROTOCOL-HTTP2.md): POST over HTTP/2, by prior knowledge or ALPN, with
 * the message in a frame; the status is in the trailers, or in the head when there is nothing else.
 */
#include "export/otlp_send.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/curl.h"
#include "base/log.h"

#define MS 1000000ull
/* A connection that cannot be made in this time will not be. */
#define CONNECT_MS 10000l
/* grpc-timeout has eight digits at most. */
#define GRPC_TIMEOUT_MAX_MS 99999999u

/* libcurl sends so much, then looks at everything else again: a request should go in one piece. */
#define UPLOAD_BYTES (512L * 1024)

struct flight {
	struct clv_sender *sender;
	CURL *easy;
	enum clv_export_signal signal;
	void *request; /* NULL: free */
	struct clv_otlp_fields fields;
	char *body;
	size_t body_len, body_cap, body_seen;
	char error[CURL_ERROR_SIZE];
};

struct clv_sender {
	const struct clv_otlp_config *config;
	clv_sender_fn done;
	void *ctx;
	CURLM *multi;
	bool no_reuse; /* of connections with HTTP/2 by prior knowledge */
	struct curl_slist *headers[CLV_EXPORT_SIGNALS];
	struct flight flight[CLV_SENDER_FLIGHTS];
};

/* ---- what comes back ------------------------------------------------------------------------------------- */

static size_t flight_on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct flight *f = ctx;
	struct clv_slice line = clv_slice(data, size * count);

	if (clv_slice_starts(line, clv_slice_str("HTTP/"))) { /* a new head, after 100 Continue for example */
		memset(&f->fields, 0, sizeof(f->fields));
		f->fields.grpc_status = -1;
	} else {
		clv_otlp_field(&f->fields, line, time(NULL));
	}
	return size * count;
}

static size_t flight_on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct flight *f = ctx;
	size_t len = size * count, room = CLV_OTLP_ANSWER_KEPT - f->body_len, kept = len < room ? len : room;

	f->body_seen += len;
	if (f->body_seen > CLV_OTLP_ANSWER_MAX)
		return 0; /* ends the transfer */
	if (f->body_len + kept > f->body_cap) {
		size_t cap = f->body_len + kept < 4096 ? 4096 : CLV_OTLP_ANSWER_KEPT;
		char *p = realloc(f->body, cap);

		if (!p)
			return len;
		f->body = p;
		f->body_cap = cap;
	}
	memcpy(f->body + f->body_len, data, kept);
	f->body_len += kept;
	return len;
}

/* What to do about an error that lasts. */
static const char *sender_hint(const struct flight *f, CURLcode code, long status)
{
	bool grpc = f->sender->config->target[f->signal].protocol == CLV_OTLP_GRPC;

	if (f->signal == CLV_EXPORT_METRICS && status == 404)
		return "a collector of traces only, as Jaeger, takes no metrics: --otlp-metrics false";
	switch (status) {
	case 401:
	case 403:
		return "credentials go into OTEL_EXPORTER_OTLP_HEADERS";
	case 404:
		return grpc ? "is that gRPC's port (4317)?"
			    : "is the path right? v1/traces is appended to a base endpoint, but not to "
			      "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
	case 400:
	case 405:
	case 415:
		return grpc ? "is that gRPC's port (4317)?" : "is that the port of OTLP over HTTP (4318)?";
	default:
		break;
	}
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return "OTEL_EXPORTER_OTLP_CERTIFICATE names the CA that signed its certificate";
	case CURLE_SSL_CERTPROBLEM:
		return "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY are PEM files that belong together";
	case CURLE_SSL_CACERT_BADFILE:
		return "OTEL_EXPORTER_OTLP_CERTIFICATE is a PEM file with CA certificates";
	case CURLE_SSL_CONNECT_ERROR:
		return "does it speak TLS, and want a client certificate? http:// and grpc:// go without TLS";
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		return grpc ? "is that gRPC's port (4317)? http:// is for OTLP over HTTP (4318)" : NULL;
	case CURLE_UNSUPPORTED_PROTOCOL: /* "HTTP/0.9": frames of HTTP/2 */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return grpc ? "is that gRPC's port (4317)? http:// is for OTLP over HTTP (4318)"
			    : "does it speak HTTP? grpc:// is for gRPC (4317)";
	default:
		return NULL;
	}
}

/* The transfer brought no status: a failure of the connection. */
static void flight_failed(struct flight *f, CURLcode code, struct clv_otlp_answer *a)
{
	const char *text = *f->error ? f->error : curl_easy_strerror(code);

	*a = (struct clv_otlp_answer){.verdict = CLV_OTLP_RETRY};
	clv_otlp_printable(a->message, sizeof(a->message), clv_slice_str(text));
}

static void flight_done(struct flight *f, CURLcode code)
{
	enum clv_otlp_protocol protocol = f->sender->config->target[f->signal].protocol;
	struct clv_slice body = clv_slice(f->body, f->body_len);
	bool whole = code == CURLE_OK && f->body_seen == f->body_len;
	struct clv_otlp_answer answer;
	void *request = f->request;
	long status = 0;

	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || (protocol == CLV_OTLP_GRPC && code != CURLE_OK && f->fields.grpc_status < 0))
		flight_failed(f, code, &answer);
	else if (protocol == CLV_OTLP_GRPC)
		clv_otlp_answer_grpc(&f->fields, status, body, whole, &answer);
	else
		clv_otlp_answer_http(&f->fields, status, body, whole, &answer);
	curl_multi_remove_handle(f->sender->multi, f->easy);
	free(f->body);
	f->body = NULL;
	f->request = NULL;
	f->sender->done(f->sender->ctx, request, &answer, sender_hint(f, code, status));
}

/* ---- what goes out --------------------------------------------------------------------------------------- */

static bool list_add(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer)
		*list = longer;
	return longer != NULL;
}

static int sender_headers(struct clv_sender *s, enum clv_export_signal signal)
{
	static const char *const types[] = {
		[CLV_OTLP_HTTP] = "Content-Type: application/x-protobuf",
		[CLV_OTLP_GRPC] = "Content-Type: application/grpc",
		[CLV_OTLP_HTTP_JSON] = "Content-Type: application/json",
	};
	const struct clv_otlp_target *t = &s->config->target[signal];
	struct curl_slist **list = &s->headers[signal];
	bool grpc = t->protocol == CLV_OTLP_GRPC;
	char timeout[64];

	bool ok = list_add(list, types[t->protocol]) && list_add(list, "Expect:");
	if (t->gzip)
		ok = ok && list_add(list, grpc ? "grpc-encoding: gzip" : "Content-Encoding: gzip");
	if (grpc) {
		uint64_t ms = t->timeout_ns / MS;

		snprintf(timeout, sizeof(timeout), "grpc-timeout: %llum",
			 (unsigned long long)(ms < GRPC_TIMEOUT_MAX_MS ? ms : GRPC_TIMEOUT_MAX_MS));
		ok = ok && list_add(list, "te: trailers") && list_add(list, timeout);
	}
	for (uint32_t i = 0; ok && i < t->header_count; i++)
		ok = list_add(list, t->header[i]);
	return ok ? 0 : -ENOMEM;
}

static CURLcode flight_set_url(CURL *e, const struct clv_otlp_target *t, enum clv_export_signal signal)
{
	static const char *const methods[] = {
		"opentelemetry.proto.collector.trace.v1.TraceService/Export",
		"opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
	};
	char url[CLV_OTLP_URL_MAX + 128];
	size_t len = strlen(t->url);

	if (t->protocol != CLV_OTLP_GRPC)
		return curl_easy_setopt(e, CURLOPT_URL, t->url);
	while (len && t->url[len - 1] == '/')
		len--;
	snprintf(url, sizeof(url), "%.*s/%s", (int)len, t->url, methods[signal]);
	return curl_easy_setopt(e, CURLOPT_URL, url);
}

static CURLcode flight_set_tls(CURL *e, const struct clv_otlp_target *t)
{
	CURLcode code = CURLE_OK;

	if (*t->ca) { /* instead of the system's, which are in a directory as well */
		code = curl_easy_setopt(e, CURLOPT_CAINFO, t->ca);
		if (!code)
			code = curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	}
	if (!code && *t->certificate)
		code = curl_easy_setopt(e, CURLOPT_SSLCERT, t->certificate);
	if (!code && *t->certificate)
		code = curl_easy_setopt(e, CURLOPT_SSLKEY, *t->key ? t->key : t->certificate);
	return code;
}

static CURLcode flight_set(struct flight *f, enum clv_export_signal signal, struct clv_slice body)
{
	const struct clv_otlp_target *t = &f->sender->config->target[signal];
	bool tls = strncmp(t->url, "https:", 6) == 0, grpc = t->protocol == CLV_OTLP_GRPC;
	CURL *e = f->easy;

	curl_easy_reset(e);
	CURLcode code = flight_set_url(e, t, signal);
	if (!code)
		code = flight_set_tls(e, t);
	if (!code)
		code = curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
					!grpc ? CURL_HTTP_VERSION_1_1
					: tls ? CURL_HTTP_VERSION_2TLS
					      : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	if (code)
		return code;
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	bool fresh = grpc && !tls && f->sender->no_reuse;
	curl_easy_setopt(e, CURLOPT_PIPEWAIT, (long)(grpc && !fresh));
	curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, (long)fresh);
	curl_easy_setopt(e, CURLOPT_FORBID_REUSE, (long)fresh);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700 /* 7.87: the end does not wait for a name that nobody resolves */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(e, CURLOPT_USERAGENT, "clovisor/" CLV_VERSION);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(t->timeout_ns / MS));
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->sender->headers[signal]);
	curl_easy_setopt(e, CURLOPT_POST, 1L);
	curl_easy_setopt(e, CURLOPT_POSTFIELDS, (const char *)body.data);
	curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, flight_on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, flight_on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
	return curl_easy_setopt(e, CURLOPT_PRIVATE, f);
}

int clv_sender_begin(struct clv_sender *s, enum clv_export_signal signal, struct clv_slice body, void *request)
{
	struct flight *f = s->flight;

	while (f->request)
		if (++f == s->flight + CLV_SENDER_FLIGHTS)
			return -EBUSY;
	f->signal = signal;
	f->body_len = f->body_cap = f->body_seen = 0;
	f->error[0] = '\0';
	memset(&f->fields, 0, sizeof(f->fields));
	f->fields.grpc_status = -1;
	if (flight_set(f, signal, body) || curl_multi_add_handle(s->multi, f->easy))
		return -ENOMEM;
	f->request = request;
	return 0;
}

void clv_sender_poll(struct clv_sender *s, unsigned ms)
{
	int running, left;
	CURLMsg *m;

	curl_multi_perform(s->multi, &running);
	bool some = false;
	while ((m = curl_multi_info_read(s->multi, &left))) {
		struct flight *f = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
		flight_done(f, code);
		some = true;
	}
	if (!some && ms)
		curl_multi_poll(s->multi, NULL, 0, (int)ms, NULL);
}

void clv_sender_abort(struct clv_sender *s, clv_sender_fn done)
{
	for (int i = 0; i < CLV_SENDER_FLIGHTS; i++) {
		struct flight *f = &s->flight[i];
		void *request = f->request;

		if (!request)
			continue;
		curl_multi_remove_handle(s->multi, f->easy);
		f->request = NULL;
		done(s->ctx, request, NULL, NULL);
	}
}

void clv_sender_wake(struct clv_sender *s)
{
	curl_multi_wakeup(s->multi);
}

/*
 * libcurl 7.88, which Debian 12 has, breaks a connection with HTTP/2 by prior knowledge when it uses it again
 * (curl issue 10634, repaired in 8.0). A connection for each request costs little: there are hundreds of spans in it.
 */
static bool sender_has_bad_reuse(void)
{
	unsigned version = curl_version_info(CURLVERSION_NOW)->version_num;

	return version >= 0x075800 && version < 0x080000;
}

int clv_sender_new(const struct clv_otlp_config *config, clv_sender_fn done, void *ctx, struct clv_sender **out)
{
	const char *why;
	int err = clv_curl_load(&why);

	if (err)
		return err;
	struct clv_sender *s = calloc(1, sizeof(*s));

	err = s && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM;
	if (!err) {
		s->config = config;
		s->done = done;
		s->ctx = ctx;
		s->no_reuse = sender_has_bad_reuse();
		s->multi = curl_multi_init();
		if (!s->multi)
			err = -ENOMEM;
	}
	for (int i = 0; !err && i < CLV_EXPORT_SIGNALS; i++)
		if (clv_otlp_config_active(config, (enum clv_export_signal)i))
			err = sender_headers(s, (enum clv_export_signal)i);
	for (int i = 0; !err && i < CLV_SENDER_FLIGHTS; i++) {
		s->flight[i].sender = s;
		s->flight[i].easy = curl_easy_init();
		if (!s->flight[i].easy)
			err = -ENOMEM;
	}
	if (err) {
		clv_sender_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void clv_sender_free(struct clv_sender *s)
{
	if (!s)
		return;
	for (int i = 0; i < CLV_SENDER_FLIGHTS; i++) {
		struct flight *f = &s->flight[i];

		if (f->request)
			curl_multi_remove_handle(s->multi, f->easy);
		curl_easy_cleanup(f->easy);
		free(f->body);
	}
	if (s->multi)
		curl_multi_cleanup(s->multi);
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		curl_slist_free_all(s->headers[i]);
	free(s);
}
