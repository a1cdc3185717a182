/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cgroup's path tells of the container in it. The forms are those of kubelet's two drivers, containerd, CRI-O,
 * Docker, Podman, crun, kind, systemd-nspawn and LXC; fixtures of all of them are in tests/unit. Pure functions: any
 * thread.
 */
#ifndef CLV_KUBE_CGROUP_H
#define CLV_KUBE_CGROUP_H

#include <stdbool.h>

#include "base/slice.h"

struct clv_cgroup_name {
	char pod_uid[37];    /* as the API has it, with dashes; a static pod's is a hash of 32 digits; "": no pod */
	char container[65];  /* 64 hexadecimal digits, or a machine's name; "": the pod's own cgroup */
	const char *runtime; /* "containerd", "cri-o", "docker", "podman", "systemd-nspawn", "lxc"; "": not said */
	size_t pod_len;      /* so many bytes of the path are the pod's cgroup, or the container's without a pod */
};

/* false: no container, or one of those that only watch another one (crio-conmon, libpod-conmon). */
bool clv_cgroup_parse(struct clv_slice path, struct clv_cgroup_name *out);

/*
 * /proc/PID/cgroup: the first of its lines that names a pod, or else a container. `v2`: the path on the "0::" line, or
 * empty; it borrows from `text`. false: no container.
 */
bool clv_cgroup_of_process(struct clv_slice text, struct clv_cgroup_name *out, struct clv_slice *v2);

#endif
