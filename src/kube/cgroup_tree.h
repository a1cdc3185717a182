/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of pods in the tree of cgroups, version 2. Part of podnet. One thread.
 */
#ifndef CLV_KUBE_CGROUP_TREE_H
#define CLV_KUBE_CGROUP_TREE_H

#include "kube/cgroup.h"

#include <stdint.h>

/* Of one search through the tree; deeper, or more, is not looked at. */
#define CLV_CGROUP_TREE_DEPTH 12
#define CLV_CGROUP_TREE_DIRS  20000

struct clv_cgroup_dir {
	char *path; /* below the root; NULL: none */
	uint64_t inode;
};

struct clv_cgroup_tree;

/* `root`: v2 itself, or a hybrid's that has v2 in "unified". A host without v2 has no directories. Returns 0 or -errno.
 */
int clv_cgroup_tree_open(const char *root, struct clv_cgroup_tree **out);
/* NULL is allowed. */
void clv_cgroup_tree_close(struct clv_cgroup_tree *t);

/* The tree may have changed: at the beginning of each scan. */
void clv_cgroup_tree_forget(struct clv_cgroup_tree *t);
/*
 * The directory of the pod, or of the container without a pod, that `name` was read of `path`: a process's path as
 * this process sees it. From within a cgroup namespace that is not from the root: then the tree is searched, once
 * a scan. Returns 0 with a path that the caller frees, -ENOENT, or -ENOMEM.
 */
int clv_cgroup_tree_find(struct clv_cgroup_tree *t, struct clv_slice path, const struct clv_cgroup_name *name,
			 struct clv_cgroup_dir *out);

#endif
