/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor trace`: the requests at network interfaces as they happen. Decides which interfaces are looked at, now
 * and when links come and go; attaching is attach.c's business, on its own thread. Main thread.
 *
 * Four ways to ask: -i by name, --netns by the namespace that a link leads into, --cgroup by the processes, and none of
 * them: every link that leads into another namespace. An interface is known by its index; one that comes back has a new
 * one. A cgroup that comes back is another one, which nobody has asked for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/places.h"
#include "cli/plugins.h"
#include "cli/reload.h"
#include "cli/run.h"
#include "cli/workload.h"
#include "source/cgroup.h"
#include "source/links.h"

struct namespace
{
	int fd;
	int32_t nsid; /* -1: no link leads there yet */
};

struct trace {
	struct clv_options line, options; /* as given, and with everything else that has a say */
	const struct clv_options *now;    /* in effect now, after reloads */
	struct namespace netns[CLV_OPTION_REPEAT];
	size_t netns_count;              /* so many are open */
	char *cgroup[CLV_OPTION_REPEAT]; /* the directories that --cgroup named, in its order */

	struct clv_resources *resources;
	struct clv_links *links;
	struct clv_places *places;
	struct clv_health *health;
	unsigned workers;
	bool ready;
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
	return t->options.ifaces.count + t->netns_count + t->options.cgroups.count == 0 && clv_link_is_pod(l);
}

/* The namespace behind an interface, as --netns named it: the place's owner. */
static char *trace_netns(const struct trace *t, const struct clv_link *l)
{
	for (size_t i = 0; i < t->netns_count; i++)
		if (t->netns[i].nsid >= 0 && t->netns[i].nsid == l->peer_nsid)
			return (char *)t->options.netns.item[i];
	return NULL;
}

/* What is captured there gets its name. */
static void trace_name(void *ctx, struct clv_place *p)
{
	struct trace *t = ctx;
	const struct clv_options *options = t->now;
	struct clv_service_rule rules[CLV_SERVICE_RULES];
	struct clv_slice none = clv_slice(NULL, 0), name = clv_slice_str(p->request.name);
	struct clv_slice given = p->owner ? clv_slice_str(p->owner) : none;
	bool cgroup = p->request.mode == CLV_ATTACH_CGROUP;
	const struct clv_workload_place place = {
		.interface = cgroup ? none : name,
		.netns = cgroup ? none : given,
		.cgroup = cgroup ? given : none,
		.pod = p->pod,
	};
	struct clv_slice service = clv_workload_service(rules, clv_workload_rules(options, rules), &place);
	int err = clv_workload_set(t->resources, p->request.net, service, &place, clv_workload_environment());

	if (err)
		clv_error("%s: its requests will be those of %s: %s", p->request.name, options->service,
			  strerror(-err));
}

static void trace_reconfigure(void *ctx, const struct clv_options *options)
{
	struct trace *t = ctx;

	t->now = options;
	clv_places_each(t->places, trace_name, t);
}

static enum clv_viewpoint trace_view(const struct trace *t, const struct clv_link *l)
{
	if (t->options.side == CLV_CHOOSE_AUTO)
		return clv_link_is_pod(l) ? CLV_VIEW_POD : CLV_VIEW_HOST;
	return t->options.side == CLV_CHOOSE_POD ? CLV_VIEW_POD : CLV_VIEW_HOST;
}

static void trace_consider(struct trace *t, const struct clv_link *l)
{
	if (clv_places_find(t->places, l->ifindex) || !trace_wants(t, l))
		return;
	struct clv_attach_request request = {
		.net = l->ifindex,
		.view = trace_view(t, l),
		.l3 = clv_link_is_l3(l),
		.mode = (enum clv_attach_mode)t->options.attach,
	};
	memcpy(request.name, l->name, sizeof(request.name));
	struct clv_place *p = clv_places_add(t->places, &request);

	if (!p)
		return;
	p->pod = clv_link_is_pod(l);
	p->needed = trace_is_named(t, l->name);
	p->owner = trace_netns(t, l);
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
	} else if (clv_places_find(t->places, l->ifindex)) {
		size_t others = clv_places_count(t->places, CLV_PLACE_ASKED) +
				clv_places_count(t->places, CLV_PLACE_ATTACHED) +
				clv_places_count(t->places, CLV_PLACE_FAILED) - 1;

		clv_info("%s is gone%s", l->name, others ? "" : "; waiting for another interface");
	}
}

/* ---- the run's callbacks ----------------------------------------------------------------------------------- */

/* When all that was asked for at the start is attached, or has failed. */
static int trace_check_ready(struct trace *t)
{
	if (!clv_places_settled(t->places)) {
		clv_health_wait(t->health, CLV_HEALTH_CAPTURE, "not attached yet to all that was asked for");
		return 0;
	}
	if (clv_places_count(t->places, CLV_PLACE_FAILED) && !clv_places_count(t->places, CLV_PLACE_ATTACHED))
		return -1;
	t->ready = true;
	clv_health_wait(t->health, CLV_HEALTH_CAPTURE, NULL);
	clv_places_ready(t->places, t->netns_count ? "no interface leads into that namespace yet; waiting for one"
						   : "no interface of a pod or container yet; waiting for one");
	return 0;
}

static int trace_service(void *ctx, uint64_t now_ns)
{
	struct trace *t = ctx;
	int err = clv_places_service(t->places, now_ns);

	if (!err && !t->ready)
		err = trace_check_ready(t);
	return err ? err : !t->ready || !clv_places_settled(t->places);
}

static bool trace_stopped(void *ctx)
{
	struct trace *t = ctx;

	clv_health_wait(t->health, CLV_HEALTH_CAPTURE, "stopping");
	return clv_places_stopped(t->places);
}

static void trace_status(void *ctx, FILE *f, bool json)
{
	clv_places_status(((struct trace *)ctx)->places, f, json);
}

static struct clv_source *trace_source(void *ctx, unsigned worker)
{
	return clv_places_source(((struct trace *)ctx)->places, worker);
}

static size_t trace_figures(void *ctx, struct clv_figure out[CLV_RUN_FIGURES])
{
	return clv_places_figures(((struct trace *)ctx)->places, out);
}

/* ---- start and end ------------------------------------------------------------------------------------------ */

static int trace_find_cgroups(struct trace *t)
{
	const struct clv_strings *cgroups = &t->options.cgroups;
	char path[4096];

	for (size_t i = 0; i < cgroups->count; i++) {
		int err = clv_cgroup_find(cgroups->item[i], path, sizeof(path));

		if (!err && !(t->cgroup[i] = strdup(path)))
			err = -ENOMEM;
		if (err) {
			clv_error("cannot find cgroup %s: %s; it must be a directory of cgroup v2, or below where that "
				  "is mounted (clovisor check tells)",
				  cgroups->item[i], strerror(-err));
			return err;
		}
	}
	return 0;
}

/* What was named must exist. */
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
	return trace_find_cgroups(t);
}

static void trace_on_first_list(void *ctx, const struct clv_link *l)
{
}

static void trace_add_cgroups(struct trace *t)
{
	for (size_t i = 0; i < t->options.cgroups.count; i++) {
		const char *given = t->options.cgroups.item[i];
		size_t len = strlen(given), cut = len < CLV_PLACE_NAME ? 0 : len - CLV_PLACE_NAME + 1;
		struct clv_attach_request request = {
			.net = CLV_NET_CGROUP + (uint32_t)i,
			.view = CLV_VIEW_HOST,
			.mode = CLV_ATTACH_CGROUP,
			.cgroup = t->cgroup[i],
		};

		memcpy(request.name, given + cut, len - cut);
		struct clv_place *p = clv_places_add(t->places, &request);

		if (!p)
			continue;
		p->needed = true;
		p->owner = (char *)t->options.cgroups.item[i];
		trace_name(t, p);
	}
}

/* Everything that is there; what comes later is told by trace_service(). */
static int trace_start(struct trace *t)
{
	int err = clv_links_list(t->links, trace_on_first_list, NULL); /* gives namespaces their numbers */

	if (!err) {
		trace_number_namespaces(t);
		err = clv_links_list(t->links, trace_on_listed, t);
	}
	trace_add_cgroups(t);
	if (err)
		clv_error("cannot list the network interfaces: %s", strerror(-err));
	return err;
}

static int trace_open(struct trace *t)
{
	int err = clv_workload_resources(&t->options, &t->resources);

	if (!err)
		err = clv_health_new(&t->health);
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
		err = clv_places_open(&(struct clv_places_config){.options = &t->options,
								  .resources = t->resources,
								  .links = t->links,
								  .link = trace_on_news,
								  .workers = t->workers,
								  .cgroups = t->options.cgroups.count > 0,
								  .ctx = t},
				      &t->places);
	return err ? err : trace_start(t);
}

static void trace_close(struct trace *t)
{
	clv_places_close(t->places);
	clv_links_close(t->links);
	for (size_t i = 0; i < t->netns_count; i++)
		close(t->netns[i].fd);
	for (size_t i = 0; i < t->options.cgroups.count; i++)
		free(t->cgroup[i]);
	clv_resources_free(t->resources);
	clv_health_free(t->health);
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
	t->workers = clv_run_workers(&t->options, true);
	clv_run_signals();
	if (trace_open(t) == 0)
		status = clv_run(&(struct clv_run_config){
			.line = &t->line,
			.options = &t->options,
			.resources = t->resources,
			.workers = t->workers,
			.source = trace_source,
			.news_fd = clv_places_news_fd(t->places),
			.live = true,
			.duration_ns = t->options.duration_ns,
			.health = t->health,
			.ctx = t,
			.figures = trace_figures,
			.service = trace_service,
			.places = trace_status,
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
		.doc = "Show the requests at network interfaces as they happen, each with its response. When "
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
		status = clv_plugins_start(&t.options);
	if (status == CLV_EXIT_OK)
		status = trace_run(&t);
	clv_options_fini(&t.options);
	clv_options_fini(&t.line);
	return status;
}
