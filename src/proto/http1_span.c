/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1 exchanges as spans: OpenTelemetry's HTTP conventions (v1.44), from the facts that http1.c kept.
 *
 * Strings borrow from the request's head or from the span's scratch; what has no room left is left out. Never
 * allocates. Engine thread, once per span.
 */
#include "proto/http1.h"

#include "base/digits.h"
#include "base/near.h"
#include "model/span.h"
#include "proto/describe.h"
#include "proto/http1_text.h"

/* A request target, taken apart (RFC 9112 section 3.2). What is not there is empty. */
struct http1_url {
	struct clv_slice scheme, authority, path, query;
	bool has_query;
};

struct http1_host {
	struct clv_slice name;
	uint16_t port; /* 0: not said */
};

static struct clv_slice http1_get(struct clv_slice head, struct clv_http1_field f)
{
	return clv_slice_sub(head, f.at, f.len);
}

/* The offset of "://" behind a scheme (RFC 3986 section 3.1), or 0. */
static size_t http1_scheme(struct clv_slice target)
{
	size_t n = 0;

	while (n < target.len && ((uint8_t)((target.data[n] | 0x20) - 'a') < 26 ||
				  (n && (http1_is_digit(target.data[n]) || memchr("+-.", target.data[n], 3)))))
		n++;
	return clv_slice_starts(clv_slice_from(target, n), CLV_LIT("://")) ? n : 0;
}

static struct http1_url http1_url(struct clv_slice target, struct clv_slice scheme_said, bool connect)
{
	struct http1_url u = {.scheme = scheme_said};

	bool origin = clv_slice_starts(target, CLV_LIT("/"));

	if (connect && !origin) {
		u.authority = target;
		return u;
	}
	size_t scheme = origin ? 0 : http1_scheme(target);
	if (scheme) {
		u.scheme = clv_slice_head(target, scheme);
		target = clv_slice_from(target, scheme + 3);
		size_t end = 0;
		while (end < target.len && target.data[end] != '/' && target.data[end] != '?')
			end++;
		u.authority = clv_slice_head(target, end);
		target = clv_slice_from(target, end);
	}
	size_t mark = clv_slice_find(target, 0, '?');
	u.path = clv_slice_head(target, mark);
	u.has_query = mark < target.len;
	u.query = clv_slice_from(target, mark + 1);
	if (scheme && !u.path.len)
		u.path = CLV_LIT("/");
	return u;
}

/* Behind "user:password@"; 0 when there is none. */
static size_t http1_userinfo(struct clv_slice authority)
{
	const uint8_t *at = authority.len ? memrchr(authority.data, '@', authority.len) : NULL;

	return at ? (size_t)(at - authority.data) + 1 : 0;
}

/* host [ ":" port ], IPv6 with or without brackets. An empty name when it is no such thing. */
static struct http1_host http1_host(struct clv_slice s)
{
	struct http1_host h = {0};
	struct clv_slice port = {0};
	uint64_t n;

	s = clv_slice_from(s, http1_userinfo(s));
	h.name = s;
	if (s.len && s.data[0] == '[') {
		size_t end = clv_slice_find(s, 0, ']');
		h.name = clv_slice_sub(s, 1, end - 1);
		port = clv_slice_from(s, end + 1);
	} else {
		size_t colon = clv_slice_find(s, 0, ':');
		if (clv_slice_find(s, colon + 1, ':') == s.len || colon == s.len) {
			h.name = clv_slice_head(s, colon);
			port = clv_slice_from(s, colon);
		}
	}
	if (port.len > 1 && port.data[0] == ':' && http1_decimal(clv_slice_from(port, 1), &n) && n <= UINT16_MAX)
		h.port = (uint16_t)n;
	return h;
}

/* The value of a parameter of a Forwarded header's first element (RFC 7239 section 4), without quotes. */
static struct clv_slice http1_forwarded(struct clv_slice value, struct clv_slice name)
{
	while (value.len) {
		size_t end = 0;
		bool quoted = false;
		for (; end < value.len; end++) {
			if (value.data[end] == '"')
				quoted = !quoted;
			else if (!quoted && (value.data[end] == ';' || value.data[end] == ','))
				break;
		}
		struct clv_slice pair = clv_slice_trim(clv_slice_head(value, end));
		size_t equals = clv_slice_find(pair, 0, '=');
		if (clv_slice_eq_nocase(clv_slice_head(pair, equals), name)) {
			struct clv_slice v = clv_slice_from(pair, equals + 1);
			if (v.len >= 2 && v.data[0] == '"' && v.data[v.len - 1] == '"')
				v = clv_slice_sub(v, 1, v.len - 2);
			return v;
		}
		if (end < value.len && value.data[end] == ',')
			break;
		value = clv_slice_from(value, end + 1);
	}
	return clv_slice(NULL, 0);
}

/* The same of the request's own Forwarded, if it has one. */
static struct clv_slice http1_said(const struct clv_http1_facts *f, struct clv_slice head, struct clv_slice name)
{
	return f->forwarded.len ? http1_forwarded(http1_get(head, f->forwarded), name) : clv_slice(NULL, 0);
}

/* Where the request was meant to go: a proxy's word first (servers only), then the target, then Host. */
static struct http1_host http1_server(const struct clv_http1_facts *f, struct clv_slice head,
				      struct clv_slice authority, enum clv_span_kind kind)
{
	struct clv_slice forwarded_host = http1_get(head, f->forwarded_host);
	struct clv_slice said[] = {
		kind == CLV_KIND_SERVER ? http1_said(f, head, CLV_LIT("host")) : authority,
		kind == CLV_KIND_SERVER ? http1_element(&forwarded_host) : authority,
		authority,
		http1_get(head, f->host),
	};
	struct http1_host h = {0};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]) && !h.name.len; i++)
		if (said[i].len)
			h = http1_host(said[i]);
	return h;
}

/* Whom proxies say the request came from; empty when they do not, or hide it. */
static struct clv_slice http1_client(const struct clv_http1_facts *f, struct clv_slice head)
{
	struct clv_slice list = http1_get(head, f->forwarded_for);
	struct clv_slice said[] = {http1_said(f, head, CLV_LIT("for")), http1_element(&list)};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		struct clv_slice name = said[i].len ? http1_host(said[i]).name : said[i];
		if (name.len && name.data[0] != '_' && !clv_slice_eq_nocase(name, CLV_LIT("unknown")))
			return name;
	}
	return clv_slice(NULL, 0);
}

/* A value without its line folds (RFC 9112 section 5.2: each is as good as spaces). */
static struct clv_slice http1_unfold(struct clv_span *span, const struct clv_http1_facts *f, struct clv_slice value)
{
	if (f->unfolded || clv_slice_find(value, 0, '\n') == value.len)
		return value;
	struct clv_buf b = clv_describe_room(span, value.len);
	for (size_t i = 0; i < value.len; i++)
		clv_buf_char(&b, value.data[i] == '\r' || value.data[i] == '\n' ? ' ' : (char)value.data[i]);
	return clv_describe_text(&b);
}

/* Keys whose values are secrets: OpenTelemetry's list for url.full and url.query. Case-sensitive. */
static bool http1_secret(struct clv_slice key)
{
	static const struct clv_slice list[] = {
		CLV_LIT("X-Amz-Signature"),  CLV_LIT("X-Amz-Credential"), CLV_LIT("X-Amz-Security-Token"),
		CLV_LIT("AWSAccessKeyId"),   CLV_LIT("Signature"),        CLV_LIT("sig"),
		CLV_LIT("X-Goog-Signature"),
	};
	return http1_is_one_of(key, list, sizeof(list) / sizeof(list[0]));
}

/* Cuts the next "key=value" off a query. */
static struct clv_slice http1_param(struct clv_slice *query)
{
	size_t end = clv_slice_find(*query, 0, '&');
	struct clv_slice param = clv_slice_head(*query, end);

	*query = clv_slice_from(*query, end + 1);
	return param;
}

/* How many parameters of a query are such. */
static size_t http1_secrets(struct clv_slice query)
{
	size_t secrets = 0;

	for (struct clv_slice rest = query; rest.len;) {
		struct clv_slice param = http1_param(&rest);
		uint8_t first = param.len ? param.data[0] : 0;

		if (first == 'X' || first == 'A' || first == 'S' || first == 's') /* as they begin */
			secrets += http1_secret(clv_slice_head(param, clv_slice_find(param, 0, '=')));
	}
	return secrets;
}

/* The query as it may be shown: itself, mostly. */
static struct clv_slice http1_redact(struct clv_span *span, struct clv_slice query)
{
	size_t secrets = http1_secrets(query);

	if (!secrets)
		return query;
	struct clv_buf b = clv_describe_room(span, query.len + secrets * (sizeof("=REDACTED") - 1));
	for (struct clv_slice rest = query; rest.len;) {
		struct clv_slice param = http1_param(&rest);
		struct clv_slice key = clv_slice_head(param, clv_slice_find(param, 0, '='));
		clv_buf_slice(&b, http1_secret(key) ? key : param);
		if (http1_secret(key))
			clv_buf_lit(&b, "=REDACTED");
		if (param.data + param.len < query.data + query.len)
			clv_buf_char(&b, '&');
	}
	return clv_describe_text(&b);
}

/* scheme://authority/path?query, for url.full. The asterisk is no path (RFC 9110 section 7.1). */
static struct clv_slice http1_full(struct clv_span *span, const struct http1_url *u, struct clv_slice host)
{
	struct clv_slice authority = u->authority.len ? u->authority : host;
	size_t userinfo = http1_userinfo(authority);
	struct clv_buf b = clv_describe_room(span, u->scheme.len + authority.len + u->path.len + u->query.len + 96);

	clv_buf_slice(&b, u->scheme);
	clv_buf_lit(&b, "://");
	if (userinfo)
		clv_buf_lit(&b, "REDACTED:REDACTED@");
	if (authority.len) {
		clv_buf_slice(&b, clv_slice_from(authority, userinfo));
	} else {
		bool v4 = clv_addr_is_v4(&span->server.addr);
		char text[CLV_ADDR_TEXT];
		size_t len = clv_addr_format(&span->server.addr, text);
		clv_buf_put(&b, "[", !v4);
		clv_buf_put(&b, text, len);
		clv_buf_put(&b, "]", !v4);
		if (span->server.port != (clv_slice_eq(u->scheme, CLV_LIT("https")) ? 443 : 80)) {
			clv_buf_char(&b, ':');
			clv_buf_u64(&b, span->server.port);
		}
	}
	if (u->has_query || !clv_slice_eq(u->path, CLV_LIT("*")))
		clv_buf_slice(&b, u->path);
	if (u->has_query) {
		clv_buf_char(&b, '?');
		clv_buf_slice(&b, u->query);
	}
	return clv_describe_text(&b);
}

/* Attributes of an HTTP span, and what clv_describe_common() copies beyond them. */
#define HTTP1_ATTRS (22 + CLV_COMMON_ATTRS)

/* Method, URL, and the target for people, without its secrets. */
static struct clv_attr *http1_describe_request(const struct clv_http1_facts *f, struct clv_slice head,
					       struct http1_url *u, const struct clv_http_form *form,
					       struct clv_span *span, struct clv_attr *at)
{
	struct clv_slice method = clv_slice_head(head, f->method_len), target = http1_get(head, f->target);
	struct clv_slice name = clv_http1_method_name((enum clv_http1_method)f->method);
	bool known = f->method != CLV_HTTP1_OTHER;
	struct clv_slice query = u->query.len ? http1_redact(span, u->query) : u->query;
	bool secret = query.data != u->query.data || http1_userinfo(u->authority);

	span->method = method;
	span->name = known ? name : CLV_LIT("HTTP");
	if (method.len || !form->partial)
		at = clv_attrs_str(at, CLV_ATTR_HTTP_REQUEST_METHOD, name);
	if (!known && method.len)
		at = clv_attrs_str(at, CLV_ATTR_HTTP_REQUEST_METHOD_ORIGINAL, method);

	u->query = query;
	at = clv_describe_put(at, CLV_ATTR_URL_PATH, u->path);
	at = clv_describe_put(at, CLV_ATTR_URL_QUERY, query);
	/* A proxy is asked for a whole URL: that, not its path alone, is what the request says. */
	bool whole = (span->kind == CLV_KIND_CLIENT || u->authority.len) && (target.len || !form->partial);
	struct clv_slice full = {0};
	if (whole || secret)
		full = http1_full(span, u, http1_unfold(span, f, http1_get(head, f->host)));
	if (whole) {
		at = clv_attrs_str(at, CLV_ATTR_URL_SCHEME, u->scheme);
		at = clv_describe_put(at, CLV_ATTR_URL_FULL, full);
		u->scheme.len = 0;
	}
	span->target = target;
	if (secret && u->authority.len)
		span->target = full;
	else if (secret)
		span->target = clv_slice_from(full, full.len - u->path.len - 1 - query.len);
	return at;
}

/* Who spoke to whom: as the heads say, and as the wire does. */
static struct clv_attr *http1_describe_ends(const struct clv_http1_facts *f, struct clv_slice head,
					    struct clv_slice authority, struct clv_span *span, struct clv_attr *at)
{
	bool serving = span->kind == CLV_KIND_SERVER;
	struct clv_slice client_addr = clv_describe_addr(span, &span->client.addr), server_addr = {0};
	struct http1_host server = http1_server(f, head, authority, span->kind);
	struct clv_slice client = serving ? http1_client(f, head) : clv_slice(NULL, 0);

	if (!serving || !server.name.len)
		server_addr = clv_describe_addr(span, &span->server.addr);
	at = clv_describe_put(at, CLV_ATTR_SERVER_ADDRESS, server.name.len ? server.name : server_addr);
	at = clv_attrs_int(at, CLV_ATTR_SERVER_PORT, server.port ? server.port : span->server.port);
	at = clv_describe_put(at, CLV_ATTR_CLIENT_ADDRESS, client.len ? client : client_addr);
	if (!client.len)
		at = clv_attrs_int(at, CLV_ATTR_CLIENT_PORT, span->client.port);
	at = clv_describe_put(at, CLV_ATTR_NETWORK_PEER_ADDRESS, serving ? client_addr : server_addr);
	at = clv_attrs_int(at, CLV_ATTR_NETWORK_PEER_PORT, serving ? span->client.port : span->server.port);
	at = clv_attrs_str(at, CLV_ATTR_NETWORK_TRANSPORT, CLV_LIT("tcp"));
	return clv_attrs_str(at, CLV_ATTR_NETWORK_TYPE,
			     clv_addr_is_v4(&span->server.addr) ? CLV_LIT("ipv4") : CLV_LIT("ipv6"));
}

/* A version, of up to three bytes, as a number. */
static inline uint32_t http1_packed(struct clv_slice s)
{
	uint16_t first;

	if (s.len < sizeof(first))
		return s.len ? s.data[0] | 1u << 24 : 0;
	memcpy(&first, s.data, sizeof(first));
	return (uint32_t)first | (uint32_t)s.data[s.len - 1] << 16 | (uint32_t)s.len << 24;
}

/*
 * What decides about all that is the same in many spans, when nothing but Host and User-Agent does. False: something
 * else has a say.
 */
static inline bool http1_common_key(const struct clv_http1_facts *f, struct clv_slice head, struct clv_slice scheme,
				    struct clv_slice version, const struct clv_span *span, struct clv_common_key *key)
{
	if (f->forwarded.len || f->forwarded_for.len || f->forwarded_host.len || version.len > 3 ||
	    scheme.len > sizeof(uint64_t) || (scheme.len && scheme.len < sizeof(uint32_t)))
		return false;
	clv_describe_key(key, span, 1 | (uint64_t)http1_packed(version) << 8 | scheme.len << 4);
	key->form[1] = scheme.len ? clv_eight(scheme.data, scheme.len) : 0;
	key->said[0] = http1_get(head, f->host);
	key->said[1] = http1_get(head, f->user_agent);
	return true;
}

/* Who, with what, and who spoke to whom. */
static struct clv_attr *http1_describe_who(const struct clv_http1_facts *f, struct clv_slice head,
					   const struct http1_url *u, struct clv_slice version, struct clv_span *span,
					   struct clv_attr *at)
{
	at = clv_describe_put(at, CLV_ATTR_URL_SCHEME, u->scheme);
	at = clv_describe_put(at, CLV_ATTR_USER_AGENT_ORIGINAL, http1_unfold(span, f, http1_get(head, f->user_agent)));
	at = http1_describe_ends(f, head, u->authority, span, at);
	return clv_describe_put(at, CLV_ATTR_NETWORK_PROTOCOL_VERSION, version);
}

/* A value that is shown as it stands. */
static bool http1_is_one_line(struct clv_slice value)
{
	return clv_slice_find(value, 0, '\n') == value.len;
}

/* The same of a target that says nothing about the server. `key`: what it may be kept by; NULL: by nothing. */
static __attribute__((noinline)) struct clv_attr *http1_describe_anew(const struct clv_http1_facts *f,
								      struct clv_slice head, struct clv_slice scheme,
								      struct clv_slice version, struct clv_span *span,
								      struct clv_attr *begin,
								      const struct clv_common_key *key)
{
	const struct http1_url u = {.scheme = scheme};
	struct clv_attr *end = http1_describe_who(f, head, &u, version, span, begin);
	struct clv_common *c = key ? clv_commons_want(span->commons, key) : NULL;

	if (c && http1_is_one_line(key->said[0]) && http1_is_one_line(key->said[1]))
		clv_commons_keep(span->commons, c, key, begin, (unsigned)(end - begin), span->kind == CLV_KIND_SERVER);
	return end;
}

/* The same, of what is kept if it is. `scheme` empty: it was told before. */
static inline struct clv_attr *http1_describe_common(const struct clv_http1_facts *f, struct clv_slice head,
						     struct clv_slice scheme, struct clv_slice version,
						     struct clv_span *span, struct clv_attr *at)
{
	struct clv_common_key key;
	struct clv_common *c;

	if (!span->commons || !http1_common_key(f, head, scheme, version, span, &key))
		return http1_describe_anew(f, head, scheme, version, span, at, NULL);
	c = clv_commons_find(span->commons, &key);
	if (!c)
		return http1_describe_anew(f, head, scheme, version, span, at, &key);
	return clv_describe_common(span, at, c);
}

/* Any request, up to its protocol's version. */
static __attribute__((noinline)) struct clv_attr *http1_describe_any(const struct clv_http1_facts *f,
								     struct clv_slice head,
								     const struct clv_http_form *form,
								     struct clv_span *span, struct clv_attr *at)
{
	struct http1_url u = http1_url(http1_get(head, f->target), form->scheme, f->flags & CLV_HTTP1_CONNECT);

	at = http1_describe_request(f, head, &u, form, span, at);
	if (u.authority.len)
		return http1_describe_who(f, head, &u, form->version, span, at);
	return http1_describe_common(f, head, u.scheme, form->version, span, at);
}

/* The same of the usual one, which asks a server for a path by a method that is known. NULL: it is another one. */
static inline struct clv_attr *http1_describe_usual(const struct clv_http1_facts *f, struct clv_slice head,
						    const struct clv_http_form *form, struct clv_span *span,
						    struct clv_attr *at)
{
	struct clv_slice name = clv_http1_method_name((enum clv_http1_method)f->method);
	struct clv_slice target = http1_get(head, f->target), query;

	if (span->kind != CLV_KIND_SERVER || f->method == CLV_HTTP1_OTHER || !f->method_len || !target.len ||
	    target.data[0] != '/')
		return NULL;
	size_t mark = clv_near(target, 0, '?'); /* mostly it is short */
	query = clv_slice_from(target, mark + 1);
	if (query.len && http1_secrets(query))
		return NULL;
	span->method = clv_slice_head(head, f->method_len);
	span->name = name;
	span->target = target;
	at = clv_attrs_str(at, CLV_ATTR_HTTP_REQUEST_METHOD, name);
	at = clv_attrs_str(at, CLV_ATTR_URL_PATH, clv_slice(target.data, mark));
	at = clv_describe_put(at, CLV_ATTR_URL_QUERY, query);
	return http1_describe_common(f, head, form->scheme, form->version, span, at);
}

static inline struct clv_attr *http1_describe_response(const struct clv_http1_facts *f, struct clv_span *span,
						       struct clv_attr *at)
{
	bool error = f->status >= (span->kind == CLV_KIND_SERVER ? 500 : 400);

	if (f->status < 1000) /* as it is by its grammar */
		span->result = clv_slice(clv_three[f->status].digits, sizeof(clv_three->digits));
	span->status_code = f->status;
	at = clv_attrs_int(at, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, f->status);
	if (!error)
		return at;
	span->status = CLV_STATUS_ERROR;
	return clv_describe_put(at, CLV_ATTR_ERROR_TYPE, span->result);
}

/* Once for each version, so that what they differ in is known beforehand. */
static inline __attribute__((always_inline)) void
http1_describe(const struct clv_pair *pair, const struct clv_http_form *form, struct clv_span *span)
{
	const struct clv_http1_facts *request = pair->request, *response = pair->response;
	struct clv_attr *begin = clv_span_begin(span, HTTP1_ATTRS);
	struct clv_attr *at = http1_describe_usual(request, pair->request_head, form, span, begin);

	if (!at) {
		const struct clv_http_form any = *form; /* in memory, and the usual one's in registers */

		at = http1_describe_any(request, pair->request_head, &any, span, begin);
	}
	if (response && response->status)
		at = http1_describe_response(response, span, at);
	if (pair->request_ended && !form->sizes_unknown[CLV_TO_SERVER])
		at = clv_attrs_int(at, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, (int64_t)pair->request_body_bytes);
	if (response && pair->response_ended && !form->sizes_unknown[CLV_TO_CLIENT])
		at = clv_attrs_int(at, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, (int64_t)pair->response_body_bytes);
	if (request->traceparent)
		span->traceparent =
			clv_slice(pair->request_head.data + request->traceparent, CLV_HTTP1_TRACEPARENT_BYTES);
	if ((request->flags | (response ? response->flags : 0)) & CLV_HTTP1_CONFLICT)
		at = clv_attrs_bool(at, CLV_ATTR_CLOVISOR_FRAMING_CONFLICT, true);
	clv_span_end(span, at);
}

void clv_http_describe(const struct clv_pair *pair, const struct clv_http_form *form, struct clv_span *span)
{
	http1_describe(pair, form, span);
}

void clv_http1_describe(const struct clv_pair *pair, struct clv_span *span)
{
	static const struct clv_slice versions[] = {
		CLV_LIT("1.0"), CLV_LIT("1.1"), CLV_LIT("1.2"), CLV_LIT("1.3"), CLV_LIT("1.4"),
		CLV_LIT("1.5"), CLV_LIT("1.6"), CLV_LIT("1.7"), CLV_LIT("1.8"), CLV_LIT("1.9"),
	};
	const struct clv_http1_facts *request = pair->request;
	struct clv_http_form form = {.scheme = CLV_LIT("http")};

	if (!(request->flags & CLV_HTTP1_NO_VERSION))
		form.version = versions[request->minor];
	http1_describe(pair, &form, span);
}
