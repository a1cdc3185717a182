/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run is doing, for whoever asks: a unix socket in CLV_STATUS_DIR (or systemd's $RUNTIME_DIRECTORY) that only the
 * same user can open, PID.sock. Whoever connects sends one line, "text" or "json", and gets an answer and the end.
 *
 * All on the main thread, between packets; a client that is slow loses its answer.
 */
#ifndef CLV_CLI_STATUS_H
#define CLV_CLI_STATUS_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/engine.h"
#include "export/summary.h"

#define CLV_STATUS_DIR "/run/clovisor"
/* Open requests that are shown; how many there are is always told. */
#define CLV_STATUS_OPEN 100u
/* What is open for less is on its way, not worth a line. */
#define CLV_STATUS_OPEN_NS (1000ull * 1000 * 1000)
/* The longest answer. */
#define CLV_STATUS_BYTES (1u << 20)

struct clv_status;

/* Where sockets are: $RUNTIME_DIRECTORY, or CLV_STATUS_DIR. */
const char *clv_status_dir(void);

/* NULL when nobody can be let in: then there is no status, and a debug line says why. */
struct clv_status *clv_status_open(void);
/* Removes the socket. NULL is allowed. */
void clv_status_close(struct clv_status *s);

/* Often, with CLOCK_MONOTONIC: answers who asks, looking some ten times a second. NULL is allowed. */
void clv_status_poll(struct clv_status *s, uint64_t now_ns, void (*answer)(void *ctx, FILE *f, bool json), void *ctx);

/* What there is to tell of a run. */
struct clv_status_report {
	struct clv_engine *const *engine; /* the workers', so many: */
	unsigned workers;
	const struct clv_resources *resources;
	const struct clv_summary *summary;             /* with its figures */
	void (*places)(void *ctx, FILE *f, bool json); /* as clv_run_config.places */
	void *ctx;
};
void clv_status_write(const struct clv_status_report *report, FILE *f, bool json);

/* Writes any bytes: as a JSON string, or so that no terminal takes them for a command. */
void clv_status_text(FILE *f, struct clv_slice s, bool json);

#endif
