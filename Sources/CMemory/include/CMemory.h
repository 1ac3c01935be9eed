#ifndef LATCHKEY_MEMORY_H
#define LATCHKEY_MEMORY_H
#include <stddef.h>

/// Bytes that the process holds in memory and that no allocation of the heap uses: pages that the allocator keeps for
/// later, and what does not come from the heap. 0 when the system does not tell.
size_t lk_memory_unused_bytes(void);

/// Returns the free pages of the heap to the system. It takes some milliseconds, in which threads may wait for memory.
void lk_memory_return(void);
#endif
