/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads plugins. Owns the handles, for good: a parser's code is used until the program ends. Never searches for a file,
 * never calls anything of a plugin whose ABI is another. Main thread.
 */
#include "plugin/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin/host.h"
#include "proto/proto.h"

/* Bounds of what a plugin may say of itself. */
#define NAME_MAX_LETTERS 32
#define STATE_BYTES_MAX  (256u << 10)

static int refuse(char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CLV_PLUGIN_WHY, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

/* In a directory with the sticky bit nobody can put one file in the place of another's. */
static const char *changeable(const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to another user";
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) && !(S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX)))
		return "can be written by others";
	return NULL;
}

/* Who can change the file, or what its name leads to, can run what he likes as this user. */
static int check_path(const char *path, char real[PATH_MAX], char *why)
{
	char part[PATH_MAX];
	struct stat st;

	if (!realpath(path, real) || stat(real, &st))
		return refuse(why, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(why, "%s is no file; name the plugin's .so", path);
	snprintf(part, sizeof(part), "%s", real);
	for (char *slash = part + strlen(part); slash;) {
		const char *what = stat(part, &st) ? strerror(errno) : changeable(&st);

		if (what)
			return refuse(why,
				      "%s is refused, since %s %s, who could run code as this user; install it where "
				      "only root can write: sudo install -D -t /usr/local/lib/clovisor %s",
				      path, part, what, path);
		slash = strcmp(part, "/") == 0 ? NULL : strrchr(part, '/');
		if (slash)
			slash[slash == part] = '\0';
	}
	return 0;
}

/* ---- what is in it --------------------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");

	return *name >= 'a' && *name <= 'z' && !name[len] && len <= NAME_MAX_LETTERS;
}

static bool is_text(const char *text)
{
	size_t len = strnlen(text, NAME_MAX_LETTERS + 1);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	return len && len <= NAME_MAX_LETTERS;
}

/* What is missing of a protocol, or NULL. */
static const char *missing(const struct clv_proto *p)
{
	if (!p->probe && !(p->caps & CLV_CAP_FOLLOWS))
		return "probe";
	return !p->open       ? "open"
	       : !p->feed     ? "feed"
	       : !p->gap      ? "gap"
	       : !p->resync   ? "resync"
	       : !p->fin      ? "fin"
	       : !p->describe ? "describe"
			      : NULL;
}

static int check_proto(const char *path, const struct clv_proto *p, char *why)
{
	const char *lacks;

	if (!p->name || !is_name(p->name))
		return refuse(why,
			      "%s: \"%.40s\" cannot be a protocol's name; use a lower case letter, then up to 31 of "
			      "a-z, 0-9, - and _",
			      path, p->name ? p->name : "");
	if (clv_proto_find(p->name))
		return refuse(why,
			      "%s: there is a protocol %s already; give this one another name, or load one of the two",
			      path, p->name);
	if ((lacks = missing(p)))
		return refuse(why, "%s: protocol %s has no %s(); see clovisor/proto.h", path, p->name, lacks);
	if (p->state_size == 0 || p->state_size > STATE_BYTES_MAX)
		return refuse(why, "%s: protocol %s wants %u bytes for each connection; 1 to %u are to be had", path,
			      p->name, p->state_size, STATE_BYTES_MAX);
	return 0;
}

static int check_abi(const char *path, const struct clv_plugin *p, char *why)
{
	if (p->abi != CLV_PROTO_ABI)
		return refuse(why,
			      "%s is made for plugin ABI %u, and this clovisor has %u; build it anew with this "
			      "clovisor's clovisor/proto.h",
			      path, p->abi, CLV_PROTO_ABI);
	if (p->plugin_size != sizeof(*p) || p->proto_size != sizeof(struct clv_proto) ||
	    p->msg_size != sizeof(struct clv_msg))
		return refuse(why,
			      "%s is made with another clovisor/proto.h of the same ABI number %u; build it anew "
			      "with this clovisor's",
			      path, p->abi);
	return 0;
}

static int check_plugin(const char *path, const struct clv_plugin *p, char *why)
{
	int err = check_abi(path, p, why);
	size_t count = 0;

	if (err)
		return err;
	if (!p->name || !p->version || !is_text(p->name) || !is_text(p->version))
		return refuse(
			why, "%s has no name or no version; give clovisor_plugin both, up to %u letters without blanks",
			path, NAME_MAX_LETTERS);
	if (!p->host || !p->protos || !p->protos[0])
		return refuse(why, "%s has no %s; see struct clv_plugin in clovisor/proto.h", path,
			      p->host ? "protocols" : "place for the host's functions");
	for (; p->protos[count] && !err; count++) {
		err = check_proto(path, p->protos[count], why);
		for (size_t i = 0; i < count && !err; i++)
			if (strcmp(p->protos[i]->name, p->protos[count]->name) == 0)
				err = refuse(why, "%s has two protocols named %s; rename one", path,
					     p->protos[i]->name);
		if (!err && count >= CLV_PROTOS_ADDED)
			err = refuse(why, "%s has more than %u protocols; split it", path, CLV_PROTOS_ADDED);
	}
	return err;
}

/* ---- loading --------------------------------------------------------------------------------------------------- */

/* What dlerror() says begins with the file's name, too. */
static const char *dl_reason(const char *real)
{
	const char *text = dlerror();
	size_t len = strlen(real);

	if (!text)
		return "unknown reason";
	return strncmp(text, real, len) == 0 && text[len] == ':' ? text + len + 2 : text;
}

static int add_all(const char *path, const struct clv_plugin *p, char *why)
{
	for (size_t i = 0; p->protos[i]; i++)
		if (clv_proto_add(p->protos[i]))
			return refuse(why,
				      "%s: plugins may bring %u protocols together, and these are too many; load fewer",
				      path, CLV_PROTOS_ADDED);
	return 0;
}

int clv_plugin_load(const char *path, const struct clv_plugin **out, char *why)
{
	char real[PATH_MAX];
	int err;

	if (!strchr(path, '/'))
		return refuse(why, "%s: name the plugin's file with its directory, as in ./%s", path, path);
	if ((err = check_path(path, real, why)))
		return err;
	void *loaded = dlopen(real, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
	void *handle = loaded ? loaded : dlopen(real, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return refuse(why, "%s cannot be loaded: %s; a plugin is built for this machine with -shared -fPIC",
			      path, dl_reason(real));
	const struct clv_plugin *p = dlsym(handle, CLV_PLUGIN_SYMBOL);
	if (!p)
		err = refuse(why, "%s is no plugin: it has no symbol %s; see clovisor/proto.h", path,
			     CLV_PLUGIN_SYMBOL);
	else if (loaded && p->abi == CLV_PROTO_ABI && clv_proto_find(p->protos[0]->name) == p->protos[0])
		err = 0; /* named twice */
	else if (!(err = check_plugin(path, p, why))) {
		*p->host = &clv_plugin_host;
		err = add_all(path, p, why);
	}
	if (err)
		dlclose(handle);
	else if (out)
		*out = p;
	return err;
}
