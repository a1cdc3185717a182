/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs an exec plugin and reads what it says. Owns the process while it runs, in a group of its own, so that nothing of
 * it stays; shows nobody what it got. The thread that calls waits.
 */
#include "kube/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/clock.h"
#include "kube/json.h"

/* So much of what it writes as errors is kept. */
#define ERROR_BYTES 1024
/* Of that, the last line is shown. */
#define SHOWN_BYTES 160
/* One that never stops writing does not keep us from looking at the clock. */
#define READS_AT_ONCE 256

/* What comes through a pipe; what is beyond the room is read and forgotten. */
struct stream {
	int fd; /* -1: over */
	char *data;
	size_t len, cap, most;
	bool full;
};

struct run {
	pid_t pid;
	int pid_fd;
	struct stream out, err;
};

/* ---- what it is told ------------------------------------------------------------------------------------------- */

/* Sets a member, if there is a value. */
static void info_set(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(value));
}

static char *base64_of(const char *text)
{
	struct clv_slice s = clv_slice_str(text);
	char *out = malloc(CLV_BASE64_ENCODED(s.len) + 1);

	if (out)
		*clv_base64_encode(out, s) = '\0';
	return out;
}

static json_t *info_cluster(const struct clv_kubeconfig *k, const char *ca)
{
	json_t *cluster = json_object();
	char *data = ca ? base64_of(ca) : NULL;

	info_set(cluster, "server", k->server);
	info_set(cluster, "tls-server-name", k->tls_server_name);
	info_set(cluster, "proxy-url", k->proxy_url);
	info_set(cluster, "certificate-authority-data", data);
	if (k->insecure)
		json_object_set_new(cluster, "insecure-skip-tls-verify", json_true());
	free(data);
	return cluster;
}

/* "KUBERNETES_EXEC_INFO={...}", or NULL: no memory. */
static char *info_variable(const struct clv_kubeconfig *k, const char *ca)
{
	json_t *spec = json_pack("{s:b}", "interactive", 0);

	if (k->exec.cluster)
		json_object_set_new(spec, "cluster", info_cluster(k, ca));
	json_t *info =
		json_pack("{s:s, s:s, s:o}", "apiVersion", k->exec.api_version, "kind", "ExecCredential", "spec", spec);
	char *text = json_dumps(info, JSON_COMPACT), *variable = NULL;
	if (text && asprintf(&variable, "KUBERNETES_EXEC_INFO=%s", text) < 0)
		variable = NULL;
	free(text);
	json_decref(info);
	return variable;
}

static bool same_name(const char *a, const char *b)
{
	size_t len = strcspn(a, "=");

	return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* Ours, with the plugin's own variables in place of those of the same name. The array is the caller's. */
static char **environment(const struct clv_kubeconfig *k, char *info)
{
	size_t count = 0, used = 0;

	while (environ[count])
		count++;
	char **env = calloc(count + CLV_KUBECONFIG_EXEC_LIST + 2, sizeof(*env));
	if (!env)
		return NULL;
	env[used++] = info;
	for (size_t i = 0; k->exec.env[i]; i++)
		env[used++] = (char *)k->exec.env[i];
	size_t own = used;
	for (size_t i = 0; i < count; i++) {
		bool replaced = false;

		for (size_t j = 0; j < own && !replaced; j++)
			replaced = same_name(env[j], environ[i]);
		if (!replaced)
			env[used++] = environ[i];
	}
	return env;
}

/* ---- the process ----------------------------------------------------------------------------------------------- */

static int run_spawn(struct run *r, const struct clv_kubeconfig *k, char **env, int out, int err)
{
	char *argv[CLV_KUBECONFIG_EXEC_LIST + 2] = {(char *)k->exec.command};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;

	for (size_t i = 0; k->exec.args[i]; i++)
		argv[i + 1] = (char *)k->exec.args[i];
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, err, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	int code = posix_spawnp(&r->pid, k->exec.command, &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -code;
}

static int run_start(struct run *r, const struct clv_kubeconfig *k, char **env)
{
	int out[2], err[2];

	if (pipe2(out, O_CLOEXEC))
		return -errno;
	if (pipe2(err, O_CLOEXEC)) {
		int code = -errno;

		close(out[0]);
		close(out[1]);
		return code;
	}
	int code = run_spawn(r, k, env, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	r->out = (struct stream){.fd = out[0], .most = CLV_KUBE_EXEC_BYTES};
	r->err = (struct stream){.fd = err[0], .most = ERROR_BYTES};
	return code;
}

/* false: no memory, or it says too much. */
static bool stream_keep(struct stream *s, const char *data, size_t len)
{
	if (s->len + len > s->most) {
		s->full = true;
		len = s->most - s->len;
	}
	if (s->len + len > s->cap) {
		size_t cap = s->len + len + 4096;
		char *more = realloc(s->data, cap);

		if (!more)
			return false;
		s->data = more;
		s->cap = cap;
	}
	memcpy(s->data + s->len, data, len);
	s->len += len;
	return true;
}

/* What is there now. */
static void stream_read(struct stream *s)
{
	char data[4096];

	for (int reads = 0; s->fd >= 0 && reads < READS_AT_ONCE; reads++) {
		ssize_t n = read(s->fd, data, sizeof(data));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0 && stream_keep(s, data, (size_t)n))
			continue;
		close(s->fd);
		s->fd = -1;
	}
}

static uint64_t now_ms(void)
{
	return clv_clock_ns() / 1000000;
}

/* Until it has ended. Whoever else holds its pipes is not waited for. */
static int run_wait(struct run *r, unsigned ms, int stop_fd)
{
	uint64_t deadline = now_ms() + ms, now;

	while ((now = now_ms()) < deadline) {
		struct pollfd fds[] = {
			{r->pid_fd, POLLIN, 0}, {stop_fd, POLLIN, 0}, {r->out.fd, POLLIN, 0}, {r->err.fd, POLLIN, 0}};

		if (poll(fds, 4, (int)(deadline - now)) < 0 && errno != EINTR)
			return -errno;
		stream_read(&r->out);
		stream_read(&r->err);
		if (fds[1].revents)
			return -ECANCELED;
		if (r->out.full)
			return -EFBIG;
		if (fds[0].revents)
			return 0;
	}
	return -ETIMEDOUT;
}

/* Nothing of it stays. Returns its status as wait() tells it. */
static int run_end(struct run *r)
{
	int status = -1;

	kill(-r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void run_clear(struct run *r)
{
	struct stream *streams[] = {&r->out, &r->err};

	for (size_t i = 0; i < 2; i++) {
		if (streams[i]->fd >= 0)
			close(streams[i]->fd);
		if (streams[i]->data)
			explicit_bzero(streams[i]->data, streams[i]->len);
		free(streams[i]->data);
	}
	if (r->pid_fd >= 0)
		close(r->pid_fd);
}

/* The last line of its errors, as far as it can be shown. */
static void last_line(const struct stream *s, char out[SHOWN_BYTES])
{
	size_t end = s->len, begin;

	while (end && (unsigned char)s->data[end - 1] <= ' ')
		end--;
	for (begin = end; begin && s->data[begin - 1] != '\n'; begin--)
		;
	if (end - begin >= SHOWN_BYTES)
		end = begin + SHOWN_BYTES - 1;
	for (size_t i = begin; i < end; i++)
		out[i - begin] = (unsigned char)s->data[i] < ' ' || s->data[i] == 0x7f ? '?' : s->data[i];
	out[end - begin] = '\0';
}

/* ---- what it says ---------------------------------------------------------------------------------------------- */

/* 2026-01-02T03:04:05.678Z or +01:00 (RFC 3339). 0: it is no time. */
static time_t parse_time(const char *text)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int hours, minutes, end = 0;
	char sign;

	if (!p)
		return 0;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	time_t t = timegm(&tm);
	if (strcmp(p, "Z") == 0)
		return t;
	if (sscanf(p, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || p[end] || (sign != '+' && sign != '-'))
		return 0;
	return t + (sign == '-' ? 1 : -1) * (hours * 3600 + minutes * 60);
}

static char *copy_member(const json_t *object, const char *key)
{
	const char *text = clv_kube_json_text(object, key);

	return *text ? strdup(text) : NULL;
}

static int read_status(const json_t *json, struct clv_kube_exec_credential *out, char why[CLV_KUBE_WHY])
{
	const json_t *status = json_object_get(json, "status");
	const char *expires = clv_kube_json_text(status, "expirationTimestamp");
	struct clv_kube_exec_credential c = {
		.token = copy_member(status, "token"),
		.cert = copy_member(status, "clientCertificateData"),
		.key = copy_member(status, "clientKeyData"),
		.expires = parse_time(expires),
	};
	const char *wrong = !c.token && !c.cert      ? "it gives neither a token nor a certificate"
			    : !c.cert != !c.key      ? "it gives a certificate or a key without the other"
			    : *expires && !c.expires ? "its expirationTimestamp is no time"
						     : NULL;

	if (wrong) {
		snprintf(why, CLV_KUBE_WHY, "%s", wrong);
		clv_kube_exec_clear(&c);
		return -EBADMSG;
	}
	*out = c;
	return 0;
}

int clv_kube_exec_parse(const char *api_version, struct clv_slice text, struct clv_kube_exec_credential *out,
			char why[CLV_KUBE_WHY])
{
	json_t *json = clv_kube_json_is_small(text) ? clv_kube_json(text) : NULL;
	int err = -EBADMSG;

	if (!json || strcmp(clv_kube_json_text(json, "kind"), "ExecCredential") != 0)
		snprintf(why, CLV_KUBE_WHY, "what it says is no ExecCredential in JSON");
	else if (strcmp(clv_kube_json_text(json, "apiVersion"), api_version) != 0)
		snprintf(why, CLV_KUBE_WHY, "its apiVersion is not the kubeconfig's, %.64s", api_version);
	else
		err = read_status(json, out, why);
	json_decref(json);
	return err;
}

void clv_kube_exec_clear(struct clv_kube_exec_credential *c)
{
	char *secrets[] = {c->token, c->cert, c->key};

	for (size_t i = 0; i < 3; i++) {
		if (secrets[i])
			explicit_bzero(secrets[i], strlen(secrets[i]));
		free(secrets[i]);
	}
	memset(c, 0, sizeof(*c));
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

/* It has ended. */
static int run_judge(const struct run *r, const struct clv_kubeconfig *k, int status,
		     struct clv_kube_exec_credential *out, char why[CLV_KUBE_WHY])
{
	char line[SHOWN_BYTES], wrong[CLV_KUBE_WHY] = "";

	last_line(&r->err, line);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		snprintf(why, CLV_KUBE_WHY, "the exec plugin %.128s failed%s%s", k->exec.command, *line ? ": " : "",
			 line);
		return -EIO;
	}
	int err = clv_kube_exec_parse(k->exec.api_version, clv_slice(r->out.data, r->out.len), out, wrong);
	if (err)
		snprintf(why, CLV_KUBE_WHY, "the exec plugin %.128s: %.256s", k->exec.command, wrong);
	return err;
}

static int run_plugin(const struct clv_kubeconfig *k, char **env, unsigned ms, int stop_fd,
		      struct clv_kube_exec_credential *out, char why[CLV_KUBE_WHY])
{
	struct run r = {.pid_fd = -1, .out.fd = -1, .err.fd = -1};
	int err = run_start(&r, k, env);

	if (err) {
		snprintf(why, CLV_KUBE_WHY, "cannot run the exec plugin %.128s: %s%s%.200s", k->exec.command,
			 strerror(-err), k->exec.hint ? "; " : "", k->exec.hint ? k->exec.hint : "");
		run_clear(&r);
		return err;
	}
	r.pid_fd = (int)syscall(SYS_pidfd_open, r.pid, 0);
	err = r.pid_fd < 0 ? -errno : run_wait(&r, ms, stop_fd);
	int status = run_end(&r);
	if (err == -ETIMEDOUT)
		snprintf(why, CLV_KUBE_WHY, "the exec plugin %.128s did not end within %u ms", k->exec.command, ms);
	else if (err)
		snprintf(why, CLV_KUBE_WHY, "the exec plugin %.128s: %s", k->exec.command,
			 err == -EFBIG ? "it says too much" : strerror(-err));
	else
		err = run_judge(&r, k, status, out, why);
	run_clear(&r);
	return err;
}

int clv_kube_exec_run(const struct clv_kubeconfig *k, const char *ca, unsigned ms, int stop_fd,
		      struct clv_kube_exec_credential *out, char why[CLV_KUBE_WHY])
{
	char *info = info_variable(k, ca);
	char **env = info ? environment(k, info) : NULL;
	int err = -ENOMEM;

	snprintf(why, CLV_KUBE_WHY, "no memory");
	if (env)
		err = run_plugin(k, env, ms, stop_fd, out, why);
	free(env);
	free(info);
	return err;
}
