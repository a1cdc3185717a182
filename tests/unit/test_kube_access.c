/* SPDX-License-Identifier: Apache-2.0 */
/* kube/kubeconfig.c, kube/access.c, kube/exec.c: who we are to the API server, and what is wrong when nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/access.h"
#include "kube/exec.h"
#include "kube/kubeconfig.h"

#define SEC 1000000000ull

static char why[CLV_KUBE_WHY];
static char dir[] = "/tmp/clovisor-access-XXXXXX";

/* ---- kubeconfigs ------------------------------------------------------------------------------------------------ */

/* Of one text; NULL: it is refused, and why says so. */
static struct clv_kubeconfig *config_of(const char *text, const char *context)
{
	struct clv_kubeconfig *k = clv_kubeconfig_new();

	assert_non_null(k);
	*why = '\0';
	int err = clv_kubeconfig_add(k, "/etc/kube/config", clv_slice_str(text), why);
	if (!err)
		err = clv_kubeconfig_resolve(k, context, why);
	if (!err)
		return k;
	assert_true(*why);
	clv_kubeconfig_free(k);
	return NULL;
}

static const char base[] = "current-context: a\n"
			   "clusters:\n"
			   "- name: c\n"
			   "  cluster: {server: 'https://10.0.0.1:6443', certificate-authority: ca.crt}\n"
			   "- {name: d, cluster: {server: 'https://d', certificate-authority-data: Y2E=,\n"
			   "   certificate-authority: /not/this, tls-server-name: n, proxy-url: 'http://p', "
			   "insecure-skip-tls-verify: true}}\n"
			   "users:\n"
			   "- {name: u, user: {token: t}}\n"
			   "- {name: f, user: {tokenFile: /run/token, client-certificate: x/cert, client-key: /key}}\n"
			   "- {name: b, user: {username: me, password: '', token: null}}\n"
			   "contexts:\n"
			   "- {name: a, context: {cluster: c, user: u, namespace: shop}}\n"
			   "- {name: b, context: {cluster: d, user: f}}\n"
			   "- {name: nobody, context: {cluster: d, user: ''}}\n"
			   "- {name: basic, context: {cluster: d, user: b}}\n"
			   "- {name: no-cluster, context: {cluster: x}}\n"
			   "- {name: no-user, context: {cluster: c, user: x}}\n"
			   "- {name: empty}\n";

static void test_context(void **state)
{
	struct clv_kubeconfig *k = config_of(base, NULL);

	assert_non_null(k);
	assert_string_equal(k->source, "context a of /etc/kube/config");
	assert_string_equal(k->server, "https://10.0.0.1:6443");
	assert_string_equal(k->ca.path, "/etc/kube/ca.crt");
	assert_null(k->ca.text);
	assert_string_equal(k->token, "t");
	assert_null(k->exec.command);
	assert_false(k->insecure);
	clv_kubeconfig_free(k);

	k = config_of(base, "b");
	assert_non_null(k);
	assert_string_equal(k->ca.text, "ca");
	assert_null(k->ca.path);
	assert_true(k->insecure);
	assert_string_equal(k->tls_server_name, "n");
	assert_string_equal(k->proxy_url, "http://p");
	assert_string_equal(k->token_path, "/run/token");
	assert_string_equal(k->cert.path, "/etc/kube/x/cert");
	assert_string_equal(k->key.path, "/key");
	clv_kubeconfig_free(k);

	k = config_of(base, "nobody");
	assert_non_null(k);
	assert_null(k->token);
	clv_kubeconfig_free(k);

	k = config_of(base, "basic");
	assert_non_null(k);
	assert_string_equal(k->user, "me");
	assert_null(k->password);
	assert_null(k->token);
	clv_kubeconfig_free(k);
}

static void test_refused(void **state)
{
	static const char *const contexts[][2] = {{"x", "there is no context x in /etc/kube/config"},
						  {"no-cluster", "there is no cluster x"},
						  {"no-user", "there is no user x"},
						  {"empty", "there is no context empty"}};
	static const char *const texts[][2] = {
		{"", "names no current-context"},
		{"null", "names no current-context"},
		{"- a", "names no current-context"},
		{"current-context: [a]", "names no current-context"},
		{"a: [", "line 2: this is not YAML"},
		{"a: b\n\tc", "line 2: this is not YAML"},
		{"current-context: a\ncontexts: {a: b}", "there is no context a"},
		{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
		 "clusters: [{name: c, cluster: {server: 'ftp://x'}}]",
		 "has no server that begins with https://"},
		{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
		 "clusters: [{name: c, cluster: {server: 'https://me:secret@x'}}]",
		 "has a user in it"},
		{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
		 "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '?'}}]",
		 "certificate-authority-data is not base64"},
		{"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
		 "clusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {auth-provider: {}}}]",
		 "auth-provider (use an exec plugin)"},
		{"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
		 "clusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {as: root}}]",
		 "as (impersonation)"},
	};

	for (size_t i = 0; i < sizeof(contexts) / sizeof(*contexts); i++) {
		assert_null(config_of(base, contexts[i][0]));
		assert_non_null(strstr(why, contexts[i][1]));
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_null(config_of(texts[i][0], NULL));
		if (!strstr(why, texts[i][1]))
			fail_msg("%s: %s", texts[i][0], why);
	}
}

/* Aliases cannot make much of little, nor a circle of it. */
static void test_aliases(void **state)
{
	struct clv_kubeconfig *k = config_of("current-context: a\n"
					     "x: &c {server: 'https://x', x: &l [*l, *l]}\n"
					     "clusters: &s [{name: c, cluster: *c}, *s]\n"
					     "contexts: [{name: a, context: {cluster: c}}]\n",
					     NULL);

	if (k) /* whatever libyaml says of it */
		assert_string_equal(k->server, "https://x");
	clv_kubeconfig_free(k);
}

static void test_several_files(void **state)
{
	struct clv_kubeconfig *k = clv_kubeconfig_new();
	static const char one[] = "contexts: [{name: a, context: {cluster: c, user: u}}]";
	static const char two[] = "current-context: a\nclusters: [{name: c, cluster: {server: 'https://two', "
				  "certificate-authority: ca}}]\nusers: [{name: u, user: {token: two}}]";
	static const char three[] = "current-context: b\nclusters: [{name: c, cluster: {server: 'https://three'}}]";

	assert_int_equal(clv_kubeconfig_add(k, "/1/config", CLV_LIT(one), why), 0);
	assert_int_equal(clv_kubeconfig_add(k, "/2/config", CLV_LIT(two), why), 0);
	assert_int_equal(clv_kubeconfig_add(k, "/3/config", CLV_LIT(three), why), 0);
	assert_int_equal(clv_kubeconfig_resolve(k, NULL, why), 0);
	assert_string_equal(k->server, "https://two");
	assert_string_equal(k->ca.path, "/2/ca"); /* relative to its own file */
	assert_string_equal(k->source, "context a of /1/config");
	for (int i = 3; i < CLV_KUBECONFIG_FILES; i++)
		assert_int_equal(clv_kubeconfig_add(k, "/x", CLV_LIT(one), why), 0);
	assert_int_equal(clv_kubeconfig_add(k, "/x", CLV_LIT(one), why), -E2BIG);
	clv_kubeconfig_free(k);
}

static void test_plugin(void **state)
{
	struct clv_kubeconfig *k = config_of(
		"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
		"clusters: [{name: c, cluster: {server: 'https://x'}}]\nusers:\n- name: u\n  user:\n    exec:\n"
		"      apiVersion: client.authentication.k8s.io/v1\n      command: bin/get\n"
		"      args: [token, --id, 'x y']\n      env: [{name: A, value: b=c}]\n"
		"      interactiveMode: Never\n      provideClusterInfo: true\n      installHint: get it\n",
		NULL);

	assert_non_null(k);
	assert_string_equal(k->exec.command, "/etc/kube/bin/get");
	assert_string_equal(k->exec.args[2], "x y");
	assert_null(k->exec.args[3]);
	assert_string_equal(k->exec.env[0], "A=b=c");
	assert_null(k->exec.env[1]);
	assert_true(k->exec.cluster);
	assert_string_equal(k->exec.hint, "get it");
	clv_kubeconfig_free(k);
}

/* ---- what plugins say ------------------------------------------------------------------------------------------- */

#define V1           "client.authentication.k8s.io/v1"
#define SAYS(status) "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":" status "}"

static int credential_of(const char *text, struct clv_kube_exec_credential *out)
{
	return clv_kube_exec_parse(V1, clv_slice_str(text), out, why);
}

static void test_credential(void **state)
{
	static const struct {
		const char *text;
		time_t expires;
	} times[] = {
		{"2026-01-02T03:04:05Z", 1767323045},
		{"2026-01-02T03:04:05.678Z", 1767323045},
		{"2026-01-02T04:04:05+01:00", 1767323045},
		{"2026-01-01T23:34:05-03:30", 1767323045},
	};
	struct clv_kube_exec_credential c;
	char text[512];

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		snprintf(text, sizeof(text), SAYS("{\"token\":\"t\",\"expirationTimestamp\":\"%s\"}"), times[i].text);
		assert_int_equal(credential_of(text, &c), 0);
		assert_string_equal(c.token, "t");
		assert_int_equal(c.expires, times[i].expires);
		clv_kube_exec_clear(&c);
	}
	assert_int_equal(credential_of(SAYS("{\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\"}"), &c), 0);
	assert_string_equal(c.cert, "c");
	assert_string_equal(c.key, "k");
	assert_null(c.token);
	assert_int_equal(c.expires, 0);
	clv_kube_exec_clear(&c);
}

static void test_not_a_credential(void **state)
{
	static const char *const texts[] = {
		"",
		"x",
		"[]",
		"{}",
		SAYS("{}"),
		SAYS("null"),
		SAYS("{\"token\":7}"),
		SAYS("{\"clientKeyData\":\"k\"}"),
		SAYS("{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}"),
		SAYS("{\"token\":\"t\",\"expirationTimestamp\":\"2026-01-02T03:04:05\"}"),
		SAYS("{\"token\":\"t\",\"expirationTimestamp\":\"2026-01-02T03:04:05+1\"}"),
		"{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"kind\":\"ExecCredential\","
		"\"status\":{\"token\":\"t\"}}",
	};
	struct clv_kube_exec_credential c;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		*why = '\0';
		assert_int_equal(credential_of(texts[i], &c), -EBADMSG);
		assert_true(*why);
		assert_null(strstr(why, "t\"")); /* nothing of what it said */
	}
}

/* ---- credentials as time goes by -------------------------------------------------------------------------------- */

static char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int make_dir(void **state)
{
	unsetenv("KUBECONFIG");
	unsetenv("HOME");
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"token", "ca.crt", "namespace", "config"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

static struct clv_kube_access *account(void)
{
	struct clv_kube_access_config config = {.account_dir = dir};
	struct clv_kube_access *a;

	put("token", "one\n");
	put("ca.crt", "pem\n");
	put("namespace", "shop\n");
	assert_true(clv_kube_access_exists(&config));
	assert_int_equal(clv_kube_access_open(&config, &a, why), 0);
	return a;
}

static void test_service_account(void **state)
{
	struct clv_kube_access *a = account();
	struct clv_kube_credentials c;

	assert_int_equal(clv_kube_access_get(a, SEC, false, &c, why), 0);
	assert_string_equal(c.server, "https://[fd00::1]:443");
	assert_string_equal(c.token, "one");
	assert_string_equal(c.ca, "pem\n");
	assert_string_equal(c.source, "the pod's service account");
	assert_null(c.cert);
	assert_null(c.user);
	clv_kube_access_close(a);
}

static void test_rotation(void **state)
{
	struct clv_kube_access *a = account();
	struct clv_kube_credentials c;

	assert_int_equal(clv_kube_access_get(a, SEC, false, &c, why), 0);
	uint64_t generation = c.generation;
	put("token", "two");
	put("ca.crt", "new");
	assert_int_equal(clv_kube_access_get(a, 60 * SEC, false, &c, why), 0);
	assert_string_equal(c.token, "one");
	assert_int_equal(c.generation, generation);
	assert_int_equal(clv_kube_access_get(a, 61 * SEC, false, &c, why), 0);
	assert_string_equal(c.token, "two");
	assert_string_equal(c.ca, "pem\n");
	assert_int_not_equal(c.generation, generation);
	assert_int_equal(clv_kube_access_get(a, 301 * SEC, false, &c, why), 0);
	assert_string_equal(c.ca, "new");

	put("token", "three");
	assert_int_equal(clv_kube_access_get(a, 302 * SEC, true, &c, why), 0); /* it was refused */
	assert_string_equal(c.token, "three");

	/* While files are exchanged, what was read holds. */
	unlink(path_of("token"));
	assert_int_equal(clv_kube_access_get(a, 900 * SEC, true, &c, why), 0);
	assert_string_equal(c.token, "three");
	put("token", "a\r\nX-Evil: b");
	assert_int_equal(clv_kube_access_get(a, 901 * SEC, true, &c, why), 0);
	assert_string_equal(c.token, "three");
	clv_kube_access_close(a);
}

static void test_bad_token(void **state)
{
	static const char *const tokens[] = {"", "\n", "a b", "a\nb", "\xff"};
	struct clv_kube_credentials c;

	for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
		struct clv_kube_access *a = account();

		put("token", tokens[i]);
		assert_int_equal(clv_kube_access_get(a, SEC, false, &c, why), -EBADMSG);
		assert_non_null(strstr(why, "it is no token"));
		clv_kube_access_close(a);
	}
}

/* A kubeconfig that is named goes before the service account. */
static void test_precedence(void **state)
{
	struct clv_kube_access_config config = {.account_dir = dir};
	struct clv_kube_credentials c;
	struct clv_kube_access *a;

	put("config", "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
		      "clusters: [{name: c, cluster: {server: 'https://named//'}}]");
	setenv("KUBECONFIG", path_of("config"), 1);
	assert_int_equal(clv_kube_access_open(&config, &a, why), 0);
	assert_int_equal(clv_kube_access_get(a, SEC, false, &c, why), 0);
	assert_string_equal(c.server, "https://named");
	clv_kube_access_close(a);

	setenv("KUBECONFIG", path_of("absent"), 1);
	assert_int_equal(clv_kube_access_open(&config, &a, why), -ENOENT);
	assert_non_null(strstr(why, "absent"));
	unsetenv("KUBECONFIG");
}

static void test_nothing(void **state)
{
	struct clv_kube_access_config config = {0};
	struct clv_kube_access *a;

	unsetenv("KUBERNETES_SERVICE_PORT");
	assert_false(clv_kube_access_exists(&config));
	assert_int_equal(clv_kube_access_open(&config, &a, why), -ENOENT);
	assert_non_null(strstr(why, "nothing tells where the API server is"));
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_context),          cmocka_unit_test(test_refused),
		cmocka_unit_test(test_aliases),          cmocka_unit_test(test_several_files),
		cmocka_unit_test(test_plugin),           cmocka_unit_test(test_credential),
		cmocka_unit_test(test_not_a_credential), cmocka_unit_test(test_service_account),
		cmocka_unit_test(test_rotation),         cmocka_unit_test(test_bad_token),
		cmocka_unit_test(test_precedence),       cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
