/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the API server, as libcurl has it: where it goes, who asks, and what an answer means that is none.
 * The API's thread.
 */
#ifndef CLV_KUBE_REQUEST_H
#define CLV_KUBE_REQUEST_H

#include "base/curl.h"
#include "kube/access.h"

struct clv_kube_request {
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	char error[CURL_ERROR_SIZE];
};

/* Returns 0 or -ENOMEM. */
int clv_kube_request_init(struct clv_kube_request *r);
/* It is in no multi handle any more. */
void clv_kube_request_fini(struct clv_kube_request *r);

/* By which connection it goes. */
enum clv_kube_connection {
	CLV_KUBE_SHARED, /* by that of others, where it can be HTTP/2 */
	CLV_KUBE_FRESH,  /* likewise, but by a new one */
	CLV_KUBE_ALONE,  /* HTTP/1.1 */
};

/*
 * Makes the handle ready: GET `path` (with its query) from the server. Who calls sets the callbacks after this. Returns
 * 0 or -ENOMEM, or -EINVAL with `why`.
 */
int clv_kube_request_set(struct clv_kube_request *r, const struct clv_kube_credentials *c, const char *path,
			 const char *accept, enum clv_kube_connection connection, char why[CLV_KUBE_WHY]);

/* What went wrong, for people, with the next step: "cannot reach https://...: Connection refused". */
void clv_kube_request_trouble(const struct clv_kube_request *r, CURLcode code, const char *server, const char *source,
			      char why[CLV_KUBE_WHY]);

#endif
