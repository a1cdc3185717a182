/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names found in a cgroup's path. Owns nothing, opens nothing, any thread.
 *
 * A path is read from its root: the first pod in it is the pod, the first container after that is the container. A
 * container that may make cgroups of its own (Docker in a pod, systemd) can give them any name, so what stands further
 * down proves nothing. Only a container outside of all pods gives way to a pod: it is a node (kind in Docker).
 */
#include <string.h>

#include "kube/cgroup.h"

#define ID_LEN   64
#define UID_LEN  36
#define HASH_LEN 32
/* Of machines' names. */
#define NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

/* ---- steps of a path -------------------------------------------------------------------------------- */

static bool slice_ends(struct clv_slice s, struct clv_slice suffix)
{
	return s.len >= suffix.len && clv_slice_eq(clv_slice_from(s, s.len - suffix.len), suffix);
}

/* Takes `prefix` or `suffix` off; false when it is not there, or nothing else is. */
static bool cut_prefix(struct clv_slice *s, struct clv_slice prefix)
{
	if (s->len <= prefix.len || !clv_slice_starts(*s, prefix))
		return false;
	*s = clv_slice_from(*s, prefix.len);
	return true;
}

static bool cut_suffix(struct clv_slice *s, struct clv_slice suffix)
{
	if (s->len <= suffix.len || !slice_ends(*s, suffix))
		return false;
	*s = clv_slice_head(*s, s->len - suffix.len);
	return true;
}

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool all_hex(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_hex(s.data[i]))
			return false;
	return true;
}

/* ---- pods ------------------------------------------------------------------------------------------- */

/* A UUID, its groups joined by `joint`, or a static pod's hash. */
static bool uid_read(struct clv_slice s, char joint, char out[UID_LEN + 1])
{
	bool uuid = s.len == UID_LEN;

	if (!uuid && s.len != HASH_LEN)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		bool between = uuid && (i == 8 || i == 13 || i == 18 || i == 23);

		if (between ? s.data[i] != joint : !is_hex(s.data[i]))
			return false;
		out[i] = between ? '-' : (char)s.data[i];
	}
	out[s.len] = '\0';
	return true;
}

/* systemd's driver: PREFIX-podUID.slice, the dashes of the uid replaced. */
static bool pod_slice(struct clv_slice step, char uid[UID_LEN + 1])
{
	static const size_t lengths[] = {UID_LEN, HASH_LEN};

	if (!cut_suffix(&step, CLV_LIT(".slice")))
		return false;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		size_t before = step.len - lengths[i];

		if (step.len > lengths[i] && slice_ends(clv_slice_head(step, before), CLV_LIT("-pod")))
			return uid_read(clv_slice_from(step, before), '_', uid);
	}
	return false;
}

static bool pod_read(struct clv_slice step, char uid[UID_LEN + 1])
{
	step = clv_slice_head(step, clv_slice_find(step, 0, ':'));
	if (pod_slice(step, uid))
		return true;
	return cut_prefix(&step, CLV_LIT("pod")) && uid_read(step, '-', uid);
}

/* ---- containers ------------------------------------------------------------------------------------- */

enum found { NOTHING, CONTAINER, WATCHER };

/* What stands before the id, with "-" or ":" between. */
static const struct {
	struct clv_slice prefix;
	const char *runtime;
} prefixes[] = {
	{CLV_LIT("cri-containerd"), "containerd"},
	{CLV_LIT("nerdctl"), "containerd"},
	{CLV_LIT("crio"), "cri-o"},
	{CLV_LIT("docker"), "docker"},
	{CLV_LIT("libpod"), "podman"},
	{CLV_LIT("libpod-payload"), "podman"},
};

static const char *runtime_of(struct clv_slice prefix)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (clv_slice_eq(prefix, prefixes[i].prefix))
			return prefixes[i].runtime;
	return NULL;
}

/* A bare id is named by the step before it. Podman's pods stand between libpod_parent and libpod-ID. */
static const char *runtime_of_parent(struct clv_slice parent)
{
	if (clv_slice_eq(parent, CLV_LIT("libpod_parent")))
		return NULL;
	return clv_slice_eq(parent, CLV_LIT("docker")) ? "docker" : "";
}

static struct clv_slice after_last(struct clv_slice s, uint8_t c)
{
	size_t from = s.len;

	while (from && s.data[from - 1] != c)
		from--;
	return clv_slice_from(s, from);
}

/* ID, PREFIX-ID, PREFIX-ID.scope, SLICE:PREFIX:ID */
static enum found id_read(struct clv_slice step, struct clv_slice parent, struct clv_cgroup_name *out)
{
	cut_suffix(&step, CLV_LIT(".scope"));
	if (step.len < ID_LEN)
		return NOTHING;

	size_t before = step.len - ID_LEN;
	struct clv_slice prefix = clv_slice_head(step, before);
	const char *runtime = runtime_of_parent(parent);

	if (!all_hex(clv_slice_from(step, before)))
		return NOTHING;
	if (before) {
		if (!cut_suffix(&prefix, CLV_LIT("-")) && !cut_suffix(&prefix, CLV_LIT(":")))
			return NOTHING;
		prefix = after_last(prefix, ':');
		if (slice_ends(prefix, CLV_LIT("-conmon")))
			return WATCHER;
		runtime = runtime_of(prefix);
	}
	if (!runtime && !*out->pod_uid)
		return NOTHING;
	out->runtime = runtime ? runtime : "";
	memcpy(out->container, step.data + before, ID_LEN);
	out->container[ID_LEN] = '\0';
	return CONTAINER;
}

static uint8_t hex_digit(uint8_t c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The byte at `*at`, which systemd may have written as \xNN; 0: none that a machine's name has. */
static char machine_byte(struct clv_slice s, size_t *at)
{
	uint8_t c = s.data[(*at)++];

	if (c == '\\') {
		struct clv_slice code = clv_slice_sub(s, *at, 3);

		if (code.len < 3 || code.data[0] != 'x' || !all_hex(clv_slice_from(code, 1)))
			return 0;
		c = (uint8_t)(hex_digit(code.data[1]) << 4 | hex_digit(code.data[2]));
		*at += 3;
	}
	return memchr(NAME_BYTES, c, sizeof(NAME_BYTES) - 1) ? (char)c : 0;
}

static bool machine_read(struct clv_slice s, const char *runtime, struct clv_cgroup_name *out)
{
	char name[sizeof(out->container)] = "";
	size_t n = 0;

	for (size_t at = 0; at < s.len;) {
		name[n] = machine_byte(s, &at);
		if (!name[n] || ++n == sizeof(name))
			return false;
	}
	memcpy(out->container, name, sizeof(name));
	out->runtime = runtime;
	return n > 0;
}

/* Machines of systemd: virtual ones are no containers. */
static bool systemd_machine(struct clv_slice step, struct clv_cgroup_name *out)
{
	bool unit = cut_prefix(&step, CLV_LIT("systemd-nspawn@")) && cut_suffix(&step, CLV_LIT(".service"));
	bool scope = !unit && cut_suffix(&step, CLV_LIT(".scope")) && cut_prefix(&step, CLV_LIT("machine-"));

	if (!unit && (!scope || clv_slice_starts(step, CLV_LIT("qemu\\x2d"))))
		return false;
	return machine_read(step, "systemd-nspawn", out);
}

static bool lxc_machine(struct clv_slice step, struct clv_slice parent, struct clv_cgroup_name *out)
{
	if (!cut_prefix(&step, CLV_LIT("lxc.payload.")) && !clv_slice_eq(parent, CLV_LIT("lxc.payload")) &&
	    !clv_slice_eq(parent, CLV_LIT("lxc")))
		return false;
	return machine_read(step, "lxc", out);
}

static enum found container_read(struct clv_slice step, struct clv_slice parent, struct clv_cgroup_name *out)
{
	enum found found = id_read(step, parent, out);

	if (found != NOTHING || *out->pod_uid)
		return found;
	return systemd_machine(step, out) || lxc_machine(step, parent, out) ? CONTAINER : NOTHING;
}

/* ---- paths ------------------------------------------------------------------------------------------ */

bool clv_cgroup_parse(struct clv_slice path, struct clv_cgroup_name *out)
{
	struct clv_cgroup_name name = {.runtime = ""};
	struct clv_slice parent = {0};

	for (size_t at = 0, end; at < path.len; at = end + 1) {
		end = clv_slice_find(path, at, '/');

		struct clv_slice step = clv_slice_sub(path, at, end - at);
		char uid[sizeof(name.pod_uid)] = "";

		if (!*name.pod_uid && pod_read(step, uid)) {
			name = (struct clv_cgroup_name){.runtime = "", .pod_len = end};
			memcpy(name.pod_uid, uid, sizeof(uid));
		}
		if (!*name.container) {
			enum found found = container_read(step, parent, &name);

			if (found == WATCHER)
				return false;
			if (found == CONTAINER && !*name.pod_uid)
				name.pod_len = end;
		} else if (clv_slice_eq(step, CLV_LIT("supervisor")) && !strcmp(name.runtime, "systemd-nspawn")) {
			return false; /* systemd-nspawn itself, beside its payload */
		}
		parent = step;
	}
	if (!*name.pod_uid && !*name.container)
		return false;
	*out = name;
	return true;
}

/* The path of a line "ID:CONTROLLERS:PATH". */
static struct clv_slice line_path(struct clv_slice line)
{
	size_t controllers = clv_slice_find(line, 0, ':') + 1;

	return clv_slice_from(line, clv_slice_find(line, controllers, ':') + 1);
}

bool clv_cgroup_of_process(struct clv_slice text, struct clv_cgroup_name *out, struct clv_slice *v2)
{
	struct clv_cgroup_name best = {0};
	bool any = false;

	*v2 = clv_slice(NULL, 0);
	for (size_t at = 0, end; at < text.len; at = end + 1) {
		end = clv_slice_find(text, at, '\n');

		struct clv_slice line = clv_slice_sub(text, at, end - at);
		struct clv_slice path = line_path(line);
		struct clv_cgroup_name name;

		if (clv_slice_starts(line, CLV_LIT("0::")))
			*v2 = path;
		if (clv_cgroup_parse(path, &name) && (!any || (!*best.pod_uid && *name.pod_uid))) {
			best = name;
			any = true;
		}
	}
	if (any)
		*out = best;
	return any;
}
