/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the loaded BPF object, its maps and what of them is mapped, and a reader a worker (reader.h), which does all
 * that is done per packet. Never attaches anything. Runs where ring.h says.
 */
#include "source/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/reader.h"
#include "source/sides.h"
#include "capture.skel.h"

#define CLV_WAYS 8 /* bpf/maps.h */

#define RING_MAPS 24

/* With less than this there are ring buffers, and nothing else. */
#define CLV_RING_SPLIT_BYTES (1u << 20)
/* Of one CPU's; some kernels have no values of arrays that are longer than 4 MiB. */
#define CPU_RING_LEAST_BYTES (16u << 10)
#define CPU_RING_MOST_BYTES  (2u << 20)

struct clv_ring {
	struct clv_reader reader[CLV_RING_WORKERS];
	uint32_t workers;
	uint32_t share_bytes;          /* of a worker's ring buffer */
	int ring_fd[CLV_RING_WORKERS]; /* the first is one of map[] */
	struct clv_kernel kernel;
	struct capture *bpf; /* while it is being loaded: what is needed of it later stands here, in descriptors */
	struct {
		char name[32];
		int fd;
	} map[RING_MAPS];
	size_t maps;
	int prog_fd[2][2]; /* of CLV_LAYER_ETHERNET and CLV_LAYER_CGROUP, by hook; 0: not loaded */
	struct capture__bss *bss;
	size_t bss_bytes, ctl_bytes, counts_bytes, shapes_bytes, cpu_rings_bytes;
	pthread_mutex_t ip_lock;
	int ip_fd[2]; /* the programs of CLV_LAYER_IP: 0: not asked for yet; or -errno. Under ip_lock */
};

/* The distance of the two clocks, from the try with the least time between its two looks. */
static uint64_t unix_offset(void)
{
	uint64_t best = UINT64_MAX, offset = 0;

	for (int i = 0; i < 16; i++) {
		uint64_t before = clv_clock_ns(), unix_ns = clv_clock_unix_ns();
		uint64_t took = clv_clock_ns() - before;

		if (took < best) {
			best = took;
			offset = unix_ns - (before + took / 2);
		}
	}
	return offset;
}

/* ---- what others see of its parts ------------------------------------------------------------------------ */

int clv_ring_set_link(struct clv_ring *r, uint32_t net, enum clv_viewpoint view)
{
	return clv_sides_set(&r->kernel.sides, net, view);
}

void clv_ring_forget_link(struct clv_ring *r, uint32_t net)
{
	clv_sides_forget(&r->kernel.sides, net);
}

struct clv_source *clv_ring_source(struct clv_ring *r, uint32_t worker)
{
	assert(worker < r->workers);
	return &r->reader[worker].source;
}

int clv_ring_wake_on(struct clv_ring *r, uint32_t worker, int fd)
{
	assert(worker < r->workers);
	return clv_reader_wake_on(&r->reader[worker], fd);
}

/* ---- programs ---------------------------------------------------------------------------------------- */

/* -1: there is none of that name. */
static int map_fd(const struct clv_ring *r, const char *name)
{
	for (size_t i = 0; i < r->maps; i++)
		if (strcmp(r->map[i].name, name) == 0)
			return r->map[i].fd;
	return -1;
}

/* The maps of `c`, not loaded yet, are those that there are. */
static int ip_share_maps(struct clv_ring *r, struct capture *c)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, c->obj)
	{
		int fd = map_fd(r, bpf_map__name(map));

		err = fd < 0 ? bpf_map__set_autocreate(map, false) : bpf_map__reuse_fd(map, fd);
		if (err)
			break;
	}
	return err;
}

static int ip_keep(struct clv_ring *r, enum clv_hook hook, const struct bpf_program *prog)
{
	int fd = fcntl(bpf_program__fd(prog), F_DUPFD_CLOEXEC, 3);

	r->ip_fd[hook] = fd < 0 ? -errno : fd;
	return fd < 0 ? -errno : 0;
}

/* Hardly a host has interfaces without Ethernet, and the verifier takes its time: only who asks waits for it. */
static int ip_load(struct clv_ring *r)
{
	struct capture *c = capture__open();
	struct bpf_program *prog;
	int err = c ? ip_share_maps(r, c) : -errno;

	if (!c)
		return err;
	bpf_object__for_each_program(prog, c->obj)
		bpf_program__set_autoload(prog, prog == c->progs.clovisor_in_l3 || prog == c->progs.clovisor_out_l3);
	if (!err)
		err = capture__load(c);
	if (!err)
		err = ip_keep(r, CLV_HOOK_INGRESS, c->progs.clovisor_in_l3);
	if (!err)
		err = ip_keep(r, CLV_HOOK_EGRESS, c->progs.clovisor_out_l3);
	capture__destroy(c);
	return err;
}

static int ip_prog_fd(struct clv_ring *r, enum clv_hook hook)
{
	pthread_mutex_lock(&r->ip_lock);
	if (!r->ip_fd[hook]) {
		int err = ip_load(r);

		if (err) {
			clv_error("cannot load BPF for interfaces without Ethernet: %s", strerror(-err));
			r->ip_fd[0] = r->ip_fd[1] = err;
		}
	}
	int fd = r->ip_fd[hook];

	pthread_mutex_unlock(&r->ip_lock);
	return fd;
}

int clv_ring_prog_fd(struct clv_ring *r, enum clv_hook hook, enum clv_layer layer)
{
	if (layer == CLV_LAYER_IP)
		return ip_prog_fd(r, hook);
	int fd = r->prog_fd[layer == CLV_LAYER_CGROUP][hook];

	return fd ? fd : -EOPNOTSUPP;
}

int clv_ring_number_cgroup(struct clv_ring *r, uint64_t cgroup_id, uint32_t net)
{
	return bpf_map_update_elem(map_fd(r, "cgroup_net"), &cgroup_id, &net, BPF_EXIST) ? -errno : 0;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static int ring_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char line[1024];

	if (level == LIBBPF_DEBUG || clv_log_max < CLV_LOG_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	clv_debug("%s", line);
	return 0;
}

void clv_ring_hush_libbpf(void)
{
	libbpf_set_print(ring_print);
}

/* The power of two at or above v (at most 2^30), 0 when there is none. */
static uint32_t round_up_power(uint32_t v)
{
	uint32_t p = 1;

	while (p < v && p < 1u << 30)
		p <<= 1;
	return p < v ? 0 : p;
}

/* ip_load() is for them. */
static int ring_leave_out_ip(struct clv_ring *r)
{
	int err = bpf_program__set_autoload(r->bpf->progs.clovisor_in_l3, false);

	return err ? err : bpf_program__set_autoload(r->bpf->progs.clovisor_out_l3, false);
}

/* Without them no kernel is asked for BPF on cgroups, nor for the time to verify it. */
static int ring_leave_out_cgroups(struct clv_ring *r)
{
	int err = bpf_program__set_autoload(r->bpf->progs.clovisor_in_cg, false);

	if (!err)
		err = bpf_program__set_autoload(r->bpf->progs.clovisor_out_cg, false);
	return err ? err : bpf_map__set_autocreate(r->bpf->maps.cgroup_net, false);
}

/* There, what one CPU does is not done in one go. */
static bool is_realtime(void)
{
	struct utsname kernel;

	return uname(&kernel) || strstr(kernel.version, "PREEMPT_RT");
}

/*
 * Rings for the CPUs that are there, a sixteenth of a worker's `share` together: what comes between two drains at high
 * rates, and little enough to stay in the cache. Where that is too little for so many CPUs, some more, but never more
 * than the share. CPUs without one use the ring buffer.
 */
static int ring_configure_cpus(struct clv_ring *r, uint32_t share)
{
	struct clv_kernel *k = &r->kernel;
	struct bpf_map *map = r->bpf->maps.cpu_rings;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus < 1 || is_realtime())
		return bpf_map__set_autocreate(map, false);
	uint32_t bytes = round_up_power(share / 16 / (uint32_t)cpus + 1) / 2;

	bytes = bytes < CPU_RING_LEAST_BYTES ? CPU_RING_LEAST_BYTES : bytes;
	bytes = bytes > CPU_RING_MOST_BYTES ? CPU_RING_MOST_BYTES : bytes;
	size_t stride = (sizeof(struct clv_cpu_ring) + bytes + CLV_CPU_RING_RECORD + page - 1) / page * page;
	uint32_t fit = (uint32_t)(share / stride);

	k->cpus = (uint32_t)cpus < fit ? (uint32_t)cpus : fit;
	k->cpu_ring_bytes = bytes;
	k->cpu_ring_stride = stride;
	r->bpf->rodata->cpus = k->cpus;
	r->bpf->rodata->cpu_ring_bytes = bytes;
#ifdef __x86_64__
	r->bpf->rodata->stores_in_order = true; /* Intel SDM volume 3A, 9.2.2 */
#endif
	int err = bpf_map__set_value_size(map, (uint32_t)stride);

	return err ? err : bpf_map__set_max_entries(map, k->cpus * r->workers);
}

static int ring_configure(struct clv_ring *r, const struct clv_ring_config *c)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE), workers = c->workers ? c->workers : 1;
	uint32_t all = c->ring_bytes ? c->ring_bytes : CLV_RING_BYTES;
	uint32_t bytes = round_up_power(all / workers);
	uint32_t flows = round_up_power(c->max_flows ? c->max_flows : CLV_RING_FLOWS);
	struct capture__rodata *knobs = r->bpf->rodata;

	if (workers > CLV_RING_WORKERS || !bytes || !flows || flows > 1u << 22)
		return -EINVAL;
	bytes = bytes < page ? page : bytes;
	flows = flows < CLV_WAYS ? CLV_WAYS : flows;
	r->workers = workers;
	r->share_bytes = bytes;
	r->kernel.slots = flows;
	knobs->set_mask = flows / CLV_WAYS - 1;
	knobs->snaplen = c->snaplen && c->snaplen < CLV_REC_MAX_CAP ? c->snaplen : CLV_REC_MAX_CAP;
	knobs->workers = workers;
	knobs->wake_bytes = bytes / 4;
	knobs->roomy_bytes = bytes / 2;
	knobs->spare_bytes = c->strict_window ? 0 : CLV_WINDOW_SPARE_BYTES;
	knobs->measure = c->measure;
	knobs->count_flows = c->count_flows;
	knobs->seek_first = c->seek_first;
	knobs->ports_filtered = c->port_count > 0;
	knobs->net_untold = c->net_untold;
	for (size_t i = 0; i < c->port_count; i++)
		knobs->wanted_ports[c->ports[i] / 64] |= 1ull << c->ports[i] % 64;
	if (getrandom((void *)&knobs->hash_seed, sizeof(knobs->hash_seed), 0) != sizeof(knobs->hash_seed))
		return -EIO;
	if (c->count_flows && bpf_map__set_max_entries(r->bpf->maps.counts, flows))
		return -EINVAL;
	if (workers == 1 ? bpf_map__set_autocreate(r->bpf->maps.rings, false)
			 : bpf_map__set_max_entries(r->bpf->maps.rings, workers))
		return -EINVAL;
	if (all < CLV_RING_SPLIT_BYTES ? bpf_map__set_autocreate(r->bpf->maps.cpu_rings, false)
				       : ring_configure_cpus(r, all / workers))
		return -EINVAL;
	if (bpf_map__set_max_entries(r->bpf->maps.flows, flows / CLV_WAYS) ||
	    bpf_map__set_max_entries(r->bpf->maps.ctl, flows) || bpf_map__set_max_entries(r->bpf->maps.ring, bytes))
		return -EINVAL;
	return 0;
}

/* Maps all of an array of `values` times `size`; *bytes are then what there is to unmap. NULL, and errno, on failure.
 */
static void *map_array(const struct bpf_map *map, size_t values, size_t size, int protection, size_t *bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	*bytes = (values * size + page - 1) / page * page;
	void *at = mmap(NULL, *bytes, protection, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static int ring_map_memory(struct clv_ring *r)
{
	struct clv_kernel *k = &r->kernel;

	r->bss = map_array(r->bpf->maps.bss, 1, sizeof(*r->bss), PROT_READ | PROT_WRITE, &r->bss_bytes);
	if (!r->bss)
		return -errno;
	k->shared = &r->bss->shared;
	k->ctl = map_array(r->bpf->maps.ctl, k->slots, sizeof(*k->ctl), PROT_READ | PROT_WRITE, &r->ctl_bytes);
	if (!k->ctl)
		return -errno;
	k->shapes = map_array(r->bpf->maps.shapes, CLV_SHAPES, sizeof(*k->shapes), PROT_READ | PROT_WRITE,
			      &r->shapes_bytes);
	if (!k->shapes)
		return -errno;
	k->shape_count = 1;
	if (k->cpu_ring_stride)
		k->cpu_rings = map_array(r->bpf->maps.cpu_rings, (size_t)k->cpus * r->workers, k->cpu_ring_stride,
					 PROT_READ | PROT_WRITE, &r->cpu_rings_bytes);
	if (k->cpu_ring_stride && !k->cpu_rings)
		return -errno;
	if (!r->bpf->rodata->count_flows)
		return 0;
	k->counts = map_array(r->bpf->maps.counts, k->slots, sizeof(*k->counts), PROT_READ, &r->counts_bytes);
	return k->counts ? 0 : -errno;
}

/* The first worker's ring buffer is there; makes the others, and tells the programs of all. */
static int ring_share_out(struct clv_ring *r)
{
	r->ring_fd[0] = map_fd(r, "ring");
	for (uint32_t i = 1; i < r->workers; i++) {
		int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, r->share_bytes, NULL);

		if (fd < 0)
			return fd;
		r->ring_fd[i] = fd;
	}
	for (uint32_t i = 0; r->workers > 1 && i < r->workers; i++)
		if (bpf_map_update_elem(map_fd(r, "rings"), &i, &r->ring_fd[i], BPF_ANY))
			return -errno;
	return 0;
}

static int keep_fd(int fd, int *kept)
{
	*kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *kept < 0 ? -errno : 0;
}

/* The object was loaded: keeps what is needed of it from now on. */
static int ring_keep(struct clv_ring *r)
{
	const struct bpf_program *const progs[2][2] = {
		{r->bpf->progs.clovisor_in, r->bpf->progs.clovisor_out},
		{r->bpf->progs.clovisor_in_cg, r->bpf->progs.clovisor_out_cg},
	};
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, r->bpf->obj)
	{
		if (bpf_map__fd(map) < 0)
			continue;
		size_t bytes = strlen(bpf_map__name(map)) + 1;

		if (r->maps == RING_MAPS || bytes > sizeof(r->map->name))
			return -E2BIG;
		memcpy(r->map[r->maps].name, bpf_map__name(map), bytes);
		err = keep_fd(bpf_map__fd(map), &r->map[r->maps].fd);
		if (err)
			return err;
		r->maps++;
	}
	for (size_t i = 0; i < 4 && !err; i++)
		if (bpf_program__fd(progs[i / 2][i % 2]) >= 0)
			err = keep_fd(bpf_program__fd(progs[i / 2][i % 2]), &r->prog_fd[i / 2][i % 2]);
	return err;
}

static int ring_load(struct clv_ring *r, const struct clv_ring_config *config)
{
	clv_ring_hush_libbpf();
	r->bpf = capture__open();
	if (!r->bpf)
		return -errno;

	int err = ring_configure(r, config);

	if (!err)
		err = ring_leave_out_ip(r);
	if (!err && !config->cgroups)
		err = ring_leave_out_cgroups(r);
	if (!err)
		err = capture__load(r->bpf);
	if (!err)
		err = ring_keep(r);
	if (!err)
		err = ring_map_memory(r);
	if (!err)
		err = ring_share_out(r);
	for (uint32_t i = 0; !err && i < r->workers; i++)
		err = clv_reader_open(&r->reader[i], &r->kernel, i, r->ring_fd[i], r->share_bytes,
				      r->bpf->rodata->wake_bytes);
	/* Its types, lines and instructions take more memory than all else that is there before packets come. */
	capture__destroy(r->bpf);
	r->bpf = NULL;
	return err;
}

static void ring_unmap(struct clv_ring *r)
{
	struct clv_kernel *k = &r->kernel;

	if (k->ctl)
		munmap(k->ctl, r->ctl_bytes);
	if (k->counts)
		munmap((void *)(uintptr_t)k->counts, r->counts_bytes);
	if (k->shapes)
		munmap(k->shapes, r->shapes_bytes);
	if (k->cpu_rings)
		munmap(k->cpu_rings, r->cpu_rings_bytes);
	if (r->bss)
		munmap(r->bss, r->bss_bytes);
}

static void ring_close_kept(struct clv_ring *r)
{
	for (size_t i = 0; i < r->maps; i++)
		close(r->map[i].fd);
	for (size_t i = 0; i < 4; i++)
		if (r->prog_fd[i / 2][i % 2] > 0)
			close(r->prog_fd[i / 2][i % 2]);
	for (size_t i = 0; i < 2; i++)
		if (r->ip_fd[i] > 0)
			close(r->ip_fd[i]);
}

void clv_ring_close(struct clv_ring *r)
{
	if (!r)
		return;
	if (r->kernel.shared)
		r->kernel.shared->lease_ns = 0;
	for (uint32_t i = 0; i < CLV_RING_WORKERS; i++)
		clv_reader_close(&r->reader[i]);
	for (uint32_t i = 1; i < CLV_RING_WORKERS; i++)
		if (r->ring_fd[i] > 0)
			close(r->ring_fd[i]);
	ring_unmap(r);
	ring_close_kept(r);
	pthread_mutex_destroy(&r->ip_lock);
	pthread_mutex_destroy(&r->kernel.shapes_lock);
	clv_sides_fini(&r->kernel.sides);
	free(r);
}

int clv_ring_open(const struct clv_ring_config *config, struct clv_ring **out)
{
	struct clv_ring *r = aligned_alloc(_Alignof(struct clv_ring), sizeof(*r));

	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	for (uint32_t i = 0; i < CLV_RING_WORKERS; i++)
		r->reader[i].epoll_fd = -1;
	pthread_mutex_init(&r->ip_lock, NULL);
	pthread_mutex_init(&r->kernel.shapes_lock, NULL);
	clv_sides_init(&r->kernel.sides);

	int err = ring_load(r, config);

	if (err) {
		clv_ring_close(r);
		return err;
	}
	r->kernel.unix_offset_ns = unix_offset();
	r->kernel.shared->lease_ns = clv_clock_ns() + CLV_LEASE_NS;
	*out = r;
	return 0;
}

/* ---- figures ---------------------------------------------------------------------------------------- */

/* Sums the per-CPU structs, which consist of 64-bit counts only. */
static int stats_sum(struct clv_ring *r, struct clv_kstats *sum)
{
	enum { COUNTS = sizeof(*sum) / sizeof(uint64_t) };
	int cpus = libbpf_num_possible_cpus();
	uint32_t zero = 0;

	if (cpus < 0)
		return cpus;

	uint64_t *per_cpu = calloc((size_t)cpus * COUNTS, sizeof(uint64_t));
	int err = per_cpu ? bpf_map_lookup_elem(map_fd(r, "stats"), &zero, per_cpu) : -ENOMEM;

	for (size_t i = 0; !err && i < (size_t)cpus * COUNTS; i++)
		((uint64_t *)sum)[i % COUNTS] += per_cpu[i];
	free(per_cpu);
	return err;
}

size_t clv_ring_figures(struct clv_ring *r, struct clv_figure out[CLV_RING_FIGURES])
{
	struct clv_kstats sum = {0};
	uint64_t bad_records = 0;
	size_t n = 0;

	stats_sum(r, &sum);
	for (uint32_t i = 0; i < r->workers; i++)
		bad_records += r->reader[i].bad_records;
#define X(field, dropped, words)                                                           \
	out[n++] = (struct clv_figure){.name = &#field[dropped ? sizeof("drop_") - 1 : 0], \
				       .text = words,                                      \
				       .drop = dropped,                                    \
				       .value = sum.field};
	CLV_KSTATS(X)
#undef X
	out[n++] = (struct clv_figure){
		.name = "bad_records", .text = "records that made no sense", .drop = true, .value = bad_records};
	return n;
}

_Static_assert(CLV_PACKET_CGROUP == CLV_NET_CGROUP, "a place's number goes from the kernel to the engine as it is");
_Static_assert(sizeof(struct clv_kstats) / sizeof(uint64_t) + 1 <= CLV_RING_FIGURES, "room for every count");
