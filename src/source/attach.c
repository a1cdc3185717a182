/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what this process has put on interfaces and cgroups, and the thread that puts it there. Never touches a qdisc,
 * filter or program of anybody else's. Events cross to the caller's thread through a queue; sweep runs where it is
 * called.
 *
 * What a filter of ours looks like on a clsact qdisc, so that it is known again when its owner is gone: kind bpf,
 * a program named clovisor_*, a handle of HANDLE_BASE with a bit that says whether clovisor made the qdisc. Whether
 * its owner lives is told by the lease in the .bss of its program (wire/record.h).
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "source/attach.h"
#include "base/clock.h"
#include "base/thread.h"
#include "source/cgroup.h"
#include "source/links.h"

#define CLV_TCX_AT_FRONT (1u << 3) /* BPF_F_BEFORE without an anchor */

#define CLV_PRIORITY 1u
/* With a filter of another kind at that priority, the next ones are tried. */
#define CLV_PRIORITY_MAX 8u

#define HANDLE_BASE  0xc1070000u
#define HANDLE_MASK  0xffff0000u
#define HANDLE_QDISC 0x00008000u /* clovisor made the qdisc */
#define HANDLE_TRIES 64u

#define HOOKS 2

static const enum bpf_tc_attach_point tc_points[HOOKS] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
static const uint32_t tc_parents[HOOKS] = {
	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
};

/* ---- what is on a clsact qdisc ---------------------------------------------------------------------- */

struct filter {
	uint32_t handle, priority;
	uint32_t prog_id; /* 0: no BPF filter */
	bool named;       /* its name begins with clovisor_ */
	bool direct;      /* only then is it a filter of a kind that can be ours */
};

/* Enough for every other tool on a host; more are not looked at, and then the qdisc is not removed. */
#define FILTERS_MAX 64

struct filter_list {
	unsigned count; /* may exceed FILTERS_MAX */
	struct filter f[FILTERS_MAX];
};

static int filter_option(const struct nlattr *a, void *data)
{
	struct filter *f = data;

	if (mnl_attr_get_type(a) == TCA_BPF_ID && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		f->prog_id = mnl_attr_get_u32(a);
	else if (mnl_attr_get_type(a) == TCA_BPF_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		f->named = !strncmp(mnl_attr_get_str(a), "clovisor_", 9);
	return MNL_CB_OK;
}

struct filter_attrs {
	const struct nlattr *options;
	bool bpf;
};

static int filter_attr(const struct nlattr *a, void *data)
{
	struct filter_attrs *attrs = data;

	if (mnl_attr_get_type(a) == TCA_KIND)
		attrs->bpf = mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 && !strcmp(mnl_attr_get_str(a), "bpf");
	else if (mnl_attr_get_type(a) == TCA_OPTIONS)
		attrs->options = a;
	return MNL_CB_OK;
}

static int filter_message(const struct nlmsghdr *h, void *data)
{
	struct filter_list *list = data;
	struct filter_attrs attrs = {0};

	if (h->nlmsg_type != RTM_NEWTFILTER || mnl_nlmsg_get_payload_len(h) < sizeof(struct tcmsg))
		return MNL_CB_OK;

	const struct tcmsg *tc = mnl_nlmsg_get_payload(h);
	struct filter f = {.handle = tc->tcm_handle, .priority = TC_H_MAJ(tc->tcm_info) >> 16};

	mnl_attr_parse(h, sizeof(*tc), filter_attr, &attrs);
	if (!f.handle) /* the head of a priority, not a filter */
		return MNL_CB_OK;
	if (attrs.bpf && attrs.options)
		mnl_attr_parse_nested(attrs.options, filter_option, &f);
	if (list->count < FILTERS_MAX)
		list->f[list->count] = f;
	list->count++;
	return MNL_CB_OK;
}

/* The filters of one hook. Without a clsact qdisc there are none. */
static int filters_list(uint32_t ifindex, enum clv_hook hook, struct filter_list *list)
{
	char buf[16384];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(h, sizeof(*tc));
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int run = MNL_CB_ERROR, err;

	if (!s)
		return -errno;
	list->count = 0;
	h->nlmsg_type = RTM_GETTFILTER;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = 1;
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = tc_parents[hook];
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) >= 0 && mnl_socket_sendto(s, h, h->nlmsg_len) >= 0)
		run = MNL_CB_OK;
	while (run > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(s, buf, sizeof(buf));

		run = n < 0 ? MNL_CB_ERROR
			    : mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(s), filter_message, list);
	}
	err = run < 0 ? -errno : 0;
	mnl_socket_close(s);
	return err == -EINVAL || err == -ENOENT ? 0 : err;
}

static bool filter_is_ours(const struct filter *f)
{
	return f->named && f->prog_id && (f->handle & HANDLE_MASK) == HANDLE_BASE;
}

/* The lease in one map, if it is the .bss of a clovisor program; otherwise 0. */
static uint64_t map_lease(uint32_t map_id)
{
	uint64_t bss[512] = {0}; /* another version's may be longer; the lease stands at its beginning */
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), zero = 0;
	int fd = bpf_map_get_fd_by_id(map_id);

	if (fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.value_size <= sizeof(bss) && strstr(info.name, ".bss"))
		bpf_map_lookup_elem(fd, &zero, bss);
	close(fd);
	return bss[0];
}

/* Does somebody still renew the lease of this program? Returns 0 or 1, or -errno when that cannot be told. */
static int prog_is_live(uint32_t prog_id)
{
	uint32_t maps[32] = {0};
	struct bpf_prog_info info = {.nr_map_ids = 32, .map_ids = (uintptr_t)maps};
	uint32_t len = sizeof(info);
	uint64_t lease = 0;
	int fd = bpf_prog_get_fd_by_id(prog_id);

	if (fd < 0)
		return -errno;
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	close(fd);
	if (err)
		return -errno;
	for (uint32_t i = 0; i < info.nr_map_ids && i < 32; i++) {
		uint64_t found = map_lease(maps[i]);

		lease = found > lease ? found : lease;
	}
	return lease > clv_clock_ns();
}

static int filter_remove(uint32_t ifindex, enum clv_hook hook, uint32_t handle, uint32_t priority)
{
	LIBBPF_OPTS(bpf_tc_hook, h, .ifindex = (int)ifindex, .attach_point = tc_points[hook]);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = priority);

	return bpf_tc_detach(&h, &opts);
}

/* Removes the qdisc if no filter at all is left on it. */
static bool qdisc_remove_if_empty(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, h, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct filter_list list = {0};

	for (enum clv_hook hook = 0; hook < HOOKS; hook++)
		if (filters_list(ifindex, hook, &list) || list.count)
			return false;
	return bpf_tc_hook_destroy(&h) == 0;
}

/* ---- sweep ------------------------------------------------------------------------------------------ */

struct sweep {
	bool even_live;
	void (*fn)(void *ctx, const struct clv_sweep_event *e);
	void *ctx;
	int removed;
};

static void sweep_filter(struct sweep *s, const char *name, uint32_t ifindex, enum clv_hook hook,
			 const struct filter *f)
{
	struct clv_sweep_event e = {.ifindex = ifindex, .hook = hook};
	int live = prog_is_live(f->prog_id);

	snprintf(e.name, sizeof(e.name), "%s", name);
	e.live = live == 1;
	if (live != 0 && !s->even_live) {
		e.error = live > 0 ? -EBUSY : live;
	} else {
		e.error = filter_remove(ifindex, hook, f->handle, f->priority);
	}
	if (!e.error) {
		s->removed++;
		e.qdisc = f->handle & HANDLE_QDISC && qdisc_remove_if_empty(ifindex);
	}
	if (s->fn)
		s->fn(s->ctx, &e);
}

static int sweep_link(struct sweep *s, uint32_t ifindex, const char *name)
{
	struct filter_list list = {0};

	for (enum clv_hook hook = 0; hook < HOOKS; hook++) {
		int err = filters_list(ifindex, hook, &list);

		if (err)
			return err;
		for (unsigned i = 0; i < list.count && i < FILTERS_MAX; i++)
			if (filter_is_ours(&list.f[i]))
				sweep_filter(s, name, ifindex, hook, &list.f[i]);
	}
	return 0;
}

static void sweep_each(void *ctx, const struct clv_link *l)
{
	sweep_link(ctx, l->ifindex, l->name);
}

int clv_attach_sweep(uint32_t ifindex, bool even_live, void (*fn)(void *ctx, const struct clv_sweep_event *e),
		     void *ctx)
{
	struct sweep s = {.even_live = even_live, .fn = fn, .ctx = ctx};
	char name[IF_NAMESIZE] = "";
	struct clv_links *links;
	int err;

	clv_ring_hush_libbpf();
	if (ifindex) {
		if (!if_indextoname(ifindex, name))
			return -errno;
		err = sweep_link(&s, ifindex, name);
		return err ? err : s.removed;
	}
	err = clv_links_open(&links);
	if (err)
		return err;
	err = clv_links_list(links, sweep_each, &s);
	clv_links_close(links);
	return err ? err : s.removed;
}

/* ---- one interface ---------------------------------------------------------------------------------- */

struct place {
	struct place *next;
	struct clv_attach_request request;
	enum clv_attach_mode used;
	int link_fd[HOOKS];                      /* tcx, cgroup */
	uint32_t handle[HOOKS], priority[HOOKS]; /* clsact */
	bool haunted;                            /* a filter of another clovisor is there, which seemed to run */
	uint64_t cgroup_id;
	int watch;     /* of the directory that the cgroup's stands in; -1: none */
	char cgroup[]; /* what request.cgroup points to */
};

static enum clv_layer place_layer(const struct place *p)
{
	return p->request.l3 ? CLV_LAYER_IP : CLV_LAYER_ETHERNET;
}

static int tcx_attach(struct clv_ring *ring, struct place *p)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = CLV_TCX_AT_FRONT);

	for (enum clv_hook hook = 0; hook < HOOKS; hook++) {
		int type = hook == CLV_HOOK_INGRESS ? CLV_TCX_INGRESS : CLV_TCX_EGRESS;

		p->link_fd[hook] = bpf_link_create(clv_ring_prog_fd(ring, hook, place_layer(p)), (int)p->request.net,
						   (enum bpf_attach_type)type, &opts);
		if (p->link_fd[hook] < 0)
			return -errno;
	}
	return 0;
}

/* Did clovisor make this qdisc, by the word of one of its filters? */
static bool qdisc_is_ours(uint32_t ifindex)
{
	struct filter_list list;

	for (enum clv_hook hook = 0; hook < HOOKS; hook++) {
		if (filters_list(ifindex, hook, &list))
			return false;
		for (unsigned i = 0; i < list.count && i < FILTERS_MAX; i++)
			if (filter_is_ours(&list.f[i]) && list.f[i].handle & HANDLE_QDISC)
				return true;
	}
	return false;
}

/* Another observer's handle is passed over, and a priority that a filter of another kind holds. */
static int filter_add(struct clv_ring *ring, struct place *p, enum clv_hook hook, uint32_t base)
{
	LIBBPF_OPTS(bpf_tc_hook, h, .ifindex = (int)p->request.net, .attach_point = tc_points[hook]);
	uint32_t priority = CLV_PRIORITY, tries = 0;
	int err;

	do {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = base + tries + 1, .priority = priority,
			    .prog_fd = clv_ring_prog_fd(ring, hook, place_layer(p)));

		err = bpf_tc_attach(&h, &opts);
		if (!err) {
			p->handle[hook] = opts.handle;
			p->priority[hook] = priority;
		} else if (err == -EEXIST && tries < HANDLE_TRIES) {
			tries++;
		} else if ((err == -EINVAL || err == -EEXIST) && priority < CLV_PRIORITY_MAX) {
			tries = 0;
			priority++;
		} else {
			break;
		}
	} while (err);
	return err;
}

static int clsact_attach(struct clv_ring *ring, struct place *p)
{
	uint32_t ifindex = p->request.net, base = HANDLE_BASE;
	LIBBPF_OPTS(bpf_tc_hook, h, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int err = bpf_tc_hook_create(&h);

	if (err && err != -EEXIST)
		return err;
	if (!err || qdisc_is_ours(ifindex))
		base |= HANDLE_QDISC;
	err = 0;
	for (enum clv_hook hook = 0; !err && hook < HOOKS; hook++)
		err = filter_add(ring, p, hook, base);
	if (err && base & HANDLE_QDISC && !p->handle[0])
		qdisc_remove_if_empty(ifindex);
	return err;
}

/* ---- one cgroup ------------------------------------------------------------------------------------- */

/* The kernel has a place for the number once a program is attached; until it is told, that program looks away. */
static int cgroup_attach(struct clv_ring *ring, struct place *p)
{
	int fd = clv_cgroup_open(p->request.cgroup, &p->cgroup_id), err = 0;

	if (fd < 0)
		return fd;
	for (enum clv_hook hook = 0; !err && hook < HOOKS; hook++) {
		int prog = clv_ring_prog_fd(ring, hook, CLV_LAYER_CGROUP);
		enum bpf_attach_type type = hook == CLV_HOOK_INGRESS ? BPF_CGROUP_INET_INGRESS : BPF_CGROUP_INET_EGRESS;

		p->link_fd[hook] = prog < 0 ? -1 : bpf_link_create(prog, fd, type, NULL);
		if (p->link_fd[hook] < 0)
			err = prog < 0 ? prog : -errno;
		else if (hook == CLV_HOOK_INGRESS)
			err = clv_ring_number_cgroup(ring, p->cgroup_id, p->request.net);
	}
	close(fd);
	return err;
}

/* ---- one place -------------------------------------------------------------------------------------- */

static void place_remove(struct clv_ring *ring, struct place *p)
{
	uint32_t ifindex = p->request.net;
	bool our_qdisc = false;

	if (p->cgroup_id)
		clv_ring_number_cgroup(ring, p->cgroup_id, 0);

	for (enum clv_hook hook = 0; hook < HOOKS; hook++) {
		if (p->link_fd[hook] >= 0)
			close(p->link_fd[hook]);
		if (p->handle[hook]) {
			filter_remove(ifindex, hook, p->handle[hook], p->priority[hook]);
			our_qdisc |= p->handle[hook] & HANDLE_QDISC;
		}
		p->link_fd[hook] = -1;
		p->handle[hook] = 0;
	}
	if (our_qdisc)
		qdisc_remove_if_empty(ifindex);
}

/* An unknown attach type is EINVAL; old kernels without links for it say EOPNOTSUPP or EPERM. */
static bool tcx_is_missing(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -EPERM;
}

static int place_add(struct clv_ring *ring, struct place *p)
{
	int err = -EINVAL;

	if (p->request.mode == CLV_ATTACH_CGROUP) {
		p->used = CLV_ATTACH_CGROUP;
		err = cgroup_attach(ring, p);
		if (err)
			place_remove(ring, p);
		return err;
	}
	int prog = clv_ring_prog_fd(ring, CLV_HOOK_INGRESS, place_layer(p));
	if (prog < 0)
		return prog;
	if (p->request.mode != CLV_ATTACH_CLSACT) {
		p->used = CLV_ATTACH_TCX;
		err = tcx_attach(ring, p);
		if (!err || p->request.mode == CLV_ATTACH_TCX || !tcx_is_missing(err)) {
			if (err)
				place_remove(ring, p);
			return err;
		}
		place_remove(ring, p);
	}
	p->used = CLV_ATTACH_CLSACT;
	err = clsact_attach(ring, p);
	if (err)
		place_remove(ring, p);
	return err;
}

/* ---- the worker ------------------------------------------------------------------------------------- */

struct job {
	struct job *next;
	bool add;
	struct clv_attach_event event; /* the request, then the answer: no allocation can fail between the two */
	char cgroup[];                 /* what event.request.cgroup points to */
};

struct job_queue {
	struct job *first, **last;
};

struct clv_attach {
	struct clv_ring *ring;
	pthread_t thread;
	int event_fd, wanted_fd;
	int watch_fd;         /* inotify; -1: nobody tells of cgroups that go */
	struct place *places; /* worker only, as the next */
	uint64_t again_ns;    /* when haunted places are looked at again; 0: there are none */

	pthread_mutex_t lock; /* of all below */
	struct job_queue todo, done;
	unsigned pending;
	bool stop;
};

static void queue_put(struct job_queue *q, struct job *j)
{
	j->next = NULL;
	*q->last = j;
	q->last = &j->next;
}

static struct job *queue_take(struct job_queue *q)
{
	struct job *j = q->first;

	if (j) {
		q->first = j->next;
		if (!q->first)
			q->last = &q->first;
	}
	return j;
}

/* The link that holds the place `net`, or the end of the list. */
static struct place **place_find(struct clv_attach *a, uint32_t net)
{
	struct place **at = &a->places;

	while (*at && (*at)->request.net != net)
		at = &(*at)->next;
	return at;
}

/* Other places may need the same watch. */
static void worker_unwatch(struct clv_attach *a, int watch)
{
	for (const struct place *p = a->places; p; p = p->next)
		if (p->watch == watch)
			return;
	if (watch >= 0)
		inotify_rm_watch(a->watch_fd, watch);
}

/* Takes off the place at `at`, and leaves in e what it was. */
static void worker_take_off(struct clv_attach *a, struct place **at, struct clv_attach_event *e)
{
	struct place *p = *at;

	e->outcome = CLV_ATTACH_GONE;
	e->request = p->request;
	e->request.cgroup = NULL;
	e->used = p->used;
	*at = p->next;
	if (p->haunted) /* so that the qdisc can go, too */
		clv_attach_sweep(p->request.net, false, NULL, NULL);
	place_remove(a->ring, p);
	worker_unwatch(a, p->watch);
	clv_ring_forget_link(a->ring, p->request.net);
	free(p);
}

static void worker_remove(struct clv_attach *a, struct clv_attach_event *e)
{
	struct place **at = place_find(a, e->request.net);

	e->outcome = CLV_ATTACH_GONE;
	if (*at)
		worker_take_off(a, at, e);
}

/* Removing a directory is told to those who watch the one that it stands in, and to nobody else. -1: it cannot be. */
static int worker_watch(struct clv_attach *a, const char *cgroup)
{
	char parent[4096];
	const char *slash = strrchr(cgroup, '/');
	int n = slash ? (int)(slash - cgroup) : 0;

	if (n == 0 || (size_t)n >= sizeof(parent))
		return -1;
	snprintf(parent, sizeof(parent), "%.*s", n, cgroup);
	return inotify_add_watch(a->watch_fd, parent, IN_DELETE | IN_ONLYDIR);
}

/* `request`: the caller's; what it points to is copied. */
static struct place *place_new(const struct clv_attach_request *request)
{
	size_t len = request->cgroup ? strlen(request->cgroup) : 0;
	struct place *p = calloc(1, sizeof(*p) + len + 1);

	if (!p)
		return NULL;
	p->request = *request;
	p->link_fd[0] = p->link_fd[1] = p->watch = -1;
	if (len)
		memcpy(p->cgroup, request->cgroup, len);
	p->request.cgroup = p->cgroup;
	return p;
}

/* ---- filters of one that was killed just now ---- */

static void worker_on_filter(void *ctx, const struct clv_sweep_event *e)
{
	((struct place *)ctx)->haunted |= e->error == -EBUSY;
}

/* Returns how many filters were removed. Those of a clovisor that seems to run are looked at again when its lease would
 * be over: it may have been killed a moment ago. */
static unsigned worker_sweep(struct clv_attach *a, struct place *p)
{
	int swept = clv_attach_sweep(p->request.net, false, worker_on_filter, p);

	if (p->haunted)
		a->again_ns = clv_clock_ns() + CLV_LEASE_NS;
	return swept > 0 ? (unsigned)swept : 0;
}

/* Before attaching: an interface's orphans go; of a cgroup's directory there will be news. */
static int worker_prepare(struct clv_attach *a, struct place *p, struct clv_attach_event *e)
{
	if (p->request.mode == CLV_ATTACH_CGROUP) {
		p->watch = worker_watch(a, p->cgroup);
		return p->request.net & CLV_NET_CGROUP ? 0 : -EINVAL;
	}
	if (p->request.net & CLV_NET_CGROUP)
		return -EINVAL;
	e->swept = worker_sweep(a, p);
	return 0;
}

static int worker_place(struct clv_attach *a, struct clv_attach_event *e, struct place **out)
{
	struct place *p = place_new(&e->request);
	int err = p ? clv_ring_set_link(a->ring, p->request.net, p->request.view) : -ENOMEM;

	if (!err) {
		err = worker_prepare(a, p, e);
		if (!err)
			err = place_add(a->ring, p);
		if (err)
			clv_ring_forget_link(a->ring, p->request.net);
	}
	if (err) {
		if (p)
			worker_unwatch(a, p->watch);
		free(p);
		return err;
	}
	*out = p;
	return 0;
}

static void worker_add(struct clv_attach *a, struct clv_attach_event *e)
{
	struct place **at = place_find(a, e->request.net);
	int err = *at ? 0 : worker_place(a, e, at);

	e->outcome = err ? CLV_ATTACH_FAILED : CLV_ATTACH_DONE;
	e->error = err;
	if (!err)
		e->used = (*at)->used;
}

static void worker_answer(struct clv_attach *a, struct job *j)
{
	pthread_mutex_lock(&a->lock);
	queue_put(&a->done, j);
	pthread_mutex_unlock(&a->lock);
	eventfd_write(a->event_fd, 1);
}

/* Is the directory that was attached to still there? */
static bool place_is_there(const struct place *p)
{
	struct stat st;

	return p->used != CLV_ATTACH_CGROUP || (stat(p->cgroup, &st) == 0 && st.st_ino == p->cgroup_id);
}

static void worker_tell(struct clv_attach *a, struct job *j)
{
	pthread_mutex_lock(&a->lock);
	a->pending++;
	pthread_mutex_unlock(&a->lock);
	worker_answer(a, j);
}

/* Once: who renews a lease for longer runs beside us. */
static void worker_sweep_again(struct clv_attach *a)
{
	a->again_ns = 0;
	for (struct place *p = a->places; p; p = p->next) {
		int swept = p->haunted ? clv_attach_sweep(p->request.net, false, NULL, NULL) : 0;
		struct job *j = swept > 0 ? calloc(1, sizeof(*j)) : NULL;

		p->haunted = false;
		if (!j)
			continue;
		j->event.request = p->request;
		j->event.request.cgroup = NULL;
		j->event.outcome = CLV_ATTACH_SWEPT;
		j->event.used = p->used;
		j->event.swept = (unsigned)swept;
		worker_tell(a, j);
	}
}

/* Some directory was removed: which is told less reliably than which are there. */
static void worker_look(struct clv_attach *a)
{
	char buf[4096];
	struct place **at = &a->places;

	while (read(a->watch_fd, buf, sizeof(buf)) > 0)
		;
	while (*at) {
		struct job *j = place_is_there(*at) ? NULL : calloc(1, sizeof(*j));

		if (!j) {
			at = &(*at)->next;
			continue;
		}
		worker_take_off(a, at, &j->event);
		worker_tell(a, j);
	}
}

/* -1: no time is set. */
static int worker_ms_left(const struct clv_attach *a)
{
	uint64_t now_ns = clv_clock_ns();

	if (!a->again_ns)
		return -1;
	return a->again_ns > now_ns ? (int)((a->again_ns - now_ns) / 1000000) + 1 : 0;
}

/* Until there is something to do. */
static void worker_wait(struct clv_attach *a)
{
	struct pollfd fds[] = {{.fd = a->wanted_fd, .events = POLLIN}, {.fd = a->watch_fd, .events = POLLIN}};
	eventfd_t ignored;

	if (poll(fds, 2, worker_ms_left(a)) == 0)
		worker_sweep_again(a);
	if (fds[0].revents)
		eventfd_read(a->wanted_fd, &ignored);
	if (fds[1].revents)
		worker_look(a);
}

static void *worker(void *arg)
{
	struct clv_attach *a = arg;

	for (;;) {
		pthread_mutex_lock(&a->lock);
		struct job *j = a->stop ? NULL : queue_take(&a->todo);
		bool stop = a->stop;

		pthread_mutex_unlock(&a->lock);
		if (stop)
			return NULL;
		if (!j) {
			worker_wait(a);
			continue;
		}
		if (j->add)
			worker_add(a, &j->event);
		else
			worker_remove(a, &j->event);
		worker_answer(a, j);
	}
}

/* ---- for the caller --------------------------------------------------------------------------------- */

static void attach_free(struct clv_attach *a)
{
	const int fds[] = {a->event_fd, a->wanted_fd, a->watch_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

int clv_attach_open(struct clv_ring *ring, struct clv_attach **out)
{
	struct clv_attach *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->ring = ring;
	a->todo.last = &a->todo.first;
	a->done.last = &a->done.first;
	pthread_mutex_init(&a->lock, NULL);
	a->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->wanted_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	int err = a->event_fd < 0 || a->wanted_fd < 0 ? -errno : clv_thread_start(&a->thread, "attach", worker, a);

	if (err) {
		attach_free(a);
		return err;
	}
	*out = a;
	return 0;
}

static int attach_queue(struct clv_attach *a, bool add, const struct clv_attach_request *request)
{
	size_t len = request->cgroup ? strlen(request->cgroup) : 0;
	struct job *j = calloc(1, sizeof(*j) + len + 1);

	if (!j)
		return -ENOMEM;
	j->add = add;
	j->event.request = *request;
	if (len)
		memcpy(j->cgroup, request->cgroup, len);
	j->event.request.cgroup = len ? j->cgroup : NULL;
	pthread_mutex_lock(&a->lock);
	queue_put(&a->todo, j);
	a->pending++;
	pthread_mutex_unlock(&a->lock);
	eventfd_write(a->wanted_fd, 1);
	return 0;
}

int clv_attach_add(struct clv_attach *a, const struct clv_attach_request *request)
{
	return attach_queue(a, true, request);
}

int clv_attach_remove(struct clv_attach *a, uint32_t net)
{
	return attach_queue(a, false, &(struct clv_attach_request){.net = net});
}

unsigned clv_attach_pending(struct clv_attach *a)
{
	pthread_mutex_lock(&a->lock);
	unsigned pending = a->pending;

	pthread_mutex_unlock(&a->lock);
	return pending;
}

int clv_attach_fd(struct clv_attach *a)
{
	return a->event_fd;
}

int clv_attach_poll(struct clv_attach *a, void (*fn)(void *ctx, const struct clv_attach_event *e), void *ctx)
{
	eventfd_t ignored;
	int count = 0;

	eventfd_read(a->event_fd, &ignored);
	for (;; count++) {
		pthread_mutex_lock(&a->lock);
		struct job *j = queue_take(&a->done);

		a->pending -= j != NULL;
		pthread_mutex_unlock(&a->lock);
		if (!j)
			return count;
		fn(ctx, &j->event);
		free(j);
	}
}

static void queue_free(struct job_queue *q)
{
	for (struct job *j; (j = queue_take(q));)
		free(j);
}

void clv_attach_close(struct clv_attach *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_mutex_unlock(&a->lock);
	eventfd_write(a->wanted_fd, 1);
	pthread_join(a->thread, NULL);
	while (a->places)
		worker_take_off(a, &a->places, &(struct clv_attach_event){0});
	queue_free(&a->todo);
	queue_free(&a->done);
	attach_free(a);
}
