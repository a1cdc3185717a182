/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the ring, the attaching thread and the table of places. A place is known by its number; an interface that comes
 * back has a new one. What a place's packets are called goes with it, a little later.
 */
#include "cli/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/trim.h"
#include "cli/export.h"
#include "cli/status.h"
#include "source/ring.h"

struct clv_places {
	struct clv_places_config config;
	struct clv_ring *ring;
	struct clv_attach *attach;
	struct clv_place **place;
	size_t count, cap;
	uint64_t now_ns;
	int news_fd; /* with several workers: what wakes the main thread */
	size_t told; /* so many places attached, to the service manager */
	bool ready, failed, stopping;
};

/* ---- the table ----------------------------------------------------------------------------------------------- */

struct clv_place *clv_places_find(const struct clv_places *ps, uint32_t net)
{
	for (size_t i = 0; i < ps->count; i++)
		if (ps->place[i]->request.net == net && ps->place[i]->state != CLV_PLACE_GONE)
			return ps->place[i];
	return NULL;
}

void clv_places_each(const struct clv_places *ps, void (*fn)(void *ctx, struct clv_place *p), void *ctx)
{
	for (size_t i = 0; i < ps->count; i++)
		if (ps->place[i]->state != CLV_PLACE_GONE)
			fn(ctx, ps->place[i]);
}

size_t clv_places_count(const struct clv_places *ps, enum clv_place_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < ps->count; i++)
		n += ps->place[i]->state == state;
	return n;
}

bool clv_places_settled(const struct clv_places *ps)
{
	return clv_places_count(ps, CLV_PLACE_ASKED) == 0;
}

static struct clv_place *places_new(struct clv_places *ps)
{
	if (ps->count == ps->cap) {
		size_t cap = ps->cap ? 2 * ps->cap : 16;
		struct clv_place **p = reallocarray(ps->place, cap, sizeof(struct clv_place *));

		if (!p)
			return NULL;
		ps->place = p;
		ps->cap = cap;
	}
	struct clv_place *p = calloc(1, sizeof(*p));
	if (p)
		ps->place[ps->count++] = p;
	return p;
}

/* Its resource stays for a while, unless another place has its number by then. */
static void places_forget(struct clv_places *ps, struct clv_place *p)
{
	p->state = CLV_PLACE_GONE;
	p->gone_ns = ps->now_ns;
	p->label = NULL;
	p->owner = NULL;
}

static void place_free(struct clv_place *p)
{
	free((char *)p->request.cgroup);
	free(p);
}

static void places_free(struct clv_places *ps, size_t i)
{
	struct clv_place *p = ps->place[i];

	ps->place[i] = ps->place[--ps->count];
	if (!clv_places_find(ps, p->request.net))
		clv_resources_remove(ps->config.resources, p->request.net);
	place_free(p);
}

static void places_clean(struct clv_places *ps)
{
	for (size_t i = ps->count; i-- > 0;)
		if (ps->place[i]->state == CLV_PLACE_GONE && ps->now_ns - ps->place[i]->gone_ns >= CLV_PLACE_LATE_NS)
			places_free(ps, i);
}

struct clv_place *clv_places_add(struct clv_places *ps, const struct clv_attach_request *request)
{
	struct clv_place *p = places_new(ps);

	char *cgroup = request->cgroup ? strdup(request->cgroup) : NULL;

	if (!p || (request->cgroup && !cgroup) || clv_attach_add(ps->attach, request)) {
		free(cgroup);
		clv_error("%s: no memory to attach to it", request->name);
		if (p)
			places_free(ps, ps->count - 1);
		return NULL;
	}
	p->request = *request;
	p->request.cgroup = cgroup;
	return p;
}

void clv_places_remove(struct clv_places *ps, struct clv_place *p)
{
	if (clv_attach_remove(ps->attach, p->request.net))
		clv_error("%s: no memory to leave it", p->request.name);
	places_forget(ps, p);
}

/* ---- attaching ----------------------------------------------------------------------------------------------- */

const char *clv_place_how(enum clv_attach_mode mode)
{
	static const char *const names[] = {[CLV_ATTACH_AUTO] = "auto",
					    [CLV_ATTACH_TCX] = "tcx",
					    [CLV_ATTACH_CLSACT] = "clsact",
					    [CLV_ATTACH_CGROUP] = "cgroup"};

	return names[mode];
}

/* Nobody asked for it: the cgroup was removed. Of an interface the kernel's news of links tells. */
static void places_on_gone(struct clv_places *ps, struct clv_place *p)
{
	clv_info("%s%s%s is gone", p->label ? p->label : "", p->label ? ": " : "", p->request.name);
	if (ps->config.gone)
		ps->config.gone(ps->config.ctx, p);
	places_forget(ps, p);
}

/* It was gone before it could be attached to. */
static bool places_came_late(const struct clv_place *p, int error)
{
	return !p->needed && (error == -ENODEV || (p->request.mode == CLV_ATTACH_CGROUP && error == -ENOENT));
}

/* What failed and what to do about it. */
static void places_on_failure(struct clv_places *ps, struct clv_place *p, int error)
{
	const char *hint = "";

	if (places_came_late(p, error)) {
		if (p->request.mode == CLV_ATTACH_CGROUP)
			places_on_gone(ps, p);
		else
			places_forget(ps, p);
		return;
	}
	if (error == -EPERM || error == -EACCES)
		hint = "; run as root or with CAP_BPF and CAP_NET_ADMIN (clovisor check tells more)";
	else if (p->request.mode == CLV_ATTACH_CGROUP && error == -EINVAL)
		hint = "; it is no cgroup of version 2 (clovisor check tells where those are)";
	else if (p->request.mode == CLV_ATTACH_TCX && (error == -EINVAL || error == -EOPNOTSUPP))
		hint = "; this kernel may have no tcx (it came with 6.6): try --attach auto";
	clv_error("cannot attach to %s%s%s: %s%s", p->request.name, p->label ? " of " : "", p->label ? p->label : "",
		  strerror(-error), hint);
	p->state = CLV_PLACE_FAILED;
	p->error = error;
	ps->failed |= p->needed;
	if (ps->config.failed)
		ps->config.failed(ps->config.ctx, p);
}

static void places_on_swept(const struct clv_place *p, unsigned filters)
{
	if (filters)
		clv_info("%s: removed %u filters that a killed clovisor left", p->request.name, filters);
}

static void places_on_done(struct clv_places *ps, struct clv_place *p, const struct clv_attach_event *e)
{
	places_on_swept(p, e->swept);
	if (ps->ready && p->state != CLV_PLACE_ATTACHED)
		clv_info("%s%sattached to %s (%s)", p->label ? p->label : "", p->label ? ": " : "", p->request.name,
			 clv_place_how(e->used));
	p->state = CLV_PLACE_ATTACHED;
	p->used = e->used;
}

static void places_on_attach(void *ctx, const struct clv_attach_event *e)
{
	struct clv_places *ps = ctx;
	struct clv_place *p = clv_places_find(ps, e->request.net);

	if (ps->stopping || !p)
		return;
	if (e->outcome == CLV_ATTACH_FAILED)
		places_on_failure(ps, p, e->error);
	else if (e->outcome == CLV_ATTACH_DONE)
		places_on_done(ps, p, e);
	else if (e->outcome == CLV_ATTACH_SWEPT)
		places_on_swept(p, e->swept);
	else if (p->request.mode == CLV_ATTACH_CGROUP)
		places_on_gone(ps, p);
}

/* ---- news of links --------------------------------------------------------------------------------------------- */

static void places_on_link(void *ctx, const struct clv_link *l, bool gone)
{
	struct clv_places *ps = ctx;

	ps->config.link(ps->config.ctx, l, gone);
	struct clv_place *p = gone ? clv_places_find(ps, l->ifindex) : NULL;
	if (p)
		clv_places_remove(ps, p);
}

/* For `systemctl status`. */
static void places_tell(struct clv_places *ps)
{
	size_t attached = clv_places_count(ps, CLV_PLACE_ATTACHED);
	char text[64];

	if (!ps->ready || attached == ps->told)
		return;
	ps->told = attached;
	snprintf(text, sizeof(text), "attached to %zu place%s", attached, attached == 1 ? "" : "s");
	clv_notify(CLV_NOTIFY_STATUS, text);
}

/* Of some that are gone there was no news. */
static void places_miss(struct clv_places *ps)
{
	for (size_t i = 0; i < ps->count; i++) {
		const struct clv_place *p = ps->place[i];
		struct clv_link l = {.ifindex = p->request.net, .peer_nsid = -1};

		if (p->state == CLV_PLACE_GONE || p->request.mode == CLV_ATTACH_CGROUP ||
		    if_indextoname(l.ifindex, l.name))
			continue;
		snprintf(l.name, sizeof(l.name), "%.15s", p->request.name);
		places_on_link(ps, &l, true);
	}
}

int clv_places_service(struct clv_places *ps, uint64_t now_ns)
{
	ps->now_ns = now_ns;
	int err = clv_links_poll(ps->config.links, places_on_link, ps);

	if (clv_links_lost(ps->config.links))
		places_miss(ps);

	if (err < 0 && err != -EAGAIN && err != -EINTR) {
		clv_error("cannot follow the network interfaces: %s", strerror(-err));
		return -1;
	}
	clv_attach_poll(ps->attach, places_on_attach, ps);
	places_clean(ps);
	places_tell(ps);
	return ps->failed ? -1 : 0;
}

void clv_places_ready(struct clv_places *ps, const char *waiting)
{
	char line[4096];
	struct clv_buf b = clv_buf(line, sizeof(line) - 64);
	size_t named = 0, attached = 0;

	clv_buf_lit(&b, "ready:");
	for (size_t i = 0; i < ps->count; i++) {
		const struct clv_place *p = ps->place[i];

		if (p->state != CLV_PLACE_ATTACHED)
			continue;
		attached++;
		if (b.cap - b.len < sizeof(p->request.name) + 16)
			continue;
		clv_buf_printf(&b, "%s %s (%s)", named ? "," : "", p->request.name, clv_place_how(p->used));
		named++;
	}
	b.cap = sizeof(line);
	if (attached > named)
		clv_buf_printf(&b, " and %zu more", attached - named);
	if (attached == 0)
		clv_buf_printf(&b, " %s", waiting);
	ps->ready = true;
	ps->told = attached;
	clv_trim();
	clv_buf_char(&b, '\0');
	if (clv_notify(CLV_NOTIFY_READY, line))
		clv_debug("the service manager cannot be told");
	b.data[b.len - 1] = '\n';
	if (write(STDERR_FILENO, b.data, b.len) < 0) /* at once: others wait for it */
		return;                              /* nobody left to tell */
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

/* Programs off first, one by one, while the ring is still read. */
bool clv_places_stopped(struct clv_places *ps)
{
	if (!ps->stopping) {
		ps->stopping = true;
		clv_notify(CLV_NOTIFY_STOPPING, NULL);
		for (size_t i = 0; i < ps->count; i++)
			if (ps->place[i]->state != CLV_PLACE_GONE &&
			    clv_attach_remove(ps->attach, ps->place[i]->request.net))
				return true; /* closing takes all off */
	}
	clv_attach_poll(ps->attach, places_on_attach, ps);
	return clv_attach_pending(ps->attach) == 0;
}

size_t clv_places_figures(struct clv_places *ps, struct clv_figure out[CLV_RUN_FIGURES])
{
	_Static_assert(CLV_RING_FIGURES <= CLV_RUN_FIGURES, "room for the reader's figures");
	return clv_ring_figures(ps->ring, out);
}

static void places_line(const struct clv_places *ps, const struct clv_place *p, FILE *f, bool json)
{
	static const char *const states[] = {
		[CLV_PLACE_ASKED] = "waiting", [CLV_PLACE_ATTACHED] = "attached", [CLV_PLACE_FAILED] = "failed"};
	const char *how = p->state == CLV_PLACE_ATTACHED ? clv_place_how(p->used) : "";
	struct clv_slice service = clv_resources_get(ps->config.resources, p->request.net)->attr[0].value;

	bool cgroup = p->request.mode == CLV_ATTACH_CGROUP;

	fputs(!json ? "  " : cgroup ? "{\"cgroup\":" : "{\"interface\":", f);
	clv_status_text(f, clv_slice_str(cgroup ? p->request.cgroup : p->request.name), json);
	if (json)
		fprintf(f, ",\"%s\":%u,\"state\":\"%s\",\"how\":\"%s\",\"pod\":%s,\"service\":",
			cgroup ? "net" : "ifindex", p->request.net, states[p->state], how, p->pod ? "true" : "false");
	else
		fprintf(f, " (%u): %s%s%s%s, service ", p->request.net, states[p->state], *how ? " (" : "", how,
			*how ? ")" : "");
	clv_status_text(f, service, json);
	fputs(json ? "}" : "\n", f);
}

void clv_places_status(const struct clv_places *ps, FILE *f, bool json)
{
	const char *between = "";

	if (json)
		fputs(",\"interfaces\":[", f);
	else
		fprintf(f, "interfaces: %zu attached, %zu waiting, %zu failed\n",
			clv_places_count(ps, CLV_PLACE_ATTACHED), clv_places_count(ps, CLV_PLACE_ASKED),
			clv_places_count(ps, CLV_PLACE_FAILED));
	for (size_t i = 0; i < ps->count; i++) {
		if (ps->place[i]->state == CLV_PLACE_GONE)
			continue;
		fputs(between, f);
		places_line(ps, ps->place[i], f, json);
		between = json ? "," : "";
	}
	if (json)
		fputc(']', f);
}

/* ---- start and end -------------------------------------------------------------------------------------------------
 */

struct clv_source *clv_places_source(struct clv_places *ps, unsigned worker)
{
	return clv_ring_source(ps->ring, worker);
}

int clv_places_news_fd(const struct clv_places *ps)
{
	return ps->news_fd;
}

int clv_places_wake_on(struct clv_places *ps, int fd)
{
	struct epoll_event e = {.events = EPOLLIN};
	int err = 0;

	if (ps->config.workers == 1)
		err = clv_ring_wake_on(ps->ring, 0, fd);
	else if (epoll_ctl(ps->news_fd, EPOLL_CTL_ADD, fd, &e))
		err = -errno;
	if (err)
		clv_error("cannot start: %s", strerror(-err));
	return err;
}

static int places_open_ring(struct clv_places *ps)
{
	const struct clv_options *o = ps->config.options;
	uint16_t ports[CLV_OPTION_REPEAT];
	struct clv_ring_config config = {
		.workers = ps->config.workers,
		.ring_bytes = (uint32_t)o->ring_bytes,
		.max_flows = (uint32_t)o->max_flows,
		.snaplen = (uint32_t)o->snaplen,
		.ports = ports,
		.port_count = o->port_count,
		.measure = clv_export_may_count(o) || o->flows,
		.count_flows = o->flows,
		.cgroups = ps->config.cgroups,
		.seek_first = !o->plugins.count,
	};

	for (size_t i = 0; i < o->port_count; i++)
		ports[i] = o->ports[i].port;
	int err = clv_ring_open(&config, &ps->ring);
	if (err == -EPERM) /* EACCES is the verifier's word */
		clv_error("cannot load BPF: %s; run as root or with CAP_BPF and CAP_NET_ADMIN (clovisor check tells "
			  "more)",
			  strerror(-err));
	else if (err)
		clv_error("cannot load BPF: %s; clovisor check tells what this kernel lacks", strerror(-err));
	return err;
}

int clv_places_open(const struct clv_places_config *config, struct clv_places **out)
{
	struct clv_places *ps = *out = calloc(1, sizeof(*ps));

	if (!ps) {
		clv_error("cannot start: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	ps->config = *config;
	ps->news_fd = -1;
	int err = places_open_ring(ps);
	if (err)
		return err;
	if (config->workers > 1 && (ps->news_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		err = -errno;
	if (!err)
		err = clv_attach_open(ps->ring, &ps->attach);
	if (err) {
		clv_error("cannot start: %s", strerror(-err));
		return err;
	}
	const int fds[] = {clv_run_signal_fd(), clv_links_fd(config->links), clv_attach_fd(ps->attach)};
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds) && !err; i++)
		err = clv_places_wake_on(ps, fds[i]);
	return err;
}

void clv_places_close(struct clv_places *ps)
{
	if (!ps)
		return;
	clv_attach_close(ps->attach);
	clv_ring_close(ps->ring);
	if (ps->news_fd >= 0)
		close(ps->news_fd);
	for (size_t i = 0; i < ps->count; i++)
		place_free(ps->place[i]);
	free(ps->place);
	free(ps);
}
