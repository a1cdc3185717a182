/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what this process has put on interfaces, and the thread that puts it there. Never touches a qdisc, filter
 * or program of anybody else's. Events cross to the caller's thread through a queue; sweep runs where it is called.
 *
 * What a filter of ours looks like on a clsact qdisc, so that it is known again when its owner is gone: kind bpf,
 * a program named clovisor_*, a handle of HANDLE_BASE with a bit that says whether clovisor made the qdisc. Whether
 * its owner lives is told by the lease in the .bss of its program (wire/record.h).
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "source/attach.h"
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
	struct clv_shared shared = {0};
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), zero = 0;
	int fd = bpf_map_get_fd_by_id(map_id);

	if (fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.value_size == sizeof(shared) && strstr(info.name, ".bss"))
		bpf_map_lookup_elem(fd, &zero, &shared);
	close(fd);
	return shared.lease_ns;
}

/* Does somebody still renew the lease of this program? Returns 0 or 1, or -errno when that cannot be told. */
static int prog_is_live(uint32_t prog_id)
{
	uint32_t maps[32] = {0};
	struct bpf_prog_info info = {.nr_map_ids = 32, .map_ids = (uintptr_t)maps};
	uint32_t len = sizeof(info);
	uint64_t lease = 0;
	struct timespec t;
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
	clock_gettime(CLOCK_MONOTONIC, &t);
	return lease > (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
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
	struct filter_list list;

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
	int link_fd[HOOKS];                      /* tcx */
	uint32_t handle[HOOKS], priority[HOOKS]; /* clsact */
};

static int tcx_attach(struct clv_ring *ring, struct place *p)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = CLV_TCX_AT_FRONT);

	for (enum clv_hook hook = 0; hook < HOOKS; hook++) {
		int type = hook == CLV_HOOK_INGRESS ? CLV_TCX_INGRESS : CLV_TCX_EGRESS;

		p->link_fd[hook] = bpf_link_create(clv_ring_prog_fd(ring, hook, p->request.l3), (int)p->request.ifindex,
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
	LIBBPF_OPTS(bpf_tc_hook, h, .ifindex = (int)p->request.ifindex, .attach_point = tc_points[hook]);
	uint32_t priority = CLV_PRIORITY, tries = 0;
	int err;

	do {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = base + tries + 1, .priority = priority,
			    .prog_fd = clv_ring_prog_fd(ring, hook, p->request.l3));

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
	uint32_t ifindex = p->request.ifindex, base = HANDLE_BASE;
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

static void place_remove(struct place *p)
{
	uint32_t ifindex = p->request.ifindex;
	bool our_qdisc = false;

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

	if (p->request.mode != CLV_ATTACH_CLSACT) {
		p->used = CLV_ATTACH_TCX;
		err = tcx_attach(ring, p);
		if (!err || p->request.mode == CLV_ATTACH_TCX || !tcx_is_missing(err)) {
			if (err)
				place_remove(p);
			return err;
		}
		place_remove(p);
	}
	p->used = CLV_ATTACH_CLSACT;
	err = clsact_attach(ring, p);
	if (err)
		place_remove(p);
	return err;
}

/* ---- the worker ------------------------------------------------------------------------------------- */

struct job {
	struct job *next;
	bool add;
	struct clv_attach_event event; /* the request, then the answer: no allocation can fail between the two */
};

struct job_queue {
	struct job *first, **last;
};

struct clv_attach {
	struct clv_ring *ring;
	pthread_t thread;
	int event_fd;
	struct place *places; /* worker only */

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wanted;
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

/* The link that holds the place of `ifindex`, or the end of the list. */
static struct place **place_find(struct clv_attach *a, uint32_t ifindex)
{
	struct place **at = &a->places;

	while (*at && (*at)->request.ifindex != ifindex)
		at = &(*at)->next;
	return at;
}

static void worker_remove(struct clv_attach *a, struct clv_attach_event *e)
{
	struct place **at = place_find(a, e->request.ifindex), *p = *at;

	e->outcome = CLV_ATTACH_GONE;
	if (!p)
		return;
	e->request = p->request;
	e->used = p->used;
	*at = p->next;
	place_remove(p);
	clv_ring_forget_link(a->ring, p->request.ifindex);
	free(p);
}

static int worker_place(struct clv_attach *a, struct clv_attach_event *e, struct place **out)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->request = e->request;
	p->link_fd[0] = p->link_fd[1] = -1;

	int err = clv_ring_set_link(a->ring, p->request.ifindex, p->request.view);

	if (!err) {
		int swept = clv_attach_sweep(p->request.ifindex, false, NULL, NULL);

		e->swept = swept > 0 ? (unsigned)swept : 0;
		err = place_add(a->ring, p);
		if (err)
			clv_ring_forget_link(a->ring, p->request.ifindex);
	}
	if (err) {
		free(p);
		return err;
	}
	*out = p;
	return 0;
}

static void worker_add(struct clv_attach *a, struct clv_attach_event *e)
{
	struct place **at = place_find(a, e->request.ifindex);
	int err = *at ? 0 : worker_place(a, e, at);

	e->outcome = err ? CLV_ATTACH_FAILED : CLV_ATTACH_DONE;
	e->error = err;
	if (!err)
		e->used = (*at)->used;
}

static void *worker(void *arg)
{
	struct clv_attach *a = arg;
	struct job *j;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		j = queue_take(&a->todo);
		if (!j) {
			pthread_cond_wait(&a->wanted, &a->lock);
			continue;
		}
		pthread_mutex_unlock(&a->lock);
		if (j->add)
			worker_add(a, &j->event);
		else
			worker_remove(a, &j->event);
		pthread_mutex_lock(&a->lock);
		queue_put(&a->done, j);
		eventfd_write(a->event_fd, 1);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* ---- for the caller --------------------------------------------------------------------------------- */

int clv_attach_open(struct clv_ring *ring, struct clv_attach **out)
{
	struct clv_attach *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->ring = ring;
	a->todo.last = &a->todo.first;
	a->done.last = &a->done.first;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->wanted, NULL);
	a->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	int err = a->event_fd < 0 ? -errno : -pthread_create(&a->thread, NULL, worker, a);

	if (err) {
		if (a->event_fd >= 0)
			close(a->event_fd);
		pthread_cond_destroy(&a->wanted);
		pthread_mutex_destroy(&a->lock);
		free(a);
		return err;
	}
	*out = a;
	return 0;
}

static int attach_queue(struct clv_attach *a, bool add, const struct clv_attach_request *request)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->add = add;
	j->event.request = *request;
	pthread_mutex_lock(&a->lock);
	queue_put(&a->todo, j);
	a->pending++;
	pthread_cond_signal(&a->wanted);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

int clv_attach_add(struct clv_attach *a, const struct clv_attach_request *request)
{
	return attach_queue(a, true, request);
}

int clv_attach_remove(struct clv_attach *a, uint32_t ifindex)
{
	return attach_queue(a, false, &(struct clv_attach_request){.ifindex = ifindex});
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
	pthread_cond_signal(&a->wanted);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	while (a->places) {
		struct clv_attach_event e = {.request = a->places->request};

		worker_remove(a, &e);
	}
	queue_free(&a->todo);
	queue_free(&a->done);
	close(a->event_fd);
	pthread_cond_destroy(&a->wanted);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
