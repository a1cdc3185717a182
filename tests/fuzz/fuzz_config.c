/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: any bytes as a configuration file. Whatever they are, errors have a place and plain text, and options
 * that were taken can be copied.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "cli/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct clv_options options, copy;
	static struct clv_config_errors errors;

	assert(clv_options_init(&options) == 0);
	int err = clv_config_parse(clv_slice(data, size), &options, &errors);
	assert((err == -EINVAL) == (errors.count > 0));
	for (size_t i = 0; i < errors.count; i++) {
		assert(errors.error[i].line && errors.error[i].column);
		for (const char *c = errors.error[i].text; *c; c++)
			assert((unsigned char)*c >= ' ');
	}
	assert(clv_options_copy(&copy, &options) == 0);
	for (int id = 0; id < CLV_SETTINGS; id++)
		assert(clv_options_same(&copy, &options, (enum clv_setting_id)id));
	clv_options_fini(&copy);
	clv_options_fini(&options);
	return 0;
}
