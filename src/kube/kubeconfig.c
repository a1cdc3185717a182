/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of kubeconfigs: libyaml's documents, looked up by the few keys that count. Owns the documents, from which
 * most strings are borrowed, and those made of them; opens no other file, runs nothing. One thread.
 *
 * Look-ups go down fixed paths, so that aliases and depth cannot make it do more.
 */
#include "kube/kubeconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/base64.h"

struct file {
	char *path;
	yaml_document_t document;
};

struct reader {
	struct clv_kubeconfig config; /* first: what others see */
	struct file file[CLV_KUBECONFIG_FILES];
	size_t files;
	void **owned; /* strings that are in no document */
	size_t owned_count;
	int err; /* of memory, noted once */
};

/* An entry of clusters, users or contexts, with the file it is in. */
struct entry {
	struct file *file; /* NULL: there is none */
	yaml_node_t *node; /* a mapping */
};

/* ---- files ----------------------------------------------------------------------------------------------------- */

int clv_kube_read_file(const char *path, size_t most, char **out, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t used = 0, cap = 4096;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	char *text = malloc(cap + 1);
	int err = text ? 0 : -ENOMEM;
	while (!err && (n = read(fd, text + used, cap - used)) != 0) {
		if (n < 0) {
			err = errno == EINTR ? 0 : -errno;
			continue;
		}
		used += (size_t)n;
		if (used > most) {
			err = -EFBIG;
		} else if (used == cap) {
			char *more = realloc(text, 2 * cap + 1);

			cap *= 2;
			err = more ? 0 : -ENOMEM;
			text = more ? more : text;
		}
	}
	close(fd);
	if (err) {
		free(text);
		return err;
	}
	text[used] = '\0';
	*out = text;
	if (len)
		*len = used;
	return 0;
}

/* Base64, to text that the caller frees. NULL: it is none, or no memory. */
static char *text_of_base64(const char *text)
{
	struct clv_slice s = clv_slice_str(text);
	char *out = malloc(CLV_BASE64_DECODED(s.len) + 1);
	size_t len;

	if (out && !clv_base64_decode(s, (uint8_t *)out, CLV_BASE64_DECODED(s.len), &len)) {
		free(out);
		return NULL;
	}
	if (out)
		out[len] = '\0';
	return out;
}

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

/* A scalar's text, or NULL. */
static const char *node_text(const yaml_node_t *n)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* The value of a mapping's key, or NULL. */
static yaml_node_t *node_get(struct file *f, const yaml_node_t *map, const char *key)
{
	if (!map || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const char *text = node_text(yaml_document_get_node(&f->document, p->key));

		if (text && strcmp(text, key) == 0)
			return yaml_document_get_node(&f->document, p->value);
	}
	return NULL;
}

/* The i-th node of a sequence, or NULL past its end. */
static yaml_node_t *node_at(struct file *f, const yaml_node_t *list, size_t i)
{
	if (!list || list->type != YAML_SEQUENCE_NODE ||
	    i >= (size_t)(list->data.sequence.items.top - list->data.sequence.items.start))
		return NULL;
	return yaml_document_get_node(&f->document, list->data.sequence.items.start[i]);
}

/* A text that says something: neither empty nor YAML's null. */
static const char *entry_text(struct entry e, const char *key)
{
	const yaml_node_t *n = e.file ? node_get(e.file, e.node, key) : NULL;
	const char *text = node_text(n);
	bool plain = text && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	if (!text || !*text || (plain && (strcmp(text, "null") == 0 || strcmp(text, "~") == 0)))
		return NULL;
	return text;
}

static bool entry_flag(struct entry e, const char *key)
{
	const char *text = entry_text(e, key);

	return text && strcasecmp(text, "true") == 0;
}

/* By name, in the first file that has it: {clusters: [{name: NAME, cluster: {...}}]}. */
static struct entry reader_find(struct reader *r, const char *list, const char *item, const char *name)
{
	for (size_t i = 0; i < r->files; i++) {
		struct file *f = &r->file[i];
		yaml_node_t *nodes = node_get(f, yaml_document_get_root_node(&f->document), list), *n;

		for (size_t k = 0; (n = node_at(f, nodes, k)); k++) {
			const char *text = node_text(node_get(f, n, "name"));

			if (text && strcmp(text, name) == 0)
				return (struct entry){f, node_get(f, n, item)};
		}
	}
	return (struct entry){0};
}

/* ---- strings of our own ---------------------------------------------------------------------------------------- */

static const char *reader_own(struct reader *r, char *text)
{
	void **more = text ? realloc(r->owned, (r->owned_count + 1) * sizeof(*more)) : NULL;

	if (!more) {
		free(text);
		r->err = -ENOMEM;
		return NULL;
	}
	r->owned = more;
	r->owned[r->owned_count++] = text;
	return text;
}

static const char *reader_printf(struct reader *r, const char *fmt, const char *a, const char *b)
{
	size_t bytes = strlen(fmt) + strlen(a) + strlen(b) + 1;
	char *text = malloc(bytes);

	if (text)
		snprintf(text, bytes, fmt, a, b); /* NOLINT: both formats stand in this file */
	return reader_own(r, text);
}

/* A path that is relative is so to its file's directory. */
static const char *reader_path(struct reader *r, const struct file *f, const char *path)
{
	const char *slash = strrchr(f->path, '/');

	if (!path || *path == '/' || !slash)
		return path;
	char *joined = malloc((size_t)(slash - f->path) + strlen(path) + 2);
	if (joined)
		sprintf(joined, "%.*s%s", (int)(slash - f->path + 1), f->path, path);
	return reader_own(r, joined);
}

/* KEY-data before KEY. */
static int reader_pem(struct reader *r, struct entry e, const char *key, struct clv_kubeconfig_pem *out,
		      char why[CLV_KUBE_WHY])
{
	char data_key[64];

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	const char *data = entry_text(e, data_key);
	if (data) {
		char *text = text_of_base64(data);

		if (!text) {
			snprintf(why, CLV_KUBE_WHY, "%s: %s is not base64", e.file->path, data_key);
			return -EINVAL;
		}
		out->text = reader_own(r, text);
	} else if (e.file) {
		out->path = reader_path(r, e.file, entry_text(e, key));
	}
	return 0;
}

/* ---- what a context leads to ----------------------------------------------------------------------------------- */

static int reader_cluster(struct reader *r, struct entry e, char why[CLV_KUBE_WHY])
{
	struct clv_kubeconfig *k = &r->config;
	const char *server = entry_text(e, "server");

	if (!server || (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0)) {
		snprintf(why, CLV_KUBE_WHY, "%s: its cluster has no server that begins with https://", k->source);
		return -EINVAL;
	}
	if (memchr(strchr(server, ':') + 3, '@', strcspn(strchr(server, ':') + 3, "/?#"))) {
		snprintf(why, CLV_KUBE_WHY,
			 "%s: its cluster's server has a user in it, which logs would show: that belongs under users, "
			 "as "
			 "username and password",
			 k->source);
		return -EINVAL;
	}
	k->server = server;
	k->tls_server_name = entry_text(e, "tls-server-name");
	k->proxy_url = entry_text(e, "proxy-url");
	k->insecure = entry_flag(e, "insecure-skip-tls-verify");
	k->plain = entry_flag(e, "disable-compression");
	return reader_pem(r, e, "certificate-authority", &k->ca, why);
}

static int exec_args(struct reader *r, struct entry e)
{
	const yaml_node_t *list = node_get(e.file, e.node, "args"), *n;
	size_t i = 0;

	for (; (n = node_at(e.file, list, i)); i++) {
		if (i == CLV_KUBECONFIG_EXEC_LIST || !node_text(n))
			return -EINVAL;
		r->config.exec.args[i] = node_text(n);
	}
	return 0;
}

static int exec_env(struct reader *r, struct entry e)
{
	const yaml_node_t *list = node_get(e.file, e.node, "env"), *n;
	size_t i = 0;

	for (; (n = node_at(e.file, list, i)); i++) {
		const char *name = node_text(node_get(e.file, n, "name"));
		const char *value = node_text(node_get(e.file, n, "value"));

		if (i == CLV_KUBECONFIG_EXEC_LIST || !name || !*name || strchr(name, '=') || !value)
			return -EINVAL;
		r->config.exec.env[i] = reader_printf(r, "%s=%s", name, value);
	}
	return 0;
}

static int reader_exec(struct reader *r, struct entry user, char why[CLV_KUBE_WHY])
{
	struct entry e = {user.file, node_get(user.file, user.node, "exec")};
	struct clv_kubeconfig *k = &r->config;
	const char *command = e.node ? entry_text(e, "command") : NULL;
	const char *version = e.node ? entry_text(e, "apiVersion") : NULL;
	const char *mode = e.node ? entry_text(e, "interactiveMode") : NULL;

	if (!e.node || e.node->type != YAML_MAPPING_NODE)
		return 0;
	if (!command || !version)
		snprintf(why, CLV_KUBE_WHY, "%s: its exec plugin needs a command and an apiVersion", k->source);
	else if (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
		 strcmp(version, "client.authentication.k8s.io/v1beta1") != 0)
		snprintf(why, CLV_KUBE_WHY,
			 "%s: its exec plugin speaks %.64s: client.authentication.k8s.io/v1 and v1beta1 are understood",
			 k->source, version);
	else if (mode && strcmp(mode, "Always") == 0)
		snprintf(
			why, CLV_KUBE_WHY,
			"%s: its exec plugin %.128s wants a terminal (interactiveMode: Always), and there is none here",
			k->source, command);
	else if (exec_args(r, e) || exec_env(r, e))
		snprintf(why, CLV_KUBE_WHY,
			 "%s: its exec plugin's args must be texts, and env a list of {name, value}, at most %d each",
			 k->source, CLV_KUBECONFIG_EXEC_LIST);
	else {
		/* A name without a slash is looked for in $PATH, as in a shell. */
		k->exec.command = strchr(command, '/') ? reader_path(r, e.file, command) : command;
		k->exec.api_version = version;
		k->exec.hint = entry_text(e, "installHint");
		k->exec.cluster = entry_flag(e, "provideClusterInfo");
		return 0;
	}
	return -EINVAL;
}

static int reader_user(struct reader *r, struct entry e, char why[CLV_KUBE_WHY])
{
	struct clv_kubeconfig *k = &r->config;
	const char *unknown = node_get(e.file, e.node, "auth-provider") ? "auth-provider (use an exec plugin)"
			      : entry_text(e, "as")                     ? "as (impersonation)"
									: NULL;

	if (unknown) {
		snprintf(why, CLV_KUBE_WHY, "%s: its user has %s, which is not understood here", k->source, unknown);
		return -ENOTSUP;
	}
	k->token = entry_text(e, "token");
	k->token_path = reader_path(r, e.file, entry_text(e, "tokenFile"));
	k->user = entry_text(e, "username");
	k->password = entry_text(e, "password");
	int err = reader_pem(r, e, "client-certificate", &k->cert, why);
	if (!err)
		err = reader_pem(r, e, "client-key", &k->key, why);
	return err ? err : reader_exec(r, e, why);
}

/* The first file that names a current context decides. */
static const char *reader_current(struct reader *r)
{
	for (size_t i = 0; i < r->files; i++) {
		struct entry root = {&r->file[i], yaml_document_get_root_node(&r->file[i].document)};
		const char *name = entry_text(root, "current-context");

		if (name)
			return name;
	}
	return NULL;
}

int clv_kubeconfig_resolve(struct clv_kubeconfig *k, const char *context, char why[CLV_KUBE_WHY])
{
	struct reader *r = (struct reader *)k;
	const char *first = r->files ? r->file[0].path : "the kubeconfig",
		   *name = context ? context : reader_current(r);
	int err = -EINVAL;

	if (!name) {
		snprintf(why, CLV_KUBE_WHY, "%.256s names no current-context: kubectl config use-context NAME sets one",
			 first);
		return err;
	}
	struct entry e = reader_find(r, "contexts", "context", name);
	if (!e.node) {
		snprintf(why, CLV_KUBE_WHY,
			 "there is no context %.128s in %.256s: kubectl config get-contexts tells them", name, first);
		return err;
	}
	k->source = reader_printf(r, "context %s of %s", name, e.file->path);
	const char *cluster_name = entry_text(e, "cluster"), *user_name = entry_text(e, "user");
	struct entry cluster = reader_find(r, "clusters", "cluster", cluster_name ? cluster_name : "");
	struct entry user = reader_find(r, "users", "user", user_name ? user_name : "");
	if (!k->source)
		return -ENOMEM;
	if (!cluster.file) {
		snprintf(why, CLV_KUBE_WHY, "%s: there is no cluster %.128s", k->source,
			 cluster_name ? cluster_name : "");
		return err;
	}
	if (user_name && !user.file) {
		snprintf(why, CLV_KUBE_WHY, "%s: there is no user %.128s", k->source, user_name);
		return err;
	}
	err = reader_cluster(r, cluster, why);
	if (!err && user.file)
		err = reader_user(r, user, why);
	if (!err && r->err) {
		snprintf(why, CLV_KUBE_WHY, "no memory");
		err = r->err;
	}
	return err;
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

struct clv_kubeconfig *clv_kubeconfig_new(void)
{
	struct reader *r = calloc(1, sizeof(*r));

	return r ? &r->config : NULL;
}

void clv_kubeconfig_free(struct clv_kubeconfig *k)
{
	struct reader *r = (struct reader *)k;

	if (!r)
		return;
	for (size_t i = 0; i < r->files; i++) {
		yaml_document_delete(&r->file[i].document);
		free(r->file[i].path);
	}
	for (size_t i = 0; i < r->owned_count; i++)
		free(r->owned[i]);
	free(r->owned);
	free(r);
}

int clv_kubeconfig_add(struct clv_kubeconfig *k, const char *path, struct clv_slice text, char why[CLV_KUBE_WHY])
{
	struct reader *r = (struct reader *)k;
	struct file *f = &r->file[r->files];
	yaml_parser_t parser;

	if (r->files == CLV_KUBECONFIG_FILES) {
		snprintf(why, CLV_KUBE_WHY, "more than %d kubeconfig files", CLV_KUBECONFIG_FILES);
		return -E2BIG;
	}
	f->path = strdup(path);
	if (!f->path || !yaml_parser_initialize(&parser)) {
		free(f->path);
		snprintf(why, CLV_KUBE_WHY, "no memory");
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&parser, text.data, text.len);
	if (!yaml_parser_load(&parser, &f->document)) {
		snprintf(why, CLV_KUBE_WHY, "%.256s: line %zu: this is not YAML: %s", path,
			 parser.problem_mark.line + 1, parser.problem ? parser.problem : "broken");
		free(f->path);
		yaml_parser_delete(&parser);
		return -EINVAL;
	}
	yaml_parser_delete(&parser);
	r->files++;
	return 0;
}

static int kubeconfig_add_file(struct clv_kubeconfig *k, const char *path, char why[CLV_KUBE_WHY])
{
	size_t len = 0;
	char *text = NULL;
	int err = clv_kube_read_file(path, CLV_KUBECONFIG_BYTES, &text, &len);

	if (err) {
		snprintf(why, CLV_KUBE_WHY, "cannot read the kubeconfig %.256s: %s", path, strerror(-err));
		return err;
	}
	err = clv_kubeconfig_add(k, path, clv_slice(text, len), why);
	free(text);
	return err;
}

int clv_kubeconfig_load(const char *paths, const char *context, struct clv_kubeconfig **out, char why[CLV_KUBE_WHY])
{
	struct clv_kubeconfig *k = clv_kubeconfig_new();
	char *list = strdup(paths), *rest = list, *path;
	int err = k && list ? 0 : -ENOMEM;
	size_t found = 0;

	snprintf(why, CLV_KUBE_WHY, err ? "no memory" : "no kubeconfig is named");
	while (!err && (path = strsep(&rest, ":"))) {
		err = *path ? kubeconfig_add_file(k, path, why) : -ENOENT;
		found += !err;
		if (err == -ENOENT) /* others may be there */
			err = 0;
	}
	free(list);
	if (!err && !found)
		err = -ENOENT;
	if (!err)
		err = clv_kubeconfig_resolve(k, context, why);
	if (err) {
		clv_kubeconfig_free(k);
		return err;
	}
	*out = k;
	return 0;
}
