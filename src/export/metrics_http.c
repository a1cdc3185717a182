/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the listening sockets, the connections and the thread that serves them. Never touches what the engine's thread
 * works with, but by clv_metrics_visit(). Whoever connects is a stranger: what a connection may take in bytes and time
 * is bounded, and so is their number; those that are too many wait in the kernel's queue.
 */
#include "export/metrics_http.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "export/prometheus.h"

#define LISTENERS   8u
#define CONNECTIONS 16u
#define HEAD_BYTES  8192u
/* From accepting to the last byte written. */
#define SERVE_NS (10ull * 1000 * 1000 * 1000)
/* From accepting to the end of the request's head, while others wait for the place. */
#define HURRY_NS (500ull * 1000 * 1000)
/* From there to the client's end. */
#define ENDING_NS    (1ull * 1000 * 1000 * 1000)
#define LISTEN_QUEUE 32
/* Without file descriptors or memory for one that waits. */
#define NO_ROOM_MS    20
#define ADDRESS_BYTES 256u

struct connection {
	int fd; /* -1: free */
	uint64_t deadline_ns;
	size_t head_len;
	size_t written;
	enum { READING, ANSWERING, ENDING } state;
	struct clv_grow out;
	struct clv_grow packed; /* what `out` is to be followed by, unpacked piece by piece; empty: nothing */
	z_stream unpack;        /* while `packed` is not empty */
	char head[HEAD_BYTES];
};

struct clv_metrics_http {
	struct clv_metrics *metrics;
	struct clv_health *health;
	pthread_t thread;
	int stop_fd;
	uint16_t port;
	size_t listeners, busy;
	int listener[LISTENERS];
	struct connection connection[CONNECTIONS];
};

/* ---- a request --------------------------------------------------------------------------------------------------- */

struct request {
	struct clv_slice method, path;
	struct clv_slice accept, accept_encoding; /* the last such field's */
};

/* Cuts what lies before `c` off the front of *s, and `c` itself. */
static struct clv_slice cut(struct clv_slice *s, uint8_t c)
{
	size_t at = clv_slice_find(*s, 0, c);
	struct clv_slice front = clv_slice_head(*s, at);

	*s = clv_slice_from(*s, at + 1);
	return front;
}

static struct clv_slice cut_line(struct clv_slice *s)
{
	struct clv_slice line = cut(s, '\n');

	if (line.len && line.data[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* False when it is no HTTP/1 request. */
static bool request_parse(struct clv_slice head, struct request *r)
{
	struct clv_slice line = cut_line(&head);

	r->method = cut(&line, ' ');
	struct clv_slice target = cut(&line, ' ');
	r->path = cut(&target, '?');
	if (!r->method.len || !r->path.len || !clv_slice_starts(line, CLV_LIT("HTTP/1.")))
		return false;
	while (head.len) {
		line = cut_line(&head);
		struct clv_slice name = cut(&line, ':');

		if (clv_slice_eq_nocase(name, CLV_LIT("Accept")))
			r->accept = clv_slice_trim(line);
		else if (clv_slice_eq_nocase(name, CLV_LIT("Accept-Encoding")))
			r->accept_encoding = clv_slice_trim(line);
	}
	return true;
}

/* A weight (RFC 9110 section 12.4.2) in thousandths. */
static unsigned weight(struct clv_slice q)
{
	unsigned v = 0, unit = 1000;

	for (size_t i = 0; i < q.len && i < 5; i++) {
		if (q.data[i] == '.')
			continue;
		v += (unsigned)(q.data[i] - '0') % 10 * unit;
		unit /= 10;
	}
	return v;
}

/* One element of a list: its name, q and version. */
struct choice {
	struct clv_slice name, version;
	unsigned q;
};

static struct choice cut_choice(struct clv_slice *list)
{
	struct clv_slice rest = cut(list, ',');
	struct choice c = {.q = 1000};

	c.name = clv_slice_trim(cut(&rest, ';'));
	while (rest.len) {
		struct clv_slice value = cut(&rest, ';'), key = clv_slice_trim(cut(&value, '='));

		if (clv_slice_eq_nocase(key, CLV_LIT("q")))
			c.q = weight(clv_slice_trim(value));
		else if (clv_slice_eq_nocase(key, CLV_LIT("version")))
			c.version = clv_slice_trim(value);
	}
	return c;
}

/* The format that is wanted most; the plain one when nothing is said, or nothing that there is. */
static enum clv_prometheus_format wanted_format(struct clv_slice accept)
{
	unsigned text = 0, openmetrics = 0;

	while (accept.len) {
		struct choice c = cut_choice(&accept);

		if (clv_slice_eq_nocase(c.name, CLV_LIT("application/openmetrics-text"))) {
			if ((!c.version.len || clv_slice_eq(c.version, CLV_LIT("1.0.0"))) && c.q > openmetrics)
				openmetrics = c.q;
		} else if (clv_slice_eq_nocase(c.name, CLV_LIT("text/plain")) ||
			   clv_slice_eq_nocase(c.name, CLV_LIT("text/*")) || clv_slice_eq(c.name, CLV_LIT("*/*"))) {
			if ((!c.version.len || clv_slice_eq(c.version, CLV_LIT("0.0.4"))) && c.q > text)
				text = c.q;
		}
	}
	return openmetrics > text ? CLV_PROMETHEUS_OPENMETRICS : CLV_PROMETHEUS_TEXT;
}

static bool wants_gzip(struct clv_slice accept)
{
	while (accept.len) {
		struct choice c = cut_choice(&accept);

		if (clv_slice_eq_nocase(c.name, CLV_LIT("gzip")))
			return c.q > 0;
	}
	return false;
}

/* ---- an answer --------------------------------------------------------------------------------------------------- */

/* Compresses as the text comes, so that not all of it has to be there at once. */
struct gzip {
	z_stream z;
	struct clv_grow out;
};

static void gzip_put(struct gzip *g, struct clv_grow *text, int flush)
{
	g->z.next_in = (Bytef *)text->data;
	g->z.avail_in = (uInt)text->len;
	text->len = 0;
	for (int more = Z_OK; more == Z_OK && !g->out.failed;) {
		g->z.next_out = (Bytef *)clv_grow_room(&g->out, CLV_GROW_DRAIN);
		g->z.avail_out = CLV_GROW_DRAIN;
		if (!g->z.next_out)
			return;
		more = deflate(&g->z, flush);
		g->out.len += CLV_GROW_DRAIN - g->z.avail_out;
		if (flush == Z_NO_FLUSH && g->z.avail_out)
			return;
	}
}

static void gzip_drain(void *ctx, struct clv_grow *text)
{
	gzip_put(ctx, text, Z_NO_FLUSH);
}

/* *text_len: how much it is when unpacked. */
static int write_gzip(struct clv_metrics *m, enum clv_prometheus_format format, struct clv_grow *out, size_t *text_len)
{
	enum { GZIP = 16, LEVEL = 1 };
	struct gzip g = {0};
	struct clv_grow text = {.drain = gzip_drain, .drain_ctx = &g};

	if (deflateInit2(&g.z, LEVEL, Z_DEFLATED, MAX_WBITS + GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	int err = clv_prometheus_write(m, format, &text);
	gzip_put(&g, &text, Z_FINISH);
	*text_len = g.z.total_in;
	deflateEnd(&g.z);
	clv_grow_fini(&text);
	*out = g.out;
	return err ? err : out->failed ? -ENOMEM : 0;
}

struct answer {
	const char *status, *type;
	const char *more;      /* header lines */
	struct clv_slice body; /* NULL: `body.len` bytes that come later */
	bool head_only;
};

static void answer_put(struct connection *c, const struct answer *a)
{
	char text[512];
	struct clv_buf b = clv_buf(text, sizeof(text));

	clv_buf_printf(&b,
		       "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: close\r\n"
		       "X-Content-Type-Options: nosniff\r\n\r\n",
		       a->status, a->type, a->body.len, a->more ? a->more : "");
	clv_grow_put(&c->out, b.data, b.len);
	if (!a->head_only && a->body.data)
		clv_grow_slice(&c->out, a->body);
}

static void answer_text(struct connection *c, const char *status, const char *more, bool head_only)
{
	char text[64];
	struct clv_buf b = clv_buf(text, sizeof(text));

	clv_buf_printf(&b, "%s\n", status + sizeof("200"));
	answer_put(c, &(struct answer){.status = status,
				       .type = "text/plain; charset=utf-8",
				       .more = more,
				       .body = clv_slice(b.data, b.len),
				       .head_only = head_only});
}

/* What it asks for is true now, and must not come from somebody's cache later. */
static void answer_probe(struct clv_metrics_http *h, struct connection *c,
			 bool (*ask)(struct clv_health *h, uint64_t now_ns, char *text), bool head_only)
{
	char text[CLV_HEALTH_TEXT] = "ok\n";
	bool ok = !h->health || ask(h->health, clv_clock_ns(), text);

	answer_put(c, &(struct answer){.status = ok ? "200 OK" : "503 Service Unavailable",
				       .type = "text/plain; charset=utf-8",
				       .more = "Cache-Control: no-store\r\n",
				       .body = clv_slice_str(text),
				       .head_only = head_only});
}

/* Takes over `packed`. False without memory. */
static bool unpack_begin(struct connection *c, const struct clv_grow *packed)
{
	enum { GZIP = 16 };

	memset(&c->unpack, 0, sizeof(c->unpack));
	c->unpack.next_in = (Bytef *)packed->data;
	c->unpack.avail_in = (uInt)packed->len;
	if (inflateInit2(&c->unpack, MAX_WBITS + GZIP) != Z_OK) {
		c->out.failed = true;
		return false;
	}
	c->packed = *packed;
	return true;
}

/* The next piece into `out`, all of which was sent. False when there is none. */
static bool unpack_more(struct connection *c)
{
	c->out.len = c->written = 0;
	char *room = c->packed.data ? clv_grow_room(&c->out, CLV_GROW_DRAIN) : NULL;

	if (!room)
		return false;
	c->unpack.next_out = (Bytef *)room;
	c->unpack.avail_out = CLV_GROW_DRAIN;
	inflate(&c->unpack, Z_NO_FLUSH);
	c->out.len = CLV_GROW_DRAIN - c->unpack.avail_out;
	return c->out.len > 0;
}

/*
 * Also whoever does not take gzip is sent what was compressed, unpacked as it goes: the text of 10,000 series is 50 MB,
 * and anybody may ask for it.
 */
static void answer_metrics(struct clv_metrics_http *h, struct connection *c, const struct request *r, bool head_only)
{
	enum clv_prometheus_format format = wanted_format(r->accept);
	bool packed = wants_gzip(r->accept_encoding);
	struct clv_grow body = {0};
	struct answer a = {.status = "200 OK",
			   .type = clv_prometheus_type[format],
			   .more = "Vary: Accept, Accept-Encoding\r\n",
			   .head_only = head_only};

	if (write_gzip(h->metrics, format, &body, &a.body.len)) {
		answer_text(c, "503 Service Unavailable", NULL, head_only);
	} else if (packed) {
		a.body = clv_slice(body.data, body.len);
		a.more = "Vary: Accept, Accept-Encoding\r\nContent-Encoding: gzip\r\n";
		answer_put(c, &a);
	} else {
		answer_put(c, &a);
		if (!head_only && unpack_begin(c, &body))
			return;
	}
	clv_grow_fini(&body);
}

static void answer(struct clv_metrics_http *h, struct connection *c)
{
	struct request r = {0};
	bool valid = request_parse(clv_slice(c->head, c->head_len), &r);
	bool head_only = valid && clv_slice_eq(r.method, CLV_LIT("HEAD"));

	c->state = ANSWERING;
	if (!valid)
		answer_text(c, "400 Bad Request", NULL, false);
	else if (!head_only && !clv_slice_eq(r.method, CLV_LIT("GET")))
		answer_text(c, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", false);
	else if (clv_slice_eq(r.path, CLV_LIT("/metrics")))
		answer_metrics(h, c, &r, head_only);
	else if (clv_slice_eq(r.path, CLV_LIT("/healthz")))
		answer_probe(h, c, clv_health_is_alive, head_only);
	else if (clv_slice_eq(r.path, CLV_LIT("/readyz")))
		answer_probe(h, c, clv_health_is_ready, head_only);
	else
		answer_text(c, "404 Not Found", NULL, head_only);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void connection_close(struct clv_metrics_http *h, struct connection *c)
{
	close(c->fd);
	c->fd = -1;
	clv_grow_fini(&c->out);
	if (c->packed.data)
		inflateEnd(&c->unpack);
	clv_grow_fini(&c->packed);
	h->busy--;
}

static bool head_is_whole(const struct connection *c)
{
	return memmem(c->head, c->head_len, "\r\n\r\n", 4) || memmem(c->head, c->head_len, "\n\n", 2);
}

static bool may_come_back(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void connection_write(struct clv_metrics_http *h, struct connection *c)
{
	ssize_t n = send(c->fd, c->out.data + c->written, c->out.len - c->written, MSG_NOSIGNAL);

	if (may_come_back(n))
		return;
	if (n <= 0) {
		connection_close(h, c);
		return;
	}
	c->written += (size_t)n;
	if (c->written == c->out.len && !unpack_more(c)) {
		c->state = ENDING;
		c->deadline_ns = clv_clock_ns() + ENDING_NS;
		shutdown(c->fd, SHUT_WR);
	}
}

/* What is still unread when a socket is closed would reset the connection, and the answer with it. */
static void connection_end(struct clv_metrics_http *h, struct connection *c)
{
	ssize_t n = recv(c->fd, c->head, sizeof(c->head), 0);

	if (n <= 0 && !may_come_back(n))
		connection_close(h, c);
}

static void connection_read(struct clv_metrics_http *h, struct connection *c)
{
	ssize_t n = recv(c->fd, c->head + c->head_len, sizeof(c->head) - c->head_len, 0);

	if (may_come_back(n))
		return;
	if (n <= 0) {
		connection_close(h, c);
		return;
	}
	c->head_len += (size_t)n;
	if (head_is_whole(c)) {
		answer(h, c);
	} else if (c->head_len == sizeof(c->head)) {
		c->state = ANSWERING;
		answer_text(c, "431 Request Header Fields Too Large", NULL, false);
	} else {
		return;
	}
	if (c->out.failed)
		connection_close(h, c);
	else
		connection_write(h, c);
}

static void accept_one(struct clv_metrics_http *h, int listener, uint64_t now_ns)
{
	struct connection *c = h->connection;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			poll(NULL, 0,
			     NO_ROOM_MS); /* it goes on waiting: nothing else would keep this thread from spinning */
		return;
	}
	while (c->fd >= 0)
		c++;
	c->fd = fd;
	c->deadline_ns = now_ns + SERVE_NS;
	c->head_len = c->written = 0;
	c->state = READING;
	h->busy++;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static struct pollfd waiting_for(const struct connection *c)
{
	return (struct pollfd){.fd = c->fd, .events = c->state == ANSWERING ? POLLOUT : POLLIN};
}

static bool has_room(const struct clv_metrics_http *h)
{
	return h->busy + h->listeners <= CONNECTIONS;
}

/* Whoever says nothing must not keep others out, a probe least of all. */
static uint64_t due_ns(const struct clv_metrics_http *h, const struct connection *c)
{
	return c->state == READING && !has_room(h) ? c->deadline_ns - SERVE_NS + HURRY_NS : c->deadline_ns;
}

static void serve(struct clv_metrics_http *h, const struct pollfd *ready, uint64_t now_ns)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &h->connection[i];

		if (c->fd < 0 || c->fd != ready[i].fd)
			continue;
		if (ready[i].revents && c->state == READING)
			connection_read(h, c);
		else if (ready[i].revents && c->state == ANSWERING)
			connection_write(h, c);
		else if (ready[i].revents)
			connection_end(h, c);
		if (c->fd >= 0 && now_ns >= due_ns(h, c))
			connection_close(h, c);
	}
}

static int next_deadline_ms(const struct clv_metrics_http *h, uint64_t now_ns)
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < CONNECTIONS; i++)
		if (h->connection[i].fd >= 0 && due_ns(h, &h->connection[i]) < first)
			first = due_ns(h, &h->connection[i]);
	if (first == UINT64_MAX)
		return -1;
	return first <= now_ns ? 0 : (int)((first - now_ns) / 1000000) + 1;
}

static void *http_run(void *arg)
{
	struct clv_metrics_http *h = arg;
	struct pollfd fds[CONNECTIONS + LISTENERS + 1];

	for (;;) {
		bool room = has_room(h);
		nfds_t n = 0;

		for (size_t i = 0; i < CONNECTIONS; i++)
			fds[n++] = waiting_for(&h->connection[i]);
		fds[n++] = (struct pollfd){.fd = h->stop_fd, .events = POLLIN};
		for (size_t i = 0; i < h->listeners && room; i++)
			fds[n++] = (struct pollfd){.fd = h->listener[i], .events = POLLIN};
		if (poll(fds, n, next_deadline_ms(h, clv_clock_ns())) < 0 && errno != EINTR)
			return NULL;
		uint64_t now_ns = clv_clock_ns();
		if (fds[CONNECTIONS].revents)
			return NULL;
		serve(h, fds, now_ns);
		for (nfds_t i = CONNECTIONS + 1; i < n; i++)
			if (fds[i].revents)
				accept_one(h, fds[i].fd, now_ns);
	}
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* "[::1]:9464", "host:9464", ":9464", "9464": the host, empty for all, and the port as text. */
static bool address_split(const char *address, char host[ADDRESS_BYTES], const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;
	const char *begin = address;

	*port = colon ? colon + 1 : address;
	if (len >= 2 && begin[0] == '[' && begin[len - 1] == ']') {
		begin++;
		len -= 2;
	} else if (memchr(begin, ':', len)) {
		return false; /* IPv6 needs brackets */
	}
	char *end;
	unsigned long n = strtoul(*port, &end, 10);
	if (**port < '0' || **port > '9' || *end || n > UINT16_MAX || len >= ADDRESS_BYTES)
		return false;
	memcpy(host, begin, len);
	host[len] = '\0';
	return true;
}

static int listen_on(const struct addrinfo *a, bool all, int *out)
{
	static const int on = 1, off = 0;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6) /* one socket for all addresses of both kinds */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, all ? &off : &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, LISTEN_QUEUE)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static void note_port(struct clv_metrics_http *h)
{
	union {
		struct sockaddr_in6 v6;
		struct sockaddr_in v4;
		struct sockaddr any;
	} bound = {0};
	socklen_t len = sizeof(bound);

	if (!h->port && !getsockname(h->listener[0], &bound.any, &len))
		h->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

/* "localhost" is often two addresses; where there is no IPv6, one will do. */
static int listen_all(struct clv_metrics_http *h, const struct addrinfo *list, bool all)
{
	int err = -EADDRNOTAVAIL;

	for (const struct addrinfo *a = list; a && h->listeners < LISTENERS; a = a->ai_next) {
		/* What has no fixed port gets the same one everywhere. */
		if (h->port && a->ai_family == AF_INET6)
			((struct sockaddr_in6 *)a->ai_addr)->sin6_port = htons(h->port);
		else if (h->port)
			((struct sockaddr_in *)a->ai_addr)->sin_port = htons(h->port);
		int e = listen_on(a, all, &h->listener[h->listeners]);

		if (e == -EADDRNOTAVAIL || e == -EAFNOSUPPORT)
			continue;
		if (e)
			return e;
		h->listeners++;
		note_port(h);
		err = 0;
		if (all)
			break;
	}
	return err;
}

static int by_v6(const struct addrinfo *a)
{
	return a->ai_family == AF_INET6;
}

/* All addresses: the IPv6 socket takes IPv4 as well, so it is tried first. */
static struct addrinfo *v6_first(struct addrinfo *list)
{
	if (list && list->ai_next && !by_v6(list) && by_v6(list->ai_next)) {
		struct addrinfo *second = list->ai_next;

		list->ai_next = second->ai_next;
		second->ai_next = list;
		return second;
	}
	return list;
}

static int http_listen(struct clv_metrics_http *h, const char *address, char *why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
	char host[ADDRESS_BYTES];
	const char *port;

	if (!address_split(address, host, &port)) {
		snprintf(why, CLV_METRICS_HTTP_WHY, "'%s' is no [ADDR]:PORT to serve metrics on", address);
		return -EINVAL;
	}
	int e = getaddrinfo(*host ? host : NULL, port, &hints, &list);
	if (e) {
		snprintf(why, CLV_METRICS_HTTP_WHY, "cannot serve metrics on %s: %s", address, gai_strerror(e));
		return -EINVAL;
	}
	h->port = (uint16_t)strtoul(port, NULL, 10);
	list = *host ? list : v6_first(list);
	int err = listen_all(h, list, !*host);
	freeaddrinfo(list);
	if (err)
		snprintf(why, CLV_METRICS_HTTP_WHY, "cannot serve metrics on %s: %s", address, strerror(-err));
	return err;
}

static int http_start(struct clv_metrics_http *h)
{
	h->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (h->stop_fd < 0)
		return -errno;
	return clv_thread_start(&h->thread, "metrics", http_run, h);
}

static void http_free(struct clv_metrics_http *h)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (h->connection[i].fd >= 0)
			connection_close(h, &h->connection[i]);
	for (size_t i = 0; i < h->listeners; i++)
		close(h->listener[i]);
	if (h->stop_fd >= 0)
		close(h->stop_fd);
	free(h);
}

int clv_metrics_http_open(const char *address, struct clv_metrics *m, struct clv_health *health,
			  struct clv_metrics_http **out, char why[CLV_METRICS_HTTP_WHY])
{
	struct clv_metrics_http *h = calloc(1, sizeof(*h));

	snprintf(why, CLV_METRICS_HTTP_WHY, "cannot serve metrics on %s: %s", address, strerror(ENOMEM));
	if (!h)
		return -ENOMEM;
	h->metrics = m;
	h->health = health;
	h->stop_fd = -1;
	for (size_t i = 0; i < CONNECTIONS; i++)
		h->connection[i].fd = -1;
	int err = http_listen(h, address, why);
	if (!err && (err = http_start(h)))
		snprintf(why, CLV_METRICS_HTTP_WHY, "cannot serve metrics on %s: %s", address, strerror(-err));
	if (err) {
		http_free(h);
		return err;
	}
	*out = h;
	return 0;
}

uint16_t clv_metrics_http_port(const struct clv_metrics_http *h)
{
	return h->port;
}

void clv_metrics_http_close(struct clv_metrics_http *h)
{
	static const uint64_t one = 1;

	if (!h)
		return;
	while (write(h->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(h->thread, NULL);
	http_free(h);
}
