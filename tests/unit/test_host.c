/* SPDX-License-Identifier: Apache-2.0 */
/* kube/host.h: names of containers, by files as Docker and Podman write them, and by files that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/host.h"

#define ID  "14011c7d92a9e513dfd69211da0413dbf319a5e45a02b354ba6e98e10272542d"
#define ID2 "9b9ccc15d288aa0f7d3bf7b583993921bf261edfeff3467765ab81e687c6a889"

static char top[64];

static void make(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (char *slash = path + strlen(top) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}

	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	(void)state;
	strcpy(top, "/tmp/clv-host-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const struct clv_host_resource *ask(const char *runtime, const char *container)
{
	static struct clv_host_resource r;
	struct clv_cgroup_name name = {.runtime = runtime};
	struct clv_host_config config = {.docker = top, .podman = top};

	snprintf(name.container, sizeof(name.container), "%s", container);
	clv_host_resource(&config, &name, &r);
	return &r;
}

/* "service key=value ..." */
static const char *text(const struct clv_host_resource *r)
{
	static char out[4096];
	int n = snprintf(out, sizeof(out), "%.*s", (int)r->service.len, r->service.data);

	for (size_t i = 0; i < r->count; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n, " %.*s=%.*s", (int)r->attr[i].key.len,
			      r->attr[i].key.data, (int)r->attr[i].value.len, r->attr[i].value.data);
	return out;
}

#define INSTANCE " service.instance.id=" ID " container.id=" ID

static void test_docker(void **state)
{
	static const char file[] = "containers/" ID "/config.v2.json";

	make(file, "{\"StreamConfig\":{},\"State\":{\"Running\":true},\"ID\":\"" ID "\",\"Config\":{\"Hostname\":\"x\","
		   "\"Image\":\"registry:5000/shop/web:1.2@sha256:" ID2 "\",\"Labels\":{}},"
		   "\"Image\":\"sha256:" ID2 "\",\"Name\":\"/silly_name\"}");
	assert_string_equal(text(ask("docker", ID)),
			    "silly_name" INSTANCE " container.name=silly_name container.runtime.name=docker"
			    " container.image.name=registry:5000/shop/web");
	/* Another cgroup parent: the path does not say whose it is. */
	assert_string_equal(text(ask("", ID)),
			    "silly_name" INSTANCE " container.name=silly_name container.runtime.name=docker"
			    " container.image.name=registry:5000/shop/web");
	/* One engine's file says nothing of another's container. */
	assert_string_equal(text(ask("podman", ID)), "14011c7d92a9" INSTANCE " container.runtime.name=podman");

	make(file, "{\"Name\":\"/shop-web-1\",\"Config\":{\"Image\":\"nginx\",\"Labels\":{"
		   "\"com.docker.compose.project\":\"shop\",\"com.docker.compose.service\":\"web\"}}}");
	assert_string_equal(text(ask("docker", ID)), "web service.namespace=shop" INSTANCE " container.name=shop-web-1"
						     " container.runtime.name=docker container.image.name=nginx");

	make(file, "{\"Name\":\"/shop_web.1.abc\",\"Config\":{\"Image\":\"sha256:" ID2 "\",\"Labels\":{"
		   "\"com.docker.stack.namespace\":\"shop\",\"com.docker.swarm.service.name\":\"shop_web\"}}}");
	assert_string_equal(text(ask("docker", ID)), "shop_web service.namespace=shop" INSTANCE
						     " container.name=shop_web.1.abc container.runtime.name=docker");
}

static void test_podman(void **state)
{
	make("overlay-containers/containers.json",
	     "[{\"id\":\"" ID2 "\",\"names\":[\"other\"]},{\"id\":\"" ID "\",\"names\":[\"web\"],\"image\":\"" ID2 "\","
	     "\"layer\":\"l\",\"metadata\":\"{\\\"image-name\\\":\\\"docker.io/library/nginx:latest\\\","
	     "\\\"image-id\\\":\\\"" ID2 "\\\",\\\"name\\\":\\\"web\\\",\\\"created-at\\\":1700000000}\","
	     "\"created\":\"2026-01-01T00:00:00Z\",\"flags\":{\"MountLabel\":\"\"}}]");
	assert_string_equal(text(ask("podman", ID)), "web" INSTANCE " container.name=web container.runtime.name=podman"
						     " container.image.name=docker.io/library/nginx");
	assert_string_equal(text(ask("", ID2)), "other service.instance.id=" ID2 " container.id=" ID2
						" container.name=other container.runtime.name=podman");

	make("overlay-containers/containers.json", "[]");
	make("overlay-containers/volatile-containers.json",
	     "[{\"id\":\"" ID "\",\"metadata\":\"{\\\"name\\\":\\\"once\\\"}\"}]");
	assert_string_equal(text(ask("podman", ID)),
			    "once" INSTANCE " container.name=once container.runtime.name=podman");
}

static void test_machines(void **state)
{
	assert_string_equal(
		text(ask("systemd-nspawn", "web-1")),
		"web-1 service.instance.id=web-1 container.name=web-1 container.runtime.name=systemd-nspawn");
	assert_string_equal(text(ask("lxc", "..")),
			    ".. service.instance.id=.. container.name=.. container.runtime.name=lxc");
}

/* Nothing is known but the id: no file, no JSON, other JSON, too much. */
static void test_unknown(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"1",
		"{\"Name\":7,\"Config\":[]}",
		"{\"Name\":\"\",\"Config\":{\"Image\":{},\"Labels\":[1]}}",
		"{\"Name\":\"/\",\"Config\":{\"Image\":\"\"}}",
	};
	static char large[CLV_HOST_FILE_BYTES + 64];

	assert_string_equal(text(ask("docker", ID)), "14011c7d92a9" INSTANCE " container.runtime.name=docker");
	assert_string_equal(text(ask("", ID)), "14011c7d92a9" INSTANCE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		make("containers/" ID "/config.v2.json", bad[i]);
		make("overlay-containers/containers.json", bad[i]);
		assert_string_equal(text(ask("docker", ID)), "14011c7d92a9" INSTANCE " container.runtime.name=docker");
		assert_string_equal(text(ask("podman", ID)), "14011c7d92a9" INSTANCE " container.runtime.name=podman");
	}
	memset(large, ' ', sizeof(large) - 1);
	memcpy(large, "{\"Name\":\"/web\"}", 15);
	make("containers/" ID "/config.v2.json", large);
	assert_string_equal(text(ask("docker", ID)), "14011c7d92a9" INSTANCE " container.runtime.name=docker");
	large[CLV_HOST_FILE_BYTES] = '\0';
	make("containers/" ID "/config.v2.json", large);
	assert_string_equal(text(ask("docker", ID)),
			    "web" INSTANCE " container.name=web container.runtime.name=docker");
}

/* What has no room is left out; a service's name is cut. */
static void test_long(void **state)
{
	static char file[8192], name[3000];

	memset(name, 'n', sizeof(name) - 1);
	snprintf(file, sizeof(file), "{\"Name\":\"/%s\",\"Config\":{\"Image\":\"nginx\"}}", name);
	make("containers/" ID "/config.v2.json", file);

	const struct clv_host_resource *r = ask("docker", ID);

	assert_int_equal(r->service.len, CLV_SERVICE_MAX);
	assert_string_equal(text(r) + CLV_SERVICE_MAX,
			    INSTANCE " container.runtime.name=docker container.image.name=nginx");
}

#define in_tree(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(test_docker),  in_tree(test_podman), in_tree(test_machines),
		in_tree(test_unknown), in_tree(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
