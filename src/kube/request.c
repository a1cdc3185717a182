/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's settings in libcurl. Owns the handle and its header fields; reads no answer, repeats nothing. The API's
 * thread.
 */
#include "kube/request.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* A connection that cannot be made in this time will not be. */
#define CONNECT_MS 10000l
/* A connection on which nothing comes is asked for signs of life after so long, in such steps, so often. */
#define KEEPALIVE_S      30l
#define KEEPALIVE_STEP_S 10l
#define KEEPALIVE_COUNT  3
/* What was sent must be acknowledged in this time. */
#define SENT_MS 30000u

int clv_kube_request_init(struct clv_kube_request *r)
{
	r->easy = curl_easy_init();
	r->headers = r->connect_to = NULL;
	return r->easy ? 0 : -ENOMEM;
}

void clv_kube_request_fini(struct clv_kube_request *r)
{
	curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	curl_slist_free_all(r->connect_to);
}

/* A peer that is gone without a word is noticed: libcurl has options for only some of this. */
static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
	int count = KEEPALIVE_COUNT;
	unsigned sent_ms = SENT_MS;

	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &sent_ms, sizeof(sent_ms));
	return CURL_SOCKOPT_OK;
}

static int add_header(struct clv_kube_request *r, const char *name, const char *value)
{
	size_t bytes = strlen(name) + strlen(value) + 3;
	char *line = malloc(bytes);

	if (!line)
		return -ENOMEM;
	snprintf(line, bytes, "%s: %s", name, value);
	struct curl_slist *list = curl_slist_append(r->headers, line);
	explicit_bzero(line, bytes);
	free(line);
	if (!list)
		return -ENOMEM;
	r->headers = list;
	return 0;
}

static CURLcode set_blob(CURL *e, CURLoption option, const char *text)
{
	struct curl_blob blob = {(void *)text, strlen(text), CURL_BLOB_COPY};

	return curl_easy_setopt(e, option, &blob);
}

static CURLcode set_tls(CURL *e, const struct clv_kube_credentials *c)
{
	CURLcode code = CURLE_OK;

	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, (long)!c->insecure);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (c->ca) { /* it alone, and not the system's as well */
		curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
		code = set_blob(e, CURLOPT_CAINFO_BLOB, c->ca);
	}
	if (!code && c->cert)
		code = set_blob(e, CURLOPT_SSLCERT_BLOB, c->cert);
	if (!code && c->key)
		code = set_blob(e, CURLOPT_SSLKEY_BLOB, c->key);
	return code;
}

/* libcurl verifies the URL's name: so that becomes the one wanted, and the connection goes to the other. */
static int set_server_name(struct clv_kube_request *r, CURLU *url, const char *name)
{
	char *host = NULL, *port = NULL, *line = NULL;
	int err = -ENOMEM;

	if (!curl_url_get(url, CURLUPART_HOST, &host, 0) &&
	    !curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) &&
	    asprintf(&line, "::%s:%s", host, port) >= 0) {
		r->connect_to = curl_slist_append(NULL, line);
		if (r->connect_to)
			err = add_header(r, "Host", line + 2);
		free(line);
	}
	if (!err && curl_url_set(url, CURLUPART_HOST, name, 0))
		err = -EINVAL;
	curl_free(host);
	curl_free(port);
	return err;
}

/* The server's URL may have a path, which goes before ours. */
static int set_url(struct clv_kube_request *r, const struct clv_kube_credentials *c, const char *path)
{
	size_t bytes = strlen(c->server) + strlen(path) + 1;
	char *text = malloc(bytes), *whole = NULL;
	CURLU *url = curl_url();
	int err = text && url ? 0 : -ENOMEM;

	if (!err) {
		snprintf(text, bytes, "%s%s", c->server, path);
		err = curl_url_set(url, CURLUPART_URL, text, 0) ? -EINVAL : 0;
	}
	if (!err && c->tls_server_name)
		err = set_server_name(r, url, c->tls_server_name);
	if (!err && curl_url_get(url, CURLUPART_URL, &whole, 0))
		err = -ENOMEM;
	if (!err && curl_easy_setopt(r->easy, CURLOPT_URL, whole))
		err = -ENOMEM;
	curl_easy_setopt(r->easy, CURLOPT_CONNECT_TO, r->connect_to);
	curl_free(whole);
	curl_url_cleanup(url);
	free(text);
	return err;
}

static int set_who(struct clv_kube_request *r, const struct clv_kube_credentials *c)
{
	if (c->token) {
		size_t bytes = strlen(c->token) + 8;
		char *bearer = malloc(bytes);

		if (!bearer)
			return -ENOMEM;
		snprintf(bearer, bytes, "Bearer %s", c->token);
		int err = add_header(r, "Authorization", bearer);
		explicit_bzero(bearer, bytes);
		free(bearer);
		return err;
	}
	if (!c->user)
		return 0;
	curl_easy_setopt(r->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	if (curl_easy_setopt(r->easy, CURLOPT_USERNAME, c->user) ||
	    curl_easy_setopt(r->easy, CURLOPT_PASSWORD, c->password ? c->password : ""))
		return -ENOMEM;
	return 0;
}

static void set_connection(CURL *e, enum clv_kube_connection connection, const char *server)
{
	bool alone = connection == CLV_KUBE_ALONE;
	/* Without TLS nothing says that the first one cannot be shared: others would wait for its end. */
	bool wait = !alone && strncasecmp(server, "https:", 6) == 0;

	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)(alone ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
	curl_easy_setopt(e, CURLOPT_PIPEWAIT, (long)wait);
	curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, (long)(connection == CLV_KUBE_FRESH));
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700 /* 7.87: the end does not wait for a name that nobody resolves */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(e, CURLOPT_USERAGENT, "clovisor/" CLV_VERSION);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_STEP_S);
	curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
}

int clv_kube_request_set(struct clv_kube_request *r, const struct clv_kube_credentials *c, const char *path,
			 const char *accept, enum clv_kube_connection connection, char why[CLV_KUBE_WHY])
{
	curl_easy_reset(r->easy);
	curl_slist_free_all(r->headers);
	curl_slist_free_all(r->connect_to);
	r->headers = r->connect_to = NULL;
	r->error[0] = '\0';
	set_connection(r->easy, connection, c->server);
	curl_easy_setopt(r->easy, CURLOPT_ACCEPT_ENCODING, c->plain ? NULL : "gzip");
	int err = set_url(r, c, path);
	if (!err)
		err = add_header(r, "Accept", accept);
	if (!err)
		err = set_who(r, c);
	if (!err && set_tls(r->easy, c))
		err = -ENOMEM;
	if (!err && c->proxy_url && curl_easy_setopt(r->easy, CURLOPT_PROXY, c->proxy_url))
		err = -ENOMEM;
	snprintf(why, CLV_KUBE_WHY, err == -EINVAL ? "%s: the server's address is no URL" : "%s: no memory", c->source);
	curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
	curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
	return err;
}

/* What to do about it. */
static const char *hint(CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return "; its certificate is not of that CA, or not for that name";
	case CURLE_SSL_CERTPROBLEM:
		return "; the client's certificate and key must be PEM, and belong together";
	case CURLE_SSL_CACERT_BADFILE:
		return "; the CA must be PEM";
	case CURLE_COULDNT_RESOLVE_HOST:
		return "; does DNS work on this node?";
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY:
		return "; see proxy-url and HTTPS_PROXY";
	default:
		return "";
	}
}

void clv_kube_request_trouble(const struct clv_kube_request *r, CURLcode code, const char *server, const char *source,
			      char why[CLV_KUBE_WHY])
{
	snprintf(why, CLV_KUBE_WHY, "cannot reach %.160s (%.100s): %.160s%s", server, source,
		 *r->error ? r->error : curl_easy_strerror(code), hint(code));
}
