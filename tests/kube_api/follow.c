/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows an API server and writes what it is told, a line of JSON an event: what tests/kube_api/run.py looks at.
 *
 * usage: follow [--kubeconfig FILES] [--context NAME] [--account DIR] [--node NAME] [--kinds pod,service,...]
 *               [--selector TEXT] [--least MS] [--most MS] [--patience MS] [--exec-ms MS] [--brief]
 *
 * Commands come on standard input: "hold" takes no more events, "go" takes them again, "figures" writes the figures
 * and the memory in use, "quit" ends, as the end of the input does. --brief leaves objects' contents out.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "kube/api.h"

static const char *const kinds[] = {"pod", "service", "endpointslice", "replicaset", "node"};
static const char *const types[] = {"listing", "listed", "set", "gone", "trouble", "denied", "working"};
static bool brief;

/* ---- objects ---------------------------------------------------------------------------------------------------- */

static json_t *show_pairs(const struct clv_kube_pairs *pairs)
{
	json_t *j = json_object();

	for (size_t i = 0; i < pairs->count; i++)
		json_object_set_new(j, pairs->pair[i].key, json_string(pairs->pair[i].value));
	return j;
}

static json_t *show_addresses(const struct clv_addr *ip, size_t count)
{
	json_t *j = json_array();
	char text[CLV_ADDR_TEXT];

	for (size_t i = 0; i < count; i++) {
		clv_addr_format(&ip[i], text);
		json_array_append_new(j, json_string(text));
	}
	return j;
}

static json_t *show_ports(const struct clv_kube_port *port, size_t count)
{
	json_t *j = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(j,
				      json_pack("{s:i, s:i, s:b, s:s, s:s, s:s}", "port", port[i].port, "target",
						port[i].target, "udp", port[i].udp, "name", port[i].name, "target_name",
						port[i].target_name, "app_protocol", port[i].app_protocol));
	return j;
}

static json_t *show_pod(const struct clv_kube_pod *p)
{
	json_t *containers = json_array();

	for (size_t i = 0; i < p->container_count; i++)
		json_array_append_new(containers, json_pack("{s:s, s:s, s:b}", "name", p->container[i].name, "id",
							    p->container[i].id, "main", p->container[i].main));
	return json_pack("{s:s, s:b, s:b, s:i, s:o, s:o, s:o, s:o, s:o}", "node", p->node, "host_network",
			 p->host_network, "deleting", p->deleting, "phase", p->phase, "labels", show_pairs(&p->labels),
			 "annotations", show_pairs(&p->annotations), "ips", show_addresses(p->ip, p->ip_count),
			 "containers", containers, "ports", show_ports(p->port, p->port_count));
}

static json_t *show_service(const struct clv_kube_service *s)
{
	return json_pack("{s:b, s:o, s:o, s:o}", "headless", s->headless, "selector", show_pairs(&s->selector), "ips",
			 show_addresses(s->ip, s->ip_count), "ports", show_ports(s->port, s->port_count));
}

static json_t *show_slice(const struct clv_kube_endpointslice *s)
{
	json_t *endpoints = json_array();

	for (size_t i = 0; i < s->endpoint_count; i++) {
		const struct clv_kube_endpoint *e = &s->endpoint[i];

		json_array_append_new(endpoints,
				      json_pack("{s:o, s:s, s:s, s:s}", "ips", show_addresses(e->ip, e->ip_count),
						"node", e->node, "pod", e->pod, "pod_uid", e->pod_uid));
	}
	return json_pack("{s:s, s:o}", "service", s->service, "endpoints", endpoints);
}

static json_t *show_node(const struct clv_kube_node *n)
{
	json_t *ranges = json_array();
	char text[CLV_ADDR_TEXT];

	for (size_t i = 0; i < n->range_count; i++) {
		clv_addr_format(&n->range[i].addr, text);
		json_array_append_new(ranges, json_pack("[s, i]", text, n->range[i].bits));
	}
	return json_pack("{s:o, s:o}", "ips", show_addresses(n->ip, n->ip_count), "ranges", ranges);
}

static json_t *show_object(const struct clv_kube_object *o)
{
	switch (o->kind) {
	case CLV_KUBE_POD:
		return show_pod((const struct clv_kube_pod *)o);
	case CLV_KUBE_SERVICE:
		return show_service((const struct clv_kube_service *)o);
	case CLV_KUBE_ENDPOINTSLICE:
		return show_slice((const struct clv_kube_endpointslice *)o);
	case CLV_KUBE_NODE:
		return show_node((const struct clv_kube_node *)o);
	default:
		return json_object();
	}
}

static void on_event(void *ctx, struct clv_kube_event *event)
{
	const struct clv_kube_object *o = event->object;
	json_t *j = json_pack("{s:s, s:s}", "event", types[event->type], "kind", kinds[event->kind]);

	if (*event->why)
		json_object_set_new(j, "why", json_string(event->why));
	if (o) {
		json_object_set_new(j, "namespace", json_string(o->namespace));
		json_object_set_new(j, "name", json_string(o->name));
	}
	if (o && !brief) {
		json_object_set_new(j, "uid", json_string(o->uid));
		json_object_set_new(j, "owner", json_pack("[s, s, s]", o->owner.kind, o->owner.name, o->owner.uid));
		json_object_set_new(j, "bytes", json_integer((json_int_t)o->bytes));
		json_object_set_new(j, "object", show_object(o));
	}
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
	clv_kube_object_free(event->object);
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

/* A line of /proc/self/status: getrusage() would tell of who started this, too. */
static long status_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			kib = strtol(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

static void write_figures(const struct clv_kube_api *api)
{
	struct clv_figure f[CLV_KUBE_FIGURES];
	size_t n = clv_kube_api_figures(api, f);
	struct rusage use;
	json_t *j = json_pack("{s:s, s:s, s:I}", "event", "figures", "server", clv_kube_api_server(api), "rss_kib",
			      (json_int_t)status_kib("VmRSS:"));

	getrusage(RUSAGE_SELF, &use);
	json_object_set_new(j, "max_rss_kib", json_integer(status_kib("VmHWM:")));
	json_object_set_new(j, "cpu_ms",
			    json_integer((use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000 +
					 (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1000));
	for (size_t i = 0; i < n; i++)
		json_object_set_new(j, f[i].name, json_integer((json_int_t)f[i].value));
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

/* false: it is over. */
static bool command(const struct clv_kube_api *api, bool *hold)
{
	char text[64];
	ssize_t n = read(STDIN_FILENO, text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = '\0';
	for (char *rest = text, *word; (word = strsep(&rest, "\n"));) {
		if (strcmp(word, "quit") == 0)
			return false;
		if (strcmp(word, "hold") == 0 || strcmp(word, "go") == 0)
			*hold = *word == 'h';
		if (strcmp(word, "figures") == 0)
			write_figures(api);
	}
	return true;
}

static void run(struct clv_kube_api *api)
{
	bool hold = false, on = true;

	while (on) {
		struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {hold ? -1 : clv_kube_api_fd(api), POLLIN, 0}};

		fflush(stdout);
		if (poll(fds, 2, -1) < 0)
			return;
		if (fds[1].revents)
			clv_kube_api_poll(api, 256, on_event, NULL);
		if (fds[0].revents)
			on = command(api, &hold);
	}
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

static unsigned kinds_of(char *text)
{
	unsigned mask = 0;

	for (char *word; (word = strsep(&text, ","));)
		for (unsigned i = 0; i < CLV_KUBE_KINDS; i++)
			if (strcmp(word, kinds[i]) == 0)
				mask |= 1u << i;
	return mask;
}

enum { KUBECONFIG = 1, CONTEXT, ACCOUNT, NODE, KINDS, SELECTOR, LEAST, MOST, PATIENCE, EXEC_MS, BRIEF };

static bool options(int argc, char **argv, struct clv_kube_api_config *config)
{
	static const struct option known[] = {
		{"kubeconfig", 1, NULL, KUBECONFIG}, {"context", 1, NULL, CONTEXT},
		{"account", 1, NULL, ACCOUNT},       {"node", 1, NULL, NODE},
		{"kinds", 1, NULL, KINDS},           {"selector", 1, NULL, SELECTOR},
		{"least", 1, NULL, LEAST},           {"most", 1, NULL, MOST},
		{"patience", 1, NULL, PATIENCE},     {"exec-ms", 1, NULL, EXEC_MS},
		{"brief", 0, NULL, BRIEF},           {0},
	};
	uint32_t ignored;
	const char *ignored_text;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		const char **text = c == KUBECONFIG ? &config->access.kubeconfig
				    : c == CONTEXT  ? &config->access.context
				    : c == ACCOUNT  ? &config->access.account_dir
				    : c == NODE     ? &config->node
				    : c == SELECTOR ? &config->label_selector
						    : &ignored_text;
		uint32_t *number = c == LEAST      ? &config->backoff_least_ms
				   : c == MOST     ? &config->backoff_most_ms
				   : c == PATIENCE ? &config->patience_ms
				   : c == EXEC_MS  ? &config->access.exec_ms
						   : &ignored;

		if (c == '?')
			return false;
		*text = optarg;
		*number = (uint32_t)strtoul(optarg ? optarg : "", NULL, 10);
		if (c == KINDS)
			config->kinds = kinds_of(optarg);
		brief |= c == BRIEF;
	}
	config->all_pods = !config->node;
	return optind == argc;
}

int main(int argc, char **argv)
{
	struct clv_kube_api_config config = {.kinds = (1u << CLV_KUBE_KINDS) - 1};
	struct clv_kube_api *api;
	char why[CLV_KUBE_WHY];

	if (!options(argc, argv, &config))
		return 2;
	int err = clv_kube_api_open(&config, &api, why);
	if (err) {
		fprintf(stderr, "follow: %s (%s)\n", why, strerror(-err));
		return 1;
	}
	run(api);
	clv_kube_api_close(api);
	return 0;
}
