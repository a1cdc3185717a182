/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli/config.c and cli/options.c: what a file gives to the options, every class of error with its exact place, and
 * options objects that own what they hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/config.h"
#include "engine/limits.h"

static struct clv_options options;
static struct clv_config_errors errors;

static int begin(void **state)
{
	clv_options_fini(&options);
	return clv_options_init(&options);
}

static int end(void **state)
{
	clv_options_fini(&options);
	return 0;
}

static int parse_bytes(const void *text, size_t len)
{
	void *copy = malloc(len ? len : 1); /* as long as it is, so that a read past it is noticed */

	memcpy(copy, text, len);
	clv_options_fini(&options);
	assert_int_equal(clv_options_init(&options), 0);
	int err = clv_config_parse(clv_slice(copy, len), &options, &errors);
	free(copy);
	return err;
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* One error, there, whose text has those words. */
static void fails(const char *text, unsigned line, unsigned column, const char *says)
{
	if (parse(text) != -EINVAL || errors.count != 1 || errors.error[0].line != line ||
	    errors.error[0].column != column || !strstr(errors.error[0].text, says)) {
		for (size_t i = 0; i < errors.count; i++)
			print_error("%u:%u: %s\n", errors.error[i].line, errors.error[i].column, errors.error[i].text);
		fail_msg("not %u:%u %s: %s", line, column, says, text);
	}
}

/* ---- good files ------------------------------------------------------------------------------------------------ */

static void test_defaults(void **state)
{
	static const char *const nothing[] = {"",   "\n",   "# comment", "---\n...\n",
					      "{}", "null", "export:",   "\xef\xbb\xbf{}"};

	for (size_t i = 0; i < sizeof(nothing) / sizeof(*nothing); i++) {
		assert_int_equal(parse(nothing[i]), 0);
		assert_int_equal(errors.count, 0);
	}
	assert_int_equal(options.memory_bytes, CLV_MEMORY_BYTES);
	assert_string_equal(options.service, "unknown_service");
	assert_int_equal(options.limit, 0);
	assert_int_equal(options.sampler, CLV_SAMPLER_PARENT_ALWAYS_ON);
	assert_int_equal(options.metrics.bounds.count, 14);
	assert_true(options.metrics.bounds.item[3] == 0.05);
	assert_int_equal(options.queue_bytes, 16u << 20);
	assert_int_equal(options.spool_max_bytes, 256u << 20);
	/* The exporter's: unset, whatever the default is. */
	assert_null(options.otlp.endpoint);
	assert_int_equal(options.otlp.protocol, CLV_PROTOCOL_UNSET);
	assert_int_equal(options.otlp.compression, CLV_COMPRESSION_UNSET);
	assert_int_equal(options.otlp.timeout_ns, 0);
	assert_int_equal(options.otlp.metrics, CLV_SWITCH_UNSET);
	assert_int_equal(options.otlp.batch_max, 0);
}

static void test_values(void **state)
{
	assert_int_equal(parse("capture: {side: pod, ports: [80, '81:http'], egress: ['10.0.0.0/8:5000', "
			       "':443:web-=ignore'], memory: 2m}\n"
			       "service:\n  name: a b\n  by_place: {eth0: x, /run/netns/n: 'y'}\n"
			       "output: {format: json, hexdump: true, limit: 7, filter: [status=4xx, method=GET]}\n"
			       "export:\n  otlp:\n    headers: {k: v, e: ''}\n    protocol: grpc\n    metrics: false\n"
			       "    timeout: 250ms\n    compression: none\n  flush_timeout: 0s\n"
			       "metrics: {bounds: [.5, 1, 1e1]}\n"
			       "sampling: {sampler: traceidratio=0.25, keep: [errors, slower=1ms], rate: 9}\n"
			       "routes: [/a, '/b/{c}']\nauto_route: true\n"
			       "privacy: {capture_headers: [X-A, 'request:B', 'response:c'], redact: ['[0-9]+']}\n"),
			 0);
	assert_int_equal(options.side, CLV_CHOOSE_POD);
	assert_int_equal(options.port_count, 2);
	assert_int_equal(options.ports[1].port, 81);
	assert_non_null(options.ports[1].proto);
	assert_int_equal(options.egress_count, 2);
	assert_int_equal(options.egress[0].port, 5000);
	assert_int_equal(options.egress[0].pod.len, 0);
	assert_false(options.egress[0].ignore);
	assert_int_equal(options.egress[1].port, 443);
	assert_true(clv_slice_eq(options.egress[1].pod, CLV_LIT("web-")));
	assert_true(options.egress[1].ignore);
	assert_int_equal(options.memory_bytes, 2u << 20);
	assert_string_equal(options.service, "a b");
	assert_int_equal(options.services.count, 2);
	assert_string_equal(options.services.item[1].name, "/run/netns/n");
	assert_string_equal(options.services.item[1].value, "y");
	assert_int_equal(options.output, CLV_OUTPUT_JSON);
	assert_true(options.hexdump);
	assert_int_equal(options.limit, 7);
	assert_int_equal(options.filter.statuses, 1);
	assert_int_equal(options.filter.methods, 1);
	assert_int_equal(options.otlp.headers.count, 2);
	assert_string_equal(options.otlp.headers.item[1].value, "");
	assert_int_equal(options.otlp.protocol, CLV_PROTOCOL_GRPC);
	assert_int_equal(options.otlp.metrics, CLV_SWITCH_OFF);
	assert_int_equal(options.otlp.compression, CLV_COMPRESSION_NONE);
	assert_int_equal(options.otlp.timeout_ns, 250000000);
	assert_int_equal(options.flush_timeout_ns, 0);
	assert_int_equal(options.metrics.bounds.count, 3);
	assert_true(options.metrics.bounds.item[2] == 10);
	assert_int_equal(options.sampler, CLV_SAMPLER_RATIO);
	assert_true(options.sample_ratio == 0.25);
	assert_true(options.keep.errors);
	assert_int_equal(options.keep.slower_ns, 1000000);
	assert_int_equal(options.sample_rate, 9);
	assert_int_equal(options.routes.count, 2);
	assert_true(options.auto_route);
	assert_int_equal(options.captures.count, 3);
	assert_string_equal(options.captures.item[0].name, "x-a");
	assert_true(options.captures.item[0].request && options.captures.item[0].response);
	assert_string_equal(options.captures.item[1].name, "b");
	assert_true(options.captures.item[1].request && !options.captures.item[1].response);
	assert_true(!options.captures.item[2].request && options.captures.item[2].response);
	assert_string_equal(options.redact.item[0], "[0-9]+");
	assert_int_equal(options.given[CLV_SET_ROUTES].origin, CLV_FROM_FILE);
	assert_int_equal(options.given[CLV_SET_SERVICE].line, 3);
	assert_int_equal(options.given[CLV_SET_SERVICE].column, 9);
}

/* An empty list is an answer too. */
static void test_empty_list_replaces_the_default(void **state)
{
	assert_int_equal(parse("context: {propagators: []}"), 0);
	assert_int_equal(options.propagators.count, 0);
}

/* ---- errors ---------------------------------------------------------------------------------------------------- */

static void test_unknown_keys(void **state)
{
	fails("x: 1", 1, 1, "there is no setting x");
	fails("capture:\n  memry: 1M\n", 2, 3, "no setting capture.memry; did you mean memory?");
	fails("servce: {name: x}", 1, 1, "did you mean service?");
	fails("export:\n  endpoint: http://c\n", 2, 3, "did you mean export.otlp.endpoint?");
	fails("export.queue: 1M", 1, 1, "there is no setting export.queue");
	fails("capture: {<<: {memory: 1M}}", 1, 11, "there is no setting capture.<<");
	fails("'': 1", 1, 1, "there is no setting ");
	fails("? [a]\n: 1\n", 1, 3, "a key must be a text");
	fails("zzzz: {a: [{b: [1, 2]}], c: {d: e}}\nroutes: [/a]\n", 1, 1, "no setting zzzz");
}

static void test_keys_given_twice(void **state)
{
	fails("routes: [/a]\nroutes: [/b]\n", 2, 1, "routes stands here twice");
	fails("capture: {memory: 1M, side: pod, memory: 2M}", 1, 34, "capture.memory stands here twice");
	fails("capture: {memory: 1M}\ncapture: {side: pod}\n", 2, 1, "capture stands here twice");
	fails("service: {by_place: {a: x, a: y}}", 1, 28, "service.by_place.a stands here twice");
	fails("export:\n  otlp: {}\n  otlp: {}\n", 3, 3, "export.otlp stands here twice");
}

static void test_types(void **state)
{
	fails("capture: 5", 1, 10, "capture: it must be a map of settings, and here is a single value");
	fails("capture: [a]", 1, 10, "here is a list");
	fails("[a]", 1, 1, "a configuration is a map of settings, and here is a list");
	fails("text", 1, 1, "here is a single value");
	fails("routes: /a", 1, 9, "routes: it must be a list");
	fails("routes: {a: b}", 1, 9, "here is a map");
	fails("routes: [[/a]]", 1, 10, "it must be a list of single values, and here is a list");
	fails("capture: {memory: [1M]}", 1, 19, "it must be a single value, and here is a list");
	fails("service: {by_place: [a]}", 1, 21, "it must be a map");
	fails("service: {by_place: {a: [b]}}", 1, 25, "service.by_place.a: it must be a single value");
	fails("service: {by_place: {[a]: b}}", 1, 22, "a key must be a text");
	fails("output: {hexdump: 1}", 1, 19, "it must be true or false");
	fails("output: {hexdump: 'true'}", 1, 19, "it must be true or false");
	fails("output: {hexdump: yes}", 1, 19, "it must be true or false");
	fails("output: {limit: '5'}", 1, 17, "it must be a number from 1 on");
	fails("output: {limit: 5.0}", 1, 17, "it must be a number from 1 on");
	fails("service: {name: 5}", 1, 17, "it must be text; put it in quotes");
	fails("service: {name: 1.5}", 1, 17, "it must be text; put it in quotes");
	fails("service: {name: true}", 1, 17, "it must be text; put it in quotes");
	fails("service: {name: }", 1, 17, "there is no value");
	fails("service: {name: ~}", 1, 17, "there is no value");
	fails("service:\n  name:\n  by_place: {}\n", 2, 8, "there is no value");
	fails("metrics: {bounds: ['1']}", 1, 20, "it must be seconds");
}

static void test_bounds(void **state)
{
	fails("output: {limit: 0}", 1, 17, "output.limit 0: it must be a number from 1 on");
	fails("output: {limit: 18446744073709551616}", 1, 17, "it must be a number");
	fails("capture:\n  memory: 1K\n", 2, 11, "capture.memory 1K: it must be a size from 1M on");
	fails("capture: {snaplen: 65537}", 1, 20, "from 1 to 65536");
	fails("output: {format: xml}", 1, 18, "it must be auto, text, json or none");
	fails("output: {filter: [verb=x]}", 1, 19, "is no attribute");
	fails("output: {filter: [status=404, status=4]}", 1, 31, "a status is a code or a class");
	fails("capture: {ports: [80, '81:No Such']}", 1, 23, "a port is a number");
	fails("plugins: [memcached.so]", 1, 11, "a shared object with its directory");
	fails("export: {otlp: {endpoint: 'collector:4318'}}", 1, 27, "as in http://collector:4318");
	fails("metrics: {bounds: [1, 1]}", 1, 23, "each more than the one before");
	fails("metrics: {bounds: []}", 1, 19, "it must be seconds");
	fails("sampling: {sampler: always_on=1}", 1, 21, "have an argument");
	fails("routes: [/a, b]", 1, 14, "as in /users/{id}");
	fails("privacy: {redact: ['']}", 1, 20, "a regular expression");
}

static void test_too_much(void **state)
{
	static char text[CLV_CONFIG_BYTES + 2];
	size_t n = (size_t)snprintf(text, sizeof(text), "routes: [");

	for (int i = 0; i <= CLV_OPTION_REPEAT; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "/a,\n");
	snprintf(text + n, sizeof(text) - n, "]");
	fails(text, CLV_OPTION_REPEAT + 1, 1, "64 of them at most");

	fails("privacy: {redact: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q]}", 1, 52, "16 of them at most");

	n = (size_t)snprintf(text, sizeof(text), "service: {name: ");
	memset(text + n, 'x', CLV_OPTION_TEXT + 1);
	snprintf(text + n + CLV_OPTION_TEXT + 1, 2, "}");
	fails(text, 1, 17, "too long");

	memset(text, '#', CLV_CONFIG_BYTES + 1);
	text[CLV_CONFIG_BYTES + 1] = '\0';
	fails(text, 1, 1, "larger than 256 KiB");
	text[CLV_CONFIG_BYTES] = '\0';
	assert_int_equal(parse(text), 0);

	memset(text, '[', 100000); /* deep, and yet over at once */
	memcpy(text, "routes: ", 8);
	text[100000] = '\0';
	assert_int_equal(parse(text), -EINVAL);
	assert_string_equal(errors.error[errors.count - 1].text, "this is nested deeper than 16");
	assert_int_equal(errors.error[errors.count - 1].column, 9 + 1 + CLV_CONFIG_DEPTH);

	for (n = 0; n < 1000; n += 10)
		snprintf(text + n, sizeof(text) - n, "key%05zu:\n", n);
	assert_int_equal(parse(text), -EINVAL);
	assert_int_equal(errors.count, CLV_CONFIG_ERRORS);
	assert_int_equal(errors.more, 100 - CLV_CONFIG_ERRORS);
}

static void test_yaml(void **state)
{
	static const char nul[] = "routes: [/a\0]";

	fails("routes: [/a\n", 2, 1, "this is not YAML");
	fails("capture:\n\tmemory: 1M\n", 2, 1, "this is not YAML");
	fails("routes: ['/a]\n", 2, 1, "this is not YAML");
	fails("# one\nroutes: [\"/\xff\"]\n", 2, 12, "this is not text in UTF-8");
	fails("# \xe2\x82\xac\nservice: {name: \"\xe2\x82\xac\xff\"}\n", 2, 19, "this is not text in UTF-8");
	fails("routes: [\"/a\\0b\"]", 1, 10, "it must not have a NUL byte");
	fails("routes: [/a]\n---\nroutes: [/b]\n", 2, 1, "one document");
	assert_int_equal(parse_bytes(nul, sizeof(nul) - 1), -EINVAL);
	assert_int_equal(errors.error[0].line, 1);
	assert_int_equal(errors.error[0].column, 12);
}

static void test_anchors_and_tags(void **state)
{
	fails("routes: &a [/a]", 1, 9, "anchors and aliases");
	fails("capture: &a {memory: 1M}", 1, 10, "anchors and aliases");
	fails("routes: [&a /a]", 1, 10, "anchors and aliases");
	fails("service: {name: !!str 5}", 1, 17, "tags (!)");
	fails("routes: !x [/a]", 1, 9, "tags (!)");
	assert_int_equal(parse("routes: [&a /a, *a]\ncapture: *a\nmetrics: {listen: *a}"), -EINVAL);
	assert_int_equal(errors.count, 4);
	assert_int_equal(errors.error[1].column, 17);
}

/* What a file says is shown on terminals. */
static void test_errors_are_plain_text(void **state)
{
	fails("\"a\\e[2Jb\\n\": 1", 1, 1, "there is no setting a?[2Jb?");
	fails("export: {otlp: {headers: {\"a b\": sesame}}}", 1, 34, "a b ...: ");
	assert_null(strstr(errors.error[0].text, "sesame"));
}

/* An error is told, the rest is read. */
static void test_all_errors_at_once(void **state)
{
	assert_int_equal(parse("capture:\n  memory: 1K\n  side: both\nroutes: [a, /b]\nx: 1\n"), -EINVAL);
	assert_int_equal(errors.count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(errors.error[i].line, i + 2);
	assert_int_equal(options.routes.count, 1);
	assert_int_equal(options.memory_bytes, CLV_MEMORY_BYTES);
}

/* ---- objects --------------------------------------------------------------------------------------------------- */

static void test_a_value_that_is_refused_changes_nothing(void **state)
{
	char why[CLV_OPTION_WHY];

	assert_int_equal(clv_options_set_words(&options, CLV_SET_FILTER, CLV_FROM_FILE, "status=404", why), 0);
	assert_int_equal(clv_options_set_words(&options, CLV_SET_FILTER, CLV_FROM_FILE, "status=x", why), -EINVAL);
	assert_int_equal(clv_options_set_words(&options, CLV_SET_FILTER, CLV_FROM_COMMAND_LINE, "x", why), -EINVAL);
	assert_int_equal(options.filter.statuses, 1);
	assert_int_equal(options.given[CLV_SET_FILTER].origin, CLV_FROM_FILE);
	assert_int_equal(clv_options_set_words(&options, CLV_SET_MEMORY, CLV_FROM_FILE, "1", why), -EINVAL);
	assert_int_equal(options.memory_bytes, CLV_MEMORY_BYTES);
	assert_int_equal(options.given[CLV_SET_MEMORY].origin, CLV_FROM_DEFAULT);
}

static void test_copies_own_their_strings(void **state)
{
	struct clv_options *copy = calloc(1, sizeof(*copy));

	assert_int_equal(
		parse("service: {name: shop, by_place: {a: b}}\nroutes: [/a]\noutput: {filter: ['path=/x']}\n"
		      "privacy: {capture_headers: [Q]}\ncontext: {propagators: []}\nsampling: {keep: [errors]}\n"),
		0);
	options.config_path = strdup("c.yaml");
	assert_int_equal(clv_options_copy(copy, &options), 0);
	for (int id = 0; id < CLV_SETTINGS; id++) {
		assert_true(clv_options_same(copy, &options, (enum clv_setting_id)id));
		assert_int_equal(copy->given[id].origin, options.given[id].origin);
		assert_int_equal(copy->given[id].line, options.given[id].line);
	}
	clv_options_fini(&options);
	assert_string_equal(copy->config_path, "c.yaml");
	assert_string_equal(copy->service, "shop");
	assert_string_equal(copy->services.item[0].value, "b");
	assert_string_equal(copy->routes.item[0], "/a");
	assert_memory_equal(copy->filter.path[0].data, "/x", 2);
	assert_string_equal(copy->captures.item[0].name, "q");
	assert_int_equal(copy->propagators.count, 0);
	assert_true(copy->keep.errors);
	assert_null(copy->otlp.endpoint);
	clv_options_fini(copy);
	clv_options_fini(copy);
	free(copy);
}

static void test_stronger_words(void **state)
{
	struct clv_options *line = calloc(1, sizeof(*line));
	char why[CLV_OPTION_WHY];

	assert_int_equal(clv_options_init(line), 0);
	assert_int_equal(clv_options_set_words(line, CLV_SET_ROUTES, CLV_FROM_COMMAND_LINE, "/l", why), 0);
	assert_int_equal(clv_options_set_words(line, CLV_SET_OTLP_PROTOCOL, CLV_FROM_COMMAND_LINE, "grpc", why), 0);
	assert_int_equal(parse("routes: [/a, /b]\ncapture: {memory: 2M}\nexport: {otlp: {protocol: http/json}}"), 0);
	assert_int_equal(options.routes.count, 2);
	assert_int_equal(clv_options_say_again(&options, line), 0);
	assert_int_equal(options.routes.count, 1);
	assert_string_equal(options.routes.item[0], "/l");
	assert_int_equal(options.memory_bytes, 2u << 20);
	assert_int_equal(options.otlp.protocol, CLV_PROTOCOL_GRPC);
	clv_options_fini(line);
	free(line);
}

/* What the exporter reads from the environment is known for print, and unset for everybody else. */
static void test_environment(void **state)
{
	setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c", 1);
	setenv("OTEL_BSP_SCHEDULE_DELAY", "1500", 1);
	setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", 1);
	setenv("OTEL_TRACES_SAMPLER_ARG", "0.5", 1);
	int err = clv_options_environment(&options);
	unsetenv("OTEL_EXPORTER_OTLP_ENDPOINT");
	unsetenv("OTEL_BSP_SCHEDULE_DELAY");
	unsetenv("OTEL_TRACES_SAMPLER");
	unsetenv("OTEL_TRACES_SAMPLER_ARG");
	assert_int_equal(err, 0);
	assert_string_equal(options.given[CLV_SET_OTLP].item[0].text, "http://c");
	assert_null(options.otlp.endpoint);
	assert_string_equal(options.given[CLV_SET_BATCH_DELAY].item[0].text, "1500ms");
	assert_int_equal(options.otlp.batch_delay_ns, 0);
	assert_int_equal(options.sampler, CLV_SAMPLER_PARENT_RATIO);
	assert_true(options.sample_ratio == 0.5);
}

static const char *listen_of(const char *exporters, const char *host, const char *port)
{
	setenv("OTEL_METRICS_EXPORTER", exporters, 1);
	setenv("OTEL_EXPORTER_PROMETHEUS_HOST", host, 1);
	setenv("OTEL_EXPORTER_PROMETHEUS_PORT", port, 1);
	clv_options_fini(&options);
	assert_int_equal(clv_options_init(&options), 0);
	int err = clv_options_environment(&options);
	unsetenv("OTEL_METRICS_EXPORTER");
	unsetenv("OTEL_EXPORTER_PROMETHEUS_HOST");
	unsetenv("OTEL_EXPORTER_PROMETHEUS_PORT");
	assert_int_equal(err, 0);
	return options.metrics.listen ? options.metrics.listen : "none";
}

static void test_prometheus_of_the_environment(void **state)
{
	assert_string_equal(listen_of("prometheus", "", ""), "localhost:9464");
	assert_string_equal(listen_of("otlp, prometheus", "0.0.0.0", "9999"), "0.0.0.0:9999");
	assert_string_equal(listen_of("prometheus", "::1", ""), "[::1]:9464");
	assert_string_equal(listen_of("prometheus", "[::]", "1"), "[::]:1");
	assert_string_equal(listen_of("otlp", "localhost", "9464"), "none");
	assert_string_equal(listen_of("", "localhost", "9464"), "none");
	assert_string_equal(listen_of("prometheus", "localhost", "many"), "none");
}

static void check_fails(const char *text, unsigned line, unsigned column, const char *says)
{
	assert_int_equal(parse(text), 0);
	assert_int_equal(clv_config_check(&options, &errors), -EINVAL);
	assert_int_equal(errors.count, 1);
	assert_int_equal(errors.error[0].line, line);
	assert_int_equal(errors.error[0].column, column);
	assert_non_null(strstr(errors.error[0].text, says));
}

/* What looks right text by text and cannot be compiled is told where it stands. */
static void test_rules_are_compiled(void **state)
{
	check_fails("routes:\n  - /a/{id}\n  - /b\n  - /a/{name}\n  - /c\n", 4, 5, "/a/{name}");
	check_fails("privacy:\n  redact: ['[a-z]+', 'b(', 'c(']\n", 2, 22, "b(");
	check_fails("capture: {ports: [80, '81:nosuch']}", 1, 23, "there is no such protocol (there is: http");
	/* A plugin may bring it. It is not loaded for this. */
	assert_int_equal(parse("capture: {ports: ['81:nosuch']}\nplugins: [/no/such.so]"), 0);
	assert_int_equal(clv_config_check(&options, &errors), 0);
	check_fails("export:\n  otlp:\n    cert_file: /a\n", 3, 16, "key");
	assert_int_equal(parse("routes: ['/a/{id}', /a/b]\nprivacy: {redact: ['a|b']}"), 0);
	assert_int_equal(clv_config_check(&options, &errors), 0);
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

static void test_table(void **state)
{
	for (int id = 0; id < CLV_SETTINGS; id++) {
		const struct clv_setting *s = &clv_settings[id];

		assert_non_null(s->key);
		assert_non_null(s->help);
		assert_true(s->size > 0);
		assert_true(s->commands && s->group);
		assert_true(s->type == CLV_VALUE_FLAG || s->type == CLV_VALUE_SWITCH || s->expect);
		assert_true(s->option || !s->letter);
		if (s->type == CLV_VALUE_SIZE || s->type == CLV_VALUE_TIME)
			assert_non_null(s->pattern);
		/* print and schema take a section's settings in one piece. */
		for (int other = id + 2; other < CLV_SETTINGS; other++) {
			size_t shared = 0, dot = 0;

			for (; s->key[shared] && s->key[shared] == clv_settings[other].key[shared]; shared++)
				if (s->key[shared] == '.')
					dot = shared + 1;
			assert_int_equal(strncmp(clv_settings[other - 1].key, s->key, dot), 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_empty_list_replaces_the_default),
		cmocka_unit_test(test_unknown_keys),
		cmocka_unit_test(test_keys_given_twice),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_anchors_and_tags),
		cmocka_unit_test(test_errors_are_plain_text),
		cmocka_unit_test(test_all_errors_at_once),
		cmocka_unit_test_setup_teardown(test_a_value_that_is_refused_changes_nothing, begin, end),
		cmocka_unit_test(test_copies_own_their_strings),
		cmocka_unit_test(test_stronger_words),
		cmocka_unit_test_setup_teardown(test_environment, begin, end),
		cmocka_unit_test_setup_teardown(test_prometheus_of_the_environment, begin, end),
		cmocka_unit_test(test_rules_are_compiled),
		cmocka_unit_test(test_table),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	clv_options_fini(&options);
	return failed;
}
