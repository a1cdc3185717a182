/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of settings, and the readers of those values that have a form of their own. Owns nothing, never acts on
 * a value. Main thread.
 */
#include "cli/settings.h"

#include <errno.h>
#include <math.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "kube/selector.h"
#include "source/ring.h"

/* Less than this holds no connection with long heads. */
#define MEMORY_LEAST (1u << 20)
/* Headers to the collector, bounds of a histogram, headers kept in a span, and patterns tried on each text. */
#define HEADERS_MOST  32
#define BOUNDS_MOST   32
#define CAPTURES_MOST 16
#define REDACT_MOST   16
#define PLUGINS_MOST  16
/* The longest template of a path. */
#define ROUTE_BYTES 512
#define DAY_NS      (24ull * 3600 * 1000000000)

/* ---- texts that are checked ---------------------------------------------------------------------------------- */

static int check_iface(const char *text, const char *value)
{
	return strlen(text) < IF_NAMESIZE ? 0 : -EINVAL;
}

static int check_service(const char *text, const char *value)
{
	size_t len = strlen(value ? value : text);

	return len && len <= CLV_SERVICE_MAX ? 0 : -EINVAL;
}

static int check_write(const char *text, const char *value)
{
	return strcmp(text, "-") == 0 ? -EINVAL : 0;
}

/* SCHEME://HOST..., one of the schemes of the OTLP exporters. */
static int check_url(const char *text, const char *value)
{
	static const char *const schemes[] = {"http://", "https://", "grpc://", "grpcs://"};

	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return -EINVAL;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		const char *host = text + strlen(schemes[i]);

		if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
			return *host && !strchr("/:?#", *host) ? 0 : -EINVAL;
	}
	return -EINVAL;
}

/* A token of RFC 9110 section 5.6.2. */
static bool is_token(const char *text)
{
	static const char letters[] = "!#$%&'*+-.^_`|~0123456789"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	return *text && text[strspn(text, letters)] == '\0';
}

/* Nothing in a value may end the line of the request. */
static int check_header(const char *name, const char *value)
{
	if (!is_token(name))
		return -EINVAL;
	for (const char *c = value; *c; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return -EINVAL;
	return 0;
}

static bool is_host_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";

	return ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z') && text[strspn(text, letters)] == '\0';
}

/* [ADDR]:PORT, ADDR:PORT, NAME:PORT or :PORT. */
static int check_listen(const char *text, const char *value)
{
	const char *colon = strrchr(text, ':');
	char addr[CLV_ADDR_TEXT + 2];
	struct clv_addr parsed;
	uint64_t port;

	if (!colon || clv_parse_count(colon + 1, UINT16_MAX, &port))
		return -EINVAL;
	size_t len = (size_t)(colon - text);
	if (len == 0)
		return 0;
	bool bracket = text[0] == '[' && text[len - 1] == ']';
	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text + bracket, len - 2 * (size_t)bracket);
	addr[len - 2 * (size_t)bracket] = '\0';
	if (!bracket && is_host_name(addr))
		return 0;
	return clv_addr_parse(addr, &parsed) || (strchr(addr, ':') != NULL) != bracket ? -EINVAL : 0;
}

/* A label of RFC 1123, as names of namespaces are. */
static int check_namespace(const char *text, const char *value)
{
	size_t len = strlen(text);

	if (strcmp(text, "*") == 0)
		return 0;
	return len && len <= 63 && text[0] != '-' && text[len - 1] != '-' &&
			       text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0'
		       ? 0
		       : -EINVAL;
}

/* A subdomain of RFC 1123. */
static int check_node(const char *text, const char *value)
{
	return *text && strlen(text) <= 253 && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.")] == '\0'
		       ? 0
		       : -EINVAL;
}

static int check_selector(const char *text, const char *value)
{
	char why[CLV_KUBE_SELECTOR_WHY];
	struct clv_kube_selector *selector;
	int err = clv_kube_selector_parse(text, &selector, why);

	if (!err)
		clv_kube_selector_free(selector);
	return err;
}

/* {name}, * or, at the end of a path, {name...}; or a word without any of these letters. */
static bool is_route_segment(struct clv_slice s, bool last)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	if (s.len > 2 && s.data[0] == '{' && s.data[s.len - 1] == '}') {
		bool rest = s.len > 5 && memcmp(s.data + s.len - 4, "...", 3) == 0;
		size_t n = strspn((const char *)s.data + 1, letters);

		return n + 2 == s.len && (!rest || last);
	}
	return clv_slice_eq(s, CLV_LIT("*")) ||
	       !(memchr(s.data, '{', s.len) || memchr(s.data, '}', s.len) || memchr(s.data, '*', s.len));
}

static int check_route(const char *text, const char *value)
{
	struct clv_slice route = clv_slice_str(text);

	if (*text != '/' || route.len > ROUTE_BYTES)
		return -EINVAL;
	for (size_t i = 0; i < route.len; i++)
		if (route.data[i] <= ' ' || route.data[i] == 0x7f || route.data[i] == '?' || route.data[i] == '#')
			return -EINVAL;
	for (size_t from = 1; from <= route.len;) {
		size_t end = clv_slice_find(route, from, '/');

		if (!is_route_segment(clv_slice(route.data + from, end - from), end == route.len))
			return -EINVAL;
		from = end + 1;
	}
	return 0;
}

static int check_propagator(const char *text, const char *value)
{
	static const char *const known[] = {"tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "none"};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(text, known[i]) == 0)
			return 0;
	return -EINVAL;
}

/* What is found in a library directory is not what was meant. */
static int check_plugin(const char *text, const char *value)
{
	return strchr(text, '/') && text[strlen(text) - 1] != '/' ? 0 : -EINVAL;
}

static bool is_protocol(const char *text)
{
	return *text >= 'a' && *text <= 'z' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_")] == '\0';
}

/* ---- values of their own form ---------------------------------------------------------------------------------- */

static int take_port(struct clv_options *o, const char *text, const char **why)
{
	const char *colon = strchr(text, ':');
	struct clv_port_rule rule = {0};
	char number[8] = "";
	uint64_t port;
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	if (len < sizeof(number))
		memcpy(number, text, len);
	if (clv_parse_count(number, UINT16_MAX, &port))
		return -EINVAL;
	/* A plugin may bring the protocol: whether there is one is seen when all is said (clv_options_conflict()). */
	if (colon && !is_protocol(colon + 1))
		return -EINVAL;
	if (colon)
		rule.proto = clv_proto_find(colon + 1);
	rule.port = (uint16_t)port;
	o->ports[o->port_count++] = rule;
	return 0;
}

static int take_egress(struct clv_options *o, const char *text, const char **why)
{
	int err = clv_parse_egress(text, &o->egress[o->egress_count]);

	o->egress_count += !err;
	return err;
}

static int take_filter(struct clv_options *o, const char *text, const char **why)
{
	return clv_filter_add(&o->filter, text, why);
}

/* strtod() without signs, blanks, "inf" and hexadecimal. */
static int take_decimal(const char *text, double *out)
{
	char *end;

	if (*text < '0' || *text > '9' || text[strspn(text, "0123456789.eE+-")])
		return -EINVAL;
	double v = strtod(text, &end);
	if (*end || !isfinite(v))
		return -EINVAL;
	*out = v;
	return 0;
}

static int take_sampler(struct clv_options *o, const char *text, const char **why)
{
	static const char *const names[] = {
		[CLV_SAMPLER_ALWAYS_ON] = "always_on",
		[CLV_SAMPLER_ALWAYS_OFF] = "always_off",
		[CLV_SAMPLER_RATIO] = "traceidratio",
		[CLV_SAMPLER_PARENT_ALWAYS_ON] = "parentbased_always_on",
		[CLV_SAMPLER_PARENT_ALWAYS_OFF] = "parentbased_always_off",
		[CLV_SAMPLER_PARENT_RATIO] = "parentbased_traceidratio",
	};
	size_t len = strcspn(text, "="), i = 0, count = sizeof(names) / sizeof(*names);
	double ratio = 1;

	while (i < count && (strlen(names[i]) != len || strncmp(names[i], text, len) != 0))
		i++;
	if (i == count)
		return -EINVAL;
	if (text[len]) {
		*why = "only traceidratio and parentbased_traceidratio have an argument, a number from 0 to 1";
		if ((i != CLV_SAMPLER_RATIO && i != CLV_SAMPLER_PARENT_RATIO) || take_decimal(text + len + 1, &ratio) ||
		    ratio > 1)
			return -EINVAL;
	}
	o->sampler = (enum clv_sampler_name)i;
	o->sample_ratio = ratio;
	return 0;
}

static int take_keep(struct clv_options *o, const char *text, const char **why)
{
	static const char slower[] = "slower=";
	uint64_t ns;

	if (strcmp(text, "errors") == 0) {
		o->keep.errors = true;
		return 0;
	}
	if (strncmp(text, slower, sizeof(slower) - 1) != 0)
		return -EINVAL;
	*why = "a duration is a number with its unit: slower=250ms (ns, us, ms, s, m, h)";
	if (clv_duration_parse(text + sizeof(slower) - 1, &ns) || ns == 0)
		return -EINVAL;
	o->keep.slower_ns = ns;
	return 0;
}

/* The text is the options' own: letters are folded in place, so that names can be compared as they are. */
static int take_capture(struct clv_options *o, const char *text, const char **why)
{
	static const char request[] = "request:", response[] = "response:";
	bool only_request = strncmp(text, request, sizeof(request) - 1) == 0;
	bool only_response = strncmp(text, response, sizeof(response) - 1) == 0;
	const char *name = only_request    ? text + sizeof(request) - 1
			   : only_response ? text + sizeof(response) - 1
					   : text;

	if (!is_token(name))
		return -EINVAL;
	for (char *c = (char *)name; *c; c++)
		*c = (char)clv_ascii_lower((uint8_t)*c);
	size_t i = o->captures.count++;
	o->captures.item[i].name = name;
	o->captures.item[i].request = !only_response;
	o->captures.item[i].response = !only_request;
	return 0;
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

static const char *const attach_words[] = {"auto", "tcx", "clsact", NULL};
static const char *const side_words[] = {"auto", "pod", "host", NULL};
static const char *const capture_words[] = {"auto", "interface", "cgroup", NULL};
static const char *const format_words[] = {"auto", "text", "json", "none", NULL};
static const char *const color_words[] = {"auto", "always", "never", NULL};
static const char *const protocol_words[] = {"http/protobuf", "grpc", "http/json", NULL};
static const char *const compression_words[] = {"none", "gzip", NULL};

#define FIELD(member) \
	.offset = (uint32_t)offsetof(struct clv_options, member), .size = sizeof(((struct clv_options *)0)->member)
#define ALL    (CLV_COMMAND_TRACE | CLV_COMMAND_READ | CLV_COMMAND_AGENT | CLV_COMMAND_CONFIG)
#define ENGINE (ALL | CLV_COMMAND_BENCH)
#define LIVE   (CLV_COMMAND_TRACE | CLV_COMMAND_AGENT | CLV_COMMAND_CONFIG)
#define TRACE  (CLV_COMMAND_TRACE | CLV_COMMAND_CONFIG)
#define AGENT  (CLV_COMMAND_AGENT | CLV_COMMAND_CONFIG)
/* Not the agent's: it knows whose an interface is. */
#define PLACES (CLV_COMMAND_TRACE | CLV_COMMAND_READ | CLV_COMMAND_CONFIG)
#define SIDE   (PLACES | CLV_COMMAND_BENCH)

#define SIZE_PATTERN     "^[0-9]+([KMGkmg]([iI][bB])?)?$"
#define TIME_PATTERN     "^([0-9]+|[0-9]+[.]?[0-9]*(ns|us|ms|s|m|h))$"
#define EXPECT_URL       "it must be http://, https://, grpc:// or grpcs:// with a host, as in http://collector:4318"
#define URL_PATTERN      "^([hH][tT][tT][pP]|[gG][rR][pP][cC])[sS]?://[^/:?#\\s]\\S*$"
#define EXPECT_OTLP_TIME "it must be a time from 1ms to 1h, as in 10s"
#define NODE_PATTERN     "^[a-z0-9.-]{1,253}$"
#define EXPECT_FILE      "it must be the name of a file"

const struct clv_setting clv_settings[CLV_SETTINGS] = {
	[CLV_SET_INTERFACES] = {.key = "capture.interfaces",
				.option = "interface",
				.letter = 'i',
				.arg = "IFACE",
				.type = CLV_VALUE_STRINGS,
				FIELD(ifaces),
				.check = check_iface,
				.commands = TRACE,
				.group = CLV_GROUP_WHERE,
				.pattern = "^.{1,15}$",
				.expect = "an interface's name has 1 to 15 letters",
				.help = "This interface (repeatable)"},
	[CLV_SET_NETNS] = {.key = "capture.netns",
			   .option = "netns",
			   .arg = "NAME|PID|PATH",
			   .type = CLV_VALUE_STRINGS,
			   FIELD(netns),
			   .commands = TRACE,
			   .group = CLV_GROUP_WHERE,
			   .flags = CLV_SETTING_NUMBER,
			   .expect = "it must be a name of ip netns, a process id or a path",
			   .help = "The interfaces that lead into this network namespace (repeatable)"},
	[CLV_SET_CGROUPS] = {.key = "capture.cgroups",
			     .option = "cgroup",
			     .arg = "PATH",
			     .type = CLV_VALUE_STRINGS,
			     FIELD(cgroups),
			     .commands = TRACE,
			     .group = CLV_GROUP_WHERE,
			     .pattern = "^.{1,4095}$",
			     .expect = "it must be a directory of cgroup v2, or below where that is mounted",
			     .help = "What the processes of this cgroup v2 send and receive, also within the pod and "
				     "past its interfaces (repeatable)"},
	[CLV_SET_ATTACH] = {.key = "capture.attach",
			    .option = "attach",
			    .arg = "auto|tcx|clsact",
			    .type = CLV_VALUE_CHOICE,
			    FIELD(attach),
			    .choices = attach_words,
			    .commands = LIVE,
			    .group = CLV_GROUP_WHERE,
			    .fallback = "auto",
			    .expect = "it must be auto, tcx or clsact",
			    .help = "How: tcx needs Linux 6.6. auto: tcx where there is one"},
	[CLV_SET_SIDE] = {.key = "capture.side",
			  .option = "side",
			  .arg = "auto|pod|host",
			  .type = CLV_VALUE_CHOICE,
			  FIELD(side),
			  .choices = side_words,
			  .commands = SIDE,
			  .group = CLV_GROUP_WHAT,
			  .fallback = "auto",
			  .expect = "it must be auto, pod or host",
			  .help = "Whose requests come in and go out: the pod's behind a veth, or this host's"},
	[CLV_SET_PORTS] = {.key = "capture.ports",
			   .option = "port",
			   .arg = "PORT[:PROTO]",
			   .type = CLV_VALUE_OWN_LIST,
			   FIELD(port_count),
			   .take = take_port,
			   .commands = ENGINE,
			   .group = CLV_GROUP_WHAT,
			   .flags = CLV_SETTING_NUMBER,
			   .pattern = "^[0-9]{1,5}(:[a-z][a-z0-9_-]*)?$",
			   .expect = "a port is a number from 1 to 65535, as in 8080 or 8080:http",
			   .help = "Look only at this server port, and take its protocol from here (repeatable). "
				   "Without it every port is looked at and the bytes decide"},
	[CLV_SET_EGRESS] = {.key = "capture.egress",
			    .option = "egress",
			    .arg = "ADDR[/LEN]:PORT[:POD][=record|ignore]",
			    .type = CLV_VALUE_OWN_LIST,
			    FIELD(egress_count),
			    .take = take_egress,
			    .commands = ENGINE,
			    .group = CLV_GROUP_WHAT,
			    .pattern = ":[0-9]{1,5}(:[a-z0-9][a-z0-9.-]*)?(=(record|ignore))?$",
			    .expect = "it must be ADDR:PORT, ADDR/LEN:PORT or :PORT, with IPv6 in brackets; then, if "
				      "wanted, : and how the pod's name begins, and =record or =ignore",
			    .help = "Of the requests going out, trace those to this address and port; :PORT is any "
				    "address (repeatable). IPv6: [2001:db8::]/32:443. With POD, of pods only whose "
				    "name begins so. The first rule that matches decides; =ignore leaves out instead, "
				    "and where no rule records, all else is traced"},
	[CLV_SET_MEMORY] = {.key = "capture.memory",
			    .option = "memory",
			    .arg = "SIZE",
			    .type = CLV_VALUE_SIZE,
			    FIELD(memory_bytes),
			    .least = MEMORY_LEAST,
			    .most = SIZE_MAX / 2,
			    .commands = ENGINE,
			    .group = CLV_GROUP_KEEP,
			    .fallback = "64M",
			    .pattern = SIZE_PATTERN,
			    .expect = "it must be a size from 1M on, as in 64M",
			    .help = "Budget for connections and unanswered requests"},
	[CLV_SET_WORKERS] = {.key = "capture.workers",
			     .option = "workers",
			     .arg = "N",
			     .type = CLV_VALUE_COUNT,
			     FIELD(workers),
			     .least = 1,
			     .most = CLV_WORKERS_MOST,
			     .commands = ALL,
			     .group = CLV_GROUP_KEEP,
			     .expect = "it must be a number from 1 to 8",
			     .help = "Threads that share the connections. Without it: live one for every 4 "
				     "processors, up to 4 of them; for a file 1"},
	[CLV_SET_DURATION] = {.key = "capture.duration",
			      .option = "duration",
			      .arg = "TIME",
			      .type = CLV_VALUE_TIME,
			      FIELD(duration_ns),
			      .least = 1,
			      .most = UINT64_MAX,
			      .commands = LIVE,
			      .group = CLV_GROUP_TAKE,
			      .pattern = TIME_PATTERN,
			      .expect = "it must be a time, as in 30s or 5m",
			      .help = "End after this time: 30s, 5m, 1h"},
	[CLV_SET_SNAPLEN] = {.key = "capture.snaplen",
			     .option = "snaplen",
			     .arg = "BYTES",
			     .type = CLV_VALUE_COUNT,
			     FIELD(snaplen),
			     .least = 1,
			     .most = CLV_REC_MAX_CAP,
			     .commands = LIVE,
			     .group = CLV_GROUP_TAKE,
			     .expect = "it must be a number of bytes from 1 to 65536",
			     .help = "Take at most so many payload bytes of a packet. Without it what parsers need"},
	[CLV_SET_RING] = {.key = "capture.ring",
			  .option = "ring",
			  .arg = "SIZE",
			  .type = CLV_VALUE_SIZE,
			  FIELD(ring_bytes),
			  .least = 4096,
			  .most = 1u << 30,
			  .commands = LIVE,
			  .group = CLV_GROUP_TAKE,
			  .fallback = "8M",
			  .pattern = SIZE_PATTERN,
			  .expect = "it must be a size from 4K to 1G, as in 8M",
			  .help = "Room between the kernel half and clovisor"},
	[CLV_SET_MAX_FLOWS] = {.key = "capture.max_flows",
			       .option = "max-flows",
			       .arg = "N",
			       .type = CLV_VALUE_COUNT,
			       FIELD(max_flows),
			       .least = 1,
			       .most = 1u << 24,
			       .commands = LIVE,
			       .group = CLV_GROUP_TAKE,
			       .fallback = "65536",
			       .expect = "it must be a number from 1 to 16777216",
			       .help = "Connections that the kernel half remembers"},
	[CLV_SET_KUBERNETES] = {.key = "kubernetes.enabled",
				.option = "kubernetes",
				.arg = "true|false",
				.type = CLV_VALUE_SWITCH,
				FIELD(kube.enabled),
				.commands = AGENT,
				.group = CLV_GROUP_PODS,
				.help = "Ask the Kubernetes API which pods there are; false: trace the containers of "
					"this host. Without it: true in a pod, or where a kubeconfig is named"},
	[CLV_SET_KUBECONFIG] = {.key = "kubernetes.kubeconfig",
				.option = "kubeconfig",
				.arg = "FILE",
				.type = CLV_VALUE_TEXT,
				FIELD(kube.kubeconfig),
				.commands = AGENT,
				.group = CLV_GROUP_PODS,
				.flags = CLV_SETTING_PATH,
				.expect = EXPECT_FILE,
				.help = "Where the API server is and who we are. Without it KUBECONFIG, or the pod's "
					"service account"},
	[CLV_SET_CONTEXT] = {.key = "kubernetes.context",
			     .option = "context",
			     .arg = "NAME",
			     .type = CLV_VALUE_TEXT,
			     FIELD(kube.context),
			     .commands = AGENT,
			     .group = CLV_GROUP_PODS,
			     .expect = "it must be the name of a context in the kubeconfig",
			     .help = "The kubeconfig's context. Without it its current-context"},
	[CLV_SET_NODE] = {.key = "kubernetes.node",
			  .option = "node",
			  .arg = "NAME",
			  .type = CLV_VALUE_TEXT,
			  FIELD(kube.node),
			  .check = check_node,
			  .env = {"NODE_NAME"},
			  .commands = AGENT,
			  .group = CLV_GROUP_PODS,
			  .pattern = NODE_PATTERN,
			  .expect = "it must be the name of a node: small letters, digits, '-' and '.'",
			  .help = "Trace the pods of this node. Without it the host's name"},
	[CLV_SET_NAMESPACES] =
		{.key = "kubernetes.namespaces",
		 .option = "namespace",
		 .letter = 'n',
		 .arg =
			 "NAME",
		 .type = CLV_VALUE_STRINGS,
		 FIELD(kube.namespaces),
		 .check = check_namespace,
		 .commands = AGENT,
		 .group = CLV_GROUP_PODS,
		 .flags = CLV_SETTING_NOW | CLV_SETTING_WORDS,
		 .pattern = "^([*]|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$",
		 .expect = "it must be the name of a namespace, or * for all",
		 .help = "Trace the pods of this namespace; * for all (repeatable). Without it: default. "
			 "A pod's annotation clovisor.io/trace counts for more"},
	[CLV_SET_SELECTORS] =
		{.key = "kubernetes.selectors",
		 .option = "selector",
		 .letter = 'l',
		 .arg =
			 "SELECTOR",
		 .type = CLV_VALUE_STRINGS,
		 FIELD(kube.selectors),
		 .check = check_selector,
		 .commands = AGENT,
		 .group = CLV_GROUP_PODS,
		 .flags = CLV_SETTING_NOW,
		 .expect = "it must be a label selector, as in app=web,tier in (front,back),!canary",
		 .help = "Of these, trace pods with such labels, written as for kubectl -l (repeatable: any "
			 "of them)"},
	[CLV_SET_CAPTURE_POINT] =
		{.key = "kubernetes.capture",
		 .option = "capture",
		 .arg =
			 "auto|interface|cgroup",
		 .type = CLV_VALUE_CHOICE,
		 FIELD(kube.capture),
		 .choices = capture_words,
		 .commands = AGENT,
		 .group = CLV_GROUP_PODS,
		 .fallback = "auto",
		 .expect = "it must be auto, interface or cgroup",
		 .help = "Where a pod's packets are seen: at the interface that leads to it, or at its "
			 "cgroup. auto: at its interface, if it has one of its own"},
	[CLV_SET_ALL_PODS] = {.key = "kubernetes.all_pods",
			      .option = "all-pods",
			      .type = CLV_VALUE_FLAG,
			      FIELD(kube.all_pods),
			      .commands = AGENT,
			      .group = CLV_GROUP_PODS,
			      .fallback = "false",
			      .help = "Follow the pods of all nodes, so that those which no Service selects have names "
				      "as peers, too; costs the API server more"},
	[CLV_SET_SERVICE_LABELS] = {.key = "kubernetes.service_labels",
				    .option = "service-labels",
				    .type = CLV_VALUE_FLAG,
				    FIELD(kube.service_labels),
				    .commands = AGENT,
				    .group = CLV_GROUP_PODS,
				    .fallback = "false",
				    .help = "Labels app.kubernetes.io/instance, name and version of a pod give "
					    "service.name and service.version"},
	[CLV_SET_CLUSTER] = {.key = "kubernetes.cluster",
			     .option = "cluster",
			     .arg = "NAME",
			     .type = CLV_VALUE_TEXT,
			     FIELD(kube.cluster),
			     .check = check_service,
			     .commands = AGENT,
			     .group = CLV_GROUP_PODS,
			     .pattern = "^.{1,255}$",
			     .expect = "a name has 1 to 255 bytes",
			     .help = "k8s.cluster.name of all spans"},
	[CLV_SET_NAME_WAIT] =
		{.key = "kubernetes.name_wait",
		 .option = "name-wait",
		 .arg =
			 "TIME",
		 .type = CLV_VALUE_TIME,
		 FIELD(kube.name_wait_ns),
		 .most = 60ull * 1000000000,
		 .commands = AGENT,
		 .group = CLV_GROUP_PODS,
		 .fallback = "1s",
		 .pattern = TIME_PATTERN,
		 .expect = "it must be a time up to 60s, as in 1s",
		 .help = "How long a span waits for the name of a peer inside the cluster that is not known "
			 "yet"},
	[CLV_SET_PROC] = {.key = "kubernetes.proc",
			  .option = "proc",
			  .arg = "DIR",
			  .type = CLV_VALUE_TEXT,
			  FIELD(kube.proc),
			  .commands = AGENT,
			  .group = CLV_GROUP_PODS,
			  .fallback = "/proc",
			  .flags = CLV_SETTING_PATH,
			  .expect = "it must be the name of a directory",
			  .help = "The host's /proc"},
	[CLV_SET_CGROUP_ROOT] = {.key = "kubernetes.cgroup",
				 .option = "cgroup-root",
				 .arg = "DIR",
				 .type = CLV_VALUE_TEXT,
				 FIELD(kube.cgroup_root),
				 .commands = AGENT,
				 .group = CLV_GROUP_PODS,
				 .fallback = "/sys/fs/cgroup",
				 .flags = CLV_SETTING_PATH,
				 .expect = "it must be the name of a directory",
				 .help = "The host's /sys/fs/cgroup"},
	[CLV_SET_SERVICE] = {.key = "service.name",
			     .option = "service",
			     .arg = "[WHERE=]NAME",
			     .type = CLV_VALUE_TEXT,
			     FIELD(service),
			     .check = check_service,
			     .commands = ALL,
			     .group = CLV_GROUP_SEND,
			     .fallback = "unknown_service",
			     .flags = CLV_SETTING_NOW,
			     .pattern = "^.{1,255}$",
			     .expect = "a name has 1 to 255 bytes",
			     .help = "service.name of the spans, with WHERE of those at this interface, network "
				     "namespace or cgroup, as -i, --netns and --cgroup name it (repeatable). Nobody "
				     "named is called as the namespace, as the cgroup, or as the interface that "
				     "leads to a pod"},
	[CLV_SET_SERVICES] =
		{.key = "service.by_place",
		 .type = CLV_VALUE_PAIRS,
		 FIELD(services),
		 .check = check_service,
		 .commands = PLACES,
		 .group = CLV_GROUP_SEND,
		 .flags = CLV_SETTING_NOW,
		 .pattern = "^.{1,255}$",
		 .expect = "a name has 1 to 255 bytes",
		 .help = "service.name by interface, network namespace or cgroup, as -i, --netns and --cgroup "
			 "name it"},
	[CLV_SET_FORMAT] =
		{.key = "output.format",
		 .option = "output",
		 .letter = 'o',
		 .arg =
			 "auto|text|json|none",
		 .type = CLV_VALUE_CHOICE,
		 FIELD(output),
		 .choices = format_words,
		 .commands = ALL,
		 .group = CLV_GROUP_SHOW,
		 .fallback = "auto",
		 .expect = "it must be auto, text, json or none",
		 .help = "What standard output gets: one line for people or one JSON object for each request, "
			 "or nothing. auto: text, but nothing with --otlp or --metrics"},
	[CLV_SET_COLOR] = {.key = "output.color",
			   .option = "color",
			   .arg = "auto|always|never",
			   .type = CLV_VALUE_CHOICE,
			   FIELD(color),
			   .choices = color_words,
			   .commands = ALL,
			   .group = CLV_GROUP_SHOW,
			   .fallback = "auto",
			   .expect = "it must be auto, always or never",
			   .help = "auto: on a terminal, unless NO_COLOR is set"},
	[CLV_SET_FILTER] = {.key = "output.filter",
			    .option = "filter",
			    .arg = "FILTER",
			    .type = CLV_VALUE_OWN_LIST,
			    FIELD(filter),
			    .take = take_filter,
			    .commands = ALL,
			    .group = CLV_GROUP_SHOW,
			    .flags = CLV_SETTING_NOW,
			    .pattern = "^.+$",
			    .expect = "it must be KEY=VALUE, or an expression such as 'status == error'",
			    .help = "Show only requests that match: method=GET, path=/api/*, status=404 or 5xx, "
				    "min-duration=10ms, or an expression over attributes, as in "
				    "'db.system.name == redis && duration > 10ms' (repeatable: all must match, of "
				    "several values of a key one)"},
	[CLV_SET_LIMIT] = {.key = "output.limit",
			   .option = "limit",
			   .arg = "N",
			   .type = CLV_VALUE_COUNT,
			   FIELD(limit),
			   .least = 1,
			   .most = UINT64_MAX,
			   .commands = ALL,
			   .group = CLV_GROUP_SHOW,
			   .expect = "it must be a number from 1 on",
			   .help = "End after N requests were shown"},
	[CLV_SET_FLOWS] =
		{.key = "output.flows",
		 .option = "flows",
		 .type = CLV_VALUE_FLAG,
		 FIELD(flows),
		 .commands = ALL,
		 .group = CLV_GROUP_SHOW,
		 .fallback = "false",
		 .help = "Also show each connection when it ends, whoever speaks what on it: who, how long, how "
			 "much, how it ended, and what it was taken for"},
	[CLV_SET_HEXDUMP] = {.key = "output.hexdump",
			     .option = "hexdump",
			     .type = CLV_VALUE_FLAG,
			     FIELD(hexdump),
			     .commands = ALL,
			     .group = CLV_GROUP_SHOW,
			     .fallback = "false",
			     .flags = CLV_SETTING_NOW,
			     .help = "Also print the first 256 payload bytes of every packet on standard error"},
	[CLV_SET_WRITE] = {.key = "output.write",
			   .option = "write",
			   .letter = 'w',
			   .arg = "FILE.pcapng",
			   .type = CLV_VALUE_TEXT,
			   FIELD(write_path),
			   .check = check_write,
			   .commands = ALL,
			   .group = CLV_GROUP_KEEP,
			   .flags = CLV_SETTING_PATH,
			   .expect = "it must be a file; standard output is for the requests",
			   .help = "Also write what was captured; clovisor read gives the same requests from it"},
	[CLV_SET_STATS] = {.key = "output.stats",
			   .option = "stats",
			   .type = CLV_VALUE_FLAG,
			   FIELD(stats),
			   .commands = ALL,
			   .group = CLV_GROUP_KEEP,
			   .fallback = "false",
			   .flags = CLV_SETTING_NOW,
			   .help = "Every second: packets, records, requests, and every loss by its reason"},
	[CLV_SET_SUMMARY] = {.key = "output.summary",
			     .option = "summary",
			     .arg = "FILE",
			     .type = CLV_VALUE_TEXT,
			     FIELD(summary_path),
			     .commands = ALL,
			     .group = CLV_GROUP_KEEP,
			     .flags = CLV_SETTING_PATH,
			     .expect = EXPECT_FILE,
			     .help = "At the end write the figures as one JSON object"},
	[CLV_SET_OTLP] = {.key = "export.otlp.endpoint",
			  .option = "otlp",
			  .arg = "URL",
			  .type = CLV_VALUE_TEXT,
			  FIELD(otlp.endpoint),
			  .env = {"OTEL_EXPORTER_OTLP_ENDPOINT"},
			  .check = check_url,
			  .commands = ALL,
			  .group = CLV_GROUP_SEND,
			  .flags = CLV_SETTING_OTHERS,
			  .expect = EXPECT_URL,
			  .pattern = URL_PATTERN,
			  .help = "Send spans and metrics to this OpenTelemetry collector: http://HOST:4318, or "
				  "grpc://HOST:4317; https and grpcs are with TLS"},
	[CLV_SET_OTLP_TRACES] = {.key = "export.otlp.traces_endpoint",
				 .type = CLV_VALUE_TEXT,
				 FIELD(otlp.traces_endpoint),
				 .env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
				 .check = check_url,
				 .commands = ALL,
				 .group = CLV_GROUP_SEND,
				 .flags = CLV_SETTING_OTHERS,
				 .expect = EXPECT_URL,
				 .pattern = URL_PATTERN,
				 .help = "Where spans go instead; the URL is used as it is"},
	[CLV_SET_OTLP_METRICS_ENDPOINT] = {.key = "export.otlp.metrics_endpoint",
					   .type = CLV_VALUE_TEXT,
					   FIELD(otlp.metrics_endpoint),
					   .env = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"},
					   .check = check_url,
					   .commands = ALL,
					   .group = CLV_GROUP_SEND,
					   .flags = CLV_SETTING_OTHERS,
					   .expect = EXPECT_URL,
					   .pattern = URL_PATTERN,
					   .help = "Where metrics go instead; the URL is used as it is"},
	[CLV_SET_OTLP_PROTOCOL] = {.key = "export.otlp.protocol",
				   .option = "otlp-protocol",
				   .arg = "http/protobuf|grpc|http/json",
				   .type = CLV_VALUE_CHOICE,
				   FIELD(otlp.protocol),
				   .choices = protocol_words,
				   .first_choice = 1,
				   .env = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"},
				   .commands = ALL,
				   .group = CLV_GROUP_SEND,
				   .flags = CLV_SETTING_OTHERS,
				   .fallback = "http/protobuf",
				   .expect = "it must be http/protobuf, grpc or http/json",
				   .help = "How; a grpc URL says it too"},
	[CLV_SET_OTLP_HEADERS] = {.key = "export.otlp.headers",
				  .option = "otlp-header",
				  .arg = "NAME=VALUE",
				  .type = CLV_VALUE_PAIRS,
				  FIELD(otlp.headers),
				  .env = {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"},
				  .check = check_header,
				  .most = HEADERS_MOST,
				  .commands = ALL,
				  .group = CLV_GROUP_SEND,
				  .flags = CLV_SETTING_OTHERS | CLV_SETTING_SECRET,
				  .expect = "it must be NAME=VALUE, a header's name and what to send in it",
				  .help = "Send this header with every request, as for a token (repeatable)"},
	[CLV_SET_OTLP_COMPRESSION] = {.key = "export.otlp.compression",
				      .option = "otlp-compression",
				      .arg = "none|gzip",
				      .type = CLV_VALUE_CHOICE,
				      FIELD(otlp.compression),
				      .choices = compression_words,
				      .first_choice = 1,
				      .env = {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
					      "OTEL_EXPORTER_OTLP_COMPRESSION"},
				      .commands = ALL,
				      .group = CLV_GROUP_SEND,
				      .flags = CLV_SETTING_OTHERS,
				      .fallback = "none",
				      .expect = "it must be none or gzip",
				      .help = "Of what is sent"},
	[CLV_SET_OTLP_TIMEOUT] = {.key = "export.otlp.timeout",
				  .type = CLV_VALUE_TIME,
				  FIELD(otlp.timeout_ns),
				  .env = {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"},
				  .least = 1000000,
				  .most = DAY_NS / 24,
				  .commands = ALL,
				  .group = CLV_GROUP_SEND,
				  .flags = CLV_SETTING_OTHERS | CLV_SETTING_MS,
				  .fallback = "10s",
				  .pattern = TIME_PATTERN,
				  .expect = EXPECT_OTLP_TIME,
				  .help = "How long a request may take"},
	[CLV_SET_OTLP_CA] = {.key = "export.otlp.ca_file",
			     .option = "otlp-ca",
			     .arg = "FILE",
			     .type = CLV_VALUE_TEXT,
			     FIELD(otlp.ca_path),
			     .env = {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
			     .commands = ALL,
			     .group = CLV_GROUP_SEND,
			     .flags = CLV_SETTING_OTHERS | CLV_SETTING_PATH,
			     .expect = EXPECT_FILE,
			     .help = "Certificates (PEM) that the collector's must be signed by, instead of the "
				     "system's"},
	[CLV_SET_OTLP_CERT] = {.key = "export.otlp.cert_file",
			       .option = "otlp-cert",
			       .arg = "FILE",
			       .type = CLV_VALUE_TEXT,
			       FIELD(otlp.cert_path),
			       .env = {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
				       "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
			       .commands = ALL,
			       .group = CLV_GROUP_SEND,
			       .flags = CLV_SETTING_OTHERS | CLV_SETTING_PATH,
			       .expect = EXPECT_FILE,
			       .help = "Certificate (PEM) to show to the collector"},
	[CLV_SET_OTLP_KEY] = {.key = "export.otlp.key_file",
			      .option = "otlp-key",
			      .arg = "FILE",
			      .type = CLV_VALUE_TEXT,
			      FIELD(otlp.key_path),
			      .env = {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"},
			      .commands = ALL,
			      .group = CLV_GROUP_SEND,
			      .flags = CLV_SETTING_OTHERS | CLV_SETTING_PATH,
			      .expect = EXPECT_FILE,
			      .help = "Its private key (PEM)"},
	[CLV_SET_OTLP_METRICS] = {.key = "export.otlp.metrics",
				  .option = "otlp-metrics",
				  .arg = "true|false",
				  .type = CLV_VALUE_SWITCH,
				  FIELD(otlp.metrics),
				  .commands = ALL,
				  .group = CLV_GROUP_SEND,
				  .flags = CLV_SETTING_OTHERS,
				  .fallback = "true",
				  .help = "Whether metrics are sent too"},
	[CLV_SET_OTLP_METRICS_INTERVAL] = {.key = "export.otlp.metrics_interval",
					   .type = CLV_VALUE_TIME,
					   FIELD(otlp.metrics_interval_ns),
					   .env = {"OTEL_METRIC_EXPORT_INTERVAL"},
					   .least = 100000000,
					   .most = DAY_NS,
					   .commands = ALL,
					   .group = CLV_GROUP_SEND,
					   .flags = CLV_SETTING_OTHERS | CLV_SETTING_MS,
					   .fallback = "60s",
					   .pattern = TIME_PATTERN,
					   .expect = "it must be a time from 100ms to 24h, as in 60s",
					   .help = "How often metrics are sent"},
	[CLV_SET_BATCH_DELAY] = {.key = "export.batch.delay",
				 .type = CLV_VALUE_TIME,
				 FIELD(otlp.batch_delay_ns),
				 .env = {"OTEL_BSP_SCHEDULE_DELAY"},
				 .least = 1000000,
				 .most = DAY_NS / 24,
				 .commands = ALL,
				 .group = CLV_GROUP_SEND,
				 .flags = CLV_SETTING_OTHERS | CLV_SETTING_MS,
				 .fallback = "5s",
				 .pattern = TIME_PATTERN,
				 .expect = "it must be a time from 1ms to 1h, as in 5s",
				 .help = "How long a span may wait for others that are sent with it"},
	[CLV_SET_BATCH_MAX] = {.key = "export.batch.max",
			       .type = CLV_VALUE_COUNT,
			       FIELD(otlp.batch_max),
			       .env = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE"},
			       .least = 1,
			       .most = 65536,
			       .commands = ALL,
			       .group = CLV_GROUP_SEND,
			       .flags = CLV_SETTING_OTHERS,
			       .fallback = "512",
			       .expect = "it must be a number of spans from 1 to 65536",
			       .help = "Spans in one request"},
	[CLV_SET_QUEUE] = {.key = "export.queue",
			   .option = "export-queue",
			   .arg = "SIZE",
			   .type = CLV_VALUE_SIZE,
			   FIELD(queue_bytes),
			   .least = 65536,
			   .most = 1u << 30,
			   .commands = ALL,
			   .group = CLV_GROUP_SEND,
			   .fallback = "16M",
			   .pattern = SIZE_PATTERN,
			   .expect = "it must be a size from 64K to 1G, as in 16M",
			   .help = "Memory for what waits for the collector; past it the oldest go, and are counted"},
	[CLV_SET_SPOOL_DIR] =
		{.key = "export.spool.dir",
		 .option = "spool",
		 .arg =
			 "DIR",
		 .type = CLV_VALUE_TEXT,
		 FIELD(spool_dir),
		 .commands = ALL,
		 .group = CLV_GROUP_SEND,
		 .flags = CLV_SETTING_PATH,
		 .expect = "it must be the name of a directory",
		 .help = "Keep what waits for the collector in this directory, where it survives clovisor"},
	[CLV_SET_SPOOL_MAX] = {.key = "export.spool.max",
			       .option = "spool-max",
			       .arg = "SIZE",
			       .type = CLV_VALUE_SIZE,
			       FIELD(spool_max_bytes),
			       .least = 1u << 20,
			       .most = 1ull << 40,
			       .commands = ALL,
			       .group = CLV_GROUP_SEND,
			       .fallback = "256M",
			       .pattern = SIZE_PATTERN,
			       .expect = "it must be a size from 1M to 1024G, as in 256M",
			       .help = "Room in that directory; past it the oldest go, and are counted"},
	[CLV_SET_FLUSH_TIMEOUT] = {.key = "export.flush_timeout",
				   .option = "flush-timeout",
				   .arg = "TIME",
				   .type = CLV_VALUE_TIME,
				   FIELD(flush_timeout_ns),
				   .most = DAY_NS / 24,
				   .commands = ALL,
				   .group = CLV_GROUP_SEND,
				   .fallback = "5s",
				   .pattern = TIME_PATTERN,
				   .expect = "it must be a time up to 1h, as in 5s",
				   .help = "How long the end of a run may wait until everything is sent"},
	[CLV_SET_METRICS_LISTEN] =
		{.key = "metrics.listen",
		 .option = "metrics",
		 .arg =
			 "[ADDR]:PORT",
		 .type = CLV_VALUE_TEXT,
		 FIELD(metrics.listen),
		 .check = check_listen,
		 .commands = ALL,
		 .group = CLV_GROUP_METRICS,
		 .pattern = ":[0-9]{1,5}$",
		 .expect = "it must be :PORT, ADDR:PORT or NAME:PORT, with IPv6 in brackets, as in :9464",
		 .help = "Serve metrics to Prometheus at this address and port; :PORT is all "
			 "addresses"},
	[CLV_SET_METRICS_SERIES] = {.key = "metrics.max_series",
				    .option = "metrics-max-series",
				    .arg = "N",
				    .type = CLV_VALUE_COUNT,
				    FIELD(metrics.max_series),
				    .least = 1,
				    .most = 1000000,
				    .commands = ALL,
				    .group = CLV_GROUP_METRICS,
				    .fallback = "10000",
				    .expect = "it must be a number from 1 to 1000000",
				    .help = "Series at most; what is beyond them goes into one named "
					    "otel.metric.overflow"},
	[CLV_SET_METRICS_BOUNDS] = {.key = "metrics.bounds",
				    .option = "metrics-bounds",
				    .arg = "S,S...",
				    .type = CLV_VALUE_NUMBERS,
				    FIELD(metrics.bounds),
				    .least = 1,
				    .most = BOUNDS_MOST,
				    .commands = ALL,
				    .group = CLV_GROUP_METRICS,
				    .flags = CLV_SETTING_WORDS,
				    .fallback = "0.005,0.01,0.025,0.05,0.075,0.1,0.25,0.5,0.75,1,2.5,5,7.5,10",
				    .expect = "it must be seconds above 0, each more than the one before, as in "
					      "0.01,0.1,1",
				    .help = "Bounds of the histograms of durations, in seconds"},
	[CLV_SET_PROPAGATORS] = {.key = "context.propagators",
				 .option = "propagators",
				 .arg = "NAME,NAME...",
				 .type = CLV_VALUE_STRINGS,
				 FIELD(propagators),
				 .env = {"OTEL_PROPAGATORS"},
				 .check = check_propagator,
				 .commands = ENGINE,
				 .group = CLV_GROUP_TRACES,
				 .flags = CLV_SETTING_NOW | CLV_SETTING_WORDS,
				 .fallback = "tracecontext,b3,jaeger,xray",
				 .pattern = "^(tracecontext|baggage|b3|b3multi|jaeger|xray|none)$",
				 .expect = "it must be of tracecontext, baggage, b3, b3multi, jaeger, xray, none",
				 .help = "Formats of trace context that are read from requests, the first one found "
					 "counts"},
	[CLV_SET_SAMPLER] =
		{.key = "sampling.sampler",
		 .option = "sampler",
		 .arg =
			 "NAME[=ARG]",
		 .type = CLV_VALUE_OWN,
		 FIELD(sampler),
		 .take = take_sampler,
		 .env = {"OTEL_TRACES_SAMPLER"},
		 .commands = ALL,
		 .group = CLV_GROUP_TRACES,
		 .flags = CLV_SETTING_NOW,
		 .fallback = "parentbased_always_on",
		 .pattern = "^((parentbased_)?(always_on|always_off)|(parentbased_)?traceidratio(=[0-9.eE+-]+)?)$",
		 .expect = "it must be always_on, always_off or traceidratio=N, or one of them after "
			   "parentbased_",
		 .help = "Which spans are sent: always_on, always_off, traceidratio=N, or "
			 "parentbased_always_on and so on, where the caller's word counts if it has one. "
			 "Metrics count every request"},
	[CLV_SET_SAMPLE_RATE] = {.key = "sampling.rate",
				 .option = "sample-rate",
				 .arg = "N",
				 .type = CLV_VALUE_COUNT,
				 FIELD(sample_rate),
				 .least = 1,
				 .most = 1000000000,
				 .commands = ALL,
				 .group = CLV_GROUP_TRACES,
				 .flags = CLV_SETTING_NOW,
				 .expect = "it must be a number of spans from 1 to 1000000000",
				 .help = "Send at most so many spans a second"},
	[CLV_SET_SAMPLE_KEEP] = {.key = "sampling.keep",
				 .option = "sample-keep",
				 .arg = "errors|slower=TIME",
				 .type = CLV_VALUE_OWN_LIST,
				 FIELD(keep),
				 .take = take_keep,
				 .commands = ALL,
				 .group = CLV_GROUP_TRACES,
				 .flags = CLV_SETTING_NOW,
				 .pattern = "^(errors|slower=[0-9.]+(ns|us|ms|s|m|h))$",
				 .expect = "it must be errors or slower=TIME, as in slower=250ms",
				 .help = "Send these whatever the sampler says (repeatable)"},
	[CLV_SET_ROUTES] = {.key = "routes",
			    .option = "route",
			    .arg = "TEMPLATE",
			    .type = CLV_VALUE_STRINGS,
			    FIELD(routes),
			    .check = check_route,
			    .commands = ENGINE,
			    .group = CLV_GROUP_TRACES,
			    .flags = CLV_SETTING_NOW,
			    .pattern = "^/",
			    .expect = "it must be a path with {name} for a segment that varies, as in /users/{id}",
			    .help = "Paths of this form are one route, by which spans and metrics are named: "
				    "/users/{id} (repeatable)"},
	[CLV_SET_AUTO_ROUTE] = {.key = "auto_route",
				.option = "auto-route",
				.type = CLV_VALUE_FLAG,
				FIELD(auto_route),
				.commands = ENGINE,
				.group = CLV_GROUP_TRACES,
				.fallback = "false",
				.flags = CLV_SETTING_NOW,
				.help = "Make routes of other paths: numbers, UUIDs, hashes and dates become {id}"},
	[CLV_SET_PLUGINS] = {.key = "plugins",
			     .option = "plugin",
			     .arg = "FILE.so",
			     .type = CLV_VALUE_STRINGS,
			     FIELD(plugins),
			     .check = check_plugin,
			     .most = PLUGINS_MOST,
			     .commands = ENGINE,
			     .group = CLV_GROUP_WHAT,
			     .flags = CLV_SETTING_PATH,
			     .pattern = "/",
			     .expect = "it must be a shared object with its directory, as in "
				       "/usr/local/lib/clovisor/mine.so",
			     .help = "Add the protocols of this plugin; its code runs as clovisor (repeatable)"},
	[CLV_SET_CAPTURE_HEADERS] = {.key = "privacy.capture_headers",
				     .option = "capture-header",
				     .arg = "[request:|response:]NAME",
				     .type = CLV_VALUE_OWN_LIST,
				     FIELD(captures),
				     .take = take_capture,
				     .most = CAPTURES_MOST,
				     .commands = ENGINE,
				     .group = CLV_GROUP_PRIVACY,
				     .flags = CLV_SETTING_NOW,
				     .pattern = "^((request|response):)?[^:\\s]+$",
				     .expect = "it must be a header's name, after request: or response: for one side",
				     .help = "Keep this header's values in the spans, of requests or responses or both "
					     "(repeatable). Without it no header's"},
	[CLV_SET_REDACT] = {.key = "privacy.redact",
			    .option = "redact",
			    .arg = "REGEX",
			    .type = CLV_VALUE_STRINGS,
			    FIELD(redact),
			    .most = REDACT_MOST,
			    .commands = ENGINE,
			    .group = CLV_GROUP_PRIVACY,
			    .flags = CLV_SETTING_NOW,
			    .expect = "it must be a regular expression",
			    .help = "Write REDACTED for what matches in paths, queries and headers (repeatable)"},
	[CLV_SET_SHOW_STATEMENTS] =
		{.key = "privacy.show_statements",
		 .option = "show-statements",
		 .type = CLV_VALUE_FLAG,
		 FIELD(show_statements),
		 .commands = ENGINE,
		 .group = CLV_GROUP_PRIVACY,
		 .fallback = "false",
		 .flags = CLV_SETTING_NOW,
		 .help = "Show statements of databases as they are, with all values in them. Without it "
			 "each value is a ?"},
};

unsigned clv_word_distance(const char *a, const char *b)
{
	unsigned row[32];
	size_t n = strlen(b);

	if (n >= 32 || strlen(a) >= 32)
		return 32;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);
			unsigned least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

			diagonal = row[j];
			row[j] = change < least ? change : least;
		}
	}
	return row[n];
}
