/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching and reading the configuration file again. Owns the inotify descriptor and the options that came of a
 * reload; never touches what the options are for. Main thread; the signal handler only sets a flag.
 *
 * A file is seldom written in place: editors rename a new one over it, and in Kubernetes the name is a link through
 * another one, ..data, which is swapped. So directories are watched, of the name and of what it leads to, and any
 * event there means: look whether the file is another one, by what stat() says and then by its bytes.
 */
#include "cli/reload.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/log.h"
#include "cli/config.h"

#define EVENTS                                                                                               \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | \
	 IN_MOVE_SELF)

/* What tells one state of the file from another. */
struct identity {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct clv_reload {
	const struct clv_options *line, *first;
	const struct clv_options *now; /* first, or the one below */
	struct clv_options *own;       /* NULL: no reload yet */
	struct clv_config_errors errors;
	int fd, watch[2]; /* -1: none */
	struct identity identity;
	uint64_t hash;
	uint64_t asked_ns;           /* when inotify was asked last */
	uint64_t begun_ns, event_ns; /* of the change that waits; 0: none */
};

static volatile sig_atomic_t reload_asked;

static void reload_on_signal(int signal)
{
	reload_asked = 1;
}

/* ---- noticing -------------------------------------------------------------------------------------------------- */

static int reload_watch_directory(struct clv_reload *r, const char *path)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= sizeof(directory))
		return -1;
	memcpy(directory, path, len);
	directory[len] = '\0';
	return inotify_add_watch(r->fd, len ? directory : slash ? "/" : ".", EVENTS | IN_ONLYDIR);
}

/* Adding a watch that is there is no change; one whose directory is gone has gone with it. */
static void reload_watch(struct clv_reload *r)
{
	char real[PATH_MAX];
	int before = r->watch[1];

	if (r->fd < 0)
		return;
	r->watch[0] = reload_watch_directory(r, r->line->config_path);
	r->watch[1] = realpath(r->line->config_path, real) ? reload_watch_directory(r, real) : -1;
	if (before >= 0 && before != r->watch[0] && before != r->watch[1])
		inotify_rm_watch(r->fd, before);
}

/* Has anything happened in the directories? What it was is not asked: the file itself tells. */
static bool reload_events(struct clv_reload *r)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;

	while (r->fd >= 0 && read(r->fd, events, sizeof(events)) > 0)
		any = true;
	if (any || r->watch[0] < 0)
		reload_watch(r);
	return any;
}

static struct identity reload_identity(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct identity){0};
	return (struct identity){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static bool identity_same(const struct identity *a, const struct identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* A file that cannot be read has a hash of its own. */
static uint64_t reload_hash(const char *path)
{
	uint64_t hash = 0;
	char *data;
	size_t len;

	if (clv_config_slurp(path, &data, &len) == 0) {
		hash = clv_hash(data, len, 1);
		free(data);
	}
	return hash;
}

/* Is the file another one than when it was read last? */
static bool reload_differs(struct clv_reload *r)
{
	struct identity now = reload_identity(r->line->config_path);

	if (identity_same(&now, &r->identity))
		return false;
	r->identity = now;
	uint64_t hash = reload_hash(r->line->config_path);
	bool differs = hash != r->hash;
	r->hash = hash;
	return differs;
}

static bool reload_is_due(struct clv_reload *r, uint64_t now_ns)
{
	if (reload_asked) {
		reload_asked = 0;
		r->begun_ns = 0;
		r->identity = reload_identity(r->line->config_path);
		r->hash = reload_hash(r->line->config_path);
		return true;
	}
	if (now_ns - r->asked_ns < CLV_RELOAD_POLL_NS)
		return false;
	r->asked_ns = now_ns;
	if (reload_events(r)) {
		r->event_ns = now_ns;
		if (!r->begun_ns)
			r->begun_ns = now_ns;
	}
	if (!r->begun_ns || (now_ns - r->event_ns < CLV_RELOAD_QUIET_NS && now_ns - r->begun_ns < CLV_RELOAD_LATEST_NS))
		return false;
	r->begun_ns = 0;
	return reload_differs(r);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* "a, b and c" of the keys that differ and have, or have not, to wait for a restart. */
static size_t reload_list(const struct clv_reload *r, const struct clv_options *now, bool at_once, struct clv_buf *b)
{
	size_t count = 0;

	for (int id = 0; id < CLV_SETTINGS; id++) {
		if (clv_options_same(r->now, now, (enum clv_setting_id)id) ||
		    ((clv_settings[id].flags & CLV_SETTING_NOW) != 0) != at_once)
			continue;
		clv_buf_printf(b, "%s%s", count ? ", " : "", clv_settings[id].key);
		count++;
	}
	return count;
}

/* One line: what has changed, and when it counts. */
static bool reload_say(const struct clv_reload *r, const struct clv_options *now)
{
	char at_once[2048], later[2048];
	struct clv_buf a = clv_buf(at_once, sizeof(at_once)), l = clv_buf(later, sizeof(later));
	size_t changed = reload_list(r, now, true, &a), waiting = reload_list(r, now, false, &l);
	const char *path = r->line->config_path;

	if (changed && waiting)
		clv_info("%s: changed: %.*s; only after a restart: %.*s", path, (int)a.len, at_once, (int)l.len, later);
	else if (changed)
		clv_info("%s: changed: %.*s", path, (int)a.len, at_once);
	else if (waiting)
		clv_info("%s: changed, but only after a restart: %.*s", path, (int)l.len, later);
	else
		clv_info("%s: nothing has changed", path);
	return changed || waiting;
}

static void reload_free(struct clv_options *o)
{
	if (o)
		clv_options_fini(o);
	free(o);
}

static void reload_read(struct clv_reload *r, clv_reload_fn reload, void *ctx)
{
	struct clv_options *fresh = calloc(1, sizeof(*fresh));
	int err = fresh ? clv_config_load(r->line, fresh, &r->errors) : -ENOMEM;

	if (err) {
		if (err != -ENOMEM)
			clv_config_say(r->line->config_path, &r->errors);
		clv_error("%s: not taken (%s); everything stays as it was", r->line->config_path,
			  err == -EINVAL ? "it is not valid" : strerror(-err));
		reload_free(fresh);
		return;
	}
	if (!reload_say(r, fresh)) {
		reload_free(fresh);
		return;
	}
	err = reload ? reload(ctx, r->now, fresh) : 0;
	if (err) {
		clv_error("%s: not taken: %s; everything stays as it was", r->line->config_path, strerror(-err));
		reload_free(fresh);
		return;
	}
	reload_free(r->own);
	r->own = fresh;
	r->now = fresh;
}

const struct clv_options *clv_reload_poll(struct clv_reload *r, uint64_t now_ns, clv_reload_fn reload, void *ctx)
{
	if (reload_is_due(r, now_ns))
		reload_read(r, reload, ctx);
	return r->now;
}

void clv_reload_signal(void)
{
	struct sigaction ask = {.sa_handler = reload_on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGHUP, &ask, NULL);
}

int clv_reload_open(const struct clv_options *line, const struct clv_options *first, struct clv_reload **out)
{
	struct clv_reload *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct clv_reload){.line = line, .first = first, .now = first, .watch = {-1, -1}};
	r->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	reload_watch(r);
	if (r->fd < 0 || r->watch[0] < 0)
		clv_warn("%s is not watched: %s; SIGHUP reads it again", line->config_path, strerror(errno));
	r->identity = reload_identity(line->config_path);
	r->hash = reload_hash(line->config_path);
	*out = r;
	return 0;
}

void clv_reload_close(struct clv_reload *r)
{
	if (!r)
		return;
	reload_free(r->own);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}
