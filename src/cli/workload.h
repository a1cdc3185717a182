/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workload behind a place of capture is called. The name is the first of: --service PLACE=NAME for the
 * interface or the namespace, --service NAME for all, the namespace as --netns names it, the interface where it leads
 * to a pod; else OpenTelemetry's unknown_service. (OTEL_SERVICE_NAME would name clovisor, not what it watches.)
 *
 * Every resource has OTEL_RESOURCE_ATTRIBUTES besides: what is true of all this machine runs, as its cluster.
 */
#ifndef CLV_CLI_WORKLOAD_H
#define CLV_CLI_WORKLOAD_H

#include "cli/options.h"
#include "model/resource.h"

#define CLV_SERVICE_UNKNOWN "unknown_service"

/* --service [PLACE=]NAME. */
struct clv_service_rule {
	struct clv_slice place; /* empty: all */
	struct clv_slice name;
};

/* A place of capture, as far as it has names; each may be empty. */
struct clv_workload_place {
	struct clv_slice interface; /* its name */
	struct clv_slice netns;     /* as it was given to --netns: a name, a path, a process id */
	struct clv_slice cgroup;    /* as it was given to --cgroup: a path */
	bool pod;                   /* the interface leads to a pod */
};

/* The rules of the options, which lend their strings: more than fit are not there. Returns how many. */
#define CLV_SERVICE_RULES (CLV_OPTION_REPEAT + 1)
size_t clv_workload_rules(const struct clv_options *o, struct clv_service_rule rules[CLV_SERVICE_RULES]);

/* Borrowed from the arguments, or static. */
struct clv_slice clv_workload_service(const struct clv_service_rule *rules, size_t count,
				      const struct clv_workload_place *place);

/*
 * Attributes that all resources share, from OTEL_RESOURCE_ATTRIBUTES (Resource SDK specification: key=value pairs
 * between commas, percent-encoded). A text that is wrong anywhere counts as empty, as the specification says.
 */
struct clv_workload_common {
	size_t count;
	struct clv_resource_attr attr[CLV_RESOURCE_ATTRS - 4];
	char text[CLV_RESOURCE_BYTES / 2];
};

/* `text` may be NULL. Returns 0, or -EINVAL and no attributes. */
int clv_workload_common(struct clv_workload_common *c, const char *text);

/* What OTEL_RESOURCE_ATTRIBUTES says; a warning, once, when it makes no sense. Main thread. */
const struct clv_workload_common *clv_workload_environment(void);

/* A table whose default is what the options say of a place without names. Returns as clv_resources_new(). */
int clv_workload_resources(const struct clv_options *o, struct clv_resources **out);

/*
 * Names what is captured at `net`; nothing happens where it has all these names already. Returns what
 * clv_resources_set() does.
 */
int clv_workload_set(struct clv_resources *rs, uint32_t net, struct clv_slice service,
		     const struct clv_workload_place *place, const struct clv_workload_common *common);

/*
 * The same with these attributes besides the common ones; of a key that is twice there the first counts. What does not
 * fit is left out.
 */
int clv_workload_set_attrs(struct clv_resources *rs, uint32_t net, struct clv_slice service,
			   const struct clv_resource_attr *attrs, size_t count,
			   const struct clv_workload_common *common);

#endif
