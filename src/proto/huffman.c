/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of up to eight bits, which nearly all bytes of names and values have, are looked up by the next eight. Words of
 * one length are consecutive numbers, and those of the next length follow them: so for the longer ones the first bits,
 * as a number, tell the length, and that the byte. Bytes whose words have more than 15 bits are control characters, the
 * backslash and what is not ASCII: they are left to others.
 */
#include "proto/huffman.h"

struct huffman_short {
	uint8_t bits; /* 0: the word is longer */
	char byte;
};

/* All that begin with the word. */
#define FIVE(word, byte)  [(word) << 3 ...((word) << 3) + 7] = {5, byte}
#define SIX(word, byte)   [(word) << 2 ...((word) << 2) + 3] = {6, byte}
#define SEVEN(word, byte) [(word) << 1 ...((word) << 1) + 1] = {7, byte}
#define EIGHT(word, byte) [word] = {8, byte}

static const struct huffman_short huffman_short[256] = {
	FIVE(0x00, '0'),  FIVE(0x01, '1'),  FIVE(0x02, '2'),  FIVE(0x03, 'a'),  FIVE(0x04, 'c'),  FIVE(0x05, 'e'),
	FIVE(0x06, 'i'),  FIVE(0x07, 'o'),  FIVE(0x08, 's'),  FIVE(0x09, 't'),  SIX(0x14, ' '),   SIX(0x15, '%'),
	SIX(0x16, '-'),   SIX(0x17, '.'),   SIX(0x18, '/'),   SIX(0x19, '3'),   SIX(0x1a, '4'),   SIX(0x1b, '5'),
	SIX(0x1c, '6'),   SIX(0x1d, '7'),   SIX(0x1e, '8'),   SIX(0x1f, '9'),   SIX(0x20, '='),   SIX(0x21, 'A'),
	SIX(0x22, '_'),   SIX(0x23, 'b'),   SIX(0x24, 'd'),   SIX(0x25, 'f'),   SIX(0x26, 'g'),   SIX(0x27, 'h'),
	SIX(0x28, 'l'),   SIX(0x29, 'm'),   SIX(0x2a, 'n'),   SIX(0x2b, 'p'),   SIX(0x2c, 'r'),   SIX(0x2d, 'u'),
	SEVEN(0x5c, ':'), SEVEN(0x5d, 'B'), SEVEN(0x5e, 'C'), SEVEN(0x5f, 'D'), SEVEN(0x60, 'E'), SEVEN(0x61, 'F'),
	SEVEN(0x62, 'G'), SEVEN(0x63, 'H'), SEVEN(0x64, 'I'), SEVEN(0x65, 'J'), SEVEN(0x66, 'K'), SEVEN(0x67, 'L'),
	SEVEN(0x68, 'M'), SEVEN(0x69, 'N'), SEVEN(0x6a, 'O'), SEVEN(0x6b, 'P'), SEVEN(0x6c, 'Q'), SEVEN(0x6d, 'R'),
	SEVEN(0x6e, 'S'), SEVEN(0x6f, 'T'), SEVEN(0x70, 'U'), SEVEN(0x71, 'V'), SEVEN(0x72, 'W'), SEVEN(0x73, 'Y'),
	SEVEN(0x74, 'j'), SEVEN(0x75, 'k'), SEVEN(0x76, 'q'), SEVEN(0x77, 'v'), SEVEN(0x78, 'w'), SEVEN(0x79, 'x'),
	SEVEN(0x7a, 'y'), SEVEN(0x7b, 'z'), EIGHT(0xf8, '&'), EIGHT(0xf9, '*'), EIGHT(0xfa, ','), EIGHT(0xfb, ';'),
	EIGHT(0xfc, 'X'), EIGHT(0xfd, 'Z'),
};

/* The others, by their words: shorter ones first. */
static const char huffman_bytes[] = "!\"()?"
				    "'+|"
				    "#>"
				    "\0$@[]~"
				    "^}"
				    "<`{";

struct huffman_words {
	uint32_t end; /* the first 32 bits are below this */
	uint8_t bits;
	int16_t from; /* the word as a number, and this: which of huffman_bytes it is */
};

static const struct huffman_words huffman_words[] = {
	{0xff400000, 10, 0 - 0x3f8},   {0xffa00000, 11, 5 - 0x7fa},   {0xffc00000, 12, 8 - 0xffa},
	{0xfff00000, 13, 10 - 0x1ff8}, {0xfff80000, 14, 16 - 0x3ffc}, {0xfffe0000, 15, 18 - 0x7ffc},
};

static struct huffman_short huffman_long(uint64_t ahead)
{
	for (size_t i = 0; i < sizeof(huffman_words) / sizeof(huffman_words[0]); i++) {
		const struct huffman_words *w = &huffman_words[i];

		if (ahead >> 32 < w->end)
			return (struct huffman_short){w->bits, huffman_bytes[(int)(ahead >> (64 - w->bits)) + w->from]};
	}
	return (struct huffman_short){UINT8_MAX, 0};
}

/* What is left is padding: less than a byte of ones. */
static bool huffman_is_padding(uint64_t ahead, unsigned bits)
{
	return bits < 8 && (!bits || ahead >> (64 - bits) == (1u << bits) - 1);
}

/* The bits that come next, from the highest one on. */
struct huffman_bits {
	uint64_t ahead;
	unsigned count;
	const uint8_t *p, *end; /* what is not among them yet */
};

/* Afterwards there are more than any word has, or all. */
static inline void huffman_fill(struct huffman_bits *b)
{
	if (b->end - b->p >= 4) {
		const uint8_t *p = b->p;

		b->ahead |= (uint64_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3])
			    << (32 - b->count);
		b->count += 32;
		b->p += 4;
		return;
	}
	for (; b->p < b->end; b->count += 8)
		b->ahead |= (uint64_t)*b->p++ << (56 - b->count);
}

ssize_t clv_huffman_decode(struct clv_slice in, char *room, size_t cap)
{
	struct huffman_bits b = {.p = in.data, .end = in.data + in.len};

	for (size_t len = 0;; len++) {
		if (b.count < 16 && b.p < b.end)
			huffman_fill(&b);
		struct huffman_short word = huffman_short[b.ahead >> 56];
		if (!word.bits)
			word = huffman_long(b.ahead);
		if (word.bits > b.count)
			return huffman_is_padding(b.ahead, b.count) ? (ssize_t)len : -1;
		if (len == cap)
			return -1;
		room[len] = word.byte;
		b.ahead <<= word.bits;
		b.count -= word.bits;
	}
}
