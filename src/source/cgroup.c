/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the mount table and directories of cgroups. Keeps nothing, writes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "source/cgroup.h"

static int text_copy(char *to, size_t size, const char *a, const char *b)
{
	int n = snprintf(to, size, "%s%s%s", a, *b && *b != '/' ? "/" : "", b);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int clv_cgroup_mount(char *path, size_t size)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	const struct mntent *m;
	int err = -ENOENT;

	if (!f)
		return -errno;
	while (err == -ENOENT && (m = getmntent(f)))
		if (strcmp(m->mnt_type, "cgroup2") == 0)
			err = text_copy(path, size, m->mnt_dir, "");
	endmntent(f);
	return err;
}

int clv_cgroup_open(const char *path, uint64_t *id)
{
	struct statfs fs;
	struct stat st = {0};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) || fstat(fd, &st))
		err = -errno;
	else if (fs.f_type != CGROUP2_SUPER_MAGIC)
		err = -EINVAL;
	if (err) {
		close(fd);
		return err;
	}
	*id = st.st_ino;
	return fd;
}

/* Is there such a cgroup? */
static int cgroup_try(const char *path)
{
	uint64_t id;
	int fd = clv_cgroup_open(path, &id);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

int clv_cgroup_find(const char *text, char *path, size_t size)
{
	char mount[4096], below[8192];
	int as_is = *text == '/' ? cgroup_try(text) : -ENOENT, err;

	if (!as_is)
		return text_copy(path, size, text, "");
	err = clv_cgroup_mount(mount, sizeof(mount));
	if (!err)
		err = text_copy(below, sizeof(below), mount, text);
	if (!err)
		err = cgroup_try(below);
	if (err) /* of the two errors the one that says more */
		return err == -ENOENT ? as_is : err;
	return text_copy(path, size, below, "");
}
