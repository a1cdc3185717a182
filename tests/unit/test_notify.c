/* SPDX-License-Identifier: Apache-2.0 */
/* base/notify.c: what a service manager's socket gets, by path and by abstract name; when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/notify.h"

static char got[2 * CLV_NOTIFY_BYTES];

/* The manager: binds name, as $NOTIFY_SOCKET has it, and names it there. */
static int manager(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, name, len);
	if (name[0] == '@')
		addr.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static const char *received(int fd)
{
	ssize_t n = recv(fd, got, sizeof(got) - 1, 0);

	got[n < 0 ? 0 : n] = 0;
	return got;
}

static void says_each_state(int fd)
{
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, "tracing 3 pods"), 0);
	assert_string_equal(received(fd), "READY=1\nSTATUS=tracing 3 pods");
	assert_int_equal(clv_notify(CLV_NOTIFY_STATUS, "tracing 4 pods"), 0);
	assert_string_equal(received(fd), "STATUS=tracing 4 pods");
	assert_int_equal(clv_notify(CLV_NOTIFY_STOPPING, NULL), 0);
	assert_string_equal(received(fd), "STOPPING=1\n");
	close(fd);
}

static void test_path(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "/tmp/clovisor-notify-%d", (int)getpid());
	says_each_state(manager(name));
	unlink(name);
}

static void test_abstract_name(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "@clovisor-notify-%d", (int)getpid());
	says_each_state(manager(name));
}

static void test_status_is_one_line_and_bounded(void **state)
{
	char name[64], status[2 * CLV_NOTIFY_BYTES];
	snprintf(name, sizeof(name), "@clovisor-notify-%d", (int)getpid());
	int fd = manager(name);

	assert_int_equal(clv_notify(CLV_NOTIFY_STATUS, "a line\nMAINPID=1"), 0);
	assert_string_equal(received(fd), "STATUS=a line");
	memset(status, 'x', sizeof(status));
	status[sizeof(status) - 1] = 0;
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, status), 0);
	assert_int_equal(strlen(received(fd)), CLV_NOTIFY_BYTES);
	close(fd);
}

static void test_nobody_to_tell(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, "x"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, "x"), 0);
}

static void test_a_socket_that_is_none(void **state)
{
	char far[200];

	setenv("NOTIFY_SOCKET", "/tmp/clovisor-notify-nobody", 1);
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, "x"), -ENOENT);
	setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, "x"), -EINVAL);
	memset(far, '/', sizeof(far));
	far[sizeof(far) - 1] = 0;
	setenv("NOTIFY_SOCKET", far, 1);
	assert_int_equal(clv_notify(CLV_NOTIFY_READY, "x"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_abstract_name),
		cmocka_unit_test(test_status_is_one_line_and_bounded),
		cmocka_unit_test(test_nobody_to_tell),
		cmocka_unit_test(test_a_socket_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
