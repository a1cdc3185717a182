/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines for people, on stderr: `clovisor: text`. Said once, by whoever can act. Never about traffic.
 */
#ifndef CLV_BASE_LOG_H
#define CLV_BASE_LOG_H

enum clv_log_level { CLV_LOG_ERROR, CLV_LOG_WARN, CLV_LOG_INFO, CLV_LOG_DEBUG };

/* Lines above this level are not written. INFO by default; set before threads start. */
extern enum clv_log_level clv_log_max;

void clv_log(enum clv_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define clv_error(...) clv_log(CLV_LOG_ERROR, __VA_ARGS__)
#define clv_warn(...)  clv_log(CLV_LOG_WARN, __VA_ARGS__)
#define clv_info(...)  clv_log(CLV_LOG_INFO, __VA_ARGS__)
#define clv_debug(...) clv_log(CLV_LOG_DEBUG, __VA_ARGS__)

#endif
