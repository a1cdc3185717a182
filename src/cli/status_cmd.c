/* SPDX-License-Identifier: Apache-2.0 */
/* `clovisor status`: asks the clovisor that runs here, or each of them. Only reads; main thread. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/status.h"

/* A run that is busy looks a few times a second; one that does not for so long hangs. */
#define WAIT_SECONDS 10
#define TRIES        5

enum { OPT_JSON = 256, OPT_SOCKET };

struct status {
	const char *socket;
	bool json;
};

static error_t status_parse(int key, char *arg, struct argp_state *state)
{
	struct status *s = state->input;

	switch (key) {
	case OPT_JSON:
		s->json = true;
		return 0;
	case OPT_SOCKET:
		s->socket = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Prints what the one at the other end says. Returns 0 or -errno: -ECONNREFUSED, -ENOENT: there is none. */
static int status_ask(const char *path, bool json)
{
	const struct timeval wait = {.tv_sec = WAIT_SECONDS};
	const char *question = json ? "json\n" : "text\n";
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char part[16384];
	size_t total = 0;
	ssize_t n = 0;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)); /* connecting waits, too, where many do */
	int err = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	if (err == -EAGAIN)
		err = -ETIMEDOUT;
	if (!err && send(fd, question, strlen(question), MSG_NOSIGNAL) < 0)
		err = errno == EPIPE ? -ECONNRESET : -errno;
	while (!err && (n = recv(fd, part, sizeof(part), 0)) > 0) {
		fwrite(part, 1, (size_t)n, stdout);
		total += (size_t)n;
	}
	if (!err && n < 0)
		err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	else if (!err && !total)
		err = -ECONNRESET;
	close(fd);
	return err;
}

/* One that looked between our connecting and our asking has hung up. */
static int status_ask_again(const char *path, bool json)
{
	int err = -ECONNRESET;

	for (int i = 0; i < TRIES && err == -ECONNRESET; i++)
		err = status_ask(path, json);
	return err;
}

static int status_is_socket(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return dot && strcmp(dot, ".sock") == 0;
}

/* Asks whoever is there. Returns how many answered; those that failed, but for sockets that were left behind, in
 * *failed. */
static unsigned status_ask_all(bool json, unsigned *failed)
{
	struct dirent **names;
	char path[4096];
	unsigned answered = 0;
	int count = scandir(clv_status_dir(), &names, status_is_socket, alphasort);

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", clv_status_dir(), names[i]->d_name);
		free(names[i]);
		int err = status_ask_again(path, json);
		answered += err == 0;
		if (!err || err == -ECONNREFUSED || err == -ENOENT)
			continue;
		++*failed;
		clv_error("%s: no answer: %s%s", path, strerror(-err),
			  err == -EACCES || err == -EPERM ? "; ask as the user that runs it (root)" : "");
	}
	if (count >= 0)
		free(names);
	return answered;
}

int clv_cmd_status(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"json", OPT_JSON, 0, 0, "One JSON object for each clovisor", 0},
		{"socket", OPT_SOCKET, "PATH", 0, "Ask the one that listens there", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = status_parse,
		.doc = "Tell how each clovisor trace that runs here is doing: the interfaces it looks at and how, the "
		       "requests "
		       "that have been open for more than a second, what was seen and what was lost.\v"
		       "Examples:\n  clovisor status\n  clovisor status --json | jq .open",
	};
	struct status s = {0};
	unsigned failed = 0;

	clv_cli_parse(&argp, argc, argv, &s);
	if (s.socket) {
		int err = status_ask_again(s.socket, s.json);
		if (err)
			clv_error("%s: no answer: %s; is clovisor trace running?", s.socket, strerror(-err));
		return err ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
	}
	unsigned answered = status_ask_all(s.json, &failed);
	if (!answered && !failed)
		clv_error("no clovisor is running here (none listens in %s)", clv_status_dir());
	return answered && !failed ? CLV_EXIT_OK : CLV_EXIT_FAILURE;
}
