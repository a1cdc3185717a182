/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor trace`: the requests at network interfaces as they happen. Decides which interfaces are looked at, now
 * and when links come and go; attaching is attach.c's business, on its own thread. Main thread.
 *
 * Three ways to ask: -i by name, --netns by the namespace that a link leads into, and neither: every link that
 * leads into another namespace. An interface is known by its index; one that comes back has a new one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/reload.h"
#include "cli/export.h"
#include "cli/run.h"
#include "cli/workload.h"
#include "source/attach.h"
#include "source/links.h"
#include "source/ring.h"

struct namespace
{
	int fd;
	int32_t nsid; /* -1: no link leads there yet */
};

enum place_state { PLACE_ASKED, PLACE_ATTACHED, PLACE_FAILED };

/* An interface that is looked at, or will be. */
struct place {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	enum place_state state;
	enum clv_attach_mode mode;
	bool pod;
	const char *netns; /* as it was given, of the namespace behind it; NULL: none was */
};

struct trace {
	struct clv_options line, options; /* as given, and with everything else that has a say */
	const struct clv_options *now;    /* in effect now, after reloads */
	struct namespace netns[CLV_OPTION_REPEAT];
	size_t netns_count; /* so many are open */
	enum clv_attach_mode mode;

	struct clv_resources *resources;
	struct clv_ring *ring;
	struct clv_attach *attach;
	struct clv_links *links;
	struct place *places;
	size_t place_count, place_cap;
	bool ready, failed, stopping;
};

static bool trace_is_named(const struct trace *t, const char *name)
{
	const struct clv_strings *ifaces = &t->options.ifaces;

	for (size_t i = 0; i < ifaces->count; i++)
		if (strcmp(ifaces->item[i], name) == 0)
			return true;
	return false;
}

static bool trace_wants(const struct trace *t, const struct clv_link *l)
{
	if (trace_is_named(t, l->name))
		return true;
	for (size_t i = 0; i < t->netns_count; i++)
		if (t->netns[i].nsid >= 0 && t->netns[i].nsid == l->peer_nsid)
			return true;
	return t->options.ifaces.count + t->netns_count == 0 && clv_link_is_pod(l);
}

static struct place *trace_place(struct trace *t, uint32_t ifindex)
{
	for (size_t i = 0; i < t->place_count; i++)
		if (t->places[i].ifindex == ifindex)
			return &t->places[i];
	return NULL;
}

static struct place *trace_place_new(struct trace *t, const struct clv_link *l)
{
	if (t->place_count == t->place_cap) {
		size_t cap = t->place_cap ? 2 * t->place_cap : 16;
		struct place *p = reallocarray(t->places, cap, sizeof(*p));

		if (!p)
			return NULL;
		t->places = p;
		t->place_cap = cap;
	}
	struct place *p = &t->places[t->place_count++];
	*p = (struct place){.ifindex = l->ifindex};
	memcpy(p->name, l->name, sizeof(p->name));
	return p;
}

static void trace_forget(struct trace *t, struct place *p)
{
	clv_resources_remove(t->resources, p->ifindex);
	*p = t->places[--t->place_count];
}

/* What is captured there gets its name. */
static void trace_name(struct trace *t, const struct place *p)
{
	const struct clv_options *options = t->now;
	struct clv_service_rule rules[CLV_SERVICE_RULES];
	const struct clv_workload_place place = {
		.interface = clv_slice_str(p->name),
		.netns = p->netns ? clv_slice_str(p->netns) : clv_slice(NULL, 0),
		.pod = p->pod,
	};
	struct clv_slice service = clv_workload_service(rules, clv_workload_rules(options, rules), &place);
	int err = clv_workload_set(t->resources, p->ifindex, service, &place, clv_workload_environment());

	if (err)
		clv_error("%s: its requests will be those of %s: %s", p->name, options->service, strerror(-err));
}

static void trace_reconfigure(void *ctx, const struct clv_options *options)
{
	struct trace *t = ctx;

	t->now = options;
	for (size_t i = 0; i < t->place_count; i++)
		trace_name(t, &t->places[i]);
}

/* The namespace behind a link, as --netns named it. */
static const char *trace_netns(const struct trace *t, const struct clv_link *l)
{
	for (size_t i = 0; i < t->netns_count; i++)
		if (t->netns[i].nsid >= 0 && t->netns[i].nsid == l->peer_nsid)
			return t->options.netns.item[i];
	return NULL;
}

static enum clv_viewpoint trace_view(const struct trace *t, const struct clv_link *l)
{
	if (t->options.side == CLV_CHOOSE_AUTO)
		return clv_link_is_pod(l) ? CLV_VIEW_POD : CLV_VIEW_HOST;
	return t->options.side == CLV_CHOOSE_POD ? CLV_VIEW_POD : CLV_VIEW_HOST;
}

static void trace_consider(struct trace *t, const struct clv_link *l)
{
	if (trace_place(t, l->ifindex) || !trace_wants(t, l))
		return;
	struct clv_attach_request request = {
		.ifindex = l->ifindex,
		.view = trace_view(t, l),
		.l3 = clv_link_is_l3(l),
		.mode = t->mode,
	};
	memcpy(request.name, l->name, sizeof(request.name));
	struct place *p = trace_place_new(t, l);

	if (!p || clv_attach_add(t->attach, &request)) {
		clv_error("%s: no memory to attach to it", l->name);
		return;
	}
	p->pod = clv_link_is_pod(l);
	p->netns = trace_netns(t, l);
	trace_name(t, p);
}

static void trace_on_listed(void *ctx, const struct clv_link *l)
{
	trace_consider(ctx, l);
}

/* Numbers of namespaces are given lazily: a new link may be what gives one. */
static void trace_number_namespaces(struct trace *t)
{
	for (size_t i = 0; i < t->netns_count; i++)
		if (t->netns[i].nsid < 0 && clv_links_netns_id(t->links, t->netns[i].fd, &t->netns[i].nsid))
			t->netns[i].nsid = -1;
}

static void trace_on_news(void *ctx, const struct clv_link *l, bool gone)
{
	struct trace *t = ctx;

	if (!gone) {
		trace_number_namespaces(t);
		trace_consider(t, l);
		return;
	}
	struct place *p = trace_place(t, l->ifindex);
	if (!p)
		return;
	clv_info("%s is gone%s", p->name, t->place_count > 1 ? "" : "; waiting for another interface");
	clv_attach_remove(t->attach, p->ifindex);
	trace_forget(t, p);
}

/* ---- attaching ------------------------------------------------------------------------------------------- */

static const char *trace_mode_name(enum clv_attach_mode mode)
{
	return mode == CLV_ATTACH_TCX ? "tcx" : "clsact";
}

/* What failed and what to do about it; an interface that was asked for by name ends the run. */
static void trace_on_failure(struct trace *t, struct place *p, int error)
{
	const char *hint = "";

	if (error == -ENODEV && !trace_is_named(t, p->name)) {
		trace_forget(t, p);
		return;
	}
	if (error == -EPERM || error == -EACCES)
		hint = "; run as root or with CAP_BPF and CAP_NET_ADMIN (clovisor check tells more)";
	else if (t->mode == CLV_ATTACH_TCX && (error == -EINVAL || error == -EOPNOTSUPP))
		hint = "; this kernel may have no tcx (it came with 6.6): try --attach auto";
	clv_error("cannot attach to %s: %s%s", p->name, strerror(-error), hint);
	p->state = PLACE_FAILED;
	if (trace_is_named(t, p->name))
		t->failed = true;
}

static void trace_on_attach(void *ctx, const struct clv_attach_event *e)
{
	struct trace *t = ctx;
	struct place *p = trace_place(t, e->request.ifindex);

	if (t->stopping || !p)
		return;
	if (e->outcome == CLV_ATTACH_FAILED) {
		trace_on_failure(t, p, e->error);
	} else if (e->outcome == CLV_ATTACH_DONE) {
		if (e->swept)
			clv_info("%s: removed %u filters that a killed clovisor left", p->name, e->swept);
		if (t->ready && p->state != PLACE_ATTACHED)
			clv_info("attached to %s (%s)", p->name, trace_mode_name(e->used));
		p->state = PLACE_ATTACHED;
		p->mode = e->used;
	} else {
		trace_forget(t, p);
	}
}

/* One line, written at once: others wait for it. */
static void trace_say_ready(const struct trace *t)
{
	char line[4096];
	struct clv_buf b = clv_buf(line, sizeof(line) - 64);
	size_t named = 0, attached = 0;

	clv_buf_lit(&b, "ready:");
	for (size_t i = 0; i < t->place_count; i++) {
		const struct place *p = &t->places[i];

		if (p->state != PLACE_ATTACHED)
			continue;
		attached++;
		if (b.cap - b.len < IF_NAMESIZE + 16)
			continue;
		clv_buf_printf(&b, "%s %s (%s)", named ? "," : "", p->name, trace_mode_name(p->mode));
		named++;
	}
	b.cap = sizeof(line);
	if (attached > named)
		clv_buf_printf(&b, " and %zu more", attached - named);
	if (attached == 0 && t->netns_count)
		clv_buf_lit(&b, " no interface leads into that namespace yet; waiting for one");
	else if (attached == 0)
		clv_buf_lit(&b, " no interface of a pod or container yet; waiting for one");
	clv_buf_char(&b, '\n');
	if (write(STDERR_FILENO, b.data, b.len) < 0)
		return; /* nobody left to tell */
}

/* When all that was asked for at the start is attached, or has failed. */
static void trace_check_ready(struct trace *t)
{
	bool attached = false, failed = false;

	for (size_t i = 0; i < t->place_count; i++) {
		if (t->places[i].state == PLACE_ASKED)
			return;
		attached |= t->places[i].state == PLACE_ATTACHED;
		failed |= t->places[i].state == PLACE_FAILED;
	}
	if (failed && !attached)
		t->failed = true;
	if (t->failed)
		return;
	t->ready = true;
	trace_say_ready(t);
}

/* ---- the run's callbacks ----------------------------------------------------------------------------------- */

static int trace_service(void *ctx)
{
	struct trace *t = ctx;
	int err = clv_links_poll(t->links, trace_on_news, t);

	if (err < 0 && err != -EAGAIN && err != -EINTR) {
		clv_error("cannot follow the network interfaces: %s", strerror(-err));
		return err;
	}
	clv_attach_poll(t->attach, trace_on_attach, t);
	if (!t->ready && !t->failed)
		trace_check_ready(t);
	return t->failed ? -1 : 0;
}

/* Programs off first, one by one, while the ring is still read. */
static bool trace_stopped(void *ctx)
{
	struct trace *t = ctx;

	if (!t->stopping) {
		t->stopping = true;
		for (size_t i = 0; i < t->place_count; i++)
			clv_attach_remove(t->attach, t->places[i].ifindex);
	}
	clv_attach_poll(t->attach, trace_on_attach, t);
	return clv_attach_pending(t->attach) == 0;
}

static size_t trace_figures(void *ctx, struct clv_figure out[CLV_RUN_FIGURES])
{
	_Static_assert(CLV_RING_FIGURES <= CLV_RUN_FIGURES, "room for the reader's figures");
	return clv_ring_figures(((struct trace *)ctx)->ring, out);
}

/* ---- start and end ------------------------------------------------------------------------------------------ */

static int trace_open_ring(struct trace *t)
{
	uint16_t ports[CLV_OPTION_REPEAT];
	struct clv_ring_config config = {
		.ring_bytes = (uint32_t)t->options.ring_bytes,
		.max_flows = (uint32_t)t->options.max_flows,
		.snaplen = (uint32_t)t->options.snaplen,
		.ports = ports,
		.port_count = t->options.port_count,
		.measure = clv_export_may_count(&t->options),
	};

	for (size_t i = 0; i < t->options.port_count; i++)
		ports[i] = t->options.ports[i].port;
	int err = clv_ring_open(&config, &t->ring);
	if (err == -EPERM) /* EACCES is the verifier's word */
		clv_error("cannot load BPF: %s; run as root or with CAP_BPF and CAP_NET_ADMIN (clovisor check tells "
			  "more)",
			  strerror(-err));
	else if (err)
		clv_error("cannot load BPF: %s; clovisor check tells what this kernel lacks", strerror(-err));
	return err;
}

/* The interfaces and namespaces that were named must exist. */
static int trace_find_named(struct trace *t)
{
	struct clv_link link;
	int err;

	const struct clv_strings *ifaces = &t->options.ifaces, *netns = &t->options.netns;

	for (size_t i = 0; i < ifaces->count; i++) {
		err = clv_links_find(t->links, ifaces->item[i], &link);
		if (err) {
			clv_error("cannot find interface %s: %s; ip link lists them", ifaces->item[i], strerror(-err));
			return err;
		}
	}
	for (size_t i = 0; i < netns->count; i++) {
		int fd = clv_links_netns_open(netns->item[i]);

		if (fd < 0) {
			clv_error(
				"cannot open network namespace %s: %s; it must be a name of ip netns, a process id or "
				"a path",
				netns->item[i], strerror(-fd));
			return fd;
		}
		t->netns[t->netns_count++] = (struct namespace){.fd = fd, .nsid = -1};
	}
	return 0;
}

static void trace_on_first_list(void *ctx, const struct clv_link *l)
{
}

/* Everything that is there; what comes later is told by trace_service(). */
static int trace_start(struct trace *t)
{
	int err = clv_links_list(t->links, trace_on_first_list, NULL); /* gives namespaces their numbers */

	if (!err) {
		trace_number_namespaces(t);
		err = clv_links_list(t->links, trace_on_listed, t);
	}
	if (err)
		clv_error("cannot list the network interfaces: %s", strerror(-err));
	return err;
}

static int trace_open(struct trace *t)
{
	int err = clv_workload_resources(&t->options, &t->resources);

	if (err) {
		clv_error("cannot start: %s", strerror(-err));
		return err;
	}
	err = clv_links_open(&t->links);
	if (err) {
		clv_error("cannot ask for network interfaces: %s", strerror(-err));
		return err;
	}
	err = trace_find_named(t);
	if (!err)
		err = trace_open_ring(t);
	if (err)
		return err;
	err = clv_attach_open(t->ring, &t->attach);
	int fds[] = {clv_run_signal_fd(), clv_links_fd(t->links), err ? -1 : clv_attach_fd(t->attach)};
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds) && !err; i++)
		err = clv_ring_wake_on(t->ring, fds[i]);
	if (err) {
		clv_error("cannot start: %s", strerror(-err));
		return err;
	}
	return trace_start(t);
}

static void trace_close(struct trace *t)
{
	clv_attach_close(t->attach);
	if (t->ring) {
		struct clv_source *s = clv_ring_source(t->ring);

		s->ops->close(s);
	}
	clv_links_close(t->links);
	for (size_t i = 0; i < t->netns_count; i++)
		close(t->netns[i].fd);
	free(t->places);
	clv_resources_free(t->resources);
}

/* ---- command line --------------------------------------------------------------------------------------------- */

static error_t trace_parse(int key, char *arg, struct argp_state *state)
{
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = &((struct trace *)state->input)->line;
	return 0;
}

static int trace_run(struct trace *t)
{
	int status = CLV_EXIT_FAILURE;

	t->now = &t->options;
	t->mode = (enum clv_attach_mode)t->options.attach;
	clv_run_signals();
	if (trace_open(t) == 0)
		status = clv_run(&(struct clv_run_config){
			.line = &t->line,
			.options = &t->options,
			.resources = t->resources,
			.source = clv_ring_source(t->ring),
			.live = true,
			.duration_ns = t->options.duration_ns,
			.ctx = t,
			.figures = trace_figures,
			.service = trace_service,
			.reconfigure = trace_reconfigure,
			.stopped = trace_stopped,
		});
	trace_close(t);
	return status;
}

int clv_cmd_trace(int argc, char **argv)
{
	struct argp_child shared[] = {{clv_options_argp(CLV_COMMAND_TRACE), 0, NULL, 0}, {0}};
	struct argp argp = {
		.parser = trace_parse,
		.doc = "Show the HTTP requests at network interfaces as they happen, each with its response. When "
		       "everything asked for is attached, a line that begins with 'ready' appears on standard error. "
		       "SIGINT and SIGTERM end the run and show what is pending.\v"
		       "Examples:\n"
		       "  clovisor trace                               every container of this machine\n"
		       "  clovisor trace --netns web --filter status=5xx\n"
		       "  clovisor trace -i eth0 --port 8080 --json --limit 100\n"
		       "  clovisor trace --egress 10.0.0.0/8:5000 -w calls.pcapng\n"
		       "  clovisor trace --otlp http://collector:4318  spans and metrics to a collector\n"
		       "  clovisor trace --metrics :9464               metrics for Prometheus",
		.children = shared,
	};
	static struct trace t;
	int status = CLV_EXIT_FAILURE;

	if (clv_options_init(&t.line) == 0) {
		clv_cli_parse(&argp, argc, argv, &t);
		if (t.line.config_path)
			clv_reload_signal();
		status = clv_config_start(&t.line, &t.options);
	}
	if (status == CLV_EXIT_OK)
		status = trace_run(&t);
	clv_options_fini(&t.options);
	clv_options_fini(&t.line);
	return status;
}
