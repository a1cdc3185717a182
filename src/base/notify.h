/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager how things are: systemd's notify protocol (sd_notify(3)), one datagram to $NOTIFY_SOCKET.
 * A unit of Type=notify counts as started with the first CLV_NOTIFY_READY.
 */
#ifndef CLV_BASE_NOTIFY_H
#define CLV_BASE_NOTIFY_H

/* The longest datagram. */
#define CLV_NOTIFY_BYTES 512u

enum clv_notify_state {
	CLV_NOTIFY_READY,    /* from now on it traces */
	CLV_NOTIFY_STATUS,   /* nothing has changed but the words */
	CLV_NOTIFY_STOPPING, /* it has begun to end, and may take its time */
};

/*
 * Says state, and in status one line of what goes on, for `systemctl status`; a line too long is cut. NULL: no line.
 * Returns 0, also when there is nobody to tell ($NOTIFY_SOCKET is not set), or -errno: the manager's socket is not
 * there or takes nothing (-EINVAL: it is no path and no abstract name). Never waits. Any thread.
 */
int clv_notify(enum clv_notify_state state, const char *status);

#endif
