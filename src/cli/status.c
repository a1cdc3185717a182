/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the socket and its file. Never waits for a client. Main thread. */
#include "cli/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "export/json.h"
#include "export/text.h"

#define LOOK_NS (100ull * 1000 * 1000)
/* Clients of one look. */
#define CLIENTS 8

struct clv_status {
	int fd;
	uint64_t look_ns;
	struct sockaddr_un addr;
};

static uint64_t started_ns;

const char *clv_status_dir(void)
{
	const char *dir = getenv("RUNTIME_DIRECTORY");

	return dir && *dir ? dir : CLV_STATUS_DIR;
}

/* ---- the socket -------------------------------------------------------------------------------------------------- */

/* Returns 0 or -errno. Before it listens it is ours alone: the mask keeps others out from the first moment on. */
static int status_listen(struct clv_status *s)
{
	const char *dir = clv_status_dir();

	s->addr.sun_family = AF_UNIX;
	int n = snprintf(s->addr.sun_path, sizeof(s->addr.sun_path), "%s/%d.sock", dir, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof(s->addr.sun_path))
		return -ENAMETOOLONG;
	if (mkdir(dir, 0755) && errno != EEXIST)
		return -errno;
	unlink(s->addr.sun_path); /* of a process that had our number and was killed */
	mode_t mask = umask(0177);
	int err = bind(s->fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) ? -errno : 0;
	umask(mask);
	if (!err && listen(s->fd, CLIENTS))
		err = -errno;
	return err;
}

struct clv_status *clv_status_open(void)
{
	struct clv_status *s = calloc(1, sizeof(*s));

	started_ns = clv_clock_ns();
	if (!s)
		return NULL;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = s->fd < 0 ? -errno : status_listen(s);
	if (!err)
		return s;
	clv_debug("no status can be asked for: %s: %s", s->addr.sun_path, strerror(-err));
	if (s->fd >= 0)
		close(s->fd);
	free(s);
	return NULL;
}

void clv_status_close(struct clv_status *s)
{
	if (!s)
		return;
	unlink(s->addr.sun_path);
	close(s->fd);
	free(s);
}

static void status_serve(int fd, void (*answer)(void *ctx, FILE *f, bool json), void *ctx)
{
	char question[16] = "", *text = NULL;
	size_t len = 0;
	int room = CLV_STATUS_BYTES;

	if (recv(fd, question, sizeof(question) - 1, MSG_DONTWAIT) <= 0) /* it had time, and said nothing */
		return;
	FILE *f = open_memstream(&text, &len);
	if (!f)
		return;
	answer(ctx, f, strncmp(question, "json", 4) == 0);
	if (fclose(f) == 0 && len <= CLV_STATUS_BYTES) {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
		if (send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
			clv_debug("an answer to clovisor status was cut short");
	}
	free(text);
}

void clv_status_poll(struct clv_status *s, uint64_t now_ns, void (*answer)(void *ctx, FILE *f, bool json), void *ctx)
{
	if (!s || now_ns < s->look_ns)
		return;
	s->look_ns = now_ns + LOOK_NS;
	for (int i = 0, fd; i < CLIENTS && (fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; i++) {
		status_serve(fd, answer, ctx);
		close(fd);
	}
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

void clv_status_text(FILE *f, struct clv_slice s, bool json)
{
	if (!json) {
		for (size_t i = 0; i < s.len; i++)
			fputc(s.data[i] >= 0x20 && s.data[i] < 0x7f ? s.data[i] : '?', f);
		return;
	}
	char *room = malloc(6 * s.len + 1);

	fputc('"', f);
	if (room)
		fwrite(room, 1, (size_t)(clv_json_escape(room, s) - room), f);
	fputc('"', f);
	free(room);
}

/* Open requests, written one by one. */
struct open_requests {
	FILE *f;
	bool json, any;
	const struct clv_resources *resources;
	struct clv_json lines;
	struct clv_text text;
};

static void status_on_open(void *ctx, struct clv_span *span)
{
	struct open_requests *o = ctx;

	span->resource = clv_resources_get(o->resources, span->net);
	char *line = malloc(o->json ? clv_json_bound(&o->lines, span) : clv_text_bound(&o->text, span));
	if (!line)
		return;
	size_t len = o->json ? clv_json_write(&o->lines, span, line) : clv_text_write(&o->text, span, line);

	if (o->json && o->any)
		fputc(',', o->f);
	fwrite(line, 1, o->json ? len - 1 : len, o->f);
	o->any = true;
	free(line);
}

static void status_write_open(const struct clv_status_report *r, FILE *f, bool json)
{
	struct open_requests *o = calloc(1, sizeof(*o));
	uint64_t now_ns = clv_clock_unix_ns();

	if (!o)
		return;
	o->f = f;
	o->json = json;
	o->resources = r->resources;
	clv_text_init(&o->text, -1, CLV_COLOR_NEVER);
	fputs(json ? ",\"open\":[" : "open for more than a second:\n", f);
	size_t n = 0;
	for (unsigned i = 0; i < r->workers; i++)
		n += clv_engine_open(r->engine[i], now_ns, CLV_STATUS_OPEN_NS,
				     n < CLV_STATUS_OPEN ? CLV_STATUS_OPEN - n : 0, status_on_open, o);
	if (json)
		fprintf(f, "],\"open_requests\":%zu", n);
	else if (!n)
		fputs("  none\n", f);
	else if (n > CLV_STATUS_OPEN)
		fprintf(f, "  and %zu more\n", n - CLV_STATUS_OPEN);
	free(o);
}

void clv_status_write(const struct clv_status_report *r, FILE *f, bool json)
{
	uint64_t up_ns = clv_clock_ns() - started_ns;
	char up[CLV_TEXT_DURATION];

	if (json) {
		fprintf(f, "{\"pid\":%d,\"version\":\"%s\",\"uptime_ns\":%llu,\"workers\":%u", (int)getpid(),
			CLV_VERSION, (unsigned long long)up_ns, r->workers);
	} else {
		up[clv_text_duration(up, up_ns)] = '\0';
		fprintf(f, "clovisor %s, process %d, up %s, %u worker%s\n", CLV_VERSION, (int)getpid(), up, r->workers,
			r->workers == 1 ? "" : "s");
	}
	if (r->places)
		r->places(r->ctx, f, json);
	status_write_open(r, f, json);
	if (json) {
		fputs(",\"figures\":", f);
		clv_summary_json(r->summary, f);
		fseek(f, -1, SEEK_CUR); /* its newline */
		fputs("}\n", f);
	} else {
		clv_summary_text(r->summary, f);
	}
}
