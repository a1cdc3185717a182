/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the API server's JSON to objects. A list or a watch is cut into its objects as its bytes come, so that one
 * object at a time is parsed, whatever the cluster's size. The input is not trusted: a document that is too long or not
 * what it should be is left out and counted.
 *
 * One thread a cutter. Any thread may parse.
 */
#ifndef CLV_KUBE_PARSE_H
#define CLV_KUBE_PARSE_H

#include "base/slice.h"
#include "kube/objects.h"

/* The longest object that is read. etcd takes none over 1.5 MiB. */
#define CLV_KUBE_OBJECT_BYTES (3u << 20)
/* Of a string in an object; the API allows no name over 253 and no label over 63. Annotations can be longer: cut. */
#define CLV_KUBE_STRING_BYTES 1024
/* A longer uid is none: the API's have 36. */
#define CLV_KUBE_UID_BYTES 64
/* Entries of any list in an object that are kept. */
#define CLV_KUBE_LIST_MAX 1024
/* Braces and brackets within each other; a pod has about 20. */
#define CLV_KUBE_DEPTH 128
/* Values in one object: a pod has about a thousand. With this, reading an object takes 20 MiB at worst. */
#define CLV_KUBE_VALUES (64u << 10)
/* A token of the API: resourceVersion. */
#define CLV_KUBE_VERSION_BYTES 64
/* metadata.continue; a longer one is no token. */
#define CLV_KUBE_CONTINUE_BYTES 4096

/*
 * One object's JSON text; NULL, with errno ENOMEM, or EBADMSG when it is not one of that kind (no name, wrong types
 * where it matters). Fields that are odd but not needed do no harm.
 */
struct clv_kube_object *clv_kube_parse(enum clv_kube_kind kind, struct clv_slice json);

enum clv_kube_watch_type {
	CLV_KUBE_WATCH_ADDED, /* or MODIFIED */
	CLV_KUBE_WATCH_DELETED,
	CLV_KUBE_WATCH_BOOKMARK,
	CLV_KUBE_WATCH_ERROR,
};

/* What stands in a watch's line, or in a list's item. */
struct clv_kube_item {
	enum clv_kube_watch_type type;
	struct clv_kube_object *object;                /* of ADDED and DELETED; the receiver's */
	char resource_version[CLV_KUBE_VERSION_BYTES]; /* of ADDED, DELETED and BOOKMARK; "": not said */
	int code;                                      /* of ERROR: as HTTP's, 410 for one; 0: not said */
	char message[256];                             /* of ERROR: the Status object's message */
};

/* A Status object, which the API server sends where it cannot give what was asked. false: it is none. */
bool clv_kube_parse_status(struct clv_slice json, struct clv_kube_item *out);

struct clv_kube_cutter;

/* `list`: a document {"metadata":{...},"items":[...]}; otherwise the lines of a watch. NULL: no memory. */
struct clv_kube_cutter *clv_kube_cutter_new(enum clv_kube_kind kind, bool list);
/* NULL is allowed. */
void clv_kube_cutter_free(struct clv_kube_cutter *c);

/*
 * More bytes; each whole object in them is given to item(). Returns 0, what item() returned when that is not 0,
 * -ENOMEM, or -EBADMSG when this is no list and no watch; after any of these there is no going on.
 */
int clv_kube_cutter_feed(struct clv_kube_cutter *c, struct clv_slice bytes,
			 int (*item)(void *ctx, struct clv_kube_item *item), void *ctx);
/*
 * Of a list that has been fed to its end: metadata.resourceVersion and metadata.continue (empty: the last page; the
 * caller frees it). -EBADMSG when it did not come to its end, or -ENOMEM.
 */
int clv_kube_cutter_end(const struct clv_kube_cutter *c, char resource_version[CLV_KUBE_VERSION_BYTES], char **next);
/* Objects that were left out. */
uint64_t clv_kube_cutter_skipped(const struct clv_kube_cutter *c);

#endif
