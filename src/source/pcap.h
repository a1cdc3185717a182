/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture files as a source: pcap and pcapng in either byte order, micro- or nanoseconds, gzip'ed or not, from a
 * file or a pipe. What libpcap reads, clovisor reads; decode.h lists the link types.
 *
 * Timestamps are the file's. Pure ACKs are delivered too; packets that are not TCP are counted only.
 * One thread opens, polls and closes.
 */
#ifndef CLV_SOURCE_PCAP_H
#define CLV_SOURCE_PCAP_H

#include <stddef.h>

#include "model/figure.h"
#include "source/decode.h"
#include "source/source.h"

struct clv_pcap_config {
	const char *path; /* "-": standard input */
	enum clv_decode_side
		side; /* only SLL, SLL2 and clovisor's own files tell sides: elsewhere it changes nothing */
};

/*
 * Opens and reads the file's header. Returns 0 and the source in *out (closing it frees it); -errno of open(2)
 * and read(2), -EINVAL for what is no capture file, -ENOTSUP for a link type or compression that is not read, or
 * -ENOMEM; then `err` says it for people, path included.
 *
 * poll() delivers up to 256 packets. A regular file never makes it wait; a pipe does, up to timeout_ms. At the
 * end of a file that is cut short, everything before the cut has been delivered, poll() returns CLV_SOURCE_END
 * and clv_pcap_error() tells. A file that is broken in the middle gives -EBADMSG instead.
 */
int clv_pcap_open(const struct clv_pcap_config *config, struct clv_source **out, char *err, size_t err_len);

/* What was wrong with the file after poll() ended, for people, path included; NULL when nothing was. Borrowed. */
const char *clv_pcap_error(const struct clv_source *s);

#define CLV_PCAP_FIGURES 16
/* Fills `out` with the reader's counts, named as in wire/record.h where they mean the same. Returns how many. */
size_t clv_pcap_figures(const struct clv_source *s, struct clv_figure out[CLV_PCAP_FIGURES]);

#endif
