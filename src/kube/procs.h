/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of a host, and what is remembered of each: so that looking again costs little. Part of podnet. One
 * thread.
 */
#ifndef CLV_KUBE_PROCS_H
#define CLV_KUBE_PROCS_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A process that is as it was for less than this is always read again: it may just be becoming a container's. */
#define CLV_PROCS_YOUNG_NS (1000ull * 1000 * 1000)
/* And any is, after this. */
#define CLV_PROCS_TRUST_NS (60ull * 1000 * 1000 * 1000)

struct clv_proc {
	int32_t pid;
	uint64_t inode;    /* of /proc/PID: with another one, it is another process */
	uint64_t since_ns; /* it is as it is since then, as far as we saw */
	uint64_t read_ns;  /* 0: never */
	bool due;          /* to be read in this scan */
	/* What the reader found. */
	void *owner;    /* its container, or NULL */
	uint64_t netns; /* 0: not known */
	bool denied;    /* the namespace may not be read */
	bool stranger;  /* its cgroup is not ours */
};

struct clv_procs {
	DIR *dir;
	struct clv_proc *proc; /* by pid */
	size_t count, cap;
	struct clv_proc *before; /* those of the last scan */
	size_t before_count, before_cap;
};

/* Returns 0 or -errno. */
int clv_procs_open(struct clv_procs *ps, const char *path);
void clv_procs_close(struct clv_procs *ps);

/*
 * Lists the processes. What is known of those that were there before stays, `gone` is told of those that went. Returns
 * 0, or -errno and the last scan's processes.
 */
int clv_procs_scan(struct clv_procs *ps, uint64_t now_ns, void (*gone)(void *ctx, struct clv_proc *proc), void *ctx);

/* /proc/PID/NAME into `out`, NUL-terminated; longer text is cut. pid 0: our own. Returns its length or -errno. */
int clv_procs_read(const struct clv_procs *ps, int32_t pid, const char *name, char *out, size_t size);
/* The number in the link /proc/PID/ns/NAME. Returns 0 or -errno. */
int clv_procs_namespace(const struct clv_procs *ps, int32_t pid, const char *name, uint64_t *inode);
/* Returns a descriptor of /proc/PID/ns/net that the caller closes, or -errno. */
int clv_procs_netns_open(const struct clv_procs *ps, int32_t pid);
/* When it started, in ticks since the host did; UINT64_MAX: it has ended. */
uint64_t clv_procs_started(const struct clv_procs *ps, int32_t pid);

#endif
