/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube/podnet.h and kube/procs.h on trees of files that look like /proc and /sys/fs/cgroup; tests/netns/test_podnet.py
 * has real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/podnet.h"
#include "kube/procs.h"

#define UID    "8dbc5577-d0e2-4706-8787-57d52c03ddf2"
#define UID_   "8dbc5577_d0e2_4706_8787_57d52c03ddf2"
#define ID     "14011c7d92a9e513dfd69211da0413dbf319a5e45a02b354ba6e98e10272542d"
#define ID2    "9b9ccc15d288aa0f7d3bf7b583993921bf261edfeff3467765ab81e687c6a889"
#define POD    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice"
#define CGROUP "0::/" POD "/cri-containerd-" ID ".scope\n"
#define SECOND 1000000000ull

/* ---- trees of files --------------------------------------------------------------------------------- */

static char top[64];

/* A path of the tree; valid for some calls. */
static const char *in(const char *name)
{
	static char path[4][640];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", top, name);
	return p;
}

static void make_dirs(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	assert_true(!mkdir(path, 0755) || errno == EEXIST);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void remove_tree(const char *name)
{
	nftw(in(name), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* `netns` 0: no such link. */
static void make_process(const char *pid, const char *cgroup, unsigned netns)
{
	char name[64], link[32];

	snprintf(name, sizeof(name), "proc/%s/ns", pid);
	make_dirs(name);
	snprintf(name, sizeof(name), "proc/%s/cgroup", pid);
	write_file(name, cgroup);
	snprintf(name, sizeof(name), "proc/%s/ns/net", pid);
	snprintf(link, sizeof(link), "net:[%u]", netns);
	unlink(in(name));
	if (netns)
		assert_int_equal(symlink(link, in(name)), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(top, "/tmp/clv-podnet-XXXXXX");
	assert_non_null(mkdtemp(top));
	make_process("self", "0::/system.slice/clovisor.service\n", 4026531833u);
	assert_int_equal(symlink("pid:[4026531836]", in("proc/self/ns/pid")), 0);
	make_dirs("cgroup");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	remove_tree(".");
	rmdir(top);
	return 0;
}

static struct clv_podnet *open_podnet(void)
{
	static struct clv_links *links;
	struct clv_podnet_config config = {.proc = in("proc"), .cgroup = in("cgroup")};
	struct clv_podnet *p;

	if (!links)
		assert_int_equal(clv_links_open(&links), 0);
	config.links = links;
	assert_int_equal(clv_podnet_open(&config, &p), 0);
	return p;
}

static const struct clv_podnet_container *container(const struct clv_podnet *p, const char *id)
{
	return clv_podnet_find(p, NULL, &id, 1);
}

/* ---- podnet ----------------------------------------------------------------------------------------- */

static void test_containers(void **state)
{
	make_process("1", "0::/init.scope\n", 4026531833u);
	make_process("100", CGROUP, 7);
	make_process("101", CGROUP, 7);
	make_process("102", "0::/" POD "/crio-" ID2 ".scope/container\n", 7);
	make_process("103", "0::/" POD "/crio-conmon-" ID2 ".scope\n", 4026531833u);
	make_process("104", "0::/" POD "\n", 4026531833u); /* a runtime's */
	make_process("105", "0::/machine.slice/libpod-" ID ".scope\n", 4026531833u);
	make_process("12x", "0::/lxc.payload.nobody\n", 8);
	make_dirs("proc/106"); /* ended: no files */

	struct clv_podnet *p = open_podnet();
	size_t count;

	assert_int_equal(clv_podnet_scan(p), 3);
	clv_podnet_containers(p, &count);
	assert_int_equal(count, 3);

	const struct clv_podnet_container *c = clv_podnet_find(p, UID, NULL, 0);

	assert_non_null(c);
	assert_int_equal(c->netns, 7);
	assert_int_equal(c->nsid, -1);
	assert_false(c->host_network);
	assert_string_equal(c->cgroup, "");
	c = container(p, ID2);
	assert_non_null(c);
	assert_int_equal(c->pid, 102);
	assert_string_equal(c->name.runtime, "cri-o");
	/* Of two with one id, that of another namespace than the host's is preferred. */
	assert_string_equal(container(p, ID)->name.pod_uid, UID);
	assert_null(container(p, "12x"));
	assert_null(clv_podnet_find(p, "", NULL, 0));
	clv_podnet_close(p);
}

static void test_host_network(void **state)
{
	make_process("100", CGROUP, 4026531833u);

	struct clv_podnet *p = open_podnet();

	assert_int_equal(clv_podnet_scan(p), 1);
	assert_true(container(p, ID)->host_network);
	assert_int_equal(container(p, ID)->nsid, -1);
	clv_podnet_close(p);
}

/* The process that has the pid is another one; a process goes; all go. */
static void test_changes(void **state)
{
	make_process("100", CGROUP, 7);
	make_process("200", "0::/init.scope\n", 4026531833u);

	struct clv_podnet *p = open_podnet();

	assert_int_equal(clv_podnet_scan(p), 1);
	make_process("200", "0::/docker/" ID2 "\n", 8);
	assert_int_equal(clv_podnet_scan(p), 2);
	assert_int_equal(container(p, ID2)->netns, 8);
	make_process("100", "0::/docker/" ID2 "\n", 7);
	assert_int_equal(clv_podnet_scan(p), 1);
	assert_null(container(p, ID));
	remove_tree("proc/100");
	remove_tree("proc/200");
	assert_int_equal(clv_podnet_scan(p), 0);
	assert_null(container(p, ID2));
	clv_podnet_close(p);
}

static uint64_t inode(const char *name)
{
	struct stat st;

	assert_int_equal(stat(in(name), &st), 0);
	return st.st_ino;
}

/* What is read of the link tells the path below v2's root, or leads out of a cgroup namespace. */
static void check_directory(const char *link, const char *path)
{
	make_process("100", link, 7);

	struct clv_podnet *p = open_podnet();
	char full[512];

	assert_int_equal(clv_podnet_scan(p), 1);
	snprintf(full, sizeof(full), "cgroup/%s", path);
	assert_string_equal(container(p, ID)->cgroup, path);
	assert_int_equal(container(p, ID)->cgroup_inode, inode(full));
	assert_string_equal(clv_podnet_trouble(p), "");
	clv_podnet_close(p);
}

static void test_cgroup_v2(void **state)
{
	make_dirs("cgroup/a/b/c");
	make_dirs("cgroup/" POD "/cri-containerd-" ID ".scope");
	make_dirs("cgroup/system.slice/docker-" ID ".scope");
	write_file("cgroup/cgroup.controllers", "");
	check_directory(CGROUP, POD);
	check_directory("0::/../../../" POD "/cri-containerd-" ID ".scope\n", POD);
	check_directory("0::/../../kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope\n", POD);
	check_directory("5:pids:/other\n" CGROUP, POD);
	check_directory("0::/system.slice/docker-" ID ".scope/init.scope\n", "system.slice/docker-" ID ".scope");
	check_directory("0::/../docker-" ID ".scope\n", "system.slice/docker-" ID ".scope");
}

static void test_cgroup_hybrid(void **state)
{
	make_dirs("cgroup/unified/kn-node1/kubepods/pod" UID "/" ID);
	write_file("cgroup/unified/cgroup.controllers", "");
	check_directory("4:pids:/x\n0::/kn-node1/kubepods/pod" UID "/" ID "\n", "unified/kn-node1/kubepods/pod" UID);
	check_directory("4:pids:/x\n0::/../../pod" UID "/" ID "\n", "unified/kn-node1/kubepods/pod" UID);
}

static void check_no_directory(const char *cgroup, const char *trouble)
{
	make_process("100", cgroup, 7);

	struct clv_podnet *p = open_podnet();

	assert_int_equal(clv_podnet_scan(p), 1);
	assert_string_equal(container(p, ID)->cgroup, "");
	assert_int_equal(container(p, ID)->cgroup_inode, 0);
	assert_string_equal(clv_podnet_trouble(p), trouble);
	clv_podnet_close(p);
}

static void test_no_directory(void **state)
{
	static const char lost[] = "the cgroups of 1 of 1 containers are not there: mount the host's /sys/fs/cgroup";

	/* v1 alone */
	check_no_directory("4:pids:/kubepods/pod" UID "/" ID "\n", "");
	/* v2, but not mounted here, or not the host's */
	check_no_directory(CGROUP, lost);
	make_dirs("cgroup/elsewhere");
	write_file("cgroup/cgroup.controllers", "");
	check_no_directory(CGROUP, lost);
	check_no_directory("4:pids:/kubepods/pod" UID "/" ID "\n0::/\n", "");
	/* hybrid: v2 has nothing of the pod, only of what is around it */
	make_dirs("cgroup/docker/" ID2);
	check_no_directory("4:pids:/docker/" ID2 "/kubepods/pod" UID "/" ID "\n0::/docker/" ID2 "\n", "");
}

static void test_without_host_pid(void **state)
{
	static const char missing[] = "no process of a container is visible: hostPID is missing";
	struct clv_podnet *p;

	/* No container runs on the host. */
	make_process("1", "0::/\n", 4026531833u);
	make_process("self", "0::/\n", 4026531833u);
	p = open_podnet();
	assert_int_equal(clv_podnet_scan(p), 0);
	assert_string_equal(clv_podnet_trouble(p), "");
	clv_podnet_close(p);

	/* Numbered in a namespace, alone. */
	unlink(in("proc/self/ns/pid"));
	assert_int_equal(symlink("pid:[4026532001]", in("proc/self/ns/pid")), 0);
	p = open_podnet();
	clv_podnet_scan(p);
	assert_string_equal(clv_podnet_trouble(p), missing);
	clv_podnet_close(p);

	/* The same without a cgroup namespace: it sees itself. */
	make_process("1", CGROUP, 4026531833u);
	make_process("self", CGROUP, 4026531833u);
	p = open_podnet();
	assert_int_equal(clv_podnet_scan(p), 1);
	assert_string_equal(clv_podnet_trouble(p), missing);

	/* A node that is a container itself: others are there. */
	make_process("2", "0::/init.scope\n", 4026531833u);
	clv_podnet_scan(p);
	assert_string_not_equal(clv_podnet_trouble(p), missing);
	clv_podnet_close(p);
}

static void test_no_proc(void **state)
{
	struct clv_podnet_config config = {.proc = in("nothing")};
	struct clv_podnet *p = NULL;

	assert_int_equal(clv_podnet_open(&config, &p), -ENOENT);
	assert_null(p);
	clv_podnet_close(NULL);
	/* There, but nobody is in it. */
	p = open_podnet();
	assert_int_equal(clv_podnet_scan(p), 0);
	clv_podnet_close(p);
}

/* A line that is longer than all that is read of it, and no line at all. */
static void test_hostile_cgroup(void **state)
{
	static char text[100000];

	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "0::/", 4);
	make_process("100", text, 7);
	memset(text, '/', sizeof(text) - 1);
	make_process("101", text, 7);
	memset(text, '\n', sizeof(text) - 1);
	make_process("102", text, 7);

	struct clv_podnet *p = open_podnet();

	assert_int_equal(clv_podnet_scan(p), 0);
	clv_podnet_close(p);
}

/* ---- procs ------------------------------------------------------------------------------------------ */

static void count_gone(void *ctx, struct clv_proc *proc)
{
	(void)proc;
	++*(int *)ctx;
}

/* As the reader does. `changed`: it found something new. */
static bool read_if_due(struct clv_procs *ps, uint64_t now_ns, bool changed)
{
	int gone = 0;

	assert_int_equal(clv_procs_scan(ps, now_ns, count_gone, &gone), 0);
	assert_int_equal(ps->count, 1);
	if (!ps->proc->due)
		return false;
	if (!ps->proc->read_ns || changed)
		ps->proc->since_ns = now_ns;
	ps->proc->read_ns = now_ns;
	return true;
}

static void test_due(void **state)
{
	struct clv_procs ps;

	make_process("100", CGROUP, 7);
	assert_int_equal(clv_procs_open(&ps, in("proc")), 0);
	assert_true(read_if_due(&ps, 10 * SECOND, true));
	assert_true(read_if_due(&ps, 10 * SECOND + 1, false)); /* young */
	assert_true(read_if_due(&ps, 10 * SECOND + SECOND / 2, false));
	assert_true(read_if_due(&ps, 12 * SECOND, false));
	/* The same for 2 s, so it is for 2 s more. */
	assert_false(read_if_due(&ps, 12 * SECOND, false));
	assert_false(read_if_due(&ps, 14 * SECOND - 1, false));
	assert_true(read_if_due(&ps, 14 * SECOND, true)); /* but it was not */
	assert_true(read_if_due(&ps, 14 * SECOND + 1, false));
	/* Never longer than this. */
	assert_true(read_if_due(&ps, 1000 * SECOND, false));
	assert_false(read_if_due(&ps, 1059 * SECOND, false));
	assert_true(read_if_due(&ps, 1060 * SECOND, false));
	/* Another process, by its directory; what is told of it is not what was known. */
	make_dirs("proc/101");
	assert_int_equal(rename(in("proc/100"), in("old")), 0);
	assert_int_equal(rename(in("proc/101"), in("proc/100")), 0);

	int gone = 0;

	assert_int_equal(clv_procs_scan(&ps, 1061 * SECOND, count_gone, &gone), 0);
	assert_int_equal(gone, 1);
	assert_int_equal(ps.proc->read_ns, 0);
	assert_true(ps.proc->due);
	clv_procs_close(&ps);
}

static void test_process_files(void **state)
{
	struct clv_procs ps;
	char text[8];
	uint64_t number = 42;

	make_process("100", "abcdefghij", 7);
	write_file("proc/100/stat", "100 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20\n");
	make_process("101", "", 0);
	write_file("proc/101/stat", "101 (x) S 1 2\n");
	make_dirs("proc/102");
	write_file("proc/102/stat", "");
	assert_int_equal(symlink("net:[]", in("proc/101/ns/net")), 0);
	assert_int_equal(symlink("net:[12", in("proc/101/ns/pid")), 0);
	assert_int_equal(clv_procs_open(&ps, in("proc")), 0);

	assert_int_equal(clv_procs_read(&ps, 100, "cgroup", text, sizeof(text)), 7);
	assert_string_equal(text, "abcdefg");
	assert_int_equal(clv_procs_read(&ps, 99, "cgroup", text, sizeof(text)), -ENOENT);
	assert_int_equal(clv_procs_namespace(&ps, 99, "net", &number), -ENOENT);
	assert_int_equal(clv_procs_namespace(&ps, 101, "net", &number), -EBADMSG);
	assert_int_equal(clv_procs_namespace(&ps, 101, "pid", &number), -EBADMSG);
	assert_int_equal(number, 42);
	assert_int_equal(clv_procs_namespace(&ps, 0, "net", &number), 0);
	assert_int_equal(number, 4026531833u);
	assert_int_equal(clv_procs_started(&ps, 100), 777);
	assert_true(clv_procs_started(&ps, 101) == UINT64_MAX);
	assert_true(clv_procs_started(&ps, 102) == UINT64_MAX);
	assert_true(clv_procs_started(&ps, 99) == UINT64_MAX);
	clv_procs_close(&ps);
}

#define in_tree(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(test_containers),       in_tree(test_host_network),
		in_tree(test_changes),          in_tree(test_cgroup_v2),
		in_tree(test_cgroup_hybrid),    in_tree(test_no_directory),
		in_tree(test_without_host_pid), in_tree(test_no_proc),
		in_tree(test_hostile_cgroup),   in_tree(test_due),
		in_tree(test_process_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
