/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube/podnet.h for tests in Python: commands on stdin, a line each, answers on stdout, each ended by a line ".".
 *
 *     podnet_driver [PROC [CGROUP]]
 *     scan             a line a container: pod uid, container, runtime, pid, netns, nsid, "host" or "-", cgroup, inode;
 *                      then "trouble: ..."
 *     find UID [ID...] that container, or nothing. UID may be "-"
 *     address ADDR     nsid, or the error's name
 *     links NSID       names of the interfaces that lead there
 *     bench            what scans cost (CPU time): cold, once more, and when all is settled
 *
 * Text fields that are empty are "-".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kube/podnet.h"

static struct clv_podnet_config config;

static const char *dash(const char *s)
{
	return *s ? s : "-";
}

static void print(const struct clv_podnet_container *c)
{
	printf("%s %s %s %d %llu %d %s %s %llu\n", dash(c->name.pod_uid), dash(c->name.container),
	       dash(c->name.runtime), c->pid, (unsigned long long)c->netns, c->nsid, c->host_network ? "host" : "-",
	       dash(c->cgroup), (unsigned long long)c->cgroup_inode);
}

static void scan(struct clv_podnet *p)
{
	size_t count;
	int err = clv_podnet_scan(p);
	const struct clv_podnet_container *c = clv_podnet_containers(p, &count);

	if (err < 0)
		printf("error: %s\n", strerrorname_np(-err));
	for (size_t i = 0; i < count; i++)
		print(&c[i]);
	printf("trouble: %s\n", clv_podnet_trouble(p));
}

static void find(const struct clv_podnet *p, char *args)
{
	const char *words[16];
	size_t n = 0;

	for (char *w = strtok(args, " "); w && n < 16; w = strtok(NULL, " "))
		words[n++] = w;

	const struct clv_podnet_container *c =
		n ? clv_podnet_find(p, strcmp(words[0], "-") ? words[0] : "", words + 1, n - 1) : NULL;

	if (c)
		print(c);
}

static void address(struct clv_podnet *p, const char *text)
{
	struct clv_addr addr;
	int32_t nsid;
	int err = clv_addr_parse(text, &addr);

	if (!err)
		err = clv_podnet_find_address(p, &addr, &nsid);
	if (err)
		printf("%s\n", strerrorname_np(-err));
	else
		printf("%d\n", nsid);
}

static void link_print(void *ctx, const struct clv_link *l)
{
	if (l->peer_nsid >= 0 && l->peer_nsid == *(int *)ctx)
		printf("%s\n", l->name);
}

static void links(const char *text)
{
	int nsid = atoi(text);

	clv_links_list(config.links, link_print, &nsid);
}

static double timed_scan(struct clv_podnet *p, int *found)
{
	struct timespec a, b;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	*found = clv_podnet_scan(p);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	return (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
}

static void bench(void)
{
	struct clv_podnet *p;
	int found;

	if (clv_podnet_open(&config, &p))
		return;
	printf("cold %.2f ms", timed_scan(p, &found));
	printf(", %d containers", found);
	printf("; again %.2f ms", timed_scan(p, &found));
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL);
	printf("; after 1 s %.2f ms", timed_scan(p, &found));
	for (int i = 0; i < 3; i++)
		printf(", %.2f ms", timed_scan(p, &found));
	printf("\n");
	clv_podnet_close(p);
}

int main(int argc, char **argv)
{
	struct clv_podnet *p;
	char *line = NULL;
	size_t size = 0;

	config.proc = argc > 1 ? argv[1] : NULL;
	config.cgroup = argc > 2 ? argv[2] : NULL;

	int err = clv_links_open(&config.links);

	err = err ? err : clv_podnet_open(&config, &p);
	if (err) {
		fprintf(stderr, "podnet_driver: %s\n", strerror(-err));
		return 1;
	}
	while (getline(&line, &size, stdin) > 0) {
		char *args = line + strcspn(line, " \n");

		line[strcspn(line, "\n")] = '\0';
		if (*args)
			*args++ = '\0';
		if (!strcmp(line, "scan"))
			scan(p);
		else if (!strcmp(line, "find"))
			find(p, args);
		else if (!strcmp(line, "address"))
			address(p, args);
		else if (!strcmp(line, "links"))
			links(args);
		else if (!strcmp(line, "bench"))
			bench();
		printf(".\n");
		fflush(stdout);
	}
	free(line);
	clv_podnet_close(p);
	clv_links_close(config.links);
	return 0;
}
