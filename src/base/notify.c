/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: each call opens the socket, says its piece and closes it. Never waits. Any thread. */
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or an abstract name behind an @. Returns the address's length or -EINVAL. */
static int notify_address(const char *name, struct sockaddr_un *addr)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(addr->sun_path))
		return -EINVAL;
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(addr->sun_path, name, len);
	if (name[0] == '@')
		addr->sun_path[0] = 0; /* its name is what its length says, no 0 behind it */
	return (int)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

int clv_notify(enum clv_notify_state state, const char *status)
{
	static const char *const says[] = {"READY=1\n", "", "STOPPING=1\n"};
	const char *name = getenv("NOTIFY_SOCKET");
	char text[CLV_NOTIFY_BYTES + 1];
	struct sockaddr_un addr;

	if (!name || !*name)
		return 0;
	int len = notify_address(name, &addr);
	if (len < 0)
		return len;
	/* One line of it: behind a line's end stands the next assignment. */
	int n = snprintf(text, sizeof(text), "%s%s%.*s", says[state], status ? "STATUS=" : "",
			 status ? (int)strcspn(status, "\n") : 0, status ? status : "");
	size_t text_len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	ssize_t sent = sendto(fd, text, text_len, MSG_NOSIGNAL, (const struct sockaddr *)&addr, (socklen_t)len);
	int err = sent < 0 ? -errno : 0;
	close(fd);
	return err;
}
