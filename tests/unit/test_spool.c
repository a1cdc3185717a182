/* SPDX-License-Identifier: Apache-2.0 */
/* export/spool.c and export/store.c: what was put in comes out once, in order, or is counted; also after a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/store.h"

#define MAX (1u << 20)

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/clovisor-spool-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

/* Files but the lock; with `name`, the last one's path. */
static int files(char *name)
{
	DIR *d = opendir(dir);
	int n = 0;

	for (struct dirent *e; (e = readdir(d));) {
		if (strncmp(e->d_name, "spool-", 6) != 0)
			continue;
		n++;
		if (name)
			sprintf(name, "%s/%.100s", dir, e->d_name);
	}
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	char name[256];

	while (files(name))
		unlink(name);
	sprintf(name, "%s/lock", dir);
	unlink(name);
	return rmdir(dir);
}

static struct clv_spool *reopen(struct clv_spool *s)
{
	clv_spool_close(s);
	assert_int_equal(clv_spool_open(dir, MAX, &s), 0);
	return s;
}

/* Chunk `n`: 100 + n bytes of the value n, and n % 10 + 1 spans. */
static void put(struct clv_spool *s, unsigned n)
{
	char chunk[4096];

	memset(chunk, (int)n, 100 + n);
	assert_int_equal(clv_spool_append(s, clv_slice(chunk, 100 + n), n % 10 + 1), 0);
}

static struct clv_spool_ref get(struct clv_spool *s, unsigned n)
{
	struct clv_spool_ref ref;
	struct clv_slice chunk;
	uint32_t spans;

	assert_true(clv_spool_peek(s, &chunk, &spans));
	assert_int_equal(chunk.len, 100 + n);
	assert_int_equal(chunk.data[99 + n], n & 0xff);
	assert_int_equal(spans, n % 10 + 1);
	clv_spool_take(s, &ref);
	return ref;
}

static void test_in_order_and_once(void **state)
{
	struct clv_spool *s = reopen(NULL);
	struct clv_spool_ref ref[1000];
	struct clv_slice chunk;
	uint32_t spans;

	for (unsigned i = 0; i < 1000; i++)
		put(s, i);
	assert_int_equal(clv_spool_figures(s)->waiting_spans, 5500);
	assert_true(files(NULL) > 5);
	for (unsigned i = 0; i < 1000; i++)
		ref[i] = get(s, i);
	assert_false(clv_spool_peek(s, &chunk, &spans));
	for (unsigned i = 1000; i > 0; i--)
		clv_spool_ack(s, ref[i - 1]);
	assert_int_equal(files(NULL), 1); /* the one that is written to */
	clv_spool_close(s);
	assert_int_equal(files(NULL), 0);
}

static void test_restart(void **state)
{
	struct clv_spool *s = reopen(NULL);
	struct clv_spool_ref ref[20];
	struct clv_slice chunk;
	uint32_t spans;

	for (unsigned i = 0; i < 20; i++)
		put(s, i);
	for (unsigned i = 0; i < 12; i++)
		ref[i] = get(s, i);
	for (unsigned i = 0; i < 10; i++)
		clv_spool_ack(s, ref[i]);
	assert_true(clv_spool_keep(s, ref[10])); /* 11 is just left as it is, as by SIGKILL */
	s = reopen(s);
	assert_int_equal(clv_spool_figures(s)->found_spans, 55);
	put(s, 20);
	for (unsigned i = 10; i < 21; i++)
		clv_spool_ack(s, get(s, i));
	assert_false(clv_spool_peek(s, &chunk, &spans));
	clv_spool_close(s);
	assert_int_equal(files(NULL), 0);
}

static void test_budget(void **state)
{
	struct clv_spool *s = reopen(NULL);
	char chunk[10000] = "";
	struct clv_spool_ref ref;
	struct clv_slice shown;
	uint32_t spans;

	put(s, 7);
	ref = get(s, 7); /* on its way: not lost when its segment goes */
	for (int i = 0; i < 300; i++)
		assert_int_equal(clv_spool_append(s, clv_slice(chunk, sizeof(chunk)), 1), 0);
	const struct clv_spool_figures *f = clv_spool_figures(s);
	assert_true(f->bytes <= MAX);
	assert_true(f->evicted_spans > 100);
	assert_int_equal(f->evicted_spans + f->waiting_spans, 300);
	assert_false(clv_spool_keep(s, ref));
	assert_true(clv_spool_peek(s, &shown, &spans));
	assert_int_equal(clv_spool_append(s, clv_slice(chunk, MAX), 1), -E2BIG);
	clv_spool_close(s);
}

static void test_one_user(void **state)
{
	struct clv_spool *s = reopen(NULL), *other;
	struct stat st;

	assert_int_equal(clv_spool_open(dir, MAX, &other), -EBUSY);
	put(s, 1);
	char name[256];
	files(name);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	clv_spool_ack(s, get(s, 1));
	clv_spool_close(s);
	assert_int_equal(clv_spool_open("/dev/null", MAX, &other), -ENOTDIR);
	assert_int_equal(clv_spool_open("/proc/none/such", MAX, &other), -ENOENT);
}

/* Each byte in turn: at most the chunk that it belongs to is lost. */
static void test_damage(void **state)
{
	struct clv_spool *s = reopen(NULL);
	char name[256], whole[4096];
	struct clv_slice chunk;
	uint32_t spans;

	for (unsigned i = 0; i < 5; i++)
		put(s, i);
	clv_spool_close(s);
	assert_int_equal(files(name), 1);
	int fd = open(name, O_RDWR);
	ssize_t len = read(fd, whole, sizeof(whole));
	for (ssize_t i = 0; i < len; i++) {
		char bad = (char)(whole[i] ^ 0x5a);

		assert_int_equal(pwrite(fd, &bad, 1, i), 1);
		s = reopen(NULL);
		unsigned n = 0;
		while (clv_spool_peek(s, &chunk, &spans)) {
			struct clv_spool_ref ref;

			assert_true(chunk.len >= 100 && chunk.len < 105);
			clv_spool_take(s, &ref);
			n++;
		}
		assert_true(n >= 4);
		assert_int_equal(clv_spool_figures(s)->damaged_places, n == 4);
		clv_spool_close(s);
		assert_int_equal(pwrite(fd, &whole[i], 1, i), 1);
	}
	for (ssize_t i = len - 1; i > 200; i--) { /* torn anywhere */
		assert_int_equal(ftruncate(fd, i), 0);
		s = reopen(NULL);
		assert_true(clv_spool_peek(s, &chunk, &spans));
		clv_spool_close(s);
	}
	close(fd);
}

/* While the program runs: what cannot be read any more is counted. */
static void test_damage_after_the_start(void **state)
{
	struct clv_spool *s = reopen(NULL);
	struct clv_slice chunk;
	uint32_t spans;
	char name[256];

	put(s, 3);
	put(s, 4);
	assert_int_equal(files(name), 1);
	int fd = open(name, O_RDWR);
	assert_int_equal(ftruncate(fd, 100), 0);
	close(fd);
	assert_false(clv_spool_peek(s, &chunk, &spans));
	assert_int_equal(clv_spool_figures(s)->damaged_spans, 9);
	assert_int_equal(clv_spool_figures(s)->waiting_spans, 0);
	clv_spool_close(s);
}

/* A segment that cannot be opened is not one without spans: it is left alone, with all others. */
static void test_segment_of_another_user(void **state)
{
	struct clv_spool *s = reopen(NULL);
	char name[256], lock[256];
	bool root = geteuid() == 0;

	put(s, 3);
	clv_spool_close(s);
	assert_int_equal(files(name), 1);
	assert_int_equal(chmod(name, 0), 0);
	snprintf(lock, sizeof(lock), "%s/lock", dir);
	if (root && (chown(dir, 65534, -1) || chown(lock, 65534, -1) || seteuid(65534)))
		fail();
	assert_int_equal(clv_spool_open(dir, MAX, &s), -EACCES);
	if (root && seteuid(0))
		fail();
	assert_int_equal(files(name), 1);
	assert_int_equal(chmod(name, 0600), 0);
	s = reopen(NULL);
	assert_int_equal(clv_spool_figures(s)->found_spans, 4);
	get(s, 3);
	clv_spool_close(s);
}

/* Without a descriptor to be had, spans wait; they are not damaged. */
static void test_no_descriptors(void **state)
{
	struct clv_spool *s = reopen(NULL);
	struct rlimit before, none;
	struct clv_slice chunk;
	uint32_t spans;

	put(s, 3);
	s = reopen(s);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	bool some = clv_spool_peek(s, &chunk, &spans);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_false(some);
	assert_int_equal(clv_spool_figures(s)->waiting_spans, 4);
	get(s, 3);
	clv_spool_close(s);
}

/* Sums that are right, as of whoever can write there, around numbers that are not; and a file without an end. */
static void test_forged(void **state)
{
	struct clv_spool *s = reopen(NULL);
	char chunk[100] = "", name[256];

	assert_int_equal(clv_spool_append(s, clv_slice(chunk, sizeof(chunk)), UINT32_MAX), 0);
	put(s, 3);
	clv_spool_close(s);
	assert_int_equal(files(name), 1);
	assert_int_equal(truncate(name, 1ll << 42), 0);
	s = reopen(NULL);
	assert_int_equal(clv_spool_figures(s)->found_spans, 4);
	assert_int_equal(clv_spool_figures(s)->damaged_places, 2);
	get(s, 3);
	clv_spool_close(s);
}

static void test_store_in_memory(void **state)
{
	const struct clv_store_config config = {.memory_bytes = 1000, .max_spans = 0};
	struct clv_store *s;
	struct clv_store_ref ref;
	struct clv_slice chunk;
	uint32_t spans;
	char data[400] = "", large[2000] = "";

	assert_int_equal(clv_store_open(&config, &s), 0);
	for (int i = 0; i < 5; i++) {
		data[0] = (char)i;
		clv_store_put(s, clv_slice(data, sizeof(data)), 10, 0);
	}
	assert_int_equal(clv_store_figures(s)->evicted_spans, 30); /* the oldest */
	assert_int_equal(clv_store_figures(s)->waiting_spans, 20);
	assert_true(clv_store_peek(s, &chunk, &spans));
	assert_int_equal(chunk.data[0], 3);
	clv_store_take(s, &ref);
	assert_int_equal(ref.spans, 10);
	assert_false(clv_store_keep(s, ref));
	clv_store_put(s, clv_slice(large, sizeof(large)), 1, 0); /* never fits */
	assert_int_equal(clv_store_figures(s)->evicted_spans, 41);
	assert_int_equal(clv_store_abandon(s), 0);
	clv_store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_order_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_after_the_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_segment_of_another_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
		cmocka_unit_test(test_store_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
