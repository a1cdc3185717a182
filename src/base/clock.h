/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that deadlines go by, and what a thread uses. Any thread. */
#ifndef CLV_BASE_CLOCK_H
#define CLV_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clv_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Nanoseconds of processor time that the calling thread has had. */
static inline uint64_t clv_clock_thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* CLOCK_MONOTONIC in `ms`, as pthread_cond_timedwait() takes it where the condition goes by CLOCK_MONOTONIC. */
static inline struct timespec clv_clock_after(unsigned ms)
{
	uint64_t ns = clv_clock_ns() + ms * 1000000ull;

	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

#endif
