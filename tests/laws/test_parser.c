/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of proto.h, on every registered parser by itself. Whether the right two are paired is not the parser's
 * business but the engine's: test_engine.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "allocations.h"
#include "engine/limits.h"
#include "pump.h"

#define TALKS 160

static const struct talk_sample *const samples[] = {&talk_http1, NULL};

static struct talk talk;
static struct pump pump;

/* ---- ways to cut ------------------------------------------------------------------------------------------- */

enum cut { CUT_BYTES, CUT_WRITES, CUT_MSS, CUT_RANDOM };

static uint32_t next_cut(enum cut cut, uint64_t *rng, uint32_t left)
{
	uint32_t n = left;

	switch (cut) {
	case CUT_BYTES:
		n = 1;
		break;
	case CUT_MSS:
		n = 1448;
		break;
	case CUT_RANDOM:
		n = 1 + talk_below(rng, talk_chance(rng, 50) ? 20 : 3000);
		break;
	default:
		break;
	}
	return n < left ? n : left;
}

/* Plays the talk from the given offsets on; loses `percent` of the segments, or the one numbered `lose`. */
static void play(enum cut cut, uint64_t seed, uint32_t percent, int lose, const uint32_t from[2])
{
	uint64_t rng = seed;
	int segment = 0;

	for (unsigned i = 0; i < talk.writes; i++) {
		const struct talk_write *w = &talk.write[i];
		uint32_t at = w->start < from[w->dir] ? from[w->dir] : w->start, end = w->start + w->len;
		while (at < end) {
			uint32_t n = next_cut(cut, &rng, end - at);
			if (segment++ == lose || (percent && talk_chance(&rng, percent)))
				pump_hole(&pump, w->dir, n);
			else
				pump_bytes(&pump, w->dir, n);
			at += n;
		}
	}
	for (int d = 0; d < 2; d++)
		if (talk.fin[d])
			pump_fin(&pump, (enum clv_dir)d);
}

static const uint32_t at_start[2];

static void make(const struct talk_sample *sample, uint64_t seed)
{
	talk_reset(&talk, seed);
	sample->make(&talk);
}

/* ---- the laws ---------------------------------------------------------------------------------------------- */

static void expect_everything(uint64_t seed)
{
	bool all = pump.wrong == 0;

	for (unsigned i = 0; i < talk.messages; i++)
		all &= pump.seen[i] == (SEEN_HEAD | SEEN_END);
	if (all)
		return;
	print_message("# talk %lu:\n", (unsigned long)seed);
	for (unsigned i = 0; i < talk.messages; i++)
		if (pump.seen[i] != (SEEN_HEAD | SEEN_END))
			print_message("#   message %u (exchange %d, dir %d, at %u): %u\n", i, talk.message[i].id,
				      talk.message[i].dir, talk.message[i].start, pump.seen[i]);
	fail();
}

static void test_splits(void **state)
{
	for (const struct talk_sample *const *s = samples; *s; s++) {
		pump_init(&pump, *s);
		pump.verbose = true;
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			make(*s, seed);
			/* Byte by byte takes its time: not with every talk. */
			for (enum cut cut = seed % 8 ? CUT_WRITES : CUT_BYTES; cut <= CUT_RANDOM; cut++) {
				pump_open(&pump, &talk, false, at_start);
				play(cut, seed, 0, -1, at_start);
				expect_everything(seed);
			}
		}
		pump_fini(&pump);
	}
}

/* Everything reported is true; and enough is, that hunting can be said to work. */
static void test_losses(void **state)
{
	unsigned heads = 0, all = 0;

	for (const struct talk_sample *const *s = samples; *s; s++) {
		pump_init(&pump, *s);
		pump.verbose = true;
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			make(*s, seed);
			for (unsigned k = 0; k < 10; k++) {
				pump_open(&pump, &talk, false, at_start);
				if (k < 8)
					play(CUT_MSS, seed + k, 0, (int)talk_below(&talk.rng, 60), at_start);
				else
					play(k % 2 ? CUT_MSS : CUT_RANDOM, seed + k, k == 8 ? 20 : 3, -1, at_start);
				assert_int_equal(pump.wrong, 0);
				for (unsigned i = 0; i < talk.messages; i++)
					heads += pump.seen[i] != 0;
				all += talk.messages;
			}
		}
		pump_fini(&pump);
	}
	print_message("# %u of %u messages seen under loss\n", heads, all);
	assert_true(heads > all / 10 * 7);
}

static void test_offsets(void **state)
{
	unsigned recovered = 0, could = 0;

	for (const struct talk_sample *const *s = samples; *s; s++) {
		pump_init(&pump, *s);
		pump.verbose = true;
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			make(*s, seed);
			for (unsigned k = 0; k < 10; k++) {
				uint32_t from[2] = {talk_below(&talk.rng, talk.len[0]),
						    talk_below(&talk.rng, talk.len[1])};
				pump_open(&pump, &talk, true, from);
				play(CUT_MSS, seed, 0, -1, from);
				assert_int_equal(pump.wrong, 0);
				/* In each direction a write that begins with a message, later on, must be found. */
				for (int d = 0; d < 2; d++) {
					bool later = false, seen = false;
					for (unsigned i = 0; i < talk.messages; i++) {
						const struct talk_message *m = &talk.message[i];
						if (m->dir != (enum clv_dir)d || m->start <= from[d])
							continue;
						seen |= pump.seen[i] != 0;
						for (unsigned w = 0; w < talk.writes; w++)
							later |= talk.write[w].dir == m->dir &&
								 talk.write[w].start == m->start;
					}
					could += later;
					recovered += later && seen;
				}
			}
		}
		pump_fini(&pump);
	}
	print_message("# recovered %u of %u times\n", recovered, could);
	assert_true(recovered > could / 100 * 95);
}

static void test_no_allocation(void **state)
{
	for (const struct talk_sample *const *s = samples; *s; s++) {
		pump_init(&pump, *s);
		for (uint64_t seed = 0; seed < TALKS / 10; seed++) {
			make(*s, seed);
			pump_open(&pump, &talk, false, at_start);
			unsigned before = allocations;
			play(CUT_RANDOM, seed, 2, -1, at_start);
			assert_int_equal(allocations, before);
		}
		pump_fini(&pump);
	}
}

/* Noise, and talks with bytes changed: nothing is read beyond the slice, and nothing is kept without bound. */
static void test_noise(void **state)
{
	for (const struct talk_sample *const *s = samples; *s; s++) {
		pump_init(&pump, *s);
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			make(*s, seed);
			unsigned changes = 1 + talk_below(&talk.rng, 60);
			for (unsigned i = 0; i < changes; i++) {
				static const uint8_t nasty[] = "\r\n :;,\t\0/0a";
				enum clv_dir d = talk_below(&talk.rng, 2);
				talk.bytes[d][talk_below(&talk.rng, talk.len[d])] =
					nasty[talk_below(&talk.rng, sizeof(nasty) - 1)];
			}
			pump_open(&pump, &talk, false, at_start);
			play(CUT_RANDOM, seed, talk_chance(&talk.rng, 50) ? 0 : 5, -1, at_start);
			assert_true(pump.most_tail <= CLV_TAIL_BYTES + 3000);
		}
		pump_fini(&pump);
	}
}

/* Every registered parser has a sample: otherwise the laws are not run on it. */
static void test_all_have_samples(void **state)
{
	for (const struct clv_proto *const *p = clv_protos; *p; p++) {
		bool found = false;
		for (const struct talk_sample *const *s = samples; *s; s++)
			found |= clv_proto_find((*s)->proto) == *p;
		assert_true(found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_have_samples), cmocka_unit_test(test_splits),
		cmocka_unit_test(test_losses),           cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_no_allocation),    cmocka_unit_test(test_noise),
	};

	talk_init(&talk);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	talk_fini(&talk);
	return rc;
}
