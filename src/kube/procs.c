/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the directory /proc and the table of processes. Holds nothing of a process open. One thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kube/procs.h"
#include "kube/room.h"

int clv_procs_open(struct clv_procs *ps, const char *path)
{
	DIR *dir = opendir(path);

	if (!dir)
		return -errno;
	*ps = (struct clv_procs){.dir = dir};
	return 0;
}

void clv_procs_close(struct clv_procs *ps)
{
	closedir(ps->dir);
	free(ps->proc);
	free(ps->before);
}

/* ---- the list --------------------------------------------------------------------------------------- */

/* The process that an entry of /proc is of, or 0. */
static int32_t entry_pid(const struct dirent *e)
{
	char *end;
	long pid = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? strtol(e->d_name, &end, 10) : 0;

	return pid > 0 && pid <= INT32_MAX && !*end ? (int32_t)pid : 0;
}

static int procs_add(struct clv_procs *ps, const struct clv_proc *proc)
{
	struct clv_proc *more = clv_room(ps->proc, ps->count, &ps->cap, sizeof(*more));

	if (!more)
		return -ENOMEM;
	ps->proc = more;
	more[ps->count++] = *proc;
	return 0;
}

static int procs_list(struct clv_procs *ps)
{
	const struct dirent *e;

	rewinddir(ps->dir);
	for (errno = 0; (e = readdir(ps->dir)); errno = 0) {
		struct clv_proc proc = {.pid = entry_pid(e), .inode = e->d_ino};

		if (proc.pid && procs_add(ps, &proc))
			return -ENOMEM;
	}
	return -errno;
}

static void procs_swap(struct clv_procs *ps)
{
	struct clv_procs was = *ps;

	ps->proc = was.before;
	ps->count = was.before_count;
	ps->cap = was.before_cap;
	ps->before = was.proc;
	ps->before_count = was.count;
	ps->before_cap = was.cap;
}

static int by_pid(const void *a, const void *b)
{
	const struct clv_proc *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* What was the same for some time is taken to stay so for as long again. */
static bool proc_due(const struct clv_proc *p, uint64_t now_ns)
{
	uint64_t settled = p->read_ns - p->since_ns;

	if (!p->read_ns || settled < CLV_PROCS_YOUNG_NS)
		return true;
	return now_ns - p->read_ns >= (settled < CLV_PROCS_TRUST_NS ? settled : CLV_PROCS_TRUST_NS);
}

int clv_procs_scan(struct clv_procs *ps, uint64_t now_ns, void (*gone)(void *ctx, struct clv_proc *proc), void *ctx)
{
	procs_swap(ps);
	ps->count = 0;

	int err = procs_list(ps);

	if (err) {
		procs_swap(ps);
		return err;
	}
	/* The kernel lists them in order; other file systems need not. */
	if (ps->count)
		qsort(ps->proc, ps->count, sizeof(*ps->proc), by_pid);

	struct clv_proc *old = ps->before, *end = old + ps->before_count;

	for (size_t i = 0; i < ps->count; i++) {
		struct clv_proc *p = &ps->proc[i];

		for (; old < end && old->pid < p->pid; old++)
			gone(ctx, old);
		if (old < end && old->pid == p->pid && old->inode == p->inode)
			*p = *old++;
		p->due = proc_due(p, now_ns);
	}
	for (; old < end; old++)
		gone(ctx, old);
	return 0;
}

/* ---- one process ------------------------------------------------------------------------------------ */

struct proc_path {
	char text[64];
};

static struct proc_path path_of(int32_t pid, const char *name)
{
	struct proc_path path;

	if (pid)
		snprintf(path.text, sizeof(path.text), "%d/%s", pid, name);
	else
		snprintf(path.text, sizeof(path.text), "self/%s", name);
	return path;
}

int clv_procs_read(const struct clv_procs *ps, int32_t pid, const char *name, char *out, size_t size)
{
	int fd = openat(dirfd(ps->dir), path_of(pid, name).text, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	/* The files that we read are written at once: what one call gives is all. */
	ssize_t n = read(fd, out, size - 1);
	int err = n < 0 ? -errno : 0;

	close(fd);
	if (err)
		return err;
	out[n] = '\0';
	return (int)n;
}

int clv_procs_namespace(const struct clv_procs *ps, int32_t pid, const char *name, uint64_t *inode)
{
	char in_ns[16], text[64], *end;

	snprintf(in_ns, sizeof(in_ns), "ns/%s", name);

	ssize_t n = readlinkat(dirfd(ps->dir), path_of(pid, in_ns).text, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0'; /* net:[4026531833] */

	const char *digits = strchr(text, '[');
	uint64_t number = digits ? strtoull(digits + 1, &end, 10) : 0;

	if (!number || *end != ']')
		return -EBADMSG;
	*inode = number;
	return 0;
}

int clv_procs_netns_open(const struct clv_procs *ps, int32_t pid)
{
	int fd = openat(dirfd(ps->dir), path_of(pid, "ns/net").text, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

uint64_t clv_procs_started(const struct clv_procs *ps, int32_t pid)
{
	char text[1024];
	uint64_t ticks;

	if (clv_procs_read(ps, pid, "stat", text, sizeof(text)) < 0)
		return UINT64_MAX;

	/* Field 22 (proc_pid_stat(5)); the second is a name in parentheses that may hold anything. */
	char *at = strrchr(text, ')');

	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, "%" SCNu64, &ticks) == 1 ? ticks : UINT64_MAX;
}
