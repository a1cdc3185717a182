/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every setting there is, once: its key in the configuration file, its option, its environment variables, its type
 * and bounds, its default and its meaning. The options of the commands, the reader of the file, `clovisor config`
 * and the tables of docs/configuration.md all come from here. Const data: any thread.
 */
#ifndef CLV_CLI_SETTINGS_H
#define CLV_CLI_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

/* How many entries a list or a map may have; how often an option that may be repeated may be given. */
#define CLV_OPTION_REPEAT 64
/* Engines of a run. */
#define CLV_WORKERS_MOST 8
/* The longest text of one value, in bytes. */
#define CLV_OPTION_TEXT 8192

/* In the order of the table; a section's settings stand together. */
enum clv_setting_id {
	CLV_SET_INTERFACES,
	CLV_SET_NETNS,
	CLV_SET_CGROUPS,
	CLV_SET_ATTACH,
	CLV_SET_SIDE,
	CLV_SET_PORTS,
	CLV_SET_EGRESS,
	CLV_SET_MEMORY,
	CLV_SET_WORKERS,
	CLV_SET_DURATION,
	CLV_SET_SNAPLEN,
	CLV_SET_RING,
	CLV_SET_MAX_FLOWS,
	CLV_SET_KUBERNETES,
	CLV_SET_KUBECONFIG,
	CLV_SET_CONTEXT,
	CLV_SET_NODE,
	CLV_SET_NAMESPACES,
	CLV_SET_SELECTORS,
	CLV_SET_CAPTURE_POINT,
	CLV_SET_ALL_PODS,
	CLV_SET_SERVICE_LABELS,
	CLV_SET_CLUSTER,
	CLV_SET_NAME_WAIT,
	CLV_SET_PROC,
	CLV_SET_CGROUP_ROOT,
	CLV_SET_SERVICE,
	CLV_SET_SERVICES,
	CLV_SET_FORMAT,
	CLV_SET_COLOR,
	CLV_SET_FILTER,
	CLV_SET_LIMIT,
	CLV_SET_FLOWS,
	CLV_SET_HEXDUMP,
	CLV_SET_WRITE,
	CLV_SET_STATS,
	CLV_SET_SUMMARY,
	CLV_SET_OTLP,
	CLV_SET_OTLP_TRACES,
	CLV_SET_OTLP_METRICS_ENDPOINT,
	CLV_SET_OTLP_PROTOCOL,
	CLV_SET_OTLP_HEADERS,
	CLV_SET_OTLP_COMPRESSION,
	CLV_SET_OTLP_TIMEOUT,
	CLV_SET_OTLP_CA,
	CLV_SET_OTLP_CERT,
	CLV_SET_OTLP_KEY,
	CLV_SET_OTLP_METRICS,
	CLV_SET_OTLP_METRICS_INTERVAL,
	CLV_SET_BATCH_DELAY,
	CLV_SET_BATCH_MAX,
	CLV_SET_QUEUE,
	CLV_SET_SPOOL_DIR,
	CLV_SET_SPOOL_MAX,
	CLV_SET_FLUSH_TIMEOUT,
	CLV_SET_METRICS_LISTEN,
	CLV_SET_METRICS_SERIES,
	CLV_SET_METRICS_BOUNDS,
	CLV_SET_PROPAGATORS,
	CLV_SET_SAMPLER,
	CLV_SET_SAMPLE_RATE,
	CLV_SET_SAMPLE_KEEP,
	CLV_SET_ROUTES,
	CLV_SET_AUTO_ROUTE,
	CLV_SET_PLUGINS,
	CLV_SET_CAPTURE_HEADERS,
	CLV_SET_REDACT,
	CLV_SET_SHOW_STATEMENTS,
	CLV_SETTINGS
};

/* With the type of the field in struct clv_options. */
enum clv_setting_type {
	CLV_VALUE_FLAG,     /* bool */
	CLV_VALUE_SWITCH,   /* enum clv_switch */
	CLV_VALUE_COUNT,    /* uint64_t */
	CLV_VALUE_SIZE,     /* uint64_t, bytes */
	CLV_VALUE_TIME,     /* uint64_t, ns */
	CLV_VALUE_CHOICE,   /* int: the index of the word, from the setting's first_choice on */
	CLV_VALUE_TEXT,     /* const char * */
	CLV_VALUE_STRINGS,  /* struct clv_strings */
	CLV_VALUE_NUMBERS,  /* struct clv_numbers */
	CLV_VALUE_PAIRS,    /* struct clv_pairs */
	CLV_VALUE_OWN,      /* read by a function, one text */
	CLV_VALUE_OWN_LIST, /* read by a function, text by text */
};

enum clv_setting_flag {
	CLV_SETTING_NOW = 1 << 0,    /* a reload changes it at once; otherwise it takes a restart */
	CLV_SETTING_SECRET = 1 << 1, /* values are never shown */
	CLV_SETTING_WORDS = 1 << 2,  /* one option or variable has the whole list, between commas */
	CLV_SETTING_NUMBER = 1 << 3, /* in the file a number may stand for the text */
	CLV_SETTING_OTHERS = 1 << 4, /* the exporter reads the environment and knows the default; here it stays unset */
	CLV_SETTING_MS = 1 << 5,     /* the environment variable has milliseconds */
	CLV_SETTING_PATH = 1 << 6,   /* completion: a file */
};

enum {
	CLV_COMMAND_TRACE = 1,
	CLV_COMMAND_READ = 2,
	CLV_COMMAND_CONFIG = 4,
	CLV_COMMAND_AGENT = 8,
	CLV_COMMAND_BENCH = 16,
};

/* The headings of --help, in this order. */
enum clv_setting_group {
	CLV_GROUP_WHERE = 1,
	CLV_GROUP_PODS,
	CLV_GROUP_WHAT,
	CLV_GROUP_SHOW,
	CLV_GROUP_KEEP,
	CLV_GROUP_TAKE,
	CLV_GROUP_SEND,
	CLV_GROUP_METRICS,
	CLV_GROUP_TRACES,
	CLV_GROUP_PRIVACY,
};

struct clv_options;

struct clv_setting {
	const char *key;      /* path in the file: "export.otlp.endpoint" */
	const char *option;   /* without its dashes; NULL: none */
	const char *arg;      /* of the option, as in --help; NULL: a flag */
	const char *env[2];   /* variables, the stronger first; NULL: none */
	const char *fallback; /* the default; NULL: none */
	const char *help;     /* one sentence, without the default */
	const char *expect;   /* "it must be ..." */
	const char *pattern;  /* of its texts, for the schema; NULL: any */
	const char *const *choices;
	/* CLV_VALUE_OWN*: takes one text, which lives as long as `o`. 0 or -EINVAL, then *why may have the reason. */
	int (*take)(struct clv_options *o, const char *text, const char **why);
	/* CLV_VALUE_TEXT, _STRINGS, _PAIRS: may say no to a text (of a pair: the name and the value). */
	int (*check)(const char *text, const char *value);
	uint64_t least, most;  /* bounds of a number, in its unit; of a list: entries, most 0: 64 */
	uint32_t offset, size; /* the field that is zeroed before its values are read; take() may know others */
	uint16_t flags;        /* enum clv_setting_flag */
	uint8_t type, group, commands, first_choice;
	char letter; /* of the option; 0: none */
};

extern const struct clv_setting clv_settings[CLV_SETTINGS];

/* Lists and maps: what may have several values. */
static inline int clv_setting_is_list(const struct clv_setting *s)
{
	return s->type == CLV_VALUE_STRINGS || s->type == CLV_VALUE_NUMBERS || s->type == CLV_VALUE_PAIRS ||
	       s->type == CLV_VALUE_OWN_LIST;
}

/* How many entries a list or map may have. */
static inline size_t clv_setting_entries(const struct clv_setting *s)
{
	return s->most ? (size_t)s->most : CLV_OPTION_REPEAT;
}

/* Insertions, deletions and changes that make one word of the other; words beyond 31 letters are just far. */
unsigned clv_word_distance(const char *a, const char *b);
/* Farther than this is another word. */
#define CLV_WORD_NEAR 3

#endif
