/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a descriptor of the root of cgroups and, between two scans, a list of the pods' directories in it. Changes
 * nothing there. One thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/cgroup_tree.h"
#include "kube/room.h"

struct tree_entry {
	struct clv_cgroup_name name;
	struct clv_cgroup_dir dir;
};

struct clv_cgroup_tree {
	int root;           /* -1: there is none */
	const char *prefix; /* of v2, below it: "" or "unified/"; NULL: no v2 */
	bool searched;      /* `entry` has all */
	size_t dirs;        /* looked at in the search */
	struct tree_entry *entry;
	size_t count, cap;
};

int clv_cgroup_tree_open(const char *root, struct clv_cgroup_tree **out)
{
	struct clv_cgroup_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* Only v2 has this file in its root. */
	if (!faccessat(t->root, "cgroup.controllers", F_OK, 0))
		t->prefix = "";
	else if (!faccessat(t->root, "unified/cgroup.controllers", F_OK, 0))
		t->prefix = "unified/";
	*out = t;
	return 0;
}

void clv_cgroup_tree_close(struct clv_cgroup_tree *t)
{
	if (!t)
		return;
	clv_cgroup_tree_forget(t);
	free(t->entry);
	if (t->root >= 0)
		close(t->root);
	free(t);
}

void clv_cgroup_tree_forget(struct clv_cgroup_tree *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->entry[i].dir.path);
	t->count = 0;
	t->searched = false;
}

/* ---- the search ------------------------------------------------------------------------------------- */

static bool dir_inode(const struct clv_cgroup_tree *t, const char *path, uint64_t *inode)
{
	struct stat st;

	if (fstatat(t->root, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))
		return false;
	*inode = st.st_ino;
	return true;
}

static void tree_add(struct clv_cgroup_tree *t, const struct clv_cgroup_name *name, const char *path)
{
	struct tree_entry e = {.name = *name};
	struct tree_entry *more = clv_room(t->entry, t->count, &t->cap, sizeof(*more));

	if (!more)
		return;
	t->entry = more;
	if (!dir_inode(t, path, &e.dir.inode))
		return;
	e.dir.path = strdup(path);
	if (e.dir.path)
		more[t->count++] = e;
}

/* Looks through the directory at path[0..len), which ends with "/" unless it is the root. */
static void tree_search(struct clv_cgroup_tree *t, char path[PATH_MAX], size_t len, int depth)
{
	int fd = openat(t->root, len ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (dir && (e = readdir(dir)) && t->dirs < CLV_CGROUP_TREE_DIRS) {
		size_t n = strlen(e->d_name);
		struct clv_cgroup_name name;

		if (e->d_type != DT_DIR || e->d_name[0] == '.' || len + n + 2 > PATH_MAX)
			continue;
		t->dirs++;
		memcpy(path + len, e->d_name, n + 1);
		if (clv_cgroup_parse(clv_slice(path, len + n), &name)) {
			tree_add(t, &name, path);
		} else if (depth < CLV_CGROUP_TREE_DEPTH) {
			memcpy(path + len + n, "/", 2);
			tree_search(t, path, len + n + 1, depth + 1);
		}
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

/* For lfind(): 0 when `b` is the directory of the pod, or of the container that is in none. */
static int differs(const void *a, const void *b)
{
	const struct clv_cgroup_name *name = a, *dir = &((const struct tree_entry *)b)->name;

	return strcmp(dir->pod_uid, name->pod_uid) != 0 ||
	       (*dir->container && strcmp(dir->container, name->container) != 0);
}

static int tree_look_up(struct clv_cgroup_tree *t, const struct clv_cgroup_name *name, struct clv_cgroup_dir *out)
{
	char path[PATH_MAX];

	if (!t->searched) {
		t->dirs = 0;
		t->searched = true;
		tree_search(t, path, (size_t)snprintf(path, sizeof(path), "%s", t->prefix), 0);
	}

	const struct tree_entry *e = lfind(name, t->entry, &t->count, sizeof(*e), differs);

	if (!e)
		return -ENOENT;

	struct clv_cgroup_dir dir = {.path = strdup(e->dir.path), .inode = e->dir.inode};

	if (!dir.path)
		return -ENOMEM;
	*out = dir;
	return 0;
}

/* ---- by path ---------------------------------------------------------------------------------------- */

/* Does it lead out of our cgroup namespace? */
static bool leads_up(struct clv_slice path)
{
	return clv_slice_starts(path, CLV_LIT("/../")) || clv_slice_eq(path, CLV_LIT("/.."));
}

int clv_cgroup_tree_find(struct clv_cgroup_tree *t, struct clv_slice path, const struct clv_cgroup_name *name,
			 struct clv_cgroup_dir *out)
{
	char full[PATH_MAX];
	struct clv_slice own = clv_slice_from(clv_slice_head(path, name->pod_len), 1);
	uint64_t inode;

	if (!t->prefix)
		return -ENOENT;
	if (leads_up(path) ||
	    (size_t)snprintf(full, sizeof(full), "%s%.*s", t->prefix, (int)own.len, own.data) >= sizeof(full))
		return tree_look_up(t, name, out);
	if (!dir_inode(t, full, &inode))
		return tree_look_up(t, name, out);

	struct clv_cgroup_dir dir = {.path = strdup(full), .inode = inode};

	if (!dir.path)
		return -ENOMEM;
	*out = dir;
	return 0;
}
