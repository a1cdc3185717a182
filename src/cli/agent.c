/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor agent`: the node agent. Wires what finds pods to what captures, names and exports:
 *
 *     kube/api -> agent/cluster -> agent/pods (with kube/podnet) -> places -> the run -> agent/peers -> outputs
 *
 * Without a cluster the containers of this host take the pods' part. Main thread, which is the engine's; the API client
 * and attaching have threads of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/local.h"
#include "agent/peers.h"
#include "agent/pods.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/agent_report.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/places.h"
#include "cli/plugins.h"
#include "cli/reload.h"
#include "cli/run.h"
#include "cli/workload.h"
#include "kube/api.h"
#include "kube/host.h"

/* Events of the API that are taken between two polls of the ring. */
#define EVENTS_AT_ONCE 256
#define AGENT_KINDS    ((1u << CLV_KUBE_KINDS) - 1)
/* Without a cluster: how often the processes are looked at for new containers. */
#define HOST_SCAN_NS (500ull * 1000 * 1000)
/* How often this host's addresses are read again. */
#define ADDRESSES_NS (30ull * 1000 * 1000 * 1000)
/* What was sought at the start may be sought for ever: others should not wait for it longer than this. */
#define READY_NS (5ull * 1000 * 1000 * 1000)

/* What each worker has for itself. */
struct agent_worker {
	struct clv_peers *peers; /* NULL: without a cluster */
	clv_span_fn emit;        /* the run's */
	void *emit_ctx;
};

struct agent {
	struct clv_options line, options; /* as given, and with everything else that has a say */
	const struct clv_options *now;    /* in effect now, after reloads */
	bool dry_run, json;
	bool kube;     /* there is a cluster to ask */
	char self[65]; /* the container that this process is in, if it is in one */

	struct clv_resources *resources;
	struct clv_links *links;
	struct clv_podnet *podnet;
	struct clv_kube_api *api;
	struct clv_cluster *cluster;
	struct clv_select *select;
	struct clv_pods *pods;
	struct clv_places *places; /* NULL in a dry run */
	unsigned workers;
	struct agent_worker worker[CLV_WORKERS_MOST];
	uint64_t start_ns, scanned_ns, addresses_ns;
	struct clv_health *health;
	bool ready;
	bool retold; /* of what is the matter another reason has been told since */
	unsigned
		troubled; /* kinds of objects that cannot be had now, though they may be: bit 1 << enum clv_kube_kind */
};

/* ---- pods and their places ------------------------------------------------------------------------------------- */

static const struct clv_kube_pod *agent_object(void *ctx, const char *key)
{
	struct agent *a = ctx;

	return a->kube ? clv_cluster_pod(a->cluster, key) : NULL;
}

static void agent_name(void *ctx, const struct clv_agent_pod *pod, uint32_t net)
{
	struct agent *a = ctx;
	const struct clv_kube_pod *object = agent_object(a, pod->key);
	const struct clv_workload_common *common = clv_workload_environment();
	int err;

	if (object) {
		static struct clv_cluster_resource r; /* too large for the stack */

		clv_cluster_resource(a->cluster, object, &r);
		err = clv_workload_set_attrs(a->resources, net, r.service, r.attr, r.count, common);
	} else {
		struct clv_host_resource r;

		clv_host_resource(NULL, &pod->container, &r);
		err = clv_workload_set_attrs(a->resources, net, r.service, r.attr, r.count, common);
	}
	if (err)
		clv_error("%s: its requests will be those of %s: %s", pod->label, a->now->service, strerror(-err));
}

/* `path` gets the cgroup's directory. */
static struct clv_attach_request agent_request(const struct agent *a, const struct clv_agent_pod *pod,
					       const struct clv_pod_place *place, char path[PATH_MAX])
{
	struct clv_attach_request request = {.net = place->net};

	if (place->link) {
		request.view = CLV_VIEW_POD;
		request.l3 = clv_link_is_l3(place->link);
		request.mode = (enum clv_attach_mode)a->options.attach;
		snprintf(request.name, sizeof(request.name), "%s", place->link->name);
	} else {
		request.view = CLV_VIEW_HOST;
		request.mode = CLV_ATTACH_CGROUP;
		request.cgroup = path;
		snprintf(path, PATH_MAX, "%s/%s", a->options.kube.cgroup_root, place->cgroup);
		snprintf(request.name, sizeof(request.name), "%.15s", pod->name);
	}
	return request;
}

static bool agent_enter(void *ctx, const struct clv_agent_pod *pod, const struct clv_pod_place *place)
{
	struct agent *a = ctx;
	char path[PATH_MAX];
	const struct clv_attach_request request = agent_request(a, pod, place, path);

	if (!a->places)
		return true;
	if (clv_places_find(a->places, place->net))
		return false; /* somebody else's */
	struct clv_place *p = clv_places_add(a->places, &request);
	if (!p)
		return false;
	p->pod = true;
	p->label = pod->label;
	agent_name(a, pod, place->net);
	return true;
}

static void agent_leave(void *ctx, const struct clv_agent_pod *pod, uint32_t net)
{
	struct agent *a = ctx;
	struct clv_place *p = a->places ? clv_places_find(a->places, net) : NULL;

	if (!p)
		return;
	clv_info("%s: left %s", pod->label, p->request.name);
	clv_places_remove(a->places, p);
}

static void agent_on_link(void *ctx, const struct clv_link *l, bool gone)
{
	struct agent *a = ctx;
	struct clv_place *p = gone ? clv_places_find(a->places, l->ifindex) : NULL;

	if (p)
		clv_info("%s: %s is gone", p->label ? p->label : "clovisor", p->request.name);
	clv_pods_link(a->pods, l, gone);
	if (!a->kube)
		a->scanned_ns = 0; /* a container may have come with it */
}

static void agent_on_gone(void *ctx, const struct clv_place *p)
{
	struct agent *a = ctx;

	clv_pods_lost(a->pods, p->request.net);
}

static void agent_on_failed(void *ctx, const struct clv_place *p)
{
	struct agent *a = ctx;

	clv_pods_failed(a->pods, p->request.net);
}

static void agent_on_pod(void *ctx, const struct clv_kube_pod *pod, bool gone)
{
	clv_pods_pod(((struct agent *)ctx)->pods, pod, gone);
}

/* An API server that is away is so for every kind: that is said once, and once that it is back. What is denied is
 * denied kind by kind. */
static void agent_tell(struct agent *a, const struct clv_kube_event *event)
{
	unsigned before = a->troubled, kind = 1u << event->kind;

	if (event->type == CLV_KUBE_TROUBLE)
		a->troubled |= kind;
	else if (event->type == CLV_KUBE_WORKING || event->type == CLV_KUBE_DENIED)
		a->troubled &= ~kind;
	if (event->type == CLV_KUBE_TROUBLE && before & kind && !a->retold) { /* the reason is another one */
		a->retold = true;
		before = 0;
	}
	if (event->type == CLV_KUBE_DENIED || (event->type == CLV_KUBE_TROUBLE && !before))
		clv_warn("%s", event->why);
	else if (event->type == CLV_KUBE_WORKING && !(before & kind))
		clv_info("%s can be had again", clv_kube_kind_name(event->kind));
	if (before && !a->troubled) {
		clv_info("the API server answers again");
		a->retold = false;
	}
}

static void agent_on_event(void *ctx, struct clv_kube_event *event)
{
	struct agent *a = ctx;

	agent_tell(a, event);
	clv_cluster_event(a->cluster, event);
}

static void agent_container_name(void *ctx, const struct clv_podnet_container *c, char name[256])
{
	struct clv_host_resource r;

	clv_host_resource(NULL, &c->name, &r);
	snprintf(name, 256, "%.*s", (int)r.service.len, (const char *)r.service.data);
}

/* From which this node talks to its pods. */
static void agent_look_at_addresses(struct agent *a, uint64_t now_ns)
{
	static struct clv_addr local[CLV_LOCAL_MAX];

	if (a->addresses_ns && now_ns - a->addresses_ns < ADDRESSES_NS)
		return;
	a->addresses_ns = now_ns;
	clv_cluster_set_local(a->cluster, local, clv_local_addresses(local)); /* without memory it has the old ones */
}

/* Finds what there is to find. */
static void agent_look(struct agent *a, uint64_t now_ns)
{
	if (a->kube) {
		agent_look_at_addresses(a, now_ns);
		clv_kube_api_poll(a->api, EVENTS_AT_ONCE, agent_on_event, a);
	} else if (now_ns - a->scanned_ns >= HOST_SCAN_NS) {
		a->scanned_ns = now_ns;
		if (clv_podnet_scan(a->podnet) >= 0)
			clv_pods_containers(a->pods, a->self, agent_container_name, a);
	}
	clv_pods_service(a->pods, now_ns);
}

/* All that is known of at the start has been found. */
static bool agent_complete(const struct agent *a)
{
	return (!a->kube || clv_cluster_synced(a->cluster)) && clv_pods_settled(a->pods);
}

/* ---- the run's callbacks ------------------------------------------------------------------------------------------
 */

/* What it is waited for, in one line, and what the first kind in trouble says. */
static void agent_wait_for_server(struct agent *a)
{
	char line[CLV_HEALTH_WHY];
	const char *why = "";

	for (int kind = 0; kind < CLV_KUBE_KINDS && !*why; kind++)
		if (a->troubled & 1u << kind)
			why = clv_cluster_trouble(a->cluster, (enum clv_kube_kind)kind);
	snprintf(line, sizeof(line), "waiting for the API server%s%s", *why ? ": " : "", why);
	clv_health_wait(a->health, CLV_HEALTH_KUBERNETES, line);
}

static void agent_count_nowhere(void *ctx, const struct clv_agent_pod *pod)
{
	*(size_t *)ctx += pod->state == CLV_POD_NOWHERE;
}

/* Why nothing is attached. */
static const char *agent_idle(const struct agent *a)
{
	size_t nowhere = 0;

	clv_pods_each(a->pods, agent_count_nowhere, &nowhere);
	if (nowhere)
		return "nothing can be attached to; clovisor status tells why";
	if (!a->kube)
		return "no container runs yet; waiting for one";
	if (*clv_cluster_trouble(a->cluster, CLV_KUBE_POD))
		return "the pods of this node are not known; the log tells why";
	return "no pod of this node is selected yet; waiting for one";
}

static void agent_check_ready(struct agent *a, uint64_t now_ns)
{
	bool synced = !a->kube || clv_cluster_synced(a->cluster), late = now_ns - a->start_ns >= READY_NS && synced;

	if (synced)
		clv_health_wait(a->health, CLV_HEALTH_KUBERNETES, NULL);
	else
		agent_wait_for_server(a);
	clv_health_wait(a->health, CLV_HEALTH_CAPTURE, "not attached yet to all that runs");
	if ((!agent_complete(a) && !late) || !clv_places_settled(a->places))
		return;
	a->ready = true;
	clv_health_wait(a->health, CLV_HEALTH_CAPTURE, NULL);
	clv_places_ready(a->places, agent_idle(a));
}

static int agent_service(void *ctx, uint64_t now_ns)
{
	struct agent *a = ctx;
	int err = clv_places_service(a->places, now_ns);

	if (err)
		return err;
	agent_look(a, now_ns);
	for (unsigned i = 0; i < a->workers && a->kube; i++)
		clv_peers_tick(a->worker[i].peers, now_ns);
	if (!a->ready)
		agent_check_ready(a, now_ns);
	return !a->ready || !clv_pods_settled(a->pods) || !clv_places_settled(a->places);
}

static void agent_emit(void *ctx, struct clv_span *span)
{
	struct agent_worker *w = ctx;

	w->emit(w->emit_ctx, span);
}

static void agent_span(void *ctx, unsigned worker, struct clv_span *span, clv_span_fn emit, void *emit_ctx)
{
	struct agent_worker *w = &((struct agent *)ctx)->worker[worker];

	w->emit = emit;
	w->emit_ctx = emit_ctx;
	clv_peers_span(w->peers, span);
}

static void agent_resource_gone(void *ctx, uint32_t resource_id)
{
	struct agent *a = ctx;

	for (unsigned i = 0; i < a->workers; i++)
		clv_peers_gone(a->worker[i].peers, resource_id);
}

static void agent_end(void *ctx)
{
	struct agent *a = ctx;

	for (unsigned i = 0; i < a->workers && a->kube; i++)
		clv_peers_flush(a->worker[i].peers);
}

static struct clv_source *agent_source(void *ctx, unsigned worker)
{
	return clv_places_source(((struct agent *)ctx)->places, worker);
}

static const struct clv_proto *agent_hint(void *ctx, uint32_t net, uint16_t port)
{
	struct agent *a = ctx;
	const struct clv_agent_pod *pod = clv_pods_at(a->pods, net);
	const struct clv_kube_pod *object = pod ? agent_object(a, pod->key) : NULL;
	const char *name = object ? clv_cluster_protocol(a->cluster, object, port) : NULL;

	return name ? clv_proto_find(name) : NULL;
}

static bool agent_stopped(void *ctx)
{
	struct agent *a = ctx;

	clv_health_wait(a->health, CLV_HEALTH_CAPTURE, "stopping");
	return clv_places_stopped(a->places);
}

/* Of all workers together. */
static size_t agent_peers_figures(const struct agent *a, struct clv_figure out[CLV_PEERS_FIGURES])
{
	struct clv_figure more[CLV_PEERS_FIGURES];
	size_t n = clv_peers_figures(a->worker[0].peers, out);

	for (unsigned i = 1; i < a->workers; i++) {
		clv_peers_figures(a->worker[i].peers, more);
		for (size_t j = 0; j < n; j++)
			out[j].value += more[j].value;
	}
	return n;
}

static size_t agent_figures(void *ctx, struct clv_figure out[CLV_RUN_FIGURES])
{
	struct agent *a = ctx;
	size_t n = clv_places_figures(a->places, out);

	_Static_assert(CLV_RING_FIGURES + CLV_KUBE_FIGURES + CLV_CLUSTER_FIGURES + CLV_PEERS_FIGURES <= CLV_RUN_FIGURES,
		       "room for all figures");

	if (!a->kube)
		return n;
	n += clv_kube_api_figures(a->api, out + n);
	n += clv_cluster_figures(a->cluster, out + n);
	return n + agent_peers_figures(a, out + n);
}

static struct clv_agent_report agent_report(const struct agent *a)
{
	return (struct clv_agent_report){
		.pods = a->pods,
		.cluster = a->cluster,
		.places = a->places,
		.server = a->kube ? clv_kube_api_server(a->api) : NULL,
		.node = a->now->kube.node,
	};
}

static void agent_status(void *ctx, FILE *f, bool json)
{
	const struct clv_agent_report report = agent_report(ctx);

	clv_agent_report_write(&report, f, json);
}

static int agent_make_select(const struct clv_options *o, struct clv_select **out)
{
	char why[CLV_KUBE_SELECTOR_WHY];
	const struct clv_select_config config = {
		.namespaces = o->kube.namespaces.item,
		.namespace_count = o->kube.namespaces.count,
		.selectors = o->kube.selectors.item,
		.selector_count = o->kube.selectors.count,
		.self = getenv("POD_NAME"),
		.self_namespace = getenv("POD_NAMESPACE"),
	};
	int err = clv_select_new(&config, out, why);

	if (err)
		clv_error("%s", err == -EINVAL ? why : strerror(-err));
	return err;
}

static void agent_select_again(void *ctx, const struct clv_kube_pod *pod)
{
	clv_pods_pod(((struct agent *)ctx)->pods, pod, false);
}

static void agent_reconfigure(void *ctx, const struct clv_options *options)
{
	struct agent *a = ctx;
	struct clv_select *select;

	a->now = options;
	if (!a->kube || agent_make_select(options, &select))
		return; /* it goes on with the old ones */
	clv_pods_select(a->pods, select);
	clv_cluster_pods(a->cluster, agent_select_again, a);
	clv_select_free(a->select);
	a->select = select;
}

/* ---- a dry run ------------------------------------------------------------------------------------------------------
 */

static int agent_dry_run(struct agent *a)
{
	struct pollfd fds[] = {{.fd = a->kube ? clv_kube_api_fd(a->api) : -1, .events = POLLIN},
			       {.fd = clv_run_signal_fd(), .events = POLLIN}};

	do {
		agent_look(a, clv_clock_ns());
	} while (!clv_run_stop && !agent_complete(a) && clv_clock_ns() - a->start_ns < READY_NS &&
		 (poll(fds, 2, 50) >= 0 || errno == EINTR));
	const struct clv_agent_report report = agent_report(a);
	clv_agent_report_dry(&report, stdout, a->json);
	return a->kube && !clv_cluster_synced(a->cluster) ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
}

/* ---- start and end --------------------------------------------------------------------------------------------------
 */

static const char *agent_node(struct agent *a)
{
	static char host[256];

	if (a->options.kube.node)
		return a->options.kube.node;
	if (gethostname(host, sizeof(host) - 1))
		host[0] = '\0';
	return host;
}

static struct clv_kube_access_config agent_access(const struct agent *a)
{
	return (struct clv_kube_access_config){.kubeconfig = a->options.kube.kubeconfig,
					       .context = a->options.kube.context};
}

static bool agent_has_cluster(const struct agent *a)
{
	const struct clv_kube_access_config access = agent_access(a);

	if (a->options.kube.enabled != CLV_SWITCH_UNSET)
		return a->options.kube.enabled == CLV_SWITCH_ON;
	return clv_kube_access_exists(&access);
}

static int agent_open_cluster(struct agent *a)
{
	char why[CLV_KUBE_WHY];
	const struct clv_cluster_config cluster = {
		.cluster_name = a->options.kube.cluster,
		.node = agent_node(a),
		.kinds = AGENT_KINDS,
		.labels_name_services = a->options.kube.service_labels,
		.pod = agent_on_pod,
		.ctx = a,
	};
	const struct clv_kube_api_config api = {
		.access = agent_access(a),
		.node = agent_node(a),
		.all_pods = a->options.kube.all_pods,
		.kinds = AGENT_KINDS,
	};
	int err = clv_cluster_new(&cluster, &a->cluster);

	if (err) {
		clv_error("cannot start: %s", strerror(-err));
		return err;
	}
	err = clv_kube_api_open(&api, &a->api, why);
	if (err) {
		clv_error("%s", why);
		return err;
	}
	clv_info("asking %s for the pods of node %s", clv_kube_api_server(a->api), agent_node(a));
	return 0;
}

static int agent_open_pods(struct agent *a)
{
	const struct clv_podnet_config podnet = {
		.proc = a->options.kube.proc,
		.cgroup = a->options.kube.cgroup_root,
		.links = a->links,
	};
	int err = clv_podnet_open(&podnet, &a->podnet);

	if (err) {
		clv_error("cannot look at the processes in %s: %s", a->options.kube.proc, strerror(-err));
		return err;
	}
	err = agent_make_select(&a->options, &a->select);
	if (err)
		return err;
	const struct clv_pods_config pods = {
		.podnet = a->podnet,
		.links = a->links,
		.select = a->select,
		.capture = (enum clv_pod_capture)a->options.kube.capture,
		.object = agent_object,
		.enter = agent_enter,
		.name = agent_name,
		.leave = agent_leave,
		.ctx = a,
	};
	err = clv_pods_new(&pods, &a->pods);
	if (err)
		clv_error("cannot start: %s", strerror(-err));
	return err;
}

static int agent_open_peers(struct agent *a)
{
	int err = 0;

	for (unsigned i = 0; i < a->workers && !err; i++) {
		const struct clv_peers_config peers = {
			.cluster = a->cluster,
			.resources = a->resources,
			.wait_ns = a->options.kube.name_wait_ns,
			.emit = agent_emit,
			.ctx = &a->worker[i],
		};

		err = clv_peers_new(&peers, &a->worker[i].peers);
	}
	if (err)
		clv_error("cannot start: %s", strerror(-err));
	return err;
}

static int agent_open_places(struct agent *a)
{
	const struct clv_places_config places = {
		.options = &a->options,
		.resources = a->resources,
		.links = a->links,
		.workers = a->workers,
		.cgroups = a->options.kube.capture != CLV_CAPTURE_INTERFACE,
		.link = agent_on_link,
		.gone = agent_on_gone,
		.failed = agent_on_failed,
		.ctx = a,
	};
	int err = clv_places_open(&places, &a->places);

	if (!err && a->kube)
		err = clv_places_wake_on(a->places, clv_kube_api_fd(a->api));
	return err || !a->kube ? err : agent_open_peers(a);
}

static void agent_on_first_list(void *ctx, const struct clv_link *l)
{
}

/* Not a pod's: that one is known by its name. */
static void agent_find_self(struct agent *a)
{
	char text[4096];
	struct clv_cgroup_name name;
	struct clv_slice v2;
	int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (n > 0 && clv_cgroup_of_process(clv_slice(text, (size_t)n), &name, &v2))
		memcpy(a->self, name.container, sizeof(a->self));
	if (fd >= 0)
		close(fd);
}

static int agent_open(struct agent *a)
{
	int err = clv_workload_resources(&a->options, &a->resources);

	if (!err)
		err = clv_health_new(&a->health);
	if (!err)
		err = clv_links_open(&a->links);
	if (!err) /* gives namespaces their numbers */
		err = clv_links_list(a->links, agent_on_first_list, NULL);
	if (err) {
		clv_error("cannot ask for network interfaces: %s", strerror(-err));
		return err;
	}
	agent_find_self(a);
	a->kube = agent_has_cluster(a);
	err = agent_open_pods(a);
	if (!err && a->kube)
		err = agent_open_cluster(a);
	if (!err && !a->dry_run)
		err = agent_open_places(a);
	return err;
}

static void agent_close(struct agent *a)
{
	clv_kube_api_close(a->api);
	for (unsigned i = 0; i < a->workers; i++)
		clv_peers_free(a->worker[i].peers);
	clv_places_close(a->places);
	clv_pods_free(a->pods);
	clv_cluster_free(a->cluster);
	clv_select_free(a->select);
	clv_podnet_close(a->podnet);
	clv_links_close(a->links);
	clv_resources_free(a->resources);
	clv_health_free(a->health);
}

static int agent_run(struct agent *a)
{
	int status = CLV_EXIT_FAILURE;

	a->now = &a->options;
	a->start_ns = clv_clock_ns();
	a->workers = clv_run_workers(&a->options, true);
	clv_run_signals();
	if (agent_open(a) == 0)
		status = a->dry_run ? agent_dry_run(a)
				    : clv_run(&(struct clv_run_config){
					      .line = &a->line,
					      .options = &a->options,
					      .resources = a->resources,
					      .workers = a->workers,
					      .source = agent_source,
					      .news_fd = clv_places_news_fd(a->places),
					      .live = true,
					      .duration_ns = a->options.duration_ns,
					      .health = a->health,
					      .ctx = a,
					      .figures = agent_figures,
					      .service = agent_service,
					      .places = agent_status,
					      .reconfigure = agent_reconfigure,
					      .span = a->kube ? agent_span : NULL,
					      .end = agent_end,
					      .gone = a->kube ? agent_resource_gone : NULL,
					      .hint = a->kube ? agent_hint : NULL,
					      .stopped = agent_stopped,
				      });
	agent_close(a);
	return status;
}

/* ---- command line
 * ---------------------------------------------------------------------------------------------------- */

enum { OPT_DRY_RUN = 1 };

static error_t agent_parse(int key, char *arg, struct argp_state *state)
{
	struct agent *a = state->input;

	if (key == ARGP_KEY_INIT)
		state->child_inputs[0] = &a->line;
	else if (key == OPT_DRY_RUN)
		a->dry_run = true;
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

int clv_cmd_agent(int argc, char **argv)
{
	static const struct argp_option own[] = {
		{"dry-run", OPT_DRY_RUN, 0, 0,
		 "Say which pods would be traced, where, and which not and why; attach to nothing", 1},
		{0}};
	struct argp_child shared[] = {{clv_options_argp(CLV_COMMAND_AGENT), 0, NULL, 0}, {0}};
	struct argp argp = {
		.options = own,
		.parser = agent_parse,
		.doc = "Trace the pods of this Kubernetes node, as they come and go, and name them; without Kubernetes "
		       "the containers of this host. When what is there at the start is attached, a line that begins "
		       "with 'ready' appears on standard error. SIGINT and SIGTERM end the run.\v"
		       "Examples:\n"
		       "  clovisor agent -c /etc/clovisor/clovisor.yaml\n"
		       "  clovisor agent -n shop -l 'app in (web,api)' --otlp http://collector:4318\n"
		       "  clovisor agent --dry-run -n '*'              what would be traced\n"
		       "  clovisor agent --kubernetes=false            the containers of this host",
		.children = shared,
	};
	static struct agent a;
	int status = CLV_EXIT_FAILURE;

	if (clv_options_init(&a.line) == 0) {
		clv_cli_parse(&argp, argc, argv, &a);
		if (a.line.config_path)
			clv_reload_signal();
		status = clv_config_start(&a.line, &a.options);
	}
	if (status == CLV_EXIT_OK)
		status = clv_plugins_start(&a.options);
	a.json = a.options.output == CLV_OUTPUT_JSON;
	if (status == CLV_EXIT_OK)
		status = agent_run(&a);
	clv_options_fini(&a.options);
	clv_options_fini(&a.line);
	return status;
}
