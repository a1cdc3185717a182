/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared libraries that are loaded when they are needed, and not before: some bring a dozen others with them, which all
 * take memory and time at the start. Any thread.
 */
#ifndef CLV_BASE_LIBRARY_H
#define CLV_BASE_LIBRARY_H

#include <stddef.h>

/*
 * Loads `file` for good, and finds its functions: names[i] becomes functions[i]. Returns 0, or -ENOENT with the reason
 * in *why, which stays; then functions are as they were.
 */
int clv_library_load(const char *file, const char *const *names, void **functions, size_t count, const char **why);

#endif
