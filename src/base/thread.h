/* SPDX-License-Identifier: Apache-2.0 */
/* How threads begin. */
#ifndef CLV_BASE_THREAD_H
#define CLV_BASE_THREAD_H

#include <pthread.h>

/*
 * Begins a thread. `name`, of which 15 bytes are seen, is for top -H. Signals are the main thread's: this one gets none
 * but SIGXCPU, which tells whoever has run for too long of it (setrlimit(2), RLIMIT_RTTIME). Returns 0 or -errno.
 */
int clv_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);

/*
 * The calling thread, when it is woken, does not interrupt who works, but waits for a processor: for one whose work
 * comes in large pieces, which nobody waits for soon (SCHED_BATCH, sched(7)).
 */
void clv_thread_patient(void);

#endif
