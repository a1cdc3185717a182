/* SPDX-License-Identifier: Apache-2.0 */
/* Slices are part of the parser contract, and stand there. */
#ifndef CLV_BASE_SLICE_H
#define CLV_BASE_SLICE_H

#include "clovisor/proto.h"

#endif
