/* SPDX-License-Identifier: Apache-2.0 */
/* `clovisor version`. Main thread. */
#define PCAP_DONT_INCLUDE_PCAP_BPF_H /* its names are those of <linux/bpf.h> */
#include <bpf/libbpf.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"

enum { OPT_JSON = 256 };

static error_t version_parse(int key, char *arg, struct argp_state *state)
{
	if (key != OPT_JSON)
		return ARGP_ERR_UNKNOWN;
	*(bool *)state->input = true;
	return 0;
}

int clv_cmd_version(int argc, char **argv)
{
	static const struct argp_option options[] = {{"json", OPT_JSON, 0, 0, "As one JSON object", 0}, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = version_parse,
		.doc = "Print the versions of clovisor and of the libraries it runs with.\v"
		       "Examples:\n  clovisor version\n  clovisor version --json",
	};
	const char *bpf = libbpf_version_string(), *pcap = pcap_lib_version();
	bool json = false;
	char word[32] = "";

	clv_cli_parse(&argp, argc, argv, &json);
	if (*bpf == 'v')
		bpf++;
	if (sscanf(pcap, "libpcap version %31[0-9.]", word) == 1)
		pcap = word;
	if (json)
		printf("{\"version\":\"%s\",\"libbpf\":\"%s\",\"libpcap\":\"%s\"}\n", CLV_VERSION, bpf, pcap);
	else
		printf("clovisor %s (libbpf %s, libpcap %s)\n", CLV_VERSION, bpf, pcap);
	return CLV_EXIT_OK;
}
