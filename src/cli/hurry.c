/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns SIGXCPU, who runs ahead and who rests. The signal is the process's and may come to any of its threads: so it
 * slows all down. Any thread.
 */
#include "cli/hurry.h"

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

static const struct sched_param first = {.sched_priority = 1};

static void hurry_end(int signal)
{
	static const struct sched_param normal;
	int keep = errno;

	for (unsigned i = 0; i < CLV_HURRY_THREADS; i++) {
		pid_t thread = atomic_exchange(&hurried[i], 0);

		if (thread)
			sched_setscheduler(thread, SCHED_OTHER | SCHED_RESET_ON_FORK, &normal);
	}
	errno = keep;
}

void clv_hurry(unsigned seat)
{
	static const struct rlimit burst = {.rlim_cur = CLV_HURRY_BURST_US, .rlim_max = RLIM_INFINITY};
	struct sigaction slow = {.sa_handler = hurry_end, .sa_flags = SA_RESTART};

	sigaction(SIGXCPU, &slow, NULL);
	atomic_store(&hurried[seat], gettid());
	if (setpriority(PRIO_PROCESS, 0, -15)) /* on Linux, of this thread alone */
		clv_debug("cannot raise the priority: %s", strerror(errno));
	if (setrlimit(RLIMIT_RTTIME, &burst) || sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		clv_debug("cannot run ahead of others: %s", strerror(errno));
}

bool clv_hurry_is_over(unsigned seat)
{
	return !atomic_load_explicit(&hurried[seat], memory_order_relaxed);
}

bool clv_hurry_rest(unsigned seat)
{
	static const struct sched_param none;
	int thread = atomic_load(&hurried[seat]);

	/* Who runs ahead was allowed to. */
	if (!thread || (sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) != SCHED_FIFO)
		return false;
	atomic_store(&hurried[seat], 0);
	if (sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &none)) {
		clv_debug("cannot let others go first: %s", strerror(errno));
		atomic_store(&hurried[seat], thread);
		return false;
	}
	atomic_store(&resting[seat], thread);
	return true;
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
	if (sched_setscheduler(thread, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		clv_debug("cannot run ahead of others again: %s", strerror(errno));
}
