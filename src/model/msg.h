/* SPDX-License-Identifier: Apache-2.0 */
/* Messages are part of the parser contract, and stand there. */
#ifndef CLV_MODEL_MSG_H
#define CLV_MODEL_MSG_H

#include "clovisor/proto.h"

#endif
