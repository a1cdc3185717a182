/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: what was loaded stays. Any thread; who calls sees to it that one at a time does. */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int clv_library_load(const char *file, const char *const *names, void **functions, size_t count, const char **why)
{
	void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const char *trouble = handle ? NULL : dlerror();

	for (size_t i = 0; i < count && !trouble; i++) {
		void *function = dlsym(handle, names[i]);

		if (function)
			functions[i] = function;
		else
			trouble = dlerror();
	}
	if (!trouble)
		return 0;
	const char *copy = strdup(trouble);

	*why = copy ? copy : "no memory";
	return -ENOENT;
}
