/* SPDX-License-Identifier: Apache-2.0 */
/* One line, one write: lines of several threads do not mix. Any thread. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"

enum clv_log_level clv_log_max = CLV_LOG_INFO;

void clv_log(enum clv_log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (level > clv_log_max)
		return;
	int head = snprintf(line, sizeof(line), "clovisor: %s", level == CLV_LOG_WARN ? "warning: " : "");
	va_start(ap, fmt);
	int n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = (size_t)head + (size_t)n;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nobody left to tell */
}
