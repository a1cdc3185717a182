/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the API server is, and the credentials as they change. Owns the texts of the files that were named; writes
 * nothing, logs nothing. One thread, but for clv_kube_access_stop().
 *
 * A service account is a kubeconfig, too: of one server, a token's path and a CA's.
 */
#include "kube/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "kube/exec.h"
#include "kube/kubeconfig.h"

#define ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define PATH_BYTES  1024
#define TOKEN_BYTES (64u << 10)
#define PEM_BYTES   (1u << 20)
/* A plugin is asked again so long before what it gave expires. */
#define EXPIRY_S 5

/* A file whose text is needed, and changes. */
struct file {
	const char *path; /* NULL: none */
	char *text;
	bool token; /* one line, for a header; otherwise PEM */
	uint64_t read_ns;
};

enum { FILE_TOKEN, FILE_CA, FILE_CERT, FILE_KEY, FILES };

struct clv_kube_access {
	struct clv_kubeconfig *kubeconfig; /* NULL: a service account */
	struct clv_kubeconfig config;      /* what holds, borrowed from the one above or from below */
	char *server;
	char account_token[PATH_BYTES], account_ca[PATH_BYTES];
	struct file file[FILES];
	struct clv_kube_exec_credential plugin;
	bool plugin_ran;
	unsigned exec_ms;
	int stop_fd;
	uint64_t generation;
};

/* ---- which of them --------------------------------------------------------------------------------------------- */

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static bool in_cluster(const char **host, const char **port)
{
	*host = variable("KUBERNETES_SERVICE_HOST");
	*port = variable("KUBERNETES_SERVICE_PORT");
	return *host && *port;
}

/* The kubeconfig's path, or a list of them; NULL: it is a service account, or nothing. */
static const char *config_paths(const struct clv_kube_access_config *config, char home[PATH_BYTES])
{
	const char *paths = config->kubeconfig ? config->kubeconfig : variable("KUBECONFIG"), *host, *port;

	if (paths || in_cluster(&host, &port) || !variable("HOME"))
		return paths;
	snprintf(home, PATH_BYTES, "%s/.kube/config", variable("HOME"));
	return access(home, F_OK) == 0 ? home : NULL;
}

bool clv_kube_access_exists(const struct clv_kube_access_config *config)
{
	char home[PATH_BYTES];
	const char *host, *port;

	return config_paths(config, home) || in_cluster(&host, &port);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static int open_account(struct clv_kube_access *a, const char *dir, const char *host, const char *port,
			char why[CLV_KUBE_WHY])
{
	bool v6 = strchr(host, ':');

	snprintf(a->account_token, PATH_BYTES, "%s/token", dir);
	snprintf(a->account_ca, PATH_BYTES, "%s/ca.crt", dir);
	if (asprintf(&a->server, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) < 0) {
		a->server = NULL;
		return -ENOMEM;
	}
	if (access(a->account_token, R_OK)) {
		int err = -errno;

		snprintf(why, CLV_KUBE_WHY,
			 "cannot read %.256s: %s; does the pod have a service account (automountServiceAccountToken)?",
			 a->account_token, strerror(-err));
		return err;
	}
	a->config = (struct clv_kubeconfig){
		.source = "the pod's service account",
		.server = a->server,
		.token_path = a->account_token,
		.ca.path = a->account_ca,
	};
	return 0;
}

static int open_kubeconfig(struct clv_kube_access *a, const char *paths, const char *context, char why[CLV_KUBE_WHY])
{
	int err = clv_kubeconfig_load(paths, context, &a->kubeconfig, why);

	if (err)
		return err;
	a->config = *a->kubeconfig;
	a->server = strdup(a->config.server);
	if (!a->server)
		return -ENOMEM;
	for (size_t n = strlen(a->server); n && a->server[n - 1] == '/'; n--)
		a->server[n - 1] = '\0';
	return 0;
}

static int access_init(struct clv_kube_access *a, const struct clv_kube_access_config *config, char why[CLV_KUBE_WHY])
{
	char home[PATH_BYTES];
	const char *paths = config_paths(config, home), *host, *port;
	int err = -ENOENT;

	snprintf(why, CLV_KUBE_WHY,
		 "nothing tells where the API server is: this is no pod (KUBERNETES_SERVICE_HOST), and there is no "
		 "kubeconfig; KUBECONFIG names one");
	a->exec_ms = config->exec_ms ? config->exec_ms : CLV_KUBE_EXEC_MS;
	a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->stop_fd < 0) {
		snprintf(why, CLV_KUBE_WHY, "eventfd: %s", strerror(errno));
		return -errno;
	}
	if (paths)
		err = open_kubeconfig(a, paths, config->context, why);
	else if (in_cluster(&host, &port))
		err = open_account(a, config->account_dir ? config->account_dir : ACCOUNT_DIR, host, port, why);
	if (err)
		return err;
	a->file[FILE_TOKEN] = (struct file){.path = a->config.token_path, .token = true};
	a->file[FILE_CA].path = a->config.ca.path;
	a->file[FILE_CERT].path = a->config.cert.path;
	a->file[FILE_KEY].path = a->config.key.path;
	a->generation = 1;
	return 0;
}

int clv_kube_access_open(const struct clv_kube_access_config *config, struct clv_kube_access **out,
			 char why[CLV_KUBE_WHY])
{
	struct clv_kube_access *a = calloc(1, sizeof(*a));

	if (!a) {
		snprintf(why, CLV_KUBE_WHY, "no memory");
		return -ENOMEM;
	}
	int err = access_init(a, config, why);
	if (err) {
		clv_kube_access_close(a);
		return err;
	}
	*out = a;
	return 0;
}

static void secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void clv_kube_access_close(struct clv_kube_access *a)
{
	if (!a)
		return;
	for (int i = 0; i < FILES; i++)
		secret_free(a->file[i].text);
	clv_kube_exec_clear(&a->plugin);
	clv_kubeconfig_free(a->kubeconfig);
	free(a->server);
	if (a->stop_fd >= 0)
		close(a->stop_fd);
	free(a);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

/* A token goes into a header: without the line end that files have, and without any within. */
static bool token_trim(char *text)
{
	size_t len = strlen(text);

	while (len && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
			return false;
	return len > 0;
}

/* Its text as of now. While it cannot be read, the one it had holds. */
static int file_refresh(struct clv_kube_access *a, struct file *f, uint64_t now_ns, bool refused,
			char why[CLV_KUBE_WHY])
{
	uint64_t age = f->token ? CLV_KUBE_TOKEN_NS : CLV_KUBE_PEM_NS;
	char *text = NULL;

	if (!f->path || (f->text && !refused && now_ns - f->read_ns < age))
		return 0;
	int err = clv_kube_read_file(f->path, f->token ? TOKEN_BYTES : PEM_BYTES, &text, NULL);
	if (!err && f->token && !token_trim(text)) {
		secret_free(text);
		err = -EBADMSG;
	}
	if (err && f->text)
		return 0;
	if (err) {
		snprintf(why, CLV_KUBE_WHY, "%s: cannot read %.256s: %s", a->config.source, f->path,
			 err == -EBADMSG ? "it is no token" : strerror(-err));
		return err;
	}
	if (!f->text || strcmp(f->text, text) != 0)
		a->generation++;
	secret_free(f->text);
	f->text = text;
	f->read_ns = now_ns;
	return 0;
}

/* ---- the plugin ------------------------------------------------------------------------------------------------ */

static bool plugin_holds(const struct clv_kube_access *a, bool refused)
{
	if (!a->plugin_ran || refused)
		return false;
	return !a->plugin.expires || time(NULL) < a->plugin.expires - EXPIRY_S;
}

static bool is_stopped(const struct clv_kube_access *a)
{
	eventfd_t n;

	if (eventfd_read(a->stop_fd, &n))
		return false;
	eventfd_write(a->stop_fd, 1); /* it stays so */
	return true;
}

static int plugin_refresh(struct clv_kube_access *a, bool refused, char why[CLV_KUBE_WHY])
{
	struct clv_kube_exec_credential c = {0};
	const char *ca = a->config.ca.text ? a->config.ca.text : a->file[FILE_CA].text;

	if (!a->config.exec.command || plugin_holds(a, refused))
		return 0;
	if (is_stopped(a))
		return -ECANCELED;
	int err = clv_kube_exec_run(&a->config, ca, a->exec_ms, a->stop_fd, &c, why);
	if (!err && c.token && !token_trim(c.token)) {
		snprintf(why, CLV_KUBE_WHY, "the exec plugin %.128s: its token has blanks", a->config.exec.command);
		clv_kube_exec_clear(&c);
		err = -EBADMSG;
	}
	if (err)
		return err;
	clv_kube_exec_clear(&a->plugin);
	a->plugin = c;
	a->plugin_ran = true;
	a->generation++;
	return 0;
}

/* ---- credentials ----------------------------------------------------------------------------------------------- */

static const char *first_of(const char *a, const char *b)
{
	return a ? a : b;
}

/* A kubeconfig's own credentials go before its plugin's; a token's file before the token. */
static void credentials_fill(const struct clv_kube_access *a, struct clv_kube_credentials *out)
{
	const struct clv_kubeconfig *k = &a->config;

	*out = (struct clv_kube_credentials){
		.server = a->server,
		.token = first_of(first_of(a->file[FILE_TOKEN].text, k->token), a->plugin.token),
		.user = k->user,
		.password = k->password,
		.ca = first_of(k->ca.text, a->file[FILE_CA].text),
		.cert = first_of(first_of(k->cert.text, a->file[FILE_CERT].text), a->plugin.cert),
		.key = first_of(first_of(k->key.text, a->file[FILE_KEY].text), a->plugin.key),
		.tls_server_name = k->tls_server_name,
		.proxy_url = k->proxy_url,
		.source = k->source,
		.insecure = k->insecure,
		.plain = k->plain,
		.generation = a->generation,
	};
}

int clv_kube_access_get(struct clv_kube_access *a, uint64_t now_ns, bool refused, struct clv_kube_credentials *out,
			char why[CLV_KUBE_WHY])
{
	int err = 0;

	for (int i = 0; i < FILES && !err; i++)
		err = file_refresh(a, &a->file[i], now_ns, refused, why);
	if (!err)
		err = plugin_refresh(a, refused, why);
	if (!err)
		credentials_fill(a, out);
	return err;
}

const char *clv_kube_access_server(const struct clv_kube_access *a)
{
	return a->server;
}

const char *clv_kube_access_source(const struct clv_kube_access *a)
{
	return a->config.source;
}

void clv_kube_access_stop(struct clv_kube_access *a)
{
	eventfd_write(a->stop_fd, 1);
}
