/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One object of the API, from jansson's tree to one piece of memory. Keeps nothing; never trusts a type or a length.
 * Any thread.
 *
 * Each reader runs twice: first with no piece, to see how large it must be, then to fill it. So it must ask for the
 * same things both times, and never read what it has put there.
 */
#include "kube/parse.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"

struct piece {
	char *base; /* NULL: only measured */
	size_t used;
};

/* ---- text ------------------------------------------------------------------------------------------------------ */

bool clv_kube_json_is_small(struct clv_slice text)
{
	unsigned depth = 0, values = 1;
	bool string = false;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == '"') {
			string = !string;
		} else if (string) {
			i += c == '\\';
		} else if (c == '{' || c == '[') {
			depth++;
			values++;
		} else if (c == '}' || c == ']') {
			depth -= depth > 0;
		} else if (c == ',') {
			values++;
		}
		if (depth > CLV_KUBE_DEPTH || values > CLV_KUBE_VALUES)
			return false;
	}
	return true;
}

json_t *clv_kube_json(struct clv_slice text)
{
	json_error_t error;
	json_t *json = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, &error);

	if (!json) {
		errno = json_error_code(&error) == json_error_out_of_memory ? ENOMEM : EBADMSG;
		return NULL;
	}
	if (!json_is_object(json)) {
		json_decref(json);
		errno = EBADMSG;
		return NULL;
	}
	return json;
}

/* ---- the piece ------------------------------------------------------------------------------------------------- */

static void *piece_take(struct piece *p, size_t bytes)
{
	size_t at = (p->used + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);

	p->used = at + bytes;
	return p->base ? p->base + at : NULL;
}

/* So much of a text that is too long that no character of UTF-8 is cut. */
static size_t text_cut(const char *s, size_t len)
{
	if (len < CLV_KUBE_STRING_BYTES)
		return len;
	len = CLV_KUBE_STRING_BYTES - 1;
	while (len && ((unsigned char)s[len] & 0xc0) == 0x80)
		len--;
	return len;
}

static const char *piece_text(struct piece *p, const char *s)
{
	size_t len = text_cut(s, strlen(s));
	char *at = p->base ? p->base + p->used : NULL;

	if (!len)
		return "";
	p->used += len + 1;
	if (at) {
		memcpy(at, s, len);
		at[len] = '\0';
	}
	return at;
}

static const char *piece_member(struct piece *p, const json_t *object, const char *key)
{
	return piece_text(p, clv_kube_json_text(object, key));
}

/* ---- lists ----------------------------------------------------------------------------------------------------- */

/* Entries of a list that are looked at. */
static size_t list_count(const json_t *list)
{
	size_t count = json_array_size(list);

	return count < CLV_KUBE_LIST_MAX ? count : CLV_KUBE_LIST_MAX;
}

static int pair_cmp(const void *a, const void *b)
{
	return strcmp(((const struct clv_kube_pair *)a)->key, ((const struct clv_kube_pair *)b)->key);
}

static bool key_any(const char *key)
{
	return true;
}

/* Annotations that say how a pod is traced and what its telemetry is called. */
static bool key_annotation(const char *key)
{
	return strncmp(key, "clovisor.io/", 12) == 0 || strncmp(key, "resource.opentelemetry.io/", 26) == 0;
}

static bool pair_kept(const char *key, const json_t *value, bool (*keep)(const char *key))
{
	return json_is_string(value) && *key && keep(key);
}

static struct clv_kube_pairs read_pairs(struct piece *p, json_t *object, bool (*keep)(const char *key))
{
	struct clv_kube_pairs pairs = {0};
	size_t count = 0;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) if (pair_kept(key, value, keep) && count < CLV_KUBE_LIST_MAX) count++;
	struct clv_kube_pair *list = piece_take(p, count * sizeof(*list));
	json_object_foreach(object, key, value)
	{
		if (!pair_kept(key, value, keep) || pairs.count == count)
			continue;
		struct clv_kube_pair pair = {piece_text(p, key), piece_text(p, json_string_value(value))};

		if (list)
			list[pairs.count] = pair;
		pairs.count++;
	}
	if (list && count)
		qsort(list, count, sizeof(*list), pair_cmp);
	pairs.pair = list;
	return pairs;
}

/* Addresses that are being collected: from several lists, into one. */
struct addresses {
	struct clv_addr *list;
	size_t count, room;
};

static struct addresses addresses_take(struct piece *p, size_t room)
{
	if (room > CLV_KUBE_LIST_MAX)
		room = CLV_KUBE_LIST_MAX;
	return (struct addresses){.list = piece_take(p, room * sizeof(struct clv_addr)), .room = room};
}

/* What is no address, as "None" and "" are not, is passed over. */
static void addresses_add(struct addresses *a, const char *text)
{
	struct clv_addr addr;

	if (!text || a->count == a->room || clv_addr_parse(text, &addr))
		return;
	if (a->list)
		a->list[a->count] = addr;
	a->count++;
}

/* A list of texts, or of objects that have them by a key. */
static void addresses_add_list(struct addresses *a, const json_t *list, const char *key)
{
	for (size_t i = 0, n = list_count(list); i < n; i++) {
		const json_t *entry = json_array_get(list, i);

		addresses_add(a, json_string_value(key ? json_object_get(entry, key) : entry));
	}
}

/* ---- what all have --------------------------------------------------------------------------------------------- */

static bool read_head(struct piece *p, enum clv_kube_kind kind, const json_t *json, struct clv_kube_object *out)
{
	const json_t *meta = json_object_get(json, "metadata"), *owners = json_object_get(meta, "ownerReferences");
	const json_t *owner = NULL;

	for (size_t i = 0, n = list_count(owners); i < n && !owner; i++) {
		const json_t *entry = json_array_get(owners, i);

		if (json_is_true(json_object_get(entry, "controller")))
			owner = entry;
	}
	out->kind = kind;
	out->namespace = piece_member(p, meta, "namespace");
	out->name = piece_member(p, meta, "name");
	out->uid = piece_member(p, meta, "uid");
	out->owner.kind = piece_member(p, owner, "kind");
	out->owner.name = piece_member(p, owner, "name");
	out->owner.uid = piece_member(p, owner, "uid");
	return *clv_kube_json_text(meta, "name") && strlen(clv_kube_json_text(meta, "uid")) <= CLV_KUBE_UID_BYTES;
}

/* A port number, or 0. */
static uint16_t read_number(const json_t *value)
{
	json_int_t n = json_integer_value(value);

	return n > 0 && n <= UINT16_MAX ? (uint16_t)n : 0;
}

/* The port of a container or a Service, by the key of its number. */
static bool read_port(struct piece *p, const json_t *json, const char *number, struct clv_kube_port *out)
{
	const char *protocol = clv_kube_json_text(json, "protocol");
	const json_t *target = json_object_get(json, "targetPort");

	out->port = read_number(json_object_get(json, number));
	out->udp = strcmp(protocol, "UDP") == 0;
	if (!out->port || (*protocol && strcmp(protocol, "TCP") != 0 && !out->udp))
		return false;
	out->target = read_number(target);
	out->name = piece_member(p, json, "name");
	out->target_name = piece_text(p, json_is_string(target) ? json_string_value(target) : "");
	out->app_protocol = piece_member(p, json, "appProtocol");
	return true;
}

/* ---- pods ------------------------------------------------------------------------------------------------------ */

static enum clv_kube_phase read_phase(const char *text)
{
	static const char *const names[] = {
		[CLV_KUBE_PENDING] = "Pending",
		[CLV_KUBE_RUNNING] = "Running",
		[CLV_KUBE_SUCCEEDED] = "Succeeded",
		[CLV_KUBE_FAILED] = "Failed",
	};

	for (unsigned i = 0; i < CLV_KUBE_UNKNOWN; i++)
		if (strcmp(names[i], text) == 0)
			return (enum clv_kube_phase)i;
	return CLV_KUBE_UNKNOWN;
}

/* The three lists of containers, in spec and in status. */
static const struct {
	const char *spec, *status;
} container_lists[] = {
	{"containers", "containerStatuses"},
	{"initContainers", "initContainerStatuses"},
	{"ephemeralContainers", "ephemeralContainerStatuses"},
};
#define CONTAINER_LISTS (sizeof(container_lists) / sizeof(*container_lists))

static const json_t *find_named(const json_t *list, const char *name)
{
	for (size_t i = 0, n = list_count(list); i < n; i++) {
		const json_t *entry = json_array_get(list, i);

		if (strcmp(clv_kube_json_text(entry, "name"), name) == 0)
			return entry;
	}
	return NULL;
}

/* "containerd://0123..." is 0123... */
static const char *id_of(const char *text)
{
	const char *scheme = strstr(text, "://");

	return scheme ? scheme + 3 : text;
}

static void read_containers(struct piece *p, const json_t *spec, const json_t *status, struct clv_kube_pod *out)
{
	size_t room = 0;

	for (size_t l = 0; l < CONTAINER_LISTS; l++)
		room += list_count(json_object_get(spec, container_lists[l].spec));
	struct clv_kube_container *list = piece_take(p, room * sizeof(*list));
	for (size_t l = 0; l < CONTAINER_LISTS; l++) {
		const json_t *containers = json_object_get(spec, container_lists[l].spec);
		const json_t *statuses = json_object_get(status, container_lists[l].status);

		for (size_t i = 0, n = list_count(containers); i < n; i++) {
			const char *name = clv_kube_json_text(json_array_get(containers, i), "name");
			const json_t *entry = find_named(statuses, name);
			struct clv_kube_container c = {
				.name = piece_text(p, name),
				.id = piece_text(p, id_of(clv_kube_json_text(entry, "containerID"))),
				.main = l == 0,
			};

			if (list)
				list[out->container_count] = c;
			out->container_count++;
		}
	}
	out->container = list;
}

static void read_container_ports(struct piece *p, const json_t *spec, struct clv_kube_pod *out)
{
	size_t room = 0;

	for (size_t l = 0; l < CONTAINER_LISTS; l++) {
		const json_t *containers = json_object_get(spec, container_lists[l].spec);

		for (size_t i = 0, n = list_count(containers); i < n; i++)
			room += list_count(json_object_get(json_array_get(containers, i), "ports"));
	}
	if (room > CLV_KUBE_LIST_MAX)
		room = CLV_KUBE_LIST_MAX;
	struct clv_kube_port *list = piece_take(p, room * sizeof(*list));
	for (size_t l = 0; l < CONTAINER_LISTS; l++) {
		const json_t *containers = json_object_get(spec, container_lists[l].spec);

		for (size_t i = 0, n = list_count(containers); i < n; i++) {
			const json_t *ports = json_object_get(json_array_get(containers, i), "ports");

			for (size_t k = 0, m = list_count(ports); k < m && out->port_count < room; k++) {
				struct clv_kube_port port = {0};

				if (!read_port(p, json_array_get(ports, k), "containerPort", &port))
					continue;
				if (list)
					list[out->port_count] = port;
				out->port_count++;
			}
		}
	}
	out->port = list;
}

static void read_pod(struct piece *p, const json_t *json, void *object)
{
	const json_t *meta = json_object_get(json, "metadata"), *spec = json_object_get(json, "spec");
	const json_t *status = json_object_get(json, "status"), *ips = json_object_get(status, "podIPs");
	struct clv_kube_pod *pod = object;

	pod->node = piece_member(p, spec, "nodeName");
	pod->host_network = json_is_true(json_object_get(spec, "hostNetwork"));
	pod->deleting = *clv_kube_json_text(meta, "deletionTimestamp") != '\0';
	pod->phase = read_phase(clv_kube_json_text(status, "phase"));
	pod->labels = read_pairs(p, json_object_get(meta, "labels"), key_any);
	pod->annotations = read_pairs(p, json_object_get(meta, "annotations"), key_annotation);

	struct addresses a = addresses_take(p, list_count(ips) + 1);
	addresses_add_list(&a, ips, "ip");
	if (!a.count)
		addresses_add(&a, clv_kube_json_text(status, "podIP"));
	pod->ip = a.list;
	pod->ip_count = a.count;
	read_containers(p, spec, status, pod);
	read_container_ports(p, spec, pod);
}

/* ---- services -------------------------------------------------------------------------------------------------- */

/*
 * A Service without a ClusterIP leads nowhere by an address, whatever externalIPs it names: nodes do not forward those,
 * and whoever may make a Service may write any address there.
 */
static bool has_address(const json_t *spec)
{
	const char *cluster = clv_kube_json_text(spec, "clusterIP");

	if (strcmp(clv_kube_json_text(spec, "type"), "ExternalName") == 0)
		return false;
	return (*cluster || json_array_size(json_object_get(spec, "clusterIPs"))) && strcmp(cluster, "None") != 0;
}

static void read_service(struct piece *p, const json_t *json, void *object)
{
	const json_t *spec = json_object_get(json, "spec"), *ports = json_object_get(spec, "ports");
	const json_t *cluster = json_object_get(spec, "clusterIPs"), *external = json_object_get(spec, "externalIPs");
	const json_t *balancer = json_object_get(json_object_get(json, "status"), "loadBalancer");
	const json_t *ingress = json_object_get(balancer, "ingress");
	struct clv_kube_service *service = object;

	service->headless = !has_address(spec);
	service->selector = read_pairs(p, json_object_get(spec, "selector"), key_any);

	struct addresses a = addresses_take(p, 1 + list_count(cluster) + list_count(external) + list_count(ingress));
	if (!service->headless) {
		addresses_add_list(&a, cluster, NULL);
		if (!a.count)
			addresses_add(&a, clv_kube_json_text(spec, "clusterIP"));
		addresses_add_list(&a, external, NULL);
		addresses_add_list(&a, ingress, "ip");
	}
	service->ip = a.list;
	service->ip_count = a.count;

	size_t n = list_count(ports);
	struct clv_kube_port *list = piece_take(p, n * sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		struct clv_kube_port port = {0};

		if (!read_port(p, json_array_get(ports, i), "port", &port))
			continue;
		if (list)
			list[service->port_count] = port;
		service->port_count++;
	}
	service->port = list;
}

/* ---- endpoint slices ------------------------------------------------------------------------------------------- */

static struct clv_kube_endpoint read_endpoint(struct piece *p, const json_t *json)
{
	const json_t *addresses = json_object_get(json, "addresses"), *target = json_object_get(json, "targetRef");
	bool pod = strcmp(clv_kube_json_text(target, "kind"), "Pod") == 0;
	struct addresses a = addresses_take(p, list_count(addresses));

	addresses_add_list(&a, addresses, NULL);
	return (struct clv_kube_endpoint){
		.ip_count = a.count,
		.ip = a.list,
		.node = piece_member(p, json, "nodeName"),
		.pod = piece_member(p, pod ? target : NULL, "name"),
		.pod_uid = piece_member(p, pod ? target : NULL, "uid"),
	};
}

static void read_endpointslice(struct piece *p, const json_t *json, void *object)
{
	const json_t *labels = json_object_get(json_object_get(json, "metadata"), "labels");
	const json_t *endpoints = json_object_get(json, "endpoints");
	struct clv_kube_endpointslice *slice = object;

	slice->service = piece_member(p, labels, "kubernetes.io/service-name");
	slice->endpoint_count = list_count(endpoints);
	struct clv_kube_endpoint *list = piece_take(p, slice->endpoint_count * sizeof(*list));
	for (size_t i = 0; i < slice->endpoint_count; i++) {
		struct clv_kube_endpoint endpoint = read_endpoint(p, json_array_get(endpoints, i));

		if (list)
			list[i] = endpoint;
	}
	slice->endpoint = list;
}

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

static bool read_range(const char *text, struct clv_kube_range *out)
{
	const char *slash = strchr(text, '/');
	char addr[CLV_ADDR_TEXT], *end;

	if (!slash || (size_t)(slash - text) >= sizeof(addr) || slash[1] < '0' || slash[1] > '9')
		return false;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (clv_addr_parse(addr, &out->addr))
		return false;
	bool v4 = clv_addr_is_v4(&out->addr) && !strchr(addr, ':');
	unsigned long bits = strtoul(slash + 1, &end, 10);
	if (*end || bits > (v4 ? 32 : 128))
		return false;
	out->bits = (uint8_t)(bits + (v4 ? 96 : 0));
	return true;
}

static void read_ranges(struct piece *p, const json_t *spec, struct clv_kube_node *node)
{
	const json_t *cidrs = json_object_get(spec, "podCIDRs");
	size_t n = list_count(cidrs);
	struct clv_kube_range *list = piece_take(p, (n + 1) * sizeof(*list)), range;

	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(cidrs, i));

		if (!text || !read_range(text, &range))
			continue;
		if (list)
			list[node->range_count] = range;
		node->range_count++;
	}
	if (!node->range_count && read_range(clv_kube_json_text(spec, "podCIDR"), &range)) {
		if (list)
			list[0] = range;
		node->range_count = 1;
	}
	node->range = list;
}

static void read_node(struct piece *p, const json_t *json, void *object)
{
	const json_t *list = json_object_get(json_object_get(json, "status"), "addresses");
	struct clv_kube_node *node = object;
	size_t n = list_count(list);
	struct addresses a = addresses_take(p, n);

	for (size_t i = 0; i < n; i++) {
		const json_t *entry = json_array_get(list, i);
		const char *type = clv_kube_json_text(entry, "type");

		if (strcmp(type, "InternalIP") == 0 || strcmp(type, "ExternalIP") == 0)
			addresses_add(&a, clv_kube_json_text(entry, "address"));
	}
	node->ip = a.list;
	node->ip_count = a.count;
	read_ranges(p, json_object_get(json, "spec"), node);
}

/* ---- any of them ----------------------------------------------------------------------------------------------- */

static void read_nothing(struct piece *p, const json_t *json, void *object)
{
}

static const struct {
	const char *name;
	size_t bytes;
	void (*read)(struct piece *p, const json_t *json, void *object);
} kinds[CLV_KUBE_KINDS] = {
	[CLV_KUBE_POD] = {"Pod", sizeof(struct clv_kube_pod), read_pod},
	[CLV_KUBE_SERVICE] = {"Service", sizeof(struct clv_kube_service), read_service},
	[CLV_KUBE_ENDPOINTSLICE] = {"EndpointSlice", sizeof(struct clv_kube_endpointslice), read_endpointslice},
	[CLV_KUBE_REPLICASET] = {"ReplicaSet", sizeof(struct clv_kube_replicaset), read_nothing},
	[CLV_KUBE_NODE] = {"Node", sizeof(struct clv_kube_node), read_node},
};

/* Any of them in its own size; the head comes first in each. */
union any {
	struct clv_kube_object head;
	struct clv_kube_pod pod;
	struct clv_kube_service service;
	struct clv_kube_endpointslice slice;
	struct clv_kube_replicaset replicaset;
	struct clv_kube_node node;
};

/* false: it is not one of that kind. */
static bool read_any(struct piece *p, enum clv_kube_kind kind, const json_t *json)
{
	union any any;
	void *at = piece_take(p, kinds[kind].bytes);

	memset(&any, 0, sizeof(any));
	if (!read_head(p, kind, json, &any.head))
		return false;
	kinds[kind].read(p, json, &any);
	any.head.bytes = p->used;
	if (at)
		memcpy(at, &any, kinds[kind].bytes);
	return true;
}

/* Items of a list do not say what they are; metadata alone says that it is that. */
static bool kind_matches(enum clv_kube_kind kind, const json_t *json)
{
	const char *said = clv_kube_json_text(json, "kind");

	return !*said || strcmp(said, kinds[kind].name) == 0 || strcmp(said, "PartialObjectMetadata") == 0;
}

struct clv_kube_object *clv_kube_parse_json(enum clv_kube_kind kind, const json_t *json)
{
	struct piece p = {0};

	if (!kind_matches(kind, json) || !read_any(&p, kind, json)) {
		errno = EBADMSG;
		return NULL;
	}
	p.base = malloc(p.used);
	if (!p.base) {
		errno = ENOMEM;
		return NULL;
	}
	p.used = 0;
	read_any(&p, kind, json);
	return (struct clv_kube_object *)p.base;
}

struct clv_kube_object *clv_kube_parse(enum clv_kube_kind kind, struct clv_slice text)
{
	if (text.len > CLV_KUBE_OBJECT_BYTES || !clv_kube_json_is_small(text)) {
		errno = EBADMSG;
		return NULL;
	}
	json_t *json = clv_kube_json(text);
	if (!json)
		return NULL;
	struct clv_kube_object *object = clv_kube_parse_json(kind, json);
	int err = errno;
	json_decref(json);
	errno = err;
	return object;
}
