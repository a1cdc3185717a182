/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container without a pod is called: by the files in which Docker and Podman keep their containers, which are
 * read when they are asked about and only then. No socket of theirs is used: it would give power over the host.
 *
 * Any thread.
 */
#ifndef CLV_KUBE_HOST_H
#define CLV_KUBE_HOST_H

#include "kube/cgroup.h"
#include "model/resource.h"

/* The longest of those files that is read. */
#define CLV_HOST_FILE_BYTES (2u << 20)
#define CLV_HOST_ATTRS      6

struct clv_host_config {
	const char *docker; /* Docker's directory; NULL: /var/lib/docker */
	const char *podman; /* Podman's storage, that of root; NULL: /var/lib/containers/storage */
};

/*
 * A container's resource. service.name is the first of: the service of Docker Compose or Swarm, the container's name,
 * the first 12 digits of its id. Attributes: service.namespace (the project, the stack), service.instance.id,
 * container.id, container.name, container.runtime.name, container.image.name (semantic conventions 1.44,
 * registry/attributes/container), as far as they are known.
 */
struct clv_host_resource {
	struct clv_slice service;
	size_t count;
	struct clv_resource_attr attr[CLV_HOST_ATTRS];
	size_t used;
	char text[1024];
};

/* Strings are constants or of out->text. `config` may be NULL. */
void clv_host_resource(const struct clv_host_config *config, const struct clv_cgroup_name *name,
		       struct clv_host_resource *out);

#endif
