/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libcurl: functions of the same names pass each call on to the library, once it is loaded. Only a
 * collector and a cluster's API are spoken to by it; it brings some thirty other libraries with it. Any thread.
 */
#include "base/curl.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>

#include "base/library.h"

#ifdef CLV_LIBRARIES_LINKED
int clv_curl_load(const char **why)
{
	return 0;
}
#else

#define LIBRARY "libcurl.so.4"

/* type, name behind curl_, parameters, arguments; the two with dots in their parameters stand below. */
#define FUNCTIONS(X)                                                                                                \
	X(CURLcode, global_init, (long flags), (flags))                                                             \
	X(curl_version_info_data *, version_info, (CURLversion age), (age))                                         \
	X(void, free, (void *p), (p))                                                                               \
	X(time_t, getdate, (const char *text, const time_t *unused), (text, unused))                                \
	X(struct curl_slist *, slist_append, (struct curl_slist * list, const char *text), (list, text))            \
	X(void, slist_free_all, (struct curl_slist * list), (list))                                                 \
	X(CURL *, easy_init, (void), ())                                                                            \
	X(void, easy_cleanup, (CURL * easy), (easy))                                                                \
	X(void, easy_reset, (CURL * easy), (easy))                                                                  \
	X(char *, easy_escape, (CURL * easy, const char *text, int len), (easy, text, len))                         \
	X(const char *, easy_strerror, (CURLcode code), (code))                                                     \
	X(CURLM *, multi_init, (void), ())                                                                          \
	X(CURLMcode, multi_cleanup, (CURLM * multi), (multi))                                                       \
	X(CURLMcode, multi_add_handle, (CURLM * multi, CURL * easy), (multi, easy))                                 \
	X(CURLMcode, multi_remove_handle, (CURLM * multi, CURL * easy), (multi, easy))                              \
	X(CURLMcode, multi_perform, (CURLM * multi, int *running), (multi, running))                                \
	X(CURLMcode, multi_poll, (CURLM * multi, struct curl_waitfd fds[], unsigned count, int ms, int *ready),     \
	  (multi, fds, count, ms, ready))                                                                           \
	X(CURLMcode, multi_wakeup, (CURLM * multi), (multi))                                                        \
	X(CURLMsg *, multi_info_read, (CURLM * multi, int *left), (multi, left))                                    \
	X(CURLU *, url, (void), ())                                                                                 \
	X(void, url_cleanup, (CURLU * url), (url))                                                                  \
	X(CURLUcode, url_get, (CURLU * url, CURLUPart part, char **text, unsigned flags), (url, part, text, flags)) \
	X(CURLUcode, url_set, (CURLU * url, CURLUPart part, const char *text, unsigned flags),                      \
	  (url, part, text, flags))                                                                                 \
	X(const char *, url_strerror, (CURLUcode code), (code))

#define NUMBER(type, name, parameters, arguments) AT_##name,
enum { FUNCTIONS(NUMBER) AT_easy_setopt, AT_easy_getinfo, COUNT };

static void *functions[COUNT];
static const char *trouble;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
#define NAME(type, name, parameters, arguments)   "curl_" #name,
	static const char *const names[COUNT] = {FUNCTIONS(NAME) "curl_easy_setopt", "curl_easy_getinfo"};

	clv_library_load(LIBRARY, names, functions, COUNT, &trouble);
}

int clv_curl_load(const char **why)
{
	pthread_once(&once, load);
	if (!trouble)
		return 0;
	*why = trouble;
	return -ENOENT;
}

#define FORWARD(type, name, parameters, arguments)                                  \
	type(curl_##name) parameters                                                \
	{                                                                           \
		assert(functions[AT_##name]);                                       \
		return ((__typeof__(&(curl_##name)))functions[AT_##name])arguments; \
	}
FUNCTIONS(FORWARD)

/* What stands in the place of the dots is one argument, as long as a pointer: a long, a pointer, or 64 bits. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "curl_easy_setopt()");

CURLcode(curl_easy_setopt)(CURL *easy, CURLoption option, ...)
{
	va_list ap;

	va_start(ap, option);
	void *value = va_arg(ap, void *);
	va_end(ap);
	return ((__typeof__(&(curl_easy_setopt)))functions[AT_easy_setopt])(easy, option, value);
}

CURLcode(curl_easy_getinfo)(CURL *easy, CURLINFO info, ...)
{
	va_list ap;

	va_start(ap, info);
	void *value = va_arg(ap, void *);
	va_end(ap);
	return ((__typeof__(&(curl_easy_getinfo)))functions[AT_easy_getinfo])(easy, info, value);
}
#endif
