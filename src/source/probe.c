/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function for each thing that live capture needs, tested by trying it. What a test makes it takes away
 * again before it returns; nothing is attached to any interface but `lo`, for a moment, by the tcx test, nor to any
 * cgroup but the uppermost that is seen, likewise.
 */
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "source/attach.h"
#include "source/cgroup.h"
#include "source/probe.h"
#include "source/ring.h"

/* Bits of CapEff; the last two are newer than some headers. */
#define BIT_NET_ADMIN (1ull << 12)
#define BIT_SYS_ADMIN (1ull << 21)
#define BIT_PERFMON   (1ull << 38)
#define BIT_BPF       (1ull << 39)

static struct clv_probe answer(const char *name, enum clv_probe_state state, const char *detail, const char *remedy)
{
	struct clv_probe p = {.name = name, .state = state};

	snprintf(p.detail, sizeof(p.detail), "%s", detail);
	snprintf(p.remedy, sizeof(p.remedy), "%s", remedy);
	return p;
}

/* The same with an errno spelt out. */
static struct clv_probe failure(const char *name, enum clv_probe_state state, const char *what, int err,
				const char *remedy)
{
	char detail[160];

	snprintf(detail, sizeof(detail), "%s: %s", what, strerror(-err));
	return answer(name, state, detail, remedy);
}

/* First line of a file, without its end. Returns false when it cannot be read. */
static bool read_line(const char *path, char *to, int size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(to, size, f);

	if (f)
		fclose(f);
	if (ok)
		to[strcspn(to, "\n")] = '\0';
	return ok;
}

/* major * 1000 + minor */
static unsigned kernel_version(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return 0;
	return major * 1000 + minor;
}

static uint64_t effective_capabilities(void)
{
	char line[256];
	unsigned long long caps = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps;
}

/* ---- the tests -------------------------------------------------------------------------------------- */

static struct clv_probe probe_kernel(void)
{
	struct utsname u;

	if (uname(&u))
		return answer("kernel", CLV_PROBE_WARN, "unknown", "");
	if (kernel_version() < 5012)
		return answer("kernel", CLV_PROBE_FAIL, u.release, "Linux 5.12 or newer is needed for live capture");
	return answer("kernel", CLV_PROBE_OK, u.release, "");
}

static struct clv_probe probe_capabilities(void)
{
	uint64_t caps = effective_capabilities(), all = BIT_NET_ADMIN | BIT_BPF;
	char detail[160];

	if (caps & BIT_SYS_ADMIN)
		caps |= BIT_BPF | BIT_PERFMON;
	snprintf(detail, sizeof(detail), "%sCAP_BPF, %sCAP_NET_ADMIN, %sCAP_PERFMON", caps & BIT_BPF ? "" : "no ",
		 caps & BIT_NET_ADMIN ? "" : "no ", caps & BIT_PERFMON ? "" : "no ");
	if ((caps & all) != all)
		return answer("capabilities", CLV_PROBE_FAIL, detail,
			      "run as root, or grant CAP_BPF and CAP_NET_ADMIN");
	if (!(caps & BIT_PERFMON))
		return answer("capabilities", CLV_PROBE_WARN, detail,
			      "grant CAP_PERFMON: the verifier then leaves out its guards against speculation");
	return answer("capabilities", CLV_PROBE_OK, detail, "");
}

static struct clv_probe probe_btf(void)
{
	static const char path[] = "/sys/kernel/btf/vmlinux";

	if (access(path, R_OK))
		return failure("BTF", CLV_PROBE_FAIL, path, -errno,
			       "use a kernel with CONFIG_DEBUG_INFO_BTF=y; in a container mount /sys read-only");
	return answer("BTF", CLV_PROBE_OK, path, "");
}

static struct clv_probe probe_lockdown(void)
{
	char modes[128];

	if (!read_line("/sys/kernel/security/lockdown", modes, sizeof(modes)))
		return answer("lockdown", CLV_PROBE_OK, "off (not built in, or securityfs not mounted)", "");
	if (strstr(modes, "[confidentiality]"))
		return answer("lockdown", CLV_PROBE_WARN, modes,
			      "if loading fails: boot with lockdown=integrity, which lets BPF programs read packets");
	return answer("lockdown", CLV_PROBE_OK, modes, "");
}

/* Only without CAP_BPF does it matter, and then all else fails anyway; told because people look for it. */
static struct clv_probe probe_unprivileged(void)
{
	char value[16];

	if (!read_line("/proc/sys/kernel/unprivileged_bpf_disabled", value, sizeof(value)))
		return answer("unprivileged BPF", CLV_PROBE_OK, "not known to this kernel", "");
	return answer("unprivileged BPF", CLV_PROBE_OK,
		      *value == '0' ? "allowed (not needed)" : "disabled, as is usual (not needed)", "");
}

static struct clv_probe probe_memlock(void)
{
	struct rlimit limit;
	char detail[160];

	if (kernel_version() >= 5011)
		return answer("memlock", CLV_PROBE_OK, "this kernel accounts BPF memory by cgroup", "");
	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return failure("memlock", CLV_PROBE_WARN, "getrlimit", -errno, "");
	if (limit.rlim_cur == RLIM_INFINITY)
		return answer("memlock", CLV_PROBE_OK, "unlimited", "");
	snprintf(detail, sizeof(detail), "%llu KiB", (unsigned long long)limit.rlim_cur / 1024);
	return answer("memlock", limit.rlim_cur < 64u << 20 ? CLV_PROBE_WARN : CLV_PROBE_OK, detail,
		      "ulimit -l unlimited, or grant CAP_SYS_RESOURCE");
}

static struct clv_probe probe_ring_buffer(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "clv_probe", 0, 0, (uint32_t)sysconf(_SC_PAGESIZE), NULL);

	if (fd < 0)
		return failure("ring buffer", CLV_PROBE_FAIL, "cannot be created", -errno,
			       errno == EPERM ? "grant CAP_BPF (in a container: allow bpf(2) in its seccomp profile)"
					      : "Linux 5.8 or newer is needed");
	close(fd);
	return answer("ring buffer", CLV_PROBE_OK, "can be created", "");
}

/* The real programs, through the real verifier, with as little memory as goes. */
static struct clv_probe probe_programs(void)
{
	struct clv_ring_config config = {.ring_bytes = 4096, .max_flows = 4, .cgroups = true, .seek_first = true};
	struct clv_ring *ring;
	int with_cgroups = clv_ring_open(&config, &ring), err = with_cgroups;

	if (err) {
		config.cgroups = false;
		err = clv_ring_open(&config, &ring);
	}
	if (err)
		return failure("BPF programs", CLV_PROBE_FAIL, "do not load", err,
			       err == -EPERM ? "grant CAP_BPF and CAP_NET_ADMIN"
					     : "please report it, with the kernel's version");
	clv_ring_close(ring);
	if (with_cgroups)
		return failure("BPF programs", CLV_PROBE_WARN, "those for cgroups do not load", with_cgroups,
			       "--cgroup needs CONFIG_CGROUP_BPF");
	return answer("BPF programs", CLV_PROBE_OK, "the verifier accepts them", "");
}

/* The smallest program of a kind: it lets pass. */
static int load_pass(enum bpf_prog_type type, int32_t pass)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = pass},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(type, "clv_probe", "GPL", insns, 2, NULL);

	return fd < 0 ? -errno : fd;
}

static struct clv_probe probe_tcx(void)
{
	static const char fallback[] = "nothing to do: clsact is used instead; tcx needs Linux 6.6";
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	int prog = load_pass(BPF_PROG_TYPE_SCHED_CLS, -1);

	if (prog < 0)
		return failure("tcx", CLV_PROBE_WARN, "cannot be tested", prog, "grant CAP_BPF and CAP_NET_ADMIN");

	int link = bpf_link_create(prog, (int)if_nametoindex("lo"), (enum bpf_attach_type)CLV_TCX_INGRESS, &opts);
	int err = link < 0 ? -errno : 0;

	close(prog);
	if (!err) {
		close(link);
		return answer("tcx", CLV_PROBE_OK, "links that end with their owner", "");
	}
	return failure("tcx", CLV_PROBE_WARN, "not available", err, fallback);
}

/*
 * Making a qdisc would change an interface, so the kernel is asked for one on an interface that does not exist:
 * it looks for privileges first, then for the device.
 */
static struct clv_probe probe_clsact(void)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = INT32_MAX, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int err = bpf_tc_hook_create(&hook);

	if (err == -ENODEV)
		return answer("clsact", CLV_PROBE_OK, "traffic control is built in and allowed", "");
	return failure("clsact", CLV_PROBE_WARN, "not available", err,
		       err == -EPERM ? "grant CAP_NET_ADMIN"
				     : "only needed below Linux 6.6: CONFIG_NET_SCHED, CONFIG_NET_CLS_BPF");
}

/* For a moment a program is on the uppermost cgroup there is. */
static struct clv_probe probe_cgroups(void)
{
	char mount[64], detail[128];
	uint64_t id;
	int err = clv_cgroup_mount(mount, sizeof(mount));

	if (err)
		return failure("cgroups", CLV_PROBE_WARN, "version 2 is not found", err,
			       "only needed for --cgroup: mount -t cgroup2; in a container mount the host's "
			       "/sys/fs/cgroup");
	int cgroup = clv_cgroup_open(mount, &id), prog = load_pass(BPF_PROG_TYPE_CGROUP_SKB, 1);
	int link = cgroup < 0 || prog < 0 ? -1 : bpf_link_create(prog, cgroup, BPF_CGROUP_INET_EGRESS, NULL);

	err = cgroup < 0 ? cgroup : prog < 0 ? prog : link < 0 ? -errno : 0;
	if (cgroup >= 0)
		close(cgroup);
	if (prog >= 0)
		close(prog);
	if (link >= 0)
		close(link);
	snprintf(detail, sizeof(detail), "version 2 at %s, %s", mount,
		 err ? "but programs cannot be attached" : "links that end with their owner");
	if (err)
		return failure("cgroups", CLV_PROBE_WARN, detail, err,
			       "only needed for --cgroup: CAP_BPF, CAP_NET_ADMIN, CONFIG_CGROUP_BPF");
	return answer("cgroups", CLV_PROBE_OK, detail, "");
}

const clv_probe_fn clv_probes[] = {
	probe_kernel,      probe_capabilities, probe_btf, probe_lockdown, probe_unprivileged, probe_memlock,
	probe_ring_buffer, probe_programs,     probe_tcx, probe_clsact,   probe_cgroups,      NULL,
};
