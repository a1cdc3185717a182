/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every object has in common.
 */
#include "kube/objects.h"

#include <stdlib.h>
#include <string.h>

const char *clv_kube_kind_name(enum clv_kube_kind kind)
{
	static const char *const names[CLV_KUBE_KINDS] = {
		[CLV_KUBE_POD] = "pods",
		[CLV_KUBE_SERVICE] = "services",
		[CLV_KUBE_ENDPOINTSLICE] = "endpointslices",
		[CLV_KUBE_REPLICASET] = "replicasets",
		[CLV_KUBE_NODE] = "nodes",
	};

	return names[kind];
}

const char *clv_kube_pairs_get(const struct clv_kube_pairs *pairs, const char *key)
{
	size_t from = 0, to = pairs->count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int order = strcmp(pairs->pair[middle].key, key);

		if (order == 0)
			return pairs->pair[middle].value;
		if (order < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return NULL;
}

void clv_kube_object_free(struct clv_kube_object *object)
{
	free(object);
}
