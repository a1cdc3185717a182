/* SPDX-License-Identifier: Apache-2.0 */
/* Gives memory back that is not needed any more. Any thread. */
#ifndef CLV_BASE_TRIM_H
#define CLV_BASE_TRIM_H

/* The heap's free pages go back to the system. */
void clv_trim_heap(void);

/*
 * Once everything is loaded: the heap's free pages go back to the system, and the pages of programs and libraries are
 * given up. Those that are still used come back from the page cache, one by one; most were read once.
 */
void clv_trim(void);

#endif
