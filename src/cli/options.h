/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of `trace` and `read` as plain data, whatever said them: the command line, a configuration file, the
 * environment, or nobody. settings.h has the table that all of them are read by.
 *
 * An options object owns every string in it, and never changes while it is used: a reload builds another one. It is
 * built on the main thread.
 */
#ifndef CLV_CLI_OPTIONS_H
#define CLV_CLI_OPTIONS_H

#include <argp.h>

#include "cli/settings.h"
#include "engine/engine.h"
#include "export/filter.h"
#include "export/text.h"

/* AUTO: text, unless a collector or a scraper gets what there is to see. */
enum clv_output { CLV_OUTPUT_AUTO, CLV_OUTPUT_TEXT, CLV_OUTPUT_JSON, CLV_OUTPUT_NONE };
enum clv_side_choice { CLV_CHOOSE_AUTO, CLV_CHOOSE_POD, CLV_CHOOSE_HOST };

/* Where a pod's packets are seen. AUTO: at its interface where it has one of its own, else at its cgroup. */
enum clv_capture_choice { CLV_CAPTURE_AUTO, CLV_CAPTURE_INTERFACE, CLV_CAPTURE_CGROUP };

/*
 * Of what another module reads from OTEL_* by itself: CLV_*_UNSET, as NULL and 0 among its strings and numbers, says
 * that neither the file nor the command line has it.
 */
enum clv_protocol_choice { CLV_PROTOCOL_UNSET, CLV_PROTOCOL_HTTP_PROTOBUF, CLV_PROTOCOL_GRPC, CLV_PROTOCOL_HTTP_JSON };
enum clv_compression_choice { CLV_COMPRESSION_UNSET, CLV_COMPRESSION_NONE, CLV_COMPRESSION_GZIP };
enum clv_switch { CLV_SWITCH_UNSET, CLV_SWITCH_OFF, CLV_SWITCH_ON };

/* As OTEL_TRACES_SAMPLER names them. */
enum clv_sampler_name {
	CLV_SAMPLER_ALWAYS_ON,
	CLV_SAMPLER_ALWAYS_OFF,
	CLV_SAMPLER_RATIO,
	CLV_SAMPLER_PARENT_ALWAYS_ON,
	CLV_SAMPLER_PARENT_ALWAYS_OFF,
	CLV_SAMPLER_PARENT_RATIO,
};

struct clv_strings {
	size_t count;
	const char *item[CLV_OPTION_REPEAT];
};

struct clv_numbers {
	size_t count;
	double item[CLV_OPTION_REPEAT];
};

struct clv_pairs {
	size_t count;
	struct {
		const char *name, *value;
	} item[CLV_OPTION_REPEAT];
};

/* Header fields whose values are kept. */
struct clv_captures {
	size_t count;
	struct {
		const char *name; /* in lower case */
		bool request, response;
	} item[CLV_OPTION_REPEAT];
};

/* Which word said it; a later one counts for more. */
enum clv_origin { CLV_FROM_DEFAULT, CLV_FROM_ENVIRONMENT, CLV_FROM_FILE, CLV_FROM_COMMAND_LINE };

/* One setting as it was given: what the fields below were read from, and what print and a reload look at. */
struct clv_given {
	enum clv_origin origin;
	unsigned line, column; /* in the file, from 1 on */
	size_t count;          /* 0: nobody said anything, or an empty list */
	struct clv_given_item {
		char *text;
		char *value; /* of a map, whose key is `text`; else NULL */
		unsigned line, column;
	} * item;
};

struct clv_options {
	struct clv_given given[CLV_SETTINGS];
	const char *config_path; /* -c; NULL: none */

	/* Where to look: trace. */
	struct clv_strings ifaces, netns, cgroups;
	int attach;                                           /* enum clv_attach_mode, which is the source's */
	uint64_t duration_ns, snaplen, ring_bytes, max_flows; /* 0: no end; the source's own default */

	/* Whose: agent. */
	struct {
		enum clv_switch enabled;                           /* UNSET: if there is an API server to ask */
		const char *kubeconfig, *context, *node, *cluster; /* NULL: as found */
		struct clv_strings namespaces, selectors;
		enum clv_capture_choice capture;
		bool all_pods, service_labels;
		uint64_t name_wait_ns;
		const char *proc, *cgroup_root;
	} kube;

	enum clv_side_choice side;
	struct clv_port_rule ports[CLV_OPTION_REPEAT]; /* of a plugin's protocol once it is loaded (plugins.h) */
	size_t port_count;
	struct clv_egress_rule egress[CLV_OPTION_REPEAT];
	size_t egress_count;
	uint64_t memory_bytes;
	uint64_t workers; /* 0: as many as clv_run_workers() says */

	const char *service;       /* of what has no name of its own */
	struct clv_pairs services; /* by place, spelt as in ifaces, netns and cgroups */

	enum clv_output output;
	enum clv_color color;
	struct clv_filter filter;
	uint64_t limit; /* spans to show; 0: all */
	bool flows;
	bool hexdump;
	bool stats;
	const char *write_path; /* NULL: none, as below */
	const char *summary_path;

	struct {
		const char *endpoint, *traces_endpoint, *metrics_endpoint;
		enum clv_protocol_choice protocol;
		struct clv_pairs headers; /* secret */
		enum clv_compression_choice compression;
		uint64_t timeout_ns;
		const char *ca_path, *cert_path, *key_path;
		enum clv_switch metrics;
		uint64_t metrics_interval_ns;
		uint64_t batch_delay_ns, batch_max; /* spans */
	} otlp;
	uint64_t queue_bytes;
	const char *spool_dir;
	uint64_t spool_max_bytes;
	uint64_t flush_timeout_ns;

	struct {
		const char *listen; /* [ADDR]:PORT, ADDR:PORT or :PORT */
		uint64_t max_series;
		struct clv_numbers bounds; /* in seconds, rising */
	} metrics;

	struct clv_strings propagators; /* as OTEL_PROPAGATORS names them */
	enum clv_sampler_name sampler;
	double sample_ratio;  /* 0..1; 1 unless the sampler has an argument */
	uint64_t sample_rate; /* spans a second; 0: no limit */
	struct {
		bool errors;
		uint64_t slower_ns; /* 0: none */
	} keep;

	struct clv_strings routes;
	bool auto_route;
	bool show_statements;
	struct clv_strings plugins;
	struct clv_captures captures;
	struct clv_strings redact;
};

/* What a function below has against a value; for people, without the setting's name. */
#define CLV_OPTION_WHY 256

/*
 * A value as it may be shown: what stands between :// and @ may be a password. Returns `text`, or what it wrote to
 * `room`.
 */
#define CLV_OPTION_SHOWN (CLV_OPTION_TEXT + 16)
const char *clv_options_shown(const char *text, char room[CLV_OPTION_SHOWN]);

/* The defaults. Returns 0 or -ENOMEM; clv_options_fini() is due either way. */
int clv_options_init(struct clv_options *o);
/* May be called twice, and on a zeroed object. */
void clv_options_fini(struct clv_options *o);
/* The same again, with strings of its own. `out` is initialised by this; -ENOMEM as above. */
int clv_options_copy(struct clv_options *out, const struct clv_options *from);

/*
 * Gives a setting a value: the first one from an origin takes the place of what weaker ones said; further ones add
 * to a list or a map, and replace anything else. `value` is of a map's entry, otherwise NULL. `line` and `column` are
 * those of the file, or 0. Returns 0, -ENOMEM, or -EINVAL with the reason in `why`; then nothing has changed.
 * A weaker origin than the setting has is a bug: say things in the order of enum clv_origin.
 */
int clv_options_set(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, unsigned line,
		    unsigned column, const char *text, const char *value, char why[CLV_OPTION_WHY]);
/* A list or map that was given, and is empty. */
void clv_options_set_empty(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, unsigned line,
			   unsigned column);
/* As clv_options_set() from the command line or the environment, where a list stands between commas, a map's key
 * before "=". */
int clv_options_set_words(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, const char *text,
			  char why[CLV_OPTION_WHY]);

/* What `o` says of a setting has the same values in `other`. */
bool clv_options_same(const struct clv_options *o, const struct clv_options *other, enum clv_setting_id id);
/* Everything that `line` has from the command line, said again to `o`. 0 or -ENOMEM. */
int clv_options_say_again(struct clv_options *o, const struct clv_options *line);
/*
 * The environment's word on the settings that nobody else reads from there. What is not valid there is told in a
 * warning and left out, as OpenTelemetry asks. 0 or -ENOMEM.
 */
int clv_options_environment(struct clv_options *o);
/* The protocols of ports, by the registry as it is now. 0, or -EINVAL with the reason in `why`, and which text it is.
 */
int clv_options_ports(struct clv_options *o, size_t *entry, char why[CLV_OPTION_WHY]);
/*
 * Settings that do not go together: the first of them, which of its texts, and the reason in `why`; CLV_SETTINGS: none.
 * Where plugins are named, ports may have protocols that nobody knows yet.
 */
enum clv_setting_id clv_options_conflict(struct clv_options *o, size_t *entry, char why[CLV_OPTION_WHY]);

/*
 * Values of options. Each returns 0, or -EINVAL with *out untouched. Sizes take K, M and G (powers of 1024);
 * times a unit, or seconds without one; an address rule is [ADDR[/LEN]]:PORT[:POD-PREFIX][=record|ignore], IPv6 in
 * brackets, and borrows the prefix from the text.
 */
int clv_parse_size(const char *text, uint64_t *out);
int clv_parse_seconds(const char *text, uint64_t *ns);
int clv_parse_count(const char *text, uint64_t most, uint64_t *out);
int clv_parse_egress(const char *text, struct clv_egress_rule *out);

/*
 * The argp of a command's settings, with a struct clv_options as its input; -c among them, but the file is not read.
 * Lives as long as the process. One command a process.
 */
const struct argp *clv_options_argp(unsigned command);

#endif
