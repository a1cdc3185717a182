/* SPDX-License-Identifier: Apache-2.0 */
/* export/otlp_config.c: what the environment and --otlp make of the defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "export/otlp_config.h"

#define TRACES  (&c.target[CLV_EXPORT_TRACES])
#define METRICS (&c.target[CLV_EXPORT_METRICS])

static struct clv_otlp_config c;
static char why[256];
extern char **environ;

/* Only these variables, as name, value, ..., NULL. */
static int from_env(const char *name, ...)
{
	va_list ap;

	clearenv();
	va_start(ap, name);
	for (; name; name = va_arg(ap, const char *))
		setenv(name, va_arg(ap, const char *), 1);
	va_end(ap);
	clv_otlp_config_init(&c);
	*why = '\0';
	return clv_otlp_config_env(&c, why, sizeof(why));
}

static void test_defaults(void **state)
{
	assert_int_equal(from_env(NULL), 0);
	assert_false(clv_otlp_config_active(&c, CLV_EXPORT_TRACES));
	assert_false(clv_otlp_config_active(&c, CLV_EXPORT_METRICS));
	assert_int_equal(c.max_batch, 512);
	assert_int_equal(c.max_queue, 0);
	assert_int_equal(c.delay_ns, 5000000000);
	assert_int_equal(c.metric_interval_ns, 60000000000);
	assert_int_equal(TRACES->timeout_ns, 10000000000);
}

static void test_endpoints(void **state)
{
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/base", NULL), 0);
	assert_true(clv_otlp_config_active(&c, CLV_EXPORT_TRACES));
	assert_string_equal(TRACES->url, "http://a:1/base/v1/traces");
	assert_string_equal(METRICS->url, "http://a:1/base/v1/metrics");
	assert_int_equal(TRACES->protocol, CLV_OTLP_HTTP);

	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
				  "https://b/x?y=z", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "", NULL),
			 0);
	assert_string_equal(TRACES->url, "https://b/x?y=z"); /* as it is */
	assert_string_equal(TRACES->shown, "https://b/x");
	assert_string_equal(METRICS->url, "http://a:1/v1/metrics"); /* empty: not set */

	assert_int_equal(from_env("OTEL_TRACES_EXPORTER", "otlp", NULL), 0);
	assert_string_equal(TRACES->url, "http://localhost:4318/v1/traces");
	assert_false(clv_otlp_config_active(&c, CLV_EXPORT_METRICS));

	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@a:1", NULL), 0);
	assert_string_equal(TRACES->url, "http://user:secret@a:1/v1/traces");
	assert_string_equal(TRACES->shown, "http://a:1/v1/traces");

	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", NULL), -EINVAL);
	assert_non_null(strstr(why, "collector:4318"));
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:secret@a", NULL), -EINVAL);
	assert_null(strstr(why, "secret"));
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@a:99999", NULL), -EINVAL);
	assert_null(strstr(why, "secret"));
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:99999", NULL), -EINVAL);
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", NULL), -EINVAL);
}

static void test_grpc(void **state)
{
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/ignored", "OTEL_EXPORTER_OTLP_PROTOCOL",
				  "grpc", NULL),
			 0);
	assert_int_equal(TRACES->protocol, CLV_OTLP_GRPC);
	assert_string_equal(TRACES->url, "http://a:1/");
	/* Without a scheme: TLS, unless told otherwise. */
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "a:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", NULL),
			 0);
	assert_string_equal(TRACES->url, "https://a:1/");
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "a:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc",
				  "OTEL_EXPORTER_OTLP_INSECURE", "true", NULL),
			 0);
	assert_string_equal(TRACES->url, "http://a:1/");
	/* Each signal has its own. */
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
				  "http/json", NULL),
			 0);
	assert_int_equal(TRACES->protocol, CLV_OTLP_HTTP);
	assert_int_equal(METRICS->protocol, CLV_OTLP_HTTP_JSON);
}

static void test_headers(void **state)
{
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", " a=b%20c , d = e;x=y ,,f=", NULL), 0);
	assert_int_equal(TRACES->header_count, 3);
	assert_string_equal(TRACES->header[0], "a: b c");
	assert_string_equal(TRACES->header[1], "d: e");
	assert_string_equal(TRACES->header[2], "f: ");
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0aEvil: c", NULL), -EINVAL);
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", NULL), -EINVAL);
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", "secret", NULL), -EINVAL);
	assert_null(strstr(why, "secret"));
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", "a=b,Authorization: secret==", NULL), -EINVAL);
	assert_null(strstr(why, "secret"));
	assert_non_null(strstr(why, "number 2"));
	static char many[2 * CLV_OTLP_HEADERS_MAX] = "a=";
	memset(many + 2, 'x', CLV_OTLP_HEADERS_MAX);
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", many, NULL), -EINVAL);
	*many = '\0';
	for (int i = 0; i <= CLV_OTLP_HEADERS; i++)
		strcat(many, "a=b,");
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_HEADERS", many, NULL), -EINVAL);
}

static void test_numbers(void **state)
{
	assert_int_equal(from_env("OTEL_BSP_MAX_QUEUE_SIZE", "2048", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100",
				  "OTEL_BSP_SCHEDULE_DELAY", "1000", "OTEL_METRIC_EXPORT_INTERVAL", "2000",
				  "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "300", "OTEL_EXPORTER_OTLP_TIMEOUT", "400",
				  "OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", NULL),
			 0);
	assert_int_equal(c.max_queue, 2048);
	assert_int_equal(c.max_batch, 100);
	assert_int_equal(c.delay_ns, 1000000000);
	assert_int_equal(c.metric_interval_ns, 2000000000);
	assert_int_equal(TRACES->timeout_ns, 300000000);
	assert_int_equal(METRICS->timeout_ns, 400000000);
	assert_true(TRACES->gzip && METRICS->gzip);
	/* What makes no sense is ignored. */
	assert_int_equal(from_env("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many",
				  "OTEL_BSP_SCHEDULE_DELAY", "99999999999999999999", "OTEL_EXPORTER_OTLP_COMPRESSION",
				  "zip", "OTEL_EXPORTER_OTLP_TIMEOUT", "0", NULL),
			 0);
	assert_int_equal(c.max_queue, 0);
	assert_int_equal(c.max_batch, 512);
	assert_int_equal(c.delay_ns, 5000000000);
	assert_int_equal(TRACES->timeout_ns, 10000000000);
	assert_false(TRACES->gzip);
}

static void test_switched_off(void **state)
{
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a", "OTEL_SDK_DISABLED", "true", NULL), 0);
	assert_false(clv_otlp_config_active(&c, CLV_EXPORT_TRACES));
	assert_int_equal(clv_otlp_config_url(&c, "http://b:1", why, sizeof(why)), 0);
	assert_true(clv_otlp_config_active(&c, CLV_EXPORT_TRACES));
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a", "OTEL_METRICS_EXPORTER", "none",
				  "OTEL_TRACES_EXPORTER", "console, otlp", NULL),
			 0);
	assert_true(clv_otlp_config_active(&c, CLV_EXPORT_TRACES));
	assert_false(clv_otlp_config_active(&c, CLV_EXPORT_METRICS));
}

static void test_command_line_wins(void **state)
{
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a/x", NULL), 0);
	assert_int_equal(clv_otlp_config_url(&c, "grpc://b", why, sizeof(why)), 0);
	assert_int_equal(TRACES->protocol, CLV_OTLP_GRPC);
	assert_string_equal(TRACES->url, "http://b:4317/");
	assert_int_equal(clv_otlp_config_url(&c, "grpcs://[::1]:5", why, sizeof(why)), 0);
	assert_string_equal(METRICS->url, "https://[::1]:5/");
	assert_int_equal(from_env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", NULL), 0);
	assert_int_equal(clv_otlp_config_url(&c, "http://b:1/", why, sizeof(why)), 0);
	assert_int_equal(TRACES->protocol, CLV_OTLP_HTTP_JSON);
	assert_string_equal(TRACES->url, "http://b:1/v1/traces");
	assert_int_equal(clv_otlp_config_url(&c, "udp://b", why, sizeof(why)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_grpc),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_command_line_wins),
	};

	clv_log_max = CLV_LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
