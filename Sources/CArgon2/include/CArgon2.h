#ifndef LATCHKEY_ARGON2_H
#define LATCHKEY_ARGON2_H
#include <stddef.h>
#include <stdint.h>

/// What a call of argon2id did.
enum lk_argon2_outcome { LK_ARGON2_OK = 0, LK_ARGON2_MISMATCH = 1, LK_ARGON2_FAILED = 2 };

/// Prepares libsodium; call once before the others. Returns 0, or -1 when the system has no randomness.
int lk_argon2_prepare(void);

/// Hashes `password` into `out` (at least 128 bytes) as a self-describing "$argon2id$..." string with a fresh salt.
int lk_argon2_hash(char *out, const char *password, size_t length, uint64_t passes, size_t memory_bytes);

/// Verifies `password` against a "$argon2id$..." string made by lk_argon2_hash.
int lk_argon2_verify(const char *encoded, const char *password, size_t length);

/// 1 when `encoded` was made with other parameters than these, 0 when with these, -1 when it is not readable.
int lk_argon2_is_outdated(const char *encoded, uint64_t passes, size_t memory_bytes);

/// Gives the calling thread an arena of at least `bytes` that its later hashes reuse. Returns 0, or -1 when memory is short:
/// hashing then works all the same, with memory mapped afresh at each call.
int lk_argon2_arena_open(size_t bytes);

/// Wipes the calling thread's arena and returns its pages to the system; the address range stays for the next hash.
void lk_argon2_arena_wipe(void);

/// How many hashes of the calling thread were served from its arena.
uint64_t lk_argon2_arena_uses(void);

/// Gives the calling thread that nice value (Linux has one a thread); a refusal changes nothing.
void lk_argon2_lower_priority(int nice);
#endif
