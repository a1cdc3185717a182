/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MySQL's and MariaDB's client/server protocol: what is kept of a request and of its answer. The head of a request is
 * not what was on the wire but what a span needs: the name of the database, the user's, the statement, one behind the
 * other.
 */
#ifndef CLV_PROTO_MYSQL_H
#define CLV_PROTO_MYSQL_H

#include "proto/proto.h"

/* Commands that are reported, by their first byte; the login has none of its own. The names are clovisor's. */
#define CLV_MYSQL_COMMANDS(X)                \
	X(INIT_DB, 0x02)                     \
	X(QUERY, 0x03)                       \
	X(FIELD_LIST, 0x04)                  \
	X(CREATE_DB, 0x05)                   \
	X(DROP_DB, 0x06)                     \
	X(REFRESH, 0x07)                     \
	X(SHUTDOWN, 0x08)                    \
	X(STATISTICS, 0x09)                  \
	X(PROCESS_INFO, 0x0a)                \
	X(PROCESS_KILL, 0x0c)                \
	X(DEBUG, 0x0d)                       \
	X(PING, 0x0e)                        \
	X(CHANGE_USER, 0x11)                 \
	X(BINLOG_DUMP, 0x12)                 \
	X(TABLE_DUMP, 0x13)                  \
	X(REGISTER_REPLICA, 0x15)            \
	X(PREPARE, 0x16)                     \
	X(EXECUTE, 0x17)                     \
	X(RESET_STATEMENT, 0x1a)             \
	X(SET_OPTION, 0x1b)                  \
	X(FETCH, 0x1c)                       \
	X(BINLOG_DUMP_GTID, 0x1e)            \
	X(RESET_CONNECTION, 0x1f)            \
	X(CLONE, 0x20)                       \
	X(SUBSCRIBE_GROUP_REPLICATION, 0x21) \
	X(BULK_EXECUTE, 0xfa)                \
	X(LOGIN, 0xf0)

enum clv_mysql_command {
#define X(name, code) CLV_MYSQL_##name = (code),
	CLV_MYSQL_COMMANDS(X)
#undef X
	/* Those that nobody answers, and that no span is made of. */
	CLV_MYSQL_QUIT = 0x01,
	CLV_MYSQL_LONG_DATA = 0x18,
	CLV_MYSQL_CLOSE_STATEMENT = 0x19,
	CLV_MYSQL_SEMI_SYNC_ACK = 0xef,
};

enum clv_mysql_request_flag {
	CLV_MYSQL_IS_MARIADB = 1 << 0, /* the server said so */
	CLV_MYSQL_TEXT_CUT = 1 << 1,   /* the statement is longer than what is kept of it */
};

struct clv_mysql_request {
	uint8_t command; /* enum clv_mysql_command */
	uint8_t flags;   /* enum clv_mysql_request_flag */
	uint8_t db_len, user_len;
	uint8_t backslash;  /* enum clv_sql_backslash */
	uint32_t text_len;  /* of the statement, or of the one name that the command takes */
	uint32_t serial;    /* counts the connection's requests */
	uint32_t statement; /* id of a prepared one; 0: none */
};

enum clv_mysql_response_flag {
	CLV_MYSQL_HAS_ROWS = 1 << 0,     /* there were result sets, and their rows were counted */
	CLV_MYSQL_HAS_AFFECTED = 1 << 1, /* a statement without rows was done */
	CLV_MYSQL_FAILED = 1 << 2,
};

/* Of all results of an answer together. Complete at its end. */
struct clv_mysql_response {
	uint64_t rows, affected;
	uint16_t error;    /* with CLV_MYSQL_FAILED */
	uint16_t warnings; /* of the last result */
	uint8_t flags;     /* enum clv_mysql_response_flag */
	char sqlstate[5];  /* of the error; zeros: not said */
};

extern const struct clv_proto clv_mysql;

/* clv_proto.describe (mysql_span.c). */
void clv_mysql_describe(const struct clv_pair *pair, struct clv_span *span);

/* clv_proto.probe (mysql_probe.c). */
enum clv_match clv_mysql_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where);

#endif
