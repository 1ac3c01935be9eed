#ifndef LATCHKEY_RE2_H
#define LATCHKEY_RE2_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A compiled regular expression of RE2: it matches in time linear in the text, whatever the expression is.
struct lk_re2;

/// Compiles `pattern` (UTF-8). Returns null when RE2 does not take it, with the reason as a C string in `reason`.
/// The compiled form and its caches use at most `memory_bytes`.
struct lk_re2 *lk_re2_compile(const char *pattern, size_t length, int64_t memory_bytes, char *reason,
                              size_t reason_length);

/// 1 when some part of `text` (UTF-8) matches, else 0.
int lk_re2_matches(const struct lk_re2 *expression, const char *text, size_t length);

void lk_re2_free(struct lk_re2 *expression);

#ifdef __cplusplus
}
#endif
#endif
