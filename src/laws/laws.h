/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of clovisor/proto.h, as functions that try them on one protocol with talks of it. tests/laws runs them on
 * every protocol built in, `clovisor check-plugin` on those of a plugin.
 *
 * They keep their state in static memory: one at a time in a process. A parser that breaks its contract in a way that
 * leaves nothing to go on with ends the process: by abort(), after laws.broken(), or by SIGSEGV at a guard page.
 */
#ifndef CLV_LAWS_LAWS_H
#define CLV_LAWS_LAWS_H

#include "laws/talk.h"

#define LAWS_WHY 240

struct clv_head_rules;

struct laws {
	const struct talk_sample *sample;
	/* From begin() to end() nothing may be allocated; end() says whether that was so. NULL: nobody watches. */
	void (*begin)(void);
	bool (*end)(void);
	/* A line for people: figures, and what is wrong in which talk. NULL: nobody listens. */
	void (*say)(const char *line);
	/* The contract is broken, and the process about to end. NULL: it is said on standard error. */
	void (*broken)(const char *what);
	const struct clv_head_rules *rules; /* law_steady: with these; NULL: none */
	char why[LAWS_WHY];                 /* of a law that does not hold; of one that does, a figure, or "" */
};

/* Of a parser by itself (parser.c). True: the law holds. */
bool law_splits(struct laws *l);
bool law_losses(struct laws *l);
bool law_offsets(struct laws *l);
bool law_allocations(struct laws *l);
bool law_noise(struct laws *l);
bool law_probe(struct laws *l);
bool law_describe(struct laws *l);

/* Of a parser within the engine (engine.c). */
bool law_pairs(struct laws *l);
bool law_pairs_losses(struct laws *l);
bool law_pairs_late(struct laws *l);
bool law_pairs_offsets(struct laws *l);
bool law_steady(struct laws *l);

struct law {
	const char *name, *text;
	bool (*holds)(struct laws *l);
	bool talk;    /* it takes a talk, */
	bool truth;   /*   and that says what spans must say */
	bool alone;   /* it tries a parser by itself: not one that only follows another protocol */
	bool watched; /* it takes begin() and end() */
};

/* All of them; ended by an empty name. */
extern const struct law laws_all[];

/* Why the law does not hold; returns false. */
bool laws_fail(struct laws *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What there is to say of one that holds; returns true. */
bool laws_hold(struct laws *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void laws_say(const struct laws *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
