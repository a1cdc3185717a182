/* SPDX-License-Identifier: Apache-2.0 */
/* kube/cgroup.c: every form of path that runtimes are known to make, and what only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "kube/cgroup.h"

#define UID    "8dbc5577-d0e2-4706-8787-57d52c03ddf2"
#define UID_   "8dbc5577_d0e2_4706_8787_57d52c03ddf2"
#define OTHER  "0f0e0d0c-1111-2222-3333-444455556666"
#define HASH   "c9a5c7a4d1e0b6f3a2918070605f4e3d"
#define ID     "14011c7d92a9e513dfd69211da0413dbf319a5e45a02b354ba6e98e10272542d"
#define ID2    "9b9ccc15d288aa0f7d3bf7b583993921bf261edfeff3467765ab81e687c6a889"
#define CGROUP "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice"

/* `cgroup`: the beginning of `path` that pod_len tells of; NULL: all of it. */
static const struct {
	const char *path, *cgroup, *pod, *container, *runtime;
} forms[] = {
	/* kubelet with systemd's driver, each QoS class, each runtime */
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope",
	 "/kubepods.slice/kubepods-pod" UID_ ".slice", UID, ID, "containerd"},
	{CGROUP "/cri-containerd-" ID ".scope", CGROUP, UID, ID, "containerd"},
	{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/docker-" ID ".scope",
	 "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice", UID, ID, "docker"},
	{CGROUP "/crio-" ID ".scope", CGROUP, UID, ID, "cri-o"},
	{CGROUP "/crio-" ID ".scope/container", CGROUP, UID, ID, "cri-o"}, /* crun */
	{CGROUP, CGROUP, UID, "", ""},
	{CGROUP "/kata_overhead", CGROUP, UID, "", ""},
	/* with cgroupfs */
	{"/kubepods/pod" UID "/" ID, "/kubepods/pod" UID, UID, ID, ""},
	{"/kubepods/burstable/pod" UID "/" ID, "/kubepods/burstable/pod" UID, UID, ID, ""},
	{"/kubepods/besteffort/pod" UID "/" ID, "/kubepods/besteffort/pod" UID, UID, ID, ""},
	{"/kubepods/besteffort/pod" UID "/crio-" ID, "/kubepods/besteffort/pod" UID, UID, ID, "cri-o"},
	{"/kubepods/besteffort/pod" UID "/crio-" ID "/container", "/kubepods/besteffort/pod" UID, UID, ID, "cri-o"},
	{"/kubepods/besteffort/pod" UID "/kata_" ID, "/kubepods/besteffort/pod" UID, UID, "", ""},
	{"/kubepods/besteffort/pod" UID "/other-" ID, "/kubepods/besteffort/pod" UID, UID, ID, ""},
	/* the runtime has systemd's driver and is run by hand, or kubelet has the other one */
	{"/system.slice/containerd.service/kubepods-besteffort-pod" UID_ ".slice:cri-containerd:" ID, NULL, UID, ID,
	 "containerd"},
	{"/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID, NULL, UID, ID, "containerd"},
	{"/system.slice/crio.service/kubepods-pod" UID_ ".slice:crio:" ID, NULL, UID, ID, "cri-o"},
	/* cgroupRoot, kind */
	{"/kn-node1/kubepods/burstable/pod" UID "/" ID, "/kn-node1/kubepods/burstable/pod" UID, UID, ID, ""},
	{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope",
	 "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_ ".slice", UID, ID, "containerd"},
	{"/kubelet/kubepods/besteffort/pod" UID "/" ID, "/kubelet/kubepods/besteffort/pod" UID, UID, ID, ""},
	/* static pods */
	{"/kubepods/burstable/pod" HASH "/" ID, "/kubepods/burstable/pod" HASH, HASH, ID, ""},
	{"/kubepods.slice/kubepods-pod" HASH ".slice/cri-containerd-" ID ".scope",
	 "/kubepods.slice/kubepods-pod" HASH ".slice", HASH, ID, "containerd"},
	/* seen from a cgroup namespace of one's own */
	{"/../../pod" UID "/" ID, "/../../pod" UID, UID, ID, ""},
	{"/../../kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/cri-containerd-" ID ".scope",
	 "/../../kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice", UID, ID, "containerd"},
	{"/../cri-containerd-" ID ".scope", NULL, "", ID, "containerd"}, /* of the same pod */
	/* Docker */
	{"/docker/" ID, NULL, "", ID, "docker"},
	{"/docker/" ID "/init.scope", "/docker/" ID, "", ID, "docker"},
	{"/system.slice/docker-" ID ".scope", NULL, "", ID, "docker"},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" ID ".scope", NULL, "", ID, "docker"},
	{"/a-parent/" ID, NULL, "", ID, ""},
	{"/system.slice/nerdctl-" ID ".scope", NULL, "", ID, "containerd"},
	{"/default/" ID, NULL, "", ID, ""},
	/* Podman */
	{"/machine.slice/libpod-" ID ".scope", NULL, "", ID, "podman"},
	{"/machine.slice/libpod-" ID ".scope/container", "/machine.slice/libpod-" ID ".scope", "", ID, "podman"},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container",
	 "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope", "", ID, "podman"},
	{"/machine.slice/machine-libpod_pod_" ID2 ".slice/libpod-" ID ".scope", NULL, "", ID, "podman"},
	{"/libpod_parent/libpod-" ID, NULL, "", ID, "podman"},
	{"/libpod_parent/" ID2 "/libpod-" ID, NULL, "", ID, "podman"},
	{"/system.slice/web.service/libpod-payload-" ID, NULL, "", ID, "podman"},
	/* systemd's machines */
	{"/machine.slice/systemd-nspawn@web.service", NULL, "", "web", "systemd-nspawn"},
	{"/machine.slice/systemd-nspawn@web\\x2d1.service/payload/system.slice/nginx.service",
	 "/machine.slice/systemd-nspawn@web\\x2d1.service", "", "web-1", "systemd-nspawn"},
	{"/machine.slice/machine-my\\x2dweb.scope/payload", "/machine.slice/machine-my\\x2dweb.scope", "", "my-web",
	 "systemd-nspawn"},
	/* LXC, LXD, Incus, Proxmox */
	{"/lxc.payload.c1", NULL, "", "c1", "lxc"},
	{"/lxc.payload.c1/system.slice/nginx.service", "/lxc.payload.c1", "", "c1", "lxc"},
	{"/lxc.payload/c1", NULL, "", "c1", "lxc"},
	{"/lxc/101/ns/init.scope", "/lxc/101", "", "101", "lxc"},
	{"/user.slice/user-1000.slice/session-1.scope/lxc.payload.a_c1", NULL, "", "a_c1", "lxc"},
	/* one in the other: kind in Docker; Docker in a pod, in LXC, in Docker; a pod's own pods */
	{"/docker/" ID2 "/kubelet/kubepods/pod" UID "/" ID, "/docker/" ID2 "/kubelet/kubepods/pod" UID, UID, ID, ""},
	{"/system.slice/docker-" ID2 ".scope" CGROUP "/cri-containerd-" ID ".scope",
	 "/system.slice/docker-" ID2 ".scope" CGROUP, UID, ID, "containerd"},
	{"/docker/" ID "/system.slice/containerd.service", "/docker/" ID, "", ID, "docker"},
	{CGROUP "/cri-containerd-" ID ".scope/docker/" ID2, CGROUP, UID, ID, "containerd"},
	{CGROUP "/cri-containerd-" ID ".scope/kubepods/pod" OTHER "/" ID2, CGROUP, UID, ID, "containerd"},
	{"/lxc.payload.c1/docker/" ID, "/lxc.payload.c1", "", "c1", "lxc"},
	{"/docker/" ID "/docker/" ID2, "/docker/" ID, "", ID, "docker"},
};

static const char *const no_container[] = {
	"",
	"/",
	"/init.scope",
	"/system.slice/sshd.service",
	"/system.slice/containerd.service",
	"/kubepods.slice/kubepods-burstable.slice",
	"/kubepods/burstable",
	"/user.slice/user-1000.slice/session-1.scope",
	"/../..",
	/* those who watch others */
	CGROUP "/crio-conmon-" ID ".scope",
	"/system.slice/crio-conmon-" ID ".scope",
	"/kubepods/besteffort/pod" UID "/crio-conmon-" ID,
	"/machine.slice/libpod-conmon-" ID ".scope",
	"/libpod_parent/conmon",
	"/lxc.monitor.c1",
	"/lxc.monitor/c1",
	"/machine.slice/systemd-nspawn@web.service/supervisor",
	/* nearly */
	"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
	"/machine.slice/machine-web\\x2.scope",
	"/machine.slice/machine-web\\x2f.scope",
	"/machine.slice/machine-.scope",
	"/lxc.payload.",
	"/lxc.payload.a b",
	"/lxc.payload." ID "x",
	"/lxc",
	"/docker",
	"/docker/buildkit/abcdef",
	"/docker/1401",
	"/docker/" ID "0",
	"/docker/0" ID,
	"/docker-" ID ".slice",
	"/system.slice/thing-" ID ".scope",
	"/libpod_parent/" ID,
	"/pod" UID "0",
	"/pod" UID_,
	"/kubepods-pod" UID ".slice",
	"/kubepods_pod" UID_ ".slice",
	"/podman/web",
	"/" HASH,
	"/memory/job/" HASH,
};

static struct clv_slice own(const char *text)
{
	return clv_slice_str(text);
}

static void test_forms(void **state)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct clv_cgroup_name name;

		print_message("# %s\n", forms[i].path);
		assert_true(clv_cgroup_parse(own(forms[i].path), &name));
		assert_string_equal(name.pod_uid, forms[i].pod);
		assert_string_equal(name.container, forms[i].container);
		assert_string_equal(name.runtime, forms[i].runtime);
		assert_int_equal(name.pod_len, strlen(forms[i].cgroup ? forms[i].cgroup : forms[i].path));
	}
}

static void test_no_container(void **state)
{
	for (size_t i = 0; i < sizeof(no_container) / sizeof(*no_container); i++) {
		struct clv_cgroup_name name = {.pod_len = 42};

		print_message("# %s\n", no_container[i]);
		assert_false(clv_cgroup_parse(own(no_container[i]), &name));
		assert_int_equal(name.pod_len, 42);
	}
}

/* A machine's name may be as long as a host's. */
static void test_long_name(void **state)
{
	struct clv_cgroup_name name;

	assert_true(clv_cgroup_parse(own("/lxc.payload." ID), &name));
	assert_string_equal(name.container, ID);
}

static void test_process(void **state)
{
	static const struct {
		const char *text, *pod, *container, *v2;
	} cases[] = {
		{"0::" CGROUP "/crio-" ID ".scope\n", UID, ID, CGROUP "/crio-" ID ".scope"},
		{"0::" CGROUP "/crio-" ID ".scope", UID, ID, CGROUP "/crio-" ID ".scope"},
		/* v1: any line will do */
		{"12:pids:/kubepods/pod" UID "/" ID "\n3:cpu,cpuacct:/\n1:name=systemd:/\n", UID, ID, ""},
		{"3:cpu,cpuacct:/\n1:name=systemd:/kubepods/pod" UID "/" ID "\n", UID, ID, ""},
		/* hybrid */
		{"8:pids:/kubepods/pod" UID "/" ID "\n0::/system.slice/containerd.service\n", UID, ID,
		 "/system.slice/containerd.service"},
		{"8:pids:/\n0::/kubepods/pod" UID "/" ID "\n", UID, ID, "/kubepods/pod" UID "/" ID},
		/* a node in Docker: the pod's line counts */
		{"9:memory:/docker/" ID2 "\n8:pids:/docker/" ID2 "/kubepods/pod" UID "/" ID "\n0::/\n", UID, ID, "/"},
		{"8:pids:/docker/" ID "\n0::/docker/" ID "\n", "", ID, "/docker/" ID},
		/* colons in a path */
		{"1:name=systemd:/kubepods-pod" UID_ ".slice:cri-containerd:" ID "\n", UID, ID, ""},
	};
	static const char *const others[] = {"", "\n", "::", "0::", "0::/\n", "0:", "4:cpu\n", "docker/x\n"};
	struct clv_cgroup_name name;
	struct clv_slice v2;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_true(clv_cgroup_of_process(own(cases[i].text), &name, &v2));
		assert_string_equal(name.pod_uid, cases[i].pod);
		assert_string_equal(name.container, cases[i].container);
		assert_true(clv_slice_eq(v2, own(cases[i].v2)));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		assert_false(clv_cgroup_of_process(own(others[i]), &name, &v2));
	assert_false(clv_cgroup_of_process(own("4:cpu:/\n0::/init.scope\n"), &name, &v2));
	assert_true(clv_slice_eq(v2, CLV_LIT("/init.scope")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_no_container),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
