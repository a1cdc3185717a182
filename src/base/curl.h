/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, and when it is loaded. Its functions are called as ever. Any thread. */
#ifndef CLV_BASE_CURL_H
#define CLV_BASE_CURL_H

#include <curl/curl.h>

/*
 * Makes sure that libcurl is there; the first call loads it, unless clovisor was linked with it. Returns 0, or -ENOENT
 * and in *why the reason, for people, which stays. Until it has returned 0 nothing of libcurl may be called.
 */
int clv_curl_load(const char **why);

#endif
