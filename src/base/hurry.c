/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns SIGXCPU, who runs ahead and who rests. The signal is the process's and may come to any of its threads: so it
 * slows all down. Any thread.
 */
#include "base/hurry.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* By seat; 0: nobody, or one that is slow, or rests. */
static atomic_int hurried[CLV_HURRY_THREADS];
/* 0: nobody. */
static atomic_int resting[CLV_HURRY_THREADS];

static const struct sched_param normal;

static void hurry_end(int signal)
{
	int keep = errno;

	for (unsigned i = 0; i < CLV_HURRY_THREADS; i++) {
		pid_t thread = atomic_exchange(&hurried[i], 0);

		if (thread)
			sched_setscheduler(thread, SCHED_OTHER | SCHED_RESET_ON_FORK, &normal);
	}
	errno = keep;
}

/* Also sets the limit anew, which the kernel raises whenever it says that it was reached. Returns 0 or -1. */
static int run_ahead(pid_t thread)
{
	static const struct sched_param first = {.sched_priority = 1};
	static const struct rlimit burst = {.rlim_cur = CLV_HURRY_BURST_US, .rlim_max = RLIM_INFINITY};

	return setrlimit(RLIMIT_RTTIME, &burst) || sched_setscheduler(thread, SCHED_FIFO | SCHED_RESET_ON_FORK, &first)
		       ? -1
		       : 0;
}

static int run_last(pid_t thread)
{
	return sched_setscheduler(thread, SCHED_IDLE | SCHED_RESET_ON_FORK, &normal);
}

bool clv_hurry(unsigned seat)
{
	struct sigaction slow = {.sa_handler = hurry_end, .sa_flags = SA_RESTART};

	sigaction(SIGXCPU, &slow, NULL);
	atomic_store(&hurried[seat], gettid());
	if (setpriority(PRIO_PROCESS, 0, -15)) /* on Linux, of this thread alone */
		clv_debug("cannot raise the priority: %s", strerror(errno));
	if (!run_ahead(0))
		return true;
	clv_debug("cannot run ahead of others: %s", strerror(errno));
	return false;
}

void clv_hurry_leave(unsigned seat)
{
	atomic_store(&hurried[seat], 0);
	atomic_store(&resting[seat], 0);
}

bool clv_hurry_is_over(unsigned seat)
{
	return !atomic_load_explicit(&hurried[seat], memory_order_relaxed);
}

/* Who may run ahead need not be allowed to leave SCHED_IDLE: RLIMIT_RTPRIO is for the former, RLIMIT_NICE for this. */
bool clv_hurry_can_rest(void)
{
	int policy = sched_getscheduler(0);

	if ((policy & ~SCHED_RESET_ON_FORK) != SCHED_FIFO || run_last(0))
		return false;
	return !run_ahead(0);
}

/*
 * Somebody else does this to it: who did it to itself might not get as far as to say so. It may be called at any
 * moment in between; who comes last looks whether it was.
 */
void clv_hurry_rest(unsigned seat)
{
	pid_t thread = atomic_exchange(&hurried[seat], 0);

	if (!thread)
		return;
	atomic_store(&resting[seat], thread);
	if (run_last(thread))
		clv_hurry_call(seat);
	else if (!atomic_load(&resting[seat]))
		run_ahead(thread);
}

bool clv_hurry_rests(unsigned seat)
{
	return atomic_load_explicit(&resting[seat], memory_order_relaxed);
}

void clv_hurry_call(unsigned seat)
{
	pid_t thread = atomic_exchange(&resting[seat], 0);

	if (!thread)
		return;
	atomic_store(&hurried[seat], thread);
	if (run_ahead(thread) && sched_setscheduler(thread, SCHED_OTHER | SCHED_RESET_ON_FORK, &normal))
		clv_warn("a thread that reads packets cannot run ahead of others again: %s", strerror(errno));
}
