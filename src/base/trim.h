/* SPDX-License-Identifier: Apache-2.0 */
/* Gives back what only the start needed. Any thread. */
#ifndef CLV_BASE_TRIM_H
#define CLV_BASE_TRIM_H

/*
 * Once everything is loaded: the heap's free pages go back to the system, and the pages of programs and libraries are
 * given up. Those that are still used come back from the page cache, one by one; most were read once.
 */
void clv_trim(void);

#endif
