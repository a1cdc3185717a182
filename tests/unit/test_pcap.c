/* SPDX-License-Identifier: Apache-2.0 */
/* Files as they come: gzip'ed, cut short, broken, empty, or no capture at all; and pipes that take their time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#include "source/pcap.h"

static char path[] = P_tmpdir "/clovisor-test-XXXXXX";

static int make_path(void **state)
{
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);

	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int drop_path(void **state)
{
	return unlink(path);
}

/* ---- a file: so many packets, 10.0.0.1:1 to 10.0.0.2:2, one byte of payload each --------------------- */

#define HEADER 24
#define RECORD (16 + 41)

struct file {
	uint8_t b[HEADER + RECORD * 1000];
	size_t len;
};

static void file_header(struct file *f, uint32_t link_type)
{
	const uint32_t h[] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, link_type};

	memcpy(f->b, h, HEADER);
	f->len = HEADER;
}

static void file_packet(struct file *f, uint32_t number)
{
	static const uint8_t frame[41] = {0x45, 0, 0, 41, 0, 0, 0, 0, 64, 6, 0, 0,    10,   0, 0, 1, 10, 0, 0, 2,  0,
					  1,    0, 2, 0,  0, 0, 0, 0, 0,  0, 0, 0x50, 0x10, 0, 0, 0, 0,  0, 0, 'x'};
	const uint32_t h[] = {1700000000 + number, 5, sizeof(frame), sizeof(frame)};

	memcpy(f->b + f->len, h, 16);
	memcpy(f->b + f->len + 16, frame, sizeof(frame));
	f->len += RECORD;
}

static struct file *file_new(uint32_t packets)
{
	static struct file f;

	file_header(&f, CLV_LINK_RAW_FILE);
	for (uint32_t i = 0; i < packets; i++)
		file_packet(&f, i);
	return &f;
}

static void write_path(const void *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Appends a gzip member to what `at` already holds. */
static size_t gzip(uint8_t *at, size_t room, const uint8_t *data, size_t len)
{
	z_stream z = {
		.next_in = (uint8_t *)data, .avail_in = (unsigned)len, .next_out = at, .avail_out = (unsigned)room};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static void count(void *ctx, const struct clv_packet *p)
{
	unsigned *n = ctx;

	assert_int_equal(p->ts_ns, (1700000000 + (uint64_t)*n) * 1000000000 + 5000);
	assert_int_equal(p->payload.data[0], 'x');
	++*n;
}

static void count_any(void *ctx, const struct clv_packet *p)
{
	assert_int_equal(p->payload.data[0], 'x');
	++*(unsigned *)ctx;
}

/* Reads all; returns how many packets came, and how it ended, and whether there was something to complain of. */
static unsigned read_all(const char *name, int *end, bool *error)
{
	struct clv_pcap_config config = {.path = name};
	struct clv_source *s;
	char err[512] = "";
	unsigned n = 0;
	int r;

	r = clv_pcap_open(&config, &s, err, sizeof(err));
	if (r)
		fail_msg("%s", err);
	do {
		r = s->ops->poll(s, count, &n, 0);
		assert_true(r <= 256);
	} while (r >= 0);
	*end = r;
	*error = clv_pcap_error(s) != NULL;
	s->ops->close(s);
	return n;
}

static void check(unsigned packets, int end, bool error)
{
	bool e;
	int r;

	assert_int_equal(read_all(path, &r, &e), packets);
	assert_int_equal(r, end);
	assert_int_equal(e, error);
}

static void check_refused(int expected, const char *says)
{
	struct clv_pcap_config config = {.path = path};
	struct clv_source *s = NULL;
	char err[512] = "";

	assert_int_equal(clv_pcap_open(&config, &s, err, sizeof(err)), expected);
	assert_null(s);
	assert_int_equal(strncmp(err, path, strlen(path)), 0);
	if (!strstr(err, says))
		fail_msg("\"%s\" does not say \"%s\"", err, says);
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void test_plain(void **state)
{
	struct file *f = file_new(1000);

	write_path(f->b, f->len);
	check(1000, CLV_SOURCE_END, false);
	write_path(f->b, HEADER);
	check(0, CLV_SOURCE_END, false);
}

static void test_figures(void **state)
{
	struct clv_figure figures[CLV_PCAP_FIGURES];
	struct clv_pcap_config config = {.path = path};
	struct file *f = file_new(3);
	struct clv_source *s;
	char err[512];
	unsigned n = 0;

	f->b[HEADER + RECORD + 16 + 9] = 17; /* the second one is UDP, with one byte */
	memcpy(f->b + HEADER + RECORD + 16 + 20 + 4, "\0\x09..x", 5);
	f->b[HEADER + 2 * RECORD + 16] = 0; /* the third is nothing */
	write_path(f->b, f->len);
	assert_int_equal(clv_pcap_open(&config, &s, err, sizeof(err)), 0);
	assert_int_equal(s->ops->poll(s, count, &n, 0), 2);
	assert_int_equal(s->ops->poll(s, count, &n, 0), CLV_SOURCE_END);

	size_t total = clv_pcap_figures(s, figures);

	assert_in_range(total, 8, CLV_PCAP_FIGURES);
	for (size_t i = 0; i < total; i++) {
		if (!strcmp(figures[i].name, "packets"))
			assert_int_equal(figures[i].value, 3);
		else if (!strcmp(figures[i].name, "bytes"))
			assert_int_equal(figures[i].value, 3 * 41);
		else if (!strcmp(figures[i].name, "record_bytes"))
			assert_int_equal(figures[i].value, 2 * 41);
		else if (!strcmp(figures[i].name, "records") || !strcmp(figures[i].name, "payload_bytes"))
			assert_int_equal(figures[i].value, 2);
		else if (!strcmp(figures[i].name, "udp") || !strcmp(figures[i].name, "drop_malformed"))
			assert_int_equal(figures[i].value, 1);
		else
			assert_int_equal(figures[i].value, 0);
		assert_int_equal(figures[i].drop, strncmp(figures[i].name, "drop_", 5) == 0);
	}
	s->ops->close(s);
}

static void test_cut_short(void **state)
{
	struct file *f = file_new(10);

	for (size_t cut = 1; cut < RECORD; cut++) {
		write_path(f->b, f->len - cut);
		check(9, CLV_SOURCE_END, true);
	}
}

static void test_broken_in_the_middle(void **state)
{
	struct file *f = file_new(10);

	memset(f->b + HEADER + 4 * RECORD + 8, 0xff, 8); /* a packet of 4 GiB */
	write_path(f->b, f->len);
	check(4, -EBADMSG, true);
}

static void test_gzip(void **state)
{
	static uint8_t zipped[sizeof(struct file)];
	struct file *f = file_new(1000);
	size_t len = gzip(zipped, sizeof(zipped), f->b, f->len);

	write_path(zipped, len);
	check(1000, CLV_SOURCE_END, false);
	memset(zipped + len, 0, 100); /* padding, as on tapes */
	write_path(zipped, len + 100);
	check(1000, CLV_SOURCE_END, false);
}

/* Members one after another are one file; a member's end is nowhere special. */
static void test_gzip_members(void **state)
{
	static uint8_t zipped[2 * sizeof(struct file)];
	struct file *f = file_new(100);
	size_t len = 0;

	for (size_t at = 0, step = 77; at < f->len; at += step) {
		size_t piece = f->len - at < step ? f->len - at : step;

		len += gzip(zipped + len, sizeof(zipped) - len, f->b + at, piece);
	}
	write_path(zipped, len);
	check(100, CLV_SOURCE_END, false);
}

static void test_gzip_cut_short(void **state)
{
	static uint8_t zipped[sizeof(struct file)];
	struct file *f = file_new(1000);
	size_t len = gzip(zipped, sizeof(zipped), f->b, f->len);
	bool error;
	int end;

	write_path(zipped, len - 4); /* all data is there, but not its checksum */
	check(1000, CLV_SOURCE_END, true);
	write_path(zipped, len / 2);
	assert_in_range(read_all(path, &end, &error), 100, 999);
	assert_int_equal(end, CLV_SOURCE_END);
	assert_true(error);
}

static void test_gzip_damaged(void **state)
{
	static uint8_t zipped[sizeof(struct file)];
	struct file *f = file_new(1000);
	size_t len = gzip(zipped, sizeof(zipped), f->b, f->len);
	bool error;
	int end;

	zipped[len - 8] ^= 1; /* the checksum */
	write_path(zipped, len);
	read_all(path, &end, &error);
	assert_int_equal(end, -EBADMSG);
	assert_true(error);
}

static void test_refused(void **state)
{
	struct file *f = file_new(1);

	write_path("", 0);
	check_refused(-EINVAL, "empty");
	write_path("a", 1);
	check_refused(-EINVAL, "");
	write_path("this is no capture file at all", 30);
	check_refused(-EINVAL, "");
	write_path(f->b, 10);
	check_refused(-EINVAL, "");
	write_path("\x28\xb5\x2f\xfd....", 8);
	check_refused(-ENOTSUP, "gzip");
	file_header(f, 105);
	write_path(f->b, f->len);
	check_refused(-ENOTSUP, "IEEE802_11");
	unlink(path);
	check_refused(-ENOENT, "No such file");
	assert_int_equal(mkdir(path, 0700), 0);
	check_refused(-EISDIR, "directory");
	rmdir(path);
	make_path(state);
}

/* A pipe whose writer is slow: what is there is delivered, what is not is not waited for. */
static void test_pipe(void **state)
{
	struct clv_pcap_config config = {.path = "-"};
	struct file *f = file_new(3);
	struct clv_source *s;
	int fds[2], old = dup(STDIN_FILENO);
	char err[512];
	unsigned n = 0;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(write(fds[1], f->b, HEADER + RECORD), HEADER + RECORD);
	assert_int_equal(clv_pcap_open(&config, &s, err, sizeof(err)), 0);
	assert_int_equal(s->ops->poll(s, count, &n, 0), 1);
	assert_int_equal(s->ops->poll(s, count, &n, 1), 0);
	assert_int_equal(write(fds[1], f->b + HEADER + RECORD, 2 * RECORD), 2 * RECORD);
	assert_int_equal(s->ops->poll(s, count, &n, 0), 2);
	close(fds[1]);
	assert_int_equal(s->ops->poll(s, count, &n, 0), CLV_SOURCE_END);
	assert_null(clv_pcap_error(s));
	s->ops->close(s);
	close(fds[0]);
	dup2(old, STDIN_FILENO);
	close(old);
}

/* ---- frames of all lengths, so that they end anywhere in a room ------------------------------------------------- */

#define LONGEST 262144u /* that libpcap reads */

/* Of packet number n: a few are long. */
static uint32_t length_of(uint32_t n)
{
	return n % 50 == 49 ? LONGEST - n % 7 : 41 + n * 7919 % 3000;
}

/* Packet number n, with that in it; IPv4's length is 0, as where segmentation was left to an interface. */
static uint32_t long_packet(uint8_t *at, uint32_t n)
{
	uint32_t len = length_of(n);
	const uint32_t h[] = {1700000000 + n, 5, len, len};

	memcpy(at, h, 16);
	memset(at + 16, (int)(n & 0xff), len);
	memset(at + 16, 0, 40);
	at[16] = 0x45;
	at[16 + 9] = 6;
	at[16 + 20 + 12] = 0x50;
	return 16 + len;
}

static void count_long(void *ctx, const struct clv_packet *p)
{
	unsigned *n = ctx;

	assert_int_equal(p->ts_ns, (1700000000 + (uint64_t)*n) * 1000000000 + 5000);
	assert_int_equal(p->payload.len, length_of(*n) - 40);
	for (size_t i = 0; i < p->payload.len; i += 61)
		assert_int_equal(p->payload.data[i], *n & 0xff);
	assert_int_equal(p->payload.data[p->payload.len - 1], *n & 0xff);
	++*n;
}

#define LONG_PACKETS 1000u

/* The file; of `cut`, the last packet lacks a byte. */
static uint8_t *long_file(size_t *len, bool cut)
{
	const uint32_t h[] = {0xa1b2c3d4, 0x00040002, 0, 0, LONGEST, CLV_LINK_RAW_FILE};
	uint8_t *b = malloc(HEADER + LONG_PACKETS * 16 + LONG_PACKETS * 3100 + LONG_PACKETS / 50 * LONGEST);

	assert_non_null(b);
	memcpy(b, h, HEADER);
	*len = HEADER;
	for (uint32_t n = 0; n < LONG_PACKETS; n++)
		*len += long_packet(b + *len, n);
	*len -= cut;
	return b;
}

static void poll_long(const char *name, unsigned packets, bool error)
{
	struct clv_pcap_config config = {.path = name};
	struct clv_source *s;
	char err[512];
	unsigned n = 0;
	int r;

	if (clv_pcap_open(&config, &s, err, sizeof(err)))
		fail_msg("%s", err);
	while ((r = s->ops->poll(s, count_long, &n, 1000)) >= 0)
		;
	assert_int_equal(r, CLV_SOURCE_END);
	assert_int_equal(n, packets);
	assert_int_equal(clv_pcap_error(s) != NULL, error);
	s->ops->close(s);
}

static void test_frames_of_all_lengths(void **state)
{
	size_t len;
	uint8_t *b = long_file(&len, false);

	write_path(b, len);
	poll_long(path, LONG_PACKETS, false);
	write_path(b, len - 1);
	poll_long(path, LONG_PACKETS - 1, true);
	b[2] ^= 1; /* a format that libpcap does not know */
	write_path(b, len);
	check_refused(-EINVAL, "");
	free(b);
}

/* A file that says that no packet is so long, and has one: from there on it is libpcap's, which cuts it. */
static void test_frame_longer_than_the_file_says(void **state)
{
	struct file *f = file_new(1000);
	uint32_t snapshot = 41;

	memcpy(f->b + 16, &snapshot, 4);
	write_path(f->b, f->len);
	check(1000, CLV_SOURCE_END, false);
	for (uint32_t i = 500; i < 700; i++) { /* the one behind it is a part of it, then */
		uint32_t twice[] = {2 * RECORD - 16, 2 * RECORD - 16};

		if (i % 2 == 0)
			memcpy(f->b + HEADER + i * RECORD + 8, twice, 8);
	}
	write_path(f->b, f->len);
	struct clv_pcap_config config = {.path = path};
	struct clv_figure figures[CLV_PCAP_FIGURES];
	struct clv_source *s;
	char err[512];
	unsigned n = 0;
	int r;

	assert_int_equal(clv_pcap_open(&config, &s, err, sizeof(err)), 0);
	while ((r = s->ops->poll(s, count_any, &n, 0)) >= 0)
		;
	assert_int_equal(r, CLV_SOURCE_END);
	assert_int_equal(n, 900);
	clv_pcap_figures(s, figures);
	assert_string_equal(figures[0].name, "packets");
	assert_int_equal(figures[0].value, 900);
	s->ops->close(s);
}

static void *write_all(void *arg)
{
	int fd = *(int *)arg;
	size_t len;
	uint8_t *b = long_file(&len, true);

	for (size_t at = 0, piece = 1; at < len; at += piece, piece = piece * 3 % 70001) { /* of all lengths, too */
		piece = piece < len - at ? piece : len - at;
		if (write(fd, b + at, piece) != (ssize_t)piece)
			break;
	}
	free(b);
	close(fd);
	return NULL;
}

static void test_pipe_of_frames_of_all_lengths(void **state)
{
	int fds[2], old = dup(STDIN_FILENO);
	pthread_t thread;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	pthread_create(&thread, NULL, write_all, &fds[1]);
	poll_long("-", LONG_PACKETS - 1, true);
	pthread_join(thread, NULL);
	close(fds[0]);
	dup2(old, STDIN_FILENO);
	close(old);
}

#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, make_path, drop_path)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(test_plain),
		FILE_TEST(test_figures),
		FILE_TEST(test_cut_short),
		FILE_TEST(test_gzip),
		FILE_TEST(test_gzip_members),
		FILE_TEST(test_gzip_cut_short),
		FILE_TEST(test_refused),
		FILE_TEST(test_gzip_damaged),
		FILE_TEST(test_broken_in_the_middle),
		FILE_TEST(test_frames_of_all_lengths),
		FILE_TEST(test_frame_longer_than_the_file_says),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_pipe_of_frames_of_all_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
