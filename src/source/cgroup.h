/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, version 2, as directories: where they are, which one is meant, what the kernel calls it. Any thread.
 */
#ifndef CLV_SOURCE_CGROUP_H
#define CLV_SOURCE_CGROUP_H

#include <stddef.h>
#include <stdint.h>

/*
 * Where version 2 is mounted in this mount namespace; beside version 1 that is often /sys/fs/cgroup/unified. Returns 0,
 * -ENOENT when it is nowhere, -ENAMETOOLONG, or -errno.
 */
int clv_cgroup_mount(char *path, size_t size);

/*
 * The directory that `text` means: itself, or below the mount. Returns 0 and the path; -ENOENT when there is none,
 * -EINVAL when there is one but of no cgroup of version 2, -ENAMETOOLONG, or -errno.
 */
int clv_cgroup_find(const char *text, char *path, size_t size);

/* Opens a directory. Returns a descriptor, which the caller closes, and the cgroup's id, or -errno; -EINVAL as above.
 */
int clv_cgroup_open(const char *path, uint64_t *id);

#endif
