/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is spoken on a pod's port, as far as its name tells. Istio's convention: a port is called PROTOCOL or
 * PROTOCOL-ANYTHING, or has an appProtocol (https://istio.io/latest/docs/ops/configuration/traffic-management/
 * protocol-selection/; kubernetes.io/... by Kubernetes' KEP 3726). Owns nothing. Engine thread.
 */
#include "agent/cluster_internal.h"

/* grpc-web is spoken over either HTTP: detection tells. So it does where nothing stands here: tcp, udp, mongo. */
static const struct {
	struct clv_slice name;
	const char *protocol;
} names[] = {
	{CLV_LIT("http"), "http"},
	{CLV_LIT("http2"), "http2"},
	{CLV_LIT("h2c"), "http2"},
	{CLV_LIT("grpc"), "http2"},
	{CLV_LIT("grpc-web"), NULL},
	{CLV_LIT("https"), "tls"},
	{CLV_LIT("tls"), "tls"},
	{CLV_LIT("ws"), "http"}, /* where WebSocket begins */
	{CLV_LIT("wss"), "tls"},
	{CLV_LIT("redis"), "redis"},
	{CLV_LIT("mysql"), "mysql"},
	{CLV_LIT("mariadb"), "mysql"},
	{CLV_LIT("postgres"), "postgresql"},
	{CLV_LIT("postgresql"), "postgresql"},
	{CLV_LIT("dns"), "dns"},
};

static const char *protocol_named(struct clv_slice name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (clv_slice_eq_nocase(name, names[i].name))
			return names[i].protocol;
	return NULL;
}

static const char *protocol_of_port_name(const char *text)
{
	struct clv_slice name = clv_slice_str(text), web = CLV_LIT("grpc-web");

	if (clv_slice_eq_nocase(clv_slice_head(name, web.len), web)) /* and not grpc */
		return NULL;
	return protocol_named(clv_slice_head(name, clv_slice_find(name, 0, '-')));
}

static const char *protocol_of_app(const char *text)
{
	struct clv_slice name = clv_slice_str(text), prefix = CLV_LIT("kubernetes.io/");

	return protocol_named(clv_slice_starts(name, prefix) ? clv_slice_from(name, prefix.len) : name);
}

/* What a port says of itself; appProtocol, where there is one, is all it says. */
static const char *protocol_of_port(const struct clv_kube_port *port)
{
	return port->app_protocol[0] ? protocol_of_app(port->app_protocol) : protocol_of_port_name(port->name);
}

/* Is the pod one that the Service's selector means? */
static bool service_selects(const struct clv_kube_service *service, const struct clv_kube_pod *pod)
{
	if (strcmp(service->head.namespace, pod->head.namespace) != 0)
		return false;
	for (size_t i = 0; i < service->selector.count; i++) {
		const struct clv_kube_pair *want = &service->selector.pair[i];
		const char *have = clv_kube_pairs_get(&pod->labels, want->key);

		if (!have || strcmp(have, want->value) != 0)
			return false;
	}
	return service->selector.count;
}

/* Does this port of a Service lead to that port of the pod? */
static bool leads_to(const struct clv_kube_port *from, const struct clv_kube_pod *pod, uint16_t port)
{
	if (!from->target_name[0])
		return (from->target ? from->target : from->port) == port;
	for (size_t i = 0; i < pod->port_count; i++)
		if (pod->port[i].port == port && pod->port[i].udp == from->udp &&
		    strcmp(pod->port[i].name, from->target_name) == 0)
			return true;
	return false;
}

static const char *protocol_by_service(const struct clv_kube_service *service, const struct clv_kube_pod *pod,
				       uint16_t port)
{
	const char *protocol = NULL;

	if (!service_selects(service, pod))
		return NULL;
	for (size_t i = 0; i < service->port_count && !protocol; i++)
		if (leads_to(&service->port[i], pod, port))
			protocol = protocol_of_port(&service->port[i]);
	return protocol;
}

const char *clv_cluster_protocol(const struct clv_cluster *c, const struct clv_kube_pod *pod, uint16_t port)
{
	const struct clv_kube_service *service;
	struct clv_index_node *at = NULL;
	const char *protocol = NULL, *by = NULL;

	/* Of several that say something, the one whose name comes first: so it is always the same one. */
	while ((service = clv_cluster_store_service(&c->store, pod->head.namespace, &at))) {
		const char *said =
			by && strcmp(by, service->head.name) < 0 ? NULL : protocol_by_service(service, pod, port);

		protocol = said ? said : protocol;
		by = said ? service->head.name : by;
	}
	for (size_t i = 0; i < pod->port_count && !protocol; i++)
		if (pod->port[i].port == port)
			protocol = protocol_of_port(&pod->port[i]);
	return protocol;
}
