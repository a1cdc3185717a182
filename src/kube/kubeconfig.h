/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kubeconfig, of one file or several, and what its context leads to. Files that it names are not read here, except
 * itself. https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 *
 * Immutable once it is resolved. One thread.
 */
#ifndef CLV_KUBE_KUBECONFIG_H
#define CLV_KUBE_KUBECONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "kube/access.h"

/* Files in a list. */
#define CLV_KUBECONFIG_FILES 16
#define CLV_KUBECONFIG_BYTES (8u << 20)
/* Arguments, and variables of the environment, that an exec plugin is given. */
#define CLV_KUBECONFIG_EXEC_LIST 128

/* PEM in place, or the path of a file with it; both NULL: none. */
struct clv_kubeconfig_pem {
	const char *text, *path;
};

/* NULL is "not said", everywhere. */
struct clv_kubeconfig {
	const char *source; /* "context NAME of FILE" */
	const char *server, *tls_server_name, *proxy_url;
	bool insecure, plain;
	struct clv_kubeconfig_pem ca, cert, key;
	const char *token, *token_path;
	const char *user, *password;
	struct {
		const char *command; /* NULL: no plugin; with a slash: the path, otherwise sought in $PATH */
		const char *api_version, *hint;
		const char *args[CLV_KUBECONFIG_EXEC_LIST + 1]; /* the last is NULL */
		const char *env[CLV_KUBECONFIG_EXEC_LIST + 1];  /* NAME=VALUE */
		bool cluster;                                   /* provideClusterInfo */
	} exec;
};

/* NULL: no memory. */
struct clv_kubeconfig *clv_kubeconfig_new(void);
/* NULL is allowed. */
void clv_kubeconfig_free(struct clv_kubeconfig *k);

/*
 * The text of a file; `path` for messages, and for the paths in it that are relative. What an earlier one says counts.
 * Returns 0 or -errno with `why`.
 */
int clv_kubeconfig_add(struct clv_kubeconfig *k, const char *path, struct clv_slice text, char why[CLV_KUBE_WHY]);
/* Follows the context (NULL: the current one) through all that was added. Returns 0 or -errno with `why`. */
int clv_kubeconfig_resolve(struct clv_kubeconfig *k, const char *context, char why[CLV_KUBE_WHY]);

/* All of it: a list of files, separated by colons, of which some may be missing, but not all. */
int clv_kubeconfig_load(const char *paths, const char *context, struct clv_kubeconfig **out, char why[CLV_KUBE_WHY]);

/* A whole file, with a NUL after it, which the caller frees; a longer one is an error. Returns 0 or -errno. */
int clv_kube_read_file(const char *path, size_t most, char **out, size_t *len);

#endif
