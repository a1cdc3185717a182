/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing; gives up pages that nobody has written to. Any thread. */
#include "base/trim.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of one program or library: what it may not write is as it is in the file. */
static int trim_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uint8_t *begin = (uint8_t *)info->dlpi_addr + h->p_vaddr;

		if (h->p_type != PT_LOAD || h->p_flags & PF_W)
			continue;
		uintptr_t before = (uintptr_t)begin & (page - 1);

		madvise(begin - before, before + h->p_memsz, MADV_DONTNEED);
	}
	return 0;
}

void clv_trim_heap(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

void clv_trim(void)
{
	clv_trim_heap();
	dl_iterate_phdr(trim_object, NULL);
}
