/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns a pod, up to the top. Owns nothing; never guesses. Engine thread. */
#include "agent/cluster_internal.h"

/* A CronJob's Jobs are called after the minute, formerly the second, of their time. */
#define JOB_TIME_LEAST 8
#define JOB_TIME_MOST  10

static void owners_add(struct clv_owners *o, struct clv_slice kind, struct clv_slice name, struct clv_slice uid)
{
	o->owner[o->count].kind = kind;
	o->owner[o->count].name = name;
	o->owner[o->count++].uid = uid;
}

/* `name` without "-" and `tail` at its end; empty when it does not end so. */
static struct clv_slice without_tail(struct clv_slice name, struct clv_slice tail)
{
	size_t at = name.len - tail.len;

	if (!tail.len || name.len < tail.len + 2 || name.data[at - 1] != '-' ||
	    !clv_slice_eq(clv_slice_from(name, at), tail))
		return clv_slice(NULL, 0);
	return clv_slice_head(name, at - 1);
}

/* What follows the last "-", or nothing. */
static struct clv_slice tail_of(struct clv_slice name)
{
	const uint8_t *dash = name.len ? memrchr(name.data, '-', name.len) : NULL;

	return dash ? clv_slice_from(name, (size_t)(dash - name.data) + 1) : clv_slice(NULL, 0);
}

static struct clv_slice cronjob_of(struct clv_slice job)
{
	struct clv_slice time = tail_of(job);

	for (size_t i = 0; i < time.len; i++)
		if (time.data[i] < '0' || time.data[i] > '9')
			return clv_slice(NULL, 0);
	if (time.len < JOB_TIME_LEAST || time.len > JOB_TIME_MOST)
		return clv_slice(NULL, 0);
	return without_tail(job, time);
}

/* Whose the ReplicaSet is. */
static void owners_above(struct clv_owners *o, const struct clv_kube_object *replicaset)
{
	if (replicaset->owner.name[0])
		owners_add(o, clv_slice_str(replicaset->owner.kind), clv_slice_str(replicaset->owner.name),
			   clv_slice_str(replicaset->owner.uid));
}

struct clv_owners clv_cluster_owners(const struct clv_cluster *c, const struct clv_kube_pod *pod)
{
	struct clv_slice kind = clv_slice_str(pod->head.owner.kind), name = clv_slice_str(pod->head.owner.name);
	struct clv_owners o = {0};

	if (!name.len || clv_slice_eq(kind, CLV_LIT("Node"))) /* the kubelet's own pods are nobody's */
		return o;
	owners_add(&o, kind, name, clv_slice_str(pod->head.owner.uid));
	if (clv_slice_eq(kind, CLV_LIT("Job"))) {
		struct clv_slice cronjob = cronjob_of(name);

		if (cronjob.len)
			owners_add(&o, CLV_LIT("CronJob"), cronjob, clv_slice(NULL, 0));
	}
	if (!clv_slice_eq(kind, CLV_LIT("ReplicaSet")))
		return o;
	const struct clv_known *known =
		clv_cluster_store_find(&c->store, CLV_KUBE_REPLICASET, clv_slice_str(pod->head.namespace), name);
	if (known && clv_slice_eq(o.owner[0].uid, clv_slice_str(known->object->uid))) {
		owners_above(&o, known->object);
		return o;
	}
	const char *hash = clv_kube_pairs_get(&pod->labels, "pod-template-hash");
	struct clv_slice deployment = hash ? without_tail(name, clv_slice_str(hash)) : clv_slice(NULL, 0);
	if (deployment.len)
		owners_add(&o, CLV_LIT("Deployment"), deployment, clv_slice(NULL, 0));
	return o;
}

struct clv_owners clv_cluster_owners_by_name(const struct clv_cluster *c, const char *namespace, const char *pod)
{
	struct clv_slice name = clv_slice_str(pod), replicaset = without_tail(name, tail_of(name));
	struct clv_owners o = {0};
	const struct clv_known *known =
		clv_cluster_store_find(&c->store, CLV_KUBE_REPLICASET, clv_slice_str(namespace), replicaset);

	if (!known)
		return o;
	owners_add(&o, CLV_LIT("ReplicaSet"), replicaset, clv_slice_str(known->object->uid));
	owners_above(&o, known->object);
	return o;
}
