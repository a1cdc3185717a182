/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins call (struct clv_host). Engine thread, within describe(). */
#ifndef CLV_PLUGIN_HOST_H
#define CLV_PLUGIN_HOST_H

#include "clovisor/proto.h"

extern const struct clv_host clv_plugin_host;

#endif
