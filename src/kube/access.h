/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the API server is and who we are: the service account of a pod, or a kubeconfig (contexts, files and data,
 * tokens, client certificates, exec plugins;
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and
 * client-authentication.k8s.io/v1). Credentials are read again when they are old or were refused; they are never
 * logged.
 *
 * One thread, the API thread, once it is open.
 */
#ifndef CLV_KUBE_ACCESS_H
#define CLV_KUBE_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#define CLV_KUBE_WHY 512

/* How long an exec plugin may take. */
#define CLV_KUBE_EXEC_MS 30000u
/* Files are read again after so long. */
#define CLV_KUBE_TOKEN_NS (60 * 1000000000ull)
#define CLV_KUBE_PEM_NS   (300 * 1000000000ull)

struct clv_kube_access_config {
	const char *kubeconfig;  /* NULL: $KUBECONFIG (a list), then the pod's service account, then ~/.kube/config */
	const char *context;     /* NULL: current-context */
	const char *account_dir; /* NULL: /var/run/secrets/kubernetes.io/serviceaccount (tests) */
	uint32_t exec_ms;        /* 0: CLV_KUBE_EXEC_MS (tests) */
};

/* What a request needs; borrowed until the next call. NULL: none. */
struct clv_kube_credentials {
	const char *server; /* https://HOST:PORT[/PATH], without a slash at its end */
	const char *token;  /* for Authorization: Bearer */
	const char *user, *password;
	const char *ca, *cert, *key; /* PEM texts, not paths */
	const char *tls_server_name, *proxy_url;
	const char *source;  /* for people: "the pod's service account", "context NAME of FILE" */
	bool insecure;       /* insecure-skip-tls-verify */
	bool plain;          /* disable-compression */
	uint64_t generation; /* another one: they have changed */
};

struct clv_kube_access;

/* Is there anything that tells where the API server is? Looks at the environment and at files, connects to nothing. */
bool clv_kube_access_exists(const struct clv_kube_access_config *config);
/* Returns 0, or -errno with one line for people in `why`: which file, and what is wrong with it. */
int clv_kube_access_open(const struct clv_kube_access_config *config, struct clv_kube_access **out,
			 char why[CLV_KUBE_WHY]);
/* NULL is allowed. */
void clv_kube_access_close(struct clv_kube_access *a);

/*
 * The credentials as of now (CLOCK_MONOTONIC): files are read again after a minute (token) or five (CA), or at once
 * when `refused`; exec plugins are run when what they said has expired. May take as long as the plugin does, at most 30
 * s. Returns 0 or -errno with `why`; -ECANCELED after clv_kube_access_stop().
 */
int clv_kube_access_get(struct clv_kube_access *a, uint64_t now_ns, bool refused, struct clv_kube_credentials *out,
			char why[CLV_KUBE_WHY]);

/* Without credentials: what is known since it was opened. Any thread. Borrowed. */
const char *clv_kube_access_server(const struct clv_kube_access *a);
const char *clv_kube_access_source(const struct clv_kube_access *a);

/* Ends a plugin that runs, and lets none run any more. Any thread. */
void clv_kube_access_stop(struct clv_kube_access *a);

#endif
