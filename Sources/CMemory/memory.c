// glibc keeps the memory that was freed, in one arena for every few threads, and returns the top of an arena only. After a
// storm of requests a single small allocation above holds megabytes of free pages in place.
#define _GNU_SOURCE
#include "CMemory.h"
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

size_t lk_memory_unused_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    unsigned long pages = 0, resident = 0, shared = 0;
    int read = fscanf(file, "%lu %lu %lu", &pages, &resident, &shared);
    fclose(file);
    if (read != 3 || resident < shared) return 0;
    size_t held = (size_t)(resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
    struct mallinfo2 heap = mallinfo2();
    size_t used = heap.uordblks + heap.hblkhd;
    return held > used ? held - used : 0;
}

void lk_memory_return(void) { (void)malloc_trim(0); }
