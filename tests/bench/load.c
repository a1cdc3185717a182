/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 load whose number of requests is exact: when the time is up nothing new is asked, and what was asked is
 * waited for. So every request that was sent has its answer, and whoever watched can be held to it.
 *
 *     load [OPTION...] PATH ADDRESS[:PORT]...      connections take the addresses in turns (IPv4, port 80)
 *
 *     -c N   connections (32)            -t S   seconds (2)
 *     -r N   requests a second, evenly spaced, whether the last one was answered or not; 0: as fast as answers come
 *     -w S   latencies count from then on (0)
 *     -k     a connection for each request (Connection: close)
 *     -m N   TCP segments of N bytes at most
 *     -s N   each request in pieces of N bytes, one send() each
 *     -u     PATH is a prefix, a number follows: "/ok/" makes /ok/0, /ok/1, ...; each tenth asks for /missing/N
 *     -i     hold: connect, then for each line on standard input one request on every connection; ends at the end
 *
 * SIGTERM ends the time early. Prints one JSON object a run: requests, the rate, processor time of this process, and
 * latencies in microseconds. With -r these count from the time a request was due, so a server that stalls is not asked
 * less often. A request without an answer for 30 s ends the program with status 1, as does a closed connection (without
 * -k) and a status of 500 up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, READ_BYTES = 1 << 16, EVENTS = 256, PATIENCE_S = 30 };
#define SEC 1000000000ll

/* Latencies: exact up to 2^7 ns, then 64 steps an octave (1.6 %). */
enum { STEP_BITS = 6, BUCKETS = (64 - STEP_BITS) << STEP_BITS };

struct connection {
	int fd;
	int64_t begin_ns;   /* when the request was due */
	uint64_t body_left; /* of the answer, once its head is there */
	bool in_body;
	size_t head_len;
	char head[HEAD_BYTES];
	struct sockaddr_in to;
};

static struct {
	unsigned connections;
	double seconds, rate, warm;
	bool close, unique, hold;
	int mss;
	size_t piece;
	const char *path;
} o = {.connections = 32, .seconds = 2};

static struct connection *all, **idle; /* idle: a ring, so that all take turns */
static unsigned idle_first, idle_count, busy_count;
static int epoll_fd;
static int64_t began_ns, warm_ns, ends_ns, cpu_began_ns;
static volatile sig_atomic_t stop;
static uint64_t asked, answered, measured, bytes, histogram[BUCKETS];
static char request[HEAD_BYTES];
static size_t request_len;

static void on_signal(int signal)
{
	stop = 1;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * SEC + t.tv_nsec;
}

static void rest(struct connection *c)
{
	idle[(idle_first + idle_count++) % o.connections] = c;
}

/* The one that has rested longest. */
static struct connection *wake(void)
{
	struct connection *c = idle[idle_first];

	idle_first = (idle_first + 1) % o.connections;
	idle_count--;
	return c;
}

static unsigned bucket_of(uint64_t v)
{
	unsigned octave = v < 2u << STEP_BITS ? 0 : 63u - (unsigned)__builtin_clzll(v) - STEP_BITS;

	return (octave << STEP_BITS) + (unsigned)(v >> octave);
}

static double quantile_us(double q)
{
	uint64_t left = (uint64_t)(q * (double)measured);
	unsigned i = 0;

	while (i < BUCKETS - 1 && histogram[i] <= left)
		left -= histogram[i++];
	unsigned octave = i < 2u << STEP_BITS ? 0 : (i >> STEP_BITS) - 1;
	return (double)((uint64_t)(i - (octave << STEP_BITS)) << octave) / 1e3;
}

static void make_request(const char *path)
{
	request_len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", path,
				       o.close ? "Connection: close\r\n" : "");
}

static void dial(struct connection *c)
{
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %m");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (o.mss)
		setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &o.mss, sizeof(o.mss));
	if (connect(c->fd, (struct sockaddr *)&c->to, sizeof(c->to)))
		die("connect to %s: %m", inet_ntoa(c->to.sin_addr));
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
}

static void ask(struct connection *c, int64_t due_ns)
{
	if (o.close)
		dial(c);
	if (o.unique) {
		char path[HEAD_BYTES / 2];

		snprintf(path, sizeof(path), "%s%" PRIu64, asked % 10 ? o.path : "/missing/", asked);
		make_request(path);
	}
	size_t step = o.piece ? o.piece : request_len;
	for (size_t at = 0; at < request_len; at += step) {
		size_t n = request_len - at < step ? request_len - at : step;
		if (send(c->fd, request + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			die("send: %m");
	}
	c->begin_ns = due_ns;
	busy_count++;
	asked++;
}

/* The answer is complete. */
static void take_answer(struct connection *c)
{
	int64_t t = now(CLOCK_MONOTONIC);

	if (c->begin_ns >= warm_ns) {
		histogram[bucket_of((uint64_t)(t - c->begin_ns))]++;
		measured++;
	}
	answered++;
	busy_count--;
	c->in_body = false;
	c->head_len = 0;
	if (o.close) {
		close(c->fd);
		c->fd = -1;
	}
	if (!o.rate && t < ends_ns && !stop)
		ask(c, t);
	else
		rest(c);
}

/* Looks for the end of the head in what has come; the bytes of the body behind it. */
static size_t take_head(struct connection *c)
{
	char *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);

	if (!end) {
		if (c->head_len == HEAD_BYTES - 1)
			die("a head of more than %d bytes", HEAD_BYTES);
		return 0;
	}
	*end = '\0';
	const char *length = strcasestr(c->head, "\ncontent-length:");
	if (c->head_len < sizeof("HTTP/1.1 200") || c->head[9] > '4' || !length)
		die("not an answer to use: %.60s", c->head);
	c->body_left = strtoull(length + strlen("\ncontent-length:"), NULL, 10);
	c->in_body = true;
	return c->head_len - (size_t)(end + 4 - c->head);
}

static void readable(struct connection *c)
{
	static char body[READ_BYTES];
	ssize_t n = c->in_body ? read(c->fd, body, sizeof(body))
			       : read(c->fd, c->head + c->head_len, HEAD_BYTES - 1 - c->head_len);

	if (n <= 0)
		die("%s after %" PRIu64 " answers", n ? strerror(errno) : "closed", answered);
	bytes += (uint64_t)n;
	size_t of_body = (size_t)n;
	if (!c->in_body) {
		c->head_len += (size_t)n;
		of_body = take_head(c);
		if (!c->in_body)
			return;
	}
	if (of_body > c->body_left)
		die("more bytes than the answer has");
	c->body_left -= of_body;
	if (!c->body_left)
		take_answer(c);
}

static void wait_events(int64_t until_ns)
{
	struct epoll_event e[EVENTS];
	int64_t left = until_ns - now(CLOCK_MONOTONIC);
	struct timespec wait = {.tv_sec = left / SEC, .tv_nsec = left % SEC};
	int n = left < 0 ? epoll_wait(epoll_fd, e, EVENTS, 0)
			 : (int)syscall(SYS_epoll_pwait2, epoll_fd, e, EVENTS, &wait, NULL, 0);

	for (int i = 0; i < n; i++)
		readable(e[i].data.ptr);
}

/* All that was asked for gets its answer. */
static void drain(void)
{
	int64_t patience = now(CLOCK_MONOTONIC) + PATIENCE_S * SEC;

	while (busy_count) {
		wait_events(patience);
		if (now(CLOCK_MONOTONIC) > patience)
			die("%u requests have no answer", busy_count);
	}
}

static void begin(void)
{
	memset(histogram, 0, sizeof(histogram));
	asked = answered = measured = bytes = 0;
	began_ns = now(CLOCK_MONOTONIC);
	warm_ns = began_ns + (int64_t)(o.warm * 1e9);
	cpu_began_ns = now(CLOCK_PROCESS_CPUTIME_ID);
	ends_ns = o.hold ? 0 : began_ns + (int64_t)(o.seconds * 1e9);
}

static void print(int64_t over_ns)
{
	double lasted = (double)(over_ns - began_ns) / 1e9;

	printf("{\"requests\":%" PRIu64 ",\"seconds\":%.6f,\"rate\":%.1f,\"bytes\":%" PRIu64 ",\"cpu_ns\":%" PRId64
	       ",\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
	       answered, lasted, (double)answered / lasted, bytes, now(CLOCK_PROCESS_CPUTIME_ID) - cpu_began_ns,
	       quantile_us(.5), quantile_us(.99));
	fflush(stdout);
}

/* As fast as answers come: each answer asks for the next one. */
static void saturate(void)
{
	while (idle_count)
		ask(wake(), now(CLOCK_MONOTONIC));
	while (now(CLOCK_MONOTONIC) < ends_ns && !stop)
		wait_events(ends_ns);
}

/* Those that find no free connection wait for one, and their latency counts. */
static void pace(void)
{
	uint64_t total = (uint64_t)(o.rate * o.seconds);

	while (asked < total && !stop) {
		int64_t due_ns = began_ns + (int64_t)((double)asked / o.rate * 1e9);

		if (idle_count && due_ns <= now(CLOCK_MONOTONIC))
			ask(wake(), due_ns);
		else
			wait_events(idle_count ? due_ns : now(CLOCK_MONOTONIC) + PATIENCE_S * SEC);
	}
}

/* One request on every connection, a few at a time, which a server's backlog holds. */
static void touch(void)
{
	for (unsigned i = 0; i < o.connections; i++) {
		ask(wake(), now(CLOCK_MONOTONIC));
		while (busy_count >= EVENTS)
			wait_events(now(CLOCK_MONOTONIC) + PATIENCE_S * SEC);
	}
}

static void run(void (*how)(void))
{
	begin();
	how();
	drain();
	print(now(CLOCK_MONOTONIC));
}

static void hold(void)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin))
		run(touch);
}

static void take_options(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "c:t:r:w:km:s:ui")) != -1;) {
		switch (c) {
		case 'c':
			o.connections = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			o.seconds = strtod(optarg, NULL);
			break;
		case 'r':
			o.rate = strtod(optarg, NULL);
			break;
		case 'w':
			o.warm = strtod(optarg, NULL);
			break;
		case 'k':
			o.close = true;
			break;
		case 'm':
			o.mss = atoi(optarg);
			break;
		case 's':
			o.piece = strtoul(optarg, NULL, 10);
			break;
		case 'u':
			o.unique = true;
			break;
		case 'i':
			o.hold = true;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind < 2 || !o.connections)
		die("usage: load [OPTION...] PATH ADDRESS[:PORT]...");
}

static struct sockaddr_in address(char *text)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
	char *colon = strchr(text, ':');

	if (colon) {
		a.sin_port = htons((uint16_t)atoi(colon + 1));
		*colon = '\0';
	}
	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		die("no address: %s", text);
	if (colon)
		*colon = ':';
	return a;
}

int main(int argc, char **argv)
{
	struct sigaction end = {.sa_handler = on_signal};

	sigaction(SIGTERM, &end, NULL);
	take_options(argc, argv);
	o.path = argv[optind++];
	if (strlen(o.path) > HEAD_BYTES / 4)
		die("the path is too long");
	make_request(o.path);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	all = calloc(o.connections, sizeof(*all));
	idle = calloc(o.connections, sizeof(struct connection *));
	if (epoll_fd < 0 || !all || !idle)
		die("%m");
	for (unsigned i = 0; i < o.connections; i++) {
		all[i].to = address(argv[optind + (int)i % (argc - optind)]);
		if (!o.close)
			dial(&all[i]);
		rest(&all[i]);
	}
	if (o.hold)
		hold();
	else
		run(o.rate ? pace : saturate);
	return 0;
}
