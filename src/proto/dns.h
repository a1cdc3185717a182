/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS (RFC 1035): what is kept of a message beside its bytes, and how its names and records are read. What is read here
 * may be cut, or lie: no offset leaves the message, no pointer leads forward. Pure functions, any thread.
 */
#ifndef CLV_PROTO_DNS_H
#define CLV_PROTO_DNS_H

#include "proto/proto.h"

enum {
	CLV_DNS_PORT = 53,
	CLV_DNS_MDNS_PORT = 5353,  /* RFC 6762 */
	CLV_DNS_LLMNR_PORT = 5355, /* RFC 4795 */
	CLV_DNS_HEADER_BYTES = 12,
	CLV_DNS_NAME_BYTES = 255, /* RFC 1035 section 2.3.4: labels, their lengths and the root's */
	CLV_DNS_NAME_TEXT = 1024, /* the same as text: four characters for a byte that is escaped */
};

enum clv_dns_opcode {
	CLV_DNS_QUERY = 0,
	CLV_DNS_IQUERY = 1,
	CLV_DNS_STATUS = 2,
	CLV_DNS_NOTIFY = 4, /* RFC 1996 */
	CLV_DNS_UPDATE = 5, /* RFC 2136 */
	CLV_DNS_DSO = 6,    /* RFC 8490 */
};

enum clv_dns_type {
	CLV_DNS_A = 1,
	CLV_DNS_NS = 2,
	CLV_DNS_CNAME = 5,
	CLV_DNS_SOA = 6,
	CLV_DNS_PTR = 12,
	CLV_DNS_MX = 15,
	CLV_DNS_AAAA = 28,
	CLV_DNS_SRV = 33,
	CLV_DNS_DNAME = 39,
	CLV_DNS_OPT = 41,
	CLV_DNS_IXFR = 251,
	CLV_DNS_AXFR = 252,
};

enum clv_dns_class { CLV_DNS_IN = 1, CLV_DNS_CH = 3, CLV_DNS_HS = 4, CLV_DNS_NONE = 254, CLV_DNS_ANY = 255 };

/* In mDNS the top bit of a class says something else (RFC 6762 sections 5.4, 10.2). */
#define CLV_DNS_CLASS_MASK 0x7fff

enum clv_dns_flag {
	CLV_DNS_TC = 1 << 0,           /* the answer did not fit: ask again over TCP */
	CLV_DNS_MALFORMED = 1 << 1,    /* header and question can be read; what follows contradicts its counts */
	CLV_DNS_RCODE_UNSURE = 1 << 2, /* the part that EDNS adds to the response code was cut off */
};

/* Facts of a request or response. */
struct clv_dns_facts {
	uint32_t answers; /* records in the answer section; of a transfer, in all its messages */
	uint16_t id;
	uint16_t questions;
	uint16_t type, class; /* of the first question, at CLV_DNS_HEADER_BYTES of the head; 0 without one */
	uint16_t rcode;       /* with what EDNS adds (RFC 6891 section 6.1.3) */
	uint8_t opcode;
	uint8_t flags; /* enum clv_dns_flag */
};

/* A name, its pointers followed: labels as on the wire, the root's included. */
struct clv_dns_name {
	uint8_t len;
	uint8_t wire[CLV_DNS_NAME_BYTES];
};

struct clv_dns_record {
	uint16_t type, class, data_len;
	uint32_t ttl;
	size_t data_at;
};

/* Instead of an offset: the message ends before what is read does. */
#define CLV_DNS_CUT SIZE_MAX

/*
 * Reads the name at `at`, into *name if that is not NULL. Returns the offset behind it; 0 when that is no name;
 * CLV_DNS_CUT.
 */
size_t clv_dns_name(struct clv_slice msg, size_t at, struct clv_dns_name *name);
/* Likewise the record at `at`. */
size_t clv_dns_record(struct clv_slice msg, size_t at, struct clv_dns_record *rec);

/* Mnemonic of a type; empty when there is none. Lives as long as the program. */
struct clv_slice clv_dns_type_name(uint16_t type);

extern const struct clv_proto clv_dns;

/* clv_proto.describe (dns_span.c). */
void clv_dns_describe(const struct clv_pair *pair, struct clv_span *span);

#endif
