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

/* A seat: the time in milliseconds above the processor's number and one. */
#define SEAT_CPU_BITS 16

struct clv_placement {
	struct clv_crew *crew; /* NULL: alone */
	unsigned number;       /* in it */
	uint64_t gave_way_ns;  /* 0: never */
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

void clv_placement_join(struct clv_placement *p, struct clv_crew *crew, unsigned number)
{
	if (!p)
		return;
	p->crew = crew;
	p->number = number;
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

/* ---- a crew ------------------------------------------------------------------------------------------------------ */

void clv_crew_meet(struct clv_crew *crew, unsigned number, unsigned here, uint64_t now_ns, struct clv_crew_view *view)
{
	const uint64_t now_ms = now_ns / 1000000;

	atomic_store_explicit(&crew->seat[number], now_ms << SEAT_CPU_BITS | (here + 1), memory_order_relaxed);
	*view = (struct clv_crew_view){.shared = false};
	for (unsigned i = 0; i < CLV_CREW_MOST; i++) {
		uint64_t seat = atomic_load_explicit(&crew->seat[i], memory_order_relaxed);
		unsigned cpu = (unsigned)(seat & ((1u << SEAT_CPU_BITS) - 1)) - 1;

		if (i == number || !seat || now_ms > (seat >> SEAT_CPU_BITS) + CLV_CREW_FRESH_NS / 1000000)
			continue;
		if (cpu < CPU_SETSIZE)
			CPU_SET(cpu, &view->taken);
		view->shared |= cpu == here;
		view->to_give_way |= cpu == here && i < number;
	}
}

int clv_placement_give_way(const uint64_t *left_ns, unsigned count, const cpu_set_t *allowed, const cpu_set_t *taken)
{
	int best = -1;

	for (unsigned i = 0; i < count; i++)
		if (CPU_ISSET(i, allowed) && !CPU_ISSET(i, taken) && (best < 0 || left_ns[i] > left_ns[best]))
			best = (int)i;
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

/* From a processor that is another's. At once, but not over and over: the scheduler may see it differently. */
static int give_way(struct clv_placement *p, uint64_t now_ns, const struct clv_crew_view *view)
{
	cpu_set_t allowed;

	if (p->gave_way_ns && now_ns - p->gave_way_ns < CLV_PLACEMENT_LOOK_NS)
		return -1;
	p->gave_way_ns = now_ns;
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -1;
	int to = clv_placement_give_way(p->left_ns, p->count, &allowed, &view->taken);

	return to < 0 ? -1 : move_to(to, &allowed);
}

/* Where it may go from here: to none that another has, unless all are taken and this one is another's as well. */
static bool may_go(unsigned here, const cpu_set_t *allowed, const struct clv_crew_view *view, cpu_set_t *able)
{
	for (int pass = 0; pass < 1 + view->shared; pass++) {
		*able = *allowed;
		for (unsigned i = 0; i < CPU_SETSIZE && !pass; i++)
			if (CPU_ISSET(i, &view->taken))
				CPU_CLR(i, able);
		CPU_CLR(here, able);
		if (CPU_COUNT(able))
			return true;
	}
	return false;
}

/* To where most is left, if it is time to look and there is a choice. */
static int look_around(struct clv_placement *p, unsigned here, uint64_t now_ns, const struct clv_crew_view *view)
{
	cpu_set_t allowed, able;
	int to = -1;

	if (now_ns - p->looked_ns < CLV_PLACEMENT_LOOK_NS)
		return -1;
	uint64_t began_ns = clv_clock_thread_ns(), own_ns = began_ns - p->own_ns;
	if (own_ns < COST_SHARE * p->cost_ns || sched_getaffinity(0, sizeof(allowed), &allowed) ||
	    !may_go(here, &allowed, view, &able))
		return -1;
	if (look(p, here, own_ns))
		to = clv_placement_choose(p->left_ns, p->count, here, now_ns - p->looked_ns, &able);
	if (to >= 0)
		to = move_to(to, &allowed);
	p->looked_ns = now_ns;
	p->own_ns = clv_clock_thread_ns();
	p->cost_ns = p->own_ns - began_ns;
	return to;
}

int clv_placement_tick(struct clv_placement *p, uint64_t now_ns)
{
	struct clv_crew_view view = {.shared = false};
	int to = -1;

	if (!p)
		return -1;
	unsigned here = (unsigned)sched_getcpu();
	if (p->crew)
		clv_crew_meet(p->crew, p->number, here, now_ns, &view);
	if (view.to_give_way)
		to = give_way(p, now_ns, &view);
	return to < 0 ? look_around(p, here, now_ns, &view) : to;
}
