/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool. Owns a directory, by a lock on the file `lock` in it, and the segments there; never looks into the
 * chunks, never syncs. The exporter's thread, after the one that opened it.
 *
 * A segment is `spool-NUMBER-SALT.v1`, both in hex; records lie one after the other at multiples of 8:
 *
 *     0   u32 magic "CLVR"
 *     4   u32 state: 0, or "DONE" once acknowledged; anything else counts as 0
 *     8   u32 length of the chunk
 *     12  u32 spans in it
 *     16  u64 XXH3 of the chunk, seeded with salt, length and spans
 *     24  the chunk, then zeros up to a multiple of 8
 *
 * The salt keeps bytes that look like a record inside a chunk, which strangers can send, from being one when what
 * surrounds them is damaged. After damage the next record is searched at the following multiples of 8.
 *
 * Segments are read in the order of their numbers; the last one is also written to. One is removed when all of it
 * was taken and acknowledged, or, the oldest first, when there are too many bytes.
 */
#include "export/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"

#define SPOOL_MAGIC 0x52564c43u /* "CLVR" */
#define SPOOL_DONE  0x454e4f44u /* "DONE" */
#define SPOOL_ALIGN 8u
#define SPOOL_NAME  48
/* What a file takes on disk at least. */
#define SPOOL_BLOCK 4096u
/* A search for the next record reads this much at once. */
#define SPOOL_SEARCH_WORDS 512
/* After so many places in a row that look like a record and are none, the rest of a segment is given up. */
#define SPOOL_FALSE_MAX 256

struct spool_record {
	uint32_t magic, state, len, spans;
	uint64_t sum;
};
_Static_assert(sizeof(struct spool_record) == 24, "as on disk");

struct clv_spool_segment {
	struct clv_node node;
	uint64_t number, salt;
	int fd; /* -1: not open */
	uint64_t size, cursor;
	uint64_t waiting_spans;
	uint32_t out;       /* chunks taken, neither acknowledged nor kept */
	bool kept, removed; /* chunks for the next run are in it; it is no longer in the directory */
};

struct clv_spool {
	int dir, lock;
	bool scanning; /* damage is counted once */
	uint64_t max_bytes, segment_bytes, next_number;
	struct clv_node segments; /* oldest first */
	struct clv_spool_segment *writer;
	/* What peek shows: the record at the cursor of `shown`. */
	struct clv_spool_segment *shown;
	struct spool_record record;
	char *chunk;
	size_t chunk_cap;
	struct clv_spool_figures figures;
};

/* The one after `g`, or the first for NULL; NULL at the end. */
static struct clv_spool_segment *segment_after(struct clv_spool *s, struct clv_spool_segment *g)
{
	struct clv_node *n = g ? g->node.next : s->segments.next;

	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it loses sight of clv_list_remove() before a segment is freed */
	return n == &s->segments ? NULL : clv_list_entry(n, struct clv_spool_segment, node);
}

static uint64_t spool_aligned(uint64_t n)
{
	return (n + SPOOL_ALIGN - 1) & ~(uint64_t)(SPOOL_ALIGN - 1);
}

static uint64_t spool_sum(const struct clv_spool_segment *g, const void *chunk, uint32_t len, uint32_t spans)
{
	return clv_hash(chunk, len, g->salt ^ ((uint64_t)len << 32 | spans));
}

static uint64_t spool_disk_bytes(const struct clv_spool_segment *g)
{
	return g->size > SPOOL_BLOCK ? g->size : SPOOL_BLOCK;
}

/* ---- segments -------------------------------------------------------------------------------------------- */

static void segment_name(const struct clv_spool_segment *g, char name[SPOOL_NAME])
{
	snprintf(name, SPOOL_NAME, "spool-%08" PRIx64 "-%016" PRIx64 ".v1", g->number, g->salt);
}

static int segment_open(struct clv_spool *s, struct clv_spool_segment *g, int flags)
{
	char name[SPOOL_NAME];

	if (g->fd >= 0)
		return 0;
	segment_name(g, name);
	g->fd = openat(s->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	return g->fd < 0 ? -errno : 0;
}

static void segment_close(struct clv_spool_segment *g)
{
	if (g->fd >= 0)
		close(g->fd);
	g->fd = -1;
}

/* No longer in the directory nor in the list; its memory stays while chunks of it are out. */
static void segment_remove(struct clv_spool *s, struct clv_spool_segment *g)
{
	char name[SPOOL_NAME];

	segment_name(g, name);
	unlinkat(s->dir, name, 0);
	segment_close(g);
	s->figures.bytes -= spool_disk_bytes(g);
	s->figures.waiting_spans -= g->waiting_spans;
	g->waiting_spans = 0;
	if (s->writer == g)
		s->writer = NULL;
	if (s->shown == g)
		s->shown = NULL;
	clv_list_remove(&g->node);
	g->removed = true;
	if (g->out == 0)
		free(g);
}

/* Removed when nothing of it is needed, closed when nothing is being done with it. */
static void segment_settle(struct clv_spool *s, struct clv_spool_segment *g)
{
	if (g->out || g->waiting_spans || g == s->writer)
		return;
	if (g->kept)
		segment_close(g);
	else
		segment_remove(s, g);
}

static struct clv_spool_segment *segment_new(struct clv_spool *s, uint64_t number, uint64_t salt)
{
	struct clv_spool_segment *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->number = number;
	g->salt = salt;
	g->fd = -1;
	if (number >= s->next_number)
		s->next_number = number + 1;
	return g;
}

static int segment_create(struct clv_spool *s)
{
	uint64_t salt = 0;

	if (getrandom(&salt, sizeof(salt), 0) < 0)
		salt = s->next_number;
	struct clv_spool_segment *g = segment_new(s, s->next_number, salt);
	if (!g)
		return -ENOMEM;
	int err = segment_open(s, g, O_CREAT | O_EXCL);
	if (err) {
		free(g);
		return err;
	}
	clv_list_append(&s->segments, &g->node);
	s->figures.bytes += spool_disk_bytes(g);
	s->writer = g;
	return 0;
}

/* ---- records --------------------------------------------------------------------------------------------- */

/* Reads all of it; false: it is not there. */
static bool spool_read(int fd, void *into, size_t len, uint64_t offset)
{
	char *p = into;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool spool_grow(struct clv_spool *s, size_t len)
{
	if (len <= s->chunk_cap)
		return true;
	char *p = realloc(s->chunk, len);
	if (!p)
		return false;
	s->chunk = p;
	s->chunk_cap = len;
	return true;
}

/* The record at `offset` into s->record and s->chunk; false: there is none. */
static bool record_read(struct clv_spool *s, const struct clv_spool_segment *g, uint64_t offset)
{
	struct spool_record *r = &s->record;

	if (g->size - offset < sizeof(*r) || !spool_read(g->fd, r, sizeof(*r), offset))
		return false;
	if (r->magic != SPOOL_MAGIC || r->len > CLV_SPOOL_CHUNK_MAX || r->len > g->size - offset - sizeof(*r))
		return false;
	if (r->spans > r->len) /* no span takes less than a byte: then figures cannot overflow either */
		return false;
	return spool_grow(s, r->len) && spool_read(g->fd, s->chunk, r->len, offset + sizeof(*r)) &&
	       spool_sum(g, s->chunk, r->len, r->spans) == r->sum;
}

/* Where the next record may be, from `offset` on; the segment's size when nowhere. */
static uint64_t record_search(const struct clv_spool_segment *g, uint64_t offset)
{
	static const uint32_t magic = SPOOL_MAGIC;
	uint64_t words[SPOOL_SEARCH_WORDS];

	for (offset = spool_aligned(offset); offset < g->size;) {
		ssize_t n = pread(g->fd, words, sizeof(words), (off_t)offset);

		if (n < (ssize_t)sizeof(words[0]))
			break;
		for (size_t i = 0; i < (size_t)n / sizeof(words[0]); i++)
			if (memcmp(&words[i], &magic, sizeof(magic)) == 0)
				return offset + i * sizeof(words[0]);
		offset += (uint64_t)n & ~(uint64_t)(SPOOL_ALIGN - 1);
	}
	return g->size;
}

/*
 * Moves the cursor to the next record that is whole and not done, and reads it. False: there is none, and the cursor
 * is at the end; or, with spans still waiting, the file cannot be opened now.
 */
static bool segment_next(struct clv_spool *s, struct clv_spool_segment *g)
{
	int err = g->cursor < g->size ? segment_open(s, g, 0) : 0;
	unsigned failed = 0;

	if (err && err != -ENOENT)
		return false; /* no descriptor left, for example: later */
	if (err)
		g->cursor = g->size;
	while (g->cursor < g->size) {
		if (!record_read(s, g, g->cursor)) {
			s->figures.damaged_places += s->scanning && !failed;
			g->cursor = ++failed < SPOOL_FALSE_MAX ? record_search(g, g->cursor + 1) : g->size;
			continue;
		}
		failed = 0;
		if (s->record.state != SPOOL_DONE)
			return true;
		g->cursor += spool_aligned(sizeof(s->record) + s->record.len);
	}
	g->cursor = g->size;
	/* What was waiting and was not found any more was damaged meanwhile. */
	s->figures.damaged_spans += g->waiting_spans;
	s->figures.waiting_spans -= g->waiting_spans;
	g->waiting_spans = 0;
	return false;
}

/* ---- the directory --------------------------------------------------------------------------------------- */

/* Counts what waits in a segment that an earlier run left; removes it when that is nothing. */
static int spool_scan(struct clv_spool *s, struct clv_spool_segment *g)
{
	uint64_t spans = 0;
	int err = segment_open(s, g, 0);

	if (err) /* another user's, for example: not ours to remove */
		return err;
	while (segment_next(s, g)) {
		spans += s->record.spans;
		g->cursor += spool_aligned(sizeof(s->record) + s->record.len);
	}
	g->cursor = 0;
	g->waiting_spans = spans;
	s->figures.waiting_spans += spans;
	s->figures.found_spans += spans;
	segment_close(g);
	if (spans == 0)
		segment_remove(s, g);
	return 0;
}

static void spool_insert(struct clv_spool *s, struct clv_spool_segment *g)
{
	struct clv_spool_segment *other = NULL;

	while ((other = segment_after(s, other)) && other->number < g->number)
		;
	clv_list_insert_before(other ? &other->node : &s->segments, &g->node);
}

static int spool_find(struct clv_spool *s)
{
	int fd = dup(s->dir);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return -err;
	}
	while ((e = readdir(d))) {
		uint64_t number, salt;
		char name[SPOOL_NAME];
		struct stat st;

		if (sscanf(e->d_name, "spool-%" SCNx64 "-%" SCNx64 ".v1", &number, &salt) != 2)
			continue;
		struct clv_spool_segment *g = segment_new(s, number, salt);
		if (!g) {
			closedir(d);
			return -ENOMEM;
		}
		segment_name(g, name);
		if (strcmp(name, e->d_name) != 0 || fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISREG(st.st_mode)) {
			free(g);
			continue;
		}
		/* None is longer; a file that is has been tampered with, and would be read through for ages. */
		g->size = (uint64_t)st.st_size < CLV_SPOOL_SEGMENT_MAX ? (uint64_t)st.st_size : CLV_SPOOL_SEGMENT_MAX;
		s->figures.bytes += spool_disk_bytes(g);
		spool_insert(s, g);
	}
	closedir(d);
	int err = 0;
	s->scanning = true;
	for (struct clv_spool_segment *g = segment_after(s, NULL), *next; g && !err; g = next) {
		next = segment_after(s, g);
		err = spool_scan(s, g);
	}
	s->scanning = false;
	return err;
}

static int spool_own(struct clv_spool *s, const char *directory)
{
	if (mkdir(directory, 0700) && errno != EEXIST)
		return -errno;
	s->dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return -errno;
	s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return -errno;
	if (flock(s->lock, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

/* Leaves all files as they are. */
static void spool_free(struct clv_spool *s)
{
	for (struct clv_spool_segment *g = segment_after(s, NULL), *next; g; g = next) {
		next = segment_after(s, g);
		segment_close(g);
		free(g);
	}
	if (s->lock >= 0)
		close(s->lock);
	if (s->dir >= 0)
		close(s->dir);
	free(s->chunk);
	free(s);
}

int clv_spool_open(const char *directory, uint64_t max_bytes, struct clv_spool **out)
{
	struct clv_spool *s = calloc(1, sizeof(*s));
	uint64_t part = max_bytes / CLV_SPOOL_SEGMENTS;

	if (!s)
		return -ENOMEM;
	s->dir = s->lock = -1;
	s->max_bytes = max_bytes;
	s->segment_bytes = part < CLV_SPOOL_SEGMENT_MIN   ? CLV_SPOOL_SEGMENT_MIN
			   : part > CLV_SPOOL_SEGMENT_MAX ? CLV_SPOOL_SEGMENT_MAX
							  : part;
	clv_list_init(&s->segments);
	int err = spool_own(s, directory);
	if (!err)
		err = spool_find(s);
	if (err) { /* what was not looked at yet must not count as settled */
		spool_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void clv_spool_close(struct clv_spool *s)
{
	if (!s)
		return;
	s->writer = NULL;
	for (struct clv_spool_segment *g = segment_after(s, NULL), *next; g; g = next) {
		next = segment_after(s, g);
		segment_settle(s, g);
	}
	spool_free(s);
}

/* ---- in and out ------------------------------------------------------------------------------------------ */

bool clv_spool_fits(const struct clv_spool *s, size_t bytes)
{
	return s->figures.bytes + bytes + sizeof(struct spool_record) + SPOOL_ALIGN <= s->max_bytes;
}

static void spool_make_room(struct clv_spool *s, size_t bytes)
{
	for (struct clv_spool_segment *g = segment_after(s, NULL), *next; g && !clv_spool_fits(s, bytes); g = next) {
		next = segment_after(s, g);
		s->figures.evicted_spans += g->waiting_spans;
		segment_remove(s, g);
	}
}

/* All of it, or an error. */
static int spool_write(int fd, struct spool_record *r, struct clv_slice chunk, uint64_t offset)
{
	static char zeros[SPOOL_ALIGN];
	struct iovec parts[] = {
		{r, sizeof(*r)},
		{(void *)(uintptr_t)chunk.data, chunk.len},
		{zeros, (size_t)(spool_aligned(chunk.len) - chunk.len)},
	};
	ssize_t n;

	do
		n = pwritev(fd, parts, sizeof(parts) / sizeof(*parts), (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (uint64_t)n == spool_aligned(sizeof(*r) + chunk.len) ? 0 : -ENOSPC;
}

int clv_spool_append(struct clv_spool *s, struct clv_slice chunk, uint32_t spans)
{
	struct spool_record r = {.magic = SPOOL_MAGIC, .len = (uint32_t)chunk.len, .spans = spans};
	uint64_t bytes = spool_aligned(sizeof(r) + chunk.len);

	if (chunk.len > CLV_SPOOL_CHUNK_MAX || bytes + SPOOL_ALIGN > s->max_bytes)
		return -E2BIG;
	if (s->writer && s->writer->size && s->writer->size + bytes > s->segment_bytes) {
		struct clv_spool_segment *full = s->writer;

		s->writer = NULL;
		segment_settle(s, full);
	}
	spool_make_room(s, chunk.len);
	if (!s->writer) {
		int err = segment_create(s);

		if (err)
			return err;
	}
	struct clv_spool_segment *g = s->writer;
	r.sum = spool_sum(g, chunk.data, r.len, spans);
	int err = spool_write(g->fd, &r, chunk, g->size);
	if (err) { /* what was written of it lies behind the end, and is written over, should this fail */
		if (ftruncate(g->fd, (off_t)g->size))
			clv_debug("spool: cannot cut a torn record: %s", strerror(errno));
		return err;
	}
	s->figures.bytes -= spool_disk_bytes(g);
	g->size += bytes;
	s->figures.bytes += spool_disk_bytes(g);
	g->waiting_spans += spans;
	s->figures.waiting_spans += spans;
	return 0;
}

bool clv_spool_peek(struct clv_spool *s, struct clv_slice *chunk, uint32_t *spans)
{
	if (s->figures.waiting_spans == 0)
		return false;
	for (struct clv_spool_segment *g = segment_after(s, NULL), *next; g && !s->shown; g = next) {
		next = segment_after(s, g);
		if (segment_next(s, g))
			s->shown = g;
		else
			segment_settle(s, g);
	}
	if (!s->shown)
		return false;
	*chunk = clv_slice(s->chunk, s->record.len);
	*spans = s->record.spans;
	return true;
}

void clv_spool_take(struct clv_spool *s, struct clv_spool_ref *ref)
{
	struct clv_spool_segment *g = s->shown;
	uint64_t spans = s->record.spans < g->waiting_spans ? s->record.spans : g->waiting_spans;

	*ref = (struct clv_spool_ref){.segment = g, .offset = g->cursor};
	g->out++;
	g->waiting_spans -= spans;
	s->figures.waiting_spans -= spans;
	g->cursor += spool_aligned(sizeof(s->record) + s->record.len);
	s->shown = NULL;
}

void clv_spool_ack(struct clv_spool *s, struct clv_spool_ref ref)
{
	static const uint32_t done = SPOOL_DONE;
	struct clv_spool_segment *g = ref.segment;

	g->out--;
	if (g->removed) {
		if (g->out == 0)
			free(g);
		return;
	}
	int err = segment_open(s, g, 0);
	if (!err && pwrite(g->fd, &done, sizeof(done), (off_t)(ref.offset + offsetof(struct spool_record, state))) < 0)
		err = -errno;
	if (err)
		clv_debug("spool: cannot mark what was sent: %s; the next run may send it again", strerror(-err));
	segment_settle(s, g);
}

bool clv_spool_keep(struct clv_spool *s, struct clv_spool_ref ref)
{
	struct clv_spool_segment *g = ref.segment;

	g->out--;
	if (g->removed) {
		if (g->out == 0)
			free(g);
		return false;
	}
	g->kept = true;
	segment_settle(s, g);
	return true;
}

const struct clv_spool_figures *clv_spool_figures(const struct clv_spool *s)
{
	return &s->figures;
}
