/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests over the wire: HTTP/1.1 and gRPC (HTTP/2), several at a time, whatever is in them.
 *
 * The exporter's thread, clv_sender_wake() excepted.
 */
#ifndef CLV_EXPORT_OTLP_SEND_H
#define CLV_EXPORT_OTLP_SEND_H

#include "export/otlp_answer.h"
#include "export/otlp_config.h"

/* Requests on their way at a time: enough that a distant collector does not bound what goes there. */
#define CLV_SENDER_FLIGHTS 5

struct clv_sender;

/* `request` is what clv_sender_begin() was given; `hint` says what to do about the answer, or is NULL. */
typedef void (*clv_sender_fn)(void *ctx, void *request, const struct clv_otlp_answer *answer, const char *hint);

/* `config` is borrowed. Returns 0, -ENOMEM, or -EINVAL: libcurl cannot do that. */
int clv_sender_new(const struct clv_otlp_config *config, clv_sender_fn done, void *ctx, struct clv_sender **out);
/* Whatever is on its way is given up. May take as long as a name's resolution. NULL is allowed. */
void clv_sender_free(struct clv_sender *s);

/* Sends `body`, borrowed until done() is called for it. Returns 0, -EBUSY: too many on their way, or -ENOMEM. */
int clv_sender_begin(struct clv_sender *s, enum clv_export_signal signal, struct clv_slice body, void *request);
/* Works on what is on its way; sleeps for at most `ms` when there is nothing to do. */
void clv_sender_poll(struct clv_sender *s, unsigned ms);
/* Gives up what is on its way: done() is called for each, with no answer. */
void clv_sender_abort(struct clv_sender *s, clv_sender_fn done);
/* Ends that sleep, or the next. Any thread. */
void clv_sender_wake(struct clv_sender *s);

#endif
