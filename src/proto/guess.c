/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of first bytes by which protocols without a parser are known: magic numbers and banners of four bytes and
 * more. Never claims a flow: what it says is a guess, and is called one. Any thread.
 */
#include "proto/guess.h"

#include <stdint.h>

struct guess_mark {
	const char *word;
	struct clv_slice bytes;
	uint16_t at; /* where they stand */
	bool datagram;
};

#define MARK(w, at, s)                   \
	{                                \
		w, CLV_LIT(s), at, false \
	}
#define DATAGRAM(w, at, s)              \
	{                               \
		w, CLV_LIT(s), at, true \
	}

static const struct guess_mark marks[] = {
	MARK("ssh", 0, "SSH-2.0-"),
	MARK("ssh", 0, "SSH-1.99-"),
	MARK("ssh", 0, "SSH-1.5-"),
	MARK("amqp", 0, "AMQP"),
	MARK("mqtt", 2, "\0\4MQTT"),
	MARK("mqtt", 3, "\0\4MQTT"),
	MARK("mqtt", 2, "\0\6MQIsdp"),
	MARK("mqtt", 3, "\0\6MQIsdp"),
	MARK("nats", 0, "INFO {\""),
	MARK("zmtp", 0, "\xff\0\0\0\0\0\0\0\1\x7f"),
	MARK("smb", 4, "\xffSMB"),
	MARK("smb", 4, "\xfeSMB"),
	MARK("pop3", 0, "+OK "),
	MARK("imap", 0, "* OK "),
	MARK("bittorrent", 0,
	     "\x13"
	     "BitTorrent protocol"),
	MARK("rtsp", 0, "OPTIONS rtsp://"),
	MARK("rtsp", 0, "DESCRIBE rtsp://"),
	MARK("rfb", 0, "RFB 003."),
	MARK("xmpp", 0, "<?xml version='1.0'?><stream:stream"),
	MARK("socks", 0, "\5\1\0"),
	MARK("dubbo", 0, "\xda\xbb"),
	MARK("brpc", 0, "PRPC"),
	MARK("kerberos", 4, "\x6a\x82"),
	DATAGRAM("ssdp", 0, "M-SEARCH * HTTP/1.1\r\n"),
	DATAGRAM("ssdp", 0, "NOTIFY * HTTP/1.1\r\n"),
	DATAGRAM("sip", 0, "SIP/2.0 "),
	DATAGRAM("sip", 0, "REGISTER sip:"),
	DATAGRAM("sip", 0, "INVITE sip:"),
	DATAGRAM("sip", 0, "OPTIONS sip:"),
	DATAGRAM("dtls", 0, "\x16\xfe\xff\0\0"),
	DATAGRAM("dtls", 0, "\x16\xfe\xfd\0\0"),
	DATAGRAM("stun", 4, "\x21\x12\xa4\x42"),
	DATAGRAM("dhcp", 236, "\x63\x82\x53\x63"),
};

/* "220 mail.example ESMTP Postfix", "220 (vsFTPd 3.0.3)": only a word further on tells which. */
static const char *guess_greeting(struct clv_slice s)
{
	static const struct {
		struct clv_slice text;
		const char *word;
	} words[] = {{CLV_LIT("SMTP"), "smtp"}, {CLV_LIT("FTP"), "ftp"}};

	s = clv_slice_head(s, clv_slice_find(s, 0, '\n'));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (size_t at = 4; at + words[i].text.len <= s.len; at++)
			if (clv_slice_eq_nocase(clv_slice_sub(s, at, words[i].text.len), words[i].text))
				return words[i].word;
	return NULL;
}

/*
 * RFC 9000 section 17.2, RFC 9369: a long header (first two bits set), a version that is known, an id of at most 20
 * bytes, and Initial packets are padded.
 */
#define QUIC_INITIAL_BYTES 1200u
static bool guess_is_quic(struct clv_slice s)
{
	static const struct clv_slice versions[] = {CLV_LIT("\0\0\0\1"), CLV_LIT("\x6b\x33\x43\xcf"),
						    CLV_LIT("\xff\0\0")}; /* 1, 2, drafts */

	if (s.len < 7 || (s.data[0] & 0xc0) != 0xc0 || s.data[5] > 20)
		return false;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (clv_slice_starts(clv_slice_from(s, 1), versions[i]))
			return s.len >= QUIC_INITIAL_BYTES || s.data[5] >= 8;
	return false;
}

const char *clv_guess(struct clv_slice first, bool datagram)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (marks[i].datagram == datagram &&
		    clv_slice_starts(clv_slice_from(first, marks[i].at), marks[i].bytes))
			return marks[i].word;
	if (datagram)
		return guess_is_quic(first) ? "quic" : NULL;
	if (clv_slice_starts(first, CLV_LIT("220 ")) || clv_slice_starts(first, CLV_LIT("220-")))
		return guess_greeting(first);
	return NULL;
}
