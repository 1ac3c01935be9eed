// Argon2id by libsodium, with the work memory reused between the hashes of a thread.
//
// libsodium maps and unmaps its work memory (19 MiB by our parameters) at every call, and the kernel must fault in and
// zero each page again: that is almost half of the time of a hash. The program is linked with --wrap=mmap and
// --wrap=munmap, so the calls inside the statically linked libsodium come here. Only while a thread is inside one of
// the functions below, and only for a size that fits, is the thread's arena handed out; every other call goes to the
// kernel as before, so the plain path is the fallback.
#define _GNU_SOURCE
#include "CArgon2.h"
#include <sodium.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define HUGE_PAGE ((size_t)2 << 20)

static __thread unsigned char *arena;
static __thread size_t arena_bytes;
static __thread int hashing;
static __thread int lent;
static __thread uint64_t uses;

void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_munmap(void *address, size_t bytes);

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    // Smaller than the arena by more than half: not the work memory (libsodium's other allocations are small).
    if (hashing && !lent && arena && bytes <= arena_bytes && bytes > arena_bytes / 2) {
        lent = 1;
        uses++;
        return arena;
    }
    return __real_mmap(address, bytes, protection, flags, file, offset);
}

int __wrap_munmap(void *address, size_t bytes) {
    if (hashing && lent && address == arena) {
        lent = 0;
        return 0;
    }
    return __real_munmap(address, bytes);
}

int lk_argon2_prepare(void) { return sodium_init() < 0 ? -1 : 0; }

int lk_argon2_hash(char *out, const char *password, size_t length, uint64_t passes, size_t memory_bytes) {
    hashing = 1;
    int result = crypto_pwhash_argon2id_str(out, password, length, passes, memory_bytes);
    hashing = 0;
    return result == 0 ? LK_ARGON2_OK : LK_ARGON2_FAILED;
}

int lk_argon2_verify(const char *encoded, const char *password, size_t length) {
    hashing = 1;
    int result = crypto_pwhash_argon2id_str_verify(encoded, password, length);
    hashing = 0;
    return result == 0 ? LK_ARGON2_OK : LK_ARGON2_MISMATCH;
}

int lk_argon2_is_outdated(const char *encoded, uint64_t passes, size_t memory_bytes) {
    return crypto_pwhash_argon2id_str_needs_rehash(encoded, passes, memory_bytes);
}

int lk_argon2_arena_open(size_t bytes) {
    // One page of slack for the alignment that libsodium adds; rounded up so that huge pages can serve it.
    size_t rounded = (bytes + 4096 + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *mapped = __real_mmap(NULL, rounded + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return -1;
    uintptr_t start = (uintptr_t)mapped, aligned = (start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (aligned > start) __real_munmap(mapped, aligned - start);
    if (start + HUGE_PAGE > aligned) __real_munmap((void *)(aligned + rounded), start + HUGE_PAGE - aligned);
    arena = (unsigned char *)aligned;
    arena_bytes = rounded;
    madvise(arena, arena_bytes, MADV_HUGEPAGE);   // a hint: refused kernels serve small pages
    madvise(arena, arena_bytes, MADV_DONTDUMP);
    return 0;
}

void lk_argon2_arena_wipe(void) {
    // Private anonymous pages given back this way read as zero afterwards (madvise(2)); the kernel zeroes them before
    // anyone else sees them.
    if (arena) madvise(arena, arena_bytes, MADV_DONTNEED);
}

uint64_t lk_argon2_arena_uses(void) { return uses; }

void lk_argon2_lower_priority(int nice) { (void)setpriority(PRIO_PROCESS, 0, nice); }
