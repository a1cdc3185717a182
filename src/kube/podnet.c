/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what is known of this host's containers. Opens a namespace only to ask for its number, and closes it at once:
 * none lives longer because of us. One thread.
 *
 * A scan lists the processes (procs.h), reads those that are due, gathers them by container, and numbers the
 * containers' namespaces. A container is kept as long as a process of it is.
 */
#include <errno.h>
#include <linux/capability.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "kube/cgroup_tree.h"
#include "kube/podnet.h"
#include "kube/procs.h"
#include "kube/room.h"

/* Of /proc/PID/cgroup: a line a hierarchy, each with a path. */
#define CGROUP_TEXT 16384
/* The inode of the first process namespace (PROC_PID_INIT_INO in the kernel). */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCu

/* A container and its processes. */
struct box {
	struct clv_podnet_container c;
	struct clv_cgroup_dir dir;
	bool named_v2;   /* its processes name a v2 cgroup */
	size_t procs;    /* that point to it */
	uint64_t placed; /* the scan that looked for its directory */
	/* Of the scan that is running: */
	uint64_t scan;
	struct clv_proc *first; /* the process whose namespace is the container's */
};

struct address {
	struct clv_addr addr;
	int32_t nsid;
};

struct clv_podnet {
	struct clv_links *links;
	struct clv_procs procs;
	struct clv_cgroup_tree *tree;
	void *boxes;        /* tsearch()'s tree, by container and pod */
	uint64_t own_netns; /* 0: not known */
	bool first_pidns;   /* our processes are numbered by the first process namespace */
	char own_cgroup[CGROUP_TEXT];
	char cgroup[CGROUP_TEXT]; /* of the process being read */
	uint64_t scans;
	bool listed;      /* in this scan: the links, so that namespaces have numbers */
	struct box **box; /* those of the last scan */
	size_t count, cap;
	struct clv_podnet_container *containers; /* their copies, for the caller */
	/* By address: */
	bool addressed; /* since the last scan */
	int address_err;
	struct address *address;
	size_t address_count, address_cap;
	char trouble[256];
};

/* ---- life ------------------------------------------------------------------------------------------- */

static void own_read(struct clv_podnet *p)
{
	uint64_t pidns = 0;

	if (clv_procs_read(&p->procs, 0, "cgroup", p->own_cgroup, sizeof(p->own_cgroup)) < 0)
		*p->own_cgroup = '\0';
	clv_procs_namespace(&p->procs, 0, "net", &p->own_netns);
	clv_procs_namespace(&p->procs, 0, "pid", &pidns);
	p->first_pidns = pidns == FIRST_PID_NAMESPACE;
}

int clv_podnet_open(const struct clv_podnet_config *config, struct clv_podnet **out)
{
	struct clv_podnet *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;

	int err = clv_procs_open(&p->procs, config->proc ? config->proc : "/proc");

	if (err) {
		free(p);
		return err;
	}
	err = clv_cgroup_tree_open(config->cgroup ? config->cgroup : "/sys/fs/cgroup", &p->tree);
	if (err) {
		clv_podnet_close(p);
		return err;
	}
	p->links = config->links;
	own_read(p);
	*out = p;
	return 0;
}

/* ---- containers ------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct box *x = a, *y = b;
	int order = strcmp(x->c.name.container, y->c.name.container);

	return order ? order : strcmp(x->c.name.pod_uid, y->c.name.pod_uid);
}

static struct box *box_get(struct clv_podnet *p, const struct clv_cgroup_name *name)
{
	struct box *box = calloc(1, sizeof(*box));

	if (!box)
		return NULL;
	box->c = (struct clv_podnet_container){.name = *name, .nsid = -1, .cgroup = ""};

	struct box **slot = tsearch(box, &p->boxes, by_name);

	if (!slot || *slot != box)
		free(box);
	if (!slot)
		return NULL;
	(*slot)->procs++;
	return *slot;
}

static void box_put(struct clv_podnet *p, struct box *box)
{
	if (!box || --box->procs)
		return;
	tdelete(box, &p->boxes, by_name);
	free(box->dir.path);
	free(box);
}

void clv_podnet_close(struct clv_podnet *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->procs.count; i++)
		box_put(p, p->procs.proc[i].owner);
	clv_procs_close(&p->procs);
	clv_cgroup_tree_close(p->tree);
	free(p->box);
	free(p->containers);
	free(p->address);
	free(p);
}

/* Its directory in the tree; once a scan. */
static void box_place(struct clv_podnet *p, struct box *box, struct clv_slice v2)
{
	struct clv_cgroup_name name;
	struct clv_cgroup_dir dir = {0};

	if (box->placed == p->scans)
		return;
	box->placed = p->scans;
	box->named_v2 = clv_cgroup_parse(v2, &name) && !strcmp(name.pod_uid, box->c.name.pod_uid);
	if (box->named_v2)
		clv_cgroup_tree_find(p->tree, v2, &name, &dir);
	free(box->dir.path);
	box->dir = dir;
	box->c.cgroup = dir.path ? dir.path : "";
	box->c.cgroup_inode = dir.inode;
}

/* ---- processes -------------------------------------------------------------------------------------- */

static void proc_gone(void *ctx, struct clv_proc *proc)
{
	box_put(ctx, proc->owner);
}

/* Whose it is, by its cgroup; NULL: no container's, or it has ended. */
static struct box *proc_box(struct clv_podnet *p, struct clv_proc *proc)
{
	struct clv_cgroup_name name;
	struct clv_slice v2;
	int len = clv_procs_read(&p->procs, proc->pid, "cgroup", p->cgroup, sizeof(p->cgroup));

	proc->stranger = len >= 0 && strcmp(p->cgroup, p->own_cgroup) != 0;
	if (len < 0 || !clv_cgroup_of_process(clv_slice(p->cgroup, (size_t)len), &name, &v2))
		return NULL;
	/* What is in the pod's own cgroup is the runtime's. */
	if (!*name.container)
		return NULL;

	struct box *box = box_get(p, &name);

	if (box)
		box_place(p, box, v2);
	return box;
}

static void proc_read(struct clv_podnet *p, struct clv_proc *proc, uint64_t now_ns)
{
	struct box *was = proc->owner, *box = proc_box(p, proc);
	uint64_t netns = 0;
	int err = box ? clv_procs_namespace(&p->procs, proc->pid, "net", &netns) : 0;

	proc->denied = err == -EACCES || err == -EPERM;
	if (err && !proc->denied) { /* it has ended */
		box_put(p, box);
		box = NULL;
	}
	if (!proc->read_ns || box != was || netns != proc->netns)
		proc->since_ns = now_ns;
	proc->read_ns = now_ns;
	proc->owner = box;
	proc->netns = netns;
	box_put(p, was);
}

/* ---- namespaces ------------------------------------------------------------------------------------- */

static void no_link(void *ctx, const struct clv_link *l)
{
	(void)ctx;
	(void)l;
}

/* The number of the namespace that the process is in; -1: no link leads there. Returns 0, or -errno: it has ended. */
static int netns_number(struct clv_podnet *p, const struct clv_proc *proc, int32_t *nsid)
{
	int fd = clv_procs_netns_open(&p->procs, proc->pid);

	if (fd < 0)
		return fd;

	int err = clv_links_netns_id(p->links, fd, nsid);

	/* Numbers are given when links are listed. */
	if (err == -ENOENT && proc->due && !p->listed) {
		p->listed = true;
		clv_links_list(p->links, no_link, NULL);
		clv_links_netns_id(p->links, fd, nsid);
	}
	close(fd);
	return 0;
}

/* Is `b` the better one to tell the container's namespace? Its first process is; a later one may have gone elsewhere.
 */
static bool tells_better(const struct clv_podnet *p, const struct clv_proc *a, const struct clv_proc *b)
{
	if (!a || !a->netns || !b->netns)
		return !a || (!a->netns && b->netns);
	return a->netns != b->netns && clv_procs_started(&p->procs, b->pid) < clv_procs_started(&p->procs, a->pid);
}

static int by_netns(const void *a, const void *b)
{
	const struct box *x = *(struct box *const *)a, *y = *(struct box *const *)b;

	return (x->c.netns > y->c.netns) - (x->c.netns < y->c.netns);
}

/* Every container once, with the process that tells its namespace. Returns 0 or -ENOMEM. */
static int boxes_gather(struct clv_podnet *p)
{
	p->count = 0;
	for (size_t i = 0; i < p->procs.count; i++) {
		struct clv_proc *proc = &p->procs.proc[i];
		struct box *box = proc->owner;

		if (!box)
			continue;
		if (box->scan != p->scans) {
			struct box **more = clv_room(p->box, p->count, &p->cap, sizeof(struct box *));

			if (!more)
				return -ENOMEM;
			p->box = more;
			box->scan = p->scans;
			box->first = NULL;
			p->box[p->count++] = box;
		}
		if (tells_better(p, box->first, proc))
			box->first = proc;
	}
	return 0;
}

static void box_settle(const struct clv_podnet *p, struct box *box)
{
	const struct clv_proc *first = box->first;

	if (first->due || first->netns != box->c.netns)
		box->c.nsid = -1; /* to be asked for */
	box->c.pid = first->pid;
	box->c.netns = first->netns;
	box->c.host_network = first->netns && first->netns == p->own_netns;
}

/* Numbers the namespace that these share. */
static void boxes_number(struct clv_podnet *p, struct box **box, size_t count)
{
	int32_t nsid = -1;

	if (!box[0]->c.netns || box[0]->c.host_network)
		return;
	for (size_t i = 0; i < count && nsid < 0; i++)
		nsid = box[i]->c.nsid;
	for (size_t i = 0; i < count && nsid < 0; i++)
		if (!netns_number(p, box[i]->first, &nsid))
			break;
	for (size_t i = 0; i < count; i++)
		box[i]->c.nsid = nsid;
}

static void boxes_settle(struct clv_podnet *p)
{
	for (size_t i = 0; i < p->count; i++)
		box_settle(p, p->box[i]);
	if (p->count)
		qsort(p->box, p->count, sizeof(struct box *), by_netns);
	for (size_t i = 0, n; i < p->count; i += n) {
		for (n = 1; i + n < p->count && p->box[i + n]->c.netns == p->box[i]->c.netns; n++)
			;
		boxes_number(p, p->box + i, n);
	}
}

/* ---- trouble ---------------------------------------------------------------------------------------- */

static bool has_ptrace(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	return !syscall(SYS_capget, &head, data) && data[0].effective & (1u << CAP_SYS_PTRACE);
}

/* In a namespace of our own, and nobody but us in it. */
static bool sees_only_itself(const struct clv_podnet *p)
{
	for (size_t i = 0; i < p->procs.count; i++)
		if (p->procs.proc[i].stranger)
			return false;
	return !p->first_pidns;
}

static void find_trouble(struct clv_podnet *p)
{
	size_t denied = 0, lost = 0;

	for (size_t i = 0; i < p->count; i++) {
		denied += !p->box[i]->c.netns;
		lost += p->box[i]->named_v2 && !p->box[i]->dir.path;
	}
	*p->trouble = '\0';
	if (sees_only_itself(p))
		snprintf(p->trouble, sizeof(p->trouble), "no process of a container is visible: hostPID is missing");
	else if (denied && !has_ptrace())
		snprintf(p->trouble, sizeof(p->trouble),
			 "the network namespaces of %zu of %zu containers cannot be read: CAP_SYS_PTRACE is missing",
			 denied, p->count);
	else if (denied)
		snprintf(p->trouble, sizeof(p->trouble),
			 "the network namespaces of %zu of %zu containers cannot be read in spite of CAP_SYS_PTRACE: "
			 "AppArmor or SELinux forbids it, let the agent run unconfined",
			 denied, p->count);
	else if (lost)
		snprintf(p->trouble, sizeof(p->trouble),
			 "the cgroups of %zu of %zu containers are not there: mount the host's /sys/fs/cgroup", lost,
			 p->count);
}

const char *clv_podnet_trouble(const struct clv_podnet *p)
{
	return p->trouble;
}

/* ---- a scan ----------------------------------------------------------------------------------------- */

/* What the caller gets: boxes move no more until the next scan. */
static int containers_copy(struct clv_podnet *p)
{
	struct clv_podnet_container *copy = reallocarray(p->containers, p->count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	p->containers = copy;
	for (size_t i = 0; i < p->count; i++)
		copy[i] = p->box[i]->c;
	return 0;
}

int clv_podnet_scan(struct clv_podnet *p)
{
	uint64_t now_ns = clv_clock_ns();
	int err = clv_procs_scan(&p->procs, now_ns, proc_gone, p);

	if (err)
		return err;
	p->scans++;
	p->listed = p->addressed = false;
	clv_cgroup_tree_forget(p->tree);
	for (size_t i = 0; i < p->procs.count; i++)
		if (p->procs.proc[i].due)
			proc_read(p, &p->procs.proc[i], now_ns);
	err = boxes_gather(p);
	if (!err) {
		boxes_settle(p);
		find_trouble(p);
		err = containers_copy(p);
	}
	if (err)
		p->count = 0;
	return err ? err : (int)p->count;
}

const struct clv_podnet_container *clv_podnet_containers(const struct clv_podnet *p, size_t *count)
{
	*count = p->count;
	return p->containers;
}

/* ---- looking up ------------------------------------------------------------------------------------- */

static bool is_one_of(const char *id, const char *const *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(id, ids[i]))
			return true;
	return false;
}

/* How much a container tells of where its pod's packets pass. */
static int worth(const struct clv_podnet_container *c)
{
	if (c->nsid >= 0)
		return 3;
	return c->netns ? c->host_network ? 1 : 2 : 0;
}

const struct clv_podnet_container *clv_podnet_find(const struct clv_podnet *p, const char *pod_uid,
						   const char *const *ids, size_t id_count)
{
	const struct clv_podnet_container *best = NULL;

	for (size_t i = 0; i < p->count; i++) {
		const struct clv_podnet_container *c = &p->containers[i];
		bool of_pod = pod_uid && *pod_uid && !strcmp(c->name.pod_uid, pod_uid);

		if ((of_pod || is_one_of(c->name.container, ids, id_count)) && (!best || worth(c) > worth(best)))
			best = c;
	}
	return best;
}

/* ---- by address ------------------------------------------------------------------------------------- */

/* The namespaces that links lead into. */
struct nsids {
	int32_t *nsid;
	size_t count, cap;
	bool full; /* no memory */
};

static void nsids_add(void *ctx, const struct clv_link *l)
{
	struct nsids *ns = ctx;

	for (size_t i = 0; i < ns->count; i++)
		if (ns->nsid[i] == l->peer_nsid)
			return;
	if (!clv_link_is_pod(l))
		return;

	int32_t *more = clv_room(ns->nsid, ns->count, &ns->cap, sizeof(*more));

	ns->full = !more;
	if (more) {
		ns->nsid = more;
		more[ns->count++] = l->peer_nsid;
	}
}

struct address_adder {
	struct clv_podnet *p;
	int32_t nsid;
	bool full;
};

static void address_add(void *ctx, const struct clv_addr *addr)
{
	struct address_adder *a = ctx;
	struct clv_podnet *p = a->p;

	struct address *more = clv_room(p->address, p->address_count, &p->address_cap, sizeof(*more));

	a->full |= !more;
	if (more) {
		p->address = more;
		more[p->address_count++] = (struct address){.addr = *addr, .nsid = a->nsid};
	}
}

/* The addresses of all namespaces that links lead into. Returns 0, or why none could be asked. */
static int addresses_collect(struct clv_podnet *p)
{
	struct nsids ns = {0};
	int err = clv_links_list(p->links, nsids_add, &ns);

	err = ns.full ? -ENOMEM : err;
	p->address_count = 0;
	for (size_t i = 0; i < ns.count && err != -ENOMEM; i++) {
		struct address_adder a = {.p = p, .nsid = ns.nsid[i]};
		int one = clv_links_addresses(p->links, ns.nsid[i], address_add, &a);

		err = a.full ? -ENOMEM : one == -EINVAL ? err : one; /* EINVAL: it is gone */
	}
	free(ns.nsid);
	return p->address_count && err != -ENOMEM ? 0 : err;
}

int clv_podnet_find_address(struct clv_podnet *p, const struct clv_addr *addr, int32_t *nsid)
{
	const struct address *found = NULL;

	if (!p->addressed) {
		p->address_err = addresses_collect(p);
		p->addressed = true;
	}
	for (size_t i = 0; i < p->address_count; i++) {
		const struct address *a = &p->address[i];

		if (memcmp(a->addr.b, addr->b, sizeof(addr->b)) != 0)
			continue;
		if (found && found->nsid != a->nsid)
			return -ENOTUNIQ;
		found = a;
	}
	if (!found)
		return p->address_err ? p->address_err : -ENOENT;
	*nsid = found->nsid;
	return 0;
}
