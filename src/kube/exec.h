/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exec plugins: a program of the user's that gives credentials.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins and
 * https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
 *
 * One thread.
 */
#ifndef CLV_KUBE_EXEC_H
#define CLV_KUBE_EXEC_H

#include <time.h>

#include "kube/kubeconfig.h"

/* What a plugin may say at most. */
#define CLV_KUBE_EXEC_BYTES (1u << 20)

struct clv_kube_exec_credential {
	char *token, *cert, *key; /* NULL: not given */
	time_t expires;           /* CLOCK_REALTIME; 0: not said */
};

/*
 * Runs the plugin and waits for it, at most `ms`, or until `stop_fd` is readable (-ECANCELED). `ca` is the cluster's,
 * as PEM, or NULL. Returns 0 or -errno with `why`, which has nothing of what the plugin wrote but its last error line.
 */
int clv_kube_exec_run(const struct clv_kubeconfig *k, const char *ca, unsigned ms, int stop_fd,
		      struct clv_kube_exec_credential *out, char why[CLV_KUBE_WHY]);
/* ExecCredential, as a plugin writes it. Returns 0 or -errno with `why`. */
int clv_kube_exec_parse(const char *api_version, struct clv_slice text, struct clv_kube_exec_credential *out,
			char why[CLV_KUBE_WHY]);
/* Frees what is in it. */
void clv_kube_exec_clear(struct clv_kube_exec_credential *c);

#endif
