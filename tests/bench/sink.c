/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A collector that takes everything and keeps nothing: answers each POST with 200 and an empty body, as fast as it
 * can be read, so that a benchmark of the sender measures the sender. At the end (SIGTERM) it prints requests and
 * bytes.
 *
 *     sink PORT
 *
 * HTTP/1.1 with Content-Length only. One thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 8192

struct peer {
	int fd;
	size_t head_len;
	unsigned long long body_left;
	char head[HEAD_BYTES + 1];
};

static volatile sig_atomic_t stop;
static unsigned long long requests, bytes;

static void on_signal(int signal)
{
	stop = 1;
}

static int say(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* A whole head: what is behind it belongs to the body. Returns 0, or -1 when the peer makes no sense. */
static int take_head(struct peer *p, size_t head_len)
{
	p->head[p->head_len] = '\0';
	const char *length = strcasestr(p->head, "\r\ncontent-length:");

	if (!length || length > p->head + head_len)
		return -1;
	unsigned long long body = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
	size_t have = p->head_len - head_len;
	if (have > body) /* pipelined: no sender of ours does that */
		return -1;
	p->body_left = body - have;
	p->head_len = 0;
	if (strcasestr(p->head, "\r\nexpect: 100-continue") && say(p->fd, "HTTP/1.1 100 Continue\r\n\r\n"))
		return -1;
	return 0;
}

static int answer(struct peer *p)
{
	requests++;
	return say(p->fd, "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
}

static int take(struct peer *p)
{
	static char body[1 << 18];
	ssize_t n;

	if (p->body_left) {
		n = read(p->fd, body, p->body_left < sizeof(body) ? p->body_left : sizeof(body));
		if (n <= 0)
			return -1;
		bytes += (unsigned long long)n;
		p->body_left -= (unsigned long long)n;
		return p->body_left ? 0 : answer(p);
	}
	n = read(p->fd, p->head + p->head_len, HEAD_BYTES - p->head_len);
	if (n <= 0)
		return -1;
	p->head_len += (size_t)n;
	char *end = memmem(p->head, p->head_len, "\r\n\r\n", 4);
	if (!end)
		return p->head_len == HEAD_BYTES ? -1 : 0;
	if (take_head(p, (size_t)(end + 4 - p->head)))
		return -1;
	return p->body_left ? 0 : answer(p);
}

static int listen_at(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 64)) {
		perror("sink");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct sigaction end = {.sa_handler = on_signal};
	int listener, epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN};

	if (argc != 2 || atoi(argv[1]) <= 0) {
		fputs("usage: sink PORT\n", stderr);
		return 2;
	}
	listener = listen_at(atoi(argv[1]));
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	puts("ready");
	fflush(stdout);
	while (!stop) {
		if (epoll_wait(epoll, &e, 1, -1) < 1)
			continue;
		struct peer *p = e.data.ptr;
		if (!p) {
			struct epoll_event new = {.events = EPOLLIN, .data.ptr = calloc(1, sizeof(*p))};

			p = new.data.ptr;
			p->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &new);
		} else if (take(p)) {
			close(p->fd);
			free(p);
		}
	}
	printf("{\"requests\":%llu,\"bytes\":%llu}\n", requests, bytes);
	return 0;
}
