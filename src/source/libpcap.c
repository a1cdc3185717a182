/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libpcap: functions of the same names pass each call on to the library, which the first one loads. Only
 * capture files are read by it; Debian's brings D-Bus, systemd and eight other libraries with it. Any thread.
 */
#ifndef CLV_LIBRARIES_LINKED
#define PCAP_DONT_INCLUDE_PCAP_BPF_H
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdio.h>

#include "base/library.h"

#define LIBRARY "libpcap.so.0.8"

/* type, name behind pcap_, parameters, arguments: of what needs an open file, so there is a library. */
#define FUNCTIONS(X)                                                                              \
	X(int, next_ex, (pcap_t * p, struct pcap_pkthdr * *h, const u_char **data), (p, h, data)) \
	X(int, snapshot, (pcap_t * p), (p))                                                       \
	X(int, major_version, (pcap_t * p), (p))                                                  \
	X(int, minor_version, (pcap_t * p), (p))                                                  \
	X(int, datalink, (pcap_t * p), (p))                                                       \
	X(const char *, datalink_val_to_name, (int type), (type))                                 \
	X(char *, geterr, (pcap_t * p), (p))                                                      \
	X(void, close, (pcap_t * p), (p))

#define NUMBER(type, name, parameters, arguments) AT_##name,
enum { FUNCTIONS(NUMBER) AT_lib_version, AT_open, COUNT };

static void *functions[COUNT];
static const char *trouble;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
#define NAME(type, name, parameters, arguments) "pcap_" #name,
	static const char *const names[COUNT] = {FUNCTIONS(NAME) "pcap_lib_version",
						 "pcap_fopen_offline_with_tstamp_precision"};

	clv_library_load(LIBRARY, names, functions, COUNT, &trouble);
}

#define FORWARD(type, name, parameters, arguments)                                \
	type pcap_##name parameters                                               \
	{                                                                         \
		pthread_once(&once, load);                                        \
		return ((__typeof__(&pcap_##name))functions[AT_##name])arguments; \
	}
FUNCTIONS(FORWARD)

pcap_t *pcap_fopen_offline_with_tstamp_precision(FILE *f, u_int precision, char *why)
{
	pthread_once(&once, load);
	if (!trouble)
		return ((__typeof__(&pcap_fopen_offline_with_tstamp_precision))functions[AT_open])(f, precision, why);
	snprintf(why, PCAP_ERRBUF_SIZE, "cannot be read without libpcap: %s", trouble);
	return NULL;
}

const char *pcap_lib_version(void)
{
	pthread_once(&once, load);
	return trouble ? "none" : ((__typeof__(&pcap_lib_version))functions[AT_lib_version])();
}
#endif
