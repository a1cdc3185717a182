/* SPDX-License-Identifier: Apache-2.0 */
/* Owns an open /proc/stat and what it said last. Never keeps the thread where it moved it: others may move it again. */
#include "cli/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* A look costs no more than this share of what the thread does between two of them. */
#define COST_SHARE 100
/* A processor must have had this share of the time more left: less comes and goes. */
#define PAYS_SHARE 5
/* Of a processor's line; those of processors come first in the file. */
#define LINE_BYTES 160

struct clv_placement {
	int fd;
	unsigned count;     /* of processors */
	uint64_t looked_ns; /* 0: never */
	uint64_t own_ns;    /* the thread's processor time then */
	uint64_t cost_ns;   /* of the last look */
	uint64_t *idle_ns;  /* by processor, then */
	uint64_t *left_ns;
	size_t text_size;
	char *text;
};

struct clv_placement *clv_placement_new(const char *stat)
{
	long count = sysconf(_SC_NPROCESSORS_CONF);
	struct clv_placement *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->count = count < 1 ? 1 : count > CPU_SETSIZE ? CPU_SETSIZE : (unsigned)count;
	p->text_size = (p->count + 1) * (size_t)LINE_BYTES;
	p->idle_ns = calloc(p->count, sizeof(*p->idle_ns));
	p->left_ns = calloc(p->count, sizeof(*p->left_ns));
	p->text = malloc(p->text_size);
	p->fd = open(stat, O_RDONLY | O_CLOEXEC);
	if (p->fd >= 0 && p->idle_ns && p->left_ns && p->text)
		return p;
	clv_debug("%s: %s: this thread stays where it is", stat, strerror(errno));
	clv_placement_free(p);
	return NULL;
}

void clv_placement_free(struct clv_placement *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	free(p->idle_ns);
	free(p->left_ns);
	free(p->text);
	free(p);
}

/* ---- what the file says ------------------------------------------------------------------------------------------ */

/* Cuts the next number off; 0 when there is none. */
static uint64_t next_number(struct clv_slice *s)
{
	uint64_t n = 0;

	while (s->len && s->data[0] == ' ')
		*s = clv_slice_from(*s, 1);
	for (; s->len && s->data[0] >= '0' && s->data[0] <= '9'; *s = clv_slice_from(*s, 1))
		n = n * 10 + (uint64_t)(s->data[0] - '0');
	return n;
}

/* "cpuN user nice system idle iowait ...", in hundredths of a second (USER_HZ); the line of all has no N. */
void clv_placement_parse(struct clv_slice text, uint64_t *idle_ns, unsigned count)
{
	static const uint64_t tick_ns = 10000000;

	memset(idle_ns, 0, count * sizeof(*idle_ns));
	for (size_t end; text.len && clv_slice_starts(text, CLV_LIT("cpu")); text = clv_slice_from(text, end + 1)) {
		end = clv_slice_find(text, 0, '\n');
		struct clv_slice line = clv_slice_from(clv_slice_head(text, end), 3);

		if (end == text.len || !line.len || line.data[0] == ' ')
			continue;
		uint64_t cpu = next_number(&line);
		for (int skip = 0; skip < 3; skip++)
			next_number(&line);
		uint64_t idle = next_number(&line), iowait = next_number(&line);
		if (cpu < count)
			idle_ns[cpu] = (idle + iowait) * tick_ns;
	}
}

int clv_placement_choose(const uint64_t *left_ns, unsigned count, unsigned here, uint64_t all_ns,
			 const cpu_set_t *allowed)
{
	uint64_t most_ns = (here < count ? left_ns[here] : 0) + all_ns / PAYS_SHARE;
	int best = -1;

	for (unsigned i = 0; i < count; i++) {
		if (i == here || left_ns[i] <= most_ns || !CPU_ISSET(i, allowed))
			continue;
		best = (int)i;
		most_ns = left_ns[i];
	}
	return best;
}

/* ---- looking and moving ------------------------------------------------------------------------------------------ */

/* What each processor had left since the last look; here also what this thread took. False: nothing to compare. */
static bool look(struct clv_placement *p, unsigned here, uint64_t own_ns)
{
	ssize_t n = pread(p->fd, p->text, p->text_size, 0);

	if (n <= 0)
		return false;
	clv_placement_parse(clv_slice(p->text, (size_t)n), p->left_ns, p->count);
	for (unsigned i = 0; i < p->count; i++) {
		uint64_t now_ns = p->left_ns[i], before_ns = p->idle_ns[i];

		p->idle_ns[i] = now_ns;
		p->left_ns[i] = before_ns && now_ns > before_ns ? now_ns - before_ns : 0;
	}
	if (here < p->count)
		p->left_ns[here] += own_ns;
	return p->looked_ns;
}

/* There, and then free to go where others want it. */
static int move_to(int cpu, const cpu_set_t *allowed)
{
	cpu_set_t there;

	CPU_ZERO(&there);
	CPU_SET((unsigned)cpu, &there);
	if (sched_setaffinity(0, sizeof(there), &there) || sched_setaffinity(0, sizeof(*allowed), allowed)) {
		clv_debug("cannot move to processor %d: %s", cpu, strerror(errno));
		return -1;
	}
	return cpu;
}

int clv_placement_tick(struct clv_placement *p, uint64_t now_ns)
{
	cpu_set_t allowed;
	int to = -1;

	if (!p || now_ns - p->looked_ns < CLV_PLACEMENT_LOOK_NS)
		return -1;
	uint64_t began_ns = clv_clock_thread_ns(), own_ns = began_ns - p->own_ns;
	if (own_ns < COST_SHARE * p->cost_ns)
		return -1;
	unsigned here = (unsigned)sched_getcpu();
	if (look(p, here, own_ns) && !sched_getaffinity(0, sizeof(allowed), &allowed))
		to = clv_placement_choose(p->left_ns, p->count, here, now_ns - p->looked_ns, &allowed);
	if (to >= 0)
		to = move_to(to, &allowed);
	p->looked_ns = now_ns;
	p->own_ns = clv_clock_thread_ns();
	p->cost_ns = p->own_ns - began_ns;
	return to;
}
