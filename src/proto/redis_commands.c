/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of Redis and Valkey, as COMMAND and their documentation list them, and a few of modules that come with
 * them. One that is missing here is reported all the same; only its keys are not told from other arguments.
 * Read-only, any thread.
 */
#include "proto/redis.h"

/* None on record is longer. */
#define REDIS_NAME_MOST 24u
/* Of one that is not on record no more than this is believed to be a name. */
#define REDIS_WORD_MOST 32u

/* clang-format off */
/* In the order of bytes: clv_redis_find() searches by halves. */
const struct clv_redis_command clv_redis_commands[] = {
#define C(text, what)          {.name = CLV_LIT(text), .kind = CLV_REDIS_##what},
#define K(text, what)          {.name = CLV_LIT(text), .kind = CLV_REDIS_##what, .flags = CLV_REDIS_KEY},
#define W(text, what)          {.name = CLV_LIT(text), .kind = CLV_REDIS_##what, .flags = CLV_REDIS_WORDS},
#define S(text, what)          {.name = CLV_LIT(text), .kind = CLV_REDIS_##what, .flags = CLV_REDIS_SCRIPT},
	W("ACL", PLAIN) K("APPEND", PLAIN) C("ASKING", PLAIN) C("AUTH", SECRET) C("BGREWRITEAOF", PLAIN)
	C("BGSAVE", PLAIN) K("BITCOUNT", PLAIN) K("BITFIELD", PLAIN) K("BITFIELD_RO", PLAIN) C("BITOP", PLAIN)
	K("BITPOS", PLAIN) K("BLMOVE", PLAIN) C("BLMPOP", PLAIN) K("BLPOP", PLAIN) K("BRPOP", PLAIN)
	K("BRPOPLPUSH", PLAIN) C("BZMPOP", PLAIN) K("BZPOPMAX", PLAIN) K("BZPOPMIN", PLAIN) W("CLIENT", CLIENT)
	W("CLUSTER", PLAIN) W("COMMAND", PLAIN) W("CONFIG", PLAIN) K("COPY", PLAIN) C("DBSIZE", PLAIN)
	W("DEBUG", PLAIN) K("DECR", PLAIN) K("DECRBY", PLAIN) K("DEL", PLAIN) K("DELEX", PLAIN)
	K("DELIFEQ", PLAIN) K("DIGEST", PLAIN) C("DISCARD", DISCARD) K("DUMP", PLAIN) C("ECHO", PLAIN)
	C("EVAL", PLAIN) S("EVALSHA", PLAIN) S("EVALSHA_RO", PLAIN) C("EVAL_RO", PLAIN) C("EXEC", EXEC)
	K("EXISTS", PLAIN) K("EXPIRE", PLAIN) K("EXPIREAT", PLAIN) K("EXPIRETIME", PLAIN) C("FAILOVER", PLAIN)
	S("FCALL", PLAIN) S("FCALL_RO", PLAIN) C("FLUSHALL", PLAIN) C("FLUSHDB", PLAIN) W("FUNCTION", PLAIN)
	K("GEOADD", PLAIN) K("GEODIST", PLAIN) K("GEOHASH", PLAIN) K("GEOPOS", PLAIN) K("GEORADIUS", PLAIN)
	K("GEORADIUSBYMEMBER", PLAIN) K("GEORADIUSBYMEMBER_RO", PLAIN) K("GEORADIUS_RO", PLAIN)
	K("GEOSEARCH", PLAIN) K("GEOSEARCHSTORE", PLAIN) K("GET", PLAIN) K("GETBIT", PLAIN) K("GETDEL", PLAIN)
	K("GETEX", PLAIN) K("GETRANGE", PLAIN) K("GETSET", PLAIN) K("HDEL", PLAIN) C("HELLO", HELLO)
	K("HEXISTS", PLAIN) K("HEXPIRE", PLAIN) K("HEXPIREAT", PLAIN) K("HEXPIRETIME", PLAIN) K("HGET", PLAIN)
	K("HGETALL", PLAIN) K("HGETDEL", PLAIN) K("HGETEX", PLAIN) K("HINCRBY", PLAIN) K("HINCRBYFLOAT", PLAIN)
	K("HKEYS", PLAIN) K("HLEN", PLAIN) K("HMGET", PLAIN) K("HMSET", PLAIN) K("HPERSIST", PLAIN)
	K("HPEXPIRE", PLAIN) K("HPEXPIREAT", PLAIN) K("HPEXPIRETIME", PLAIN) K("HPTTL", PLAIN)
	K("HRANDFIELD", PLAIN) K("HSCAN", PLAIN) K("HSET", PLAIN) K("HSETEX", PLAIN) K("HSETNX", PLAIN)
	K("HSTRLEN", PLAIN) K("HTTL", PLAIN) K("HVALS", PLAIN) K("INCR", PLAIN) K("INCRBY", PLAIN)
	K("INCRBYFLOAT", PLAIN) C("INFO", PLAIN) K("JSON.DEL", PLAIN) K("JSON.GET", PLAIN) K("JSON.MGET", PLAIN)
	K("JSON.SET", PLAIN) C("KEYS", PLAIN) C("LASTSAVE", PLAIN) W("LATENCY", PLAIN) K("LCS", PLAIN)
	K("LINDEX", PLAIN) K("LINSERT", PLAIN) K("LLEN", PLAIN) K("LMOVE", PLAIN) C("LMPOP", PLAIN)
	C("LOLWUT", PLAIN) K("LPOP", PLAIN) K("LPOS", PLAIN) K("LPUSH", PLAIN) K("LPUSHX", PLAIN)
	K("LRANGE", PLAIN) K("LREM", PLAIN) K("LSET", PLAIN) K("LTRIM", PLAIN) W("MEMORY", PLAIN)
	K("MGET", PLAIN) C("MIGRATE", PLAIN) W("MODULE", PLAIN) C("MONITOR", PLAIN) K("MOVE", PLAIN)
	K("MSET", PLAIN) C("MSETEX", PLAIN) K("MSETNX", PLAIN) C("MULTI", MULTI) W("OBJECT", PLAIN)
	K("PERSIST", PLAIN) K("PEXPIRE", PLAIN) K("PEXPIREAT", PLAIN) K("PEXPIRETIME", PLAIN) K("PFADD", PLAIN)
	K("PFCOUNT", PLAIN) C("PFDEBUG", PLAIN) K("PFMERGE", PLAIN) C("PFSELFTEST", PLAIN) C("PING", ANYTIME)
	K("PSETEX", PLAIN) C("PSUBSCRIBE", SUBSCRIBE) C("PSYNC", REPLICATE) K("PTTL", PLAIN) C("PUBLISH", PLAIN)
	W("PUBSUB", PLAIN) C("PUNSUBSCRIBE", UNSUBSCRIBE) C("QUIT", ANYTIME) C("RANDOMKEY", PLAIN)
	C("READONLY", PLAIN) C("READWRITE", PLAIN) K("RENAME", PLAIN) K("RENAMENX", PLAIN) C("REPLCONF", REPLICA)
	C("REPLICAOF", PLAIN) C("RESET", RESET) K("RESTORE", PLAIN) K("RESTORE-ASKING", PLAIN) C("ROLE", PLAIN)
	K("RPOP", PLAIN) K("RPOPLPUSH", PLAIN) K("RPUSH", PLAIN) K("RPUSHX", PLAIN) K("SADD", PLAIN)
	C("SAVE", PLAIN) C("SCAN", PLAIN) K("SCARD", PLAIN) W("SCRIPT", PLAIN) K("SDIFF", PLAIN)
	K("SDIFFSTORE", PLAIN) C("SELECT", SELECT) W("SENTINEL", PLAIN) K("SET", PLAIN) K("SETBIT", PLAIN)
	K("SETEX", PLAIN) K("SETNX", PLAIN) K("SETRANGE", PLAIN) C("SHUTDOWN", PLAIN) K("SINTER", PLAIN)
	C("SINTERCARD", PLAIN) K("SINTERSTORE", PLAIN) K("SISMEMBER", PLAIN) C("SLAVEOF", PLAIN)
	W("SLOWLOG", PLAIN) K("SMEMBERS", PLAIN) K("SMISMEMBER", PLAIN) K("SMOVE", PLAIN) K("SORT", PLAIN)
	K("SORT_RO", PLAIN) K("SPOP", PLAIN) C("SPUBLISH", PLAIN) K("SRANDMEMBER", PLAIN) K("SREM", PLAIN)
	K("SSCAN", PLAIN) C("SSUBSCRIBE", SUBSCRIBE) K("STRLEN", PLAIN) C("SUBSCRIBE", SUBSCRIBE)
	K("SUBSTR", PLAIN) K("SUNION", PLAIN) K("SUNIONSTORE", PLAIN) C("SUNSUBSCRIBE", UNSUBSCRIBE)
	C("SWAPDB", PLAIN) C("SYNC", REPLICATE) C("TIME", PLAIN) K("TOUCH", PLAIN) K("TTL", PLAIN)
	K("TYPE", PLAIN) K("UNLINK", PLAIN) C("UNSUBSCRIBE", UNSUBSCRIBE) C("UNWATCH", PLAIN) K("VADD", PLAIN)
	K("VCARD", PLAIN) K("VDIM", PLAIN) K("VEMB", PLAIN) K("VGETATTR", PLAIN) K("VINFO", PLAIN)
	K("VLINKS", PLAIN) K("VRANDMEMBER", PLAIN) K("VREM", PLAIN) K("VSETATTR", PLAIN) K("VSIM", PLAIN)
	C("WAIT", PLAIN) C("WAITAOF", PLAIN) K("WATCH", PLAIN) K("XACK", PLAIN) K("XACKDEL", PLAIN)
	K("XADD", PLAIN) K("XAUTOCLAIM", PLAIN) K("XCFGSET", PLAIN) K("XCLAIM", PLAIN) K("XDEL", PLAIN)
	K("XDELEX", PLAIN) W("XGROUP", PLAIN) W("XINFO", PLAIN) K("XLEN", PLAIN) K("XPENDING", PLAIN)
	K("XRANGE", PLAIN) C("XREAD", PLAIN) C("XREADGROUP", PLAIN) K("XREVRANGE", PLAIN) K("XSETID", PLAIN)
	K("XTRIM", PLAIN) K("ZADD", PLAIN) K("ZCARD", PLAIN) K("ZCOUNT", PLAIN) C("ZDIFF", PLAIN)
	K("ZDIFFSTORE", PLAIN) K("ZINCRBY", PLAIN) C("ZINTER", PLAIN) C("ZINTERCARD", PLAIN)
	K("ZINTERSTORE", PLAIN) K("ZLEXCOUNT", PLAIN) C("ZMPOP", PLAIN) K("ZMSCORE", PLAIN) K("ZPOPMAX", PLAIN)
	K("ZPOPMIN", PLAIN) K("ZRANDMEMBER", PLAIN) K("ZRANGE", PLAIN) K("ZRANGEBYLEX", PLAIN)
	K("ZRANGEBYSCORE", PLAIN) K("ZRANGESTORE", PLAIN) K("ZRANK", PLAIN) K("ZREM", PLAIN)
	K("ZREMRANGEBYLEX", PLAIN) K("ZREMRANGEBYRANK", PLAIN) K("ZREMRANGEBYSCORE", PLAIN)
	K("ZREVRANGE", PLAIN) K("ZREVRANGEBYLEX", PLAIN) K("ZREVRANGEBYSCORE", PLAIN) K("ZREVRANK", PLAIN)
	K("ZSCAN", PLAIN) K("ZSCORE", PLAIN) C("ZUNION", PLAIN) K("ZUNIONSTORE", PLAIN)
#undef C
#undef K
#undef W
#undef S
};
/* clang-format on */

const uint16_t clv_redis_command_count = sizeof(clv_redis_commands) / sizeof(clv_redis_commands[0]);

static int redis_compare(struct clv_slice a, struct clv_slice b)
{
	int c = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

uint16_t clv_redis_find(struct clv_slice name)
{
	uint8_t upper[REDIS_NAME_MOST];
	uint16_t low = 0, high = clv_redis_command_count;

	if (!name.len || name.len > sizeof(upper))
		return 0;
	for (size_t i = 0; i < name.len; i++)
		upper[i] = (uint8_t)(name.data[i] - 'a') < 26 ? name.data[i] & 0xdf : name.data[i];
	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);
		int c = redis_compare(clv_slice(upper, name.len), clv_redis_commands[middle].name);

		if (!c)
			return (uint16_t)(middle + 1);
		if (c < 0)
			high = middle;
		else
			low = (uint16_t)(middle + 1);
	}
	return 0;
}

bool clv_redis_is_word(struct clv_slice word)
{
	if (!word.len || word.len > REDIS_WORD_MOST || (uint8_t)((word.data[0] | 0x20) - 'a') >= 26)
		return false;
	for (size_t i = 1; i < word.len; i++) {
		uint8_t c = word.data[i];

		if ((uint8_t)((c | 0x20) - 'a') >= 26 && (uint8_t)(c - '0') >= 10 && c != '.' && c != '_' && c != '-')
			return false;
	}
	return true;
}
