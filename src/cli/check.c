/* SPDX-License-Identifier: Apache-2.0 */
/* `clovisor check`: prints what the probes of source/probe.h find. Main thread. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "export/json.h"
#include "source/probe.h"

enum { OPT_JSON = 256 };

static error_t check_parse(int key, char *arg, struct argp_state *state)
{
	if (key != OPT_JSON)
		return ARGP_ERR_UNKNOWN;
	*(bool *)state->input = true;
	return 0;
}

static void check_json_field(const char *key, const char *text)
{
	char value[6 * sizeof(((struct clv_probe *)0)->remedy)];
	char *end = clv_json_escape(value, clv_slice_head(clv_slice_str(text), sizeof(value) / 6));

	printf(",\"%s\":\"%.*s\"", key, (int)(end - value), value);
}

static void check_json(const struct clv_probe *p, bool first)
{
	static const char *const states[] = {"ok", "warn", "fail"};

	printf("%s{\"name\":\"%s\",\"state\":\"%s\"", first ? "" : ",", p->name, states[p->state]);
	check_json_field("detail", p->detail);
	check_json_field("remedy", p->remedy);
	putchar('}');
}

static void check_text(const struct clv_probe *p)
{
	static const char *const states[] = {"ok", "warn", "FAIL"};

	printf("%-4s  %-16s  %s%s%s\n", states[p->state], p->name, p->detail, p->remedy[0] ? "; " : "", p->remedy);
}

int clv_cmd_check(int argc, char **argv)
{
	static const struct argp_option options[] = {{"json", OPT_JSON, 0, 0, "As one JSON object", 0}, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = check_parse,
		.doc = "Tell what this kernel and these privileges allow, one line for each thing tried: ok, warn "
		       "(clovisor "
		       "runs, with less) or FAIL (clovisor trace cannot run), and what to do about it. Nothing is left "
		       "behind.\v"
		       "Exit status: 0 when clovisor trace can run here, 1 otherwise.\n\n"
		       "Examples:\n  clovisor check\n  clovisor check --json",
	};
	bool json = false, fail = false;

	clv_cli_parse(&argp, argc, argv, &json);
	if (json)
		fputs("{\"checks\":[", stdout);
	for (size_t i = 0; clv_probes[i]; i++) {
		struct clv_probe p = clv_probes[i]();

		fail |= p.state == CLV_PROBE_FAIL;
		if (json)
			check_json(&p, i == 0);
		else
			check_text(&p);
	}
	if (json)
		printf("],\"ok\":%s}\n", fail ? "false" : "true");
	else
		puts(fail ? "\nclovisor trace cannot run here; clovisor read can." : "\nclovisor trace can run here.");
	return fail ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
}
