/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words for the state of the agent. Looks, changes nothing.
 */
#include "cli/agent_report.h"

#include <net/if.h>
#include <string.h>

#include "cli/status.h"

struct report {
	const struct clv_agent_report *what;
	FILE *f;
	bool json;
	const char *between;
	size_t count[4]; /* by enum clv_pod_state */
};

static void report_text(const struct report *r, const char *text)
{
	clv_status_text(r->f, clv_slice_str(text ? text : ""), r->json);
}

static void report_member(const struct report *r, const char *name, const char *value)
{
	fprintf(r->f, ",\"%s\":", name);
	report_text(r, value);
}

/* ---- one pod ---------------------------------------------------------------------------------------------------- */

static const char *state_name(enum clv_pod_state state)
{
	static const char *const names[] = {
		[CLV_POD_NOT_SELECTED] = "not selected",
		[CLV_POD_SOUGHT] = "sought",
		[CLV_POD_PLACED] = "traced",
		[CLV_POD_NOWHERE] = "not traced",
	};

	return names[state];
}

/* "veth12", or "cgroup". */
static const char *place_name(const struct clv_agent_pod *pod, size_t i, char room[IF_NAMESIZE])
{
	if (pod->cgroup)
		return "cgroup";
	if (!if_indextoname(pod->net[i], room))
		snprintf(room, IF_NAMESIZE, "%u", pod->net[i]);
	return room;
}

static void pod_json(struct report *r, const struct clv_agent_pod *pod)
{
	char room[IF_NAMESIZE];

	fprintf(r->f, "%s{\"state\":\"%s\"", r->between, state_name(pod->state));
	report_member(r, "namespace", pod->namespace);
	report_member(r, "name", pod->name);
	report_member(r, "uid", pod->key);
	if (pod->why)
		report_member(r, "why", pod->why);
	fputs(",\"places\":[", r->f);
	for (size_t i = 0; i < pod->place_count; i++) {
		fprintf(r->f, "%s{\"net\":%u,\"name\":", i ? "," : "", pod->net[i]);
		report_text(r, place_name(pod, i, room));
		fputc('}', r->f);
	}
	fputs("]}", r->f);
	r->between = ",";
}

static void pod_line(struct report *r, const struct clv_agent_pod *pod)
{
	char room[IF_NAMESIZE];

	fprintf(r->f, "  %-12s  ", state_name(pod->state));
	report_text(r, pod->label);
	for (size_t i = 0; i < pod->place_count; i++) {
		fputs(i ? ", " : "  at ", r->f);
		report_text(r, place_name(pod, i, room));
	}
	if (pod->why && pod->state != CLV_POD_PLACED) {
		fputs("  (", r->f);
		report_text(r, pod->why);
		fputc(')', r->f);
	}
	fputc('\n', r->f);
}

static void report_pod(void *ctx, const struct clv_agent_pod *pod)
{
	struct report *r = ctx;

	if (r->json)
		pod_json(r, pod);
	else
		pod_line(r, pod);
}

static void report_count(void *ctx, const struct clv_agent_pod *pod)
{
	((struct report *)ctx)->count[pod->state]++;
}

static void report_pods(struct report *r)
{
	clv_pods_each(r->what->pods, report_count, r);
	if (r->json)
		fputs(",\"pods\":[", r->f);
	else
		fprintf(r->f, "%s: %zu traced, %zu sought, %zu not traced, %zu not selected\n",
			r->what->cluster ? "pods of this node" : "containers of this host", r->count[CLV_POD_PLACED],
			r->count[CLV_POD_SOUGHT], r->count[CLV_POD_NOWHERE], r->count[CLV_POD_NOT_SELECTED]);
	r->between = "";
	clv_pods_each(r->what->pods, report_pod, r);
	if (r->json)
		fputc(']', r->f);
}

/* ---- the cluster ------------------------------------------------------------------------------------------------- */

static void report_cluster_json(const struct report *r)
{
	const char *between = "";

	fputs(",\"kubernetes\":{\"server\":", r->f);
	report_text(r, r->what->server);
	report_member(r, "node", r->what->node);
	fprintf(r->f, ",\"synced\":%s,\"trouble\":{", clv_cluster_synced(r->what->cluster) ? "true" : "false");
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++) {
		const char *why = clv_cluster_trouble(r->what->cluster, (enum clv_kube_kind)kind);

		if (!*why)
			continue;
		fprintf(r->f, "%s\"%s\":", between, clv_kube_kind_name((enum clv_kube_kind)kind));
		report_text(r, why);
		between = ",";
	}
	fputs("}}", r->f);
}

static void report_cluster(const struct report *r)
{
	if (r->json) {
		report_cluster_json(r);
		return;
	}
	fprintf(r->f, "cluster: %s, node %s%s\n", r->what->server, r->what->node,
		clv_cluster_synced(r->what->cluster) ? "" : ", not everything has been listed yet");
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++) {
		const char *why = clv_cluster_trouble(r->what->cluster, (enum clv_kube_kind)kind);

		if (!*why)
			continue;
		fprintf(r->f, "  %s: ", clv_kube_kind_name((enum clv_kube_kind)kind));
		report_text(r, why);
		fputc('\n', r->f);
	}
}

void clv_agent_report_write(const struct clv_agent_report *report, FILE *f, bool json)
{
	struct report r = {.what = report, .f = f, .json = json};

	if (report->cluster)
		report_cluster(&r);
	report_pods(&r);
	clv_places_status(report->places, f, json);
}

void clv_agent_report_dry(const struct clv_agent_report *report, FILE *f, bool json)
{
	struct report r = {.what = report, .f = f, .json = json};

	if (json)
		fputs("{\"dry_run\":true", f);
	if (report->cluster)
		report_cluster(&r);
	report_pods(&r);
	if (json)
		fputs("}\n", f);
}
