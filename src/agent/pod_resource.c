/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's resource. Owns nothing: strings are the objects' own, or the caller's room's. Engine thread. */
#include <stdio.h>

#include "agent/cluster_internal.h"
#include "base/buf.h"

#define ANNOTATION "resource.opentelemetry.io/"

/* NULL when it is not there, or empty. */
static const char *pair_of(const struct clv_kube_pairs *pairs, const char *key)
{
	const char *value = clv_kube_pairs_get(pairs, key);

	return value && *value ? value : NULL;
}

/* The first of the labels that may name a service or its version, if the user wants them to. */
static const char *label_of(const struct clv_cluster *c, const struct clv_kube_pod *pod, const char *key)
{
	return c->config.labels_name_services ? pair_of(&pod->labels, key) : NULL;
}

struct clv_slice clv_cluster_service_name(const struct clv_cluster *c, const struct clv_kube_pod *pod,
					  const struct clv_owners *owners)
{
	const char *name = pair_of(&pod->annotations, ANNOTATION "service.name");

	if (!name)
		name = label_of(c, pod, "app.kubernetes.io/instance");
	if (!name)
		name = label_of(c, pod, "app.kubernetes.io/name");
	if (name)
		return clv_slice_str(name);
	return owners->count ? owners->owner[owners->count - 1].name : clv_slice_str(pod->head.name);
}

struct clv_slice clv_cluster_service_namespace(const struct clv_kube_pod *pod)
{
	const char *namespace = pair_of(&pod->annotations, ANNOTATION "service.namespace");

	return clv_slice_str(namespace ? namespace : pod->head.namespace);
}

static bool resource_has(const struct clv_cluster_resource *r, struct clv_slice key)
{
	for (size_t i = 0; i < r->count; i++)
		if (clv_slice_eq(r->attr[i].key, key))
			return true;
	return clv_slice_eq(key, CLV_LIT("service.name"));
}

static void resource_add(struct clv_cluster_resource *r, struct clv_slice key, struct clv_slice value)
{
	if (!value.len)
		return;
	if (r->count == CLV_CLUSTER_ATTRS || r->bytes + key.len + value.len > CLV_CLUSTER_ATTR_BYTES) {
		r->left_out++;
		return;
	}
	r->attr[r->count++] = (struct clv_resource_attr){key, value};
	r->bytes += key.len + value.len;
}

static void resource_owners(struct clv_cluster_resource *r, const struct clv_owners *owners)
{
	static const struct {
		struct clv_slice kind, name, uid;
	} kinds[] = {
		{CLV_LIT("Deployment"), CLV_LIT("k8s.deployment.name"), CLV_LIT("k8s.deployment.uid")},
		{CLV_LIT("ReplicaSet"), CLV_LIT("k8s.replicaset.name"), CLV_LIT("k8s.replicaset.uid")},
		{CLV_LIT("StatefulSet"), CLV_LIT("k8s.statefulset.name"), CLV_LIT("k8s.statefulset.uid")},
		{CLV_LIT("DaemonSet"), CLV_LIT("k8s.daemonset.name"), CLV_LIT("k8s.daemonset.uid")},
		{CLV_LIT("CronJob"), CLV_LIT("k8s.cronjob.name"), CLV_LIT("k8s.cronjob.uid")},
		{CLV_LIT("Job"), CLV_LIT("k8s.job.name"), CLV_LIT("k8s.job.uid")},
		{CLV_LIT("ReplicationController"), CLV_LIT("k8s.replicationcontroller.name"),
		 CLV_LIT("k8s.replicationcontroller.uid")},
	};

	for (size_t i = 0; i < owners->count; i++)
		for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
			if (clv_slice_eq(owners->owner[i].kind, kinds[k].kind)) {
				resource_add(r, kinds[k].name, owners->owner[i].name);
				resource_add(r, kinds[k].uid, owners->owner[i].uid);
			}
}

/* The container whose telemetry it is, if there is only one that can be it; otherwise empty. */
static struct clv_slice only_container(const struct clv_kube_pod *pod)
{
	struct clv_slice name = {0};

	for (size_t i = 0; i < pod->container_count; i++) {
		if (!pod->container[i].main)
			continue;
		if (name.len)
			return clv_slice(NULL, 0);
		name = clv_slice_str(pod->container[i].name);
	}
	return name;
}

/* service.instance.id: namespace, pod, and the container, if there is no doubt which one. */
static struct clv_slice resource_instance(struct clv_cluster_resource *r, const struct clv_kube_pod *pod,
					  struct clv_slice container)
{
	const char *given = pair_of(&pod->annotations, ANNOTATION "service.instance.id");
	struct clv_buf b = clv_buf(r->text, sizeof(r->text));

	if (given)
		return clv_slice_str(given);
	clv_buf_printf(&b, "%s.%s", pod->head.namespace, pod->head.name);
	if (container.len) {
		clv_buf_char(&b, '.');
		clv_buf_slice(&b, container);
	}
	return b.cut ? clv_slice(NULL, 0) : clv_slice(b.data, b.len);
}

/* Whatever else annotations say. What is known here they do not change. */
static void resource_annotations(struct clv_cluster_resource *r, const struct clv_kube_pod *pod)
{
	for (size_t i = 0; i < pod->annotations.count; i++) {
		struct clv_slice key = clv_slice_str(pod->annotations.pair[i].key);

		if (!clv_slice_starts(key, CLV_LIT(ANNOTATION)))
			continue;
		key = clv_slice_from(key, sizeof(ANNOTATION) - 1);
		if (key.len && !resource_has(r, key))
			resource_add(r, key, clv_slice_str(pod->annotations.pair[i].value));
	}
}

void clv_cluster_resource(const struct clv_cluster *c, const struct clv_kube_pod *pod, struct clv_cluster_resource *out)
{
	struct clv_owners owners = clv_cluster_owners(c, pod);
	struct clv_slice container = only_container(pod);
	const char *version = pair_of(&pod->annotations, ANNOTATION "service.version");

	out->count = out->bytes = out->left_out = 0;
	out->service = clv_slice_head(clv_cluster_service_name(c, pod, &owners), CLV_SERVICE_MAX);
	out->bytes = sizeof("service.name") - 1 + out->service.len;
	resource_add(out, CLV_LIT("service.namespace"), clv_cluster_service_namespace(pod));
	resource_add(out, CLV_LIT("service.instance.id"), resource_instance(out, pod, container));
	if (!version)
		version = label_of(c, pod, "app.kubernetes.io/version");
	if (version)
		resource_add(out, CLV_LIT("service.version"), clv_slice_str(version));
	if (c->cluster_name)
		resource_add(out, CLV_LIT("k8s.cluster.name"), clv_slice_str(c->cluster_name));
	resource_add(out, CLV_LIT("k8s.namespace.name"), clv_slice_str(pod->head.namespace));
	resource_add(out, CLV_LIT("k8s.node.name"), clv_slice_str(pod->node));
	resource_add(out, CLV_LIT("k8s.pod.name"), clv_slice_str(pod->head.name));
	resource_add(out, CLV_LIT("k8s.pod.uid"), clv_slice_str(pod->head.uid));
	resource_add(out, CLV_LIT("k8s.container.name"), container);
	resource_owners(out, &owners);
	resource_annotations(out, pod);
}
