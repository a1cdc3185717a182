/* SPDX-License-Identifier: Apache-2.0 */
/* Allocations, counted: law 4. The linker sends every call here (--wrap in meson.build). */
#ifndef CLV_TESTS_LAWS_ALLOCATIONS_H
#define CLV_TESTS_LAWS_ALLOCATIONS_H

extern unsigned allocations;

#endif
