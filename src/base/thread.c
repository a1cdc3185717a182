/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing. Any thread. */
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* With the byte that ends it. */
#define NAME_BYTES 16

int clv_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
	sigset_t others, before;
	char seen[NAME_BYTES];

	sigfillset(&others);
	sigdelset(&others, SIGXCPU);
	pthread_sigmask(SIG_SETMASK, &others, &before);
	int err = -pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return err;
	snprintf(seen, sizeof(seen), "%s", name);
	pthread_setname_np(*thread, seen);
	return 0;
}

void clv_thread_patient(void)
{
	static const struct sched_param normal;

	if (sched_setscheduler(0, SCHED_BATCH, &normal))
		clv_debug("cannot leave the turn to others: %s", strerror(errno));
}
