/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: /proc/PID/cgroup, whose paths a container may make up. Names are made of what names may have, and what is
 * taken of a path is in it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kube/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct clv_cgroup_name *n)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	assert(*n->pod_uid || *n->container);
	assert(strspn(n->pod_uid, "0123456789abcdef-") == strlen(n->pod_uid));
	assert(strspn(n->container, name) == strlen(n->container));
	assert(n->runtime && n->pod_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *text = malloc(size ? size : 1); /* its own, so that reading beyond it is seen */
	struct clv_cgroup_name name;
	struct clv_slice v2;

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	if (clv_cgroup_of_process(clv_slice(text, size), &name, &v2))
		check(&name);
	assert(v2.len <= size);
	if (clv_cgroup_parse(clv_slice(text, size), &name)) {
		check(&name);
		assert(name.pod_len <= size);
	}
	free(text);
	return 0;
}
