/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns nothing: opens files of container engines, reads, and closes them. What they say is text for people, of users'
 * making; it is never part of a path. Any thread.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/host.h"

#define ID_LEN    64
#define SHORT_LEN 12

/* What is known of one container. */
struct facts {
	const char *runtime;
	const char *name, *image, *service, *project; /* of `doc` and `metadata`; NULL: not said */
	json_t *doc, *metadata;
};

/* ---- documents -------------------------------------------------------------------------------------- */

/* The size of a regular file that is not too long, or 0. */
static size_t file_size(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > (off_t)CLV_HOST_FILE_BYTES)
		return 0;
	return (size_t)st.st_size;
}

/* NULL: it is not there, or no JSON. The caller drops it. */
static json_t *document(const char *directory, const char *file)
{
	char path[512];
	json_t *doc = NULL;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, file) >= sizeof(path))
		return NULL;

	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t size = fd < 0 ? 0 : file_size(fd);
	char *text = size ? malloc(size) : NULL;
	ssize_t n = text ? read(fd, text, size) : -1;

	if (n > 0)
		doc = json_loadb(text, (size_t)n, 0, NULL);
	free(text);
	if (fd >= 0)
		close(fd);
	return doc;
}

static const char *string_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s && *s ? s : NULL;
}

/* ---- Docker ----------------------------------------------------------------------------------------- */

/* The first of two labels. */
static const char *label_of(const json_t *labels, const char *first, const char *second)
{
	const char *value = string_of(labels, first);

	return value ? value : string_of(labels, second);
}

/* containers/ID/config.v2.json. false: it has none of that id. */
static bool docker_facts(const char *directory, const char *id, struct facts *f)
{
	char file[128];

	snprintf(file, sizeof(file), "containers/%s/config.v2.json", id);

	json_t *doc = document(directory, file);
	const json_t *config = json_object_get(doc, "Config"), *labels = json_object_get(config, "Labels");
	const char *name = string_of(doc, "Name");

	if (!doc)
		return false;
	*f = (struct facts){
		.runtime = "docker",
		.name = name && *name == '/' ? name + 1 : name,
		.image = string_of(config, "Image"),
		.service = label_of(labels, "com.docker.compose.service", "com.docker.swarm.service.name"),
		.project = label_of(labels, "com.docker.compose.project", "com.docker.stack.namespace"),
		.doc = doc,
	};
	return true;
}

/* ---- Podman ----------------------------------------------------------------------------------------- */

static const json_t *podman_entry(const json_t *list, const char *id)
{
	size_t i;
	const json_t *entry;

	json_array_foreach(list, i, entry)
	{
		const char *its = string_of(entry, "id");

		if (its && !strcmp(its, id))
			return entry;
	}
	return NULL;
}

/* The metadata are JSON within a string. */
static bool podman_file_facts(const char *directory, const char *file, const char *id, struct facts *f)
{
	json_t *doc = document(directory, file);
	const json_t *entry = podman_entry(doc, id);
	const char *name = json_string_value(json_array_get(json_object_get(entry, "names"), 0));
	const char *metadata = string_of(entry, "metadata");

	if (!entry) {
		json_decref(doc);
		return false;
	}
	*f = (struct facts){.runtime = "podman", .doc = doc};
	f->metadata = metadata ? json_loads(metadata, 0, NULL) : NULL;
	f->name = name && *name ? name : string_of(f->metadata, "name");
	f->image = string_of(f->metadata, "image-name");
	return true;
}

/* Those that shall not outlive a restart (--rm) stand in a file of their own. */
static bool podman_facts(const char *directory, const char *id, struct facts *f)
{
	return podman_file_facts(directory, "overlay-containers/containers.json", id, f) ||
	       podman_file_facts(directory, "overlay-containers/volatile-containers.json", id, f);
}

/* ---- the resource ----------------------------------------------------------------------------------- */

/* A copy in the resource's room; empty when there is none left. */
static struct clv_slice keep(struct clv_host_resource *r, struct clv_slice s)
{
	char *to = r->text + r->used;

	if (s.len > sizeof(r->text) - r->used)
		return clv_slice(NULL, 0);
	if (s.len)
		memcpy(to, s.data, s.len);
	r->used += s.len;
	return clv_slice(to, s.len);
}

static struct clv_slice text_of(const char *s)
{
	return s ? clv_slice_str(s) : clv_slice(NULL, 0);
}

static void add(struct clv_host_resource *r, struct clv_slice key, struct clv_slice value)
{
	value = keep(r, value);
	if (value.len)
		r->attr[r->count++] = (struct clv_resource_attr){key, value};
}

/* Without tag and digest: "registry:5000/app" of "registry:5000/app:1.2@sha256:...". Empty of a bare id. */
static struct clv_slice image_name(const char *image)
{
	struct clv_slice s = text_of(image);
	size_t slash = 0;

	if (clv_slice_starts(s, CLV_LIT("sha256:")))
		return clv_slice(NULL, 0);
	s = clv_slice_head(s, clv_slice_find(s, 0, '@'));
	for (size_t at; (at = clv_slice_find(s, slash, '/')) < s.len; slash = at + 1)
		;
	return clv_slice_head(s, clv_slice_find(s, slash, ':'));
}

static bool is_id(const char *container)
{
	return strlen(container) == ID_LEN && strspn(container, "0123456789abcdef") == ID_LEN;
}

/* What its engine knows; where the cgroup does not say which one that is, all are asked. */
static void find_facts(const struct clv_host_config *config, const struct clv_cgroup_name *name, struct facts *f)
{
	const char *docker = config && config->docker ? config->docker : "/var/lib/docker";
	const char *podman = config && config->podman ? config->podman : "/var/lib/containers/storage";
	bool any = !*name->runtime;

	if ((any || !strcmp(name->runtime, "docker")) && docker_facts(docker, name->container, f))
		return;
	if (any || !strcmp(name->runtime, "podman"))
		podman_facts(podman, name->container, f);
}

void clv_host_resource(const struct clv_host_config *config, const struct clv_cgroup_name *name,
		       struct clv_host_resource *out)
{
	struct clv_slice container = clv_slice_str(name->container), id = clv_slice(NULL, 0);
	struct facts f = {.runtime = name->runtime};

	out->count = out->used = 0;
	if (is_id(name->container)) {
		id = container;
		find_facts(config, name, &f);
	} else {
		f.name = name->container; /* a machine's */
	}

	struct clv_slice service = text_of(f.service ? f.service : f.name);

	out->service =
		keep(out, clv_slice_head(service.len ? service : clv_slice_head(id, SHORT_LEN), CLV_SERVICE_MAX));
	add(out, CLV_LIT("service.namespace"), text_of(f.project));
	add(out, CLV_LIT("service.instance.id"), container);
	add(out, CLV_LIT("container.id"), id);
	add(out, CLV_LIT("container.name"), text_of(f.name));
	add(out, CLV_LIT("container.runtime.name"), text_of(f.runtime));
	add(out, CLV_LIT("container.image.name"), image_name(f.image));
	json_decref(f.doc);
	json_decref(f.metadata);
}
